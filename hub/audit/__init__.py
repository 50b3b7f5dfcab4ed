"""Does this database keep the product's invariants? I/O: reads the database; changes nothing.

    checks.py (which checks there are) -> ledger, events, records, consents, decisions, changes, log, windows, links, privacy

Everything is recomputed from the tables and the standards by statements of the audit's own, so a mistake in what writes
is not repeated here. All checks look at one snapshot, so a hub at work can be audited.
"""

import os
from collections.abc import Callable

from hub.audit.books import Books
from hub.audit.checks import CHECKS, Paged, Rule
from hub.audit.making import all_tasks, gather, make
from hub.audit.readers import SessionReader
from hub.audit.report import AuditReport, Check, format_report
from hub.audit.together import make_together
from hub.context import Hub
from hub.db import reading

__all__ = ["CHECKS", "AuditReport", "Check", "Paged", "Rule", "audit", "format_report"]

MANY_ENTRIES = 500_000
"""Entries from which further processes are worth their start."""


def audit(
    hub: Hub, *, jobs: int | None = None, tell: Callable[[int, int], None] = lambda done, of: None
) -> AuditReport:
    """Run every check on the hub's database; the report is in the order of the invariants.

    Args:
        jobs: processes that check at once; by default one for a small ledger, and as many as there are cores for others.
        tell: hears how many tasks of how many are done, as each is.
    """
    with reading(hub.engine) as session:
        books = Books(hub=hub, reader=SessionReader(session))
        if jobs is None:
            jobs = (os.cpu_count() or 1) if books.count("journal_entry") >= MANY_ENTRIES else 1
        tasks = all_tasks(books)
        if jobs == 1:
            found = []
            for task in tasks:
                found.append(make(task, books))
                tell(len(found), len(tasks))
            return gather(found)
    return gather(make_together(hub, tasks, jobs=jobs, tell=tell))
