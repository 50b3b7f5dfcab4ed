"""Adjustments at the same moment, and beside clearings and uses: each gram is taken back once, whoever comes first."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest
from tests_support.adjusting import CITY, WHY, standing
from tests_support.beside import PATIENCE_S, Gate, Running
from tests_support.deliveries import BEIJING, delivery, join
from tests_support.holding import hire
from tests_support.people import LinkedPerson, link_person
from tests_support.using import NOW, Shop, close_window, ride, rows, sums

from consent.grants import require_grant
from hub import pipeline
from hub.adjustments.adjusting import adjust, post_adjustment
from hub.adjustments.kinds import AdjustmentKind, Order, Reason
from hub.audit import audit, format_report
from hub.context import Hub
from hub.db import writing
from hub.errors import Busy, Conflict, TanlianError, UsageProblem
from hub.participants import Platform
from hub.pipeline import clear_sealed, seal_window, take_delivery
from hub.uses.reservations import TooFew, Wanted, reserve
from standards.uses import Use

EVENTS = 12
LONG_ENOUGH_S = 1.0
MG = 67_760
FULL, PART, CLAW = AdjustmentKind.FULL_REVERSAL, AdjustmentKind.PARTIAL_REVERSAL, AdjustmentKind.CLAW_BACK


@pytest.fixture
def city(hub: Hub) -> Platform:
    return join(hub, BEIJING)


@pytest.fixture
def li(hub: Hub, city: Platform) -> LinkedPerson:
    """Li holds the grams of a dozen rides on as many days; the later half came first, so that windows and days run apart."""
    li = link_person(hub, "li", {CITY: "bj-1"}, set(BEIJING["behaviours"]), NOW)
    hire(hub)
    hire(hub, "deng")
    for half in (range(EVENTS // 2, EVENTS), range(EVENTS // 2)):
        take_delivery(hub, city, delivery(f"d{half}", *(told(number) for number in half)), now=NOW)
        close_window(hub)
    assert sums(hub, li.subject_id) == {"held": EVENTS * MG}
    return li


def told(number: int, **changed: Any) -> dict[str, Any]:
    return ride(f"{number}", day=f"2026-11-{number + 1:02}", **changed)


def order(kind: AdjustmentKind, event_id: int, mg: int | None = None) -> Order:
    return Order(kind=kind, reason=Reason.DUPL, event_id=event_id, mg=mg, why=WHY)


def both_at_once(*works: Callable[[], Any]) -> list[Any]:
    """Begin all at one moment; returns results, and refusals in their place."""
    barrier = Barrier(len(works))

    def one(work: Callable[[], Any]) -> Any:
        barrier.wait(PATIENCE_S)
        try:
            return work()
        except TanlianError as refused:
            return refused

    with ThreadPoolExecutor(len(works)) as pool:
        return list(pool.map(one, works))


def taking_back(hub: Hub, kind: AdjustmentKind, event_id: int, mg: int | None = None, *, by: str = "chen") -> Any:
    """Return what takes so many milligrams of an event back, and tells how many it took."""
    return lambda: adjust(hub, order(kind, event_id, mg), by=by, now=NOW).mg


def require_sound(hub: Hub) -> None:
    report = audit(hub)
    assert report.holds, format_report(report)


def test_of_two_who_reverse_every_event_at_once_exactly_half_succeed(hub: Hub, li: LinkedPerson) -> None:
    events = standing(hub)
    done = {
        event: both_at_once(taking_back(hub, FULL, event), taking_back(hub, FULL, event, by="deng")) for event in events
    }
    refused = [one for pair in done.values() for one in pair if isinstance(one, TanlianError)]
    assert len(refused) == EVENTS
    assert {type(one) for one in refused} == {Conflict}
    assert all("was taken back already" in str(one) for one in refused)
    assert rows(hub, "SELECT COUNT(*), COUNT(DISTINCT event_id) FROM event_reversal") == [(EVENTS, EVENTS)]
    assert rows(hub, "SELECT COUNT(*) FROM journal_entry WHERE kind = 'reverse'") == [(EVENTS,)]
    assert rows(hub, "SELECT COUNT(*) FROM adjustment") == [(EVENTS,)]
    assert sums(hub, li.subject_id) == {}
    require_sound(hub)


def test_two_who_each_reverse_all_events_in_their_own_pace_share_them(hub: Hub, li: LinkedPerson) -> None:
    """Neither waits for the other between two events, and they begin at different ends."""
    events = standing(hub)

    def reverse(of: list[int], by: str) -> int:
        done = 0
        for event in of:
            try:
                adjust(hub, order(FULL, event), by=by, now=NOW)
                done += 1
            except Conflict as refused:
                assert "was taken back already" in str(refused)  # noqa: PT017 - who is second is told so
        return done

    shares = both_at_once(lambda: reverse(events, "chen"), lambda: reverse(events[::-1], "deng"))
    assert sum(shares) == EVENTS
    assert sums(hub, li.subject_id) == {}
    require_sound(hub)


@pytest.mark.parametrize(("parts", "taken"), [((40_000, 40_000), 1), ((40_000, 27_759), 2), ((MG - 1, 1), 1)])
def test_parts_taken_at_once_never_exceed_their_event(
    hub: Hub, li: LinkedPerson, parts: tuple[int, int], taken: int
) -> None:
    """A part leaves something: of the last milligram there is the full reversal."""
    left = 0
    for event in standing(hub)[:4]:
        done = both_at_once(*(taking_back(hub, PART, event, mg) for mg in parts))
        went = [one for one in done if isinstance(one, int)]
        assert len(went) == taken
        assert all(isinstance(one, UsageProblem) for one in done if not isinstance(one, int))
        assert sum(went) < MG
        assert rows(hub, f"SELECT taken_mg FROM event_adjusted WHERE event_id = {event}") == [(sum(went),)]
        left += MG - sum(went)
    assert sums(hub, li.subject_id) == {"held": (EVENTS - 4) * MG + left}
    require_sound(hub)


def test_a_part_and_the_whole_at_once_take_the_event_once(hub: Hub, li: LinkedPerson) -> None:
    for event in standing(hub):
        done = both_at_once(taking_back(hub, FULL, event), taking_back(hub, PART, event, 40_000, by="deng"))
        # The whole is what is left: after the part it is less, and before it nothing is left for the part.
        assert sum(one for one in done if isinstance(one, int)) == MG
        assert {type(one) for one in done} <= {int, Conflict}
    assert sums(hub, li.subject_id) == {}
    require_sound(hub)


def test_a_clearing_that_takes_acts_back_and_staff_who_do_so_share_them(
    hub: Hub, city: Platform, li: LinkedPerson
) -> None:
    """The platform corrects every ride; the window is closed while staff reverse one event after the other."""
    hub = replace(hub, settings=hub.settings.model_copy(update={"clear_group_records": 2}))
    events = standing(hub)
    corrected = (told(number, ver=2, distance=1000) for number in range(EVENTS))
    take_delivery(hub, city, delivery("d2", *corrected), now=NOW)
    answers: list[Any] = []

    def reverse() -> None:
        for event in events:
            try:
                answers.append(adjust(hub, order(FULL, event), by="chen", now=NOW).event_id)
            except (Busy, Conflict) as refused:
                answers.append(refused)

    both_at_once(lambda: close_window(hub), reverse)
    assert len(answers) == EVENTS
    by_staff = {one for one in answers if isinstance(one, int)}
    found = dict(rows(hub, "SELECT event_id, reason FROM event_reversal"))
    assert sorted(found) == sorted(events)
    assert {event for event, reason in found.items() if reason == str(Reason.DUPL)} == by_staff
    assert rows(hub, "SELECT COUNT(*) FROM journal_entry WHERE kind = 'reverse'") == [(EVENTS,)]
    # What staff took back a newer version does not bring back.
    assert sums(hub, li.subject_id).get("held", 0) == (EVENTS - len(by_staff)) * MG // 2
    require_sound(hub)


def test_staff_who_come_while_a_clearing_takes_an_act_back_wait_and_find_it_gone(
    hub: Hub, city: Platform, li: LinkedPerson, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, credit = Gate(), pipeline.credit

    def stop_and_credit(*args: Any) -> int:
        gate.hold()
        return credit(*args)

    event = standing(hub)[0]
    take_delivery(hub, city, delivery("d2", told(0, ver=2, distance=1000)), now=NOW)
    seal_window(hub, now=NOW)
    monkeypatch.setattr(pipeline, "credit", stop_and_credit)
    clearing = Running(lambda: clear_sealed(hub, now=NOW))
    assert gate.reached.wait(PATIENCE_S)
    reversing = Running(lambda: adjust(hub, order(FULL, event), by="chen", now=NOW))
    assert not reversing.done.wait(LONG_ENOUGH_S)
    gate.opened.set()
    clearing.end()
    with pytest.raises(Conflict, match="was taken back already"):
        reversing.end()
    assert rows(hub, "SELECT event_id, reason FROM event_reversal") == [(event, "superseded_version")]
    require_sound(hub)


def test_a_window_is_not_sealed_under_an_adjustment(hub: Hub, city: Platform, li: LinkedPerson) -> None:
    event = standing(hub)[0]
    take_delivery(hub, city, delivery("d2", told(0, ver=2, distance=1000)), now=NOW)
    ((staff_id,),) = rows(hub, "SELECT staff_id FROM staff WHERE name = 'chen'")
    with writing(hub.engine) as session:
        post_adjustment(session, order(FULL, event), staff_id=staff_id, now=NOW)
        closing = Running(lambda: close_window(hub))
        assert not closing.done.wait(LONG_ENOUGH_S)
    closing.end()
    assert rows(hub, "SELECT event_id, reason FROM event_reversal") == [(event, str(Reason.DUPL))]
    assert sums(hub, li.subject_id) == {"held": (EVENTS - 1) * MG}
    require_sound(hub)


@pytest.mark.parametrize("kind", [FULL, CLAW])
def test_who_reserves_and_who_takes_back_at_once_never_have_the_same_gram(
    hub: Hub, li: LinkedPerson, kind: AdjustmentKind
) -> None:
    """Two shops reserve while event after event is taken back; what they have is not taken, or is owed."""
    shop = Shop.opened(hub)
    shop.allowed(li.subject_id)
    ((grant_id,),) = rows(hub, f"SELECT DISTINCT grant_id FROM grant_version WHERE recipient = '{shop.client_id}'")
    events = standing(hub)

    def take_one() -> int:
        with writing(hub.engine) as session:
            grant = require_grant(session, grant_id=grant_id, subject_id=li.subject_id)
            wanted = Wanted(mg=1000, use=Use.REDEEM)
            return reserve(
                session, grant=grant, participant="shop", client_id=shop.client_id, wanted=wanted, now=NOW
            ).mg  # fmt: skip

    for event in events:
        done = both_at_once(taking_back(hub, kind, event), take_one, take_one)
        assert {type(one) for one in done} <= {int, Conflict, TooFew}
        if kind is CLAW:
            assert isinstance(done[0], int)
    require_sound(hub)
