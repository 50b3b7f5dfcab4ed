"""The page where a person proves anew that it is them (step-up). I/O: HTTP, the database.

    a page needs a recent proof -> /stepup?next=... -> password or passkey -> back to the page

Whoever raises `consent.stepup.StepUpNeeded` in a route sends the person here. A proof gives the session another token,
so that one who had the old token is left behind; it does not prolong the session.
"""

from fastapi import APIRouter, Request, Response

from consent.passkeys import Ceremony, Door, Owner, PasskeyRefusal, finish_proving, load_passkeys
from consent.people import load_person
from consent.sessions import Proof, ProofMethod, renew_session
from consent.signin import SignIn, SignInRefusal, finish_passkey_try, finish_sign_in
from consent.stepup import StepUpNeeded
from hub.context import Hub
from hub.db import reading, writing
from hub.portal import waiting
from hub.portal.browser import WITH_SCRIPT, Visit, go, keep_cookie, page, passkeys_of
from hub.portal.forms import Form, person_of, person_of_form, take_form, visit_of_form
from hub.portal.passkeys import BLOCKED, NOT_HERE, OWN_PAGE, options_answer, tell_refusal
from hub.portal.proving import challenge, count_passkey_try, try_password
from hub.portal.returning import HOME, safe_return, with_return

WRONG = "密码不正确。 That password does not fit."


def ask_for_proof(back: str) -> Response:
    """Send the person to prove who they are, and afterwards back to one of the hub's own pages."""
    return go(with_return("/stepup", back))


def tell_step_up(request: Request, error: Exception) -> Response:
    """Answer StepUpNeeded; a form cannot be sent again by a redirect, so without `back` it ends at the account."""
    assert isinstance(error, StepUpNeeded)  # noqa: S101 - registered for nothing else
    if error.back is not None:
        return ask_for_proof(error.back)
    if request.method != "GET":
        return ask_for_proof(HOME)
    query = f"?{request.url.query}" if request.url.query else ""
    return ask_for_proof(f"{request.url.path}{query}")


def stepup_router(hub: Hub) -> APIRouter:
    """Build the router."""
    router = APIRouter(include_in_schema=False)

    @router.get("/stepup")
    def stepup_page(request: Request) -> Response:
        back = safe_return(request.query_params.get("next"))
        found = person_of(hub, request, back=back)
        return found if isinstance(found, Response) else _page(hub, *found, None, 200, back)

    take_form(router, hub, "/stepup", _prove_by_password)
    take_form(router, hub, "/stepup/passkey/options", _ask_passkey)
    take_form(router, hub, "/stepup/passkey", _prove_by_passkey)
    return router


def _prove_by_password(hub: Hub, request: Request, form: Form) -> Response:
    back = safe_return(form.get("next"))
    found = _own_form(hub, request, form, back)
    if isinstance(found, Response):
        return found
    current, subject_id = found
    with reading(hub.engine) as session:
        person = load_person(session, subject_id)
    name = (person.username if person else None) or ""
    tried = try_password(hub, request, username=name, password=form.get("password", ""))
    if isinstance(tried, SignIn):
        return _page(hub, current, subject_id, BLOCKED, 401, back)
    with writing(hub.engine) as session:
        done = finish_sign_in(session, tried.attempt, tried.checked)
    if done.subject_id != subject_id:
        blocked = done.refusal is SignInRefusal.BLOCKED
        return _page(hub, current, subject_id, BLOCKED if blocked else WRONG, 401, back)
    return _proved(hub, current, ProofMethod.PASSWORD, back)


def _ask_passkey(hub: Hub, request: Request, form: Form) -> Response:
    current, rp = visit_of_form(hub, request, form), passkeys_of(hub)
    if current is None or current.subject_id is None or rp is None:
        return options_answer(None)
    door = Door(rp=rp, session_hash=current.info.token_hash, ceremony=Ceremony.STEP_UP)
    return challenge(hub, door, owner=Owner(subject_id=current.subject_id))


def _prove_by_passkey(hub: Hub, request: Request, form: Form) -> Response:
    back = safe_return(form.get("next"))
    found, rp = _own_form(hub, request, form, back), passkeys_of(hub)
    if isinstance(found, Response):
        return found
    current, subject_id = found
    if rp is None:
        return _page(hub, current, subject_id, NOT_HERE, 400, back)
    now = hub.clock()
    source = count_passkey_try(hub, request, now=now)
    if source is None:
        return _page(hub, current, subject_id, BLOCKED, 401, back)
    door = Door(rp=rp, session_hash=current.info.token_hash, ceremony=Ceremony.STEP_UP)
    with writing(hub.engine) as session:
        owner, answer = Owner(subject_id=subject_id), form.get("credential", "")
        proved = finish_proving(session, door, owner=owner, answer=answer, now=now)
        if not isinstance(proved, PasskeyRefusal):
            finish_passkey_try(session, hub.ring, source=source)
    if isinstance(proved, PasskeyRefusal):
        return _page(hub, current, subject_id, tell_refusal(proved), 401, back)
    return _proved(hub, current, ProofMethod.PASSKEY, back)


def _proved(hub: Hub, current: Visit, method: ProofMethod, back: str) -> Response:
    now = hub.clock()
    # What waits for a last word of a linking is sealed to the token that ends here; all else goes along.
    state = {name: value for name, value in current.info.state.items() if name != waiting.FIELD}
    with writing(hub.engine) as session:
        renewed = renew_session(session, current.info, now=now, proof=Proof(at=now, method=method), state=state)
    if renewed is None:
        return go(with_return("/signin", back))
    response = go(back)
    keep_cookie(hub, response, renewed[0])
    return response


def _own_form(hub: Hub, request: Request, form: Form, back: str) -> tuple[Visit, int] | Response:
    return person_of_form(
        hub, request, form, back=back,
        refuse=lambda current, subject_id: _page(hub, current, subject_id, OWN_PAGE, 403, back),
    )  # fmt: skip


def _page(hub: Hub, current: Visit, subject_id: int, problem: str | None, status: int, back: str) -> Response:
    with reading(hub.engine) as session:
        person = load_person(session, subject_id)
        has_password = person is not None and person.password_hash is not None
        has_passkeys = bool(load_passkeys(session, Owner(subject_id=subject_id)))
        name = (person.username if person else None) or ""
    return page(
        "stepup.html", status=status, headers=WITH_SCRIPT, signed_in=True, csrf=current.info.csrf, problem=problem,
        next=back, name=name, password=has_password, passkeys=has_passkeys and passkeys_of(hub) is not None,
    )  # fmt: skip
