"""The web application: every router on one hub. I/O: HTTP."""

from functools import partial

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from consent.routes import oauth_router
from consent.stepup import StepUpNeeded
from hub.api.access import Gate
from hub.api.account import account_router
from hub.api.attestations import attestations_router as attestations_api_router
from hub.api.blocks import blocks_router
from hub.api.breaks import breaks_router
from hub.api.disputes import disputes_router as disputes_api_router
from hub.api.doors import doors_router
from hub.api.mine import mine_router
from hub.api.operation import operation_router
from hub.api.precheck import precheck_router
from hub.api.problems import tell_problems
from hub.api.proofs import proofs_router
from hub.api.regulator_log import regulator_log_router
from hub.api.reservations import reservations_router
from hub.api.standards import standards_router
from hub.api.statements import statements_router
from hub.api.totals import totals_router
from hub.api.uploads import uploads_router
from hub.changes import log_consent_change
from hub.context import Hub
from hub.exchange.counting import Counter, Counting
from hub.log.routes import build_log_router
from hub.portal.acts import acts_router
from hub.portal.attestations import attestations_router
from hub.portal.authorize import authorize_router
from hub.portal.care import care_router
from hub.portal.care_requests import care_requests_router
from hub.portal.consents import consents_router
from hub.portal.data import data_router
from hub.portal.disputes import disputes_router
from hub.portal.links import links_router
from hub.portal.pages import pages_router
from hub.portal.security import security_router
from hub.portal.signin import signin_router
from hub.portal.stepup import stepup_router, tell_step_up
from hub.portal.totals import programmes_router
from hub.staff.door import StaffRefused, tell_refused
from hub.staff.log_pages import staff_log_router
from hub.staff.pages import staff_router
from hub.staff.signin import staff_signin_router
from hub.sync.transactions import transactions_of

# Pages are plain HTML of our own: nothing is fetched from elsewhere, nothing runs, nobody may frame them.
SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    # Not "no-referrer": under it browsers send our own forms with `Origin: null`, as if from nowhere (Fetch, "append a
    # request Origin header"), and they would be refused. No other site is told where a person came from.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}

ALWAYS = {**SECURITY_HEADERS, "cache-control": "no-store"}
# RFC 6797: a browser that was here once over https comes back over https only.
ONLY_HTTPS = {"strict-transport-security": "max-age=31536000"}


class Headers:
    """Adds the headers that every answer has, where it has none of its own; as plain ASGI, for it runs on each request."""

    def __init__(self, app: ASGIApp, *, https: bool) -> None:
        self.app = app
        self.always = ALWAYS | (ONLY_HTTPS if https else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_on(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self.always.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, send_on if scope["type"] == "http" else send)


def create_app(hub: Hub) -> FastAPI:
    """Build the application on an opened hub."""
    app = FastAPI(title="Tanlian", version="0.1.0", docs_url=None, redoc_url=None)
    gate = Gate(hub)
    routers = (
        oauth_router(
            gate.authority, transactions=transactions_of(hub), clock=hub.clock, note=partial(log_consent_change, hub=hub),
            certificate=gate.certificate,
        ),
        build_log_router(hub.engine),
        doors_router(hub),
        statements_router(hub, gate),
        breaks_router(hub, gate),
        disputes_api_router(hub, gate),
        account_router(hub, gate),
        mine_router(hub, gate),
        precheck_router(hub, gate),
        attestations_api_router(hub, gate),
        reservations_router(hub, gate),
        blocks_router(hub, gate),
        totals_router(hub, gate),
        uploads_router(hub, gate),
        regulator_log_router(hub, gate),
        proofs_router(hub, gate),
        authorize_router(hub, gate.authority),
        operation_router(hub),
        standards_router(hub),
        links_router(hub),
        consents_router(hub),
        data_router(hub),
        attestations_router(hub),
        programmes_router(hub),
        care_router(hub),
        care_requests_router(hub),
        pages_router(hub),
        acts_router(hub),
        disputes_router(hub),
        signin_router(hub),
        stepup_router(hub),
        security_router(hub),
        staff_signin_router(hub),
        staff_router(hub),
        staff_log_router(hub),
    )  # fmt: skip
    for router in routers:
        # Their own routes: to include a router builds each of its routes a second time, to add what nothing is added here.
        app.router.routes.extend(router.routes)
    app.add_exception_handler(StepUpNeeded, tell_step_up)
    app.add_exception_handler(StaffRefused, tell_refused)
    tell_problems(app, SECURITY_HEADERS)

    app.add_middleware(Counting, counter=Counter(hub=hub, flushed_at=hub.clock()))
    app.add_middleware(Headers, https=hub.settings.issuer.startswith("https:"))
    return app
