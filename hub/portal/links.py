"""Linking a platform account, step by step, and withdrawing it. I/O: HTTP, network (the platform), the database.

    /links -> POST /links/P -> consent page -> POST decide (a no is recorded) -> the platform -> GET /links/callback/P
           -> "is this right?" -> POST confirm -> grant activated and link opened in one transaction

The consent page is ours and comes first; the page after the callback names both accounts, so that a person who was lured
here with somebody else's account sees it before anything is linked (session fixation across platforms).

For a child under 14 the guardian answers on another page (care.py); the child's own way begins once that yes is there.
"""

from datetime import datetime
from secrets import token_urlsafe

import structlog
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from sqlalchemy.orm import Session

from connectors.base import ConnectorError, DeviceLink
from consent.authorization_request import request_address
from consent.care import complete_ward_link, find_given
from consent.grants import Grant, IllegalTransition
from consent.guardians import GuardianNeeded, is_child
from consent.links import AlreadyLinked, load_links
from consent.platform_client import LinkRefused, complete_link, exchange_code, start_link, take_attempt
from consent.platform_pins import trusted_metadata
from consent.platforms import PlatformBusy, PlatformRefused, client_jwks
from consent.terms import GrantTerms
from consent.withdraw import withdraw_grant
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import NotFound
from hub.participants import Platform, Status, load_participants, open_platform, require_participant
from hub.portal.asking import (
    NOTICE,
    TICKED,
    agreed_classes,
    assurance_of,
    box_name,
    link_values,
    show_question,
    shown_notice,
)
from hub.portal.browser import Visit, go, page, visit
from hub.portal.cards import load_cards, load_name
from hub.portal.consent_acts import ask_guardian, log_changes, refuse
from hub.portal.platform_forms import post_form, stop, suspended, told_terms, unknown
from hub.portal.terms import LINK, agreed_terms
from hub.portal.waiting import Waiting, forget_waiting, keep_waiting, load_waiting
from hub.sync.following import follow_link
from hub.sync.outward import platform_config, platform_http
from hub.sync.transactions import transactions_of
from hub.uploads import takes_uploads

log = structlog.get_logger(__name__)

HOME = "/links"


def links_router(hub: Hub) -> APIRouter:
    """Build the router."""
    router = APIRouter(include_in_schema=False)

    @router.get("/links")
    def overview(request: Request) -> Response:
        current = visit(hub, request)
        if current is None or current.subject_id is None:
            return go("/signin")
        return _overview(hub, current, current.subject_id, None)

    @router.get("/links/callback/{platform_id}")
    def callback(request: Request, platform_id: str) -> Response:
        """Take the platform's answer. Parameters that come twice make it unusable."""
        current = visit(hub, request)
        if current is None or current.subject_id is None:
            return stop("Sign in first", "Sign in here, then start linking again.", "/signin", status=401)
        pairs = request.query_params.multi_items()
        answer = dict(pairs) if len(dict(pairs)) == len(pairs) else {}
        return _callback(hub, current, platform_id, answer)

    @router.get("/links/jwks/{platform_id}")
    def keys(platform_id: str) -> Response:
        """Show the public key with which the hub signs assertions to one platform, for its registration there."""
        with reading(hub.engine) as session:
            require_participant(session, platform_id)
        return JSONResponse(client_jwks(hub.ring, platform_id), headers={"cache-control": "public, max-age=300"})

    post_form(router, hub, "/links/callback/{platform_id}", _device_code, back=HOME)
    post_form(router, hub, "/links/{platform_id}", _ask, back=HOME)
    post_form(router, hub, "/links/{platform_id}/decide", _decide, back=HOME)
    post_form(router, hub, "/links/{platform_id}/confirm", _confirm, back=HOME)
    post_form(router, hub, "/links/{platform_id}/revoke", _revoke, back=HOME, ends=True)
    return router


def _ask(hub: Hub, current: Visit, platform: Platform, form: dict[str, str]) -> Response:
    notice = shown_notice(form, LINK)
    terms = told_terms(hub, platform, notice)
    given = _guardian(hub, current, platform)
    if given is GuardianNeeded:
        ask_guardian(hub, _person(current), terms, platform=platform.platform_id)
        return _for_the_guardian()
    origin = platform.document.oauth.issuer if platform.document.oauth else ""
    # The form's answer redirects to the platform, so the policy must name it.
    headers = {"content-security-policy": _policy(origin)}
    if isinstance(given, Grant):
        return page(
            "given.html", headers=headers, signed_in=True, csrf=current.info.csrf, platform=platform.platform_id,
            name_zh=platform.document.name_zh, name_en=platform.document.name_en, given_at=given.created_at,
        )  # fmt: skip
    values = link_values(platform, terms, notice.language)
    action = f"/links/{platform.platform_id}/decide"
    return show_question(current, notice, terms, values=values, action=action, headers=headers)


def _decide(hub: Hub, current: Visit, platform: Platform, form: dict[str, str]) -> Response:
    """Silence is a no: whatever is not the clear yes of the page's own button is recorded as a refusal."""
    if form.get("decision") != "approve":
        if not isinstance(_guardian(hub, current, platform), Grant):  # a child that leaves it has refused nothing
            asked = told_terms(hub, platform, shown_notice(form, LINK))
            refuse(hub, _person(current), asked, platform=platform.platform_id)
        return go(HOME)
    terms = _terms(hub, current, platform, form)
    if isinstance(terms, Response):
        return terms
    if platform.document.oauth is None and takes_uploads(platform) and current.subject_id is not None:
        # Nobody else has an account to ask for: it gets a name of its own.
        waiting = Waiting.of_device(
            subject_id=current.subject_id,
            platform=platform.platform_id,
            account=f"own-{token_urlsafe(12)}",
            terms=terms,
        )
        return _is_this_right(hub, current, platform, waiting)
    if platform.document.oauth is None:
        return page(
            "device.html", signed_in=True, csrf=current.info.csrf, platform=platform.platform_id,
            name_zh=platform.document.name_zh, name_en=platform.document.name_en,
            hidden={NOTICE: form.get(NOTICE, ""), **{box_name(one): TICKED for one in terms.sensitive}},
        )  # fmt: skip
    config = platform_config(hub, platform)
    now = hub.clock()
    try:
        with platform_http(platform) as http:
            metadata = trusted_metadata(transactions_of(hub), http, config, now=now)
            with writing(hub.engine) as session:
                request = start_link(session, hub.ring, config=config, web_session=current.info, terms=terms, now=now)
            address = request_address(http, hub.ring, config=config, metadata=metadata, request=request, now=now)
    except (PlatformRefused, PlatformBusy, ConnectorError) as failure:
        return _away(platform, failure)
    return go(address)


def _callback(hub: Hub, current: Visit, platform_id: str, answer: dict[str, str]) -> Response:
    now = hub.clock()
    try:
        with reading(hub.engine) as session:
            platform = open_platform(session, hub.ring, platform_id)
    except NotFound:
        return unknown(HOME)
    if platform.status is not Status.ACTIVE:
        return suspended(HOME)
    if platform.document.oauth is None:
        return _refused()
    config = platform_config(hub, platform)
    with writing(hub.engine) as session:
        attempt = take_attempt(session, hub.ring, config=config, web_session=current.info, answer=answer, now=now)
    if isinstance(attempt, LinkRefused):
        return _refused()
    try:
        with platform_http(platform) as http:
            metadata = trusted_metadata(transactions_of(hub), http, config, now=now)
            linked = exchange_code(http, hub.ring, config=config, metadata=metadata, attempt=attempt, now=now)
    except LinkRefused:
        return _refused()
    except (PlatformRefused, PlatformBusy, ConnectorError) as failure:
        return _away(platform, failure)
    return _is_this_right(hub, current, platform, Waiting(attempt=attempt, linked=linked))


def _device_code(hub: Hub, current: Visit, platform: Platform, form: dict[str, str]) -> Response:
    connector = platform.feeds[0].connector
    if platform.document.oauth is not None or not isinstance(connector, DeviceLink) or current.subject_id is None:
        return _refused()
    terms = _terms(hub, current, platform, form)
    if isinstance(terms, Response):
        return terms
    try:
        account = connector.fetch_account(form.get("code", ""))
    except ConnectorError as failure:
        return _away(platform, failure)
    if account is None:
        return _refused()
    waiting = Waiting.of_device(
        subject_id=current.subject_id, platform=platform.platform_id, account=account, terms=terms
    )
    return _is_this_right(hub, current, platform, waiting)


def _is_this_right(hub: Hub, current: Visit, platform: Platform, waiting: Waiting) -> Response:
    with writing(hub.engine) as session:
        keep_waiting(session, hub.ring, current.info, waiting)
        person = load_name(session, waiting.attempt.subject_id)
    return page(
        "confirm.html", signed_in=True, csrf=current.info.csrf, platform=platform.platform_id,
        name_zh=platform.document.name_zh, name_en=platform.document.name_en, account=waiting.linked.account,
        person=person,
    )  # fmt: skip


def _confirm(hub: Hub, current: Visit, platform: Platform, form: dict[str, str]) -> Response:
    waiting = load_waiting(hub.ring, current.info)
    if waiting is None or waiting.attempt.platform != platform.platform_id:
        return _refused()
    now = hub.clock()
    try:
        with writing(hub.engine) as session:
            forget_waiting(session, current.info)
            if form.get("decision") == "approve" and waiting.attempt.subject_id == current.subject_id:
                link_id = _open(hub, session, current, waiting, now)
                follow_link(session, platform, link_id, waiting.attempt.terms.valid_from, now)
    except GuardianNeeded:
        return _for_the_guardian()
    except AlreadyLinked:
        return stop("Already linked", "That platform account belongs to another Tanlian account.", HOME, status=409)
    return go(HOME)


def _revoke(hub: Hub, current: Visit, platform: Platform, _form: dict[str, str]) -> Response:
    subject_id = current.subject_id
    if subject_id is None:
        return go("/signin")
    now = hub.clock()
    with writing(hub.engine) as session:
        mine = load_links(session, subject_id=subject_id)
        open_links = [link for link in mine if link.platform == platform.platform_id and link.valid_until is None]
        for link in open_links:
            try:
                changes = withdraw_grant(session, grant_id=link.grant_id, subject_id=subject_id, now=now)
            except IllegalTransition:
                continue  # withdrawn in another window of the browser meanwhile: nothing is left to end
            log_changes(hub, session, changes, now)
    return go(HOME)


def _open(hub: Hub, session: Session, current: Visit, waiting: Waiting, now: datetime) -> str:
    """Open the link: on the grant that the person gives by it, or on the one that a guardian gave before."""
    attempt, linked = waiting.attempt, waiting.linked
    if is_child(session, subject_id=attempt.subject_id, now=now):
        link, changes = complete_ward_link(session, hub.ring, attempt=attempt, linked=linked, now=now)
    else:
        link, _, changes = complete_link(
            session, hub.ring, attempt=attempt, linked=linked, now=now, assurance=assurance_of(current.info)
        )
    log_changes(hub, session, changes, now)
    return link.link_id


def _terms(hub: Hub, current: Visit, platform: Platform, form: dict[str, str]) -> GrantTerms | Response:
    """Return what the person said yes to; a page instead where nothing is left of it, or where it is not theirs to say."""
    given = _guardian(hub, current, platform)
    if isinstance(given, Grant):
        return given.terms
    if given is GuardianNeeded:
        return _for_the_guardian()
    asked = told_terms(hub, platform, shown_notice(form, LINK))
    terms = agreed_terms(asked, agreed_classes(form))
    if terms.behaviours:
        return terms
    refuse(hub, _person(current), asked, platform=platform.platform_id)
    return stop(
        "Nothing was linked",
        "All that this platform reports is sensitive, and you ticked none of it. Nothing was linked and nothing is read.",
        HOME,
        status=200,
    )


def _guardian(hub: Hub, current: Visit, platform: Platform) -> Grant | type[GuardianNeeded] | None:
    """Return a guardian's yes, GuardianNeeded where it is missing, or None for a person who decides for themself."""
    now = hub.clock()
    with reading(hub.engine) as session:
        if not is_child(session, subject_id=_person(current), now=now):
            return None
        given = find_given(session, subject_id=_person(current), platform=platform.platform_id, now=now)
    return given or GuardianNeeded


def _person(current: Visit) -> int:
    if current.subject_id is None:
        raise LookupError("no page beyond the sign-in is reached without a person")
    return current.subject_id


def _overview(hub: Hub, current: Visit, subject_id: int, problem: str | None) -> Response:
    with reading(hub.engine) as session:
        cards = load_cards(session, subject_id, load_participants(session))
    return page("links.html", signed_in=True, csrf=current.info.csrf, cards=cards, problem=problem)


def _policy(platform_origin: str) -> str:
    return (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action 'self' {platform_origin}"
    )


def _for_the_guardian() -> Response:
    return stop(
        "Your guardian decides",
        "You are under 14, so your guardian has to allow this first. They find it under “People in my care” after "
        "signing in. Nothing was linked.",
        HOME,
        status=403,
    )


def _refused() -> Response:
    return stop(
        "Not linked",
        "The platform's answer did not fit. Nothing was linked; you can start again.",
        HOME,
        status=400,
    )


def _away(platform: Platform, failure: Exception) -> Response:
    """Tell the person to try later, and the operator why: none of these texts holds anything of the person's."""
    log.warning("platform_unusable", platform=platform.platform_id, failure=type(failure).__name__, reason=str(failure))
    return stop("Not linked", "The platform does not answer as it should. Try again in some minutes.", HOME, status=502)
