"""This hub as an OAuth authority: what there is to allow, whose word counts. I/O: files, the database."""

import json
from base64 import b64decode, urlsafe_b64encode
from hashlib import sha256

from fastapi import Request
from sqlalchemy.orm import Session

from consent.authority import Authority
from consent.details import Known
from consent.dpop import Nonces
from consent.keyring import KeyPurpose
from consent.routes import Certificate
from hub.context import Hub
from hub.errors import UsageProblem
from hub.participants import load_participants
from standards.behaviours import accepted_behaviours

CERTIFICATE_BYTES = 16 * 1024


def authority_of(hub: Hub) -> Authority:
    """Return the authority; raises UsageProblem if the file of trusted registries cannot be read."""
    settings = hub.settings
    return Authority(
        issuer=settings.issuer,
        keyring=hub.ring,
        nonces=Nonces(key=hub.ring.digest(KeyPurpose.SESSION, "dpop-nonce"), required=settings.dpop_nonce),
        known=_known,
        look_back=settings.consent_look_back,
        registries=_registries(hub),
        certificates=settings.client_certificate_header is not None,
    )


def certificate_of(hub: Hub) -> Certificate:
    """Return what reads the client's certificate from the header that the operator's own proxy sets (RFC 9440).

    Without that setting no header counts: anybody could send one.
    """
    name = hub.settings.client_certificate_header

    def thumbprint(request: Request) -> str | None:
        value = request.headers.get(name, "").strip() if name else ""
        if len(value) < 3 or len(value) > CERTIFICATE_BYTES or value[0] != ":" or value[-1] != ":":
            return None
        try:
            certificate = b64decode(value[1:-1], validate=True)
        except ValueError:
            return None
        return urlsafe_b64encode(sha256(certificate).digest()).rstrip(b"=").decode()

    return thumbprint


def _known(session: Session) -> Known:
    platforms = frozenset(row.participant_id for row in load_participants(session))
    return Known(behaviours=frozenset(accepted_behaviours()), platforms=platforms)


def _registries(hub: Hub) -> dict[str, object]:
    path = hub.settings.trusted_registries
    if path is None:
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as cause:
        raise UsageProblem(f"TANLIAN_TRUSTED_REGISTRIES: {path} cannot be read as JSON") from cause
    if not isinstance(found, dict) or not all(isinstance(keys, dict) and "keys" in keys for keys in found.values()):
        raise UsageProblem(f"TANLIAN_TRUSTED_REGISTRIES: {path} must map each registry's issuer to its JWKS")
    return found
