"""Records in columns of words to packed rows of whole numbers; what cannot be a record is set apart. Pure."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from hub.clearing.clusters import sort_pairs
from hub.clearing.codes import PRECISIONS, Catalogue
from hub.clearing.compiled import compiled, compiled_entry
from hub.clearing.rows import I8, I16, I64, LIVE_CANONICAL, LIVE_MEMBER, ROW, UNTOLD, Table
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
        records: RECORD columns, and `reference_mg` unless there is a valuer, which needs `region`. Records that were
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
    for name in ("event_key", "payment_key"):
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
        valuer.fill(rows, _numbers(records, "region", 0))
    at = np.flatnonzero(reason >= 0)
    if not len(at):
        return rows, np.zeros(0, BAD)
    bad = np.zeros(len(at), BAD)
    bad["record"], bad["platform"], bad["reason"] = rows["record"][at], rows["platform"][at], reason[at]
    bad["claim"] = np.maximum(rows["claim"][at], 0)
    return rows[reason < 0], bad


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
    order = np.argsort(keys)
    # Mixing is a bijection, so one number is one person; within the person, family and start fit into one number.
    within = (rows["family"].astype(np.int64) << 53) | rows["start"]
    platform = np.ascontiguousarray(rows["platform"]).astype(np.int64)[order]
    sort_within(keys[order], within[order], platform, np.ascontiguousarray(rows["record"])[order], order)
    return rows[order]


@compiled_entry
def sort_within(keys: npt.NDArray[np.uint64], within: I64, platform: I64, record: I64, order: I64) -> None:
    """Sort `order` within runs of equal keys by `within`, `platform` and `record`; all are given in the present order."""
    low = 0
    while low < len(keys):
        high = low + 1
        while high < len(keys) and keys[high] == keys[low]:
            high += 1
        if high - low > 1:
            _sort_run(within[low:high], platform[low:high], record[low:high], order[low:high])
        low = high


@compiled
def _sort_run(within: I64, platform: I64, record: I64, order: I64) -> None:
    places = np.arange(len(within))
    if len(within) <= 64:
        for i in range(1, len(within)):
            j = i
            while j > 0 and _is_before(within, platform, record, places[j], places[j - 1]):
                places[j], places[j - 1] = places[j - 1], places[j]
                j -= 1
    else:
        by_record = np.argsort(record)
        by_platform = by_record[np.argsort(platform[by_record], kind="mergesort")]
        sort_pairs(within[by_platform], places, len(places))
        places = by_platform[places]
    order[:] = order[places]


@compiled
def _is_before(within: I64, platform: I64, record: I64, i: int, j: int) -> bool:
    if within[i] != within[j]:
        return bool(within[i] < within[j])
    if platform[i] != platform[j]:
        return bool(platform[i] < platform[j])
    return bool(record[i] < record[j])
