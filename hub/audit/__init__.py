"""Does this database keep the product's invariants? I/O: reads the database; changes nothing.

    checks.py (which checks there are) -> ledger, events, records, consents, decisions, changes, log, windows, links, privacy

Everything is recomputed from the tables and the standards by statements of the audit's own, so a mistake in what writes
is not repeated here. All checks look at one snapshot, so a hub at work can be audited.
"""

from hub.audit.books import Books
from hub.audit.checks import CHECKS, Rule
from hub.audit.report import AuditReport, Check, format_report
from hub.context import Hub
from hub.db import reading
from hub.errors import TanlianError

__all__ = ["CHECKS", "AuditReport", "Check", "audit", "format_report"]


def audit(hub: Hub) -> AuditReport:
    """Run every check on the hub's database, in the order of the invariants."""
    with reading(hub.engine) as session:
        books = Books(hub=hub, session=session)
        return AuditReport(checks=tuple(_run(rule, books) for rule in CHECKS))


def _run(rule: Rule, books: Books) -> Check:
    try:
        # A failed statement ends a whole transaction on PostgreSQL; the savepoint keeps the snapshot for the others.
        with books.session.begin_nested():
            finding = rule.find(books)
    except Exception as error:  # whatever the damage, the other checks are still worth making
        reason = f"could not be checked: {_reason(error)}"
        return Check(
            invariant=rule.invariant, id=rule.id, name=rule.name, figure=reason, ok=False, wrong=1, offenders=(reason,)
        )
    return Check(
        invariant=rule.invariant,
        id=rule.id,
        name=rule.name,
        figure=finding.figure,
        ok=finding.wrong.count == 0,
        wrong=finding.wrong.count,
        offenders=tuple(finding.wrong.examples),
    )


def _reason(error: Exception) -> str:
    # Only the hub's own errors promise to hold no name and no content; a driver's may quote a row.
    return f"{type(error).__name__}: {error}" if isinstance(error, TanlianError) else type(error).__name__
