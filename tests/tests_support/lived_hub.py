"""A hub that lived: some hours of people, deliveries, windows and withdrawals, for whoever looks at what is left of it."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
from sqlalchemy import text
from tests_support.deliveries import BEIJING, KUAIDIAN, act, charge, delivery, join
from tests_support.lived_disputes import contest
from tests_support.lived_exchange import inspect
from tests_support.lived_market import charge_tonnes, pool_and_retire
from tests_support.people import LinkedPerson, link_person
from tests_support.settling import settle_charges

from consent.details import Detail, dump_details
from consent.grants import activate_grant, request_grant
from consent.keyring import load_keyring
from consent.people import add_person
from consent.terms import HUB, Assurance, Frequency, GrantTerms, Purpose, Sensitive
from consent.withdraw import withdraw_grant
from hub.adjustments.adjusting import adjust
from hub.adjustments.kinds import AdjustmentKind, Order, Reason
from hub.attestations import ending
from hub.attestations.content import Asked
from hub.attestations.issue import issue_own
from hub.attestations.store import revoke_attestation
from hub.changes import log_consent_change
from hub.context import Hub
from hub.db import make_engine, writing
from hub.ledger.store import load_balances
from hub.log.sequencer import Sequencer
from hub.log_signing import log_signer
from hub.pipeline import clear_dirty, clear_sealed, finalise_window, seal_window, take_delivery
from hub.reconcile.deliveries import STATEMENT_SCHEMA
from hub.rights.erase import erase_person
from hub.settings import Settings
from hub.staff.accounts import add_staff
from hub.staff.rights import Role
from hub.sync.statements import reconcile_window, record_statement
from hub.uses.reservations import Wanted, commit, reserve
from standards.uses import Use

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
BEGIN = NOW - timedelta(hours=30)
BEHAVIOURS = set(BEIJING["behaviours"]) | {"MOB-EVCHARGE"}
NAMES = ("li.xiaoming", "wang.fang", "zhao.min", "qian.duo", "sun.lei", "wu.di", "guo.bao")


def at(hours: float) -> datetime:
    return BEGIN + timedelta(hours=hours)


def ride(number: str, account: str, begin: str, **changes: Any) -> dict[str, Any]:
    """Twelve minutes by bike from `begin` on, as `18T08:12` of November in China."""
    day, hour, minute = begin[:2], begin[3:5], begin[6:]
    times = {
        "beginTime": f"2026-11-{day}T{hour}:{minute}:00+08:00",
        "endTime": f"2026-11-{day}T{hour}:{minute}:59+08:00",
    }
    later = datetime.fromisoformat(times["beginTime"]) + timedelta(minutes=12)
    return act(number, account, **(times | {"endTime": later.isoformat(), "updateTime": later.isoformat()} | changes))


def withdraw(hub: Hub, person: LinkedPerson, now: datetime) -> None:
    with writing(hub.engine) as session:
        for change in withdraw_grant(session, grant_id=person.grant_id, subject_id=person.subject_id, now=now):
            log_consent_change(session, change, now, hub=hub)


def bring_up(hub: Hub, name: str, *, guardian: str, now: datetime) -> None:
    """Create a child for whom the guardian allowed something."""
    terms = GrantTerms(
        recipient=HUB, purposes=frozenset({Purpose.COLLECT}), behaviours=frozenset({"MOB-BIKE"}),
        platforms=frozenset({"beijing-green-life"}), valid_from=now, valid_until=now + timedelta(days=365),
        notice_version="test", language="en", sensitive=frozenset({Sensitive.WHEREABOUTS}),
    )  # fmt: skip
    with writing(hub.engine) as session:
        child = add_person(
            session, hub.ring, username=name, password=None, display_name=name, now=now, born=date(2013, 5, 1),
            guardian=guardian,
        )  # fmt: skip
        grant, asked = request_grant(session, subject_id=child.subject_id, terms=terms, now=now)
        _, given = activate_grant(
            session, grant_id=grant.grant_id, subject_id=child.subject_id, now=now, assurance=Assurance.GUARDIAN
        )
        for change in (asked, given):
            log_consent_change(session, change, now, hub=hub)


def let_shop_use(hub: Hub, subject_id: int, now: datetime, *, left: int) -> None:
    """Let a shop use what somebody holds but for so many milligrams; it also reserves some of them and does nothing."""
    detail = Detail(
        actions=frozenset({"use"}), behaviours=frozenset(BEHAVIOURS), platforms=frozenset({"beijing-green-life", "kuaidian"}),
        purpose="", since=now - timedelta(days=90), until=now + timedelta(days=90), frequency=Frequency.ALWAYS,
    )  # fmt: skip
    terms = GrantTerms(
        recipient="c_shop", purposes=frozenset({Purpose.RESERVE}), behaviours=detail.behaviours,
        platforms=detail.platforms, valid_from=detail.since, valid_until=detail.until, notice_version="test",
        language="en", sensitive=frozenset(Sensitive), details=dump_details([detail]),
    )  # fmt: skip
    with writing(hub.engine) as session:
        grant, asked = request_grant(session, subject_id=subject_id, terms=terms, now=now)
        grant, given = activate_grant(session, grant_id=grant.grant_id, subject_id=subject_id, now=now)
        for change in (asked, given):
            log_consent_change(session, change, now, hub=hub)
        held = load_balances(session, subject_id)["held"]
        for mg in (held - left, left // 2):
            wanted = Wanted(mg=mg, use=Use.REDEEM, timeout=timedelta(days=7))
            made = reserve(
                session, grant=grant, participant="beijing-green-life", client_id="c_shop", wanted=wanted, now=now
            )
            if mg != left // 2:
                commit(session, made.reservation_id, client_id="c_shop", now=now)


def close_window(hub: Hub, now: datetime, *, final: bool = True) -> None:
    sealed = seal_window(hub, now=now)
    assert clear_sealed(hub, now=now + timedelta(seconds=7)) == sealed.window_id
    if final:
        theirs = pl.DataFrame([("d1", 7)], schema=STATEMENT_SCHEMA, orient="row")
        record_statement(hub, sealed.window_id, "beijing-green-life", theirs, now=now + timedelta(minutes=1))
        reconcile_window(hub, sealed.window_id, now=now + timedelta(minutes=2))
        finalise_window(hub, sealed.window_id, now=now + timedelta(minutes=3), waive_challenge=True)


def attest(hub: Hub, people: dict[str, int], now: datetime) -> None:
    """Have an attestation made for each of these people, and take back that of the one of whom it `ends`."""
    asked = Asked(since=date(2026, 11, 18), until=date(2026, 11, 19), disclose=("final_mg",))
    made = {name: issue_own(hub, subject_id, asked, now=now).row for name, subject_id in people.items()}
    with writing(hub.engine) as session:
        revoke_attestation(session, made["ends"], ending.Reason.BY_PERSON, now)


def mend(hub: Hub, part_of: int, all_of: int, now: datetime) -> None:
    """Staff take a part of somebody's newest ride of the first window back, and all of another's of the third."""
    with writing(hub.engine) as session:
        add_staff(session, name="chen", role=Role.OPERATOR, now=now)
        newest = text(
            "SELECT MAX(event_id) FROM event WHERE subject_id = :s AND window_id = :w AND behaviour = 'MOB-BIKE'"
        )
        part, whole = (
            session.execute(newest, {"s": who, "w": window}).scalar_one() for who, window in ((part_of, 1), (all_of, 3))
        )
    for kind, event_id, mg in ((AdjustmentKind.PARTIAL_REVERSAL, part, 100), (AdjustmentKind.CLAW_BACK, whole, None)):
        order = Order(kind=kind, reason=Reason.FACT, event_id=event_id, mg=mg, why="seen on the course")
        adjust(hub, order, by="chen", now=now)


def live(hub: Hub) -> None:
    """Two final windows, one that is cleared, one open: with duplicates, corrections, refusals and withdrawals."""
    beijing, kuaidian = join(hub, BEIJING), join(hub, KUAIDIAN)
    both = {"beijing-green-life": "bj-1", "kuaidian": "kd-1"}
    li = link_person(hub, NAMES[0], both, BEHAVIOURS, at(0))
    wang = link_person(hub, NAMES[1], {"beijing-green-life": "bj-2", "kuaidian": "kd-2"}, BEHAVIOURS, at(0))
    zhao = link_person(hub, NAMES[2], {"beijing-green-life": "bj-3"}, BEHAVIOURS, at(0))
    sun = link_person(hub, NAMES[4], {"beijing-green-life": "bj-4"}, BEHAVIOURS, at(0))
    with writing(hub.engine) as session:
        add_person(session, hub.ring, username="he.yi", password=None, display_name="he.yi", now=at(0))
    wu = link_person(hub, NAMES[5], {"beijing-green-life": "bj-5"}, BEHAVIOURS, at(0))
    bring_up(hub, NAMES[6], guardian=NAMES[0], now=at(0))
    first = [
        ride("1", "bj-1", "18T08:12"), ride("1d", "bj-1", "18T08:12", orderNo="ORD1"), ride("2", "bj-1", "18T12:00"),
        ride("3", "bj-2", "18T08:12"), ride("4", "bj-3", "18T08:12"), ride("5", "nobody", "18T08:12"),
        ride("6", "bj-1", "18T08:12", scene="UNICYCLE"),
    ]  # fmt: skip
    take_delivery(hub, beijing, delivery("d1", *first), now=at(0.5))
    charges = delivery("c1", charge("1", "kd-1"), charge("2", "kd-2"), stream="charge_orders")
    take_delivery(hub, kuaidian, charges, now=at(0.6))
    forgotten = [ride("30", "bj-5", "18T08:12"), ride("31", "bj-5", "18T12:00")]
    take_delivery(hub, beijing, delivery("d0", *forgotten), now=at(0.65))
    clear_dirty(hub, now=at(0.7))
    close_window(hub, at(1))
    settle_charges(hub, at(1.2))
    let_shop_use(hub, wang.subject_id, at(1.5), left=1000)
    second = [
        ride("1", "bj-1", "18T08:12", ver=2, distance=1000),
        ride("3", "bj-2", "18T08:12", ver=2, status="CANCELLED"),
        ride("7", "bj-2", "18T18:00"),
    ]
    take_delivery(hub, beijing, delivery("d2", *second), now=at(2))
    take_delivery(hub, beijing, delivery("d3", ride("7", "bj-2", "18T18:00")), now=at(2.1))
    chargers = charge_tonnes(hub, kuaidian, at(0), at(2.2))
    close_window(hub, at(2.5))
    pool_and_retire(hub, chargers, at(2.8))
    withdraw(hub, zhao, at(3))
    take_delivery(hub, beijing, delivery("d4", ride("8", "bj-3", "18T20:00")), now=at(3.1))
    qian = link_person(hub, NAMES[3], {"beijing-green-life": "bj-3"}, BEHAVIOURS, at(4))
    third = [
        ride("9", "bj-1", "19T08:00"), ride("9d", "bj-1", "19T08:00", orderNo="ORD9"), ride("10", "bj-2", "19T09:00"),
        ride("11", "bj-3", "19T15:00"), ride("13", "bj-4", "19T09:00"),
    ]  # fmt: skip
    take_delivery(hub, beijing, delivery("d5", *third), now=at(6))
    late = charge("3", "kd-1", StartTime="2026-11-19 10:00:00", EndTime="2026-11-19 11:00:00")
    take_delivery(hub, kuaidian, delivery("c2", late, stream="charge_orders"), now=at(6.1))
    withdraw(hub, sun, at(6.5))
    close_window(hub, at(7), final=False)
    mend(hub, li.subject_id, wang.subject_id, at(7.5))
    Sequencer(hub.engine, log_signer(hub), hub.settings.keys_dir / "log-head").run_until_current(at(8))
    attest(hub, {"stands": qian.subject_id, "ends": li.subject_id, "forgotten": wu.subject_id}, at(18))
    people = {"upheld": wang.subject_id, "open": qian.subject_id, "forgotten": wu.subject_id}
    contest(hub, people, at(18.5))
    inspect(hub, at(18.7), person=NAMES[5])
    erase_person(hub, wu.subject_id, now=at(19))
    take_delivery(hub, beijing, delivery("d6", ride("12", "bj-1", "19T20:00")), now=at(20))
    clear_dirty(hub, now=at(20.5))


def open_at(url: str, keys_dir: Path) -> Hub:
    settings = Settings(
        _env_file=None, database_url=url, keys_dir=keys_dir, issuer="https://hub.example", clear_group_records=2
    )
    return Hub(settings=settings, engine=make_engine(url), ring=load_keyring(keys_dir), clock=lambda: NOW)
