"""A platform that is not ours is linked and read with configuration and a mapping only, however wicked it is.

Collected only where Node is installed and TANLIAN_PLATFORM_KIT names the kit's folder (see conftest.py). The hub's
portal is walked through over real HTTP; the reading is done here, so that no test waits for a clock.
"""

import json
import os
import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, Request
from platform_kit.kit import MAPPINGS, PLATFORM, Kit, in_our_words, participant
from sqlalchemy import update
from tests_support.portal import PASSWORD, sign_up
from tests_support.town import served_hub
from tests_support.web import free_port, look_up, served

from consent.keyring import load_keyring
from consent.platform_tokens import Refreshed, refresh
from consent.platforms import client_jwks
from consent.tables import Link
from consent.withdraw import withdraw_grant
from hub.clock import system_clock
from hub.commands.people import join_hub
from hub.context import Hub
from hub.db import make_engine, reading, writing
from hub.errors import UsageProblem
from hub.participants import open_platform, parse_document
from hub.sandbox.browser import Browser, LostWayError, Persona, link_platform, sign_in
from hub.settings import Settings
from hub.sync.cursors import make_due
from hub.sync.fetching import fetch_next
from hub.sync.giving_back import give_back
from hub.sync.outward import platform_config, platform_http
from hub.sync.tables import SyncState
from hub.sync.transactions import transactions_of
from mappings import use_mappings_from

PERSON = "person-1"
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
MOST_RUNS = 12
ALL = "par,dpop,private_key_jwt"


@pytest.fixture(scope="session")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    return Kit.installed(Path(os.environ["TANLIAN_PLATFORM_KIT"]), tmp_path_factory.mktemp("platform") / "kit")


@dataclass
class Desk:
    """A hub at a real address that knows the kit's mapping, and one person with an account on both sides."""

    hub: Hub
    kit: Kit
    subject: int
    folder: Path

    @contextmanager
    def platform(self, *, using: str = "", evil: str = "", join: bool = True, **more: Any) -> Iterator[int]:
        keys = self.folder / "jwks.json"
        keys.write_text(json.dumps(client_jwks(self.hub.ring, PLATFORM)))
        url = self.hub.settings.issuer
        with self.kit.running(url, using=using, evil=evil, CLIENT_JWKS=str(keys), **more) as port:
            if join:
                self.join(port, using)
            yield port

    def join(self, port: int, using: str = "") -> bool:
        return join_hub(self.hub, parse_document(json.dumps(participant(port, using=using))))

    def link(self) -> None:
        persona = Persona(username=PERSON, hub_password=PASSWORD, platform_password="platform")
        with Browser() as browser:
            sign_in(browser, self.hub.settings.issuer, persona)
            link_platform(browser, self.hub.settings.issuer, PLATFORM, persona)

    def read(self) -> list[str | None]:
        """Read until a run ends well; returns what each run said of itself."""
        told = []
        for _ in range(MOST_RUNS):
            with writing(self.hub.engine) as session:
                make_due(session, self.hub.clock())
            assert fetch_next(self.hub, "w1")
            told.append(self.state().last_error)
            if told[-1] is None:
                break
        return told

    def state(self) -> SyncState:
        with reading(self.hub.engine) as session:
            return session.query(SyncState).one()

    def stored(self) -> list[tuple[Any, ...]]:
        """The latest version of every record, in the words of `in_our_words`."""
        rows = look_up(
            self.hub,
            "SELECT behaviour, start_us, end_us, quantity_micro, claimed_mg, cancelled, version FROM reduction_record "
            "JOIN source_record USING (record_id) WHERE superseded_by IS NULL",
        )
        return sorted((*row[:5], bool(row[5]), row[6]) for row in rows)

    def truth(self) -> list[tuple[Any, ...]]:
        return in_our_words(self.kit.truth(PERSON))

    def change_link(self, **values: Any) -> None:
        with writing(self.hub.engine) as session:
            session.execute(update(Link).values(**values))

    def links(self) -> list[tuple[Any, ...]]:
        return look_up(self.hub, "SELECT state, scope FROM link")


@pytest.fixture
def desk(sqlite_template: Path, tmp_path: Path, kit: Kit) -> Iterator[Desk]:
    shutil.copyfile(sqlite_template, tmp_path / "hub.db")
    settings = Settings(
        _env_file=None, database_url=f"sqlite:///{tmp_path}/hub.db", keys_dir=tmp_path / "keys",
        consent_look_back=timedelta(days=3650),
    )  # fmt: skip
    engine = make_engine(settings.database_url)
    opened = Hub(settings=settings, engine=engine, ring=load_keyring(settings.keys_dir), clock=system_clock)
    use_mappings_from(MAPPINGS)
    with served_hub(opened) as there:
        yield Desk(there, kit, sign_up(there, PERSON), tmp_path)
    use_mappings_from(None)
    engine.dispose()


@pytest.mark.parametrize("using", ["", "par", "dpop", "private_key_jwt", ALL])
def test_the_platform_is_linked_and_read_by_configuration_alone(desk: Desk, using: str) -> None:
    with desk.platform(using=using):
        desk.link()
        assert desk.read() == [None]
        assert desk.stored() == desk.truth()
        before = look_up(desk.hub, "SELECT COUNT(*) FROM source_record")
        assert desk.read() == [None]
        assert look_up(desk.hub, "SELECT COUNT(*) FROM source_record") == before
        desk.change_link(token_expires_at=LONG_AGO)
        assert desk.read() == [None]  # with a renewed token


@pytest.mark.parametrize("evil", ["odd-token-type", "no-expires-in", "extra-scope"])
def test_an_odd_token_answer_neither_stops_nor_widens_anything(desk: Desk, evil: str) -> None:
    with desk.platform(evil=evil):
        desk.link()
        assert desk.links() == [("active", "openid records:read")]
        assert desk.read() == [None]
        assert desk.stored() == desk.truth()


def test_a_token_that_dies_without_having_said_when_is_renewed(desk: Desk) -> None:
    with desk.platform(evil="no-expires-in") as port:
        desk.link()
    # The platform starts anew and has forgotten the token; the next one is asked for with a grant it does not know.
    with desk.platform(evil="no-expires-in", port=port, join=False):
        assert desk.read()[0] == "refresh_refused"
        assert desk.links()[0][0] == "broken"


@pytest.mark.parametrize("evil", ["429", "500", "slow", "truncated"])
def test_a_failing_platform_loses_nothing_and_gives_nothing_twice(desk: Desk, evil: str) -> None:
    with desk.platform(evil=evil, SLOW_MS="11000"):
        desk.link()
        told = desk.read()
        # An answer that was cut on the way is asked for again at once; the others wait for their turn.
        assert (len(told) > 1) is (evil != "truncated")
        assert told[-1] is None
        assert desk.stored() == desk.truth()
        assert (
            look_up(desk.hub, "SELECT COUNT(*) FROM source_record GROUP BY source_id, digest HAVING COUNT(*) > 1") == []
        )


def test_a_feed_that_repeats_for_ever_is_noticed(desk: Desk) -> None:
    with desk.platform(evil="repeat"):
        desk.link()
        assert set(desk.read()) == {"cursor_loop"}
        assert 0 < len(desk.stored()) < len(desk.truth())


@pytest.mark.parametrize("evil", ["strip-iss", "wrong-iss", "wrong-state"])
def test_a_forged_answer_of_the_authorization_server_links_nothing(desk: Desk, evil: str) -> None:
    with desk.platform(evil=evil):
        with pytest.raises(LostWayError, match="answered 400"):
            desk.link()
        assert desk.links() == []


@pytest.mark.parametrize("evil", ["wrong-issuer", "foreign-token-endpoint"])
def test_a_platform_with_poisoned_metadata_does_not_join(desk: Desk, evil: str) -> None:
    with desk.platform(evil=evil, join=False) as port:
        with pytest.raises(UsageProblem, match=r"another issuer's|foreign origin"):
            desk.join(port)
        assert look_up(desk.hub, "SELECT COUNT(*) FROM participant") == [(0,)]


def test_a_token_endpoint_that_moves_after_joining_is_sent_nothing_until_the_operator_agrees(desk: Desk) -> None:
    calls: list[bytes] = []
    victim = FastAPI()

    @victim.api_route("/{path:path}", methods=["GET", "POST"])
    async def hear(request: Request) -> None:
        calls.append(await request.body())

    with desk.platform() as port:
        desk.link()
    with free_port() as (bound, origin), served(victim, bound):
        desk.change_link(token_expires_at=LONG_AGO)
        evil = {"evil": "foreign-token-endpoint", "port": port, "join": False}
        for address in (f"{origin}/token", f"http://127.0.0.1:{port}/elsewhere"):
            with desk.platform(**evil, VICTIM_TOKEN_ENDPOINT=address):
                assert "endpoint" in str(desk.read()[0])
                with pytest.raises(LostWayError):
                    desk.link()
                if origin not in address:
                    assert desk.join(port)  # the operator has looked and agrees
                    assert "endpoints" not in str(desk.read()[0])
    assert calls == []
    assert desk.links()[0][0] == "active"


def renew(desk: Desk) -> Refreshed:
    with reading(desk.hub.engine) as session:
        platform = open_platform(session, desk.hub.ring, PLATFORM)
    link_id = look_up(desk.hub, "SELECT link_id FROM link")[0][0]
    with platform_http(platform) as http:
        return refresh(
            transactions_of(desk.hub), desk.hub.ring, http, config=platform_config(desk.hub, platform),
            link_id=link_id, now=desk.hub.clock(), record=lambda *_: None,
        )  # fmt: skip


@pytest.mark.parametrize("using", ["", ALL])
def test_a_platform_that_rotates_strictly_is_asked_once_at_a_time(desk: Desk, using: str) -> None:
    with desk.platform(using=using, evil="rotate-strict"):
        desk.link()
        for _ in range(3):
            desk.change_link(token_expires_at=LONG_AGO)
            with ThreadPoolExecutor(32) as pool:
                results = list(pool.map(lambda _: renew(desk), range(32)))
            assert results.count(Refreshed.RENEWED) == 1
            assert set(results) <= {Refreshed.RENEWED, Refreshed.BUSY, Refreshed.FRESH}
        assert desk.read() == [None]
        assert desk.stored() == desk.truth()


def test_an_answer_lost_in_a_crash_asks_the_person_to_link_again(desk: Desk) -> None:
    with desk.platform(evil="rotate-strict"):
        desk.link()
        before = look_up(desk.hub, "SELECT token_sealed FROM link")[0][0]
        desk.change_link(token_expires_at=LONG_AGO)
        assert renew(desk) is Refreshed.RENEWED
        desk.change_link(token_sealed=before, token_expires_at=LONG_AGO)  # as if the answer had never been stored
        assert desk.read()[0] == "refresh_refused"
        assert desk.links()[0][0] == "broken"
        desk.link()
        assert desk.read() == [None]
        assert desk.stored() == desk.truth()


def test_a_withdrawal_holds_at_once_and_the_platform_is_told_when_it_listens(desk: Desk) -> None:
    with desk.platform(evil="deny-revocation") as port:
        desk.link()
        with writing(desk.hub.engine) as session:
            grant = look_up(desk.hub, "SELECT grant_id FROM link")[0][0]
            withdraw_grant(session, grant_id=grant, subject_id=desk.subject, now=desk.hub.clock())
        assert desk.read()[0] == "link_inactive"
        assert not give_back(desk.hub)
        assert look_up(desk.hub, "SELECT give_back_tries, token_sealed IS NULL FROM link") == [(1, 0)]
        assert not give_back(desk.hub)  # not due yet
        assert look_up(desk.hub, "SELECT give_back_tries FROM link") == [(1,)]
    later = replace(desk.hub, clock=lambda: system_clock() + timedelta(minutes=1))
    with desk.platform(port=port, join=False):
        assert give_back(later)
    assert look_up(desk.hub, "SELECT give_back_at, token_sealed FROM link") == [(None, None)]
