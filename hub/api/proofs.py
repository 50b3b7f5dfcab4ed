"""Proofs for regulators: /v1/regulator/proofs/... I/O: HTTP, the database.

Each answer is a bundle that `tanlian log verify --bundle FILE --key VKEY` checks without this hub. Every call is itself
logged before it is answered (hub/api/regulators.py). A bundle has no personal data; which record is whose is learnt within
a case, elsewhere.
"""

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Request

from hub.api.access import Gate
from hub.api.regulators import enter_regulator
from hub.context import Hub
from hub.db import reading
from hub.log.checkpoint import MAX_SIZE
from hub.log_signing import log_signer
from hub.proving.bundling import Gone, Prover
from hub.proving.decisions import DecisionTrees
from hub.staff.rights import What

RecordId = Annotated[int, Path(ge=1, lt=2**63, description="the record's number")]
WindowId = Annotated[int, Path(ge=1, lt=2**31, description="the window's number")]
LeafIndex = Annotated[int, Path(ge=0, le=MAX_SIZE, description="the leaf's place in the log")]


def proofs_router(hub: Hub, gate: Gate) -> APIRouter:
    """Build the router."""
    router = APIRouter(prefix="/v1/regulator/proofs", tags=["regulator"], responses=_PROBLEMS)
    prover = Prover(signer=log_signer(hub), trees=DecisionTrees())

    def enter(request: Request, **about: int) -> None:
        told = {name: str(value) for name, value in about.items()}
        enter_regulator(hub, gate, gate.call(request), What.PROOF_SEEN, about=told)

    @router.get("/records/{record_id}")
    def record(request: Request, record_id: RecordId) -> dict[str, Any]:
        """Prove that a record is one of those that its batch committed to when it came."""
        enter(request, record=record_id)
        with reading(hub.engine) as session:
            try:
                return prover.prove_record(session, record_id)
            except Gone as gone:
                raise HTTPException(410, str(gone)) from None

    @router.get("/windows/{window_id}")
    def window(request: Request, window_id: WindowId) -> dict[str, Any]:
        """Prove a final window's manifest: its sums, ranges, positions and roots."""
        enter(request, window=window_id)
        with reading(hub.engine) as session:
            return prover.prove_window(session, window_id)

    @router.get("/windows/{window_id}/decisions/{record_id}")
    def decision(request: Request, window_id: WindowId, record_id: RecordId) -> dict[str, Any]:
        """Prove what a final window decided about a record."""
        enter(request, window=window_id, record=record_id)
        with reading(hub.engine) as session:
            return prover.prove_decision(session, window_id, record_id)

    @router.get("/leaves/{index}")
    def leaf(request: Request, index: LeafIndex) -> dict[str, Any]:
        """Prove that a leaf stands in the log."""
        enter(request, leaf=index)
        with reading(hub.engine) as session:
            return prover.prove_leaf(session, index)

    return router


def _problem(what: str) -> dict[str, Any]:
    return {"description": what, "content": {"application/problem+json": {}}}


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    401: _problem("no token, a dead one, or no proof of its key"),
    403: _problem("the token lacks the scope, or its client is of no regulator with this right"),
    404: _problem("there is no such record, window or leaf, or the window decided nothing about the record"),
    409: _problem("the window is not final"),
    410: _problem("the person of the record, or of another one of its batch, was erased"),
    503: _problem("no checkpoint covers it yet; Retry-After says when to ask again"),
}
