"""Grant Management for OAuth 2.0 (draft 03): a client asks what a grant allows, or gives it up. I/O: grants, tokens.

The client shows a client-credentials token with the scope for it. A grant that is another client's, over or unknown is
the same 404 in every byte. Giving up is a withdrawal like the person's own: one function, effective at once.
"""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from consent.changes import Change
from consent.details import load_details
from consent.grants import GrantConflict, IllegalTransition, find_client_grant
from consent.requests import Answer, answer_json
from consent.tokens import TokenInfo
from consent.withdraw import withdraw_grant

QUERY_SCOPE, REVOKE_SCOPE = "grant_management_query", "grant_management_revoke"


def query_grant(session: Session, caller: TokenInfo, grant_id: str) -> Answer:
    """GET: what the grant allows now (section 6.4)."""
    grant = find_client_grant(session, grant_id=grant_id, client_id=caller.client_id)
    if grant is None:
        return _unknown()
    document: dict[str, Any] = {
        "scopes": [{"scope": grant.terms.scope}],
        "authorization_details": [detail.to_json() for detail in load_details(grant.terms.details)],
        "created_at": int(grant.created_at.timestamp()),
        "expires_at": int(grant.terms.valid_until.timestamp()),
    }
    return answer_json(200, document)


def give_up_grant(session: Session, caller: TokenInfo, grant_id: str, *, now: datetime) -> tuple[Answer, list[Change]]:
    """DELETE: the grant ends, with every token of it (section 6.5)."""
    grant = find_client_grant(session, grant_id=grant_id, client_id=caller.client_id)
    if grant is None:
        return _unknown(), []
    try:
        changes = withdraw_grant(session, grant_id=grant_id, subject_id=grant.subject_id, now=now, reason="given up")
    except (GrantConflict, IllegalTransition):  # somebody else has just ended it
        return _unknown(), []
    return Answer(status=204, headers={"cache-control": "no-store"}, body=b""), changes


def _unknown() -> Answer:
    return answer_json(404, {"error": "invalid_grant_id", "error_description": "there is no such grant"})
