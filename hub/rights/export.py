"""Everything about one person, for that person (PIPL articles 45 and 47). I/O: reads the database."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import IO, Any

from sqlalchemy import inspect, select, text
from sqlalchemy.orm import Session
from sqlmodel import SQLModel

from consent.guardians import load_birth_date
from consent.link_access import open_access
from consent.links import load_links
from consent.passkeys import Owner, load_passkeys
from consent.people import load_person
from consent.receipts import load_receipts
from consent.tables import GrantVersion, GuardianRequest, Link
from consent.vault import load_vault
from hub.attestations.store import load_attestations, open_claims, open_whole, state_of
from hub.clock import from_micros
from hub.context import Hub
from hub.db import reading
from hub.disputes.showing import export_disputes
from hub.errors import NotFound
from hub.ledger.store import load_balances
from hub.market.mine import load_payouts_of, load_shares_of
from hub.rights.archive import write_archive

_SQL = {
    "reduction_records": (
        "SELECT record_id, platform, role, behaviour, start_us, end_us, precision, quantity_micro, unit, region, claimed_mg, "
        "reference_mg, factor_id, methodology, mapping, window_id FROM reduction_record WHERE subject_id = :s "
        "ORDER BY record_id"
    ),
    "decisions": (
        "SELECT record_id, event_id, verdict, rule, reason, counted_mg, canonical_record_id, policy, provisional, window_id "
        "FROM decision WHERE subject_id = :s ORDER BY record_id, window_id"
    ),
    "events": (
        "SELECT e.event_id, e.behaviour, e.start_us, e.end_us, e.mg, e.records, e.policy, e.methodology, e.provisional, "
        "e.window_id, CASE WHEN v.event_id IS NULL THEN 0 ELSE 1 END AS taken_back, "
        "COALESCE(j.taken_mg, 0) AS part_taken_back_mg FROM event e "
        "LEFT JOIN event_adjusted j ON j.event_id = e.event_id "
        "LEFT JOIN event_reversal v ON v.event_id = e.event_id WHERE e.subject_id = :s ORDER BY e.event_id"
    ),
    "programmes": (
        "SELECT m.programme_id, p.participant_id, p.name_zh, p.name_en, m.joined_at, m.left_at FROM programme_membership m "
        "JOIN programme p ON p.programme_id = m.programme_id WHERE m.subject_id = :s ORDER BY m.joined_at, m.membership_id"
    ),
    "disclosures": (
        "SELECT disclosure_id, grant_id, grant_version, recipient, what, rows, at FROM disclosure WHERE subject_id = :s "
        "ORDER BY disclosure_id"
    ),
    "entries": (
        "SELECT e.entry_id, e.kind, e.reason, e.posted_at, e.source_id, e.reverses, p.line, a.kind AS account, p.vintage, "
        "p.window_id, p.mg FROM posting p JOIN account a ON a.account_id = p.account_id "
        "JOIN journal_entry e ON e.entry_id = p.entry_id WHERE a.subject_id = :s ORDER BY e.entry_id, p.line"
    ),
}


def export_person(hub: Hub, subject_id: int, target: IO[bytes]) -> None:
    """Write a person's archive; all of it is of one moment. Raises NotFound for the unknown and the erased."""
    now = hub.clock()
    with reading(hub.engine) as session:
        profile = _profile(session, hub, subject_id)
        sections: dict[str, list[dict[str, Any]]] = {
            "links": list(_links(session, hub, subject_id)),
            "consents": list(_whole(session, GrantVersion, subject_id, "grant_id", "version")),
            "guardian_requests": list(_whole(session, GuardianRequest, subject_id, "created_at", "request_id")),
            "receipts": [
                {"receipt_id": one.receipt_id, "grant_id": one.grant_id, "version": one.version,
                 "created_at": one.created_at, "statement": one.jws}
                for one in load_receipts(session, hub.ring, subject_id=subject_id)
            ],
            "attestations": list(_attestations(session, hub, subject_id, now)),
            "disputes": export_disputes(session, hub, subject_id, now),
            "source_records": list(_sources(session, hub, subject_id)),
            "market_shares": list(load_shares_of(session, subject_id)),
            "market_income": list(load_payouts_of(session, subject_id)),
        }  # fmt: skip
        sections |= {name: list(_rows(session, sql, subject_id)) for name, sql in _SQL.items()}
    write_archive(target, profile, sections, key=hub.ring.signing_key, issuer=hub.settings.issuer, now=now)


def _profile(session: Session, hub: Hub, subject_id: int) -> dict[str, Any]:
    person = load_person(session, subject_id)
    if person is None:
        raise NotFound("there is no such person")
    return {
        "name": person.username,
        "display_name": person.display_name,
        "birth_date": load_birth_date(session, hub.ring, person),
        "created_at": person.created_at,
        "has_password": person.password_hash is not None,
        "passkeys": [
            {"name": key.name, "created_at": key.created_at, "used_at": key.used_at}
            for key in load_passkeys(session, Owner(subject_id=subject_id))
        ],
        "balances_mg": load_balances(session, subject_id),
    }


def _links(session: Session, hub: Hub, subject_id: int) -> Iterator[dict[str, Any]]:
    for link in reversed(load_links(session, subject_id=subject_id)):
        yield {
            "link_id": link.link_id, "platform": link.platform, "account": _account(session, hub, link),
            "state": link.state, "grant_id": link.grant_id, "valid_from": link.valid_from, "valid_until": link.valid_until,
            "scope": link.scope, "holds_a_token": link.token_sealed is not None, "created_at": link.created_at,
        }  # fmt: skip


def _account(session: Session, hub: Hub, link: Link) -> str:
    return open_access(session, hub.ring, link).account


def _attestations(session: Session, hub: Hub, subject_id: int, now: datetime) -> Iterator[dict[str, Any]]:
    """Every attestation of the person, to whom it went, and all that it says, also what was not shown."""
    for row in reversed(load_attestations(session, subject_id=subject_id)):
        statement = open_whole(session, hub.ring, row)
        yield {
            "attestation_id": row.attestation_id, "recipient": row.recipient, "grant_id": row.grant_id,
            "state": state_of(row, now), "created_at": row.created_at, "expires_at": row.expires_at,
            "revoked_at": row.revoked_at, "reason": row.reason, "disclosed": json.loads(row.disclosed),
            "claims": open_claims(statement).claims, "statement": statement,
        }  # fmt: skip


def _whole(session: Session, table: type[SQLModel], subject_id: int, *order: str) -> Iterator[dict[str, Any]]:
    """The person's rows of a table, with all that they say: every version of a consent, what a guardian was asked."""
    names = [one.key for one in inspect(table).column_attrs if one.key != "subject_id"]
    wanted = select(table).where(text("subject_id = :s")).order_by(*(getattr(table, name) for name in order))
    for row in session.scalars(wanted, {"s": subject_id}):
        yield {name: _parsed(getattr(row, name)) for name in names}


def _sources(session: Session, hub: Hub, subject_id: int) -> Iterator[dict[str, Any]]:
    """What platforms sent, as it was kept, opened."""
    sql = (
        "SELECT record_id, platform, stream, version, link_id, received_us, posted_us, cancelled, superseded_by, window_id, "
        "payload FROM source_record WHERE subject_id = :s ORDER BY record_id"
    )
    found = session.execute(text(sql), {"s": subject_id}).mappings().all()
    opened = load_vault(session, hub.ring, [subject_id]).open_many(
        "source_record", "payload",
        row_ids=[row["record_id"] for row in found], subject_ids=[subject_id] * len(found),
        blobs=[bytes(row["payload"]) for row in found],
    )  # fmt: skip
    for row, payload in zip(found, opened, strict=True):
        yield _told({**row, "payload": None if payload is None else _parsed(payload.decode())})


def _rows(session: Session, sql: str, subject_id: int) -> Iterator[dict[str, Any]]:
    for row in session.execute(text(sql), {"s": subject_id}).mappings():
        yield _told(dict(row))


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """Times as times, truths as truths: the two databases keep them differently."""
    told: dict[str, Any] = {}
    for name, value in row.items():
        if name.endswith("_us"):
            told[f"{name.removesuffix('_us')}_at"] = None if value is None else from_micros(value)
        elif name in ("cancelled", "provisional", "taken_back"):
            told[name] = bool(value)
        elif name in ("posted_at", "at", "joined_at", "left_at") and isinstance(value, str):
            told[name] = datetime.fromisoformat(f"{value}+00:00")
        else:
            told[name] = value
    return told


def _parsed(value: Any) -> Any:
    """A list or document that is kept as text is given as what it is."""
    if isinstance(value, str) and value[:1] in ("[", "{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value
