"""Statements of platforms: asked for where they serve one, compared, kept, logged. I/O: network, the database."""

from datetime import datetime
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from connectors.base import ConnectorError, Transport
from connectors.net.egress import Origin, SafeClient
from connectors.strict_json import MalformedJsonError, parse_object
from hub.changes import log_change
from hub.clearing.reconcile import (
    STATEMENT_SCHEMA,
    Compared,
    compare,
    load_elsewhere,
    load_statement,
    store_comparison,
)
from hub.clearing.windows import WindowState, advance, require_window
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import Conflict, TanlianError, UsageProblem
from hub.log.leaves import Kind
from hub.participants import Platform, load_participants, open_platform


class Line(BaseModel):
    """One delivery as the platform remembers it."""

    model_config = ConfigDict(strict=True)

    delivery_id: str = Field(min_length=1, max_length=200)
    stream: str | None = Field(default=None, max_length=32)
    rows: int = Field(ge=0, le=10**9)


class Statement(BaseModel):
    """What a platform says it delivered in a window."""

    model_config = ConfigDict(strict=True)

    deliveries: list[Line] = Field(max_length=100_000)


def record_statement(hub: Hub, window_id: int, platform_id: str, theirs: pl.DataFrame, *, now: datetime) -> Compared:
    """Compare a platform's statement with ours, keep the result and log it, in one transaction."""
    with writing(hub.engine) as session:
        window = require_window(session, window_id)
        if window.state == WindowState.OPEN:
            raise Conflict(f"window {window_id} is still open; statements are compared when it is sealed")
        platform = open_platform(session, hub.ring, platform_id)
        theirs = theirs.join(load_elsewhere(session, window_id, platform_id), on="delivery_id", how="anti")
        ours = load_statement(session, window_id, platform_id)
        theirs = _without_empty_answers(platform, ours, theirs)
        compared = compare(ours, theirs)
        row = store_comparison(session, window_id, platform_id, compared, now)
        fields = {
            "window": window_id, "participant": platform_id, "outcome": row.state, "ours_count": row.ours_deliveries,
            "theirs_count": row.theirs_deliveries or 0, "breaks_count": len(compared.breaks),
        }  # fmt: skip
        reference = f"{window_id}:{platform_id}:{now.isoformat()}"
        log_change(session, Kind.RECONCILIATION_DONE, reference, now, fields)
    return compared


def _without_empty_answers(platform: Platform, ours: pl.DataFrame, theirs: pl.DataFrame) -> pl.DataFrame:
    """Leave out what the hub asked for and found nothing new in: such answers leave no batch here.

    A line says which stream it is of; one that does not is of the first.
    """
    if "stream" not in theirs.columns:
        theirs = theirs.with_columns(stream=pl.lit(None, pl.String))
    first = platform.feeds[0].stream
    pulled = [feed.stream for feed in platform.feeds if feed.connector.describe().transport is Transport.PULL]
    asked_for = pl.col("stream").fill_null(first).is_in(pulled)
    known = pl.col("delivery_id").is_in(ours["delivery_id"].implode())
    # A delivery without a row, an empty drop for one, leaves nothing to compare.
    return theirs.filter(known | (~asked_for & (pl.col("rows") > 0))).drop("stream")


def reconcile_window(hub: Hub, window_id: int, *, now: datetime) -> dict[str, Any]:
    """Ask every platform that serves statements for this window's, then let the challenge period begin.

    A platform that cannot be reached is reported as such and can be asked again; the window moves on all the same,
    because one silent platform must not hold up everybody's grams.
    """
    with writing(hub.engine) as session:
        window = require_window(session, window_id)
        if window.cleared_at is None:
            raise Conflict(f"window {window_id} is not cleared yet; run `tanlian worker` or seal it first")
        if window.state == WindowState.SEALED:
            advance(window, WindowState.RECONCILING)
    report: dict[str, Any] = {}
    for platform in _platforms(hub):
        report[platform.platform_id] = _reconcile_one(hub, window_id, platform, now)
    with writing(hub.engine) as session:
        window = require_window(session, window_id)
        if window.state == WindowState.RECONCILING:
            advance(window, WindowState.PROVISIONAL)
            window.provisional_at = now
            log_change(session, Kind.WINDOW_PROVISIONAL, f"{window_id}", now, {"window": window_id})
    return report


def _platforms(hub: Hub) -> list[Platform]:
    with reading(hub.engine) as session:
        return [open_platform(session, hub.ring, row.participant_id) for row in load_participants(session)]


def _reconcile_one(hub: Hub, window_id: int, platform: Platform, now: datetime) -> dict[str, Any]:
    url = platform.document.statement_url
    if url is None:
        return {"state": "no_statement"}
    try:
        theirs = _fetch_statement(url, allow_loopback=platform.document.allow_loopback)
        compared = record_statement(hub, window_id, platform.platform_id, theirs, now=now)
    except (ConnectorError, TanlianError) as error:
        return {"state": "unreached", "reason": str(error)}
    return {
        "state": "matched" if compared.breaks.is_empty() else "breaks",
        "deliveries": len(compared.ours),
        "rows": int(compared.ours["rows"].sum()),
        "breaks": compared.breaks.to_dicts(),
    }


def _fetch_statement(url: str, *, allow_loopback: bool) -> pl.DataFrame:
    origin = Origin.parse(url, allow_loopback=allow_loopback)
    with SafeClient([origin]) as client:
        answer = client.fetch(url)
    if answer.status != 200:
        raise TanlianError(f"the platform's statement answered {answer.status}")
    return parse_statement(answer.body, extra="ignore")


def parse_statement(body: bytes, *, extra: Literal["forbid", "ignore"]) -> pl.DataFrame:
    """Read a platform's statement (STATEMENT_SCHEMA and `stream`); a delivery that it names twice keeps its first line.

    Raises:
        UsageProblem: not strict JSON, or not of the agreed form; what stood there is not repeated.
    """
    try:
        statement = Statement.model_validate(parse_object(body), extra=extra)
    except MalformedJsonError as cause:
        raise UsageProblem(f"the statement is not strict JSON ({cause.reason})") from None
    except ValidationError as cause:
        first = cause.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageProblem(f"the statement is not of the agreed form ({where}: {first['msg']})") from None
    lines = [(line.delivery_id, line.rows, line.stream) for line in statement.deliveries]
    frame = pl.DataFrame(lines, schema=STATEMENT_SCHEMA | {"stream": pl.String()}, orient="row")
    return frame.unique("delivery_id", keep="first", maintain_order=True)
