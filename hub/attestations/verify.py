"""Check an attestation with nothing but public keys, and its status with a copy of the list. No database, no network. Pure.

In this order: form, signature and type, times, disclosures, whom it is for, who holds it, what the list says. What is wrong is
told; a statement that is revoked is well-formed and genuine, and says so by its state. Source: RFC 9901, 7.1 and 7.3; SD-JWT
VC, draft-ietf-oauth-sd-jwt-vc-25, 3.4; Token Status List, 8.3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from joserfc.jwk import ECKey

from hub.attestations.content import TYPE, VCT
from hub.attestations.jwt import JwtInvalid, open_jwt, open_with, parse_public_key
from hub.attestations.sdjwt import Opened, Presentation, SdJwtInvalid, digest_of, open_disclosures, split
from hub.attestations.statuslist import StatusListInvalid, open_status_list

MOST_BYTES = 64 * 1024
KEY_BINDING = "kb+jwt"
AHEAD = timedelta(seconds=60)
PROOF_LIFE = timedelta(minutes=10)
# What SD-JWT VC forbids to hide: a holder could otherwise leave out that the statement is over or bound to a key.
NEVER_HIDDEN = frozenset({"iss", "nbf", "exp", "cnf", "vct", "status"})


class AttestationInvalid(ValueError):
    """The statement proves nothing; the text says why."""


class Status(StrEnum):
    """What is known of a revocation."""

    VALID = "valid"
    REVOKED = "revoked"
    NOT_CHECKED = "not_checked"


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuerKeys:
    """Public keys by key id, and whose they are where the file says so."""

    keys: Mapping[str, ECKey]
    issuer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the verifier asked for.

    Args:
        audience: who is shown the statement; it must be for them, or be bound to them by its holder.
        nonce: what the verifier had its holder sign. most_status_age: how old the list may be.
    """

    audience: str | None = None
    nonce: str | None = None
    most_status_age: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """What a genuine statement shows. `holder_proved`: its holder signed this showing with the key that it names."""

    claims: dict[str, Any]
    disclosed: tuple[str, ...]
    hidden: int
    holder_proved: bool
    status: Status
    status_at: datetime | None = None


def parse_keys(document: object) -> IssuerKeys:
    """Read a key set, or the issuer metadata that carries one (`jwks`). Raises AttestationInvalid."""
    told = document if isinstance(document, dict) else {}
    issuer = told.get("issuer")
    listed = told["jwks"].get("keys") if isinstance(told.get("jwks"), dict) else told.get("keys")
    if not isinstance(listed, list) or not (issuer is None or isinstance(issuer, str)):
        raise AttestationInvalid("no set of keys: it needs `keys`, or `issuer` and `jwks`")
    try:
        keys = [parse_public_key(one) for one in listed if isinstance(one, dict) and one.get("kty") == "EC"]
    except JwtInvalid as cause:
        raise AttestationInvalid(str(cause)) from cause
    return IssuerKeys(keys={str(key.kid): key for key in keys if key.kid}, issuer=issuer)


def verify_attestation(
    text: str, issuer: IssuerKeys, *, now: datetime, expected: Expected | None = None, status_list: str | None = None
) -> Verified:
    """Check a statement and return what it shows.

    Args:
        status_list: a status list token, as it was fetched from the address that the statement names.

    Raises:
        AttestationInvalid: forged, changed, over, for somebody else, shown by somebody else, or its list cannot be used.
    """
    expected = expected or Expected()
    text = text.strip()
    if len(text) > MOST_BYTES:
        raise AttestationInvalid(f"longer than {MOST_BYTES} bytes")
    try:
        shown = split(text)
        payload = open_jwt(shown.signed, issuer.keys, TYPE)
        opened = open_disclosures(payload, shown.disclosures)
        _require_claims(payload, opened, issuer)
        _require_time(payload, now)
        proved = _check_holder(shown, payload, expected, now)
        status, at = _check_status(payload, issuer, expected, status_list, now)
    except (JwtInvalid, SdJwtInvalid, StatusListInvalid) as cause:
        raise AttestationInvalid(str(cause)) from cause
    return Verified(
        claims=opened.claims, disclosed=tuple(sorted(opened.paths)), hidden=opened.hidden, holder_proved=proved,
        status=status, status_at=at,
    )  # fmt: skip


def _require_claims(payload: Mapping[str, Any], opened: Opened, issuer: IssuerKeys) -> None:
    if NEVER_HIDDEN & opened.paths.keys():
        raise AttestationInvalid("a claim is hidden that must stand in the open")
    if payload.get("vct") != VCT:
        raise AttestationInvalid("signed, but no attestation of a cleared total")
    if not isinstance(payload.get("iss"), str) or (issuer.issuer is not None and payload["iss"] != issuer.issuer):
        raise AttestationInvalid("the keys are not those of the issuer that the statement names")


def _require_time(payload: Mapping[str, Any], now: datetime) -> None:
    issued, ends, begins = (_instant(payload, name) for name in ("iat", "exp", "nbf"))
    if ends is None or issued is None:
        raise AttestationInvalid("it does not say when it was made, or until when it is good")
    if ends <= now:
        raise AttestationInvalid(f"it is over since {ends:%Y-%m-%d %H:%M}Z")
    if max(issued, begins or issued) > now + AHEAD:
        raise AttestationInvalid("it is of a time that has not come; look at the clock of this machine")


def _check_holder(shown: Presentation, payload: Mapping[str, Any], expected: Expected, now: datetime) -> bool:
    """Check for whom the statement is and that its holder shows it; returns whether the holder proved their key."""
    audience = _audience(payload)
    if expected.audience is not None and audience and expected.audience not in audience:
        raise AttestationInvalid("it was made for somebody else")
    cnf = payload.get("cnf")
    asked = expected.audience is not None or expected.nonce is not None
    if not shown.binding:
        # Without this a statement that was seen somewhere could be shown by whoever saw it.
        if expected.nonce is not None or (asked and cnf is not None and not audience):
            raise AttestationInvalid("its holder has not proved the key that it names (no key binding)")
        return False
    if not isinstance(cnf, dict):
        raise AttestationInvalid("it comes with a proof of a key, and names none")
    proof = open_with(shown.binding, parse_public_key(cnf.get("jwk")), KEY_BINDING)
    made = _instant(proof, "iat")
    if proof.get("sd_hash") != digest_of(shown.unbound):
        raise AttestationInvalid("its holder proved the key for another showing")
    if expected.audience is not None and proof.get("aud") != expected.audience:
        raise AttestationInvalid("its holder showed it to somebody else")
    if expected.nonce is not None and proof.get("nonce") != expected.nonce:
        raise AttestationInvalid("its holder proved the key on another occasion")
    if made is None or made > now + AHEAD or (asked and made < now - PROOF_LIFE):
        raise AttestationInvalid("its holder proved the key at another time")
    return True


def _check_status(
    payload: Mapping[str, Any], issuer: IssuerKeys, expected: Expected, text: str | None, now: datetime
) -> tuple[Status, datetime | None]:
    index, uri = _place(payload)
    if text is None:
        return Status.NOT_CHECKED, None
    found = open_status_list(text, issuer.keys, uri=uri, issuer=payload["iss"], now=now)
    issued = _instant(payload, "iat")
    if issued is not None and found.issued_at < issued - AHEAD:
        raise AttestationInvalid("the status list is older than the statement; fetch a fresh one")
    if expected.most_status_age is not None and found.issued_at < now - expected.most_status_age:
        raise AttestationInvalid(f"the status list is of {found.issued_at:%Y-%m-%d %H:%M:%S}Z; fetch a fresh one")
    return (Status.REVOKED if found.is_revoked(index) else Status.VALID), found.issued_at


def _place(payload: Mapping[str, Any]) -> tuple[int, str]:
    status = payload.get("status")
    told = status.get("status_list") if isinstance(status, dict) else None
    index, uri = (told.get("idx"), told.get("uri")) if isinstance(told, dict) else (None, None)
    if isinstance(index, bool) or not isinstance(index, int) or index < 0 or not isinstance(uri, str):
        raise AttestationInvalid("it names no place in a status list")
    return index, uri


def _audience(payload: Mapping[str, Any]) -> Sequence[object]:
    told = payload.get("aud")
    return told if isinstance(told, list) else [] if told is None else [told]


def _instant(claims: Mapping[str, Any], name: str) -> datetime | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**40:
        raise AttestationInvalid(f"{name} is no time")
    return datetime.fromtimestamp(value, UTC)
