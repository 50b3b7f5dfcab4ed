"""The authorization server's addresses. I/O: HTTP; one transaction per request.

The body is read by the event loop, the rest runs in a thread: Authlib, the signature check and the database are
synchronous and would stop every other request.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from consent.keyring import KeyRing
from consent.platform_client import Transactions
from consent.server import (
    FORM_BYTES,
    Answer,
    answer_introspect,
    answer_revoke,
    answer_token,
    server_jwks,
    server_metadata,
)


class AnswerForm(Protocol):
    """One of the answer_ functions of server.py."""

    def __call__(self, session: Any, *, issuer: str, content_type: str, body: bytes, now: datetime) -> Answer: ...


def oauth_router(
    *, issuer: str, keyring: KeyRing, transactions: Transactions, clock: Callable[[], datetime]
) -> APIRouter:
    """Build the router; mount it at the root of the issuer."""
    router = APIRouter(tags=["oauth"])
    for path, answer in (
        ("/oauth/token", answer_token),
        ("/oauth/introspect", answer_introspect),
        ("/oauth/revoke", answer_revoke),
    ):
        endpoint = _form_endpoint(partial(_answer_form, answer, issuer, transactions, clock))
        router.add_api_route(path, endpoint, methods=["POST"], name=path.rpartition("/")[2])

    @router.get("/.well-known/oauth-authorization-server")
    def metadata() -> dict[str, Any]:
        return server_metadata(issuer)

    @router.get("/oauth/jwks")
    def jwks() -> dict[str, Any]:
        return server_jwks(keyring)

    return router


def _form_endpoint(answer: Callable[[str, bytes], Answer]) -> Callable[[Request], Awaitable[Response]]:
    async def endpoint(request: Request) -> Response:
        body = await _read_bounded(request)
        result = await run_in_threadpool(answer, request.headers.get("content-type", ""), body)
        return Response(content=result.body, status_code=result.status, headers=dict(result.headers))

    return endpoint


async def _read_bounded(request: Request) -> bytes:
    """At most one byte more than is allowed: enough to be refused, too little to fill the memory."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES:
            return body[: FORM_BYTES + 1]
    return body


def _answer_form(
    answer: AnswerForm,
    issuer: str,
    transactions: Transactions,
    clock: Callable[[], datetime],
    content_type: str,
    body: bytes,
) -> Answer:
    with transactions() as session:
        return answer(session, issuer=issuer, content_type=content_type, body=body, now=clock())
