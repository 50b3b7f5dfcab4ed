"""Whoever comes at one time: a gram goes to one of them, and no balance falls below zero."""

from concurrent.futures import ThreadPoolExecutor, wait
from threading import Barrier
from typing import Any

import pytest
from tests_support.beside import PATIENCE_S, Gate
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import LinkedPerson, link_person
from tests_support.using import CITY, DAYS, NOW, Shop, close_window, ride, rows, sums

from consent.grants import Grant, require_grant
from hub.audit import audit
from hub.context import Hub
from hub.db import writing
from hub.errors import Conflict
from hub.participants import open_platform
from hub.pipeline import take_delivery
from hub.rights.erase import erase_person
from hub.uses import reservations
from hub.uses.debts import Source, repay
from hub.uses.reservations import TooFew, Wanted, commit, expire_due, reserve, void
from standards.uses import Use

WRITERS = 64
LONG_ENOUGH_S = 1.0


@pytest.fixture
def given(hub: Hub, li: LinkedPerson, shop: Shop, token: str) -> Grant:
    """Li's consent to the shop."""
    ((grant_id,),) = rows(hub, f"SELECT DISTINCT grant_id FROM grant_version WHERE recipient = '{shop.client_id}'")
    with writing(hub.engine) as session:
        return require_grant(session, grant_id=grant_id, subject_id=li.subject_id)


def together(count: int, act: Any) -> list[Any]:
    """Run an act in so many threads that begin at one time; returns results and conflicts."""
    barrier = Barrier(count)

    def one(number: int) -> Any:
        barrier.wait()
        try:
            return act(number)
        except Conflict as refused:
            return refused

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def make(hub: Hub, given: Grant, shop: Shop, number: int, mg: int) -> str:
    with writing(hub.engine) as session:
        return reserve(
            session, grant=given, participant=f"shop-{number}", client_id=shop.client_id,
            wanted=Wanted(mg=mg, use=Use.REDEEM), now=NOW,
        ).reservation_id  # fmt: skip


def test_64_writers_never_spend_more_than_one_balance(hub: Hub, li: LinkedPerson, shop: Shop, given: Grant) -> None:
    whole = sums(hub, li.subject_id)["held"]
    each = whole // 20
    done = together(WRITERS, lambda number: make(hub, given, shop, number, each))
    made = [one for one in done if isinstance(one, str)]
    assert len(made) == whole // each
    assert all(isinstance(one, TooFew) for one in done if not isinstance(one, str))
    left = sums(hub, li.subject_id)
    assert (left.get("held", 0), left["reserved"]) == (whole - len(made) * each, len(made) * each)
    assert audit(hub).holds


def test_of_a_commit_a_void_and_a_time_out_at_once_one_comes_true(
    hub: Hub, li: LinkedPerson, shop: Shop, given: Grant
) -> None:
    whole = sums(hub, li.subject_id)["held"]
    reservation = make(hub, given, shop, 0, whole)

    def close(number: int) -> str:
        with writing(hub.engine) as session:
            if number % 3 == 0:
                return str(commit(session, reservation, client_id=shop.client_id, now=NOW).state)
            if number % 3 == 1:
                return str(void(session, reservation, client_id=shop.client_id, now=NOW).state)
            return str(expire_due(session, now=NOW.replace(year=2027)))

    done = together(12, close)
    closed = [one for one in done if one in ("committed", "voided", "1")]
    assert len(closed) == 1
    ((state, used),) = rows(hub, "SELECT state, used_mg FROM reservation")
    assert used == (whole if state == "committed" else 0)
    assert audit(hub).holds


def test_the_same_key_sent_many_times_at_once_is_one_write(hub: Hub, li: LinkedPerson, shop: Shop, token: str) -> None:
    shop.get("/v1/reservations/r_none", token)  # so that the nonce is fresh
    answers = together(8, lambda _number: shop.reserve(token, 100, key="same"))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["reservation_id"] for answer in answers}) == 1
    assert sums(hub, li.subject_id)["reserved"] == 100


def test_who_asks_many_times_at_once_uses_no_more_than_the_consent_names(hub: Hub) -> None:
    city = join(hub, BEIJING)
    li = link_person(hub, "li", {CITY: "bj-1"}, set(BEIJING["behaviours"]), NOW)
    at = {"beginTime": f"{DAYS[0]}T18:12:03+08:00", "endTime": f"{DAYS[0]}T18:40:03+08:00"}
    take_delivery(hub, city, delivery("d1", ride("1"), act("2", scene="METRO", **at)), now=NOW)
    close_window(hub)
    ((mg,),) = rows(hub, "SELECT mg FROM event WHERE behaviour = 'MOB-METRO'")
    shop = Shop.opened(hub)
    shop.allowed(li.subject_id, behaviours=["MOB-METRO"])
    ((grant_id,),) = rows(hub, f"SELECT DISTINCT grant_id FROM grant_version WHERE recipient = '{shop.client_id}'")
    with writing(hub.engine) as session:
        given = require_grant(session, grant_id=grant_id, subject_id=li.subject_id)
    done = together(8, lambda number: make(hub, given, shop, number, mg))
    # The ride of the same day is held too, and the consent does not name it.
    assert sums(hub, li.subject_id)["held"] > mg
    assert [isinstance(one, str) for one in done].count(True) == 1


@pytest.mark.parametrize("how", ["commit", "void", "expire"])
def test_an_erasure_and_who_closes_a_reservation_do_not_wait_in_a_circle(
    hub: Hub, li: LinkedPerson, shop: Shop, given: Grant, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An erasure holds the windows and then gives reservations back; whoever closes one takes both in the same order."""
    reservation = make(hub, given, shop, 0, 1000)
    gate, join = Gate(), reservations.join_open_window

    def stop_and_join(session: Any) -> int:
        gate.hold()
        return join(session)

    def close() -> Any:
        with writing(hub.engine) as session:
            if how == "expire":
                return expire_due(session, now=NOW.replace(year=2027))
            act = commit if how == "commit" else void
            return act(session, reservation, client_id=shop.client_id, now=NOW).state

    monkeypatch.setattr(reservations, "join_open_window", stop_and_join)
    with ThreadPoolExecutor(2) as pool:
        closing = pool.submit(close)
        assert gate.reached.wait(PATIENCE_S)
        erasing = pool.submit(lambda: erase_person(hub, li.subject_id, now=NOW))
        wait([erasing], LONG_ENOUGH_S)
        gate.opened.set()
        assert erasing.result(PATIENCE_S).forfeited_mg >= 0
        if how == "expire":
            assert closing.result(PATIENCE_S) == (
                0 if rows(hub, "SELECT state FROM reservation") == [("voided",)] else 1
            )
        elif closing.exception(PATIENCE_S) is not None:
            assert isinstance(closing.exception(), Conflict)
    assert audit(hub).holds


def test_a_use_and_a_payment_of_debts_do_not_wait_in_a_circle(
    hub: Hub, li: LinkedPerson, shop: Shop, given: Grant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both take balances and then debts: the use of what goes to the pool, and the payment out of it."""
    whole = sums(hub, li.subject_id)["held"]
    made = []
    with writing(hub.engine) as session:
        city = open_platform(session, hub.ring, CITY)
        for mg, use in ((1000, Use.TRANSFER), (1000, Use.TRANSFER), (whole - 2000, Use.REDEEM)):
            wanted = Wanted(mg=mg, use=use)
            one = reserve(session, grant=given, participant=CITY, client_id=shop.client_id, wanted=wanted, now=NOW)
            made.append(one.reservation_id)
        first, last, rest = made
        for reservation in (first, rest):
            commit(session, reservation, client_id=shop.client_id, now=NOW)
    take_delivery(hub, city, delivery("d2", ride("0", day=DAYS[0], ver=2, status="CANCELLED")), now=NOW)
    close_window(hub)
    gate, settle = Gate(), reservations.settle_debts

    def stop_and_settle(*args: Any) -> Any:
        gate.hold()
        return settle(*args)

    def use_it() -> None:
        with writing(hub.engine) as session:
            commit(session, last, client_id=shop.client_id, now=NOW)

    def pay() -> None:
        with writing(hub.engine) as session:
            repay(session, CITY, 500, Source.POOL, now=NOW)

    monkeypatch.setattr(reservations, "settle_debts", stop_and_settle)
    with ThreadPoolExecutor(2) as pool:
        using = pool.submit(use_it)
        assert gate.reached.wait(PATIENCE_S)
        paying = pool.submit(pay)
        wait([paying], LONG_ENOUGH_S)
        gate.opened.set()
        assert (using.result(PATIENCE_S), paying.result(PATIENCE_S)) == (None, None)
    assert audit(hub).holds
