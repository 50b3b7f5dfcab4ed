"""The web application: every router on one hub. I/O: HTTP."""

from fastapi import FastAPI, Request, Response
from starlette.middleware.base import RequestResponseEndpoint

from consent.routes import oauth_router
from hub.api.doors import doors_router
from hub.api.operation import operation_router
from hub.api.problems import tell_problems
from hub.api.statements import statements_router
from hub.context import Hub
from hub.log.routes import build_log_router
from hub.portal.links import links_router
from hub.portal.pages import pages_router
from hub.sync.transactions import transactions_of

# Pages are plain HTML of our own: nothing is fetched from elsewhere, nothing runs, nobody may frame them.
SECURITY_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "x-frame-options": "DENY",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}


def create_app(hub: Hub) -> FastAPI:
    """Build the application on an opened hub."""
    app = FastAPI(title="Tanlian", version="0.1.0", docs_url=None, redoc_url=None)
    app.include_router(
        oauth_router(issuer=hub.settings.issuer, keyring=hub.ring, transactions=transactions_of(hub), clock=hub.clock)
    )
    app.include_router(build_log_router(hub.engine))
    app.include_router(doors_router(hub))
    app.include_router(statements_router(hub))
    app.include_router(operation_router(hub))
    app.include_router(links_router(hub))
    app.include_router(pages_router(hub))
    tell_problems(app, SECURITY_HEADERS)

    @app.middleware("http")
    async def secure(request: Request, call_next: RequestResponseEndpoint) -> Response:
        response = await call_next(request)
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        response.headers.setdefault("cache-control", "no-store")
        return response

    return app
