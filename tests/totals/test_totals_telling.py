"""Totals over the real store: what is told of final windows, when, of whom, and what is told instead of few."""

from tests_support.totalling import CITY, FIRM, NOW, Town, lines

from hub.audit import audit, format_report
from hub.context import Hub
from hub.rights.erase import erase_person
from hub.totals.telling import update_totals

BEIJING, SHANGHAI = 110000, 310000


def require_sound(hub: Hub) -> None:
    report = audit(hub)
    assert report.holds, format_report(report)


def test_totals_are_told_by_place_and_behaviour_and_add_up(town: Town) -> None:
    rows = [town.row(n) for n in range(20)] + [town.row(n, scene="NO_TABLEWARE", hour=12) for n in range(12)]
    rows += [town.row(n, place="310000", day=17) for n in range(20, 30)]
    (told,) = town.lives(rows)
    assert (told.facts, told.month, told.first_window, told.last_window) == ("counted", 202611, 1, 1)
    assert lines(town.ask("region")) == {(BEIJING,): (20, 32), (SHANGHAI,): (10, 10)}
    by_both = town.ask("region,behaviour")
    assert lines(by_both) == {
        (BEIJING, "food", "FOOD-NOTABLEWARE"): (10, 12), (BEIJING, "travel", "MOB-BIKE"): (20, 20),
        (SHANGHAI, "travel", "MOB-BIKE"): (10, 10),
    }  # fmt: skip
    everything = town.look_up("SELECT COUNT(*), SUM(mg) FROM event")[0]
    assert (by_both.total.acts, by_both.total.counted_mg) == everything
    assert sum(line.counted_mg for line in by_both.lines) == everything[1]
    assert by_both.total.people_at_least == 30
    require_sound(town.hub)


def test_what_is_of_few_is_told_together_and_the_smallest_sibling_with_it(town: Town) -> None:
    rows = [town.row(n) for n in range(15)] + [town.row(n, place="120000") for n in range(15, 26)]
    town.lives([*rows, *(town.row(n, place="310000") for n in range(26, 29))])
    # Shanghai's three cannot stand alone, nor as all that is missing from the total: Tianjin's eleven join them.
    assert lines(town.ask("region")) == {(BEIJING,): (10, 15), (None,): (10, 14)}
    assert lines(town.ask("behaviour")) == {("travel", "MOB-BIKE"): (20, 29)}


def test_of_too_few_people_nothing_is_told_until_others_come(town: Town) -> None:
    (waits,) = town.lives([town.row(n) for n in range(9)])
    assert (waits.cells, town.ask().total.acts) == (0, 0)
    assert town.look_up("SELECT facts, month, first_window FROM total_waiting") == [("counted", 202611, 1)]
    (told,) = town.lives([town.row(9)])
    assert (told.first_window, told.last_window, town.ask().total.acts) == (1, 2, 10)
    assert town.look_up("SELECT COUNT(*) FROM total_waiting") == [(0,)]
    require_sound(town.hub)


def test_a_figure_that_is_mostly_one_persons_is_not_told(town: Town) -> None:
    small = [town.row(n, grams="1.00") for n in range(12)]
    town.lives([*small, *(town.row(20, grams="500.00", hour=hour) for hour in (9, 10, 11))])
    assert town.ask().total.acts == 0
    town.lives([town.row(n, grams="400.00", hour=15) for n in range(12)])
    assert town.ask().total.acts == 27


def test_what_is_not_final_is_not_told_and_a_second_telling_changes_nothing(town: Town) -> None:
    town.deliver(town.row(n) for n in range(20))
    assert town.update() == []
    town.close()
    assert len(town.update()) == 1
    before = town.look_up("SELECT * FROM total_cell ORDER BY release_id, cell")
    assert town.update() == []
    assert town.look_up("SELECT * FROM total_cell ORDER BY release_id, cell") == before


def test_later_windows_add_whole_cells_and_few_latecomers_wait(town: Town) -> None:
    town.lives([town.row(n) for n in range(20)])
    first = town.ask("region,behaviour,day")
    town.lives([town.row(n, day=17) for n in range(3)])
    assert town.ask("region,behaviour,day") == first
    town.lives([town.row(n, day=17) for n in range(3, 12)])
    assert town.ask().total.acts == 32
    assert town.look_up("SELECT first_window, last_window FROM total_release ORDER BY release_id") == [(1, 1), (2, 3)]
    require_sound(town.hub)


def test_an_act_that_was_told_and_taken_back_is_told_as_such_when_enough_are(town: Town) -> None:
    rows = [town.row(n, number=f"ride-{n}") for n in range(24)]
    town.lives(rows)
    told = town.ask("region")
    town.lives([{**row, "ver": 2, "status": "CANCELLED"} for row in rows[:4]])
    assert town.ask("region") == told
    town.lives([{**row, "ver": 2, "status": "CANCELLED"} for row in rows[4:12]])
    now = town.ask("region")
    assert now.lines == told.lines
    assert (now.total.taken_back_mg, now.total.acts) == (now.total.counted_mg // 2, 24)
    require_sound(town.hub)


def test_what_is_taken_back_is_not_told_where_few_people_would_be_left(town: Town) -> None:
    """All but three people's acts are taken back: the told cell less that sum would be the three's."""
    rows = [town.row(n, number=f"ride-{n}") for n in range(24)]
    town.lives([*rows, *(town.row(n, place="310000", day=17) for n in range(24))])
    town.lives([{**row, "ver": 2, "status": "CANCELLED"} for row in rows[:21]])
    assert town.ask().total.taken_back_mg == 0
    assert town.look_up("SELECT facts FROM total_waiting") == [("taken_back",)]
    town.lives([{**row, "ver": 2, "status": "CANCELLED"} for row in rows[21:]])
    assert town.ask().total.taken_back_mg == town.ask("region").lines[0].counted_mg
    require_sound(town.hub)


def test_an_act_that_is_taken_back_before_it_is_told_is_never_told(town: Town) -> None:
    rows = [town.row(n, number=f"ride-{n}") for n in range(9)]
    town.lives(rows)
    town.lives([{**rows[0], "ver": 2, "status": "CANCELLED"}])
    town.lives([town.row(n) for n in range(10, 22)])
    assert town.ask().total.acts == 20
    assert town.ask().total.taken_back_mg == 0
    require_sound(town.hub)


def test_a_day_is_told_where_enough_people_did_it(town: Town) -> None:
    town.lives([town.row(n, day=17 + n % 2) for n in range(24)])
    assert lines(town.ask("day")) == {(20261117,): (10, 12), (20261118,): (10, 12)}
    assert town.ask("", "2026-11-17").total.acts == 12
    assert town.ask("", "2026-11-16").total.acts == 0
    assert town.ask("month", "2026").lines[0].labels == {"month": 202611}


def test_an_erasure_changes_no_total_and_is_told_as_unknown_place_later(town: Town) -> None:
    town.lives([town.row(n) for n in range(11)])
    before = town.ask("region")
    town.deliver(town.row(n, day=17) for n in range(12))
    town.close()
    for n in (0, 1):
        erase_person(town.hub, town.people[n].subject_id, now=NOW)
    assert town.ask("region") == before
    town.update()
    assert lines(town.ask("region")) == {(BEIJING,): (10, 11), (None,): (10, 12)}
    require_sound(town.hub)


def test_a_month_under_way_waits_where_the_operator_wants_whole_months(town: Town) -> None:
    town.hub.settings.__dict__["totals_of_months_under_way"] = False
    town.deliver(town.row(n) for n in range(20))
    town.close()
    assert town.update() == []
    assert town.look_up("SELECT month FROM total_waiting") == [(202611,)]
    assert [one.cells > 0 for one in update_totals(town.hub, now=NOW, months=frozenset({202611}))] == [True]
    town.hub.settings.__dict__["totals_of_months_under_way"] = True
    assert town.ask().total.acts == 20


def test_every_telling_has_a_leaf_with_its_digest(town: Town) -> None:
    town.add()
    town.join(*range(12))
    town.lives([town.row(n) for n in range(24)])
    ((digest,),) = town.look_up("SELECT digest FROM total_release")
    ((body,),) = town.look_up(
        "SELECT b.data FROM log_body b JOIN change_leaf c ON c.leaf_id = b.leaf_id WHERE c.kind = 'totals.told'"
    )
    assert bytes(digest).hex().encode() in bytes(body)
    assert FIRM.encode() not in bytes(body)
    assert CITY.encode() not in bytes(body)
