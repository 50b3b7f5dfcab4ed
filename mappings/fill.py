"""One field of the records of a batch, filled by its cases: values, what is told, what is wrong. Pure."""

from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mappings import model
from mappings.conditions import find_rows
from mappings.decimals import BROKEN, EXACT, NEGATIVE, ROUNDED, TOO_LARGE, parse_whole
from mappings.reader import Documents, Field
from mappings.reasons import NONE, Faults, Reason
from mappings.texts import Mask, Texts, join_texts
from mappings.times import parse_days, parse_local_times, parse_offset_times, parse_unix_times
from mappings.tokens import MAX_KEY_BYTES, tokenize
from standards.behaviours import accepted_behaviours
from standards.regions import province_codes
from standards.schema import Precision, Role

Numbers: TypeAlias = NDArray[np.int64]

WORDS: dict[str, tuple[str, ...]] = {
    "behaviour": tuple(accepted_behaviours()),
    "role": tuple(Role),
    "precision": tuple(Precision),
    "unit": tuple(sorted({unit for behaviour in accepted_behaviours().values() for unit in behaviour.units})),
}
"""Fields whose numbers are places in a list of words."""

_MAX_CLAIM_MG = 10**9
_MISSING = {
    "behaviour": Reason.MISSING_SCENE,
    "source_id": Reason.MISSING_SOURCE_ID,
    "account": Reason.MISSING_ACCOUNT,
    "version": Reason.MISSING_VERSION,
    "cancelled": Reason.MISSING_STATUS,
    "role": Reason.MISSING_ROLE,
    "precision": Reason.MISSING_PRECISION,
    "start_at": Reason.MISSING_TIME,
    "end_at": Reason.MISSING_TIME,
}
_UNKNOWN = {
    "behaviour": Reason.UNKNOWN_SCENE,
    "cancelled": Reason.UNKNOWN_STATUS,
    "role": Reason.UNKNOWN_ROLE,
    "precision": Reason.UNKNOWN_PRECISION,
    "region": Reason.BAD_REGION,
}
_BAD_ID = {"source_id": Reason.BAD_SOURCE_ID, "account": Reason.BAD_ACCOUNT}
# Per field of a number: what is said of one that is broken, negative, or too large.
_BAD_NUMBER = {
    "version": (Reason.BAD_VERSION, Reason.BAD_VERSION, Reason.BAD_VERSION),
    "region": (Reason.BAD_REGION, Reason.BAD_REGION, Reason.BAD_REGION),
    "quantity": (Reason.BAD_QUANTITY, Reason.NEGATIVE_QUANTITY, Reason.QUANTITY_OUT_OF_RANGE),
    "claimed_mg": (Reason.BAD_CLAIM, Reason.NEGATIVE_CLAIM, Reason.CLAIM_OUT_OF_RANGE),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What fields are filled from."""

    documents: Documents
    token_key: bytes
    accounts: pl.Series | None
    """Per row the account of the link through which it came, for mappings whose rows do not say it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Filled:
    """A field of every row. Values count only where `told`; rows with a fault are told nothing.

    Either `numbers` (whole numbers, microseconds, places in WORDS, 0 and 1, the bits of tokens) or `series` (texts)
    holds them; `units` are places in WORDS, -1 for none, of a quantity only.
    """

    told: Mask
    faults: Faults
    numbers: Numbers | None = None
    series: pl.Series | None = None
    units: Numbers | None = None


def fill_field(name: str, cases: tuple[model.Case, ...], context: Context) -> Filled:
    """Fill one field of every row; a required field that is not told is a fault."""
    rows = len(context.documents)
    left = np.ones(rows, np.bool_)
    filled = _nothing(rows)
    for case in cases:
        taken = left if case.when is None else left & find_rows(case.when, context.documents)
        filled = _choose(taken, _fill_case(name, case, context), filled, whole=case.when is None and bool(left.all()))
        left = left & ~taken
    missing = _MISSING.get(name)
    if missing is None or any(isinstance(case.transform, model.Nobody) for case in cases):
        return filled
    faults = _mark(filled.faults, ~filled.told & (filled.faults == NONE), missing)
    return Filled(told=filled.told, faults=faults, numbers=filled.numbers, series=filled.series, units=filled.units)


def _nothing(rows: int) -> Filled:
    return Filled(told=np.zeros(rows, np.bool_), faults=np.zeros(rows, np.uint8))


def _nobody(rows: int) -> Filled:
    series = pl.Series([None], dtype=pl.String).new_from_index(0, rows)
    return Filled(told=np.zeros(rows, np.bool_), faults=np.zeros(rows, np.uint8), series=series)


def _choose(taken: Mask, new: Filled, old: Filled, *, whole: bool) -> Filled:
    if whole:
        return new
    return Filled(
        told=np.where(taken, new.told, old.told),
        faults=np.where(taken, new.faults, old.faults),
        numbers=_choose_numbers(taken, new.numbers, old.numbers, default=0),
        series=_choose_series(taken, new.series, old.series),
        units=_choose_numbers(taken, new.units, old.units, default=-1),
    )


def _choose_numbers(taken: Mask, new: Numbers | None, old: Numbers | None, *, default: int) -> Numbers | None:
    if new is None:
        return old
    return np.where(taken, new, default if old is None else old)


def _choose_series(taken: Mask, new: pl.Series | None, old: pl.Series | None) -> pl.Series | None:
    if new is None:
        return old
    if old is None:
        old = pl.Series([None], dtype=new.dtype).new_from_index(0, len(new))
    return new.zip_with(pl.Series(taken), old)


def _fill_case(name: str, case: model.Case, context: Context) -> Filled:
    filled = _fill(name, case.transform, context)
    if name != "quantity":
        return filled
    unit = -1 if case.unit is None else WORDS["unit"].index(case.unit)
    units = np.full(len(filled.told), unit, np.int64)
    return Filled(told=filled.told, faults=filled.faults, numbers=filled.numbers, units=units)


def _fill(name: str, transform: model.Transform, context: Context) -> Filled:
    documents = context.documents
    match transform:
        case model.Constant():
            value = WORDS[name].index(transform.value) if isinstance(transform.value, str) else transform.value
            rows = len(documents)
            return Filled(
                told=np.ones(rows, np.bool_), faults=np.zeros(rows, np.uint8), numbers=np.full(rows, value, np.int64)
            )
        case model.Text() | model.Join():
            return _fill_ids(name, *_texts(transform, documents, blurred=_BAD_ID[name]))
        case model.Link():
            return _fill_link(context)
        case model.Words():
            places = np.array([WORDS[name].index(word) for word in transform.ours], np.int64)
            return _fill_words(name, documents.field(transform.paths), transform.theirs, places)
        case model.Codes():
            codes = np.array(transform.ours, np.int64)
            return _fill_words(name, documents.field(transform.paths), transform.theirs, codes)
        case model.Nobody():
            return _nobody(len(documents))
        case model.Reversal():
            theirs = (*transform.reversed, *transform.normal)
            meaning = np.array([1] * len(transform.reversed) + [0] * len(transform.normal), np.int64)
            return _fill_words(name, documents.field(transform.paths), theirs, meaning)
        case model.Number():
            return _fill_numbers(name, transform, documents.field(transform.paths))
        case model.Token():
            return _fill_tokens(transform, context)
        case _:
            return _fill_times(transform, documents)


def _texts(source: model.Text | model.Join, documents: Documents, *, blurred: Reason) -> tuple[Texts, Faults]:
    """The texts of an id or key, and what is wrong with them so far; `blurred` is said of parts with the separator."""
    if isinstance(source, model.Text):
        field = documents.field(source.paths)
        return field.texts, _shape_faults(field)
    fields = [documents.field(paths) for paths in source.parts]
    faults = np.maximum.reduce([_shape_faults(field) for field in fields])
    texts, unclear = join_texts([field.texts for field in fields], source.separator)
    return texts, _mark(faults, unclear & (faults == NONE), blurred)


def _shape_faults(field: Field) -> Faults:
    faults = _mark(np.zeros(len(field.wrong), np.uint8), field.wrong, Reason.WRONG_TYPE)
    return _mark(faults, field.conflict, Reason.CONFLICTING_FIELDS)


def _mark(faults: Faults, rows: Mask, reason: Reason) -> Faults:
    return np.where(rows, np.uint8(reason.number), faults)


def _fill_ids(name: str, texts: Texts, faults: Faults) -> Filled:
    faults = _mark(faults, (faults == NONE) & texts.told & ~texts.has_ids(), _BAD_ID[name])
    return Filled(told=texts.told & (faults == NONE), faults=faults, series=texts.to_series())


def _fill_link(context: Context) -> Filled:
    rows = len(context.documents)
    if context.accounts is None:
        raise ValueError("this mapping takes the account from the link: `accounts` is needed")
    told = context.accounts.is_not_null().to_numpy()
    return Filled(told=told, faults=np.zeros(rows, np.uint8), series=context.accounts.cast(pl.String))


def _fill_words(name: str, field: Field, theirs: tuple[str, ...], values: Numbers) -> Filled:
    places = field.texts.find(theirs)
    faults = _mark(_shape_faults(field), field.texts.told & (places < 0), _UNKNOWN[name])
    return Filled(told=places >= 0, faults=faults, numbers=values[places])


def _fill_numbers(name: str, transform: model.Number, field: Field) -> Filled:
    values, states = parse_whole(field.texts, transform.places)
    broken, negative, large = _BAD_NUMBER[name]
    faults = _shape_faults(field)
    for state, reason in ((BROKEN, broken), (NEGATIVE, negative), (TOO_LARGE, large)):
        faults = _mark(faults, states == state, reason)
    if name in ("version", "region"):
        faults = _mark(faults, states == ROUNDED, broken)
    outside = np.zeros(len(values), np.bool_)
    if name == "region":
        outside = ~np.isin(values // 10_000 * 10_000, province_codes())
    elif name == "claimed_mg":
        outside = values > _MAX_CLAIM_MG
    told = (states == EXACT) | (states == ROUNDED)
    faults = _mark(faults, told & (faults == NONE) & outside, large)
    return Filled(told=told & (faults == NONE), faults=faults, numbers=values)


def _fill_tokens(transform: model.Token, context: Context) -> Filled:
    texts, faults = _texts(transform.source, context.documents, blurred=Reason.BAD_KEY)
    long = texts.told & (texts.ends - texts.starts > MAX_KEY_BYTES)
    faults = _mark(faults, (faults == NONE) & long, Reason.BAD_KEY)
    usable = replace(texts, told=texts.told & (faults == NONE))
    tokens, found = tokenize(context.token_key, transform.kind, usable)
    return Filled(told=found, faults=faults, numbers=tokens.view(np.int64))


def _fill_times(transform: model.Time, documents: Documents) -> Filled:
    field = documents.field(transform.paths)
    match transform:
        case model.OffsetTime():
            moments, faults = parse_offset_times(field.texts, transform.zone)
        case model.LocalTime():
            moments, faults = parse_local_times(field.texts, transform.zone)
        case model.ServiceDay():
            moments, faults = parse_days(field.texts, transform.zone, end=transform.end)
        case model.UnixTime():
            moments, faults = parse_unix_times(field.texts, transform.unit)
    faults = np.maximum(faults, _shape_faults(field))
    return Filled(told=field.texts.told & (faults == NONE), faults=faults, numbers=moments)
