"""Which acts are restated, and from how much to how much: the rules alone, without a database."""

from typing import Any

import polars as pl
import pytest

from hub.records.restatement import Left, begun_here, settled, told

FIELDS: dict[str, Any] = {
    "record_id": pl.Int64(), "act": pl.Int64(), "canonical_record_id": pl.Int64(), "platform": pl.String(),
    "role": pl.String(), "behaviour": pl.String(), "verdict": pl.String(), "reason": pl.String(),
    "counted_mg": pl.Int64(), "reference_mg": pl.Int64(), "new_mg": pl.Int64(), "claimed_mg": pl.Int64(),
    "left": pl.String(), "credited": pl.Boolean(), "chosen": pl.Boolean(), "differs": pl.Boolean(),
}  # fmt: skip


def member(record: int, act: int, **changes: Any) -> dict[str, Any]:
    """A record worth 100 mg that will be worth 50 mg; the first of its act is the one that counts."""
    counts = record == act
    return {
        "record_id": record, "act": act, "canonical_record_id": act, "platform": "city", "role": "operator",
        "behaviour": "MOB-BIKE", "verdict": "counted" if counts else "duplicate", "reason": "only_report",
        "counted_mg": 100 if counts else 0, "reference_mg": 100, "new_mg": 50, "claimed_mg": None, "left": None,
        "credited": True, "chosen": True, "differs": True,
    } | changes  # fmt: skip


def frame(*members: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(members), schema=FIELDS)


def moved(*members: dict[str, Any]) -> list[tuple[Any, ...]]:
    return told(settled(frame(*members))).moved.rows()


def test_an_act_belongs_to_the_step_of_its_first_record_that_asks() -> None:
    rows = frame(member(3, 3, differs=False), member(5, 3), member(7, 7), member(9, 3))
    assert begun_here(rows, after=0, last=4).is_empty()
    assert begun_here(rows, after=4, last=6)["record_id"].to_list() == [3, 5, 9]
    assert begun_here(rows, after=6, last=9)["record_id"].to_list() == [7]


def test_a_record_outside_of_the_limits_comes_along_and_asks_for_nothing() -> None:
    rows = frame(member(1, 1, chosen=False), member(2, 1))
    assert begun_here(rows, after=0, last=1).is_empty()
    assert len(begun_here(rows, after=1, last=2)) == 2
    assert moved(member(1, 1, chosen=False), member(2, 1)) == [("city", "MOB-BIKE", 2, 1, 100, 50)]


@pytest.mark.parametrize("left", [Left.REFUSED, Left.ERASED, Left.UNREADABLE])
def test_an_act_stays_where_the_record_that_it_counts_by_stays(left: Left) -> None:
    done = told(settled(frame(member(1, 1, left=str(left)), member(2, 1))))
    assert (done.records, done.left) == (0, {left: 1, Left.ELSEWHERE: 1})


def test_an_act_stays_where_it_counts_by_a_record_that_is_not_there_or_brought_no_grams() -> None:
    assert told(settled(frame(member(2, 1)))).left == {Left.ELSEWHERE: 1}
    assert told(settled(frame(member(1, 1, credited=False)))).left == {Left.ELSEWHERE: 1}


def test_an_act_moves_without_a_report_that_may_not() -> None:
    done = told(settled(frame(member(1, 1), member(2, 1, left="refused"))))
    assert (done.records, done.left) == (1, {Left.REFUSED: 1})


def test_an_act_stays_where_the_report_that_lends_it_a_quantity_may_stay() -> None:
    silent: dict[str, Any] = {"reference_mg": None, "new_mg": None, "differs": False}
    assert told(settled(frame(member(1, 1, **silent), member(2, 1, left="refused")))).records == 0
    assert moved(member(1, 1, **silent), member(2, 1)) == [("city", "MOB-BIKE", 2, 1, 100, 50)]


def test_the_amount_is_the_best_witness_s_and_never_above_the_claim() -> None:
    silent: dict[str, Any] = {"reference_mg": None, "new_mg": None, "differs": False}
    others = member(2, 1, role="self_report", new_mg=80), member(3, 1, role="meter", new_mg=60)
    assert moved(member(1, 1, **silent), *others)[0][-1] == 60
    assert moved(member(1, 1, claimed_mg=30))[0][-2:] == (100, 30)
    # Claims of the platform whose record counts add up; what it told twice and what others claim does not.
    parts = member(2, 1, claimed_mg=15), member(3, 1, claimed_mg=99, platform="bank")
    again = member(4, 1, claimed_mg=30, reason="same_content")
    assert sum(row[-1] for row in moved(member(1, 1, claimed_mg=30), *parts, again)) == 45
    assert sum(row[-1] for row in moved(member(1, 1, claimed_mg=30), member(2, 1))) == 50


def test_what_was_held_or_overlapped_goes_along_and_counts_nothing() -> None:
    assert moved(member(1, 1, verdict="held", counted_mg=0)) == [("city", "MOB-BIKE", 1, 1, 0, 0)]


def test_what_was_not_decided_yet_is_expected_to_count() -> None:
    row = member(1, -1, canonical_record_id=None, verdict=None, reason=None, counted_mg=None, claimed_mg=70)
    assert moved(row) == [("city", "MOB-BIKE", 1, 1, 70, 50)]
