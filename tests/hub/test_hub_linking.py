"""The hub as a client in whole: joining pins, the portal links with everything on, rows without an account find their owner,
and ended links give their tokens back however long the platform does not listen."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx
import pytest
from fastapi import FastAPI, Request, Response
from platform_kit.kit import MAPPINGS, PLATFORM, participant
from sqlalchemy import text
from tests_support.oauth_platforms import OAuthPlatform
from tests_support.people import link_person
from tests_support.portal import Visitor, visitor
from tests_support.web import free_port, look_up, served

from consent.links import Tokens, open_link
from consent.platforms import client_jwks
from consent.withdraw import withdraw_grant
from hub.commands.people import join_hub
from hub.context import Hub, find_mappings
from hub.db import writing
from hub.errors import UsageProblem
from hub.participants import parse_document
from hub.sync.cursors import ensure_state, make_due
from hub.sync.fetching import fetch_next
from hub.sync.giving_back import HOLD, _take, give_back
from mappings import use_mappings_from

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
FULL = {"client_auth": "private_key_jwt", "client_secret": None, "par": True, "dpop": True}


class Clock:
    """Time stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Served(OAuthPlatform):
    """A platform at a real address, with a records API that does not say whose the records are."""

    origin: str = ""
    rows: list[dict[str, Any]] | None = None
    down: bool = False

    @property
    def issuer(self) -> str:
        return self.origin

    @property
    def app(self) -> FastAPI:
        app = FastAPI()
        app.add_api_route("/{path:path}", self._serve, methods=["GET", "POST"], response_model=None)
        return app

    async def _serve(self, request: Request) -> Response:
        if self.down:
            return Response(status_code=503)
        url = f"{self.origin}{request.url.path}" + (f"?{request.url.query}" if request.url.query else "")
        asked = httpx.Request(request.method, url, headers=request.headers.raw, content=await request.body())
        told = self._records(asked) if request.url.path == "/records" else self.answer(asked)
        return Response(told.content, told.status_code, headers=dict(told.headers))

    def _records(self, request: httpx.Request) -> httpx.Response:
        self.calls.append(request)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if self.dpop and (wrong := self._unproved(request, token)):
            return wrong
        if scheme != ("DPoP" if self.dpop else "Bearer"):
            return httpx.Response(401, json={})
        return httpx.Response(200, json={"records": self.rows or [trip()], "next_cursor": None})


def trip(**changes: Any) -> dict[str, Any]:
    return {
        "trade_no": "T-1", "ver": 1, "status": "done", "act": "bike", "begin": "2026-11-18 08:00:00",
        "finish": "2026-11-18 08:20:00", "metres": 2000, "saved_g": 500.5, "order_no": "O-1",
        "updated": "2026-11-18 09:00:00",
    } | changes  # fmt: skip


@dataclass
class World:
    """A hub whose clock can be moved, and a platform to link with."""

    hub: Hub
    clock: Clock
    platform: Served

    def join(self, **oauth: Any) -> bool:
        document = participant(int(self.platform.origin.rpartition(":")[2]))
        document["connector_config"]["records_url"] = f"{self.platform.origin}/records"
        document["oauth"] |= {"client_id": "hub@bank", "client_secret": self.platform.secret, **oauth}
        return join_hub(self.hub, parse_document(json.dumps(document)))

    def link(self, name: str = "li", account: str = "acc-1") -> tuple[int, str]:
        """Link without the portal; returns subject and link."""
        who = link_person(self.hub, name, {PLATFORM: account}, {"MOB-BIKE", "MOB-BUS", "MOB-METRO"}, NOW)
        tokens = Tokens(access_token="at-0", refresh_token="rt-0", expires_at=None)
        with writing(self.hub.engine) as session:
            open_link(
                session, self.hub.ring, subject_id=who.subject_id, platform=PLATFORM, account=account,
                grant_id=who.grant_id, valid_from=NOW, now=NOW, tokens=tokens, scope="records:read",
            )  # fmt: skip
            ensure_state(session, PLATFORM, who.link_id, NOW)
        return who.subject_id, who.link_id

    def end(self, subject: int) -> None:
        with writing(self.hub.engine) as session:
            grant = look_up(self.hub, "SELECT grant_id FROM link WHERE subject_id = :s", s=subject)[0][0]
            withdraw_grant(session, grant_id=grant, subject_id=subject, now=self.clock.now)


@pytest.fixture
def world(hub: Hub) -> Iterator[World]:
    clock = Clock()
    settings = hub.settings.model_copy(update={"allow_loopback": True})
    use_mappings_from(MAPPINGS)
    with free_port() as (bound, origin):
        platform = Served("bank", origin=origin)
        with served(platform.app, bound):
            yield World(replace(hub, clock=clock, settings=settings), clock, platform)
    use_mappings_from(None)


# Joining.


def test_joining_pins_what_the_platform_says_and_the_same_file_again_changes_nothing(world: World):
    assert world.join()
    assert look_up(world.hub, "SELECT platform, issuer FROM platform_pin") == [(PLATFORM, world.platform.origin)]
    assert not world.join()
    world.platform.metadata = {"token_endpoint": f"{world.platform.origin}/token2"}
    assert world.join()  # the operator adds it again: what is found now is trusted
    assert "token2" in look_up(world.hub, "SELECT endpoints FROM platform_pin")[0][0]


@pytest.mark.parametrize(
    ("told", "fault"),
    [
        ({"issuer": "https://evil.example"}, "another issuer's"),
        ({"token_endpoint": "https://evil.example/token"}, "foreign origin"),
        ({"code_challenge_methods_supported": ["plain"]}, "S256"),
    ],
)
def test_a_platform_that_may_not_be_trusted_does_not_join(world: World, told: dict[str, Any], fault: str):
    world.platform.metadata = told
    with pytest.raises(UsageProblem, match=fault):
        world.join()
    assert look_up(world.hub, "SELECT COUNT(*) FROM participant") == [(0,)]


def test_a_sandbox_that_is_not_up_yet_joins_and_is_pinned_when_it_is_first_met(world: World):
    port = int(world.platform.origin.rpartition(":")[2])
    world.platform.down = True
    assert world.join()
    assert look_up(world.hub, "SELECT COUNT(*) FROM platform_pin") == [(0,)]
    world.platform.down = False
    _, address = linked_as_far_as_the_platform(world)
    assert address.startswith(f"http://127.0.0.1:{port}/")
    assert look_up(world.hub, "SELECT issuer FROM platform_pin") == [(world.platform.origin,)]


@pytest.mark.parametrize(
    ("oauth", "fault"),
    [
        ({"client_secret": None}, "client_secret belongs to"),
        ({"client_auth": "private_key_jwt"}, "client_secret belongs to"),
        ({"client_auth": "none"}, "client_auth"),
        ({"account_from": "header.sub"}, "account_from"),
        ({"par": "yes please"}, "par"),
        ({"pkce": False}, "pkce"),
    ],
)
def test_a_registration_that_contradicts_itself_is_refused(world: World, oauth: dict[str, Any], fault: str):
    with pytest.raises(UsageProblem, match=fault):
        world.join(**oauth)


def test_a_mapping_that_needs_the_links_account_wants_a_connector_that_asks_for_one(world: World):
    document = participant(1) | {
        "connector": "signed_push", "connector_config": {"stream": "acts", "role": "operator"},
        "secrets": {"webhook_secrets": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
    }  # fmt: skip
    with pytest.raises(UsageProblem, match="do not say whose they are"):
        parse_document(json.dumps(document))


# The portal, with everything on.


def linked_as_far_as_the_platform(world: World) -> tuple[Visitor, str]:
    browser = visitor(world.hub)
    form = next(one for one in browser.send(f"/links/{PLATFORM}").page.forms if one.decides())
    ticked = dict.fromkeys(form.fillable, "yes")
    address = browser.send(f"/links/{PLATFORM}/decide", **{**form.values, **ticked, "decision": "approve"}).goes_to
    assert address is not None
    return browser, address


@pytest.mark.parametrize("full", [False, True])
def test_a_person_links_over_the_portal_with_and_without_everything_on(world: World, full: bool):
    if full:
        world.platform.pushes, world.platform.dpop, world.platform.nonce = True, True, "n-1"
        world.platform.jwks = client_jwks(world.hub.ring, PLATFORM)
    world.join(**(FULL if full else {}))
    browser, address = linked_as_far_as_the_platform(world)
    shown = set(parse_qs(urlsplit(address).query))
    assert shown == {"client_id", "request_uri"} if full else "code_challenge" in shown
    world.platform.account = "person-of-the-platform"
    back = urlencode(world.platform.approve(address))
    asked = browser.see(f"/links/callback/{PLATFORM}?{back}")
    assert "person-of-the-platform" in asked.text
    assert browser.send(f"/links/{PLATFORM}/confirm", decision="approve").goes_to == "/links"
    assert look_up(world.hub, "SELECT state FROM link") == [("active",)]
    assert fetch_next(world.hub, "w1")
    assert look_up(world.hub, "SELECT last_error FROM sync_state") == [(None,)]
    assert look_up(world.hub, "SELECT COUNT(*) FROM source_record") == [(1,)]


def test_the_public_keys_are_shown_for_a_platform_that_has_joined_and_hold_nothing_secret(world: World):
    world.join()
    browser = Visitor(world.hub)
    keys = browser.get(f"/links/jwks/{PLATFORM}").json()["keys"]
    assert [set(key) & {"d", "k", "p"} for key in keys] == [set()]
    assert browser.get("/links/jwks/nobody").status_code == 404


def test_a_broken_link_says_why_and_offers_to_link_again(world: World):
    world.join()
    browser = visitor(world.hub, "wang")
    subject = look_up(world.hub, "SELECT subject_id FROM person")[0][0]
    world.link()
    with writing(world.hub.engine) as session:
        session.execute(text("UPDATE link SET subject_id = :s, state = 'broken'"), {"s": subject})
        session.execute(text("UPDATE sync_state SET last_error = 'refresh_refused'"))
    step = browser.see("/links")
    assert "refresh_refused" in step.text
    actions = [urlsplit(form.action).path for form in step.page.forms]
    assert actions.count(f"/links/{PLATFORM}") == 1


# Rows that do not say whose they are.


def test_rows_without_an_account_belong_to_the_link_through_which_they_came(world: World):
    world.join()
    people = {name: world.link(name, f"acc-{name}")[0] for name in ("li", "wang")}
    for number in range(1, len(people) + 1):
        world.platform.rows = [trip(trade_no=f"T-{number}"), trip(trade_no=f"T-{number}", ver=2, metres=1000)]
        assert fetch_next(world.hub, "w1")
    owners = look_up(world.hub, "SELECT subject_id, COUNT(*) FROM source_record GROUP BY subject_id")
    assert sorted(owners) == sorted((subject, 2) for subject in people.values())


def test_the_same_unreadable_row_of_two_people_is_set_aside_twice(world: World):
    world.join()
    world.platform.rows = [trip(act="rocket")]
    for name in ("li", "wang"):
        world.link(name, f"acc-{name}")
        assert fetch_next(world.hub, "w1")
    with writing(world.hub.engine) as session:
        make_due(session, NOW)
    assert fetch_next(world.hub, "w1")
    assert look_up(world.hub, "SELECT COUNT(*) FROM quarantined") == [(2,)]


# Giving back.


def test_a_platform_that_does_not_listen_is_asked_again_later_and_later(world: World):
    world.join()
    subject, _ = world.link()
    world.platform.revoke_status = 503
    assert not give_back(world.hub)  # nothing has ended
    world.end(subject)
    waits = []
    for tries in range(1, 6):
        assert not give_back(world.hub)
        assert len(world.platform.revoked) == tries
        assert not give_back(world.hub)
        assert len(world.platform.revoked) == tries  # not before its time
        due = datetime.fromisoformat(str(look_up(world.hub, "SELECT give_back_at FROM link")[0][0])).replace(tzinfo=UTC)
        waits.append(due - world.clock.now)
        world.clock.now = due
    assert waits[-1] > 4 * waits[0] > timedelta(0)
    world.platform.revoke_status = 200
    assert give_back(world.hub)
    assert set(world.platform.revoked) == {"rt-0"}
    assert look_up(world.hub, "SELECT give_back_at, token_sealed FROM link") == [(None, None)]
    world.clock.now += timedelta(days=1)
    assert not give_back(world.hub)


@pytest.mark.parametrize("trouble", [{"down": True}, {"metadata": {"token_endpoint": "https://evil.example/token"}}])
def test_a_platform_that_cannot_even_be_discovered_keeps_its_token_waiting(world: World, trouble: dict[str, Any]):
    world.join()
    subject, _ = world.link()
    world.end(subject)
    for name, value in trouble.items():
        setattr(world.platform, name, value)
    assert not give_back(world.hub)
    assert look_up(world.hub, "SELECT give_back_tries, state FROM link WHERE token_sealed IS NOT NULL") == [
        (1, "revoked")
    ]


def test_of_two_workers_one_gives_a_token_back_and_a_dead_one_is_followed(world: World):
    world.join()
    subject, link = world.link()
    world.end(subject)
    assert [waiting.link_id for waiting in _take(world.hub)] == [link]
    assert not give_back(world.hub)  # another worker is at it
    assert world.platform.revoked == []
    world.clock.now += HOLD
    assert give_back(world.hub)  # and has died
    assert world.platform.revoked == ["rt-0"]


def test_a_link_without_a_token_has_nothing_to_give_back(world: World):
    world.join()
    who = link_person(world.hub, "li", {PLATFORM: "acc"}, {"MOB-BIKE"}, NOW)
    world.end(who.subject_id)
    assert look_up(world.hub, "SELECT give_back_at FROM link") == [(None,)]


# Settings.


def test_a_folder_of_mappings_that_cannot_be_used_stops_the_hub_with_one_line(world: World, tmp_path: Any):
    wrong = world.hub.settings.model_copy(update={"mappings_dir": tmp_path / "nowhere"})
    with pytest.raises(UsageProblem, match="TANLIAN_MAPPINGS_DIR"):
        find_mappings(wrong)
