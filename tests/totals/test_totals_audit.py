"""The audit makes every release again from the events, and notices each way in which told totals may be wrong."""

import pytest
from sqlalchemy import text
from tests_support.totalling import FIRM, NOW, Town
from tests_support.using import Shop, use

from hub.audit import audit, format_report
from hub.db import writing
from hub.rights.erase import erase_person

RECOMPUTE, MANY = "totals_recompute", "totals_are_of_many"


@pytest.fixture
def told(town: Town) -> Town:
    """Two releases: one of two places and a programme, one of a latecomers' day; and acts that were taken back."""
    town.add()
    town.join(*range(12))
    rows = [town.row(n, number=f"ride-{n}") for n in range(26)]
    town.lives([*rows, *(town.row(n, place="310000", day=17) for n in range(12, 30))])
    town.lives(
        [{**row, "ver": 2, "status": "CANCELLED"} for row in rows[12:26]] + [town.row(n, day=16) for n in range(12)]
    )
    assert town.look_up("SELECT facts, COUNT(*) FROM total_release GROUP BY facts ORDER BY facts") == [
        ("counted", 2), ("taken_back", 1),
    ]  # fmt: skip
    return town


def failed(town: Town) -> set[str]:
    report = audit(town.hub)
    for check in report.checks:
        assert not check.figure.startswith("could not"), format_report(report)
    return {check.id for check in report.checks if not check.ok}


def change(town: Town, sql: str) -> None:
    with writing(town.hub.engine) as session:
        assert session.execute(text(sql)).rowcount  # type: ignore[attr-defined]


def test_what_was_told_is_found_again(told: Town) -> None:
    assert failed(told) == set()
    figures = {check.id: check.figure for check in audit(told.hub).checks}
    assert "cells in 3 releases" in figures[RECOMPUTE]


def test_an_erasure_is_no_fault_of_what_was_told(told: Town) -> None:
    for n in (0, 13, 25):
        erase_person(told.hub, told.people[n].subject_id, now=NOW)
    assert failed(told) == set()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE total_cell SET mg = mg + 1 WHERE release_id = 1 AND cell = 1",
        "UPDATE total_cell SET acts = acts + 1 WHERE release_id = 2",
        "UPDATE total_cell SET people = people + 1 WHERE release_id = 1 AND cell = 2",
        "UPDATE total_cell SET province = 120000 WHERE release_id = 1 AND province = 310000",
        "UPDATE total_cell SET programme = 'other' WHERE release_id = 1 AND programme = 'firm'",
        "UPDATE total_release SET last_window = 2 WHERE release_id = 1",
        "UPDATE event SET mg = mg + 1 WHERE event_id = (SELECT MIN(event_id) FROM event WHERE window_id = 2)",
        "DELETE FROM total_cell WHERE release_id = 1 AND cell = 1",
    ],
)
def test_totals_that_the_events_do_not_make_are_noticed(told: Town, sql: str) -> None:
    change(told, sql)
    assert RECOMPUTE in failed(told)


def test_figures_that_were_moved_between_cells_are_noticed(told: Town) -> None:
    change(
        told, "UPDATE total_cell SET mg = mg + CASE WHEN cell = 1 THEN 5 ELSE -5 END WHERE release_id = 1 AND cell < 3"
    )
    assert failed(told) == {RECOMPUTE}


def test_who_was_counted_in_a_programme_without_being_in_it_is_noticed(told: Town) -> None:
    change(told, "UPDATE programme_membership SET joined_after = 7")
    assert failed(told) == {RECOMPUTE}


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE total_cell SET people = 9 WHERE release_id = 1 AND cell = 1",
        "UPDATE total_release SET k = 3",
        "UPDATE total_people SET people = 4 WHERE line = 1",
        # One person did nearly all of a release.
        (
            "UPDATE event SET mg = mg * 100 WHERE event_id = (SELECT MIN(e.event_id) FROM event e JOIN programme_membership m "
            "ON m.subject_id = e.subject_id WHERE e.window_id = 2)"
        ),
    ],
)
def test_figures_of_few_people_are_noticed(told: Town, sql: str) -> None:
    change(told, sql)
    assert MANY in failed(told)


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM change_leaf WHERE kind = 'totals.told' AND reference = '2'",
        "DELETE FROM change_leaf WHERE kind = 'programme.changed'",
        (
            "UPDATE change_leaf SET reference = 'x' WHERE kind = 'membership.changed' AND reference = "
            "(SELECT MIN(reference) FROM change_leaf WHERE kind = 'membership.changed')"
        ),
        "UPDATE programme_membership SET left_at = joined_at, left_after = 9",
        "UPDATE programme SET closed_at = created_at, closed_after = 9",
    ],
)
def test_a_change_without_its_leaf_is_noticed(told: Town, sql: str) -> None:
    change(told, sql)
    assert "changes_have_leaves" in failed(told)


def test_what_is_left_of_a_cell_is_looked_at_too(town: Town) -> None:
    rows = [town.row(n, number=f"ride-{n}") for n in range(24)]
    town.lives(rows)
    town.lives([{**row, "ver": 2, "status": "CANCELLED"} for row in rows[:12]])
    town.lives([{**row, "ver": 2, "status": "CANCELLED"} for row in rows[12:18]])
    assert failed(town) == set()
    # As if the later corrections had been told too, which leave six people's acts.
    change(town, "UPDATE total_release SET last_window = 3 WHERE facts = 'taken_back'")
    assert MANY in failed(town)


def test_uses_are_told_when_enough_people_used_and_are_found_again(town: Town) -> None:
    town.lives([town.row(n) for n in range(12)])
    shop = Shop.opened(town.hub)
    tokens = [shop.allowed(person.subject_id) for person in town.people[:12]]
    for token in tokens[:9]:
        use(shop, token, 1000)
    town.lives([town.row(n, day=17) for n in range(12)])
    assert sum(town.ask().used_mg.values()) == 0
    for token in tokens[9:]:
        use(shop, token, 1000)
    town.lives([town.row(n, day=16) for n in range(12)])
    assert town.ask().used_mg == {"redeemed": 12_000, "transferred": 0, "retired": 0, "not_told_apart": 0}
    assert town.ask(programme=FIRM).used_mg == {}
    assert failed(town) == set()
    change(town, "UPDATE total_cell SET mg = mg + 1 WHERE category = 'used'")
    assert failed(town) == {RECOMPUTE}
