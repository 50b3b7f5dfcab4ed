"""The sequencer: every size, every way to fail, every way to be made to fork."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from tests_support.postgres import find_binaries

from hub.db import reading, writing
from hub.errors import IntegrityBroken, NotFound
from hub.log.backlog import LogLagging, load_backlog, require_log_current
from hub.log.checkpoint import open_checkpoint
from hub.log.export import export_log
from hub.log.head_file import HeadFile
from hub.log.leaves import Kind, Leaf
from hub.log.merkle import EMPTY_ROOT, leaf_hash, tree_root
from hub.log.note import LogSigner
from hub.log.proofs import verify_consistency
from hub.log.sequencer import ForkRefused, Sequencer, SequencingInterrupted
from hub.log.store import (
    append_leaf,
    append_leaves,
    load_bundle,
    load_checkpoint,
    load_entry,
    load_head,
    locate_leaf,
    lock_head,
)
from hub.log.stored_proofs import prove_growth, prove_leaf
from hub.log.tlogproof import verify_leaf
from hub.log.verify import verify_log

TABLES = ("log_leaf", "log_body", "log_tile", "log_head")


def body(number: int) -> bytes:
    return b'{"n":%d}' % number


def root_of(size: int) -> bytes:
    return tree_root([leaf_hash(body(number)) for number in range(size)])


def stored_entries(engine: Engine) -> list[bytes]:
    with reading(engine) as session:
        head = load_head(session)
        assert head is not None
        return [entry for index in range(head.size) if (entry := load_entry(session, index)) is not None]


@pytest.fixture
def check_log(engine: Engine, signer: LogSigner, tmp_path: Path) -> Callable[..., int]:
    """Re-verify everything that is published, from outside; returns the size."""

    def run(*, seen: bytes | None = None) -> int:
        export_log(engine, tmp_path / "export")
        report = verify_log(tmp_path / "export", signer.vkey, seen=seen)
        assert report.fault is None
        return report.size

    return run


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 511, 512, 513])
def test_a_log_of_each_edge_size_is_signed_and_verifies(
    size: int, append: Callable[..., None], sequencer: Sequencer, check_log: Callable[..., int], now: datetime
) -> None:
    append(size)
    result = sequencer.run_once(now)
    assert (result.size, result.root, result.integrated, result.more) == (size, root_of(size), size, False)
    assert check_log() == size


def test_growing_step_by_step_over_tile_edges_keeps_every_older_checkpoint_true(
    append: Callable[..., None], sequencer: Sequencer, check_log: Callable[..., int], now: datetime
) -> None:
    seen, size = [], 0
    for step in (1, 1, 253, 1, 1, 254, 2, 700):
        append(step)
        size += step
        result = sequencer.run_once(now)
        seen.append(result.checkpoint)
        assert result.root == root_of(size)
    assert all(check_log(seen=checkpoint) == size for checkpoint in seen)


def test_a_log_beyond_65536_leaves_has_a_third_level(
    engine: Engine, append: Callable[..., None], sequencer: Sequencer, check_log: Callable[..., int], now: datetime
) -> None:
    append(65535)
    assert sequencer.run_until_current(now).root == root_of(65535)
    append(2, each_alone=True)
    result = sequencer.run_until_current(now)
    assert (result.size, result.root) == (65537, root_of(65537))
    assert check_log() == 65537
    with reading(engine) as session:
        assert session.execute(text("SELECT max(level) FROM log_tile")).scalar_one() == 2


def test_running_without_new_leaves_changes_nothing(
    engine: Engine, append: Callable[..., None], sequencer: Sequencer, now: datetime
) -> None:
    append(5)
    first = sequencer.run_once(now)
    again = sequencer.run_once(now + timedelta(hours=1))
    assert again.checkpoint == first.checkpoint
    assert (again.assigned, again.integrated) == (0, 0)
    with reading(engine) as session:
        head = load_head(session)
    assert head is not None
    assert head.signed_at == now


def test_a_run_is_bounded_and_says_that_more_waits(
    engine: Engine, append: Callable[..., None], signer: LogSigner, head_file: Path, now: datetime
) -> None:
    sequencer = Sequencer(engine, signer, head_file, max_leaves=10)
    append(25, each_alone=True)
    first = sequencer.run_once(now)
    assert (first.size, first.more) == (10, True)
    last = sequencer.run_until_current(now)
    assert (last.size, last.root, last.more) == (25, root_of(25), False)
    assert sequencer.run_until_current(now, max_runs=1).size == 25


def test_a_leaf_is_appended_only_with_its_change(engine: Engine, sequencer: Sequencer, now: datetime) -> None:
    leaf = Leaf(kind=Kind.KEY_ROTATED, at=now, body=b"{}")

    def change_that_fails(session: Session) -> None:
        append_leaf(session, leaf)
        raise RuntimeError("the change failed")

    with pytest.raises(RuntimeError), writing(engine) as session:
        change_that_fails(session)
    assert sequencer.run_once(now).size == 0


def test_leaves_of_several_kinds_keep_their_order_and_are_found_again(
    engine: Engine, sequencer: Sequencer, now: datetime
) -> None:
    kinds = [Kind.BATCH_RECEIVED] * 1500 + [Kind.WINDOW_SEALED] + [Kind.BATCH_RECEIVED] * 2
    leaves = [Leaf(kind=kind, at=now, body=body(number)) for number, kind in enumerate(kinds)]
    with writing(engine) as session:
        runs = append_leaves(session, leaves)
        assert locate_leaf(session, runs[0].leaf_id) is None
    assert [run.count for run in runs] == [1024, 476, 1, 2]
    sequencer.run_once(now)
    assert stored_entries(engine) == [leaf.body for leaf in leaves]
    with reading(engine) as session:
        assert [locate_leaf(session, run.leaf_id) for run in runs] == [0, 1024, 1500, 1501]
        assert locate_leaf(session, runs[3].leaf_id, offset=1) == 1502
        assert locate_leaf(session, 999_999) is None


def test_a_stored_leaf_and_a_growth_are_proved_to_who_trusts_only_the_key(
    engine: Engine, append: Callable[..., None], sequencer: Sequencer, signer: LogSigner, now: datetime
) -> None:
    append(300)
    older = open_checkpoint(sequencer.run_once(now).checkpoint, signer.verifier)
    append(400)
    newer = open_checkpoint(sequencer.run_once(now).checkpoint, signer.verifier)
    with reading(engine) as session:
        for index in (0, 255, 256, 299, 699):
            assert verify_leaf(body(index), prove_leaf(session, index), signer.verifier) == newer
        proof = prove_growth(session, 300)
        for index in (-1, 700):
            with pytest.raises(NotFound):
                prove_leaf(session, index)
        with pytest.raises(NotFound):
            prove_growth(session, 701)
    verify_consistency(old_size=300, old_root=older.root, new_size=700, new_root=newer.root, proof=proof)


def test_what_no_checkpoint_covers_is_not_served(
    engine: Engine, append: Callable[..., None], sequencer: Sequencer, now: datetime
) -> None:
    append(10)
    sequencer.run_once(now)
    append(10)
    with failing_commit(engine, number=2, persisted=False), pytest.raises(SequencingInterrupted):
        sequencer.run_once(now)  # indexes are given out, nothing more
    with reading(engine) as session:
        assert load_entry(session, 9) == body(9)
        assert load_entry(session, 10) is None
        assert load_bundle(session, 0, 11) is None


def test_the_backlog_is_told_and_a_lag_beyond_the_limit_refuses(
    engine: Engine, sequencer: Sequencer, now: datetime
) -> None:
    with writing(engine) as session:
        append_leaf(session, Leaf(kind=Kind.KEY_ROTATED, at=now, body=b"{}"))
    limit, late = timedelta(minutes=5), now + timedelta(minutes=5, seconds=1)
    with reading(engine) as session:
        assert (load_backlog(session).count, load_backlog(session).oldest_at) == (1, now)
        require_log_current(session, now=now + limit, limit=limit)
        with pytest.raises(LogLagging):
            require_log_current(session, now=late, limit=limit)
    with failing_commit(engine, number=2, persisted=False), pytest.raises(SequencingInterrupted):
        sequencer.run_once(now)
    with reading(engine) as session:  # an index is not a checkpoint yet
        assert (load_backlog(session).count, load_backlog(session).oldest_at) == (1, now)
    sequencer.run_once(now)
    with reading(engine) as session:
        assert (load_backlog(session).count, load_backlog(session).oldest_at) == (0, None)
        require_log_current(session, now=late, limit=limit)


# --- every write fails, and every write fails although it persisted ---------------------------------------------------


@contextmanager
def failing_commit(engine: Engine, *, number: int, persisted: bool) -> Iterator[None]:
    commits = 0

    def fail(connection: Connection) -> None:
        nonlocal commits
        commits += 1
        if commits == number:
            if persisted:
                driver: Any = connection.connection.driver_connection
                driver.commit()
            raise OperationalError("COMMIT", None, Exception("the server went away"))

    event.listen(engine, "commit", fail)
    try:
        yield
    finally:
        event.remove(engine, "commit", fail)
    assert commits >= number, "the write that should fail was never reached"


class FailingHeadFile(HeadFile):
    """Fails in the next store, before or after writing."""

    def __init__(self, path: Path, *, persisted: bool) -> None:
        super().__init__(path)
        self.persisted = persisted

    def store(self, note: bytes) -> None:
        if self.persisted:
            super().store(note)
        raise OSError("the disk went away")


@pytest.mark.parametrize("earlier", [0, 1, 300])
@pytest.mark.parametrize("persisted", [False, True], ids=["failed", "persisted"])
@pytest.mark.parametrize("write", ["assign", "head_file", "integrate"])
def test_a_write_that_fails_is_healed_by_the_next_run(
    write: str,
    persisted: bool,
    earlier: int,
    engine: Engine,
    append: Callable[..., None],
    signer: LogSigner,
    head_file: Path,
    check_log: Callable[..., int],
    now: datetime,
) -> None:
    healthy = Sequencer(engine, signer, head_file)
    append(earlier)
    before = healthy.run_once(now).checkpoint
    append(257)
    if write == "head_file":
        failing = Sequencer(engine, signer, FailingHeadFile(head_file, persisted=persisted))
        with pytest.raises(SequencingInterrupted):
            failing.run_once(now)
    else:
        commit = {"assign": 1, "integrate": 2}[write]
        with failing_commit(engine, number=commit, persisted=persisted), pytest.raises(SequencingInterrupted):
            healthy.run_once(now)
    grown = write == "integrate" and persisted
    assert check_log(seen=before) == earlier + 257 * grown
    remembered = HeadFile(head_file).load()
    assert remembered is not None
    signed = write == "integrate" or (write == "head_file" and persisted)
    assert remembered.size == earlier + 257 * signed

    append(3)  # what comes in between must not get into what was signed
    last = healthy.run_until_current(now)
    assert (last.size, last.root) == (earlier + 260, root_of(earlier + 260))
    assert check_log(seen=before) == earlier + 260
    assert remembered.root == root_of(remembered.size)
    assert stored_entries(engine) == [body(number) for number in range(earlier + 260)]


def test_a_torn_head_file_is_as_before_the_write(
    engine: Engine,
    append: Callable[..., None],
    sequencer: Sequencer,
    head_file: Path,
    check_log: Callable[..., int],
    now: datetime,
) -> None:
    for _ in range(2):
        append(1)
        sequencer.run_once(now)
    append(1)
    whole = head_file.read_bytes()
    sequencer.run_once(now)
    newest = head_file.read_bytes()
    begin = next(at for at, pair in enumerate(zip(whole, newest, strict=True)) if pair[0] != pair[1]) // 4096 * 4096
    # Sizes 1 and 3 are equally long, so old and new halves of the slot make a note that reads well and says nonsense.
    for cut in range(400):
        middle = newest[begin : begin + cut] + whole[begin + cut : begin + 4096]
        head_file.write_bytes(whole[:begin] + middle + whole[begin + 4096 :])
        remembered = HeadFile(head_file).load()
        assert remembered is not None
        assert (remembered.size, remembered.root) in [(2, root_of(2)), (3, root_of(3))], cut
    append(1)
    assert sequencer.run_once(now).size == 4
    assert check_log() == 4


# --- what must never be signed ----------------------------------------------------------------------------------------


def snapshot(engine: Engine) -> dict[str, list[dict[str, Any]]]:
    with reading(engine) as session:
        return {
            table: [dict(row) for row in session.execute(text(f"SELECT * FROM {table}")).mappings()] for table in TABLES
        }


def restore(engine: Engine, saved: dict[str, list[dict[str, Any]]]) -> None:
    with writing(engine) as session:
        for table in ("log_body", "log_leaf", "log_tile", "log_head"):
            session.execute(text(f"DELETE FROM {table}"))
        for table in TABLES:
            for row in saved[table]:
                names = ", ".join(row)
                values = ", ".join(f":{name}" for name in row)
                session.execute(text(f"INSERT INTO {table} ({names}) VALUES ({values})"), row)


def test_a_restored_backup_is_refused(
    engine: Engine, append: Callable[..., None], sequencer: Sequencer, now: datetime
) -> None:
    append(10)
    sequencer.run_once(now)
    saved = snapshot(engine)
    append(5)
    sequencer.run_once(now)
    restore(engine, saved)
    with pytest.raises(ForkRefused, match="restored backup"):
        sequencer.run_once(now)
    append(7)  # other leaves reach the size that was signed
    with pytest.raises(ForkRefused, match="size 15"):
        sequencer.run_until_current(now)
    with reading(engine) as session:
        assert load_checkpoint(session) == saved["log_head"][0]["checkpoint"]


def test_another_history_of_the_same_size_is_refused(
    engine: Engine, append: Callable[..., None], sequencer: Sequencer, now: datetime
) -> None:
    append(10)
    sequencer.run_once(now)
    saved = snapshot(engine)
    append(5)
    sequencer.run_once(now)
    restore(engine, saved)
    with writing(engine) as session:
        append_leaves(session, [Leaf(kind=Kind.KEY_ROTATED, at=now, body=b"forged %d" % n) for n in range(5)])
    with pytest.raises(ForkRefused, match="another root was signed at size 15"):
        sequencer.run_once(now)
    with pytest.raises(ForkRefused, match="another root was signed at size 15"):
        sequencer.run_once(now)


def test_the_same_leaves_after_a_restored_backup_come_to_the_same_checkpoint(
    engine: Engine, append: Callable[..., None], sequencer: Sequencer, now: datetime, check_log: Callable[..., int]
) -> None:
    append(10)
    sequencer.run_once(now)
    saved = snapshot(engine)
    append(5)
    signed = sequencer.run_once(now)
    restore(engine, saved)
    with writing(engine) as session:  # replayed from elsewhere, to the byte
        append_leaves(session, [Leaf(kind=Kind.BATCH_RECEIVED, at=now, body=body(10 + n)) for n in range(5)])
    assert sequencer.run_once(now).checkpoint == signed.checkpoint
    assert check_log(seen=signed.checkpoint) == 15


def test_a_rewritten_past_is_refused_by_a_host_that_remembers_less(
    engine: Engine, append: Callable[..., None], sequencer: Sequencer, signer: LogSigner, tmp_path: Path, now: datetime
) -> None:
    append(300)
    sequencer.run_once(now)
    elsewhere = HeadFile(tmp_path / "other-host")
    elsewhere.store(sequencer.run_once(now).checkpoint)
    append(300)
    sequencer.run_once(now)
    append(1)
    assert Sequencer(engine, signer, elsewhere).run_once(now).size == 601
    behind = HeadFile(tmp_path / "third-host")
    behind.store(signer.sign_note(f"{signer.name}\n300\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"))
    append(1)
    with pytest.raises(ForkRefused, match="size 300"):
        Sequencer(engine, signer, behind).run_once(now)


def test_a_lost_head_file_stops_the_signer_until_the_head_is_adopted(
    engine: Engine, append: Callable[..., None], sequencer: Sequencer, head_file: Path, now: datetime
) -> None:
    append(3)
    signed = sequencer.run_once(now)
    with pytest.raises(ForkRefused, match="nothing to adopt"):
        sequencer.adopt_head()
    head_file.unlink()
    append(1)
    with pytest.raises(ForkRefused, match="missing"):
        sequencer.run_once(now)
    assert sequencer.adopt_head().root == signed.root
    assert sequencer.run_once(now).size == 4


def test_a_head_of_another_key_or_tree_is_not_adopted(
    engine: Engine, append: Callable[..., None], sequencer: Sequencer, signer: LogSigner, head_file: Path, now: datetime
) -> None:
    append(3)
    with pytest.raises(ForkRefused, match="ever signed"):
        sequencer.adopt_head()
    sequencer.run_once(now)
    head_file.unlink()
    with pytest.raises(ForkRefused, match="not this signer's"):
        Sequencer(engine, LogSigner(signer.name, bytes(32)), head_file).adopt_head()
    forged = signer.sign_note(f"{signer.name}\n2\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n")
    with writing(engine) as session:
        session.execute(text("UPDATE log_head SET checkpoint = :forged"), {"forged": forged})
    with pytest.raises(ForkRefused, match="stored tree"):
        sequencer.adopt_head()
    assert not head_file.exists()


def test_a_damaged_head_file_stops_the_signer(
    append: Callable[..., None], sequencer: Sequencer, head_file: Path, now: datetime
) -> None:
    append(3)
    sequencer.run_once(now)
    head_file.write_bytes(b"not a head file")
    with pytest.raises(IntegrityBroken, match="damaged"):
        sequencer.run_once(now)


def test_another_logs_head_file_is_refused(
    engine: Engine, append: Callable[..., None], sequencer: Sequencer, head_file: Path, now: datetime
) -> None:
    append(3)
    sequencer.run_once(now)
    with pytest.raises(ForkRefused, match="another log"):
        Sequencer(engine, LogSigner("other.example/log", bytes(32)), head_file).run_once(now)


def test_a_rotated_key_signs_the_same_tree_again_and_goes_on(
    engine: Engine, append: Callable[..., None], sequencer: Sequencer, signer: LogSigner, head_file: Path, now: datetime
) -> None:
    append(3)
    before = sequencer.run_once(now)
    rotated = LogSigner(signer.name, bytes(32))
    again = Sequencer(engine, rotated, head_file).run_once(now)
    assert (again.size, again.root) == (before.size, before.root)
    assert open_checkpoint(again.checkpoint, rotated.verifier).size == 3
    append(2)
    assert Sequencer(engine, rotated, head_file).run_once(now).root == root_of(5)


@pytest.mark.parametrize(
    ("statement", "detail"),
    [
        ("UPDATE log_head SET root = frontier", "does not lead"),
        ("UPDATE log_head SET size = 2", "does not fit"),
        ("DELETE FROM log_tile WHERE level = 0", "lacks tile"),
        ("UPDATE log_leaf SET count = count + 1 WHERE first_index IS NULL", "as many entries"),
        ("UPDATE log_body SET data = data_of_half", "whole entries"),
    ],
)
def test_a_database_that_cannot_be_true_stops_the_sequencer(
    statement: str, detail: str, engine: Engine, append: Callable[..., None], sequencer: Sequencer, now: datetime
) -> None:
    append(3)
    sequencer.run_once(now)
    append(4)
    with writing(engine) as session:
        if "data_of_half" in statement:
            session.execute(text("UPDATE log_body SET data = :data"), {"data": b"\x00\x09half"})
        else:
            session.execute(text(statement))
    with pytest.raises(IntegrityBroken, match=detail):
        sequencer.run_once(now)


@pytest.mark.parametrize(("old", "new"), [(3, 9), (3, 1)], ids=["gap", "overlap"])
def test_given_indexes_that_are_not_dense_stop_the_sequencer(
    old: int, new: int, engine: Engine, append: Callable[..., None], sequencer: Sequencer, now: datetime
) -> None:
    for count in (3, 1, 1):
        append(count)
    with failing_commit(engine, number=2, persisted=False), pytest.raises(SequencingInterrupted):
        sequencer.run_once(now)
    with writing(engine) as session:
        statement = text("UPDATE log_leaf SET first_index = :new WHERE first_index = :old")
        session.execute(statement, {"old": old, "new": new})
    with pytest.raises(IntegrityBroken, match="leaf 3 was given out and is not there"):
        sequencer.run_once(now)


def test_an_empty_log_is_signed_too(
    engine: Engine, sequencer: Sequencer, signer: LogSigner, now: datetime, check_log: Callable[..., int]
) -> None:
    with pytest.raises(NotFound):
        check_log()
    result = sequencer.run_once(now)
    assert open_checkpoint(result.checkpoint, signer.verifier).root == EMPTY_ROOT
    assert check_log() == 0


def test_two_sequencers_and_two_writers_at_once_make_one_log(
    engine: Engine, signer: LogSigner, head_file: Path, check_log: Callable[..., int], now: datetime
) -> None:
    failures: list[BaseException] = []

    def guarded(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except BaseException as failure:
                failures.append(failure)

        return run

    def write(name: bytes) -> None:
        for number in range(30):
            with writing(engine) as session:
                append_leaf(session, Leaf(kind=Kind.BATCH_RECEIVED, at=now, body=b"%b %d" % (name, number)))

    def sequence() -> None:
        sequencer = Sequencer(engine, signer, head_file, max_leaves=7)
        for _ in range(15):
            sequencer.run_once(now)

    works = [lambda: write(b"a"), lambda: write(b"b"), sequence, sequence]
    threads = [threading.Thread(target=guarded(work)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert failures == []
    assert Sequencer(engine, signer, head_file).run_until_current(now).size == 60
    assert check_log() == 60
    entries = stored_entries(engine)
    for name in (b"a", b"b"):
        assert [entry for entry in entries if entry.startswith(name)] == [b"%b %d" % (name, n) for n in range(30)]


if find_binaries():

    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    def test_a_leaf_whose_lower_number_comes_to_light_later_is_sequenced_later(
        engine: Engine, sequencer: Sequencer, check_log: Callable[..., int], now: datetime
    ) -> None:
        slow = Leaf(kind=Kind.BATCH_RECEIVED, at=now, body=b"slow")
        fast = Leaf(kind=Kind.BATCH_RECEIVED, at=now, body=b"fast")
        with writing(engine) as waiting:
            first_id = append_leaf(waiting, slow)
            with writing(engine) as session:
                assert append_leaf(session, fast) > first_id
            seen = sequencer.run_once(now)
            assert seen.size == 1
        assert sequencer.run_once(now).size == 2
        assert stored_entries(engine) == [b"fast", b"slow"]
        assert check_log(seen=seen.checkpoint) == 2

    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    def test_the_head_is_locked_for_one_sequencer_at_a_time(
        engine: Engine, sequencer: Sequencer, now: datetime
    ) -> None:
        sequencer.run_once(now)
        with writing(engine) as first:
            lock_head(first)
            with Session(engine) as second:
                second.execute(text("SET LOCAL lock_timeout = '200ms'"))
                with pytest.raises(OperationalError, match="lock timeout"):
                    lock_head(second)
        with writing(engine) as second:
            assert lock_head(second).size == 0
