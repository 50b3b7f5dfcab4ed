"""Deliveries into the record store. I/O: the database, inside the caller's transaction.

    translate -> whose account was it then -> does that person allow it now -> new, replayed or conflicting -> store

A row that anyone refuses is set aside with a reason and disturbs no other row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import polars as pl
from sqlalchemy.orm import Session

from connectors.base import Delivery, Outcome, Transport
from consent.guard import Permit, permit
from consent.keyring import KeyPurpose, KeyRing
from consent.links import account_keys, owners
from consent.terms import HUB, Purpose
from consent.vault import load_vault
from hub.clearing.windows import join_open_window
from hub.context import Hub
from hub.db import next_sequence
from hub.log.merkle import commitment_root
from hub.participants import Feed, Platform
from hub.records.corroboration import append_confirmations, sort_confirmations
from hub.records.intake import CorrectionMode, Intake, sort_rows
from hub.records.naming import SPENT, load_naming, name_records, name_rows
from hub.records.quarantine import quarantine_place
from hub.records.reading import SET_ASIDE_SCHEMA, Read, read_deliveries, without_permission
from hub.records.store import Shelf, append_quarantined, append_records, load_known, load_subjects, mark_dirty
from hub.records.tables import Batch
from mappings import load_mapping
from standards.methodology import load_methodology
from standards.quantify import quantify
from standards.schema import RECORD_SCHEMA


class Origin(StrEnum):
    """Where the rows of a batch came from."""

    RECEIVED = "received"  # a platform spoke to a door of the hub
    FETCHED = "fetched"  # the hub asked
    REPLAYED = "replayed"  # set aside before, and translated now
    RESTATED = "restated"  # taken before, and valued now by another version of the methodology
    RELEASED = "released"  # taken and held before, and released by a reviewer


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What became of a delivery; `batch` is None if it brought nothing that was not there already."""

    outcome: Outcome
    batch: Batch | None


def read_for(hub: Hub, feed: Feed, deliveries: Sequence[Delivery], now: datetime) -> Read:
    """Translate deliveries of one feed with its mapping; needs no database."""
    return read_deliveries(
        deliveries,
        load_mapping(feed.mapping),
        token_key=hub.ring.hmac_key(KeyPurpose.EVENT),
        now=now,
    )


def collect(
    session: Session,
    hub: Hub,
    platform: Platform,
    feed: Feed,
    deliveries: Sequence[Delivery],
    read: Read,
    *,
    origin: Origin,
    now: datetime,
) -> list[Collected]:
    """Store what is new, allowed and sound of some deliveries of one feed; set the rest aside with reasons.

    The batch of a delivery that brought nothing new is kept only where a platform sent it, so that its id gets the same
    answer again; polling reads the same page over and over.
    """
    platform_id, stream = platform.platform_id, feed.stream
    shelf = Shelf(platform=platform_id, stream=stream, mapping=feed.mapping, window_id=join_open_window(session))
    if load_mapping(feed.mapping).corroborates:
        return _confirm(session, hub, shelf, deliveries, read, origin=origin, now=now)
    naming = load_naming(session, hub.ring)
    named = name_records(session, naming, platform_id, stream, _own_ids(feed, read.records))
    owned = find_owners(session, hub.ring, platform_id, named.records)
    allowed = _ask(session, owned, platform_id, now)
    mine = owned.filter(pl.col("row").is_in(allowed.allowed["row"].implode()))
    spent = mine.filter(pl.col("row").is_in(named.spent.implode()))
    mine = mine.join(spent, on="row", how="anti", maintain_order="left")
    known = load_known(session, platform_id, stream, mine["source_id"].unique().to_list())
    intake = sort_rows(mine, known, CorrectionMode(feed.connector.describe().correction_mode))
    refused = without_permission(named.records, _refusals(owned, allowed, spent))
    conflicts = _conflicts(intake, mine)
    batches = _batches(session, shelf, deliveries, read, intake, refused, conflicts, origin=origin, now=now)
    numbers = [batch.batch_id for batch in batches]
    aside = name_rows(session, naming, platform_id, stream, pl.concat([read.aside, refused, conflicts]))
    added = append_quarantined(session, _sealed(hub.ring, platform_id, _in_batches(aside, numbers)), shelf, now)
    _store(session, hub, allowed, shelf, intake, numbers, now)
    return [_kept(session, batch, added[batch.batch_id], origin) for batch in batches]


def _own_ids(feed: Feed, records: pl.DataFrame) -> pl.DataFrame:
    """Name what a person brings within the person's account: whoever knows the number of a payment may write a bill with it."""
    if feed.connector.describe().transport is not Transport.UPLOAD:
        return records
    return records.with_columns(source_id=pl.concat_str("account", "source_id", separator="\x1f"))


def _confirm(
    session: Session,
    hub: Hub,
    shelf: Shelf,
    deliveries: Sequence[Delivery],
    read: Read,
    *,
    origin: Origin,
    now: datetime,
) -> list[Collected]:
    """Keep rows that name nobody beside the records. No person's consent is asked, because no person is in them."""
    intake = sort_confirmations(session, shelf, read.records)
    nothing = read.aside.clear()
    batches = _batches(session, shelf, deliveries, read, intake, nothing, nothing, origin=origin, now=now)
    numbers = [batch.batch_id for batch in batches]
    aside = name_rows(session, load_naming(session, hub.ring), shelf.platform, shelf.stream, read.aside)
    added = append_quarantined(session, _sealed(hub.ring, shelf.platform, _in_batches(aside, numbers)), shelf, now)
    append_confirmations(session, shelf, _in_batches(intake.fresh, numbers))
    return [_kept(session, batch, added[batch.batch_id], origin) for batch in batches]


def _batches(
    session: Session,
    shelf: Shelf,
    deliveries: Sequence[Delivery],
    read: Read,
    intake: Intake,
    refused: pl.DataFrame,
    conflicts: pl.DataFrame,
    *,
    origin: Origin,
    now: datetime,
) -> list[Batch]:
    """Write down each delivery with its counts."""
    counts = {
        name: _by_delivery(frame, len(deliveries))
        for name, frame in (
            ("accepted", intake.fresh), ("replayed", intake.replayed), ("conflicting", conflicts),
            ("refused", refused), ("quarantined", read.aside),
        )
    }  # fmt: skip
    fresh = {key[0]: rows for key, rows in intake.fresh.group_by("delivery", maintain_order=True)}
    nothing = intake.fresh.clear()
    batches = [
        Batch(
            batch_id=batch_id, platform=shelf.platform, stream=shelf.stream, mapping=shelf.mapping,
            delivery_id=delivery.delivery_id, origin=str(origin), digest=delivery.digest, rows=read.rows[number],
            **{name: told[number] for name, told in counts.items()},
            claimed_mg=int(fresh.get(number, nothing)["claimed_mg"].sum() or 0), window_id=shelf.window_id,
            records_root=commitment_root(fresh.get(number, nothing)["digest"].to_list()), received_at=now,
        )
        for number, (batch_id, delivery) in enumerate(
            zip(next_sequence(session, "batch", len(deliveries)), deliveries, strict=True)
        )
    ]  # fmt: skip
    session.add_all(batches)
    session.flush()
    return batches


def _by_delivery(rows: pl.DataFrame, deliveries: int) -> list[int]:
    counted = dict(rows.group_by("delivery").len().iter_rows())
    return [counted.get(number, 0) for number in range(deliveries)]


def _in_batches(rows: pl.DataFrame, numbers: list[int]) -> pl.DataFrame:
    return rows.with_columns(
        batch_id=pl.Series(numbers, dtype=pl.Int64).gather(rows["delivery"])
    ).drop("delivery")  # fmt: skip


def _kept(session: Session, batch: Batch, added: int, origin: Origin) -> Collected:
    outcome = Outcome(
        accepted=batch.accepted, refused=batch.refused, replayed=batch.replayed,
        quarantined=batch.quarantined + batch.conflicting,
    )  # fmt: skip
    if batch.accepted == 0 and added == 0 and origin is not Origin.RECEIVED:
        session.delete(batch)
        session.flush()
        return Collected(outcome=outcome, batch=None)
    return Collected(outcome=outcome, batch=batch)


def find_owners(session: Session, ring: KeyRing, platform: str, records: pl.DataFrame) -> pl.DataFrame:
    """Add subject_id and link_id (null where nobody owned the account at the time of the act)."""
    asked = records.select("row", at="start_at", account_key=account_keys(ring, platform, records["account"]))
    owned = owners(session, platform=platform, asked=asked)
    return records.join(owned, on="row", how="left", maintain_order="left")


def _ask(session: Session, owned: pl.DataFrame, platform: str, now: datetime) -> Permit:
    asked = owned.filter(pl.col("subject_id").is_not_null()).select(
        "row", "subject_id", "behaviour", platform=pl.lit(platform), at="start_at"
    )
    return permit(session, purpose=Purpose.COLLECT, recipient=HUB, asked=asked, now=now, hold=True)


def _refusals(owned: pl.DataFrame, allowed: Permit, spent: pl.DataFrame) -> pl.DataFrame:
    unknown = owned.filter(pl.col("subject_id").is_null()).select("row", reason=pl.lit("unknown_account"))
    refused = allowed.refused.select(pl.col("row").cast(unknown.schema["row"]), "reason")
    return pl.concat([unknown, refused, spent.select("row", reason=pl.lit(SPENT))])


def _conflicts(intake: Intake, mine: pl.DataFrame) -> pl.DataFrame:
    rows = mine.join(intake.conflicting, on="row", how="semi")
    return pl.DataFrame(
        {
            "delivery": rows["delivery"],
            "content": rows["digest"],
            "reason": ["version_conflict"] * len(rows),
            "detail": ["the same id and version came before with other content"] * len(rows),
            "payload": rows["payload"],
        },
        schema=SET_ASIDE_SCHEMA,
    )


def _sealed(ring: KeyRing, platform: str, aside: pl.DataFrame) -> pl.DataFrame:
    sealed = [
        None if row["payload"] is None else ring.seal(row["payload"], quarantine_place(platform, row["row_key"]))
        for row in aside.iter_rows(named=True)
    ]
    return aside.with_columns(payload=pl.Series(sealed, dtype=pl.Binary()))


def _store(
    session: Session, hub: Hub, allowed: Permit, shelf: Shelf, intake: Intake, batches: list[int], now: datetime
) -> None:
    if intake.fresh.is_empty():
        return
    methodology = load_methodology(hub.settings.methodology)
    numbers = pl.Series("record_id", next_sequence(session, "record", len(intake.fresh)), dtype=pl.Int64)
    fresh = _in_batches(intake.fresh, batches).with_columns(numbers, platform=pl.lit(shelf.platform))
    amounts = quantify(fresh.select(list(RECORD_SCHEMA)), methodology)
    fresh = fresh.with_columns(amounts["reference_mg"], amounts["factor_id"])
    numbered = Intake(fresh=fresh, replayed=intake.replayed, conflicting=intake.conflicting, standing=intake.standing)
    vault = load_vault(session, hub.ring, fresh["subject_id"].unique().to_list())
    append_records(session, allowed, vault, shelf, numbered, methodology=methodology.version, received_at=now)
    # A newer version can say that the act was somebody else's: who had it before has to be decided anew as well.
    before = load_subjects(session, intake.standing["standing_id"].to_list())
    mark_dirty(session, pl.concat([fresh["subject_id"], before]))
