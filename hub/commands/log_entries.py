"""log search, pair, export-entries, report, reindex: what is in the interconnection log. I/O: terminal, files, the database."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from hub.commands.access import leaves_a_trace
from hub.commands.console import AS_JSON, opened_hub, out, print_json, table
from hub.db import reading, writing
from hub.errors import UsageProblem
from hub.exchange.exporting import FileFormat, export_entries
from hub.exchange.measures import Measures, load_measures
from hub.exchange.measures_svg import measures_svg
from hub.exchange.rebuilding import rebuild_entries
from hub.exchange.search import MOST_A_PAGE, Filters, search
from hub.exchange.sides import Period, log_pairing, pair_with, to_document
from hub.staff.rights import AccessPurpose

Participant = Annotated[str | None, typer.Option(help="Only what concerns this participant.")]
KindOption = Annotated[str | None, typer.Option("--kind", help="Only leaves of this kind, as batch.received.")]
Purpose = Annotated[str | None, typer.Option(help="Only what was done for this purpose, as collect.")]
Result = Annotated[str | None, typer.Option("--outcome", help="Only what came to this, as refused.")]
Window = Annotated[int | None, typer.Option(min=0, max=2**31 - 1, help="Only leaves of this window.")]
Batch = Annotated[int | None, typer.Option(min=0, max=2**63 - 1, help="Only leaves of this batch.")]
Since = Annotated[str | None, typer.Option(help="From this time on: RFC 3339 with a zone.")]
Until = Annotated[str | None, typer.Option(help="Before this time.")]


@leaves_a_trace("staff.log_search", AccessPurpose.OPERATION)
def search_log(
    participant: Participant = None,
    kind: KindOption = None,
    purpose: Purpose = None,
    outcome: Result = None,
    window: Window = None,
    batch: Batch = None,
    since: Since = None,
    until: Until = None,
    cursor: Annotated[str | None, typer.Option(help="`next` of the page before.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST_A_PAGE, help="How many at most, the newest first.")] = 50,
    as_json: bool = AS_JSON,
) -> None:
    """Find leaves of the log under its newest checkpoint; all conditions hold of each that is found."""
    filters = _filters(participant, kind, purpose, outcome, window, batch, since, until)
    with opened_hub() as hub, reading(hub.engine) as session:
        page = search(session, filters, cursor=cursor, limit=limit)
    told = [one.to_dict() for one in page.entries]
    if as_json:
        print_json({"size": page.size, "entries": told, "next": page.next})
        return
    names = ["index", "at", "kind", "participant", "purpose", "outcome", "window", "batch"]
    cells = [["" if one[name] is None else one[name] for name in names] for one in told]
    table(f"Log, {page.size:,} leaves", names, cells, numbers=frozenset({0, 6, 7}))
    if page.next is not None:
        out.print(f"more: --cursor {page.next}", highlight=False)


@leaves_a_trace("staff.log_pair", AccessPurpose.SETTLEMENT)
def pair_log(
    file: Annotated[Path, typer.Argument(help="The platform's statement, or its exchange log as NDJSON.")],
    participant: Annotated[str, typer.Option(help="Whose it is.")],
    window: Window = None,
    since: Since = None,
    until: Until = None,
    apart: Annotated[int, typer.Option(min=0, max=86_400, help="Seconds by which both clocks may differ.")] = 300,
    as_json: bool = AS_JSON,
) -> None:
    """Pair a platform's record of its messages with ours; logged with its figures. Ends with 1 if anything is left over."""
    try:
        body = file.read_bytes()
    except OSError as cause:
        raise UsageProblem(f"{file}: {cause.strerror}") from None
    period = Period(window=window, since=_time("--since", since), until=_time("--until", until))
    with opened_hub() as hub:
        paired = pair_with(hub, participant, body, period, apart=timedelta(seconds=apart))
        with writing(hub.engine) as session:
            log_pairing(session, participant, body, paired, hub.clock())
    told = to_document(participant, paired)
    if as_json:
        print_json(told)
    else:
        _tell_pairs(told)
    if told["outcome"] != "matched":
        raise SystemExit(1)


@leaves_a_trace("staff.log_export_entries", AccessPurpose.OPERATION)
def export_log_entries(
    directory: Annotated[Path, typer.Option("--dir", help="Folder to write to.")],
    form: Annotated[FileFormat, typer.Option("--format", help="In which form.")] = FileFormat.NDJSON,
    participant: Participant = None,
    kind: KindOption = None,
    purpose: Purpose = None,
    outcome: Result = None,
    window: Window = None,
    batch: Batch = None,
    since: Since = None,
    until: Until = None,
    as_json: bool = AS_JSON,
) -> None:
    """Write leaves to a file, with a manifest: digests, row counts, what was asked, and the checkpoint over all of it."""
    filters = _filters(participant, kind, purpose, outcome, window, batch, since, until)
    with opened_hub() as hub:
        written = export_entries(
            hub.engine, directory, filters, form, origin=hub.settings.log_origin, now=hub.clock()
        )  # fmt: skip
    if as_json:
        print_json({"data": str(written.data), "manifest": str(written.manifest), "rows": written.rows})
        return
    out.print(f"{written.rows:,} entries in {written.data}, described by {written.manifest}")


def report_log(
    hours: Annotated[int, typer.Option(min=1, max=24 * 31, help="How far back requests are counted.")] = 24,
    svg: Annotated[Path | None, typer.Option("--svg", help="Also draw the hours' requests into this file.")] = None,
    as_json: bool = AS_JSON,
) -> None:
    """Say how exchange goes: requests and their times, rejections, streams, duplicates, breaks, lag; nothing of persons."""
    with opened_hub() as hub, reading(hub.engine) as session:
        told = load_measures(session, hub.clock(), hours=hours, window_length=hub.settings.window_length)
    if svg is not None:
        svg.write_text(measures_svg(told), encoding="utf-8")
    if as_json:
        print_json(told.to_dict())
        return
    _tell_measures(told)


def reindex_log(as_json: bool = AS_JSON) -> None:
    """Make anew what leaves are found by, from the leaves themselves; deliveries wait meanwhile."""
    with opened_hub() as hub, writing(hub.engine) as session:
        done = rebuild_entries(session.connection())
    if as_json:
        print_json({"entries": done})
        return
    out.print(f"{done:,} leaves can be found")


def _filters(
    participant: str | None, kind: str | None, purpose: str | None, outcome: str | None, window: int | None,
    batch: int | None, since: str | None, until: str | None,
) -> Filters:  # fmt: skip
    return Filters(
        participant=participant, kind=kind, purpose=purpose, outcome=outcome, window=window, batch=batch,
        since=_time("--since", since), until=_time("--until", until),
    )  # fmt: skip


def _time(option: str, told: str | None) -> datetime | None:
    try:
        return None if told is None else datetime.fromisoformat(told)
    except ValueError:
        raise UsageProblem(f"{option}: a time with its zone, as 2026-11-20T08:00:00+08:00") from None


def _tell_pairs(told: dict[str, Any]) -> None:
    out.print(
        f"{told['participant']}: {told['pairs']:,} pairs, {told['different']:,} of them different; {told['ours_alone']:,} "
        f"only ours, {told['theirs_alone']:,} only theirs, {told['twice']:,} told twice"
    )
    for title, name in (("Different", "differences"), ("Only ours", "only_ours"), ("Only theirs", "only_theirs")):
        if rows := told[name]:
            cells = [[_cell(value) for value in row.values()] for row in rows]
            table(title, list(rows[0]), cells)


def _cell(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(value)
    return "" if value is None else str(value)


def _tell_measures(told: Measures) -> None:
    cells = [
        [o.participant or "-", o.operation, o.outcome, f"{o.requests:,}", f"{o.p50_ms:.1f}", f"{o.p95_ms:.1f}", f"{o.p99_ms:.1f}"]
        for o in told.requests
    ]  # fmt: skip
    names = ["participant", "operation", "outcome", "requests", "p50 ms", "p95 ms", "p99 ms"]
    table(f"Requests since {told.since:%Y-%m-%d %H:%M}Z", names, cells, numbers=frozenset({3, 4, 5, 6}))
    refused = [[one.participant or "-", one.where, one.reason, f"{one.count:,}"] for one in told.refused_requests]
    refused += [[one.participant, one.where, one.reason, f"{one.count:,}"] for one in told.refused_rows]
    table("Turned away", ["participant", "where", "reason", "count"], refused, numbers=frozenset({3}))
    streams = [
        [
            o.participant, o.stream, f"{o.messages:,}", f"{o.rows:,}", f"{o.accepted:,}", _percent(o.again_share),
            _percent(o.complete_share), _minutes(o.late_p50_minutes), _minutes(o.late_p95_minutes),
        ]
        for o in told.streams
    ]  # fmt: skip
    names = ["participant", "stream", "messages", "rows", "taken", "again", "complete", "late p50", "late p95"]
    table("Streams", names, streams, numbers=frozenset(range(2, 9)))
    twice = [[name, f"{n:,}", f"{d:,}", _percent(d / n if n else None)] for name, n, d in told.duplicates]
    table("Duplicates in the newest cleared window", ["participant", "decided", "duplicate", "share"], twice)
    breaks = [[one.participant, one.kind, f"{one.open:,}", f"{one.oldest_s / 3600:.1f} h"] for one in told.breaks]
    table("Open breaks", ["participant", "kind", "open", "oldest"], breaks, numbers=frozenset({2, 3}))
    out.print(
        f"log: {told.log_waiting:,} leaves wait, the oldest {told.log_lag_s:.0f} s; "
        f"the open window should have been sealed {told.seal_lag_s / 3600:.1f} h ago"
        if told.seal_lag_s
        else f"log: {told.log_waiting:,} leaves wait, the oldest {told.log_lag_s:.0f} s; the open window is not due yet"
    )


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.1%}"


def _minutes(minutes: float | None) -> str:
    return "" if minutes is None else f"{minutes / 60:.1f} h" if minutes >= 120 else f"{minutes:.0f} min"
