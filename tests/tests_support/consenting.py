"""What tests of consents share: a bank to link, and the grants and receipts that are left behind."""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from tests_support.deliveries import join
from tests_support.portal import Step, Visitor, ask_platform
from tests_support.town import document_of, inhabitant, served_platform
from tests_support.web import look_up

from consent.metadata import server_jwks
from consent.receipts import load_receipts, verify_receipt
from hub.app import create_app
from hub.context import Hub
from hub.db import reading
from hub.sandbox.people import CITIC
from hub.sandbox.platforms.citic import CiticCarbon

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
BOXES = re.compile(r'<input type="checkbox" name="(\w+)" value="(\w+)"( checked)?>')


def later(browser: Visitor, **passed: float) -> Visitor:
    """The same browser, after a while; signed in again, because a session ends sooner."""
    there = replace(browser.hub, clock=lambda: NOW + timedelta(**passed))
    browser.hub, browser.app = there, create_app(there)
    browser.cookies.clear()
    assert browser.sign_in().goes_to == "/"
    return browser


def terms_of(hub: Hub) -> list[tuple[str, list[str], list[str]]]:
    """State, behaviours and agreed classes of every grant at its latest version, oldest first."""
    rows = look_up(
        hub,
        "SELECT v.state, v.behaviours, v.sensitive FROM grant_version v JOIN grant_current c ON c.grant_id = v.grant_id "
        "AND c.version = v.version ORDER BY v.created_at, v.grant_id",
    )
    return [(state, json.loads(behaviours), json.loads(agreed)) for state, behaviours, agreed in rows]


def receipts_of(hub: Hub, name: str = "li") -> list[dict[str, Any]]:
    ((subject,),) = look_up(hub, "SELECT subject_id FROM person WHERE username = :n", n=name)
    with reading(hub.engine) as session:
        found = load_receipts(session, hub.ring, subject_id=subject)
    return [verify_receipt(one.jws, server_jwks(hub.ring)) for one in found]


def states_of_receipts(hub: Hub) -> list[str]:
    return [one["event"]["event_state"] for one in receipts_of(hub)]


@contextmanager
def bank_of(hub: Hub) -> Iterator[Hub]:
    """The hub with the simulated bank served beside it."""
    with served_platform(CiticCarbon, CITIC, hub) as (_, origin):
        join(hub, document_of(CITIC, origin=origin))
        yield hub


def link_bank(browser: Visitor, ticks: dict[str, str] | None = None) -> Step:
    address = browser.send(f"/links/{CITIC}/decide", decision="approve", **(ticks or {})).goes_to
    assert address is not None
    assert browser.see(ask_platform(address, inhabitant(1))).status == 200
    return browser.send(f"/links/{CITIC}/confirm", decision="approve")


def signed_in_again(hub: Hub, name: str = "li") -> Visitor:
    browser = Visitor(hub)
    assert browser.sign_in(name).goes_to == "/"
    return browser
