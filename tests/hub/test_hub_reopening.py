"""Who else told of an act that is taken back is decided anew, in the window that takes it back."""

from typing import Any

import pytest
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import LinkedPerson, link_person
from tests_support.windows import NOW, clear_window, close_window, rows

from consent.withdraw import withdraw_grant
from hub.audit import audit, format_report
from hub.clearing.store import load_positions
from hub.context import Hub
from hub.db import reading, writing
from hub.ledger.store import load_balances
from hub.participants import Platform
from hub.pipeline import clear_dirty, take_delivery
from hub.portal.account import load_account

BIKES = set(BEIJING["behaviours"])
FIRST, OTHER, THIRD = "beijing-green-life", "tianjin-green-life", "wuhan-green-life"
TWO_KM_MG = 67_760  # 2 km at 33.88 g/km
Told = tuple[Platform, Platform, Platform]


@pytest.fixture
def told(hub: Hub) -> Told:
    """Three platforms that report the rides of one person under the same order numbers."""
    first, other, third = (join(hub, {**BEIJING, "id": name}) for name in (FIRST, OTHER, THIRD))
    return first, other, third


@pytest.fixture
def li(hub: Hub, told: Told) -> LinkedPerson:
    return link_person(hub, "li", dict.fromkeys((FIRST, OTHER, THIRD), "bj-1"), BIKES, NOW)


def decisions(hub: Hub) -> list[tuple[int, int, int, str, str]]:
    """Every decision: window, record, event, verdict, reason."""
    return rows(
        hub, "SELECT window_id, record_id, event_id, verdict, reason FROM decision ORDER BY window_id, record_id"
    )


def held_mg(hub: Hub, person: LinkedPerson) -> int:
    with reading(hub.engine) as session:
        return load_balances(session, person.subject_id)["held"]


def deliver(hub: Hub, platform: Platform, name: str, *acts: dict[str, Any]) -> None:
    assert take_delivery(hub, platform, delivery(name, *acts), now=NOW).accepted == len(acts)


def require_sound(hub: Hub) -> None:
    report = audit(hub)
    assert report.holds, format_report(report)


def tell_twice_and_close(hub: Hub, told: Told) -> int:
    deliver(hub, told[0], "d1", act("1"))
    deliver(hub, told[1], "d2", act("1"))
    return close_window(hub)


def test_the_other_report_of_a_cancelled_act_counts_instead(hub: Hub, told: Told, li: LinkedPerson) -> None:
    one = tell_twice_and_close(hub, told)
    assert decisions(hub)[1] == (one, 2, 1, "duplicate", "same_event_key")
    before = decisions(hub), rows(hub, "SELECT root, manifest FROM clearing_window WHERE window_id = 1")
    deliver(hub, told[0], "d3", act("1", ver=2, status="CANCELLED"))
    two = close_window(hub)
    assert decisions(hub)[2:] == [
        (two, 2, 2, "counted", "only_report"),
        (two, 3, None, "rejected", "withdrawn_by_platform"),
    ]
    assert held_mg(hub, li) == TWO_KM_MG
    moved = "SELECT kind, source_id, window_id FROM journal_entry WHERE kind <> 'hold' ORDER BY entry_id"
    assert rows(hub, moved) == [("issue", 1, one), ("reverse", 1, two), ("issue", 2, two)]
    assert rows(hub, "SELECT DISTINCT vintage FROM posting") == [(20261118,)]
    after = decisions(hub)[:2], rows(hub, "SELECT root, manifest FROM clearing_window WHERE window_id = 1")
    assert after == before
    require_sound(hub)


def test_the_other_report_joins_the_correction_if_it_is_still_the_same_act(
    hub: Hub, told: Told, li: LinkedPerson
) -> None:
    tell_twice_and_close(hub, told)
    deliver(hub, told[0], "d3", act("1", ver=2, distance=1000))
    two = close_window(hub)
    assert [(row[0], row[1], row[3]) for row in decisions(hub)[2:]] == [(two, 2, "duplicate"), (two, 3, "counted")]
    assert held_mg(hub, li) == TWO_KM_MG // 2
    require_sound(hub)


def test_of_several_other_reports_one_counts(hub: Hub, told: Told, li: LinkedPerson) -> None:
    deliver(hub, told[2], "d0", act("1"))
    tell_twice_and_close(hub, told)
    counted = rows(
        hub, "SELECT platform FROM reduction_record JOIN decision USING (record_id) WHERE verdict = 'counted'"
    )
    assert counted == [(FIRST,)]
    deliver(hub, told[0], "d3", act("1", ver=2, status="CANCELLED"))
    two = close_window(hub)
    assert sorted(row[3] for row in decisions(hub) if row[0] == two) == ["counted", "duplicate", "rejected"]
    assert held_mg(hub, li) == TWO_KM_MG
    with reading(hub.engine) as session:
        (ride,) = load_account(session, li.subject_id).acts
        assert (ride.platform, ride.also_reported_by) == (OTHER, (THIRD,))
        assert load_account(session, li.subject_id).set_aside == {"duplicate": 1, "rejected": 1}
        total = load_positions(session).select("platform", "records", "counted_mg", "duplicate", "rejected").rows()
    assert total == [(FIRST, 2, 0, 0, 1), (OTHER, 1, TWO_KM_MG, 0, 0), (THIRD, 1, 0, 1, 0)]
    require_sound(hub)


def test_an_act_that_comes_back_meets_who_counts_meanwhile(hub: Hub, told: Told, li: LinkedPerson) -> None:
    tell_twice_and_close(hub, told)
    deliver(hub, told[0], "d3", act("1", ver=2, status="CANCELLED"))
    close_window(hub)
    deliver(hub, told[0], "d4", act("1", ver=3))
    three = close_window(hub)
    assert decisions(hub)[-1] == (three, 4, 2, "duplicate", "same_event_key")
    deliver(hub, told[1], "d5", act("1", ver=2, status="CANCELLED"))
    four = close_window(hub)
    assert [row for row in decisions(hub) if row[0] == four] == [
        (four, 4, 4, "counted", "only_report"), (four, 5, None, "rejected", "withdrawn_by_platform"),
    ]  # fmt: skip
    assert held_mg(hub, li) == TWO_KM_MG
    require_sound(hub)


def test_what_is_decided_anew_is_provisional_until_its_window_is_cleared(
    hub: Hub, told: Told, li: LinkedPerson
) -> None:
    tell_twice_and_close(hub, told)
    deliver(hub, told[0], "d3", act("1", ver=2, status="CANCELLED"))
    shown = "SELECT record_id, verdict FROM decision WHERE provisional = :yes ORDER BY record_id"
    for name in ("d4", "d5"):
        assert clear_dirty(hub, now=NOW) == 1
        assert rows(hub, shown, yes=True)[:2] == [(2, "counted"), (3, "rejected")]
        deliver(hub, told[0], name, act(name, status="CANCELLED"))
    assert held_mg(hub, li) == TWO_KM_MG  # of the act that will fall
    close_window(hub)
    assert held_mg(hub, li) == TWO_KM_MG
    assert rows(hub, shown, yes=True) == []
    require_sound(hub)


def test_who_allows_no_clearing_any_more_is_not_cleared_again(hub: Hub, told: Told, li: LinkedPerson) -> None:
    tell_twice_and_close(hub, told)
    grant = rows(hub, "SELECT grant_id FROM link WHERE platform = :p", p=OTHER)[0][0]
    with writing(hub.engine) as session:
        withdraw_grant(session, grant_id=grant, subject_id=li.subject_id, now=NOW)
    deliver(hub, told[0], "d3", act("1", ver=2, status="CANCELLED"))
    two = close_window(hub)
    assert (two, 2, None, "rejected", "revoked") in decisions(hub)
    assert held_mg(hub, li) == 0


def test_a_version_that_belongs_to_somebody_else_gives_the_act_back_to_who_else_told(hub: Hub, told: Told) -> None:
    """The correction names another account; the other platform still says that it was the first person."""
    li = link_person(hub, "li", {FIRST: "bj-1", OTHER: "bj-1"}, BIKES, NOW)
    wang = link_person(hub, "wang", {FIRST: "bj-2"}, BIKES, NOW)
    tell_twice_and_close(hub, told)
    deliver(hub, told[0], "d3", act("1", "bj-2", ver=2))
    assert clear_dirty(hub, now=NOW) == 2
    provisional = "SELECT subject_id, record_id FROM decision WHERE provisional = :yes"
    assert set(rows(hub, provisional, yes=True)) == {(li.subject_id, 2), (wang.subject_id, 3)}
    close_window(hub)
    assert (held_mg(hub, li), held_mg(hub, wang)) == (TWO_KM_MG, TWO_KM_MG)
    require_sound(hub)


def test_a_corrected_report_that_was_held_makes_room_for_the_correction(hub: Hub, told: Told, li: LinkedPerson) -> None:
    """A hundred kilometres in twelve minutes are held; the correction is not its duplicate, but counts."""
    deliver(hub, told[0], "d1", act("1", distance=100_000))
    deliver(hub, told[1], "d2", act("1", distance=100_000))
    one = close_window(hub)
    assert [row[3] for row in decisions(hub)] == ["held", "duplicate"]
    deliver(hub, told[0], "d3", act("1", ver=2))
    two = clear_window(hub)
    assert [row[:2] + row[3:4] for row in decisions(hub) if row[0] > one] == [
        (two, 2, "duplicate"), (two, 3, "counted"),
    ]  # fmt: skip
    require_sound(hub)


# --- one platform, two feeds ------------------------------------------------------------------------------------------


TWO_FEEDS = {
    **BEIJING,
    "more_feeds": [
        {**{name: BEIJING[name] for name in ("connector", "mapping", "secrets")}, "stream": "trips",
         "connector_config": {**BEIJING["connector_config"], "stream": "trips"}},
    ],
}  # fmt: skip


def keyless(number: str, **changes: Any) -> dict[str, Any]:
    return act(number, orderNo=None, **changes)


def tell_in_two_feeds(hub: Hub, *, correct: str, between: bool) -> LinkedPerson:
    """Both feeds tell one ride without any key; one of them says later that it was a kilometre, at another time."""
    city = join(hub, TWO_FEEDS)
    li = link_person(hub, "li", {FIRST: "bj-1"}, BIKES, NOW)
    for stream, number in (("acts", "1"), ("trips", "T1")):
        told = delivery(f"d{stream}", keyless(number), stream=stream)
        assert take_delivery(hub, city, told, now=NOW).accepted == 1
    if between:
        close_window(hub)
    newer = keyless(
        "1" if correct == "acts" else "T1", ver=2, distance=1000,
        beginTime="2026-11-18T10:12:03+08:00", endTime="2026-11-18T10:24:03+08:00",
    )  # fmt: skip
    assert take_delivery(hub, city, delivery("d3", newer, stream=correct), now=NOW).accepted == 1
    close_window(hub)
    return li


@pytest.mark.parametrize("between", [False, True], ids=["in-one-window", "in-a-later-window"])
@pytest.mark.parametrize("correct", ["acts", "trips"])
def test_a_correction_in_one_feed_corrects_what_the_other_told_alike(hub: Hub, correct: str, between: bool) -> None:
    li = tell_in_two_feeds(hub, correct=correct, between=between)
    assert held_mg(hub, li) == TWO_KM_MG // 2
    newest = "SELECT d.record_id, d.verdict, d.reason FROM decision d WHERE d.window_id = (SELECT MAX(window_id) FROM decision)"
    retold = {row[0]: row[1:] for row in rows(hub, newest)}
    assert retold[3] == ("counted", "only_report")
    assert all(told == ("duplicate", "superseded_version") for record, told in retold.items() if record != 3)
    require_sound(hub)


def test_what_a_feed_tells_after_the_other_corrected_it_is_out_of_date(hub: Hub) -> None:
    city = join(hub, TWO_FEEDS)
    li = link_person(hub, "li", {FIRST: "bj-1"}, BIKES, NOW)
    take_delivery(hub, city, delivery("d1", keyless("1")), now=NOW)
    close_window(hub)
    take_delivery(hub, city, delivery("d2", keyless("1", ver=2, distance=1000)), now=NOW)
    close_window(hub)
    take_delivery(hub, city, delivery("d3", keyless("T1"), stream="trips"), now=NOW)
    close_window(hub)
    assert decisions(hub)[-1][1:] == (3, 2, "duplicate", "superseded_version")
    take_delivery(hub, city, delivery("d4", keyless("T1", ver=2, distance=1000), stream="trips"), now=NOW)
    close_window(hub)
    assert decisions(hub)[-1][1:] == (4, 2, "duplicate", "same_content")
    assert held_mg(hub, li) == TWO_KM_MG // 2
    require_sound(hub)


def test_two_ids_of_one_feed_are_two_records_unless_they_have_one_order_number(hub: Hub) -> None:
    city = join(hub, BEIJING)
    li = link_person(hub, "li", {FIRST: "bj-1"}, BIKES, NOW)
    later = {"beginTime": "2026-11-18T10:12:03+08:00", "endTime": "2026-11-18T10:24:03+08:00", "ver": 2}
    deliver(hub, city, "d1", keyless("1"), keyless("2"), act("3", orderNo="A"), act("4", orderNo="A"))
    deliver(hub, city, "d2", keyless("1", **later), act("3", orderNo="A", distance=500, **later))
    close_window(hub)
    verdicts = {record: verdict for _, record, _, verdict, _ in decisions(hub)}
    assert (verdicts[2], verdicts[5]) == ("counted", "counted")
    assert (verdicts[4], verdicts[6]) == ("duplicate", "held")
    assert held_mg(hub, li) > 0


def test_a_correction_that_tells_the_same_act_supersedes_nobody_else(hub: Hub) -> None:
    city = join(hub, TWO_FEEDS)
    li = link_person(hub, "li", {FIRST: "bj-1"}, BIKES, NOW)
    take_delivery(hub, city, delivery("d1", keyless("1")), now=NOW)
    take_delivery(hub, city, delivery("d2", keyless("T1"), stream="trips"), now=NOW)
    take_delivery(hub, city, delivery("d3", keyless("1", ver=2, cityCode="120000")), now=NOW)
    close_window(hub)
    assert {row[1]: row[3:] for row in decisions(hub)} == {
        1: ("duplicate", "superseded_version"), 2: ("counted", "first_in_role_order"), 3: ("duplicate", "same_content"),
    }  # fmt: skip
    assert held_mg(hub, li) == TWO_KM_MG
