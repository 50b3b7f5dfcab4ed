"""One row that a platform delivers, and what became of the row before it was delivered. Pure."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import numpy as np

from hub.sandbox.acts import Act
from hub.sandbox.people import Person, generator_of
from hub.sandbox.registers import FIRST, dice_of
from hub.sandbox.town import Town


class Note(StrEnum):
    """What a row is, next to the first and plain telling of an act."""

    PLAIN = "plain"
    LATE = "late"  # delivered in a later part than it happened
    REPLAY = "replay"  # the very same row once more
    CORRECTION = "correction"  # the same record with other content
    CANCELLATION = "cancellation"  # the platform takes its record back
    PARTIAL = "partial"  # a day that was not over when it was told
    ONCE_AGAIN = "once_again"  # a once-only act told under a new number
    DIRTY = "dirty"  # as real data are: told, but not well
    MALFORMED = "malformed"  # nobody can read it


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One delivered row.

    `body` is the JSON text of the row in the platform's own format, exactly as delivered. `version` counts the editions
    of one `source_id` whether or not the format carries a version. `act_id` is None for a row that tells of nothing
    real. `trouble` says why nobody can count the row (an expected quarantine), None for a row that can be read.
    `lines` are the card records that a file carries for the row, where the wire is not the row itself.
    `stream` is the feed that carries it; a platform with one feed leaves it empty.
    """

    platform: str
    part: int
    person: int
    account: str
    act_id: int | None
    source_id: str
    version: int
    delivered_at: datetime
    body: str
    claimed_mg: int = 0
    note: Note = Note.PLAIN
    trouble: str | None = None
    lines: tuple[str, ...] = ()
    stream: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edition:
    """One time that a record is delivered: which version of it, dated when, handed over when, and why."""

    version: int
    posted_at: datetime
    delivered_at: datetime
    note: Note


@dataclass(frozen=True, slots=True, kw_only=True)
class Odds:
    """How often a platform's records have a fate other than plain; the rest is plain."""

    late: float = 0.03
    replay: float = 0.03
    correction: float = 0.025
    cancellation: float = 0.015


def voice_of(town: Town, platform: str, person: Person, stream: str | None = None) -> np.random.Generator:
    """Return the random generator with which one platform (on a stream beside its first) tells of one person."""
    if platform in FIRST and stream is None:
        return generator_of(town.seed, 10 + FIRST.index(platform), person.index)
    return generator_of(town.seed, dice_of(f"{platform}/{stream or ''}"), person.index)


def draw_editions(
    rng: np.random.Generator, town: Town, posted_at: datetime, odds: Odds, *, correctable: bool
) -> tuple[Edition, ...]:
    """Return every delivery of one record, first to last. Draws the same number of values whatever comes out."""
    draw, days, hours = rng.random(), float(rng.uniform(2, 12)), int(rng.integers(1, 30))
    first = Edition(version=1, posted_at=posted_at, delivered_at=posted_at, note=Note.PLAIN)
    # A platform's month ends: what it would have said later it says at the end.
    later = max(posted_at + timedelta(minutes=30), min(posted_at + timedelta(days=days), town.ends_at))
    if draw < odds.late:
        if town.part_of(later) == town.part_of(posted_at):
            return (first,)
        return (Edition(version=1, posted_at=later, delivered_at=later, note=Note.LATE),)
    if draw < (bound := odds.late + odds.replay):
        again = posted_at + timedelta(hours=hours)
        return first, Edition(version=1, posted_at=posted_at, delivered_at=again, note=Note.REPLAY)
    if draw < (bound := bound + odds.correction) and correctable:
        return first, Edition(version=2, posted_at=later, delivered_at=later, note=Note.CORRECTION)
    if bound <= draw < bound + odds.cancellation:
        return first, Edition(version=2, posted_at=later, delivered_at=later, note=Note.CANCELLATION)
    return (first,)


def report_edition(
    town: Town,
    person: Person,
    edition: Edition,
    *,
    platform: str,
    act: Act | None,
    source_id: str,
    body: str,
    claimed_mg: int = 0,
    trouble: str | None = None,
    lines: tuple[str, ...] = (),
    stream: str = "",
) -> Report:
    """Return the row that one delivery of a record is, of the person's account at the platform (if it has accounts)."""
    return Report(
        platform=platform,
        part=town.part_of(edition.delivered_at),
        person=person.index,
        account=person.accounts.get(platform, ""),
        act_id=None if act is None else act.act_id,
        source_id=source_id,
        version=edition.version,
        delivered_at=edition.delivered_at,
        body=body,
        claimed_mg=claimed_mg,
        note=edition.note,
        trouble=trouble,
        lines=lines,
        stream=stream,
    )


def draw_skew(rng: np.random.Generator, *, spread_s: float, limit_s: int) -> timedelta:
    """Return by how much a platform's clock is off for one record, in whole seconds."""
    return timedelta(seconds=int(min(max(rng.normal(0, spread_s), -limit_s), limit_s)))


def keep_key(rng: np.random.Generator, key: str | None, odds: float) -> str | None:
    """Return an origin key as a platform knows it: as given, missing, or seldom the dummy that old systems write."""
    draw = rng.random()
    if draw > 0.997 and key is not None:
        return "999999999"
    return key if draw < odds else None


def json_text(row: Mapping[str, Any]) -> str:
    """Return the row as compact JSON text."""
    return json.dumps(row, ensure_ascii=False, separators=(",", ":"))


def grams_text(mg: int) -> str:
    """Return milligrams as grams with two decimals, exactly; the town's claims are multiples of 10 mg."""
    if mg % 10:
        raise ValueError("a claim in grams with two decimals cannot carry single milligrams")
    return f"{mg // 1000}.{mg % 1000 // 10:02d}"


def is_open(person: Person, platform: str) -> bool:
    """Say whether the hub sees everything of this person at this platform; rows in trouble are put only there."""
    return platform in person.links and person.revokes is None


def acts_told(town: Town, person: Person, behaviours: frozenset[str]) -> tuple[Act, ...]:
    """Return the person's acts of these behaviours, in order."""
    return tuple(act for act in town.acts_of(person) if act.behaviour in behaviours)
