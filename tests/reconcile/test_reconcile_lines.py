"""Two sides of a stream: totals and digest whatever the order, and one break of the right kind for every difference."""

import random
import time
from collections.abc import Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests_support.settling import lines_of

from hub.reconcile.lines import (
    CLOCKS_APART_US,
    ELSEWHERE_SCHEMA,
    OURS_SCHEMA,
    BreakKind,
    Paired,
    compare_lines,
    digest_of,
    totals_of,
)

UNTIL = 1_800_000_000_000_000
WINDOW = 7
IDS = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=12)
RECORDS = st.dictionaries(
    IDS, st.tuples(st.integers(0, 2**40), st.integers(0, 10**9), st.none() | st.integers(0, UNTIL)), max_size=12
)


def ours_of(lines: pl.DataFrame, *, told_before: Sequence[str] = ()) -> pl.DataFrame:
    numbered = lines.with_row_index("record_id", offset=1).with_columns(
        token=pl.format("t-{}", "source_id"), told_before=pl.col("source_id").is_in(list(told_before))
    )
    return numbered.select(list(OURS_SCHEMA)).cast(OURS_SCHEMA)


def elsewhere_of(*rows: Sequence[Any]) -> pl.DataFrame:
    return pl.DataFrame([(*row, 100 + i, f"t-{row[0]}") for i, row in enumerate(rows)], ELSEWHERE_SCHEMA, orient="row")


def pair(ours: pl.DataFrame, theirs: pl.DataFrame, elsewhere: pl.DataFrame | None = None) -> Paired:
    known = elsewhere_of() if elsewhere is None else elsewhere
    return compare_lines(ours, theirs, known, window_id=WINDOW, until_us=UNTIL)


def table(records: dict[str, tuple[int, int, int | None]]) -> pl.DataFrame:
    return lines_of(*((name, *told) for name, told in records.items()))


@given(RECORDS, st.randoms(use_true_random=False))
def test_no_order_matters(records: dict[str, Any], dice: random.Random) -> None:
    rows = list(records.items())
    dice.shuffle(rows)
    lines, mixed = table(records), table(dict(rows))
    assert totals_of(lines) == totals_of(mixed)
    theirs = table({name: told for name, told in rows if dice.random() < 0.5})
    first, second = pair(ours_of(lines), theirs), pair(ours_of(mixed), theirs.reverse())
    # Record numbers follow the order of our side; all else is the same.
    assert first.breaks.drop("record_id").equals(second.breaks.drop("record_id"))
    assert (first.matched, first.matched_mg) == (second.matched, second.matched_mg)


@given(RECORDS)
def test_a_side_compared_with_itself_has_no_break(records: dict[str, Any]) -> None:
    lines = table(records)
    done = pair(ours_of(lines), lines)
    assert done.breaks.is_empty()
    assert (done.matched, done.matched_mg) == (len(lines), lines["claimed_mg"].sum())


def changed(records: dict[str, Any], kind: BreakKind, dice: random.Random) -> dict[str, Any]:
    """Their side, with one record changed so that this break must show."""
    theirs = dict(records)
    name = dice.choice(sorted(theirs))
    version, mg, posted = theirs[name]
    match kind:
        case BreakKind.MISSING_THERE:
            del theirs[name]
        case BreakKind.MISSING_HERE:
            theirs[name + "'"] = (version, mg, posted)
        case BreakKind.AMOUNT:
            theirs[name] = (version, mg + 1, posted)
        case BreakKind.VERSION:
            theirs[name] = (version + 1, mg + dice.randint(0, 1), posted)
        case _:
            theirs[name] = (version, mg, UNTIL + CLOCKS_APART_US + 1)
    return theirs


@pytest.mark.parametrize("kind", [kind for kind in BreakKind if kind is not BreakKind.ROWS])
@given(records=RECORDS.filter(bool), dice=st.randoms(use_true_random=False))
def test_any_one_change_is_one_break_of_its_kind(kind: BreakKind, records: dict[str, Any], dice: random.Random) -> None:
    theirs = changed(records, kind, dice)
    if kind is BreakKind.MISSING_HERE and len(theirs) == len(records):
        return  # the new name was there by chance
    done = pair(ours_of(table(records)), table(theirs))
    assert done.breaks["kind"].to_list() == [str(kind)]
    assert done.matched == len(records) - (kind is not BreakKind.MISSING_HERE)
    if kind is not BreakKind.LATE:
        assert totals_of(table(records)) != totals_of(table(theirs))


OURS = ours_of(lines_of(("a", 1, 5), ("b", 2, 6), ("c", 1, 7), ("d", 1, 8)))
CASES: dict[str, tuple[pl.DataFrame, pl.DataFrame, list[tuple[Any, ...]]]] = {
    "nothing": (lines_of(("a", 1, 5), ("b", 2, 6), ("c", 1, 7), ("d", 1, 8)), elsewhere_of(), []),
    "all four": (
        lines_of(("a", 1, 4), ("b", 1, 6), ("d", 1, 8), ("e", 1, 9)),
        elsewhere_of(),
        [
            ("a", "amount", 5, 4, 1), ("b", "version", 2, 1, 6), ("c", "missing_there", 7, None, 7),
            ("e", "missing_here", None, 9, 9),
        ],
    ),
    "what an earlier window has is no break": (
        lines_of(("a", 1, 5), ("b", 2, 6), ("c", 1, 7), ("d", 1, 8), ("e", 1, 9)), elsewhere_of(("e", 3, 1, 9)), [],
    ),
    "nor what was set aside and taken in the same window": (
        lines_of(("a", 1, 5), ("b", 2, 6), ("c", 1, 7), ("d", 1, 8), ("e", 1, 9)), elsewhere_of(("e", WINDOW, 1, 9)), [],
    ),
    "what a later window has is late": (
        lines_of(("a", 1, 5), ("b", 2, 6), ("c", 1, 7), ("d", 1, 8), ("e", 1, 9)),
        elsewhere_of(("e", 9, 1, 9), ("e", 8, 1, 9)),
        [("e", "late", 8, WINDOW, 9)],
    ),
    "a correction that never came": (
        lines_of(("a", 1, 5), ("b", 2, 6), ("c", 1, 7), ("d", 1, 8), ("e", 2, 9)),
        elsewhere_of(("e", 3, 1, 9)),
        [("e", "version", 1, 2, 9)],
    ),
    "a correction that never came, where nothing is numbered": (
        lines_of(("a", 1, 5), ("b", 2, 6), ("c", 1, 7), ("d", 1, 8), ("e", 0, 9)),
        elsewhere_of(("e", 3, 0, 4)),
        [("e", "amount", 4, 9, 5)],
    ),
    "posted within the minute that clocks may differ": (
        lines_of(("a", 1, 5, UNTIL + CLOCKS_APART_US), ("b", 2, 6), ("c", 1, 7), ("d", 1, 8)), elsewhere_of(), [],
    ),
    "posted after the end, and here": (
        lines_of(("a", 1, 5, UNTIL + CLOCKS_APART_US + 1), ("b", 2, 6), ("c", 1, 7), ("d", 1, 8)),
        elsewhere_of(),
        [("a", "late", WINDOW, WINDOW, 5)],
    ),
    "posted after the end, and nowhere": (
        lines_of(("a", 1, 5), ("b", 2, 6), ("c", 1, 7), ("d", 1, 8), ("e", 1, 9, UNTIL * 2)),
        elsewhere_of(),
        [("e", "late", None, WINDOW, 9)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_differences_get_their_kind_and_both_numbers(name: str) -> None:
    theirs, elsewhere, wanted = CASES[name]
    done = pair(OURS, theirs, elsewhere)
    assert done.breaks.select("source_id", "kind", "ours", "theirs", "mg").rows() == wanted


def test_every_kind_of_record_has_a_case() -> None:
    shown = {row[1] for _, _, rows in CASES.values() for row in rows}
    assert shown == {str(kind) for kind in BreakKind} - {str(BreakKind.ROWS)}


def test_what_was_late_before_is_not_denied_now() -> None:
    ours = ours_of(lines_of(("a", 1, 5), ("b", 1, 6)), told_before=["a"])
    assert pair(ours, lines_of()).breaks["source_id"].to_list() == ["b"]


def test_breaks_say_which_record_and_token_they_are_about() -> None:
    done = pair(
        OURS, lines_of(("a", 1, 5), ("b", 2, 6), ("c", 1, 7), ("e", 1, 9), ("f", 1, 1)), elsewhere_of(("e", 9, 1, 9))
    )
    told = done.breaks.select("source_id", "record_id", "token").rows()
    assert told == [("d", 4, "t-d"), ("e", 100, "t-e"), ("f", None, None)]


def test_lines_are_sorted_by_bytes_and_told_apart_by_their_ends() -> None:
    assert digest_of(lines_of(("a|1", 2, 3))) != digest_of(lines_of(("a", 12, 3)))
    assert digest_of(lines_of(("😀", 0, 1), ("ﬁ", 0, 2))) == digest_of(lines_of(("ﬁ", 0, 2), ("😀", 0, 1)))


def test_many_lines_are_paired_in_columns() -> None:
    count = 200_000
    numbers = pl.int_range(count, eager=True)
    lines = pl.DataFrame(
        {
            "source_id": "BJ2026112000" + numbers.cast(pl.String), "version": pl.repeat(1, count, eager=True),
            "claimed_mg": numbers % 997, "posted_us": pl.repeat(UNTIL - 1, count, eager=True),
        }
    ).cast(dict(lines_of().schema))  # fmt: skip
    theirs = lines.with_columns(claimed_mg=pl.when(pl.col("claimed_mg") == 5).then(6).otherwise("claimed_mg"))
    began = time.process_time()
    done = pair(ours_of(lines), theirs.sample(fraction=1, shuffle=True, seed=1))
    totals_of(lines)
    spent = time.process_time() - began
    assert set(done.breaks["kind"]) == {"amount"}
    assert len(done.breaks) == (lines["claimed_mg"] == 5).sum()
    assert spent < 10  # a loop over rows would take about as many seconds as this takes tenths
