"""The portal: signing in and out, what a page carries, linking and withdrawing, and what a person sees of their acts."""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html import escape

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import Route, Router
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import link_person
from tests_support.portal import PASSWORD, Step, Visitor, ask_platform, give_password, sign_up, visitor
from tests_support.pushes import push
from tests_support.town import document_of, inhabitant, served_hub, served_platform
from tests_support.web import Caller, count, look_up

from hub.app import create_app
from hub.context import Hub
from hub.db import writing
from hub.participants import Status, set_status
from hub.pipeline import clear_dirty, take_delivery
from hub.sandbox.browser import Browser, Persona, link_platform, revoke_platform
from hub.sandbox.browser import sign_in as sign_in_at
from hub.sandbox.people import BEIJING as CITY
from hub.sandbox.people import CITIC, KUAIDIAN, WECHAT
from hub.sandbox.platforms.beijing import BeijingGreenLife
from hub.sandbox.platforms.citic import CiticCarbon
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.wechat import WeChatSports
from standards.behaviours import load_behaviours

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
BIKE_2_KM = "67.76 g"  # 2 km at 33.88 g/km
IN_FORCE = "SELECT COUNT(*) FROM grant_current WHERE state = 'active'"
OPEN_LINKS = "SELECT COUNT(*) FROM link WHERE valid_until IS NULL"


def later(hub: Hub, **passed: float) -> Hub:
    return replace(hub, clock=lambda: NOW + timedelta(**passed))


def linked_and_allowed(hub: Hub) -> tuple[int, int]:
    return look_up(hub, OPEN_LINKS)[0][0], look_up(hub, IN_FORCE)[0][0]


# Signing in.


def test_the_right_password_signs_in_and_the_session_token_changes(hub: Hub):
    sign_up(hub)
    browser = Visitor(hub)
    browser.see("/signin")
    before = dict(browser.cookies)
    assert browser.sign_in().goes_to == "/"
    after = dict(browser.cookies)
    assert list(before) == list(after) == ["__Host-tanlian"]
    assert before != after
    assert browser.see("/").status == 200
    stranger = Visitor(hub)  # with the token that was there before the sign-in
    stranger.cookies.set("__Host-tanlian", before["__Host-tanlian"], domain="hub.example")
    assert stranger.see("/").goes_to == "/signin"


def test_a_wrong_name_and_a_wrong_password_get_the_same_page_and_no_session(hub: Hub):
    sign_up(hub)
    pages = set()
    wrong = [("li", "wrong password"), ("nobody", PASSWORD), ("", ""), ("li\0", PASSWORD), ("x" * 5000, PASSWORD)]
    for name, password in wrong:
        browser = Visitor(hub)
        step = browser.sign_in(name, password)
        assert (step.status, "That name and password do not fit" in step.text) == (401, True), name
        assert browser.see("/").goes_to == "/signin", name
        pages.add(step.text.replace(browser.csrf, ""))
    assert len(pages) == 1


def test_after_too_many_tries_even_the_right_password_waits(hub: Hub):
    sign_up(hub)
    browser = Visitor(hub)
    for _ in range(5):
        assert browser.sign_in(password="wrong password").status == 401
    step = browser.sign_in()
    assert (step.status, "Too many tries" in step.text) == (401, True)
    assert browser.see("/").goes_to == "/signin"
    assert Visitor(later(hub, minutes=20)).sign_in().goes_to == "/"


def test_signing_out_ends_the_session_for_every_copy_of_its_cookie(hub: Hub):
    browser = visitor(hub)
    copy = Visitor(hub)
    copy.cookies = browser.cookies
    assert copy.see("/").status == 200
    assert browser.send("/signout").goes_to == "/signin"
    assert copy.see("/").goes_to == browser.see("/").goes_to == "/signin"


def test_a_session_ends_by_itself(hub: Hub):
    browser = visitor(hub)
    browser.hub = later(hub, hours=13)
    browser.app = create_app(browser.hub)
    assert browser.see("/").goes_to == "/signin"


def test_without_a_session_every_page_leads_to_the_sign_in(hub: Hub):
    for path in ("/", "/links"):
        stranger = Visitor(hub)
        assert (stranger.see(path).status, stranger.see(path).goes_to) == (303, "/signin")
        stranger.cookies.set("__Host-tanlian", "made-up", domain="hub.example")
        assert stranger.see(path).goes_to == "/signin"


# What every answer carries.


def addresses(app: FastAPI) -> list[tuple[str, str]]:
    """Return every path and method of the application, those of included routers too."""
    routes = [inner for outer in app.routes for inner in getattr(outer, "original_router", Router([outer])).routes]
    return [(route.path, method) for route in routes if isinstance(route, Route) for method in route.methods or ()]


def filled(path: str) -> str:
    values = {
        "participant": "nobody", "rest:path": "x", "window": "1", "platform_id": "nobody", "level": "0", "number:path": "000",
        "grant_id": "g_nobodys", "receipt_id": "r_nobodys", "digest": "0" * 64, "client_id": "nobody", "event_id": "1",
        "request_id": "q_nobodys", "name": "behaviours.csv", "version": "hub-2026.2", "attestation_id": "att_nobodys",
        "list_id": "1", "break_id": "1", "reservation_id": "r_nobodys", "block_id": "b_nobodys", "programme": "nobody",
        "dispute_id": "d_nobodys", "year": "2026", "record_id": "1", "window_id": "1", "index": "1",
    }  # fmt: skip
    for name, value in values.items():
        path = path.replace("{" + name + "}", value)
    assert "{" not in path, f"say how to fill in {path}"
    return path


def test_every_address_answers_with_the_security_headers(hub: Hub):
    browser = visitor(hub)
    kept = ("/static/", "/log/", "/standards", "/v1/standards/", "/.well-known/jwt-vc-issuer")
    cases = [(filled(path), method) for path, method in addresses(browser.app)]
    assert len(cases) > 25
    cases += [("/no/such/page", "GET"), ("/in/x", "GET")]
    for path, method in cases:
        answer = browser.call(method, path, content=b"" if method == "POST" else None)
        assert answer.status_code < 500, (method, path)
        policy = {part.split()[0]: part.split()[1:] for part in answer.headers["content-security-policy"].split(";")}
        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == ["'none'"], path
        assert policy["form-action"][0] == "'self'", path
        assert "unsafe" not in answer.headers["content-security-policy"], path
        assert answer.headers["x-frame-options"] == "DENY", path
        assert answer.headers["x-content-type-options"] == "nosniff", path
        assert answer.headers["referrer-policy"] == "same-origin", path
        assert path.startswith(kept) or answer.headers["cache-control"] == "no-store", path


def test_no_page_carries_an_inline_script_or_style_and_only_the_one_for_passkeys_a_script(hub: Hub):
    join(hub, BEIJING)
    browser = visitor(hub)
    plain = [browser.see("/"), browser.see("/links"), browser.send("/links/beijing-green-life")]
    scripted = [Visitor(hub).see("/signin"), browser.see("/security"), Visitor(hub).see("/staff/signin")]
    for step in [*plain, *scripted]:
        assert "style=" not in step.text
        assert not re.search(r"\son[a-z]+=", step.text)
        assert step.text.count("<script") == step.text.count('<script src="/static/passkeys.js" defer></script>')
        allowed = "script-src" in step.answer.headers["content-security-policy"]
        assert (allowed, "<script" in step.text) == ((True, True) if step in scripted else (False, False))


@pytest.mark.parametrize(
    ("issuer", "name"), [("https://hub.example", "__Host-tanlian"), ("http://127.0.0.1:8000", "tanlian")]
)
def test_the_cookie_is_out_of_reach_and_over_https_bound_to_the_host(hub: Hub, issuer: str, name: str):
    there = replace(hub, settings=hub.settings.model_copy(update={"issuer": issuer}))
    sign_up(there)
    browser = Visitor(there)
    answers = [browser.see("/signin").answer, browser.sign_in().answer]
    for answer in answers:
        cookie = answer.headers["set-cookie"]
        parts = {part.strip().lower() for part in cookie.split(";")[1:]}
        assert cookie.startswith(f"{name}=")
        assert {"httponly", "samesite=lax", "path=/"} <= parts
        assert ("secure" in parts) == issuer.startswith("https")
        assert not any(part.startswith("domain") for part in parts)


def test_a_form_too_large_or_with_too_many_fields_is_refused_with_a_page(hub: Hub):
    browser = visitor(hub)
    for path in ("/signin", "/signout", "/links/beijing-green-life", "/links/callback/wechat-sports"):
        large = browser.send(path, padding="x" * 70_000)
        many = browser.send(path, **{f"field{number}": "" for number in range(300)})
        assert (large.status, many.status) == (413, 422), path
        for step in (large, many):
            assert step.answer.headers["content-type"].startswith("text/html")
            assert "That did not work" in step.text
    assert browser.see("/").status == 200


def test_reading_changes_nothing(hub: Hub):
    join(hub, document_of(CITIC))
    browser = visitor(hub)
    tables = ("web_session", "link", "link_attempt", "grant_version", "sync_state", "change_leaf", "person")
    before = count(hub, *tables)
    for path in ("/", "/signin", "/links", "/links/callback/citic-carbon?code=c&state=s", "/links/citic-carbon"):
        browser.see(path)
    assert count(hub, *tables) == before


# Linking with a platform that is really there.


@pytest.fixture
def bank(hub: Hub) -> Iterator[tuple[Hub, CiticCarbon]]:
    with served_platform(CiticCarbon, CITIC, hub) as (platform, origin):
        join(hub, document_of(CITIC, origin=origin))
        yield hub, platform


def to_the_platform(browser: Visitor, platform: str = CITIC) -> str:
    """Consent at the hub; returns the platform's address."""
    assert browser.send(f"/links/{platform}").status == 200
    address = browser.send(f"/links/{platform}/decide", decision="approve").goes_to
    assert address is not None
    return address


def link_bank(browser: Visitor, number: int = 1) -> Step:
    step = browser.see(ask_platform(to_the_platform(browser), inhabitant(number)))
    assert step.status == 200, step.text
    return browser.send(f"/links/{CITIC}/confirm", decision="approve")


def test_a_person_links_and_withdraws_in_a_browser_and_the_next_delivery_is_refused(hub: Hub):
    person = inhabitant(1)
    with served_hub(hub) as there, served_platform(BeijingGreenLife, CITY, there) as (_, origin):
        join(there, document_of(CITY, origin=origin) | {"secrets": BEIJING["secrets"]})
        sign_up(there, person.username, person.password)
        persona = Persona(
            username=person.username, hub_password=person.password, platform_password=person.password
        )  # fmt: skip
        home = there.settings.issuer
        message = {"account": person.accounts[CITY]}
        with Browser() as browser:
            sign_in_at(browser, home, persona)
            page = link_platform(browser, home, CITY, persona)
            assert (page.path, "Withdraw consent" in page.text) == ("/links", True)
            assert linked_and_allowed(there) == (1, 1)
            door = Caller(there)
            taken = door.post(f"/in/{CITY}", **push("m1", act("1", **message), now=NOW))
            assert taken.json()["accepted"] == 1
            clear_dirty(there, now=NOW)
            assert BIKE_2_KM in browser.open(f"{home}/").text
            page = revoke_platform(browser, home, CITY)
            assert "Not linked" in page.text
            refused = door.post(f"/in/{CITY}", **push("m2", act("2", **message), now=NOW))
        assert (refused.json()["accepted"], refused.json()["refused"]) == (0, 1)
        assert linked_and_allowed(there) == (0, 0)
        assert count(there, "source_record") == {"source_record": 1}


def test_the_consent_page_says_what_from_whom_for_how_long_and_how_to_withdraw(bank: tuple[Hub, CiticCarbon]):
    hub, _ = bank
    step, known = visitor(hub).send(f"/links/{CITIC}"), load_behaviours()
    for words in (
        "中信碳账户", "CITIC Carbon Account", "let Tanlian, and nobody else",
        "2026-08-20 until 2027-11-20", "never taken", "names, phone numbers", "withdraw at any time", "takes effect at once",
    ):  # fmt: skip
        assert words in step.text, words
    for code in document_of(CITIC)["behaviours"]:
        assert escape(f"{known[code].zh} {known[code].en}") in step.text
    buttons = next(form for form in step.page.forms if form.decides()).buttons
    assert buttons == (("decision", "approve"), ("decision", "refuse"))


def test_the_last_question_names_both_accounts_and_a_yes_links_them(bank: tuple[Hub, CiticCarbon]):
    hub, _ = bank
    browser = visitor(hub)
    step = browser.see(ask_platform(to_the_platform(browser), inhabitant(1)))
    assert f"<strong>{inhabitant(1).accounts[CITIC]}</strong>" in step.text
    assert "<strong>li</strong>" in step.text
    assert linked_and_allowed(hub) == (0, 0)
    assert browser.send(f"/links/{CITIC}/confirm", decision="approve").goes_to == "/links"
    assert linked_and_allowed(hub) == (1, 1)
    assert "Withdraw consent" in browser.see("/links").text
    assert look_up(hub, "SELECT COUNT(*) FROM sync_state WHERE platform = 'citic-carbon'") == [(1,)]
    kinds = look_up(hub, "SELECT kind, COUNT(*) FROM change_leaf GROUP BY kind ORDER BY kind")
    assert dict(kinds) == {"consent.changed": 2, "link.changed": 1, "participant.changed": 1}


@pytest.mark.parametrize("stage", ["hub", "platform", "callback"])
def test_a_refusal_at_any_stage_leaves_no_link_and_no_grant_in_force(bank: tuple[Hub, CiticCarbon], stage: str):
    hub, _ = bank
    browser = visitor(hub)
    if stage == "hub":
        browser.send(f"/links/{CITIC}")
        assert browser.send(f"/links/{CITIC}/decide", decision="refuse").goes_to == "/links"
    elif stage == "platform":
        step = browser.see(ask_platform(to_the_platform(browser), inhabitant(1), "refuse"))
        assert (step.status, "Nothing was linked" in step.text) == (400, True)
    else:
        browser.see(ask_platform(to_the_platform(browser), inhabitant(1)))
        assert browser.send(f"/links/{CITIC}/confirm", decision="refuse").goes_to == "/links"
        assert browser.send(f"/links/{CITIC}/confirm", decision="approve").status == 400
    assert linked_and_allowed(hub) == (0, 0)
    assert count(hub, "sync_state") == {"sync_state": 0}
    assert "Not linked" in browser.see("/links").text


def test_anything_but_a_clear_yes_is_a_no(bank: tuple[Hub, CiticCarbon]):
    hub, _ = bank
    browser = visitor(hub)
    for decision in ({}, {"decision": ""}, {"decision": "APPROVE"}, {"decision": "yes"}):
        assert browser.send(f"/links/{CITIC}/decide", **decision).goes_to == "/links"
        browser.see(ask_platform(to_the_platform(browser), inhabitant(1)))
        assert browser.send(f"/links/{CITIC}/confirm", **decision).goes_to == "/links"
    assert linked_and_allowed(hub) == (0, 0)


def test_a_platform_that_fails_at_the_last_step_is_told_as_such_and_nothing_is_linked(bank: tuple[Hub, CiticCarbon]):
    hub, platform = bank
    browser = visitor(hub)
    for fault in (Fault.SERVER_ERROR, Fault.RATE_LIMITED):
        back = ask_platform(to_the_platform(browser), inhabitant(1))
        platform.faults.arm(fault)
        step = browser.see(back)
        assert (step.status, "does not answer as it should" in step.text) == (502, True), fault
        assert linked_and_allowed(hub) == (0, 0), fault
    assert link_bank(browser).goes_to == "/links"  # once more from the start


def test_a_platform_that_is_not_there_is_told_as_such(hub: Hub):
    join(hub, document_of(CITIC))
    step = visitor(hub).send(f"/links/{CITIC}/decide", decision="approve")
    assert (step.status, "does not answer as it should" in step.text) == (502, True)
    assert count(hub, "link_attempt") == {"link_attempt": 0}


STEPS: dict[str, Callable[[Visitor, str], Step]] = {
    "asking": lambda browser, platform: browser.send(f"/links/{platform}"),
    "deciding": lambda browser, platform: browser.send(f"/links/{platform}/decide", decision="approve"),
    "the callback": lambda browser, platform: browser.see(f"/links/callback/{platform}?code=c&state=s"),
    "the device's code": lambda browser, platform: browser.send(f"/links/callback/{platform}", code="c"),
    "confirming": lambda browser, platform: browser.send(f"/links/{platform}/confirm", decision="approve"),
    "withdrawing": lambda browser, platform: browser.send(f"/links/{platform}/revoke"),
}


def test_a_platform_that_nobody_knows_is_a_page_that_says_so_at_every_step(hub: Hub):
    browser = visitor(hub)
    for platform in ("nobody", "%00", "x" * 200):
        found = {name: take(browser, platform) for name, take in STEPS.items()}
        told = {name: (step.status, "has not joined the hub" in step.text) for name, step in found.items()}
        assert told == dict.fromkeys(STEPS, (404, True)), platform
        assert all(step.answer.headers["content-type"].startswith("text/html") for step in found.values())
    assert linked_and_allowed(hub) == (0, 0)


def test_a_suspended_platform_is_not_linked_at_any_step(hub: Hub):
    join(hub, document_of(CITIC))
    browser = visitor(hub)
    with writing(hub.engine) as session:
        set_status(session, CITIC, Status.SUSPENDED, NOW)
    found = {name: take(browser, CITIC) for name, take in STEPS.items() if name != "withdrawing"}
    told = {name: (step.status, "suspended" in step.text) for name, step in found.items()}
    assert told == dict.fromkeys(found, (409, True))
    assert linked_and_allowed(hub) == (0, 0)


def test_a_suspension_between_two_steps_stops_the_linking(bank: tuple[Hub, CiticCarbon]):
    hub, _ = bank
    browser = visitor(hub)
    back = ask_platform(to_the_platform(browser), inhabitant(1))
    with writing(hub.engine) as session:
        set_status(session, CITIC, Status.SUSPENDED, NOW)
    assert browser.see(back).status == 409
    assert browser.send(f"/links/{CITIC}/confirm", decision="approve").status == 409
    assert linked_and_allowed(hub) == (0, 0)


def test_consent_is_withdrawn_at_any_time_a_suspension_of_the_platform_included(bank: tuple[Hub, CiticCarbon]):
    hub, _ = bank
    browser = visitor(hub)
    link_bank(browser)
    with writing(hub.engine) as session:
        set_status(session, CITIC, Status.SUSPENDED, NOW)
    assert browser.send(f"/links/{CITIC}/revoke").goes_to == "/links"
    assert linked_and_allowed(hub) == (0, 0)
    assert browser.send(f"/links/{CITIC}/revoke").goes_to == "/links"  # pressed twice: nothing left to end


def test_one_account_has_one_owner_and_the_second_person_is_told_no_more_than_that(bank: tuple[Hub, CiticCarbon]):
    hub, _ = bank
    link_bank(visitor(hub, "zhang-san"))
    step = link_bank(visitor(hub, "wang"))
    assert (step.status, "belongs to another Tanlian account" in step.text) == (409, True)
    assert "zhang-san" not in step.text
    assert linked_and_allowed(hub) == (1, 1)


def test_linking_one_s_own_account_again_keeps_one_link_and_one_grant(bank: tuple[Hub, CiticCarbon]):
    hub, _ = bank
    browser = visitor(hub)
    for _ in range(2):
        assert link_bank(browser).goes_to == "/links"
    assert linked_and_allowed(hub) == (1, 1)


# Linking by the code of a device.


@pytest.fixture
def phone(hub: Hub) -> Iterator[tuple[Hub, WeChatSports]]:
    with served_platform(WeChatSports, WECHAT, hub) as (platform, origin):
        join(hub, document_of(WECHAT, origin=origin))
        yield hub, platform


def test_a_phone_s_code_links_its_account_after_the_last_question(phone: tuple[Hub, WeChatSports]):
    hub, platform = phone
    browser, openid = visitor(hub), inhabitant(1).accounts[WECHAT]
    assert "Finish in" in browser.send(f"/links/{WECHAT}/decide", decision="approve").text
    step = browser.send(f"/links/callback/{WECHAT}", code=platform.issue_code(openid))
    assert f"<strong>{openid}</strong>" in step.text
    assert linked_and_allowed(hub) == (0, 0)
    assert browser.send(f"/links/{WECHAT}/confirm", decision="approve").goes_to == "/links"
    assert linked_and_allowed(hub) == (1, 1)
    assert count(hub, "sync_state") == {"sync_state": 0}  # a phone delivers by itself


def test_a_used_a_made_up_and_an_empty_code_link_nothing(phone: tuple[Hub, WeChatSports]):
    hub, platform = phone
    browser, code = visitor(hub), platform.issue_code(inhabitant(1).accounts[WECHAT])
    assert browser.send(f"/links/callback/{WECHAT}", code=code).status == 200
    browser.send(f"/links/{WECHAT}/confirm", decision="refuse")
    for wrong in (code, "made up", "", "x" * 300):
        assert browser.send(f"/links/callback/{WECHAT}", code=wrong).status == 400
        assert browser.send(f"/links/{WECHAT}/confirm", decision="approve").status == 400
    assert browser.see(f"/links/callback/{WECHAT}?code={code}").status == 400  # by GET: never
    platform.faults.arm(Fault.SERVER_ERROR)
    assert browser.send(f"/links/callback/{WECHAT}", code=platform.issue_code("o")).status == 502
    assert linked_and_allowed(hub) == (0, 0)


# What a person sees.


def test_the_home_page_says_what_counts_once_and_who_else_told_of_it(hub: Hub):
    city = join(hub, BEIJING)
    other = join(hub, BEIJING | {"id": "other-city"})
    accounts = {"beijing-green-life": "bj-1", "other-city": "oc-1"}
    link_person(hub, "owner", accounts, set(BEIJING["behaviours"]), NOW)
    give_password(hub, "owner")
    take_delivery(hub, city, delivery("d1", act("1")), now=NOW)
    take_delivery(hub, other, delivery("d2", act("9", "oc-1", orderNo="ORD1")), now=NOW)
    clear_dirty(hub, now=NOW)
    browser = Visitor(hub)
    browser.sign_in("owner")
    text = browser.see("/").text
    assert "counted once, from beijing-green-life; also reported by other-city" in text
    assert text.count(BIKE_2_KM) == 2  # the act, and the sum that is not cleared yet
    assert "1 duplicate" in text
    assert "2026-11-18 08:12" in text


def test_somebody_else_s_acts_links_and_names_never_appear(bank: tuple[Hub, CiticCarbon]):
    hub, _ = bank
    city = join(hub, BEIJING)
    link_person(hub, "zhang-san", {"beijing-green-life": "bj-1"}, set(BEIJING["behaviours"]), NOW)
    take_delivery(hub, city, delivery("d1", act("1")), now=NOW)
    clear_dirty(hub, now=NOW)
    browser = visitor(hub)
    for path in ("/", "/links"):
        text = browser.see(path).text
        assert BIKE_2_KM not in text
        assert "bj-1" not in text
        assert "zhang-san" not in text
    assert "Nothing here yet" in browser.see("/").text
    assert "Withdraw consent" not in browser.see("/links").text


def test_names_that_hold_markup_are_shown_as_text(phone: tuple[Hub, WeChatSports]):
    hub, platform = phone
    join(hub, BEIJING | {"name_en": "<b>bold</b>", "name_zh": "\"'><i>"})
    name = "<script>alert(1)</script>"
    browser = visitor(hub, name)
    texts = [browser.see("/links").text, browser.send("/links/beijing-green-life").text]
    step = browser.send(f"/links/callback/{WECHAT}", code=platform.issue_code("<img src=x onerror=alert(1)>"))
    assert "&lt;script&gt;" in step.text
    assert "&lt;img" in step.text
    for text in [*texts, step.text]:
        assert not any(mark in text for mark in ("<script>", "<b>bold", "<i>", "<img"))


def test_a_participant_that_cannot_be_linked_over_oauth_asks_for_no_redirect(hub: Hub):
    """A platform without OAuth and without device codes has no way to say whose account it is: refused at the code."""
    join(hub, BEIJING)
    browser = visitor(hub)
    browser.send("/links/beijing-green-life/decide", decision="approve")
    assert browser.send("/links/callback/beijing-green-life", code="c").status == 400
    assert linked_and_allowed(hub) == (0, 0)


def test_the_stylesheet_is_there_and_may_be_kept(hub: Hub):
    answer: httpx.Response = Caller(hub).get("/static/tanlian.css")
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/css")
    assert "max-age" in answer.headers["cache-control"]


def test_every_platform_that_joined_is_on_the_page_of_links(hub: Hub):
    browser = visitor(hub)
    assert "No platform has joined" in browser.see("/links").text
    for document in (BEIJING, document_of(KUAIDIAN), document_of(CITIC)):
        join(hub, document)
    text = browser.see("/links").text
    assert text.count("Link this account") == 3
