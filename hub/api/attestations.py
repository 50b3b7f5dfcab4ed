"""Attestations for recipients, and what anybody needs to check one. I/O: HTTP, the database.

    POST /v1/attestations                a recipient with a person's token (account:read) gets a signed statement
    GET  /v1/attestations[/{id}]         how they stand; the recipient sees its own, the person all of theirs
    POST /v1/attestations/{id}/revoke    the person takes one back; so does DELETE
    GET  /v1/status-lists/{n}            the signed list in which one bit says whether a statement is revoked
    GET  /.well-known/jwt-vc-issuer      the public keys (SD-JWT VC, JWT VC Issuer Metadata)

The answer of a POST is not kept under its Idempotency-Key as other answers are: it is opened again from the person's sealed copy,
so that it goes when they are erased.
"""

import hmac
import json
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool

from connectors.strict_json import MalformedJsonError, parse_object
from hub.api.access import Gate
from hub.api.bodies import read_bounded
from hub.api.repeats import parse_write
from hub.attestations.content import GROUPS, MOST_A_DAY, SINGLE, Asked, parse_day
from hub.attestations.ending import Reason
from hub.attestations.issue import Issued, Repeatable, TooMany, issue_for
from hub.attestations.jwt import JwtInvalid, parse_public_key, public_members
from hub.attestations.lists import PATH, load_bits, uri_of
from hub.attestations.statuslist import TTL, sign_status_list
from hub.attestations.store import load_attestations, require_attestation, revoke_attestation, state_of, subject_of
from hub.attestations.tables import Attestation
from hub.context import Hub
from hub.db import reading, writing
from hub.disclosure import TooOften
from hub.errors import NotFound, UsageProblem
from hub.portal.browser import visit

SCOPE = "account:read"
MOST_BYTES = 8 * 1024
# What anybody may fetch from anywhere, also a wallet that runs in a browser (Token Status List, 8.1).
PUBLIC = {"cache-control": f"public, max-age={int(TTL.total_seconds())}", "access-control-allow-origin": "*"}
AttestationId = Annotated[str, Path(max_length=32, description="the attestation's id, its `jti`")]
ListId = Annotated[int, Path(ge=1, lt=2**31, description="the list's number")]


class HolderKey(BaseModel):
    """The confirmation of RFC 7800 by a JWK."""

    model_config = ConfigDict(strict=True, extra="forbid")

    jwk: dict[str, Any] = Field(description="public key of the holder: EC on P-256")


class Wanted(BaseModel):
    """What to attest."""

    model_config = ConfigDict(strict=True, extra="forbid")

    from_day: str = Field(alias="from", description="first day of the period, China", examples=["2026-01-01"])
    until: str = Field(description="last day of the period, China", examples=["2026-06-30"])
    disclose: list[str] = Field(
        min_length=1, max_length=64, examples=[["final_mg", "by_category_mg.travel"]],
        description=f"claims to disclose: {', '.join((*SINGLE, *GROUPS))}, or one part of a group",
    )  # fmt: skip
    cnf: HolderKey | None = Field(
        default=None, description="key of a holder who will prove it when the statement is shown"
    )


def attestations_router(hub: Hub, gate: Gate) -> APIRouter:
    """Build the router."""
    router = APIRouter(tags=["attestations"])

    @router.post("/v1/attestations", status_code=201, openapi_extra=_described(), responses=_PROBLEMS)
    async def attest(request: Request) -> JSONResponse:
        """Sign a statement of the person's cleared total of a period, of no more than this recipient may see."""
        body = await read_bounded(request, MOST_BYTES)
        return await run_in_threadpool(_attest, hub, gate, request, body)

    @router.get("/v1/attestations", responses=_PROBLEMS)
    async def list_all(request: Request) -> dict[str, Any]:
        """List attestations, newest first, without what they say."""
        return await run_in_threadpool(_list, hub, gate, request)

    @router.get("/v1/attestations/{attestation_id}", responses=_PROBLEMS)
    async def show(request: Request, attestation_id: AttestationId) -> dict[str, Any]:
        """Tell how one attestation stands."""
        return await run_in_threadpool(_show, hub, gate, request, attestation_id)

    async def revoke(request: Request, attestation_id: AttestationId) -> dict[str, Any]:
        """Take an attestation back: the person alone, signed in, with the session's token in `x-csrf-token`."""
        return await run_in_threadpool(_revoke, hub, request, attestation_id)

    for method, path in (
        ("POST", "/v1/attestations/{attestation_id}/revoke"),
        ("DELETE", "/v1/attestations/{attestation_id}"),
    ):
        router.add_api_route(path, revoke, methods=[method], responses=_PROBLEMS)

    @router.get(f"{PATH}/{{list_id}}", response_class=Response)
    def status_list(list_id: ListId) -> Response:
        """Give a status list as it is now: a JWT of the type `statuslist+jwt`."""
        now = hub.clock()
        with reading(hub.engine) as session:
            bits = load_bits(session, list_id)
        if bits is None:
            raise NotFound("there is no such status list")
        issuer = hub.settings.issuer
        token = sign_status_list(hub.ring.attestation_key, bits, uri=uri_of(issuer, list_id), issuer=issuer, now=now)
        return Response(token, media_type="application/statuslist+jwt", headers=PUBLIC)

    @router.get("/.well-known/jwt-vc-issuer")
    def issuer_metadata() -> JSONResponse:
        """Give the public keys that sign attestations and status lists, retired ones too."""
        document = {"issuer": hub.settings.issuer, "jwks": {"keys": hub.ring.published_for_attestations()}}
        return JSONResponse(document, headers=PUBLIC)

    return router


def _attest(hub: Hub, gate: Gate, request: Request, body: bytes) -> JSONResponse:
    grant = gate.enter_for_person(gate.call(request), SCOPE)
    write = parse_write(request, body)
    again = Repeatable.of(write.key, write.digest)
    try:
        issued = issue_for(hub, grant, parse_wanted(body), again=again, now=hub.clock())
    except TooMany as refused:
        raise HTTPException(429, str(refused)) from None
    except TooOften as refused:
        raise HTTPException(403, str(refused)) from None
    return JSONResponse(_issued(hub, issued), 201)


def parse_wanted(body: bytes) -> Asked:
    """Read what to attest; raises UsageProblem, which repeats nothing of it."""
    try:
        wanted = Wanted.model_validate(parse_object(body))
        holder = None if wanted.cnf is None else public_members(parse_public_key(wanted.cnf.jwk))
    except MalformedJsonError as cause:
        raise UsageProblem(f"the request is not strict JSON ({cause.reason})") from None
    except ValidationError as cause:
        first = cause.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageProblem(f"the request is not of the agreed form ({where}: {first['msg']})") from None
    except JwtInvalid as cause:
        raise UsageProblem(f"cnf.jwk: {cause}") from None
    since, until = parse_day(wanted.from_day, "from"), parse_day(wanted.until, "until")
    return Asked(since=since, until=until, disclose=tuple(wanted.disclose), holder=holder)


def _list(hub: Hub, gate: Gate, request: Request) -> dict[str, Any]:
    subject_id, recipient = _asker(hub, gate, request)
    with reading(hub.engine) as session:
        rows = load_attestations(session, subject_id=subject_id, recipient=recipient)
    return {"attestations": [_told(hub, row) for row in rows]}


def _show(hub: Hub, gate: Gate, request: Request, attestation_id: str) -> dict[str, Any]:
    subject_id, recipient = _asker(hub, gate, request)
    with reading(hub.engine) as session:
        row = require_attestation(session, attestation_id, subject_id=subject_id, recipient=recipient)
    return _told(hub, row)


def _revoke(hub: Hub, request: Request, attestation_id: str) -> dict[str, Any]:
    current = visit(hub, request)
    if current is None or current.subject_id is None or "authorization" in request.headers:
        raise HTTPException(403, "Only the person can take an attestation back, signed in at this hub.")
    token = request.headers.get("x-csrf-token", "")
    if not hmac.compare_digest(current.info.csrf.encode(), token.encode("utf-8", "replace")):
        raise HTTPException(403, "The session's token is missing from x-csrf-token.")
    with writing(hub.engine) as session:
        row = require_attestation(session, attestation_id, subject_id=current.subject_id)
        revoke_attestation(session, row, Reason.BY_PERSON, hub.clock())
        return _told(hub, row)


def _asker(hub: Hub, gate: Gate, request: Request) -> tuple[int, str | None]:
    """Return whose attestations may be told of, and of which recipient only; None where the person asks, who sees all."""
    current = visit(hub, request)
    if current is not None and current.subject_id is not None and "authorization" not in request.headers:
        return current.subject_id, None
    grant = gate.enter_for_person(gate.call(request), SCOPE)
    return grant.subject_id, grant.terms.recipient


def _issued(hub: Hub, issued: Issued) -> dict[str, Any]:
    return {**_told(hub, issued.row), "attestation": issued.statement}


def _told(hub: Hub, row: Attestation) -> dict[str, Any]:
    return {
        "attestation_id": row.attestation_id,
        "recipient": row.recipient,
        "subject": subject_of(hub.ring, row),
        "from": row.since and row.since.isoformat(),
        "until": row.until and row.until.isoformat(),
        "disclosed": json.loads(row.disclosed),
        "state": state_of(row, hub.clock()),
        "created_at": row.created_at.isoformat(),
        "expires_at": row.expires_at.isoformat(),
        "revoked_at": row.revoked_at and row.revoked_at.isoformat(),
        "reason": row.reason,
        "status": {"status_list": {"idx": row.list_index, "uri": uri_of(hub.settings.issuer, row.list_id)}},
    }


def _problem(what: str) -> dict[str, Any]:
    return {"description": what, "content": {"application/problem+json": {}}}


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: _problem("no token, a dead one, or no proof of its key"),
    403: _problem("the token lacks the scope account:read or is no person's; the person allowed fewer looks"),
    404: _problem("there is no such attestation, or it is not the caller's to see"),
    409: _problem("the Idempotency-Key came before with another request"),
    422: _problem("not of the agreed form, no such period or claim, or nothing was cleared in the period"),
    429: _problem(f"more than {MOST_A_DAY} attestations of this person for this recipient today"),
}


def _described() -> dict[str, Any]:
    """Describe the body, which is read by hand: the framework's reader keeps the last of two equal keys."""
    schema = Wanted.model_json_schema()
    schema["properties"]["cnf"] = {"anyOf": [schema.pop("$defs")["HolderKey"], {"type": "null"}]}
    key = {"name": "Idempotency-Key", "in": "header", "required": True, "schema": {"type": "string", "maxLength": 200}}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}, "parameters": [key]}
