"""Signing in, by password or by passkey, and signing out. I/O: HTTP, the database.

The form with a name and a password works without JavaScript. A passkey needs the browser's own script interface: the
button for it appears where there is one (static/passkeys.js), asks for a challenge and sends the answer as a plain form.
"""

from fastapi import APIRouter, Request, Response

from consent.passkeys import Ceremony, Door, PasskeyRefusal, finish_proving
from consent.people import load_person
from consent.sessions import CsrfRefused, Proof, ProofMethod, end_session, rotate_session
from consent.signin import SignIn, SignInRefusal, finish_passkey_try, finish_sign_in
from hub.context import Hub
from hub.db import writing
from hub.portal.browser import (
    WITH_SCRIPT,
    Visit,
    begin_visit,
    drop_cookie,
    go,
    keep_cookie,
    page,
    passkeys_of,
    require_own_form,
    visit,
)
from hub.portal.forms import Form, take_form, visit_of_form
from hub.portal.passkeys import BLOCKED, NOT_HERE, OWN_PAGE, options_answer, tell_refusal
from hub.portal.proving import challenge, count_passkey_try, try_password
from hub.portal.returning import safe_return

STALE = "这个页面打开得太久了，请重新登录。 This page was open for too long. Please sign in again."
PROBLEMS = {
    SignInRefusal.WRONG: (
        "用户名或密码不正确，请核对后重试。 That name and password do not fit. Check both and try again."
    ),
    SignInRefusal.BLOCKED: BLOCKED,
}


def signin_router(hub: Hub) -> APIRouter:
    """Build the router."""
    router = APIRouter(include_in_schema=False)

    @router.get("/signin")
    def signin_page(request: Request) -> Response:
        current = visit(hub, request) or begin_visit(hub)
        back = safe_return(request.query_params.get("next"))
        return _with_cookie(hub, current, _signin(hub, current, None, 200, back))

    take_form(router, hub, "/signin", _sign_in)
    take_form(router, hub, "/signin/passkey/options", _ask_passkey)
    take_form(router, hub, "/signin/passkey", _sign_in_by_passkey)
    take_form(router, hub, "/signout", _sign_out)
    return router


def _sign_in(hub: Hub, request: Request, form: Form) -> Response:
    back = safe_return(form.get("next"))
    current = _own_form(hub, request, form, back)
    if isinstance(current, Response):
        return current
    tried = try_password(hub, request, username=form.get("username", ""), password=form.get("password", ""))
    if isinstance(tried, SignIn):
        return _signin(hub, current, PROBLEMS[tried.refusal or SignInRefusal.WRONG], 401, back)
    now = hub.clock()
    with writing(hub.engine) as session:
        done = finish_sign_in(session, tried.attempt, tried.checked)
        if done.subject_id is not None:
            proof = Proof(at=now, method=ProofMethod.PASSWORD)
            token, _info = rotate_session(session, current.token, subject_id=done.subject_id, now=now, proof=proof)
    if done.subject_id is None:
        return _signin(hub, current, PROBLEMS[done.refusal or SignInRefusal.WRONG], 401, back)
    response = go(back)
    keep_cookie(hub, response, token)
    return response


def _ask_passkey(hub: Hub, request: Request, form: Form) -> Response:
    current, rp = visit_of_form(hub, request, form), passkeys_of(hub)
    if current is None or rp is None:
        return options_answer(None)
    door = Door(rp=rp, session_hash=current.info.token_hash, ceremony=Ceremony.SIGN_IN)
    return challenge(hub, door, owner=None)


def _sign_in_by_passkey(hub: Hub, request: Request, form: Form) -> Response:
    back = safe_return(form.get("next"))
    current, rp = _own_form(hub, request, form, back), passkeys_of(hub)
    if isinstance(current, Response):
        return current
    if rp is None:
        return _signin(hub, current, NOT_HERE, 400, back)
    now = hub.clock()
    source = count_passkey_try(hub, request, now=now)
    if source is None:
        return _signin(hub, current, BLOCKED, 401, back)
    door = Door(rp=rp, session_hash=current.info.token_hash, ceremony=Ceremony.SIGN_IN)
    with writing(hub.engine) as session:
        found = finish_proving(session, door, owner=None, answer=form.get("credential", ""), now=now)
        if isinstance(found, PasskeyRefusal) or found.subject_id is None:
            refusal = found if isinstance(found, PasskeyRefusal) else PasskeyRefusal.UNKNOWN
            return _signin(hub, current, tell_refusal(refusal), 401, back)
        if load_person(session, found.subject_id) is None:
            return _signin(hub, current, tell_refusal(PasskeyRefusal.UNKNOWN), 401, back)
        finish_passkey_try(session, hub.ring, source=source)
        proof = Proof(at=now, method=ProofMethod.PASSKEY)
        token, _info = rotate_session(session, current.token, subject_id=found.subject_id, now=now, proof=proof)
    response = go(back)
    keep_cookie(hub, response, token)
    return response


def _sign_out(hub: Hub, request: Request, form: Form) -> Response:
    current = visit(hub, request)
    if current is None:
        return go("/signin")
    try:
        require_own_form(hub, request, current, form)
    except CsrfRefused:
        return go("/")
    with writing(hub.engine) as session:
        end_session(session, current.token)
    response = go("/signin")
    drop_cookie(hub, response)
    return response


def _own_form(hub: Hub, request: Request, form: Form, back: str) -> Visit | Response:
    current = visit(hub, request)
    if current is None:
        fresh = begin_visit(hub)
        return _with_cookie(hub, fresh, _signin(hub, fresh, STALE, 400, back))
    try:
        require_own_form(hub, request, current, form)
    except CsrfRefused:
        return _signin(hub, current, OWN_PAGE, 403, back)
    return current


def _signin(hub: Hub, current: Visit, problem: str | None, status: int, back: str) -> Response:
    return page(
        "signin.html", status=status, headers=WITH_SCRIPT, signed_in=False, csrf=current.info.csrf, problem=problem,
        next=back, passkeys=passkeys_of(hub) is not None,
    )  # fmt: skip


def _with_cookie(hub: Hub, current: Visit, response: Response) -> Response:
    keep_cookie(hub, response, current.token)
    return response
