"""Attacks on the portal: forged forms, planted sessions, callbacks that belong to another browser, person or platform."""

from collections.abc import Iterator
from datetime import UTC, datetime
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from tests_support.deliveries import join
from tests_support.portal import PASSWORD, Visitor, ask_platform, sign_up, visitor
from tests_support.town import document_of, inhabitant, served_platform
from tests_support.web import count, look_up

from hub.context import Hub
from hub.sandbox.people import CITIC, WECHAT
from hub.sandbox.platforms.citic import CiticCarbon
from hub.sandbox.platforms.wechat import WeChatSports

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
TABLES = ("web_session", "link", "link_attempt", "grant_version", "sync_state", "change_leaf")
FORMS = {
    f"/links/{CITIC}": {},
    f"/links/{CITIC}/decide": {"decision": "approve"},
    f"/links/{CITIC}/confirm": {"decision": "approve"},
    f"/links/{CITIC}/revoke": {},
    f"/links/callback/{WECHAT}": {"code": "c"},
}


@pytest.fixture
def bank(hub: Hub) -> Iterator[Hub]:
    with served_platform(CiticCarbon, CITIC, hub) as (_, origin):
        join(hub, document_of(CITIC, origin=origin))
        join(hub, document_of(WECHAT))
        yield hub


def linked(browser: Visitor) -> Visitor:
    browser.see(back_from_the_bank(browser))
    assert browser.send(f"/links/{CITIC}/confirm", decision="approve").goes_to == "/links"
    return browser


def back_from_the_bank(browser: Visitor, number: int = 1) -> str:
    """Consent at hub and platform; returns the callback that the person's browser is about to open."""
    address = browser.send(f"/links/{CITIC}/decide", decision="approve").goes_to
    assert address is not None
    return ask_platform(address, inhabitant(number))


def test_a_form_without_this_session_s_token_or_from_another_site_changes_nothing(bank: Hub):
    mine, other = linked(visitor(bank, "li")), visitor(bank, "wang")
    before = count(bank, *TABLES)
    forgeries = {
        "no token": ({"csrf": ""}, {}),
        "another session's token": ({"csrf": other.csrf}, {}),
        "half a token": ({"csrf": mine.csrf[:-1]}, {}),
        "a token that is no text": ({"csrf": "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")}, {}),
        "another site": ({}, {"origin": "https://evil.example"}),
        "another port": ({}, {"origin": "https://hub.example:8443"}),
        "another scheme": ({}, {"origin": "http://hub.example"}),
        "a name that begins alike": ({}, {"origin": "https://hub.example.evil.example"}),
        "no site at all": ({}, {"origin": "null"}),
    }
    for path, fields in FORMS.items():
        for name, (changed, headers) in forgeries.items():
            step = mine.send(path, headers=headers, **{**fields, **changed})
            assert (step.status, "own page" in step.text) == (403, True), (path, name)
    for name, (changed, headers) in forgeries.items():
        assert mine.send("/signout", headers=headers, **changed).goes_to == "/", name
    assert count(bank, *TABLES) == before
    assert "Withdraw consent" in mine.see("/links").text  # still signed in, still linked


def test_a_token_in_the_address_or_twice_in_the_form_is_no_token(bank: Hub):
    mine, before = linked(visitor(bank)), count(bank, *TABLES)
    assert mine.post(f"/links/{CITIC}/revoke?csrf={mine.csrf}").status_code == 403
    twice = f"csrf=wrong&csrf={mine.csrf}".encode()
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert mine.post(f"/links/{CITIC}/revoke", content=twice, headers=form).status_code == 403
    assert mine.post(f"/links/{CITIC}/revoke", json={"csrf": mine.csrf}).status_code == 403
    assert count(bank, *TABLES) == before


def test_what_a_form_does_cannot_be_done_by_opening_an_address(bank: Hub):
    mine = linked(visitor(bank))
    before = count(bank, *TABLES)
    for path in [*FORMS, "/signout"]:
        if "callback" not in path:
            assert mine.get(f"{path}?csrf={mine.csrf}&decision=approve").status_code == 405
    assert count(bank, *TABLES) == before


def test_signing_somebody_in_from_another_site_is_refused(hub: Hub):
    """Login CSRF: the victim's browser would go on as the attacker."""
    sign_up(hub, "attacker")
    victim, attacker = Visitor(hub), Visitor(hub)
    attacker.see("/signin")
    victim.csrf = victim.see("/signin").csrf
    stolen = attacker.see("/signin").csrf
    fields = {"username": "attacker", "password": PASSWORD}
    assert victim.send("/signin", **fields, csrf=stolen).status == 403
    assert victim.send("/signin", **fields, headers={"origin": "https://evil.example"}).status == 403
    assert victim.see("/").goes_to == "/signin"
    bare = Visitor(hub)  # no session at all: the form was never opened
    assert bare.send("/signin", **fields, csrf=stolen).status == 400
    assert bare.see("/").goes_to == "/signin"


def test_a_session_planted_before_the_sign_in_is_worth_nothing_after_it(hub: Hub):
    sign_up(hub)
    attacker = Visitor(hub)
    attacker.see("/signin")
    victim = Visitor(hub)
    victim.cookies = attacker.cookies
    assert victim.sign_in().goes_to == "/"
    assert attacker.see("/").goes_to == "/signin"


def test_a_second_browser_cannot_finish_a_linking(bank: Hub):
    mine = visitor(bank, "li")
    back = back_from_the_bank(mine)
    stranger, other = Visitor(bank), visitor(bank, "wang")
    again = Visitor(bank)
    again.sign_in("li")  # the same person, at another browser
    assert stranger.see(back).status == 401
    for browser in (other, again):
        assert browser.see(back).status == 400
        assert browser.send(f"/links/{CITIC}/confirm", decision="approve").status == 400
    assert look_up(bank, "SELECT COUNT(*) FROM link") == [(0,)]
    # Whose linking it is can still finish it.
    assert mine.see(back).status == 200
    assert mine.send(f"/links/{CITIC}/confirm", decision="approve").goes_to == "/links"


def test_a_callback_is_good_once(bank: Hub):
    mine = visitor(bank)
    back = back_from_the_bank(mine)
    assert mine.see(back).status == 200
    assert mine.send(f"/links/{CITIC}/confirm", decision="refuse").goes_to == "/links"
    assert mine.see(back).status == 400
    assert mine.send(f"/links/{CITIC}/confirm", decision="approve").status == 400
    assert look_up(bank, "SELECT COUNT(*) FROM link") == [(0,)]


def test_a_yes_is_good_once_and_for_its_own_platform(bank: Hub):
    mine = visitor(bank)
    mine.see(back_from_the_bank(mine))
    assert mine.send(f"/links/{WECHAT}/confirm", decision="approve").status == 400
    assert mine.send(f"/links/{CITIC}/confirm", decision="approve").goes_to == "/links"
    assert mine.send(f"/links/{CITIC}/confirm", decision="approve").status == 400
    assert look_up(bank, "SELECT COUNT(*) FROM link") == [(1,)]
    assert look_up(bank, "SELECT COUNT(*) FROM grant_current WHERE state = 'active'") == [(1,)]


def test_what_waits_for_a_yes_does_not_outlive_the_session(bank: Hub):
    mine = visitor(bank)
    mine.see(back_from_the_bank(mine))
    mine.send("/signout")
    mine.sign_in()
    assert mine.send(f"/links/{CITIC}/confirm", decision="approve").status == 400
    assert look_up(bank, "SELECT COUNT(*) FROM link") == [(0,)]


CHANGED_ANSWERS: dict[str, dict[str, str | None]] = {
    "no state": {"state": None},
    "another state": {"state": "x" * 43},
    "no issuer": {"iss": None},
    "another issuer": {"iss": "https://evil.example"},
    "no code": {"code": None},
    "an error beside the code": {"error": "access_denied"},
    "another code": {"code": "made.up"},
}


def test_an_answer_of_the_platform_that_was_changed_on_the_way_links_nothing(bank: Hub):
    mine = visitor(bank)
    for what, changes in CHANGED_ANSWERS.items():
        path, _, query = back_from_the_bank(mine).partition("?")
        answer = {name: value for name, value in {**dict(parse_qsl(query)), **changes}.items() if value is not None}
        step = mine.see(f"{path}?{urlencode(answer)}")
        assert (step.status, "Nothing was linked" in step.text) == (400, True), what
        assert mine.send(f"/links/{CITIC}/confirm", decision="approve").status == 400, what
    assert look_up(bank, "SELECT COUNT(*) FROM link") == [(0,)]


def test_a_parameter_that_comes_twice_spoils_the_answer(bank: Hub):
    mine = visitor(bank)
    back = back_from_the_bank(mine)
    code = parse_qs(urlsplit(back).query)["code"][0]
    assert mine.see(f"{back}&{urlencode({'code': code})}").status == 400
    assert look_up(bank, "SELECT COUNT(*) FROM link") == [(0,)]


def test_an_answer_of_one_platform_is_nothing_at_another_one_s_address(bank: Hub):
    join(bank, document_of(CITIC, origin="http://127.0.0.1:9") | {"id": "other-bank"})
    mine = visitor(bank)
    query = back_from_the_bank(mine).partition("?")[2]
    for platform in ("other-bank", WECHAT):
        assert mine.see(f"/links/callback/{platform}?{query}").status == 400
    assert mine.send("/links/other-bank/confirm", decision="approve").status == 400
    assert look_up(bank, "SELECT COUNT(*) FROM link") == [(0,)]


def test_nobody_withdraws_for_somebody_else(bank: Hub):
    mine, other = linked(visitor(bank, "li")), visitor(bank, "wang")
    assert other.send(f"/links/{CITIC}/revoke").goes_to == "/links"
    assert look_up(bank, "SELECT state FROM link") == [("active",)]
    assert mine.send(f"/links/{CITIC}/revoke").goes_to == "/links"
    assert look_up(bank, "SELECT state FROM link") == [("revoked",)]


def test_a_code_lured_onto_another_phone_s_account_is_shown_before_it_is_linked(hub: Hub):
    """The attacker's code in the victim's form: the last question names the attacker's account, a no ends it."""
    with served_platform(WeChatSports, WECHAT, hub) as (platform, origin):
        join(hub, document_of(WECHAT, origin=origin))
        victim = visitor(hub)
        step = victim.send(f"/links/callback/{WECHAT}", code=platform.issue_code("attackers-openid"))
        assert "<strong>attackers-openid</strong>" in step.text
        assert victim.send(f"/links/{WECHAT}/confirm", decision="refuse").goes_to == "/links"
    assert look_up(hub, "SELECT COUNT(*) FROM link") == [(0,)]


def test_the_session_and_what_it_keeps_cannot_be_read_in_the_database(bank: Hub):
    mine = visitor(bank)
    mine.see(back_from_the_bank(mine))
    rows = look_up(bank, "SELECT token_hash, state FROM web_session WHERE subject_id IS NOT NULL")
    assert len(rows) == 1
    token = dict(mine.cookies)["__Host-tanlian"]
    told = str(rows[0])
    assert "waiting" in told
    assert token not in told
    assert inhabitant(1).accounts[CITIC] not in told
    assert "access_token" not in told
