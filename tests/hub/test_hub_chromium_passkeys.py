"""Passkeys in a real browser: registered, used to sign in and to step up, by people and by staff."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests_support.chromium import Tab, chromium
from tests_support.portal import PASSWORD, sign_up
from tests_support.staff import invite
from tests_support.web import free_port, look_up, served

from hub.app import create_app
from hub.context import Hub

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
PASSKEY = "form[data-passkey] button"


class Clock:
    """The hub's time, which the test moves."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def there(hub: Hub, clock: Clock) -> Iterator[Hub]:
    """The hub on a port of this machine, under the one name that browsers trust without TLS."""
    with free_port() as (bound, address):
        issuer = address.replace("127.0.0.1", "localhost")
        running = replace(hub, clock=clock, settings=hub.settings.model_copy(update={"issuer": issuer}))
        with served(create_app(running), bound):
            yield running


@pytest.fixture
def tab() -> Iterator[Tab]:
    with chromium() as opened:
        yield opened


def sign_in_by_password(tab: Tab, home: str) -> None:
    tab.open(f"{home}/signin")
    tab.type("input[name=username]", "li")
    tab.type("input[name=password]", PASSWORD)
    tab.press("form[action='/signin'] button")
    tab.wait_for_next_page()
    assert tab.path == "/"


def test_a_person_registers_a_passkey_and_signs_in_and_steps_up_with_it(there: Hub, clock: Clock, tab: Tab):
    home = there.settings.issuer
    sign_up(there)
    tab.add_device()
    sign_in_by_password(tab, home)
    tab.open(f"{home}/security")
    tab.type("input[name=name]", "我的电脑")
    tab.press(PASSKEY)
    tab.wait_for_next_page()
    assert "我的电脑" in tab.text, tab.text
    tab.press("form[action='/signout'] button")
    tab.wait_for_next_page()
    assert tab.path == "/signin"
    tab.press(PASSKEY)  # no name, no password
    tab.wait_for_next_page()
    assert tab.path == "/", tab.text
    clock.now += timedelta(minutes=6)
    tab.open(f"{home}/security")
    assert "confirm that it is you" in tab.text
    tab.press("form[action='/stepup'] button")
    tab.wait_for_next_page()
    assert tab.path == "/stepup?next=%2Fsecurity"
    tab.press(PASSKEY)
    tab.wait_for_next_page()
    assert tab.path == "/security"
    tab.press("form[action='/security/passkeys/remove'] button")
    tab.wait_for_next_page()
    assert "None yet" in tab.text
    assert look_up(there, "SELECT COUNT(*) FROM passkey") == [(0,)]


def test_a_device_without_a_key_for_this_hub_is_told_about_on_the_page(there: Hub, tab: Tab):
    tab.add_device()
    tab.open(f"{there.settings.issuer}/signin")
    tab.run(f"document.querySelector({PASSKEY!r}).click()")
    tab.wait_until("!document.querySelector('[data-problem]').hidden")
    assert "not finished" in tab.text
    assert tab.path == "/signin"


def test_a_member_of_staff_enrols_by_the_link_and_signs_in(there: Hub, tab: Tab):
    home, token = there.settings.issuer, invite(there)
    tab.add_device()
    tab.open(f"{home}/staff/enrol?token={token}")
    assert "chen" in tab.text
    tab.press(PASSKEY)
    tab.wait_for_next_page()
    assert tab.path == "/staff/signin", tab.text
    tab.press(PASSKEY)
    tab.wait_for_next_page()
    assert tab.path == "/staff", tab.text
    assert "signed in" in tab.text
    tab.open(f"{home}/staff/operation")
    assert "links in force" in tab.text
    tab.open(f"{home}/staff/enrol?token={token}")
    assert "no longer works" in tab.text


def test_without_javascript_a_person_signs_in_and_proves_by_password(there: Hub, clock: Clock, tab: Tab):
    home = there.settings.issuer
    sign_up(there)
    tab.call("Emulation.setScriptExecutionDisabled", value=True)
    tab.open(f"{home}/signin")
    assert "Sign in with a passkey" not in tab.text
    sign_in_by_password(tab, home)
    clock.now += timedelta(minutes=6)
    tab.open(f"{home}/stepup?next=/security")
    tab.type("input[name=password]", PASSWORD)
    tab.press("form[action='/stepup'] button")
    tab.wait_for_next_page()
    assert tab.path == "/security"
    assert "needs a browser with JavaScript" in tab.text
