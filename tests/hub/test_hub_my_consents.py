"""My consents: what the page says, receipts, renewal, and a way out as short as the way in."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any

import pytest
from tests_support.consenting import (
    BOXES,
    NOW,
    bank_of,
    later,
    link_bank,
    receipts_of,
    signed_in_again,
    states_of_receipts,
    terms_of,
)
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import link_person
from tests_support.portal import Visitor, give_password, sign_up, visitor
from tests_support.town import document_of, inhabitant, served_hub, served_platform
from tests_support.web import Caller, count, look_up

from consent.notices import current_notice
from consent.receipts import verify_receipt
from consent.terms import Sensitive
from hub.audit import audit, format_report
from hub.context import Hub
from hub.pipeline import take_delivery
from hub.portal.my_consents import (
    ASSURANCES,
    CHANGES,
    FREQUENCIES,
    PURPOSES,
    RENEW_WITHIN,
    SENSITIVE,
    STATES,
)
from hub.sandbox.browser import Browser, Persona, link_platform
from hub.sandbox.browser import sign_in as sign_in_at
from hub.sandbox.people import BEIJING as CITY
from hub.sandbox.people import CITIC
from hub.sandbox.platforms.beijing import BeijingGreenLife
from hub.worker import Worker


@pytest.fixture
def bank(hub: Hub) -> Iterator[Hub]:
    with bank_of(hub):
        yield hub


# The page.


def test_my_consents_says_everything_about_each_and_is_two_clicks_from_home(hub: Hub) -> None:
    city = join(hub, BEIJING)
    link_person(hub, "li", {"beijing-green-life": "bj-1"}, set(BEIJING["behaviours"]), NOW)
    give_password(hub, "li")
    take_delivery(hub, city, delivery("d1", act("1"), act("2")), now=NOW)
    browser = signed_in_again(hub)
    assert 'href="/consents"' in browser.see("/").text  # one click
    text = unescape(browser.see("/consents").text)
    for words in (
        "Tanlian 碳联", "北京 Beijing", "allowed", "fetch or receive records, decide what counts, credit grams",
        "Bike", "trips and charging", "2026-08-22 until 2027-11-20", "as records appear",
        "2 records, the last at 2026-11-20 16:00",
        "2026-11-20 16:00, recorded without a proof", "History and receipts (2)", "Withdraw it now", "What stops, at once",
        "What stays, and why", "entries of the ledger are never edited",
    ):  # fmt: skip
        assert words.lower() in text.lower(), words
    assert "Never asked" not in text


def test_every_word_of_a_consent_has_one_in_the_dictionary() -> None:
    from consent.grants import GrantState
    from consent.terms import Assurance, Frequency, Purpose

    kinds = {Purpose: PURPOSES, GrantState: STATES, Sensitive: SENSITIVE, Frequency: FREQUENCIES, Assurance: ASSURANCES}
    assert {kind: set(words) for kind, words in kinds.items()} == {kind: set(kind) for kind in kinds}
    assert all(CHANGES.values())


def test_nobody_sees_takes_or_ends_another_s(bank: Hub) -> None:
    mine, other = visitor(bank), visitor(bank, "wang")
    link_bank(mine)
    ((grant,),) = look_up(bank, "SELECT grant_id FROM grant_current")
    ((receipt,),) = look_up(bank, "SELECT receipt_id FROM receipt")
    assert grant not in other.see("/consents").text
    assert other.see(f"/receipts/{receipt}").status == 404
    for step in ("withdraw", "renew", "renewal"):
        assert other.send(f"/consents/{grant}/{step}", decision="approve").status in (404, 303)
        stranger = Visitor(bank)
        assert stranger.send(f"/consents/{grant}/{step}", decision="approve").goes_to == "/signin"
        assert mine.send(f"/consents/{grant}/{step}", csrf="forged", decision="approve").status == 403
    assert Visitor(bank).see(f"/receipts/{receipt}").goes_to == "/signin"
    assert [state for state, _, _ in terms_of(bank)] == ["active"]


def test_a_receipt_is_a_file_that_verifies_with_the_published_keys_and_whose_digest_is_in_the_log(bank: Hub) -> None:
    browser = visitor(bank)
    link_bank(browser)
    browser.send(f"/links/{CITIC}/revoke")
    text = browser.see("/consents").text
    paths = re.findall(r'href="(/receipts/[\w-]+)"', text)
    assert len(paths) == 2
    keys = Caller(bank).get("/oauth/jwks").json()
    leaves = b"".join(bytes(data) for (data,) in look_up(bank, "SELECT data FROM log_body"))
    for path in paths:
        answer = browser.get(path)
        assert answer.headers["content-type"] == "application/jwt"
        assert re.fullmatch(
            r'attachment; filename="tanlian-receipt-20261120-[\w-]{8}\.jwt"', answer.headers["content-disposition"]
        )
        claims = verify_receipt(answer.text, keys)
        ((digest,),) = look_up(bank, "SELECT digest FROM receipt WHERE receipt_id = :r", r=claims["jti"])
        assert bytes(digest).hex().encode() in leaves
    assert states_of_receipts(bank) == ["given", "withdrawn"]


# The way out.


def test_withdrawing_takes_no_more_requests_and_no_more_clicks_than_giving(hub: Hub) -> None:
    """Counted from the page of links to its end, in a browser that follows forms as a person would."""
    person = inhabitant(1)
    with served_hub(hub) as there, served_platform(BeijingGreenLife, CITY, there) as (_, origin):
        join(there, document_of(CITY, origin=origin))
        sign_up(there, person.username, person.password)
        home = there.settings.issuer
        persona = Persona(username=person.username, hub_password=person.password, platform_password=person.password)
        with Counting() as browser:
            sign_in_at(browser, home, persona)
            browser.submitted = 0
            link_platform(browser, home, CITY, persona)
            to_give, browser.submitted = browser.submitted, 0
            page = browser.open(f"{home}/consents")
            form = next(one for one in page.forms if one.action.endswith("/withdraw"))
            assert not form.fillable  # nothing to fill in, no reason to give
            after = browser.submit(page, form)
            to_withdraw = browser.submitted
        assert (after.status, after.path) == (200, "/consents")
        assert [state for state, _, _ in terms_of(there)] == ["revoked"]
        assert to_withdraw == 1
        assert to_withdraw <= to_give


class Counting(Browser):
    """Counts the forms that the person sends."""

    submitted = 0

    def submit(self, *args: Any, **named: Any) -> Any:
        self.submitted += 1
        return super().submit(*args, **named)


def test_a_withdrawal_closes_the_link_and_says_so_everywhere(bank: Hub) -> None:
    browser = visitor(bank)
    link_bank(browser)
    ((grant,),) = look_up(bank, "SELECT grant_id FROM grant_current")
    assert browser.send(f"/consents/{grant}/withdraw").goes_to == "/consents"
    assert browser.send(f"/consents/{grant}/withdraw").goes_to == "/consents"  # twice: nothing is left to end
    assert look_up(bank, "SELECT state FROM link") == [("revoked",)]
    assert "Withdrawn on 2026-11-20." in browser.see("/links").text
    assert "Nobody is allowed anything" in browser.see("/consents").text
    assert states_of_receipts(bank) == ["given", "withdrawn"]


# Renewal.


ENDING = {"days": 340}  # of 365


def ending_soon(bank: Hub) -> tuple[Visitor, str]:
    browser = visitor(bank)
    link_bank(browser)
    ((grant,),) = look_up(bank, "SELECT grant_id FROM grant_current")
    assert "Renew" not in browser.see("/consents").text
    assert browser.send(f"/consents/{grant}/renew").status == 409  # not yet
    return later(browser, **ENDING), grant


def test_before_the_end_the_person_is_told_and_a_new_yes_makes_a_new_version(bank: Hub) -> None:
    browser, grant = ending_soon(bank)
    assert "1 of your consents ends within 30 days" in browser.see("/").text
    assert "Ends on 2027-11-20" in browser.see("/consents").text
    step = browser.send(f"/consents/{grant}/renew")
    assert BOXES.findall(step.text) == [
        ("sensitive_whereabouts", "yes", ""),
        ("sensitive_financial_account", "yes", ""),
    ]
    assert "Today it would end on 2027-11-20" in step.text
    assert browser.send(f"/consents/{grant}/renewal", decision="approve").goes_to == "/consents"
    rows = look_up(
        bank,
        "SELECT version, state, reason, notice_version, assurance FROM grant_version WHERE version > 1 ORDER BY version",
    )
    assert rows == [
        (2, "active", "given", current_notice("link", "en").version, "password"),
        (3, "active", "renewed", current_notice("renew", "en").version, "password"),
    ]
    assert "until 2028-10-25" in browser.see("/consents").text
    assert look_up(bank, "SELECT state FROM link") == [("active",)]
    assert [one["event"]["event_type"] for one in receipts_of(bank)] == ["given", "renewed"]
    assert browser.send(f"/consents/{grant}/renewal", decision="approve").status == 409  # once


def test_a_renewal_may_be_narrower_and_is_never_wider_or_silent(bank: Hub) -> None:
    browser, grant = ending_soon(bank)
    for said in ({"decision": "refuse"}, {}, {"decision": "yes"}):
        assert browser.send(f"/consents/{grant}/renewal", **said).goes_to == "/consents"
    assert count(bank, "grant_version") == {"grant_version": 2}
    browser.send(f"/consents/{grant}/renewal", decision="approve", sensitive_whereabouts="")
    ((_, behaviours, agreed),) = terms_of(bank)
    assert agreed == ["financial_account"]
    assert behaviours == sorted(word for word in document_of(CITIC)["behaviours"] if not word.startswith("MOB-"))


def test_what_nobody_renews_ends_by_itself_with_a_receipt(bank: Hub) -> None:
    browser, grant = ending_soon(bank)
    browser = later(browser, days=365, hours=17)
    assert browser.send(f"/consents/{grant}/renewal", decision="approve").status == 409
    worker = Worker(browser.hub)
    next(job for job in worker.jobs if job.name == "expire").run()
    assert [state for state, _, _ in terms_of(bank)] == ["expired"]
    assert states_of_receipts(bank) == ["given", "expired"]
    assert "The consent ended on 2027-11-21." in browser.see("/links").text


@pytest.mark.parametrize(("left", "shown"), [(RENEW_WITHIN, True), (RENEW_WITHIN + timedelta(seconds=1), False)])
def test_the_reminder_begins_thirty_days_before_the_end(bank: Hub, left: timedelta, shown: bool) -> None:
    browser = visitor(bank)
    link_bank(browser)
    ends = datetime(2027, 11, 20, tzinfo=UTC)
    browser = later(browser, seconds=(ends - left - NOW).total_seconds())
    assert ("Ends on 2027-11-20" in browser.see("/consents").text) is shown


def test_a_hub_whose_people_gave_refused_renewed_and_withdrew_passes_its_audit(bank: Hub) -> None:
    browser, grant = ending_soon(bank)
    browser.send(f"/consents/{grant}/renewal", decision="approve")
    browser.send(f"/links/{CITIC}/decide", decision="refuse")
    browser.send(f"/consents/{grant}/withdraw")
    report = audit(browser.hub)
    assert report.holds, format_report(report)
