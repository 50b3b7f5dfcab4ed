"""The audit passes a hub that lived, and every check of it fails on a database that somebody changed."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import Connection, create_engine, make_url, text
from tests_support.deliveries import BEIJING, KUAIDIAN, act, charge, delivery, join
from tests_support.people import LinkedPerson, link_person
from tests_support.postgres import Cluster, find_binaries

from consent.grants import activate_grant, request_grant
from consent.keyring import KeyPurpose, load_keyring
from consent.people import add_person
from consent.seal import header
from consent.terms import HUB, Assurance, GrantTerms, Purpose, Sensitive
from consent.withdraw import withdraw_grant
from hub.audit import CHECKS, AuditReport, audit, format_report
from hub.audit.report import EXAMPLES
from hub.audit.roots import merkle_root
from hub.changes import log_consent_change
from hub.clearing.reconcile import STATEMENT_SCHEMA
from hub.context import Hub
from hub.db import make_engine, reading, writing
from hub.log.checkpoint import open_checkpoint, sign_checkpoint
from hub.log.merkle import commitment_root
from hub.log.note import LogSigner
from hub.log.sequencer import Sequencer
from hub.log_signing import log_signer
from hub.pipeline import clear_dirty, clear_sealed, finalise_window, seal_window, take_delivery
from hub.records.reading import key_of_row
from hub.rights.erase import erase_person
from hub.settings import Settings
from hub.sync.statements import reconcile_window, record_statement

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
BEGIN = NOW - timedelta(hours=30)
BEHAVIOURS = set(BEIJING["behaviours"]) | {"MOB-EVCHARGE"}
NAMES = ("li.xiaoming", "wang.fang", "zhao.min", "qian.duo", "sun.lei", "wu.di", "guo.bao")
MIB = 1024 * 1024


# --- a hub that lived -------------------------------------------------------------------------------------------------


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


def close_window(hub: Hub, now: datetime, *, final: bool = True) -> None:
    sealed = seal_window(hub, now=now)
    assert clear_sealed(hub, now=now + timedelta(seconds=7)) == sealed.window_id
    if final:
        theirs = pl.DataFrame([("d1", 7)], schema=STATEMENT_SCHEMA, orient="row")
        record_statement(hub, sealed.window_id, "beijing-green-life", theirs, now=now + timedelta(minutes=1))
        reconcile_window(hub, sealed.window_id, now=now + timedelta(minutes=2))
        finalise_window(hub, sealed.window_id, now=now + timedelta(minutes=3), waive_challenge=True)


def live(hub: Hub) -> None:
    """Two final windows, one that is cleared, one open: with duplicates, corrections, refusals and withdrawals."""
    beijing, kuaidian = join(hub, BEIJING), join(hub, KUAIDIAN)
    both = {"beijing-green-life": "bj-1", "kuaidian": "kd-1"}
    link_person(hub, NAMES[0], both, BEHAVIOURS, at(0))
    link_person(hub, NAMES[1], {"beijing-green-life": "bj-2", "kuaidian": "kd-2"}, BEHAVIOURS, at(0))
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
    second = [
        ride("1", "bj-1", "18T08:12", ver=2, distance=1000),
        ride("3", "bj-2", "18T08:12", ver=2, status="CANCELLED"),
        ride("7", "bj-2", "18T18:00"),
    ]
    take_delivery(hub, beijing, delivery("d2", *second), now=at(2))
    take_delivery(hub, beijing, delivery("d3", ride("7", "bj-2", "18T18:00")), now=at(2.1))
    close_window(hub, at(2.5))
    withdraw(hub, zhao, at(3))
    take_delivery(hub, beijing, delivery("d4", ride("8", "bj-3", "18T20:00")), now=at(3.1))
    link_person(hub, NAMES[3], {"beijing-green-life": "bj-3"}, BEHAVIOURS, at(4))
    third = [
        ride("9", "bj-1", "19T08:00"), ride("9d", "bj-1", "19T08:00", orderNo="ORD9"), ride("10", "bj-2", "19T09:00"),
        ride("11", "bj-3", "19T15:00"), ride("13", "bj-4", "19T09:00"),
    ]  # fmt: skip
    take_delivery(hub, beijing, delivery("d5", *third), now=at(6))
    late = charge("3", "kd-1", StartTime="2026-11-19 10:00:00", EndTime="2026-11-19 11:00:00")
    take_delivery(hub, kuaidian, delivery("c2", late, stream="charge_orders"), now=at(6.1))
    withdraw(hub, sun, at(6.5))
    close_window(hub, at(7), final=False)
    Sequencer(hub.engine, log_signer(hub), hub.settings.keys_dir / "log-head").run_until_current(at(8))
    erase_person(hub, wu.subject_id, now=at(19))
    take_delivery(hub, beijing, delivery("d6", ride("12", "bj-1", "19T20:00")), now=at(20))
    clear_dirty(hub, now=at(20.5))


def open_at(url: str, keys_dir: Path) -> Hub:
    settings = Settings(
        _env_file=None, database_url=url, keys_dir=keys_dir, issuer="https://hub.example", clear_group_records=2
    )
    return Hub(settings=settings, engine=make_engine(url), ring=load_keyring(keys_dir), clock=lambda: NOW)


@dataclass(frozen=True)
class Template:
    """A database of a hub that lived, to be copied for each test."""

    kind: str
    place: str
    keys_dir: Path


@pytest.fixture(scope="module", params=["sqlite", "postgresql"] if find_binaries() else ["sqlite"])
def template(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Template:
    folder = tmp_path_factory.mktemp("lived")
    if request.param == "sqlite":
        shutil.copyfile(request.getfixturevalue("sqlite_template"), folder / "tanlian.db")
        url = f"sqlite:///{folder / 'tanlian.db'}"
    else:
        cluster: Cluster = request.getfixturevalue("cluster")
        url = cluster.create_database("lived", template=request.getfixturevalue("postgres_template"))
    hub = open_at(url, folder / "keys")
    live(hub)
    hub.engine.dispose()
    return Template(kind=request.param, place=url, keys_dir=folder / "keys")


@pytest.fixture
def lived(request: pytest.FixtureRequest, template: Template, tmp_path: Path) -> Iterator[Hub]:
    if template.kind == "sqlite":
        original = Path(str(make_url(template.place).database))
        assert not original.with_name("tanlian.db-wal").exists()
        shutil.copyfile(original, tmp_path / "tanlian.db")
        url = f"sqlite:///{tmp_path / 'tanlian.db'}"
    else:
        cluster: Cluster = request.getfixturevalue("cluster")
        url = cluster.create_database(template="lived")
    hub = open_at(url, template.keys_dir)
    yield hub
    hub.engine.dispose()
    if template.kind == "postgresql":
        cluster.drop_database(url)


def failed(report: AuditReport) -> set[str]:
    return {check.id for check in report.checks if not check.ok}


def test_a_hub_that_lived_passes(lived: Hub) -> None:
    report = audit(lived)
    assert failed(report) == set(), format_report(report)
    assert (report.passed, report.failed, report.holds) == (len(CHECKS), 0, True)


def test_the_hub_that_lived_has_something_for_every_check_to_look_at(lived: Hub) -> None:
    figures = {check.id: check.figure for check in audit(lived).checks}
    nothing = {name: figure for name, figure in figures.items() if not any(c in "123456789" for c in figure)}
    assert nothing == {}
    assert figures["events_count_once"] == "15 counted decisions on 15 events"
    assert figures["reversed_events_have_reversals"] == "2 events that no longer count"
    assert figures["one_version_stands"] == "17 identities"
    assert figures["windows_chain"] == "4 windows"
    with reading(lived.engine) as session:
        assert session.execute(text("SELECT MIN(groups) FROM clearing_window WHERE groups > 0")).scalar_one() > 1


def test_a_hub_that_has_just_begun_passes(hub: Hub) -> None:
    report = audit(hub)
    assert failed(report) == set(), format_report(report)


def test_two_audits_of_one_database_say_the_same(lived: Hub) -> None:
    assert audit(lived) == audit(lived)


def test_the_audit_s_own_root_is_the_log_s() -> None:
    for size in range(70):
        entries = [f"{number}".encode() for number in range(size)]
        assert merkle_root(entries) == commitment_root(entries)


# --- what somebody may do to the database -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Corruption:
    """Statements (`:name` is a fact of the hub that lived) and the one check that must notice."""

    says: str
    noticed_by: str
    statements: tuple[str, ...]


def corruption(noticed_by: str, says: str, *statements: str) -> Corruption:
    return Corruption(says=says, noticed_by=noticed_by, statements=statements)


def entry(kind: str, window: int, source: str, reverses: str = "NULL") -> str:
    """Post entry 9000."""
    return (
        "INSERT INTO journal_entry (entry_id, kind, reason, window_id, source_id, reverses, posted_at) "
        f"SELECT 9000, '{kind}', 'forged', {window}, {source}, {reverses}, posted_at FROM journal_entry "
        "WHERE entry_id = :issue_9"
    )


def side(line: int, account: str, mg: str, *, window: int = 1, vintage: int = 20261118, number: int = 9000) -> str:
    """Post one side of entry 9000."""
    return (
        "INSERT INTO posting (entry_id, line, account_id, window_id, vintage, mg) "
        f"VALUES ({number}, {line}, {account}, {window}, {vintage}, {mg})"
    )


def leaf(body: str) -> tuple[str, str]:
    """Append leaf 9000, waiting."""
    row = (
        "INSERT INTO log_leaf (leaf_id, first_index, count, kind, created_at) "
        "SELECT 9000, NULL, 1, kind, created_at FROM log_leaf WHERE leaf_id = :waiting_leaf"
    )
    return row, f"INSERT INTO log_body (leaf_id, data) VALUES (9000, {body})"


def copied(table: str, **changed: str) -> str:
    """Copy the row of record 12 with some columns changed."""
    columns = {
        "source_record": "record_id platform stream source_id version digest subject_id link_id batch_id window_id "
        "payload posted_us received_us cancelled superseded_by",
        "reduction_record": "record_id window_id bucket subject_id platform role behaviour start_us end_us precision "
        "quantity_micro unit event_key payment_key region claimed_mg reference_mg factor_id methodology mapping",
        "batch": "batch_id platform stream delivery_id digest mapping rows accepted replayed conflicting refused "
        "quarantined claimed_mg window_id records_root received_at",
    }[table].split()
    key = {"batch": "batch_id = :batch_12"}.get(table, "record_id = :record_12")
    values = ", ".join(changed.get(column, column) for column in columns)
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table} WHERE {key}"


CORRUPTIONS = (
    corruption(
        "entries_sum_to_zero", "one side of an entry is changed",
        "UPDATE posting SET mg = mg - 1 WHERE entry_id = :issue_9 AND line = 0",
    ),
    corruption("entries_have_two_sides", "an entry has no side", entry("hold", 1, "1")),
    corruption("entries_have_two_sides", "an entry has one side", entry("hold", 1, "1"), side(0, ":li_held", "0")),
    corruption("postings_are_placed", "a posting has no entry", side(0, ":li_held", "0", number=9001)),
    corruption(
        "postings_are_placed", "a posting has no window",
        entry("hold", 1, "1"), side(0, ":li_held", "0"), side(1, ":li_held", "0", window=77),
    ),
    corruption(
        "postings_are_placed", "a posting has no account",
        entry("hold", 1, "1"), side(0, ":li_held", "0"), side(1, "7777", "0"),
    ),
    corruption(
        "events_count_once", "a duplicate becomes counted",
        "UPDATE decision SET verdict = 'counted' WHERE record_id = :record_9d",
    ),
    corruption(
        "decisions_sum_to_events", "a decision counts more than its event",
        "UPDATE decision SET counted_mg = counted_mg + 1 WHERE record_id = :record_9",
    ),
    corruption(
        "decisions_sum_to_events", "a rejected record counts",
        "UPDATE decision SET counted_mg = 1 WHERE record_id = :record_13",
    ),
    corruption(
        "cleared_records_are_decided", "a decision is gone", "DELETE FROM decision WHERE record_id = :record_9d"
    ),
    corruption(
        "cleared_records_are_decided", "a decision of a cleared window is provisional again",
        "UPDATE decision SET provisional = (1 = 1) WHERE record_id = :record_9d",
    ),
    corruption(
        "cleared_records_are_decided", "a decision is settled in the open window",
        "UPDATE decision SET provisional = (1 = 0) WHERE record_id = :record_12",
    ),
    corruption(
        "counted_events_are_issued", "the grams of an event were never issued",
        "DELETE FROM posting WHERE entry_id = :issue_9", "DELETE FROM journal_entry WHERE entry_id = :issue_9",
    ),
    corruption(
        "counted_events_are_issued", "an event issued twice its grams",
        "UPDATE posting SET mg = mg * 2 WHERE entry_id = :issue_9",
    ),
    corruption(
        "counted_events_are_issued", "an event issued its grams to somebody else",
        "UPDATE posting SET account_id = :wang_pending WHERE entry_id = :issue_9 AND line = 1",
    ),
    corruption(
        "counted_events_are_issued", "an event issued its grams for another day",
        "UPDATE posting SET vintage = 20261120 WHERE entry_id = :issue_9",
    ),
    corruption(
        "counted_events_are_issued", "an event issued its grams once more",
        entry("issue", 2, ":record_9"), side(0, ":activity", "-:mg_9"), side(1, ":li_held", ":mg_9"),
    ),
    corruption(
        "counted_events_are_issued", "grams are issued without an event",
        entry("issue", 3, "123456"), side(0, ":activity", "-5"), side(1, ":li_held", "5"),
    ),
    corruption(
        "only_events_make_grams", "a hold makes grams",
        entry("hold", 1, "1"), side(0, ":activity", "-5"), side(1, ":li_held", "5"),
    ),
    corruption(
        "only_events_make_grams", "a hold gives one person's grams to another",
        entry("hold", 1, "1"), side(0, ":wang_held", "-5"), side(1, ":li_held", "5"),
    ),
    corruption(
        "no_two_acts_at_once", "one ride is moved into another",
        "UPDATE event SET start_us = :start_1 + 60000000, end_us = :end_1 + 60000000 WHERE event_id = :record_2",
    ),
    corruption(
        "balances_are_not_negative", "more is held than was pending",
        entry("hold", 1, "1"), side(0, ":li_pending", "-99999999", window=3, vintage=20261119),
        side(1, ":li_held", "99999999", window=3, vintage=20261119),
    ),
    corruption(
        "used_within_held", "what was never held is redeemed",
        "INSERT INTO account (account_id, kind, subject_id) VALUES (9000, 'redeemed', :li)",
        entry("redeem", 1, "1"), side(0, ":li_pending", "-5", window=3, vintage=20261119),
        side(1, "9000", "5", window=3, vintage=20261119),
    ),
    corruption(
        "used_within_held", "there is an account of an unknown kind",
        "INSERT INTO account (account_id, kind, subject_id) VALUES (9000, 'gold', :li)",
    ),
    corruption(
        "reversals_name_an_issue", "a reversal names a hold",
        "UPDATE journal_entry SET reverses = :hold_li WHERE entry_id = :reversal_3",
    ),
    corruption(
        "reversals_name_an_issue", "a reversal names nothing",
        "UPDATE journal_entry SET reverses = NULL WHERE entry_id = :reversal_3",
    ),
    corruption(
        "reversals_name_an_issue", "a hold names an issue",
        "UPDATE journal_entry SET reverses = :issue_9 WHERE entry_id = :hold_li",
    ),
    corruption(
        "reversals_within_their_issue", "an issue is reversed once more",
        entry("reverse", 3, ":record_3", ":issue_3"), side(0, ":wang_held", "-1"), side(1, ":activity", "1"),
    ),
    corruption(
        "reversals_within_their_issue", "a reversal takes another person's grams",
        "UPDATE posting SET account_id = :li_held WHERE entry_id = :reversal_3 AND line = 0",
    ),
    corruption(
        "reversed_events_have_reversals", "a cancelled event counts again",
        "DELETE FROM event_reversal WHERE event_id = :record_3",
    ),
    corruption(
        "reversed_events_have_reversals", "an event stops counting and keeps its grams",
        "INSERT INTO event_reversal (event_id, by_record_id, window_id, reason) "
        "VALUES (:record_2, :record_9, 3, 'forged')",
    ),
    corruption(
        "records_are_told_once", "a replay was stored as a record, with batch and leaf",
        "LOOSEN source_record", "LOOSEN batch",
        copied("source_record", record_id="900", batch_id="900", superseded_by=":record_12"),
        copied("reduction_record", record_id="900"),
        copied("batch", batch_id="900", accepted="1", records_root=":root_of_12"),
        *leaf(":leaf_of_replay"),
        "INSERT INTO change_leaf (kind, reference, leaf_id) VALUES ('batch.received', '900', 9000)",
    ),
    corruption(
        "one_version_stands", "a superseded version stands again",
        "UPDATE source_record SET superseded_by = NULL WHERE record_id = :record_1",
    ),
    corruption(
        "one_version_stands", "a record is superseded by another act's",
        "UPDATE source_record SET superseded_by = :record_9 WHERE record_id = :record_1",
    ),
    corruption(
        "records_are_translated", "a reduction record is gone",
        "DELETE FROM reduction_record WHERE record_id = :record_9d",
    ),
    corruption(
        "records_are_translated", "a reduction record is somebody else's",
        "UPDATE reduction_record SET subject_id = :wang WHERE record_id = :record_9d",
    ),
    corruption(
        "versions_are_known", "a mapping is not installed",
        "UPDATE reduction_record SET mapping = 'nowhere.acts.v1' WHERE record_id = :record_9",
    ),
    corruption(
        "versions_are_known", "a methodology is not installed",
        "UPDATE reduction_record SET methodology = 'hub-1999.1' WHERE record_id = :record_9",
    ),
    corruption(
        "versions_are_known", "a clearing policy is not installed",
        "UPDATE decision SET policy = 'clearing-1999.1' WHERE record_id = :record_9",
    ),
    corruption(
        "amounts_recompute", "an amount is one milligram more",
        "UPDATE reduction_record SET reference_mg = reference_mg + 1 WHERE record_id = :record_9",
    ),
    corruption(
        "amounts_recompute", "a quantity is changed",
        "UPDATE reduction_record SET quantity_micro = quantity_micro + 1000000 WHERE record_id = :record_9d",
    ),
    corruption(
        "amounts_recompute", "an amount is gone",
        "UPDATE reduction_record SET reference_mg = NULL WHERE record_id = :record_9",
    ),
    corruption(
        "collected_as_allowed", "the grant never allowed to collect",
        "UPDATE grant_version SET purposes = '[\"clear\",\"credit\"]' WHERE grant_id = :zhao_grant AND version = 2",
    ),
    corruption(
        "collected_as_allowed", "a record came before the grant was given",
        "UPDATE source_record SET received_us = received_us - 86400000000 WHERE record_id = :record_4",
    ),
    corruption(
        "collected_as_allowed", "a record came after the grant was revoked",
        "UPDATE source_record SET received_us = received_us + 86400000000 WHERE record_id = :record_4",
    ),
    corruption(
        "cleared_as_allowed", "the grant never allowed to clear",
        "UPDATE grant_version SET purposes = '[\"collect\",\"credit\"]' WHERE grant_id = :zhao_grant AND version = 2",
    ),
    corruption(
        "cleared_as_allowed", "a record of somebody who had withdrawn is held for review",
        "UPDATE decision SET verdict = 'held', reason = 'tie' WHERE record_id = :record_13",
    ),
    corruption(
        "credited_as_allowed", "the grant never allowed to credit",
        "UPDATE grant_version SET purposes = '[\"clear\",\"collect\"]' WHERE grant_id = :zhao_grant AND version = 2",
    ),
    corruption(
        "guard_reads_the_latest", "the guard still takes a revoked grant for active",
        "UPDATE grant_current SET state = 'active' WHERE grant_id = :zhao_grant",
    ),
    corruption(
        "guard_reads_the_latest", "the guard takes a grant for one that nobody gave",
        "INSERT INTO grant_current (subject_id, recipient, grant_id, version, state, terms_id, valid_from_us, "
        "valid_until_us) SELECT subject_id, 'somebody', 'g_forged', 1, 'active', terms_id, valid_from_us, "
        "valid_until_us FROM grant_current WHERE grant_id = :zhao_grant",
    ),
    corruption(
        "guard_reads_the_latest", "the words of a grant are changed",
        "UPDATE grant_terms SET purposes = '[\"disclose\"]'",
    ),
    corruption(
        "sensitive_classes_were_decided", "a yes to whereabouts was never given",
        "UPDATE grant_version SET sensitive = '[\"financial_account\"]' WHERE grant_id = :zhao_grant AND version = 2",
    ),
    corruption(
        "decisions_have_receipts", "a receipt is gone",
        "DELETE FROM receipt WHERE grant_id = :zhao_grant AND version = 2",
    ),
    corruption(
        "decisions_have_receipts", "a receipt has another digest",
        "UPDATE receipt SET digest = :other_root WHERE grant_id = :zhao_grant AND version = 3",
    ),
    corruption(
        "decisions_have_receipts", "a receipt is another person's",
        "UPDATE receipt SET jws_sealed = (SELECT jws_sealed FROM receipt WHERE grant_id = :qian_grant AND version = 2) "
        "WHERE grant_id = :zhao_grant AND version = 2",
    ),
    corruption(
        "decisions_have_receipts", "a receipt was never logged",
        "UPDATE receipt SET digest = :other_root WHERE subject_id IN (SELECT subject_id FROM person "
        "WHERE erased_at IS NOT NULL) AND version = 2",
    ),
    corruption(
        "guardians_spoke_for_children", "a child said yes for itself",
        "UPDATE grant_version SET assurance = 'password' WHERE grant_id = :guo_grant AND version = 2",
    ),
    *(
        corruption("changes_have_leaves", f"a {kind} leaf is forgotten", f"DELETE FROM change_leaf WHERE {which}")
        for kind, which in (
            ("batch", "kind = 'batch.received' AND reference = '1'"),
            ("grant", "kind = 'consent.changed' AND reference LIKE 'grant.activated:%'"),
            ("revoked grant", "kind = 'consent.changed' AND reference LIKE 'grant.revoked:%'"),
            ("link", "kind = 'link.changed' AND reference LIKE 'link.opened:%'"),
            ("closed link", "kind = 'link.changed' AND reference LIKE 'link.revoked:%'"),
            ("sealed window", "kind = 'window.sealed' AND reference = '1'"),
            ("cleared window", "kind = 'window.cleared' AND reference = '3'"),
            ("provisional window", "kind = 'window.provisional' AND reference = '2'"),
            ("final window", "kind = 'window.final' AND reference = '2'"),
            ("comparison", "kind = 'reconciliation.done' AND reference LIKE '1:%'"),
            ("group of entries", "kind = 'entries.posted' AND reference = '3:1'"),
            ("participant", "kind = 'participant.changed' AND reference LIKE 'kuaidian:%'"),
        )
    ),
    corruption(
        "changes_have_leaves", "something is held in a window that is not final",
        "UPDATE journal_entry SET window_id = 3 WHERE entry_id = :hold_li",
    ),
    corruption(
        "leaves_are_there", "a change remembers a leaf that is not there",
        "UPDATE change_leaf SET leaf_id = 999999 WHERE kind = 'window.sealed' AND reference = '1'",
    ),
    corruption(
        "leaves_are_there", "two changes share a leaf",
        "UPDATE change_leaf SET leaf_id = (SELECT leaf_id FROM change_leaf WHERE kind = 'window.sealed' "
        "AND reference = '2') WHERE kind = 'window.sealed' AND reference = '1'",
    ),
    corruption("leaves_are_there", "a leaf lost its bytes", "DELETE FROM log_body WHERE leaf_id = :waiting_leaf"),
    corruption("log_is_dense", "an index was given to no leaf", "UPDATE log_head SET sequenced = sequenced + 1"),
    corruption(
        "log_is_dense", "a leaf stands beyond a gap",
        "UPDATE log_leaf SET first_index = 100000 WHERE leaf_id = :waiting_leaf",
    ),
    corruption(
        "log_recomputes", "a leaf says something else",
        "UPDATE log_body SET data = :other_body WHERE leaf_id = :first_leaf",
    ),
    corruption(
        "log_recomputes", "a hash of a tile is another", "UPDATE log_tile SET data = :other_tile WHERE level = 0"
    ),
    corruption("log_recomputes", "a tile is gone", "DELETE FROM log_tile WHERE level = 0"),
    corruption("log_recomputes", "another key signed", "UPDATE log_head SET checkpoint = :forged_checkpoint"),
    corruption("log_recomputes", "the checkpoint is gone", "UPDATE log_head SET checkpoint = NULL"),
    corruption(
        "windows_chain", "a window begins later",
        "UPDATE clearing_window SET first_seq = first_seq + 1 WHERE window_id = 4",
    ),
    corruption(
        "windows_chain", "a window ends earlier",
        "UPDATE clearing_window SET last_seq = last_seq - 1 WHERE window_id = 3",
    ),
    corruption(
        "windows_chain", "no window is open",
        "UPDATE clearing_window SET state = 'closed' WHERE window_id = 4",
    ),
    corruption(
        "windows_chain", "a window is said to be provisional", "UPDATE clearing_window SET state = 'provisional' "
        "WHERE window_id = 3",
    ),
    corruption(
        "final_roots_recompute", "a decision of a final window has another rule",
        "UPDATE decision SET rule = 'T9' WHERE record_id = :record_2",
    ),
    corruption(
        "final_roots_recompute", "a final window has another root",
        "UPDATE clearing_window SET root = :other_root WHERE window_id = 2",
    ),
    corruption(
        "final_roots_recompute", "a final window has another manifest",
        "UPDATE clearing_window SET manifest = :other_manifest WHERE window_id = 2",
    ),
    corruption(
        "batches_commit_to_records", "a record has another digest",
        "UPDATE source_record SET digest = :other_root WHERE record_id = :record_9",
    ),
    corruption(
        "batches_commit_to_records", "a batch has another root",
        "UPDATE batch SET records_root = :other_root WHERE batch_id = :batch_12",
    ),
    corruption(
        "batches_commit_to_records", "a record is of no batch",
        "UPDATE source_record SET batch_id = 777 WHERE record_id = :record_9",
    ),
    corruption(
        "accounts_have_one_owner", "a link that was closed is open beside the next owner's",
        "DROP INDEX uq_link_owner", "UPDATE link SET valid_until = NULL WHERE link_id = :zhao_link",
    ),
    corruption(
        "records_belong_to_owners", "a record came by somebody else's link",
        "UPDATE source_record SET link_id = :zhao_link WHERE record_id = :record_9d",
    ),
    corruption(
        "records_belong_to_owners", "a record is of an act before the link",
        "UPDATE link SET valid_from = (SELECT MAX(received_at) FROM batch) WHERE link_id = :qian_link",
    ),
    corruption("leaves_name_nobody", "a leaf holds a subject id", *leaf(":leaf_of_subject")),
    corruption("leaves_name_nobody", "a leaf holds a name", *leaf(":leaf_of_name")),
    corruption("leaves_name_nobody", "a leaf holds a name among other words", *leaf(":leaf_of_words")),
    corruption("leaves_name_nobody", "a leaf holds an account's key", *leaf(":leaf_of_account")),
    *(
        corruption(
            "sealed_columns_are_sealed", f"{table}.{column} is in the open",
            f"UPDATE {table} SET {column} = :plain WHERE {which}",
        )
        for table, column, which in (
            ("source_record", "payload", "record_id = :record_9"),
            ("quarantined", "payload", "payload IS NOT NULL"),
            ("person", "data_key", "subject_id = :he"),  # who has no receipt that this keeps from opening
            ("link", "account_sealed", "link_id = :zhao_link"),
            ("link", "token_sealed", "link_id = :zhao_link"),
            ("participant", "configuration", "participant_id = 'kuaidian'"),
        )
    ),
    corruption(
        "refused_rows_keep_nothing", "a row without consent keeps its payload",
        "UPDATE quarantined SET payload = (SELECT payload FROM quarantined WHERE payload IS NOT NULL LIMIT 1) "
        "WHERE reason = 'revoked'",
    ),
    corruption(
        "seals_name_known_keys", "a participant's configuration is sealed by a key that nobody has",
        "UPDATE participant SET configuration = :of_no_key WHERE participant_id = 'kuaidian'",
    ),
    corruption(
        "erased_people_are_gone", "an erased person still has a name",
        "UPDATE person SET username = 'wu.di' WHERE subject_id = :erased",
    ),
    corruption(
        "erased_people_are_gone", "an erased person still has a key",
        "UPDATE person SET kek_id = 'kek-0001' WHERE subject_id = :erased",
    ),
    corruption(
        "erased_people_left_nothing_open", "an erased person has a passkey",
        "INSERT INTO passkey (credential_hash, credential_id, subject_id, user_handle, public_key, sign_count, name, "
        "transports, created_at) SELECT 'h', :plain, subject_id, :plain, :plain, 0, 'p', '[]', created_at FROM person "
        "WHERE subject_id = :erased",
    ),
    corruption(
        "erased_people_left_nothing_open", "an erased person is signed in",
        "INSERT INTO web_session (token_hash, subject_id, csrf, created_at, expires_at, state) "
        "SELECT 'h', subject_id, 'c', created_at, created_at, '{}' FROM person WHERE subject_id = :erased",
    ),
    corruption(
        "erased_people_left_nothing_open", "a token of an erased person is left",
        "INSERT INTO access_token (token_hash, client_id, subject_id, scope, issued_at, expires_at) "
        "SELECT 'h', 'c', subject_id, '', created_at, created_at FROM person WHERE subject_id = :erased",
    ),
    corruption(
        "erased_records_are_empty", "an erased person's record still has its content",
        "UPDATE source_record SET payload = (SELECT payload FROM source_record WHERE record_id = :record_9) "
        "WHERE subject_id = :erased",
    ),
    corruption(
        "erased_records_are_empty", "an erased person's act still has its order number",
        "UPDATE reduction_record SET event_key = 7 WHERE subject_id = :erased",
    ),
    corruption(
        "erased_records_are_empty", "an erased person's act still has its time of day",
        "UPDATE reduction_record SET start_us = start_us + 60000000, end_us = end_us + 60000000 "
        "WHERE subject_id = :erased",
    ),
    corruption(
        "erased_records_are_empty", "an erased person's event still has its time of day",
        "UPDATE event SET start_us = start_us + 60000000, end_us = end_us + 60000000 WHERE subject_id = :erased",
    ),
    corruption(
        "erased_records_are_empty", "an erased person's link still has its account",
        "UPDATE link SET account_sealed = (SELECT account_sealed FROM link WHERE link_id = :zhao_link) "
        "WHERE subject_id = :erased",
    ),
    corruption(
        "erased_records_are_spent", "the mark of an erased person's record is gone",
        "DELETE FROM spent_record WHERE token = (SELECT token FROM spent_record ORDER BY token LIMIT 1)",
    ),
    corruption(
        "only_the_erased_forfeit", "an erased person holds grams again",
        entry("reserve", 4, "1"), side(0, ":erased_forfeited", "-:mg_9"), side(1, ":erased_held", ":mg_9"),
    ),
    corruption(
        "only_the_erased_forfeit", "somebody's grams are forfeited who was not erased",
        entry("forfeit", 4, ":li"), side(0, ":li_held", "-:mg_9"), side(1, "(SELECT 9000)", ":mg_9"),
        "INSERT INTO account (account_id, kind, subject_id) VALUES (9000, 'forfeited', :li)",
    ),
    corruption(
        "changes_have_leaves", "the leaf of an erasure is forgotten",
        "DELETE FROM change_leaf WHERE kind = 'subject.erased'",
    ),
)  # fmt: skip


def test_every_check_has_a_corruption_that_makes_it_fail() -> None:
    assert {case.noticed_by for case in CORRUPTIONS} == {rule.id for rule in CHECKS}
    assert len({rule.id for rule in CHECKS}) == len(CHECKS)


@pytest.mark.parametrize("case", CORRUPTIONS, ids=lambda case: case.says.replace(" ", "-"))
def test_the_audit_notices(lived: Hub, case: Corruption) -> None:
    known = corrupt(lived, *case.statements)
    report = audit(lived)
    assert failed(report) == {case.noticed_by}, format_report(report)
    (check,) = [check for check in report.checks if not check.ok]
    assert check.wrong >= len(check.offenders) > 0
    assert not check.figure.startswith("could not")
    require_impersonal(report, known)


def test_a_grant_that_did_not_name_the_act_shows_at_every_step(lived: Hub) -> None:
    steps = {"collected_as_allowed", "cleared_as_allowed", "credited_as_allowed"}
    for changed in ("behaviours = '[\"MOB-BUS\"]'", "platforms = '[\"kuaidian\"]'", "recipient = 'other'"):
        corrupt(lived, f"UPDATE grant_version SET {changed} WHERE grant_id = :zhao_grant AND version = 2")
        assert failed(audit(lived)) >= steps


def test_a_check_that_cannot_be_made_fails_and_the_others_are_made(lived: Hub) -> None:
    known = corrupt(
        lived,
        "UPDATE grant_version SET purposes = 'not json' WHERE grant_id = :zhao_grant AND version = 2",
        "DROP TABLE reconciliation",
    )
    report = audit(lived)
    unmade = {check.id for check in report.checks if check.figure.startswith("could not be checked")}
    consents = {"collected_as_allowed", "cleared_as_allowed", "credited_as_allowed"}
    assert unmade == failed(report) == consents | {"changes_have_leaves"}
    require_impersonal(report, known)


def test_examples_are_few_whatever_the_damage(lived: Hub) -> None:
    corrupt(lived, "UPDATE reduction_record SET reference_mg = 1")
    report = audit(lived)
    (check,) = [check for check in report.checks if not check.ok]
    assert (check.id, len(check.offenders), check.wrong) == ("amounts_recompute", EXAMPLES, 19)
    assert "and 9 more" in format_report(report)
    assert f"1 of {len(CHECKS)} checks FAILED" in format_report(report)


@pytest.mark.parametrize(
    ("seconds", "clashes"), [(0, True), (359, True), (361, False), (720, False)], ids=lambda value: str(value)
)
def test_acts_may_touch_as_far_as_the_policy_tolerates(lived: Hub, seconds: int, clashes: bool) -> None:
    """Two rides of twelve minutes: half of them together is no conflict yet."""
    shift = seconds * 1_000_000
    corrupt(
        lived,
        f"UPDATE event SET start_us = :start_1 + {shift}, end_us = :end_1 + {shift} WHERE event_id = :record_2",
    )
    assert failed(audit(lived)) == ({"no_two_acts_at_once"} if clashes else set())


def test_what_is_told_for_a_day_excludes_nothing(lived: Hub) -> None:
    corrupt(
        lived,
        "UPDATE event SET start_us = :start_1, end_us = :end_1 WHERE event_id = :record_2",
        "UPDATE reduction_record SET precision = 'day' WHERE record_id = :record_2",
    )
    assert failed(audit(lived)) == set()


def test_pages_of_any_size_find_the_same(lived: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    corrupt(
        lived,
        "UPDATE event SET start_us = :start_1, end_us = :end_1 WHERE event_id = :record_2",
        "UPDATE grant_version SET purposes = '[]' WHERE grant_id = :zhao_grant AND version = 2",
        "UPDATE reduction_record SET reference_mg = reference_mg + 1",
    )
    whole = audit(lived)
    monkeypatch.setattr("hub.audit.books.PAGE_ROWS", 1)
    assert audit(lived) == whole
    assert whole.failed == 5


# --- changing the database past the hub -----------------------------------------------------------------------------------


def corrupt(hub: Hub, *statements: str) -> dict[str, Any]:
    """Run statements with triggers and foreign keys off; returns the facts that they could name."""
    known = facts(hub)
    hub.engine.dispose()
    url = make_url(hub.settings.database_url)
    postgresql = url.get_backend_name() == "postgresql"
    engine = create_engine(url.set(drivername="postgresql+psycopg") if postgresql else url)
    with engine.begin() as connection:
        _disarm(connection, postgresql=postgresql)
        for statement in statements:
            if statement.startswith("LOOSEN "):
                _loosen(connection, statement.split()[1], postgresql=postgresql)
            else:
                wanted = {name: value for name, value in known.items() if f":{name}" in statement}
                done = connection.execute(text(statement), {n: wanted[n] for n in text(statement).compile().params})
                assert done.rowcount != 0, f"nothing was changed by: {statement}"
    engine.dispose()
    return known


def _disarm(connection: Connection, *, postgresql: bool) -> None:
    if postgresql:
        connection.execute(text("SET session_replication_role = replica"))  # neither triggers nor foreign keys
        return
    # A connection of SQLite's has foreign keys off unless it asks for them.
    for name in connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all():
        connection.execute(text(f"DROP TRIGGER {name}"))


def _loosen(connection: Connection, table: str, *, postgresql: bool) -> None:
    """Take a table's constraints away."""
    connection.execute(text(f"CREATE TABLE loose AS SELECT * FROM {table}"))
    connection.execute(text(f"DROP TABLE {table}{' CASCADE' if postgresql else ''}"))
    connection.execute(text(f"ALTER TABLE loose RENAME TO {table}"))


def facts(hub: Hub) -> dict[str, Any]:
    """What corruptions name: record_N is the first version of ride N, and so is its event."""
    with reading(hub.engine) as session:

        def rows(sql: str) -> list[Any]:
            return [tuple(row) for row in session.execute(text(sql))]

        def one(sql: str) -> Any:
            ((value,),) = rows(sql)
            return value

        # The store knows a platform's own id by its token only.
        key = hub.ring.hmac_key(KeyPurpose.PAIRWISE)
        names = [f"{number}{suffix}" for number in range(100) for suffix in ("", "d")]
        tokens = {key_of_row(key, b"source\x1f" + f"BJ{name}".encode())[:16].hex(): name for name in names}
        known: dict[str, Any] = {
            f"record_{tokens[source]}": record
            for source, record in rows("SELECT source_id, MIN(record_id) FROM source_record GROUP BY source_id")
            if source in tokens
        }
        named = "SELECT subject_id, username FROM person WHERE erased_at IS NULL"
        people = {name.partition(".")[0]: who for who, name in rows(named)}
        known |= people | {"erased": one("SELECT subject_id FROM person WHERE erased_at IS NOT NULL")}
        for kind in ("held", "forfeited"):
            sql = f"SELECT account_id FROM account WHERE subject_id = {known['erased']} AND kind = '{kind}'"
            known[f"erased_{kind}"] = one(sql)
        for name in ("li", "wang"):
            for kind in ("pending", "held"):
                sql = f"SELECT account_id FROM account WHERE subject_id = {people[name]} AND kind = '{kind}'"
                known[f"{name}_{kind}"] = one(sql)
        known["activity"] = one("SELECT account_id FROM account WHERE kind = 'activity' AND platform LIKE 'b%'")
        entries = "SELECT entry_id FROM journal_entry WHERE kind = "
        known["issue_9"] = one(f"{entries}'issue' AND source_id = {known['record_9']}")
        known["issue_3"] = one(f"{entries}'issue' AND source_id = {known['record_3']}")
        known["reversal_3"] = one(f"{entries}'reverse' AND source_id = {known['record_3']}")
        known["hold_li"] = one(f"{entries}'hold' AND source_id = {people['li']} AND window_id = 1")
        known["mg_9"] = one(f"SELECT mg FROM event WHERE event_id = {known['record_9']}")
        # Ride 1 counts by its second version.
        counting = "event_id = (SELECT superseded_by FROM source_record WHERE record_id = {})".format(known["record_1"])
        ((known["start_1"], known["end_1"]),) = rows(f"SELECT start_us, end_us FROM event WHERE {counting}")
        for name in ("zhao", "qian"):
            link = f"FROM link WHERE subject_id = {people[name]}"
            known |= {f"{name}_link": one(f"SELECT link_id {link}"), f"{name}_grant": one(f"SELECT grant_id {link}")}
        known["guo_grant"] = one(f"SELECT MIN(grant_id) FROM grant_version WHERE subject_id = {people['guo']}")
        ((batch, digest),) = rows(f"SELECT batch_id, digest FROM source_record WHERE record_id = {known['record_12']}")
        known |= {"batch_12": batch, "root_of_12": sha256(b"\x00" + bytes(digest)).digest()}
        known["waiting_leaf"] = one("SELECT MAX(leaf_id) FROM log_leaf WHERE first_index IS NULL")
        known["first_leaf"] = one("SELECT leaf_id FROM log_leaf WHERE first_index = 0")
        body = bytes(one(f"SELECT data FROM log_body WHERE leaf_id = {known['first_leaf']}"))
        tile = bytes(one("SELECT data FROM log_tile WHERE level = 0"))
        account_key = one(f"SELECT account_key FROM link WHERE subject_id = {people['zhao']}")
        manifest = one("SELECT manifest FROM clearing_window WHERE window_id = 2")
        checkpoint = bytes(one("SELECT checkpoint FROM log_head"))
    signed = open_checkpoint(checkpoint, log_signer(hub).verifier)
    stranger = LogSigner(hub.settings.log_origin, bytes(range(32)))
    return known | {
        "other_body": body.replace(b"kuaidian", b"keaidian").replace(b"beijing", b"nanjing"),
        "other_tile": tile[:40] + bytes([tile[40] ^ 1]) + tile[41:],
        "other_root": sha256(b"another").digest(),
        "other_manifest": manifest.replace('"records":"', '"records":"1'),
        "forged_checkpoint": sign_checkpoint(stranger, size=signed.size, root=signed.root),
        "leaf_of_replay": framed(f'{{"accepted_count":1,"records_root":"{known["root_of_12"].hex()}"}}'),
        "leaf_of_subject": framed(f'{{"ids":{{"whose":"x:{people["li"]}"}}}}'),
        "leaf_of_name": framed('{"what":"grant.given","by":["Wang.Fang"]}'),
        "leaf_of_words": framed('{"what":"grant.given:zhao.min:2"}'),
        "leaf_of_account": framed(f'{{"what":"link.opened","key":"{account_key}"}}'),
        "of_no_key": header("kek-0009") + bytes(60),
        "plain": b'{"memberId":"bj-1","begin":"in the open"}',
    }


def framed(body: str) -> bytes:
    return len(body).to_bytes(2, "big") + body.encode()


def require_impersonal(report: AuditReport, known: dict[str, Any]) -> None:
    told = format_report(report) + "".join("".join(check.offenders) for check in report.checks)
    personal = [str(known[name.partition(".")[0]]) for name in NAMES[:5]] + [str(known["erased"])]
    assert [word for word in (*personal, *NAMES, "bj-1", "kd-1") if word in told] == []
