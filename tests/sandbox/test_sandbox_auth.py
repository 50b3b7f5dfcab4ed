"""A platform's authorization server, spoken to over real HTTP by an independent client."""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from authlib.integrations.httpx_client import OAuth2Client

from hub.sandbox.forms import parse_page
from hub.sandbox.people import BEIJING, CITIC, Person
from hub.sandbox.platforms.citic import CiticCarbon
from hub.sandbox.platforms.site import Front, Site
from hub.sandbox.platforms.tokens import Sealer
from hub.sandbox.town import Town

HUB = "http://127.0.0.1:1"
VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()


class Flow:
    """One person at one platform, step by step."""

    def __init__(self, origin: str, site: Site, person: Person) -> None:
        self.origin, self.site, self.person = origin, site, person
        self.http = httpx.Client(trust_env=False, timeout=60)
        self.redirect_uri = f"{HUB}/links/callback/{site.platform}"
        self.basic = (site.secrets["client_id"], site.secrets["client_secret"])

    def asked(self, **changes: str | None) -> dict[str, str]:
        asked: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.basic[0],
            "redirect_uri": self.redirect_uri,
            "scope": "records:read openid",
            "state": "s1",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        return {name: value for name, value in (asked | changes).items() if value is not None}

    def authorize(self, **changes: str | None) -> httpx.Response:
        return self.http.get(f"{self.origin}/oauth/authorize?{urlencode(self.asked(**changes))}")

    def sign_in(self, page: httpx.Response, password: str | None = None) -> httpx.Response:
        form = parse_page(str(page.url), page.status_code, page.text).forms[0]
        filled = {"username": self.person.username, "password": password or self.person.password}
        return self.http.post(form.action, data={**form.values, **filled})

    def decide(self, page: httpx.Response, decision: str) -> dict[str, str]:
        form = parse_page(str(page.url), page.status_code, page.text).forms[0]
        answer = self.http.post(form.action, data={**form.values, "decision": decision})
        assert answer.status_code == 303
        target = answer.headers["location"]
        assert target.startswith(self.redirect_uri + "?")
        return {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}

    def code(self) -> str:
        return self.decide(self.sign_in(self.authorize()), "approve")["code"]

    def token(self, **form: str) -> httpx.Response:
        return self.http.post(f"{self.origin}/oauth/token", data=form, auth=self.basic)

    def redeem(self, code: str, **changes: str) -> httpx.Response:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": VERIFIER,
        }
        return self.token(**(form | changes))

    def userinfo(self, access_token: str) -> httpx.Response:
        return self.http.get(f"{self.origin}/oauth/userinfo", headers={"authorization": f"Bearer {access_token}"})


@pytest.fixture
def flow(serve: Callable[..., str], make_site: Callable[..., Site], base_port: int, town: Town) -> Flow:
    site = make_site(CITIC, hub_url=HUB, origin=f"http://127.0.0.1:{base_port}")
    return Flow(serve(CiticCarbon(Front(site)).app, base_port), site, town.people[0])


def test_metadata_names_the_issuer_and_what_is_offered(flow: Flow) -> None:
    metadata = flow.http.get(f"{flow.origin}/.well-known/oauth-authorization-server").json()
    assert metadata["issuer"] == flow.origin
    assert metadata["authorization_response_iss_parameter_supported"] is True
    assert metadata["code_challenge_methods_supported"] == ["S256"]
    assert metadata["token_endpoint_auth_methods_supported"] == ["client_secret_basic"]


def test_the_whole_way_ends_at_the_account(flow: Flow) -> None:
    answer = flow.decide(flow.sign_in(flow.authorize()), "approve")
    assert (answer["iss"], answer["state"]) == (flow.origin, "s1")
    tokens = flow.redeem(answer["code"])
    assert tokens.headers["cache-control"] == "no-store"
    assert tokens.json()["token_type"] == "Bearer"
    assert flow.userinfo(tokens.json()["access_token"]).json() == {"sub": flow.person.accounts[CITIC]}


def test_an_independent_client_walks_the_same_way(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")  # the loopback has no TLS
    client = OAuth2Client(
        *flow.basic,
        scope="records:read openid",
        redirect_uri=flow.redirect_uri,
        code_challenge_method="S256",
        token_endpoint_auth_method="client_secret_basic",
        trust_env=False,
        timeout=60,
    )
    url, state = client.create_authorization_url(f"{flow.origin}/oauth/authorize", code_verifier=VERIFIER)
    answer = flow.decide(flow.sign_in(flow.http.get(url)), "approve")
    token: dict[str, Any] = client.fetch_token(
        f"{flow.origin}/oauth/token",
        authorization_response=f"{flow.redirect_uri}?{urlencode(answer)}",
        state=state,
        code_verifier=VERIFIER,
    )
    assert flow.userinfo(token["access_token"]).json()["sub"] == flow.person.accounts[CITIC]
    refreshed = client.refresh_token(f"{flow.origin}/oauth/token", refresh_token=token["refresh_token"])
    assert flow.userinfo(refreshed["access_token"]).status_code == 200


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_challenge": None}, "invalid_request"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"scope": "records:read everything"}, "invalid_scope"),
        ({"scope": None}, "invalid_scope"),
    ],
)
def test_a_wrong_request_is_answered_with_its_error_and_the_issuer(
    flow: Flow, changes: dict[str, str | None], error: str
) -> None:
    answer = flow.authorize(**changes)
    assert answer.status_code == 303
    query = {name: values[0] for name, values in parse_qs(urlsplit(answer.headers["location"]).query).items()}
    assert query == {"error": error, "state": "s1", "iss": flow.origin}


@pytest.mark.parametrize(
    "changes", [{"redirect_uri": "http://127.0.0.1:1/elsewhere"}, {"client_id": "somebody"}, {"redirect_uri": None}]
)
def test_an_unknown_client_or_address_is_never_redirected(flow: Flow, changes: dict[str, str | None]) -> None:
    answer = flow.authorize(**changes)
    assert answer.status_code == 400
    assert "location" not in answer.headers


def test_a_refusal_reaches_the_client_as_access_denied(flow: Flow) -> None:
    answer = flow.decide(flow.sign_in(flow.authorize()), "refuse")
    assert answer == {"error": "access_denied", "state": "s1", "iss": flow.origin}


def test_a_wrong_password_asks_again_and_gives_no_consent_page(flow: Flow) -> None:
    answer = flow.sign_in(flow.authorize(), password="wrong")
    assert answer.status_code == 401
    page = parse_page(str(answer.url), answer.status_code, answer.text)
    assert page.forms[0].has("username", "password")
    assert not any(form.decides() for form in page.forms)
    assert flow.sign_in(answer).status_code == 200


def test_a_person_without_an_account_cannot_sign_in(flow: Flow, town: Town) -> None:
    flow.person = next(person for person in town.people if CITIC not in person.accounts)
    assert flow.sign_in(flow.authorize()).status_code == 401


def test_a_ticket_that_nobody_sealed_gives_no_code(flow: Flow) -> None:
    answer = flow.http.post(f"{flow.origin}/oauth/decision", data={"ticket": "e30.e30", "decision": "approve"})
    assert answer.status_code == 400


def test_a_wrong_verifier_gives_no_token(flow: Flow) -> None:
    answer = flow.redeem(flow.code(), code_verifier="w" * 64)
    assert (answer.status_code, answer.json()) == (400, {"error": "invalid_grant"})


def test_another_return_address_gives_no_token(flow: Flow) -> None:
    assert flow.redeem(flow.code(), redirect_uri=f"{HUB}/links/callback/other").json() == {"error": "invalid_grant"}


def test_a_code_used_twice_takes_its_tokens_with_it(flow: Flow) -> None:
    code = flow.code()
    tokens = flow.redeem(code).json()
    assert flow.userinfo(tokens["access_token"]).status_code == 200
    assert flow.redeem(code).json() == {"error": "invalid_grant"}
    assert flow.userinfo(tokens["access_token"]).status_code == 401
    assert flow.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"]).status_code == 400


def test_the_client_must_use_its_secret_in_the_header(flow: Flow) -> None:
    code = flow.code()
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": flow.redirect_uri}
    form |= {"code_verifier": VERIFIER, "client_id": flow.basic[0], "client_secret": flow.basic[1]}
    wrong = ["", _basic(flow.basic[0], "wrong"), _basic("wrong", flow.basic[1]), "Basic %%%", "Bearer x"]
    for header in wrong:
        answer = flow.http.post(f"{flow.origin}/oauth/token", data=form, headers={"authorization": header})
        assert (answer.status_code, answer.json()) == (401, {"error": "invalid_client"})
        assert answer.headers["www-authenticate"].startswith("Basic")
    assert flow.redeem(code).status_code == 200


def _basic(client_id: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def test_an_unknown_grant_type_is_refused(flow: Flow) -> None:
    assert flow.token(grant_type="password").json() == {"error": "unsupported_grant_type"}


def test_refreshing_may_narrow_the_scope_and_never_widen_it(flow: Flow) -> None:
    tokens = flow.redeem(flow.code()).json()
    narrow = flow.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"], scope="records:read").json()
    assert narrow["scope"] == "records:read"
    assert flow.userinfo(narrow["access_token"]).status_code == 401
    wide = flow.token(grant_type="refresh_token", refresh_token=narrow["refresh_token"], scope="records:read openid")
    assert wide.json() == {"error": "invalid_scope"}


def test_revoking_the_refresh_token_ends_the_access_too(flow: Flow) -> None:
    tokens = flow.redeem(flow.code()).json()
    form = {"token": tokens["refresh_token"]}
    assert flow.http.post(f"{flow.origin}/oauth/revoke", data=form).status_code == 401
    assert flow.userinfo(tokens["access_token"]).status_code == 200
    assert flow.http.post(f"{flow.origin}/oauth/revoke", data=form, auth=flow.basic).status_code == 200
    assert flow.userinfo(tokens["access_token"]).status_code == 401
    assert flow.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"]).json() == {
        "error": "invalid_grant"
    }


def test_revoking_an_access_token_leaves_the_grant(flow: Flow) -> None:
    tokens = flow.redeem(flow.code()).json()
    flow.http.post(f"{flow.origin}/oauth/revoke", data={"token": tokens["access_token"]}, auth=flow.basic)
    assert flow.userinfo(tokens["access_token"]).status_code == 401
    fresh = flow.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"]).json()
    assert flow.userinfo(fresh["access_token"]).status_code == 200


def test_revoking_what_nobody_knows_is_no_error(flow: Flow) -> None:
    answer = flow.http.post(f"{flow.origin}/oauth/revoke", data={"token": "unknown"}, auth=flow.basic)
    assert answer.status_code == 200


def test_a_restarted_platform_honours_the_tokens_of_before(
    flow: Flow, serve: Callable[..., str], make_site: Callable[..., Site]
) -> None:
    tokens = flow.redeem(flow.code()).json()
    again = Flow(serve(CiticCarbon(Front(flow.site)).app), flow.site, flow.person)
    assert again.userinfo(tokens["access_token"]).json() == {"sub": flow.person.accounts[CITIC]}
    stranger = make_site(BEIJING)
    other = Flow(serve(CiticCarbon(Front(replace(flow.site, secrets=stranger.secrets))).app), stranger, flow.person)
    assert other.userinfo(tokens["access_token"]).status_code == 401


def test_an_access_token_ends_with_its_hour(
    make_site: Callable[..., Site], serve: Callable[..., str], town: Town
) -> None:
    times = [datetime(2026, 11, 1, tzinfo=UTC)]
    site = replace(make_site(CITIC, hub_url=HUB), clock=lambda: times[0])
    flow = Flow(serve(CiticCarbon(Front(site)).app), site, town.people[0])
    tokens = flow.redeem(flow.code()).json()
    times[0] += timedelta(seconds=tokens["expires_in"] - 1)
    assert flow.userinfo(tokens["access_token"]).status_code == 200
    times[0] += timedelta(seconds=1)
    assert flow.userinfo(tokens["access_token"]).status_code == 401
    assert flow.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"]).status_code == 200


def test_a_sealed_statement_of_one_kind_never_passes_for_another() -> None:
    now = datetime(2026, 11, 1, tzinfo=UTC)
    sealer = Sealer(b"k" * 32)
    text = sealer.seal("refresh", {"sub": "x"}, now=now, lives=timedelta(minutes=1))
    assert sealer.open("refresh", text, now=now) is not None
    assert sealer.open("access", text, now=now) is None
    assert sealer.open("refresh", text[:-1] + ("A" if text[-1] != "A" else "B"), now=now) is None
    assert Sealer(b"l" * 32).open("refresh", text, now=now) is None
    assert sealer.open("refresh", text, now=now + timedelta(minutes=1)) is None
