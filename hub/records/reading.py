"""From a delivery's bytes to translated rows with what may be kept of them. Pure."""

import hmac
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

import polars as pl

from connectors.base import Delivery
from mappings import Mapping, kept_payloads, translate

SET_ASIDE_SCHEMA = {
    "content": pl.Binary(),
    "reason": pl.String(),
    "detail": pl.String(),
    "payload": pl.Binary(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A delivery, translated.

    `records` has the TRANSLATED columns plus `digest` (of the kept payload: what makes two tellings the same) and
    `payload`. Its `source_id` is the platform's own id: that can be a card number or an openid, so naming.py puts a keyed
    token in its place before anything is stored. `aside` has SET_ASIDE_SCHEMA, not sealed: rows that no mapping could
    translate; their `content` is what they are recognised by, and naming.py puts a keyed digest in its place.
    """

    rows: int
    records: pl.DataFrame
    aside: pl.DataFrame


def read_delivery(delivery: Delivery, mapping: Mapping, *, token_key: bytes, now: datetime) -> Read:
    """Translate every row of a delivery; each input row ends in exactly one of the two frames.

    Args:
        token_key: makes event and payment tokens.
    """
    documents = pl.Series("document", delivery.rows, dtype=pl.Binary)
    accounts = pl.Series("account", [delivery.account] * len(documents), dtype=pl.String)
    translation = translate(mapping, documents, token_key=token_key, now=now, accounts=accounts)
    kept = kept_payloads(mapping, documents)
    records = translation.records.with_columns(payload=kept.gather(translation.records["row"]))
    digests = [sha256(payload).digest() for payload in records["payload"]]
    records = records.with_columns(digest=pl.Series(digests, dtype=pl.Binary()))
    bad = translation.quarantined
    # What two people's links tell in the same words is one row of each, where the words do not say whose they are.
    prefix = f"{delivery.account}\x1f".encode() if mapping.needs_link else b""
    aside = pl.DataFrame(
        {
            "content": [prefix + content for content in documents.gather(bad["row"])],
            "reason": bad["reason"],
            "detail": bad["detail"],
            "payload": kept.gather(bad["row"]),
        },
        schema=SET_ASIDE_SCHEMA,
    )
    unreadable = pl.DataFrame(
        [
            (delivery.digest + bad.position.to_bytes(8, "big"), bad.reason, bad.detail, None)
            for bad in delivery.unreadable
        ],
        schema=SET_ASIDE_SCHEMA,
        orient="row",
    )
    rows = len(delivery.rows) + len(delivery.unreadable)
    return Read(rows=rows, records=records, aside=pl.concat([aside, unreadable]))


def key_of_row(key: bytes, content: bytes) -> bytes:
    """Recognise the same row again without keeping anything that can be guessed from."""
    return hmac.digest(key, content, "sha256")


def without_permission(records: pl.DataFrame, reasons: pl.DataFrame) -> pl.DataFrame:
    """Set aside rows that nobody allowed, without their payload.

    Args:
        records: `row` and `digest`. reasons: `row` and `reason`.
    """
    refused = records.join(reasons, on="row", how="inner")
    return pl.DataFrame(
        {
            "content": refused["digest"],
            "reason": refused["reason"],
            "detail": ["this row may not be taken; nothing of it was kept"] * len(refused),
            "payload": [None] * len(refused),
        },
        schema=SET_ASIDE_SCHEMA,
    )
