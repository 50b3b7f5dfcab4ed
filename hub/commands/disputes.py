"""disputes: what is contested, what both sides say, and what is decided. I/O: terminal, the database."""

from collections.abc import Callable
from typing import Annotated, Any

import typer
from rich.table import Table
from sqlalchemy.orm import Session

from hub.adjustments.kinds import Reason
from hub.commands.access import leaves_a_trace
from hub.commands.console import AS_JSON, opened_hub, out, print_json, table
from hub.context import Hub
from hub.db import reading, writing
from hub.disputes.deciding import Outcome, decide
from hub.disputes.moving import advance, require_dispute, submit, withdraw
from hub.disputes.opening import open_dispute
from hub.disputes.rules import Adjust, Side, State, Step, Target
from hub.disputes.showing import Wanted, describe, describe_whole, load_counts, load_disputes
from hub.disputes.staffing import note_access, require_right, right_to_speak, staff_who
from hub.disputes.targets import MOST_MG, Asked, Who
from hub.errors import UsageProblem
from hub.staff.rights import AccessPurpose, Right, What

disputes = typer.Typer(help="Contested acts, amounts, accounts and uses, and what is decided.", no_args_is_help=True)
DisputeId = Annotated[str, typer.Argument(metavar="DISPUTE", help="The dispute's id, from `disputes list`.")]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="The member of staff who acts; see `staff list`.")]
Case = Annotated[str | None, typer.Option("--case", help="The regulator's case; a regulator needs one.")]
Text = Annotated[str, typer.Option("--text", help="What there is to say; both sides read it, and it is kept sealed.")]
_HUB = Who(side=Side.OPERATOR)
_OVER = "red bold"


@disputes.command("list")
@leaves_a_trace("staff.disputes_list", AccessPurpose.DISPUTE)
def list_all(
    state: Annotated[
        State | None, typer.Option(help="Only disputes of this state; else all that are not over.")
    ] = None,
    platform: Annotated[str | None, typer.Option(help="Only disputes in which this participant is a side.")] = None,
    overdue: Annotated[bool, typer.Option("--overdue", help="Only those whose decision is overdue.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most, the oldest first.")] = 50,
    as_json: bool = AS_JSON,
) -> None:
    """List disputes with their age and deadline; nothing of what was written, and nobody's name."""
    with opened_hub() as hub, reading(hub.engine) as session:
        now = hub.clock()
        wanted = Wanted(state=state, live=state is None, platform=platform, overdue=overdue)
        found = [describe(session, row, _HUB, now) for row in load_disputes(session, wanted, now, limit=limit)]
    if as_json:
        print_json(found)
        return
    shown = Table(title="Disputes", title_justify="left", header_style="bold")
    for name in ("dispute", "about", "platform", "by", "reason", "state", "waits for", "age", "decision due"):
        shown.add_column(name, overflow="fold", justify="right" if name == "age" else "left")
    for one in found:
        about = f"{one['target']} {one['event_id'] or one['reservation_id'] or ''}".strip()
        due = one["decision_due_at"][:10] + (" OVERDUE" if one["overdue"] else "")
        shown.add_row(
            one["dispute"], about, one["platform"], one["opened_by"], one["reason"], one["state"], one["waits_for"] or "",
            _age(one["age_s"]), due, style=_OVER if one["overdue"] else None,
        )  # fmt: skip
    out.print(shown)


@disputes.command("show")
def show(dispute_id: DisputeId, by: By, case: Case = None, as_json: bool = AS_JSON) -> None:
    """Show one dispute with what both sides wrote; that it was seen is recorded."""

    def act(session: Session, hub: Hub, who: Who) -> dict[str, Any]:
        row = require_dispute(session, dispute_id, who)
        right = Right.SEE_CASE if who.side is Side.REGULATOR else Right.DECIDE_DISPUTES
        require_right(who, right, row.region)
        note_access(session, who, right, What.DISPUTE_SEEN, row, hub.clock())
        return describe_whole(session, hub, row, who, hub.clock())

    told = _do(by, case, act)
    if as_json:
        print_json(told)
        return
    pieces = told.pop("evidence")
    outcome = told.pop("outcome") or {}
    adjustments = outcome.pop("adjustments", [])
    table(f"Dispute {dispute_id}", ["what", "is"], [[n, "" if v is None else v] for n, v in (told | outcome).items()])
    rows = [[one["number"], one["by"], one["at"][:16], one["text"] or "(erased)"] for one in pieces]
    table("What was written", ["number", "by", "at", "text"], rows, numbers=frozenset({0}))
    if adjustments:
        table(
            "Adjustments", list(adjustments[0]), [list(one.values()) for one in adjustments], numbers=frozenset({3, 4})
        )


@disputes.command("open")
def open_one(
    target: Annotated[Target, typer.Argument(help="What is disputed.")],
    name: Annotated[str, typer.Argument(help="The event's number, the link's id or the reservation's id.")],
    reason: Annotated[Reason, typer.Option(help="Why, as of adjustments.")],
    text: Text,
    by: By,
    claimed_mg: Annotated[
        int | None, typer.Option(min=1, max=MOST_MG, help="Of an amount: what would be right.")
    ] = None,
    case: Case = None,
    as_json: bool = AS_JSON,
) -> None:
    """Open a dispute for the operator, or for a regulator within a case; locks what is still held; logged."""
    named: dict[str, Any] = {"claimed_mg": claimed_mg}
    match target:
        case Target.LINK:
            named["link_id"] = name
        case Target.RETIREMENT:
            named["reservation_id"] = name
        case _:
            if not (name.isascii() and name.isdigit() and 0 < int(name) < 2**63):
                raise UsageProblem("an act is named by its number; `tanlian explain` shows it")
            named["event_id"] = int(name)

    def act(session: Session, hub: Hub, who: Who) -> dict[str, Any]:
        done = open_dispute(session, hub, Asked(target=target, reason=reason, text=text, **named), who, hub.clock())
        return describe(session, done.dispute, who, hub.clock()) | {"new": done.is_new}

    _tell(_do(by, case, act), as_json=as_json)


@disputes.command("evidence")
def evidence(dispute_id: DisputeId, text: Text, by: By, case: Case = None, as_json: bool = AS_JSON) -> None:
    """Add what the operator or a regulator has to say; logged by its digest."""

    def act(session: Session, hub: Hub, who: Who) -> dict[str, Any]:
        row = require_dispute(session, dispute_id, who)
        require_right(who, right_to_speak(who), row.region)
        submit(session, hub, dispute_id, who, text, hub.clock())
        return describe(session, row, who, hub.clock())

    _tell(_do(by, case, act), as_json=as_json)


@disputes.command("acknowledge")
def acknowledge(dispute_id: DisputeId, by: By, as_json: bool = AS_JSON) -> None:
    """Say that somebody takes care of a dispute; both sides may write until evidence is due; logged."""
    _advance(dispute_id, by, Step.ACKNOWLEDGED, as_json=as_json)


@disputes.command("ask")
def ask(dispute_id: DisputeId, by: By, as_json: bool = AS_JSON) -> None:
    """Have who opened a dispute bring evidence in time; it lapses if they do not; logged."""
    _advance(dispute_id, by, Step.ASKED, as_json=as_json)


@disputes.command("review")
def review(dispute_id: DisputeId, by: By, as_json: bool = AS_JSON) -> None:
    """Close the evidence and take a dispute into review; when evidence is due the worker does so; logged."""
    _advance(dispute_id, by, Step.REVIEWED, as_json=as_json)


@disputes.command("decide")
def decide_one(
    dispute_id: DisputeId,
    outcome: Annotated[str, typer.Option(help="upheld or rejected.")],
    by: By,
    why: Annotated[str, typer.Option("--why", help="One line without anybody's name; both sides read it.")],
    adjust: Annotated[
        Adjust, typer.Option(help="Of what is upheld: all of it is put right, a part, or nothing is left to put right.")
    ] = Adjust.FULL,
    mg: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST_MG, help="Milligrams: of a part, what is taken back; of an amount, what is right."
        ),
    ] = None,
    as_json: bool = AS_JSON,
) -> None:
    """Decide a dispute in review; what follows is posted in the open window and names it; logged."""
    if outcome not in (State.UPHELD, State.REJECTED):
        raise UsageProblem("--outcome is upheld or rejected")

    def act(session: Session, hub: Hub, who: Who) -> dict[str, Any]:
        told = Outcome(upheld=outcome == State.UPHELD, adjust=adjust, mg=mg, why=why)
        row = decide(session, hub, dispute_id, who, told, hub.clock())
        return describe(session, row, who, hub.clock())

    _tell(_do(by, None, act), as_json=as_json)


@disputes.command("withdraw")
def withdraw_one(dispute_id: DisputeId, by: By, case: Case = None, as_json: bool = AS_JSON) -> None:
    """Take back a dispute that the operator or the regulator opened; what it locks is free again; logged."""

    def act(session: Session, hub: Hub, who: Who) -> dict[str, Any]:
        row = withdraw(session, dispute_id, who, hub.clock())
        return describe(session, row, who, hub.clock())

    _tell(_do(by, case, act), as_json=as_json)


@disputes.command("figures")
def figures(as_json: bool = AS_JSON) -> None:
    """Count disputes by what they are about and what became of them, with the median age; a year back, for publishing."""
    with opened_hub() as hub, reading(hub.engine) as session:
        found = load_counts(session, hub.clock())
    if as_json:
        print_json(
            [
                {"target": one.target, "state": one.state, "count": one.count, "median_age_s": one.median_age_s,
                 "overdue": one.overdue}
                for one in found
            ]
        )  # fmt: skip
        return
    rows = [[one.target, one.state, one.count, _age(one.median_age_s), one.overdue] for one in found]
    table(
        "Disputes of a year", ["about", "state", "count", "median age", "overdue"], rows, numbers=frozenset({2, 3, 4})
    )


def _advance(dispute_id: str, by: str, step: Step, *, as_json: bool) -> None:
    def act(session: Session, hub: Hub, who: Who) -> dict[str, Any]:
        row = advance(session, hub, dispute_id, who, step, hub.clock())
        return describe(session, row, who, hub.clock())

    _tell(_do(by, None, act), as_json=as_json)


def _do(
    by: str, case: str | None, act: Callable[[Session, Hub, Who], dict[str, Any]]
) -> dict[str, Any]:  # fmt: skip
    with opened_hub() as hub, writing(hub.engine) as session:
        return act(session, hub, staff_who(session, by, case))


def _tell(told: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(told)
        return
    posted = 0 if told["outcome"] is None else len(told["outcome"]["adjustments"])
    further = f"; {posted} {'adjustment' if posted == 1 else 'adjustments'} posted" if posted else ""
    locked = f"; {told['locked_mg']:,} mg are locked" if told["outcome"] is None else ""
    out.print(f"dispute {told['dispute']} ({told['target']}, {told['reason']}): {told['state']}{locked}{further}")


def _age(seconds: int) -> str:
    """Return an age in the largest whole unit: 59 s, 3 min, 5 h, 12 d."""
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
