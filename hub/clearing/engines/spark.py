"""Bulk clearing on a Spark cluster: the same files in, the same files out as on one machine. I/O: files, a cluster.

Spark only carries: executors read the record files themselves, records travel as bytes by ranges of buckets, and each
range is sorted, watched and cleared by the kernel that every engine uses. The folders of records and of the result must
be seen under the same path by the driver and by every executor. Decision 0025.
"""

import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import orjson
import polars as pl
import pyarrow as pa

from hub.clearing.engines.blobs import JUNK, OWNER, Blob, Kind, table_of, to_batches
from hub.clearing.engines.cleared import Naming, Written, clear_range, sums_of, total_positions
from hub.clearing.engines.cluster import ClusterError, Progress, collect_blobs, map_blobs, spark_session
from hub.clearing.engines.reading import RecordFile, find_files, open_file
from hub.clearing.engines.shares import (
    NO_EVIDENCE,
    Job,
    Learnt,
    Part,
    Step,
    clear_place,
    join_decided,
    judge_keys,
    key_places_of,
    learn,
    own_version,
    read_part,
    run_step,
    valuer_of,
)
from hub.clearing.engines.shelf import ROWS_IN_RANGE
from hub.clearing.engines.writing import whole_folder, write_manifest
from hub.clearing.errors import ClearingInputError
from hub.clearing.kernel.facts import CUSTOMS, EVENT_KEY, PARTNERS, PAYMENT_KEY, Facts, conclude, merge_evidence
from hub.clearing.kernel.rows import ROW
from hub.clearing.kernel.rules import build_rules
from standards.canonical import BUCKETS
from standards.methodology import Methodology, load_methodology
from standards.policy import ClearingPolicy, load_policy

ENGINE = "spark"
ROWS_IN_TASK = 1 << 20
Documents = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inputs:
    """The files of a run, all with the columns that they must have."""

    files: tuple[RecordFile, ...]
    run_of: tuple[int, ...]
    decisions: tuple[tuple[Path, ...], ...]
    """Of each earlier run."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """A job on its way to a cluster."""

    session: Any
    job: Job
    sent: Any
    """The job as the executors have it."""
    report: Progress


def clear_files_spark(
    records: Path,
    out: Path,
    *,
    history: Sequence[Path] = (),
    master: str = "local[*]",
    progress: Progress | None = None,
    policy: ClearingPolicy | None = None,
    methodology: Methodology | None = None,
) -> dict[str, Any]:
    """Clear every record file below a folder on a cluster: all or nothing, the same rows and root as on one machine.

    Args:
        records: folder of Parquet files, at any depth.
        out: appears complete at the end; an earlier result there is replaced.
        history: earlier runs of any engine, each a folder with `records/` and `out/`, whose decisions stay.
        master: where Spark runs; not looked at if it runs already in this process.
        progress: called from time to time with the step, what is done of it, and the whole.
        policy: by default the current one; `methodology` likewise.

    Returns:
        The manifest.

    Raises:
        ClearingInputError: an input file cannot be used; nothing was written.
        ClusterError: the cluster gave up; nothing was written.
        UsageProblem: Spark is not installed.
    """
    began = perf_counter()
    inputs = _open_inputs(records, out, history)
    with ExitStack() as stack:
        session = stack.enter_context(spark_session(master))
        folder = stack.enter_context(whole_folder(out.absolute()))
        attempts = folder.with_suffix(".attempts")
        # A task that Spark gave up may still write there while the result is shown, and nowhere else.
        stack.callback(shutil.rmtree, attempts, ignore_errors=True)
        for path in (attempts, folder / "decisions", folder / "events"):
            path.mkdir()
        job = Job(
            version=own_version(),
            files=inputs.files,
            run_of=inputs.run_of,
            runs=tuple(str(run) for run in history),
            new=tuple(_parts(inputs, new=True)),
            old=tuple(_parts(inputs, new=False)),
            places=_places(sum(file.rows for file in inputs.files), session.sparkContext.defaultParallelism),
            policy=policy or load_policy(),
            methodology=methodology or load_methodology(),
            folder=folder,
            attempts=attempts,
        )
        manifest = _run_job(session, job, progress or (lambda step, done, whole: None), began)
        write_manifest(manifest, folder)
    return manifest


def _run_job(session: Any, job: Job, report: Progress, began: float) -> dict[str, Any]:
    """Write all but the manifest, and return that."""
    started = perf_counter()
    with ExitStack() as stack:
        sent = session.sparkContext.broadcast(job)
        stack.callback(sent.destroy)
        run = _Run(session=session, job=job, sent=sent, report=report)
        kept = _learnt_frame(run)
        stack.callback(kept.unpersist)
        told, learnt = _learn(run, kept)
        learned = perf_counter()
        written = _clear(run, kept, learnt)
    total_positions(written).write_parquet(job.folder / "positions.parquet")
    ended = perf_counter()
    steps = {"start": started - began, "learn": learned - started, "clear": ended - learned}
    return _manifest(job, told, written) | {
        "steps": {step: round(taken, 3) for step, taken in steps.items()},
        "seconds": round(ended - began, 3),
    }


# --- inputs -----------------------------------------------------------------------------------------------------------


def _open_inputs(records: Path, out: Path, history: Sequence[Path]) -> _Inputs:
    files = [open_file(path, records) for path in find_files(records, besides=out)]
    run_of, decisions = [-1] * len(files), []
    for number, folder in enumerate(history):
        decisions.append(tuple(path.absolute() for path in _find_decisions(folder)))
        old = [open_file(path, folder / "records") for path in find_files(folder / "records")]
        files += old
        run_of += [number] * len(old)
    # An executor's working folder is its own.
    absolute = tuple(replace(file, path=file.path.absolute()) for file in files)
    return _Inputs(files=absolute, run_of=tuple(run_of), decisions=tuple(decisions))


def _find_decisions(folder: Path) -> list[Path]:
    if not (folder / "out" / "manifest.json").is_file():
        raise ClearingInputError(f"{folder}: no result of a clearing run in out/")
    found = sorted((folder / "out" / "decisions").glob("*.parquet"))
    if not found:
        raise ClearingInputError(f"{folder / 'out' / 'decisions'}: not readable")
    return found


def _parts(inputs: _Inputs, *, new: bool) -> Iterator[Part]:
    """Give what is read: row groups of files."""
    for number, file in enumerate(inputs.files):
        if (inputs.run_of[number] < 0) is new:
            for place, groups in enumerate(file.pieces()):
                yield Part(path=file.path, number=number, groups=groups, is_first=place == 0)
    for run, paths in enumerate(inputs.decisions if not new else ()):
        for path in paths:
            yield Part(path=path, number=run, are_decisions=True)


def _places(rows: int, cores: int) -> int:
    """Return a power of two: ranges of a size that a task holds easily, and work for all cores."""
    places = 1
    while places < BUCKETS and (places * ROWS_IN_RANGE < rows or places < 2 * cores):
        places *= 2
    return places


# --- steps ------------------------------------------------------------------------------------------------------------


def _mapped(run: _Run, frame: Any, step: Step) -> Any:
    sent = run.sent

    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return run_step(step, batches, sent.value)

    return map_blobs(frame, work)


def _read(run: _Run, *, new: bool) -> Any:
    """Return the frame of all that the record files hold, or those of earlier runs with their decisions."""
    sent = run.sent

    def work(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        job = sent.value
        parts = job.new if new else job.old
        numbers = (number for batch in batches for number in batch["id"].to_pylist())
        return to_batches(blob for number in numbers for blob in read_part(parts[number], job))

    count = len(run.job.new if new else run.job.old)
    rows = sum(file.rows for file in run.job.files)
    cores = run.session.sparkContext.defaultParallelism
    # Not a task for each of very many small pieces.
    tasks = max(min(count, max(4 * cores, rows // ROWS_IN_TASK)), 1)
    return map_blobs(run.session.range(0, count, 1, tasks), work)


def _learnt_frame(run: _Run) -> Any:
    """Return the frame of sorted rows and of what they teach; the executors keep it on their disks."""
    from pyspark import StorageLevel

    records, places = _read(run, new=True), run.job.places + 1
    if run.job.old:
        decided = _mapped(run, _read(run, new=False).repartitionById(places, "place"), join_decided)
        records = records.union(decided)
    return _mapped(run, records.repartitionById(places, "place"), learn).persist(StorageLevel.DISK_ONLY)


def _collect(run: _Run, frame: Any, *steps: str) -> list[Blob]:
    return collect_blobs(run.session, frame, steps, run.report)


def _of_kind(frame: Any, *kinds: Kind) -> Any:
    return frame.where(f"kind IN ({', '.join(str(int(kind)) for kind in kinds)})")


def _documents(blobs: Iterable[Blob]) -> Documents:
    return [orjson.loads(blob.content) for blob in blobs]


def _learn(run: _Run, kept: Any) -> tuple[Documents, Learnt]:
    """Learn from all records what no range can know by itself."""
    told = _documents(_collect(run, _of_kind(kept, Kind.TOLD), "read", "learn"))
    _refuse(run.job, told)
    seen = [
        replace(
            NO_EVIDENCE,
            customs=pl.DataFrame(document["customs"], CUSTOMS, orient="row"),
            partners=pl.DataFrame(document["partners"], PARTNERS, orient="row"),
            slots=tuple(document["slots"]),
        )
        for document in told
        if "customs" in document
    ]
    facts = conclude(merge_evidence([NO_EVIDENCE, *seen]), run.job.policy)
    platforms = {name for document in told for name in document.get("platforms", ())}
    keys = _of_kind(kept, Kind.KEYS, Kind.RIDES).repartitionById(key_places_of(run.job), "place")
    judged = _collect(run, _mapped(run, keys, judge_keys), "keys")
    return told, Learnt(facts=_with_keys(facts, judged), platforms=tuple(sorted(platforms)))


def _refuse(job: Job, told: Documents) -> None:
    """Say what one machine would have said of inputs that cannot be used."""
    errors = sorted((document["file"], document["error"]) for document in told if "error" in document)
    if errors:
        raise ClearingInputError(errors[0][1])
    repeated = sorted(document["repeated"] for document in told if "repeated" in document)
    if repeated:
        number, one, other = repeated[0]
        names = job.files[one].name, job.files[other].name
        raise ClearingInputError(f"record_id {number} occurs twice: in {names[0]} and in {names[1]}")


def _with_keys(facts: Facts, judged: list[Blob]) -> Facts:
    junk = table_of([blob for blob in judged if blob.kind is Kind.JUNK], JUNK)
    owners = table_of([blob for blob in judged if blob.kind is Kind.OWNERS], OWNER)
    event, payment = (junk["key"][junk["kind"] == kind] for kind in (EVENT_KEY, PAYMENT_KEY))
    return replace(
        facts,
        junk_event_keys=pl.Series("key", event),
        junk_payment_keys=pl.Series("key", payment),
        # The kernel looks keys up by halving.
        owners=pl.DataFrame({name: owners[name].copy() for name in OWNER.names or ()}).sort("event_key"),
    )


def _clear(run: _Run, kept: Any, learnt: Learnt) -> list[Written]:
    """Let every range be cleared and written where its rows are."""
    known = run.session.sparkContext.broadcast(learnt)

    def step(place: int, blobs: dict[Kind, list[Blob]], job: Job) -> Iterator[Blob]:
        return clear_place(place, blobs, job, known.value)

    told = _documents(_collect(run, _mapped(run, _of_kind(kept, Kind.ROWS, Kind.BAD), step), "clear"))
    known.destroy()
    folder = run.job.folder
    for name, size in (item for document in told for item in document["files"].items()):
        path = folder / name
        if not path.is_file() or path.stat().st_size != size:
            raise ClusterError(f"{folder.parent} is not one folder for the driver and all executors: {name} is missing")
    written = [Written.from_document(document["written"]) for document in told]
    if not any((folder / "events").iterdir()):
        written.append(_write_nothing(run.job, learnt))
    return written


def _write_nothing(job: Job, learnt: Learnt) -> Written:
    """Write files without rows: a result has both tables even if no record is sound."""
    naming = Naming(catalogue=job.catalogue, platforms=learnt.platforms, policy=job.policy, methodology=job.methodology)
    rules = build_rules(job.policy, job.catalogue, learnt.platforms, learnt.facts)
    paths = {f"{table}_to": job.folder / table / "part-0000.parquet" for table in ("decisions", "events")}
    return clear_range(np.zeros(0, ROW), learnt.facts, rules, valuer_of(job), naming, **paths)


def _manifest(job: Job, told: Documents, written: list[Written]) -> dict[str, Any]:
    digests = {document["file"]: document["sha256"] for document in told if "sha256" in document}
    new = [(number, file) for number, file in enumerate(job.files) if job.run_of[number] < 0]
    return (
        {"records": sum(file.rows for _, file in new)}
        | sums_of(written)
        | {
            "inputs": [{"file": file.name, "rows": file.rows, "sha256": digests[number]} for number, file in new],
            "history": list(job.runs),
            "policy": job.policy.version,
            "methodology": job.methodology.version,
            "engine": ENGINE,
        }
    )
