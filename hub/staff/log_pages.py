"""The interconnection log and the exchange's figures, for regulators and operators in a browser. I/O: HTTP, the database.

What is shown is commitments and figures; that it was looked at, and what was looked for, is in the log too.
"""

from datetime import datetime
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from hub.context import Hub
from hub.db import reading
from hub.errors import UsageProblem
from hub.exchange.measures import load_measures
from hub.exchange.measures_svg import measures_svg
from hub.exchange.search import Filters, Page, search
from hub.log.leaves import Kind
from hub.portal.browser import render
from hub.staff.door import Permit, acting, require_staff
from hub.staff.rights import RIGHTS, Right, What

HOURS = 24
ROWS = 50
# Name of a field -> how it is labelled, in both languages.
FIELDS = {
    "participant": ("参与方", "Participant"), "purpose": ("目的", "Purpose"), "outcome": ("结果", "Outcome"),
    "window": ("窗口", "Window"), "batch": ("批次", "Batch"), "since": ("起（含时区）", "From (with a zone)"),
    "until": ("止", "Before"),
}  # fmt: skip


def staff_log_router(hub: Hub) -> APIRouter:
    """Build the router."""
    router = APIRouter(include_in_schema=False)

    @router.get("/staff/log")
    def entries(request: Request) -> Response:
        permit = require_staff(hub, request, Right.SEE_LOG)
        asked = {name: value for name, value in request.query_params.items() if value}
        cursor = asked.pop("cursor", None)
        with acting(hub, permit, What.LOG_SEARCHED, about=asked):
            pass
        # Read after it was written down, and apart: a long look must not keep deliveries waiting.
        try:
            with reading(hub.engine) as session:
                page = search(session, read_filters(asked), cursor=cursor, limit=ROWS)
        except UsageProblem as wrong:
            return _show(permit, asked, None, str(wrong))
        return _show(permit, asked, page, None)

    @router.get("/staff/exchange")
    def figures(request: Request) -> Response:
        permit = require_staff(hub, request, Right.SEE_LOG)
        with acting(hub, permit, What.LOG_MEASURED):
            pass
        with reading(hub.engine) as session:
            told = load_measures(session, hub.clock(), hours=HOURS, window_length=hub.settings.window_length)
        return _page("staff_exchange.html", permit, told=told, picture=measures_svg(told), hours=HOURS)

    return router


def read_filters(asked: dict[str, str]) -> Filters:
    """Read filters from a form's fields; raises UsageProblem."""
    if asked.keys() - FIELDS.keys() - {"kind"}:
        raise UsageProblem("there is no such filter")
    return Filters(
        participant=asked.get("participant"), kind=asked.get("kind"), purpose=asked.get("purpose"),
        outcome=asked.get("outcome"), window=_number(asked, "window"), batch=_number(asked, "batch"),
        since=_time(asked, "since"), until=_time(asked, "until"),
    )  # fmt: skip


def _show(permit: Permit, asked: dict[str, str], page: Page | None, problem: str | None) -> Response:
    more = None if page is None or page.next is None else urlencode({**asked, "cursor": page.next})
    return _page(
        "staff_log.html", permit, asked=asked, fields=FIELDS, kinds=sorted(Kind), problem=problem, more=more,
        size=None if page is None else page.size, entries=() if page is None else [one.to_dict() for one in page.entries],
    )  # fmt: skip


def _page(template: str, permit: Permit, **values: object) -> Response:
    rights = RIGHTS[permit.member.role]
    shared = {"signed_in": False, "csrf": permit.visit.csrf, "member": permit.member}
    return render(template, **shared, operation=Right.SEE_OPERATION in rights, log=Right.SEE_LOG in rights, **values)


def _number(asked: dict[str, str], name: str) -> int | None:
    value = asked.get(name)
    if value is None:
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= 18):
        raise UsageProblem(f"{name}: a number from 0 on")
    return int(value)


def _time(asked: dict[str, str], name: str) -> datetime | None:
    value = asked.get(name)
    try:
        return None if value is None else datetime.fromisoformat(value)
    except ValueError:
        raise UsageProblem(f"{name}: a time with its zone, as 2026-11-20T08:00:00+08:00") from None
