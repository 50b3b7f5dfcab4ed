"""What follows from a dispute that is decided, and what time does."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests_support.deliveries import KUAIDIAN, delivery, join
from tests_support.disputing import (
    adjustments,
    decided,
    employ,
    events,
    followed,
    judged,
    moved,
    opened,
    person,
    platform,
    require_sound,
    state_of,
    withdrawn,
    written,
)
from tests_support.people import LinkedPerson
from tests_support.using import CITY, DAYS, NOW, Shop, close_window, ride, rows, settle_town, sums, use

from hub.adjustments.adjusting import adjust
from hub.adjustments.kinds import AdjustmentKind, Order, Reason
from hub.context import Hub
from hub.db import reading
from hub.disputes.rules import Adjust, Step, Target
from hub.disputes.showing import load_counts
from hub.errors import Busy, Conflict, NotFound, UsageProblem
from hub.participants import open_platform
from hub.pipeline import clear_dirty, seal_window, take_delivery
from hub.worker import Worker
from standards.uses import load_use_rules

DAY = timedelta(days=1)


def test_an_act_that_should_not_count_is_taken_back_and_the_adjustment_names_the_case(
    hub: Hub, li: LinkedPerson
) -> None:
    whole = sums(hub, li.subject_id)["held"]
    event = events(hub)[0]
    dispute = opened(hub, person(li.subject_id), event_id=event)
    done = judged(hub, dispute)
    assert (done.state, done.adjustments) == ("upheld", 1)
    assert adjustments(hub) == [("full_reversal", event, whole // 3, 0, dispute)]
    assert sums(hub, li.subject_id) == {"held": whole * 2 // 3}
    require_sound(hub)
    with pytest.raises(Conflict, match="does not count any more"):
        opened(hub, person(li.subject_id), event_id=event)


def test_a_part_of_an_act_is_taken_back(hub: Hub, li: LinkedPerson) -> None:
    whole = sums(hub, li.subject_id)["held"]
    dispute = opened(hub, person(li.subject_id), event_id=events(hub)[0])
    moved(hub, dispute, Step.REVIEWED)
    with pytest.raises(UsageProblem, match="has an amount"):
        decided(hub, dispute, adjust=Adjust.PARTIAL)
    with pytest.raises(UsageProblem, match="the whole has none"):
        decided(hub, dispute, mg=1000)
    assert state_of(hub, dispute) == "review"
    decided(hub, dispute, adjust=Adjust.PARTIAL, mg=1000)
    assert adjustments(hub) == [("partial_reversal", events(hub)[0], 1000, 0, dispute)]
    assert sums(hub, li.subject_id) == {"held": whole - 1000}
    require_sound(hub)


def test_an_amount_is_corrected_to_what_was_claimed_or_to_what_staff_find(hub: Hub, li: LinkedPerson) -> None:
    whole = sums(hub, li.subject_id)["held"]
    for event, mg, right in zip(events(hub)[:2], (None, 2000), (1500, 2000), strict=True):
        judged(hub, opened(hub, person(li.subject_id), Target.AMOUNT, event_id=event, claimed_mg=1500), mg=mg)
        assert rows(hub, f"SELECT e.mg - j.taken_mg FROM event e JOIN event_adjusted j USING (event_id) "
                    f"WHERE e.event_id = {event}") == [(right,)]  # fmt: skip
    assert [kind for kind, *_ in adjustments(hub)] == ["correction", "correction"]
    assert sums(hub, li.subject_id) == {"held": whole // 3 + 3500}
    require_sound(hub)


def test_an_amount_that_should_be_more_is_the_platform_s_to_tell(hub: Hub, li: LinkedPerson) -> None:
    whole = sums(hub, li.subject_id)["held"]
    dispute = opened(hub, person(li.subject_id), Target.AMOUNT, event_id=events(hub)[0], claimed_mg=whole)
    moved(hub, dispute, Step.REVIEWED)
    with pytest.raises(UsageProblem, match="newer version"):
        decided(hub, dispute)
    assert (state_of(hub, dispute), sums(hub, li.subject_id)["locked"]) == ("review", whole // 3)
    done = decided(hub, dispute, adjust=Adjust.NONE)
    assert (done.adjust, done.adjustments, sums(hub, li.subject_id)) == ("none", 0, {"held": whole})
    require_sound(hub)


@pytest.mark.parametrize("target", [Target.EVENT, Target.AMOUNT])
def test_of_what_was_used_the_platform_that_reported_it_owes(hub: Hub, li: LinkedPerson, target: Target) -> None:
    shop = Shop.opened(hub)
    each = sums(hub, li.subject_id)["held"] // 3
    use(shop, shop.allowed(li.subject_id), each - 1000)
    claimed = {"claimed_mg": 10} if target is Target.AMOUNT else {}
    dispute = opened(hub, person(li.subject_id), target, event_id=events(hub)[0], **claimed)
    assert sums(hub, li.subject_id)["locked"] == 1000
    judged(hub, dispute)
    taken = each if target is Target.EVENT else each - 10
    assert adjustments(hub) == [("claw_back", events(hub)[0], taken, taken - 1000, dispute)]
    assert sums(hub, li.subject_id) == {"held": 2 * each, "redeemed": each - 1000}
    assert rows(hub, "SELECT platform, left_mg FROM debt") == [(CITY, taken - 1000)]
    require_sound(hub)


def test_an_upheld_dispute_has_an_effect(hub: Hub, li: LinkedPerson) -> None:
    dispute = opened(hub, person(li.subject_id), event_id=events(hub)[0])
    link = opened(hub, person(li.subject_id), Target.LINK, link_id=li.link_id)
    for one in (dispute, link):
        moved(hub, one, Step.REVIEWED)
        with pytest.raises(Conflict, match="still count"):
            decided(hub, one, adjust=Adjust.NONE)
    with pytest.raises(UsageProblem, match="no part"):
        decided(hub, link, adjust=Adjust.PARTIAL, mg=5)
    with pytest.raises(Conflict, match=dispute):
        decided(hub, link)
    with pytest.raises(UsageProblem, match="rejected"):
        decided(hub, dispute, upheld=False, mg=5)
    assert adjustments(hub) == []
    require_sound(hub)


def test_a_link_of_somebody_else_gives_back_all_that_came_over_it_and_ends(hub: Hub, li: LinkedPerson) -> None:
    each = sums(hub, li.subject_id)["held"] // 3
    shop = Shop.opened(hub)
    use(shop, shop.allowed(li.subject_id), each)
    dispute = opened(hub, platform(CITY), Target.LINK, account="bj-1")
    assert sums(hub, li.subject_id) == {"locked": 2 * each, "redeemed": each}
    done = judged(hub, dispute)
    assert done.adjustments == 3
    assert {(kind, mg) for kind, _, mg, *_ in adjustments(hub)} == {("claw_back", each)}
    assert sums(hub, li.subject_id) == {"redeemed": each}
    assert rows(hub, "SELECT state, last_error FROM link") == [("revoked", "disputed")]
    assert rows(hub, "SELECT SUM(left_mg) FROM debt") == [(each,)]
    require_sound(hub)


def test_a_use_is_never_undone_the_buffer_stands_in_or_it_is_a_note(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = replace(load_use_rules(), buffer_permille=100)
    monkeypatch.setattr("hub.pipeline.load_use_rules", lambda: rules)
    employ(hub)
    city, li = settle_town(hub)
    shop = Shop.opened(hub)
    token = shop.allowed(li.subject_id)
    each = sums(hub, li.subject_id)["held"] // 3
    first = use(shop, token, each, use="retire", purpose="voluntary")
    second = use(shop, token, each)
    take_delivery(hub, city, delivery("back", ride("0", day=DAYS[0], ver=2, status="CANCELLED")), now=NOW)
    close_window(hub)
    before = sums(hub, li.subject_id)
    drawn = judged(
        hub, opened(hub, person(li.subject_id), Target.RETIREMENT, reservation_id=first), adjust=Adjust.PARTIAL, mg=500
    )  # fmt: skip
    noted = judged(hub, opened(hub, platform(CITY), Target.RETIREMENT, reservation_id=second), adjust=Adjust.NONE)
    assert (drawn.adjustments, noted.adjustments) == (1, 0)
    assert adjustments(hub) == [("buffer_draw", None, 500, 0, drawn.dispute_id)]
    assert sums(hub, li.subject_id) == before
    require_sound(hub)
    third = opened(hub, person(li.subject_id), Target.RETIREMENT, reservation_id=first)
    moved(hub, third, Step.REVIEWED)
    with pytest.raises(UsageProblem, match="were used"):
        decided(hub, third, adjust=Adjust.PARTIAL, mg=each + 1)


def test_what_was_only_reserved_or_given_back_is_no_use(hub: Hub, li: LinkedPerson) -> None:
    shop = Shop.opened(hub)
    made = shop.reserve(shop.allowed(li.subject_id), 1000).json()["reservation_id"]
    with pytest.raises(Conflict, match="nothing was used"):
        opened(hub, person(li.subject_id), Target.RETIREMENT, reservation_id=made)


def test_an_adjustment_beside_a_dispute_waits_for_it(hub: Hub, li: LinkedPerson) -> None:
    """Staff do not take back past a dispute what it locks, nor post in its name."""
    dispute = opened(hub, person(li.subject_id), event_id=events(hub)[0])
    order = Order(kind=AdjustmentKind.FULL_REVERSAL, reason=Reason.FACT, event_id=events(hub)[0], why="seen")
    with pytest.raises(Conflict, match=f"dispute {dispute} locks"):
        adjust(hub, order, by="chen", now=NOW)
    with pytest.raises(Conflict, match="is a dispute"):
        adjust(hub, replace(order, event_id=events(hub)[1], case_id=dispute), by="chen", now=NOW)
    adjust(hub, replace(order, event_id=events(hub)[1], case_id="case-1"), by="chen", now=NOW)
    require_sound(hub)


def test_nothing_is_decided_while_a_sealed_window_waits_to_be_cleared(hub: Hub, li: LinkedPerson) -> None:
    dispute = opened(hub, person(li.subject_id), event_id=events(hub)[0])
    moved(hub, dispute, Step.REVIEWED)
    seal_window(hub, now=NOW)
    before = sums(hub, li.subject_id)
    with pytest.raises(Busy):
        decided(hub, dispute)
    assert (state_of(hub, dispute), sums(hub, li.subject_id)) == ("review", before)


# Time.


def test_evidence_that_is_due_goes_to_review_and_a_late_decision_is_shown_and_not_made(
    hub: Hub, li: LinkedPerson
) -> None:
    dispute = opened(hub, person(li.subject_id), event_id=events(hub)[0])
    ((acknowledge, evidence, decision),) = rows(
        hub, "SELECT acknowledge_due_at, evidence_due_at, decision_due_at FROM dispute"
    )
    told = [str(at)[:13] for at in (acknowledge, evidence, decision)]
    assert told == ["2026-11-23 16", "2026-11-27 16", "2026-12-11 16"]
    due = datetime(2026, 11, 27, 16, 0, tzinfo=UTC)
    assert followed(hub, due - timedelta(seconds=1)) == 0
    assert followed(hub, due) == 1
    assert state_of(hub, dispute) == "review"
    with pytest.raises(Conflict, match="evidence is closed"):
        written(hub, dispute, person(li.subject_id), now=due)
    late = due + 30 * DAY
    assert followed(hub, late) == 0
    assert state_of(hub, dispute) == "review"
    with reading(hub.engine) as session:
        (counted,) = load_counts(session, late)
    assert (counted.target, counted.state, counted.count, counted.overdue) == ("event", "review", 1, 1)
    require_sound(hub)


def test_who_was_asked_and_does_not_answer_lets_it_lapse_and_the_grams_are_free(hub: Hub, li: LinkedPerson) -> None:
    whole = sums(hub, li.subject_id)["held"]
    dispute = opened(hub, person(li.subject_id), event_id=events(hub)[0])
    assert moved(hub, dispute, Step.ASKED).state == "evidence"
    written(hub, dispute, platform(CITY), "we stand by it")
    assert followed(hub, NOW + 5 * DAY) == 0
    assert followed(hub, NOW + 8 * DAY) == 1
    assert (state_of(hub, dispute), sums(hub, li.subject_id)) == ("lapsed", {"held": whole})
    require_sound(hub)


def test_who_answers_in_time_keeps_it_going(hub: Hub, li: LinkedPerson) -> None:
    dispute = opened(hub, person(li.subject_id), event_id=events(hub)[0])
    moved(hub, dispute, Step.REVIEWED)
    moved(hub, dispute, Step.ASKED)
    written(hub, dispute, person(li.subject_id), "it was my brother")
    assert followed(hub, NOW + 8 * DAY) == 1
    assert state_of(hub, dispute) == "review"
    require_sound(hub)


def test_the_worker_follows_the_deadlines(hub: Hub, li: LinkedPerson) -> None:
    dispute = opened(hub, person(li.subject_id), event_id=events(hub)[0])
    jobs = {job.name: job for job in Worker(hub).jobs}
    assert jobs["disputes"].run() is False
    later = {job.name: job for job in Worker(replace(hub, clock=lambda: NOW + 8 * DAY)).jobs}
    assert later["disputes"].run() is True
    assert state_of(hub, dispute) == "review"


# Who, and how often.


def test_opening_again_gives_the_first_and_a_second_opener_is_told(hub: Hub, li: LinkedPerson) -> None:
    event = events(hub)[0]
    first = opened(hub, person(li.subject_id), event_id=event)
    assert opened(hub, person(li.subject_id), event_id=event) == first
    assert opened(hub, person(li.subject_id), Target.AMOUNT, event_id=event, claimed_mg=5) == first
    with pytest.raises(Conflict, match="open already"):
        opened(hub, platform(CITY), event_id=event)
    withdrawn(hub, first, person(li.subject_id))
    assert opened(hub, platform(CITY), event_id=event) != first
    require_sound(hub)


def test_only_who_opened_it_withdraws_it(hub: Hub, li: LinkedPerson) -> None:
    dispute = opened(hub, platform(CITY), event_id=events(hub)[0])
    with pytest.raises(Conflict, match="only who opened"):
        withdrawn(hub, dispute, person(li.subject_id))
    withdrawn(hub, dispute, platform(CITY))
    with pytest.raises(Conflict, match="is over"):
        withdrawn(hub, dispute, platform(CITY))


def test_a_platform_names_its_own_record_and_a_stranger_gets_nothing(hub: Hub, li: LinkedPerson) -> None:
    join(hub, KUAIDIAN)
    event = events(hub)[2]
    named = {"stream": "acts", "source_id": "BJ2"}
    assert rows(hub, "SELECT COUNT(*) FROM dispute") == [(0,)]
    for who, how in (
        (platform("kuaidian"), {"event_id": event}),
        (platform("kuaidian"), named),
        (platform("kuaidian"), {"target": Target.LINK, "link_id": li.link_id}),
        (platform("kuaidian"), {"target": Target.LINK, "account": "bj-1"}),
        (person(li.subject_id + 1), {"event_id": event}),
        (person(li.subject_id + 1), {"target": Target.LINK, "link_id": li.link_id}),
        (platform(CITY), {"stream": "acts", "source_id": "BJ99"}),
        (platform(CITY), {"event_id": 999_999}),
    ):
        with pytest.raises(NotFound):
            opened(hub, who, **how)
    dispute = opened(hub, platform(CITY), **named)
    assert rows(hub, "SELECT event_id, platform FROM dispute") == [(event, CITY)]
    with pytest.raises(NotFound):
        written(hub, dispute, platform("kuaidian"))
    with pytest.raises(UsageProblem):
        opened(hub, person(li.subject_id), **named)
    require_sound(hub)


@pytest.mark.parametrize(
    "named",
    [
        {}, {"event_id": 1, "link_id": "x"}, {"event_id": 1, "claimed_mg": 5}, {"stream": "acts"},
        {"event_id": 1, "stream": "acts", "source_id": "BJ1"}, {"target": Target.LINK, "event_id": 1},
        {"target": Target.AMOUNT, "event_id": 1}, {"target": Target.AMOUNT, "event_id": 1, "claimed_mg": 0},
        {"target": Target.AMOUNT, "event_id": 1, "claimed_mg": 2**53}, {"target": Target.RETIREMENT},
        {"text": " "}, {"text": "x" * 5000, "event_id": 1},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_said_rightly_changes_nothing(hub: Hub, li: LinkedPerson, named: dict[str, Any]) -> None:
    with pytest.raises(UsageProblem):
        opened(hub, platform(CITY), **({"target": Target.EVENT} | named))
    assert rows(hub, "SELECT COUNT(*) FROM dispute") == [(0,)]


def test_an_act_that_is_not_cleared_cannot_be_disputed_yet(hub: Hub, li: LinkedPerson) -> None:
    with reading(hub.engine) as session:
        city = open_platform(session, hub.ring, CITY)
    take_delivery(hub, city, delivery("new", ride("7", day="2026-11-18")), now=NOW)
    clear_dirty(hub, now=NOW)
    ((event,),) = rows(hub, "SELECT event_id FROM event WHERE provisional")
    with pytest.raises(Conflict, match="not cleared yet"):
        opened(hub, person(li.subject_id), event_id=event)
