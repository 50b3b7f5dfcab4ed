"""quarantine: rows that could not go on. I/O: terminal, the database."""

from collections.abc import Iterator
from typing import Annotated

import typer

from hub.commands.access import leaves_a_trace
from hub.commands.console import AS_JSON, opened_hub, out, print_json, progress_bars, table
from hub.context import Hub
from hub.db import reading
from hub.participants import Platform, open_platform, require_participant
from hub.pipeline import Replayed, discard_quarantined, replay_quarantined
from hub.records.quarantine import count_open, list_open, summarise
from hub.staff.rights import AccessPurpose

quarantine = typer.Typer(help="Rows that were set aside, and why.", no_args_is_help=True)


@quarantine.command("list")
@leaves_a_trace("staff.quarantine_list", AccessPurpose.OPERATION)
def list_all(as_json: bool = AS_JSON) -> None:
    """Count the rows by platform, mapping, reason and state; `kept` says how many could be translated again."""
    with opened_hub() as hub, reading(hub.engine) as session:
        rows = summarise(session)
    if as_json:
        print_json(rows)
        return
    cells = [
        [r["mapping"], r["reason"], r["state"], f"{r['rows']:,}", f"{r['kept']:,}", f"{r['oldest']:%Y-%m-%d}"]
        for r in rows
    ]
    columns = ["mapping", "reason", "state", "rows", "kept", "oldest"]
    table("Quarantine", columns, cells, numbers=frozenset({3, 4}))


@quarantine.command("show")
@leaves_a_trace("staff.quarantine_show", AccessPurpose.OPERATION)
def show(
    participant_id: str,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many rows at most.")] = 20,
    as_json: bool = AS_JSON,
) -> None:
    """Show a participant's open rows, the oldest first; what stood in them is not shown."""
    with opened_hub() as hub, reading(hub.engine) as session:
        require_participant(session, participant_id)
        rows = list_open(session, participant_id, limit=limit)
    if as_json:
        print_json(rows)
        return
    cells = [
        [r["row"], r["reason"], r["detail"], "yes" if r["kept"] else "no", f"{r['received_at']:%Y-%m-%d %H:%M}"]
        for r in rows
    ]
    table(
        f"Open rows of {participant_id}", ["row", "reason", "detail", "kept", "received"], cells, numbers=frozenset({0})
    )


@quarantine.command("replay")
def replay(
    participant_id: str,
    again: Annotated[bool, typer.Option("--again", help="Also rows that today's mapping refused before.")] = False,
    as_json: bool = AS_JSON,
) -> None:
    """Translate a participant's rows anew with the mapping that it has now, and take those that translate.

    Do it after `participants add` with a corrected mapping. Rows that still do not translate stay.
    """
    told = dict.fromkeys(("rows", "translated", "accepted", "refused", "replayed", "set_aside"), 0)
    with opened_hub() as hub:
        with reading(hub.engine) as session:
            platform = open_platform(session, hub.ring, participant_id)
            waiting = sum(count_open(session, platform, feed, tried_too=again) for feed in platform.feeds)
        with progress_bars(quiet=as_json) as bars:
            bar = bars.add_task(f"{participant_id}: quarantined rows", total=waiting)
            for done in _replay(hub, platform, again):
                one = done.outcome
                new = (done.rows, done.translated, one.accepted, one.refused, one.replayed, one.quarantined)
                told = {name: before + more for (name, before), more in zip(told.items(), new, strict=True)}
                bars.advance(bar, done.rows)
    if as_json:
        print_json(told)
        return
    mappings = ", ".join(feed.mapping for feed in platform.feeds)
    out.print(
        f"{participant_id}: {told['translated']:,} of {told['rows']:,} rows translate with {mappings}: "
        f"{told['accepted']:,} taken, {told['replayed']:,} were there already, {told['refused']:,} without permission, "
        f"{told['set_aside']:,} in conflict"
    )  # fmt: skip


def _replay(hub: Hub, platform: Platform, again: bool) -> Iterator[Replayed]:
    for feed in platform.feeds:
        last = 0
        while done := replay_quarantined(hub, platform, feed, after=last, tried_too=again, now=hub.clock()):
            last = done.last
            yield done


@quarantine.command("discard")
def discard(rows: Annotated[list[int], typer.Argument(max=2**63 - 1, help="Numbers from `quarantine show`.")]) -> None:
    """Give rows up for good; their bytes are destroyed, the row with its reason stays, and the log tells."""
    with opened_hub() as hub:
        discard_quarantined(hub, rows, now=hub.clock())
    out.print(f"{len(set(rows)):,} rows discarded")
