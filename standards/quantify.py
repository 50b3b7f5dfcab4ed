"""The methodology's amount of every record: columns in, columns out, exact. Pure."""

from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from standards.behaviours import accepted_behaviours, default_unit
from standards.methodology import Methodology
from standards.rates import I64, NONE, rate_table, slices_of
from standards.schema import RECORD_SCHEMA, UNSEEN, Precision
from standards.units import MICRO


def quantify(records: pl.DataFrame, methodology: Methodology) -> pl.DataFrame:
    """Add the methodology's amount to every record.

    Args:
        records: RECORD columns; others are dropped. A null unit is the behaviour's default unit; an act that is counted
            (a trip, an order...) and tells no quantity is one.
        methodology: the version to value with.

    Returns:
        QUANTIFIED, rows in the same order. `factor_id` is null if there is no method for behaviour, unit and day;
        `reference_mg` is null then, and if no quantity is told, it is negative, or the amount does not fit 64 bits.
    """
    words, table = _words(methodology), rate_table(methodology)
    # Columns by themselves: for a delivery of some hundred rows, planning expressions would take longer than they do.
    unit, quantity = records["unit"], records["quantity_micro"]
    told, no_quantity = _numbers(quantity, 0), _missing(quantity)
    slot = words.slot(
        behaviour=_codes(records["behaviour"], words.behaviours),
        unit=np.where(_missing(unit), words.untold, _codes(unit, words.units)),
        day=_is(records["precision"] == Precision.DAY),
    )
    witnessed = _is(~records["role"].is_in(UNSEEN))
    region = _numbers(records["region"], 0)
    start = _numbers(records["start_at"].cast(pl.Int64), 0)
    amounts, pins = np.empty(len(records), np.int64), np.empty(len(records), np.uint32)
    for part in slices_of(len(records)):
        at = slot[part]
        rate = table.find(words.methods.take(at), region[part], start[part], witnessed[part])
        meant = np.where(no_quantity[part], words.without_quantity.take(at), told[part])
        amounts[part] = table.amounts(rate, meant)
        pins[part] = np.where(rate < 0, len(table.rates), rate)
    reference = pl.Series("reference_mg", amounts)
    factor = words.pins[pl.Series(pins)].alias("factor_id")
    return records[list(RECORD_SCHEMA)].hstack([reference.set(reference < 0, None), factor])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Words:
    """Behaviour, unit and precision as one number, the slot; unknown words are the last of their kind."""

    behaviours: pl.Enum
    units: pl.Enum
    untold: int
    """Stands for no unit; unknown units are the number before it."""
    methods: I64
    """By slot."""
    without_quantity: I64
    """By slot: what a record without quantity stands for, one or -1."""
    pins: pl.Series
    """By rate; the last one stands for no rate."""

    def slot(self, *, behaviour: npt.NDArray[Any], unit: npt.NDArray[Any], day: npt.NDArray[Any]) -> I64:
        """Return the slots of words by number."""
        slot: I64 = (behaviour.astype(np.int64) * (self.untold + 1) + unit) * 2 + day
        return slot


@lru_cache(maxsize=16)
def _words(methodology: Methodology) -> _Words:
    behaviours, table = accepted_behaviours(), rate_table(methodology)
    units = sorted({unit for behaviour in behaviours.values() for unit in behaviour.units})
    untold = len(units) + 1
    shape = len(behaviours) + 1, untold + 1, 2
    methods, without_quantity = np.full(shape, NONE, np.int64), np.full(shape, NONE, np.int64)
    for (b, known), unit, (day, precision) in product(
        enumerate(behaviours.values()), (*units, None), enumerate((Precision.SECOND, Precision.DAY))
    ):
        number = untold if unit is None else units.index(unit)
        meant = unit or default_unit(known.code, precision)
        methods[b, number, day] = table.method_number(known.code, meant)
        if meant in known.units and known.counts_one(meant):
            without_quantity[b, number, day] = MICRO
    return _Words(
        behaviours=pl.Enum(list(behaviours)),
        units=pl.Enum(units),
        untold=untold,
        methods=methods.reshape(-1),
        without_quantity=without_quantity.reshape(-1),
        pins=pl.Series([*(rate.pin for rate in table.rates), None], dtype=pl.String),
    )


def _codes(column: pl.Series, words: pl.Enum) -> npt.NDArray[Any]:
    """The number of each word; null and unknown words are the number after the last."""
    # A cast that is not strict turns unknown words into null.
    numbers = column.cast(words, strict=False).to_arrow().indices
    return np.asarray(numbers.fill_null(len(words.categories)).to_numpy())


def _numbers(column: pl.Series, missing: int) -> npt.NDArray[Any]:
    return np.asarray(column.to_arrow().fill_null(missing).to_numpy())


def _missing(column: pl.Series) -> npt.NDArray[np.bool_]:
    return np.asarray(column.to_arrow().is_null().to_numpy(zero_copy_only=False))


def _is(answers: pl.Series) -> npt.NDArray[np.bool_]:
    """True where the answer is yes; null is not."""
    return np.asarray(answers.to_arrow().fill_null(False).to_numpy(zero_copy_only=False))
