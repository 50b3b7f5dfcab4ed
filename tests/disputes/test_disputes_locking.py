"""What a dispute locks, and that it is free again, or taken back, when it is over."""

from dataclasses import replace
from datetime import timedelta

import pytest
from tests_support.deliveries import BEIJING, delivery, join
from tests_support.disputing import (
    adjustments,
    employ,
    events,
    judged,
    opened,
    person,
    platform,
    require_sound,
    withdrawn,
)
from tests_support.people import LinkedPerson, link_person
from tests_support.using import CITY, DAYS, NOW, Shop, close_window, ride, rows, sums, use

from hub.context import Hub
from hub.db import reading
from hub.disputes.locking import load_locked_mg, require_unlocked
from hub.disputes.rules import Adjust, Target
from hub.errors import Conflict, NotFound
from hub.participants import open_platform
from hub.pipeline import clear_sealed, finalise_window, seal_window, take_delivery
from hub.rights.erase import erase_person
from hub.sync.statements import reconcile_window
from standards.uses import load_use_rules


def cleared_only(hub: Hub) -> LinkedPerson:
    """Li's three rides are cleared in window 1, which is not final yet."""
    employ(hub)
    city = join(hub, BEIJING)
    li = link_person(hub, "li", {CITY: "bj-1"}, set(BEIJING["behaviours"]), NOW)
    take_delivery(hub, city, delivery("d1", *(ride(f"{n}", day=day) for n, day in enumerate(DAYS))), now=NOW)
    seal_window(hub, now=NOW)
    clear_sealed(hub, now=NOW)
    return li


def finalise(hub: Hub) -> None:
    reconcile_window(hub, 1, now=NOW)
    finalise_window(hub, 1, now=NOW, waive_challenge=True)


def test_what_is_held_of_the_act_is_locked_and_nothing_else(hub: Hub, li: LinkedPerson) -> None:
    whole = sums(hub, li.subject_id)["held"]
    dispute = opened(hub, person(li.subject_id), event_id=events(hub)[1])
    assert sums(hub, li.subject_id) == {"held": whole * 2 // 3, "locked": whole // 3}
    require_sound(hub)
    with reading(hub.engine) as session:
        assert load_locked_mg(session, events(hub)) == load_locked_mg(session, events(hub)[1:2]) == whole // 3
        require_unlocked(session, events(hub)[0])
        with pytest.raises(Conflict, match=dispute):
            require_unlocked(session, events(hub)[1])
    withdrawn(hub, dispute, person(li.subject_id))
    assert sums(hub, li.subject_id) == {"held": whole}
    require_sound(hub)


def test_locked_grams_cannot_be_used(hub: Hub, li: LinkedPerson) -> None:
    shop = Shop.opened(hub)
    token = shop.allowed(li.subject_id)
    whole = sums(hub, li.subject_id)["held"]
    opened(hub, person(li.subject_id), event_id=events(hub)[0])
    assert shop.reserve(token, whole * 2 // 3 + 1).status_code == 409
    assert shop.reserve(token, whole * 2 // 3).status_code == 201
    require_sound(hub)


def test_what_was_used_before_is_not_locked_and_the_dispute_says_so(hub: Hub, li: LinkedPerson) -> None:
    shop = Shop.opened(hub)
    each = sums(hub, li.subject_id)["held"] // 3
    use(shop, shop.allowed(li.subject_id), each + 1000)
    for event, locked, used in zip(events(hub), (0, each - 1000, each), (True, True, False), strict=True):
        dispute = opened(hub, person(li.subject_id), event_id=event)
        assert rows(hub, f"SELECT locked_mg, used FROM dispute WHERE dispute_id = '{dispute}'") == [(locked, used)]
    assert sums(hub, li.subject_id) == {"locked": 2 * each - 1000, "redeemed": each + 1000}
    require_sound(hub)


def test_one_right_that_is_left_is_locked_by_itself(
    hub: Hub, li: LinkedPerson, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """Where both rights may be used, an act whose points were redeemed still has its attribute."""
    rules = replace(load_use_rules(), both=True)
    monkeypatch.setattr("hub.uses.reservations.load_use_rules", lambda: rules)
    shop = Shop.opened(hub)
    each = sums(hub, li.subject_id)["held"] // 3
    use(shop, shop.allowed(li.subject_id), each // 2)
    dispute = opened(hub, person(li.subject_id), event_id=events(hub)[0])
    locked = rows(hub, "SELECT both_mg, incentive_mg, attribute_mg FROM dispute_lock")
    assert locked == [(each - each // 2, 0, each // 2)]
    assert sums(hub, li.subject_id) == {"held": 2 * each, "locked": each}
    require_sound(hub)
    withdrawn(hub, dispute, person(li.subject_id))
    assert sums(hub, li.subject_id) == {"held": 3 * each}
    require_sound(hub)


def test_what_is_pending_is_locked_and_goes_back_to_pending(hub: Hub) -> None:
    li = cleared_only(hub)
    whole = sums(hub, li.subject_id)["pending"]
    dispute = opened(hub, person(li.subject_id), event_id=events(hub)[0])
    assert sums(hub, li.subject_id) == {"pending": whole * 2 // 3, "locked": whole // 3}
    require_sound(hub)
    withdrawn(hub, dispute, person(li.subject_id))
    assert sums(hub, li.subject_id) == {"pending": whole}
    finalise(hub)
    assert sums(hub, li.subject_id) == {"held": whole}
    require_sound(hub)


@pytest.mark.parametrize("upheld", [True, False])
def test_what_was_locked_when_its_window_became_final_is_held_or_gone_at_the_end(hub: Hub, *, upheld: bool) -> None:
    li = cleared_only(hub)
    whole = sums(hub, li.subject_id)["pending"]
    dispute = opened(hub, person(li.subject_id), event_id=events(hub)[0])
    finalise(hub)
    assert sums(hub, li.subject_id) == {"held": whole * 2 // 3, "locked": whole // 3}
    require_sound(hub)
    judged(hub, dispute, upheld=upheld)
    assert sums(hub, li.subject_id) == {"held": whole * 2 // 3 if upheld else whole}
    require_sound(hub)


def test_a_correction_meanwhile_takes_what_is_locked(hub: Hub, li: LinkedPerson) -> None:
    """The act falls by a newer version of its platform while the dispute is open: nobody owes anything."""
    shop = Shop.opened(hub)
    each = sums(hub, li.subject_id)["held"] // 3
    dispute = opened(hub, person(li.subject_id), event_id=events(hub)[0])
    use(shop, shop.allowed(li.subject_id), 2 * each)
    with reading(hub.engine) as session:
        city = open_platform(session, hub.ring, CITY)
    gone = ride("0", day=DAYS[0], ver=2, status="CANCELLED")
    take_delivery(hub, city, delivery("back", gone), now=NOW)
    close_window(hub)
    assert sums(hub, li.subject_id) == {"redeemed": 2 * each}
    assert rows(hub, "SELECT COUNT(*) FROM debt") == [(0,)]
    assert rows(hub, "SELECT state, closed_at FROM dispute") == [("opened", None)]
    require_sound(hub)
    done = judged(hub, dispute, adjust=Adjust.NONE)
    assert (done.state, done.adjustments, adjustments(hub)) == ("upheld", 0, [])
    require_sound(hub)


def test_a_correction_of_another_act_of_the_same_day_leaves_the_lock_alone(hub: Hub) -> None:
    employ(hub)
    city = join(hub, BEIJING)
    li = link_person(hub, "li", {CITY: "bj-1"}, set(BEIJING["behaviours"]), NOW)
    evening = {"beginTime": f"{DAYS[0]}T18:12:03+08:00", "endTime": f"{DAYS[0]}T18:24:03+08:00"}
    take_delivery(hub, city, delivery("d1", ride("0"), ride("1") | evening), now=NOW)
    close_window(hub)
    each = sums(hub, li.subject_id)["held"] // 2
    dispute = opened(hub, person(li.subject_id), event_id=events(hub)[0])
    again = ride("1", ver=2, status="CANCELLED") | evening
    take_delivery(hub, city, delivery("back", again), now=NOW)
    close_window(hub)
    assert sums(hub, li.subject_id) == {"locked": each}
    judged(hub, dispute, upheld=False)
    assert sums(hub, li.subject_id) == {"held": each}
    require_sound(hub)


def test_a_link_locks_what_came_over_it_but_for_what_is_locked_already(hub: Hub, li: LinkedPerson) -> None:
    whole = sums(hub, li.subject_id)["held"]
    one = opened(hub, person(li.subject_id), event_id=events(hub)[0])
    both = opened(hub, person(li.subject_id), Target.LINK, link_id=li.link_id)
    assert sums(hub, li.subject_id) == {"locked": whole}
    assert rows(hub, "SELECT dispute_id, COUNT(*) FROM dispute_lock GROUP BY dispute_id ORDER BY 2") == [
        (one, 1),
        (both, 2),
    ]
    withdrawn(hub, both, person(li.subject_id))
    assert sums(hub, li.subject_id) == {"held": whole * 2 // 3, "locked": whole // 3}
    require_sound(hub)


def test_an_erasure_withdraws_unlocks_and_leaves_no_word(hub: Hub, li: LinkedPerson) -> None:
    whole = sums(hub, li.subject_id)["held"]
    over = opened(hub, person(li.subject_id), event_id=events(hub)[0])
    judged(hub, over, upheld=False)
    opened(hub, person(li.subject_id), event_id=events(hub)[1])
    erase_person(hub, li.subject_id, now=NOW + timedelta(minutes=1))
    assert sums(hub, li.subject_id) == {"forfeited": whole}
    assert rows(hub, "SELECT DISTINCT why FROM dispute") == [("",)]
    assert [state for (state,) in rows(hub, "SELECT state FROM dispute ORDER BY opened_at, state")] == [
        "rejected", "withdrawn",
    ]  # fmt: skip
    assert {bytes(blob) for (blob,) in rows(hub, "SELECT text_sealed FROM dispute_evidence")} == {b""}
    require_sound(hub)


def test_nobody_disputes_about_somebody_who_was_erased(hub: Hub, li: LinkedPerson) -> None:
    event = events(hub)[0]
    erase_person(hub, li.subject_id, now=NOW)
    with pytest.raises(NotFound):
        opened(hub, platform(CITY), event_id=event)
    with pytest.raises(NotFound):
        opened(hub, platform(CITY), Target.LINK, link_id=li.link_id)


def test_a_person_without_disputes_is_erased_as_before(hub: Hub, li: LinkedPerson) -> None:
    erase_person(hub, li.subject_id, now=NOW)
    assert rows(hub, "SELECT COUNT(*) FROM dispute_lock") == [(0,)]
    require_sound(hub)
