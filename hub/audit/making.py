"""One check made: whatever goes wrong in it is its own failure. I/O: reads the database."""

from hub.audit.books import Books
from hub.audit.checks import CHECKS
from hub.audit.report import Check
from hub.errors import TanlianError

_RULES = {rule.id: rule for rule in CHECKS}


def make_check(name: str, books: Books) -> Check:
    """Make the check of this id."""
    rule = _RULES[name]
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
