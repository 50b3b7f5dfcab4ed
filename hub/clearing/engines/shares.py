"""What a cluster's executors do, each with its share of the records: the Spark engine without Spark. I/O: files.

A place is a range of buckets, of record numbers or of keys, whichever is at hand; a task has one place. Everything a
step finds wrong is told to the driver, which says what one machine would have said: the first in the order of files.
"""

import copyreg
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import uuid4

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from hub.clearing.engines.blobs import (
    DECIDED,
    JUNK,
    KEY,
    OWNER,
    RIDE,
    Blob,
    Kind,
    exact_bytes,
    gather,
    names_of,
    pieces,
    scattered,
    table_of,
    to_batches,
    told,
    with_platforms,
)
from hub.clearing.engines.cleared import Naming, clear_range, write_rejected
from hub.clearing.engines.reading import RecordFile, digest_file, read_batches
from hub.clearing.errors import ClearingInputError
from hub.clearing.kernel.clear import watch
from hub.clearing.kernel.codes import Catalogue, build_catalogue
from hub.clearing.kernel.compiled import cache_folder
from hub.clearing.kernel.customs import SLOTS
from hub.clearing.kernel.encode import BAD, PlatformNames, bucket_keys, encode_records, mark_live, sorted_rows
from hub.clearing.kernel.facts import (
    CUSTOMS,
    KEYS,
    PARTNERS,
    RIDES,
    Evidence,
    Facts,
    conclude,
    count_keys,
    find_rides,
    name_customs,
)
from hub.clearing.kernel.rows import I64, ROW, UNTOLD, Table
from hub.clearing.kernel.rules import build_rules
from hub.clearing.kernel.valuing import Valuer
from standards.canonical import splitmix64_array
from standards.methodology import Methodology
from standards.policy import ClearingPolicy


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one task reads."""

    path: Path
    number: int
    """Of the file of records in the job, or of the earlier run if these are its decisions."""
    groups: tuple[int, ...] = ()
    """Its row groups."""
    is_first: bool = False
    """Whether this part stands for its file where that is done once."""
    are_decisions: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """What every executor must know from the start."""

    version: str
    """Of the compiled sources: an executor with others would decide by other rules."""
    files: tuple[RecordFile, ...]
    """Those of this run, then those of earlier ones."""
    run_of: tuple[int, ...]
    """The earlier run of each file; -1 for this run."""
    runs: tuple[str, ...]
    """Folders of the earlier runs."""
    new: tuple[Part, ...]
    old: tuple[Part, ...]
    places: int
    """A power of two; the place after the last is for records that are none."""
    policy: ClearingPolicy
    methodology: Methodology
    folder: Path
    """Where finished files of `decisions/` and `events/` go; the driver shows all of it or nothing."""
    attempts: Path
    """For files that a task has begun; on the same storage, and no part of the result."""

    @property
    def catalogue(self) -> Catalogue:
        """Return the codes under the policy's order of roles."""
        return build_catalogue(self.policy.role_order)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Learnt:
    """What is known once all records were seen."""

    facts: Facts
    platforms: tuple[str, ...]


NO_EVIDENCE = Evidence(
    keys=pl.DataFrame(schema=KEYS),
    rides=pl.DataFrame(schema=RIDES),
    customs=pl.DataFrame(schema=CUSTOMS),
    partners=pl.DataFrame(schema=PARTNERS),
    slots=(0,) * SLOTS,
)
Step = Callable[[int, dict[Kind, list[Blob]], Job], Iterator[Blob]]


def run_step(step: Step, batches: Iterable[pa.RecordBatch], job: Job) -> Iterator[pa.RecordBatch]:
    """Do one step with all blobs of a task."""
    place, blobs = gather(batches)
    return to_batches(step(place, blobs, job))


def _read_only(mapping: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(mapping)


# The policy and the methodology hold read-only mappings, which Python by itself does not send to another process.
copyreg.pickle(MappingProxyType, lambda mapping: (_read_only, (dict(mapping),)))


@cache
def own_version() -> str:
    """Return the digest of this process's compiled sources."""
    return cache_folder().name


# --- reading ----------------------------------------------------------------------------------------------------------


def read_part(part: Part, job: Job) -> Iterator[Blob]:
    """Read a part and send each record to where it belongs; a file that cannot be used is told."""
    if own_version() != job.version:
        yield told(file=-1, error="an executor of the cluster runs another version of this program")
        return
    try:
        if part.are_decisions:
            yield from _read_decisions(part, job)
        else:
            yield from _read_records(part, job)
    except ClearingInputError as error:
        yield told(file=part.number, error=str(error))


@lru_cache(maxsize=1)
def valuer_of(job: Job) -> Valuer:
    """Return the job's methodology by code."""
    # The same job comes to a process again and again, and is the same object.
    return Valuer(job.catalogue, job.methodology)


def _read_records(part: Part, job: Job) -> Iterator[Blob]:
    file, is_old = job.files[part.number], job.run_of[part.number] >= 0
    if part.is_first and not is_old:
        yield told(file=part.number, sha256=digest_file(file.path))
    names = PlatformNames()
    taken: tuple[list[Table], list[Table]] = ([], [])
    for table in read_batches(file, part.groups):
        ids = np.asarray(table["record_id"].to_numpy(), np.int64)
        yield from scattered(Kind.IDS, ids, _id_places(ids, job.places), number=part.number)
        for kept, records in zip(taken, encode_records(table, job.catalogue, names), strict=True):
            kept.append(records)
    rows, bad = (np.concatenate([np.zeros(0, kind), *kept]) for kind, kept in zip((ROW, BAD), taken, strict=True))
    for records in (rows, bad):
        records["platform"] = np.append(names.ranks(), UNTOLD)[records["platform"]]
    # Records of an earlier run first meet what was decided about them, and that has no person.
    places = _id_places(rows["record"], job.places) if is_old else bucket_places(rows, job.places)
    yield from scattered(Kind.ROWS, rows, places, number=part.number, names=names.sorted())
    places = _id_places(bad["record"], job.places) if is_old else np.full(len(bad), job.places)
    yield from scattered(Kind.BAD, bad, places, number=part.number, names=names.sorted())


def _read_decisions(part: Part, job: Job) -> Iterator[Blob]:
    try:
        frame = pl.read_parquet(part.path, columns=["record_id", "event_id", "verdict", "counted_mg", "reason"])
    except (pl.exceptions.PolarsError, OSError) as cause:
        raise ClearingInputError(f"{Path(job.runs[part.number]) / 'out' / 'decisions'}: not readable") from cause
    decided = np.zeros(len(frame), DECIDED)
    decided["record"] = frame["record_id"]
    decided["event"] = frame["event_id"].fill_null(0)
    counts = pl.when(pl.col("verdict") == "counted").then("counted_mg").otherwise(UNTOLD)
    decided["counted"] = frame.select(counts).to_series()
    # What only a person's own document told stands in nobody's way: who tells of the act now may count.
    stands = pl.col("event_id").is_not_null() & (pl.col("reason") != "declared_only")
    decided["stands"] = frame.select(stands).to_series()
    yield from scattered(Kind.DECIDED, decided, _id_places(decided["record"], job.places), number=part.number)


def bucket_places(rows: Table, places: int) -> I64:
    """Return the place of each of ROW: the highest bits of the bucket."""
    # Shifting by all 64 bits is no shift for a processor.
    return ((bucket_keys(rows) >> np.uint64(1)) >> np.uint64(64 - places.bit_length())).astype(np.int64)


def _id_places(ids: npt.NDArray[Any], places: int) -> I64:
    mixed: npt.NDArray[np.uint64] = splitmix64_array(np.ascontiguousarray(ids))
    return (mixed & np.uint64(places - 1)).astype(np.int64)


# --- earlier runs -----------------------------------------------------------------------------------------------------


def join_decided(place: int, blobs: dict[Kind, list[Blob]], job: Job) -> Iterator[Blob]:
    """Join records of earlier runs with what was decided about them, and send those that stand to their buckets."""
    yield from blobs[Kind.TOLD]
    yield from blobs[Kind.IDS]
    decided = [
        table_of([blob for blob in blobs[Kind.DECIDED] if blob.number == run], DECIDED) for run in range(len(job.runs))
    ]
    decided = [table[np.argsort(table["record"], kind="stable")] for table in decided]
    for kind, dtype in ((Kind.ROWS, ROW), (Kind.BAD, BAD)):
        for blob in blobs[kind]:
            file, run = job.files[blob.number], job.run_of[blob.number]
            rows = np.frombuffer(blob.content, dtype).copy()
            of_run = decided[run]
            at = np.minimum(np.searchsorted(of_run["record"], rows["record"]), max(len(of_run) - 1, 0))
            if not len(of_run) or (of_run["record"][at] != rows["record"]).any():
                text = f"{job.runs[run]}/records/{file.name}: holds records that out/ did not decide"
                yield told(file=blob.number, error=text)
            elif kind is Kind.ROWS:
                mark_live(rows, of_run["event"][at], of_run["counted"][at])
                live = rows[of_run["stands"][at] != 0]
                places = bucket_places(live, job.places)
                yield from scattered(Kind.ROWS, live, places, number=blob.number, names=blob.names)


# --- learning ---------------------------------------------------------------------------------------------------------


def learn(place: int, blobs: dict[Kind, list[Blob]], job: Job) -> Iterator[Blob]:
    """Sort the rows of a place, and tell what must be learnt over all places; the sorted rows stay at the place."""
    yield from blobs[Kind.TOLD]
    platforms = names_of(blobs[Kind.ROWS] + blobs[Kind.BAD])
    yield told(platforms=platforms)
    yield from _find_repeated(blobs[Kind.IDS])
    if place == job.places:
        yield from blobs[Kind.BAD]
        return
    if not blobs[Kind.ROWS]:
        return
    rows = sorted_rows(with_platforms(blobs[Kind.ROWS], ROW, platforms))
    for number, piece in enumerate(pieces(rows)):
        yield Blob(place=place, kind=Kind.ROWS, content=exact_bytes(piece), number=number, names=platforms)
    customs = watch(rows, build_rules(job.policy, job.catalogue, platforms, None), platforms, job.catalogue)
    by_behaviour, partners = name_customs(customs, platforms, job.catalogue.behaviours)
    yield told(customs=by_behaviour.rows(), partners=partners.rows(), slots=customs.slots.tolist())
    shared, key_places = job.catalogue.shared(job.policy), key_places_of(job)
    keys, rides = count_keys(rows, shared), find_rides(rows, shared)
    for kind, frame, key in ((Kind.KEYS, keys, "key"), (Kind.RIDES, rides, "event_key")):
        # In one order whenever it is done, for the same reason as in `exact_bytes`.
        table = frame.sort(frame.columns).to_numpy(structured=True)
        yield from scattered(kind, table, _id_places(table[key], key_places))


def key_places_of(job: Job) -> int:
    """Return among how many places keys are divided; a key takes much less room than a record."""
    return max(job.places // 8, 1)


def _find_repeated(blobs: list[Blob]) -> Iterator[Blob]:
    """Tell of the smallest record number that occurs twice, and of the first two files that hold it."""
    ids = table_of(blobs, np.dtype("i8"))
    order = np.argsort(ids, kind="stable")
    again = np.flatnonzero(ids[order][1:] == ids[order][:-1])
    if len(again):
        repeated = int(ids[order][again[0]])
        files = np.concatenate([np.full(len(blob.content) // 8, blob.number) for blob in blobs])
        yield told(repeated=[repeated, *sorted(files[ids == repeated].tolist())[:2]])


def judge_keys(place: int, blobs: dict[Kind, list[Blob]], job: Job) -> Iterator[Blob]:
    """Conclude about the keys of a place; all that is told of a key comes to one place."""
    keys = pl.from_numpy(table_of(blobs[Kind.KEYS], KEY), KEYS).group_by("kind", "key").sum()
    rides = pl.from_numpy(table_of(blobs[Kind.RIDES], RIDE), RIDES)
    facts = conclude(replace(NO_EVIDENCE, keys=keys, rides=rides), job.policy)
    for kind, junk in enumerate((facts.junk_event_keys, facts.junk_payment_keys)):
        table = np.zeros(len(junk), JUNK)
        table["kind"], table["key"] = kind, junk
        yield from (Blob(place=place, kind=Kind.JUNK, content=exact_bytes(piece)) for piece in pieces(table))
    owners = np.zeros(len(facts.owners), OWNER)
    for name in OWNER.names or ():
        owners[name] = facts.owners[name]
    yield from (Blob(place=place, kind=Kind.OWNERS, content=exact_bytes(piece)) for piece in pieces(owners))


# --- clearing ---------------------------------------------------------------------------------------------------------


def clear_place(place: int, blobs: dict[Kind, list[Blob]], job: Job, learnt: Learnt) -> Iterator[Blob]:
    """Clear the rows of a place and write what was decided; the driver is told what it came to."""
    if place < 0:
        return
    naming = Naming(catalogue=job.catalogue, platforms=learnt.platforms, policy=job.policy, methodology=job.methodology)
    attempt = job.attempts / f"{place}-{uuid4().hex}"
    attempt.mkdir()
    begun = attempt / "decisions.parquet", attempt / "events.parquet"
    done: tuple[Path, ...]
    if place == job.places:
        bad = with_platforms(blobs[Kind.BAD], BAD, learnt.platforms)
        written = write_rejected(bad, naming, decisions_to=begun[0])
        done = (job.folder / "decisions" / "rejected.parquet",)
    else:
        sorted_pieces = sorted(blobs[Kind.ROWS], key=lambda blob: blob.number)
        rows = with_platforms(sorted_pieces, ROW, learnt.platforms)
        rules = build_rules(job.policy, job.catalogue, learnt.platforms, learnt.facts)
        written = clear_range(
            rows, learnt.facts, rules, valuer_of(job), naming, decisions_to=begun[0], events_to=begun[1]
        )
        name = f"part-{place:04d}.parquet"
        done = (job.folder / "decisions" / name, job.folder / "events" / name)
    files = {}
    for file, path in zip(begun, done, strict=False):
        # Another attempt at the same place writes the same rows, so it does not matter which comes last.
        os.replace(file, path)
        files[path.relative_to(job.folder).as_posix()] = path.stat().st_size
    attempt.rmdir()
    yield told(written=written.document(), files=files)
