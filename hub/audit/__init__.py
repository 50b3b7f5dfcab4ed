"""Does this database keep the product's invariants? I/O: reads the database; changes nothing.

    checks.py (which checks there are) -> ledger, events, records, consents, decisions, changes, log, windows, links, privacy

Everything is recomputed from the tables and the standards by statements of the audit's own, so a mistake in what writes
is not repeated here. All checks look at one snapshot, so a hub at work can be audited.
"""

import os
from collections.abc import Callable

from hub.audit.books import Books
from hub.audit.checks import CHECKS, Rule
from hub.audit.making import make_check
from hub.audit.report import AuditReport, Check, format_report
from hub.audit.together import check_together
from hub.context import Hub
from hub.db import reading

__all__ = ["CHECKS", "AuditReport", "Check", "Rule", "audit", "format_report"]

MANY_ENTRIES = 500_000
"""Entries from which further processes are worth their start."""


def audit(hub: Hub, *, jobs: int | None = None, tell: Callable[[Check], None] = lambda check: None) -> AuditReport:
    """Run every check on the hub's database; the report is in the order of the invariants.

    Args:
        jobs: processes that check at once; by default one for a small ledger, and as many as there are cores for others.
        tell: hears of each check as it is made, in whatever order.
    """
    with reading(hub.engine) as session:
        books = Books(hub=hub, session=session)
        if jobs is None:
            jobs = (os.cpu_count() or 1) if books.count("journal_entry") >= MANY_ENTRIES else 1
        if jobs == 1:
            books.make_room()
            checks = []
            for rule in CHECKS:
                checks.append(make_check(rule.id, books))
                tell(checks[-1])
            return AuditReport(checks=tuple(checks))
    found = check_together(hub, [rule.id for rule in CHECKS], jobs=jobs, tell=tell)
    return AuditReport(checks=tuple(found[rule.id] for rule in CHECKS))
