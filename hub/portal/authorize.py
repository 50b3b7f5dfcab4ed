"""Where a person decides on what an OAuth client asked for. I/O: HTTP, the database.

    GET  /oauth/authorize   who asks for what; sign-in comes first; looking changes nothing
    POST /oauth/authorize   yes or no, once; then back to the client's registered address

Whatever is wrong with the request itself is told on a page of ours and never by a redirect: an address that could not be
checked is not to be sent to (RFC 9700 section 4.11).
"""

from datetime import datetime
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session

from consent.authority import Authority
from consent.authorize import DecisionRefused, answer_address, approve, refuse
from consent.grants import recently_refused
from consent.guardian_requests import RequestOver
from consent.guardians import GuardianNeeded, is_child
from consent.notices import Notice, current_notice
from consent.pushed import Pushed, give_time, load_pushed
from consent.stepup import require_recent_proof
from consent.terms import Assurance
from hub.context import Hub
from hub.db import reading, writing
from hub.portal.browser import Visit, go, page, visit
from hub.portal.children import ChildsVisit, answer_child, show_child
from hub.portal.consent_acts import log_changes
from hub.portal.forms import take_form, visit_of_form
from hub.portal.returning import with_return
from hub.portal.sharing import NOTHING, SHARING_PROOF, client_policy, read_decision, show_sharing

PATH = "/oauth/authorize"
ONLY_GUARDIAN = (
    "You are under 14, so only your guardian can allow this. Nothing was allowed. Open the page again to see where it "
    "stands. 您未满十四周岁,仅监护人可以同意。"
)


def authorize_router(hub: Hub, authority: Authority) -> APIRouter:
    """Build the router."""
    router = APIRouter(include_in_schema=False)

    @router.get(PATH)
    def ask(request: Request) -> Response:
        return _ask(hub, authority, request)

    take_form(router, hub, PATH, lambda hub, request, form: _decide(hub, authority, request, form))
    return router


def _ask(hub: Hub, authority: Authority, request: Request) -> Response:
    try:
        pairs = parse_qsl(request.url.query, keep_blank_values=True, max_num_fields=40)
    except ValueError:
        return _stop("The address says too much. Go back to where you came from and begin anew.")
    told = dict(pairs)
    if len(told) != len(pairs):
        return _stop("The address names something twice.")
    now = hub.clock()
    with writing(hub.engine) as session:
        pushed = _pushed(session, told, now)
        if pushed is not None:
            give_time(session, pushed)
    if pushed is None:
        return _stop(
            "This request is over, was decided already, or never was. Go back to where you came from and begin anew."
        )
    current = visit(hub, request)
    if current is None or current.subject_id is None:
        # Only what names the request goes along: everything else in the address is ignored (RFC 9126 section 4).
        return go(with_return("/signin", _own_address(told)))
    require_recent_proof(current.info, now=now, within=SHARING_PROOF)
    with reading(hub.engine) as session:
        child = is_child(session, subject_id=current.subject_id, now=now)
        too_soon = recently_refused(
            session, subject_id=current.subject_id, recipient=pushed.client.client_id, now=now,
            within=hub.settings.ask_again_after,
        )  # fmt: skip
    if child:
        return show_child(hub, _childs(current, current.subject_id, pushed, told), _notice(), now=now)
    if too_soon:
        # A link and no redirect: this can be the end of the sign-in form's way, which may lead to no other origin.
        return page(
            "message.html", status=200, signed_in=False, heading="Asked again too soon 请求过于频繁",
            message=f"You said no to {pushed.client.name} lately, so it may not ask you again yet. 您近期已拒绝该请求。",
            back=answer_address(pushed, issuer=authority.issuer, error="access_denied"),
            back_text=f"Back to {pushed.client.name} 返回",
        )  # fmt: skip
    return _page(hub, current, pushed, told)


def _decide(hub: Hub, authority: Authority, request: Request, form: dict[str, str]) -> Response:
    current = visit_of_form(hub, request, form)
    if current is None or current.subject_id is None:
        return _stop("Please sign in, and send the form from its own page.", status=403)
    now = hub.clock()
    proof = require_recent_proof(current.info, now=now, within=SHARING_PROOF, back=_own_address(form))
    with writing(hub.engine) as session:
        pushed = _pushed(session, form, now)
        if pushed is None:
            return _stop("This request is over or was decided already. Go back to where you came from and begin anew.")
        decision = read_decision(
            form, pushed, _notice(), subject_id=current.subject_id, assurance=Assurance(proof.method.value)
        )
        try:
            if is_child(session, subject_id=current.subject_id, now=now):
                address, changes = answer_child(
                    session, _childs(current, current.subject_id, pushed, form), form.get("decision", ""), decision,
                    issuer=authority.issuer, ask_again_after=hub.settings.ask_again_after, now=now,
                )  # fmt: skip
            else:
                decide_so = approve if form.get("decision") == "approve" else refuse
                address, changes = decide_so(session, pushed, decision, issuer=authority.issuer, now=now)
        except (GuardianNeeded, RequestOver):
            session.rollback()
            return _stop(ONLY_GUARDIAN, status=403)
        except DecisionRefused as refused:
            session.rollback()
            return _nothing(hub, current, pushed, form, str(refused))
        log_changes(hub, session, changes, now)
    return go(address)


def _page(hub: Hub, current: Visit, pushed: Pushed, told: dict[str, str], problem: str | None = None) -> Response:
    return show_sharing(
        hub,
        current,
        pushed,
        _notice(),
        action=PATH,
        hidden=_named(told),
        problem=problem,
        headers=client_policy(pushed),
    )


def _nothing(hub: Hub, current: Visit, pushed: Pushed, form: dict[str, str], reason: str) -> Response:
    with reading(hub.engine) as session:
        again = _pushed(session, form, hub.clock())
        child = is_child(session, subject_id=current.info.subject_id or 0, now=hub.clock())
    if again is None:
        return _stop("This request was decided already. Go back to where you came from and begin anew.")
    if child:
        return _stop(ONLY_GUARDIAN, status=403)
    return _page(hub, current, pushed, form, NOTHING if "nothing" in reason else reason)


def _notice() -> Notice:
    return current_notice("share", "en")


def _pushed(session: Session, told: dict[str, str], now: datetime) -> Pushed | None:
    return load_pushed(
        session, client_id=told.get("client_id", ""), request_uri=told.get("request_uri", ""), now=now
    )  # fmt: skip


def _childs(current: Visit, subject_id: int, pushed: Pushed, told: dict[str, str]) -> ChildsVisit:
    return ChildsVisit(
        visit=current,
        subject_id=subject_id,
        pushed=pushed,
        action=PATH,
        hidden=_named(told),
        address=_own_address(told),
    )


def _named(told: dict[str, str]) -> dict[str, str]:
    return {name: told.get(name, "") for name in ("client_id", "request_uri")}


def _own_address(told: dict[str, str]) -> str:
    return f"{PATH}?{urlencode(_named(told))}"


def _stop(message: str, *, status: int = 400) -> Response:
    return page(
        "message.html", status=status, signed_in=False, heading="That did not work 请求无效", message=message,
        back="/", back_text="My account 我的账户",
    )  # fmt: skip
