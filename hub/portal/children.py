"""What a child under 14 meets where people decide on OAuth clients. Renders; I/O: reads and changes the database.

    ask -> waiting -> the guardian answers in /care -> "go on" completes with a code | "back" tells the client

The child's own request lives minutes; what the guardian is asked lives days (consent/guardian_requests.py). So the child
begins again at the client, or loads this page again, and goes on from there by a form of this page: looking changes
nothing here either.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from fastapi import Response
from sqlalchemy.orm import Session

from consent.authorize import Decision, approve, deny, refuse
from consent.changes import Change
from consent.grants import recently_refused
from consent.guardian_requests import (
    Answer,
    Request,
    ask_guardian,
    decision_of,
    drop_requests,
    find_request,
    use_request,
)
from consent.guardians import GuardianNeeded, find_guardian
from consent.notices import Notice
from consent.pushed import Pushed
from hub.context import Hub
from hub.db import reading
from hub.portal.account import SHANGHAI
from hub.portal.browser import Visit, page
from hub.portal.sharing import client_policy, filled_notices

APPROVE, ASK, LEAVE, REFUSE = "approve", "ask", "leave", "refuse"
HOW_TO_GET_ONE = """\
Nobody is your guardian here yet. A parent or another guardian opens an account of their own here, and shows the operator \
of this hub that they may decide for you; the operator enters it. Then begin again where you came from.
您尚未在此登记监护人。请父母或其他监护人在此开立自己的账户,并向本平台运营方证明其监护人身份,由运营方登记后,请您从来处重新开始。"""
WAITS = """\
Your guardian was asked at {asked} and can answer until {until}, signed in to their own account, under “People in my \
care”. Then look again here, or begin again at {client}.
已于 {asked} 请监护人决定。监护人可在 {until} 之前登录自己的账户,在“People in my care”页面答复。\
之后请刷新本页,或从来处重新开始。"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChildsVisit:
    """A child's browser with a request of a client; `hidden` and `action` are what the form needs to come back to it."""

    visit: Visit
    subject_id: int
    pushed: Pushed
    action: str
    hidden: Mapping[str, str]
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """What a child is told, and what they can do about it."""

    heading: str
    sentences: Sequence[str]
    buttons: Sequence[tuple[str, str]]
    status: int = 200
    asks: bool = False
    waits: bool = False


def show_child(hub: Hub, one: ChildsVisit, notice: Notice, *, now: datetime) -> Response:
    """Render the page that says where the request stands."""
    pushed = one.pushed
    with reading(hub.engine) as session:
        request = find_request(session, pushed, subject_id=one.subject_id, now=now)
        has_guardian = find_guardian(session, subject_id=one.subject_id) is not None
        too_soon = _too_soon(session, one, now, hub.settings.ask_again_after)
    words = _words(pushed.client.name, request, has_guardian=has_guardian, too_soon=too_soon)
    return page(
        "guardian.html", status=words.status, headers=client_policy(pushed), signed_in=True,
        csrf=one.visit.info.csrf, action=one.action, hidden=one.hidden, client=pushed.client.name,
        heading=words.heading, sentences=words.sentences, buttons=words.buttons,
        notices=filled_notices(hub, pushed, notice) if words.asks else [], again=one.address if words.waits else None,
    )  # fmt: skip


def answer_child(
    session: Session,
    one: ChildsVisit,
    said: str,
    own: Decision,
    *,
    issuer: str,
    ask_again_after: timedelta,
    now: datetime,
) -> tuple[str, list[Change]]:
    """Do what the child said, and return where the browser goes and what was changed; what is no clear word is a no.

    Args:
        own: the decision as the child's own; only a no of a child counts.

    Raises:
        GuardianNeeded: nothing was allowed or asked: there is no yes of the guardian, or nobody to ask or not yet.
        DecisionRefused, RequestOver: somebody was faster, or the guardian's yes does not stand any more.
    """
    pushed, who = one.pushed, one.subject_id
    request = find_request(session, pushed, subject_id=who, now=now)
    if request is not None and request.answer is Answer.REFUSED:
        use_request(session, request, now=now)
        return deny(session, pushed, issuer=issuer, now=now), []
    if said == APPROVE:
        if request is None or request.answer is not Answer.APPROVED:
            raise GuardianNeeded("the guardian has not allowed this")
        # What is given is what the guardian was shown, not what the same words would come to today.
        shown = replace(pushed, details=request.asked.details, scope=request.asked.scope)
        decision = decision_of(session, request, now=now)
        address, changes = approve(session, shown, decision, issuer=issuer, now=now)
        use_request(session, request, now=now, change=changes[-1])
        return address, changes
    if said == ASK:
        if find_guardian(session, subject_id=who) is None or _too_soon(session, one, now, ask_again_after):
            raise GuardianNeeded("there is nobody to ask, or it is too soon")
        ask_guardian(session, pushed, subject_id=who, now=now)
        return one.address, []
    if said == LEAVE:
        return deny(session, pushed, issuer=issuer, now=now), []
    drop_requests(session, pushed, subject_id=who)
    return refuse(session, pushed, own, issuer=issuer, now=now)


def _too_soon(session: Session, one: ChildsVisit, now: datetime, within: timedelta) -> bool:
    client_id = one.pushed.client.client_id
    return recently_refused(session, subject_id=one.subject_id, recipient=client_id, now=now, within=within)


def _words(client: str, request: Request | None, *, has_guardian: bool, too_soon: bool) -> Words:
    answer = None if request is None else request.answer
    back, no = (LEAVE, f"Back to {client} 返回"), (REFUSE, "No, I do not want it 不需要")
    if answer is Answer.APPROVED:
        told = f"Your guardian allowed what {client} asks for. Go on there, or leave it. 监护人已同意,您可以继续,也可以放弃。"
        return Words(
            heading="Your guardian allowed it 监护人已同意", sentences=[told],
            buttons=[(APPROVE, "Go on 继续"), (REFUSE, "Leave it 放弃")],
        )  # fmt: skip
    if answer is Answer.REFUSED:
        told = f"Your guardian said no to what {client} asks for. Nothing was allowed. 监护人已拒绝,未提供任何信息。"
        return Words(heading="Your guardian said no 监护人已拒绝", sentences=[told], buttons=[back])
    if too_soon:
        told = f"You or your guardian said no to {client} lately, so it may not ask again yet. 近期已拒绝该请求。"
        return Words(heading="Asked again too soon 请求过于频繁", sentences=[told], buttons=[back])
    decides = f"You are under 14, so your guardian decides what {client} may do. 您未满十四周岁,由您的监护人决定。"
    heading = "Your guardian decides 由监护人决定"
    if not has_guardian:
        return Words(heading=heading, sentences=[decides, *HOW_TO_GET_ONE.splitlines()], buttons=[back], status=403)
    if request is None:
        ask = (ASK, "Ask my guardian 请监护人决定")
        return Words(heading=heading, sentences=[decides], buttons=[ask, no], asks=True)
    asked, until = (f"{at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}" for at in (request.created_at, request.expires_at))
    waits = WAITS.format(asked=asked, until=until, client=client).splitlines()
    return Words(heading=heading, sentences=[decides, *waits], buttons=[back, no], asks=True, waits=True)
