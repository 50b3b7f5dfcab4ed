"""Records in columns of words to packed rows of whole numbers; what cannot be a record is set apart. Pure."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hub.clearing.codes import PRECISIONS, Catalogue
from hub.clearing.compiled import ZERO, compiled, compiled_entry, compiled_with_memory
from hub.clearing.rows import I8, I16, I64, LIVE_CANONICAL, LIVE_MEMBER, ROW, U64, UNTOLD, Table
from hub.clearing.valuing import Valuer
from hub.clearing.vocabulary import Reason
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


def encode_records(
    records: pa.Table, catalogue: Catalogue, platforms: PlatformNames, valuer: Valuer | None = None
) -> tuple[Table, Table]:
    """Return ROW of the sound records, neither sorted nor with facts, and BAD of the others.

    Args:
        records: RECORD columns, and `reference_mg` unless there is a valuer. Records that were
            cleared before have `event_id`, `verdict` and `counted_mg` too.
        platforms: grows by the names that are new.
        valuer: values records that come from files; those of the database are valued when they come in.
    """
    size = len(records)
    rows = np.zeros(size, ROW)
    for name, column in (("record", "record_id"), ("subject", "subject_id")):
        rows[name] = _numbers(records, column, 0)
    rows["start"], rows["end"] = _times(records, "start_at"), _times(records, "end_at")
    rows["platform"] = _codes(records, "platform", platforms.code)
    rows["behaviour"] = _codes(records, "behaviour", _finder(catalogue.behaviours))
    rows["rank"] = _codes(records, "role", _finder(catalogue.roles))
    rows["grain"] = _codes(records, "precision", _finder(PRECISIONS))
    for name, column in (("quantity", "quantity_micro"), ("claim", "claimed_mg"), ("reference", "reference_mg")):
        rows[name] = _numbers(records, column, UNTOLD) if column in records.column_names else UNTOLD
    for name in ("event_key", "payment_key", "region"):
        rows[name] = _numbers(records, name, 0)
    rows["family"] = catalogue.family_of[rows["behaviour"]]
    unit = _codes(records, "unit", _finder(catalogue.units))
    untold = records["unit"].is_null().to_numpy()
    rows["unit"] = np.where(untold, catalogue.default_unit[rows["behaviour"], rows["grain"]], unit)
    rows["counted"] = UNTOLD
    if "event_id" in records.column_names:
        _mark_live(rows, records)
    reason = _reasons(records, rows, catalogue)
    if valuer is not None:
        valuer.fill(rows)
    at = np.flatnonzero(reason >= 0)
    if not len(at):
        return rows, np.zeros(0, BAD)
    bad = np.zeros(len(at), BAD)
    bad["record"], bad["platform"], bad["reason"] = rows["record"][at], rows["platform"][at], reason[at]
    bad["claim"] = np.maximum(rows["claim"][at], 0)
    return chosen_rows(rows, np.flatnonzero(reason < 0)), bad


def _mark_live(rows: Table, records: pa.Table) -> None:
    rows["event"] = _numbers(records, "event_id", 0)
    rows["live"] = np.where(rows["event"] == rows["record"], LIVE_CANONICAL, LIVE_MEMBER)
    counts = pc.equal(records["verdict"].cast(pa.string()), Verdict.COUNTED.value).to_numpy()
    rows["counted"] = np.where(counts, _numbers(records, "counted_mg", 0), UNTOLD)


def _reasons(records: pa.Table, rows: Table, catalogue: Catalogue) -> I8:
    """Return why each record is rejected, the first reason that applies, or -1."""
    missing = np.zeros(len(rows), bool)
    for name in REQUIRED:
        if records[name].null_count:
            missing |= records[name].is_null().to_numpy()
    start, end = rows["start"], rows["end"]
    unusable = (rows["unit"] < 0) | (catalogue.usable[rows["behaviour"], rows["unit"]] == 0)
    checks = (
        (Reason.MISSING_VALUE, missing),
        (Reason.UNKNOWN_BEHAVIOUR, rows["behaviour"] < 0),
        (Reason.UNKNOWN_ROLE, rows["rank"] < 0),
        (Reason.UNKNOWN_PRECISION, rows["grain"] < 0),
        (Reason.UNKNOWN_UNIT, unusable),
        (Reason.END_BEFORE_START, end < start),
        (Reason.TIME_OUT_OF_RANGE, (start < EARLIEST_US) | (end > LATEST_US)),
        (Reason.BAD_QUANTITY, _is_negative(records, "quantity_micro", rows["quantity"])),
        (Reason.BAD_CLAIM, _is_negative(records, "claimed_mg", rows["claim"])),
    )
    reasons = np.full(len(rows), -1, np.int8)
    for reason, wrong in reversed(checks):
        reasons[wrong] = reason
    return reasons


def _is_negative(records: pa.Table, name: str, values: I64) -> npt.NDArray[np.bool_]:
    negative = values < 0
    if negative.any():
        negative &= ~records[name].is_null().to_numpy()
    return negative


def _numbers(records: pa.Table, name: str, missing: int) -> npt.NDArray[Any]:
    column = records[name]
    return np.asarray((column.fill_null(missing) if column.null_count else column).to_numpy())


def _times(records: pa.Table, name: str) -> I64:
    column = records[name].cast(pa.timestamp("us", tz="UTC")).cast(pa.int64())
    return np.asarray((column.fill_null(0) if column.null_count else column).to_numpy(), np.int64)


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
