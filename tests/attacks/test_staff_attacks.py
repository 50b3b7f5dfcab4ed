"""Attacks on and by staff: links used twice, late or by another; rights of another role; people at the staff's door."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from tests_support.authenticator import Authenticator
from tests_support.deliveries import BEIJING, join
from tests_support.portal import Visitor, visitor
from tests_support.staff import StaffVisitor, invite, staff_visitor
from tests_support.web import count, look_up

from hub.app import create_app
from hub.context import Hub
from hub.staff.rights import RIGHTS, Right, Role

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
PAGES = {
    "/staff": Right.SEE_OWN, "/staff/operation": Right.SEE_OPERATION, "/staff/log": Right.SEE_LOG,
    "/staff/exchange": Right.SEE_LOG,
}  # fmt: skip


def test_a_link_is_good_once(hub: Hub):
    token = invite(hub)
    first, second = StaffVisitor(hub), StaffVisitor(hub)
    assert first.enrol(token).goes_to == "/staff/signin"
    assert second.enrol(token).status == 410
    second.csrf = second.see("/staff/signin").csrf
    assert second.ask("/staff/enrol/options", token=token) == {}
    assert second.send("/staff/enrol", token=token, credential="{}").status == 410
    assert count(hub, "passkey") == {"passkey": 1}


def test_of_two_browsers_that_opened_one_link_only_the_first_to_finish_is_enrolled(hub: Hub):
    token = invite(hub)
    browsers = [StaffVisitor(hub) for _ in range(2)]
    answers = []
    for browser in browsers:
        browser.csrf = browser.see(f"/staff/enrol?token={token}").csrf
        answers.append(browser.device.create(browser.ask("/staff/enrol/options", token=token)))
    steps = [
        browser.send("/staff/enrol", token=token, credential=a) for browser, a in zip(browsers, answers, strict=True)
    ]
    assert [step.status for step in steps] == [303, 410]
    assert count(hub, "passkey") == {"passkey": 1}


def test_a_link_is_worth_nothing_after_a_day(hub: Hub):
    token = invite(hub)
    browser = StaffVisitor(hub)
    browser.csrf = browser.see(f"/staff/enrol?token={token}").csrf
    late = replace(hub, clock=lambda: NOW + timedelta(hours=24))
    browser.hub, browser.app = late, create_app(late)
    browser.csrf = browser.see("/staff/signin").csrf
    assert browser.see(f"/staff/enrol?token={token}").status == 410
    assert browser.ask("/staff/enrol/options", token=token) == {}
    assert browser.send("/staff/enrol", token=token, credential="{}").status == 410


def test_a_guessed_link_is_no_link(hub: Hub):
    invite(hub)
    for token in ("", "x" * 43, "%00"):
        assert Visitor(hub).see(f"/staff/enrol?token={token}").status == 410


def test_an_answer_to_one_link_s_challenge_enrols_nobody_under_another_link(hub: Hub):
    """A regulator's invitation must not become an operator's passkey."""
    join(hub, BEIJING)
    low, high = invite(hub, "low", Role.PLATFORM), invite(hub, "high", Role.OPERATOR)
    browser = StaffVisitor(hub)
    browser.csrf = browser.see(f"/staff/enrol?token={low}").csrf
    answer = browser.device.create(browser.ask("/staff/enrol/options", token=low))
    assert browser.send("/staff/enrol", token=high, credential=answer).status == 400
    assert count(hub, "passkey") == {"passkey": 0}
    assert look_up(hub, "SELECT COUNT(*) FROM staff_enrolment WHERE used_at IS NULL") == [(2,)]


def test_a_member_who_is_signed_in_cannot_use_another_one_s_link(hub: Hub):
    browser = staff_visitor(hub)
    token = invite(hub, "other")
    assert browser.see(f"/staff/enrol?token={token}").status == 409
    assert browser.ask("/staff/enrol/options", token=token) == {}
    assert browser.send("/staff/enrol", token=token, credential="{}").status == 409


def test_a_link_in_a_preview_or_in_another_site_s_form_enrols_nobody(hub: Hub):
    token = invite(hub)
    browser = StaffVisitor(hub)
    assert browser.get(f"/staff/enrol?token={token}").status_code == 200
    browser.csrf = browser.see(f"/staff/enrol?token={token}").csrf
    answer = browser.device.create(browser.ask("/staff/enrol/options", token=token))
    evil = {"origin": "https://evil.example"}
    assert browser.send("/staff/enrol", token=token, credential=answer, headers=evil).status == 403
    assert browser.send("/staff/enrol", token=token, credential=answer, csrf="x").status == 403
    assert count(hub, "passkey") == {"passkey": 0}
    assert browser.send("/staff/enrol", token=token, credential=answer).goes_to == "/staff/signin"


@pytest.mark.parametrize("role", Role)
def test_every_page_of_staff_opens_to_the_roles_that_have_its_right_and_refusals_are_written_down(hub: Hub, role: Role):
    join(hub, BEIJING)
    browser = staff_visitor(hub, role)
    refused = 0
    for path, right in PAGES.items():
        allowed = right in RIGHTS[role]
        assert browser.see(path).status == (200 if allowed else 403), path
        refused += not allowed
    rows = look_up(hub, "SELECT ids FROM staff_action WHERE what = 'staff.refused'")
    assert rows == [('{"refusal": "no_right"}',)] * refused
    link = 'href="/staff/operation"' in browser.see("/staff").text
    assert link == (Right.SEE_OPERATION in RIGHTS[role])


def test_every_page_of_staff_is_in_the_matrix(hub: Hub):
    """A page that somebody adds has to be added here, with its right."""
    app = create_app(hub)
    found = set()
    for outer in app.routes:
        for route in getattr(getattr(outer, "original_router", None), "routes", [outer]):
            path = getattr(route, "path", "")
            if path.startswith("/staff") and "GET" in getattr(route, "methods", ()):
                found.add(path)
    assert found == {*PAGES, "/staff/signin", "/staff/enrol"}


def test_nobody_gets_in_without_signing_in_nor_with_a_person_s_session(hub: Hub):
    person = visitor(hub)
    for browser in (Visitor(hub), person):
        for path in PAGES:
            assert browser.see(path).goes_to == "/staff/signin"
    token = dict(person.cookies)["__Host-tanlian"]
    person.cookies.set("__Host-tanlian-staff", token, domain="hub.example")
    assert person.see("/staff").goes_to == "/staff/signin"


def test_a_person_s_passkey_opens_no_staff_page_and_staff_s_no_account(hub: Hub):
    person, device = visitor(hub), Authenticator()
    answer = device.create(person.send("/security/passkeys/options").answer.json())
    assert person.send("/security/passkeys", credential=answer).goes_to == "/security"
    intruder = StaffVisitor(hub)
    intruder.device = device
    assert intruder.sign_in_as_staff().status == 401
    staff = staff_visitor(hub)
    staff.csrf = staff.see("/signin").csrf
    answer = staff.device.get(staff.send("/signin/passkey/options").answer.json())
    assert staff.send("/signin/passkey", credential=answer).status == 401
    assert staff.see("/").goes_to == "/signin"


def test_staff_have_no_password_to_guess(hub: Hub):
    staff_visitor(hub, name="chen")
    browser = Visitor(hub)
    browser.csrf = browser.see("/signin").csrf
    assert browser.send("/signin", username="chen", password="").status == 401
    assert not any(form.has("password") for form in browser.see("/staff/signin").page.forms)
    assert not [row for row in look_up(hub, "SELECT * FROM staff") if "argon2" in str(row)]


def test_a_staff_session_planted_before_the_sign_in_is_worth_nothing_after_it(hub: Hub):
    browser = StaffVisitor(hub)
    browser.enrol(invite(hub))
    browser.see("/staff/signin")
    attacker = Visitor(hub)
    attacker.cookies.update(dict(browser.cookies))
    assert browser.sign_in_as_staff().goes_to == "/staff"
    assert attacker.see("/staff").goes_to == "/staff/signin"
