"""adjust: mistakes mended by new entries. I/O: terminal, the database."""

from typing import Annotated, Any

import typer
from sqlmodel import col, select

from hub.adjustments.adjusting import adjust as post
from hub.adjustments.kinds import AdjustmentKind, Order, Reason, digest_of
from hub.adjustments.tables import Adjustment
from hub.commands.access import leaves_a_trace
from hub.commands.console import AS_JSON, opened_hub, out, print_json, table
from hub.db import reading
from hub.staff.rights import AccessPurpose

adjust = typer.Typer(
    help="Mistakes mended by new entries: reversals, corrections, claw-backs, re-attributions, draws on the buffer.",
    no_args_is_help=True,
)
EventId = Annotated[int, typer.Argument(max=2**63 - 1, help="The event's number, from `explain`.")]
Why = Annotated[
    str, typer.Option("--why", help="Why, in one line without anybody's name; kept, and logged as a digest.")
]
Code = Annotated[
    Reason,
    typer.Option(
        "--reason",
        help="dupl: counts twice; late; meth: methodology; fact: a figure; frad: made up; cons: no consent; link: another "
        "person's; srcc: its source; capx: a cap; oper: a mistake here.",
    ),
]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="The member of staff who decides; see `staff list`.")]
Case = Annotated[
    str | None,
    typer.Option(
        "--case",
        help="A regulator's or other case that this belongs to; a dispute's outcome comes by `disputes decide`.",
    ),
]
MOST_MG = 2**53 - 1


@adjust.command("reverse")
def reverse(
    event_id: EventId, reason: Code, why: Why, by: By,
    mg: Annotated[
        int | None, typer.Option(min=1, max=MOST_MG, help="Milligrams of a part; nothing said: all that is left.")
    ] = None,
    case: Case = None, as_json: bool = AS_JSON,
) -> None:  # fmt: skip
    """Take an event back, or a part of it: only what nobody has used. A newer version by its platform does not bring it back."""
    kind = AdjustmentKind.FULL_REVERSAL if mg is None else AdjustmentKind.PARTIAL_REVERSAL
    _post(Order(kind=kind, reason=reason, event_id=event_id, mg=mg, case_id=case, why=why), by, as_json=as_json)


@adjust.command("correct")
def correct(
    event_id: EventId, reason: Code, why: Why, by: By,
    mg: Annotated[int, typer.Option(min=1, max=MOST_MG, help="The right amount in milligrams, less than it counts now.")],
    case: Case = None, as_json: bool = AS_JSON,
) -> None:  # fmt: skip
    """Take back what an event counts too much."""
    order = Order(
        kind=AdjustmentKind.CORRECTION, reason=reason, event_id=event_id, mg=mg, case_id=case, why=why
    )  # fmt: skip
    _post(order, by, as_json=as_json)


@adjust.command("claw-back")
def claw_back(
    event_id: EventId, reason: Code, why: Why, by: By,
    mg: Annotated[
        int | None, typer.Option(min=1, max=MOST_MG, help="Milligrams of a part; nothing said: all that is left.")
    ] = None,
    case: Case = None, as_json: bool = AS_JSON,
) -> None:  # fmt: skip
    """Take an event back although its grams were used: the platform that reported it owes what is gone."""
    order = Order(kind=AdjustmentKind.CLAW_BACK, reason=reason, event_id=event_id, mg=mg, case_id=case, why=why)
    _post(order, by, as_json=as_json)


@adjust.command("reattribute")
def reattribute(
    event_id: EventId, reason: Code, why: Why, by: By,
    participant: Annotated[str, typer.Option("--to", metavar="PARTICIPANT", help="Who reported the act, too.")],
    case: Case = None, as_json: bool = AS_JSON,
) -> None:  # fmt: skip
    """Let an act count for another platform that reported it; its person keeps their grams."""
    order = Order(
        kind=AdjustmentKind.REATTRIBUTION, reason=reason, event_id=event_id, platform=participant, case_id=case, why=why
    )  # fmt: skip
    _post(order, by, as_json=as_json)


@adjust.command("draw")
def draw(
    participant: Annotated[str, typer.Argument(metavar="PARTICIPANT", help="Who owes and cannot deliver.")],
    reason: Code, why: Why, by: By,
    mg: Annotated[int, typer.Option(min=1, max=MOST_MG, help="Milligrams that the hub's buffer delivers.")],
    case: Case = None, as_json: bool = AS_JSON,
) -> None:  # fmt: skip
    """Let the hub's buffer deliver what a platform owes."""
    order = Order(
        kind=AdjustmentKind.BUFFER_DRAW, reason=reason, platform=participant, mg=mg, case_id=case, why=why
    )  # fmt: skip
    _post(order, by, as_json=as_json)


@adjust.command("list")
@leaves_a_trace("staff.adjust_list", AccessPurpose.ADJUSTMENT)
def list_all(
    event: Annotated[int | None, typer.Option(max=2**63 - 1, help="Only those of this event.")] = None,
    participant: Annotated[str | None, typer.Option("--participant", help="Only this participant's.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most, the newest first.")] = 50,
    as_json: bool = AS_JSON,
) -> None:
    """List adjustments, the newest first."""
    wanted = select(Adjustment).order_by(col(Adjustment.at).desc(), col(Adjustment.adjustment_id)).limit(limit)
    wanted = wanted if event is None else wanted.where(col(Adjustment.event_id) == event)
    wanted = wanted if participant is None else wanted.where(col(Adjustment.platform) == participant)
    with opened_hub() as hub, reading(hub.engine) as session:
        found = [_document(row) for row in session.scalars(wanted)]
    if as_json:
        print_json(found)
        return
    names = ("at", "kind", "reason", "event", "participant", "mg", "owed_mg", "window", "case")
    rows = [[f"{row[name]:,}" if name in ("mg", "owed_mg") else row[name] for name in names] for row in found]
    table("Adjustments", list(names), rows, numbers=frozenset({3, 5, 6, 7}))


def _post(order: Order, by: str, *, as_json: bool) -> None:
    with opened_hub() as hub:
        done = _document(post(hub, order, by=by, now=hub.clock()))
    if as_json:
        print_json(done)
        return
    words = {
        AdjustmentKind.REATTRIBUTION: f"event {done['event']} counts for {done['to_participant']} now, with {done['mg']:,} mg",
        AdjustmentKind.BUFFER_DRAW: f"the buffer delivered {done['mg']:,} mg that {done['participant']} owed",
    }
    text = words.get(order.kind, f"{done['mg']:,} mg of event {done['event']} were taken back")
    owed = f"; {done['participant']} owes {done['owed_mg']:,} mg of it" if done["owed_mg"] else ""
    out.print(f"{text}{owed}; adjustment {done['adjustment']}, in window {done['window']}")


def _document(row: Adjustment) -> dict[str, Any]:
    return {
        "adjustment": row.adjustment_id, "kind": row.kind, "reason": row.reason, "event": row.event_id,
        "participant": row.platform, "to_participant": row.to_platform, "mg": row.mg, "owed_mg": row.owed_mg,
        "case": row.case_id, "window": row.window_id, "at": row.at.isoformat(timespec="seconds"), "why": row.why,
        "digest": digest_of(row).hex(),
    }  # fmt: skip
