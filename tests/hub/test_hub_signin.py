"""Passkeys, step-up and sessions at the portal's pages."""

import doctest
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import Request
from starlette.routing import Router
from tests_support.authenticator import Authenticator
from tests_support.portal import PASSWORD, Step, Visitor, sign_up, visitor
from tests_support.web import count, look_up

import hub.portal.returning
import hub.portal.source
from consent.stepup import StepUpNeeded
from hub.app import create_app
from hub.context import Hub
from hub.db import writing
from hub.portal.returning import PAGES, safe_return
from hub.portal.source import source_of
from hub.portal.stepup import tell_step_up

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


def wait(browser: Visitor, **passed: float) -> None:
    """Let time pass in one browser's world."""
    at = browser.hub.clock() + timedelta(**passed)
    browser.hub = replace(browser.hub, clock=lambda: at)
    browser.app = create_app(browser.hub)


def ask(browser: Visitor, path: str) -> dict[str, Any]:
    """What the page's script asks; an empty answer is a refusal."""
    answer: dict[str, Any] = browser.send(path).answer.json()
    return answer


def add_passkey(browser: Visitor, device: Authenticator, name: str = "phone") -> Step:
    answer = device.create(ask(browser, "/security/passkeys/options"))
    return browser.send("/security/passkeys", name=name, credential=answer)


def sign_in_by_passkey(browser: Visitor, device: Authenticator, **fields: str) -> Step:
    browser.csrf = browser.see("/signin").csrf
    step = browser.send("/signin/passkey", credential=device.get(ask(browser, "/signin/passkey/options")), **fields)
    if step.status == 303:
        browser.csrf = browser.see("/security").csrf
    return step


def prove_by_password(browser: Visitor, back: str = "/security", password: str = PASSWORD) -> Step:
    step = browser.send("/stepup", password=password, next=back)
    if step.status == 303:
        browser.csrf = browser.see("/security").csrf
    return step


def cookie(browser: Visitor) -> str:
    return dict(browser.cookies)["__Host-tanlian"]


@pytest.fixture
def device() -> Authenticator:
    return Authenticator()


# Passkeys.


def test_a_passkey_is_added_shown_used_without_a_name_and_removed(hub: Hub, device: Authenticator):
    mine = visitor(hub)
    assert "None yet" in mine.see("/security").text
    assert add_passkey(mine, device, "我的手机").goes_to == "/security"
    assert "我的手机" in mine.see("/security").text
    assert "not used yet" in mine.see("/security").text
    other = Visitor(hub)
    assert sign_in_by_passkey(other, device).goes_to == "/"
    assert other.see("/").status == 200
    shown = other.see("/security").text
    assert "last used 2026-11-20 16:00" in shown
    assert 'This browser</strong> · <span lang="zh-CN">通行密钥' in shown
    key = look_up(hub, "SELECT credential_hash FROM passkey")[0][0]
    assert other.send("/security/passkeys/remove", passkey=key).goes_to == "/security"
    assert "None yet" in other.see("/security").text
    refused = sign_in_by_passkey(Visitor(hub), device)
    assert (refused.status, "not registered here" in refused.text) == (401, True)


def test_signing_in_by_passkey_changes_the_session_s_token_and_leads_on(hub: Hub, device: Authenticator):
    add_passkey(visitor(hub), device)
    browser = Visitor(hub)
    browser.see("/signin")
    before = cookie(browser)
    assert sign_in_by_passkey(browser, device, next="/links").goes_to == "/links"
    assert cookie(browser) != before


def test_a_person_without_a_password_keeps_their_last_passkey(hub: Hub, device: Authenticator):
    mine = visitor(hub)
    add_passkey(mine, device)
    with writing(hub.engine) as session:
        session.execute(hub_text("UPDATE person SET password_hash = NULL"))
    keys = [row[0] for row in look_up(hub, "SELECT credential_hash FROM passkey")]
    step = mine.send("/security/passkeys/remove", passkey=keys[0])
    assert (step.status, "only way in" in step.text) == (400, True)
    assert add_passkey(mine, Authenticator(), "second").goes_to == "/security"
    assert mine.send("/security/passkeys/remove", passkey=keys[0]).goes_to == "/security"
    assert count(hub, "passkey") == {"passkey": 1}


def test_a_copied_passkey_is_refused_and_its_owner_sees_it(hub: Hub, device: Authenticator):
    mine = visitor(hub)
    add_passkey(mine, device)
    device.keys[0].count = 9
    sign_in_by_passkey(Visitor(hub), device)
    device.keys[0].count = 2
    step = sign_in_by_passkey(Visitor(hub), device)
    assert (step.status, "may be a copy" in step.text) == (401, True)
    assert "Better remove it" in mine.see("/security").text


def test_an_erased_person_does_not_come_back_by_passkey(hub: Hub, device: Authenticator):
    add_passkey(visitor(hub), device)
    with writing(hub.engine) as session:
        session.execute(hub_text("UPDATE person SET erased_at = :at"), {"at": "2026-11-20 08:00:00.000000+00:00"})
    assert sign_in_by_passkey(Visitor(hub), device).status == 401


def test_where_browsers_give_no_passkeys_the_pages_say_so_and_passwords_work(hub: Hub):
    there = replace(hub, settings=hub.settings.model_copy(update={"issuer": "http://127.0.0.1:8000"}))
    mine = visitor(there)
    assert "data-passkey" not in Visitor(there).see("/signin").text
    page = mine.see("/security")
    assert ("data-passkey" in page.text, "Passkeys need a named address" in page.text) == (False, True)
    assert ask(mine, "/security/passkeys/options") == ask(mine, "/signin/passkey/options") == {}
    for path in ("/security/passkeys", "/signin/passkey", "/stepup/passkey"):
        assert mine.send(path, credential="{}").status == 400
    staff = Visitor(there).see("/staff/signin")
    assert "Passkeys need a named address" in staff.text


def test_the_address_in_the_request_decides_nothing(hub: Hub, device: Authenticator):
    mine = visitor(hub)
    answer = mine.post(
        "/security/passkeys/options", data={"csrf": mine.csrf}, headers={"host": "evil.example"},
    )  # fmt: skip
    assert answer.json()["rp"]["id"] == "hub.example"


# Step-up.


def test_adding_and_removing_a_passkey_needs_a_recent_proof(hub: Hub, device: Authenticator):
    mine = visitor(hub)
    add_passkey(mine, device)
    wait(mine, minutes=6)
    page = mine.see("/security")
    assert ("data-passkey" in page.text, "confirm that it is you" in page.text) == (False, True)
    for path in ("/security/passkeys/options", "/security/passkeys", "/security/passkeys/remove"):
        assert mine.send(path).goes_to == "/stepup?next=%2Fsecurity", path
    assert count(hub, "passkey") == {"passkey": 1}
    assert prove_by_password(mine).goes_to == "/security"
    assert "data-passkey" in mine.see("/security").text
    assert add_passkey(mine, Authenticator(), "second").goes_to == "/security"


def test_a_passkey_is_a_proof_too(hub: Hub, device: Authenticator):
    mine = visitor(hub)
    add_passkey(mine, device)
    wait(mine, minutes=6)
    page = mine.see("/stepup?next=/security")
    assert "data-passkey" in page.text
    before, mine.csrf = cookie(mine), page.csrf
    answer = device.get(ask(mine, "/stepup/passkey/options"))
    assert mine.send("/stepup/passkey", credential=answer, next="/links").goes_to == "/links"
    assert cookie(mine) != before
    assert look_up(hub, "SELECT proof_method FROM web_session WHERE subject_id IS NOT NULL") == [("passkey",)]


def test_a_wrong_password_proves_nothing_and_is_counted_with_the_sign_in_s(hub: Hub):
    mine = visitor(hub)
    wait(mine, minutes=6)
    for _ in range(5):
        step = prove_by_password(mine, password="wrong password")
        assert (step.status, "does not fit" in step.text) == (401, True)
    step = prove_by_password(mine)
    assert (step.status, "Too many tries" in step.text) == (401, True)
    assert "Too many tries" in Visitor(mine.hub).sign_in().text
    assert mine.send("/security/passkeys/remove", passkey="x").goes_to == "/stepup?next=%2Fsecurity"


def test_a_step_up_of_nobody_leads_to_the_sign_in_and_from_there_back(hub: Hub):
    sign_up(hub)
    stranger = Visitor(hub)
    assert stranger.see("/stepup?next=/security").goes_to == "/signin?next=%2Fsecurity"
    page = stranger.see("/signin?next=%2Fsecurity")
    assert page.page.forms[0].values["next"] == "/security"
    stranger.csrf = page.csrf
    step = stranger.send("/signin", username="li", password=PASSWORD, next="/security")
    assert step.goes_to == "/security"
    assert stranger.see("/security").status == 200


def test_the_application_answers_a_missing_proof_by_itself(hub: Hub):
    app = create_app(hub)

    def answer(method: str, path: str, error: StepUpNeeded) -> str:
        query = path.partition("?")[2].encode()
        scope = {"type": "http", "method": method, "path": path.partition("?")[0], "query_string": query,
                 "headers": [], "server": ("hub.example", 443), "scheme": "https"}  # fmt: skip
        return tell_step_up(Request(scope), error).headers["location"]

    assert StepUpNeeded in app.exception_handlers
    assert answer("GET", "/oauth/authorize?client_id=c", StepUpNeeded()) == (
        "/stepup?next=%2Foauth%2Fauthorize%3Fclient_id%3Dc"
    )
    assert answer("POST", "/oauth/authorize", StepUpNeeded(back="/links")) == "/stepup?next=%2Flinks"
    assert answer("POST", "/data/erase", StepUpNeeded()) == "/stepup"
    assert answer("GET", "/no/page/of/ours", StepUpNeeded(back="https://evil.example")) == "/stepup"


# Sessions.


def test_a_session_that_is_not_used_for_an_hour_ends_and_one_that_is_used_lasts(hub: Hub):
    mine, idle = visitor(hub), Visitor(hub)
    idle.sign_in()
    for _ in range(3):
        wait(mine, minutes=50)
        assert mine.see("/").status == 200
    wait(idle, minutes=61)
    assert idle.see("/").goes_to == "/signin"
    patient = Visitor(replace(hub, settings=hub.settings.model_copy(update={"session_idle": timedelta(hours=3)})))
    patient.sign_in()
    wait(patient, minutes=61)
    assert patient.see("/").status == 200


def test_a_person_signs_out_one_browser_all_others_or_all(hub: Hub):
    mine = visitor(hub)
    others = [Visitor(hub) for _ in range(3)]
    for browser in others:
        browser.sign_in()
    stranger = visitor(hub, "wang")
    page = mine.see("/security")
    assert (page.text.count("Another browser"), page.text.count("This browser")) == (3, 1)
    named = [row[0] for row in look_up(hub, "SELECT token_hash FROM web_session WHERE subject_id IS NOT NULL")]
    theirs = next(name for name in named if name not in page.text and name != own_hash(mine))
    assert stranger.see("/").status == 200
    mine.send("/security/sessions/end", session=theirs)
    assert stranger.see("/").status == 200  # another person's cannot be ended
    assert mine.send("/security/sessions/end", session=own_hash(others[0])).goes_to == "/security"
    assert [browser.see("/").status for browser in (mine, *others)] == [200, 303, 200, 200]
    mine.send("/security/sessions/end", session="others")
    assert [browser.see("/").status for browser in (mine, *others)] == [200, 303, 303, 303]
    others[0].sign_in()
    step = mine.send("/security/sessions/end", session="all")
    assert step.goes_to == "/signin"
    assert 'tanlian="";' in step.answer.headers["set-cookie"]
    assert [browser.see("/").status for browser in (mine, others[0])] == [303, 303]
    assert stranger.see("/").status == 200


def own_hash(browser: Visitor) -> str:
    from consent.keyring import token_hash

    return token_hash(cookie(browser))


def hub_text(sql: str) -> Any:
    from sqlalchemy import text

    return text(sql)


def test_over_https_browsers_are_told_to_stay_there(hub: Hub):
    assert Visitor(hub).see("/signin").answer.headers["strict-transport-security"] == "max-age=31536000"
    plain = replace(hub, settings=hub.settings.model_copy(update={"issuer": "http://127.0.0.1:8000"}))
    assert "strict-transport-security" not in Visitor(plain).see("/signin").answer.headers


# Where a request comes from, and where it may lead.


def test_the_examples_hold():
    assert doctest.testmod(hub.portal.returning).failed == 0
    assert doctest.testmod(hub.portal.source).failed == 0


@pytest.mark.parametrize(
    ("proxies", "told", "expected"),
    [
        (0, ["203.0.113.9"], "192.0.2.1"),
        (1, [], "192.0.2.1"),
        (1, ["203.0.113.9"], "203.0.113.9"),
        (1, ["6.6.6.6, 203.0.113.9"], "203.0.113.9"),
        (1, ["6.6.6.6", "203.0.113.9"], "203.0.113.9"),
        (2, ["6.6.6.6, 203.0.113.9, 198.51.100.1"], "203.0.113.9"),
        (2, ["203.0.113.9"], "192.0.2.1"),
        (1, ["not an address"], "unknown"),
        (1, ["2001:db8:1:2:3:4:5:6"], "2001:db8:1:2::/64"),
    ],
)
def test_a_header_is_believed_as_far_as_one_s_own_proxies_wrote_it(proxies: int, told: list[str], expected: str):
    headers = [(b"x-forwarded-for", line.encode()) for line in told]
    request = Request({"type": "http", "headers": headers, "client": ("192.0.2.1", 5)})
    assert source_of(request, trusted_proxies=proxies) == expected


def test_every_page_that_may_be_returned_to_is_there_passes_and_nothing_else_does(hub: Hub):
    routes = [
        route for outer in create_app(hub).routes for route in getattr(outer, "original_router", Router([outer])).routes
    ]
    shown = [route.path for route in routes if "GET" in (getattr(route, "methods", None) or ())]
    for path in PAGES:
        assert any(page == path or (path.endswith("/") and page.startswith(path)) for page in shown), path
        assert safe_return(path) == path
        assert safe_return(f"{path}?a=b%20c") == f"{path}?a=b%20c"
    for path in ("/staff", "/signout", "/linksx", "/oauth/token", "/static/x", "/securityx?a=b", "/%2e%2e/links"):
        assert safe_return(path) == "/"
