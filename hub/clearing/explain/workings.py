"""The kernel's tables of one clearing, kept open so that each decision's figures can be read off them. Pure."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from hub.clearing.explain.tracing import Family, Parts, find_elsewhere, find_rivals, take_off
from hub.clearing.kernel.amounts import DAY_US
from hub.clearing.kernel.apply import apply_facts
from hub.clearing.kernel.clear import decide, encoded
from hub.clearing.kernel.codes import build_catalogue
from hub.clearing.kernel.facts import Facts
from hub.clearing.kernel.outcome import decision_columns, decision_frame, final_roots, rejected_columns
from hub.clearing.kernel.rows import DAY, NEW, US
from hub.clearing.kernel.rules import build_rules
from hub.clearing.kernel.vocabulary import COUNTED, HELD, OVERLAPPED, REASON_WORDS, Reason
from hub.clearing.kernel.waivers import mark_waived
from standards.policy import ClearingPolicy
from standards.units import MICRO, format_micro

HELD_BY_POINTS = frozenset({"tie", "uncertain", "too_many_candidates"})
JOINED_SURELY = {
    "same_event_key": "event_key",
    "same_payment_key": "payment_key",
    "part_of_payment": "platform",
    "same_content": "platform",
}
HOUR_US = 3600 * US
BESIDE = frozenset({"two_trips_at_once", "impossible_travel"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What the kernel's tables know of one decision; records by their numbers."""

    same_key: tuple[int, ...] = ()
    match: dict[str, Any] | None = None
    candidates: tuple[dict[str, Any], ...] = ()
    candidate_days: tuple[int, ...] = ()
    other_act: int | None = None
    taken_off: tuple[int, ...] = ()
    limit: dict[str, str] | None = None
    amount: dict[str, Any] | None = None


class Workings:
    """Clears as the kernel does, and keeps what it made; `decisions` is DECISION of the new records.

    Args:
        new, live, policy, facts, waived: as for `kernel.clear`.
    """

    def __init__(
        self,
        new: pl.DataFrame,
        live: pl.DataFrame | None,
        policy: ClearingPolicy,
        facts: Facts,
        waived: pl.DataFrame | None = None,
    ) -> None:
        catalogue = build_catalogue(policy.role_order)
        rows, bad, platforms = encoded(new, live, catalogue)
        rules = build_rules(policy, catalogue, platforms, facts)
        apply_facts(rows, facts, rules)
        if waived is not None and len(waived):
            rules = mark_waived(rows, waived, rules)
        clusters, events = decide(rows, rules)
        decided = decision_frame(decision_columns(rows, clusters, events), policy)
        self.policy = policy
        self.decisions = pl.concat([decided, decision_frame(rejected_columns(bad), policy)])
        self._families: dict[int, Family] = {}
        self._catalogue, self._rows, self._rules = catalogue, rows, rules
        self._clusters, self._events = clusters, events
        self._roots = final_roots(clusters)
        self._places = {int(record): i for i, record in enumerate(rows["record"])}

    def figures(self, record_id: int, reason: str) -> Figures | None:
        """Return what is known of a record that was decided for this reason; None if it was rejected."""
        i = self._places.get(record_id)
        if i is None:
            return None
        root = int(self._roots[i])
        if i != root:
            return self._joined(i, root, reason)
        if reason in HELD_BY_POINTS:
            return self._undecided(i)
        if reason in BESIDE:
            return Figures(other_act=self._rival(i, Reason(REASON_WORDS.index(reason))))
        if reason.startswith("implausible_"):
            return Figures(limit=self._limit(i, Reason(REASON_WORDS.index(reason))))
        by = int(self._events[i]["by"])
        if self._events[i]["verdict"] == OVERLAPPED:
            return Figures(other_act=None if by < 0 else self._number(int(self._roots[by])))
        if self._events[i]["verdict"] == COUNTED:
            return self._counted(i, reason)
        return Figures()

    def _number(self, i: int) -> int:
        return int(self._rows[i]["record"])

    def _family(self, i: int) -> Family:
        """The family that record i is of; its records stand together."""
        if i not in self._families:
            rows = self._rows
            mine = np.flatnonzero((rows["subject"] == rows[i]["subject"]) & (rows["family"] == rows[i]["family"]))
            low, high = int(mine[0]), int(mine[-1]) + 1
            family = Family(rows, self._rules, self._clusters, low, high)
            self._families.update(dict.fromkeys(range(low, high), family))
        return self._families[i]

    # --- why two records are one act ---------------------------------------------------------------------------------

    def _joined(self, i: int, root: int, reason: str) -> Figures:
        name = JOINED_SURELY.get(reason)
        if name is not None:
            rows, mine = self._rows, self._rows[i]
            act = [int(j) for j in np.flatnonzero(self._roots == root) if j != i and rows[j][name] == mine[name]]
            return Figures(same_key=tuple(self._number(j) for j in sorted(act, key=lambda j: j != root)))
        parts = self._family(i).matches().get(i) if reason == "same_time_and_amount" else None
        return Figures(match=None if parts is None else self._match(parts))

    def _match(self, parts: Parts) -> dict[str, Any]:
        match = self.policy.match
        return {
            "record_id": self._number(parts.one), "other_record_id": self._number(parts.other),
            "apart_s": parts.apart_s, "lag": parts.lag, "time_points": parts.time, "quantity_points": parts.quantity,
            "duration_points": parts.duration, "behaviour_points": parts.behaviour, "key_points": parts.keys,
            "points": parts.points, "accept": match.accept, "hold": match.hold, "tie": match.tie,
        }  # fmt: skip

    # --- why an act is held ------------------------------------------------------------------------------------------

    def _undecided(self, i: int) -> Figures:
        family = self._family(i)
        if not family.is_listed(i):
            return Figures(candidate_days=tuple(self._number(j) for j in family.days(i)))
        found = tuple(self._match(parts) for parts in family.candidates(i))
        unsure = [one for one in found if one["points"] < self.policy.match.accept]
        uncertain = self._clusters[i]["held"] == Reason.UNCERTAIN
        return Figures(candidates=found, match=unsure[0] if uncertain and unsure else None)

    def _rival(self, i: int, reason: Reason) -> int | None:
        """The act that this one cannot have been made beside: one that counts before one that was held for it too."""
        rows, events = self._rows, self._events
        acts = (rows["subject"] == rows[i]["subject"]) & (self._roots == np.arange(len(rows))) & (rows["grain"] != DAY)
        acts[i] = False
        doubted = (events["verdict"] == HELD) & (events["reason"] != reason)
        others = np.flatnonzero(acts & ~doubted)
        found = np.zeros(len(others), np.int8)
        find = find_rivals if reason == Reason.TWO_TRIPS_AT_ONCE else find_elsewhere
        find(rows, self._rules, i, others, found)
        rivals = others[found == 1]
        if not len(rivals):
            return None
        best = rivals[np.lexsort((rows["start"][rivals], events["verdict"][rivals] != COUNTED))[0]]
        return self._number(int(best))

    def _limit(self, i: int, reason: Reason) -> dict[str, str]:
        row, event = self._rows[i], self._events[i]
        bounds = self._rules.behaviours[row["behaviour"]]
        teller = int(self._clusters[i]["precise"])
        span = self._rows[teller if teller >= 0 else i]
        length_us = int(span["end"] - span["start"])
        quantity, donor = int(event["quantity"]), int(event["donor"])
        told = self._rows[donor] if row["quantity"] < 0 and donor >= 0 else row
        unit = self._catalogue.units[told["unit"]]
        if reason == Reason.IMPLAUSIBLE_DURATION:
            most = self.policy.match.longest_s if teller >= 0 else 2 * DAY_US // US
            return {"value": str(length_us // US), "limit": str(most), "unit": "s"}
        if reason == Reason.IMPLAUSIBLE_DAY:
            most = int(bounds["max_acts"])
            return {"value": str(most + 1), "limit": str(most), "unit": "acts"}
        if reason in (Reason.IMPLAUSIBLE_ENERGY, Reason.IMPLAUSIBLE_DAY_TOTAL):
            return {"value": format_micro(quantity), "limit": str(bounds["max_total"]), "unit": unit}
        if reason in (Reason.IMPLAUSIBLE_SPEED, Reason.IMPLAUSIBLE_POWER):
            speed = quantity * HOUR_US // max(length_us, 1)
            power = reason == Reason.IMPLAUSIBLE_POWER
            each = {"value": format_micro(speed // MICRO * MICRO), "limit": str(bounds["max_per_hour"])}
            return each | {"unit": "kW" if power else f"{unit}/h"}
        daily = row["grain"] == DAY and bounds["max_day"] >= 0
        return {
            "value": format_micro(quantity),
            "limit": str(bounds["max_day" if daily else "max_quantity"]),
            "unit": unit,
        }

    # --- what counts -------------------------------------------------------------------------------------------------

    def _counted(self, i: int, reason: str) -> Figures:
        row, event = self._rows[i], self._events[i]
        if row["live"] != NEW:
            return Figures()
        donor = int(event["donor"]) if row["quantity"] < 0 and event["donor"] >= 0 else i
        lends = donor != i and int(event["quantity"]) == int(self._rows[donor]["quantity"])
        reference = int(self._rows[donor if lends else i]["reference"])
        claimed = int(event["claimed"])
        capped = reference if claimed < 0 else min(reference, claimed)
        told, off = self._taken_off(i, capped) if reason == "rest_of_day" else ((), None)
        limited = "rest" if reason == "rest_of_day" else "claim" if 0 <= claimed < reference and capped >= 0 else None
        amount = {
            "counted_mg": int(event["mg"]),
            "reference_mg": None if reference < 0 else reference,
            "claimed_mg": None if claimed < 0 else claimed,
            "quantity_micro": None if event["quantity"] < 0 else int(event["quantity"]),
            "quantity_from": self._number(donor) if lends else None,
            "taken_off_micro": off,
            "limited_by": limited,
        }
        return Figures(amount=amount, taken_off=told)

    def _taken_off(self, day: int, whole_mg: int) -> tuple[tuple[int, ...], int | None]:
        """Which acts a day's record was lessened by, and by how many millionths of its own unit."""
        family = self._family(day)
        told = np.zeros(len(family.rows), np.int64)
        if not take_off(self._rows, self._rules, self._clusters, self._events, day, whole_mg, family.low, told):
            return (), None
        return tuple(self._number(family.low + int(k)) for k in np.flatnonzero(told)), int(told.sum())
