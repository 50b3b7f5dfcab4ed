"""Which grams are taken when some are used: the oldest acts first. Pure.

Lots are `hub.ledger.postings.LOT_SCHEMA`: window_id, vintage, rights, mg.
"""

import polars as pl

from hub.ledger.postings import LOT_SCHEMA
from standards.uses import Rights

PLACE = ["window_id", "vintage"]


def cut_to(lots: pl.DataFrame, allowed: pl.DataFrame) -> pl.DataFrame:
    """Return lots with no more in any window and vintage than is allowed there.

    Args:
        allowed: window_id, vintage, mg; what is not named is not allowed.
    """
    met = lots.join(allowed.rename({"mg": "most"}), on=PLACE, how="inner", maintain_order="left")
    before = (pl.col("mg").cum_sum() - pl.col("mg")).over(PLACE)
    left = (pl.col("most") - before).clip(0)
    return met.with_columns(mg=pl.min_horizontal("mg", left)).filter(pl.col("mg") > 0).select(list(LOT_SCHEMA))


def of_rights(lots: pl.DataFrame, rights: Rights) -> pl.DataFrame:
    """Return the lots that these rights can be taken from: what has parted before first, then whole grams."""
    fitting = lots.filter(pl.col("rights").is_in([rights.value, Rights.BOTH.value]))
    return fitting.sort(pl.col("rights") == Rights.BOTH.value, "vintage", "window_id", maintain_order=True)


def take(lots: pl.DataFrame, mg: int) -> pl.DataFrame:
    """Return the first lots that together have `mg`, the last one cut; fewer if there is not as much."""
    before = pl.col("mg").cum_sum() - pl.col("mg")
    taken = lots.with_columns(mg=pl.min_horizontal("mg", (pl.lit(mg) - before).clip(0)))
    return taken.filter(pl.col("mg") > 0)


def parted(lots: pl.DataFrame, rights: Rights) -> pl.DataFrame:
    """Return the other rights of whole grams among lots of which only `rights` are taken: they stay where they were."""
    if rights is Rights.BOTH:
        return lots.head(0)
    return lots.filter(pl.col("rights") == Rights.BOTH.value).with_columns(rights=pl.lit(rights.rest.value))


def with_rights(lots: pl.DataFrame, rights: Rights) -> pl.DataFrame:
    """Return lots as lots of these rights, those of one window and vintage together, in the same order."""
    together = lots.group_by(PLACE, maintain_order=True).agg(pl.col("mg").sum())
    return together.with_columns(rights=pl.lit(rights.value)).select(list(LOT_SCHEMA))
