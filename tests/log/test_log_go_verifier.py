"""A verifier that is not ours, over the Go project's own packages, judges the exported log.

Collected only where Go is installed and TANLIAN_TLOG_KIT names the folder with its source (see conftest.py).
"""

import os
import random
import shutil
import subprocess
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import pytest
from fastapi import FastAPI
from sqlalchemy import Engine
from tests_support.web import free_port, served

from hub.db import reading
from hub.log.bundles import BundleKind, log_part, make_bundle, to_text
from hub.log.checkpoint import sign_checkpoint
from hub.log.export import export_log
from hub.log.note import LogSigner
from hub.log.published import PublishedLog
from hub.log.routes import build_log_router
from hub.log.sequencer import Sequencer
from hub.log.source import open_source
from hub.log.store import load_entry
from hub.log.stored_proofs import prove_leaf
from hub.log.witness_protocol import Cosigner, add_lines


@pytest.fixture(scope="session")
def tlogcheck(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("tlogcheck")
    shutil.copy(Path(os.environ["TANLIAN_TLOG_KIT"]) / "tlogcheck.go", place / "main.go")
    environment = {**os.environ, "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(place / "cache")}
    command = ["go", "build", "-trimpath", "-o", str(place / "tlogcheck"), "."]
    subprocess.run(command, cwd=place, env=environment, check=True)
    return place / "tlogcheck"


@pytest.fixture
def judge(tlogcheck: Path, signer: LogSigner) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [str(tlogcheck), "-key", signer.vkey, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=60)

    return run


Judge = Callable[..., "subprocess.CompletedProcess[str]"]


def test_the_exported_log_is_accepted_at_every_size_and_grows_consistently(
    judge: Judge, engine: Engine, append: Callable[..., None], sequencer: Sequencer, tmp_path: Path, now: datetime
) -> None:
    size = 0
    log, state = tmp_path / "log", tmp_path / "state"
    for step in (0, 1, 1, 253, 1, 1, 254, 1, 1, 6000):
        append(step)
        size += step
        sequencer.run_until_current(now)
        export_log(engine, log)
        verdict = judge("-log", log, "-state", state, "-all")
        assert verdict.returncode == 0, verdict.stdout
        assert f"size={size} " in verdict.stdout
        for index in {0, size // 2, size - 1} if size else set():
            (tmp_path / "entry").write_bytes(b'{"n":%d}' % index)
            verdict = judge("-log", log, "-index", index, "-entry", tmp_path / "entry")
            assert verdict.returncode == 0, verdict.stdout


def test_a_log_of_three_levels_is_accepted(
    judge: Judge, engine: Engine, append: Callable[..., None], sequencer: Sequencer, tmp_path: Path, now: datetime
) -> None:
    size = 0
    for step in (65535, 1, 1):
        append(step)
        size += step
        sequencer.run_until_current(now)
        export_log(engine, tmp_path / "log")
        verdict = judge("-log", tmp_path / "log", "-state", tmp_path / "state", "-all", "-index", size - 1)
        assert verdict.returncode == 0, verdict.stdout
        assert f"entries={size}" in verdict.stdout


def test_after_every_step_of_a_random_history_it_agrees_with_proofs_made_from_tiles_alone(
    judge: Judge,
    engine: Engine,
    append: Callable[..., None],
    signer: LogSigner,
    head_file: Path,
    tmp_path: Path,
    now: datetime,
) -> None:
    dice, older = random.Random(7), tmp_path / "older"
    log, proof, entry = tmp_path / "log", tmp_path / "proof", tmp_path / "entry"
    Sequencer(engine, signer, head_file).run_once(now)
    for _ in range(12):
        append(dice.choice((1, 2, 17, 255, 256, 257)), each_alone=dice.random() < 0.2)
        if log.exists():
            older.write_bytes((log / "checkpoint").read_bytes())
        size = Sequencer(engine, signer, head_file, max_leaves=dice.choice((10, 4096))).run_once(now).size
        export_log(engine, log)
        grown = ("-old", older) if older.exists() else ()
        verdict = judge("-log", log, "-state", tmp_path / "state", *grown, "-all")
        assert verdict.returncode == 0, verdict.stdout
        index = dice.randrange(size)
        published = PublishedLog(open_source(log), signer.verifier)
        proof.write_bytes(published.prove_entry(index))
        entry.write_bytes(published.read_entry(index))
        assert judge("-proof", proof, "-entry", entry).returncode == 0


def test_a_stored_leafs_proof_is_accepted_offline_and_only_for_that_leaf(
    judge: Judge, engine: Engine, append: Callable[..., None], sequencer: Sequencer, tmp_path: Path, now: datetime
) -> None:
    append(700)
    sequencer.run_once(now)
    proof, entry = tmp_path / "proof", tmp_path / "entry"
    for index in (0, 255, 256, 511, 699):
        with reading(engine) as session:
            proof.write_bytes(prove_leaf(session, index))
        entry.write_bytes(b'{"n":%d}' % index)
        assert judge("-proof", proof, "-entry", entry).returncode == 0
        entry.write_bytes(b'{"n":%d}' % (index + 1))
        assert judge("-proof", proof, "-entry", entry).returncode == 1


def test_the_log_s_part_of_a_bundle_is_accepted_with_its_witnesses_and_no_other_leaf_is(
    judge: Judge, engine: Engine, append: Callable[..., None], sequencer: Sequencer, tmp_path: Path, now: datetime
) -> None:
    append(300)
    note = sequencer.run_once(now).checkpoint
    witness = Cosigner("witness.example/w1", sha256(b"witness").digest())
    cosigned = add_lines(note, [witness.cosign(note.decode().partition("\n\n")[0] + "\n", int(now.timestamp())).line])
    with reading(engine) as session:
        entry, log = load_entry(session, 257) or b"", prove_leaf(session, 257, checkpoint=cosigned)
    parts = log_part(to_text(make_bundle(BundleKind.LEAF, entry, log)).encode())
    for name, content in zip(("entry", "proof"), parts, strict=True):
        (tmp_path / name).write_bytes(content)
    proved = ("-proof", tmp_path / "proof", "-entry", tmp_path / "entry")
    asked = ("-witness", witness.verifier.to_vkey(), "-quorum", 1)
    assert "cosignatures=1" in judge(*proved, *asked).stdout
    stranger = Cosigner("witness.example/w1", sha256(b"stranger").digest()).verifier.to_vkey()
    assert judge(*proved, "-witness", stranger, "-quorum", 1).returncode == 1
    (tmp_path / "entry").write_bytes(b'{"n":258}')
    assert judge(*proved, *asked).returncode == 1


def test_tampering_a_rollback_and_a_fork_are_rejected(
    judge: Judge,
    engine: Engine,
    append: Callable[..., None],
    sequencer: Sequencer,
    signer: LogSigner,
    tmp_path: Path,
    now: datetime,
) -> None:
    append(600)
    sequencer.run_once(now)
    log, state = tmp_path / "log", tmp_path / "state"
    export_log(engine, log)
    assert judge("-log", log, "-state", state, "-all").returncode == 0
    for place in ("checkpoint", "tile/0/001", "tile/1/000.p/2", "tile/entries/000", "tile/entries/002.p/88"):
        right = (log / place).read_bytes()
        (log / place).write_bytes(right[:40] + bytes([right[40] ^ 1]) + right[41:])
        assert judge("-log", log, "-all").returncode == 1, place
        (log / place).write_bytes(right)
    (tmp_path / "entry").write_bytes(b"another leaf")
    assert judge("-log", log, "-index", 5, "-entry", tmp_path / "entry").returncode == 1
    right = (log / "checkpoint").read_bytes()
    (log / "checkpoint").write_bytes(sign_checkpoint(signer, size=0, root=sha256(b"").digest()))
    verdict = judge("-log", log, "-state", state)
    assert verdict.returncode == 1
    assert "rolled back" in verdict.stdout
    (log / "checkpoint").write_bytes(sign_checkpoint(signer, size=600, root=bytes(32)))
    assert judge("-log", log, "-state", state).returncode == 1
    (log / "checkpoint").write_bytes(right)
    assert judge("-log", log, "-witness", LogSigner("w.example", bytes(32)).vkey, "-quorum", 1).returncode == 1
    assert judge("-log", log, "-state", state, "-all").returncode == 0


def test_it_reads_the_log_over_http_and_follows_it_as_it_grows(
    judge: Judge, engine: Engine, append: Callable[..., None], sequencer: Sequencer, tmp_path: Path, now: datetime
) -> None:
    app = FastAPI()
    app.include_router(build_log_router(engine))
    with free_port() as (bound, origin), served(app, bound):
        for step in (300, 400):
            append(step)
            size = sequencer.run_once(now).size
            verdict = judge("-log", f"{origin}/log", "-state", tmp_path / "state", "-all", "-index", size - 1)
            assert verdict.returncode == 0, verdict.stdout
            assert f"entries={size}" in verdict.stdout
