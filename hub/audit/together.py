"""Several processes that audit one snapshot. I/O: processes, the database.

PostgreSQL hands a snapshot on by its name. SQLite cannot: there all begin to read while nobody may write, which is a moment.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from threading import BrokenBarrierError
from typing import Any

from sqlalchemy import text

from hub.audit.books import Books
from hub.audit.making import make_check
from hub.audit.report import Check
from hub.context import Hub, open_hub
from hub.db import reading, writing
from hub.errors import TanlianError
from hub.settings import Settings

STARTS_WITHIN_S = 120.0


class AuditNotStarted(TanlianError):
    """The processes did not come up."""


def check_together(hub: Hub, rules: Sequence[str], *, jobs: int, tell: Callable[[Check], None]) -> dict[str, Check]:
    """Make checks (by their ids) in so many processes, all on one snapshot; `tell` hears of each as it is made.

    Raises:
        AuditNotStarted: nothing was checked.
    """
    context = get_context("spawn")
    begun = context.Barrier(jobs + 1)
    found = {}
    with _snapshot(hub) as snapshot:
        pool = ProcessPoolExecutor(
            jobs, mp_context=context, initializer=_begin, initargs=(hub.settings, snapshot.name, begun)
        )
        with pool:
            asked = [pool.submit(_check, rule) for rule in rules]
            try:
                begun.wait(STARTS_WITHIN_S)
            except BrokenBarrierError:
                pool.shutdown(cancel_futures=True)
                raise AuditNotStarted("the audit's processes did not start; try with --jobs 1") from None
            snapshot.release()
            try:
                for done in as_completed(asked):
                    check = done.result()
                    found[check.id] = check
                    tell(check)
            except BrokenProcessPool:
                raise AuditNotStarted("a process of the audit ended; try with --jobs 1") from None
    return found


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


def _begin(settings: Settings, snapshot: str | None, begun: Any) -> None:
    hub = open_hub(settings)
    session = _open.enter_context(reading(hub.engine))
    if snapshot is not None:
        session.execute(text(f"SET TRANSACTION SNAPSHOT '{snapshot}'"))
    session.execute(text("SELECT COUNT(*) FROM clearing_window")).scalar_one()
    begun.wait(STARTS_WITHIN_S)
    books = Books(hub=hub, session=session)
    books.make_room()
    _books.append(books)


def _check(rule: str) -> Check:
    return make_check(rule, _books[0])
