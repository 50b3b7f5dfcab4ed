"""Attacks on the way to a consent: addresses, pages and parameters of an attacker's choice lead nowhere."""

import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.routing import Route, Router
from tests_support.oauth import REDIRECT, Client, challenge_of
from tests_support.portal import Visitor, visitor
from tests_support.tokens import Machine
from tests_support.web import Caller, count

from consent.requests import FORM
from hub.context import Hub

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
PAGE = "/oauth/authorize"
EVIL = "https://evil.example/cb"


@pytest.fixture
def shop(hub: Hub) -> Machine:
    return Machine.recipient(hub)


@pytest.fixture
def thief(hub: Hub) -> Machine:
    return Machine.recipient(hub, redirect_uris=[EVIL])


@pytest.fixture
def li(hub: Hub) -> Visitor:
    return visitor(hub)


def pushed(who: Client, **asked: Any) -> dict[str, str]:
    told = who.push(**asked)
    assert told.status == 201, told.document
    return {"client_id": who.client_id, "request_uri": told.document["request_uri"]}


ADDRESSES = [
    EVIL, "//evil.example", "https:evil.example", REDIRECT, REDIRECT + "@evil.example", REDIRECT + ".evil.example",
    REDIRECT + "/../..//evil.example", REDIRECT + "?next=" + EVIL, REDIRECT + "#" + EVIL, REDIRECT + "\r\nLocation: x",
    "https://bank.example\\@evil.example/cb", "javascript:alert(1)", "data:text/html,x", "", "/", "/signin", "http://[::1",
]  # fmt: skip
RESPONSE_TYPES = ["code", "token", "id_token", "code id_token", "none", ""]
MODES = ["query", "fragment", "form_post", "jwt", ""]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    redirect_uri=st.sampled_from(ADDRESSES) | st.text(max_size=30),
    response_type=st.sampled_from(RESPONSE_TYPES),
    response_mode=st.sampled_from(MODES),
    client=st.sampled_from(["own", "other", "unknown", "none", "\x00"]),
    names_request=st.booleans(),
)
def test_open_redirect_the_browser_is_only_ever_sent_to_a_registered_address_or_nowhere(
    shop: Machine,
    thief: Machine,
    li: Visitor,
    redirect_uri: str,
    response_type: str,
    response_mode: str,
    client: str,
    names_request: bool,
) -> None:
    request = pushed(shop)
    ids = {"own": shop.client_id, "other": thief.client_id, "unknown": "c_x", "none": "", "\x00": "\x00"}
    asked = {
        "client_id": ids[client], "redirect_uri": redirect_uri, "response_type": response_type, "state": "s",
        "response_mode": response_mode, "scope": "account:read", "code_challenge": challenge_of("v" * 43),
        "code_challenge_method": "S256", **({"request_uri": request["request_uri"]} if names_request else {}),
    }  # fmt: skip
    query = urlencode(asked, errors="surrogatepass")
    nobody = Visitor(li.hub)
    for step in (li.see(f"{PAGE}?{query}"), nobody.see(f"{PAGE}?{query}")):
        where = str(step.goes_to or "")
        assert not where or urlsplit(where)[:3] == ("", "", "/signin"), where
        assert step.status < 500
        assert "evil.example" not in where
    decided = li.send(PAGE, **asked, decision="refuse")
    assert decided.status < 500
    if decided.goes_to is not None:
        assert decided.goes_to.startswith(REDIRECT + "?error=access_denied")
        assert (client, names_request) == ("own", True)


def test_open_redirect_after_sign_in_only_a_page_of_the_hub_is_gone_to(hub: Hub) -> None:
    for back in (
        EVIL,
        "//evil.example",
        "/\\evil.example",
        "/oauth/authorize/../..//evil.example",
        "/%09/evil.example",
    ):
        step = Visitor(hub).see(f"/signin?{urlencode({'next': back})}")
        assert step.page.forms[0].values["next"] == "/", back


def test_a_request_of_another_client_cannot_be_decided_under_one_s_own_name(
    hub: Hub, shop: Machine, thief: Machine, li: Visitor
) -> None:
    request = pushed(shop)
    mixed = {**request, "client_id": thief.client_id}
    for step in (li.see(f"{PAGE}?{urlencode(mixed)}"), li.send(PAGE, **mixed, decision="approve")):
        assert (step.status, step.goes_to) == (400, None)
    assert count(hub, "grant_version", "authorization_code") == {"grant_version": 0, "authorization_code": 0}
    assert li.see(f"{PAGE}?{urlencode(request)}").status == 200


def test_another_client_s_grant_can_neither_be_widened_seen_nor_ended(
    hub: Hub, shop: Machine, thief: Machine, li: Visitor
) -> None:
    step = li.send(PAGE, **pushed(shop), decision="approve")
    told = shop.redeem(dict(parse_qsl(urlsplit(str(step.goes_to)).query))["code"]).document
    for action in ("merge", "replace"):
        refused = thief.push(redirect_uri=EVIL, grant_management_action=action, grant_id=told["grant_id"])
        unknown = thief.push(redirect_uri=EVIL, grant_management_action=action, grant_id="g_unknown")
        assert refused.outcome == unknown.outcome == (400, "invalid_grant_id")
        assert refused.document == unknown.document
    tokens = {"GET": thief.token("grant_management_query"), "DELETE": thief.token("grant_management_revoke")}
    for method, token in tokens.items():
        answers = [thief.call(method, f"/oauth/grants/{one}", token) for one in (told["grant_id"], "g_unknown")]
        assert [one.status_code for one in answers] == [404, 404]
        assert answers[0].content == answers[1].content
    assert shop.get("/v1/account", told["access_token"]).status_code == 200


def test_csrf_on_consent_no_other_site_can_send_the_form(hub: Hub, shop: Machine, li: Visitor) -> None:
    request = pushed(shop)
    forged = [
        {"headers": {"origin": "https://evil.example"}},
        {"headers": {"origin": "null"}},
        {"headers": {"origin": hub.settings.issuer + ".evil.example"}},
        {"csrf": ""},
        {"csrf": "guess"},
        {"csrf": li.csrf[:-1]},
        {"csrf": li.csrf + "x"},
        {"csrf": "令牌"},
    ]
    for changed in forged:
        step = li.send(PAGE, **request, decision="approve", **changed)
        assert (step.status, step.goes_to) == (403, None), changed
    by_address = li.see(f"{PAGE}?{urlencode({**request, 'csrf': li.csrf, 'decision': 'approve'})}")
    assert (by_address.status, by_address.goes_to) == (200, None), "nothing is decided by GET"
    assert count(hub, "grant_version") == {"grant_version": 0}


def test_csrf_on_consent_the_session_s_cookie_does_not_travel_with_another_site_s_form(hub: Hub) -> None:
    cookie = Visitor(hub).get("/signin").headers["set-cookie"].lower()
    assert {"httponly", "secure", "samesite=lax", "path=/"} <= {part.strip() for part in cookie.split(";")}
    assert cookie.startswith("__host-")


# Keys and status lists: a verifier in somebody's browser reads them, and nobody's data is in them.
FOR_ANY_SITE = re.compile(r"/\.well-known/jwt-vc-issuer|/log/.*")


def test_clickjacking_no_page_of_the_hub_may_be_framed(hub: Hub, li: Visitor, shop: Machine) -> None:
    inner = [getattr(outer, "original_router", Router([outer])).routes for outer in Caller(hub).app.routes]
    routes = [route for routes in inner for route in routes if isinstance(route, Route)]
    paths = {re.sub(r"\{[^}]*\}", "1", route.path) for route in routes if "GET" in (route.methods or ())}
    assert {PAGE, "/signin", "/", "/links", "/v1/account"} <= paths
    seen = 0
    for path in sorted(paths | {f"{PAGE}?{urlencode(pushed(shop))}", "/nowhere"}):
        for browser in (li, Visitor(hub)):
            answer = browser.get(path, headers={"accept": "text/html"})
            policy = answer.headers["content-security-policy"]
            assert "frame-ancestors 'none'" in policy, path
            assert "default-src 'none'" in policy, path
            assert "unsafe" not in policy, path
            assert answer.headers["x-frame-options"] == "DENY", path
            assert ("access-control-allow-origin" in answer.headers) == bool(FOR_ANY_SITE.fullmatch(path)), path
            seen += answer.headers.get("content-type", "").startswith("text/html")
    assert seen >= 8


def test_parameters_in_the_address_of_a_post_are_none(hub: Hub, shop: Machine) -> None:
    form = shop.form(grant_type="client_credentials", scope="records:write")
    proof = shop.prove("POST", "/oauth/token", nonce=shop.nonce or ...)
    for body in ({}, {"grant_type": "client_credentials"}):
        answer = shop.caller.post(f"/oauth/token?{urlencode(form)}", data=body or None, content=None if body else b"",
                                  headers={"dpop": proof, "content-type": FORM})  # fmt: skip
        assert answer.status_code in (400, 401)
    assert count(hub, "access_token", "used_jti") == {"access_token": 0, "used_jti": 0}


@pytest.mark.parametrize(
    "hidden", [{"scope": "regulator"}, {"redirect_uri": EVIL}, {"client_id": "c_x"}, {"grant_type": "password"}]
)
def test_parameters_in_the_address_change_nothing_of_those_in_the_body(shop: Machine, hidden: dict[str, str]) -> None:
    shop.token()
    form = shop.form(grant_type="client_credentials", scope="records:write")
    headers = {"dpop": shop.prove("POST", "/oauth/token")}
    answer = shop.caller.post(f"/oauth/token?{urlencode(hidden)}", data=form, headers=headers)
    assert (answer.status_code, answer.json()["scope"]) == (200, "records:write")
    asked = shop.form(
        response_type="code", redirect_uri=REDIRECT, scope="account:read", code_challenge=challenge_of("v" * 43),
        code_challenge_method="S256",
    )  # fmt: skip
    told = shop.caller.post(f"/oauth/par?{urlencode(hidden)}", data=asked)
    assert told.status_code == 201


def test_what_the_browser_brings_beside_the_request_s_name_is_ignored(shop: Machine, li: Visitor) -> None:
    request = pushed(shop, state="mine")
    extra = {"state": "evil", "redirect_uri": EVIL, "scope": "grams:use", "response_mode": "fragment"}
    assert li.see(f"{PAGE}?{urlencode({**request, **extra})}").status == 200
    step = li.send(PAGE, **request, **extra, decision="approve")
    told = urlsplit(str(step.goes_to))
    assert (f"{told.scheme}://{told.netloc}{told.path}", told.fragment) == (REDIRECT, "")
    answer = dict(parse_qsl(told.query))
    assert answer["state"] == "mine"
    assert shop.redeem(answer["code"]).document["scope"] == "account:read"


def test_mix_up_the_answer_names_the_issuer_in_success_and_in_error(hub: Hub, shop: Machine, li: Visitor) -> None:
    for decision in ("approve", "refuse"):
        step = li.send(PAGE, **pushed(shop), decision=decision)
        assert dict(parse_qsl(urlsplit(str(step.goes_to)).query))["iss"] == hub.settings.issuer
        assert step.status == 303
