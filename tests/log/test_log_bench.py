"""The log's benchmarks measure what they say, on either database."""

from pathlib import Path

import pytest
from sqlalchemy import Engine
from tests_support.terminal import Terminal

from hub.db import reading
from hub.log.bench import LEAF_BYTES, measure_append, new_signer
from hub.log.bench_proofs import measure_proofs
from hub.log.export import export_log
from hub.log.store import load_head
from hub.log.verify import verify_log


@pytest.mark.parametrize("batches_per_checkpoint", [1, 4])
def test_all_that_is_timed_is_in_the_signed_log(engine: Engine, tmp_path: Path, batches_per_checkpoint: int) -> None:
    figure = measure_append(
        engine, tmp_path / "head", batches=5, batch=300, batches_per_checkpoint=batches_per_checkpoint
    )
    assert (figure.leaves, figure.batch) == (1500, 300)
    assert 0 < figure.ratio < 1  # durable appends hash every leaf too, and more
    with reading(engine) as session:
        head = load_head(session)
    assert head is not None
    assert head.size == 1500


def test_a_log_goes_on_to_the_size_asked_and_its_leaves_are_proved(engine: Engine, tmp_path: Path) -> None:
    signer, told = new_signer(), []
    measure_append(engine, tmp_path / "head", signer=signer, batches=2, batch=300)
    figure = measure_proofs(
        engine, tmp_path / "head", signer, leaves=70_000, proofs=20, tell=lambda *one: told.append(one)
    )
    assert (figure.leaves, figure.proofs, figure.hashes) == (70_000, 20, 17)
    assert figure.proof_bytes > 16 * 44
    assert 0 < figure.inclusion_p50_ms <= figure.inclusion_p99_ms
    assert figure.hashing_only_p99_ms > 0
    assert figure.verify_p50_ms <= figure.verify_p99_ms
    assert figure.consistency_p50_ms <= figure.consistency_p99_ms
    assert [one for one in told if one[0] == "leaves"] == [("leaves", 66_136, 70_000), ("leaves", 70_000, 70_000)]
    assert told[-1] == ("proofs", 20, 20)
    export_log(engine, tmp_path / "export")
    assert verify_log(tmp_path / "export", signer.vkey).size == 70_000
    assert LEAF_BYTES == 213


def test_the_command_prints_both_figures_and_wants_an_empty_database(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, database_url: str, engine: Engine
) -> None:  # fmt: skip
    tanlian = Terminal(monkeypatch, capsys, tmp_path)
    words = ["bench", "log", "--batches", "2", "--batch", "100", "--leaves", "500", "--proofs", "10", "--json"]
    ran = tanlian(*words, "--database-url", database_url)
    assert (ran.code, ran.err) == (0, "")
    assert [line.split('"')[3] for line in ran.out.splitlines()] == ["log", "log-proofs"]
    assert f'"database": "{engine.dialect.name}"' in ran.out
    assert "holds a log already" in tanlian(*words, "--database-url", database_url).complaint
    shown = tanlian(*words[:-1], "--folder", tmp_path)
    assert "of raw SHA-256" in shown.err
    assert "an inclusion proof of 9 hashes" in " ".join(shown.err.split())
    assert not list(tmp_path.glob("tanlian-bench-*"))
