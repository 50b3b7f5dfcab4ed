"""Staff enrol and sign in by passkey, and by nothing else. I/O: HTTP, the database.

    tanlian staff add -> a link, shown once -> /staff/enrol: a passkey is registered, the link is worth nothing any more
                      -> /staff/signin: the passkey signs in

Opening the link changes nothing, because programs that preview addresses open it, too. The challenge of the registration
is bound to the link: an answer to one link's challenge cannot be handed in under another link.
"""

from fastapi import APIRouter, Request, Response

from consent.ceremonies import RelyingParty
from consent.keyring import token_hash
from consent.passkeys import (
    Ceremony,
    Door,
    Owner,
    PasskeyRefusal,
    begin_adding,
    finish_adding,
    finish_proving,
)
from consent.sessions import CsrfRefused
from consent.signin import finish_passkey_try
from hub.context import Hub
from hub.db import reading, writing
from hub.portal.browser import WITH_SCRIPT, go, page, passkeys_of, require_own
from hub.portal.forms import Form, take_form
from hub.portal.passkeys import BLOCKED, NOT_HERE, OWN_PAGE, options_answer, tell_refusal
from hub.portal.proving import challenge, count_passkey_try
from hub.staff.accounts import load_enrolled, load_member, replace_passkeys, use_enrolment
from hub.staff.actions import append_action
from hub.staff.door import SIGNIN, begin_staff_visit, keep_staff_cookie, not_from_here, staff_visit, stop
from hub.staff.rights import Member, Right, What
from hub.staff.sessions import StaffVisit, end_staff_session, start_staff_session

ENROL = "/staff/enrol"
STALE = "这个页面打开得太久了，请重试。 This page was open for too long. Please try again."


class _LinkGone(Exception):
    """The link was used, replaced or grew old while its passkey was made; what was registered is rolled back."""


def staff_signin_router(hub: Hub) -> APIRouter:
    """Build the router."""
    router = APIRouter(include_in_schema=False)

    @router.get(ENROL)
    def enrolment(request: Request) -> Response:
        return _show_enrolment(hub, request, request.query_params.get("token", ""))

    @router.get(SIGNIN)
    def signin_page(request: Request) -> Response:
        visit = staff_visit(hub, request) or begin_staff_visit(hub)
        return _signin(hub, visit, None, 200)

    take_form(router, hub, f"{ENROL}/options", _ask_new)
    take_form(router, hub, ENROL, _enrol)
    take_form(router, hub, f"{SIGNIN}/options", _ask_passkey)
    take_form(router, hub, SIGNIN, _sign_in)
    take_form(router, hub, "/staff/signout", _sign_out)
    return router


def _show_enrolment(hub: Hub, request: Request, token: str) -> Response:
    with reading(hub.engine) as session:
        member = load_enrolled(session, token, now=hub.clock())
    if member is None:
        return _link_gone()
    visit = staff_visit(hub, request) or begin_staff_visit(hub)
    if visit.member is not None:
        return _somebody_else()
    return _enrolment(hub, visit, member, token, None, 200)


def _ask_new(hub: Hub, request: Request, form: Form) -> Response:
    visit, rp, token = staff_visit(hub, request), passkeys_of(hub), form.get("token", "")
    if visit is None or visit.member is not None or rp is None or not _is_own(hub, request, visit, form):
        return options_answer(None)
    now = hub.clock()
    with writing(hub.engine) as session:
        member = load_enrolled(session, token, now=now)
        if member is None:
            return options_answer(None)
        owner = Owner(staff_id=member.staff_id)
        return options_answer(
            begin_adding(
                session, _enrolling(rp, visit, token), owner,
                user_name=f"{member.name} (staff)", display_name=member.name, now=now, replacing=True,
            )
        )  # fmt: skip


def _enrol(hub: Hub, request: Request, form: Form) -> Response:
    visit, rp, token = staff_visit(hub, request), passkeys_of(hub), form.get("token", "")
    if visit is None:
        return _show_enrolment(hub, request, token)
    if not _is_own(hub, request, visit, form):
        return not_from_here()
    if visit.member is not None:
        return _somebody_else()
    now = hub.clock()
    with reading(hub.engine) as session:
        member = load_enrolled(session, token, now=now)
    if member is None:
        return _link_gone()
    if rp is None:
        return _enrolment(hub, visit, member, token, NOT_HERE, 400)
    try:
        refusal = _register(hub, _enrolling(rp, visit, token), member, token, form)
    except _LinkGone:
        return _link_gone()
    if refusal is not None:
        return _enrolment(hub, visit, member, token, tell_refusal(refusal), 400)
    return go(SIGNIN)


def _register(hub: Hub, door: Door, member: Member, token: str, form: Form) -> PasskeyRefusal | None:
    """Register the passkey and use the link up, both or neither. A refused answer leaves the link as it was."""
    now = hub.clock()
    with writing(hub.engine) as session:
        added = finish_adding(
            session, door, Owner(staff_id=member.staff_id),
            answer=form.get("credential", ""), name=form.get("name", ""), now=now,
        )  # fmt: skip
        if isinstance(added, PasskeyRefusal):
            return added
        if use_enrolment(session, token, now=now) != member:
            raise _LinkGone
        replace_passkeys(session, member, added)
        append_action(session, member, right=Right.SEE_OWN, what=What.ENROLLED, now=now)
    return None


def _ask_passkey(hub: Hub, request: Request, form: Form) -> Response:
    visit, rp = staff_visit(hub, request), passkeys_of(hub)
    if visit is None or rp is None or not _is_own(hub, request, visit, form):
        return options_answer(None)
    return challenge(hub, _signing_in(rp, visit), owner=None)


def _sign_in(hub: Hub, request: Request, form: Form) -> Response:
    visit, rp = staff_visit(hub, request), passkeys_of(hub)
    if visit is None:
        return _signin(hub, begin_staff_visit(hub), STALE, 400)
    if not _is_own(hub, request, visit, form):
        return _signin(hub, visit, OWN_PAGE, 403)
    if rp is None:
        return _signin(hub, visit, NOT_HERE, 400)
    now = hub.clock()
    source = count_passkey_try(hub, request, now=now)
    if source is None:
        return _signin(hub, visit, BLOCKED, 401)
    with writing(hub.engine) as session:
        answer = form.get("credential", "")
        found = finish_proving(session, _signing_in(rp, visit), owner=None, answer=answer, now=now)
        if isinstance(found, PasskeyRefusal):
            return _signin(hub, visit, tell_refusal(found), 401)
        member = load_member(session, found.staff_id or "")
        if member is None:
            return _signin(hub, visit, tell_refusal(PasskeyRefusal.UNKNOWN), 401)
        finish_passkey_try(session, hub.ring, source=source)
        signed_in = start_staff_session(session, member, now=now, instead_of=visit.token)
        append_action(session, member, right=Right.SEE_OWN, what=What.SIGNED_IN, now=now)
    response = go("/staff")
    keep_staff_cookie(hub, response, signed_in)
    return response


def _sign_out(hub: Hub, request: Request, form: Form) -> Response:
    visit = staff_visit(hub, request)
    if visit is None:
        return go(SIGNIN)
    if not _is_own(hub, request, visit, form):
        return not_from_here()
    with writing(hub.engine) as session:
        end_staff_session(session, visit.token)
        if visit.member is not None:
            append_action(session, visit.member, right=Right.SEE_OWN, what=What.SIGNED_OUT, now=hub.clock())
    return go(SIGNIN)


def _is_own(hub: Hub, request: Request, visit: StaffVisit, form: Form) -> bool:
    try:
        require_own(hub, request, visit.csrf, form)
    except CsrfRefused:
        return False
    return True


def _enrolling(rp: RelyingParty, visit: StaffVisit, token: str) -> Door:
    return Door(rp=rp, session_hash=visit.token_hash, ceremony=Ceremony.ENROL, bound_to=token_hash(token))


def _signing_in(rp: RelyingParty, visit: StaffVisit) -> Door:
    return Door(rp=rp, session_hash=visit.token_hash, ceremony=Ceremony.STAFF_SIGN_IN)


def _enrolment(hub: Hub, visit: StaffVisit, member: Member, token: str, problem: str | None, status: int) -> Response:
    response = page(
        "staff_enrol.html", status=status, headers=WITH_SCRIPT, signed_in=False, csrf=visit.csrf, problem=problem,
        name=member.name, role=str(member.role), token=token, passkeys=passkeys_of(hub) is not None,
    )  # fmt: skip
    keep_staff_cookie(hub, response, visit)
    return response


def _signin(hub: Hub, visit: StaffVisit, problem: str | None, status: int) -> Response:
    response = page(
        "staff_signin.html", status=status, headers=WITH_SCRIPT, signed_in=False, csrf=visit.csrf, problem=problem,
        passkeys=passkeys_of(hub) is not None,
    )  # fmt: skip
    keep_staff_cookie(hub, response, visit)
    return response


def _link_gone() -> Response:
    return stop(
        "链接已失效 This link no longer works",
        "它已被使用、已过期或已被替换，请向运营方索取新链接。 "
        "It was used, is too old, or was replaced. Ask the operator for a new one.",
        status=410,
        back=SIGNIN,
    )


def _somebody_else() -> Response:
    return stop(
        "请先退出 Sign out first",
        "这个浏览器里已有工作人员登录。 A member of staff is signed in here. Sign out, then open the link again.",
        status=409,
    )
