"""Shenzhen public transport card records: taps of one card joined into trips. Pure (files: `file_drop.py`).

The open-data record has 11 text fields; money is in fen, times are Beijing time without a zone. A metro trip is two
records, entry (地铁入站) and exit (地铁出站) of the same card; a bus trip is one. Some records have only 9 fields (no
station, no car_no): they are unreadable here, because neither end of a trip can be told from them.

What is joined is handed on as it was written. An exit without an entry and an entry without an exit are trips with one
side null; leaving where one entered for nothing is a trip like any other here. The mapping says what they are worth.
An entry that may still find its exit is carried into the next drop.

Source: Shenzhen open data, API 29200_00403601 (closed since); the samples in the tests are of its first page.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from connectors.base import Description, Transport, Unreadable
from connectors.kind import Kind
from connectors.profiles.drop_folder import Drop
from connectors.profiles.drop_rows import Entry
from connectors.profiles.file_drop import FileDrop, FileDropConfig
from connectors.profiles.file_drop import parse_config as parse_drop_config

FIELDS = (
    "deal_date",
    "close_date",
    "card_no",
    "deal_value",
    "deal_type",
    "company_name",
    "car_no",
    "station",
    "conn_mark",
    "deal_money",
    "equ_no",
)
METRO_IN, METRO_OUT, BUS = "地铁入站", "地铁出站", "巴士"
MAX_TRIP = timedelta(hours=6)  # the metro closes for the night; a longer stay is a lost exit
MAX_CARRIED = 20_000
ZONE = ZoneInfo("Asia/Shanghai")
_FEN = re.compile(r"[0-9]{1,9}")
_CARD = re.compile(r"[!-~]{1,64}")
_TIME = "%Y-%m-%d %H:%M:%S"
_ORDER = {METRO_OUT: 0, BUS: 1, METRO_IN: 2}  # in one second a card leaves before it enters again


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tap:
    at: datetime
    card: str
    kind: str
    record: Mapping[str, str]


def parse_config(config: Mapping[str, object], secrets: Mapping[str, object]) -> FileDropConfig:
    return parse_drop_config(config, secrets, stream="trips")


def build_szt_card(config: FileDropConfig) -> FileDrop:
    """Make the fetcher of a folder of card records."""
    described = Description(
        name="szt_card",
        title="Shenzhen card records (11 fields) by signed file drop (profile)",
        transport=Transport.FILE,
        streams=(config.source.stream,),
        role="operator",
        official=False,
        id_stability="derived",
        finality="final",
        correction_mode="none",
        lateness_class="day",
    )
    return FileDrop(config, arrange=join_trips, described=described)


def join_trips(drop: Drop, carried: str | None) -> tuple[Sequence[Entry], str | None]:
    """Join the taps of a drop, with the open entries of the drop before, into trips in order of their last tap."""
    written_at = drop.manifest.created_at.astimezone(ZONE).replace(tzinfo=None)
    taps, unreadable = _parse_taps(drop.entries, written_at)
    open_before = [_tap(record) for record in json.loads(carried)] if carried else []
    taps = sorted([*open_before, *taps], key=lambda tap: (tap.at, tap.card, _ORDER[tap.kind]))
    trips, still_open = _join(taps)
    rows: list[Entry] = [json.dumps(trip, ensure_ascii=False, separators=(",", ":")).encode() for trip in trips]
    carry = json.dumps([tap.record for tap in still_open], ensure_ascii=False, separators=(",", ":"))
    return [*unreadable, *rows], carry if still_open else None


def _join(taps: Sequence[_Tap]) -> tuple[list[dict[str, Any]], list[_Tap]]:
    entered: dict[str, _Tap] = {}
    trips: list[dict[str, Any]] = []
    for tap in taps:
        if tap.kind == BUS:
            trips.append({"kind": "bus", "tap": tap.record})
            continue
        before = entered.pop(tap.card, None)
        if tap.kind == METRO_IN:
            if before is not None:
                trips.append(_metro(before, None))
            entered[tap.card] = tap
        elif before is not None and tap.at - before.at <= MAX_TRIP:
            trips.append(_metro(before, tap))
        else:
            if before is not None:
                trips.append(_metro(before, None))
            trips.append(_metro(None, tap))
    # By the drop's own last tap and not by the clock: the same drop must give the same trips whenever it is read.
    horizon = taps[-1].at - MAX_TRIP if taps else None
    waiting = sorted(entered.values(), key=lambda tap: (tap.at, tap.card))
    late = [tap for tap in waiting if horizon is not None and tap.at >= horizon][-MAX_CARRIED:]
    lost = waiting[: len(waiting) - len(late)]
    return trips + [_metro(tap, None) for tap in lost], late


def _metro(entry: _Tap | None, leaving: _Tap | None) -> dict[str, Any]:
    return {
        "kind": "metro",
        "in": entry.record if entry is not None else None,
        "out": leaving.record if leaving is not None else None,
    }


def _parse_taps(entries: Sequence[Entry], written_at: datetime) -> tuple[list[_Tap], list[Unreadable]]:
    taps: list[_Tap] = []
    unreadable: list[Unreadable] = []
    seen: set[tuple[str, ...]] = set()
    for position, entry in enumerate(entries):
        if isinstance(entry, Unreadable):
            unreadable.append(entry)
            continue
        record = json.loads(entry)
        fault = next(_faults(record, written_at), None)
        key = () if fault else tuple(record[name] for name in FIELDS)
        if fault is None and key in seen:
            fault = ("repeated_record", "The drop tells this record a second time.")
        if fault is not None:
            unreadable.append(Unreadable(position=position, reason=fault[0], detail=fault[1]))
            continue
        seen.add(key)
        taps.append(_tap({name: record[name] for name in FIELDS}))
    return taps, unreadable


def _tap(record: Mapping[str, str]) -> _Tap:
    at = datetime.strptime(record["deal_date"], _TIME)
    return _Tap(at=at, card=record["card_no"], kind=record["deal_type"], record=record)


def _faults(record: Mapping[str, Any], written_at: datetime) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with a record, the most telling first."""
    missing = [name for name in FIELDS if not isinstance(record.get(name), str) or not _is_told(name, record[name])]
    if missing:
        yield "incomplete_record", f"The record lacks {', '.join(missing)}."
        return
    if record["deal_type"] not in _ORDER:
        yield "unknown_deal_type", "The record's deal_type is none of entry, exit and bus."
    if not _CARD.fullmatch(record["card_no"]):
        yield "card_no", "The card number is not well formed."
    at = _parse_time(record["deal_date"])
    if at is None:
        yield "deal_date", "The deal_date is not a time of the form yyyy-MM-dd HH:mm:ss."
    elif at > written_at:
        yield "time_ahead", "The record is later than the drop that holds it."
    if not _FEN.fullmatch(record["deal_money"]) or not _FEN.fullmatch(record["deal_value"]):
        yield "money", "deal_money or deal_value is not a whole number of fen."


def _is_told(name: str, value: str) -> bool:
    return bool(value) or name in ("close_date", "conn_mark")  # nothing hangs on these two


def _parse_time(text: str) -> datetime | None:
    try:
        at = datetime.strptime(text, _TIME)
    except ValueError:
        return None
    return at if at.strftime(_TIME) == text else None


KIND = Kind(
    name="szt_card",
    transport=Transport.FILE,
    profile=True,
    secrets=(),
    build=lambda config, secrets: build_szt_card(parse_config(config, secrets)),
)
