"""Platforms at /v1/disputes: opening, answering, seeing, taking back; and what is refused."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any

import pytest
from tests_support.deliveries import KUAIDIAN, join
from tests_support.disputing import events, judged, moved, opened, person, platform, require_sound, state_of, written
from tests_support.oauth import TYPE
from tests_support.people import LinkedPerson
from tests_support.tokens import Machine
from tests_support.using import CITY, NOW, Shop, rows, sums, use

from hub.context import Hub
from hub.db import writing
from hub.disputes.rules import Step, Target
from hub.errors import Conflict
from hub.participants import Status, set_status
from hub.rights.erase import erase_person

WORDS = "a member told us that it was not them"


class Desk(Machine):
    """A platform's machine at the desk for disputes."""

    written = 0

    def write(self, path: str, body: Any, *, key: str | None = None) -> Any:
        self.written += 1
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"idempotency-key": key or f"k{self.written}", "content-type": "application/json"}
        return self.call("POST", path, content=content, headers=headers)

    def open(self, event_id: int, *, key: str | None = None, **more: Any) -> Any:
        body = {"target": "event", "reason": "frad", "text": WORDS, "event_id": event_id} | more
        return self.write("/v1/disputes", body, key=key)


@pytest.fixture
def city(hub: Hub, li: LinkedPerson) -> Desk:
    return Desk(hub, CITY)


@pytest.fixture
def stranger(hub: Hub, li: LinkedPerson) -> Desk:
    join(hub, KUAIDIAN)
    return Desk(hub, "kuaidian")


def test_a_platform_opens_sees_answers_and_takes_back(hub: Hub, li: LinkedPerson, city: Desk) -> None:
    whole = sums(hub, li.subject_id)["held"]
    event = events(hub)[0]
    made = city.open(event)
    assert made.status_code == 201
    told = made.json()
    assert (told["state"], told["opened_by"], told["opened_by_you"], told["event_id"]) == (
        "opened",
        "platform",
        True,
        event,
    )
    assert told["decision_due_at"] == "2026-12-11T16:00:00+00:00"
    assert "text" not in made.text
    path = f"/v1/disputes/{told['dispute']}"
    assert city.write(f"{path}/evidence", {"text": "here is the ticket"}).status_code == 200
    written(hub, told["dispute"], person(li.subject_id), "it was me")
    seen = city.get(path).json()
    assert [(one["by"], one["yours"], one["text"]) for one in seen["evidence"]] == [
        ("platform", True, WORDS), ("platform", True, "here is the ticket"), ("person", False, "it was me"),
    ]  # fmt: skip
    assert city.get("/v1/disputes").json()["disputes"][0]["dispute"] == told["dispute"]
    back = city.write(f"{path}/withdraw", {})
    assert (back.status_code, back.json()["state"]) == (200, "withdrawn")
    assert sums(hub, li.subject_id) == {"held": whole}
    assert city.get("/v1/disputes").json() == {"disputes": [], "next": None}
    assert len(city.get("/v1/disputes?state=withdrawn").json()["disputes"]) == 1
    require_sound(hub)


def test_both_sides_see_the_outcome_and_a_platform_not_what_was_used_elsewhere(
    hub: Hub, li: LinkedPerson, city: Desk
) -> None:
    shop = Shop.opened(hub)
    use(shop, shop.allowed(li.subject_id), 1000)
    dispute = opened(hub, person(li.subject_id), event_id=events(hub)[0])
    judged(hub, dispute)
    seen = city.get(f"/v1/disputes/{dispute}").json()
    assert (seen["state"], seen["opened_by_you"], seen["outcome"]["why"]) == ("upheld", False, "seen by two")
    (one,) = seen["outcome"]["adjustments"]
    assert (one["kind"], one["owed_mg"]) == ("claw_back", 1000)
    assert {"locked_mg", "used_before", "platform"} & seen.keys() == set()


def test_another_platform_s_dispute_is_not_there(hub: Hub, li: LinkedPerson, city: Desk, stranger: Desk) -> None:
    event = events(hub)[0]
    dispute = city.open(event).json()["dispute"]
    path = f"/v1/disputes/{dispute}"
    nobody = stranger.get("/v1/disputes/d_nobodys")
    for answer in (
        stranger.get(path), stranger.write(f"{path}/evidence", {"text": "x"}), stranger.write(f"{path}/withdraw", {}),
    ):  # fmt: skip
        assert (answer.status_code, answer.json()) == (404, nobody.json())
    unknown, theirs = stranger.open(999_999), stranger.open(event)
    assert (theirs.status_code, theirs.json()) == (404, unknown.json())
    assert stranger.get("/v1/disputes").json()["disputes"] == []
    assert len(rows(hub, "SELECT 1 FROM dispute_evidence")) == 1


def test_the_same_key_is_the_same_write_and_another_key_finds_the_first(hub: Hub, li: LinkedPerson, city: Desk) -> None:
    event = events(hub)[0]
    first = city.open(event, key="one")
    again = city.open(event, key="one")
    assert (again.status_code, again.json()) == (201, first.json())
    other = city.open(event, key="two")
    assert (other.status_code, other.json()["dispute"]) == (200, first.json()["dispute"])
    assert city.open(events(hub)[1], key="one").status_code == 409
    missing = city.call("POST", "/v1/disputes", json={})
    assert missing.status_code == 422
    assert rows(hub, "SELECT COUNT(*) FROM dispute_evidence") == [(1,)]
    assert not [one for (one,) in rows(hub, "SELECT answer FROM answered_request") if WORDS in one]


def test_of_two_who_open_at_once_one_dispute_comes(hub: Hub, li: LinkedPerson) -> None:
    event, barrier = events(hub)[0], Barrier(6)

    def one(number: int) -> str:
        barrier.wait()
        try:
            return opened(hub, platform(CITY) if number % 2 else person(li.subject_id), event_id=event)
        except Conflict:
            return "conflict"

    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(one, range(6)))
    made = {found for found in done if found != "conflict"}
    assert len(made) == 1
    assert done.count("conflict") == 3
    assert rows(hub, "SELECT COUNT(*) FROM dispute_lock") == [(1,)]
    require_sound(hub)


def test_grams_that_are_used_and_disputed_at_once_go_one_way(hub: Hub, li: LinkedPerson) -> None:
    shop = Shop.opened(hub)
    token = shop.allowed(li.subject_id)
    shop.get("/v1/reservations/r_none", token)
    whole, event, barrier = sums(hub, li.subject_id)["held"], events(hub)[0], Barrier(2)

    def reserve() -> int:
        barrier.wait()
        return int(shop.reserve(token, whole).status_code)

    def dispute() -> str:
        barrier.wait()
        return opened(hub, person(li.subject_id), event_id=event)

    with ThreadPoolExecutor(2) as pool:
        reserved, _ = pool.submit(reserve), pool.submit(dispute)
        status = reserved.result()
    left = sums(hub, li.subject_id)
    assert left in ({"reserved": whole}, {"held": whole * 2 // 3, "locked": whole // 3})
    assert (status == 201) is ("reserved" in left)
    require_sound(hub)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{", b'{"target":"event"}', b'{"target":"moon","reason":"frad","text":"x","event_id":1}',
        b'{"target":"event","reason":"evil","text":"x","event_id":1}',
        b'{"target":"event","reason":"frad","text":"x","event_id":1,"event_id":2}',
        b'{"target":"event","reason":"frad","text":"half \\ud83d of one","event_id":1}',
        b'{"target":"event","reason":"frad","text":"\\u0000","event_id":1}',
        b'{"target":"event","reason":"frad","text":"\xff","event_id":1}',
        b'{"target":"event","reason":"frad","text":"x","event_id":1.0}',
        b'{"target":"event","reason":"frad","text":"x","event_id":"1"}',
        b'{"target":"event","reason":"frad","text":"x","event_id":9223372036854775808}',
        b'{"target":"event","reason":"frad","text":"x","event_id":1,"subject_id":1}',
        b'{"target":"link","reason":"link","text":"x","account":"\\u0000"}',
        json.dumps({"target": "event", "reason": "frad", "text": "x" * 4001, "event_id": 1}).encode(),
    ],
    ids=lambda body: body[:48].decode(errors="replace"),
)  # fmt: skip
def test_what_is_not_of_the_form_is_refused_and_nothing_is_left(hub: Hub, city: Desk, body: bytes) -> None:
    answer = city.write("/v1/disputes", body)
    assert answer.status_code in (404, 422), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert rows(hub, "SELECT COUNT(*) FROM dispute") == [(0,)]
    assert rows(hub, "SELECT COUNT(*) FROM answered_request") == [(0,)]


def test_a_megabyte_of_evidence_is_not_read(hub: Hub, li: LinkedPerson, city: Desk) -> None:
    dispute = city.open(events(hub)[0]).json()["dispute"]
    answer = city.write(f"/v1/disputes/{dispute}/evidence", {"text": "x" * 1_048_576})
    assert answer.status_code == 413
    for number in range(19):
        assert city.write(f"/v1/disputes/{dispute}/evidence", {"text": f"{number}"}).status_code == 200
    assert city.write(f"/v1/disputes/{dispute}/evidence", {"text": "once more"}).status_code == 409
    assert rows(hub, "SELECT COUNT(*) FROM dispute_evidence") == [(20,)]


@pytest.mark.parametrize("name", ["x" * 32, "d_nobodys"])
def test_a_name_that_is_none_is_not_there(city: Desk, name: str) -> None:
    assert city.get(f"/v1/disputes/{name}").status_code == 404
    assert city.write(f"/v1/disputes/{name}/withdraw", {}).status_code == 404
    assert city.write(f"/v1/disputes/{name}/evidence", {"text": "x"}).status_code == 404
    assert city.get(f"/v1/disputes?cursor={name}").status_code == 200


def test_a_platform_that_is_suspended_and_a_client_of_nobody_open_nothing(
    hub: Hub, li: LinkedPerson, city: Desk
) -> None:
    assert Desk(hub, None).open(events(hub)[0]).status_code == 403
    with writing(hub.engine) as session:
        set_status(session, CITY, Status.SUSPENDED, NOW)
    assert city.open(events(hub)[0]).status_code == 403
    assert rows(hub, "SELECT COUNT(*) FROM dispute") == [(0,)]


def test_after_an_erasure_the_document_stands_without_the_words(hub: Hub, li: LinkedPerson, city: Desk) -> None:
    dispute = city.open(events(hub)[0]).json()["dispute"]
    erase_person(hub, li.subject_id, now=NOW + timedelta(hours=1))
    seen = city.get(f"/v1/disputes/{dispute}").json()
    assert (seen["state"], [one["text"] for one in seen["evidence"]]) == ("withdrawn", [None])
    assert WORDS not in json.dumps(seen)
    require_sound(hub)


def test_pages_follow_one_another(hub: Hub, li: LinkedPerson, city: Desk) -> None:
    made = [city.open(event).json()["dispute"] for event in events(hub)]
    first = city.get("/v1/disputes?limit=2").json()
    second = city.get(f"/v1/disputes?limit=2&cursor={first['next']}").json()
    assert sorted(one["dispute"] for page in (first, second) for one in page["disputes"]) == sorted(made)
    assert second["next"] is None


def test_the_log_says_that_a_platform_disputed_and_nothing_of_whom(hub: Hub, li: LinkedPerson, city: Desk) -> None:
    event = events(hub)[0]
    dispute = city.open(event).json()["dispute"]
    opened(hub, person(li.subject_id), event_id=events(hub)[1])
    moved(hub, dispute, Step.REVIEWED)
    told = [
        json.loads(bytes(data)[2:])
        for (data,) in rows(
            hub, "SELECT b.data FROM change_leaf c JOIN log_body b USING (leaf_id) "
            "WHERE c.kind = 'dispute.changed' ORDER BY c.leaf_id"
        )
    ]  # fmt: skip
    assert [(one["what"], one["state"], one.get("participant"), one["step"]) for one in told] == [
        ("dispute.opened", "opened", CITY, 1), ("dispute.opened", "opened", None, 1),
        ("dispute.reviewed", "review", CITY, 2),
    ]  # fmt: skip
    allowed = {"v", "kind", "at", "what", "target", "reason", "state", "step", "opener", "digest", "participant"}
    assert all(one.keys() <= allowed for one in told)
    assert state_of(hub, dispute) == "review"
    assert Target(told[0]["target"]) is Target.EVENT


def test_the_account_says_what_is_locked_to_whom_may_look(hub: Hub, li: LinkedPerson) -> None:
    shop = Shop.opened(hub)
    token = shop.consented(
        li.subject_id, authorization_details=[{"type": TYPE, "actions": ["read"]}], scope="account:read"
    )["access_token"]  # fmt: skip
    whole = sums(hub, li.subject_id)["held"]
    before = shop.get("/v1/account", token).json()
    opened(hub, person(li.subject_id), event_id=events(hub)[0])
    after = shop.get("/v1/account", token).json()
    assert (before["locked_mg"], after["locked_mg"]) == (0, whole // 3)
    assert before["balances"] == after["balances"]
