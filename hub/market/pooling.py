"""How held grams of many people become blocks of one tonne, and how an income is shared. Pure.

The oldest acts go first, whole tonnes only: what is left over is not in the answer and stays where it is. Of one act's day
the order of people is that of their numbers, which are random. ADR 0036.
"""

from collections.abc import Sequence
from typing import Any

import polars as pl

from hub.ledger.postings import ENTRY_SCHEMA, SIDE_SCHEMA, Posted
from hub.log.commitments import commitment
from hub.log.merkle import commitment_root
from standards.uses import Rights

BLOCK_MG = 1_000_000_000
"""What a block is: one tonne of CO2e, in milligrams."""
MOST_FEN = 9_000_000_000
"""Ninety million yuan for one tonne: times a share in milligrams it still is a signed 64-bit number."""
HELD_SCHEMA: dict[str, Any] = {
    "subject_id": pl.Int64(), "window_id": pl.Int64(), "vintage": pl.Int64(), "rights": pl.String(), "mg": pl.Int64(),
}  # fmt: skip
SHARE_SCHEMA: dict[str, Any] = {
    "block": pl.Int64(), "line": pl.Int64(), "subject_id": pl.Int64(), "window_id": pl.Int64(), "vintage": pl.Int64(),
    "rights": pl.String(), "offset_mg": pl.Int64(), "mg": pl.Int64(),
}  # fmt: skip
_PLACE = ["subject_id", "window_id", "vintage"]


def usable_of(held: pl.DataFrame, allowed: pl.DataFrame, rights: Rights) -> pl.DataFrame:
    """Return what of held lots may be pooled, no more of any person, window and vintage than is allowed there.

    Args:
        held: HELD_SCHEMA. allowed: subject_id, window_id, vintage, mg; what is not named is not allowed.
        rights: what a block takes. Lots whose rights have parted go before whole grams.
    """
    fitting = held.filter(pl.col("rights").is_in([rights.value, Rights.BOTH.value]) & (pl.col("mg") > 0))
    met = fitting.join(allowed.rename({"mg": "most"}), on=_PLACE, how="inner")
    met = met.sort("vintage", "window_id", "subject_id", pl.col("rights") == Rights.BOTH.value)
    before = (pl.col("mg").cum_sum() - pl.col("mg")).over(_PLACE)
    usable = met.with_columns(mg=pl.min_horizontal("mg", (pl.col("most") - before).clip(0)))
    return usable.filter(pl.col("mg") > 0).select(list(HELD_SCHEMA))


def cut_into_blocks(usable: pl.DataFrame, *, most: int | None = None) -> pl.DataFrame:
    """Return the pieces of lots that fill whole blocks: HELD_SCHEMA, `block` (0, 1, ... by year and age), `offset_mg`.

    Args:
        usable: HELD_SCHEMA in the order in which lots are taken; a block is of acts of one calendar year.
        most: how many blocks at most, those of the oldest year first.
    """
    lots = usable.with_columns(year=pl.col("vintage") // 10_000).sort("year", maintain_order=True)
    blocks = lots.group_by("year", maintain_order=True).agg(full=pl.col("mg").sum() // BLOCK_MG)
    before = pl.col("full").cum_sum() - pl.col("full")
    if most is not None:
        blocks = blocks.with_columns(full=pl.min_horizontal("full", (pl.lit(most) - before).clip(0)))
    blocks = blocks.with_columns(base=before)
    lots = lots.join(blocks, on="year", maintain_order="left")
    lots = lots.with_columns(end=pl.col("mg").cum_sum().over("year")).with_columns(begin=pl.col("end") - pl.col("mg"))
    lots = lots.with_columns(end=pl.min_horizontal("end", pl.col("full") * BLOCK_MG)).filter(
        pl.col("begin") < pl.col("end")
    )
    # A person's lot can lie across the end of a block, or fill several.
    nth = pl.int_ranges(pl.col("begin") // BLOCK_MG, (pl.col("end") - 1) // BLOCK_MG + 1, dtype=pl.Int64())
    cut = lots.with_columns(nth=nth).explode("nth").with_columns(
        begin=pl.max_horizontal("begin", pl.col("nth") * BLOCK_MG),
        end=pl.min_horizontal("end", (pl.col("nth") + 1) * BLOCK_MG),
    )  # fmt: skip
    return cut.with_columns(
        mg=pl.col("end") - pl.col("begin"), block=pl.col("base") + pl.col("nth"), offset_mg=pl.col("begin") % BLOCK_MG
    ).select(*HELD_SCHEMA, "block", "offset_mg")


def shares_of(pieces: pl.DataFrame, rights: Rights) -> pl.DataFrame:
    """Return pieces as shares (SHARE_SCHEMA): those of one block, person, window and vintage together."""
    together = pieces.group_by("block", *_PLACE, maintain_order=True).agg(pl.col("mg").sum(), pl.col("offset_mg").min())
    line = pl.int_range(pl.len(), dtype=pl.Int64()).over("block")
    return together.with_columns(line=line, rights=pl.lit(rights.value)).select(list(SHARE_SCHEMA))


def commit_to(shares: pl.DataFrame, serials: pl.Series, participant: str, salts: bytes) -> list[bytes]:
    """Return the commitment to each share under a salt of its own; nobody is named in it.

    Args:
        shares: SHARE_SCHEMA. serials: the serial of each share's block. salts: 32 random bytes a share.
    """
    told = shares.select(
        pl.concat_str(
            pl.lit(participant), serials.alias("serial"), "offset_mg", "mg", "window_id", "vintage", "rights", separator="|"
        )
    ).to_series()  # fmt: skip
    # hashlib takes one text at a time: a microsecond a share, and nothing else here goes row by row.
    return [
        commitment(salts[at * 32 : at * 32 + 32], "share", payload.encode()) for at, payload in enumerate(told)
    ]  # fmt: skip


def root_of(commitments: Sequence[bytes]) -> bytes:
    """Return the root over the shares of one issuance, by serial and line."""
    return commitment_root(commitments)


def pool(
    pieces: pl.DataFrame, shares: pl.DataFrame, numbers: Sequence[int], *, rights: Rights, participant: str, window_id: int
) -> Posted:  # fmt: skip
    """Enter that grams are pooled: of each block, held of its people -> issued of its people at the market.

    Args:
        numbers: the number of each block, which is its entry's source.
    """
    sides = [_sides(pieces, "held", -1, None), _sides(shares, "issued", +1, participant)]
    if rights is not Rights.BOTH:
        parted = pieces.filter(pl.col("rights") == Rights.BOTH.value).with_columns(rights=pl.lit(rights.rest.value))
        sides.append(_sides(parted, "held", +1, None))
    return _posted("pool", "pooled", sides, numbers, window_id)


def retire(shares: pl.DataFrame, numbers: Sequence[int], *, purpose: str, participant: str, window_id: int) -> Posted:
    """Enter that blocks are retired: issued of their people at the market -> retired of their people there.

    Args:
        shares: SHARE_SCHEMA, `block` is the place in `numbers`.
    """
    sides = [_sides(shares, "issued", -1, participant), _sides(shares, "retired", +1, participant)]
    return _posted("retire", purpose, sides, numbers, window_id)


def split_income(shares: pl.DataFrame, amount_fen: int) -> pl.DataFrame:
    """Return what of an income each person is owed: subject_id, fen; whole fen by largest remainder, in sum exactly all.

    Of equal remainders the older grams go first. Who is owed less than a fen and gets none is left out.

    Args:
        shares: subject_id, offset_mg, mg; together one block.

    Raises:
        ValueError: the shares are not a whole block, or the amount cannot be shared.
    """
    if not 0 < amount_fen <= MOST_FEN:
        raise ValueError(f"an income is between 1 and {MOST_FEN} fen")
    if shares["mg"].sum() != BLOCK_MG:
        raise ValueError("the shares are not a whole block")
    owed = shares.group_by("subject_id").agg(pl.col("mg").sum(), pl.col("offset_mg").min())
    exact = pl.col("mg") * amount_fen
    owed = owed.with_columns(fen=exact // BLOCK_MG, rest=exact % BLOCK_MG)
    owed = owed.sort(-pl.col("rest"), "offset_mg")
    left = amount_fen - int(owed["fen"].sum())
    owed = owed.with_columns(fen=pl.col("fen") + (pl.int_range(pl.len()) < left).cast(pl.Int64()))
    return owed.filter(pl.col("fen") > 0).sort("offset_mg").select("subject_id", "fen")


def _sides(rows: pl.DataFrame, account: str, sign: int, participant: str | None) -> pl.DataFrame:
    return rows.select(
        "block", "subject_id", "window_id", "vintage", "rights", mg=pl.col("mg") * sign, account_kind=pl.lit(account),
        platform=pl.lit(participant, pl.String()),
    )  # fmt: skip


def _posted(kind: str, reason: str, sides: list[pl.DataFrame], numbers: Sequence[int], window_id: int) -> Posted:
    # Named in one order: the sides of one account differ only by what they stand beside.
    order = ["block", "subject_id", "window_id", "vintage", "rights", "mg", "account_kind", "platform"]
    told = pl.concat([one.select(order) for one in sides])
    sources = pl.DataFrame(
        {"block": range(len(numbers)), "source_id": numbers}, schema={"block": pl.Int64(), "source_id": pl.Int64()}
    )
    told = told.join(sources, on="block", maintain_order="left").with_columns(
        kind=pl.lit(kind), line=pl.int_range(pl.len(), dtype=pl.Int64()).over("source_id")
    )
    entries = sources.select(
        kind=pl.lit(kind), reason=pl.lit(reason), window_id=pl.lit(window_id, pl.Int64()), source_id="source_id",
        reverses=pl.lit(None, pl.Int64()),
    )  # fmt: skip
    return entries.select(list(ENTRY_SCHEMA)), told.select(list(SIDE_SCHEMA))
