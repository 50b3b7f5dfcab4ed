"""The page on which a person decides about an OAuth client, as a browser meets it."""

import re
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from tests_support.oauth import REDIRECT, TYPE, unknown_request_uri
from tests_support.portal import PASSWORD, Step, Visitor, sign_up, visitor
from tests_support.tokens import Machine
from tests_support.web import count, look_up

from consent.people import add_person
from consent.pushed import LIFE
from consent.tables import OAuthClient
from hub.context import Hub
from hub.db import writing

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
PAGE = "/oauth/authorize"
FOOD = {"type": TYPE, "actions": ["read"], "behaviours": ["FOOD-CLEANPLATE"], "purpose": "积分 <b>now</b>"}
BIKE = {"type": TYPE, "actions": ["use"], "behaviours": ["MOB-BIKE"]}


@pytest.fixture
def shop(hub: Hub) -> Machine:
    return Machine.recipient(hub, client_name='A <i>shop</i> "O\'Neil"')


@pytest.fixture
def li(hub: Hub) -> Visitor:
    return visitor(hub)


def pushed(shop: Machine, **asked: Any) -> dict[str, str]:
    told = shop.push(**asked)
    assert told.status == 201, told.document
    return {"client_id": shop.client_id, "request_uri": told.document["request_uri"]}


def address(names: dict[str, str], **more: str) -> str:
    return f"{PAGE}?{urlencode({**names, **more})}"


def answer_of(step: Step) -> dict[str, str]:
    """What the client is told; the browser goes nowhere but to its registered address, and by 303."""
    assert step.status == 303, step.text
    assert step.goes_to is not None
    assert step.goes_to.startswith(REDIRECT + "?")
    return dict(parse_qsl(urlsplit(step.goes_to).query))


def is_a_page_that_helps(step: Step, status: int = 400) -> bool:
    """An error page of ours: it says what to do, and sends nobody anywhere."""
    told = "begin anew" in step.text or "Please" in step.text or "twice" in step.text
    return step.status == status and step.goes_to is None and told and "<h1>" in step.text


def test_a_stranger_signs_in_first_and_comes_back_to_the_question(hub: Hub, shop: Machine) -> None:
    sign_up(hub)
    browser, names = Visitor(hub), pushed(shop)
    first = browser.see(address(names, state="evil", redirect_uri="https://evil.example"))
    assert (first.status, urlsplit(str(first.goes_to)).path) == (303, "/signin")
    (back,) = parse_qs(urlsplit(str(first.goes_to)).query)["next"]
    assert back == address(names), "only what names the request goes along"
    form = browser.see(str(first.goes_to)).page.forms[0]
    browser.csrf = form.values["csrf"]
    signed_in = browser.send("/signin", username="li", password=PASSWORD, next=form.values["next"])
    assert (signed_in.status, signed_in.goes_to) == (303, back)
    question = browser.see(str(signed_in.goes_to))
    assert question.status == 200
    browser.csrf = question.csrf
    told = answer_of(browser.send(PAGE, **names, decision="approve"))
    assert told.keys() == {"code", "state", "iss"}
    assert (told["state"], told["iss"]) == ("st", hub.settings.issuer)
    assert shop.redeem(told["code"]).status == 200


def test_the_page_shows_who_asks_for_what_and_works_as_plain_html(shop: Machine, li: Visitor) -> None:
    step = li.see(address(pushed(shop, scope="account:read grams:use", authorization_details=[FOOD, BIKE])))
    form = step.page.form_to(PAGE)
    assert form is not None
    assert (form.method, form.buttons) == ("POST", (("decision", "approve"), ("decision", "refuse")))
    assert set(form.boxes) == {"detail_0", "detail_1", "sensitive_whereabouts"}
    assert {"client_id", "request_uri", "csrf"} <= form.values.keys()
    assert not set(form.boxes) & form.values.keys(), "nothing is ticked beforehand"
    for word in ("A &lt;i&gt;shop&lt;/i&gt;", "光盘行动", "共享单车", "积分 &lt;b&gt;now&lt;/b&gt;", "2027-11-19"):
        assert word in step.text, word
    assert "<i>shop" not in step.text
    assert "<b>now" not in step.text
    assert "<script" not in step.text


def test_the_page_may_send_its_form_to_the_client_s_origin_and_nowhere_else(shop: Machine, li: Visitor) -> None:
    step = li.see(address(pushed(shop)))
    policy = dict(part.strip().split(" ", 1) for part in step.answer.headers["content-security-policy"].split(";"))
    assert policy["form-action"] == "'self' https://bank.example"
    assert (policy["frame-ancestors"], policy["default-src"]) == ("'none'", "'none'")
    assert step.answer.headers["x-frame-options"] == "DENY"
    assert step.answer.headers["cache-control"] == "no-store"
    assert step.answer.headers["referrer-policy"] in ("no-referrer", "same-origin")
    assert "access-control-allow-origin" not in step.answer.headers


def test_looking_changes_nothing_and_can_be_done_again(hub: Hub, shop: Machine, li: Visitor) -> None:
    names = pushed(shop)
    tables = ("grant_version", "authorization_code", "par_request", "change_leaf")
    before = count(hub, *tables)
    assert [li.see(address(names)).status for _ in range(3)] == [200] * 3
    assert count(hub, *tables) == before


def test_a_yes_is_a_grant_with_its_leaves_and_its_receipt(hub: Hub, shop: Machine, li: Visitor) -> None:
    leaves = count(hub, "change_leaf")["change_leaf"]
    answer_of(li.send(PAGE, **pushed(shop), decision="approve"))
    assert look_up(hub, "SELECT version, state, assurance, client_id FROM grant_version ORDER BY version") == [
        (1, "requested", "none", shop.client_id), (2, "active", "password", shop.client_id)
    ]  # fmt: skip
    assert count(hub, "change_leaf")["change_leaf"] == leaves + 2
    assert look_up(hub, "SELECT DISTINCT notice_version FROM grant_version")[0][0].startswith("share-1@")


@pytest.mark.parametrize("decision", ["refuse", "", "yes", "APPROVE"])
def test_whatever_is_not_a_yes_is_a_no(hub: Hub, shop: Machine, li: Visitor, decision: str) -> None:
    told = answer_of(li.send(PAGE, **pushed(shop), decision=decision))
    assert told == {"error": "access_denied", "state": "st", "iss": hub.settings.issuer}
    assert look_up(hub, "SELECT state FROM grant_version ORDER BY version DESC LIMIT 1") == [("refused",)]
    assert count(hub, "authorization_code") == {"authorization_code": 0}


def test_only_what_was_ticked_is_allowed(hub: Hub, shop: Machine, li: Visitor) -> None:
    names = pushed(shop, scope="account:read grams:use", authorization_details=[FOOD, BIKE])
    told = answer_of(li.send(PAGE, **names, decision="approve", detail_0="yes", sensitive_whereabouts="no"))
    given = shop.redeem(told["code"]).document
    assert given["scope"] == "account:read"
    assert [one["behaviours"] for one in given["authorization_details"]] == [["FOOD-CLEANPLATE"]]


def test_a_yes_without_a_tick_is_asked_again_and_the_request_lives_on(hub: Hub, shop: Machine, li: Visitor) -> None:
    names = pushed(shop, authorization_details=[FOOD, {**FOOD, "actions": ["read"]}])
    step = li.send(PAGE, **names, decision="approve")
    assert (step.status, step.goes_to) == (422, None)
    assert 'role="alert"' in step.text
    assert "form-action 'self' https://bank.example" in step.answer.headers["content-security-policy"]
    assert count(hub, "grant_version") == {"grant_version": 0}
    assert "code" in answer_of(li.send(PAGE, **names, decision="approve", detail_1="yes"))


def test_a_decided_request_is_over_on_both_ways_in(shop: Machine, li: Visitor) -> None:
    names = pushed(shop)
    answer_of(li.send(PAGE, **names, decision="approve"))
    assert is_a_page_that_helps(li.see(address(names)))
    assert is_a_page_that_helps(li.send(PAGE, **names, decision="approve"))
    assert is_a_page_that_helps(li.send(PAGE, **names, decision="refuse"))


def test_a_request_that_is_too_old_is_over(hub: Hub, shop: Machine, li: Visitor) -> None:
    names = pushed(shop)
    late = Visitor(replace(hub, clock=lambda: NOW + LIFE))
    late.cookies, late.csrf = li.cookies, li.csrf
    assert is_a_page_that_helps(late.see(address(names)))
    assert is_a_page_that_helps(late.send(PAGE, **names, decision="approve"))


def test_what_no_address_may_be_is_a_page_and_never_a_redirect(hub: Hub, shop: Machine, li: Visitor) -> None:
    names, other = pushed(shop), Machine.recipient(hub)
    evil = "https://evil.example/cb"
    wrong = {
        "nothing": PAGE,
        "no request": f"{PAGE}?client_id={shop.client_id}",
        "no client": f"{PAGE}?{urlencode({'request_uri': names['request_uri']})}",
        "an unknown request": address({**names, "request_uri": unknown_request_uri()}),
        "a request by its address": address({**names, "request_uri": "https://evil.example/request"}),
        "another client's request": address({**names, "client_id": other.client_id}),
        "an unknown client": address({**names, "client_id": "c_unknown"}),
        "a client of NUL": address({**names, "client_id": "\x00"}),
        "no pushed request": address({"client_id": shop.client_id, "response_type": "code", "redirect_uri": evil}),
        "a parameter twice": address(names) + f"&client_id={shop.client_id}",
        "too many parameters": address(names) + "".join(f"&p{n}=1" for n in range(50)),
        "not UTF-8": f"{PAGE}?client_id=%ff&request_uri=%ff",
    }
    for browser in (li, Visitor(hub)):
        for name, where in wrong.items():
            assert is_a_page_that_helps(browser.see(where)), name


def test_a_form_from_elsewhere_or_of_another_browser_decides_nothing(hub: Hub, shop: Machine, li: Visitor) -> None:
    names, wang = pushed(shop), visitor(hub, "wang")
    answers = {
        "another origin": li.send(PAGE, **names, decision="approve", headers={"origin": "https://evil.example"}),
        "no token": li.send(PAGE, **names, decision="approve", csrf=""),
        "another's token": li.send(PAGE, **names, decision="approve", csrf=wang.csrf),
        "nobody": Visitor(hub).send(PAGE, **names, decision="approve", csrf=li.csrf),
    }
    for name, step in answers.items():
        assert (step.status, step.goes_to) == (403, None), name
    assert count(hub, "grant_version") == {"grant_version": 0}
    assert "code" in answer_of(li.send(PAGE, **names, decision="approve"))


def test_the_decision_is_that_of_who_is_signed_in(hub: Hub, shop: Machine, li: Visitor) -> None:
    names, wang = pushed(shop), visitor(hub, "wang")
    assert li.see(address(names)).status == wang.see(address(names)).status == 200
    answer_of(wang.send(PAGE, **names, decision="approve"))
    owner = "SELECT DISTINCT p.username FROM grant_version g JOIN person p USING (subject_id)"
    assert look_up(hub, owner) == [("wang",)]
    assert is_a_page_that_helps(li.send(PAGE, **names, decision="approve"))


def test_who_was_refused_lately_may_not_ask_the_same_person_again_so_soon(hub: Hub, shop: Machine, li: Visitor) -> None:
    answer_of(li.send(PAGE, **pushed(shop), decision="refuse"))
    step = li.see(address(pushed(shop, state="again")))
    assert (step.status, step.page.form_to(PAGE)) == (200, None)
    (back,) = [link for link in re.findall(r'href="([^"]+)"', step.text) if not link.startswith("/")]
    assert back.startswith(REDIRECT + "?")
    assert dict(parse_qsl(urlsplit(unescape(back)).query)) == {
        "error": "access_denied", "state": "again", "iss": hub.settings.issuer
    }  # fmt: skip
    assert li.see(address(pushed(Machine.recipient(hub)))).status == 200, "another client may ask"
    assert visitor(hub, "wang").see(address(pushed(shop))).status == 200, "the same one may ask another person"
    day_after = replace(hub, clock=lambda: NOW + hub.settings.ask_again_after)
    later = Visitor(day_after)
    assert later.sign_in().goes_to == "/"
    assert later.see(address(pushed(shop.move(day_after)))).status == 200


def test_a_sign_in_that_is_too_long_ago_has_to_be_proved_anew(hub: Hub, shop: Machine, li: Visitor) -> None:
    soon = replace(hub, clock=lambda: NOW + timedelta(minutes=50))
    li.hub, li.app = soon, Visitor(soon).app
    assert li.see("/links").status == 200, "the session is in use"
    late = replace(hub, clock=lambda: NOW + timedelta(minutes=70))
    li.hub, li.app = late, Visitor(late).app
    names = pushed(shop.move(late))
    asked = li.see(address(names))
    assert (asked.status, urlsplit(str(asked.goes_to)).path) == (303, "/stepup")
    assert parse_qs(urlsplit(str(asked.goes_to)).query)["next"] == [address(names)]
    sent = li.send(PAGE, **names, decision="approve")
    assert (sent.status, urlsplit(str(sent.goes_to)).path) == (303, "/stepup")
    assert count(hub, "grant_version") == {"grant_version": 0}


def test_a_child_is_told_that_the_guardian_decides(hub: Hub, shop: Machine) -> None:
    sign_up(hub, "mother")
    with writing(hub.engine) as session:
        add_person(
            session, hub.ring, username="mei", password=PASSWORD, display_name="Mei", now=NOW,
            born=date(2015, 5, 1), guardian="mother",
        )  # fmt: skip
    child, names = Visitor(hub), pushed(shop)
    assert child.sign_in("mei").goes_to == "/"
    step = child.send(PAGE, **names, decision="approve")
    assert (step.status, step.goes_to) == (403, None)
    assert "guardian" in step.text
    assert count(hub, "grant_version", "authorization_code") == {"grant_version": 0, "authorization_code": 0}
    assert answer_of(child.send(PAGE, **names, decision="refuse"))["error"] == "access_denied"


def test_merging_into_another_person_s_grant_is_told_and_changes_nothing(hub: Hub, shop: Machine, li: Visitor) -> None:
    wang = visitor(hub, "wang")
    theirs = shop.redeem(answer_of(wang.send(PAGE, **pushed(shop), decision="approve"))["code"]).document
    names = pushed(shop, grant_management_action="merge", grant_id=theirs["grant_id"])
    before = count(hub, "grant_version")
    step = li.send(PAGE, **names, decision="approve")
    assert (step.status, step.goes_to) == (422, None)
    assert count(hub, "grant_version") == before


def test_a_client_that_was_suspended_meanwhile_gets_no_answer(hub: Hub, shop: Machine, li: Visitor) -> None:
    names = pushed(shop)
    with writing(hub.engine) as session:
        session.get_one(OAuthClient, shop.client_id).suspended_at = NOW
    assert is_a_page_that_helps(li.see(address(names)))
    assert is_a_page_that_helps(li.send(PAGE, **names, decision="approve"))
