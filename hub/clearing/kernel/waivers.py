"""Which new records a reviewer released, as the kernel wants to know it. Pure."""

import numpy as np
import polars as pl

from hub.clearing.kernel.rows import NEW, Rules, Table

MOST = 32_767
"""Released acts of one person that can be told apart in one clearing; further ones share the last number."""


def mark_waived(rows: Table, waived: pl.DataFrame, rules: Rules) -> Rules:
    """Number the released acts of each person in `waived` of ROW, and return rules that look for them.

    Args:
        waived: record_id, act; records that are not new are left as they are.
    """
    numbers = waived.unique("record_id").sort("record_id")
    keys = numbers["record_id"].to_numpy()
    place = np.minimum(np.searchsorted(keys, rows["record"]), len(keys) - 1)
    at = np.flatnonzero((keys[place] == rows["record"]) & (rows["live"] == NEW))
    told = pl.DataFrame({"person": rows["subject"][at], "act": numbers["act"].to_numpy()[place[at]]})
    rows["waived"][at] = told.select(
        pl.col("act").rank("dense").over("person").clip(upper_bound=MOST).cast(pl.Int16)
    ).to_series()
    settings = rules.settings.copy()
    settings["waives"] = 1
    return rules._replace(settings=settings)
