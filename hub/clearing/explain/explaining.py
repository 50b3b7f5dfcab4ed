"""Why a record was decided so: its act, who else told of it, the rule with its figures, what counts, and since when. Pure.

The kernel clears the person's records once more, and the explanation is read off its own tables (`tracing`): it cannot
disagree with the decision. Where a decision is given that was stored earlier, that one is explained; should today's run
not come to it any more, because other facts were known then, its figures are left out and `reproduced` is False.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from hub.clearing.explain.explanation import Amount, Explanation, Limit, Match, Report
from hub.clearing.explain.workings import Workings
from hub.clearing.kernel.clear import observe
from hub.clearing.kernel.facts import Facts, conclude
from standards.methodology import CURRENT_METHODOLOGY
from standards.overlap import load_overlaps
from standards.policy import ClearingPolicy
from standards.schema import Verdict

KEY_KINDS = {
    "same_event_key": "event",
    "same_payment_key": "payment",
    "part_of_payment": "part",
    "same_content": "content",
}
SAYS = ("event_id", "verdict", "rule", "reason", "counted_mg", "canonical_record_id")


def explain_records(
    new: pl.DataFrame,
    live: pl.DataFrame | None,
    policy: ClearingPolicy,
    facts: Facts | None = None,
    *,
    record_ids: Sequence[int],
    waived: pl.DataFrame | None = None,
    decided: pl.DataFrame | None = None,
    set_aside: pl.DataFrame | None = None,
    later: pl.DataFrame | None = None,
    methodologies: Mapping[int, str] | None = None,
) -> dict[int, Explanation]:
    """Explain what was decided about some of the new records.

    Args:
        new, live, policy, facts, waived: as for `clear`, with all records of the people concerned.
        record_ids: which of `new` and `set_aside`; what is of neither is left out of the answer.
        decided: DECISION as it was stored; by default what `clear` decides now.
        set_aside: QUANTIFIED; records that were decided before the kernel, by version or consent: these are stored only.
        later: QUANTIFIED and DECISION; records that came in later windows, for what they tell of the same acts.
        methodologies: by record, what its `reference_mg` was made with; the current one where it is not told.

    Returns:
        By record.
    """
    facts = conclude(observe(new, live, policy), policy) if facts is None else facts
    workings = Workings(new, live, policy, facts, waived)
    fresh = _by_record(workings.decisions)
    stored = fresh if decided is None else fresh | _by_record(decided)
    aside = new.clear() if set_aside is None else set_aside
    reports = _reports(pl.concat([new, aside.select(new.columns)]), live, later, stored)
    before = frozenset(aside["record_id"])
    found = {}
    for record_id in record_ids:
        if record_id not in stored or record_id not in reports:
            continue
        made_with = (methodologies or {}).get(record_id, CURRENT_METHODOLOGY)
        told = _told(record_id, reports, stored, policy, made_with)
        if _agrees(record_id, reports, stored, fresh, before):
            told = _with_figures(told, reports, workings, made_with)
        else:
            told = replace(told, reproduced=False)
        found[record_id] = told
    return found


def _by_record(decisions: pl.DataFrame) -> dict[int, dict[str, Any]]:
    return {row["record_id"]: row for row in decisions.iter_rows(named=True)}


def _reports(
    new: pl.DataFrame,
    live: pl.DataFrame | None,
    later: pl.DataFrame | None,
    decided: Mapping[int, Mapping[str, Any]],
) -> dict[int, Report]:
    names = [name for name in Report.__slots__ if name != "window"]
    reports = {}
    for frame, window in ((later, "later"), (live, "earlier")):
        told = new.clear() if frame is None else frame.filter(pl.col("event_id").is_not_null())
        missing: dict[str, Any] = dict.fromkeys((name for name in names if name not in told.columns), None)
        for row in told.select([name for name in names if name in told.columns]).iter_rows(named=True):
            reports[row["record_id"]] = Report(**row, **missing, window=window)
    for row in new.select([name for name in names if name in new.columns]).iter_rows(named=True):
        said = decided.get(row["record_id"])
        if said is not None:
            words = {name: said[name] for name in ("event_id", "verdict", "rule", "reason", "counted_mg")}
            reports[row["record_id"]] = Report(**row, **words, window="same")
    return reports


def _told(
    record_id: int,
    reports: Mapping[int, Report],
    decided: Mapping[int, Mapping[str, Any]],
    policy: ClearingPolicy,
    methodology: str,
) -> Explanation:
    """Return what the decisions themselves say, without the kernel's figures."""
    report, said = reports[record_id], decided[record_id]
    members = [r for r in reports.values() if r.event_id is not None and r.event_id == report.event_id]
    others = tuple(sorted((r for r in members if r.record_id != record_id), key=_in_time))
    canonical = reports.get(report.event_id) if report.event_id is not None else None
    held = said["canonical_record_id"]
    other_act = reports.get(held) if held is not None and held != report.event_id else None
    reason = str(said["reason"])
    rule = str(said["rule"])
    why, sources = _reasons_of(rule, report.behaviour)
    return Explanation(
        report=report,
        others=others,
        canonical=canonical,
        canonical_why=_why_canonical(canonical, members, policy) if canonical else None,
        canonical_record_id=held,
        event_mg=canonical.counted_mg if canonical else 0,
        event_verdict=canonical.verdict if canonical else report.verdict,
        key=KEY_KINDS.get(reason),
        same_key=(),
        match=None,
        candidates=(),
        candidate_days=(),
        other_act=other_act,
        taken_off=(),
        related=() if other_act is None else (other_act,),
        why=why,
        sources=sources,
        limit=None,
        amount=_amount_told(report, methodology) if report.verdict == Verdict.COUNTED else None,
        policy=policy.version,
        reproduced=True,
    )


def _in_time(report: Report) -> tuple[bool, Any, int]:
    return report.start_at is None, report.start_at, report.record_id


def _reasons_of(rule: str, behaviour: str | None) -> tuple[str | None, tuple[str, ...]]:
    """Return the overlap matrix's reason for a rule, best that which names the behaviour."""
    matrix = load_overlaps()
    if rule == "T3":
        groups = [g for g in matrix.groups.values() if behaviour in g.behaviours]
        return (groups[0].why if groups else None), ()
    if rule.startswith("T") or rule in ("single", "input", "plausibility", "consent"):
        return None, ()
    reasons = matrix.reasons_for(rule)
    named = [o for o in reasons if behaviour in (*o.left, *o.right)] or list(reasons)
    return (named[0].why, named[0].sources) if named else (None, ())


def _why_canonical(canonical: Report, members: Sequence[Report], policy: ClearingPolicy) -> str | None:
    """Return by what the canonical record is before the next one, in the kernel's order."""
    names = ("earlier", "role", "start", "platform", "record")

    def order(report: Report) -> tuple[Any, ...]:
        earlier = report.window == "earlier"
        begun = earlier and report.record_id == report.event_id
        rank = policy.role_order.index(report.role) if report.role in policy.role_order else len(policy.role_order)
        return (not begun, not earlier), rank, report.start_at, report.platform, report.record_id

    # What came later never had a say.
    rest = [order(r) for r in members if r.record_id != canonical.record_id and r.window != "later"]
    if not rest:
        return None
    mine, second = order(canonical), min(rest)
    return next(name for name, a, b in zip(names, mine, second, strict=True) if a != b)


def _amount_told(report: Report, methodology: str) -> Amount:
    """Return what the canonical record alone says of its amount."""
    return Amount(
        counted_mg=report.counted_mg, reference_mg=report.reference_mg, claimed_mg=report.claimed_mg,
        quantity_micro=report.quantity_micro, quantity_from=None, taken_off_micro=None, methodology=methodology,
        factor_id=report.factor_id, limited_by=None,
    )  # fmt: skip


def _agrees(
    record_id: int,
    reports: Mapping[int, Report],
    stored: Mapping[int, Mapping[str, Any]],
    fresh: Mapping[int, Mapping[str, Any]],
    before: frozenset[int],
) -> bool:
    """Say whether the kernel comes to the stored decisions about the record's whole act, as far as they are its own."""
    event = reports[record_id].event_id
    act = {r.record_id for r in reports.values() if event is not None and r.event_id == event and r.window == "same"}
    return all(
        one in fresh and all(stored[one][name] == fresh[one][name] for name in SAYS)
        for one in ({record_id} | act) - before
    )


def _with_figures(
    told: Explanation, reports: Mapping[int, Report], workings: Workings, methodology: str
) -> Explanation:
    """Add what only the kernel's tables know."""
    record_id, reason = told.report.record_id, str(told.report.reason)
    figures = workings.figures(record_id, reason)
    if figures is None:
        return told
    other = reports.get(figures.other_act) if figures.other_act is not None else told.other_act
    limit, amount = figures.limit, figures.amount
    valued = reports.get(amount["quantity_from"] or record_id) if amount else None
    made: dict[str, Any] = {"methodology": methodology, "factor_id": valued.factor_id if valued else None}
    compared = [m for m in (figures.match, *figures.candidates) if m is not None]
    named = {r for m in compared for r in (m["record_id"], m["other_record_id"])}
    named |= {*figures.candidate_days, *figures.taken_off, *([] if other is None else [other.record_id])}
    named -= {record_id, *(r.record_id for r in told.others)}
    return replace(
        told,
        same_key=figures.same_key,
        match=Match(**figures.match) if figures.match else None,
        candidates=tuple(Match(**one) for one in figures.candidates),
        candidate_days=figures.candidate_days,
        other_act=other,
        taken_off=figures.taken_off,
        related=tuple(sorted((reports[r] for r in named if r in reports), key=_in_time)),
        limit=Limit(**limit) if limit else None,
        amount=Amount(**amount, **made) if amount else told.amount,
    )
