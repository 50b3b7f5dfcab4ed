"""Attacks by being forgotten: earn, be erased, come back under a new name, have everything delivered again. Earns nothing."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest
from sqlalchemy import text
from tests_support.deliveries import BEIJING, KUAIDIAN, act, charge, delivery, join
from tests_support.people import LinkedPerson, link_person
from tests_support.settling import lines_of, tell

from consent.links import AlreadyLinked, load_links
from consent.people import add_person
from consent.tables import Person
from consent.vault import ErasedError, load_vault
from hub.audit import audit, format_report
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import NotFound
from hub.ledger.store import load_balances
from hub.log.export import export_log
from hub.log.sequencer import Sequencer
from hub.log.verify import verify_log
from hub.log_signing import log_signer
from hub.participants import Platform
from hub.pipeline import clear_dirty, clear_sealed, finalise_window, seal_window, take_delivery
from hub.reconcile.deliveries import STATEMENT_SCHEMA
from hub.rights.erase import Erased, erase_person
from hub.sync.statements import reconcile_window, record_statement

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
LATER = NOW + timedelta(hours=3)
BEHAVIOURS = set(BEIJING["behaviours"]) | {"MOB-EVCHARGE"}
ACCOUNTS = {"beijing-green-life": "bj-1", "kuaidian": "kd-1"}


def ride(number: int, **changes: Any) -> dict[str, Any]:
    day = f"2026-11-{number % 17 + 1:02d}T08"
    return act(str(number), beginTime=f"{day}:00:00+08:00", endTime=f"{day}:12:00+08:00", **changes)


RIDES = [ride(number) for number in range(6)]
CHARGES = [charge("1"), charge("2", StartTime="2026-11-19 10:00:00", EndTime="2026-11-19 11:00:00")]


@dataclass
class Town:
    """Two platforms and one person whose month was delivered."""

    hub: Hub
    beijing: Platform
    kuaidian: Platform
    li: LinkedPerson
    messages: int = 0
    minutes: int = 0

    def now(self) -> datetime:
        """Every step is a minute after the one before."""
        self.minutes += 1
        return NOW + timedelta(minutes=self.minutes)

    def erase(self, person: LinkedPerson) -> Erased:
        return erase_person(self.hub, person.subject_id, now=self.now())

    def deliver(self, rides: list[dict[str, Any]] = RIDES, charges: list[dict[str, Any]] = CHARGES) -> dict[str, int]:
        """Send everything under new names; returns what became of the rows."""
        self.messages += 1
        told = [
            take_delivery(self.hub, self.beijing, delivery(f"b{self.messages}", *rides), now=self.now()),
            take_delivery(
                self.hub, self.kuaidian, delivery(f"k{self.messages}", *charges, stream="charge_orders"), now=self.now()
            ),
        ]
        return {name: sum(getattr(one, name) for one in told) for name in ("accepted", "refused", "replayed")}

    def close_window(self, *, final: bool = True) -> None:
        clear_dirty(self.hub, now=self.now())
        window = seal_window(self.hub, now=self.now()).window_id
        clear_sealed(self.hub, now=self.now())
        if final:
            for platform in ("beijing-green-life", "kuaidian"):
                theirs = pl.DataFrame([], schema=STATEMENT_SCHEMA, orient="row")
                record_statement(self.hub, window, platform, theirs, now=self.now())
            reconcile_window(self.hub, window, now=self.now())
            finalise_window(self.hub, window, now=self.now(), waive_challenge=True)

    def earned(self, subject_id: int) -> int:
        with reading(self.hub.engine) as session:
            balances = load_balances(session, subject_id)
            provisional = "SELECT COALESCE(SUM(mg), 0) FROM event WHERE subject_id = :s AND provisional = :yes"
            waiting = session.execute(text(provisional), {"s": subject_id, "yes": True}).scalar_one()
        return balances["pending"] + balances["held"] + int(waiting)

    def rows(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        with reading(self.hub.engine) as session:
            return [tuple(row) for row in session.execute(text(sql), values)]

    def come_back(self, name: str = "li") -> LinkedPerson:
        return link_person(self.hub, name, ACCOUNTS, BEHAVIOURS, self.now())


@pytest.fixture
def town(hub: Hub) -> Town:
    beijing, kuaidian = join(hub, BEIJING), join(hub, KUAIDIAN)
    town = Town(hub, beijing, kuaidian, link_person(hub, "li", ACCOUNTS, BEHAVIOURS, NOW))
    assert town.deliver() == {"accepted": len(RIDES) + len(CHARGES), "refused": 0, "replayed": 0}
    return town


def require_sound(hub: Hub) -> None:
    report = audit(hub)
    assert report.holds, format_report(report)


@pytest.mark.parametrize("stage", ["open", "cleared", "final"])
def test_whoever_comes_back_after_an_erasure_earns_nothing_again(town: Town, stage: str) -> None:
    if stage != "open":
        town.close_window(final=stage == "final")
    else:
        clear_dirty(town.hub, now=LATER)
    assert town.earned(town.li.subject_id) > 0
    erased = town.erase(town.li)
    assert erased.records == len(RIDES) + len(CHARGES)
    again = town.come_back()
    spent = town.rows("SELECT token FROM spent_record ORDER BY token")
    dice = random.Random(7)
    for _ in range(3):
        rides, charges = dice.sample(RIDES, len(RIDES)), dice.sample(CHARGES, len(CHARGES))
        assert town.deliver(rides, charges)["accepted"] == 0
    town.close_window(final=stage != "cleared")
    assert town.earned(again.subject_id) == town.earned(town.li.subject_id) == 0
    assert town.rows("SELECT token FROM spent_record ORDER BY token") == spent
    require_sound(town.hub)


def test_a_changed_version_of_a_forgotten_record_earns_nothing_either(town: Town) -> None:
    town.close_window()
    town.erase(town.li)
    again = town.come_back()
    corrected = [ride(number, ver=2, distance=9000) for number in range(6)]
    assert town.deliver(corrected, [])["accepted"] == 0
    town.close_window()
    assert town.earned(again.subject_id) == 0
    assert town.rows("SELECT COUNT(*) FROM event_reversal") == [(0,)]
    require_sound(town.hub)


def test_a_newer_version_that_was_not_cleared_yet_takes_nothing_below_zero(town: Town) -> None:
    """The correction came before the erasure and its window is cleared after it."""
    town.close_window()
    assert town.deliver([ride(1, ver=2, distance=500)], [])["accepted"] == 1
    town.erase(town.li)
    town.close_window()
    assert town.rows("SELECT reason FROM event_reversal") == [("superseded_version",)]
    require_sound(town.hub)


def test_the_account_can_be_linked_again_and_new_acts_count(town: Town) -> None:
    town.close_window()
    town.erase(town.li)
    again = town.come_back()
    assert town.deliver([*RIDES, ride(12)], [])["accepted"] == 1
    town.close_window()
    assert town.earned(again.subject_id) > 0
    require_sound(town.hub)


def test_rounds_of_coming_back_never_add_up(town: Town) -> None:
    """Each round brings one new act; the sum of all that was ever usable is each act once."""
    once = []
    person = town.li
    for number in range(8, 11):
        town.deliver([*RIDES, *[ride(n) for n in range(8, number + 1)]], CHARGES)
        town.close_window()
        once.append(town.earned(person.subject_id))
        town.erase(person)
        person = town.come_back()
    per_ride = town.rows("SELECT MIN(mg) FROM event WHERE behaviour = 'MOB-BIKE'")[0][0]
    assert once[1:] == [per_ride, per_ride]
    require_sound(town.hub)


def test_nothing_of_the_person_can_be_read_or_found_again(town: Town) -> None:
    town.close_window()
    before = {name: town.rows(sql, s=town.li.subject_id) for name, sql in FOUND_BY.items()}
    town.erase(town.li)
    again = town.come_back()
    with reading(town.hub.engine) as session:
        person = session.get_one(Person, town.li.subject_id)
        assert (person.username, person.display_name, person.password_hash, person.data_key) == (None,) * 4
        vault = load_vault(session, town.hub.ring, [town.li.subject_id])
        with pytest.raises(ErasedError):
            vault.open("link", "account_sealed", row_id=1, subject_id=town.li.subject_id, blob=b"")
    for name, sql in FOUND_BY.items():
        left = {value for row in town.rows(sql, s=town.li.subject_id) for value in row if value not in (None, b"")}
        new = {value for row in town.rows(sql, s=again.subject_id) for value in row}
        assert left.isdisjoint(value for row in before[name] for value in row), name
        assert left.isdisjoint(new), f"{name}: the new account leads to the old one"
    assert town.rows(
        "SELECT COUNT(*) FROM event WHERE subject_id = :s AND end_us > start_us", s=town.li.subject_id
    ) == [(0,)]


FOUND_BY = {
    "accounts": "SELECT account_key, account_sealed FROM link WHERE subject_id = :s",
    "records": "SELECT source_id, digest, payload FROM source_record WHERE subject_id = :s",
    "orders": "SELECT event_key, payment_key, region FROM reduction_record WHERE subject_id = :s",
}


def test_the_log_still_verifies_and_says_of_nobody_that_they_were_erased(town: Town, tmp_path: Any) -> None:
    town.close_window()
    town.erase(town.li)
    signer = log_signer(town.hub)
    Sequencer(town.hub.engine, signer, town.hub.settings.keys_dir / "log-head").run_until_current(town.now())
    export_log(town.hub.engine, tmp_path / "log")
    assert verify_log(tmp_path / "log", signer.vkey).holds
    ((body,),) = town.rows(
        "SELECT b.data FROM log_body b JOIN log_leaf l ON l.leaf_id = b.leaf_id WHERE l.kind = 'subject.erased'"
    )
    assert str(town.li.subject_id).encode() not in bytes(body)
    require_sound(town.hub)


def test_all_that_was_held_is_forfeited_by_an_entry_and_nothing_is_edited(town: Town) -> None:
    town.close_window()
    held = town.earned(town.li.subject_id)
    entries = town.rows("SELECT entry_id, line, account_id, mg FROM posting ORDER BY entry_id, line")
    assert town.erase(town.li).forfeited_mg == held
    after = town.rows("SELECT entry_id, line, account_id, mg FROM posting ORDER BY entry_id, line")
    assert after[: len(entries)] == entries
    balances = dict(
        town.rows(
            "SELECT a.kind, CAST(SUM(p.mg) AS BIGINT) FROM posting p JOIN account a ON a.account_id = p.account_id "
            "WHERE a.subject_id = :s GROUP BY a.kind",
            s=town.li.subject_id,
        )
    )
    assert balances == {"pending": 0, "held": 0, "forfeited": held}


def test_nobody_is_erased_twice_and_a_stranger_not_at_all(town: Town) -> None:
    town.erase(town.li)
    for subject_id in (town.li.subject_id, 12345):
        with pytest.raises(NotFound):
            erase_person(town.hub, subject_id, now=town.now())


def test_somebody_else_keeps_what_is_theirs(town: Town) -> None:
    wang = link_person(town.hub, "wang", {"beijing-green-life": "bj-2"}, BEHAVIOURS, NOW)
    town.deliver([ride(30, memberId="bj-2")], [])
    town.close_window()
    mine = town.earned(wang.subject_id)
    untouched = "SELECT payload, digest, source_id FROM source_record WHERE subject_id = :s"
    rows = town.rows(untouched, s=wang.subject_id)
    town.erase(town.li)
    assert town.earned(wang.subject_id) == mine > 0
    assert town.rows(untouched, s=wang.subject_id) == rows
    with writing(town.hub.engine) as session, pytest.raises(AlreadyLinked):
        add_and_link(session, town.hub)
    require_sound(town.hub)


def add_and_link(session: Any, hub: Hub) -> None:
    from consent.links import open_link

    person = add_person(session, hub.ring, username="thief", password=None, display_name="t", now=LATER)
    open_link(
        session, hub.ring, subject_id=person.subject_id, platform="beijing-green-life", account="bj-2",
        grant_id="g", valid_from=NOW, now=LATER,
    )  # fmt: skip


def test_closed_links_say_only_that_there_was_one(town: Town) -> None:
    town.erase(town.li)
    with reading(town.hub.engine) as session:
        links = load_links(session, subject_id=town.li.subject_id)
    assert {(link.state, link.token_sealed, link.account_sealed) for link in links} == {("revoked", None, b"")}


@pytest.mark.parametrize("first", ["li", "wang"])
def test_of_a_record_that_was_told_of_two_people_both_can_be_forgotten(town: Town, first: str) -> None:
    """A newer version said that the ride was wang's: the record's versions stay versions of one record, marked once."""
    wang = link_person(town.hub, "wang", {"beijing-green-life": "bj-2"}, BEHAVIOURS, NOW)
    town.close_window()
    moved = ride(1, ver=2, memberId="bj-2")
    assert town.deliver([moved], [])["accepted"] == 1
    town.close_window()
    assert town.earned(wang.subject_id) > 0
    people = [town.li, wang] if first == "li" else [wang, town.li]
    for person in people:
        town.erase(person)
        require_sound(town.hub)
        assert town.deliver([moved, ride(1), ride(1, ver=3)], [])["accepted"] == 0
    assert town.rows("SELECT COUNT(*) FROM spent_record") == [(len(RIDES) + len(CHARGES),)]
    versions = "SELECT COUNT(*) FROM source_record GROUP BY platform, stream, source_id HAVING COUNT(*) > 1"
    assert town.rows(versions) == [(2,)]


def test_what_was_compared_of_a_record_of_two_people_is_forgotten_with_either(town: Town) -> None:
    """The digest of a stream is over the names of its records, and the first version's changes with the second's."""
    wang = link_person(town.hub, "wang", {"beijing-green-life": "bj-2"}, BEHAVIOURS, NOW)
    town.close_window()
    tell(town.hub, 1, "beijing-green-life", lines_of(("BJ1", 1, 500_000)), town.now())
    assert town.deliver([ride(1, ver=2, memberId="bj-2")], [])["accepted"] == 1
    town.erase(wang)
    assert town.rows("SELECT ours_digest FROM stream_reconciliation") == [(None,)]
    require_sound(town.hub)
