"""citic-carbon tells of payments, and of what only a bank knows (e-card, e-statement, bills). Pure.

A ride is paid when it ends, so a payment is an instant at the end of the act and knows no distance.
"""

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

import numpy as np

from hub.sandbox import acts
from hub.sandbox.acts import BEIJING_TIME, Act
from hub.sandbox.people import CITIC, Person
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

_TYPES = {
    acts.BIKE: "BIKE_PAY",
    acts.METRO: "METRO_PAY",
    acts.CHARGE: "CHARGE_PAY",
    acts.E_CARD: "E_CARD",
    acts.E_STATEMENT: "E_STATEMENT",
    acts.BILL_PAY: "BILL_PAY",
}
_PAID_HERE = {acts.BIKE: 0.65, acts.METRO: 0.55, acts.CHARGE: 0.6}
_CLAIM_G = {"BIKE_PAY": 600, "METRO_PAY": 540, "E_CARD": 89, "E_STATEMENT": 24, "BILL_PAY": 89}
_ALWAYS_CLAIMS = frozenset({"E_CARD", "E_STATEMENT", "BILL_PAY"})
# A bank books once and lists once: the same row twice comes from reading a page again, never from the list itself.
_ODDS = Odds(replay=0.0, correction=0.0)
_AGAIN_ODDS = 0.15
_MALFORMED_ODDS = 0.12
_TROUBLES = ("unknown_scene", "bad_time", "time_ahead")


def tell_citic(town: Town, person: Person) -> list[Report]:
    """Return what the platform lists of one person, in no particular order."""
    if CITIC not in person.accounts:
        return []
    rng, told = voice_of(town, CITIC, person), []
    for number, act in enumerate(acts_told(town, person, frozenset(_TYPES)), start=1):
        known = rng.random() < _PAID_HERE.get(act.behaviour, 1.0)
        row = _first_row(rng, town, person, act, number)
        editions = draw_editions(rng, town, _booked_at(act.end_at), _ODDS, correctable=False)
        again = rng.random() < _AGAIN_ODDS
        if known:
            told += [_report(town, person, act, row, edition) for edition in editions]
        if known and again and act.behaviour == acts.E_CARD:
            told.append(_second_card(town, person, act, row))
    return told + _malformed(rng, town, person)


def _booked_at(instant: datetime) -> datetime:
    """The nine o'clock booking run of the next day, for every payment of a day: many rows share one `updatedAt`."""
    day = instant.astimezone(BEIJING_TIME).date() + timedelta(days=1)
    return datetime.combine(day, time(1), UTC)


def _first_row(rng: np.random.Generator, town: Town, person: Person, act: Act, number: int) -> dict[str, Any]:
    far = rng.random() < 0.02  # a terminal whose clock nobody sets
    skew = draw_skew(rng, spread_s=70 if far else 12, limit_s=240 if far else 40)
    kind = _TYPES[act.behaviour]
    claim = _CLAIM_G.get(kind)
    claims = rng.random() < 0.7 or kind in _ALWAYS_CLAIMS
    return {
        "cardTransactionId": _transaction_id(town, person, act.end_at, number),
        "version": 1,
        "accountId": person.accounts[CITIC],
        "maskedPan": f"6217****{person.index % 10_000:04d}",
        "type": kind,
        "transactionTime": _local(act.end_at + skew),
        "amount": _amount(rng, act),
        "merchantOrderNo": None if kind == "E_CARD" else keep_key(rng, act.order_no, 0.65),
        "payNo": keep_key(rng, act.pay_no, 0.6),
        "carbonG": str(claim) if claim is not None and claims else None,
        "status": "BOOKED",
        "updatedAt": "",
    }


def _amount(rng: np.random.Generator, act: Act) -> str:
    fen = int(rng.integers(200, 900))
    if act.behaviour == acts.CHARGE:
        fen = act.quantity_micro // 10_000 * 13 // 10  # 1.30 yuan for a kWh
    elif act.behaviour == acts.BIKE:
        fen = 150
    elif act.behaviour in (acts.E_CARD, acts.E_STATEMENT):
        fen = 0
    return f"{fen // 100}.{fen % 100:02d}"


def _report(town: Town, person: Person, act: Act | None, first: dict[str, Any], edition: Edition) -> Report:
    row = first | {"version": edition.version, "updatedAt": _utc(edition.posted_at)}
    if edition.note is Note.CANCELLATION:
        row |= {"status": "REVERSED", "carbonG": None}
    return report_edition(
        town, person, edition, platform=CITIC, act=act, source_id=row["cardTransactionId"], body=json_text(row),
        claimed_mg=0 if row["carbonG"] is None else int(row["carbonG"]) * 1000,
    )  # fmt: skip


def _second_card(town: Town, person: Person, act: Act, first: dict[str, Any]) -> Report:
    """A replaced card, reported as if the person had given up paper a second time."""
    instant = min(act.end_at + timedelta(days=4), town.ends_at - timedelta(hours=2))
    row = first | {
        "cardTransactionId": _transaction_id(town, person, instant, 8000),
        "transactionTime": _local(instant),
    }
    posted_at = _booked_at(instant)
    edition = Edition(version=1, posted_at=posted_at, delivered_at=posted_at, note=Note.ONCE_AGAIN)
    return _report(town, person, act, row, edition)


def _malformed(rng: np.random.Generator, town: Town, person: Person) -> list[Report]:
    draw, hours = rng.random(), float(rng.uniform(6, town.days * 24 - 6))
    if not is_open(person, CITIC) or draw >= _MALFORMED_ODDS:
        return []
    instant = town.starts_at + timedelta(seconds=int(hours * 3600))
    row: dict[str, Any] = {
        "cardTransactionId": _transaction_id(town, person, instant, 9000),
        "version": 1,
        "accountId": person.accounts[CITIC],
        "maskedPan": f"6217****{person.index % 10_000:04d}",
        "type": "BILL_PAY",
        "transactionTime": _local(instant),
        "amount": "35.00",
        "merchantOrderNo": None,
        "payNo": None,
        "carbonG": "89",
        "status": "BOOKED",
        "updatedAt": "",
    }
    trouble = _TROUBLES[person.index % len(_TROUBLES)]
    row |= {
        "unknown_scene": {"type": "GOLD_BUY"},
        "bad_time": {"transactionTime": "2026-02-30 25:61:00"},
        "time_ahead": {"transactionTime": "2090-10-05 08:00:00"},
    }[trouble]
    posted_at = _booked_at(instant)
    edition = Edition(version=1, posted_at=posted_at, delivered_at=posted_at, note=Note.MALFORMED)
    report = _report(town, person, None, row, edition)
    return [replace(report, trouble=trouble)]


def _transaction_id(town: Town, person: Person, instant: datetime, number: int) -> str:
    return f"C{instant.astimezone(BEIJING_TIME):%y%m%d}{town.seed % 1000:03d}{person.index:05d}{number:04d}"


def _local(instant: datetime) -> str:
    return f"{instant.astimezone(BEIJING_TIME):%Y-%m-%d %H:%M:%S}"


def _utc(instant: datetime) -> str:
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
