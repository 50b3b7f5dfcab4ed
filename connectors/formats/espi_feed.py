"""Green Button: an Atom feed of interval readings (NAESB ESPI), read into one small JSON row for each block. Pure.

A feed holds entries that point at each other by their links: an interval block stands below a meter reading, which
names its reading type; the type says the unit (`uom` 72 is Wh), the power of ten, the direction of flow. Times are
seconds since 1970 in UTC; `LocalTimeParameters` say how far the customer's clock is from it and are handed on as told.
kWh = value x 10^multiplier / 1000, added up exactly over the block.

What a household used is no saving: that shows only against a baseline, which ESPI does not have. A custodian whose
programme settles one may write it into the block in the hub's own namespace, in the unit of the readings:
`<baseline xmlns="urn:tanlian:espi:1">30000</baseline>`. Then, for a block without gaps, the row has `saved_kwh`: baseline
minus use, and 0 where more was used.

Hostile files: no DTD and no entity is read, depth, size and number of elements are bounded, and a block that cannot be
understood (unit, links, overlapping readings) is unreadable by itself.

Source: NAESB REQ.21 ESPI 3.3; a public feed of 14 blocks and 1,340 readings with the sum of 1,391,666 Wh.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from io import BytesIO
from typing import Any, cast
from urllib.parse import urlsplit
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import iterparse

from connectors.base import Unreadable

ATOM, ESPI, OURS = "{http://www.w3.org/2005/Atom}", "{http://naesb.org/espi}", "{urn:tanlian:espi:1}"
MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 16  # a reading's value stands at 7
MAX_ELEMENTS = 600_000  # a year of quarter hours has 180,000
MAX_BLOCKS = 5_000
_WATT_HOURS, _DELTA, _ELECTRICITY, _DELIVERED = "72", "4", "0", "1"
_WHOLE = re.compile(r"-?[0-9]{1,15}")  # ESPI's Int48
_PRINTABLE = re.compile(r"[!-~]{1,100}")
_MOST_POWER = 12
_LONGEST_S = 400 * 86_400


class EspiError(ValueError):
    """The file is no feed that may be read. `reason` is a stable code; `is_cut` says that its end may be missing."""

    def __init__(self, reason: str, *, is_cut: bool = False) -> None:
        super().__init__(reason)
        self.reason, self.is_cut = reason, is_cut


class _BlockError(ValueError):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entry:
    """One Atom entry: its name, its links, and the ESPI resources in it as flat texts."""

    id: str
    updated: str
    self_path: str
    up_path: str
    related: tuple[str, ...]
    resources: tuple[tuple[str, Mapping[str, str]], ...]
    blocks: tuple["_Block", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    start: str
    duration: str
    baseline: str | None
    readings: tuple[tuple[str, str, str], ...] = field(repr=False)
    """Start, duration, value."""


def parse_espi(data: bytes) -> tuple[tuple[bytes, ...], tuple[Unreadable, ...]]:
    """Read a feed into rows, one for each interval block, in the order of the feed.

    Raises:
        EspiError: not XML, not a feed, a DTD, or larger or deeper than any honest feed.
    """
    entries = _read_entries(data)
    index = _Index.of(entries)
    rows: list[bytes] = []
    unreadable: list[Unreadable] = []
    found = ((entry, block) for entry in entries for block in entry.blocks)
    for position, (entry, block) in enumerate(found):
        if position >= MAX_BLOCKS:
            raise EspiError("feed_too_many_blocks")
        try:
            row = _row(entry, block, index)
        except _BlockError as error:
            unreadable.append(Unreadable(position=position, reason=error.reason, detail=error.detail))
        else:
            rows.append(json.dumps(row, separators=(",", ":")).encode())
    return tuple(rows), tuple(unreadable)


def _read_entries(data: bytes) -> list[_Entry]:
    if len(data) > MAX_BYTES:
        raise EspiError("feed_too_large")
    entries: list[_Entry] = []
    depth = elements = 0
    try:
        events = cast(Iterator[tuple[str, Element]], iterparse(BytesIO(data), ("start", "end"), forbid_dtd=True))
        for event, element in events:
            if event == "start":
                depth, elements = depth + 1, elements + 1
                if elements == 1 and element.tag not in (f"{ATOM}feed", f"{ATOM}entry"):
                    raise EspiError("not_a_feed")
                if depth > MAX_DEPTH or elements > MAX_ELEMENTS:
                    raise EspiError("feed_too_deep" if depth > MAX_DEPTH else "feed_too_large")
                continue
            depth -= 1
            if element.tag == f"{ATOM}entry":
                entries.append(_entry(element))
                element.clear()  # what was read is let go: a feed of years is not held twice
    except DefusedXmlException:
        raise EspiError("feed_dtd") from None
    except ParseError:
        raise EspiError("not_xml", is_cut=True) from None
    except (LookupError, ValueError) as error:  # an encoding that nobody knows, or that expat cannot use
        raise error if isinstance(error, EspiError) else EspiError("not_xml") from None
    return entries


def _entry(element: Element) -> _Entry:
    links = [(link.get("rel", ""), _path(link.get("href", ""))) for link in element.findall(f"{ATOM}link")]
    content = element.find(f"{ATOM}content")
    inside = [] if content is None else list(content)
    return _Entry(
        id=_text(element, f"{ATOM}id"),
        updated=_text(element, f"{ATOM}updated"),
        self_path=next((path for rel, path in links if rel == "self"), ""),
        up_path=next((path for rel, path in links if rel == "up"), ""),
        related=tuple(path for rel, path in links if rel == "related"),
        resources=tuple((one.tag, _flat(one)) for one in inside if one.tag != f"{ESPI}IntervalBlock"),
        blocks=tuple(_block(one) for one in inside if one.tag == f"{ESPI}IntervalBlock"),
    )


def _block(element: Element) -> _Block:
    baseline = element.find(f"{OURS}baseline")
    return _Block(
        start=_text(element, f"{ESPI}interval/{ESPI}start"),
        duration=_text(element, f"{ESPI}interval/{ESPI}duration"),
        baseline=None if baseline is None else (baseline.text or "").strip(),
        readings=tuple(
            (
                _text(reading, f"{ESPI}timePeriod/{ESPI}start"),
                _text(reading, f"{ESPI}timePeriod/{ESPI}duration"),
                _text(reading, f"{ESPI}value"),
            )
            for reading in element.findall(f"{ESPI}IntervalReading")
        ),
    )


def _flat(element: Element) -> dict[str, str]:
    """A resource's own texts, and those one level below it as `outer/inner`. The first of equal names stays."""
    found: dict[str, str] = {}
    for child in element:
        name = child.tag.removeprefix(ESPI)
        found.setdefault(name, (child.text or "").strip())
        for inner in child:
            found.setdefault(f"{name}/{inner.tag.removeprefix(ESPI)}", (inner.text or "").strip())
    return found


def _text(element: Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _path(href: str) -> str:
    """A link's path: custodians write whole addresses in one place and paths in the other."""
    try:
        return urlsplit(href.strip()).path.strip("/")
    except ValueError:
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Index:
    """Where the links of blocks lead."""

    types: Mapping[str, Mapping[str, str]]
    meters: Mapping[str, tuple[str, ...]]
    points: Mapping[str, Mapping[str, str]]
    clocks: tuple[Mapping[str, str], ...]

    @classmethod
    def of(cls, entries: Sequence[_Entry]) -> "_Index":
        def named(tag: str) -> dict[str, Mapping[str, str]]:
            return {
                entry.self_path: texts
                for entry in entries
                for found, texts in entry.resources
                if found == f"{ESPI}{tag}" and entry.self_path
            }

        return cls(
            types=named("ReadingType"),
            meters={entry.self_path: entry.related for entry in entries if _has(entry, "MeterReading")},
            points=named("UsagePoint"),
            clocks=tuple(
                texts for entry in entries for tag, texts in entry.resources if tag == f"{ESPI}LocalTimeParameters"
            ),
        )

    def meter_of(self, entry: _Entry) -> str:
        """The meter reading above a block: what `up` names, or the collection below it."""
        return entry.up_path.removesuffix("/IntervalBlock")

    def type_of(self, entry: _Entry) -> Mapping[str, str]:
        """The reading type of a block; a feed with a single one needs no links."""
        named = {path for path in self.meters.get(self.meter_of(entry), ()) if path in self.types}
        if len(named) == 1:
            return self.types[named.pop()]
        if not named and len(self.types) == 1:
            return next(iter(self.types.values()))
        raise _BlockError("reading_type_unknown", "The block's reading type cannot be told.")

    def service_of(self, entry: _Entry) -> str | None:
        """The service category of a block's usage point, if the feed tells it."""
        above = self.meter_of(entry).partition("/MeterReading")[0]
        point = self.points.get(above)
        if point is None and len(self.points) == 1:
            point = next(iter(self.points.values()))
        return None if point is None else point.get("ServiceCategory/kind")


def _has(entry: _Entry, tag: str) -> bool:
    return any(found == f"{ESPI}{tag}" for found, _ in entry.resources)


def _row(entry: _Entry, block: _Block, index: _Index) -> dict[str, Any]:
    if not _PRINTABLE.fullmatch(entry.id):
        raise _BlockError("block_id", "The block's entry has no id of printable ASCII.")
    kind = index.type_of(entry)
    if index.service_of(entry) not in (None, _ELECTRICITY):
        raise _BlockError("not_electricity", "The block is of another service than electricity.")
    if kind.get("uom") != _WATT_HOURS:
        raise _BlockError("unit_unknown", "The readings are not in watt-hours.")
    if kind.get("accumulationBehaviour") != _DELTA:
        raise _BlockError("not_interval_data", "The readings are not amounts of their own intervals.")
    power = _whole(kind.get("powerOfTenMultiplier", ""), "multiplier", least=-_MOST_POWER, most=_MOST_POWER)
    start = _whole(block.start, "interval", least=0)
    duration = _whole(block.duration, "interval", least=1, most=_LONGEST_S)
    total, covered = _add_up(block, start, start + duration)
    row: dict[str, Any] = {
        "block": entry.id,
        "updated": entry.updated,
        "start": start,
        "end": start + duration,
        "flow": kind.get("flowDirection"),
        "multiplier": power,
        "interval_s": kind.get("intervalLength"),
        "tz_offset_s": index.clocks[0].get("tzOffset") if len(index.clocks) == 1 else None,
        "readings": len(block.readings),
        "value": total,
        "kwh": _kwh(total, power),
        "complete": covered == duration,
    }
    if block.baseline is not None:
        baseline = _whole(block.baseline, "baseline", least=0)
        row["baseline_kwh"] = _kwh(baseline, power)
        if row["complete"] and row["flow"] == _DELIVERED:
            row["saved_kwh"] = _kwh(max(baseline - total, 0), power)
    return row


def _add_up(block: _Block, start: int, end: int) -> tuple[int, int]:
    """Return the sum of a block's readings and how many seconds they cover."""
    total = covered = 0
    reached = start
    spans = [
        (_whole(at, "reading", least=0), _whole(length, "reading", least=1, most=_LONGEST_S), _whole(value, "reading"))
        for at, length, value in block.readings
    ]
    for at, length, value in sorted(spans):
        if at < reached:
            where = "reading_outside" if at < start else "readings_overlap"
            raise _BlockError(where, "A reading lies outside its block, or two readings overlap.")
        reached = at + length
        total, covered = total + value, covered + length
    if reached > end:
        raise _BlockError("reading_outside", "A reading lies outside its block, or two readings overlap.")
    return total, covered


def _whole(text: str, what: str, *, least: int | None = None, most: int | None = None) -> int:
    if not _WHOLE.fullmatch(text):
        raise _BlockError(f"{what}_unreadable", f"A number of the {what} is missing or is none.")
    value = int(text)
    if (least is not None and value < least) or (most is not None and value > most):
        raise _BlockError(f"{what}_unreadable", f"A number of the {what} is out of range.")
    return value


def _kwh(value: int, power: int) -> str:
    """value x 10^power / 1000 as decimal text, exactly."""
    with localcontext() as exact:
        exact.prec = 60
        return format(Decimal(value).scaleb(power - 3), "f")
