"""From a delivery's bytes to translated rows with what may be kept of them. Pure."""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Self

import polars as pl

from connectors.base import Delivery
from mappings import Mapping, kept_payloads, translate

SET_ASIDE_SCHEMA = {
    "delivery": pl.UInt32(),
    "content": pl.Binary(),
    "reason": pl.String(),
    "detail": pl.String(),
    "payload": pl.Binary(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """Deliveries of one feed, translated together.

    `rows` says how many each had. `records` has the TRANSLATED columns plus `delivery` (its place among them), `digest`
    (of the kept payload: what makes two tellings the same) and `payload`. Its `source_id` is the platform's own id: that
    can be a card number or an openid, so naming.py puts a keyed token in its place before anything is stored. `aside` has
    SET_ASIDE_SCHEMA, not sealed: rows that no mapping could translate; their `content` is what they are recognised by, and
    naming.py puts a keyed digest in its place.
    """

    rows: tuple[int, ...]
    records: pl.DataFrame
    aside: pl.DataFrame

    def only(self, places: Sequence[int]) -> Self:
        """Return what was read of some of the deliveries, numbered anew."""
        if len(places) == len(self.rows):
            return self
        numbers = pl.DataFrame(
            {"delivery": places, "number": range(len(places))}, schema={"delivery": pl.UInt32, "number": pl.UInt32}
        )

        def renumbered(frame: pl.DataFrame) -> pl.DataFrame:
            kept = frame.join(numbers, on="delivery", how="inner", maintain_order="left")
            return kept.with_columns(delivery="number").drop("number")

        return replace(
            self,
            rows=tuple(self.rows[place] for place in places),
            records=renumbered(self.records),
            aside=renumbered(self.aside),
        )


def read_deliveries(deliveries: Sequence[Delivery], mapping: Mapping, *, token_key: bytes, now: datetime) -> Read:
    """Translate every row of some deliveries; each input row ends in exactly one of the two frames.

    Args:
        token_key: makes event and payment tokens.
    """
    documents = pl.Series("document", [row for one in deliveries for row in one.rows], dtype=pl.Binary)
    accounts = [one.account for one in deliveries for _ in one.rows]
    numbers = [number for number, one in enumerate(deliveries) for _ in one.rows]
    delivery = pl.Series("delivery", numbers, dtype=pl.UInt32)
    told = pl.Series("account", accounts, dtype=pl.String)
    translation = translate(mapping, documents, token_key=token_key, now=now, accounts=told)
    kept = kept_payloads(mapping, documents)
    good, bad = translation.records["row"], translation.quarantined
    records = translation.records.with_columns(payload=kept.gather(good), delivery=delivery.gather(good))
    digests = [sha256(payload).digest() for payload in records["payload"]]
    records = records.with_columns(digest=pl.Series(digests, dtype=pl.Binary()))
    # What two people's links tell in the same words is one row of each, where the words do not say whose they are.
    prefixes = [f"{accounts[row]}\x1f".encode() if mapping.needs_link else b"" for row in bad["row"]]
    aside = pl.DataFrame(
        {
            "delivery": delivery.gather(bad["row"]),
            "content": [
                prefix + content for prefix, content in zip(prefixes, documents.gather(bad["row"]), strict=True)
            ],
            "reason": bad["reason"],
            "detail": bad["detail"],
            "payload": kept.gather(bad["row"]),
        },
        schema=SET_ASIDE_SCHEMA,
    )
    unreadable = pl.DataFrame(
        [
            (number, one.digest + bad.position.to_bytes(8, "big"), bad.reason, bad.detail, None)
            for number, one in enumerate(deliveries)
            for bad in one.unreadable
        ],
        schema=SET_ASIDE_SCHEMA,
        orient="row",
    )
    rows = tuple(len(one.rows) + len(one.unreadable) for one in deliveries)
    return Read(rows=rows, records=records, aside=pl.concat([aside, unreadable]))


def key_of_row(key: bytes, content: bytes) -> bytes:
    """Recognise the same row again without keeping anything that can be guessed from."""
    return hmac.digest(key, content, "sha256")


def without_permission(records: pl.DataFrame, reasons: pl.DataFrame) -> pl.DataFrame:
    """Set aside rows that nobody allowed, without their payload.

    Args:
        records: `row`, `delivery` and `digest`. reasons: `row` and `reason`.
    """
    refused = records.join(reasons, on="row", how="inner")
    return pl.DataFrame(
        {
            "delivery": refused["delivery"],
            "content": refused["digest"],
            "reason": refused["reason"],
            "detail": ["this row may not be taken; nothing of it was kept"] * len(refused),
            "payload": [None] * len(refused),
        },
        schema=SET_ASIDE_SCHEMA,
    )
