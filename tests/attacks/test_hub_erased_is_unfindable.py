"""After a whole life at the hub and an erasure, nothing anywhere leads to the person: tables, files, leaves, log lines.

The one who searches here has every name that the person ever had, a copy of every table and file, and what a hub's own
keys had made of those names before. What remains open to who keeps old keys or backups is said in ADR 0014.
"""

import io
import zipfile
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from sqlalchemy import text
from tests_support import secrets_in_logs, traces
from tests_support.deliveries import BEIJING, KUAIDIAN, act, charge, delivery, join
from tests_support.fetching import Clock
from tests_support.lived_disputes import CITY
from tests_support.lived_hub import let_shop_use
from tests_support.lived_market import pool_and_retire
from tests_support.people import LinkedPerson, link_person
from tests_support.portal import PASSWORD, Visitor, give_password
from tests_support.settling import lines_of, tell
from tests_support.web import look_up

from consent.tables import Person
from hub.adjustments.kinds import Reason
from hub.attestations.content import Asked as AskedOf
from hub.attestations.issue import issue_own
from hub.audit import audit, format_report
from hub.context import Hub
from hub.db import writing
from hub.disputes.moving import submit
from hub.disputes.opening import open_dispute
from hub.disputes.rules import Side, Target
from hub.disputes.targets import Asked, Who
from hub.log.export import export_log
from hub.log.sequencer import Sequencer
from hub.log.verify import verify_log
from hub.log_signing import log_signer
from hub.participants import Platform
from hub.pipeline import clear_dirty, clear_sealed, finalise_window, seal_window, take_delivery
from hub.reconcile.deliveries import STATEMENT_SCHEMA
from hub.rights.erase import erase_person
from hub.rights.export import export_person
from hub.sync.statements import reconcile_window, record_statement

NAMES = {
    "user name": "zhang.haoran.7f3a",
    "city account": "bj-acct-5519204477",
    "charging account": "kd-acct-8830017755",
    "phone": "13912345678",
    "nickname": "浩然小朋友",
    "record of the city": "BJ7712000199",
    "older record of the city": "BJ7712000198",
    "record that nobody could read": "BJ7712000197",
    "order": "ORDER-7712000199-X",
    "payment": "PAY-7712000199-X",
    "charge": "123456789000000000077120001",
    "words in a dispute": "这段路我是推着车走的",
    "words of the city": "骑行轨迹编号 RT-90017734",
}
BEHAVIOURS = set(BEIJING["behaviours"]) | {"MOB-EVCHARGE"}
# What the hub's own keys, and its dice, made of the names: who kept a copy of it must find nothing either.
MARKS = {
    "data key": "SELECT data_key FROM person WHERE subject_id = :s",
    "account": "SELECT account_key FROM link WHERE subject_id = :s",
    "sealed account": "SELECT account_sealed FROM link WHERE subject_id = :s",
    "record's name": "SELECT source_id FROM source_record WHERE subject_id = :s",
    "record's digest": "SELECT digest FROM source_record WHERE subject_id = :s",
    "sealed record": "SELECT payload FROM source_record WHERE subject_id = :s",
    "order's token": "SELECT event_key FROM reduction_record WHERE subject_id = :s AND event_key IS NOT NULL",
    "payment's token": "SELECT payment_key FROM reduction_record WHERE subject_id = :s AND payment_key IS NOT NULL",
    "salt of a share": "SELECT salt FROM block_share WHERE subject_id = :s",
    "sealed receipt": "SELECT jws_sealed FROM receipt WHERE subject_id = :s",
    "password": "SELECT password_hash FROM person WHERE subject_id = :s",
}


@dataclass
class Life:
    """One person among others, at a hub whose time goes on with each step."""

    hub: Hub
    clock: Clock
    beijing: Platform
    kuaidian: Platform
    person: LinkedPerson
    folder: Path
    shown: list[bytes] = field(default_factory=list)

    def next(self) -> datetime:
        self.clock.now += timedelta(minutes=1)
        return self.clock.now

    def close_window(self) -> None:
        window = seal_window(self.hub, now=self.next()).window_id
        clear_sealed(self.hub, now=self.next())
        for platform in ("beijing-green-life", "kuaidian"):
            record_statement(
                self.hub, window, platform, pl.DataFrame([], schema=STATEMENT_SCHEMA, orient="row"), now=self.next()
            )
        reconcile_window(self.hub, window, now=self.next())
        # The city claims a record of the person that the hub has not: a break that names it.
        tell(self.hub, window, "beijing-green-life", lines_of((NAMES["older record of the city"], 0, 0)), self.next())
        finalise_window(self.hub, window, now=self.next(), waive_challenge=True)

    def sign(self) -> None:
        file = self.hub.settings.log_head_file
        Sequencer(self.hub.engine, log_signer(self.hub), file).run_until_current(self.clock())
        export_log(self.hub.engine, self.folder / "published")

    def places(self) -> dict[str, bytes]:
        """Everything that the hub keeps or has written."""
        lines = "\n".join(secrets_in_logs.WATCH.lines).encode()
        return (
            traces.stored(self.hub.engine)
            | traces.files(self.folder)
            | {"the leaves": traces.leaves(self.hub.engine), "the log lines": lines}
        )


def ride(name: str, account: str, begin: str, **changes: Any) -> dict[str, Any]:
    times = {"beginTime": f"2026-11-{begin}:00:00+08:00", "endTime": f"2026-11-{begin}:12:00+08:00"}
    return act("0", account, **(times | {"tradeNo": name, "orderNo": f"O-{name}"} | changes))


@pytest.fixture
def life(hub: Hub, tmp_path: Path) -> Life:
    clock = Clock()
    ticking = replace(hub, clock=clock)
    beijing, kuaidian = join(ticking, BEIJING), join(ticking, KUAIDIAN)
    accounts = {"beijing-green-life": NAMES["city account"], "kuaidian": NAMES["charging account"]}
    person = link_person(ticking, NAMES["user name"], accounts, BEHAVIOURS, clock())
    link_person(ticking, "wang", {"beijing-green-life": "bj-2", "kuaidian": "kd-2"}, BEHAVIOURS, clock())
    return Life(ticking, clock, beijing, kuaidian, person, tmp_path)


def live(life: Life) -> None:
    """Sign in, deliver, clear, dispute, pool, retire, use, attest, export; and let the log be signed in between."""
    hub, who = life.hub, life.person.subject_id
    with writing(hub.engine) as session:
        row = session.get(Person, who)
        assert row is not None
        row.display_name = NAMES["nickname"]
    give_password(hub, NAMES["user name"])
    browser = Visitor(hub)
    assert browser.sign_in(NAMES["user name"], PASSWORD).goes_to == "/"
    assert Visitor(hub).sign_in(NAMES["user name"], "a wrong password").status == 401
    told = [
        ride(NAMES["record of the city"], NAMES["city account"], "18T08", mobile=NAMES["phone"], nickname=NAMES["nickname"],
             orderNo=NAMES["order"], payNo=NAMES["payment"]),
        ride("BJ3", NAMES["city account"], "17T08"),
        ride(NAMES["record that nobody could read"], NAMES["city account"], "18T12", scene="UNICYCLE"),
        ride("BJ9", "bj-2", "18T08"), ride("BJ10", "nobody", "18T09"),
    ]  # fmt: skip
    take_delivery(hub, life.beijing, delivery("d1", *told), now=life.next())
    for account in (NAMES["charging account"], "kd-2"):
        charges = [
            charge(
                f"{account[-1]}{day}", account, TotalPower=400.0, StartTime=f"2026-11-{day} 10:00:00",
                EndTime=f"2026-11-{day} 11:00:00",
            )
            for day in range(10, 16)
        ]  # fmt: skip
        charges[0]["StartChargeSeq"] = NAMES["charge"] if account != "kd-2" else charges[0]["StartChargeSeq"]
        take_delivery(
            hub, life.kuaidian, delivery(f"c-{account[-1]}", *charges, stream="charge_orders"), now=life.next()
        )
    clear_dirty(hub, now=life.next())
    life.sign()
    life.close_window()
    other = look_up(hub, "SELECT subject_id FROM person WHERE username = 'wang'")[0][0]
    pool_and_retire(hub, [who, other], life.next())
    life.clock.now += timedelta(minutes=5)
    let_shop_use(hub, who, life.next(), left=400)
    dispute(life, who)
    issue_own(
        hub, who, AskedOf(since=date(2026, 11, 1), until=date(2026, 11, 19), disclose=("final_mg",)), now=life.next()
    )
    newer = ride(NAMES["record of the city"], NAMES["city account"], "18T08", ver=2, distance=1500,
                 orderNo=NAMES["order"], payNo=NAMES["payment"])  # fmt: skip
    take_delivery(hub, life.beijing, delivery("d2", newer), now=life.next())
    clear_dirty(hub, now=life.next())
    target = io.BytesIO()
    export_person(hub, who, target)
    with zipfile.ZipFile(target) as archive:
        life.shown = [archive.read(name) for name in archive.namelist()]


def dispute(life: Life, who: int) -> None:
    """One that the person opened and both wrote in, about a ride."""
    with writing(life.hub.engine) as session:
        newest = text(
            "SELECT MAX(event_id) FROM event WHERE subject_id = :s AND behaviour = 'MOB-BIKE' AND NOT provisional"
        )
        event_id = int(session.execute(newest, {"s": who}).scalar_one())
        asked = Asked(target=Target.EVENT, reason=Reason.FACT, text=NAMES["words in a dispute"], event_id=event_id)
        opened = open_dispute(session, life.hub, asked, Who(side=Side.PERSON, subject_id=who), life.next())
        submit(session, life.hub, opened.dispute.dispute_id, CITY, NAMES["words of the city"], life.next())


def marks_of(hub: Hub, subject_id: int) -> dict[str, set[bytes]]:
    """Return what the hub keeps of the person under its own keys and dice, as it lies in a row."""
    found = {}
    for what, sql in MARKS.items():
        cells = [row[0] for row in look_up(hub, sql, s=subject_id)]
        found[what] = {bytes(c) if isinstance(c, bytes | memoryview) else str(c).encode() for c in cells if c}
        assert found[what], f"the life left no {what}: the search would prove nothing"
        assert all(len(mark) >= 10 for mark in found[what]), what
    return found


def test_nothing_anywhere_leads_to_who_was_erased(life: Life) -> None:
    live(life)
    who, hub = life.person.subject_id, life.hub
    marks = marks_of(hub, who)
    # The search finds what is there: the name in its table, every other name in what the person was given of it.
    before = traces.search({"archive": b"\n".join(life.shown)}, NAMES)
    unread = {"phone", "record that nobody could read", "older record of the city"}
    assert {line.partition(" in archive")[0] for line in before} >= NAMES.keys() - unread
    found = traces.search(life.places(), NAMES)
    assert any(line.startswith("user name in table person (as it is)") for line in found), found
    assert not any("table log_body" in line or "leaves" in line or "file published" in line for line in found), found
    places = life.places()
    for what, kept in marks.items():
        assert all(any(mark in data for data in places.values()) for mark in kept), what

    erase_person(hub, who, now=life.next())
    clear_dirty(hub, now=life.next())
    life.sign()

    places = life.places()
    assert traces.search(places, NAMES) == []
    left = {
        (what, place) for what, kept in marks.items() for mark in kept for place, data in places.items() if mark in data
    }
    assert left == set()
    # And the log, which nobody changed, is as true as it was.
    assert verify_log(life.folder / "published", log_signer(hub).verifier.to_vkey()).fault is None
    report = audit(hub)
    assert report.holds, format_report(report)
