"""A person at the browser: through a small hub's pages and a real simulated platform, and back."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from html import escape
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from hub.sandbox.browser import Browser, LostWayError, Persona, link_platform, revoke_platform, sign_in
from hub.sandbox.config import secrets_of
from hub.sandbox.forms import parse_page
from hub.sandbox.people import BEIJING, WECHAT, Person
from hub.sandbox.platforms.beijing import BeijingGreenLife
from hub.sandbox.platforms.site import Front, Site
from hub.sandbox.platforms.wechat import WeChatSports
from hub.sandbox.town import Town

CHALLENGE = "A" * 43
YES_OR_NO = '<button name="decision" value="approve">yes</button><button name="decision" value="refuse">no</button>'


@dataclass
class SmallHub:
    """Sign-in, a list of links, a consent page, a callback with a last question; a session cookie and CSRF tokens."""

    person: Person
    app: FastAPI = field(default_factory=FastAPI)
    url: str = ""
    issuer: str = ""
    linked: set[str] = field(default_factory=set)
    answers: list[dict[str, str]] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    csrf: str = field(default_factory=lambda: secrets.token_hex(8))
    origins: set[str | None] = field(default_factory=set)

    def __post_init__(self) -> None:
        for path, method, route in (
            ("/signin", "GET", self.sign_in_page),
            ("/signin", "POST", self.signed_in),
            ("/links", "GET", self.links),
            ("/links/{platform}", "POST", self.link),
            ("/links/{platform}/consent", "GET", self.consent),
            ("/links/{platform}/consent", "POST", self.consented),
            ("/links/callback/{platform}", "GET", self.callback),
            ("/links/callback/{platform}", "POST", self.confirmed),
            ("/links/{platform}/revoke", "POST", self.revoke),
            ("/around", "GET", self.around),
            ("/away", "GET", self.away),
        ):
            self.app.add_api_route(path, route, methods=[method], response_model=None)

    async def form(self, request: Request) -> dict[str, str]:
        self.origins.add(request.headers.get("origin"))
        assert request.cookies.get("session") == "s"
        form = {name: str(value) for name, value in (await request.form()).items()}
        assert form.pop("csrf") == self.csrf
        return form

    def page(self, *forms: tuple[str, str]) -> Response:
        hidden = f'<input type="hidden" name="csrf" value="{self.csrf}">'
        return HTMLResponse(
            "".join(f'<form method="post" action="{to}">{hidden}{inside}</form>' for to, inside in forms)
        )

    def sign_in_page(self) -> Response:
        return self.page(
            ("/signin", '<input name="username"><input type="password" name="password"><button>in</button>')
        )

    async def signed_in(self, request: Request) -> Response:
        form = {name: str(value) for name, value in (await request.form()).items()}
        if (form["username"], form["password"]) != (self.person.username, "hub-password"):
            return self.sign_in_page()
        answer = RedirectResponse("/links", 303)
        answer.set_cookie("session", "s", httponly=True, secure=True, samesite="lax")
        return answer

    def links(self, request: Request) -> Response:
        if request.cookies.get("session") != "s":
            return RedirectResponse("/signin", 303)
        forms = [(f"/links/{one}/revoke", "<button>withdraw</button>") for one in sorted(self.linked)]
        return self.page(
            *forms, (f"/links/{BEIJING}", "<button>link</button>"), (f"/links/{WECHAT}", "<button>x</button>")
        )

    async def link(self, platform: str, request: Request) -> Response:
        await self.form(request)
        return RedirectResponse(f"/links/{platform}/consent", 303)

    def consent(self, platform: str) -> Response:
        return self.page((f"/links/{platform}/consent", YES_OR_NO))

    async def consented(self, platform: str, request: Request) -> Response:
        if (await self.form(request))["decision"] != "approve":
            return RedirectResponse("/links", 303)
        if platform == WECHAT:
            return self.page((f"/links/callback/{WECHAT}", '<input name="code"><button>go</button>'))
        query = {
            "response_type": "code",
            "client_id": secrets_of(7)[platform]["client_id"],
            "redirect_uri": f"{self.url}/links/callback/{platform}",
            "scope": "records:read openid",
            "state": "s&1",
            "code_challenge": CHALLENGE,
            "code_challenge_method": "S256",
        }
        return RedirectResponse(f"{self.issuer}/oauth/authorize?{urlencode(query)}", 303)

    def callback(self, platform: str, request: Request) -> Response:
        self.answers.append(dict(request.query_params))
        if "error" in request.query_params:
            return HTMLResponse('<form method="post" action="/signout"><button>out</button></form>Nothing linked.', 400)
        hidden = f'<input type="hidden" name="code" value="{escape(request.query_params["code"])}">'
        return self.page((f"/links/callback/{platform}", hidden + YES_OR_NO))

    async def confirmed(self, platform: str, request: Request) -> Response:
        form = await self.form(request)
        self.codes.append(form["code"])
        if form.get("decision", "approve") == "approve":
            self.linked.add(platform)
        return RedirectResponse("/links", 303)

    async def revoke(self, platform: str, request: Request) -> Response:
        form = await self.form(request)
        if "decision" not in form:
            return self.page((f"/links/{platform}/revoke", YES_OR_NO))
        self.linked.discard(platform)
        return RedirectResponse("/links", 303)

    def around(self) -> Response:
        return RedirectResponse("/around", 302)

    def away(self) -> Response:
        return RedirectResponse("http://192.0.2.1/", 302)


@pytest.fixture
def hub(serve: Callable[..., str], make_site: Callable[..., Site], town: Town, base_port: int) -> SmallHub:
    hub = SmallHub(town.people[0])
    hub.url, hub.issuer = serve(hub.app), f"http://127.0.0.1:{base_port}"
    serve(BeijingGreenLife(Front(make_site(BEIJING, hub_url=hub.url, origin=hub.issuer))).app, base_port)
    return hub


@pytest.fixture
def persona(town: Town) -> Persona:
    person = town.people[0]
    return Persona(username=person.username, hub_password="hub-password", platform_password=person.password)


def test_a_person_signs_in_and_links_a_platform(hub: SmallHub, persona: Persona) -> None:
    with Browser() as browser:
        assert sign_in(browser, hub.url, persona).path == "/links"
        page = link_platform(browser, hub.url, BEIJING, persona)
    assert page.path == "/links"
    assert hub.linked == {BEIJING}
    assert (hub.answers[0]["iss"], hub.answers[0]["state"]) == (hub.issuer, "s&1")
    assert hub.origins == {hub.url}


@pytest.mark.parametrize(("where", "answers"), [("hub", 0), ("platform", 1), ("callback", 1)])
def test_a_person_may_say_no_at_every_question(hub: SmallHub, persona: Persona, where: str, answers: int) -> None:
    with Browser() as browser:
        sign_in(browser, hub.url, persona)
        page = link_platform(browser, hub.url, BEIJING, persona, refuse_at=where)
    assert page.path == (f"/links/callback/{BEIJING}" if where == "platform" else "/links")
    assert hub.linked == set()
    assert len(hub.answers) == answers
    assert [answer.get("error") for answer in hub.answers] == [
        "access_denied" if where == "platform" else None
    ] * answers


def test_a_person_withdraws_and_is_asked_once_more(hub: SmallHub, persona: Persona) -> None:
    with Browser() as browser:
        sign_in(browser, hub.url, persona)
        link_platform(browser, hub.url, BEIJING, persona)
        assert revoke_platform(browser, hub.url, BEIJING).path == "/links"
        assert hub.linked == set()
        with pytest.raises(LostWayError, match="nothing to withdraw"):
            revoke_platform(browser, hub.url, BEIJING)


def test_the_phone_gives_the_code_for_wechat(
    hub: SmallHub, town: Town, serve: Callable[..., str], make_site: Callable[..., Site]
) -> None:
    person, phone = town.people[0], serve(WeChatSports(Front(make_site(WECHAT, hub_url=hub.url))).app)

    def fetch_code() -> str:
        form = {"username": person.username, "password": person.password}
        answer = httpx.post(f"{phone}/phone/login", data=form, trust_env=False, timeout=60)
        return str(answer.json()["code"])

    persona = Persona(
        username=person.username,
        hub_password="hub-password",
        platform_password=person.password,
        fetch_code=fetch_code,
    )
    with Browser() as browser:
        sign_in(browser, hub.url, persona)
        link_platform(browser, hub.url, WECHAT, persona)
    assert hub.linked == {WECHAT}
    secret = secrets_of(7)[WECHAT]
    query = {"appid": secret["app_id"], "secret": secret["app_secret"], "js_code": hub.codes[0]}
    session: dict[str, Any] = httpx.get(
        f"{phone}/sns/jscode2session", params=query | {"grant_type": "authorization_code"}, trust_env=False, timeout=60
    ).json()
    assert session["openid"] == person.accounts[WECHAT]


def test_a_wrong_password_does_not_let_anybody_in(hub: SmallHub, persona: Persona) -> None:
    wrong = Persona(username=persona.username, hub_password="wrong", platform_password="wrong")
    with Browser() as browser, pytest.raises(LostWayError, match="does not let"):
        sign_in(browser, hub.url, wrong)


def test_a_wrong_password_at_the_platform_ends_the_way(hub: SmallHub, persona: Persona) -> None:
    wrong = Persona(username=persona.username, hub_password="hub-password", platform_password="wrong")
    with Browser() as browser:
        sign_in(browser, hub.url, wrong)
        with pytest.raises(LostWayError, match="answered 401"):
            link_platform(browser, hub.url, BEIJING, wrong)
    assert hub.linked == set()


def test_a_circle_of_redirects_ends(hub: SmallHub) -> None:
    with Browser() as browser, pytest.raises(LostWayError, match="circle"):
        browser.open(f"{hub.url}/around")


def test_nobody_is_led_out_of_town(hub: SmallHub) -> None:
    with Browser() as browser, pytest.raises(LostWayError, match="outside the town"):
        browser.open(f"{hub.url}/away")


def test_an_error_never_repeats_a_query(hub: SmallHub) -> None:
    with Browser() as browser, pytest.raises(LostWayError) as caught:
        browser.submit(
            browser.open(f"{hub.url}/signin?code=secret"), browser.open(f"{hub.url}/signin").forms[0], press=("a", "b")
        )
    assert "secret" not in str(caught.value)


def test_forms_are_read_as_a_browser_reads_them() -> None:
    page = parse_page(
        "http://127.0.0.1/deep/page?x=1",
        200,
        """<form action="next" method=POST><input type=hidden name=a value="1 &amp; 2"><input name=b disabled value=2>
        <textarea name=c></textarea><input type=checkbox name=d checked><input type=checkbox name=e value=5>
        <select name=f><option value=6>six<option value=7 selected>seven</select><button name=g value=8>go</button>
        <input type=submit name=h value=9></form><input name=outside><form><input name=i></form>""",
    )
    first, second = page.forms
    assert (first.action, first.method) == ("http://127.0.0.1/deep/next", "POST")
    assert first.values == {"a": "1 & 2", "c": "", "d": "on", "f": "7"}
    assert first.fillable == {"c", "d", "e", "f"}
    assert first.buttons == (("g", "8"), ("h", "9"))
    assert (second.action, second.method, second.values) == ("http://127.0.0.1/deep/page?x=1", "GET", {"i": ""})
