"""From a delivery's bytes to translated rows with what may be kept of them. Pure."""

import hmac
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

import polars as pl

from connectors.base import Delivery
from mappings import Mapping, kept_payloads, translate

SET_ASIDE_SCHEMA = {
    "row_key": pl.Binary(),
    "reason": pl.String(),
    "detail": pl.String(),
    "payload": pl.Binary(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A delivery, translated.

    `records` has the TRANSLATED columns plus `digest` (of the kept payload: what makes two tellings the same) and
    `payload`. Its `source_id` is a keyed token of the platform's own id: that id can be a card number or an openid, and
    stands in the sealed payload only. `aside` has SET_ASIDE_SCHEMA without sealing: rows that no mapping could translate.
    """

    rows: int
    records: pl.DataFrame
    aside: pl.DataFrame


def read_delivery(delivery: Delivery, mapping: Mapping, *, token_key: bytes, row_key: bytes, now: datetime) -> Read:
    """Translate every row of a delivery; each input row ends in exactly one of the two frames.

    Args:
        token_key: makes event and payment tokens. row_key: makes the keys that recognise rows set aside.
    """
    documents = pl.Series("document", delivery.rows, dtype=pl.Binary)
    translation = translate(mapping, documents, token_key=token_key, now=now)
    kept = kept_payloads(mapping, documents)
    records = translation.records.with_columns(payload=kept.gather(translation.records["row"]))
    digests = [sha256(payload).digest() for payload in records["payload"]]
    tokens = [key_of_row(row_key, b"source\x1f" + name.encode())[:16].hex() for name in records["source_id"]]
    records = records.with_columns(
        digest=pl.Series(digests, dtype=pl.Binary()), source_id=pl.Series(tokens, dtype=pl.String())
    )
    bad = translation.quarantined
    aside = pl.DataFrame(
        {
            "row_key": [key_of_row(row_key, documents[row]) for row in bad["row"]],
            "reason": bad["reason"],
            "detail": bad["detail"],
            "payload": kept.gather(bad["row"]),
        },
        schema=SET_ASIDE_SCHEMA,
    )
    unreadable = pl.DataFrame(
        [
            (key_of_row(row_key, delivery.digest + bad.position.to_bytes(8, "big")), bad.reason, bad.detail, None)
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


def without_permission(records: pl.DataFrame, reasons: pl.DataFrame, *, key: bytes) -> pl.DataFrame:
    """Set aside rows that nobody allowed, without their payload.

    Args:
        records: `row` and `digest`. reasons: `row` and `reason`.
    """
    refused = records.join(reasons, on="row", how="inner")
    return pl.DataFrame(
        {
            "row_key": [key_of_row(key, digest) for digest in refused["digest"]],
            "reason": refused["reason"],
            "detail": ["no consent covers this row; nothing of it was kept"] * len(refused),
            "payload": [None] * len(refused),
        },
        schema=SET_ASIDE_SCHEMA,
    )
