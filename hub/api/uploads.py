"""Files that a person's app brings for them: POST /v1/uploads/{participant}. I/O: HTTP, the database.

The caller has the person's token with the action `contribute`, and the person has linked the source and lets the hub
collect from it: both are asked, because the one says who may bring files and the other what the hub may take.
"""

from fastapi import APIRouter, HTTPException, Request, Response
from starlette.concurrency import run_in_threadpool

from connectors.base import Reply, problem
from consent.link_access import LinkUnusable
from consent.terms import Purpose
from consent.tokens import ApiCall
from hub.api.access import Gate
from hub.api.bodies import BodyTooLarge, read_bounded
from hub.context import Hub
from hub.uploads import take_upload

SCOPE = "records:write"


def uploads_router(hub: Hub, gate: Gate) -> APIRouter:
    """Build the router."""
    router = APIRouter(prefix="/v1", tags=["uploads"])

    @router.post("/uploads/{participant}", openapi_extra=_DESCRIBED)
    async def upload(request: Request, participant: str) -> Response:
        """Take a file of the person's own, as it was exported. The same file again changes nothing."""
        call = gate.call(request)
        try:
            body = await read_bounded(request, hub.settings.max_body_bytes)
        except BodyTooLarge:
            return _response(problem(413, "file_too_large", "The file is larger than this hub takes."))
        return _response(await run_in_threadpool(_upload, hub, gate, call, participant, body))

    return router


_DESCRIBED = {
    "requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string"}}}}
}


def _upload(hub: Hub, gate: Gate, call: ApiCall, participant: str, body: bytes) -> Reply:
    grant = gate.enter_for_person(call, SCOPE)
    if Purpose.COLLECT not in grant.terms.purposes or participant not in grant.terms.platforms:
        raise HTTPException(403, "the person has not allowed this app to bring records of that source")
    try:
        return take_upload(hub, grant.subject_id, participant, body, now=hub.clock())
    except LinkUnusable:
        raise HTTPException(403, "the person's consent does not let the hub collect from that source now") from None


def _response(reply: Reply) -> Response:
    return Response(content=reply.body, status_code=reply.status, headers=dict(reply.headers))
