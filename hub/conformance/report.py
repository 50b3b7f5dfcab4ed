"""What became of the cases: results, score, and the two forms of a report. Pure."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from hub.conformance.cases import Group


class Verdict(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    NOT_APPLICABLE = "not applicable"


_ORDER = {Verdict.FAILED: 0, Verdict.PASSED: 1, Verdict.NOT_APPLICABLE: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What became of one case; `detail` is a sentence, without anybody's data."""

    id: str
    title: str
    group: Group
    verdict: Verdict
    seconds: float
    subject: str  # the feed it was run on: platform, stream, connector
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The results of one check."""

    name: str
    checked_at: datetime
    results: tuple[Result, ...]

    @property
    def passed(self) -> int:
        return self._count(Verdict.PASSED)

    @property
    def failed(self) -> int:
        return self._count(Verdict.FAILED)

    @property
    def applicable(self) -> int:
        return self.passed + self.failed

    @property
    def score(self) -> str:
        """Cases passed of those that had something to look at."""
        return f"{self.passed}/{self.applicable}"

    @property
    def ok(self) -> bool:
        """Nothing failed, and something was looked at: a report without a case proves nothing."""
        return self.failed == 0 and self.applicable > 0

    def worst_first(self) -> list[Result]:
        return sorted(self.results, key=lambda result: _ORDER[result.verdict])

    def by_group(self) -> dict[Group, Counter[Verdict]]:
        found: dict[Group, Counter[Verdict]] = {}
        for result in self.results:
            found.setdefault(result.group, Counter())[result.verdict] += 1
        return found

    def _count(self, verdict: Verdict) -> int:
        return sum(result.verdict is verdict for result in self.results)

    def document(self) -> dict[str, Any]:
        """Return the report, JSON-ready."""
        return {
            "name": self.name,
            "checked_at": self.checked_at.isoformat(),
            "ok": self.ok,
            "score": self.score,
            "passed": self.passed,
            "failed": self.failed,
            "not_applicable": self._count(Verdict.NOT_APPLICABLE),
            "groups": {str(group): dict(counts) for group, counts in self.by_group().items()},
            "cases": [asdict(result) for result in self.worst_first()],
        }

    def json_text(self) -> str:
        return json.dumps(self.document(), ensure_ascii=False, indent=1) + "\n"

    def markdown(self) -> str:
        """Return the report for people: the failures with their sentences first, then every case by feed."""
        unseen = f"{self._count(Verdict.NOT_APPLICABLE)} had nothing to look at."
        lines = [
            f"# Conformance of {self.name}",
            "",
            f"{self.score} cases passed on {self.checked_at:%Y-%m-%d %H:%M} UTC; " + unseen,
            "",
            *_table(
                ["Group", "passed", "failed", "not applicable"],
                [[str(g), *(str(c[v]) for v in Verdict)] for g, c in self.by_group().items()],
            ),
        ]
        failures = [result for result in self.worst_first() if result.verdict is Verdict.FAILED]
        if failures:
            lines += ["", "## Failed", ""]
            lines += [f"- **{one.id}** ({one.subject}) {one.title}: {_one_line(one.detail)}" for one in failures]
        for subject in dict.fromkeys(result.subject for result in self.results):
            own = [result for result in self.worst_first() if result.subject == subject]
            rows = [[r.id, r.title, str(r.verdict), f"{r.seconds:.2f}", _one_line(r.detail)] for r in own]
            lines += ["", f"## {subject}", "", *_table(["Case", "", "Verdict", "s", "Detail"], rows)]
        return "\n".join(lines) + "\n"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    return [f"| {' | '.join(row)} |" for row in [list(columns), ["---"] * len(columns), *cells]]


def _one_line(text: str) -> str:
    return " ".join(text.split())
