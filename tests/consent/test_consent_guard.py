"""The guard: a table of refusals in order of precedence, and a slow reading of the rule to compare with."""

import random
from collections.abc import Callable
from datetime import datetime, timedelta

import polars as pl
import pytest
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session

from consent.grants import (
    GrantState,
    activate_grant,
    amend_grant,
    load_grants,
    pause_grant,
    refuse_grant,
    request_grant,
    revoke_grant,
)
from consent.guard import ASKED_SCHEMA, Permit, PermitForged, Refusal, permit
from consent.keyring import KeyRing
from consent.links import close_link, mark_broken, open_link
from consent.people import add_person
from consent.terms import HUB, GrantTerms, Purpose
from consent.withdraw import expire_due
from hub.db import writing

DAY = timedelta(days=1)
Given = Callable[..., str]


@pytest.fixture
def subject_id(engine: Engine, ring: KeyRing, now: datetime) -> int:
    with writing(engine) as session:
        return add_person(session, ring, username="p", password=None, display_name="x", now=now).subject_id


def give(session: Session, subject_id: int, terms: GrantTerms, now: datetime) -> str:
    grant, _ = request_grant(session, subject_id=subject_id, terms=terms, now=now)
    activate_grant(session, grant_id=grant.grant_id, subject_id=subject_id, now=now)
    return grant.grant_id


def ask(subject_id: int | None, at: datetime | None, **changed: str | None) -> pl.DataFrame:
    row = {"row": 7, "subject_id": subject_id, "platform": "citic-carbon", "behaviour": "MOB-BIKE", "at": at}
    return pl.DataFrame([{**row, **changed}], schema=ASKED_SCHEMA)


def reason_of(permit: Permit) -> str | None:
    assert len(permit.allowed) + len(permit.refused) == 1
    assert {*permit.allowed["row"], *permit.refused["row"]} == {7}
    return None if permit.refused.is_empty() else permit.refused["reason"][0]


CASES = {
    Refusal.NO_GRANT: ("none", {}, {}, {}),
    Refusal.RECIPIENT: ("active", {"recipient": "c_bank"}, {}, {}),
    Refusal.PLATFORM: ("active", {}, {"platform": "kuaidian"}, {}),
    Refusal.PURPOSE: ("active", {"purposes": frozenset({Purpose.COLLECT})}, {}, {}),
    Refusal.BEHAVIOUR: ("active", {}, {"behaviour": "MOB-EV"}, {}),
    Refusal.REQUESTED: ("requested", {}, {}, {}),
    Refusal.REFUSED: ("refused", {}, {}, {}),
    Refusal.REVOKED: ("revoked", {}, {}, {}),
    Refusal.EXPIRED: ("active", {}, {}, {"now": 300 * DAY}),
    Refusal.PAUSED: ("paused", {}, {}, {}),
    Refusal.NOT_STARTED: ("active", {}, {}, {"now": -31 * DAY}),
    Refusal.PERIOD: ("active", {}, {}, {"at": -31 * DAY}),
    Refusal.LINK_INACTIVE: ("active", {}, {}, {"purpose": Purpose.COLLECT}),
}


def test_the_table_of_cases_covers_every_refusal() -> None:
    assert list(CASES) == list(Refusal)


@pytest.mark.parametrize("refusal", list(Refusal))
def test_each_refusal_has_its_case(
    engine: Engine, subject_id: int, make_terms: Callable[..., GrantTerms], now: datetime, refusal: Refusal
) -> None:
    state, changed_terms, changed_row, asked = CASES[refusal]
    with writing(engine) as session:
        if state != "none":
            grant, _ = request_grant(session, subject_id=subject_id, terms=make_terms(**changed_terms), now=now)
            ids = {"grant_id": grant.grant_id, "subject_id": subject_id, "now": now}
            if state == "refused":
                refuse_grant(session, **ids)
            elif state != "requested":
                activate_grant(session, **ids)
            if state == "paused":
                pause_grant(session, **ids)
            if state == "revoked":
                revoke_grant(session, **ids, reason="withdrawn")
        given = permit(
            session,
            purpose=asked.get("purpose", Purpose.CLEAR),
            recipient=HUB,
            asked=ask(subject_id, now + asked.get("at", timedelta(0)), **changed_row),
            now=now + asked.get("now", timedelta(0)),
        )
        assert reason_of(given) == refusal


@pytest.mark.parametrize("member", ["purposes", "behaviours", "platforms"])
def test_an_empty_set_allows_nothing(
    engine: Engine, subject_id: int, make_terms: Callable[..., GrantTerms], now: datetime, member: str
) -> None:
    with writing(engine) as session:
        give(session, subject_id, make_terms(**{member: frozenset()}), now)
        given = permit(session, purpose=Purpose.CLEAR, recipient=HUB, asked=ask(subject_id, now), now=now)
        assert reason_of(given) == member.removesuffix("s")


@pytest.mark.parametrize(
    ("missing", "reason"),
    [("subject_id", "no_grant"), ("platform", "platform"), ("behaviour", "behaviour"), ("at", "period")],
)
def test_a_null_is_never_allowed(
    engine: Engine, subject_id: int, make_terms: Callable[..., GrantTerms], now: datetime, missing: str, reason: str
) -> None:
    asked = ask(subject_id, now).with_columns(pl.lit(None).cast(ASKED_SCHEMA[missing]).alias(missing))
    with writing(engine) as session:
        give(session, subject_id, make_terms(), now)
        assert reason_of(permit(session, purpose=Purpose.CLEAR, recipient=HUB, asked=asked, now=now)) == reason


@pytest.mark.parametrize(
    ("at", "reason"), [(-30 * DAY, None), (-30 * DAY - timedelta(microseconds=1), "period"), (300 * DAY, "period")]
)
def test_the_consented_period_includes_its_first_instant_and_not_its_last(
    engine: Engine, subject_id: int, make_terms: Callable[..., GrantTerms], now: datetime, at: timedelta, reason: str
) -> None:
    with writing(engine) as session:
        grant_id = give(session, subject_id, make_terms(), now)
        given = permit(session, purpose=Purpose.CLEAR, recipient=HUB, asked=ask(subject_id, now + at), now=now)
        assert reason_of(given) == reason
        assert given.allowed["grant_id"].to_list() == ([] if reason else [grant_id])


def test_an_amendment_holds_at_the_next_act(
    engine: Engine, subject_id: int, make_terms: Callable[..., GrantTerms], now: datetime
) -> None:
    with writing(engine) as session:
        grant_id = give(session, subject_id, make_terms(), now)
        asked = ask(subject_id, now)
        assert reason_of(permit(session, purpose=Purpose.CLEAR, recipient=HUB, asked=asked, now=now)) is None
        amend_grant(
            session,
            grant_id=grant_id,
            subject_id=subject_id,
            terms=make_terms(behaviours=frozenset({"MOB-METRO"})),
            now=now,
        )
        assert reason_of(permit(session, purpose=Purpose.CLEAR, recipient=HUB, asked=asked, now=now)) == "behaviour"


def test_collecting_takes_a_link_that_is_active_now(
    engine: Engine, ring: KeyRing, subject_id: int, make_terms: Callable[..., GrantTerms], now: datetime
) -> None:
    def reason(session: Session, purpose: Purpose) -> str | None:
        return reason_of(permit(session, purpose=purpose, recipient=HUB, asked=ask(subject_id, now), now=now))

    with writing(engine) as session:
        grant_id = give(session, subject_id, make_terms(), now)
        for end in ("broken", "closed"):
            link, _ = open_link(
                session,
                ring,
                subject_id=subject_id,
                platform="citic-carbon",
                account=end,
                grant_id=grant_id,
                valid_from=now,
                now=now,
            )
            assert reason(session, Purpose.COLLECT) is None
            if end == "broken":
                mark_broken(session, link_id=link.link_id, reason="refused")
            close_link(
                session, link_id=link.link_id, subject_id=subject_id, now=now, reason="x"
            ) if end == "closed" else ...
            assert reason(session, Purpose.COLLECT) == "link_inactive"
            assert reason(session, Purpose.CLEAR) is None


def test_expiry_refuses_before_anybody_has_recorded_it_and_after(
    engine: Engine, subject_id: int, make_terms: Callable[..., GrantTerms], now: datetime
) -> None:
    with writing(engine) as session:
        give(session, subject_id, make_terms(valid_until=now + DAY), now)
        asked = ask(subject_id, now)
        for _ in range(2):
            later = now + DAY
            assert reason_of(permit(session, purpose=Purpose.CLEAR, recipient=HUB, asked=asked, now=later)) == "expired"
            expire_due(session, now=later)
        assert load_grants(session, subject_id=subject_id)[0].state is GrantState.EXPIRED


def test_a_permit_cannot_be_made_elsewhere(now: datetime) -> None:
    frames = {"allowed": pl.DataFrame(), "refused": pl.DataFrame()}
    for mint in ({}, {"mint": object()}, {"mint": None}):
        with pytest.raises(PermitForged):
            Permit(purpose=Purpose.CLEAR, recipient=HUB, issued_at=now, **frames, **mint)


def test_an_empty_batch_gets_an_empty_permit(engine: Engine, now: datetime) -> None:
    with writing(engine) as session:
        given = permit(
            session, purpose=Purpose.COLLECT, recipient=HUB, asked=pl.DataFrame(schema=ASKED_SCHEMA), now=now
        )
    assert (len(given.allowed), len(given.refused)) == (0, 0)


def test_the_guard_agrees_with_a_row_by_row_reading_of_the_rule(
    engine: Engine, ring: KeyRing, make_terms: Callable[..., GrantTerms], now: datetime
) -> None:
    dice = random.Random(20261120)
    behaviours, platforms = ["MOB-BIKE", "MOB-METRO", "MOB-EV", "MOB-WALK"], ["citic-carbon", "kuaidian", "wechat"]
    purposes, recipients = list(Purpose), [HUB, "c_bank"]
    with writing(engine) as session:
        people = [
            add_person(session, ring, username=f"p{n}", password=None, display_name="x", now=now).subject_id
            for n in range(25)
        ]
        for _ in range(60):
            terms = make_terms(
                recipient=dice.choice(recipients),
                purposes=frozenset(dice.sample(purposes, dice.randrange(5))),
                behaviours=frozenset(dice.sample(behaviours, dice.randrange(5))),
                platforms=frozenset(dice.sample(platforms, dice.randrange(4))),
                valid_from=now + dice.randrange(-20, 5) * DAY,
                valid_until=now + dice.randrange(6, 20) * DAY,
            )
            ids = {"grant_id": give(session, dice.choice(people[:20]), terms, now), "now": now}
            owner = next(
                g.subject_id
                for p in people
                for g in load_grants(session, subject_id=p)
                if g.grant_id == ids["grant_id"]
            )
            fate = dice.random()
            if fate < 0.15:
                pause_grant(session, subject_id=owner, **ids)
            elif fate < 0.3:
                revoke_grant(session, subject_id=owner, reason="withdrawn", **ids)
        rows = [
            (
                n,
                dice.choice(people),
                dice.choice(platforms),
                dice.choice(behaviours),
                now + dice.randrange(-25, 25) * DAY,
            )
            for n in range(1500)
        ]
        asked = pl.DataFrame(rows, schema=ASKED_SCHEMA, orient="row")
        grants = {person: load_grants(session, subject_id=person) for person in people}
        seen = set()
        for recipient in recipients:
            for purpose in (Purpose.CLEAR, Purpose.DISCLOSE):
                given = permit(session, purpose=purpose, recipient=recipient, asked=asked, now=now)
                slow = {
                    row
                    for row, person, platform, behaviour, at in rows
                    if any(
                        g.state is GrantState.ACTIVE
                        and g.terms.recipient == recipient
                        and purpose in g.terms.purposes
                        and platform in g.terms.platforms
                        and behaviour in g.terms.behaviours
                        and g.terms.valid_from <= now < g.terms.valid_until
                        and g.terms.valid_from <= at < g.terms.valid_until
                        for g in grants[person]
                    )
                }
                assert set(given.allowed["row"]) == slow
                assert set(given.refused["row"]) == set(range(1500)) - slow
                assert len(given.allowed) + len(given.refused) == 1500
                seen |= set(given.refused["reason"])
                assert slow
        assert seen == {refusal.value for refusal in Refusal} - {"requested", "refused", "expired", "link_inactive"}


def test_a_batch_takes_no_more_queries_than_a_row(
    engine: Engine, ring: KeyRing, subject_id: int, make_terms: Callable[..., GrantTerms], now: datetime
) -> None:
    statements: list[str] = []

    def listen(*arguments: object) -> None:
        statements.append(str(arguments[2]))

    with writing(engine) as session:
        give(session, subject_id, make_terms(), now)
        ids = [subject_id, *range(1, 40_000)]
        asked = pl.DataFrame(
            {"row": range(len(ids)), "subject_id": ids, "platform": "citic-carbon", "behaviour": "MOB-BIKE", "at": now},
            schema_overrides={"at": ASKED_SCHEMA["at"]},
        )
        session.flush()
        event.listen(engine, "before_cursor_execute", listen)
        given = permit(session, purpose=Purpose.COLLECT, recipient=HUB, asked=asked, now=now)
        event.remove(engine, "before_cursor_execute", listen)
    assert len(statements) == 2  # the grants with their links, and who has a grant to somebody else
    assert given.refused["reason"].value_counts(sort=True).rows() == [("no_grant", 39_999), ("link_inactive", 1)]


def test_what_is_collected_comes_from_one_platform_at_a_time(
    engine: Engine, subject_id: int, make_terms: Callable[..., GrantTerms], now: datetime
) -> None:
    with writing(engine) as session:
        give(session, subject_id, make_terms(), now)
        two = pl.concat([ask(subject_id, now), ask(subject_id, now, platform="kuaidian")])
        with pytest.raises(ValueError, match="one platform at a time"):
            permit(session, purpose=Purpose.COLLECT, recipient=HUB, asked=two, now=now)
