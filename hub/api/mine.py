"""The person's own: their links, consents and receipts, as data. I/O: HTTP, the database.

Two may ask. The person, signed in at the portal, sees all of it. A recipient with the person's token sees what concerns
itself: its own consents and receipts, and the links to platforms that its consent names.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Request
from starlette.concurrency import run_in_threadpool

from consent.details import load_details
from consent.grants import Grant, load_grants
from consent.links import load_links
from consent.pairwise import pairwise_subject
from consent.receipts import load_receipts
from consent.terms import HUB, GrantTerms
from hub.api.access import Gate
from hub.context import Hub
from hub.db import reading
from hub.ledger.yearly import FIRST_YEAR, LAST_YEAR, load_year
from hub.portal.browser import visit

SCOPE = "account:read"
Year = Annotated[int, Path(ge=FIRST_YEAR, le=LAST_YEAR)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """For whom the answer is: `grant` is None where the person asks, who sees all."""

    subject_id: int
    grant: Grant | None

    def sees(self, terms: GrantTerms) -> bool:
        return self.grant is None or terms.recipient == self.grant.terms.recipient


def mine_router(hub: Hub, gate: Gate) -> APIRouter:
    """Build the router."""
    router = APIRouter(prefix="/v1", tags=["mine"])

    @router.get("/links")
    async def links(request: Request) -> dict[str, Any]:
        """List linked accounts, open and ended, without the account's number."""
        return await run_in_threadpool(_links, hub, gate, request)

    @router.get("/consents")
    async def consents(request: Request) -> dict[str, Any]:
        """List consents as they stand now: asked, given, refused, paused, withdrawn or over."""
        return await run_in_threadpool(_consents, hub, gate, request)

    @router.get("/receipts")
    async def receipts(request: Request) -> dict[str, Any]:
        """List signed receipts; each verifies with the keys at /oauth/jwks."""
        return await run_in_threadpool(_receipts, hub, gate, request)

    @router.get("/account/years/{year}")
    async def year(request: Request, year: Year) -> dict[str, Any]:
        """Return the signed-in person's statement of a year: opening and closing balances, and what moved each month."""
        return await run_in_threadpool(_year, hub, gate, request, year)

    return router


def _asker(hub: Hub, gate: Gate, request: Request) -> Asker:
    current = visit(hub, request)
    if current is not None and current.subject_id is not None and "authorization" not in request.headers:
        return Asker(subject_id=current.subject_id, grant=None)
    grant = gate.enter_for_person(gate.call(request), SCOPE)
    return Asker(subject_id=grant.subject_id, grant=grant)


def _links(hub: Hub, gate: Gate, request: Request) -> dict[str, Any]:
    asker = _asker(hub, gate, request)
    seen = None
    if asker.grant is not None:
        seen = {word for one in load_details(asker.grant.terms.details) for word in one.platforms}
    with reading(hub.engine) as session:
        found = load_links(session, subject_id=asker.subject_id)
    return {
        "links": [
            {
                "link_id": link.link_id,
                "platform": link.platform,
                "state": link.state,
                "valid_from": link.valid_from.isoformat(),
                "valid_until": link.valid_until.isoformat() if link.valid_until else None,
            }
            for link in found
            if seen is None or link.platform in seen
        ]
    }


def _consents(hub: Hub, gate: Gate, request: Request) -> dict[str, Any]:
    asker = _asker(hub, gate, request)
    with reading(hub.engine) as session:
        found = load_grants(session, subject_id=asker.subject_id)
    return {"consents": [_told(hub, one) for one in found if asker.sees(one.terms)]}


def _receipts(hub: Hub, gate: Gate, request: Request) -> dict[str, Any]:
    asker = _asker(hub, gate, request)
    with reading(hub.engine) as session:
        allowed = {
            one.grant_id for one in load_grants(session, subject_id=asker.subject_id) if asker.sees(one.terms)
        }  # fmt: skip
        found = load_receipts(session, hub.ring, subject_id=asker.subject_id)
    return {
        "receipts": [
            {
                "receipt_id": one.receipt_id,
                "grant_id": one.grant_id,
                "version": one.version,
                "created_at": one.created_at.isoformat(),
                "receipt": one.jws,
            }
            for one in found
            if one.grant_id in allowed
        ]
    }


def _year(hub: Hub, gate: Gate, request: Request, year: int) -> dict[str, Any]:
    asker = _asker(hub, gate, request)
    if asker.grant is not None:
        # A recipient sees the acts that its consent names; sums of everything would tell it of the others.
        raise HTTPException(403, "a statement of a year is for the person, signed in")
    with reading(hub.engine) as session:
        return load_year(session, asker.subject_id, year).to_dict()


def _told(hub: Hub, grant: Grant) -> dict[str, Any]:
    terms = grant.terms
    return {
        "grant_id": grant.grant_id,
        "version": grant.version,
        "state": grant.state.value,
        "recipient": terms.recipient,
        "subject": None if terms.recipient == HUB else pairwise_subject(hub.ring, terms.recipient, grant.subject_id),
        "purposes": sorted(terms.purposes),
        "behaviours": sorted(terms.behaviours),
        "platforms": sorted(terms.platforms),
        "sensitive": sorted(terms.sensitive),
        "valid_from": terms.valid_from.isoformat(),
        "valid_until": terms.valid_until.isoformat(),
        "frequency": terms.frequency.value,
        "data_life_days": terms.data_life_days,
        "notice_version": terms.notice_version,
        "language": terms.language,
        "assurance": grant.assurance.value,
        "changed_at": grant.created_at.isoformat(),
    }
