"""Cutting held grams into tonnes and sharing an income, as rules on frames."""

from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.log.commitments import commitment
from hub.log.merkle import commitment_root
from hub.market.pooling import (
    BLOCK_MG,
    HELD_SCHEMA,
    MOST_FEN,
    commit_to,
    cut_into_blocks,
    pool,
    retire,
    root_of,
    shares_of,
    split_income,
    usable_of,
)
from standards.uses import Rights

LOT = st.tuples(
    st.integers(1, 6),
    st.integers(1, 3),
    st.sampled_from([20251231, 20260101, 20260715, 20261231, 20270101]),
    st.sampled_from(["both", "attribute", "incentive"]),
    st.sampled_from([1, 7, 400_000_000, 999_999_999, BLOCK_MG, 2_500_000_001]),
)
LOTS = st.lists(LOT, max_size=14, unique_by=lambda lot: lot[:4])


def held_of(lots: list[Any]) -> pl.DataFrame:
    return pl.DataFrame(lots, schema=HELD_SCHEMA, orient="row")


def all_of(held: pl.DataFrame) -> pl.DataFrame:
    """A consent to everything."""
    return held.group_by("subject_id", "window_id", "vintage").agg(pl.col("mg").sum())


def cut(held: pl.DataFrame, rights: Rights = Rights.BOTH, most: int | None = None) -> pl.DataFrame:
    return cut_into_blocks(usable_of(held, all_of(held), rights), most=most)


@given(LOTS, st.sampled_from([Rights.BOTH, Rights.ATTRIBUTE]), st.none() | st.integers(1, 3))
def test_blocks_are_whole_tonnes_of_one_year_and_nothing_else_moves(
    lots: list[Any], rights: Rights, most: int | None
) -> None:
    held = held_of(lots)
    pieces = cut(held, rights, most)
    shares = shares_of(pieces, rights)
    fitting = held.filter(pl.col("rights").is_in([rights.value, "both"]))
    by_year = fitting.group_by(year=pl.col("vintage") // 10_000).agg(pl.col("mg").sum())
    tonnes = sum(mg // BLOCK_MG for mg in by_year["mg"])
    blocks = sorted(set(shares["block"].to_list()))
    assert blocks == list(range(tonnes if most is None else min(tonnes, most)))
    for block in blocks:
        of_block = shares.filter(pl.col("block") == block).sort("offset_mg")
        ends = (of_block["offset_mg"] + of_block["mg"]).to_list()
        assert of_block["offset_mg"].to_list() == [0, *ends[:-1]]
        assert ends[-1] == BLOCK_MG
        assert (of_block["vintage"] // 10_000).n_unique() == 1
    # No lot gives more than it has: the remainder never leaves it.
    lot = ["subject_id", "window_id", "vintage", "rights"]
    taken = pieces.group_by(lot).agg(taken=pl.col("mg").sum()).join(held, on=lot, how="left")
    assert (taken["taken"] <= taken["mg"]).all()
    assert len(taken) == pieces.select(lot).unique().height


@given(LOTS)
def test_within_a_year_the_oldest_acts_go_first(lots: list[Any]) -> None:
    held = held_of(lots)
    pieces = cut(held)
    taken = pieces.group_by("subject_id", "window_id", "vintage").agg(taken=pl.col("mg").sum())
    whole = held.filter(pl.col("rights") == "both")
    left = whole.join(taken, on=["subject_id", "window_id", "vintage"], how="left")
    left = left.with_columns(left=pl.col("mg") - pl.col("taken").fill_null(0)).filter(pl.col("left") > 0)
    for year, newest in pieces.group_by(year=pl.col("vintage") // 10_000).agg(pl.col("vintage").max()).rows():
        of_year = left.filter(pl.col("vintage") // 10_000 == year)
        assert of_year.is_empty() or of_year["vintage"].min() >= newest  # type: ignore[operator]


@given(LOTS, st.sampled_from([Rights.BOTH, Rights.ATTRIBUTE]))
def test_the_entries_of_a_pool_and_of_its_retirement_sum_to_zero_for_either_right(
    lots: list[Any], rights: Rights
) -> None:
    pieces = cut(held_of(lots), rights)
    shares = shares_of(pieces, rights)
    numbers = [100 + block for block in range(shares["block"].n_unique())]
    pooled = pool(pieces, shares, numbers, rights=rights, participant="m", window_id=9)
    retired = retire(shares, numbers, purpose="voluntary", participant="m", window_id=9)
    for entries, sides in (pooled, retired):
        assert entries["source_id"].to_list() == numbers
        assert sides.select("source_id", "line").is_unique().all()
        for rest in ("incentive", "attribute"):
            of_right = sides.filter(pl.col("rights") != rest)
            place = ["source_id", "subject_id", "window_id", "vintage"]
            assert (of_right.group_by(place).agg(pl.col("mg").sum())["mg"] == 0).all()
    onto = pooled[1].filter(pl.col("account_kind") == "issued").group_by("source_id").agg(pl.col("mg").sum())
    assert set(onto["mg"]) <= {BLOCK_MG}
    assert set(onto["source_id"]) == set(numbers)


@given(LOTS, st.integers(1, 2 * BLOCK_MG))
def test_no_more_is_taken_of_a_day_than_is_allowed(lots: list[Any], most: int) -> None:
    held = held_of(lots)
    allowed = all_of(held).with_columns(mg=pl.min_horizontal("mg", pl.lit(most))).filter(pl.col("window_id") != 2)
    usable = usable_of(held, allowed, Rights.ATTRIBUTE)
    taken = usable.group_by("subject_id", "window_id", "vintage").agg(taken=pl.col("mg").sum())
    met = taken.join(allowed, on=["subject_id", "window_id", "vintage"], how="left")
    assert (met["taken"] <= met["mg"]).all()
    assert "incentive" not in set(usable["rights"])


def test_parted_attributes_go_before_whole_grams_and_the_incentive_stays() -> None:
    held = held_of([(1, 1, 20260101, "both", BLOCK_MG), (1, 1, 20260101, "attribute", 400_000_000)])
    pieces = cut(held, Rights.ATTRIBUTE)
    assert pieces.select("rights", "mg", "offset_mg").rows() == [
        ("attribute", 400_000_000, 0),
        ("both", 600_000_000, 400_000_000),
    ]
    shares = shares_of(pieces, Rights.ATTRIBUTE)
    assert shares.select("line", "rights", "offset_mg", "mg").rows() == [(0, "attribute", 0, BLOCK_MG)]
    _, sides = pool(pieces, shares, [5], rights=Rights.ATTRIBUTE, participant="m", window_id=1)
    assert sides.select("account_kind", "platform", "rights", "mg").rows() == [
        ("held", None, "attribute", -400_000_000),
        ("held", None, "both", -600_000_000),
        ("issued", "m", "attribute", BLOCK_MG),
        ("held", None, "incentive", 600_000_000),
    ]


def test_one_person_can_fill_several_blocks_and_lie_across_their_ends() -> None:
    held = held_of([(1, 1, 20260101, "both", 600_000_000), (2, 1, 20260102, "both", 2_500_000_000)])
    shares = shares_of(cut(held), Rights.BOTH)
    assert shares.select("block", "line", "subject_id", "offset_mg", "mg").rows() == [
        (0, 0, 1, 0, 600_000_000),
        (0, 1, 2, 600_000_000, 400_000_000),
        (1, 0, 2, 0, BLOCK_MG),
        (2, 0, 2, 0, BLOCK_MG),
    ]


@pytest.mark.parametrize("mg", [0, 1, BLOCK_MG - 1])
def test_less_than_a_tonne_is_no_block(mg: int) -> None:
    assert cut(held_of([(1, 1, 20260101, "both", mg)])).is_empty()
    assert cut(held_of([(1, 1, 20251231, "both", mg), (1, 1, 20260101, "both", BLOCK_MG - 1)])).is_empty()


SHARES = st.lists(st.integers(1, 10**9), min_size=1, max_size=12).map(
    lambda weights: [weight * BLOCK_MG // sum(weights) or 1 for weight in weights]
)


def block_of(parts: list[int]) -> pl.DataFrame:
    """Shares of people in turns, so that somebody has several; the first takes what rounding left."""
    parts = [parts[0] + BLOCK_MG - sum(parts), *parts[1:]]
    ends = [sum(parts[: at + 1]) for at in range(len(parts))]
    rows = [(at % 5, end - mg, mg) for at, (mg, end) in enumerate(zip(parts, ends, strict=True))]
    schema = {"subject_id": pl.Int64(), "offset_mg": pl.Int64(), "mg": pl.Int64()}
    return pl.DataFrame(rows, schema=schema, orient="row")


@given(SHARES, st.sampled_from([1, 2, 3, 99, 100, 7_900, 65_537, MOST_FEN]))
def test_an_income_is_shared_to_the_fen(parts: list[int], amount: int) -> None:
    shares = block_of(parts)
    owed = dict(split_income(shares, amount).rows())
    assert sum(owed.values()) == amount
    own = dict(shares.group_by("subject_id").agg(pl.col("mg").sum()).rows())
    for person, mg in own.items():
        assert owed.get(person, 0) - amount * mg // BLOCK_MG in (0, 1)
    # Whoever got a fen for a remainder had no smaller one than who did not.
    rests = {person: amount * mg % BLOCK_MG for person, mg in own.items()}
    more = [rests[p] for p, mg in own.items() if owed.get(p, 0) > amount * mg // BLOCK_MG]
    less = [rests[p] for p, mg in own.items() if owed.get(p, 0) == amount * mg // BLOCK_MG]
    assert not more or not less or min(more) >= max(less)


def test_of_equal_remainders_the_older_grams_go_first() -> None:
    quarter = BLOCK_MG // 4
    rows = [(person, at * quarter, quarter) for at, person in enumerate((7, 3, 9, 1))]
    shares = pl.DataFrame(
        rows, schema={"subject_id": pl.Int64(), "offset_mg": pl.Int64(), "mg": pl.Int64()}, orient="row"
    )
    assert split_income(shares, 2).rows() == [(7, 1), (3, 1)]
    assert split_income(shares.reverse(), 2).rows() == [(7, 1), (3, 1)]


@pytest.mark.parametrize("amount", [0, -1, MOST_FEN + 1])
def test_an_income_that_cannot_be_shared_is_refused(amount: int) -> None:
    with pytest.raises(ValueError, match="an income is between"):
        split_income(block_of([BLOCK_MG]), amount)
    with pytest.raises(ValueError, match="not a whole block"):
        split_income(block_of([BLOCK_MG]).with_columns(mg=pl.col("mg") - 1), 5)


def test_each_share_is_committed_to_under_its_own_salt() -> None:
    shares = shares_of(cut(held_of([(1, 4, 20260101, "both", 2 * BLOCK_MG)])), Rights.BOTH)
    salts = bytes(range(64))
    made = commit_to(shares, pl.Series([11, 12]), "m", salts)
    assert made == [
        commitment(salts[:32], "share", b"m|11|0|1000000000|4|20260101|both"),
        commitment(salts[32:], "share", b"m|12|0|1000000000|4|20260101|both"),
    ]
    assert root_of(made) == commitment_root(made) != commitment_root(made[::-1])
