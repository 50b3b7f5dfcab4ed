"""One delivery into the record store. I/O: the database, inside the caller's transaction.

    translate -> whose account was it then -> does that person allow it now -> new, replayed or conflicting -> store

A row that anyone refuses is set aside with a reason and disturbs no other row.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import polars as pl
from sqlalchemy.orm import Session

from connectors.base import Delivery, Outcome
from consent.guard import Permit, permit
from consent.keyring import KeyPurpose, KeyRing
from consent.links import account_keys, owners
from consent.terms import HUB, Purpose
from consent.vault import load_vault
from hub.clearing.windows import join_open_window
from hub.context import Hub
from hub.db import next_sequence
from hub.log.merkle import commitment_root
from hub.participants import Platform
from hub.records.intake import CorrectionMode, Intake, sort_rows
from hub.records.naming import SPENT, load_naming, name_records, name_rows
from hub.records.quarantine import quarantine_place
from hub.records.reading import SET_ASIDE_SCHEMA, Read, read_delivery, without_permission
from hub.records.store import append_quarantined, append_records, load_known, mark_dirty
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Collected:
    """What became of a delivery; `batch` is None if it brought nothing that was not there already."""

    outcome: Outcome
    batch: Batch | None


def read_for(hub: Hub, platform: Platform, delivery: Delivery, now: datetime) -> Read:
    """Translate a delivery with the platform's mapping; needs no database."""
    return read_delivery(
        delivery,
        load_mapping(platform.document.mapping),
        token_key=hub.ring.hmac_key(KeyPurpose.EVENT),
        now=now,
    )


def collect(
    session: Session,
    hub: Hub,
    platform: Platform,
    delivery: Delivery,
    read: Read,
    *,
    origin: Origin,
    now: datetime,
) -> Collected:
    """Store what is new, allowed and sound of a delivery; set the rest aside with reasons.

    The batch of a delivery that brought nothing new is kept only where a platform sent it, so that its id gets the same
    answer again; polling reads the same page over and over.
    """
    window_id = join_open_window(session)
    naming = load_naming(session, hub.ring)
    named = name_records(session, naming, platform.platform_id, delivery.stream, read.records)
    owned = find_owners(session, hub.ring, platform.platform_id, named.records)
    allowed = _ask(session, owned, platform.platform_id, now)
    mine = owned.filter(pl.col("row").is_in(allowed.allowed["row"].implode()))
    spent = mine.filter(pl.col("row").is_in(named.spent.implode()))
    mine = mine.join(spent, on="row", how="anti", maintain_order="left")
    known = load_known(session, platform.platform_id, delivery.stream, mine["source_id"].unique().to_list())
    mode = CorrectionMode(platform.connector.describe().correction_mode)
    intake = sort_rows(mine, known, mode)
    refused = without_permission(named.records, _refusals(owned, allowed, spent))
    conflicts = _conflicts(intake, mine)
    counts = Outcome(
        accepted=len(intake.fresh), refused=len(refused), replayed=len(intake.replayed),
        quarantined=len(read.aside) + len(conflicts),
    )  # fmt: skip
    batch = Batch(
        batch_id=next_sequence(session, "batch", 1)[0], platform=platform.platform_id, stream=delivery.stream,
        delivery_id=delivery.delivery_id, origin=str(origin), digest=delivery.digest,
        mapping=platform.document.mapping, rows=read.rows,
        accepted=counts.accepted, replayed=counts.replayed, conflicting=len(conflicts), refused=counts.refused,
        quarantined=len(read.aside), claimed_mg=int(intake.fresh["claimed_mg"].sum() or 0), window_id=window_id,
        records_root=commitment_root(intake.fresh["digest"].to_list()), received_at=now,
    )  # fmt: skip
    session.add(batch)
    session.flush()
    aside = pl.concat([read.aside, refused, conflicts])
    aside = name_rows(session, naming, platform.platform_id, delivery.stream, aside)
    set_aside = _sealed(hub.ring, batch, aside)
    added = append_quarantined(session, set_aside, batch, now)
    if intake.fresh.is_empty() and added == 0 and origin is not Origin.RECEIVED:
        session.delete(batch)
        session.flush()
        return Collected(outcome=counts, batch=None)
    _store(session, hub, allowed, batch, intake, now)
    return Collected(outcome=counts, batch=batch)


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
            "content": rows["digest"],
            "reason": ["version_conflict"] * len(rows),
            "detail": ["the same id and version came before with other content"] * len(rows),
            "payload": rows["payload"],
        },
        schema=SET_ASIDE_SCHEMA,
    )


def _sealed(ring: KeyRing, batch: Batch, aside: pl.DataFrame) -> pl.DataFrame:
    sealed = [
        None if row["payload"] is None else ring.seal(row["payload"], quarantine_place(batch.platform, row["row_key"]))
        for row in aside.iter_rows(named=True)
    ]
    return aside.with_columns(payload=pl.Series(sealed, dtype=pl.Binary()))


def _store(session: Session, hub: Hub, allowed: Permit, batch: Batch, intake: Intake, now: datetime) -> None:
    fresh = intake.fresh
    if fresh.is_empty():
        return
    methodology = load_methodology(hub.settings.methodology)
    numbers = pl.Series("record_id", next_sequence(session, "record", len(fresh)), dtype=pl.Int64)
    fresh = fresh.with_columns(numbers, platform=pl.lit(batch.platform))
    amounts = quantify(fresh.select(list(RECORD_SCHEMA)), methodology)
    fresh = fresh.with_columns(amounts["reference_mg"], amounts["factor_id"])
    numbered = Intake(fresh=fresh, replayed=intake.replayed, conflicting=intake.conflicting, standing=intake.standing)
    vault = load_vault(session, hub.ring, fresh["subject_id"].unique().to_list())
    append_records(session, allowed, vault, batch, numbered, methodology=methodology.version, received_at=now)
    mark_dirty(session, fresh["subject_id"])
