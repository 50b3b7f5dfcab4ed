"""What must be learnt over all records before any is cleared. Pure.

Keys that many people carry are constants, not tokens; some platforms tell the end of an act; some cannot tell a bus
from a metro; two people in one car share one ride. The evidence adds up over frames as long as each frame holds all
records of its people, so that any layout of the same records teaches the same facts.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl

from hub.clearing.kernel.customs import SLOTS, Customs
from hub.clearing.kernel.rows import Table
from standards.behaviours import accepted_behaviours
from standards.policy import ClearingPolicy, LearningRules

KEYS = pl.Schema({"kind": pl.UInt8(), "key": pl.UInt64(), "subjects": pl.UInt32(), "sharers": pl.UInt32()})
RIDES = pl.Schema(
    {
        "event_key": pl.UInt64(),
        "subject_id": pl.Int64(),
        "live": pl.Boolean(),
        "told": pl.Boolean(),
        "rank": pl.Int8(),
        "start_us": pl.Int64(),
        "record_id": pl.Int64(),
    }
)
COUNTED = ("ends", "starts", "agree", "differ", "known", "own")
CUSTOMS = pl.Schema(
    {"platform": pl.String(), "behaviour": pl.String()} | {name: pl.Int64() for name in COUNTED},
)
PARTNERS = pl.Schema({"platform": pl.String(), "other": pl.String(), "together": pl.Int64()})
EVENT_KEY, PAYMENT_KEY = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evidence:
    """Counts that add up over frames of different people."""

    keys: pl.DataFrame
    """KEYS: by key, how many people carry it, outside and inside the behaviours that people share."""
    rides: pl.DataFrame
    """RIDES: each person's best record under a key of a behaviour that people share."""
    customs: pl.DataFrame
    """CUSTOMS."""
    partners: pl.DataFrame
    """PARTNERS: acting platforms that report the same acts, names in alphabetical order."""
    slots: tuple[int, ...]
    """Begins of day records by quarter of an hour, UTC."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Facts:
    """What the kernel may take for known beside the policy."""

    junk_event_keys: pl.Series
    junk_payment_keys: pl.Series
    owners: pl.DataFrame
    """`event_key`, `owner` (subject_id): shared rides, and the person with whom each counts."""
    ends: dict[tuple[str, str], int]
    """(platform, behaviour): 1 if a single moment is the end of the act, 0 if its begin, 2 if now this and now that."""
    mixes: dict[tuple[str, str], bool]
    """(platform, behaviour): whether the platform mixes the behaviours of the family up, where that is known."""
    own: dict[tuple[str, str], int]
    """(platform, behaviour): 1 if the event keys are the platform's own, 0 if they are the origin's, 2 if some are own."""
    together: frozenset[tuple[str, str]]
    """Acting platforms, names in alphabetical order, that report the same acts."""
    day_offset_us: int
    """When service days begin, after midnight UTC."""


def merge_evidence(parts: Iterable[Evidence]) -> Evidence:
    """Add up the evidence of frames that have no person in common."""
    all_parts = list(parts)

    def total(frames: list[pl.DataFrame], by: list[str]) -> pl.DataFrame:
        return pl.concat(frames).group_by(by).sum()

    return Evidence(
        keys=total([p.keys for p in all_parts], ["kind", "key"]),
        rides=pl.concat([p.rides for p in all_parts]),
        customs=total([p.customs for p in all_parts], ["platform", "behaviour"]),
        partners=total([p.partners for p in all_parts], ["platform", "other"]),
        slots=tuple(np.sum([p.slots for p in all_parts], axis=0).tolist()),
    )


def conclude(evidence: Evidence, policy: ClearingPolicy) -> Facts:
    """Return what the evidence is enough for."""
    limits = policy.keys
    # A ride's key may be carried by everybody in the car, but not by people who did not share one.
    junk = evidence.keys.filter(
        (pl.col("subjects") > limits.junk_subjects) | (pl.col("sharers") > limits.shared_subjects)
    )
    junk_event_keys = junk.filter(pl.col("kind") == EVENT_KEY)["key"]
    return Facts(
        junk_event_keys=junk_event_keys,
        junk_payment_keys=junk.filter(pl.col("kind") == PAYMENT_KEY)["key"],
        owners=find_owners(evidence.rides, junk_event_keys),
        ends=_moments(evidence.customs, policy.learning),
        mixes=_believed(evidence.customs, "differ", "agree", policy.learning.miscoded_permille, policy.learning),
        own=_keys(evidence.customs, policy.learning),
        together=frozenset(
            (row["platform"], row["other"])
            for row in evidence.partners.iter_rows(named=True)
            if row["together"] >= policy.learning.min_votes
        ),
        day_offset_us=_day_offset_us(evidence.slots, policy),
    )


def find_owners(rides: pl.DataFrame, junk_event_keys: pl.Series) -> pl.DataFrame:
    """Return for every shared key the person with whom it counts: counted before, telling how far, best witness."""
    shared = rides.filter(pl.col("subject_id").n_unique().over("event_key") > 1)
    shared = shared.filter(~pl.col("event_key").is_in(junk_event_keys.implode()))
    ordered = shared.sort(
        "event_key",
        "live",
        "told",
        "rank",
        "start_us",
        "record_id",
        descending=[False, True, True, False, False, False],
    )
    return ordered.unique("event_key", keep="first", maintain_order=True).select("event_key", owner="subject_id")


def _moments(customs: pl.DataFrame, learning: LearningRules) -> dict[tuple[str, str], int]:
    """Return what single moments are: a platform that calls a tram a bus may charge one of them at the end."""
    rarely = learning.rarely_permille
    often = _believed(customs, "ends", "starts", rarely, learning)
    always = _believed(customs, "ends", "starts", 1000 - rarely, learning)
    return {place: (1 if always[place] else 2) if ends else 0 for place, ends in often.items()}


def _keys(customs: pl.DataFrame, learning: LearningRules) -> dict[tuple[str, str], int]:
    """Return whose event keys are: of some platforms all, of others a few are counts of their own."""
    some = _believed(customs, "own", "known", learning.odd_permille, learning)
    all_own = _believed(customs, "own", "known", learning.own_permille, learning)
    return {place: (1 if all_own[place] else 2) if odd else 0 for place, odd in some.items()}


def _believed(
    customs: pl.DataFrame, yes: str, no: str, permille: int, learning: LearningRules
) -> dict[tuple[str, str], bool]:
    """Return what is believed of a platform's behaviours: by what was seen of each, or of its whole family."""
    codes = accepted_behaviours().values()
    families = pl.DataFrame({"behaviour": [b.code for b in codes], "family": [b.family for b in codes]})
    seen = customs.join(families, on="behaviour").select("platform", "behaviour", "family", yes, no)
    whole = seen.group_by("platform", "family").agg(pl.col(yes, no).sum()).join(families, on="family")
    of_each = seen.filter(pl.col(yes) + pl.col(no) >= learning.min_votes)
    believed = pl.concat([whole.select(of_each.columns), of_each]).filter(
        pl.col(yes) + pl.col(no) >= learning.min_votes
    )
    return {
        # What was seen of the behaviour itself comes last and stands.
        (row["platform"], row["behaviour"]): row[yes] * 1000 > permille * (row[yes] + row[no])
        for row in believed.iter_rows(named=True)
    }


def _day_offset_us(slots: tuple[int, ...], policy: ClearingPolicy) -> int:
    """Return the begin most seen; the policy's zone if nothing is seen or it does as well."""
    usual = (-policy.zone_offset_s) % 86_400 // (86_400 // SLOTS)
    best = max(range(SLOTS), key=lambda slot: (slots[slot], slot == usual, -slot))
    return (best if slots[best] else usual) * 900 * 1_000_000


def name_customs(
    customs: Customs, platforms: tuple[str, ...], behaviours: tuple[str, ...]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the counted customs by name: CUSTOMS and PARTNERS."""
    counts = [getattr(customs, name) for name in COUNTED]
    seen = np.argwhere(np.sum(counts, axis=0) > 0)
    by_behaviour = [(platforms[p], behaviours[b], *(int(count[p, b]) for count in counts)) for p, b in seen]
    pairs = [(platforms[p], platforms[q], int(customs.together[p, q])) for p, q in np.argwhere(customs.together > 0)]
    return pl.DataFrame(by_behaviour, CUSTOMS, orient="row"), pl.DataFrame(pairs, PARTNERS, orient="row")


def count_keys(rows: Table, shared: list[int]) -> pl.DataFrame:
    """Return KEYS of ROW; `shared` are the behaviours whose acts people share."""
    parts = []
    for kind, name in ((EVENT_KEY, "event_key"), (PAYMENT_KEY, "payment_key")):
        at = np.flatnonzero(rows[name])
        carried = pl.DataFrame(
            {"key": rows[name][at], "subject": rows["subject"][at], "is_shared": np.isin(rows["behaviour"][at], shared)}
        )
        subject = pl.col("subject")
        counts = carried.group_by("key").agg(
            kind=pl.lit(kind, pl.UInt8),
            subjects=subject.filter(~pl.col("is_shared")).n_unique(),
            sharers=subject.n_unique(),
        )
        parts.append(counts.select(list(KEYS)).cast(KEYS))
    return pl.concat(parts)


def find_rides(rows: Table, shared: list[int]) -> pl.DataFrame:
    """Return RIDES of ROW."""
    at = np.flatnonzero(np.isin(rows["behaviour"], shared) & (rows["event_key"] != 0))
    act = rows[at]
    rides = pl.DataFrame(
        {
            "event_key": act["event_key"].copy(),
            "subject_id": act["subject"].copy(),
            "live": act["counted"] > 0,
            "told": act["quantity"] >= 0,
            "rank": act["rank"].copy(),
            "start_us": act["start"].copy(),
            "record_id": act["record"].copy(),
        },
        schema=RIDES,
    )
    order = list(RIDES)
    best = rides.sort(order, descending=[name in ("live", "told") for name in order])
    return best.unique(["event_key", "subject_id"], keep="first")
