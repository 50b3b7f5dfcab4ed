"""The authorization server's addresses. I/O: HTTP; one transaction per request.

The body is read by the event loop, the rest runs in a thread: Authlib, the signature check and the database are
synchronous and would stop every other request. Requests that come together are committed together (together.py). The
person's pages (`/oauth/authorize`) are the portal's.
"""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any, Protocol

from fastapi import APIRouter, Request, Response
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool

from consent.authority import Authority
from consent.changes import Change, change
from consent.grant_management import QUERY_SCOPE, REVOKE_SCOPE, give_up_grant, query_grant
from consent.metadata import resource_metadata, server_jwks, server_metadata
from consent.registration import manage, register
from consent.requests import FORM_BYTES, Answer, Posted, answer_json
from consent.server import ENDPOINTS, answer_form
from consent.together import GroupCommit
from consent.tokens import ApiCall, TokenRefused, require_token
from consent.transactions import Transactions
from consent.webhook_secrets import webhook_secret

Note = Callable[[Session, Change, datetime], None]


class Certificate(Protocol):
    """Tells the thumbprint of the TLS certificate that the client showed to whoever ends TLS in front of the hub."""

    def __call__(self, request: Request) -> str | None: ...


def oauth_router(
    authority: Authority,
    *,
    transactions: Transactions,
    clock: Callable[[], datetime],
    note: Note,
    certificate: Certificate,
) -> APIRouter:
    """Build the router; mount it at the root of the issuer.

    Args:
        note: logs a change in its transaction.
    """
    router = APIRouter(tags=["oauth"])

    together = GroupCommit(transactions)

    async def form(request: Request) -> Response:
        posted = Posted(
            path=request.url.path,
            content_type=request.headers.get("content-type", ""),
            body=await _read_bounded(request),
            proofs=tuple(request.headers.getlist("dpop")),
            certificate=certificate(request),
        )
        return _response(await together.run(lambda session: answer_form(session, authority, posted, clock())))

    for path in ("/oauth/token", *ENDPOINTS):
        router.add_api_route(path, form, methods=["POST"], name=path.rpartition("/")[2])

    @router.get("/.well-known/oauth-authorization-server")
    def metadata() -> dict[str, Any]:
        return server_metadata(authority.issuer, mtls=authority.certificates)

    @router.get("/.well-known/oauth-protected-resource")
    def resource() -> dict[str, Any]:
        return resource_metadata(authority.issuer, mtls=authority.certificates)

    @router.get("/oauth/jwks")
    def jwks() -> dict[str, Any]:
        return server_jwks(authority.keyring)

    _add_registration(router, authority, transactions, clock, note)
    _add_grants(router, authority, transactions, clock, note, certificate)
    return router


def _add_registration(
    router: APIRouter, authority: Authority, transactions: Transactions, clock: Callable[[], datetime], note: Note
) -> None:
    def begin(body: bytes) -> Answer:
        with transactions() as session:
            now = clock()
            answer, client_id = register(
                session,
                body,
                issuer=authority.issuer,
                registries=authority.registries,
                webhook_secret=partial(webhook_secret, authority.keyring),
                now=now,
            )
            if client_id is not None:
                note(session, change("client.registered", client=client_id), now)
        return answer

    def go_on(method: str, client_id: str, authorization: str | None, body: bytes) -> Answer:
        with transactions() as session:
            answer, what = manage(session, method, client_id, authorization, body)
            if what is not None:
                note(session, change(f"client.{what}", client=client_id), clock())
        return answer

    @router.post("/oauth/register")
    async def registration(request: Request) -> Response:
        return _response(await run_in_threadpool(begin, await _read_bounded(request)))

    async def management(request: Request, client_id: str) -> Response:
        body, authorization = await _read_bounded(request), request.headers.get("authorization")
        return _response(await run_in_threadpool(go_on, request.method, client_id, authorization, body))

    for method in ("GET", "PUT", "DELETE"):  # a route each: of one route with three, the API's description names one
        router.add_api_route("/oauth/register/{client_id}", management, methods=[method])


def _add_grants(
    router: APIRouter,
    authority: Authority,
    transactions: Transactions,
    clock: Callable[[], datetime],
    note: Note,
    certificate: Certificate,
) -> None:
    def answer(call: ApiCall, grant_id: str) -> Answer:
        now, revokes = clock(), call.method == "DELETE"
        scope = REVOKE_SCOPE if revokes else QUERY_SCOPE
        with transactions() as session:
            try:
                caller = require_token(
                    session, call, scope=scope, issuer=authority.issuer, nonces=authority.nonces, now=now
                )
            except TokenRefused as refused:
                return answer_json(refused.status, {"error": refused.error}, headers=refused.headers)
            if not revokes:
                return query_grant(session, caller, grant_id)
            told, changes = give_up_grant(session, caller, grant_id, now=now)
            for one in changes:
                note(session, one, now)
        return told

    async def grants(request: Request, grant_id: str) -> Response:
        call = api_call(request, authority.issuer, certificate)
        return _response(await run_in_threadpool(answer, call, grant_id))

    for method in ("GET", "DELETE"):
        router.add_api_route("/oauth/grants/{grant_id}", grants, methods=[method])


def api_call(request: Request, issuer: str, certificate: Certificate) -> ApiCall:
    """What a request to a protected address proves itself with. Its address is made from the issuer, never from Host."""
    return ApiCall(
        method=request.method,
        url=issuer + request.url.path,
        authorization=request.headers.get("authorization"),
        proofs=tuple(request.headers.getlist("dpop")),
        certificate=certificate(request),
    )


async def _read_bounded(request: Request) -> bytes:
    """At most one byte more than is allowed: enough to be refused, too little to fill the memory."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > FORM_BYTES:
            return body[: FORM_BYTES + 1]
    return body


def _response(answer: Answer) -> Response:
    return Response(content=answer.body, status_code=answer.status, headers=dict(answer.headers))
