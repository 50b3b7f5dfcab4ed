"""Splink, a peer: probabilistic linkage of pairs, trained without labels on the records themselves. I/O: DuckDB in memory.

Pairs are made within a person and family and a window of time, and both the agreement among matches and that among others
are learnt within these pairs: sampled among all records, chance agreement of times would look far too rare.
"""

import logging

import duckdb
import polars as pl
import splink.comparison_level_library as levels
from splink import Linker, SettingsCreator
from splink.backends.duckdb import DuckDBAPI
from splink.blocking_rule_library import CustomRule
from splink.comparison_library import CustomComparison

from hub.bench.clearing.peers import for_sql

WINDOW_S = 900
THRESHOLD = 0.9
"""The best F1 of 0.5, 0.7, 0.9 and 0.97 on corpora that are not reported."""
ROUNDS = 10
"""Of training. On small corpora more of them drive a share that was never seen below what Splink accepts."""
# Two records of one platform are never paired; those of a day and those of a moment neither.
BLOCK = f"""
    l.subject_id = r.subject_id and l.family = r.family and l.platform <> r.platform and l.by_day = r.by_day
    and l.s <= r.e + {WINDOW_S} and r.s <= l.e + {WINDOW_S}
"""
# What blocking names, training leaves out; so the comparisons have the same times under other names.
APART = "least(abs(begun_l - begun_r), abs(ended_l - ended_r))"


def match_with_splink(records: pl.DataFrame) -> pl.DataFrame:
    """Return `record_id` and `event_id` of valid records."""
    logging.getLogger("splink").setLevel(logging.ERROR)
    told = (
        for_sql(records)
        .with_columns(by_day=pl.col("precision") == "day", begun="s", ended="e", of_day=pl.col("precision") == "day")
        .rename({"record_id": "unique_id"})
    )
    with duckdb.connect() as connection:
        database = DuckDBAPI(connection)
        linker = Linker(database.register(told.to_arrow()), _settings(), log_level=logging.ERROR)
        linker.training.estimate_parameters_using_expectation_maximisation(
            BLOCK, fix_u_probabilities=False, populate_probability_two_random_records_match_from_trained_values=True
        )
        predicted = linker.inference.predict(threshold_match_probability=THRESHOLD)
        clusters = linker.clustering.cluster_pairwise_predictions_at_threshold(
            predicted, threshold_match_probability=THRESHOLD
        )
        found = pl.DataFrame(pl.from_arrow(clusters.as_pyarrow_table()))  # type: ignore[no-untyped-call]
    return found.select(record_id="unique_id", event_id="cluster_id").cast(pl.Int64)


def _settings() -> SettingsCreator:
    return SettingsCreator(
        link_type="dedupe_only",
        max_iterations=ROUNDS,
        probability_two_random_records_match=0.5,  # of two records so near each other; training begins there
        blocking_rules_to_generate_predictions=[CustomRule(BLOCK)],
        comparisons=[
            _times(),
            _comparison(
                "duration", "of_day_l or begun_l = ended_l or begun_r = ended_r",
                *(f"abs((ended_l - begun_l) - (ended_r - begun_r)) <= {share} * (ended_l - begun_l)" for share in (0.1, 0.25)),
            ),
            _comparison(
                "quantity",
                "quantity_l is null or quantity_r is null or unit_l is distinct from unit_r"
                " or (countable_l and quantity_l = quantity_r)",
                *(f"abs(quantity_l - quantity_r) <= {share} * greatest(quantity_l, quantity_r)" for share in (0.08, 0.2)),
            ),
            _key("event_key"),
            _key("payment_key"),
            _comparison("behaviour", "behaviour_l is null", "behaviour_l = behaviour_r"),
        ],
    )  # fmt: skip


def _comparison(name: str, absent: str, *agreements: str) -> CustomComparison:
    return CustomComparison(
        output_column_name=name,
        comparison_levels=[
            levels.CustomLevel(absent).configure(is_null_level=True),
            *(levels.CustomLevel(sql) for sql in agreements),
            levels.ElseLevel(),
        ],
    )


def _times() -> CustomComparison:
    """Compare times; by chance the times of two acts in one window are any distance apart, which need not be learnt."""
    limits = (10, 30, 90, 300, WINDOW_S)
    shares = [(limit - before) / WINDOW_S for before, limit in zip((0, *limits), limits, strict=False)]
    near = [levels.CustomLevel(f"{APART} <= {limit}") for limit in limits[:-1]]
    levels_by_distance = [
        level.configure(u_probability=share, fix_u_probability=True)
        for level, share in zip((*near, levels.ElseLevel()), shares, strict=True)
    ]
    absent = levels.CustomLevel("of_day_l").configure(is_null_level=True)
    return CustomComparison(output_column_name="time", comparison_levels=[absent, *levels_by_distance])


def _key(name: str) -> CustomComparison:
    """Compare a key: told, not learnt, because among records of two acts agreement is too rare to be estimated."""
    agrees = levels.CustomLevel(f"{name}_l = {name}_r")
    return CustomComparison(
        output_column_name=name,
        comparison_levels=[
            levels.CustomLevel(f"{name}_l is null or {name}_r is null").configure(is_null_level=True),
            agrees.configure(m_probability=0.98, u_probability=0.002, fix_m_probability=True, fix_u_probability=True),
            levels.ElseLevel().configure(
                m_probability=0.02, u_probability=0.998, fix_m_probability=True, fix_u_probability=True
            ),
        ],
    )
