"""My consents: review, renew, withdraw, and take the receipts along. I/O: HTTP, the database.

/consents -> POST withdraw                                        what stops and what stays stands beside the button
          -> POST renew -> the question -> POST renewal           a renewal is a new yes, never silent
          -> GET /receipts/R                                      the signed statement, as a file
/notices/SHA256                                                   the words that any receipt names
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from consent.details import prolong_details
from consent.grants import Grant, GrantNotFound, GrantState, IllegalTransition, require_grant
from consent.guardians import GuardianNeeded, is_child, load_wards
from consent.notices import Notice, NoticeUnknown, blanks, fill_in, notice_by_digest
from consent.receipts import ReceiptNotFound, require_receipt
from consent.sessions import CsrfRefused
from consent.terms import Assurance, GrantTerms, Sensitive
from hub.context import Hub
from hub.db import reading
from hub.participants import load_participants
from hub.portal.asking import (
    LANGUAGE,
    agreed_classes,
    assurance_of,
    behaviour_names,
    day,
    preferred_language,
    show_question,
    shown_notice,
)
from hub.portal.browser import Visit, go, page, read_form, require_own_form, visit
from hub.portal.consent_acts import renew, withdraw
from hub.portal.my_consents import is_ending, load_my_consents, purpose_words, recipient_words
from hub.portal.terms import DURATION, agreed_terms

RENEW = "renew"
Handler = Callable[[Hub, Visit, int, str, dict[str, str]], Response]


def consents_router(hub: Hub) -> APIRouter:
    """Build the router."""
    router = APIRouter(include_in_schema=False)

    @router.get("/consents")
    def overview(request: Request) -> Response:
        current = visit(hub, request)
        if current is None or current.subject_id is None:
            return go("/signin")
        return _overview(hub, current, current.subject_id)

    @router.get("/receipts/{receipt_id}")
    def receipt(request: Request, receipt_id: str) -> Response:
        """Hand out a receipt, to the person alone."""
        current = visit(hub, request)
        if current is None or current.subject_id is None:
            return go("/signin")
        return _receipt(hub, current.subject_id, receipt_id)

    @router.get("/notices/{digest}")
    def notice(digest: str) -> Response:
        """Show a notice that was ever in use; what differed from person to person is left blank."""
        try:
            return _notice(notice_by_digest(digest))
        except NoticeUnknown:
            return _stop("No such notice", "No notice with this digest was ever shown.", "/", status=404)

    def post(path: str, handler: Handler) -> None:
        async def endpoint(request: Request, grant_id: str) -> Response:
            form = await read_form(request)
            return await run_in_threadpool(_checked, hub, request, grant_id, form, handler)

        router.add_api_route(path, endpoint, methods=["POST"])

    post("/consents/{grant_id}/withdraw", _withdraw)
    post("/consents/{grant_id}/renew", _ask_renewal)
    post("/consents/{grant_id}/renewal", _renew)
    return router


def _checked(hub: Hub, request: Request, grant_id: str, form: dict[str, str], handler: Handler) -> Response:
    current = visit(hub, request)
    if current is None or current.subject_id is None:
        return go("/signin")
    try:
        require_own_form(hub, request, current, form)
    except CsrfRefused:
        return _stop("Not sent", "Please send the form from this hub's own page.", "/consents", status=403)
    form.setdefault(LANGUAGE, preferred_language(request))
    try:
        return handler(hub, current, current.subject_id, grant_id, form)
    except GrantNotFound:
        return _stop("No such consent", "You have no such consent.", "/consents", status=404)
    except GuardianNeeded:
        told = "You are under 14, so your guardian has to decide on this. You can withdraw it yourself at any time."
        return _stop("Your guardian decides", told, "/consents", status=403)


def _overview(hub: Hub, current: Visit, subject_id: int) -> Response:
    now = hub.clock()
    with reading(hub.engine) as session:
        mine = load_my_consents(session, subject_id, load_participants(session), now=now)
        grown_up = not is_child(session, subject_id=subject_id, now=now)
        wards = load_wards(session, guardian_id=subject_id, now=now)
    return page(
        "consents.html", signed_in=True, csrf=current.info.csrf, mine=mine, grown_up=grown_up, wards=bool(wards)
    )


def _withdraw(hub: Hub, _current: Visit, subject_id: int, grant_id: str, _form: dict[str, str]) -> Response:
    try:
        withdraw(hub, subject_id, grant_id)
    except IllegalTransition:
        return go("/consents")  # pressed twice, or in two windows: nothing is left to end
    return go("/consents")


def _ask_renewal(hub: Hub, current: Visit, subject_id: int, grant_id: str, form: dict[str, str]) -> Response:
    now = hub.clock()
    with reading(hub.engine) as session:
        grant = require_grant(session, grant_id=grant_id, subject_id=subject_id)
        if is_child(session, subject_id=subject_id, now=now):
            raise GuardianNeeded
        names = {one.participant_id: f"{one.name_zh} {one.name_en}" for one in load_participants(session)}
        recipient = recipient_words(session, grant.terms)
    if not is_renewable(grant, now):
        return _not_now()
    notice = shown_notice(form, RENEW)
    asked = renewed_terms(grant.terms, notice, now)
    values = {
        "recipient": recipient,
        "purposes": purpose_words(asked),
        "platforms": ", ".join(names.get(one, one) for one in sorted(asked.platforms)),
        "behaviours": behaviour_names(asked, notice.language),
        "valid_from": day(asked.valid_from),
        "valid_until": day(asked.valid_until),
        "ends_now": day(grant.terms.valid_until),
    }
    return show_question(current, notice, asked, values=values, action=f"/consents/{grant_id}/renewal")


def _renew(hub: Hub, current: Visit, subject_id: int, grant_id: str, form: dict[str, str]) -> Response:
    if form.get("decision") != "approve":
        return go("/consents")
    now = hub.clock()
    with reading(hub.engine) as session:
        grant = require_grant(session, grant_id=grant_id, subject_id=subject_id)
    terms = agreed_terms(renewed_terms(grant.terms, shown_notice(form, RENEW), now), agreed_classes(form))
    if not is_renewable(grant, now):
        return _not_now()
    if not terms.behaviours:
        told = "All of it is sensitive and you ticked none of it, so nothing was renewed. It ends when it would have."
        return _stop("Not renewed", told, "/consents", status=200)
    try:
        renew(hub, subject_id, grant_id, terms, assurance_of(current.info))
    except IllegalTransition:
        return _not_now()
    return go("/consents")


def is_renewable(grant: Grant, now: datetime) -> bool:
    """Say whether there is something to decide anew: the end is near, or somebody else had decided."""
    return is_ending(grant, now) or (grant.state is GrantState.ACTIVE and grant.assurance is Assurance.GUARDIAN)


def renewed_terms(terms: GrantTerms, notice: Notice, now: datetime) -> GrantTerms:
    """Return what a renewal asks: the same to the same recipient for another year, each sensitive class anew."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    until = max(terms.valid_until, today + DURATION)
    return replace(
        terms,
        valid_until=until,
        details=prolong_details(terms.details, ended=terms.valid_until, until=until),
        sensitive=frozenset(),
        notice_version=notice.version,
        language=notice.language,
    )


def _receipt(hub: Hub, subject_id: int, receipt_id: str) -> Response:
    try:
        with reading(hub.engine) as session:
            found = require_receipt(session, hub.ring, receipt_id=receipt_id, subject_id=subject_id)
    except ReceiptNotFound:
        return _stop("No such receipt", "You have no such receipt.", "/consents", status=404)
    name = f"tanlian-receipt-{found.created_at:%Y%m%d}-{found.receipt_id[2:10]}.jwt"
    return Response(
        found.jws, media_type="application/jwt", headers={"content-disposition": f'attachment; filename="{name}"'}
    )


def _notice(notice: Notice) -> Response:
    filled = fill_in(notice, dict.fromkeys(blanks(notice), "……"), classes=frozenset(Sensitive))
    return page("notice.html", signed_in=False, notice=filled)


def _not_now() -> Response:
    return _stop("Nothing to renew", "This consent is over, or it ends later than in 30 days.", "/consents", status=409)


def _stop(heading: str, message: str, back: str, *, status: int) -> Response:
    return page(
        "message.html", status=status, signed_in=False, heading=heading, message=message, back=back, back_text="Back"
    )
