"""Forms that the hub's own pages send: taken, and refused from strangers and from other sites. I/O: HTTP, the database."""

from collections.abc import Callable
from typing import TypeAlias

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from consent.sessions import CsrfRefused
from hub.context import Hub
from hub.portal.browser import Visit, go, read_form, require_own_form, visit
from hub.portal.returning import with_return

Form: TypeAlias = dict[str, str]


def take_form(router: APIRouter, hub: Hub, path: str, handler: Callable[[Hub, Request, Form], Response]) -> None:
    """Have a form that is posted to `path` read and then handled in a thread, since handlers wait for the database."""

    async def endpoint(request: Request) -> Response:
        form = await read_form(request)
        return await run_in_threadpool(handler, hub, request, form)

    router.add_api_route(path, endpoint, methods=["POST"])


def visit_of_form(hub: Hub, request: Request, form: Form) -> Visit | None:
    """Return the session that a form belongs to; None where it lives no more or another site sent the form."""
    current = visit(hub, request)
    if current is None:
        return None
    try:
        require_own_form(hub, request, current, form)
    except CsrfRefused:
        return None
    return current


def person_of(hub: Hub, request: Request, *, back: str) -> tuple[Visit, int] | Response:
    """Return the session and who is signed in with it, or the way by the sign-in to the page `back`."""
    current = visit(hub, request)
    if current is None or current.subject_id is None:
        return go(with_return("/signin", back))
    return current, current.subject_id


def person_of_form(
    hub: Hub, request: Request, form: Form, *, back: str, refuse: Callable[[Visit, int], Response]
) -> tuple[Visit, int] | Response:
    """Return whose form it is as `person_of` does, or what `refuse` answers to a form that another site sent."""
    found = person_of(hub, request, back=back)
    if isinstance(found, Response):
        return found
    try:
        require_own_form(hub, request, found[0], form)
    except CsrfRefused:
        return refuse(*found)
    return found
