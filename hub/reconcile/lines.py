"""Both sides' records of one stream and window: their totals, their digest, and how they differ. Pure.

A stream is agreed when count, sum and digest are equal; the records themselves need not be told for that. The digest does not
depend on any order: it is SHA-256 over the sorted canonical lines (standards/profiles/statement.v1.md, with test vectors).
Where the two sides differ, records are paired by the platform's own id and every difference gets one kind.
"""

from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any

import polars as pl

LINE_SCHEMA: dict[Any, Any] = {
    "source_id": pl.String(), "version": pl.Int64(), "claimed_mg": pl.Int64(), "posted_us": pl.Int64(),
}  # fmt: skip
"""One record as its platform told it last in the window; `version` is 0 where the stream's records carry no number."""
OURS_SCHEMA: dict[Any, Any] = LINE_SCHEMA | {"record_id": pl.Int64(), "token": pl.String(), "told_before": pl.Boolean()}
"""`token` is the stored name of the id. `told_before`: the platform named this record for an earlier window already."""
ELSEWHERE_SCHEMA: dict[Any, Any] = {
    "source_id": pl.String(), "window_id": pl.Int64(), "version": pl.Int64(), "claimed_mg": pl.Int64(),
    "record_id": pl.Int64(), "token": pl.String(),
}  # fmt: skip
"""What the hub has under ids that it has not in the compared stream and window."""
BREAK_SCHEMA: dict[Any, Any] = {
    "source_id": pl.String(), "token": pl.String(), "record_id": pl.Int64(), "delivery_id": pl.String(),
    "kind": pl.String(), "ours": pl.Int64(), "theirs": pl.Int64(), "mg": pl.Int64(),
}  # fmt: skip
"""`ours` and `theirs` of a record: milligrams, but versions where those differ, and windows of what is late; of a delivery:
rows. `mg` is what the break is about; 0 of a delivery, where nobody knows."""
CLOCKS_APART_US = 60_000_000
"""How far the two sides' clocks may be apart; X-Road pairs the two logs of a message within the same minute."""


class BreakKind(StrEnum):
    """An unexplained difference."""

    MISSING_HERE = "missing_here"  # they told it, we have nothing
    MISSING_THERE = "missing_there"  # we have it, they do not name it
    AMOUNT = "amount"  # one version, two claims
    VERSION = "version"  # one record, two versions
    LATE = "late"  # it came in a later window, or was posted after this one ended
    ROWS = "rows"  # of a delivery: another number of rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """One side of a stream: how many records, their claims in milligrams, and the digest of their lines."""

    records: int
    claimed_mg: int
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """Records that both sides tell alike, in number and milligrams, and the breaks (BREAK_SCHEMA), sorted by id."""

    matched: int
    matched_mg: int
    breaks: pl.DataFrame


def totals_of(lines: pl.DataFrame) -> Totals:
    """Return the totals of LINE_SCHEMA (more columns do no harm)."""
    return Totals(records=len(lines), claimed_mg=int(lines["claimed_mg"].sum()), digest=digest_of(lines))


def digest_of(lines: pl.DataFrame) -> bytes:
    """Return SHA-256 over the canonical lines, sorted by their bytes, each ended by a line feed.

    Example:
        >>> lines = pl.DataFrame([("b", 1, 5, None), ("a", 2, 0, None)], schema=LINE_SCHEMA, orient="row")
        >>> digest_of(lines) == sha256(b"a|2|0\\nb|1|5\\n").digest()
        True
    """
    # Polars compares texts by their UTF-8 bytes.
    told = lines.select(pl.format("{}|{}|{}\n", "source_id", "version", "claimed_mg").sort().str.join(""))
    return sha256((told.item() or "").encode()).digest()


def compare_lines(
    ours: pl.DataFrame, theirs: pl.DataFrame, elsewhere: pl.DataFrame, *, window_id: int, until_us: int
) -> Paired:
    """Pair two sides by the platform's own id; a record gives one break at most.

    Args:
        ours: OURS_SCHEMA, each id once. theirs: LINE_SCHEMA, each id once. elsewhere: ELSEWHERE_SCHEMA, what is known of
            ids that `ours` has not.
        until_us: when the window ended, in microseconds since 1970.
    """
    pairs = ours.join(theirs, on="source_id", how="full", suffix="_theirs", coalesce=True)
    pairs = _with_elsewhere(pairs, elsewhere, window_id)
    here, there = pl.col("record_id").is_not_null(), pl.col("version_theirs").is_not_null()
    posted_later = there & (pl.col("posted_us_theirs") > until_us + CLOCKS_APART_US).fill_null(False)
    kind = (
        # What an earlier window has is their statement reaching over the border; what they named before is not new.
        pl.when((~here & pl.col("known_before")) | (~there & pl.col("told_before")))
        .then(None)
        .when(posted_later | (~here & pl.col("later_window").is_not_null()))
        .then(pl.lit(str(BreakKind.LATE)))
        .when(~here & pl.col("known_claim").is_not_null())
        .then(pl.lit(str(BreakKind.AMOUNT)))
        .when(~here & pl.col("known_version").is_not_null())
        .then(pl.lit(str(BreakKind.VERSION)))
        .when(~here)
        .then(pl.lit(str(BreakKind.MISSING_HERE)))
        .when(~there)
        .then(pl.lit(str(BreakKind.MISSING_THERE)))
        .when(pl.col("version") != pl.col("version_theirs"))
        .then(pl.lit(str(BreakKind.VERSION)))
        .when(pl.col("claimed_mg") != pl.col("claimed_mg_theirs"))
        .then(pl.lit(str(BreakKind.AMOUNT)))
    )
    pairs = pairs.with_columns(kind=kind)
    same = pairs.filter(pl.col("kind").is_null() & here & there)
    return Paired(
        matched=len(same),
        matched_mg=int(same["claimed_mg"].sum()),
        breaks=_breaks(pairs.filter(pl.col("kind").is_not_null()), window_id),
    )


def _with_elsewhere(pairs: pl.DataFrame, elsewhere: pl.DataFrame, window_id: int) -> pl.DataFrame:
    """Add to what only they tell whether we have it in an earlier window, in a later one, or told otherwise.

    A stream without version numbers can show a correction that we never got only by its claim.
    """
    wanted = pairs.filter(pl.col("record_id").is_null()).select("source_id", "version_theirs", "claimed_mg_theirs")
    known = elsewhere.join(wanted, on="source_id", how="inner").sort("version", "record_id")
    version = pl.col("version") == pl.col("version_theirs")
    same = version & (pl.col("claimed_mg") == pl.col("claimed_mg_theirs"))
    later = same & (pl.col("window_id") > window_id)
    found = known.group_by("source_id").agg(
        known_before=(same & (pl.col("window_id") <= window_id)).any(),
        later_window=pl.col("window_id").filter(later).min(),
        known_claim=pl.col("claimed_mg").filter(version).last(),
        known_version=pl.col("version").last(),
        known_id=pl.coalesce(pl.col("record_id").filter(later).min(), pl.col("record_id").last()),
        known_token=pl.col("token").last(),
    )
    return pairs.join(found, on="source_id", how="left").with_columns(pl.col("known_before").fill_null(False))


def _breaks(pairs: pl.DataFrame, window_id: int) -> pl.DataFrame:
    late, version = pl.col("kind") == str(BreakKind.LATE), pl.col("kind") == str(BreakKind.VERSION)
    here = pl.when(pl.col("record_id").is_not_null()).then(pl.lit(window_id))
    amount = pl.col("kind") == str(BreakKind.AMOUNT)
    ours = pl.coalesce("claimed_mg", pl.when(amount).then("known_claim"))
    theirs = pl.col("claimed_mg_theirs")
    return (
        pairs.select(
            "source_id",
            token=pl.coalesce("token", "known_token"),
            record_id=pl.coalesce("record_id", "known_id"),
            delivery_id=pl.lit(None, pl.String),
            kind="kind",
            ours=pl.when(late)
            .then(pl.coalesce("later_window", here))
            .when(version)
            .then(pl.coalesce("version", "known_version"))
            .otherwise(ours),
            theirs=pl.when(late).then(pl.lit(window_id)).when(version).then("version_theirs").otherwise(theirs),
            mg=pl.when(pl.col("kind") == str(BreakKind.AMOUNT))
            .then((ours - theirs).abs())
            .otherwise(pl.coalesce(theirs, ours)),
        )
        .cast(BREAK_SCHEMA)
        .sort("source_id")
    )
