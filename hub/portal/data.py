"""A person's own data: a copy of everything, and being forgotten. I/O: HTTP, the database.

    /data -> POST /data/export -> a signed ZIP
    /data -> /data/erase (what goes, what stays, why) -> POST /data/erase -> signed out, nothing left to sign in to

Erasing needs a recent proof both to see the form and to send it: an unlocked browser must not be enough.
"""

from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from typing import IO

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from consent.stepup import require_recent_proof
from hub.context import Hub
from hub.db import reading
from hub.ledger.store import load_balances
from hub.portal.browser import Visit, drop_cookie, page
from hub.portal.forms import Form, person_of, person_of_form, take_form
from hub.rights.erase import erase_person
from hub.rights.export import export_person
from hub.rights.fates import BESIDES, HOLDINGS, Fate

HERE, ERASE = "/data", "/data/erase"
IN_MEMORY_BYTES, CHUNK_BYTES = 8 * 1024 * 1024, 64 * 1024
OWN_PAGE = "请从本页提交。 Please send the form from this page."
TICK = "请勾选以确认。 Tick the box to say that you know."


def data_router(hub: Hub) -> APIRouter:
    """Build the router."""
    router = APIRouter(include_in_schema=False)

    @router.get(HERE)
    def overview(request: Request) -> Response:
        found = person_of(hub, request, back=HERE)
        return found if isinstance(found, Response) else _overview(found[0], None, 200)

    @router.get(ERASE)
    def ask(request: Request) -> Response:
        found = person_of(hub, request, back=ERASE)
        if isinstance(found, Response):
            return found
        current, subject_id = found
        require_recent_proof(current.info, now=hub.clock())
        return _ask(hub, current, subject_id, None, 200)

    take_form(router, hub, f"{HERE}/export", _export)
    take_form(router, hub, ERASE, _erase)
    return router


def _export(hub: Hub, request: Request, form: Form) -> Response:
    found = person_of_form(
        hub, request, form, back=HERE, refuse=lambda current, _subject_id: _overview(current, OWN_PAGE, 403)
    )
    if isinstance(found, Response):
        return found
    _current, subject_id = found
    # Large ones are written to disk; the file has no name and is gone when it is closed.
    target = SpooledTemporaryFile(max_size=IN_MEMORY_BYTES)  # noqa: SIM115 - closed when it was sent
    export_person(hub, subject_id, target)
    target.seek(0)
    name = f"tanlian-{hub.clock():%Y%m%d}.zip"
    headers = {"content-disposition": f'attachment; filename="{name}"', "cache-control": "no-store"}
    return StreamingResponse(_chunks(target), media_type="application/zip", headers=headers)


def _chunks(source: IO[bytes]) -> Iterator[bytes]:
    with source:
        while chunk := source.read(CHUNK_BYTES):
            yield chunk


def _erase(hub: Hub, request: Request, form: Form) -> Response:
    found = person_of_form(
        hub, request, form, back=ERASE,
        refuse=lambda current, subject_id: _ask(hub, current, subject_id, OWN_PAGE, 403),
    )  # fmt: skip
    if isinstance(found, Response):
        return found
    current, subject_id = found
    require_recent_proof(current.info, now=hub.clock(), back=ERASE)
    if form.get("sure") != "yes":
        return _ask(hub, current, subject_id, TICK, 400)
    erased = erase_person(hub, subject_id, now=hub.clock())
    response = page("erased.html", signed_in=False, erased=erased)
    drop_cookie(hub, response)
    return response


def _overview(current: Visit, problem: str | None, status: int) -> Response:
    return page("data.html", status=status, signed_in=True, csrf=current.info.csrf, problem=problem)


def _ask(hub: Hub, current: Visit, subject_id: int, problem: str | None, status: int) -> Response:
    with reading(hub.engine) as session:
        balances = load_balances(session, subject_id)
    return page(
        "erase.html", status=status, signed_in=True, csrf=current.info.csrf, problem=problem,
        held_mg=sum(balances[kind] for kind in ("held", "pending")),
        goes=[one for one in HOLDINGS if one.fate is not Fate.KEPT],
        stays=[one for one in HOLDINGS if one.fate is Fate.KEPT],
        besides=BESIDES,
    )  # fmt: skip
