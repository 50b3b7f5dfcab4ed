"""Take standing records in again under another version of the methodology. I/O: the database. ADR 0017.

    find acts whose amount differs -> may they be cleared and credited now -> read the kept bytes again, with the mapping
    that is pinned -> new versions in the open window

One step is one transaction: records, batches, marks for clearing and leaves commit together. It holds every window that
is not final alone, so no delivery, clearing or erasure is under way meanwhile. What was restated pins the new version and
is not found again: a run that died is run again, and a run that is repeated changes nothing. What the old version counted
is taken back by an entry when the window is cleared, as after any correction (ADR 0005).
"""

import secrets
from dataclasses import dataclass
from datetime import date, datetime, time
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
from sqlalchemy.orm import Session

from consent.guard import Permit, permit
from consent.keyring import KeyPurpose
from consent.terms import HUB, Purpose
from consent.vault import SubjectVault, load_vault
from hub.changes import log_change
from hub.clearing.store import NEWEST
from hub.clearing.tables import ClearingWindow
from hub.clearing.windows import hold_unfinished_windows
from hub.clock import to_micros
from hub.context import Hub
from hub.db import load_by_ids, load_frame, lock, next_sequence, reading, writing
from hub.errors import NotFound, UsageProblem
from hub.failpoints import failpoint
from hub.log.leaves import Kind
from hub.log.merkle import commitment_root
from hub.participants import require_participant
from hub.records.collect import Origin
from hub.records.intake import Intake
from hub.records.restatement import Left, Restated, Restatement, begun_here, settled, told, valued, with_new_amounts
from hub.records.store import Shelf, append_records, mark_dirty
from hub.records.tables import Batch
from hub.sync.tables import ChangeLeaf
from mappings import MappingError, load_mapping, translate
from standards.behaviours import load_behaviours
from standards.datafile import DataError
from standards.methodology import Methodology, load_methodology
from standards.schema import TRANSLATED_SCHEMA, UTC_US

_SHANGHAI = ZoneInfo("Asia/Shanghai")
_COLUMNS: dict[str, Any] = {
    "record_id": pl.Int64(), "subject_id": pl.Int64(), "platform": pl.String(), "role": pl.String(),
    "behaviour": pl.String(), "start_us": pl.Int64(), "end_us": pl.Int64(), "precision": pl.String(),
    "quantity_micro": pl.Int64(), "unit": pl.String(), "region": pl.Int64(), "claimed_mg": pl.Int64(),
    "reference_mg": pl.Int64(), "mapping": pl.String(),
}  # fmt: skip
_SOURCE: dict[str, Any] = {
    "stream": pl.String(), "source_id": pl.String(), "version": pl.Int64(), "digest": pl.Binary(),
    "link_id": pl.String(), "received_us": pl.Int64(), "payload": pl.Binary(),
}  # fmt: skip
_DECISION: dict[str, Any] = {
    "event_id": pl.Int64(), "verdict": pl.String(), "reason": pl.String(), "counted_mg": pl.Int64(),
    "canonical_record_id": pl.Int64(),
}  # fmt: skip
# What stands: the newest version, not withdrawn by its platform, of an act that was neither rejected nor taken back.
_STANDING = (
    "FROM reduction_record r JOIN source_record s ON s.record_id = r.record_id "
    f"JOIN person p ON p.subject_id = r.subject_id LEFT JOIN decision d ON d.record_id = r.record_id AND {NEWEST} "
    "LEFT JOIN event_reversal x ON x.event_id = d.event_id "
    "WHERE r.methodology = :old AND s.superseded_by IS NULL AND NOT s.cancelled AND x.event_id IS NULL "
    "AND (d.verdict IS NULL OR d.verdict <> 'rejected') "
    # What staff took back of an act is of the amount that they saw: another methodology does not bring it back.
    "AND NOT EXISTS (SELECT 1 FROM event_adjusted j WHERE j.event_id = d.event_id AND j.taken_mg > 0)"
)
# Grams that were never issued, because crediting was not allowed then, are not made by a restatement.
_CREDITED = (
    "CASE WHEN d.verdict IS NULL OR d.provisional OR d.counted_mg = 0 OR EXISTS (SELECT 1 FROM journal_entry e WHERE "
    "e.kind = 'issue' AND e.window_id = d.window_id AND e.source_id = d.event_id) THEN 1 ELSE 0 END"
)
_MEMBERS: dict[str, Any] = _COLUMNS | _SOURCE | _DECISION | dict.fromkeys(("credited", "erased", "chosen"), pl.Int64())


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What became of some records; `last` is the number to go on after, `seen` how many were looked at."""

    last: int
    seen: int
    restated: Restated


def require_restatement(session: Session, wanted: Restatement) -> None:
    """Raise UsageProblem for versions that are not installed, NotFound for a platform, behaviour or window that is not there."""
    for version in (wanted.old, wanted.new):
        _methodology(version)
    if wanted.platform is not None:
        require_participant(session, wanted.platform)
    if wanted.behaviour is not None and wanted.behaviour not in load_behaviours():
        raise NotFound(f"there is no behaviour {wanted.behaviour!r}")
    if wanted.window_id is not None and session.get(ClearingWindow, wanted.window_id) is None:
        raise NotFound(f"there is no window {wanted.window_id}")


def count_standing(session: Session, wanted: Restatement) -> int:
    """Count the standing records that pin the old version, in the limits of the restatement."""
    found = load_frame(
        session, f"SELECT COUNT(*) {_STANDING} AND {_limits(wanted)}", {"n": pl.Int64()}, **_named(wanted)
    )
    return int(found["n"][0])


def restate(hub: Hub, wanted: Restatement, *, now: datetime, after: int = 0, limit: int = 500) -> Step | None:
    """Restate the acts that begin with the next records; None if no record is left to look at.

    Args:
        after: the last number seen. limit: how many records to look at; an act's other records come beside.
    """
    with writing(hub.engine) as session:
        lock(session, "restate")
        window_id = hold_unfinished_windows(session)
        found = _look(session, hub, wanted, after=after, limit=limit, now=now, hold=True)
        if found is None:
            return None
        if not found.taken.is_empty():
            _note_decision(session, wanted, now)
            _take(session, hub, wanted, found, window_id, now)
        failpoint("restate.before_commit")
    failpoint("restate.after_commit")
    return found.step


def preview(hub: Hub, wanted: Restatement, *, now: datetime, after: int = 0, limit: int = 500) -> Step | None:
    """Say what `restate` would do, and change nothing."""
    with reading(hub.engine) as session:
        found = _look(session, hub, wanted, after=after, limit=limit, now=now, hold=False)
    return None if found is None else found.step


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A step before anything is written: `taken` are the records that move, as their platforms told them."""

    step: Step
    taken: pl.DataFrame
    allowed: Permit


def _look(
    session: Session, hub: Hub, wanted: Restatement, *, after: int, limit: int, now: datetime, hold: bool
) -> _Found | None:
    page = _load_page(session, wanted, after=after, limit=limit)
    if page.is_empty():
        return None
    last, new = int(page["record_id"][-1]), _methodology(wanted.new)
    asking = with_new_amounts(page, new).filter("differs")
    members = with_new_amounts(_load_members(session, wanted, asking), new)
    members = begun_here(members, after=after, last=last).sort("record_id").with_row_index("row")
    allowed = _ask(session, members, now, hold=hold)
    vault = load_vault(session, hub.ring, members["subject_id"].unique().to_list())
    mine = members.filter(pl.col("row").is_in(allowed.allowed["row"].implode()))
    read = _read_again(hub, vault, mine, now)
    members = settled(
        members.with_columns(
            left=pl.when(pl.col("erased") == 1)
            .then(pl.lit(str(Left.ERASED)))
            .when(~pl.col("row").is_in(mine["row"].implode()))
            .then(pl.lit(str(Left.REFUSED)))
            .when(~pl.col("record_id").is_in(read["record_id"].implode()))
            .then(pl.lit(str(Left.UNREADABLE)))
        )
    )
    kept = [
        "row",
        "record_id",
        "subject_id",
        "platform",
        "mapping",
        "before_mg",
        *(n for n in _SOURCE if n != "payload"),
    ]
    going = members.filter(pl.col("left").is_null()).with_columns(before_mg="reference_mg").select(kept)
    return _Found(
        step=Step(last=last, seen=len(page), restated=told(members)),
        taken=going.join(read, on="record_id", how="inner", maintain_order="left"),
        allowed=allowed,
    )


def _load_page(session: Session, wanted: Restatement, *, after: int, limit: int) -> pl.DataFrame:
    names = ", ".join(f"r.{name}" for name in _COLUMNS)
    sql = (
        f"SELECT {names}, d.event_id {_STANDING} AND {_limits(wanted)} AND r.record_id > :after "
        "ORDER BY r.record_id LIMIT :limit"
    )
    schema = _COLUMNS | {"event_id": pl.Int64()}
    return _typed(load_frame(session, sql, schema, after=after, limit=limit, **_named(wanted)))


def _load_members(session: Session, wanted: Restatement, asking: pl.DataFrame) -> pl.DataFrame:
    """Load the whole acts of these records: all reports that stand; one without a decision is an act by itself."""
    columns = (
        [f"r.{name}" for name in _COLUMNS] + [f"s.{name}" for name in _SOURCE] + [f"d.{name}" for name in _DECISION]
    )
    sql = (
        f"SELECT {', '.join(columns)}, {_CREDITED}, CASE WHEN p.erased_at IS NULL THEN 0 ELSE 1 END, "
        f"CASE WHEN {_limits(wanted)} THEN 1 ELSE 0 END {_STANDING} AND "
    )
    decided = asking["event_id"].drop_nulls().unique().sort().to_list()
    alone = asking.filter(pl.col("event_id").is_null())["record_id"].to_list()
    members = pl.concat(
        [
            load_by_ids(session, f"{sql} d.event_id IN :ids", _MEMBERS, decided, **_named(wanted)),
            load_by_ids(session, f"{sql} r.record_id IN :ids", _MEMBERS, alone, **_named(wanted)),
        ]
    )
    flags = [pl.col(name) == 1 for name in ("credited", "chosen")]
    return _typed(members).with_columns(*flags, act=pl.coalesce("event_id", -pl.col("record_id")))


def _ask(session: Session, members: pl.DataFrame, now: datetime, *, hold: bool) -> Permit:
    """Ask whether these may be cleared, and those whether they may be credited."""
    asked = members.select("row", "subject_id", "platform", "behaviour", at="start_at")
    clear = permit(session, purpose=Purpose.CLEAR, recipient=HUB, asked=asked, now=now, hold=hold)
    asked = asked.filter(pl.col("row").is_in(clear.allowed["row"].implode()))
    return permit(session, purpose=Purpose.CREDIT, recipient=HUB, asked=asked, now=now, hold=hold)


def _read_again(hub: Hub, vault: SubjectVault, members: pl.DataFrame, now: datetime) -> pl.DataFrame:
    """Translate the kept bytes with the mapping that each record pins; what cannot be read is left out.

    The platform told the same as before, so the act, its day and its keys come out the same.
    """
    told_again = [
        "record_id",
        "payload",
        *(n for n in TRANSLATED_SCHEMA if n not in ("row", "source_id", "version", "account")),
    ]
    nothing = {"record_id": pl.Int64(), "payload": pl.Binary()} | {n: TRANSLATED_SCHEMA[n] for n in told_again[2:]}
    parts = [pl.DataFrame(schema=nothing)]
    for (name,), rows in members.group_by("mapping", maintain_order=True):
        opened = vault.open_many(
            "source_record", "payload", row_ids=rows["record_id"].to_list(), subject_ids=rows["subject_id"].to_list(),
            blobs=rows["payload"].to_list(),
        )  # fmt: skip
        rows = rows.select("record_id", payload=pl.Series(opened, dtype=pl.Binary())).drop_nulls("payload")
        try:
            mapping = load_mapping(str(name))
        except (MappingError, DataError, OSError):
            continue
        translated = translate(
            mapping, rows["payload"], token_key=hub.ring.hmac_key(KeyPurpose.EVENT), now=now,
            # Whose record it is stays as it was found when it came.
            accounts=pl.Series(["-"] * len(rows), dtype=pl.String),
        ).records  # fmt: skip
        at = translated["row"]
        parts.append(
            translated.with_columns(rows["record_id"].gather(at), rows["payload"].gather(at)).select(told_again)
        )
    return pl.concat(parts)


def _take(session: Session, hub: Hub, wanted: Restatement, found: _Found, window_id: int, now: datetime) -> None:
    """Store the new versions, a batch for each platform, stream and mapping."""
    new = _methodology(wanted.new)
    vault = load_vault(session, hub.ring, found.taken["subject_id"].unique().to_list())
    for (platform, stream, mapping), rows in found.taken.group_by("platform", "stream", "mapping", maintain_order=True):
        numbers = pl.Series("record_id", next_sequence(session, "record", len(rows)), dtype=pl.Int64())
        standing = rows.select("source_id", standing_id="record_id")
        fresh = rows.with_columns(
            numbers,
            newest=pl.lit(True),
            digest=pl.Series([_digest(wanted.new, told) for told in rows["digest"]], dtype=pl.Binary()),
        )
        fresh = fresh.with_columns(*valued(fresh, new))
        batch = Batch(
            batch_id=next_sequence(session, "batch", 1)[0], platform=platform, stream=stream,
            delivery_id=f"restated:{wanted.digest().hex()[:16]}:{secrets.token_hex(8)}", origin=str(Origin.RESTATED),
            digest=wanted.digest(), mapping=mapping, rows=len(fresh), accepted=len(fresh), replayed=0, conflicting=0,
            refused=0, quarantined=0, claimed_mg=int(fresh["claimed_mg"].sum() or 0), window_id=window_id,
            records_root=commitment_root(fresh["digest"].to_list()), received_at=now,
        )  # fmt: skip
        session.add(batch)
        session.flush()
        fresh, nobody = fresh.with_columns(batch_id=pl.lit(batch.batch_id)), fresh.clear()
        shelf = Shelf(platform=platform, stream=stream, mapping=mapping, window_id=window_id)
        intake = Intake(fresh=fresh, replayed=nobody, conflicting=nobody, standing=standing)
        append_records(session, found.allowed, vault, shelf, intake, methodology=new.version, received_at=now)
        _log_batch(session, wanted, batch, fresh, now)
    mark_dirty(session, found.taken["subject_id"])


def _note_decision(session: Session, wanted: Restatement, now: datetime) -> None:
    """Log the decision once. Its words stay beside the leaf and never leave the hub; the leaf has their digest."""
    reference = f"{wanted.digest().hex()[:32]}:{wanted.why}"
    if session.get(ChangeLeaf, (str(Kind.RESTATEMENT_DECIDED), reference)) is None:
        fields = wanted.fields() | {"decision": wanted.digest().hex()}
        log_change(session, Kind.RESTATEMENT_DECIDED, reference, now, fields)


def _log_batch(session: Session, wanted: Restatement, batch: Batch, fresh: pl.DataFrame, now: datetime) -> None:
    fields = {
        "participant": batch.platform, "stream": batch.stream, "mapping": batch.mapping, "window": batch.window_id,
        "batch": batch.batch_id, "from": wanted.old, "to": wanted.new, "decision": wanted.digest(),
        "accepted_count": batch.accepted,
        "from_mg": int(fresh["before_mg"].sum() or 0), "to_mg": int(fresh["reference_mg"].sum() or 0),
        "claimed_mg": batch.claimed_mg, "records_root": batch.records_root,
    }  # fmt: skip
    log_change(session, Kind.BATCH_RESTATED, f"{batch.batch_id}", now, fields)


def _digest(version: str, content: bytes) -> bytes:
    """Name the new version of a record: no platform's own telling can have this digest."""
    return sha256(b"restated\x00" + version.encode() + b"\x00" + content).digest()


def _limits(wanted: Restatement) -> str:
    """SQL for which records were meant."""
    limits = {
        "r.platform = :platform": wanted.platform,
        "r.behaviour = :behaviour": wanted.behaviour,
        "r.window_id = :window": wanted.window_id,
        "r.start_us >= :since": wanted.since,
        "r.start_us < :until": wanted.until,
    }
    return " AND ".join(["1 = 1", *(sql for sql, value in limits.items() if value is not None)])


def _named(wanted: Restatement) -> dict[str, Any]:
    values = {
        "old": wanted.old, "platform": wanted.platform, "behaviour": wanted.behaviour, "window": wanted.window_id,
        "since": wanted.since and _midnight_us(wanted.since), "until": wanted.until and _midnight_us(wanted.until),
    }  # fmt: skip
    return {name: value for name, value in values.items() if value is not None}


def _midnight_us(day: date) -> int:
    return to_micros(datetime.combine(day, time(), tzinfo=_SHANGHAI))


def _typed(frame: pl.DataFrame) -> pl.DataFrame:
    """Add the times as quantification reads them."""
    return frame.with_columns(
        pl.col("region").cast(pl.Int32), start_at=pl.col("start_us").cast(UTC_US), end_at=pl.col("end_us").cast(UTC_US)
    )


def _methodology(version: str) -> Methodology:
    try:
        return load_methodology(version)
    except (DataError, OSError) as cause:
        raise UsageProblem(f"there is no methodology {version!r} ({cause})") from None
