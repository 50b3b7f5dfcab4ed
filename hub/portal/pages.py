"""Sign-in, sign-out and a person's own account. I/O: HTTP, the database."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import FileResponse
from starlette.concurrency import run_in_threadpool

from consent.people import check_password
from consent.sessions import CsrfRefused, end_session, rotate_session
from consent.signin import SignIn, SignInRefusal, begin_sign_in, finish_sign_in
from hub.context import Hub
from hub.db import reading, writing
from hub.portal.account import load_account
from hub.portal.browser import HERE, Visit, begin_visit, go, keep_cookie, page, read_form, require_own_form, visit

PROBLEMS = {
    SignInRefusal.WRONG: "That name and password do not fit. Check both and try again.",
    SignInRefusal.BLOCKED: "Too many tries. Wait a few minutes, then try again.",
}


def pages_router(hub: Hub) -> APIRouter:
    """Build the router."""
    router = APIRouter(include_in_schema=False)

    @router.get("/static/tanlian.css")
    def stylesheet() -> FileResponse:
        return FileResponse(
            HERE / "static" / "tanlian.css", media_type="text/css", headers={"cache-control": "public, max-age=3600"}
        )

    @router.get("/signin")
    def signin_page(request: Request) -> Response:
        current = visit(hub, request) or begin_visit(hub)
        return _with_cookie(hub, current, _signin(current, None, 200))

    @router.post("/signin")
    async def signin(request: Request) -> Response:
        form = await read_form(request)
        return await run_in_threadpool(_sign_in, hub, request, form)

    @router.post("/signout")
    async def signout(request: Request) -> Response:
        form = await read_form(request)
        return await run_in_threadpool(_sign_out, hub, request, form)

    @router.get("/")
    def home(request: Request) -> Response:
        current = visit(hub, request)
        if current is None or current.subject_id is None:
            return go("/signin")
        with reading(hub.engine) as session:
            account = load_account(session, current.subject_id)
        return page("home.html", signed_in=True, csrf=current.info.csrf, account=account)

    return router


def _sign_in(hub: Hub, request: Request, form: dict[str, str]) -> Response:
    current = visit(hub, request)
    if current is None:
        fresh = begin_visit(hub)
        problem = "This page was open for too long. Please sign in again."
        return _with_cookie(hub, fresh, _signin(fresh, problem, 400))
    try:
        require_own_form(hub, request, current, form)
    except CsrfRefused:
        return _signin(current, "Please send the form from this page.", 403)
    with writing(hub.engine) as session:
        attempt = begin_sign_in(session, hub.ring, username=form.get("username", ""), now=hub.clock())
    if isinstance(attempt, SignIn):
        return _signin(current, PROBLEMS[attempt.refusal or SignInRefusal.WRONG], 401)
    checked = check_password(attempt.known, form.get("password", ""))
    with writing(hub.engine) as session:
        done = finish_sign_in(session, attempt, checked)
        if done.subject_id is not None:
            token, _info = rotate_session(session, current.token, subject_id=done.subject_id, now=hub.clock())
    if done.subject_id is None:
        return _signin(current, PROBLEMS[done.refusal or SignInRefusal.WRONG], 401)
    response = go("/")
    keep_cookie(hub, response, token)
    return response


def _sign_out(hub: Hub, request: Request, form: dict[str, str]) -> Response:
    current = visit(hub, request)
    if current is None:
        return go("/signin")
    try:
        require_own_form(hub, request, current, form)
    except CsrfRefused:
        return go("/")
    with writing(hub.engine) as session:
        end_session(session, current.token)
    return go("/signin")


def _signin(current: Visit, problem: str | None, status: int) -> Response:
    return page("signin.html", status=status, signed_in=False, csrf=current.info.csrf, problem=problem)


def _with_cookie(hub: Hub, current: Visit, response: Response) -> Response:
    keep_cookie(hub, response, current.token)
    return response
