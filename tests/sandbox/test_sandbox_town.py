"""The town itself: the same seed lives the same month, and nobody is in two places."""

import hashlib
from datetime import date, timedelta
from itertools import pairwise

import pytest

from hub.sandbox import acts, outings
from hub.sandbox.people import PLATFORMS
from hub.sandbox.registers import NAMELESS
from hub.sandbox.reports import Reports
from hub.sandbox.town import Town

TRIPS = {acts.METRO, acts.BUS, acts.BIKE}


def _digest(reports: Reports) -> str:
    state = hashlib.sha256()
    for row in reports.rows:
        state.update(f"{row.platform}|{row.part}|{row.delivered_at}|{row.body}|{row.note}|{row.lines}\n".encode())
    return state.hexdigest()


def test_the_same_seed_tells_the_same_bytes() -> None:
    assert _digest(Reports(Town(11, 8))) == _digest(Reports(Town(11, 8)))


def test_another_seed_tells_other_bytes() -> None:
    assert _digest(Reports(Town(11, 8))) != _digest(Reports(Town(12, 8)))


def test_a_larger_town_begins_with_the_same_people_and_the_same_month(town: Town) -> None:
    small = Town(town.seed, 9)
    assert small.people == town.people[:9]
    assert small.acts == tuple(act for act in town.acts if act.person <= 9)


def test_nobody_makes_two_trips_at_once(town: Town) -> None:
    for person in town.people:
        trips = [act for act in town.acts_of(person) if act.behaviour in TRIPS]
        assert all(one.end_at <= next_one.start_at for one, next_one in pairwise(trips))


def test_nobody_charges_twice_at_once(town: Town) -> None:
    for person in town.people:
        charges = [act for act in town.acts_of(person) if act.behaviour == acts.CHARGE]
        assert all(one.end_at <= next_one.start_at for one, next_one in pairwise(charges))


def test_every_act_starts_within_the_month_and_has_its_own_number(town: Town) -> None:
    assert all(town.starts_at <= act.start_at < town.ends_at for act in town.acts)
    assert len({act.act_id for act in town.acts}) == len({act.order_no for act in town.acts}) == len(town.acts)


def test_every_kind_of_act_happens(town: Town) -> None:
    assert {act.behaviour for act in town.acts} == {
        acts.METRO, acts.BUS, acts.BIKE, acts.WALK, acts.CHARGE, acts.NO_TABLEWARE, acts.CLEAN_PLATE, acts.EWAYBILL,
        acts.E_CARD, acts.E_STATEMENT, acts.BILL_PAY, outings.EV_DRIVE, outings.NO_DRIVE, outings.CARPOOL,
        outings.WALK_TRIP, outings.RECYCLE, outings.WASTE_SORT, outings.POWER_SAVE, outings.OWN_CUP, outings.PAPERLESS,
    }  # fmt: skip


def test_bicycles_go_at_the_speed_of_bicycles_and_charges_at_the_power_of_posts(town: Town) -> None:
    for act in town.acts:
        hours = (act.end_at - act.start_at) / timedelta(hours=1)
        if act.behaviour == acts.BIKE:
            assert 8 < act.quantity_micro / 1e6 / hours < 15
        if act.behaviour == acts.CHARGE:
            assert 19 < act.quantity_micro / 1e6 / hours < 61


def test_people_differ_in_what_they_allow() -> None:
    town = Town(7, 200)
    counts = [len(person.links) for person in town.people]
    assert counts.count(0) >= 5
    assert sum(2 <= count <= 10 for count in counts) > len(counts) * 0.7
    assert sum(person.revokes is not None for person in town.people) >= 5
    assert all(set(person.links) <= set(person.accounts) for person in town.people)
    assert all(person.revokes is None or person.revokes.platform in person.links for person in town.people)


@pytest.mark.parametrize("seed", range(5))
def test_the_first_three_people_show_everything_nothing_and_a_change_of_mind(seed: int) -> None:
    first, second, third = Town(seed, 3).people
    assert set(first.links) == set(PLATFORMS) - set(NAMELESS)
    assert first.revokes is None
    assert second.links == ()
    assert third.revokes is not None


def test_no_two_people_share_an_account() -> None:
    people = Town(7, 400).people
    accounts = [(platform, account) for person in people for platform, account in person.accounts.items()]
    assert len(set(accounts)) == len(accounts)


def test_parts_cover_the_month_without_gap(town: Town) -> None:
    ends = [town.part_ends_at(part) for part in range(1, town.parts + 1)]
    assert ends == sorted(set(ends))
    assert ends[-1] == town.ends_at
    for part, end in enumerate(ends[:-1], start=1):
        assert (town.part_of(end - timedelta(seconds=1)), town.part_of(end)) == (part, part + 1)


def test_a_person_is_found_by_their_exact_name_only(town: Town) -> None:
    assert town.person_named("person-0001") is town.people[0]
    assert [town.person_named(name) for name in ("person-1", "person-0000", "person-9999", "nobody", "person-٣")] == [
        None
    ] * 5


@pytest.mark.parametrize(("people", "days", "parts"), [(0, 31, 4), (5, 3, 4), (5, 31, 0)])
def test_a_town_that_cannot_be_is_refused(people: int, days: int, parts: int) -> None:
    with pytest.raises(ValueError, match="a town needs"):
        Town(7, people, date(2026, 10, 1), days, parts)
