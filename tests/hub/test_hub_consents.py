"""Asking for a consent: the words of the notice, a separate yes for what is sensitive, and three kinds of standing."""

import re
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser

import pytest
from tests_support.consenting import (
    BOXES,
    bank_of,
    link_bank,
    receipts_of,
    signed_in_again,
    states_of_receipts,
    terms_of,
)
from tests_support.deliveries import BEIJING, join
from tests_support.portal import EVERY_BOX, Visitor, visitor
from tests_support.town import document_of, inhabitant, served_platform
from tests_support.web import count, look_up

from consent.notices import LANGUAGES, current_notice, fill_in
from consent.terms import Sensitive
from hub.context import Hub
from hub.sandbox.people import CITIC, WECHAT
from hub.sandbox.platforms.wechat import WeChatSports


@pytest.fixture
def bank(hub: Hub) -> Iterator[Hub]:
    with bank_of(hub):
        yield hub


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
