"""Linking a platform account, step by step, and withdrawing it. I/O: HTTP, network (the platform), the database.

    /links -> POST /links/P -> consent page -> POST decide -> the platform -> GET /links/callback/P
           -> "is this right?" -> POST confirm -> grant activated and link opened in one transaction

The consent page is ours and comes first; the page after the callback names both accounts, so that a person who was lured
here with somebody else's account sees it before anything is linked (session fixation across platforms).
"""

from collections.abc import Callable, Sequence
from datetime import datetime

from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from connectors.base import ConnectorError, DeviceLink, Transport
from consent.changes import Change
from consent.grants import GrantTerms, IllegalTransition
from consent.links import AlreadyLinked, load_links
from consent.platform_client import LinkRefused, complete_link, exchange_code, start_link, take_attempt
from consent.platforms import PlatformRefused, discover
from consent.sessions import CsrfRefused
from consent.token_endpoint import TokenEndpointBusy
from consent.withdraw import withdraw_grant
from hub.changes import log_consent_change
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import NotFound
from hub.participants import Platform, Status, load_participants, open_platform
from hub.portal.browser import Visit, go, page, read_form, require_own_form, visit
from hub.portal.cards import load_cards, load_name
from hub.portal.terms import draft_terms
from hub.portal.waiting import Waiting, forget_waiting, keep_waiting, load_waiting
from hub.sync.cursors import ensure_state
from hub.sync.outward import platform_config, platform_http
from standards.behaviours import load_behaviours

Handler = Callable[[Hub, Visit, Platform, dict[str, str]], Response]


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
            return _stop("Sign in first", "Sign in here, then start linking again.", "/signin", status=401)
        pairs = request.query_params.multi_items()
        answer = dict(pairs) if len(dict(pairs)) == len(pairs) else {}
        return _callback(hub, current, platform_id, answer)

    def post(path: str, handler: Handler) -> None:
        async def endpoint(request: Request, platform_id: str) -> Response:
            form = await read_form(request)
            return await run_in_threadpool(_checked, hub, request, platform_id, form, handler)

        router.add_api_route(path, endpoint, methods=["POST"])

    post("/links/callback/{platform_id}", _device_code)
    post("/links/{platform_id}", _ask)
    post("/links/{platform_id}/decide", _decide)
    post("/links/{platform_id}/confirm", _confirm)
    post("/links/{platform_id}/revoke", _revoke)
    return router


def _checked(hub: Hub, request: Request, platform_id: str, form: dict[str, str], handler: Handler) -> Response:
    current = visit(hub, request)
    if current is None or current.subject_id is None:
        return go("/signin")
    try:
        require_own_form(hub, request, current, form)
        with reading(hub.engine) as session:
            platform = open_platform(session, hub.ring, platform_id)
    except CsrfRefused:
        return _stop("Not sent", "Please send the form from this hub's own page.", "/links", status=403)
    except NotFound:
        return _unknown()
    # Withdrawing is never refused: a suspension is the platform's trouble and not the person's.
    if platform.status is not Status.ACTIVE and handler is not _revoke:
        return _suspended()
    return handler(hub, current, platform, form)


def _ask(hub: Hub, current: Visit, platform: Platform, _form: dict[str, str]) -> Response:
    terms = _terms(hub, platform)
    names = load_behaviours()
    origin = platform.document.oauth.issuer if platform.document.oauth else ""
    return page(
        "consent.html",
        # The form's answer redirects to the platform, so the policy must name it.
        headers={"content-security-policy": _policy(origin)},
        signed_in=True,
        csrf=current.info.csrf,
        platform=platform.platform_id,
        name_zh=platform.document.name_zh,
        name_en=platform.document.name_en,
        behaviours=[f"{names[code].zh} {names[code].en}" for code in sorted(terms.behaviours)],
        valid_from=f"{terms.valid_from:%Y-%m-%d}",
        valid_until=f"{terms.valid_until:%Y-%m-%d}",
    )


def _decide(hub: Hub, current: Visit, platform: Platform, form: dict[str, str]) -> Response:
    if form.get("decision") != "approve":
        return go("/links")
    if platform.document.oauth is None:
        return page(
            "device.html", signed_in=True, csrf=current.info.csrf, platform=platform.platform_id,
            name_zh=platform.document.name_zh, name_en=platform.document.name_en,
        )  # fmt: skip
    config = platform_config(hub, platform)
    now = hub.clock()
    try:
        with platform_http(platform) as http:
            metadata = discover(http, config)
    except (PlatformRefused, ConnectorError):
        return _away()
    with writing(hub.engine) as session:
        address = start_link(
            session, hub.ring, config=config, metadata=metadata, web_session=current.info,
            terms=_terms(hub, platform), now=now,
        )  # fmt: skip
    return go(address)


def _callback(hub: Hub, current: Visit, platform_id: str, answer: dict[str, str]) -> Response:
    now = hub.clock()
    try:
        with reading(hub.engine) as session:
            platform = open_platform(session, hub.ring, platform_id)
    except NotFound:
        return _unknown()
    if platform.status is not Status.ACTIVE:
        return _suspended()
    if platform.document.oauth is None:
        return _refused()
    config = platform_config(hub, platform)
    with writing(hub.engine) as session:
        attempt = take_attempt(session, hub.ring, config=config, web_session=current.info, answer=answer, now=now)
    if isinstance(attempt, LinkRefused):
        return _refused()
    try:
        with platform_http(platform) as http:
            linked = exchange_code(http, hub.ring, config=config, attempt=attempt, now=now)
    except LinkRefused:
        return _refused()
    except (PlatformRefused, TokenEndpointBusy, ConnectorError):
        return _away()
    return _is_this_right(hub, current, platform, Waiting(attempt=attempt, linked=linked))


def _device_code(hub: Hub, current: Visit, platform: Platform, form: dict[str, str]) -> Response:
    connector = platform.connector
    if platform.document.oauth is not None or not isinstance(connector, DeviceLink) or current.subject_id is None:
        return _refused()
    try:
        account = connector.fetch_account(form.get("code", ""))
    except ConnectorError:
        return _away()
    if account is None:
        return _refused()
    waiting = Waiting.of_device(
        subject_id=current.subject_id, platform=platform.platform_id, account=account,
        terms=_terms(hub, platform),
    )  # fmt: skip
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
                link, _grant, changes = complete_link(
                    session, hub.ring, attempt=waiting.attempt, linked=waiting.linked, now=now
                )
                _log(session, changes, now)
                if platform.connector.describe().transport is Transport.PULL:
                    ensure_state(session, platform.platform_id, link.link_id, now)
    except AlreadyLinked:
        return _stop(
            "Already linked", "That platform account belongs to another Tanlian account.", "/links", status=409
        )
    return go("/links")


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
            _log(session, changes, now)
    return go("/links")


def _terms(hub: Hub, platform: Platform) -> GrantTerms:
    return draft_terms(platform, hub.clock(), look_back=hub.settings.consent_look_back)


def _log(session: Session, changes: Sequence[Change], now: datetime) -> None:
    for change in changes:
        log_consent_change(session, change, now)


def _overview(hub: Hub, current: Visit, subject_id: int, problem: str | None) -> Response:
    with reading(hub.engine) as session:
        cards = load_cards(session, subject_id, load_participants(session))
    return page("links.html", signed_in=True, csrf=current.info.csrf, cards=cards, problem=problem)


def _policy(platform_origin: str) -> str:
    return (
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action 'self' {platform_origin}"
    )


def _unknown() -> Response:
    return _stop("No such platform", "This platform has not joined the hub.", "/links", status=404)


def _suspended() -> Response:
    return _stop("Not now", "This platform is suspended. Try again later.", "/links", status=409)


def _refused() -> Response:
    return _stop(
        "Not linked",
        "The platform's answer did not fit. Nothing was linked; you can start again.",
        "/links",
        status=400,
    )


def _away() -> Response:
    return _stop(
        "Not linked", "The platform does not answer as it should. Try again in some minutes.", "/links", status=502
    )


def _stop(heading: str, message: str, back: str, *, status: int) -> Response:
    return page(
        "message.html", status=status, signed_in=False, heading=heading, message=message, back=back, back_text="Back"
    )
