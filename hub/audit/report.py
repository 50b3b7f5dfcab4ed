"""What an audit says: one line for every check, with figures and examples of what is wrong. Pure.

Examples name entries, records, windows and accounts by the hub's own numbers, and grants and links by their random ids;
never a person, so a report can be handed to a regulator as it is.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

EXAMPLES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The outcome of one check; `wrong` counts all offenders, `offenders` shows the first of them."""

    invariant: int
    id: str
    name: str
    figure: str
    ok: bool
    wrong: int = 0
    offenders: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """All checks, in the order of the invariants."""

    checks: tuple[Check, ...]

    @property
    def passed(self) -> int:
        """Return how many checks found nothing wrong."""
        return sum(check.ok for check in self.checks)

    @property
    def failed(self) -> int:
        """Return how many checks found something wrong, or could not be made."""
        return len(self.checks) - self.passed

    @property
    def holds(self) -> bool:
        """Tell whether every check was made and passed."""
        return self.failed == 0


@dataclass(slots=True, kw_only=True)
class Offenders:
    """Counts what is wrong and keeps the first few: memory does not grow with the damage."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        """Note one offender."""
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(text)

    def absorb(self, other: "Offenders") -> None:
        """Note what was noted elsewhere."""
        self.count += other.count
        self.examples = [*self.examples, *other.examples][:EXAMPLES]

    def add_all(self, texts: Iterable[str]) -> None:
        """Note many."""
        for text in texts:
            self.add(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one check looked at and what it found wrong there."""

    figure: str
    wrong: Offenders


def format_report(report: AuditReport) -> str:
    """Return the report as lines for a terminal or a file."""
    lines = []
    for check in report.checks:
        lines.append(f"{'ok    ' if check.ok else 'FAILED'} {check.invariant:>2}  {check.name}: {check.figure}")
        lines += [f"            {offender}" for offender in check.offenders]
        if check.wrong > len(check.offenders):
            lines.append(f"            and {check.wrong - len(check.offenders):,} more")
    verdict = "every invariant holds" if report.holds else f"{report.failed} of {len(report.checks)} checks FAILED"
    return "\n".join([*lines, f"{report.passed} checks passed: {verdict}" if report.holds else verdict])
