"""A person's passkeys and open sessions. I/O: HTTP, the database.

Adding and removing a passkey needs a recent proof: with it, whoever found an unlocked browser could stay for good, or
shut the person out.
"""

from datetime import datetime

from fastapi import APIRouter, Request, Response

from consent.passkeys import (
    Ceremony,
    Door,
    Owner,
    PasskeyRefusal,
    begin_adding,
    finish_adding,
    load_passkeys,
    remove_passkey,
)
from consent.people import load_person
from consent.sessions import end_all_sessions, end_one_session, load_sessions
from consent.stepup import StepUpNeeded, require_recent_proof
from hub.context import Hub
from hub.db import reading, writing
from hub.portal.account import SHANGHAI
from hub.portal.browser import WITH_SCRIPT, Visit, drop_cookie, go, page, passkeys_of
from hub.portal.forms import Form, person_of, person_of_form, take_form
from hub.portal.passkeys import NOT_HERE, OWN_PAGE, options_answer, tell_refusal

HERE = "/security"
LAST_WAY_IN = "这是您唯一的登录方式，不能移除。 This passkey is your only way in, so it stays. Add another one first."
GONE = "没有这个通行密钥。 There is no such passkey any more."


def security_router(hub: Hub) -> APIRouter:
    """Build the router."""
    router = APIRouter(include_in_schema=False)

    @router.get(HERE)
    def overview(request: Request) -> Response:
        found = person_of(hub, request, back=HERE)
        return found if isinstance(found, Response) else _overview(hub, *found, None, 200)

    take_form(router, hub, f"{HERE}/passkeys/options", _ask_new)
    take_form(router, hub, f"{HERE}/passkeys", _add)
    take_form(router, hub, f"{HERE}/passkeys/remove", _remove)
    take_form(router, hub, f"{HERE}/sessions/end", _end_sessions)
    return router


def _ask_new(hub: Hub, request: Request, form: Form) -> Response:
    found, rp = _own_form(hub, request, form), passkeys_of(hub)
    if isinstance(found, Response) or rp is None:
        return options_answer(None)
    current, subject_id = found
    require_recent_proof(current.info, now=hub.clock(), back=HERE)
    with writing(hub.engine) as session:
        person = load_person(session, subject_id)
        if person is None:
            return options_answer(None)
        name = person.username or ""
        asked = begin_adding(
            session, _door(hub, current), Owner(subject_id=subject_id),
            user_name=name, display_name=person.display_name or name, now=hub.clock(),
        )  # fmt: skip
    return options_answer(asked)


def _add(hub: Hub, request: Request, form: Form) -> Response:
    found = _own_form(hub, request, form)
    if isinstance(found, Response):
        return found
    current, subject_id = found
    require_recent_proof(current.info, now=hub.clock(), back=HERE)
    if passkeys_of(hub) is None:
        return _overview(hub, current, subject_id, NOT_HERE, 400)
    with writing(hub.engine) as session:
        added = finish_adding(
            session, _door(hub, current), Owner(subject_id=subject_id),
            answer=form.get("credential", ""), name=form.get("name", ""), now=hub.clock(),
        )  # fmt: skip
    if isinstance(added, PasskeyRefusal):
        return _overview(hub, current, subject_id, tell_refusal(added), 400)
    return go(HERE)


def _remove(hub: Hub, request: Request, form: Form) -> Response:
    found = _own_form(hub, request, form)
    if isinstance(found, Response):
        return found
    current, subject_id = found
    require_recent_proof(current.info, now=hub.clock(), back=HERE)
    owner = Owner(subject_id=subject_id)
    with writing(hub.engine) as session:
        person = load_person(session, subject_id)
        alone = len(load_passkeys(session, owner)) <= 1 and (person is None or person.password_hash is None)
        removed = not alone and remove_passkey(session, owner, form.get("passkey", ""))
    if not removed:
        return _overview(hub, current, subject_id, LAST_WAY_IN if alone else GONE, 400)
    return go(HERE)


def _end_sessions(hub: Hub, request: Request, form: Form) -> Response:
    found = _own_form(hub, request, form)
    if isinstance(found, Response):
        return found
    current, subject_id = found
    which = form.get("session", "")
    with writing(hub.engine) as session:
        if which == "all":
            end_all_sessions(session, subject_id)
        elif which == "others":
            end_all_sessions(session, subject_id, but=current.info)
        else:
            end_one_session(session, subject_id, which)
    if which not in ("all", current.info.token_hash):
        return go(HERE)
    response = go("/signin")
    drop_cookie(hub, response)
    return response


def _own_form(hub: Hub, request: Request, form: Form) -> tuple[Visit, int] | Response:
    return person_of_form(
        hub, request, form, back=HERE,
        refuse=lambda current, subject_id: _overview(hub, current, subject_id, OWN_PAGE, 403),
    )  # fmt: skip


def _door(hub: Hub, current: Visit) -> Door:
    rp = passkeys_of(hub)
    assert rp is not None  # noqa: S101 - both callers have looked
    return Door(
        rp=rp, session_hash=current.info.token_hash, ceremony=Ceremony.ADD, bound_to=str(current.subject_id)
    )  # fmt: skip


def _overview(hub: Hub, current: Visit, subject_id: int, problem: str | None, status: int) -> Response:
    now = hub.clock()
    try:
        proved = bool(require_recent_proof(current.info, now=now))
    except StepUpNeeded:
        proved = False
    with reading(hub.engine) as session:
        keys = [
            {
                "hash": key.credential_hash, "name": key.name, "created": _when(key.created_at),
                "used": _when(key.used_at), "doubted": _when(key.doubted_at),
            }
            for key in load_passkeys(session, Owner(subject_id=subject_id))
        ]  # fmt: skip
        sessions = [
            {
                "hash": info.token_hash, "here": info.token_hash == current.info.token_hash,
                "created": _when(info.created_at), "used": _when(info.used_at),
                "method": str(info.proof.method) if info.proof else "",
            }
            for info in load_sessions(session, subject_id, now=now, idle=hub.settings.session_idle)
        ]  # fmt: skip
    return page(
        "security.html", status=status, headers=WITH_SCRIPT, signed_in=True, csrf=current.info.csrf, problem=problem,
        keys=keys, sessions=sessions, proved=proved, passkeys=passkeys_of(hub) is not None,
    )  # fmt: skip


def _when(at: datetime | None) -> str:
    return f"{at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}" if at else ""
