"""A person's own account, and the files that pages load. I/O: HTTP, the database."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse

from consent.guardians import load_wards
from hub.context import Hub
from hub.db import reading
from hub.disputes.showing import load_disputes_of
from hub.portal.account import load_account
from hub.portal.browser import HERE, go, page, visit
from hub.portal.my_consents import count_ending

FILES = {"tanlian.css": "text/css", "passkeys.js": "text/javascript"}


def pages_router(hub: Hub) -> APIRouter:
    """Build the router."""
    router = APIRouter(include_in_schema=False)

    def serve(name: str, media_type: str) -> None:
        def file() -> FileResponse:
            headers = {"cache-control": "public, max-age=3600"}
            return FileResponse(HERE / "static" / name, media_type=media_type, headers=headers)

        router.add_api_route(f"/static/{name}", file, methods=["GET"])

    for name, media_type in FILES.items():
        serve(name, media_type)

    @router.get("/")
    def home(request: Request) -> Response:
        current = visit(hub, request)
        if current is None or current.subject_id is None:
            return go("/signin")
        with reading(hub.engine) as session:
            account = load_account(session, current.subject_id)
            ending = count_ending(session, current.subject_id, now=hub.clock())
            disputes = sum(row.closed_at is None for row in load_disputes_of(session, current.subject_id))
            wards = load_wards(session, guardian_id=current.subject_id, now=hub.clock())
        return page(
            "home.html", signed_in=True, csrf=current.info.csrf, account=account, ending=ending, wards=len(wards),
            disputes=disputes,
        )  # fmt: skip

    return router
