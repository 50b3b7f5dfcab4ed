"""programmes: named things that participants run and people join. I/O: files, terminal, the database."""

from pathlib import Path
from typing import Annotated

import typer

from hub.commands.console import AS_JSON, opened_hub, out, print_json, table
from hub.db import reading, writing
from hub.totals.programmes import (
    add_programme,
    close_programme,
    count_members,
    describe,
    load_programmes,
    parse_programme,
    require_programme,
)

programmes = typer.Typer(help="Programmes of employers and events that people join.", no_args_is_help=True)
ProgrammeId = Annotated[str, typer.Argument(help="The programme's id, from `programmes list`.")]


@programmes.command("add")
def add(files: Annotated[list[Path], typer.Argument(help="Files, one JSON document each.")]) -> None:
    """Add programmes; adding the same file again changes nothing. What a programme takes cannot be changed afterwards."""
    with opened_hub() as hub:
        for document in [parse_programme(file.read_bytes()) for file in files]:
            with writing(hub.engine) as session:
                changed = add_programme(session, document, hub.clock())
            out.print(f"{document.id}: {'stored' if changed else 'unchanged'}")


@programmes.command("list")
def list_all(
    participant: Annotated[str | None, typer.Option(help="Only those that this participant runs.")] = None,
    as_json: bool = AS_JSON,
) -> None:
    """List programmes."""
    with opened_hub() as hub, reading(hub.engine) as session:
        rows = [describe(session, one, hub.clock()) for one in load_programmes(session, participant=participant)]
    if as_json:
        print_json(rows)
        return
    columns = ["id", "participant", "kind", "name_zh", "name_en", "since", "until", "open"]
    table("Programmes", columns, [[row[name] for name in columns] for row in rows])


@programmes.command("show")
def show(programme_id: ProgrammeId, as_json: bool = AS_JSON) -> None:
    """Show what a programme takes."""
    with opened_hub() as hub, reading(hub.engine) as session:
        document = describe(session, require_programme(session, programme_id), hub.clock())
    if as_json:
        print_json(document)
        return
    for name, value in document.items():
        out.print(f"[bold]{name}[/bold]: {value}")


@programmes.command("people-count")
def people_count(programme_id: ProgrammeId, as_json: bool = AS_JSON) -> None:
    """Say about how many had joined when the month began, rounded down, so that nobody's leaving shows."""
    with opened_hub() as hub, reading(hub.engine) as session:
        require_programme(session, programme_id)
        people, as_of = count_members(session, programme_id, k=hub.settings.totals_k, now=hub.clock())
        k = hub.settings.totals_k
    if as_json:
        print_json({"programme": programme_id, "members_at_least": people, "as_of": as_of.isoformat(), "k": k})
        return
    out.print(f"{programme_id}: {f'{people:,} or more' if people else f'fewer than {k}'}, as of {as_of:%Y-%m-%d}")


@programmes.command("close")
def close(programme_id: ProgrammeId) -> None:
    """End a programme early: nobody joins any more, and later totals have nothing of it."""
    with opened_hub() as hub, writing(hub.engine) as session:
        changed = close_programme(session, programme_id, hub.clock())
    out.print(f"{programme_id}: {'closed' if changed else 'closed already'}")
