"""Where a person decides on what an OAuth client asked for. I/O: HTTP, the database.

    GET  /oauth/authorize   who asks for what; sign-in comes first; looking changes nothing
    POST /oauth/authorize   yes or no, once; then back to the client's registered address

Whatever is wrong with the request itself is told on a page of ours and never by a redirect: an address that could not be
checked is not to be sent to (RFC 9700 section 4.11).
"""

from datetime import datetime, timedelta
from urllib.parse import parse_qsl, urlencode, urlsplit

from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from consent.authority import Authority
from consent.authorize import Decision, DecisionRefused, answer_address, approve, refuse
from consent.changes import Change
from consent.details import Detail
from consent.grants import recently_refused
from consent.guardians import GuardianNeeded
from consent.notices import Notice, current_notice, fill_in
from consent.pushed import Pushed, give_time, load_pushed
from consent.sessions import CsrfRefused
from consent.stepup import StepUpNeeded, require_recent_proof
from consent.terms import Assurance, Frequency, Sensitive, sensitive_classes
from hub.changes import log_consent_change
from hub.context import Hub
from hub.db import reading, writing
from hub.participants import load_participants
from hub.portal.browser import Visit, go, page, read_form, require_own_form, visit
from hub.portal.returning import with_return
from standards.behaviours import load_behaviours

PATH = "/oauth/authorize"
# Sharing takes a recent proof of the person. Longer than for other acts: the page has to be read, and comes at the end of
# a way through somebody else's site.
SHARING_PROOF = timedelta(minutes=15)
ACTIONS = {
    "read": "read your grams and the acts behind them 查看您的减排量及其对应的行为",
    "contribute": "report acts of yours, to be counted once and credited to you 上报您的行为,核算一次并记入您的账户",
    "use": "set grams of yours aside and use them, each time you say so there 在您于对方处确认时,预留并使用您的减排量",
}
FREQUENCIES = {
    Frequency.ONCE: "once 一次", Frequency.DAILY: "once a day 每天一次", Frequency.WEEKLY: "once a week 每周一次",
    Frequency.MONTHLY: "once a month 每月一次", Frequency.ALWAYS: "as often as needed 按需",
}  # fmt: skip


def authorize_router(hub: Hub, authority: Authority) -> APIRouter:
    """Build the router."""
    router = APIRouter(include_in_schema=False)

    @router.get(PATH)
    def ask(request: Request) -> Response:
        return _ask(hub, authority, request)

    @router.post(PATH)
    async def decide(request: Request) -> Response:
        form = await read_form(request)
        return await run_in_threadpool(_decide, hub, authority, request, form)

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
        asked_lately = recently_refused(
            session, subject_id=current.subject_id, recipient=pushed.client.client_id, now=now,
            within=hub.settings.ask_again_after,
        )  # fmt: skip
    if asked_lately:
        # A link and no redirect: this can be the end of the sign-in form's way, which may lead to no other origin.
        return page(
            "message.html", status=200, signed_in=False, heading="Asked again too soon 请求过于频繁",
            message=f"You said no to {pushed.client.name} lately, so it may not ask you again yet. 您近期已拒绝该请求。",
            back=answer_address(pushed, issuer=authority.issuer, error="access_denied"),
            back_text=f"Back to {pushed.client.name} 返回",
        )  # fmt: skip
    return _page(hub, current, pushed, told)


def _decide(hub: Hub, authority: Authority, request: Request, form: dict[str, str]) -> Response:
    current = visit(hub, request)
    if current is None or current.subject_id is None:
        return _stop("You are not signed in any more. Go back to where you came from and begin anew.", status=403)
    try:
        require_own_form(hub, request, current, form)
    except CsrfRefused:
        return _stop("Please send the form from its own page.", status=403)
    now = hub.clock()
    try:
        proof = require_recent_proof(current.info, now=now, within=SHARING_PROOF)
    except StepUpNeeded:
        raise StepUpNeeded(back=_own_address(form)) from None
    with writing(hub.engine) as session:
        pushed = _pushed(session, form, now)
        if pushed is None:
            return _stop("This request is over or was decided already. Go back to where you came from and begin anew.")
        classes = _classes(pushed.details)
        several = len(pushed.details) > 1
        decision = Decision(
            subject_id=current.subject_id,
            assurance=Assurance(proof.method.value),
            notice_version=_notice(pushed).version,
            language=_notice(pushed).language,
            agreed=frozenset(one for one in classes if form.get(f"sensitive_{one}") == "yes"),
            chosen=frozenset(n for n in range(len(pushed.details)) if not several or form.get(f"detail_{n}") == "yes"),
        )
        try:
            if form.get("decision") == "approve":
                address, changes = approve(session, pushed, decision, issuer=authority.issuer, now=now)
            else:
                address, changes = refuse(session, pushed, decision, issuer=authority.issuer, now=now)
        except GuardianNeeded:
            session.rollback()
            return _stop("You are under 14, so only your guardian can allow this. Nothing was allowed.", status=403)
        except DecisionRefused as refused:
            session.rollback()
            return _nothing(hub, current, pushed, form, str(refused))
        _log(hub, session, changes, now)
    return _leave(address)


def _page(hub: Hub, current: Visit, pushed: Pushed, told: dict[str, str], problem: str | None = None) -> Response:
    parts = urlsplit(pushed.redirect_uri)
    policy = (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action 'self' {parts.scheme}://{parts.netloc}"  # the form's answer redirects to the client
    )
    notices = [_filled(hub, pushed, detail) for detail in pushed.details]
    return page(
        "authorize.html", headers={"content-security-policy": policy}, signed_in=True, csrf=current.info.csrf,
        client_id=told["client_id"], request_uri=told["request_uri"], notices=notices, problem=problem,
        classes=sorted(_classes(pushed.details)), several=len(notices) > 1, sentences=_notice(pushed).sensitive,
        status=200 if problem is None else 422,
    )  # fmt: skip


def _nothing(hub: Hub, current: Visit, pushed: Pushed, form: dict[str, str], reason: str) -> Response:
    with reading(hub.engine) as session:
        again = _pushed(session, form, hub.clock())
    if again is None:
        return _stop("This request was decided already. Go back to where you came from and begin anew.")
    problem = (
        "Nothing is left of what you would allow: tick what you agree to, or refuse. 请勾选您同意的内容,或选择拒绝。"
    )
    return _page(hub, current, pushed, form, problem if "nothing" in reason else reason)


def _filled(hub: Hub, pushed: Pushed, detail: Detail) -> Notice:
    names = load_behaviours()
    with reading(hub.engine) as session:
        known = {row.participant_id: f"{row.name_zh} {row.name_en}" for row in load_participants(session)}
    values = {
        "client": pushed.client.name,
        "participant": known.get(pushed.client.participant or "", "acts for itself 代表自身"),
        "actions": "; ".join(ACTIONS[action] for action in sorted(detail.actions)),
        "purpose": f"“{detail.purpose}”" if detail.purpose else "it gave no purpose 未说明",
        "behaviours": ", ".join(f"{names[code].zh} {names[code].en}" for code in sorted(detail.behaviours)),
        "platforms": ", ".join(known.get(name, name) for name in sorted(detail.platforms)) or "none yet 暂无",
        "valid_from": detail.to_json()["from"],
        "valid_until": detail.to_json()["until"],
        "frequency": FREQUENCIES[detail.frequency],
    }
    return fill_in(_notice(pushed), values, classes=frozenset())


def _notice(_pushed: Pushed) -> Notice:
    return current_notice("share", "en")


def _classes(details: tuple[Detail, ...]) -> frozenset[Sensitive]:
    return sensitive_classes(word for one in details for word in one.behaviours)


def _pushed(session: Session, told: dict[str, str], now: datetime) -> Pushed | None:
    return load_pushed(
        session, client_id=told.get("client_id", ""), request_uri=told.get("request_uri", ""), now=now
    )  # fmt: skip


def _own_address(told: dict[str, str]) -> str:
    named = {name: told.get(name, "") for name in ("client_id", "request_uri")}
    return f"{PATH}?{urlencode(named)}"


def _leave(address: str) -> Response:
    return go(address)


def _log(hub: Hub, session: Session, changes: list[Change], now: datetime) -> None:
    for change in changes:
        log_consent_change(session, change, now, hub=hub)


def _stop(message: str, *, status: int = 400) -> Response:
    return page(
        "message.html", status=status, signed_in=False, heading="That did not work 请求无效", message=message,
        back="/", back_text="My account 我的账户",
    )  # fmt: skip
