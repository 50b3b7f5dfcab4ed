"""The sequencer: every size, every leaf in its place, several writers and sequencers at once."""

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from tests_support.postgres import find_binaries
from tests_support.sequenced import body, failing_commit, root_of, stored_entries

from hub.db import reading, writing
from hub.errors import NotFound
from hub.log.backlog import load_backlog
from hub.log.checkpoint import open_checkpoint
from hub.log.leaves import Kind, Leaf
from hub.log.merkle import EMPTY_ROOT
from hub.log.note import LogSigner
from hub.log.proofs import verify_consistency
from hub.log.sequencer import Sequencer, SequencingInterrupted
from hub.log.store import (
    append_leaf,
    append_leaves,
    load_bundle,
    load_entry,
    load_head,
    locate_leaf,
    lock_head,
)
from hub.log.stored_proofs import prove_growth, prove_leaf
from hub.log.tlogproof import verify_leaf


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


def test_the_backlog_is_told_until_a_checkpoint_covers_it(engine: Engine, sequencer: Sequencer, now: datetime) -> None:
    with writing(engine) as session:
        append_leaf(session, Leaf(kind=Kind.KEY_ROTATED, at=now, body=b"{}"))
    with reading(engine) as session:
        assert (load_backlog(session).count, load_backlog(session).oldest_at) == (1, now)
    with failing_commit(engine, number=2, persisted=False), pytest.raises(SequencingInterrupted):
        sequencer.run_once(now)
    with reading(engine) as session:  # an index is not a checkpoint yet
        assert (load_backlog(session).count, load_backlog(session).oldest_at) == (1, now)
    sequencer.run_once(now)
    with reading(engine) as session:
        assert (load_backlog(session).count, load_backlog(session).oldest_at) == (0, None)


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
