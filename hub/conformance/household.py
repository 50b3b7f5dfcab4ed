"""A hub of the suite's own, with the feed's platform and a few people who link their accounts. I/O: files, a database.

It lives in the case's folder and never touches the operator's database or keys.
"""

import json
import shutil
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import text

from connectors.base import Delivery, Outcome
from consent.grants import activate_grant, request_grant
from consent.keyring import load_keyring
from consent.links import open_link
from consent.people import add_person
from consent.terms import HUB, GrantTerms, Purpose, Sensitive
from consent.withdraw import withdraw_grant
from hub.changes import log_consent_change
from hub.conformance.rig import Rig
from hub.context import Hub
from hub.db import make_engine, reading, writing
from hub.errors import Conflict
from hub.migrate import prepare
from hub.participants import Platform, add_participant, open_platform, parse_document
from hub.pipeline import clear_dirty, seal_window, take_deliveries, take_delivery
from hub.records.reading import read_deliveries
from hub.settings import Settings

_COUNTS = ("accepted", "refused", "replayed", "quarantined")
_GROUP = 40
_SINCE, _UNTIL = timedelta(days=400), timedelta(days=400)
_STANDING = (
    "SELECT s.digest, s.version, s.cancelled, r.behaviour, r.start_us, r.end_us, r.quantity_micro, "
    "r.claimed_mg, r.reference_mg, s.subject_id FROM source_record s JOIN reduction_record r ON r.record_id = s.record_id "
    "WHERE s.superseded_by IS NULL"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resident:
    subject_id: int
    grant_id: str
    account: str


class Household:
    """The hub, its platform, and who lives there."""

    def __init__(self, rig: Rig, name: str = "hub", *, keys: Path | None = None) -> None:
        self.rig, self.folder = rig, rig.folder / name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.keys = keys or self.folder / "keys"
        self.database = self.folder / "tanlian.db"
        self.database.write_bytes(_empty_database())
        settings = Settings(
            _env_file=None, database_url=f"sqlite:///{self.database}", keys_dir=self.keys,
            issuer=rig.stage.hub_url, allow_loopback=True,
        )  # fmt: skip
        engine = make_engine(settings.database_url)
        self.hub = Hub(settings=settings, engine=engine, ring=load_keyring(self.keys), clock=lambda: rig.now)
        self._accounts: dict[int, str] = {}
        self._residents = 0
        self.platform = self._join()

    def __enter__(self) -> "Household":
        return self

    def __exit__(self, *_: object) -> None:
        self.hub.engine.dispose()
        shutil.rmtree(self.folder, ignore_errors=True)

    def link(self, account: str, *, until: datetime | None = None) -> Resident:
        """Let a person link an account and allow everything that the platform tells of."""
        rig, now = self.rig, self.rig.now
        terms = GrantTerms(
            recipient=HUB,
            purposes=frozenset({Purpose.COLLECT, Purpose.CLEAR, Purpose.CREDIT}),
            behaviours=frozenset(rig.spec.behaviours),
            platforms=frozenset({rig.spec.id}),
            valid_from=now - _SINCE,
            valid_until=now + _UNTIL,
            sensitive=frozenset(Sensitive),
            notice_version="conformance",
            language="en",
        )
        with writing(self.hub.engine) as session:
            self._residents += 1
            person = add_person(
                session, self.hub.ring, username=f"resident-{self._residents}", password=None,
                display_name="Resident", now=now,
            )  # fmt: skip
            session.flush()
            grant, asked = request_grant(session, subject_id=person.subject_id, terms=terms, now=now)
            _, given = activate_grant(session, grant_id=grant.grant_id, subject_id=person.subject_id, now=now)
            _, opened = open_link(
                session, self.hub.ring, subject_id=person.subject_id, platform=rig.spec.id, account=account,
                grant_id=grant.grant_id, valid_from=terms.valid_from, now=now,
            )  # fmt: skip
            for change in (asked, given, opened):
                log_consent_change(session, change, now, hub=self.hub)
            self._accounts[person.subject_id] = account
            return Resident(subject_id=person.subject_id, grant_id=grant.grant_id, account=account)

    def link_all(self, accounts: Collection[str]) -> list[Resident]:
        return [self.link(account) for account in sorted(accounts)]

    def withdraw(self, resident: Resident) -> None:
        """Let a person take the permission back."""
        with writing(self.hub.engine) as session:
            changes = withdraw_grant(
                session, grant_id=resident.grant_id, subject_id=resident.subject_id, now=self.rig.now
            )
            for change in changes:
                log_consent_change(session, change, self.rig.now, hub=self.hub)

    def take(self, deliveries: Sequence[Delivery], *, now: datetime | None = None) -> Outcome:
        """Take deliveries in the order in which they came; returns what became of all."""
        total: Counter[str] = Counter()
        for group in _groups(deliveries):
            for outcome in take_deliveries(self.hub, self.platform, group, now=now or self.rig.now):
                total.update({} if outcome is None else {name: getattr(outcome, name) for name in _COUNTS})
        return Outcome(**total)

    def contradicts(self, delivery: Delivery) -> bool:
        """Whether a delivery is refused because its id stands for other bytes."""
        try:
            take_delivery(self.hub, self.platform, delivery, now=self.rig.now)
        except Conflict:
            return True
        return False

    def seal(self) -> None:
        seal_window(self.hub, now=self.rig.now)

    def standing(self) -> list[tuple[Any, ...]]:
        """The records that nothing supersedes, with the account of each: what the hub holds to be so."""
        found = self.rows(_STANDING)
        return sorted((*row[:-1], self._accounts[row[-1]]) for row in found)

    def balances(self) -> dict[str, int]:
        """What counts for each person, by account, decided now."""
        while clear_dirty(self.hub, now=self.rig.now):
            pass
        rows = self.rows("SELECT subject_id, SUM(counted_mg) FROM decision GROUP BY subject_id")
        return {self._accounts[subject]: int(counted) for subject, counted in rows}

    def rows(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        with reading(self.hub.engine) as session:
            return [tuple(row) for row in session.execute(text(sql), values)]

    def number(self, sql: str, **values: Any) -> int:
        return int(self.rows(sql, **values)[0][0] or 0)

    def on_disk(self) -> bytes:
        """Every byte that the database has written."""
        return b"".join(path.read_bytes() for path in sorted(self.folder.glob("tanlian.db*")))

    def _join(self) -> Platform:
        document = parse_document(json.dumps(self.rig.document))
        with writing(self.hub.engine) as session:
            add_participant(session, self.hub.ring, document, self.rig.now)
        with reading(self.hub.engine) as session:
            return open_platform(session, self.hub.ring, document.id)


def _groups(deliveries: Sequence[Delivery]) -> Iterator[list[Delivery]]:
    """Yield runs of deliveries in which no id comes twice: each run is one transaction."""
    group: dict[str, Delivery] = {}
    for delivery in deliveries:
        if delivery.delivery_id in group or len(group) == _GROUP:
            yield list(group.values())
            group = {}
        group[delivery.delivery_id] = delivery
    if group:
        yield list(group.values())


def expected_standing(rig: Rig, deliveries: Sequence[Delivery], accounts: Collection[str]) -> dict[str, bytes]:
    """Return by source id the digest of the edition that must stand once all of this was taken in this order."""
    read = read_deliveries(deliveries, rig.mapping, token_key=b"conformance-key!" * 2, now=rig.now)
    mode, best = rig.description.correction_mode, dict[str, tuple[int, bytes]]()
    seen: dict[str, set[bytes]] = {}
    for row in read.records.iter_rows(named=True):
        if row["account"] not in accounts:
            continue
        source_id, digest, version = row["source_id"], row["digest"], row["version"]
        known = seen.setdefault(source_id, set())
        if digest in known:
            continue
        known.add(digest)
        if mode == "replace" or source_id not in best or (mode == "version" and version > best[source_id][0]):
            best[source_id] = (version, digest)
    return {source_id: digest for source_id, (_, digest) in best.items()}


def editions(rig: Rig, deliveries: Sequence[Delivery]) -> dict[str, set[bytes]]:
    """Return by source id the digests of all its tellings."""
    read = read_deliveries(deliveries, rig.mapping, token_key=b"conformance-key!" * 2, now=rig.now)
    found: dict[str, set[bytes]] = {}
    for source_id, digest in read.records.select("source_id", "digest").iter_rows():
        found.setdefault(source_id, set()).add(digest)
    return found


def repacked(deliveries: Sequence[Delivery], *, rows: int = 2) -> list[Delivery]:
    """Return the same rows in other messages."""
    found = []
    for number, delivery in enumerate(deliveries):
        for start in range(0, max(len(delivery.rows), 1), rows):
            part = delivery.rows[start : start + rows]
            name = f"repacked-{number}-{start}"
            digest = number.to_bytes(16, "big") + start.to_bytes(16, "big")
            found.append(replace(delivery, delivery_id=name, rows=part, unreadable=(), digest=digest))
    return found


@cache
def _empty_database() -> bytes:
    """A migrated database without a row; made once in a process."""
    with TemporaryDirectory(prefix="tanlian-conformance-") as folder:
        path = Path(folder) / "empty.db"
        engine = make_engine(f"sqlite:///{path}")
        prepare(engine, datetime.fromisoformat("2026-09-01T00:00:00+00:00"))
        engine.dispose()  # the last connection puts what it has written into the file
        return path.read_bytes()
