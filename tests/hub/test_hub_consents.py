"""My consents: three kinds of standing, separate yes for what is sensitive, receipts, renewal, and a way out as short as in."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import unescape
from html.parser import HTMLParser
from typing import Any

import pytest
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import link_person
from tests_support.portal import EVERY_BOX, Step, Visitor, ask_platform, give_password, sign_up, visitor
from tests_support.town import document_of, inhabitant, served_hub, served_platform
from tests_support.web import Caller, count, look_up

from consent.metadata import server_jwks
from consent.notices import LANGUAGES, current_notice, fill_in
from consent.receipts import load_receipts, verify_receipt
from consent.terms import Sensitive
from hub.app import create_app
from hub.audit import audit, format_report
from hub.context import Hub
from hub.db import reading
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
from hub.sandbox.people import CITIC, WECHAT
from hub.sandbox.platforms.beijing import BeijingGreenLife
from hub.sandbox.platforms.citic import CiticCarbon
from hub.sandbox.platforms.wechat import WeChatSports
from hub.worker import Worker

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


@pytest.fixture
def bank(hub: Hub) -> Iterator[Hub]:
    with served_platform(CiticCarbon, CITIC, hub) as (_, origin):
        join(hub, document_of(CITIC, origin=origin))
        yield hub


def link_bank(browser: Visitor, ticks: dict[str, str] | None = None) -> Step:
    address = browser.send(f"/links/{CITIC}/decide", decision="approve", **(ticks or {})).goes_to
    assert address is not None
    assert browser.see(ask_platform(address, inhabitant(1))).status == 200
    return browser.send(f"/links/{CITIC}/confirm", decision="approve")


def test_the_words_on_the_page_are_the_notice_s_and_nothing_else(bank: Hub) -> None:
    for accepted, language in (("zh-CN,zh;q=0.9,en", "zh-CN"), ("en-GB,zh;q=0.5", "en"), ("", "en")):
        name = f"li-{len(accepted)}"
        browser = visitor(bank, name)
        step = browser.send(f"/links/{CITIC}", headers={"accept-language": accepted})
        notice = current_notice("link", language)
        document = document_of(CITIC)
        shown = words_in_main(step.text)
        named = {word for word in shown if document["name_zh"] in word}
        assert named, "the platform is named"
        behaviours = shown[shown.index(notice.points[1][0]) + 1]
        filled = fill_in(
            notice,
            {
                "name_zh": document["name_zh"], "name_en": document["name_en"], "behaviours": behaviours,
                "valid_from": "2026-08-20", "valid_until": "2027-11-20",
            },
            classes=frozenset(Sensitive),
        )  # fmt: skip
        assert shown == list(filled.words())
        assert f'value="{notice.sha256}"' in step.text
        browser.send(f"/links/{CITIC}/decide", decision="refuse", notice=notice.sha256)
        rows = look_up(
            bank,
            "SELECT DISTINCT v.notice_version, v.language FROM grant_version v JOIN person p "
            "ON p.subject_id = v.subject_id WHERE p.username = :n",
            n=name,
        )
        assert rows == [(notice.version, language)]


class _Words(HTMLParser):
    """Collects the texts between the beginning and the end of <main>."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.words = False, list[str]()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside |= tag == "main"

    def handle_endtag(self, tag: str) -> None:
        self.inside &= tag != "main"

    def handle_data(self, data: str) -> None:
        if self.inside and data.strip():
            self.words.append(data.strip())


def words_in_main(text: str) -> list[str]:
    reader = _Words()
    reader.feed(text)
    return reader.words


def test_any_notice_can_be_shown_again_by_its_digest(hub: Hub) -> None:
    for name in ("link", "care", "renew", "share"):
        for language in LANGUAGES:
            notice = current_notice(name, language)
            step = Visitor(hub).see(f"/notices/{notice.sha256}")
            assert step.status == 200
            text = unescape(step.text)
            assert all(part in text for word in notice.words() for part in re.split(r"\{\w+\}", word) if part.strip())
    assert Visitor(hub).see("/notices/" + "0" * 64).status == 404


# What is sensitive takes a yes of its own.


def test_each_sensitive_class_has_its_own_box_and_none_is_ticked(bank: Hub) -> None:
    text = visitor(bank).send(f"/links/{CITIC}").text
    assert BOXES.findall(text) == [("sensitive_whereabouts", "yes", ""), ("sensitive_financial_account", "yes", "")]
    join(bank, BEIJING)
    text = visitor(bank, "wang").send("/links/beijing-green-life").text
    assert BOXES.findall(text) == [("sensitive_whereabouts", "yes", "")]


@pytest.mark.parametrize(
    ("ticked", "left_out"),
    [
        ({"sensitive_whereabouts": ""}, "MOB-"),
        ({"sensitive_financial_account": ""}, "FIN-"),
        ({"sensitive_whereabouts": "YES", "sensitive_financial_account": "on"}, "MOB- FIN-"),
        ({}, ""),
    ],
)
def test_what_is_not_ticked_is_not_allowed_after_the_round_trip_either(
    bank: Hub, ticked: dict[str, str], left_out: str
) -> None:
    every = document_of(CITIC)["behaviours"]
    expected = sorted(word for word in every if not left_out or not word.startswith(tuple(left_out.split())))
    assert {word[:4] for word in every} >= {"MOB-", "FIN-"}
    browser = visitor(bank)
    if expected:
        assert link_bank(browser, ticked).goes_to == "/links"
        assert terms_of(bank) == [("active", expected, sorted(classes_in(expected)))]
    else:
        step = browser.send(f"/links/{CITIC}/decide", decision="approve", **ticked)
        assert (step.status, "Nothing was linked" in step.text) == (200, True)
        assert [state for state, _, _ in terms_of(bank)] == ["refused"]
        assert count(bank, "link_attempt") == {"link_attempt": 0}


def classes_in(behaviours: list[str]) -> set[str]:
    names = {"MOB-": "whereabouts", "FIN-": "financial_account"}
    return {names[word[:4]] for word in behaviours if word[:4] in names}


def test_the_choice_survives_the_page_of_a_phone(hub: Hub) -> None:
    with served_platform(WeChatSports, WECHAT, hub) as (platform, origin):
        mixed = sorted({*document_of(WECHAT)["behaviours"], "FOOD-CLEANPLATE"})
        join(hub, document_of(WECHAT, origin=origin) | {"behaviours": mixed})
        browser = visitor(hub)
        for ticked in (EVERY_BOX, dict.fromkeys(EVERY_BOX, "")):
            step = browser.send(f"/links/{WECHAT}/decide", decision="approve", **ticked)
            form = step.page.form_to(f"/links/callback/{WECHAT}")
            assert form is not None
            hidden = dict.fromkeys(EVERY_BOX, "") | {k: v for k, v in form.values.items() if k not in ("csrf", "code")}
            code = platform.issue_code(inhabitant(1).accounts[WECHAT])
            assert browser.send(f"/links/callback/{WECHAT}", code=code, **hidden).status == 200
            assert browser.send(f"/links/{WECHAT}/confirm", decision="approve").goes_to == "/links"
        behaviours = [words for state, words, _ in terms_of(hub) if state == "active"]
        assert behaviours == [["FOOD-CLEANPLATE"]]


def test_a_phone_s_code_without_any_yes_links_nothing(hub: Hub) -> None:
    with served_platform(WeChatSports, WECHAT, hub) as (platform, origin):
        join(hub, document_of(WECHAT, origin=origin))
        browser = visitor(hub)
        code = platform.issue_code(inhabitant(1).accounts[WECHAT])
        step = browser.send(f"/links/callback/{WECHAT}", code=code, **dict.fromkeys(EVERY_BOX, ""))
        assert "Nothing was linked" in step.text
        assert browser.send(f"/links/{WECHAT}/confirm", decision="approve").status == 400
        assert count(hub, "link") == {"link": 0}


# Granted, refused and never asked.


def test_a_refusal_is_on_record_with_a_receipt_and_is_not_never_having_been_asked(bank: Hub) -> None:
    join(bank, BEIJING)
    browser = visitor(bank)
    assert browser.see("/links").text.count("You were never asked.") == 2
    browser.send(f"/links/{CITIC}")  # looking at the page decides nothing
    assert count(bank, "grant_version") == {"grant_version": 0}
    browser.send(f"/links/{CITIC}/decide", decision="refuse")
    text = browser.see("/links").text
    assert (text.count("You were never asked."), text.count("You refused on 2026-11-20.")) == (1, 1)
    assert look_up(bank, "SELECT version, state, assurance FROM grant_version ORDER BY version") == [
        (1, "requested", "none"), (2, "refused", "none"),
    ]  # fmt: skip
    ((state, behaviours, agreed),) = terms_of(bank)
    assert (state, behaviours, agreed) == ("refused", sorted(document_of(CITIC)["behaviours"]), [])
    assert states_of_receipts(bank) == ["refused"]
    consents = browser.see("/consents").text
    assert "refused" in consents
    assert consents.index("Never asked") < consents.index("北京")
    assert link_bank(browser).goes_to == "/links"  # the person begins: nothing keeps them from thinking again
    assert "Linked" in browser.see("/links").text
    assert sorted(state for state, _, _ in terms_of(bank)) == ["active", "refused"]


@pytest.mark.parametrize("said", [{}, {"decision": ""}, {"decision": "APPROVE"}, {"decision": "yes"}])
def test_silence_is_a_no(bank: Hub, said: dict[str, str]) -> None:
    visitor(bank).send(f"/links/{CITIC}/decide", **EVERY_BOX, **said)
    assert [state for state, _, _ in terms_of(bank)] == ["refused"]


def test_how_the_person_had_shown_who_they_are_is_kept(bank: Hub) -> None:
    link_bank(visitor(bank))
    assert look_up(bank, "SELECT state, assurance FROM grant_version ORDER BY version") == [
        ("requested", "none"), ("active", "password"),
    ]  # fmt: skip
    assert receipts_of(bank)[0]["event"]["assurance"] == "password"
    assert "after signing in with a password" in signed_in_again(bank).see("/consents").text


def signed_in_again(hub: Hub, name: str = "li") -> Visitor:
    browser = Visitor(hub)
    assert browser.sign_in(name).goes_to == "/"
    return browser


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
