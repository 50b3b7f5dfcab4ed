"""Every write of a change, of the sequencer and of an export fails once, and once although it persisted: nothing is lost,
nothing signed is contradicted, and running again ends as if nothing had happened.
"""

from collections.abc import Callable
from datetime import datetime
from itertools import count
from pathlib import Path

import pytest
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError
from tests_support.failing_writes import failing_write
from tests_support.sequenced import body, root_of, stored_entries

import hub.log.export
import hub.log.head_file
from hub.changes import log_change
from hub.db import reading, writing
from hub.log.checkpoint import open_checkpoint
from hub.log.export import export_log
from hub.log.head_file import HeadFile
from hub.log.leaves import Kind
from hub.log.note import LogSigner
from hub.log.sequencer import Sequencer, SequencingInterrupted
from hub.log.store import load_checkpoint, load_head
from hub.log.verify import verify_log

MODES = pytest.mark.parametrize("persisted", [False, True], ids=["failed", "persisted"])
STEP = 300  # passes the end of a tile each time: one is widened, one is begun, the level above grows


class History:
    """All that anybody could have seen signed: in the database, and in the head file."""

    def __init__(self, engine: Engine, signer: LogSigner, head_file: Path) -> None:
        self.engine, self.signer, self.head_file = engine, signer, HeadFile(head_file)
        self.newest = 0

    def look(self) -> None:
        """See what is signed now: of the true tree, and in the database never older than before."""
        with reading(self.engine) as session:
            note = load_checkpoint(session)
        if note is not None:
            published = open_checkpoint(note, self.signer.verifier)
            assert published.root == root_of(published.size)
            assert published.size >= self.newest
            self.newest = published.size
        remembered = self.head_file.load() if self.head_file.path.exists() else None
        assert (remembered.size if remembered else 0) >= self.newest
        if remembered is not None:
            assert remembered.root == root_of(remembered.size)


@MODES
def test_every_write_of_the_sequencer_may_fail(
    engine: Engine,
    append: Callable[..., None],
    signer: LogSigner,
    head_file: Path,
    check_log: Callable[..., int],
    now: datetime,
    persisted: bool,
) -> None:
    sequencer, history = Sequencer(engine, signer, head_file), History(engine, signer, head_file)
    append(5)
    seen, size, failed = sequencer.run_once(now).checkpoint, 5, []
    for number in count(1):
        append(STEP)
        size += STEP
        with failing_write(number, persisted=persisted, engine=engine, modules=(hub.log.head_file,)) as plan:
            try:
                sequencer.run_until_current(now)
            except SequencingInterrupted:
                assert plan.failed is not None
        history.look()
        append(3)  # what comes in between must not get into what was signed
        size += 3
        healed = sequencer.run_until_current(now)
        assert (healed.size, healed.root) == (size, root_of(size)), (number, plan)
        history.look()
        if plan.failed is None:
            break
        failed.append(plan.failed)
    assert failed == plan.writes[: len(failed)], "every write of a whole run has failed once"
    assert failed.count("COMMIT") == 2
    assert set(failed) >= {
        "UPDATE log_leaf", "UPDATE log_head", "UPDATE log_tile", "INSERT log_tile", "pwrite", "fdatasync",
    }  # fmt: skip
    assert check_log(seen=seen) == size
    assert stored_entries(engine) == [body(at) for at in range(size)]


@MODES
def test_every_write_of_the_first_signature_may_fail(
    engine: Engine, append: Callable[..., None], signer: LogSigner, head_file: Path, now: datetime, persisted: bool
) -> None:
    append(STEP)
    failed = []
    for number in count(1):
        with writing(engine) as session:  # as before the first run ever
            session.execute(text("UPDATE log_leaf SET first_index = NULL"))
            session.execute(text("DELETE FROM log_tile"))
            session.execute(text("DELETE FROM log_head"))
        head_file.unlink(missing_ok=True)
        sequencer, history = Sequencer(engine, signer, head_file), History(engine, signer, head_file)
        with failing_write(number, persisted=persisted, engine=engine, modules=(hub.log.head_file,)) as plan:
            try:
                sequencer.run_once(now)
            except SequencingInterrupted:
                assert plan.failed is not None
        history.look()
        assert sequencer.run_until_current(now).root == root_of(STEP), (number, plan)
        history.look()
        if plan.failed is None:
            break
        failed.append(plan.failed)
    assert failed == plan.writes[: len(failed)]
    assert set(failed) >= {"INSERT log_head", "INSERT log_tile", "pwrite", "fsync", "replace", "COMMIT"}
    assert failed.count("fsync") == 2, "the file's content, then its name in the folder"


@MODES
def test_every_write_of_a_change_may_fail_and_its_leaf_is_there_exactly_with_it(
    engine: Engine, signer: LogSigner, head_file: Path, now: datetime, persisted: bool
) -> None:
    failed, done = [], []
    for number in count(1):
        with failing_write(number, persisted=persisted, engine=engine) as plan:
            try:
                with writing(engine) as session:
                    log_change(session, Kind.MAPPING_ADOPTED, f"m{number}", now, {"mapping": f"m{number}"})
            except OperationalError:
                assert plan.failed is not None
        if plan.failed is None or (plan.failed == "COMMIT" and persisted):
            done.append(f"m{number}")
        with reading(engine) as session:
            changes = session.execute(text("SELECT reference FROM change_leaf ORDER BY leaf_id")).scalars().all()
            leaves = session.execute(text("SELECT COUNT(*) FROM log_leaf")).scalar_one()
        assert list(changes) == done
        assert leaves == len(done)
        if plan.failed is None:
            break
        failed.append(plan.failed)
    assert failed == plan.writes[: len(failed)]
    assert set(failed) >= {"INSERT log_leaf", "INSERT log_body", "INSERT change_leaf", "COMMIT"}
    assert Sequencer(engine, signer, head_file).run_once(now).size == len(done)


@MODES
def test_every_write_of_an_export_may_fail_and_the_folder_always_holds_a_whole_log(
    engine: Engine, append: Callable[..., None], sequencer: Sequencer, signer: LogSigner, tmp_path: Path, now: datetime,
    persisted: bool,
) -> None:  # fmt: skip
    folder, failed = tmp_path / "export", []
    append(5)
    sequencer.run_once(now)
    export_log(engine, folder)
    for number in count(1):
        append(STEP)
        sequencer.run_once(now)
        seen = (folder / "checkpoint").read_bytes()
        with failing_write(number, persisted=persisted, engine=engine, modules=(hub.log.export,)) as plan:
            try:
                export_log(engine, folder)
            except OSError:
                assert plan.failed is not None
        assert verify_log(folder, signer.vkey, seen=seen).fault is None, (number, plan)
        exported = export_log(engine, folder)
        with reading(engine) as session:
            head = load_head(session)
        assert head is not None
        assert verify_log(folder, signer.vkey, seen=seen).size == exported.size == head.size
        if plan.failed is None:
            break
        failed.append(plan.failed)
    assert {"replace", "fsync"} == set(failed)
