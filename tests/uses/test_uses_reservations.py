"""Grams are used once: reservations over HTTP, on both databases."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests_support.people import LinkedPerson
from tests_support.using import CITY, NOW, Shop, rows, sums

from consent.withdraw import withdraw_grant
from hub.audit import audit
from hub.changes import log_consent_change
from hub.context import Hub
from hub.db import writing
from hub.uses.reservations import expire_due

RIDE = 67_760 * 2
"""Two kilometres on a bike: what the methodology makes of one of the town's rides."""


def problem(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["type"].removeprefix("urn:tanlian:problem:")


def held(hub: Hub, li: LinkedPerson) -> int:
    return sums(hub, li.subject_id)["held"]


def require_sound(hub: Hub) -> None:
    report = audit(hub)
    assert [check.name for check in report.checks if not check.ok] == []


def test_reserved_grams_are_used_once_and_the_rest_goes_back(
    hub: Hub, li: LinkedPerson, shop: Shop, token: str
) -> None:
    whole = held(hub, li)
    made = shop.reserve(token, whole - 10)
    assert made.status_code == 201
    told = made.json()
    assert (told["state"], told["reserved_mg"], told["used_mg"]) == ("reserved", whole - 10, 0)
    assert sums(hub, li.subject_id) == {"held": 10, "reserved": whole - 10}
    done = shop.write(f"/v1/reservations/{told['reservation_id']}/commit", {"mg": 1000}, token)
    assert (done.status_code, done.json()["state"], done.json()["used_mg"]) == (200, "committed", 1000)
    assert sums(hub, li.subject_id) == {"held": whole - 1000, "redeemed": 1000}
    assert shop.get(f"/v1/reservations/{told['reservation_id']}", token).json() == done.json()
    require_sound(hub)


def test_the_oldest_acts_go_first(hub: Hub, li: LinkedPerson, shop: Shop, token: str) -> None:
    each = held(hub, li) // 3
    shop.reserve(token, each + 1)
    taken = rows(hub, "SELECT vintage, mg FROM reservation_line ORDER BY line")
    assert taken == [(20261115, each), (20261116, 1)]


def test_voided_grams_are_held_again(hub: Hub, li: LinkedPerson, shop: Shop, token: str) -> None:
    whole = held(hub, li)
    told = shop.reserve(token, whole).json()
    done = shop.write(f"/v1/reservations/{told['reservation_id']}/void", {}, token)
    assert done.json()["state"] == "voided"
    assert sums(hub, li.subject_id) == {"held": whole}
    again = shop.write(f"/v1/reservations/{told['reservation_id']}/commit", {}, token)
    assert problem(again) == (409, "conflict")
    require_sound(hub)


def test_what_is_not_decided_in_time_goes_back(hub: Hub, li: LinkedPerson, shop: Shop, token: str) -> None:
    whole = held(hub, li)
    told = shop.reserve(token, whole, timeout_s=60).json()
    with writing(hub.engine) as session:
        assert expire_due(session, now=NOW + timedelta(seconds=59)) == 0
    late = replace(hub, clock=lambda: NOW + timedelta(seconds=60))
    answer = shop.move(late).write(f"/v1/reservations/{told['reservation_id']}/commit", {}, token)
    assert problem(answer) == (409, "conflict")
    with writing(hub.engine) as session:
        assert expire_due(session, now=NOW + timedelta(seconds=60)) == 1
    assert sums(hub, li.subject_id) == {"held": whole}
    assert shop.get(f"/v1/reservations/{told['reservation_id']}", token).json()["state"] == "expired"
    require_sound(hub)


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        ({"mg": 0, "use": "redeem"}, 422),
        ({"mg": -5, "use": "redeem"}, 422),
        ({"mg": 1.5, "use": "redeem"}, 422),
        ({"mg": "5", "use": "redeem"}, 422),
        ({"mg": True, "use": "redeem"}, 422),
        ({"mg": 2**53, "use": "redeem"}, 422),
        ({"mg": 5, "use": "spend"}, 422),
        ({"mg": 5}, 422),
        ({"mg": 5, "use": "redeem", "purpose": "voluntary"}, 422),
        ({"mg": 5, "use": "retire"}, 422),
        ({"mg": 5, "use": "retire", "purpose": "fun"}, 422),
        ({"mg": 5, "use": "redeem", "timeout_s": 0}, 422),
        ({"mg": 5, "use": "redeem", "timeout_s": 604_801}, 422),
        ({"mg": 5, "use": "redeem", "account": "x"}, 422),
        ([], 422),
        ({"mg": 10**12, "use": "redeem"}, 409),
    ],
)
def test_what_cannot_be_changes_nothing(
    hub: Hub, li: LinkedPerson, shop: Shop, token: str, body: Any, outcome: int
) -> None:
    before = rows(hub, "SELECT * FROM posting ORDER BY entry_id, line")
    answer = shop.write("/v1/reservations", body, token, key="once")
    assert answer.status_code == outcome, answer.text
    assert rows(hub, "SELECT * FROM posting ORDER BY entry_id, line") == before
    assert rows(hub, "SELECT * FROM answered_request") == []
    # The key is free: nothing was done under it.
    assert shop.write("/v1/reservations", {"mg": 5, "use": "redeem"}, token, key="once").status_code == 201


def test_the_same_key_is_the_same_write(hub: Hub, li: LinkedPerson, shop: Shop, token: str) -> None:
    first = shop.reserve(token, 100, key="order-1")
    again = shop.reserve(token, 100, key="order-1")
    assert (again.status_code, again.json()) == (201, first.json())
    assert problem(shop.reserve(token, 101, key="order-1")) == (409, "conflict")
    assert sums(hub, li.subject_id)["reserved"] == 100
    path = f"/v1/reservations/{first.json()['reservation_id']}/commit"
    done = shop.write(path, {}, token, key="order-1-paid")
    assert shop.write(path, {}, token, key="order-1-paid").json() == done.json()
    assert problem(shop.write(path, {}, token, key="order-1-paid-again")) == (409, "conflict")
    assert sums(hub, li.subject_id)["redeemed"] == 100


@pytest.mark.parametrize("headers", [{}, {"idempotency-key": ""}, {"idempotency-key": "k" * 201}])
def test_a_write_without_a_key_is_refused(shop: Shop, token: str, headers: dict[str, str]) -> None:
    answer = shop.call("POST", "/v1/reservations", token, json={"mg": 5, "use": "redeem"}, headers=headers)
    assert problem(answer) == (422, "usage_problem")


def test_only_what_the_person_allows_is_used(hub: Hub, li: LinkedPerson, shop: Shop) -> None:
    whole = held(hub, li)
    one_day = shop.allowed(li.subject_id, **{"from": "2026-11-16", "until": "2026-11-30"})
    assert problem(shop.reserve(one_day, whole)) == (409, "conflict")
    assert shop.reserve(one_day, whole * 2 // 3).status_code == 201
    assert problem(shop.reserve(one_day, 1)) == (409, "conflict")
    other = shop.allowed(li.subject_id, behaviours=["MOB-METRO"])
    assert problem(shop.reserve(other, 1)) == (409, "conflict")


def test_a_withdrawal_stops_reserving_and_using(hub: Hub, li: LinkedPerson, shop: Shop, token: str) -> None:
    told = shop.reserve(token, 100).json()
    ((grant_id,),) = rows(hub, "SELECT grant_id FROM reservation")
    with writing(hub.engine) as session:
        for change in withdraw_grant(session, grant_id=grant_id, subject_id=li.subject_id, now=NOW):
            log_consent_change(session, change, NOW, hub=hub)
    assert shop.reserve(token, 5).status_code in (401, 403)
    assert shop.write(f"/v1/reservations/{told['reservation_id']}/commit", {}, token).status_code in (401, 403)
    with writing(hub.engine) as session:
        assert expire_due(session, now=NOW + timedelta(days=1)) == 1
    assert "reserved" not in sums(hub, li.subject_id)
    require_sound(hub)


def test_nobody_else_sees_or_closes_a_reservation(hub: Hub, li: LinkedPerson, shop: Shop, token: str) -> None:
    told = shop.reserve(token, 100).json()
    other = Shop.opened(hub)
    theirs = other.allowed(li.subject_id)
    path = f"/v1/reservations/{told['reservation_id']}"
    assert problem(other.get(path, theirs)) == (404, "not_found")
    for step in ("commit", "void"):
        assert problem(other.write(f"{path}/{step}", {}, theirs)) == (404, "not_found")
    assert problem(shop.get("/v1/reservations/r_nobody", token)) == (404, "not_found")


def test_a_client_of_no_participant_uses_nothing(hub: Hub, li: LinkedPerson) -> None:
    stranger = Shop.opened(hub, participant=None)
    answer = stranger.reserve(stranger.allowed(li.subject_id), 5)
    assert answer.status_code == 403


def test_too_many_open_reservations_are_refused(shop: Shop, token: str) -> None:
    answers = [shop.reserve(token, 1).status_code for _ in range(21)]
    assert answers == [201] * 20 + [409]


@pytest.mark.parametrize(
    ("use", "more", "account"),
    [("transfer", {}, "transferred"), ("retire", {"purpose": "voluntary"}, "retired"), ("redeem", {}, "redeemed")],
)
def test_every_use_has_its_account_at_the_participant(
    hub: Hub, li: LinkedPerson, shop: Shop, token: str, use: str, more: dict[str, Any], account: str
) -> None:
    told = shop.reserve(token, 100, use=use, **more).json()
    shop.write(f"/v1/reservations/{told['reservation_id']}/commit", {}, token)
    used = rows(
        hub, "SELECT a.platform, SUM(p.mg) FROM posting p JOIN account a USING (account_id) "
        f"WHERE a.kind = '{account}' GROUP BY a.platform",
    )  # fmt: skip
    assert used == [(CITY, 100)]
    require_sound(hub)
