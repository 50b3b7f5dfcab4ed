"""People in my care: a guardian decides for a child under 14 (PIPL article 31). I/O: HTTP, the database.

    /care -> POST /care/P (child) -> the question, with the rules for children -> POST /care/P/decide
          -> POST /care/P/withdraw (child)
          -> what clients ask and have: care_requests.py

A child is named in the form and never in an address. The guardian's yes allows; the account is brought by the child, who
signs in at the platform themself.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session

from consent.care import concerns
from consent.grants import Grant, GrantState, IllegalTransition, load_grants
from consent.guardian_requests import Request as Asking
from consent.guardian_requests import load_requests
from consent.guardians import NotInCare, load_wards, require_ward
from consent.notices import Notice
from consent.tables import Person
from consent.terms import GrantTerms
from hub.context import Hub
from hub.db import reading
from hub.participants import Platform, load_participants
from hub.portal.account import SHANGHAI
from hub.portal.asking import agreed_classes, link_values, show_question, shown_notice
from hub.portal.browser import Visit, go, page, visit
from hub.portal.cards import standing
from hub.portal.consent_acts import give_for_ward, refuse, withdraw
from hub.portal.my_consents import ConsentView, load_client_consents
from hub.portal.platform_forms import Handler as FormHandler
from hub.portal.platform_forms import post_form, stop, told_terms
from hub.portal.terms import agreed_terms
from hub.sync.tables import Participant

HOME = "/care"
CARE = "care"
CHILD = "child"
Handler = Callable[[Hub, Visit, Platform, Person, dict[str, str]], Response]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformOfWard:
    """One platform as a guardian sees it for one child."""

    platform: str
    name_zh: str
    name_en: str
    standing: str
    asked: bool
    allowed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOfWard:
    """What a client asks of a child: without an answer, or allowed and not used yet."""

    request_id: str
    client: str
    asked_on: str
    until: str
    allowed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WardView:
    """One child with the clients and platforms that there are to decide on."""

    username: str
    decides_from: str
    requests: tuple[RequestOfWard, ...]
    clients: tuple[ConsentView, ...]
    platforms: tuple[PlatformOfWard, ...]


def care_router(hub: Hub) -> APIRouter:
    """Build the router."""
    router = APIRouter(include_in_schema=False)

    @router.get("/care")
    def overview(request: Request) -> Response:
        current = visit(hub, request)
        if current is None or current.subject_id is None:
            return go("/signin")
        return _overview(hub, current, current.subject_id)

    post_form(router, hub, "/care/{platform_id}", _for_ward(_ask), back=HOME)
    post_form(router, hub, "/care/{platform_id}/decide", _for_ward(_decide), back=HOME)
    post_form(router, hub, "/care/{platform_id}/withdraw", _for_ward(_withdraw), back=HOME, ends=True)
    return router


def _for_ward(handler: Handler) -> FormHandler:
    """Let a handler answer only where the child that the form names is in the person's care."""

    def answer(hub: Hub, current: Visit, platform: Platform, form: dict[str, str]) -> Response:
        try:
            with reading(hub.engine) as session:
                ward = require_ward(
                    session, guardian_id=current.subject_id or 0, username=form.get(CHILD, ""), now=hub.clock()
                )  # fmt: skip
        except NotInCare:
            told = "Nobody of that name is in your care. From the 14th birthday on, people decide for themselves."
            return stop("Not in your care", told, HOME, status=404)
        return handler(hub, current, platform, ward, form)

    return answer


def _overview(hub: Hub, current: Visit, subject_id: int) -> Response:
    now = hub.clock()
    with reading(hub.engine) as session:
        participants = load_participants(session)
        requests = load_requests(session, guardian_id=subject_id, now=now)
        wards = [
            _view_of(session, ward, participants, [one for one in requests if one.subject_id == ward.subject_id], now)
            for ward in load_wards(session, guardian_id=subject_id, now=now)
        ]
    return page("care.html", signed_in=True, csrf=current.info.csrf, wards=wards)


def _view_of(
    session: Session, ward: Person, participants: list[Participant], requests: list[Asking], now: datetime
) -> WardView:
    grants = load_grants(session, subject_id=ward.subject_id)
    platforms = [_platform_of(one.participant_id, one.name_zh, one.name_en, grants) for one in participants]
    platforms.sort(key=lambda one: (not one.asked, not one.allowed, one.platform))
    return WardView(
        username=ward.username or "",
        decides_from=str(ward.guarded_until),
        requests=tuple(_request_of(one) for one in requests),
        clients=load_client_consents(session, ward.subject_id, participants, now=now),
        platforms=tuple(platforms),
    )


def _request_of(request: Asking) -> RequestOfWard:
    asked, until = (f"{at.astimezone(SHANGHAI):%Y-%m-%d}" for at in (request.created_at, request.expires_at))
    return RequestOfWard(
        request_id=request.request_id, client=request.asked.client.name, asked_on=asked, until=until,
        allowed=request.answer is not None,
    )  # fmt: skip


def _platform_of(platform: str, name_zh: str, name_en: str, grants: list[Grant]) -> PlatformOfWard:
    mine = [grant for grant in grants if concerns(grant, platform)]
    return PlatformOfWard(
        platform=platform,
        name_zh=name_zh,
        name_en=name_en,
        standing=standing(mine, of_child=True),
        asked=any(grant.state is GrantState.REQUESTED for grant in mine),
        allowed=any(grant.state is GrantState.ACTIVE for grant in mine),
    )


def _ask(hub: Hub, current: Visit, platform: Platform, ward: Person, form: dict[str, str]) -> Response:
    notice = shown_notice(form, CARE)
    asked = _asked(hub, platform, ward, notice)
    return show_question(
        current,
        notice,
        asked,
        values=_values(platform, ward, asked, notice),
        action=f"/care/{platform.platform_id}/decide",
        hidden={CHILD: ward.username or ""},
    )


def _decide(hub: Hub, _current: Visit, platform: Platform, ward: Person, form: dict[str, str]) -> Response:
    asked = _asked(hub, platform, ward, shown_notice(form, CARE))
    terms = agreed_terms(asked, agreed_classes(form))
    if form.get("decision") == "approve" and terms.behaviours:
        give_for_ward(hub, ward.subject_id, terms, platform=platform.platform_id)
    else:
        refuse(hub, ward.subject_id, asked, platform=platform.platform_id)
    return go(HOME)


def _withdraw(hub: Hub, _current: Visit, platform: Platform, ward: Person, _form: dict[str, str]) -> Response:
    with reading(hub.engine) as session:
        grants = [
            grant
            for grant in load_grants(session, subject_id=ward.subject_id)
            if concerns(grant, platform.platform_id) and grant.state in (GrantState.ACTIVE, GrantState.PAUSED)
        ]
    for grant in grants:
        try:
            withdraw(hub, ward.subject_id, grant.grant_id)
        except IllegalTransition:
            continue  # the child withdrew it meanwhile: nothing is left to end
    return go(HOME)


def _asked(hub: Hub, platform: Platform, ward: Person, notice: Notice) -> GrantTerms:
    return told_terms(hub, platform, notice, {"child": ward.username or ""})


def _values(platform: Platform, ward: Person, asked: GrantTerms, notice: Notice) -> dict[str, str]:
    return {**link_values(platform, asked, notice.language), "child": ward.username or ""}
