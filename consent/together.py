"""Group commit: requests that come at the same time share one transaction. I/O: the database, one thread.

A durable commit costs as much as all the rest of a token request. While one group is being committed the next gathers,
so under load a commit carries many answers and alone a request waits for nobody. Nobody is answered before the commit.

If a group fails, its members run again one by one, each in a transaction of its own, so that one bad request harms no
other. That is why a work may do nothing but use the session: it can run twice, and only the last run counts. What their
statements can wait with is sent once for the whole group (deferred.py).
"""

import asyncio
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from consent.deferred import Identifier, UsedBefore, defer, write_deferred
from consent.transactions import Transactions

MOST = 32  # bounds how long the only writer of an embedded database is held
T = TypeVar("T")
Work = Callable[[Session], Any]


class GroupCommit:
    """Runs works in the order in which they come."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions
        self._waiting: queue.SimpleQueue[tuple[Work, Future[Any]]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    async def run(self, work: Callable[[Session], T]) -> T:
        """Return what the work returned, once it is committed; raise what it raised, once it is rolled back."""
        done: Future[T] = Future()
        self._waiting.put((work, done))
        if self._thread is None:
            self._start()
        return await asyncio.wrap_future(done)

    def _start(self) -> None:
        # At the first request and not before: a server process may be forked after it was built.
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="group-commit", daemon=True)
                self._thread.start()

    def _serve(self) -> None:
        while True:
            group = [self._waiting.get()]
            while len(group) < MOST and not self._waiting.empty():
                group.append(self._waiting.get())
            self._commit([one for one in group if one[1].set_running_or_notify_cancel()])

    def _commit(self, group: list[tuple[Work, Future[Any]]], used: frozenset[Identifier] = frozenset()) -> None:
        try:
            with self._transactions() as session:
                defer(session, used)
                results = [_run(session, work) for work, _ in group]
                write_deferred(session)
        except UsedBefore as found:
            self._commit(group, used | found.identifiers)
            return
        except BaseException as failure:
            if len(group) == 1:
                group[0][1].set_exception(failure)
                return
            for one in group:
                self._commit([one])
            return
        for (_, done), result in zip(group, results, strict=True):
            done.set_result(result)


def _run(session: Session, work: Work) -> Any:
    result = work(session)
    session.flush()
    session.expunge_all()  # the next one reads for itself: rows may have changed under its own statements
    return result
