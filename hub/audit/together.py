"""Several processes that audit one snapshot. I/O: processes, the database.

PostgreSQL hands a snapshot on by its name. SQLite cannot: there all begin to read while nobody may write, which is a moment.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from threading import BrokenBarrierError
from typing import Any

from sqlalchemy import text

from hub.audit.books import Books
from hub.audit.making import Done, Task, make
from hub.audit.readers import ArrowReader, Reader, SessionReader
from hub.context import Hub, open_hub
from hub.db import reading, writing
from hub.errors import TanlianError
from hub.settings import Settings

STARTS_WITHIN_S = 120.0


class AuditNotStarted(TanlianError):
    """The processes did not come up."""


def make_together(hub: Hub, tasks: Sequence[Task], *, jobs: int, tell: Callable[[int, int], None]) -> list[Done]:
    """Make tasks in processes, all on one snapshot; `tell` hears how many of how many are done.

    Args:
        jobs: processes that read columns; one more has the database sum up, which is work of the database.

    Raises:
        AuditNotStarted: nothing was checked.
    """
    context = get_context("spawn")
    begun = context.Barrier(jobs + 2)
    made: list[Done] = []
    with _snapshot(hub) as snapshot, ExitStack() as pools:
        asked = []
        for reads_columns, processes in ((True, jobs), (False, 1)):
            told = (hub.settings, snapshot.name, reads_columns, begun)
            pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin, initargs=told)
            pools.callback(pool.shutdown, cancel_futures=True)
            asked += [pool.submit(_make, task) for task in tasks if task.reads_columns is reads_columns]
        try:
            begun.wait(STARTS_WITHIN_S)
        except BrokenBarrierError:
            raise AuditNotStarted("the audit's processes did not start; try with --jobs 1") from None
        snapshot.release()
        try:
            for done in as_completed(asked):
                made.append(done.result())
                tell(len(made), len(asked))
        except BrokenProcessPool:
            raise AuditNotStarted("a process of the audit ended; try with --jobs 1") from None
    return made


@dataclass
class _Snapshot:
    name: str | None
    release: Callable[[], None]


@contextmanager
def _snapshot(hub: Hub) -> Iterator[_Snapshot]:
    """Keep what is there as it is until `release`."""
    with ExitStack() as held:
        if hub.engine.dialect.name == "postgresql":
            session = held.enter_context(reading(hub.engine))
            name = str(session.execute(text("SELECT pg_export_snapshot()")).scalar_one())
            yield _Snapshot(name=name, release=held.close)
        else:
            held.enter_context(writing(hub.engine)).connection()
            yield _Snapshot(name=None, release=held.close)


# --- in a process of the pool -----------------------------------------------------------------------------------------

_books: list[Books] = []
_open = ExitStack()  # the process ends with its pool, and so does what it holds


def _begin(settings: Settings, snapshot: str | None, reads_columns: bool, begun: Any) -> None:
    hub = open_hub(settings)
    if reads_columns:
        reader: Reader = _open.enter_context(closing(ArrowReader(hub.engine, snapshot)))
    else:
        reader = SessionReader(_open.enter_context(reading(hub.engine)), snapshot)
    _books.append(Books(hub=hub, reader=reader))
    begun.wait(STARTS_WITHIN_S)


def _make(task: Task) -> Done:
    return make(task, _books[0])
