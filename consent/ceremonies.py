"""The WebAuthn ceremonies: what a browser is asked, and whether its answer holds. Pure.

Who relies on the answer is taken from the hub's own issuer and never from a request: a Host header that a proxy let
through would let another site's passkeys in. User verification is required throughout, because here a passkey stands
alone: whoever only holds the device must not get in.

Source: W3C Web Authentication Level 3, sections 7.1 (registering) and 7.2 (verifying an assertion).
"""

import ipaddress
import json
from dataclasses import dataclass, field
from hashlib import sha256
from urllib.parse import urlsplit

from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    options_to_json,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import parse_authentication_credential_json, parse_registration_credential_json
from webauthn.helpers.structs import (
    AuthenticationCredential,
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    RegistrationCredential,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from consent.errors import ConsentError

TIMEOUT_MS = 5 * 60 * 1000  # what the browser is told; the challenge ends with it (consent/passkeys.py)
CREDENTIAL_ID_BYTES = 1023  # WebAuthn Level 3, section 5.8.3: no authenticator makes longer ones
DEFAULT_PORTS = {"https": 443, "http": 80}


class AnswerRefused(ConsentError):
    """The browser's answer does not hold: another origin, another challenge, a wrong signature, or no such form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RelyingParty:
    """Who asks: the name that passkeys are bound to, and the origin that they may be used on."""

    id: str
    origin: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NewCredential:
    """What a verified registration tells."""

    credential_id: bytes
    public_key: bytes = field(repr=False)
    sign_count: int
    transports: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Assertion:
    """An answer that is read but not verified; it says only whom to look up."""

    credential_hash: str
    user_handle: bytes | None
    raw: AuthenticationCredential = field(repr=False)


def relying_party(issuer: str) -> RelyingParty | None:
    """Return who relies on passkeys under an issuer; None where browsers give none.

    Browsers bind passkeys to a name, so not to an address, and hand them to secure contexts only: https, or localhost.

    Example:
        >>> relying_party("https://Hub.example:443/")
        RelyingParty(id='hub.example', origin='https://hub.example')
        >>> relying_party("http://localhost:8000")
        RelyingParty(id='localhost', origin='http://localhost:8000')
        >>> relying_party("http://127.0.0.1:8000"), relying_party("http://hub.example")
        (None, None)
    """
    parts = urlsplit(issuer)
    name = (parts.hostname or "").rstrip(".")
    if not name or _is_address(name) or not (parts.scheme == "https" or (parts.scheme == "http" and _is_local(name))):
        return None
    port = "" if parts.port in (None, DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
    return RelyingParty(id=name, origin=f"{parts.scheme}://{name}{port}")


def hash_credential(credential_id: bytes) -> str:
    """What a credential is found by."""
    return sha256(credential_id).hexdigest()


def creation_options(
    rp: RelyingParty,
    *,
    challenge: bytes,
    user_handle: bytes,
    user_name: str,
    display_name: str,
    known: list[bytes],
) -> str:
    """Return the JSON that a browser registers a passkey by.

    Args:
        user_handle: random and the same for all passkeys of one owner; it is stored on the device, so it tells nothing.
        known: credential ids that the owner has already; their devices are not asked to make a second one.
    """
    options = generate_registration_options(
        rp_id=rp.id,
        rp_name="Tanlian 碳联",
        user_id=user_handle,
        user_name=user_name,
        user_display_name=display_name,
        challenge=challenge,
        timeout=TIMEOUT_MS,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED, user_verification=UserVerificationRequirement.REQUIRED
        ),
        exclude_credentials=[PublicKeyCredentialDescriptor(id=credential_id) for credential_id in known],
    )
    return options_to_json(options)


def request_options(rp: RelyingParty, *, challenge: bytes, allowed: list[bytes]) -> str:
    """Return the JSON that a browser signs a challenge by; with none `allowed` the person picks one on the device."""
    options = generate_authentication_options(
        rp_id=rp.id,
        challenge=challenge,
        timeout=TIMEOUT_MS,
        allow_credentials=[PublicKeyCredentialDescriptor(id=credential_id) for credential_id in allowed],
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return options_to_json(options)


def verify_creation(rp: RelyingParty, answer: str, *, challenge: bytes) -> NewCredential:
    """Check what a browser answered to `creation_options`. Raises AnswerRefused.

    No attestation is asked for: which make of device a person uses is not the hub's business.
    """
    try:
        raw: RegistrationCredential = parse_registration_credential_json(answer)
        verified = verify_registration_response(
            credential=raw,
            expected_challenge=challenge,
            expected_rp_id=rp.id,
            expected_origin=rp.origin,
            require_user_verification=True,
        )
    except Exception as cause:  # the library and those below it raise whatever a malformed answer leads them to
        raise AnswerRefused("the new passkey could not be verified") from cause
    _require_own_window(raw.response.client_data_json)
    if len(verified.credential_id) > CREDENTIAL_ID_BYTES:
        raise AnswerRefused("the credential's id is too long")
    return NewCredential(
        credential_id=verified.credential_id,
        public_key=verified.credential_public_key,
        sign_count=verified.sign_count,
        transports=tuple(str(one.value) for one in raw.response.transports or ()),
    )


def parse_assertion(answer: str) -> Assertion:
    """Read whom an answer is about. Raises AnswerRefused."""
    try:
        raw = parse_authentication_credential_json(answer)
    except Exception as cause:  # as above
        raise AnswerRefused("the answer is of no known form") from cause
    return Assertion(credential_hash=hash_credential(raw.raw_id), user_handle=raw.response.user_handle or None, raw=raw)


def verify_assertion(rp: RelyingParty, assertion: Assertion, *, challenge: bytes, public_key: bytes) -> int:
    """Check an answer to `request_options`; returns the device's counter. Raises AnswerRefused.

    The counter is compared by the caller, and after the signature: an unsigned number could make anybody's passkey look
    copied.
    """
    try:
        verified = verify_authentication_response(
            credential=assertion.raw,
            expected_challenge=challenge,
            expected_rp_id=rp.id,
            expected_origin=rp.origin,
            credential_public_key=public_key,
            credential_current_sign_count=0,
            require_user_verification=True,
        )
    except Exception as cause:  # as above
        raise AnswerRefused("the signature could not be verified") from cause
    _require_own_window(assertion.raw.response.client_data_json)
    return verified.new_sign_count


def _require_own_window(client_data: bytes) -> None:
    """Refuse what was signed inside another site's frame; the hub's pages may not be framed at all."""
    if json.loads(client_data).get("crossOrigin"):
        raise AnswerRefused("the answer was given inside a page of another site")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_local(name: str) -> bool:
    return name == "localhost" or name.endswith(".localhost")
