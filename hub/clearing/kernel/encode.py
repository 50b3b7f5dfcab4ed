"""Records in columns of words to packed rows of whole numbers; what cannot be a record is set apart. Pure."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hub.clearing.kernel.codes import PRECISIONS, Catalogue
from hub.clearing.kernel.compiled import NONE, ZERO, compiled, compiled_entry, compiled_with_memory, number
from hub.clearing.kernel.rows import I8, I16, I64, LIVE_CANONICAL, LIVE_MEMBER, ROW, U64, UNTOLD, Table
from hub.clearing.kernel.vocabulary import Reason
from standards.canonical import BUCKETS, splitmix64_array
from standards.schema import Verdict

EARLIEST_US = 0
LATEST_US = 7_258_118_400_000_000
"""2200-01-01: a later time is a mistake, and this far from the largest number no sum of times overflows."""
REQUIRED = ("subject_id", "platform", "role", "behaviour", "start_at", "end_at", "precision")
NOT_A_QUANTITY = -2
"""Stands for a quantity that no number of millionths can say; it is rejected."""
# A record that is rejected: its reason, and what its platform's position needs.
BAD = np.dtype([("record", "i8"), ("claim", "i8"), ("platform", "i2"), ("reason", "i1")], align=True)

MISSING_VALUE = number(Reason.MISSING_VALUE)
UNKNOWN_BEHAVIOUR = number(Reason.UNKNOWN_BEHAVIOUR)
UNKNOWN_ROLE = number(Reason.UNKNOWN_ROLE)
UNKNOWN_PRECISION = number(Reason.UNKNOWN_PRECISION)
UNKNOWN_UNIT = number(Reason.UNKNOWN_UNIT)
END_BEFORE_START = number(Reason.END_BEFORE_START)
TIME_OUT_OF_RANGE = number(Reason.TIME_OUT_OF_RANGE)
BAD_QUANTITY = number(Reason.BAD_QUANTITY)
BAD_CLAIM = number(Reason.BAD_CLAIM)
Flags = npt.NDArray[np.bool_]

KEY_BITS, FAMILY_BITS, START_BITS = 26, 8, 30
"""Of the number by which rows are sorted first."""
LONG_RUN = 64


@dataclass(slots=True)
class PlatformNames:
    """Platforms in the order in which they were met; `ranks` turns these numbers into alphabetical ones."""

    codes: dict[str, int] = field(default_factory=dict)

    def code(self, name: str | None) -> int:
        """Return the number of a platform; -1 for none."""
        return UNTOLD if name is None else self.codes.setdefault(name, len(self.codes))

    def sorted(self) -> tuple[str, ...]:
        """Return all names in alphabetical order."""
        return tuple(sorted(self.codes))

    def ranks(self) -> I16:
        """Return the alphabetical place of every number."""
        place = {name: rank for rank, name in enumerate(self.sorted())}
        return np.array([place[name] for name in self.codes], np.int16)


class Columns(NamedTuple):
    """Columns of records as arrays, words by code; what is null is `nothing`, and any number besides."""

    record: I64
    subject: I64
    start: I64
    end: I64
    quantity: I64
    claim: I64
    event_key: U64
    payment_key: U64
    region: npt.NDArray[np.int32]
    behaviour: I16
    platform: I16
    unit: I16
    rank: I16
    grain: I16
    missing: Flags
    """Where a column that every record has is null."""
    no_quantity: Flags
    no_claim: Flags
    no_unit: Flags


def encode_records(records: pa.Table, catalogue: Catalogue, platforms: PlatformNames) -> tuple[Table, Table]:
    """Return ROW of the sound records, neither sorted nor with facts, and BAD of the others.

    Args:
        records: RECORD columns, and `reference_mg` where records were valued when they came in. Records that were
            cleared before have `event_id`, `verdict` and `counted_mg` too.
        platforms: grows by the names that are new.
    """
    rows, reasons = np.zeros(len(records), ROW), np.empty(len(records), np.int8)
    columns = _columns(records, catalogue, platforms)
    found = fill_rows(columns, catalogue.family_of, catalogue.default_unit, catalogue.usable, rows, reasons)
    if "reference_mg" in records.column_names:
        rows["reference"] = _numbers(records, "reference_mg", UNTOLD)
    if "event_id" in records.column_names:
        counts = pc.equal(records["verdict"].cast(pa.string()), Verdict.COUNTED.value).to_numpy()
        counted = np.where(counts, _numbers(records, "counted_mg", 0), UNTOLD)
        mark_live(rows, _numbers(records, "event_id", 0), counted)
    if not found:
        return rows, np.zeros(0, BAD)
    at = np.flatnonzero(reasons >= 0)
    bad = np.zeros(len(at), BAD)
    bad["record"], bad["platform"], bad["reason"] = rows["record"][at], rows["platform"][at], reasons[at]
    bad["claim"] = np.maximum(rows["claim"][at], 0)
    return chosen_rows(rows, np.flatnonzero(reasons < 0)), bad


def _columns(records: pa.Table, catalogue: Catalogue, platforms: PlatformNames) -> Columns:
    missing = np.zeros(len(records), bool)
    for name in REQUIRED:
        if records[name].null_count:
            missing |= _nulls(records, name)
    return Columns(
        record=_numbers(records, "record_id", 0),
        subject=_numbers(records, "subject_id", 0),
        start=_times(records, "start_at"),
        end=_times(records, "end_at"),
        quantity=_numbers(records, "quantity_micro", UNTOLD),
        claim=_numbers(records, "claimed_mg", UNTOLD),
        event_key=_numbers(records, "event_key", 0, np.uint64),
        payment_key=_numbers(records, "payment_key", 0, np.uint64),
        region=_numbers(records, "region", 0, np.int32),
        behaviour=_codes(records, "behaviour", _finder(catalogue.behaviours)),
        platform=_codes(records, "platform", platforms.code),
        unit=_codes(records, "unit", _finder(catalogue.units)),
        rank=_codes(records, "role", _finder(catalogue.roles)),
        grain=_codes(records, "precision", _finder(PRECISIONS)),
        missing=missing,
        no_quantity=_nulls(records, "quantity_micro"),
        no_claim=_nulls(records, "claimed_mg"),
        no_unit=_nulls(records, "unit"),
    )


@compiled_entry
def fill_rows(told: Columns, family_of: I16, default_unit: I16, usable: I8, rows: Table, reasons: I8) -> int:
    """Fill in TOLD of every record, and why it is rejected: the first reason that applies, or -1; return how many are."""
    found = 0
    for i in range(len(rows)):
        row = rows[i]
        row.record, row.subject = told.record[i], told.subject[i]
        row.start, row.end = told.start[i], told.end[i]
        row.quantity = UNTOLD if told.no_quantity[i] else told.quantity[i]
        row.claim = UNTOLD if told.no_claim[i] else told.claim[i]
        row.event_key, row.payment_key = told.event_key[i], told.payment_key[i]
        row.region, row.platform = told.region[i], told.platform[i]
        row.behaviour, row.rank, row.grain = told.behaviour[i], told.rank[i], told.grain[i]
        row.family = family_of[told.behaviour[i]]
        row.unit = default_unit[told.behaviour[i], told.grain[i]] if told.no_unit[i] else told.unit[i]
        reasons[i] = _reason(told, rows, usable, i)
        found += reasons[i] >= 0
    return found


@compiled
def _reason(told: Columns, rows: Table, usable: I8, i: int) -> int:
    row = rows[i]
    if told.missing[i]:
        return MISSING_VALUE
    if row.behaviour < 0:
        return UNKNOWN_BEHAVIOUR
    if row.rank < 0:
        return UNKNOWN_ROLE
    if row.grain < 0:
        return UNKNOWN_PRECISION
    if row.unit < 0 or usable[row.behaviour, row.unit] == 0:
        return UNKNOWN_UNIT
    if row.end < row.start:
        return END_BEFORE_START
    if row.start < EARLIEST_US or row.end > LATEST_US:
        return TIME_OUT_OF_RANGE
    if row.quantity < 0 and not told.no_quantity[i]:
        return BAD_QUANTITY
    if row.claim < 0 and not told.no_claim[i]:
        return BAD_CLAIM
    return NONE


def mark_live(rows: Table, event: I64, counted: I64) -> None:
    """Mark ROW as cleared before, with the event of each and what it counted (-1 if it did not)."""
    rows["event"], rows["counted"] = event, counted
    rows["live"] = np.where(event == rows["record"], LIVE_CANONICAL, LIVE_MEMBER)


def _nulls(records: pa.Table, name: str) -> Flags:
    column = records[name]
    return np.array(column.is_null().to_numpy()) if column.null_count else np.zeros(len(column), bool)


def _numbers(records: pa.Table, name: str, missing: int, kind: Any = np.int64) -> npt.NDArray[Any]:
    column = records[name]
    # A copy: what may be written and what may not would be compiled into versions of their own.
    return np.array((column.fill_null(missing) if column.null_count else column).to_numpy(), kind)


def _times(records: pa.Table, name: str) -> I64:
    column = records[name].cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    return np.array((column.fill_null(0) if column.null_count else column).to_numpy(), np.int64)


def _finder(names: tuple[str, ...]) -> Any:
    places = {name: code for code, name in enumerate(names)}
    return lambda name: places.get(name, UNTOLD)


def _codes(records: pa.Table, name: str, code: Any) -> I16:
    """Return the codes of a column of words; -1 for null and for unknown words."""
    column = records[name]
    if not pa.types.is_dictionary(column.type):
        column = pc.dictionary_encode(column.cast(pa.string()))
    parts = []
    for chunk in column.chunks:
        table = np.array([*(code(word) for word in chunk.dictionary.to_pylist()), UNTOLD], np.int16)
        # The last entry of the table stands for null.
        places = chunk.indices.fill_null(len(table) - 1) if chunk.null_count else chunk.indices
        parts.append(table[places.to_numpy(zero_copy_only=False)])
    return np.concatenate(parts) if parts else np.zeros(0, np.int16)


# --- order ----------------------------------------------------------------------------------------------------------


def bucket_keys(rows: Table) -> npt.NDArray[np.uint64]:
    """Return numbers that sort rows by bucket, then person: the mixed subject, its bucket's bits in front."""
    mixed = splitmix64_array(np.ascontiguousarray(rows["subject"]))
    bits = np.uint64(BUCKETS.bit_length() - 1)
    return ((mixed & np.uint64(BUCKETS - 1)) << (np.uint64(64) - bits)) | (mixed >> bits)


def sorted_rows(rows: Table) -> Table:
    """Return ROW by bucket, person, family, start, platform, record: the same rows give the same table in any order.

    The platform stands before the record's number, because the number is only the order of arrival.
    """
    keys = bucket_keys(rows)
    packed = np.empty(len(rows), np.uint64)
    pack_order(rows, keys, packed)
    ordered = np.empty_like(rows)
    # One number holds nearly all of the order, and numpy sorts numbers many times as fast as any comparing of rows.
    settle_order(rows, keys, packed, np.argsort(packed), ordered)
    return ordered


def chosen_rows(rows: Table, at: I64) -> Table:
    """Return the rows at these places; numpy's own way with packed rows takes ten times as long."""
    chosen = np.empty(len(at), rows.dtype)
    gather(rows, at, chosen)
    return chosen


@compiled_entry
def gather(rows: Table, order: I64, ordered: Table) -> None:
    """Copy the rows at these places."""
    for i in range(len(order)):
        ordered[i] = rows[order[i]]


@compiled_entry
def pack_order(rows: Table, keys: U64, packed: U64) -> None:
    """Fill in the first bits of each row's key, its family, and the first bits of its start."""
    if len(rows) == 0:
        return
    least, most = keys[0], keys[0]
    first, last = rows[0].start, rows[0].start
    for i in range(len(rows)):
        least, most = min(least, keys[i]), max(most, keys[i])
        first, last = min(first, rows[i].start), max(last, rows[i].start)
    key_shift, start_shift = np.uint64(0), np.uint64(0)
    while (most - least) >> key_shift >> np.uint64(KEY_BITS):
        key_shift += np.uint64(1)
    while np.uint64(last - first) >> start_shift >> np.uint64(START_BITS):
        start_shift += np.uint64(1)
    for i in range(len(rows)):
        person = (keys[i] - least) >> key_shift
        start = np.uint64(rows[i].start - first) >> start_shift
        person_and_family = (person << np.uint64(FAMILY_BITS)) | np.uint64(rows[i].family)
        packed[i] = (person_and_family << np.uint64(START_BITS)) | start


@compiled_entry
def settle_order(rows: Table, keys: U64, packed: U64, order: I64, ordered: Table) -> None:
    """Copy rows in the order of their packed numbers, and in full order where those do not tell two apart."""
    person_shift = np.uint64(FAMILY_BITS + START_BITS)
    begin = ZERO
    while begin < len(order):
        end, alone = begin + 1, True
        while end < len(order) and packed[order[end]] >> person_shift == packed[order[begin]] >> person_shift:
            alone = alone and keys[order[end]] == keys[order[begin]]
            end += 1
        if alone:
            low = begin
            while low < end:
                high = low + 1
                while high < end and packed[order[high]] == packed[order[low]]:
                    high += 1
                _sort_run(rows, keys, order, low, high)
                low = high
        else:
            _sort_run(rows, keys, order, begin, end)
        for i in range(begin, end):
            ordered[i] = rows[order[i]]
        begin = end


@compiled
def _sort_run(rows: Table, keys: U64, order: I64, begin: int, end: int) -> None:
    if end - begin > LONG_RUN:
        _sort_long(rows, keys, order, begin, end)
        return
    for i in range(begin + 1, end):
        place = order[i]
        j = i
        while j > begin and _is_before(rows, keys, place, order[j - 1]):
            order[j] = order[j - 1]
            j -= 1
        order[j] = place


@compiled
def _is_before(rows: Table, keys: U64, i: int, j: int) -> bool:
    # Mixing is a bijection, so one key is one person.
    if keys[i] != keys[j]:
        return bool(keys[i] < keys[j])
    if rows[i].family != rows[j].family:
        return bool(rows[i].family < rows[j].family)
    if rows[i].start != rows[j].start:
        return bool(rows[i].start < rows[j].start)
    if rows[i].platform != rows[j].platform:
        return bool(rows[i].platform < rows[j].platform)
    return bool(rows[i].record < rows[j].record)


@compiled_with_memory
def _sort_long(rows: Table, keys: U64, order: I64, begin: int, end: int) -> None:
    """Sort a flood of records at one instant, or of people made to look alike, in a way that is never quadratic."""
    places, values = order[begin:end].copy(), np.empty(end - begin, np.int64)
    # By one field after the other, the weightiest last; what was sorted before settles what is then equal.
    for turn in range(5):
        for i in range(len(places)):
            row = rows[places[i]]
            if turn == 0:
                values[i] = row.record
            elif turn == 1:
                values[i] = row.platform
            elif turn == 2:
                values[i] = row.start
            elif turn == 3:
                values[i] = row.family
            else:
                values[i] = np.int64(keys[places[i]] ^ np.uint64(1 << 63))
        places = places[np.argsort(values, kind="mergesort")]
    order[begin:end] = places
