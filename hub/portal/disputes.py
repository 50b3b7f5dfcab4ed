"""Disputes of a person: opened at an act, or about an account or a use; followed, answered, taken back. I/O: HTTP, the database.

    /acts/E                       -> POST /acts/E/dispute -> /disputes/D
    /disputes (all, and a form)   -> POST /disputes       -> /disputes/D
                                                             -> POST /disputes/D/evidence, /disputes/D/withdraw

The page of one dispute is the same for whoever opened it; what was written there is shown as text, never as markup.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from sqlalchemy import text
from sqlalchemy.orm import Session

from consent.details import ZONE
from consent.links import load_links
from hub.adjustments.kinds import Reason
from hub.context import Hub
from hub.db import reading, writing
from hub.disputes.moving import require_dispute, submit, withdraw
from hub.disputes.opening import open_dispute
from hub.disputes.rules import TEXT_CHARACTERS, Side, State, Target
from hub.disputes.showing import describe, describe_whole, load_disputes_of
from hub.disputes.targets import Asked, Who
from hub.errors import NotFound, UsageProblem
from hub.portal.browser import Visit, go, grams, page
from hub.portal.forms import Form, person_of, person_of_form, take_form

HERE = "/disputes"
OWN_PAGE = "请从本页提交。 Please send the form from this page."
CHOOSE = "请选择有误之处。 Choose what is wrong."
GRAMS = "请以克填写正确的数量。 Say in grams what would be right."
EventId = Annotated[int, Path(ge=1, lt=2**63)]
# What a person may say is wrong: the target, the reason code, and the words for both.
OF_ACT = {
    "event.link": ("这不是我的行为", "It was not me"),
    "event.frad": ("这件事没有发生", "It never happened"),
    "event.dupl": ("同一行为被重复计入", "It counts a second time"),
    "event.cons": ("我没有同意", "I had not allowed it"),
    "amount.fact": ("数量不对", "The amount is wrong"),
}
OF_OTHERS = {
    "link": ("这个账户不是我的", "This account is not mine"),
    "cons": ("我没有同意", "I had not allowed it"),
    "oper": ("处理有误", "It was handled wrongly"),
}
TARGETS = {
    Target.LINK: ("账户", "account"), Target.EVENT: ("行为", "act"), Target.AMOUNT: ("数量", "amount"),
    Target.RETIREMENT: ("使用", "use"),
}  # fmt: skip
STATES = {
    State.OPENED: ("已提出", "opened"), State.EVIDENCE: ("举证中", "both sides may write"),
    State.REVIEW: ("审理中", "in review"), State.UPHELD: ("成立", "upheld"), State.REJECTED: ("不成立", "rejected"),
    State.WITHDRAWN: ("已撤回", "withdrawn"), State.LAPSED: ("逾期终止", "lapsed"),
}  # fmt: skip
SIDES = {
    Side.PERSON: ("本人", "you"), Side.PLATFORM: ("平台", "the platform"), Side.REGULATOR: ("监管方", "a regulator"),
    Side.OPERATOR: ("本站", "this hub"),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One dispute in the list."""

    dispute_id: str
    about: tuple[str, str]
    opened: str
    state: tuple[str, str]
    is_live: bool
    by: tuple[str, str]
    due: str
    is_overdue: bool


def disputes_router(hub: Hub) -> APIRouter:
    """Build the router."""
    router = APIRouter(include_in_schema=False)

    @router.get(HERE)
    def overview(request: Request) -> Response:
        found = person_of(hub, request, back=HERE)
        return found if isinstance(found, Response) else _overview(hub, *found)

    @router.get("/acts/{event_id}/dispute")
    def form(request: Request, event_id: EventId) -> Response:
        found = person_of(hub, request, back=f"/acts/{event_id}/dispute")
        return found if isinstance(found, Response) else _form(hub, *found, event_id)

    @router.get(f"{HERE}/{{dispute_id}}")
    def one(request: Request, dispute_id: str) -> Response:
        found = person_of(hub, request, back=HERE)
        return found if isinstance(found, Response) else _one(hub, *found, dispute_id)

    take_form(router, hub, HERE, _open_other)
    take_form(router, hub, "/acts/{event_id}/dispute", _open_act)
    take_form(router, hub, f"{HERE}/{{dispute_id}}/evidence", _write)
    take_form(router, hub, f"{HERE}/{{dispute_id}}/withdraw", _withdraw)
    return router


# --- opening ----------------------------------------------------------------------------------------------------------


def _open_act(hub: Hub, request: Request, form: Form) -> Response:
    named = request.path_params["event_id"]
    event_id = int(named) if named.isascii() and named.isdigit() and 0 < int(named) < 2**63 else 0

    def again(current: Visit, subject_id: int, problem: str, status: int) -> Response:
        return _form(hub, current, subject_id, event_id, problem, status, form)

    found = person_of_form(
        hub,
        request,
        form,
        back=f"/acts/{event_id}/dispute",
        refuse=lambda current, subject_id: again(current, subject_id, OWN_PAGE, 403),
    )
    if isinstance(found, Response):
        return found
    return _open(hub, *found, lambda: _asked_of_act(form, event_id), again)


def _open_other(hub: Hub, request: Request, form: Form) -> Response:
    def again(current: Visit, subject_id: int, problem: str, status: int) -> Response:
        return _overview(hub, current, subject_id, problem, status, form)

    found = person_of_form(
        hub, request, form, back=HERE, refuse=lambda current, subject_id: again(current, subject_id, OWN_PAGE, 403)
    )
    if isinstance(found, Response):
        return found
    return _open(hub, *found, lambda: _asked_of_other(form), again)


def _open(hub: Hub, current: Visit, subject_id: int, parse: Any, again: Any) -> Response:
    try:
        asked = parse()
        with writing(hub.engine) as session:
            who = Who(side=Side.PERSON, subject_id=subject_id)
            dispute_id = open_dispute(session, hub, asked, who, hub.clock()).dispute.dispute_id
    except NotFound:
        raise
    except UsageProblem as refused:
        answer: Response = again(current, subject_id, str(refused), 400)
        return answer
    return go(f"{HERE}/{dispute_id}")


def _asked_of_act(form: Mapping[str, str], event_id: int) -> Asked:
    if form.get("what") not in OF_ACT:
        raise UsageProblem(CHOOSE)
    target, _, reason = form["what"].partition(".")
    claimed = _milligrams(form.get("claimed_g", "")) if target == Target.AMOUNT else None
    return Asked(
        target=Target(target), reason=Reason(reason), text=form.get("text", ""), event_id=event_id, claimed_mg=claimed
    )


def _asked_of_other(form: Mapping[str, str]) -> Asked:
    kind, _, named = form.get("about", "").partition(":")
    if kind not in (Target.LINK, Target.RETIREMENT) or form.get("what") not in OF_OTHERS:
        raise UsageProblem(CHOOSE)
    return Asked(
        target=Target(kind), reason=Reason(form["what"]), text=form.get("text", ""),
        link_id=named if kind == Target.LINK else None, reservation_id=named if kind == Target.RETIREMENT else None,
    )  # fmt: skip


def _milligrams(told: str) -> int:
    """Read grams as a person writes them. Raises UsageProblem."""
    try:
        mg = Decimal(told.strip()) * 1000
    except InvalidOperation:
        raise UsageProblem(GRAMS) from None
    if not (mg.is_finite() and 0 < mg < 2**53 and mg == mg.to_integral_value()):
        raise UsageProblem(GRAMS)
    return int(mg)


# --- going on ---------------------------------------------------------------------------------------------------------


def _write(hub: Hub, request: Request, form: Form) -> Response:
    dispute_id = request.path_params["dispute_id"]

    def again(current: Visit, subject_id: int, problem: str, status: int) -> Response:
        return _one(hub, current, subject_id, dispute_id, problem, status, form.get("text", ""))

    found = person_of_form(
        hub, request, form, back=HERE, refuse=lambda current, subject_id: again(current, subject_id, OWN_PAGE, 403)
    )
    if isinstance(found, Response):
        return found
    try:
        with writing(hub.engine) as session:
            who = Who(side=Side.PERSON, subject_id=found[1])
            submit(session, hub, dispute_id, who, form.get("text", ""), hub.clock())
    except NotFound:
        raise
    except UsageProblem as refused:
        return again(*found, str(refused), 400)
    return go(f"{HERE}/{dispute_id}")


def _withdraw(hub: Hub, request: Request, form: Form) -> Response:
    dispute_id = request.path_params["dispute_id"]
    found = person_of_form(
        hub, request, form, back=HERE,
        refuse=lambda current, subject_id: _one(hub, current, subject_id, dispute_id, OWN_PAGE, 403),
    )  # fmt: skip
    if isinstance(found, Response):
        return found
    with writing(hub.engine) as session:
        withdraw(session, dispute_id, Who(side=Side.PERSON, subject_id=found[1]), hub.clock())
    return go(f"{HERE}/{dispute_id}")


# --- pages ------------------------------------------------------------------------------------------------------------


def _overview(
    hub: Hub, current: Visit, subject_id: int, problem: str | None = None, status: int = 200,
    sent: Mapping[str, str] | None = None,
) -> Response:  # fmt: skip
    now, who = hub.clock(), Who(side=Side.PERSON, subject_id=subject_id)
    with reading(hub.engine) as session:
        lines = [_line(describe(session, row, who, now)) for row in load_disputes_of(session, subject_id)]
        things = _things(session, subject_id)
    told = sent or {}
    return page(
        "disputes.html", status=status, signed_in=True, csrf=current.info.csrf, problem=problem, lines=lines, things=things,
        choices=OF_OTHERS, most=TEXT_CHARACTERS, sent={name: told.get(name, "") for name in ("about", "what", "text")},
    )  # fmt: skip


def _things(session: Session, subject_id: int) -> Sequence[tuple[str, str, str]]:
    """Return what a person may dispute here: the form's value, and the words in both languages."""
    links = [
        (f"link:{one.link_id}", f"账户：{one.platform}（{_day(one.valid_from)}起）", f"account at {one.platform}")
        for one in load_links(session, subject_id=subject_id)
    ]
    used = session.execute(
        text(
            "SELECT reservation_id, participant, used_mg FROM reservation WHERE subject_id = :s AND state = 'committed' "
            "ORDER BY number DESC LIMIT 100"
        ),
        {"s": subject_id},
    )
    return [
        *links,
        *(
            (f"retirement:{name}", f"使用：{participant}，{grams(mg)}", f"use at {participant}, {grams(mg)}")
            for name, participant, mg in used
        ),
    ]


def _form(
    hub: Hub, current: Visit, subject_id: int, event_id: int, problem: str | None = None, status: int = 200,
    sent: Mapping[str, str] | None = None,
) -> Response:  # fmt: skip
    with reading(hub.engine) as session:
        owner = session.execute(text("SELECT subject_id FROM event WHERE event_id = :e"), {"e": event_id})
        if owner.scalar_one_or_none() != subject_id:
            raise NotFound("there is no such act of yours")
    told = sent or {}
    return page(
        "dispute_act.html", status=status, signed_in=True, csrf=current.info.csrf, event_id=event_id, problem=problem,
        choices=OF_ACT, most=TEXT_CHARACTERS, sent={name: told.get(name, "") for name in ("what", "claimed_g", "text")},
    )  # fmt: skip


def _one(
    hub: Hub, current: Visit, subject_id: int, dispute_id: str, problem: str | None = None, status: int = 200,
    sent: str = "",
) -> Response:  # fmt: skip
    who = Who(side=Side.PERSON, subject_id=subject_id)
    with reading(hub.engine) as session:
        told = describe_whole(session, hub, require_dispute(session, dispute_id, who), who, hub.clock())
    adjustments = told["outcome"]["adjustments"] if told["outcome"] else []
    return page(
        "dispute.html", status=status, signed_in=True, csrf=current.info.csrf, problem=problem, sent=sent, told=told,
        line=_line(told), may_write=told["state"] in (State.OPENED, State.EVIDENCE), most=TEXT_CHARACTERS,
        evidence_due=_last_day(told["evidence_due_at"]), must_answer=bool(told["answer_due_at"]) and told["opened_by_you"],
        taken_mg=sum(one["mg"] for one in adjustments if one["event_id"] is not None),
        pieces=[
            {"by": SIDES[Side(one["by"])], "at": _minute(one["at"]), "text": one["text"]} for one in told["evidence"]
        ],
    )  # fmt: skip


def _line(told: Mapping[str, Any]) -> Line:
    target = TARGETS[Target(told["target"])]
    named = f" {told['event_id']}" if told["event_id"] else ""
    return Line(
        dispute_id=told["dispute"], about=(target[0] + named, target[1] + named), opened=_minute(told["opened_at"]),
        state=STATES[State(told["state"])], is_live=told["outcome"] is None, by=SIDES[Side(told["opened_by"])],
        due=_last_day(told["decision_due_at"]), is_overdue=told["overdue"],
    )  # fmt: skip


def _minute(told: str) -> str:
    return f"{datetime.fromisoformat(told).astimezone(ZONE):%Y-%m-%d %H:%M}"


def _last_day(told: str) -> str:
    """Write a deadline as the last day that there is: it ends with that day."""
    return _day(datetime.fromisoformat(told) - timedelta(seconds=1))


def _day(at: datetime) -> str:
    return f"{at.astimezone(ZONE):%Y-%m-%d}"
