"""People in my care: a guardian decides for a child under 14 (PIPL article 31). I/O: HTTP, the database.

    /care -> POST /care/P (child) -> the question, with the rules for children -> POST /care/P/decide
          -> POST /care/P/withdraw (child)

A child is named in the form and never in an address. The guardian's yes allows; the account is brought by the child, who
signs in at the platform themself.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from consent.care import concerns
from consent.grants import Grant, GrantState, IllegalTransition, load_grants
from consent.guardians import NotInCare, load_wards, require_ward
from consent.notices import Notice, fill_in
from consent.sessions import CsrfRefused
from consent.tables import Person
from consent.terms import GrantTerms, sensitive_classes
from hub.context import Hub
from hub.db import reading
from hub.errors import NotFound
from hub.participants import Platform, Status, load_participants, open_platform
from hub.portal.asking import (
    LANGUAGE,
    agreed_classes,
    link_values,
    preferred_language,
    show_question,
    shown_notice,
)
from hub.portal.browser import Visit, go, page, read_form, require_own_form, visit
from hub.portal.cards import standing
from hub.portal.consent_acts import give_for_ward, refuse, withdraw
from hub.portal.terms import agreed_terms, asked_terms

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
class WardView:
    """One child with the platforms that there are to decide on."""

    username: str
    decides_from: str
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

    def post(path: str, handler: Handler) -> None:
        async def endpoint(request: Request, platform_id: str) -> Response:
            form = await read_form(request)
            return await run_in_threadpool(_checked, hub, request, platform_id, form, handler)

        router.add_api_route(path, endpoint, methods=["POST"])

    post("/care/{platform_id}", _ask)
    post("/care/{platform_id}/decide", _decide)
    post("/care/{platform_id}/withdraw", _withdraw)
    return router


def _checked(hub: Hub, request: Request, platform_id: str, form: dict[str, str], handler: Handler) -> Response:
    current = visit(hub, request)
    if current is None or current.subject_id is None:
        return go("/signin")
    try:
        require_own_form(hub, request, current, form)
        with reading(hub.engine) as session:
            ward = require_ward(
                session, guardian_id=current.subject_id, username=form.get(CHILD, ""), now=hub.clock()
            )  # fmt: skip
            platform = open_platform(session, hub.ring, platform_id)
    except CsrfRefused:
        return _stop("Not sent", "Please send the form from this hub's own page.", status=403)
    except NotInCare:
        told = "Nobody of that name is in your care. From the 14th birthday on, people decide for themselves."
        return _stop("Not in your care", told, status=404)
    except NotFound:
        return _stop("No such platform", "This platform has not joined the hub.", status=404)
    if platform.status is not Status.ACTIVE and handler is not _withdraw:
        return _stop("Not now", "This platform is suspended. Try again later.", status=409)
    form.setdefault(LANGUAGE, preferred_language(request))
    return handler(hub, current, platform, ward, form)


def _overview(hub: Hub, current: Visit, subject_id: int) -> Response:
    now = hub.clock()
    with reading(hub.engine) as session:
        participants = load_participants(session)
        wards = []
        for ward in load_wards(session, guardian_id=subject_id, now=now):
            grants = load_grants(session, subject_id=ward.subject_id)
            platforms = [
                _platform_of(one.participant_id, one.name_zh, one.name_en, grants) for one in participants
            ]  # fmt: skip
            platforms.sort(key=lambda one: (not one.asked, not one.allowed, one.platform))
            wards.append(
                WardView(username=ward.username or "", decides_from=str(ward.guarded_until), platforms=tuple(platforms))
            )
    return page("care.html", signed_in=True, csrf=current.info.csrf, wards=wards)


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
    return go("/care")


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
    return go("/care")


def _asked(hub: Hub, platform: Platform, ward: Person, notice: Notice) -> GrantTerms:
    asked = asked_terms(platform, hub.clock(), look_back=hub.settings.consent_look_back, notice=notice)
    values = _values(platform, ward, asked, notice)
    told = fill_in(notice, values, classes=sensitive_classes(asked.behaviours))
    return replace(asked, purpose_text=told.points[0][1])


def _values(platform: Platform, ward: Person, asked: GrantTerms, notice: Notice) -> dict[str, str]:
    return {**link_values(platform, asked, notice.language), "child": ward.username or ""}


def _stop(heading: str, message: str, *, status: int) -> Response:
    return page(
        "message.html", status=status, signed_in=False, heading=heading, message=message, back="/care", back_text="Back"
    )
