"""Statements of platforms: asked for where they serve one, and compared. I/O: network, the database."""

from dataclasses import replace
from datetime import datetime
from typing import Any

import httpx

from connectors.base import ConnectorError
from connectors.net.checked_network import EgressLimits
from connectors.net.egress import Origin, SafeClient
from hub.changes import log_change
from hub.clearing.windows import WindowState, advance, require_window
from hub.clock import from_micros
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import Conflict, TanlianError
from hub.log.leaves import Kind
from hub.participants import Platform, load_participants, open_platform
from hub.reconcile.comparing import ComparedStream, OurSides, load_our_sides, record_statement, stream_of
from hub.reconcile.documents import Told, ToldStream, parse_lines, parse_statement, parse_told
from hub.reconcile.lines import totals_of
from hub.reconcile.ours import load_period

__all__ = ["parse_statement", "reconcile_window", "record_statement"]
LINES = "application/x-ndjson"


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
    document = platform.document
    if document.statement_url is None:
        return {"state": "no_statement"}
    try:
        asked = Asked.of(hub, window_id, platform)
        told = parse_told(asked.fetch(), extra="ignore")
        ours = load_our_sides(hub, window_id, platform.platform_id, told.streams)
        told = _with_lines(asked, platform, told, ours)
        done = record_statement(
            hub, window_id, platform.platform_id, told.deliveries, now=now, streams=told.streams, ours=ours
        )
    except (ConnectorError, TanlianError) as error:
        return {"state": "unreached", "reason": str(error)}
    report: dict[str, Any] = {"state": done.state}
    if done.deliveries is not None:
        report |= {
            "deliveries": len(done.deliveries.ours),
            "rows": int(done.deliveries.ours["rows"].sum()),
            "breaks": done.deliveries.breaks.to_dicts(),
        }
    return report | ({"streams": [_stream(one) for one in done.streams]} if done.streams else {})


class Asked:
    """A platform's address for statements, and what is asked of it.

    One that serves statements by streams is told the window, and when it was open; any other gets the bare address.
    """

    def __init__(self, url: str, query: dict[str, str], *, allow_loopback: bool, most_bytes: int) -> None:
        self._origin = Origin.parse(url, allow_loopback=allow_loopback)
        self._url, self._query, self._limits = url, query, EgressLimits(body_bytes=most_bytes)

    @classmethod
    def of(cls, hub: Hub, window_id: int, platform: Platform) -> "Asked":
        document, query = platform.document, dict[str, str]()
        if document.statement_streams:
            with reading(hub.engine) as session:
                period = load_period(session, window_id)
            query = {"window": str(window_id), "from": from_micros(period.from_us).isoformat()}
            if period.until_us is not None:
                query["until"] = from_micros(period.until_us).isoformat()
        most = hub.settings.max_statement_bytes
        return cls(document.statement_url or "", query, allow_loopback=document.allow_loopback, most_bytes=most)

    def fetch(self, **more: str) -> bytes:
        """Ask for the statement, or with `stream` and `lines` for one stream's lines. Raises TanlianError, ConnectorError."""
        query = self._query | more
        url = str(httpx.URL(self._url).copy_merge_params(query)) if query else self._url
        with SafeClient([self._origin], limits=self._limits) as client:
            answer = client.fetch(url, headers={"accept": LINES} if "lines" in more else None)
        if answer.status != 200:
            raise TanlianError(f"the platform's statement answered {answer.status}")
        return answer.body


def _with_lines(asked: Asked, platform: Platform, told: Told, ours: OurSides) -> Told:
    """Ask for the lines of every stream whose totals differ from ours."""

    def lines_of(one: ToldStream) -> ToldStream:
        stream = stream_of(platform, one)
        if one.lines is not None or totals_of(ours[stream]) == one.totals or not platform.document.statement_streams:
            return one
        lines = parse_lines(asked.fetch(stream=stream, lines="true"))
        # What was told meanwhile would make other totals; the lines are what is compared.
        return replace(one, lines=lines, totals=totals_of(lines))

    return replace(told, streams=tuple(lines_of(one) for one in told.streams))


def _stream(one: ComparedStream) -> dict[str, Any]:
    breaks = {} if one.paired is None else dict(one.paired.breaks["kind"].value_counts(sort=True).iter_rows())
    return {
        "stream": one.stream, "state": one.state, "ours_records": one.ours.records, "theirs_records": one.theirs.records,
        "ours_mg": one.ours.claimed_mg, "theirs_mg": one.theirs.claimed_mg,
        "same_digest": one.ours.digest == one.theirs.digest, "breaks": breaks,
    }  # fmt: skip
