"""Documents in, records and quarantined rows out: a mapping applied to a batch. Pure.

Every row ends in exactly one of the two frames, and no row has an influence on another: each step works on whole
columns, and a fault is a number beside the value. The rows of a batch are neither reordered nor dropped.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mappings.conditions import find_rows
from mappings.fill import WORDS, Context, Filled, fill_field
from mappings.model import Mapping
from mappings.reader import Documents, read_documents
from mappings.reasons import NONE, READING, Faults, Reason
from mappings.texts import Mask, nullable
from mappings.vocabulary import FIELDS
from standards.behaviours import accepted_behaviours
from standards.schema import QUARANTINED_SCHEMA, TRANSLATED_SCHEMA, UTC_US

AHEAD = timedelta(seconds=60)
"""How far a platform's clock may run before the hub's."""

_CHUNK = 65_536  # rows at a time: bounds the memory, and keeps the columns of a chunk near the processor
_TIMES = ("start_at", "end_at", "posted_at")
_TYPES: dict[str, pl.DataType] = {
    **dict.fromkeys(_TIMES, UTC_US),
    "region": pl.Int32(),
    "event_key": pl.UInt64(),
    "payment_key": pl.UInt64(),
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A fault is told with its place: 0 the document, 1 a condition of the mapping, then the fields.
_PLACES = ("", "quarantine", *FIELDS)
_NO_FAULT = np.iinfo(np.uint16).max

Ranked: TypeAlias = NDArray[np.uint16]
"""Reason number x 32 + place: the smallest is the reason that a row carries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Translation:
    """What became of a batch: `records` (TRANSLATED) and `quarantined` (QUARANTINED), in the order of the input."""

    records: pl.DataFrame
    quarantined: pl.DataFrame


def translate(
    mapping: Mapping, payloads: pl.Series, *, token_key: bytes, now: datetime, accounts: pl.Series | None = None
) -> Translation:
    """Translate a batch of a platform's documents.

    Args:
        mapping: the platform's format.
        payloads: String or Binary, one JSON document each; as sent, or as `kept_payloads` returned them.
        token_key: the hub's secret for event tokens, at least 16 bytes.
        now: aware; times more than 60 seconds later are quarantined.
        accounts: String, per row the account of the link, for a mapping whose account is `link = true`.

    Raises:
        ValueError: `now` has no zone, the key is too short, or `accounts` is missing or of another length.
        TypeError: `payloads` is of another type.
    """
    if now.tzinfo is None:
        raise ValueError("now must have a zone")
    if accounts is not None and len(accounts) != len(payloads):
        raise ValueError("accounts and payloads differ in length")
    latest_us = (now + AHEAD - _EPOCH) // timedelta(microseconds=1)
    parts = []
    for start in range(0, max(1, len(payloads)), _CHUNK):
        context = Context(
            documents=read_documents(payloads.slice(start, _CHUNK), mapping.tree),
            token_key=token_key,
            accounts=None if accounts is None else accounts.slice(start, _CHUNK),
        )
        parts.append(_translate_chunk(mapping, context, latest_us=latest_us, first_row=start))
    return Translation(
        records=pl.concat([part.records for part in parts]), quarantined=pl.concat([part.quarantined for part in parts])
    )


def _translate_chunk(mapping: Mapping, context: Context, *, latest_us: int, first_row: int) -> Translation:
    filled = {name: fill_field(name, mapping.fields.get(name, ()), context) for name in FIELDS}
    ranked = np.full(len(context.documents), _NO_FAULT, np.uint16)
    for place, faults in _all_faults(mapping, context.documents, filled, latest_us):
        found = np.where(faults == NONE, _NO_FAULT, faults.astype(np.uint16) * 32 + _PLACES.index(place))
        ranked = np.minimum(ranked, found)
    good = ranked == _NO_FAULT
    rows = np.arange(first_row, first_row + len(good), dtype=np.uint32)
    return Translation(
        records=_records(filled, rows).filter(pl.Series(good)), quarantined=_quarantined(mapping, filled, rows, ranked)
    )


def _all_faults(
    mapping: Mapping, documents: Documents, filled: dict[str, Filled], latest_us: int
) -> Iterator[tuple[str, Faults]]:
    """Everything that sets a row aside: how it was read, what the mapping states, its fields, and how they agree."""
    numbers = np.array([NONE, *(reason.number for reason in READING)], np.uint8)
    yield "", numbers[documents.status]
    for stated in mapping.stated:
        yield "quarantine", _faults(find_rows(stated.when, documents), stated.reason)
    for name, field in filled.items():
        yield name, field.faults
    start, end = filled["start_at"], filled["end_at"]
    backwards = _numbers(end) < _numbers(start)
    yield "end_at", _faults(start.told & end.told & backwards, Reason.END_BEFORE_START)
    for name in _TIMES:
        yield name, _faults(filled[name].told & (_numbers(filled[name]) > latest_us), Reason.TIME_AHEAD)
    yield "quantity", _faults(_has_wrong_unit(filled), Reason.UNIT_MISMATCH)


def _faults(rows: Mask, reason: Reason) -> Faults:
    return np.where(rows, np.uint8(reason.number), np.uint8(NONE))


def _numbers(field: Filled) -> NDArray[np.int64]:
    return np.zeros(len(field.told), np.int64) if field.numbers is None else field.numbers


def _units(field: Filled) -> NDArray[np.int64]:
    return np.full(len(field.told), -1, np.int64) if field.units is None else field.units


@cache
def _units_of_behaviours() -> NDArray[np.bool_]:
    """Whether a behaviour (row) is counted in a unit (column)."""
    known = accepted_behaviours()
    return np.array([[unit in known[code].units for unit in WORDS["unit"]] for code in WORDS["behaviour"]])


def _has_wrong_unit(filled: dict[str, Filled]) -> Mask:
    units = _units(filled["quantity"])
    wrong: Mask = filled["behaviour"].told & (units >= 0)
    return wrong & ~_units_of_behaviours()[_numbers(filled["behaviour"]), units]


def _records(filled: dict[str, Filled], rows: NDArray[np.uint32]) -> pl.DataFrame:
    """All rows as records; the ones with a fault hold nothing of use and are filtered out by the caller."""
    quantity, columns = filled["quantity"], {"row": pl.Series(rows)}
    for name, field in filled.items():
        if field.series is not None:
            columns[name] = field.series
        elif name in WORDS:
            columns[name] = pl.Series(WORDS[name], dtype=pl.String).gather(_numbers(field))
        elif name == "cancelled":
            columns[name] = pl.Series(_numbers(field) == 1)
        else:
            columns[name] = nullable(_numbers(field), field.told, _TYPES.get(name, pl.Int64()))
    columns["quantity_micro"] = columns.pop("quantity")
    units = _units(quantity)
    columns["unit"] = pl.Series([*WORDS["unit"], None], dtype=pl.String).gather(units % (len(WORDS["unit"]) + 1))
    return pl.DataFrame({name: columns[name] for name in TRANSLATED_SCHEMA}, schema=TRANSLATED_SCHEMA)


def _quarantined(mapping: Mapping, filled: dict[str, Filled], rows: NDArray[np.uint32], ranked: Ranked) -> pl.DataFrame:
    bad = np.flatnonzero(ranked != _NO_FAULT)
    codes, index = np.unique(ranked[bad], return_inverse=True)
    reasons = [list(Reason)[code // 32 - 1] for code in codes.tolist()]
    details = [
        _detail(mapping, reason, _PLACES[code % 32]) for reason, code in zip(reasons, codes.tolist(), strict=True)
    ]
    source_id = filled["source_id"]
    ids = (
        pl.Series([None], dtype=pl.String).new_from_index(0, len(rows))
        if source_id.series is None
        else source_id.series
    )
    known = ids.set(pl.Series(~source_id.told), None)
    columns = {
        "row": pl.Series(rows[bad]),
        "source_id": known.gather(bad),
        "reason": pl.Series([reason.value for reason in reasons], dtype=pl.String).gather(index),
        "detail": pl.Series(details, dtype=pl.String).gather(index),
    }
    return pl.DataFrame(columns, schema=QUARANTINED_SCHEMA)


def _detail(mapping: Mapping, reason: Reason, place: str) -> str:
    """The reason's sentence, with our name of the field: names of fields are public, their values are not."""
    return f"{reason.sentence} Field: {place}." if place in FIELDS else f"{reason.sentence} Mapping: {mapping.id}."
