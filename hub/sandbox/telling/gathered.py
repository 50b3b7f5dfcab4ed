"""What a platform tells that gathers the acts of others: a city, an aggregator, an employer. Pure.

Such platforms differ in their names, words and units, and in which acts they know; how they come to know them, and what
goes wrong on the way, is the same. A platform is a `Teller`: a few tables and a function that writes one row.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from hub.sandbox import acts
from hub.sandbox.acts import BEIJING_TIME, Act
from hub.sandbox.people import Person
from hub.sandbox.telling.report import (
    Edition,
    Note,
    Odds,
    Report,
    acts_told,
    draw_editions,
    draw_skew,
    is_open,
    json_text,
    keep_key,
    report_edition,
    voice_of,
)
from hub.sandbox.town import Town

BIKE_G_KM, CHARGE_G_KWH = 250, 460
KM_H = {acts.METRO: 32, acts.BUS: 17}  # for platforms that tell the length of a ride
_MALFORMED_ODDS = 0.5
_DAYS = frozenset({acts.WALK, "MOB-NODRIVE"})
_WITH_DISTANCE = frozenset({acts.BIKE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One version of one act as the platform knows it; amounts are millionths of the behaviour's unit.

    `metres` is the length of a ride, whether or not the platform tells it; `claim_mg` is None if it claims nothing.
    """

    source_id: str
    version: int
    account: str
    behaviour: str
    start_at: datetime
    end_at: datetime
    quantity_micro: int
    metres: int
    order_no: str | None
    pay_no: str | None
    claim_mg: int | None
    cancelled: bool
    posted_at: datetime
    city_code: str


Row = dict[str, Any]
Write = Callable[[Line], Row]


@dataclass(frozen=True, slots=True, kw_only=True)
class Teller:
    """How one platform tells, or one feed of it that has acts of its own.

    Attributes:
        stream: empty for a platform's first feed.
        prefix: of its own numbers.
        known: per behaviour, how often the platform hears of an act.
        claim: milligrams for a line; None for a platform that claims nothing.
        claims: how often it says them.
        write: a line in the platform's own words.
        malformed: per machine reason of the hub, what is changed in a good row so that nobody can read it.
        keys: how often the order and the payment are known.
        instants: acts that the platform knows by one moment, and whether that is their end.
        tells: which of the acts are this feed's.
    """

    platform: str
    prefix: str
    known: Mapping[str, float]
    write: Write
    claim: Callable[[Line], int] | None = None
    malformed: Mapping[str, Row] = field(default_factory=dict)
    keys: tuple[float, float] = (0.7, 0.5)
    instants: Mapping[str, bool] = field(default_factory=lambda: {acts.BUS: False})
    odds: Odds = field(default_factory=Odds)
    claims: float = 0.9
    stream: str = ""
    tells: Callable[[Act], bool] = lambda act: True


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A delivery of a line: which act, which edition."""

    act: Act | None
    line: Line
    edition: Edition


def tell_gathered(town: Town, person: Person, teller: Teller) -> list[Report]:
    """Return what the platform delivers of one person, in no particular order."""
    if teller.platform not in person.accounts:
        return []
    rng = voice_of(town, teller.platform, person, teller.stream or None)
    told = [
        _report(town, person, teller, one, teller.write(one.line)) for one in _deliveries(rng, town, person, teller)
    ]
    return told + _malformed(rng, town, person, teller)


def tell_again(
    town: Town, person: Person, teller: Teller, stream: str, write: Write, *, later: timedelta
) -> list[Report]:
    """Return the same acts in the form of a second feed: the same lines and versions, each listed once, some time later."""
    if teller.platform not in person.accounts:
        return []
    told = _deliveries(voice_of(town, teller.platform, person), town, person, teller)
    again = [
        replace(one, edition=replace(one.edition, delivered_at=one.edition.delivered_at + later))
        for one in told
        if one.edition.note is not Note.REPLAY
    ]
    return [replace(_report(town, person, teller, one, write(one.line)), stream=stream) for one in again]


def _deliveries(rng: np.random.Generator, town: Town, person: Person, teller: Teller) -> list[Told]:
    told = []
    for number, act in enumerate(acts_told(town, person, frozenset(teller.known)), start=1):
        known = rng.random() < teller.known[act.behaviour]
        line = _first_line(rng, town, person, teller, act, number)
        posted_at = act.end_at + timedelta(seconds=int(rng.integers(20, 400)))
        editions = draw_editions(
            rng,
            town,
            posted_at,
            teller.odds,
            correctable=act.behaviour in _WITH_DISTANCE or act.behaviour == acts.METRO,
        )
        other = int(rng.integers(4, 30))
        if known and teller.tells(act):
            told += [Told(act=act, line=_edited(line, teller, edition, other), edition=edition) for edition in editions]
    return told


def _first_line(rng: np.random.Generator, town: Town, person: Person, teller: Teller, act: Act, number: int) -> Line:
    skew, drift = draw_skew(rng, spread_s=18, limit_s=55), draw_skew(rng, spread_s=2, limit_s=4)
    noise, claims = 1 + float(rng.normal(0, 0.008)), bool(rng.random() < teller.claims)
    begin, end = act.start_at, act.end_at
    if act.behaviour in teller.instants or begin == end:
        begin = end = (end if teller.instants.get(act.behaviour) else begin) + skew
    elif act.behaviour not in _DAYS:
        begin, end = begin + skew, max(begin + skew, end + skew + drift)
    metres = _metres(act, noise)
    line = Line(
        source_id=source_no(town, person, teller.prefix, act.start_at, number),
        version=1,
        account=person.accounts[teller.platform],
        behaviour=act.behaviour,
        start_at=begin,
        end_at=end,
        quantity_micro=metres * 1000 if act.behaviour in _WITH_DISTANCE else act.quantity_micro,
        metres=metres,
        order_no=keep_key(rng, act.order_no, teller.keys[0]),
        pay_no=keep_key(rng, act.pay_no, teller.keys[1]),
        claim_mg=None,
        cancelled=False,
        posted_at=begin,
        city_code=person.city_code,
    )
    return replace(line, claim_mg=teller.claim(line)) if teller.claim is not None and claims else line


def _metres(act: Act, noise: float) -> int:
    if act.behaviour in _WITH_DISTANCE:
        return int(act.quantity_micro // 1000 * noise)
    seconds = (act.end_at - act.start_at).total_seconds()
    return int(seconds * KM_H.get(act.behaviour, 0) / 36) * 10  # whole tens of metres


def _edited(line: Line, teller: Teller, edition: Edition, other: int) -> Line:
    line = replace(line, version=edition.version, posted_at=edition.posted_at)
    if edition.note is Note.CANCELLATION:
        return replace(line, cancelled=True, claim_mg=None)
    if edition.note is not Note.CORRECTION:
        return line
    if line.behaviour not in _WITH_DISTANCE:
        return replace(line, end_at=line.end_at - timedelta(seconds=other))
    metres = line.metres * (100 - other) // 100
    line = replace(line, metres=metres, quantity_micro=metres * 1000)
    if teller.claim is None or line.claim_mg is None:
        return line
    return replace(line, claim_mg=teller.claim(line))


def _report(town: Town, person: Person, teller: Teller, one: Told, row: Row, trouble: str | None = None) -> Report:
    return report_edition(
        town, person, one.edition, platform=teller.platform, act=one.act, source_id=one.line.source_id,
        body=json_text(row), claimed_mg=one.line.claim_mg or 0, trouble=trouble, stream=teller.stream,
    )  # fmt: skip


def _malformed(rng: np.random.Generator, town: Town, person: Person, teller: Teller) -> list[Report]:
    """Now and then a row that nobody can read, each kind in turn from person to person."""
    draw, hours = rng.random(), float(rng.uniform(6, town.days * 24 - 6))
    if not teller.malformed or not is_open(person, teller.platform) or (draw >= _MALFORMED_ODDS and person.index != 1):
        return []
    begin = town.starts_at + timedelta(seconds=int(hours * 3600))
    trouble = tuple(teller.malformed)[person.index % len(teller.malformed)]
    behaviour = next(iter(teller.known))
    line = Line(
        source_id=source_no(town, person, teller.prefix, begin, 9000),
        version=1,
        account=person.accounts[teller.platform],
        behaviour=behaviour,
        start_at=begin,
        end_at=begin if behaviour in teller.instants else begin + timedelta(minutes=9),
        quantity_micro=1_800_000 if behaviour in _WITH_DISTANCE else 1_000_000,
        metres=1800,
        order_no=None,
        pay_no=None,
        claim_mg=None,
        cancelled=False,
        posted_at=begin + timedelta(minutes=12),
        city_code=person.city_code,
    )
    edition = Edition(version=1, posted_at=line.posted_at, delivered_at=line.posted_at, note=Note.MALFORMED)
    told = Told(act=None, line=line, edition=edition)
    return [_report(town, person, teller, told, teller.write(line) | teller.malformed[trouble], trouble)]


# --- how platforms write things ----------------------------------------------------------------------------------------


def source_no(town: Town, person: Person, prefix: str, instant: datetime, number: int) -> str:
    return f"{prefix}{instant.astimezone(BEIJING_TIME):%y%m%d}{town.seed % 1000:03d}{person.index:05d}{number:04d}"


def local_text(instant: datetime, between: str = " ") -> str:
    """Write an instant on the wall clock of China, without its zone."""
    return instant.astimezone(BEIJING_TIME).strftime(f"%Y-%m-%d{between}%H:%M:%S")


def day_text(instant: datetime) -> str:
    return f"{instant.astimezone(BEIJING_TIME):%Y-%m-%d}"


def unix_s(instant: datetime) -> int:
    return int(instant.astimezone(UTC).timestamp())


def unix_ms(instant: datetime) -> int:
    return unix_s(instant) * 1000


def grams_or_none(mg: int | None) -> str | None:
    """Write milligrams as grams with three decimals."""
    return None if mg is None else f"{mg // 1000}.{mg % 1000:03d}"


def kilograms_or_none(mg: int | None) -> str | None:
    """Write milligrams as kilograms with six decimals."""
    return None if mg is None else f"{mg // 1_000_000}.{mg % 1_000_000:06d}"


def thousandth_text(thousandths: int) -> str:
    """Write metres as kilometres, or watt-hours as kilowatt-hours, with three decimals."""
    return f"{thousandths // 1000}.{thousandths % 1000:03d}"


def cells(row: Row) -> dict[str, str]:
    """Write a row as a table does: every value is a text, and what is not told is an empty one."""
    return {name: "" if value is None else str(value) for name, value in row.items()}
