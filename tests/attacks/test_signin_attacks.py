"""Attacks on signing in: fixed sessions, replayed and borrowed assertions, addresses of other sites, many guesses."""

from datetime import UTC, datetime
from typing import Any

import pytest
from tests_support.authenticator import Authenticator
from tests_support.portal import PASSWORD, Visitor, sign_up, visitor
from tests_support.web import count, look_up

from consent.signin import SOURCE_TRIES
from hub.context import Hub

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
ELSEWHERE = (
    "https://evil.example", "//evil.example", "///evil.example", "/\\evil.example", "\\\\evil.example", "/\t/evil.example",
    "/ /evil.example", "javascript:alert(1)", "/links/../../evil", "/links//evil.example", "http:evil.example",
    "/oauth/authorize@evil.example", "/%2f%2fevil.example", "/links\r\nset-cookie: a=b", "/links#//evil", "links",
    "/staff", "/signout", "/" + "a" * 3000, "／evil.example", "/links?next=\u202e", "data:text/html,x", "",
)  # fmt: skip


def ask(browser: Visitor, path: str) -> dict[str, Any]:
    answer: dict[str, Any] = browser.send(path).answer.json()
    return answer


def with_passkey(hub: Hub, name: str = "li") -> tuple[Visitor, Authenticator]:
    browser, device = visitor(hub, name), Authenticator()
    answer = device.create(ask(browser, "/security/passkeys/options"))
    assert browser.send("/security/passkeys", credential=answer).goes_to == "/security"
    return browser, device


def at_the_door(hub: Hub) -> Visitor:
    browser = Visitor(hub)
    browser.csrf = browser.see("/signin").csrf
    return browser


def copy_of(browser: Visitor) -> Visitor:
    """Somebody who got hold of the browser's cookie."""
    thief = Visitor(browser.hub)
    thief.cookies.update(dict(browser.cookies))
    thief.csrf = browser.csrf
    return thief


def test_a_token_from_before_the_step_up_is_left_behind_without_the_proof(hub: Hub):
    """Session fixation at step-up: whoever shares the old token must not share the new proof."""
    mine = visitor(hub)
    thief = copy_of(mine)
    assert thief.see("/").status == 200
    assert mine.send("/stepup", password=PASSWORD, next="/security").goes_to == "/security"
    assert mine.see("/security").status == 200
    assert thief.see("/").goes_to == "/signin"
    assert ask(thief, "/security/passkeys/options") == {}


def test_a_session_planted_before_a_sign_in_by_passkey_is_worth_nothing_after_it(hub: Hub):
    _, device = with_passkey(hub)
    victim = at_the_door(hub)
    attacker = copy_of(victim)
    answer = device.get(ask(victim, "/signin/passkey/options"))
    assert victim.send("/signin/passkey", credential=answer).goes_to == "/"
    assert attacker.see("/").goes_to == "/signin"


def test_an_assertion_is_good_once(hub: Hub):
    _, device = with_passkey(hub)
    browser = at_the_door(hub)
    answer = device.get(ask(browser, "/signin/passkey/options"))
    assert browser.send("/signin/passkey", credential=answer).goes_to == "/"
    for again in (browser, at_the_door(hub)):
        again.csrf = again.see("/signin").csrf
        assert again.send("/signin/passkey", credential=answer).status == 401
    fresh = at_the_door(hub)
    ask(fresh, "/signin/passkey/options")  # even where a challenge waits
    assert fresh.send("/signin/passkey", credential=answer).status == 401
    assert fresh.see("/").goes_to == "/signin"


def test_an_assertion_of_one_browser_signs_in_no_other(hub: Hub):
    _, device = with_passkey(hub)
    victim, attacker = at_the_door(hub), at_the_door(hub)
    ask(attacker, "/signin/passkey/options")
    answer = device.get(ask(victim, "/signin/passkey/options"))
    assert attacker.send("/signin/passkey", credential=answer).status == 401
    assert attacker.see("/").goes_to == "/signin"


@pytest.mark.parametrize(
    "lie",
    [
        {"origin": "https://evil.example"},
        {"origin": "https://hub.example.evil.example"},
        {"origin": "http://hub.example"},
        {"rp_id": "evil.example"},
        {"rp_id": "example"},
        {"cross_origin": True},
        {"kind": "webauthn.create"},
    ],
    ids=str,
)
def test_an_assertion_that_another_site_obtained_signs_nobody_in(hub: Hub, lie: dict[str, Any]):
    _, device = with_passkey(hub)
    browser = at_the_door(hub)
    answer = device.get(ask(browser, "/signin/passkey/options"), **lie)
    assert browser.send("/signin/passkey", credential=answer).status == 401
    assert browser.see("/").goes_to == "/signin"


def test_another_person_s_credential_id_opens_nothing(hub: Hub):
    """The attacker signs with their own key and names the victim's credential, or the victim's handle."""
    _, victims = with_passkey(hub, "li")
    attacker, own = with_passkey(hub, "wang")
    handle = victims.keys[0].user_handle
    lies: list[dict[str, Any]] = [
        {"credential_id": victims.keys[0].credential_id},
        {"credential_id": victims.keys[0].credential_id, "user_handle": handle},
        {"user_handle": handle},
    ]
    for lie in lies:
        browser = at_the_door(hub)
        answer = own.get(ask(browser, "/signin/passkey/options"), **lie)
        assert browser.send("/signin/passkey", credential=answer).status == 401
    # Nor does it prove anything in a session of the attacker's, or take the victim's place there.
    answer = victims.get(ask(attacker, "/stepup/passkey/options"))
    assert attacker.send("/stepup/passkey", credential=answer).status == 401
    answer = own.create(ask(attacker, "/security/passkeys/options"), credential_id=victims.keys[0].credential_id)
    assert attacker.send("/security/passkeys", credential=answer).status == 400
    owner = look_up(hub, "SELECT COUNT(DISTINCT subject_id), COUNT(*) FROM passkey")
    assert owner == [(2, 2)]


def test_nobody_removes_somebody_else_s_passkey(hub: Hub):
    with_passkey(hub, "li")
    attacker = visitor(hub, "wang")
    key = look_up(hub, "SELECT credential_hash FROM passkey")[0][0]
    assert attacker.send("/security/passkeys/remove", passkey=key).status == 400
    assert count(hub, "passkey") == {"passkey": 1}


def test_an_answer_to_the_sign_in_is_no_answer_to_a_step_up_or_a_registration(hub: Hub):
    mine, device = with_passkey(hub)
    answer = device.get(ask(mine, "/signin/passkey/options"))
    assert mine.send("/stepup/passkey", credential=answer).status == 401
    assert mine.send("/security/passkeys", credential=answer).status == 400


@pytest.mark.parametrize("address", ELSEWHERE, ids=[repr(one)[:40] for one in ELSEWHERE])
def test_no_address_of_another_site_is_led_to(hub: Hub, address: str):
    sign_up(hub)
    browser = Visitor(hub)
    browser.csrf = browser.see("/signin").csrf
    step = browser.send("/signin", username="li", password=PASSWORD, next=address)
    assert (step.status, step.goes_to) == (303, "/")
    browser.csrf = browser.see("/links").csrf
    assert browser.send("/stepup", password=PASSWORD, next=address).goes_to == "/"
    shown = browser.get("/stepup", params={"next": address}).text
    assert 'name="next" value="/"' in shown
    stranger = Visitor(hub)
    assert 'name="next" value="/"' in stranger.get("/signin", params={"next": address}).text
    assert Visitor(hub).get("/stepup", params={"next": address}).headers["location"] == "/signin"


def test_one_source_guesses_at_many_names_and_is_stopped(hub: Hub):
    sign_up(hub)
    browser = at_the_door(hub)
    for number in range(SOURCE_TRIES):
        step = browser.send("/signin", username=f"name-{number}", password="password1")
        assert "do not fit" in step.text
    for name, password in (("one-more", "password1"), ("li", PASSWORD)):
        assert "Too many tries" in browser.send("/signin", username=name, password=password).text
    # A header that nobody of ours wrote does not make it another source.
    step = browser.send("/signin", username="li", password=PASSWORD, headers={"x-forwarded-for": "203.0.113.9"})
    assert "Too many tries" in step.text


def test_passkeys_that_nobody_has_are_tried_in_vain_and_not_for_ever(hub: Hub):
    _, device = with_passkey(hub)
    browser = at_the_door(hub)
    for _ in range(SOURCE_TRIES):
        assert browser.send("/signin/passkey", credential="{}").status == 401
    answer = device.get(ask(browser, "/signin/passkey/options"))
    step = browser.send("/signin/passkey", credential=answer)
    assert (step.status, "Too many tries" in step.text) == (401, True)


def test_a_name_that_somebody_keeps_blocked_is_still_open_by_passkey(hub: Hub):
    _, device = with_passkey(hub)
    attacker = at_the_door(hub)
    for _ in range(8):
        attacker.send("/signin", username="li", password="wrong password")
    assert "Too many tries" in attacker.send("/signin", username="li", password=PASSWORD).text
    browser = at_the_door(hub)
    answer = device.get(ask(browser, "/signin/passkey/options"))
    assert browser.send("/signin/passkey", credential=answer).goes_to == "/"
