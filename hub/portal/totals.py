"""Programmes that a person may join or leave, with their own share; and regional totals for everybody. I/O: HTTP, the database.

/programmes -> POST /programmes/{id}/join | /leave      signed in; what is joined stands beside the button
/totals     -> ?period=2026-11                          public: told totals of places, nothing of any person
"""

import json
from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from consent.guardians import GuardianNeeded, is_child
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import Conflict, NotFound, UsageProblem
from hub.participants import load_participants
from hub.portal.browser import Visit, go, page, read_form, visit
from hub.portal.forms import Form, person_of, person_of_form
from hub.totals.asking import answer, label_name, line_name, load_told_months, parse_question
from hub.totals.charts import Bar, bars_svg, tiles_svg
from hub.totals.membership import (
    find_membership,
    join_programme,
    leave_programme,
    load_memberships_of,
    load_shares,
)
from hub.totals.programmes import is_open, load_programmes
from hub.totals.tables import Programme
from hub.totals.telling import ZONE

HERE, TOTALS = "/programmes", "/totals"
OWN_PAGE = "请从本页提交。 Please send the form from this page."
OVER = "该项目已结束，不能加入。 This programme is over; nobody can join it."
CHILD = "未满14周岁不能加入。 People under 14 do not join programmes."
MISSING = "没有这个项目。 There is no such programme."


def programmes_router(hub: Hub) -> APIRouter:
    """Build the router."""
    router = APIRouter(include_in_schema=False)

    @router.get(HERE)
    def overview(request: Request) -> Response:
        found = person_of(hub, request, back=HERE)
        return found if isinstance(found, Response) else _overview(hub, *found, None, 200)

    @router.get(TOTALS)
    def totals(request: Request) -> Response:
        return _totals(hub, request)

    def post(path: str, act: Callable[[Session, int, str], object]) -> None:
        async def endpoint(request: Request, programme: str) -> Response:
            form = await read_form(request)
            return await run_in_threadpool(_decided, hub, request, programme, form, act)

        router.add_api_route(path, endpoint, methods=["POST"])

    def join(session: Session, subject_id: int, programme: str) -> object:
        return join_programme(session, subject_id, programme, now=hub.clock())

    def leave(session: Session, subject_id: int, programme: str) -> object:
        return leave_programme(session, subject_id, programme, now=hub.clock())

    post(HERE + "/{programme}/join", join)
    post(HERE + "/{programme}/leave", leave)
    return router


def _decided(
    hub: Hub, request: Request, programme: str, form: Form, act: Callable[[Session, int, str], object]
) -> Response:
    def refuse(current: Visit, subject_id: int) -> Response:
        return _overview(hub, current, subject_id, OWN_PAGE, 403)

    found = person_of_form(hub, request, form, back=HERE, refuse=refuse)
    if isinstance(found, Response):
        return found
    current, subject_id = found
    try:
        with writing(hub.engine) as session:
            act(session, subject_id, programme)
    except GuardianNeeded:
        return _overview(hub, current, subject_id, CHILD, 403)
    except NotFound:
        return _overview(hub, current, subject_id, MISSING, 404)
    except Conflict:
        return _overview(hub, current, subject_id, OVER, 409)
    return go(HERE)


def _overview(hub: Hub, current: Visit, subject_id: int, problem: str | None, status: int) -> Response:
    now = hub.clock()
    with reading(hub.engine) as session:
        names = {one.participant_id: one for one in load_participants(session)}
        shares = load_shares(session, subject_id)
        ended = [(row, one) for row, one in load_memberships_of(session, subject_id) if row.left_at is not None]
        shown = []
        for one in load_programmes(session):
            membership = find_membership(session, subject_id, one.programme_id)
            may_join = membership is None and is_open(session, one, now)
            if membership is None and not may_join and one.programme_id not in shares:
                continue
            told = None
            if membership is not None:
                question = parse_question("", f"{now.astimezone(ZONE).year}", one.programme_id)
                told = answer(session, question, k=hub.settings.totals_k).total
            runner = names[one.participant_id]
            shown.append(
                _words(one)
                | {
                    "runner": f"{runner.name_zh} {runner.name_en}",
                    "membership": membership,
                    "may_join": may_join,
                    "share": shares.get(one.programme_id),
                    "told": told,
                }
            )
        child = is_child(session, subject_id=subject_id, now=now)
    return page(
        "programmes.html", status=status, signed_in=True, csrf=current.info.csrf, problem=problem, programmes=shown,
        ended=ended, child=child, k=hub.settings.totals_k,
    )  # fmt: skip


def _words(one: Programme) -> dict[str, Any]:
    regions = [label_name("city" if code % 10_000 else "province", code) for code in json.loads(one.regions)]
    behaviours = [label_name("behaviour", code) for code in json.loads(one.behaviours)]
    return {
        "id": one.programme_id, "name_zh": one.name_zh, "name_en": one.name_en, "kind": one.kind, "since": one.since,
        "until": one.until, "regions": "、".join(regions), "behaviours": "、".join(behaviours), "own_file": one.own_file,
    }  # fmt: skip


def _totals(hub: Hub, request: Request) -> Response:
    current = visit(hub, request)
    signed_in = current is not None and current.subject_id is not None
    with reading(hub.engine) as session:
        months = [f"{month // 100}-{month % 100:02d}" for month in load_told_months(session)]
        period = request.query_params.get("period") or (months[0] if months else f"{hub.clock():%Y-%m}")
        try:
            by_region = parse_question("region", period)
        except UsageProblem as wrong:
            return page(
                "message.html", status=422, signed_in=False, heading="That did not work", message=str(wrong), back=TOTALS,
                back_text="Back",
            )  # fmt: skip
        k = hub.settings.totals_k
        regions = answer(session, by_region, k=k)
        behaviours = answer(session, parse_question("behaviour", period), k=k)
    bars = [
        Bar(name=line_name(line), mg=line.counted_mg, people_at_least=line.people_at_least)
        for line in sorted(behaviours.lines, key=lambda line: -line.counted_mg)
    ]
    by_province = {int(line.labels["province"]): line.counted_mg for line in regions.lines if line.labels["province"]}
    rows = [(line_name(line), line) for line in regions.lines]
    years = sorted({month[:4] for month in months}, reverse=True)
    return page(
        "totals.html", signed_in=signed_in, csrf=current.info.csrf if signed_in and current else "", period=period,
        periods=[*months[:24], *years], total=regions.total, rows=rows, k=k, tiles=tiles_svg(by_province),
        bars=bars_svg("按行为 By behaviour", bars),
    )  # fmt: skip
