"""One act of a person: the sentence why it counts, who told of it on a line of time, and the figures. I/O: HTTP, the database.

A person sees their own acts only; another's number is answered like one that does not exist.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from sqlalchemy import text
from sqlalchemy.orm import Session

from hub.clearing.explain.explanation import Explanation
from hub.clearing.explain.sentences import grams, word
from hub.context import Hub
from hub.db import reading
from hub.disputes.rules import TEXT_CHARACTERS
from hub.disputes.showing import find_open_dispute
from hub.errors import NotFound
from hub.explain import Explained, explain_event
from hub.portal.asking import preferred_language
from hub.portal.browser import Visit, page
from hub.portal.disputes import OF_ACT
from hub.portal.forms import person_of
from hub.portal.timeline import timeline_svg

LANGUAGE = "lang"
ZH, EN = "zh-CN", "en"
WORDS = {
    EN: {
        "why": "Why", "who": "Who told of it", "right": "Not right?", "figures": "The figures of the comparison",
        "others": "What was decided about each report", "back": "My account", "other": "中文", "counts": "Counts",
        "time": "Time apart", "quantity": "Amounts", "duration": "Lengths of time", "behaviour": "Kinds of act",
        "keys": "Numbers that differ", "sum": "Sum", "enough": "enough from", "missing": "There is no such act",
        "missing_text": "Nothing of yours has this number.", "dispute": "Open a dispute",
        "disputed": "A dispute about this act is open", "not_yet": "Once it is cleared you can open a dispute here.",
    },
    ZH: {
        "why": "为什么", "who": "谁报告了它", "right": "觉得不对？", "figures": "比对的数字", "others": "每条报告的处理结果",
        "back": "我的账户", "other": "English", "counts": "计入", "time": "时间差", "quantity": "数量", "duration": "时长",
        "behaviour": "行为种类", "keys": "不一致的编号", "sum": "合计", "enough": "达到即认定",
        "missing": "没有这一行为", "missing_text": "您的账户中没有这个编号的行为。", "dispute": "提出争议",
        "disputed": "关于此行为的争议正在处理", "not_yet": "清算完成后可在此提出争议。",
    },
}  # fmt: skip
_POINTS = ("time", "quantity", "duration", "behaviour", "key")
_SETTLED = (
    "SELECT e.event_id FROM event e LEFT JOIN event_reversal v ON v.event_id = e.event_id "
    "WHERE e.event_id = :e AND NOT e.provisional AND v.event_id IS NULL"
)
EventId = Annotated[int, Path(ge=1, lt=2**63)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What was decided about one report of the act."""

    platform: str
    verdict: str
    sentence: str
    points: tuple[tuple[str, str], ...]


def acts_router(hub: Hub) -> APIRouter:
    """Build the router."""
    router = APIRouter(include_in_schema=False)

    @router.get("/acts/{event_id}")
    def act(request: Request, event_id: EventId) -> Response:
        found = person_of(hub, request, back=f"/acts/{event_id}")
        if isinstance(found, Response):
            return found
        language = request.query_params.get(LANGUAGE) or preferred_language(request)
        return _act(hub, *found, event_id, ZH if language == ZH else EN)

    return router


def _act(hub: Hub, current: Visit, subject_id: int, event_id: int, language: str) -> Response:
    words = WORDS[language]
    csrf = current.info.csrf
    with reading(hub.engine) as session:
        reports = _reports(session, subject_id, event_id)
        if event_id not in reports:
            return page("act_missing.html", status=404, signed_in=True, csrf=csrf, words=words, language=language)
        explained: dict[int, Explained] = {}
        for record_id in reports:
            if record_id not in explained:
                try:
                    explained |= explain_event(session, record_id, reports)
                except NotFound:  # cleared anew between the two looks: the page shows what stands
                    continue
        dispute = find_open_dispute(session, event_id)
        settled = session.execute(text(_SETTLED), {"e": event_id}).scalar_one_or_none()
    main = explained[event_id]
    title = word("act", str(main.told.report.behaviour), language)
    return page(
        "act.html",
        signed_in=True,
        csrf=csrf,
        words=words,
        language=language,
        turn=f"/acts/{event_id}?{LANGUAGE}={EN if language == ZH else ZH}",
        title=title[:1].upper() + title[1:],
        amount=grams(main.told.report.counted_mg, language),
        sentence=main.sentence(language),
        notes=main.notes(language),
        contest=main.contest(language),
        event_id=event_id,
        dispute=None if dispute is None else dispute.dispute_id,
        may_dispute=settled is not None,
        choices=OF_ACT,
        most=TEXT_CHARACTERS,
        sent={"what": "", "claimed_g": "", "text": ""},
        picture=timeline_svg(main.told, language, main.names),
        reports=[_told(one, language) for record_id, one in explained.items() if record_id != event_id],
    )


def _reports(session: Session, subject_id: int, event_id: int) -> list[int]:
    """Return the person's records whose standing decision is about this event, the oldest first."""
    sql = (
        "SELECT d.record_id FROM decision d WHERE d.subject_id = :s AND d.event_id = :e AND NOT EXISTS "
        "(SELECT 1 FROM decision l WHERE l.record_id = d.record_id AND l.window_id > d.window_id) ORDER BY d.record_id"
    )
    return [int(one) for one in session.execute(text(sql), {"s": subject_id, "e": event_id}).scalars()]


def _told(one: Explained, language: str) -> Told:
    report = one.told.report
    name = one.names.get(report.platform or "")
    platform = str(report.platform) if name is None else name.zh if language == ZH else name.en
    return Told(
        platform=platform,
        verdict=word("verdict", report.verdict, language),
        sentence=one.sentence(language),
        points=_points(one.told, language),
    )


def _points(told: Explanation, language: str) -> tuple[tuple[str, str], ...]:
    """Return the parts of a comparison on points, in points and not in thousandths; nothing where there was none."""
    if told.match is None:
        return ()
    words = WORDS[language]
    parts = [(words["keys" if one == "key" else one], getattr(told.match, f"{one}_points")) for one in _POINTS]
    rows = [(name, _said(points)) for name, points in parts if points]
    return (*rows, (words["sum"], f"{_said(told.match.points)} ({words['enough']} {_said(told.match.accept)})"))


def _said(points: int) -> str:
    return f"{points / 1000:+.2f}"
