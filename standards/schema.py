"""The record schema in one list of columns, and every form derived from it: Polars, Arrow and JSON. Pure.

PUBLIC is what platforms and files use (`quantity` as decimal(18,6)); the internal RECORD frame carries the same number
as `quantity_micro`, whole millionths of the unit, so that no step between reading and writing can round.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import polars as pl
import pyarrow as pa

UTC_US = pl.Datetime("us", "UTC")
QUANTITY_PRECISION, QUANTITY_SCALE = 18, 6
RECORD_JSON_SCHEMA_ID = "urn:tanlian:schema:reduction-record:1"


class Role(StrEnum):
    """The platform's part in the act, best witness first: the order of the members is the rank."""

    OPERATOR = "operator"
    METER = "meter"
    PAYMENT = "payment"
    NAVIGATION = "navigation"
    AGGREGATOR = "aggregator"
    SELF_REPORT = "self_report"
    DECLARED = "declared"  # a document that the person brought; alone it counts for nothing

    @property
    def is_witness(self) -> bool:
        """Whether somebody other than the person themself saw the act."""
        return self not in (Role.SELF_REPORT, Role.DECLARED)

    @property
    def rank(self) -> int:
        """0 is the best witness."""
        return list(Role).index(self)


UNSEEN = tuple(str(role) for role in Role if not role.is_witness)
"""Roles of those who tell of themselves."""


class Precision(StrEnum):
    """How exactly the platform knows the time; a `day` record spans its service day."""

    SECOND = "second"
    MINUTE = "minute"
    DAY = "day"


class Verdict(StrEnum):
    """What clearing decided about one record."""

    COUNTED = "counted"
    DUPLICATE = "duplicate"
    OVERLAPPED = "overlapped"
    HELD = "held"
    REJECTED = "rejected"


class Kind(StrEnum):
    """The closed list of column types; each has one Polars, one Arrow and one JSON form."""

    BOOL = "bool"
    I32 = "i32"
    I64 = "i64"
    U32 = "u32"
    U64 = "u64"
    TEXT = "text"
    TIME = "time"
    DECIMAL = "decimal"


POLARS_TYPES: dict[Kind, pl.DataType] = {
    Kind.BOOL: pl.Boolean(),
    Kind.I32: pl.Int32(),
    Kind.I64: pl.Int64(),
    Kind.U32: pl.UInt32(),
    Kind.U64: pl.UInt64(),
    Kind.TEXT: pl.String(),
    Kind.TIME: UTC_US,
    Kind.DECIMAL: pl.Decimal(QUANTITY_PRECISION, QUANTITY_SCALE),
}
ARROW_TYPES: dict[Kind, pa.DataType] = {
    Kind.BOOL: pa.bool_(),
    Kind.I32: pa.int32(),
    Kind.I64: pa.int64(),
    Kind.U32: pa.uint32(),
    Kind.U64: pa.uint64(),
    Kind.TEXT: pa.string(),
    Kind.TIME: pa.timestamp("us", tz="UTC"),
    Kind.DECIMAL: pa.decimal128(QUANTITY_PRECISION, QUANTITY_SCALE),
}
# A JSON number loses digits above 2^53 in many readers, so keys and quantities may also be written as decimal strings.
JSON_TYPES: dict[Kind, dict[str, Any]] = {
    Kind.BOOL: {"type": ["boolean"]},
    Kind.I32: {"type": ["integer"], "minimum": -(2**31), "maximum": 2**31 - 1},
    Kind.I64: {"type": ["integer"], "minimum": -(2**63), "maximum": 2**63 - 1},
    Kind.U32: {"type": ["integer"], "minimum": 0, "maximum": 2**32 - 1},
    Kind.U64: {"type": ["integer", "string"], "minimum": 0, "maximum": 2**64 - 1, "pattern": "^[0-9]{1,20}$"},
    Kind.TEXT: {"type": ["string"]},
    Kind.TIME: {"type": ["string"], "format": "date-time"},
    Kind.DECIMAL: {
        "type": ["number", "string"],
        "minimum": 0,
        "exclusiveMaximum": 10 ** (QUANTITY_PRECISION - QUANTITY_SCALE),
        "pattern": rf"^[0-9]{{1,{QUANTITY_PRECISION - QUANTITY_SCALE}}}(\.[0-9]{{1,{QUANTITY_SCALE}}})?$",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a frame: its name, type, whether null is allowed, what it means, and its closed values if any."""

    name: str
    kind: Kind
    nullable: bool = False
    meaning: str
    values: tuple[str, ...] = ()


def _column(name: str, kind: Kind, meaning: str, *, nullable: bool = False, values: tuple[str, ...] = ()) -> Column:
    return Column(name=name, kind=kind, meaning=meaning, nullable=nullable, values=values)


_WHO = (
    _column("record_id", Kind.I64, "unique number of the record"),
    _column("subject_id", Kind.I64, "the person"),
    _column("platform", Kind.TEXT, "id of the reporting platform"),
)
_ROLE = _column("role", Kind.TEXT, "the platform's part in this act", values=tuple(Role))
_BEHAVIOUR = _column("behaviour", Kind.TEXT, "code of the behaviour list")
_START = _column("start_at", Kind.TIME, "begin of the act, included")
_END = _column("end_at", Kind.TIME, "end of the act, excluded; equal to start_at for an instant")
_ACT = (
    _ROLE,
    _BEHAVIOUR,
    _START,
    _END,
    _column("precision", Kind.TEXT, "how exactly the time is known", values=tuple(Precision)),
)
_QUANTITY = _column("quantity", Kind.DECIMAL, "in the unit; null if the platform does not say", nullable=True)
_QUANTITY_MICRO = replace(_QUANTITY, name="quantity_micro", kind=Kind.I64, meaning="millionths of the unit")
_UNIT = _column("unit", Kind.TEXT, "null or absent: the behaviour's default unit", nullable=True)
_KEYS = (
    _column("event_key", Kind.U64, "token of the origin event id (order, trip, waybill...)", nullable=True),
    _column("payment_key", Kind.U64, "token of the payment", nullable=True),
    _column("region", Kind.I32, "GB/T 2260 code", nullable=True),
    _column("claimed_mg", Kind.I64, "milligrams of CO2e that the platform claims", nullable=True),
)

PUBLIC_COLUMNS: tuple[Column, ...] = (*_WHO, *_ACT, _QUANTITY, _UNIT, *_KEYS)
RECORD_COLUMNS: tuple[Column, ...] = (*_WHO, *_ACT, _QUANTITY_MICRO, _UNIT, *_KEYS)
QUANTIFIED_COLUMNS: tuple[Column, ...] = (
    *RECORD_COLUMNS,
    _column(
        "reference_mg",
        Kind.I64,
        "the methodology's amount, of one if such acts are counted; null if it has none",
        nullable=True,
    ),
    _column("factor_id", Kind.TEXT, "the figures chosen for it, or its method; null if there is none", nullable=True),
)
TRANSLATED_COLUMNS: tuple[Column, ...] = (
    _column("row", Kind.U32, "position in the input"),
    _column("source_id", Kind.TEXT, "the platform's own id of the record"),
    _column("version", Kind.I64, "the platform's version of the record; 1 where its format has none"),
    _column("account", Kind.TEXT, "the platform's id of the person; null if the format names nobody", nullable=True),
    _column("cancelled", Kind.BOOL, "the platform took the act back"),
    _column("posted_at", Kind.TIME, "when the platform booked it", nullable=True),
    *_ACT,
    _QUANTITY_MICRO,
    _UNIT,
    *_KEYS,
)
QUARANTINED_COLUMNS: tuple[Column, ...] = (
    _column("row", Kind.U32, "position in the input"),
    _column("source_id", Kind.TEXT, "the platform's own id, where it could be read", nullable=True),
    _column("reason", Kind.TEXT, "stable machine code in snake_case"),
    _column("detail", Kind.TEXT, "one English sentence without personal data"),
)
DECISION_COLUMNS: tuple[Column, ...] = (
    _column("record_id", Kind.I64, "the record that was decided"),
    _column("event_id", Kind.I64, "the real act; null if rejected", nullable=True),
    _column("verdict", Kind.TEXT, "what was decided", values=tuple(Verdict)),
    _column("rule", Kind.TEXT, "tier, overlap rule id, plausibility, single or input"),
    _column("reason", Kind.TEXT, "stable machine code in snake_case"),
    _column("counted_mg", Kind.I64, "0 unless counted"),
    _column("canonical_record_id", Kind.I64, "the record that counts for the event", nullable=True),
)
EVENT_COLUMNS: tuple[Column, ...] = (
    _column("event_id", Kind.I64, "unique number of the real act"),
    _column("subject_id", Kind.I64, "the person"),
    _BEHAVIOUR,
    _START,
    _END,
    _column("mg", Kind.I64, "the one amount that counts"),
    _column("records", Kind.I32, "how many records tell of it"),
    _column("policy", Kind.TEXT, "version of the clearing policy"),
    _column("methodology", Kind.TEXT, "version of the methodology"),
)


def polars_schema(columns: tuple[Column, ...]) -> pl.Schema:
    """Return the Polars form of a list of columns."""
    return pl.Schema({column.name: POLARS_TYPES[column.kind] for column in columns})


def arrow_schema(columns: tuple[Column, ...] = PUBLIC_COLUMNS) -> pa.Schema:
    """Return the Arrow form of a list of columns; by default the public record."""
    return pa.schema([pa.field(c.name, ARROW_TYPES[c.kind], nullable=c.nullable) for c in columns])


def json_schema(columns: tuple[Column, ...] = PUBLIC_COLUMNS) -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of one object with these columns; by default the public record.

    A nullable column may be absent; unknown members are allowed, as unknown columns are in files.
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **({"$id": RECORD_JSON_SCHEMA_ID} if columns is PUBLIC_COLUMNS else {}),
        "type": "object",
        "properties": {column.name: _json_property(column) for column in columns},
        "required": [column.name for column in columns if not column.nullable],
    }


def _json_property(column: Column) -> dict[str, Any]:
    form = {**JSON_TYPES[column.kind], "description": column.meaning}
    if column.values:
        form["enum"] = [*column.values, *([None] if column.nullable else [])]
    if column.nullable:
        form["type"] = [*form["type"], "null"]
    return form


PUBLIC_SCHEMA = polars_schema(PUBLIC_COLUMNS)
RECORD_SCHEMA = polars_schema(RECORD_COLUMNS)
QUANTIFIED_SCHEMA = polars_schema(QUANTIFIED_COLUMNS)
TRANSLATED_SCHEMA = polars_schema(TRANSLATED_COLUMNS)
QUARANTINED_SCHEMA = polars_schema(QUARANTINED_COLUMNS)
DECISION_SCHEMA = polars_schema(DECISION_COLUMNS)
EVENT_SCHEMA = polars_schema(EVENT_COLUMNS)
