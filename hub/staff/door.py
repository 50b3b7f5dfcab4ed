"""Who stands at the door of staff, and what they may do: checked and written down in one place. I/O: HTTP, the database.

Every page of staff is built in two steps:

    permit = require_staff(hub, request, Right.SEE_OPERATION)
    with acting(hub, permit, What.OPERATION_SEEN) as session:
        figures = load_figures(session)

`require_staff` decides; it raises StaffRefused, which the application answers, and writes a refusal of somebody who is
signed in into the record. `acting` gives the transaction and writes the act into it: what a page shows is read in the
transaction that says it was shown, so nothing is seen without a trace.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from fastapi import Request, Response
from sqlalchemy.orm import Session

from hub.context import Hub
from hub.db import reading, writing
from hub.portal.browser import page
from hub.staff.access import Access, append_access, find_noted_refusal
from hub.staff.rights import NO_SCOPE, Refusal, Right, Scope, What
from hub.staff.sessions import StaffVisit, load_staff_session, start_staff_session, touch_staff_session

SIGNIN = "/staff/signin"


class StaffRefused(Exception):
    """Whoever asks may not do this; nothing was shown or changed."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(str(refusal))
        self.refusal = refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit(Access):
    """Leave to do one thing at a page, just checked."""

    visit: StaffVisit


def require_staff(hub: Hub, request: Request, right: Right, scope: Scope = NO_SCOPE) -> Permit:
    """Return leave to do one thing, or raise StaffRefused.

    Args:
        scope: the platform, region and case that the thing is about; a right that belongs to a scope opens nothing
            without one.
    """
    now = hub.clock()
    visit = staff_visit(hub, request)
    if visit is None or visit.member is None:
        raise StaffRefused(Refusal.NOT_SIGNED_IN)
    refusal = find_noted_refusal(hub, visit.member, right, scope, now=now)
    if refusal is not None:
        raise StaffRefused(refusal)
    return Permit(visit=visit, member=visit.member, right=right, scope=scope, at=now)


@contextmanager
def acting(
    hub: Hub,
    permit: Permit,
    what: What,
    *,
    ids: Mapping[str, str] | None = None,
    about: Mapping[str, str] | None = None,
) -> Iterator[Session]:
    """Give the transaction of one act of staff; the act is in the record if and only if it commits."""
    with writing(hub.engine) as session:
        if not append_access(session, permit, what, ids=ids, about=about):
            raise StaffRefused(Refusal.NOT_SIGNED_IN)  # disabled since it was checked
        yield session


def staff_cookie(hub: Hub) -> str:
    """Return the name of the staff cookie, which is another one than people have."""
    return "__Host-tanlian-staff" if hub.settings.issuer.startswith("https:") else "tanlian-staff"


def staff_visit(hub: Hub, request: Request) -> StaffVisit | None:
    """Return the session of this request's staff cookie, if it lives."""
    token = request.cookies.get(staff_cookie(hub))
    if not token:
        return None
    now = hub.clock()
    with reading(hub.engine) as session:
        visit = load_staff_session(session, token, now=now)
    if visit is not None and visit.is_due_for_touch(now):
        with writing(hub.engine) as session:
            touch_staff_session(session, visit, now=now)
    return visit


def begin_staff_visit(hub: Hub) -> StaffVisit:
    """Open a session of nobody, so that the first forms have a CSRF token."""
    with writing(hub.engine) as session:
        return start_staff_session(session, None, now=hub.clock(), instead_of=None)


def keep_staff_cookie(hub: Hub, response: Response, visit: StaffVisit) -> None:
    """Give the browser its staff cookie. Nobody comes here from another site, so it is not sent from one."""
    secure = hub.settings.issuer.startswith("https:")
    response.set_cookie(staff_cookie(hub), visit.token, path="/", httponly=True, samesite="strict", secure=secure)


def tell_refused(_request: Request, error: Exception) -> Response:
    """Answer StaffRefused."""
    assert isinstance(error, StaffRefused)  # noqa: S101 - registered for nothing else
    if error.refusal is Refusal.NOT_SIGNED_IN:
        return Response(status_code=303, headers={"location": SIGNIN})
    return stop(
        "无权访问 Not yours to see",
        "您的角色没有这项权限，本次请求已记录。 Your role has no right to this. The request was written down.",
        status=403,
    )


def not_from_here() -> Response:
    """Answer a form that did not come from a page of this session."""
    return stop("未提交 Not sent", "请从本站页面提交表单。 Please send the form from this hub's own page.", status=403)


def stop(heading: str, message: str, *, status: int, back: str = "/staff") -> Response:
    """Say why it does not go on."""
    return page(
        "message.html", status=status, signed_in=False, heading=heading, message=message, back=back,
        back_text="返回 Back",
    )  # fmt: skip
