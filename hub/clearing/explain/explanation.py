"""What there is to know of one decision: the record, its act, the others who told of it, the rule and its figures. Pure."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One record, as its platform told it and as it was decided; None where nothing was told."""

    record_id: int
    platform: str | None
    role: str | None
    behaviour: str | None
    start_at: datetime | None
    end_at: datetime | None
    precision: str | None
    quantity_micro: int | None
    unit: str | None
    claimed_mg: int | None
    reference_mg: int | None
    factor_id: str | None
    event_id: int | None
    verdict: str
    rule: str | None
    reason: str | None
    counted_mg: int
    window: str
    """When it was decided: in the same window as the record that is explained, or earlier, or later."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A comparison of two reports on points (T4): thousandths of a point, whole seconds."""

    record_id: int
    other_record_id: int
    apart_s: int
    lag: bool
    time_points: int
    quantity_points: int
    duration_points: int
    behaviour_points: int
    key_points: int
    points: int
    accept: int
    hold: int
    tie: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What was beyond which bound of the policy; `unit` is the record's, or s, or acts."""

    value: str
    limit: str
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Amount:
    """Where an act's amount comes from. Milligrams; quantities in millionths."""

    counted_mg: int
    reference_mg: int | None
    claimed_mg: int | None
    quantity_micro: int | None
    quantity_from: int | None
    """The record that told the quantity, if it is another than the canonical one."""
    taken_off_micro: int | None
    """What others told one by one of a day's sum, in the unit of the record."""
    methodology: str
    factor_id: str | None
    limited_by: str | None
    """claim, rest (of a day), or None: the methodology's amount counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Everything that led to one decision."""

    report: Report
    others: tuple[Report, ...]
    """The other records of the act, in order of time."""
    canonical: Report | None
    canonical_why: str | None
    """What made it canonical: earlier (window), role, start, platform, record; None if it is alone."""
    canonical_record_id: int | None
    event_mg: int
    event_verdict: str
    key: str | None
    """T1, T2: event, payment, part, content."""
    same_key: tuple[int, ...]
    """The records of the act that carry the same key, the canonical one first."""
    match: Match | None
    candidates: tuple[Match, ...]
    """Of a held record: what it could have been, the best first."""
    candidate_days: tuple[int, ...]
    """Of a booking that is held: the acts of its day that it could be."""
    other_act: Report | None
    """T3, T5: the act that has the grams, or that cannot have been at the same time."""
    taken_off: tuple[int, ...]
    """The acts that were taken off a day's sum."""
    related: tuple[Report, ...]
    """The reports of other acts that are named above."""
    why: str | None
    """T3, T5: the reason of the overlap matrix; `sources` are its sources."""
    sources: tuple[str, ...]
    limit: Limit | None
    amount: Amount | None
    policy: str
    reproduced: bool

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values; times in ISO 8601, UTC."""
        return dict(_plain(asdict(self)))


def redact(told: Explanation, may_see: Callable[[Report], bool]) -> Explanation:
    """Leave out of an explanation what somebody may not see.

    Args:
        may_see: whether a report may be shown, itself and what can be concluded of it: its platform, times, amounts.
            The report that is explained is shown in any case.

    Returns:
        The same decision. Of an act that counts from another's report, no more than that is left.
    """
    others = tuple(r for r in told.others if may_see(r))
    related = tuple(r for r in told.related if may_see(r))
    shown = {told.report.record_id, *(r.record_id for r in (*others, *related))}

    def seen(match: Match | None) -> bool:
        return match is not None and {match.record_id, match.other_record_id} <= shown

    hidden = told.canonical is not None and told.canonical.record_id not in shown
    # An event is named by its canonical record, whose number is another platform's here.
    report = replace(told.report, event_id=None) if hidden else told.report
    return replace(
        told,
        report=report,
        others=tuple(replace(r, event_id=None) for r in others) if hidden else others,
        canonical=None if hidden else told.canonical,
        canonical_why=None if hidden else told.canonical_why,
        canonical_record_id=told.canonical_record_id if told.canonical_record_id in shown else None,
        event_mg=0 if hidden else told.event_mg,
        event_verdict=told.report.verdict if hidden else told.event_verdict,
        same_key=tuple(r for r in told.same_key if r in shown),
        match=told.match if seen(told.match) else None,
        candidates=tuple(m for m in told.candidates if seen(m)),
        candidate_days=tuple(r for r in told.candidate_days if r in shown),
        other_act=told.other_act if told.other_act is not None and told.other_act.record_id in shown else None,
        taken_off=tuple(r for r in told.taken_off if r in shown),
        related=related,
        amount=None if hidden else _redacted_amount(told.amount, shown),
    )


def _redacted_amount(amount: Amount | None, shown: set[int]) -> Amount | None:
    if amount is None or amount.quantity_from is None or amount.quantity_from in shown:
        return amount
    return replace(amount, quantity_from=None, quantity_micro=None)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return value.isoformat() if isinstance(value, datetime) else value
