"""Who calls a protected address, and for whom. I/O: HTTP, the database.

Reading needs a write too: the proof of a key is used up. So every check runs in a transaction of its own that commits
whatever comes of it; what the token allows is looked at again where the data is read, in the transaction that reads it.
"""

from fastapi import HTTPException, Request

from consent.authority import Authority
from consent.grants import Grant
from consent.routes import Certificate, api_call
from consent.tokens import ApiCall, TokenInfo, TokenRefused, require_token
from hub.authority import authority_of, certificate_of
from hub.context import Hub
from hub.db import writing
from hub.exchange.counting import note_caller

SENTENCES = {
    "": "An access token is needed.",
    "invalid_token": "The access token is over, revoked or not known.",
    "invalid_dpop_proof": "The request does not prove the key that the token is bound to.",
    "use_dpop_nonce": "The proof needs the nonce of this answer.",
    "insufficient_scope": "The token does not cover this.",
}


class Gate:
    """Lets requests in by their token."""

    def __init__(self, hub: Hub, *, authority: Authority | None = None) -> None:
        self.hub = hub
        self.authority = authority or authority_of(hub)
        self.certificate: Certificate = certificate_of(hub)

    def call(self, request: Request) -> ApiCall:
        """Take from a request what it proves itself with."""
        return api_call(request, self.authority.issuer, self.certificate)

    def enter(self, call: ApiCall, scope: str) -> TokenInfo:
        """Return who calls, or answer 401 or 403 as RFC 6750 and RFC 9449 say."""
        refused: TokenRefused | None = None
        with writing(self.hub.engine) as session:
            try:
                token = require_token(
                    session, call, scope=scope, issuer=self.authority.issuer, nonces=self.authority.nonces,
                    now=self.hub.clock(),
                )  # fmt: skip
                note_caller(token.participant)
                return token
            except TokenRefused as error:
                refused = error
        raise HTTPException(refused.status, SENTENCES[refused.error], dict(refused.headers))

    def enter_for_person(self, call: ApiCall, scope: str) -> Grant:
        """Return the grant of the person for whom the caller acts."""
        token = self.enter(call, scope)
        if token.grant is None:
            raise HTTPException(403, "This address is about a person; the token is no person's.")
        return token.grant
