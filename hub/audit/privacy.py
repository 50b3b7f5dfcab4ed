"""Invariant 12, as far as a look at the tables can tell: nothing personal is in the open. I/O: reads the database."""

import json
import re
from collections.abc import Iterator
from typing import Any

from connectors.registry import KINDS
from consent.guard import Refusal
from consent.seal import FORMAT, header
from hub.audit.bodies import all_bodies
from hub.audit.books import ERASED, Books
from hub.audit.report import Finding, Offenders
from hub.keys.columns import RING_COLUMNS
from hub.log.leaves import Kind
from hub.records.naming import SPENT
from hub.staff.rights import AccessPurpose

SEALED = (
    ("person", "data_key", "1"),
    ("person", "born_sealed", "1"),
    ("source_record", "payload", "record_id"),
    ("quarantined", "payload", "quarantine_id"),
    ("receipt", "jws_sealed", "receipt_id"),
    ("attestation", "statement_sealed", "attestation_id"),
    ("dispute_evidence", "text_sealed", "evidence_id"),
    ("terminal_access", "salt_sealed", "access_id"),
    ("link", "account_sealed", "link_id"),
    ("link", "token_sealed", "link_id"),
    ("link_attempt", "verifier", "1"),
    ("participant", "configuration", "participant_id"),
    ("sync_state", "cursor", "platform"),
    ("statement_break", "source_sealed", "break_id"),
    ("stream_reconciliation", "ours_digest", "window_id"),
    ("stream_reconciliation", "theirs_digest", "window_id"),
)
# Columns that may not be null, and are empty where their person was erased.
_EMPTIED = {
    ("source_record", "payload"),
    ("link", "account_sealed"),
    ("receipt", "jws_sealed"),
    ("attestation", "statement_sealed"),
    ("dispute_evidence", "text_sealed"),
}
_NO_CONSENT = ("unknown_account", SPENT, *(refusal.value for refusal in Refusal))
# Words of the hub's own that stand in leaves; a person may happen to be called so.
_WORDS = re.compile(
    r"tanlian/1|(?:kek|log|oauth|attestation|hmac-pairwise)-[0-9]{4}|(?:grant|link|client|staff|dispute)\.[a-z_]+|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}Z"
)
_OF_DISPUTES = frozenset({
    "person", "platform", "regulator", "operator", "link", "event", "amount", "retirement", "opened", "evidence", "review",
    "upheld", "rejected", "withdrawn", "lapsed",
})  # fmt: skip
_OF_EXCHANGE = frozenset({
    "taken", "partly", "refused", "granted", "nothing_new", "different", "terminal", "producer", "client", "in", "collect",
    "restate", *KINDS,
})  # fmt: skip
_TOKENS = re.compile(r"[^\s\"',:;/|=()\[\]{}<>]+")
_NUMBERS = ("_count", "_bytes", "_size", "_mg")


def leaves_name_nobody(books: Books) -> Finding:
    """Search every leaf for names, subject ids, account keys, and ids of grants and links."""
    wrong, leaves = Offenders(), 0
    secrets = _secrets(books)
    words = _public_words(books)
    for leaf, entries in all_bodies(books):
        for body in entries:
            leaves += 1
            told = {secrets[token] for token in _tokens(json.loads(body), words) if token in secrets}
            if told:
                wrong.add(f"leaf {leaf} holds {' and '.join(sorted(told))}")
    return Finding(figure=f"{leaves:,} leaves, {len(secrets):,} names and ids", wrong=wrong)


def sealed_columns_are_sealed(books: Books) -> Finding:
    """Look for values in sealed columns that do not begin as sealed ones do."""
    wrong, values = Offenders(), 0
    for table, column, key in SEALED:
        values += books.count(f"{table} WHERE {column} IS NOT NULL")
        emptied = f"AND NOT (length({column}) = 0 AND subject_id IN {ERASED}) " if (table, column) in _EMPTIED else ""
        for (row,) in books.rows(
            f"SELECT {key} FROM {table} WHERE {column} IS NOT NULL AND "
            f"(substr({column}, 1, 2) <> :format OR length({column}) < 31) {emptied}ORDER BY {key}",
            format=FORMAT,
        ):
            wrong.add(f"{table}.{column} is in the open" + ("" if key == "1" else f" ({row})"))
    return Finding(figure=f"{values:,} sealed values", wrong=wrong)


def seals_name_known_keys(books: Books) -> Finding:
    """Look for values that no key of the ring opens: the key was retired too early, or the value is forged."""
    wrong, values = Offenders(), 0
    heads = {f"head{number}": header(key.key_id) for number, key in enumerate(books.hub.ring.encryption)}
    for column in RING_COLUMNS:
        sealed = f"{column.table} WHERE length({column.column}) > 0"
        values += books.count(sealed)
        known = " OR ".join(f"substr({column.column}, 1, {len(head)}) = :{name}" for name, head in heads.items())
        # What is in the open is found by the check before this one.
        lost = books.count(
            f"{sealed} AND substr({column.column}, 1, 2) = :format AND NOT ({known})", format=FORMAT, **heads
        )
        wrong.add_all(f"{column.table}.{column.column} is sealed by an unknown key" for _ in range(lost))
    return Finding(figure=f"{values:,} values under {len(heads):,} keys", wrong=wrong)


def refused_rows_keep_nothing(books: Books) -> Finding:
    """Look for rows that were refused for want of consent and yet kept something."""
    wrong = Offenders()
    reasons = ", ".join(f"'{reason}'" for reason in _NO_CONSENT)
    for row, reason in books.rows(
        f"SELECT quarantine_id, reason FROM quarantined WHERE reason IN ({reasons}) AND payload IS NOT NULL "
        "ORDER BY quarantine_id"
    ):
        wrong.add(f"row {row}, refused for {reason}, keeps a payload")
    refused = books.count(f"quarantined WHERE reason IN ({reasons})")
    return Finding(figure=f"{refused:,} refused rows of {books.count('quarantined'):,} set aside", wrong=wrong)


def _secrets(books: Books) -> dict[str, str]:
    """What must not stand in a leaf, by what it is."""
    found: dict[str, str] = {}
    for subject, username, name in books.rows("SELECT subject_id, username, display_name FROM person"):
        found[str(subject)] = "a subject id"
        found |= {word.casefold(): "a name" for word in (username, name) if word}
    for link, account in books.rows("SELECT link_id, account_key FROM link"):
        found |= {link.casefold(): "the id of a link", account.casefold(): "an account's key"}
    for (grant,) in books.rows("SELECT DISTINCT grant_id FROM grant_version"):
        found[grant.casefold()] = "the id of a grant"
    return found


def _public_words(books: Books) -> frozenset[str]:
    """Words that leaves are made of whatever people are called."""
    words = {str(kind) for kind in Kind} | {"matched", "breaks", "active", "suspended"}
    words |= {
        "key-encryption",
        "signing",
        "log",
        "pairwise",
        "attestation",
        "holder",
        "hub",
        "added",
        "in_use",
        "retired",
        *_OF_DISPUTES,
        *_OF_EXCHANGE,
        *(str(purpose) for purpose in AccessPurpose),
    }
    for sql in (
        "SELECT participant_id FROM participant",
        "SELECT DISTINCT platform FROM batch",
        "SELECT DISTINCT stream FROM batch",
        "SELECT DISTINCT mapping FROM batch",
        "SELECT DISTINCT methodology FROM reduction_record",
    ):
        words |= {word for (word,) in books.rows(sql)}
    return frozenset(words)


def _tokens(value: Any, words: frozenset[str], name: str = "") -> Iterator[str]:
    """Yield the words of all values, case folded, but for those that are the hub's own."""
    match value:
        case dict():
            for key, part in value.items():
                yield from _tokens(part, words, key)
        case list():
            for part in value:
                yield from _tokens(part, words, name)
        case str() if value not in words and not _WORDS.fullmatch(value) and not name.endswith(_NUMBERS):
            yield value.casefold()
            for token in _TOKENS.findall(value.casefold()):
                yield token
                yield from token.split(".")
        case int() if not isinstance(value, bool) and not name.endswith(_NUMBERS) and name not in ("window", "group"):
            yield str(value)
