"""Receipts: a signed statement to the person of every change of a grant. I/O: `receipt`, `grant_version`.

    {"alg": "ES256", "typ": "consent-receipt+jwt", "kid": ...} . claims (receipt_content.py) . signature

Made in the transaction of the change and kept sealed under the person's data key, so it goes when they are erased. Its
digest may stand in the public log: the statement holds a random id and a random signature, so the digest says nothing to
who does not have the statement. Anybody who has it can verify it with the published keys and no help from the hub.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.errors import ConsentError
from consent.grants import GrantState, parse_grant
from consent.keyring import KeyRing
from consent.pairwise import pairwise_subject
from consent.receipt_content import Setting, receipt_content
from consent.tables import GrantVersion, OAuthClient
from consent.tables import Receipt as ReceiptRow
from consent.terms import HUB
from consent.vault import SubjectVault, load_vault

TYPE = "consent-receipt+jwt"
ALGORITHM = "ES256"
MOST_BYTES = 64 * 1024


class ReceiptInvalid(ConsentError):
    """The statement is no receipt, or nobody whose keys these are has signed it."""


class ReceiptNotFound(ConsentError):
    """No such receipt of this person; whether it is another person's is not told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One receipt as the person gets it; `jws` is the statement, `digest` its SHA-256."""

    receipt_id: str
    grant_id: str
    version: int
    created_at: datetime
    jws: str = field(repr=False)
    digest: bytes


def has_receipt(state: GrantState) -> bool:
    """Whether a version in this state is a decision that the person gets in writing; being asked is none."""
    return state is not GrantState.REQUESTED


def issue_receipt(session: Session, keyring: KeyRing, *, grant_id: str, version: int, issuer: str) -> Receipt | None:
    """Sign and keep the receipt of a version that this transaction has appended.

    None where there is nothing to receive: the version only says that somebody asked, or nobody is left to have it.
    """
    row = session.get_one(GrantVersion, (grant_id, version))
    vault = load_vault(session, keyring, [row.subject_id])
    grant = parse_grant(row)
    if not has_receipt(grant.state) or not vault.has(row.subject_id):
        return None
    setting = Setting(
        receipt_id="r_" + secrets.token_urlsafe(16),
        issuer=issuer,
        principal_id=pairwise_subject(keyring, row.recipient, row.subject_id),
        recipient_name=recipient_name(session, row.recipient),
        issued_at=row.created_at,
    )
    statement = _sign(keyring, receipt_content(grant, setting))
    receipt = ReceiptRow(
        receipt_id=setting.receipt_id,
        grant_id=grant_id,
        version=version,
        subject_id=row.subject_id,
        created_at=row.created_at,
        jws_sealed=vault.seal(
            "receipt",
            "jws_sealed",
            row_id=setting.receipt_id,
            subject_id=row.subject_id,
            plaintext=statement.encode(),
        ),
        digest=sha256(statement.encode()).digest(),
    )
    session.add(receipt)
    session.flush()
    return _opened(receipt, statement)


def load_receipts(session: Session, keyring: KeyRing, *, subject_id: int) -> list[Receipt]:
    """Every receipt of a person, oldest first; none of an erased one.

    Raises SealError if a receipt is not of its row.
    """
    query = select(ReceiptRow).where(col(ReceiptRow.subject_id) == subject_id)
    ordered = query.order_by(col(ReceiptRow.created_at), col(ReceiptRow.grant_id), col(ReceiptRow.version))
    return _open_all(session, keyring, session.scalars(ordered).all())


def require_receipt(session: Session, keyring: KeyRing, *, receipt_id: str, subject_id: int) -> Receipt:
    """One receipt of a person. Raises ReceiptNotFound, also for another person's and for an erased one's."""
    row = session.get(ReceiptRow, receipt_id)
    found = _open_all(session, keyring, [row] if row is not None and row.subject_id == subject_id else [])
    if not found:
        raise ReceiptNotFound
    return found[0]


def open_statement(vault: SubjectVault, row: ReceiptRow) -> str:
    """Open a kept statement. Raises ErasedError, SealError."""
    return vault.open(
        "receipt", "jws_sealed", row_id=row.receipt_id, subject_id=row.subject_id, blob=row.jws_sealed
    ).decode()


def verify_receipt(statement: str, jwks: dict[str, Any]) -> dict[str, Any]:
    """Return the claims of a receipt that one of these public keys signed. Needs no hub and no network.

    Raises:
        ReceiptInvalid: not a receipt, signed by none of these keys, or changed since.
    """
    text = statement.strip()
    if len(text) > MOST_BYTES:
        raise ReceiptInvalid(f"longer than {MOST_BYTES} bytes")
    try:
        keys = KeySet.import_key_set({"keys": [key for key in jwks["keys"] if key.get("kty") == "EC"]})
    except (JoseError, ValueError, KeyError, TypeError, AttributeError) as cause:
        raise ReceiptInvalid("the keys cannot be read") from cause
    try:
        checked = jws.deserialize_compact(text, keys, algorithms=[ALGORITHM])
        claims = json.loads(checked.payload or b"")
    except (JoseError, ValueError, TypeError) as cause:
        raise ReceiptInvalid("the signature is of none of these keys, or the statement was changed") from cause
    if checked.headers().get("typ") != TYPE or not isinstance(claims, dict):
        raise ReceiptInvalid("signed, but not as a receipt")
    return claims


def recipient_name(session: Session, recipient: str) -> str:
    """What people call a recipient: the hub, or the name that a client registered."""
    if recipient == HUB:
        return "Tanlian 碳联"
    client = session.get(OAuthClient, recipient)
    return recipient if client is None else client.client_name


def _sign(keyring: KeyRing, claims: dict[str, Any]) -> str:
    key = keyring.signing_key
    header = {"alg": ALGORITHM, "typ": TYPE, "kid": key.kid}
    payload = json.dumps(claims, ensure_ascii=False, separators=(",", ":")).encode()
    return str(jws.serialize_compact(header, payload, key, algorithms=[ALGORITHM]))


def _open_all(session: Session, keyring: KeyRing, rows: Sequence[ReceiptRow]) -> list[Receipt]:
    vault = load_vault(session, keyring, {row.subject_id for row in rows})
    return [_opened(row, open_statement(vault, row)) for row in rows if vault.has(row.subject_id)]


def _opened(row: ReceiptRow, statement: str) -> Receipt:
    return Receipt(
        receipt_id=row.receipt_id,
        grant_id=row.grant_id,
        version=row.version,
        created_at=row.created_at,
        jws=statement,
        digest=row.digest,
    )
