"""Attacks on told totals: everything that is ever published is put into one system of equations, and solved.

The unknowns are what each person did of each finest kind. An attacker knows every answer of every kind at every time, which
kinds of act each answer is about, and who was a member. What can be computed is the row space of those answers; nothing in it
may be of fewer than k people, however it is combined.
"""

from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations, product
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.totals.folding import (
    CELL_SCHEMA,
    FACT_SCHEMA,
    LEVELS,
    Rule,
    are_safe,
    count_people,
    fold,
    place,
    rounded,
    whole,
)

K = 3
RULE = Rule(k=K, p_percent=25)
# Kinds of act: programme, province, city, category, behaviour, day.
KINDS = [
    (programme, place_, place_, what[0], what[1], day)
    for programme, place_, what, day in product(
        ("", "firm"), (110000, 310000), (("travel", "BUS"), ("travel", "BIKE"), ("food", "CUP")), (1, 2)
    )
]
acts = st.tuples(st.integers(0, 8), st.integers(0, len(KINDS) - 1), st.integers(1, 40))
towns = st.lists(acts, min_size=1, max_size=40)
Row = tuple[int, int, int]


def facts(rows: list[Row]) -> pl.DataFrame:
    told = [(person, *KINDS[kind], 1, mg) for person, kind, mg in rows]
    return pl.DataFrame(told, schema=FACT_SCHEMA, orient="row")


def sets(rows: list[Row], cells: pl.DataFrame) -> Iterator[tuple[dict[str, Any], list[int]]]:
    """Each cell with the places of the rows that it adds up."""
    placed = place(facts(rows).with_row_index("row"), cells)
    for cell in cells.iter_rows(named=True):
        labels = pl.DataFrame([{name: cell[name] for name in LEVELS}], schema={n: CELL_SCHEMA[n] for n in LEVELS})
        yield cell, sorted(placed.join(labels, on=LEVELS, how="semi", nulls_equal=True)["row"].to_list())


def answers(rows: list[Row], cells: pl.DataFrame) -> list[list[int]]:
    """Every sum that anybody may be shown, as the rows it adds up: by every choice of labels, of all and of a programme."""
    found = []
    members = list(sets(rows, cells))
    for size in range(len(LEVELS) + 1):
        for labels in combinations(LEVELS, size):
            groups: dict[tuple[Any, ...], list[int]] = {}
            for cell, inside in members:
                groups.setdefault(tuple(cell[name] for name in labels), []).extend(inside)
            found += [sorted(one) for one in groups.values()]
    return found


def solve(vectors: list[list[Fraction]]) -> list[list[Fraction]]:
    """Return the reduced row echelon form: what can be computed, in its simplest words."""
    matrix = [row[:] for row in vectors]
    reduced: list[list[Fraction]] = []
    width = len(matrix[0]) if matrix else 0
    for column in range(width):
        pivot = next((row for row in matrix if row[column]), None)
        if pivot is None:
            continue
        matrix.remove(pivot)
        pivot = [value / pivot[column] for value in pivot]
        matrix = [_minus(row, pivot, row[column]) for row in matrix]
        reduced = [_minus(row, pivot, row[column]) for row in reduced]
        reduced.append(pivot)
    return reduced


def _minus(row: list[Fraction], pivot: list[Fraction], times: Fraction) -> list[Fraction]:
    return [a - times * b for a, b in zip(row, pivot, strict=True)] if times else row


def indicator(inside: list[int], width: int) -> list[Fraction]:
    return [Fraction(int(place_ in inside)) for place_ in range(width)]


def is_computable(wanted: list[Fraction], basis: list[list[Fraction]]) -> bool:
    left = wanted
    for row in basis:
        column = next(place_ for place_, value in enumerate(row) if value)
        left = _minus(left, row, left[column])
    return not any(left)


def require_safe(published: list[list[int]], rows: list[Row]) -> None:
    """Nothing that can be computed from what is published is of fewer than k people, or mostly one person's."""
    basis = solve([indicator(inside, len(rows)) for inside in published])
    for row in basis:
        # The parts are disjoint, so each line of the solution is one of them, and every computable sum adds up whole parts.
        assert set(row) <= {Fraction(0), Fraction(1)}
        inside = [rows[place_] for place_, value in enumerate(row) if value]
        by_person: dict[int, int] = {}
        for person, _, mg in inside:
            by_person[person] = by_person.get(person, 0) + mg
        assert len(by_person) >= K
        largest, second = sorted(by_person.values(), reverse=True)[:2]
        total = sum(by_person.values())
        assert (total - largest - second) * 100 >= RULE.p_percent * largest
        assert largest * 100 <= 80 * total
    for kind in {kind for _, kind, _ in rows}:
        mine = [place_ for place_, row_ in enumerate(rows) if row_[1] == kind]
        if len({rows[place_][0] for place_ in mine}) < K:
            assert not is_computable(indicator(mine, len(rows)), basis)
    for person in {person for person, _, _ in rows}:
        mine = [place_ for place_, row_ in enumerate(rows) if row_[0] == person]
        assert not is_computable(indicator(mine, len(rows)), basis)


@settings(max_examples=150, deadline=None)
@given(towns)
def test_nothing_of_fewer_than_k_people_can_be_computed_from_all_answers(rows: list[Row]) -> None:
    cells = fold(facts(rows), RULE)
    require_safe(answers(rows, cells), rows)


@settings(max_examples=80, deadline=None)
@given(towns, towns)
def test_nothing_can_be_computed_from_the_answers_before_and_after(before: list[Row], after: list[Row]) -> None:
    """The second telling has new facts only; who asks before and after may subtract one from the other."""
    rows = before + after
    first = answers(before, fold(facts(before), RULE))
    shift = len(before)
    second = [[shift + place_ for place_ in one] for one in answers(after, fold(facts(after), RULE))]
    both = [a + b for a in first[:40] for b in second[:40]]
    require_safe([*first, *second, *both], rows)


@settings(max_examples=150, deadline=None)
@given(towns, st.integers(0, 2**40 - 1))
def test_nothing_of_few_can_be_computed_from_cells_and_what_was_taken_back(rows: list[Row], mask: int) -> None:
    """What is taken back is a part of what was told: any cells less that sum must not be of few people either."""
    cells = fold(facts(rows), RULE)
    back = [place_ for place_ in range(len(rows)) if mask >> place_ & 1]
    left = place(facts(rows), cells).with_row_index("row").filter(~pl.col("row").is_in(back))
    told = not whole(facts([rows[place_] for place_ in back]), RULE).is_empty()
    if cells.is_empty() or not told or not are_safe(left.drop("row"), LEVELS, RULE):
        return
    told_cells = [inside for _, inside in sets(rows, cells)]
    basis = solve([indicator(inside, len(rows)) for inside in [*told_cells, back]])
    for person in {person for person, _, _ in rows}:
        mine = [place_ for place_, row in enumerate(rows) if row[0] == person]
        assert not is_computable(indicator(mine, len(rows)), basis)
    for size in range(1, min(len(told_cells), 6) + 1):
        for some in combinations(told_cells, size):
            inside = {place_ for one in some for place_ in one}
            if set(back) <= inside and inside - set(back):
                assert len({rows[place_][0] for place_ in inside - set(back)}) >= K


@settings(max_examples=150, deadline=None)
@given(towns)
def test_cells_are_safe_disjoint_and_hold_everything_or_nothing(rows: list[Row]) -> None:
    table = facts(rows)
    cells = fold(table, RULE)
    if cells.is_empty():
        people = table.group_by("subject_id").agg(pl.col("mg").sum(), pl.col("acts").sum())
        shares = sorted(people["mg"].to_list(), reverse=True)
        often = sorted(people["acts"].to_list(), reverse=True)
        assert len(shares) < K or any((sum(x) - sum(x[:2])) * 100 < 25 * x[0] for x in (shares, often))
        return
    assert (cells["acts"].sum(), cells["mg"].sum()) == (len(rows), table["mg"].sum())
    inside = [place_ for _, places in sets(rows, cells) for place_ in places]
    assert sorted(inside) == list(range(len(rows)))
    assert cells["people"].min() >= K  # type: ignore[operator]
    for cell, places in sets(rows, cells):
        assert cell["people"] == len({rows[place_][0] for place_ in places})
        assert cell["mg"] == sum(rows[place_][2] for place_ in places)
        for place_ in places:
            kind = dict(zip(LEVELS, KINDS[rows[place_][1]], strict=True))
            assert all(cell[name] in (None, kind[name]) for name in LEVELS)


@settings(max_examples=80, deadline=None)
@given(towns)
def test_people_behind_every_sum_are_k_or_more_and_shown_rounded(rows: list[Row]) -> None:
    cells = fold(facts(rows), RULE)
    if cells.is_empty():
        return
    people = count_people(place(facts(rows), cells))
    assert people["people"].min() >= K  # type: ignore[operator]
    whole = people.filter((pl.col("split_by") == "") & pl.col("scope").is_null())
    assert whole["people"].to_list() == [len({person for person, _, _ in rows})]
    assert {rounded(n, K) % K for n in people["people"]} == {0}


@settings(max_examples=60, deadline=None)
@given(towns, st.randoms())
def test_the_order_of_facts_changes_nothing(rows: list[Row], dice: Any) -> None:
    shuffled = rows[:]
    dice.shuffle(shuffled)
    assert fold(facts(shuffled), RULE).equals(fold(facts(rows), RULE))


def test_the_attack_finds_what_plain_suppression_gives_away() -> None:
    """A check that has never failed is not a check: leave only the small cell out, and it is the total less the others."""
    rows = [(person, 0, 10) for person in range(6)] + [(6, 4, 10)]
    everything, without_the_small = list(range(7)), list(range(6))
    with pytest.raises(AssertionError):
        require_safe([everything, without_the_small], rows)


def test_the_attack_finds_a_period_that_differs_by_one_person() -> None:
    rows = [(person, 0, 10) for person in range(6)] + [(6, 1, 10)]
    with pytest.raises(AssertionError):
        require_safe([[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5, 6]], rows)


def test_the_attack_finds_a_cell_that_is_mostly_one_person_s() -> None:
    rows = [(0, 0, 1000), (1, 0, 10), (2, 0, 10), (3, 0, 10)]
    with pytest.raises(AssertionError):
        require_safe([[0, 1, 2, 3]], rows)
    assert fold(facts(rows), RULE).is_empty()
