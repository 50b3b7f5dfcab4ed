"""What platforms write: a statement, its streams, their lines. Pure.

A statement names deliveries (the first form), streams by count, sum and digest (the second form), or both. Lines stand in the
statement or come as NDJSON, a stream at a time; read in columns, as strictly as everything else: no key twice, no number as text.
"""

import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Self

import polars as pl
import pyarrow as pa
from pyarrow import json as arrow_json
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from connectors.strict_json import MalformedJsonError, parse_object
from hub.errors import UsageProblem
from hub.reconcile.lines import LINE_SCHEMA, Totals, totals_of

MOST_MG = 10**12
MOST_LINES_INSIDE = 20_000
MOST_LINES = 5_000_000
DELIVERY_SCHEMA: dict[str, Any] = {"delivery_id": pl.String(), "rows": pl.Int64(), "stream": pl.String()}
_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})$"
_STREAM = r"^[a-z][a-z0-9_]{1,31}$"
_ARROW = pa.schema(
    [("source_id", pa.string()), ("version", pa.int64()), ("claimed_mg", pa.int64()), ("posted_at", pa.string())]
)


class Line(BaseModel):
    """One delivery as the platform remembers it."""

    model_config = ConfigDict(strict=True)

    delivery_id: str = Field(min_length=1, max_length=200)
    stream: str | None = Field(default=None, max_length=32)
    rows: int = Field(ge=0, le=10**9)


class RecordLine(BaseModel):
    """One record as the platform told it last in the window."""

    model_config = ConfigDict(strict=True)

    source_id: str = Field(min_length=1, max_length=512)
    version: int = Field(default=0, ge=0, lt=2**63, description="the record's own number; 0 where it carries none")
    claimed_mg: int = Field(default=0, ge=0, le=MOST_MG, description="milligrams of CO2e; 0 where nothing is claimed")
    posted_at: str | None = Field(default=None, pattern=_TIME, description="when it was told, RFC 3339")


class StreamLine(BaseModel):
    """One stream: totals, or lines, or both."""

    model_config = ConfigDict(strict=True)

    stream: str | None = Field(default=None, pattern=_STREAM, description="left out: the participant's first")
    records: int | None = Field(default=None, ge=0, le=MOST_LINES)
    claimed_mg: int | None = Field(default=None, ge=0, lt=2**63)
    digest: str | None = Field(default=None, pattern="^[0-9a-f]{64}$")
    lines: list[RecordLine] | None = Field(default=None, max_length=MOST_LINES_INSIDE)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        told = [self.records, self.claimed_mg, self.digest]
        if told.count(None) not in (0, 3):
            raise ValueError("records, claimed_mg and digest belong together")
        if None in told and self.lines is None:
            raise ValueError("tell records, claimed_mg and digest, or the lines")
        return self


class Statement(BaseModel):
    """What a platform says that it told in a window."""

    model_config = ConfigDict(strict=True)

    deliveries: list[Line] | None = Field(default=None, max_length=100_000)
    streams: list[StreamLine] | None = Field(default=None, max_length=9)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.deliveries is None and self.streams is None:
            raise ValueError("a statement names deliveries, or streams, or both")
        names = [one.stream for one in self.streams or ()]
        if len(set(names)) != len(names):
            raise ValueError("a stream is named twice")
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldStream:
    """What a platform says of one stream (None: its first); `lines` has LINE_SCHEMA, if they were told."""

    stream: str | None
    totals: Totals
    lines: pl.DataFrame | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A statement as read: `deliveries` has DELIVERY_SCHEMA, or is None where it names none."""

    deliveries: pl.DataFrame | None
    streams: tuple[ToldStream, ...] = ()


def parse_told(body: bytes, *, extra: Literal["forbid", "ignore"]) -> Told:
    """Read a platform's statement; a delivery that it names twice keeps its first line.

    Raises:
        UsageProblem: not strict JSON, not of the agreed form, or lines that do not make the totals; what stood there is
            not repeated.
    """
    try:
        statement = Statement.model_validate(parse_object(body), extra=extra)
    except MalformedJsonError as cause:
        raise UsageProblem(f"the statement is not strict JSON ({cause.reason})") from None
    except ValidationError as cause:
        first = cause.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageProblem(f"the statement is not of the agreed form ({where}: {first['msg']})") from None
    streams = tuple(_told_stream(place, one) for place, one in enumerate(statement.streams or ()))
    return Told(deliveries=_deliveries(statement.deliveries), streams=streams)


def parse_statement(body: bytes, *, extra: Literal["forbid", "ignore"]) -> pl.DataFrame:
    """Read a statement of the first form (DELIVERY_SCHEMA); raises UsageProblem as `parse_told` does."""
    told = parse_told(body, extra=extra)
    if told.deliveries is None:
        raise UsageProblem("the statement is not of the agreed form (deliveries: Field required)")
    return told.deliveries


def parse_lines(body: bytes) -> pl.DataFrame:
    """Read lines as NDJSON (LINE_SCHEMA), a record on each line.

    Raises:
        UsageProblem: not strict, not of the agreed form, or a record named twice; what stood there is not repeated.
    """
    try:
        body.decode()
    except UnicodeDecodeError:
        raise UsageProblem("the lines are not UTF-8") from None
    if not body.strip():
        return pl.DataFrame(schema=LINE_SCHEMA)
    strict = arrow_json.ParseOptions(explicit_schema=_ARROW, unexpected_field_behavior="error")
    try:
        found = arrow_json.read_json(io.BytesIO(body), parse_options=strict)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        # Arrow's own sentence may hold a value.
        raise UsageProblem("a line is not strict JSON of the agreed form") from None
    frame = pl.DataFrame(pl.from_arrow(found)).with_columns(pl.col("version", "claimed_mg").fill_null(0))
    return _checked(frame)


def _checked(frame: pl.DataFrame) -> pl.DataFrame:
    """Hold lines to the bounds of RecordLine, column by column."""
    if len(frame) > MOST_LINES:
        raise UsageProblem(f"a stream has at most {MOST_LINES:,} lines")
    source, posted = pl.col("source_id"), pl.col("posted_at")
    faults = {
        # No line feed: each canonical line is one line.
        "source_id": source.is_null() | ~source.str.len_chars().is_between(1, 512) | source.str.contains(r"\p{Cc}"),
        "version": pl.col("version") < 0,
        "claimed_mg": ~pl.col("claimed_mg").is_between(0, MOST_MG),
        "posted_at": posted.is_not_null() & ~posted.str.contains(_TIME),
    }
    for name, fault in faults.items():
        if frame.select(fault.any()).item():
            raise UsageProblem(f"a line is not of the agreed form ({name})")
    if frame["source_id"].is_duplicated().any():
        raise UsageProblem("a record is named twice; tell each with its last version in the window")
    try:
        posted_us = frame["posted_at"].str.to_datetime("%+", time_unit="us", time_zone="UTC").dt.timestamp("us")
    except pl.exceptions.PolarsError:
        raise UsageProblem("a line is not of the agreed form (posted_at)") from None
    return frame.select("source_id", "version", "claimed_mg", posted_us=posted_us).cast(LINE_SCHEMA)


def _deliveries(lines: Iterable[Line] | None) -> pl.DataFrame | None:
    if lines is None:
        return None
    rows = [(line.delivery_id, line.rows, line.stream) for line in lines]
    frame = pl.DataFrame(rows, schema=DELIVERY_SCHEMA, orient="row")
    return frame.unique("delivery_id", keep="first", maintain_order=True)


def _told_stream(place: int, one: StreamLine) -> ToldStream:
    lines = None
    if one.lines is not None:
        rows = [(line.source_id, line.version, line.claimed_mg, line.posted_at) for line in one.lines]
        schema = {**LINE_SCHEMA, "posted_at": pl.String()}
        del schema["posted_us"]
        lines = _checked(pl.DataFrame(rows, schema=schema, orient="row"))
    if one.digest is None or one.records is None or one.claimed_mg is None:
        assert lines is not None  # noqa: S101 - the model sees to it
        return ToldStream(stream=one.stream, totals=totals_of(lines), lines=lines)
    totals = Totals(records=one.records, claimed_mg=one.claimed_mg, digest=bytes.fromhex(one.digest))
    if lines is not None and totals_of(lines) != totals:
        raise UsageProblem(f"streams.{place}: the lines do not make this count, sum and digest")
    return ToldStream(stream=one.stream, totals=totals, lines=lines)


def is_stream_name(name: str) -> bool:
    """Tell whether a stream may be called so."""
    return re.fullmatch(_STREAM, name) is not None
