"""Links: who owned an account when, tokens under lease, on both databases."""

from collections.abc import Callable
from datetime import datetime, timedelta

import polars as pl
import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from consent.grants import activate_grant, pause_grant, request_grant
from consent.keyring import KeyRing
from consent.link_access import LinkUnusable, load_access
from consent.links import (
    AlreadyLinked,
    LinkNotFound,
    Tokens,
    account_key,
    account_keys,
    close_link,
    load_links,
    mark_broken,
    open_link,
    owners,
    release_lease,
    store_tokens,
    take_lease,
)
from consent.people import add_person
from consent.tables import Link
from consent.terms import GrantTerms
from hub.db import writing

P = "citic-carbon"
HOUR = timedelta(hours=1)
Opened = tuple[int, str]


@pytest.fixture
def person(engine: Engine, ring: KeyRing, make_terms: Callable[..., GrantTerms], now: datetime) -> Callable[[], Opened]:
    """Add a person who allows collecting from the platform; gives subject id and grant id."""
    count = iter(range(100))

    def add() -> Opened:
        with writing(engine) as session:
            name = f"p{next(count)}"
            subject_id = add_person(session, ring, username=name, password=None, display_name="x", now=now).subject_id
            grant, _ = request_grant(session, subject_id=subject_id, terms=make_terms(), now=now)
            activate_grant(session, grant_id=grant.grant_id, subject_id=subject_id, now=now)
            return subject_id, grant.grant_id

    return add


def link_account(
    session: Session, ring: KeyRing, who: Opened, account: str, now: datetime, **changed: object
) -> tuple[Link, str]:
    details = {
        "platform": P,
        "valid_from": now - 30 * 24 * HOUR,
        "tokens": Tokens(access_token="at-1", refresh_token="rt-1"),
    }
    link, change = open_link(
        session, ring, subject_id=who[0], grant_id=who[1], account=account, now=now, **{**details, **changed}
    )
    return link, change.what


def owner_at(session: Session, ring: KeyRing, account: str, *times: datetime) -> list[int | None]:
    asked = pl.DataFrame(
        {"row": range(len(times)), "account_key": account_key(ring, P, account), "at": times},
        schema_overrides={"at": pl.Datetime("us", "UTC")},
    )
    return owners(session, platform=P, asked=asked)["subject_id"].to_list()


def test_a_record_belongs_to_the_owner_at_the_time_of_the_act(
    engine: Engine, ring: KeyRing, person: Callable[[], Opened], now: datetime
) -> None:
    first, second = person(), person()
    with writing(engine) as session:
        link, _ = link_account(session, ring, first, "card", now)
        close_link(session, link_id=link.link_id, subject_id=first[0], now=now + HOUR, reason="unlinked")
        link_account(session, ring, second, "card", now + 2 * HOUR)
        times = [now - 60 * 24 * HOUR, now - HOUR, now, now + HOUR, now + 2 * HOUR, now + 9 * HOUR]
        assert owner_at(session, ring, "card", *times) == [None, first[0], first[0], None, second[0], second[0]]


def test_relinking_ones_own_account_never_claims_a_time_twice(
    engine: Engine, ring: KeyRing, person: Callable[[], Opened], now: datetime
) -> None:
    who = person()
    with writing(engine) as session:
        one, _ = link_account(session, ring, who, "card", now)
        close_link(session, link_id=one.link_id, subject_id=who[0], now=now + HOUR, reason="unlinked")
        two, _ = link_account(session, ring, who, "card", now + 5 * HOUR)
        assert one.valid_until == two.valid_from == now + HOUR


def test_linking_an_account_that_is_ones_own_renews_the_link(
    engine: Engine, ring: KeyRing, person: Callable[[], Opened], now: datetime
) -> None:
    who = person()
    with writing(engine) as session:
        link, what = link_account(session, ring, who, "card", now)
        mark_broken(session, link_id=link.link_id, reason="refused")
        again, what_again = link_account(session, ring, who, "card", now + HOUR, tokens=Tokens(access_token="at-2"))
        assert (what, what_again) == ("link.opened", "link.renewed")
        assert again.link_id == link.link_id
        access = load_access(session, ring, link_id=link.link_id, now=now)
        assert access.tokens == Tokens(access_token="at-2")


def test_an_account_of_another_person_cannot_be_linked_even_while_broken(
    engine: Engine, ring: KeyRing, person: Callable[[], Opened], now: datetime
) -> None:
    first, second = person(), person()
    with writing(engine) as session:
        link, _ = link_account(session, ring, first, "card", now)
        for _ in range(2):
            with pytest.raises(AlreadyLinked):
                link_account(session, ring, second, "card", now)
            mark_broken(session, link_id=link.link_id, reason="refused")
        assert load_links(session, subject_id=second[0]) == []
        link_account(session, ring, second, "card", now, platform="kuaidian")


def test_a_link_is_closed_by_its_person_once(
    engine: Engine, ring: KeyRing, person: Callable[[], Opened], now: datetime
) -> None:
    who = person()
    with writing(engine) as session:
        link, _ = link_account(session, ring, who, "card", now)
        ids = {"link_id": link.link_id, "now": now, "reason": "unlinked"}
        with pytest.raises(LinkNotFound):
            close_link(session, subject_id=who[0] + 1, **ids)
        close_link(session, subject_id=who[0], **ids)
        with pytest.raises(LinkNotFound):
            close_link(session, subject_id=who[0], **ids)
        assert mark_broken(session, link_id=link.link_id, reason="x") is None


def test_account_keys_of_a_batch_are_those_of_its_accounts(ring: KeyRing) -> None:
    keys = account_keys(ring, P, pl.Series(["a", "b", None, "a"], dtype=pl.String))
    assert keys.to_list() == [account_key(ring, P, "a"), account_key(ring, P, "b"), None, account_key(ring, P, "a")]
    assert account_key(ring, P, "a") != account_key(ring, "kuaidian", "a")
    assert account_keys(ring, P, pl.Series([], dtype=pl.String)).to_list() == []


def test_owners_answers_every_row_in_order_and_null_for_an_unknown_account(
    engine: Engine, ring: KeyRing, person: Callable[[], Opened], now: datetime
) -> None:
    who = person()
    with writing(engine) as session:
        link, _ = link_account(session, ring, who, "card", now)
        asked = pl.DataFrame(
            {
                "row": [5, 3, 5, 9],
                "account_key": [account_key(ring, P, "card"), "0" * 32, None, account_key(ring, P, "card")],
                "at": now,
            },
            schema_overrides={"at": pl.Datetime("us", "UTC")},
        )
        answered = owners(session, platform=P, asked=asked)
        assert answered.rows() == [
            (5, who[0], link.link_id),
            (3, None, None),
            (5, None, None),
            (9, who[0], link.link_id),
        ]
        assert owners(session, platform="kuaidian", asked=asked)["subject_id"].null_count() == 4
        assert owners(session, platform=P, asked=asked.clear()).is_empty()


def test_access_is_opened_only_while_link_and_grant_allow_it(
    engine: Engine, ring: KeyRing, person: Callable[[], Opened], now: datetime
) -> None:
    who = person()
    with writing(engine) as session:
        link, _ = link_account(session, ring, who, "card", now)
        access = load_access(session, ring, link_id=link.link_id, now=now)
        assert (access.account, access.tokens, access.platform) == (
            "card",
            Tokens(access_token="at-1", refresh_token="rt-1"),
            P,
        )
        assert "at-1" not in repr(access)
        assert "card" not in repr(access)
        for moment in (now + 300 * 24 * HOUR, now - 31 * 24 * HOUR):
            with pytest.raises(LinkUnusable, match="grant"):
                load_access(session, ring, link_id=link.link_id, now=moment)
        pause_grant(session, grant_id=who[1], subject_id=who[0], now=now)
        with pytest.raises(LinkUnusable, match="grant"):
            load_access(session, ring, link_id=link.link_id, now=now)
        mark_broken(session, link_id=link.link_id, reason="refused")
        with pytest.raises(LinkUnusable, match="link_inactive"):
            load_access(session, ring, link_id=link.link_id, now=now)
        with pytest.raises(LinkUnusable, match="link_inactive"):
            load_access(session, ring, link_id="l_unknown", now=now)


def test_a_lease_has_one_holder_until_it_ends(
    engine: Engine, ring: KeyRing, person: Callable[[], Opened], now: datetime
) -> None:
    with writing(engine) as session:
        link, _ = link_account(session, ring, person(), "card", now)
        ids = {"link_id": link.link_id, "life": HOUR}
        assert take_lease(session, holder="a", now=now, **ids)
        assert not take_lease(session, holder="b", now=now, **ids)
        assert take_lease(session, holder="b", now=now + HOUR, **ids)
        release_lease(session, link_id=link.link_id, holder="a")
        assert not take_lease(session, holder="a", now=now + HOUR, **ids)
        release_lease(session, link_id=link.link_id, holder="b")
        assert take_lease(session, holder="a", now=now + HOUR, **ids)


def test_a_worker_that_lost_its_lease_cannot_store_its_token(
    engine: Engine, ring: KeyRing, person: Callable[[], Opened], now: datetime
) -> None:
    with writing(engine) as session:
        link, _ = link_account(session, ring, person(), "card", now)
        ids = {"link_id": link.link_id, "tokens": Tokens(access_token="late")}
        assert take_lease(session, link_id=link.link_id, holder="slow", now=now, life=HOUR)
        assert take_lease(session, link_id=link.link_id, holder="new", now=now + HOUR, life=HOUR)
        assert not store_tokens(session, ring, holder="slow", expected_version=1, **ids)
        assert not store_tokens(session, ring, holder="new", expected_version=0, **ids)
        assert store_tokens(session, ring, holder="new", expected_version=1, **ids)
        assert not store_tokens(session, ring, holder="new", expected_version=1, **ids)
        access = load_access(session, ring, link_id=link.link_id, now=now)
        assert access.tokens == Tokens(access_token="late")
        assert access.token_version == 2
