"""Programmes: people join and leave by their own decision, an act is told in one, and leaving shows in no difference."""

import io
import json
import zipfile
from datetime import date, timedelta

import pytest
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import link_person
from tests_support.totalling import CITY, FIRM, GAMES, NOW, PROGRAMME, Town, lines
from tests_support.web import count

from consent.guardians import GuardianNeeded
from consent.people import add_person
from hub.audit import audit, format_report
from hub.db import reading, writing
from hub.errors import Conflict, NotFound, UsageProblem
from hub.participants import Status, open_platform, set_status
from hub.pipeline import take_delivery
from hub.rights.erase import erase_person
from hub.rights.export import export_person
from hub.totals.membership import join_programme, load_memberships_of, load_shares
from hub.totals.programmes import close_programme, count_members, parse_programme


def require_sound(town: Town) -> None:
    report = audit(town.hub)
    assert report.holds, format_report(report)


def members(town: Town, programme: str = FIRM, *, days: int = 0) -> int:
    with reading(town.hub.engine) as session:
        return count_members(session, programme, k=10, now=NOW + timedelta(days=days))[0]


def test_a_programme_s_total_is_of_those_who_joined_and_of_acts_from_then_on(town: Town) -> None:
    town.add()
    town.join(*range(12))
    town.join(12, days_ago=0)  # after the acts
    town.lives([town.row(n) for n in range(26)])
    assert town.ask(programme=FIRM).total.acts == 12
    assert town.ask().total.acts == 26
    assert lines(town.ask("region", programme=FIRM)) == {(110000,): (10, 12)}
    require_sound(town)


def test_a_programme_of_few_people_is_not_told_nor_is_what_is_missing_without_it(town: Town) -> None:
    town.add()
    town.join(*range(9))
    town.lives([town.row(n) for n in range(26)])
    assert town.ask(programme=FIRM).total.acts == 0
    assert town.ask().total.acts == 26
    # Nor is a programme told where all but a few are in it: the few would be the difference.
    town.join(*range(9, 26))
    town.lives([town.row(n, day=17) for n in range(30)])
    assert town.ask(programme=FIRM).total.acts == 0
    assert town.ask().total.acts == 56
    require_sound(town)


def test_who_leaves_is_in_no_later_total_and_nothing_told_changes(town: Town) -> None:
    town.add()
    town.join(*range(14))
    town.lives([town.row(n) for n in range(26)])
    before = town.ask("region,behaviour,day", programme=FIRM)
    town.leave(0, 1)
    assert town.ask("region,behaviour,day", programme=FIRM) == before
    assert town.update() == []
    town.lives([town.row(n, day=17) for n in range(26)])  # of a day on which they were still in it
    assert town.ask(programme=FIRM).total.acts == 14 + 12
    require_sound(town)


def test_an_act_is_told_in_the_programme_that_was_joined_first(town: Town) -> None:
    town.add()
    town.add(id="other", name_zh="另一公司", name_en="Another firm")
    town.join(*range(12), programme="other", days_ago=14)
    town.join(*range(24), days_ago=10)
    town.lives([town.row(n) for n in range(24)] + [town.row(n, hour=12) for n in range(24, 30)])
    # Six people are in none: they are told together with one of the programmes, as in none that is told.
    assert (town.ask(programme="other").total.acts, town.ask(programme=FIRM).total.acts) == (12, 0)
    town.lives([town.row(n, day=17) for n in range(24)])
    assert (town.ask(programme="other").total.acts, town.ask(programme=FIRM).total.acts) == (24, 12)
    assert town.ask().total.acts == 54
    require_sound(town)


def test_a_programme_takes_its_own_places_behaviours_and_days(town: Town) -> None:
    town.add(regions=[110000], behaviours=["MOB-BIKE"], since="2026-11-18")
    town.join(*range(30))
    rows = [town.row(n) for n in range(12)] + [town.row(n, place="310000") for n in range(12, 24)]
    rows += [town.row(n, day=17) for n in range(12)] + [town.row(n, scene="NO_TABLEWARE", hour=12) for n in range(12)]
    town.lives(rows)
    assert lines(town.ask("city,behaviour,day", programme=FIRM)) == {
        (110000, 110000, "travel", "MOB-BIKE", 20261118): (10, 12)
    }
    require_sound(town)


def test_an_event_takes_what_its_participant_reported_itself(town: Town) -> None:
    join(town.hub, BEIJING | {"id": "games-file", "kind": "event"})
    other = [
        link_person(town.hub, f"guest-{n}", {"games-file": f"guest-{n}"}, set(BEIJING["behaviours"]), NOW)
        for n in range(12)
    ]
    town.add(id=GAMES, kind="event", participant="games-file", own_file=True)
    with reading(town.hub.engine) as session:
        file = open_platform(session, town.hub.ring, "games-file")
    rows = [act(f"g{n}", f"guest-{n}", orderNo=f"GUEST-{n}") for n in range(12)]
    take_delivery(town.hub, file, delivery("g", *rows), now=NOW)
    town.lives([town.row(n) for n in range(20)])
    assert town.ask(programme=GAMES).total.acts == 12
    with reading(town.hub.engine) as session:
        assert load_shares(session, other[0].subject_id)[GAMES].acts == 1
        assert load_shares(session, town.people[0].subject_id) == {}
    require_sound(town)


def test_a_person_s_own_share_is_exact_and_theirs_alone(town: Town) -> None:
    town.add()
    town.join(0)
    town.lives([town.row(0), town.row(0, hour=12), town.row(1)])
    assert town.ask(programme=FIRM).total.acts == 0
    with reading(town.hub.engine) as session:
        mine = load_shares(session, town.people[0].subject_id)
        ((mg,),) = town.look_up("SELECT SUM(mg) FROM event WHERE subject_id = :s", s=town.people[0].subject_id)
        assert (mine[FIRM].acts, mine[FIRM].mg) == (2, mg)
        assert load_shares(session, town.people[1].subject_id) == {}
    town.leave(0)
    with reading(town.hub.engine) as session:
        assert load_shares(session, town.people[0].subject_id) == {}


def test_joining_and_leaving_twice_changes_nothing_and_who_comes_again_begins_anew(town: Town) -> None:
    town.add()
    town.join(0)
    town.join(0)
    town.leave(0)
    town.leave(0)
    town.join(0, days_ago=1)
    with reading(town.hub.engine) as session:
        kept = [(row.joined_at, row.left_at) for row, _ in load_memberships_of(session, town.people[0].subject_id)]
    assert kept == [(NOW - timedelta(days=1), None), (NOW - timedelta(days=15), NOW)]
    kinds = town.look_up("SELECT COUNT(*) FROM change_leaf WHERE kind = 'membership.changed'")
    assert kinds == [(3,)]
    require_sound(town)


def test_the_leaf_of_a_joining_names_neither_the_person_nor_the_programme(town: Town) -> None:
    town.add()
    town.join(0)
    ((body,),) = town.look_up(
        "SELECT b.data FROM log_body b JOIN change_leaf c ON c.leaf_id = b.leaf_id WHERE c.kind = 'membership.changed'"
    )
    ((membership,),) = town.look_up("SELECT membership_id FROM programme_membership")
    for word in (FIRM, CITY, membership, f"{town.people[0].subject_id}", "person-0"):
        assert word.encode() not in bytes(body)
    assert b'"what":"joined"' in bytes(body)


def test_a_number_of_members_is_of_the_month_s_begin_and_rounded_down(town: Town) -> None:
    town.add()
    town.join(*range(13), days_ago=25)
    town.join(*range(13, 30), days_ago=15)
    assert members(town) == 10
    town.leave(0, 1, 2, 3)  # nine of the thirteen are left, and the number does not say so
    assert members(town) == 10
    assert members(town, days=20) == 20


def test_nobody_joins_what_is_over_closed_or_run_by_a_suspended_participant(town: Town) -> None:
    town.add()
    town.add(id="past", since="2026-10-01", until="2026-11-19")
    with pytest.raises(Conflict):
        town.join(0, programme="past", days_ago=0)
    with pytest.raises(NotFound):
        town.join(0, programme="nowhere")
    with writing(town.hub.engine) as session:
        set_status(session, CITY, Status.SUSPENDED, NOW)
    with pytest.raises(Conflict):
        town.join(0)
    with writing(town.hub.engine) as session:
        set_status(session, CITY, Status.ACTIVE, NOW)
    town.join(*range(12))
    with writing(town.hub.engine) as session:
        assert close_programme(session, FIRM, NOW)
        assert not close_programme(session, FIRM, NOW)
    with pytest.raises(Conflict):
        town.join(20)
    town.lives([town.row(n) for n in range(26)])
    assert town.ask(programme=FIRM).total.acts == 0
    require_sound(town)


def test_a_child_does_not_join(town: Town) -> None:
    town.add()
    with writing(town.hub.engine) as session:
        child = add_person(
            session, town.hub.ring, username="xiaobao", password=None, display_name="xiaobao", now=NOW,
            born=date(2015, 5, 1), guardian="person-0",
        )  # fmt: skip
    with pytest.raises(GuardianNeeded), writing(town.hub.engine) as session:
        join_programme(session, child.subject_id, FIRM, now=NOW)
    assert count(town.hub, "programme_membership") == {"programme_membership": 0}


def test_what_a_programme_takes_never_changes_and_its_name_may(town: Town) -> None:
    town.add()
    town.add()
    with pytest.raises(Conflict):
        town.add(behaviours=["MOB-BUS"])
    town.add(name_zh="新名")
    assert town.look_up("SELECT name_zh, behaviours FROM programme") == [("新名", "[]")]
    assert town.look_up("SELECT COUNT(*) FROM change_leaf WHERE kind = 'programme.changed'") == [(2,)]
    require_sound(town)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"kind": "club"}, "kind"), ({"since": "2027-01-01"}, "before the first"), ({"own_file": True}, "own_file"),
        ({"behaviours": ["FLYING"]}, "FLYING"), ({"regions": [990000]}, "990000"), ({"regions": [110119]}, "county"),
        ({"until": "soon"}, "until"), ({"budget": 1}, "budget"), ({"id": "A firm"}, "id"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused_in_one_line(changed: dict[str, object], told: str) -> None:
    with pytest.raises(UsageProblem, match=told) as refused:
        parse_programme(json.dumps(PROGRAMME | changed).encode())
    assert "\n" not in str(refused.value)


def test_an_erased_person_is_forgotten_by_every_programme_and_no_number_changes(town: Town) -> None:
    town.add()
    town.join(*range(12), days_ago=25)
    town.lives([town.row(n) for n in range(26)])
    before = (town.ask("region", programme=FIRM), members(town))
    gone = town.people[0].subject_id
    erase_person(town.hub, gone, now=NOW)
    assert town.look_up("SELECT COUNT(*) FROM programme_membership WHERE subject_id = :s", s=gone) == [(0,)]
    assert (town.ask("region", programme=FIRM), members(town)) == before
    town.lives([town.row(n, day=17) for n in range(1, 26)])
    assert town.ask(programme=FIRM).total.acts == 23
    require_sound(town)


def test_the_copy_of_everything_lists_memberships(town: Town) -> None:
    town.add()
    town.join(0)
    town.leave(0)
    target = io.BytesIO()
    export_person(town.hub, town.people[0].subject_id, target)
    with zipfile.ZipFile(target) as archive:
        account = json.loads(archive.read("account.json"))
    (one,) = account["programmes"]
    assert (one["programme_id"], one["participant_id"], one["name_zh"]) == (FIRM, CITY, "某公司")
    assert one["joined_at"].startswith("2026-11-05T08:00:00")
    assert one["left_at"].startswith("2026-11-20T08:00:00")
