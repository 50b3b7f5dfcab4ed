"""Invariant 9, how consents were given: each sensitive class for itself, in writing, by who may. I/O: reads the database."""

import json
from collections.abc import Iterator
from datetime import date, datetime, time
from hashlib import sha256
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

from consent.seal import SealError
from consent.vault import ErasedError, load_vault
from hub.audit.bodies import all_bodies
from hub.audit.books import Books
from hub.audit.report import Finding, Offenders

RECEIPTS_SINCE = 2  # versions of form 1 are older than receipts and separate decisions
_CLASSES = {"MOB": "whereabouts", "FIN": "financial_account"}
_ZONE = ZoneInfo("Asia/Shanghai")
_PAGE = 1_000


def sensitive_classes_were_decided(books: Books) -> Finding:
    """Look for versions in force that hold a behaviour of a sensitive class which nobody said yes to."""
    wrong, versions = Offenders(), 0
    for grant, version, behaviours, agreed in books.rows(
        "SELECT grant_id, version, behaviours, sensitive FROM grant_version WHERE state = 'active' "
        "AND schema_version >= :since ORDER BY grant_id, version",
        since=RECEIPTS_SINCE,
    ):
        versions += 1
        touched = {_CLASSES[word[:3]] for word in json.loads(behaviours) if word[:4] in ("MOB-", "FIN-")}
        if undecided := touched - set(json.loads(agreed)):
            wrong.add(f"version {version} of grant {grant} holds {', '.join(sorted(undecided))} without a yes to it")
    return Finding(figure=f"{versions:,} versions in force", wrong=wrong)


def decisions_have_receipts(books: Books) -> Finding:
    """Look for decisions without a receipt, and for receipts that are not what was signed and logged.

    Of an erased person the statements are gone; their digests stand in the log, and that is all that can be asked.
    """
    wrong = Offenders()
    for grant, version in books.rows(
        "SELECT v.grant_id, v.version FROM grant_version v JOIN person p ON p.subject_id = v.subject_id "
        "LEFT JOIN receipt r ON r.grant_id = v.grant_id AND r.version = v.version AND r.subject_id = v.subject_id "
        "WHERE v.schema_version >= :since AND v.state <> 'requested' AND p.erased_at IS NULL AND r.receipt_id IS NULL "
        "ORDER BY v.grant_id, v.version",
        since=RECEIPTS_SINCE,
    ):
        wrong.add(f"version {version} of grant {grant} has no receipt")
    logged, receipts = _logged_digests(books), 0
    for page in _pages_of_receipts(books):
        vault = load_vault(books.session, books.hub.ring, {row[1] for row in page})
        for receipt, subject, sealed, digest, is_erased in page:
            receipts += 1
            if bytes(digest).hex() not in logged:
                wrong.add(f"receipt {receipt} is not in the log")
            if is_erased:
                continue
            try:
                opened = vault.open("receipt", "jws_sealed", row_id=receipt, subject_id=subject, blob=bytes(sealed))
            except (ErasedError, SealError):
                wrong.add(f"receipt {receipt} does not open")
                continue
            if sha256(opened).digest() != bytes(digest):
                wrong.add(f"receipt {receipt} is not the one that was signed")
    return Finding(figure=f"{receipts:,} receipts", wrong=wrong)


def guardians_spoke_for_children(books: Books) -> Finding:
    """Look for versions that came into force before their person was 14 and were not given by the guardian.

    For what a client asked, who that was stands in the request that was used up by it.
    """
    wrong, versions = Offenders(), 0
    for grant, version, assurance, created_us, until in books.rows(
        f"SELECT v.grant_id, v.version, v.assurance, {books.micros('v.created_at')}, p.guarded_until "
        "FROM grant_version v JOIN person p ON p.subject_id = v.subject_id "
        "WHERE p.guarded_until IS NOT NULL AND v.state = 'active' ORDER BY v.grant_id, v.version"
    ):
        versions += 1
        if assurance != "guardian" and created_us < _begin_us(until):
            wrong.add(f"version {version} of grant {grant} was not given by the guardian")
    for grant, version in books.rows(
        "SELECT v.grant_id, v.version FROM grant_version v JOIN person p ON p.subject_id = v.subject_id "
        "LEFT JOIN guardian_request q ON q.grant_id = v.grant_id AND q.grant_version = v.version "
        "AND q.subject_id = v.subject_id AND q.client_id = v.client_id AND q.answer = 'approved' "
        "AND q.decided_at <= v.created_at AND q.guardian_id IS NOT NULL AND q.guardian_id <> v.subject_id "
        "WHERE v.client_id IS NOT NULL AND v.state = 'active' AND v.assurance = 'guardian' "
        "AND v.reason IN ('given', 'amended') AND p.erased_at IS NULL AND q.request_id IS NULL "
        "ORDER BY v.grant_id, v.version"
    ):
        wrong.add(f"version {version} of grant {grant} has no guardian who decided on what its client asked")
    return Finding(figure=f"{versions:,} versions in force of people who are or were under 14", wrong=wrong)


def _logged_digests(books: Books) -> set[str]:
    """Every digest of a receipt that a leaf tells of."""
    return {
        json.loads(body)["receipt_digest"]
        for _, entries in all_bodies(books)
        for body in entries
        if b'"receipt_digest"' in body
    }


def _pages_of_receipts(books: Books) -> Iterator[list[tuple[Any, ...]]]:
    rows = books.rows(
        "SELECT r.receipt_id, r.subject_id, r.jws_sealed, r.digest, CASE WHEN p.erased_at IS NULL THEN 0 ELSE 1 END "
        "FROM receipt r JOIN person p ON p.subject_id = r.subject_id ORDER BY r.subject_id, r.receipt_id"
    )
    while page := list(islice(rows, _PAGE)):
        yield page


def _begin_us(day: date | str) -> int:
    """The first moment of a day in China; SQLite hands a date out as its text."""
    parsed = date.fromisoformat(day) if isinstance(day, str) else day
    return int(datetime.combine(parsed, time(), tzinfo=_ZONE).timestamp()) * 1_000_000
