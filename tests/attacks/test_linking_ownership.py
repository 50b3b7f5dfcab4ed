"""Attacks on who owns an account and what is sealed for them: races, moved ciphertexts, withdrawn grants."""

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import Engine, Executable, delete, func, select, update
from sqlalchemy.exc import DatabaseError
from sqlalchemy.orm import Session
from sqlmodel import col
from tests_support.oauth_platforms import OAuthPlatform, Town

from consent.changes import Change
from consent.grants import activate_grant, request_grant
from consent.guard import ASKED_SCHEMA, permit
from consent.keyring import KeyRing, load_keyring
from consent.link_access import LinkUnusable, load_access
from consent.links import AlreadyLinked, LinkState, Tokens, account_key, close_link, open_link, owners
from consent.people import add_person
from consent.platform_tokens import Refreshed, refresh, revoke_at_platform
from consent.platforms import PlatformRefused
from consent.seal import SealError
from consent.tables import GrantVersion, Link
from consent.terms import HUB, GrantTerms, Purpose, Sensitive
from consent.withdraw import withdraw_grant
from hub.db import writing

MINUTE = timedelta(minutes=1)


class Hub:
    """People with a grant for the bank, and links to it."""

    def __init__(self, engine: Engine, ring: KeyRing, now: datetime) -> None:
        self.engine, self.ring, self.now = engine, ring, now
        self.bank = OAuthPlatform("bank")
        self.town = Town(self.bank)
        self.transactions = partial(writing, engine)
        self.told: list[str] = []

    def sign_up(self, name: str) -> tuple[int, str]:
        terms = GrantTerms(
            recipient=HUB,
            purposes=frozenset({Purpose.COLLECT, Purpose.CLEAR, Purpose.DISCLOSE}),
            behaviours=frozenset({"MOB-BIKE"}),
            platforms=frozenset({"bank", "evil"}),
            valid_from=self.now - timedelta(days=90),
            valid_until=self.now + timedelta(days=365),
            sensitive=frozenset(Sensitive),
            notice_version="2026-11",
            language="zh-CN",
        )
        with writing(self.engine) as session:
            person = add_person(session, self.ring, username=name, password=None, display_name=name, now=self.now)
            grant, _ = request_grant(session, subject_id=person.subject_id, terms=terms, now=self.now)
            activate_grant(session, grant_id=grant.grant_id, subject_id=person.subject_id, now=self.now)
            return person.subject_id, grant.grant_id

    def link(self, who: tuple[int, str], account: str, *, expires_in: timedelta = MINUTE) -> str:
        with writing(self.engine) as session:
            tokens = Tokens(
                access_token=f"at-{account}", refresh_token=f"rt-{account}", expires_at=self.now + expires_in
            )
            link, _ = open_link(
                session,
                self.ring,
                subject_id=who[0],
                platform="bank",
                account=account,
                grant_id=who[1],
                valid_from=self.now - timedelta(days=90),
                now=self.now,
                tokens=tokens,
            )
            return link.link_id

    def refresh(self, link_id: str) -> Refreshed:
        return refresh(
            self.transactions,
            self.ring,
            self.town,
            config=self.bank.config(),
            link_id=link_id,
            now=self.now,
            record=self.record,
        )

    def record(self, _session: Session, changes: Sequence[Change]) -> None:
        self.told += [change.what for change in changes]

    def access_token(self, link_id: str) -> str:
        with writing(self.engine) as session:
            tokens = load_access(session, self.ring, link_id=link_id, now=self.now).tokens
            assert tokens is not None
            return tokens.access_token


@pytest.fixture
def hub_at_bank(engine: Engine, now: datetime, tmp_path: Path) -> Hub:
    return Hub(engine, load_keyring(tmp_path / "keys"), now)


def in_threads(count: int, work: object) -> list[object]:
    barrier, results = threading.Barrier(count), [None] * count

    def run(number: int) -> None:
        barrier.wait()
        try:
            results[number] = work(number)  # type: ignore[operator]
        except Exception as error:
            results[number] = error  # type: ignore[call-overload]

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return list(results)


def test_of_many_people_who_link_one_account_at_once_one_gets_it(hub_at_bank: Hub) -> None:
    people = [hub_at_bank.sign_up(f"p{n}") for n in range(8)]
    results = in_threads(8, lambda n: hub_at_bank.link(people[n], "card"))
    assert sorted(type(result).__name__ for result in results) == ["AlreadyLinked"] * 7 + ["str"]
    with writing(hub_at_bank.engine) as session:
        assert session.scalar(select(func.count()).select_from(Link)) == 1


def test_the_database_itself_refuses_a_second_owner(hub_at_bank: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = hub_at_bank.sign_up("first"), hub_at_bank.sign_up("second")
    hub_at_bank.link(first, "card")
    monkeypatch.setattr("consent.links._load_history", lambda *_: [])
    with pytest.raises(AlreadyLinked):
        hub_at_bank.link(second, "card")


def test_unlinking_and_linking_anew_moves_nobodys_past_acts(hub_at_bank: Hub) -> None:
    first, second = hub_at_bank.sign_up("first"), hub_at_bank.sign_up("second")
    link_id = hub_at_bank.link(first, "card")
    with writing(hub_at_bank.engine) as session:
        close_link(session, link_id=link_id, subject_id=first[0], now=hub_at_bank.now, reason="unlinked")
    hub_at_bank.now += MINUTE
    hub_at_bank.link(second, "card")
    times = [hub_at_bank.now - timedelta(days=200), hub_at_bank.now - timedelta(days=5), hub_at_bank.now]
    asked = pl.DataFrame(
        {"row": [0, 1, 2], "account_key": account_key(hub_at_bank.ring, "bank", "card"), "at": times},
        schema_overrides={"at": pl.Datetime("us", "UTC")},
    )
    with writing(hub_at_bank.engine) as session:
        assert owners(session, platform="bank", asked=asked)["subject_id"].to_list() == [None, first[0], second[0]]


@pytest.mark.parametrize("columns", [("token_sealed",), ("account_sealed",), ("token_sealed", "account_sealed")])
def test_a_ciphertext_moved_to_another_row_does_not_open(hub_at_bank: Hub, columns: tuple[str, ...]) -> None:
    victim, attacker = hub_at_bank.sign_up("victim"), hub_at_bank.sign_up("attacker")
    stolen, own = hub_at_bank.link(victim, "rich"), hub_at_bank.link(attacker, "poor")
    with writing(hub_at_bank.engine) as session:
        source = session.get_one(Link, stolen)
        values = {column: getattr(source, column) for column in columns}
        session.execute(update(Link).where(col(Link.link_id) == own).values(**values))
    with writing(hub_at_bank.engine) as session, pytest.raises(SealError):
        load_access(session, hub_at_bank.ring, link_id=own, now=hub_at_bank.now)


def test_a_persons_own_ciphertext_does_not_open_in_their_other_link_or_column(hub_at_bank: Hub) -> None:
    who = hub_at_bank.sign_up("li")
    one, other = hub_at_bank.link(who, "one"), hub_at_bank.link(who, "other")
    for source, column in ((one, "token_sealed"), (other, "account_sealed")):
        with writing(hub_at_bank.engine) as session:
            before = session.get_one(Link, other).token_sealed
            moved = getattr(session.get_one(Link, source), column)
            session.execute(update(Link).where(col(Link.link_id) == other).values(token_sealed=moved))
        with writing(hub_at_bank.engine) as session, pytest.raises(SealError):
            load_access(session, hub_at_bank.ring, link_id=other, now=hub_at_bank.now)
        with writing(hub_at_bank.engine) as session:
            session.execute(update(Link).where(col(Link.link_id) == other).values(token_sealed=before))
    assert hub_at_bank.access_token(other) == "at-other"


@pytest.mark.parametrize("edited", ["platform", "subject_id"])
def test_an_edited_row_does_not_open(hub_at_bank: Hub, edited: str) -> None:
    """A token must not be sent to another platform, nor to another person, because somebody edited the row."""
    who, other = hub_at_bank.sign_up("li"), hub_at_bank.sign_up("wang")
    link_id = hub_at_bank.link(who, "card")
    values = {"subject_id": other[0], "grant_id": other[1]} if edited == "subject_id" else {"platform": "evil"}
    with writing(hub_at_bank.engine) as session:
        session.execute(update(Link).where(col(Link.link_id) == link_id).values(**values))
    with writing(hub_at_bank.engine) as session, pytest.raises(SealError):
        load_access(session, hub_at_bank.ring, link_id=link_id, now=hub_at_bank.now)


def test_a_withdrawn_grant_refuses_at_once_everywhere(hub_at_bank: Hub) -> None:
    who = hub_at_bank.sign_up("li")
    link_id = hub_at_bank.link(who, "card")
    asked = pl.DataFrame([(0, who[0], "bank", "MOB-BIKE", hub_at_bank.now)], schema=ASKED_SCHEMA, orient="row")
    with writing(hub_at_bank.engine) as session:
        ask = partial(permit, session, recipient=HUB, asked=asked, now=hub_at_bank.now)
        purposes = (Purpose.COLLECT, Purpose.CLEAR, Purpose.DISCLOSE)
        assert [len(ask(purpose=purpose).allowed) for purpose in purposes] == [1, 1, 1]
        withdraw_grant(session, grant_id=who[1], subject_id=who[0], now=hub_at_bank.now)
        assert [ask(purpose=purpose).refused["reason"].to_list() for purpose in purposes] == [["revoked"]] * 3
        with pytest.raises(LinkUnusable):
            load_access(session, hub_at_bank.ring, link_id=link_id, now=hub_at_bank.now)


def test_a_refresh_under_way_while_the_grant_is_withdrawn_gives_nothing_to_use_and_the_newest_token_back(
    hub_at_bank: Hub,
) -> None:
    who = hub_at_bank.sign_up("li")
    link_id = hub_at_bank.link(who, "card")
    fetch = hub_at_bank.town.fetch

    def withdraw_first(url: str, **named: object) -> object:
        if url.endswith("/token"):
            with writing(hub_at_bank.engine) as session:
                withdraw_grant(session, grant_id=who[1], subject_id=who[0], now=hub_at_bank.now)
        return fetch(url, **named)  # type: ignore[arg-type]

    hub_at_bank.town.fetch = withdraw_first  # type: ignore[method-assign, assignment]
    assert hub_at_bank.refresh(link_id) is Refreshed.BUSY
    with writing(hub_at_bank.engine) as session:
        link = session.get_one(Link, link_id)
        assert (link.state, link.give_back_at) == (LinkState.REVOKED, hub_at_bank.now)
        with pytest.raises(LinkUnusable):
            load_access(session, hub_at_bank.ring, link_id=link_id, now=hub_at_bank.now)
    hub_at_bank.town.fetch = fetch  # type: ignore[method-assign]
    assert revoke_at_platform(
        hub_at_bank.transactions, hub_at_bank.ring, hub_at_bank.town, config=hub_at_bank.bank.config(),
        link_id=link_id, now=hub_at_bank.now,
    )  # fmt: skip
    assert hub_at_bank.bank.revoked == ["rt-1"]  # the platform rotates: the token before is dead already


def test_of_many_workers_that_refresh_one_link_one_asks_the_platform(hub_at_bank: Hub) -> None:
    link_id = hub_at_bank.link(hub_at_bank.sign_up("li"), "card")
    results = in_threads(32, lambda _: hub_at_bank.refresh(link_id))
    assert hub_at_bank.bank.refresh_count == 1
    assert results.count(Refreshed.RENEWED) == 1
    assert set(results) <= {Refreshed.RENEWED, Refreshed.BUSY, Refreshed.FRESH}
    assert hub_at_bank.access_token(link_id) == "at-1"
    assert hub_at_bank.refresh(link_id) is Refreshed.FRESH


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [(503, "", Refreshed.BUSY), (429, "slow_down", Refreshed.BUSY), (400, "invalid_grant", Refreshed.BROKEN)],
)
def test_only_a_refused_grant_breaks_the_link(hub_at_bank: Hub, status: int, error: str, outcome: Refreshed) -> None:
    link_id = hub_at_bank.link(hub_at_bank.sign_up("li"), "card")
    hub_at_bank.bank.token_status, hub_at_bank.bank.token_answer = status, {"error": error}
    assert hub_at_bank.refresh(link_id) is outcome
    assert hub_at_bank.told == (["link.broken"] if outcome is Refreshed.BROKEN else [])
    hub_at_bank.bank.token_status, hub_at_bank.bank.token_answer = 200, {}
    if outcome is Refreshed.BUSY:
        assert hub_at_bank.refresh(link_id) is Refreshed.RENEWED
        return
    with pytest.raises(LinkUnusable):
        hub_at_bank.refresh(link_id)


def test_a_platform_that_refuses_the_hub_itself_breaks_no_link(hub_at_bank: Hub) -> None:
    link_id = hub_at_bank.link(hub_at_bank.sign_up("li"), "card")
    hub_at_bank.bank.token_status, hub_at_bank.bank.token_answer = 401, {"error": "invalid_client"}
    with pytest.raises(PlatformRefused):
        hub_at_bank.refresh(link_id)
    hub_at_bank.bank.token_status, hub_at_bank.bank.token_answer = 200, {}
    assert hub_at_bank.refresh(link_id) is Refreshed.RENEWED


def test_a_refresh_token_that_is_not_rotated_is_kept(hub_at_bank: Hub) -> None:
    link_id = hub_at_bank.link(hub_at_bank.sign_up("li"), "card")
    hub_at_bank.bank.token_answer = {"refresh_token": None, "expires_in": 1}
    assert [hub_at_bank.refresh(link_id) for _ in range(2)] == [Refreshed.RENEWED] * 2
    sent = [call.content.decode() for call in hub_at_bank.bank.calls if call.url.path == "/token"]
    assert all("refresh_token=rt-card" in body for body in sent)


def test_a_closed_links_token_is_given_back_even_after_a_first_failure(hub_at_bank: Hub) -> None:
    who = hub_at_bank.sign_up("li")
    link_id = hub_at_bank.link(who, "card")
    give_back = partial(
        revoke_at_platform,
        hub_at_bank.transactions,
        hub_at_bank.ring,
        hub_at_bank.town,
        config=hub_at_bank.bank.config(),
        link_id=link_id,
        now=hub_at_bank.now,
    )
    assert not give_back()
    assert hub_at_bank.bank.revoked == []
    with writing(hub_at_bank.engine) as session:
        withdraw_grant(session, grant_id=who[1], subject_id=who[0], now=hub_at_bank.now)
    hub_at_bank.bank.revoke_status = 503
    assert not give_back()
    hub_at_bank.bank.revoke_status = 200
    assert give_back()
    assert give_back()
    assert hub_at_bank.bank.revoked == ["rt-card", "rt-card"]
    with writing(hub_at_bank.engine) as session:
        assert session.get_one(Link, link_id).token_sealed is None


@pytest.mark.parametrize("statement", [update(GrantVersion).values(purposes="[]"), delete(GrantVersion)])
def test_a_version_of_a_grant_cannot_be_edited_or_deleted(hub_at_bank: Hub, statement: Executable) -> None:
    hub_at_bank.sign_up("li")
    with pytest.raises(DatabaseError, match="append-only"), writing(hub_at_bank.engine) as session:
        session.execute(statement)
