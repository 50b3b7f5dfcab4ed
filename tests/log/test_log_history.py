"""A random history, step by step: the published files alone give every proof, and other people's libraries agree."""

import random
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

import pytest
from pymerkle import InmemoryTree
from pymerkle import verify_consistency as verify_their_consistency
from sqlalchemy import Engine
from tests_support.failing_writes import failing_write
from tests_support.sequenced import body

import hub.log.head_file
from hub.errors import IntegrityBroken, NotFound
from hub.log.batch import grow_tiles, hash_batch
from hub.log.checkpoint import sign_checkpoint
from hub.log.export import export_log
from hub.log.merkle import EMPTY, EMPTY_ROOT
from hub.log.note import LogSigner, NoteError
from hub.log.proofs import verify_consistency
from hub.log.published import PublishedLog
from hub.log.sequencer import Sequencer, SequencingInterrupted
from hub.log.source import open_source
from hub.log.tiles import ENTRIES, TilePath, encode_bundle, tiles_of_level
from hub.log.tlogproof import parse_proof, verify_leaf
from hub.log.verify import verify_log

STEPS = 24


class Theirs:
    """The same tree as another library grows it."""

    def __init__(self) -> None:
        self.tree, self.size = InmemoryTree(algorithm="sha256"), 0

    def grow_to(self, size: int) -> None:
        for number in range(self.size, size):
            self.tree.append_entry(body(number))
        self.size = size

    def root(self, size: int) -> bytes:
        if size == 0:
            return EMPTY_ROOT  # that library has no root for an empty tree
        root: bytes = self.tree.get_root(size)
        return root

    def path(self, index: int, size: int) -> list[bytes]:
        """Its path begins with the leaf's own hash, and it counts leaves from one."""
        return list(self.tree.prove_inclusion(index + 1, size).path)[1:]

    def check_growth(self, old: int, new: int) -> None:
        """Its consistency proofs have a layout of their own: let it judge its own between these roots."""
        if old:
            proof = self.tree.prove_consistency(old, new)
            verify_their_consistency(self.root(old), self.root(new), proof)


def compare(log: PublishedLog, theirs: Theirs, signer: LogSigner, indexes: set[int], sizes: set[int]) -> None:
    """Prove from tiles alone, check with the public key alone, and set every root and path against the other library's."""
    size = log.checkpoint.size
    assert log.checkpoint.root == theirs.root(size)
    for index in indexes:
        proof = log.prove_entry(index)
        assert verify_leaf(body(index), proof, signer.verifier).size == size
        assert list(parse_proof(proof).hashes) == theirs.path(index, size)
    for old in sizes:
        proof_of_growth = log.prove_growth(old)
        assert log.root_at(old) == theirs.root(old)
        verify_consistency(
            old_size=old, old_root=theirs.root(old), new_size=size, new_root=theirs.root(size), proof=proof_of_growth
        )
        theirs.check_growth(old, size)


@pytest.mark.parametrize("seed", [1, 2])
def test_after_every_step_of_a_random_history_another_library_agrees(
    seed: int, engine: Engine, append: Callable[..., None], signer: LogSigner, head_file: Path, tmp_path: Path,
    now: datetime,
) -> None:  # fmt: skip
    dice, theirs, appended, sizes = random.Random(seed), Theirs(), 0, [0]
    seen: bytes | None = None
    for _ in range(STEPS):
        for _ in range(dice.randrange(3)):
            step = dice.choice((1, 2, 3, 17, 255, 256, 257))
            append(step, each_alone=step < 4)
            appended += step
        sequencer = Sequencer(engine, signer, head_file, max_leaves=dice.choice((1, 10, 4096)))
        number, persisted = dice.randrange(1, 40), dice.random() < 0.5
        with (
            suppress(SequencingInterrupted),
            failing_write(number, persisted=persisted, engine=engine, modules=(hub.log.head_file,)),
        ):
            sequencer.run_until_current(now, max_runs=3)
        size = sequencer.run_once(now).size
        export_log(engine, tmp_path / "log")
        assert verify_log(tmp_path / "log", signer.vkey, seen=seen).fault is None
        seen = (tmp_path / "log/checkpoint").read_bytes()
        theirs.grow_to(size)
        log = PublishedLog(open_source(tmp_path / "log"), signer.verifier)
        assert log.checkpoint.size == size <= appended
        indexes = {0, size - 1, *(dice.randrange(size) for _ in range(3))} if size else set()
        compare(log, theirs, signer, indexes, {dice.choice(sizes), sizes[-1], size})
        sizes.append(size)
    last = Sequencer(engine, signer, head_file).run_until_current(now)
    theirs.grow_to(appended)
    assert (last.size, last.root) == (appended, theirs.root(appended))


def build_files(signer: LogSigner, size: int) -> dict[str, bytes]:
    """Make the static files of a log without any database."""
    entries = [body(number) for number in range(size)]
    files = {
        str(path): encode_bundle(entries[path.n * 256 : path.n * 256 + path.width])
        for path in tiles_of_level(level=ENTRIES, size=size)
    }
    growth = hash_batch(EMPTY, encode_bundle(entries))
    for level, hashes in growth.rows.items():
        for piece in grow_tiles(hashes, count=0, last=b""):
            files[str(TilePath(level=level, n=piece.n, width=len(piece.data) // 32))] = piece.data
    files["checkpoint"] = sign_checkpoint(signer, size=size, root=growth.frontier.root())
    return files


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 65535, 65536, 65537])
def test_at_every_edge_size_the_tiles_alone_give_every_proof(size: int, signer: LogSigner) -> None:
    theirs = Theirs()
    theirs.grow_to(size)
    log = PublishedLog(build_files(signer, size).get, signer.verifier)
    indexes = {at for at in (0, 1, 254, 255, 256, size // 2, 65534, 65535, size - 1) if 0 <= at < size}
    older = {at for at in (0, 1, 2, 255, 256, 257, size // 3, 65535, 65536, size) if at <= size}
    compare(log, theirs, signer, indexes, older)
    for index in (-1, size):
        with pytest.raises(NotFound):
            log.prove_entry(index)
    with pytest.raises(NotFound):
        log.prove_growth(size + 1)


def test_a_changed_or_missing_file_proves_nothing(signer: LogSigner) -> None:
    files = build_files(signer, 600)
    for place in ("tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/001"):
        data = files[place]
        for changed in (data[:40] + bytes([data[40] ^ 1]) + data[41:], data[:33], None):
            damaged = {**files, place: changed} if changed is not None else {k: files[k] for k in files if k != place}
            with pytest.raises(IntegrityBroken):
                _prove_all(PublishedLog(damaged.get, signer.verifier))
    with pytest.raises(NoteError):
        PublishedLog(files.get, LogSigner(signer.name, bytes(32)).verifier)
    with pytest.raises(NotFound, match="no checkpoint"):
        PublishedLog(lambda _: None, signer.verifier)


def _prove_all(log: PublishedLog) -> None:
    for index in (0, 256, 259, 511, 599):  # 259: a byte of it is changed
        log.prove_entry(index)
    log.prove_growth(599)


def test_a_partial_tile_that_is_gone_is_read_from_the_full_one(signer: LogSigner) -> None:
    older, newer = build_files(signer, 600), build_files(signer, 1024)
    mixed = {**newer, "tile/1/000.p/2": older["tile/1/000.p/2"], "checkpoint": older["checkpoint"]}
    assert "tile/0/002.p/88" not in mixed
    log = PublishedLog(mixed.get, signer.verifier)
    assert verify_leaf(body(599), log.prove_entry(599), signer.verifier).size == 600
