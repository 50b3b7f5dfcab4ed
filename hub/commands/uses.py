"""reservations, debts: grams in use, and what platforms owe. I/O: terminal, the database."""

from typing import Annotated, Any

import typer
from sqlmodel import col, select

from hub.commands.access import leaves_a_trace
from hub.commands.console import AS_JSON, opened_hub, out, print_json, table
from hub.db import reading, writing
from hub.staff.rights import AccessPurpose
from hub.uses.debts import Source, load_debts, repay
from hub.uses.reservations import State, describe, expire_due
from hub.uses.tables import Reservation

reservations = typer.Typer(help="Held grams that participants reserved or used.", no_args_is_help=True)
debts = typer.Typer(help="Grams that were taken back after they were used: platforms owe them.", no_args_is_help=True)
Participant = Annotated[str | None, typer.Option("--participant", help="Only this participant's.")]
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="How many at most, the newest first.")]


@reservations.command("list")
@leaves_a_trace("staff.reservations_list", AccessPurpose.OPERATION)
def list_reservations(
    participant: Participant = None,
    state: Annotated[State | None, typer.Option(help="Only those that are in this state.")] = None,
    limit: Limit = 50,
    as_json: bool = AS_JSON,
) -> None:
    """List reservations, the newest first; whose grams they are is not shown."""
    wanted = select(Reservation).order_by(col(Reservation.number).desc()).limit(limit)
    wanted = wanted if participant is None else wanted.where(col(Reservation.participant) == participant)
    wanted = wanted if state is None else wanted.where(col(Reservation.state) == state)
    with opened_hub() as hub, reading(hub.engine) as session:
        found = [{"participant": row.participant} | describe(row) for row in session.scalars(wanted)]
    if as_json:
        print_json(found)
        return
    names = ("reservation_id", "participant", "use", "state", "reserved_mg", "used_mg", "expires_at")
    rows = [[f"{row[name]:,}" if name.endswith("_mg") else row[name] for name in names] for row in found]
    table("Reservations", [name.removesuffix("_id") for name in names], rows, numbers=frozenset({4, 5}))


@reservations.command("expire")
def expire(as_json: bool = AS_JSON) -> None:
    """Give back now what was not decided in time; the worker does so every second."""
    ended = 0
    with opened_hub() as hub:
        while True:
            with writing(hub.engine) as session:
                some = expire_due(session, now=hub.clock())
            ended += some
            if not some:
                break
    if as_json:
        print_json({"expired": ended})
    else:
        out.print(f"{ended:,} reservations ran out; their grams are held again")


@debts.command("list")
@leaves_a_trace("staff.debts_list", AccessPurpose.OPERATION)
def list_debts(as_json: bool = AS_JSON) -> None:
    """List what each platform owes."""
    with opened_hub() as hub, reading(hub.engine) as session:
        found: list[dict[str, Any]] = load_debts(session).to_dicts()
    if as_json:
        print_json(found)
        return
    rows = [[row["platform"], row["debts"], f"{row['mg']:,}", f"{row['left_mg']:,}"] for row in found]
    table("Debts", ["platform", "debts", "mg ever", "mg open"], rows, numbers=frozenset({1, 2, 3}))


@debts.command("pay")
def pay(
    platform: Annotated[str, typer.Argument(metavar="PARTICIPANT", help="Who owes.")],
    mg: Annotated[int, typer.Option(min=1, max=2**62, help="Milligrams to pay.")],
    source: Annotated[
        Source, typer.Option("--from", help="The participant's own pool of transferred grams, or the hub's buffer.")
    ] = Source.POOL,
    as_json: bool = AS_JSON,
) -> None:
    """Pay a debt with grams of the participant's pool, or let the hub's buffer stand in."""
    with opened_hub() as hub, writing(hub.engine) as session:
        left = repay(session, platform, mg, source, now=hub.clock()).left_mg
    if as_json:
        print_json({"participant": platform, "paid_mg": mg, "left_mg": left})
    else:
        out.print(f"{platform} paid {mg:,} mg and owes {left:,} mg")
