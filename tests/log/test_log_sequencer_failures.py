"""The sequencer when writes fail, or fail although they persisted, and when the database cannot be true."""

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from tests_support.sequenced import body, failing_commit, root_of, stored_entries

from hub.db import writing
from hub.errors import IntegrityBroken
from hub.log.head_file import HeadFile
from hub.log.note import LogSigner
from hub.log.sequencer import Sequencer, SequencingInterrupted


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


def test_a_head_file_that_took_half_of_what_was_written_stops_the_run_and_the_next_heals_it(
    engine: Engine, append: Callable[..., None], sequencer: Sequencer, check_log: Callable[..., int], now: datetime,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    append(1)
    sequencer.run_once(now)
    append(1)
    whole = os.pwrite
    with monkeypatch.context() as full_disk:
        full_disk.setattr(os, "pwrite", lambda file, data, at: whole(file, data[:100], at))
        with pytest.raises(SequencingInterrupted):
            sequencer.run_once(now)
    assert check_log() == 1
    assert sequencer.run_once(now).size == 2
    assert check_log() == 2


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
