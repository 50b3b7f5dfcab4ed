"""sync: what the hub reads from platforms, how far it is, and what went wrong. I/O: terminal, the database."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from sqlalchemy import func, select
from sqlmodel import col

from consent.types import UtcDateTime
from hub.commands.console import AS_JSON, opened_hub, out, print_json, table
from hub.db import reading, writing
from hub.errors import UsageProblem
from hub.participants import open_platform, require_participant
from hub.sync.cursors import Lane, ask_for, ensure_backfill
from hub.sync.tables import SyncState
from hub.sync.words import in_words

sync = typer.Typer(help="Reading from platforms.", no_args_is_help=True)
_DAY = ["%Y-%m-%d", "%Y-%m-%dT%H:%M"]
Since = Annotated[datetime, typer.Option(formats=_DAY, help="From here (UTC).")]
Until = Annotated[datetime, typer.Option(formats=_DAY, help="Up to here (UTC).")]


@sync.command("status")
def status(
    participant_id: Annotated[
        str | None, typer.Argument(help="One platform's links; all platforms if left out.")
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="Only what has a problem.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many links at most.")] = 50,
    as_json: bool = AS_JSON,
) -> None:
    """Tell how far reading is: platform by platform, or link by link with the last problem in words."""
    with opened_hub() as hub, reading(hub.engine) as session:
        if participant_id is None:
            rows = [dict(row) for row in session.execute(_summary()).mappings()]
        else:
            require_participant(session, participant_id)
            wanted = select(SyncState).where(col(SyncState.platform) == participant_id)
            if failed:
                wanted = wanted.where(col(SyncState.last_error).is_not(None))
            order = (
                col(SyncState.last_error).is_(None),
                col(SyncState.link_id),
                col(SyncState.stream),
                col(SyncState.lane),
            )
            rows = [_told(state) for state in session.execute(wanted.order_by(*order).limit(limit)).scalars()]
    if as_json:
        print_json(rows)
        return
    if participant_id is None:
        columns = ["platform", "stream", "lane", "links", "failing", "rows", "last_success"]
        cells = [[_cell(row[name]) for name in columns] for row in rows]
        table("What is read from platforms", columns, cells, numbers=frozenset({3, 4, 5}))
        return
    columns = ["link", "stream", "lane", "rows", "last_success", "due", "problem"]
    cells = [[_cell(row[name]) for name in columns] for row in rows]
    table(f"Reading from {participant_id}", columns, cells, numbers=frozenset({3}))


@sync.command("now")
def ask_now(participant_id: str) -> None:
    """Ask for everything of a platform before all others' turn."""
    with opened_hub() as hub, writing(hub.engine) as session:
        require_participant(session, participant_id)
        links = list(
            session.execute(select(col(SyncState.link_id)).where(col(SyncState.platform) == participant_id)).scalars()
        )
        asked = ask_for(session, participant_id, links, hub.clock(), stream=None)
    out.print(f"{participant_id}: {asked:,} to be read now")


@sync.command("backfill")
def backfill(
    participant_id: str,
    since: Since,
    until: Until,
    stream: Annotated[
        str | None, typer.Option(help="One feed; all that can be asked for the past if left out.")
    ] = None,
) -> None:
    """Have a stretch of the past read again, in a lane of its own; what is there already is not taken twice."""
    since, until = since.replace(tzinfo=UTC), until.replace(tzinfo=UTC)
    if since >= until:
        raise UsageProblem("--since must be before --until")
    with opened_hub() as hub, writing(hub.engine) as session:
        platform = open_platform(session, hub.ring, participant_id)
        feeds = [feed for feed in platform.feeds if feed.connector.describe().windowed]
        if stream is not None:
            feeds = [feed for feed in feeds if feed is platform.feed(stream)]
        if not feeds:
            raise UsageProblem(f"{participant_id} has no such feed that can be asked for a stretch of the past")
        count = 0
        for feed in feeds:
            name = platform.state_name(feed)
            wanted = select(col(SyncState.link_id)).where(
                col(SyncState.platform) == participant_id,
                col(SyncState.stream) == name,
                col(SyncState.lane) == Lane.FEED,
            )
            for link_id in list(session.execute(wanted).scalars()):
                ensure_backfill(session, participant_id, link_id, hub.clock(), stream=name, since=since, until=until)
                count += 1
    out.print(f"{participant_id}: {count:,} stretches of the past to be read")


def _summary() -> Any:
    failing = func.count(col(SyncState.last_error))
    columns = [col(SyncState.platform), col(SyncState.stream), col(SyncState.lane)]
    return (
        select(
            *columns,
            func.count().label("links"),
            failing.label("failing"),
            func.sum(col(SyncState.rows_read)).label("rows"),
            func.max(col(SyncState.last_success_at), type_=UtcDateTime()).label("last_success"),
        )
        .group_by(*columns)
        .order_by(*columns)
    )


def _told(state: SyncState) -> dict[str, Any]:
    return {
        "link": state.link_id or "(whole platform)",
        "stream": state.stream,
        "lane": state.lane,
        "rows": state.rows_read,
        "last_success": state.last_success_at,
        "due": state.due_at,
        "failures": state.failures,
        "problem": in_words(state.last_error) if state.last_error else None,
    }


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return f"{value:%Y-%m-%d %H:%M}"
    return f"{value:,}" if isinstance(value, int) else str(value)
