"""The simulated town as labelled records: what its platforms deliver in their own formats, translated by their mappings. Pure.

The town knows which act every row tells of, but not which acts claim the same grams. So its pairs are scored like any
others, and of grams only what one act may have at the most: nobody can demand an amount.
"""

from datetime import UTC, datetime, timedelta

import polars as pl

from hub.bench.clearing.corpus import PUBLIC
from hub.bench.clearing.labels import TRUTH_SCHEMA, Labelled
from hub.sandbox.reports import Oracle, Report, Reports
from hub.sandbox.specs import SPECS
from hub.sandbox.town import Town
from mappings import load_mapping, translate
from standards.behaviours import accepted_behaviours
from standards.methodology import load_methodology
from standards.quantify import quantify
from standards.schema import RECORD_SCHEMA
from standards.units import MICRO

KEY = b"the key of tokens in a benchmark"
_NOBODY = 1 << 50
"""Rows that tell of no act get events of their own from here on."""


def make_town(*, people: int, seed: int) -> Labelled:
    """Return the last versions of what all platforms of a town tell about people who linked them."""
    oracle = Oracle(Reports(Town(seed, people)))
    rows = [row for row in oracle.live_rows if (row.person, row.platform) in oracle.linked]
    frames, told = [], []
    for platform, stream, mapping in _feeds():
        feed = [row for row in rows if row.platform == platform and row.stream == stream]
        if feed:
            frame, kept = _translated(feed, platform, mapping, oracle)
            frames.append(frame)
            told += kept
    records = pl.concat(frames).with_columns(record_id=pl.int_range(pl.len(), dtype=pl.Int64) + 1)
    return _labelled(records, told)


def _feeds() -> list[tuple[str, str, str]]:
    """Return platform, stream and mapping of every feed whose rows are records; rows of a first feed name no stream."""
    feeds = []
    for spec in SPECS.values():
        for place, feed in enumerate(spec.feeds):
            name = f"{spec.id}.{feed.stream}.v1"
            if not load_mapping(name).corroborates:
                feeds.append((spec.id, feed.stream if place else "", name))
    return feeds


def _translated(feed: list[Report], platform: str, mapping: str, oracle: Oracle) -> tuple[pl.DataFrame, list[Report]]:
    """Return RECORD without ids, and the row that each record came from."""
    after = max(row.delivered_at for row in feed) + timedelta(days=1)
    found = translate(
        load_mapping(mapping), pl.Series([row.body for row in feed]), token_key=KEY,
        now=max(after, datetime(2026, 1, 1, tzinfo=UTC)), accounts=pl.Series([row.account for row in feed]),
    ).records  # fmt: skip
    kept = [feed[place] for place in found["row"]]
    subjects = pl.Series([row.person + 1 for row in kept], dtype=pl.Int64)
    named = found.with_columns(record_id=pl.lit(0, pl.Int64), subject_id=subjects, platform=pl.lit(platform))
    return named.select(list(RECORD_SCHEMA)), kept


def _labelled(records: pl.DataFrame, told: list[Report]) -> Labelled:
    number = records["record_id"]
    worth = quantify(records, load_methodology())["reference_mg"].fill_null(0)
    event = pl.Series([row.act_id for row in told], dtype=pl.Int64)
    known = event.is_not_null()
    families = {code: behaviour.family for code, behaviour in accepted_behaviours().items()}
    event = event.fill_null(number + _NOBODY)
    truth = pl.DataFrame(
        {"record_id": number, "event_id": event, "unit_id": event, "act": records["behaviour"], "known": known, "mg": worth}
    ).with_columns(
        expected=pl.lit("once"), overlap=pl.lit("none"), pairable="known", alone="known", divisible=pl.lit(False),
        family=pl.col("act").replace_strict(families, default="", return_dtype=pl.String),
        act=pl.col("act").first().over("event_id"), mg=pl.col("mg").max().over("event_id"),
        unit_lo_mg=pl.lit(0), unit_hi_mg=pl.col("mg").max().over("event_id"),
    )  # fmt: skip
    quantity = pl.col("quantity_micro") / MICRO
    public = records.with_columns(quantity=quantity).select(list(PUBLIC)).cast(PUBLIC)
    return Labelled(records=public, truth=truth.select(list(TRUTH_SCHEMA)).cast(TRUTH_SCHEMA))
