"""What clients ask of children in my care: a guardian answers, takes an answer back, withdraws. I/O: HTTP, the database.

    /care -> GET /care/requests/R -> POST /care/requests/R            yes or no, after a recent proof
          -> POST /care/requests/R/withdraw                           a yes that the child has not used yet
          -> POST /care/grants/G/withdraw                             what a client has been given

A yes makes no grant: it is kept for the child's next try with the same request (consent/guardian_requests.py).
"""

from collections.abc import Callable, Sequence

from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session

from consent.authorize import Decision, DecisionRefused
from consent.grants import GrantNotFound, IllegalTransition, require_grant
from consent.guardian_requests import Answer, RequestOver, allow, decline, require_request
from consent.guardian_requests import Request as Asking
from consent.guardians import load_wards
from consent.notices import Notice
from consent.stepup import require_recent_proof
from consent.tables import Person
from consent.terms import Assurance
from hub.context import Hub
from hub.db import reading, writing
from hub.portal.asking import LANGUAGE, NOTICE, preferred_language, shown_notice
from hub.portal.browser import Visit, go
from hub.portal.consent_acts import log_changes, withdraw
from hub.portal.forms import Form, person_of, person_of_form, take_form
from hub.portal.platform_forms import not_sent, stop
from hub.portal.sharing import NOTHING, SHARING_PROOF, read_decision, show_sharing

WARD = "ward"
HOME = "/care"
Handler = Callable[[Hub, Visit, int, str, Form], Response]


def care_requests_router(hub: Hub) -> APIRouter:
    """Build the router."""
    router = APIRouter(include_in_schema=False)

    @router.get("/care/requests/{request_id}")
    def question(request: Request, request_id: str) -> Response:
        found = person_of(hub, request, back=_address(request_id))
        if isinstance(found, Response):
            return found
        require_recent_proof(found[0].info, now=hub.clock(), within=SHARING_PROOF)
        try:
            return _question(hub, *found, request_id, {LANGUAGE: preferred_language(request)})
        except RequestOver:
            return _over()

    def post(path: str, handler: Handler) -> None:
        take_form(router, hub, path, lambda hub, request, form: _checked(hub, request, form, handler))

    post("/care/requests/{request_id}", _decide)
    post("/care/requests/{request_id}/withdraw", _take_back)
    post("/care/grants/{grant_id}/withdraw", _withdraw)
    return router


def _checked(hub: Hub, request: Request, form: Form, handler: Handler) -> Response:
    found = person_of_form(hub, request, form, back=HOME, refuse=lambda *_: not_sent(HOME))
    if isinstance(found, Response):
        return found
    form.setdefault(LANGUAGE, preferred_language(request))
    (named,) = request.path_params.values()
    try:
        return handler(hub, *found, named, form)
    except RequestOver:
        return _over()
    except GrantNotFound:
        return stop("No such consent", "Nobody in your care has such a consent.", HOME, status=404)


def _question(
    hub: Hub, current: Visit, guardian_id: int, request_id: str, form: Form, problem: str | None = None
) -> Response:
    now = hub.clock()
    with reading(hub.engine) as session:
        asking = require_request(session, request_id=request_id, guardian_id=guardian_id, now=now)
        child = session.get_one(Person, asking.subject_id).username or ""
    if asking.answer is not None:
        return _over()
    notice = shown_notice(form, WARD)
    return show_sharing(
        hub, current, asking.asked, notice, action=_address(request_id), hidden={NOTICE: notice.sha256}, child=child,
        problem=problem,
    )  # fmt: skip


def _decide(hub: Hub, current: Visit, guardian_id: int, request_id: str, form: Form) -> Response:
    now = hub.clock()
    require_recent_proof(current.info, now=now, within=SHARING_PROOF, back=_address(request_id))
    notice = shown_notice(form, WARD)
    try:
        with writing(hub.engine) as session:
            asking = require_request(session, request_id=request_id, guardian_id=guardian_id, now=now)
            if asking.answer is not None:
                raise RequestOver
            decision = _read(form, asking, notice)
            if form.get("decision") == "approve":
                allow(session, asking, decision, guardian_id=guardian_id, now=now)
            else:
                log_changes(hub, session, decline(session, asking, decision, guardian_id=guardian_id, now=now), now)
    except DecisionRefused:
        return _question(hub, current, guardian_id, request_id, form, NOTHING)
    return go(HOME)


def _take_back(hub: Hub, _current: Visit, guardian_id: int, request_id: str, form: Form) -> Response:
    now = hub.clock()
    with writing(hub.engine) as session:
        asking = require_request(session, request_id=request_id, guardian_id=guardian_id, now=now)
        if asking.answer is not Answer.APPROVED:
            raise RequestOver
        decision = _read(form, asking, shown_notice(form, WARD))
        log_changes(hub, session, decline(session, asking, decision, guardian_id=guardian_id, now=now), now)
    return go(HOME)


def _withdraw(hub: Hub, _current: Visit, guardian_id: int, grant_id: str, _form: Form) -> Response:
    with reading(hub.engine) as session:
        wards = load_wards(session, guardian_id=guardian_id, now=hub.clock())
        owner = _owner(session, [ward.subject_id for ward in wards], grant_id)
    try:
        withdraw(hub, owner, grant_id)
    except IllegalTransition:
        return go(HOME)  # the child withdrew it meanwhile: nothing is left to end
    return go(HOME)


def _owner(session: Session, wards: Sequence[int], grant_id: str) -> int:
    """Whose grant to a client it is, of these children. Raises GrantNotFound."""
    for subject_id in wards:
        try:
            grant = require_grant(session, grant_id=grant_id, subject_id=subject_id)
        except GrantNotFound:
            continue
        if grant.terms.client_id is not None:
            return subject_id
    raise GrantNotFound


def _read(form: Form, asking: Asking, notice: Notice) -> Decision:
    return read_decision(
        form, asking.asked, notice, subject_id=asking.subject_id, assurance=Assurance.GUARDIAN
    )  # fmt: skip


def _address(request_id: str) -> str:
    return f"/care/requests/{request_id}"


def _over() -> Response:
    told = "Nobody waits for this answer: it was given, is no longer wanted, or came too late. 该请求已结束。"
    return stop("Nothing to decide 无待决定事项", told, HOME, status=404)
