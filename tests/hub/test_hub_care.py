"""People in my care: a child asks, the guardian decides, the child brings the account; at 14 the child decides."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from tests_support.deliveries import BEIJING, join
from tests_support.portal import PASSWORD, Step, Visitor, ask_platform, sign_up
from tests_support.town import document_of, inhabitant, served_platform
from tests_support.web import count, look_up

from consent.metadata import server_jwks
from consent.notices import current_notice
from consent.people import add_person
from consent.receipts import load_receipts, verify_receipt
from hub.audit import audit, format_report
from hub.context import Hub
from hub.db import reading, writing
from hub.participants import Status, set_status
from hub.sandbox.people import CITIC
from hub.sandbox.platforms.citic import CiticCarbon

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
BIRTHDAY = date(2027, 5, 1)
VERSIONS = "SELECT version, state, reason, assurance FROM grant_version ORDER BY created_at, grant_id, version"


@pytest.fixture
def home(hub: Hub) -> Iterator[Hub]:
    """A bank, and a family: a guardian and a child of 13."""
    with served_platform(CiticCarbon, CITIC, hub) as (_, origin):
        join(hub, document_of(CITIC, origin=origin))
        sign_up(hub, "parent")
        with writing(hub.engine) as session:
            add_person(
                session, hub.ring, username="child", password=PASSWORD, display_name="child", now=NOW,
                born=BIRTHDAY.replace(year=2013), guardian="parent",
            )  # fmt: skip
        yield hub


def browser_of(hub: Hub, name: str) -> Visitor:
    browser = Visitor(hub)
    assert browser.sign_in(name).goes_to == "/"
    return browser


def later(hub: Hub, name: str, **passed: float) -> Visitor:
    return browser_of(replace(hub, clock=lambda: NOW + timedelta(**passed)), name)


def bring_account(child: Visitor) -> Step:
    """Go on where the guardian's yes is there."""
    assert "Your guardian allowed this" in child.send(f"/links/{CITIC}").text
    address = child.send(f"/links/{CITIC}/decide", decision="approve").goes_to
    assert address is not None
    assert child.see(ask_platform(address, inhabitant(1))).status == 200
    return child.send(f"/links/{CITIC}/confirm", decision="approve")


def allow(guardian: Visitor, **said: str) -> Step:
    return guardian.send(f"/care/{CITIC}/decide", **({"child": "child", "decision": "approve"} | said))


def claims_of_child(hub: Hub) -> list[dict[str, dict[str, str]]]:
    ((subject,),) = look_up(hub, "SELECT subject_id FROM person WHERE username = 'child'")
    with reading(hub.engine) as session:
        found = load_receipts(session, hub.ring, subject_id=subject)
    return [verify_receipt(one.jws, server_jwks(hub.ring)) for one in found]


def test_a_child_asks_the_guardian_allows_and_the_child_brings_the_account(home: Hub) -> None:
    child, guardian = browser_of(home, "child"), browser_of(home, "parent")
    step = child.send(f"/links/{CITIC}")
    assert (step.status, "your guardian has to allow this first" in step.text) == (403, True)
    child.send(f"/links/{CITIC}")  # asking twice is asking once
    assert look_up(home, VERSIONS) == [(1, "requested", "requested", "none")]
    assert "Your guardian was asked on 2026-11-20" in child.see("/links").text
    assert "You decide for 1 child".lower() in guardian.see("/").text.lower()
    assert "Asks for your yes." in guardian.see("/care").text
    question = guardian.send(f"/care/{CITIC}", child="child")
    assert "child is under 14, so you decide as the guardian" in question.text
    assert " checked" not in question.text
    assert allow(guardian).goes_to == "/care"
    assert look_up(home, VERSIONS) == [(1, "requested", "requested", "none"), (2, "active", "given", "guardian")]
    assert count(home, "link") == {"link": 0}
    assert bring_account(child).goes_to == "/links"
    owner = look_up(home, "SELECT p.username, l.state FROM link l JOIN person p ON p.subject_id = l.subject_id")
    assert owner == [("child", "active")]
    (receipt,) = claims_of_child(home)
    assert receipt["event"]["assurance"] == "guardian"
    assert receipt["pii_processing"]["lawful_basis"] == "guardian_consent"
    assert receipt["pii_processing"]["privacy_notice"]["sha256"] == current_notice("care", "en").sha256  # type: ignore[index]
    assert audit(home).holds, format_report(audit(home))


def test_no_way_of_a_child_alone_leads_to_a_grant_in_force(home: Hub) -> None:
    child = browser_of(home, "child")
    for step in (
        child.send(f"/links/{CITIC}/decide", decision="approve"),
        child.send(f"/care/{CITIC}/decide", decision="approve", child="child"),
        child.send(f"/links/{CITIC}/confirm", decision="approve"),
    ):
        assert step.status in (400, 403, 404)
    assert look_up(home, "SELECT COUNT(*) FROM grant_version WHERE state = 'active'") == [(0,)]
    assert count(home, "link", "link_attempt") == {"link": 0, "link_attempt": 0}


def test_a_guardian_s_yes_that_was_taken_back_on_the_way_links_nothing(home: Hub) -> None:
    child, guardian = browser_of(home, "child"), browser_of(home, "parent")
    allow(guardian)
    address = child.send(f"/links/{CITIC}/decide", decision="approve").goes_to
    assert address is not None
    child.see(ask_platform(address, inhabitant(1)))
    assert guardian.send(f"/care/{CITIC}/withdraw", child="child").goes_to == "/care"
    assert child.send(f"/links/{CITIC}/confirm", decision="approve").status == 403
    assert count(home, "link") == {"link": 0}


def test_guardian_and_child_can_both_withdraw_and_a_no_is_on_record(home: Hub) -> None:
    child, guardian = browser_of(home, "child"), browser_of(home, "parent")
    assert allow(guardian, decision="refuse").goes_to == "/care"
    assert "Refused on 2026-11-20." in guardian.see("/care").text
    assert allow(guardian).goes_to == "/care"
    bring_account(child)
    assert child.send(f"/links/{CITIC}/revoke").goes_to == "/links"
    allow(guardian)
    bring_account(child)
    assert guardian.send(f"/care/{CITIC}/withdraw", child="child").goes_to == "/care"
    states = [state for _, state, _, _ in look_up(home, VERSIONS)]
    assert (states.count("active"), states.count("revoked"), states.count("refused")) == (2, 2, 1)
    assert look_up(home, "SELECT DISTINCT state FROM grant_current ORDER BY state") == [("refused",), ("revoked",)]
    assert look_up(home, "SELECT DISTINCT state FROM link") == [("revoked",)]
    assert len(claims_of_child(home)) == 5


def test_what_the_guardian_does_not_tick_is_not_allowed(home: Hub) -> None:
    guardian = browser_of(home, "parent")
    allow(guardian, sensitive_whereabouts="")
    ((behaviours, agreed),) = look_up(home, "SELECT behaviours, sensitive FROM grant_version WHERE state = 'active'")
    assert "MOB-" not in behaviours
    assert agreed == '["financial_account"]'
    allow(guardian, sensitive_financial_account="")  # decided anew: the newer yes holds
    latest = look_up(home, "SELECT reason, sensitive FROM grant_version ORDER BY version DESC LIMIT 1")
    assert latest == [("renewed", '["whereabouts"]')]


def test_only_the_guardian_is_asked_and_only_about_their_own(home: Hub) -> None:
    sign_up(home, "stranger")
    stranger, guardian = browser_of(home, "stranger"), browser_of(home, "parent")
    for step in ("", "/decide", "/withdraw"):
        answer = stranger.send(f"/care/{CITIC}{step}", child="child", decision="approve")
        assert (answer.status, "Nobody of that name" in answer.text) == (404, True)
        assert guardian.send(f"/care/{CITIC}{step}", child="stranger", decision="approve").status == 404
        assert guardian.send("/care/nobody" + step, child="child", decision="approve").status == 404
        assert guardian.send(f"/care/{CITIC}{step}", child="child", csrf="forged").status == 403
        assert Visitor(home).send(f"/care/{CITIC}{step}", child="child").goes_to == "/signin?next=%2Fcare"
    assert "Nobody under 14" in stranger.see("/care").text
    assert Visitor(home).see("/care").goes_to == "/signin"
    assert count(home, "grant_version") == {"grant_version": 0}


def test_at_fourteen_nothing_lapses_the_guardian_steps_back_and_the_child_is_asked_to_confirm(home: Hub) -> None:
    child, guardian = browser_of(home, "child"), browser_of(home, "parent")
    allow(guardian)
    bring_account(child)
    ((grant,),) = look_up(home, "SELECT grant_id FROM grant_current")
    assert child.send(f"/consents/{grant}/renew").status == 403
    days = (datetime(2027, 4, 30, 16, tzinfo=UTC) - NOW) / timedelta(days=1)
    assert "You are 14 now" not in later(home, "child", days=days, seconds=-1).see("/consents").text
    child, guardian = later(home, "child", days=days), later(home, "parent", days=days)
    assert look_up(home, "SELECT state FROM grant_current") == [("active",)]
    assert "Nobody under 14" in guardian.see("/care").text
    assert guardian.send(f"/care/{CITIC}/withdraw", child="child").status == 404
    text = child.see("/consents").text
    assert "You are 14 now" in text
    assert re.search(r"<button>Confirm</button>", text)
    assert "Renew your consent" in child.send(f"/consents/{grant}/renew").text
    assert child.send(f"/consents/{grant}/renewal", decision="approve").goes_to == "/consents"
    assert "You are 14 now" not in child.see("/consents").text
    assert look_up(home, VERSIONS)[-1] == (3, "active", "renewed", "password")
    assert look_up(home, "SELECT state FROM link") == [("active",)]
    join(child.hub, BEIJING)
    assert child.send("/links/beijing-green-life").status == 200  # from now on like anybody
    assert audit(child.hub).holds


def test_a_suspended_platform_takes_no_yes_and_every_withdrawal(home: Hub) -> None:
    guardian = browser_of(home, "parent")
    allow(guardian)
    with writing(home.engine) as session:
        set_status(session, CITIC, Status.SUSPENDED, NOW)
    assert allow(guardian).status == 409
    assert guardian.send(f"/care/{CITIC}/withdraw", child="child").goes_to == "/care"
    assert look_up(home, "SELECT state FROM grant_current") == [("revoked",)]


def test_the_address_of_a_page_never_names_the_child(home: Hub) -> None:
    text = browser_of(home, "parent").see("/care").text
    assert 'value="child"' in text
    assert not re.search(r'(?:href|action)="[^"]*child', text)
