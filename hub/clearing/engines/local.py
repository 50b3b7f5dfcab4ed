"""Bulk clearing on this machine: files in, files out, no database. I/O: reads and writes files.

Three passes. Records are read, checked and laid aside by bucket; each range of buckets is sorted and watched for what
must be learnt over all; then each range is cleared and written. Memory holds a few ranges, whatever the number of
records, and threads share the ranges. Nothing depends on the order of files, on their layout, or on who comes first.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
import polars as pl

from hub.clearing.apply import apply_facts
from hub.clearing.codes import Catalogue, build_catalogue
from hub.clearing.encode import BAD, bucket_keys, sorted_rows
from hub.clearing.engines.intake import History, Intake, find_repeated, load_history, take_in
from hub.clearing.engines.reading import RecordFile, find_files, open_file
from hub.clearing.engines.shelf import Shelf
from hub.clearing.engines.writing import (
    DECISIONS,
    EVENTS,
    digest_buckets,
    root_of_digests,
    whole_folder,
    write_columns,
    write_manifest,
)
from hub.clearing.facts import Evidence, Facts, conclude, count_keys, find_rides, merge_evidence, name_customs
from hub.clearing.kernel import decide, watch
from hub.clearing.outcome import Columns, decision_columns, event_columns, rejected_columns, rule_words
from hub.clearing.rows import NEW, Rules
from hub.clearing.rules import build_rules
from hub.clearing.sketch import add_counters, count_people, new_counters, suspected
from hub.clearing.valuing import Valuer
from hub.clearing.vocabulary import REASON_WORDS, VERDICTS
from standards.canonical import BUCKETS
from standards.methodology import Methodology, load_methodology
from standards.policy import ClearingPolicy, load_policy

ENGINE = "local"
Progress = Callable[[str, int, int], None]
"""Called with the step, what is done of it, and the whole."""
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What every range is cleared with."""

    shelf: Shelf
    catalogue: Catalogue
    platforms: tuple[str, ...]
    policy: ClearingPolicy
    methodology: Methodology

    def rules(self, facts: Facts | None) -> Rules:
        return build_rules(self.policy, self.catalogue, self.platforms, facts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Written:
    """What one range came to."""

    events: int
    verdicts: Counter[str]
    positions: pl.DataFrame
    digests: dict[int, bytes]


def clear_files(
    records: Path,
    out: Path,
    *,
    history: Sequence[Path] = (),
    workers: int | None = None,
    progress: Progress | None = None,
    policy: ClearingPolicy | None = None,
    methodology: Methodology | None = None,
) -> dict[str, Any]:
    """Clear every record file below a folder and write decisions, events, positions and a manifest: all or nothing.

    Args:
        records: folder of Parquet files, at any depth.
        out: appears complete at the end; an earlier result there is replaced.
        history: earlier runs, each a folder with `records/` and `out/`, whose decisions stay.
        workers: threads; by default one per core.
        progress: called from time to time.
        policy: by default the current one; `methodology` likewise.

    Returns:
        The manifest.

    Raises:
        ClearingInputError: an input file cannot be used; nothing was written.
    """
    began = perf_counter()
    report = progress or (lambda step, done, whole: None)
    policy, methodology = policy or load_policy(), methodology or load_methodology()
    catalogue = build_catalogue(policy.role_order)
    files = [open_file(path, records) for path in find_files(records, besides=out)]
    past = [load_history(folder) for folder in history]
    size = sum(file.rows for file in files) + sum(file.rows for run in past for file in run.files)
    seconds: dict[str, float] = {}
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))))
        folder = stack.enter_context(whole_folder(out))
        shelf = Shelf(folder / "shelf", size)
        valuer = Valuer(catalogue, methodology)
        intake = _read_all(pool, files, past, shelf, valuer, report)
        seconds["read"] = perf_counter() - began
        run = _Run(
            shelf=shelf, catalogue=catalogue, platforms=intake.names.sorted(), policy=policy, methodology=methodology
        )
        facts = _learn(pool, run, intake, size, report)
        seconds["learn"] = perf_counter() - began - seconds["read"]
        written = _clear_all(pool, run, facts, folder, report)
        written.append(_write_rejected(run, intake, folder))
        shelf.clear()
        manifest = _manifest(written, files, intake, run, history)
        seconds["clear"] = perf_counter() - began - seconds["read"] - seconds["learn"]
        _write_positions(written, folder / "positions.parquet")
        manifest["steps"] = {step: round(taken, 3) for step, taken in seconds.items()}
        manifest["seconds"] = round(perf_counter() - began, 3)
        write_manifest(manifest, folder)
    return manifest


def _each(pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T], step: str, report: Progress) -> list[R]:
    """Do the work for all items on all threads; the results are in the order of the items."""
    tasks = [pool.submit(work, item) for item in items]
    results = []
    try:
        for done, task in enumerate(tasks, 1):
            results.append(task.result())
            report(step, done, len(tasks))
    finally:
        for task in tasks:
            task.cancel()
    return results


def _read_all(
    pool: ThreadPoolExecutor,
    files: list[RecordFile],
    past: list[History],
    shelf: Shelf,
    valuer: Valuer,
    report: Progress,
) -> Intake:
    intake = Intake()
    jobs = [(file, None) for file in files] + [(file, run) for run in past for file in run.files]
    _each(pool, lambda job: take_in(job[0], job[1], shelf, valuer, intake), jobs, "read", report)
    find_repeated([job[0] for job in jobs], intake)
    return intake


# --- learning ---------------------------------------------------------------------------------------------------------


def _learn(pool: ThreadPoolExecutor, run: _Run, intake: Intake, size: int, report: Progress) -> Facts:
    """Sort every range, and learn from all what one range cannot know."""
    rules, shared = run.rules(None), run.catalogue.shared(run.policy)
    counters = new_counters(size)
    most = min(run.policy.keys.junk_subjects, run.policy.keys.shared_subjects)

    def watch_range(number: int) -> Evidence:
        rows = run.shelf.take(number)
        rows["platform"] = intake.names.ranks()[rows["platform"]] if len(rows) else rows["platform"]
        rows = sorted_rows(rows)
        run.shelf.replace(number, rows)
        own = np.zeros_like(counters)
        count_people(rows, own)
        with intake.lock:
            add_counters(counters, own)
        customs = watch(rows, rules, run.platforms, run.catalogue)
        by_family, partners = name_customs(customs, run.platforms, run.catalogue.families)
        return Evidence(
            keys=count_keys(rows[:0], shared),
            rides=find_rides(rows, shared),
            customs=by_family,
            partners=partners,
            slots=tuple(customs.slots.tolist()),
        )

    evidence = merge_evidence(_each(pool, watch_range, range(run.shelf.ranges), "learn", report))
    keys = [evidence.keys]
    if (counters > most).any():
        suspects = _each(
            pool,
            lambda number: count_keys(suspected(run.shelf.take(number), counters, most), shared),
            range(run.shelf.ranges),
            "keys",
            report,
        )
        keys = [pl.concat(suspects).group_by("kind", "key").sum()]
    return conclude(
        Evidence(
            keys=keys[0],
            rides=evidence.rides,
            customs=evidence.customs,
            partners=evidence.partners,
            slots=evidence.slots,
        ),
        run.policy,
    )


# --- clearing and writing ---------------------------------------------------------------------------------------------


def _clear_all(pool: ThreadPoolExecutor, run: _Run, facts: Facts, folder: Path, report: Progress) -> list[_Written]:
    (folder / "decisions").mkdir()
    (folder / "events").mkdir()
    rules = run.rules(facts)

    def clear_range(number: int) -> _Written:
        rows = run.shelf.take(number)
        apply_facts(rows, facts, rules)
        clusters, events = decide(rows, rules)
        decisions, begun = decision_columns(rows, clusters, events), event_columns(rows, clusters, events)
        name = f"part-{number:04d}.parquet"
        write_columns(decisions, DECISIONS, _decision_words(run), folder / "decisions" / name)
        count = len(begun["event_id"])
        versions = {"policy": np.zeros(count, np.int8), "methodology": np.zeros(count, np.int8)}
        words = {
            "behaviour": run.catalogue.behaviours,
            "policy": (run.policy.version,),
            "methodology": (run.methodology.version,),
        }
        write_columns(begun | versions, EVENTS, words, folder / "events" / name)
        new = rows[rows["live"] == NEW]
        buckets = (bucket_keys(new) >> np.uint64(64 - BUCKETS.bit_length() + 1)).astype(np.int16)
        return _Written(
            events=count,
            verdicts=_count_verdicts(decisions),
            positions=_positions(decisions, new["platform"], np.maximum(new["claim"], 0), run.platforms),
            digests=digest_buckets(decisions, buckets),
        )

    return _each(pool, clear_range, range(run.shelf.ranges), "clear", report)


def _decision_words(run: _Run) -> dict[str, tuple[str, ...]]:
    return {"verdict": VERDICTS, "rule": rule_words(run.policy), "reason": REASON_WORDS}


def _write_rejected(run: _Run, intake: Intake, folder: Path) -> _Written:
    """Write the decisions about records that are none: they may have no person, so they belong to no bucket."""
    bad = np.concatenate([np.zeros(0, BAD), *intake.bad])
    bad = bad[np.argsort(bad["record"])]
    known = bad["platform"] >= 0
    bad["platform"][known] = intake.names.ranks()[bad["platform"][known]]
    decisions = rejected_columns(bad)
    if len(bad):
        write_columns(decisions, DECISIONS, _decision_words(run), folder / "decisions" / "rejected.parquet")
    told = {name: values for name, values in decisions.items() if name not in ("event_id", "canonical_record_id")}
    return _Written(
        events=0,
        verdicts=_count_verdicts(decisions),
        positions=_positions(
            {name: values[known] for name, values in told.items()},
            bad["platform"][known],
            bad["claim"][known],
            run.platforms,
        ),
        digests=digest_buckets(told, np.full(len(bad), BUCKETS, np.int16)),
    )


def _count_verdicts(decisions: Columns) -> Counter[str]:
    counts = np.bincount(decisions["verdict"], minlength=len(VERDICTS))
    return Counter(dict(zip(VERDICTS, counts.tolist(), strict=True)))


def _positions(decisions: Columns, platform: Any, claim: Any, platforms: tuple[str, ...]) -> pl.DataFrame:
    """Return what each platform's records of a range came to."""
    verdict = pl.col("verdict")
    counts = {word: (verdict == VERDICTS.index(word)).sum().cast(pl.Int64) for word in VERDICTS[1:]}
    frame = pl.DataFrame(
        {
            "platform": platform.copy(),
            "claimed_mg": claim.copy(),
            "counted_mg": decisions["counted_mg"],
            "verdict": decisions["verdict"],
        }
    )
    sums = frame.group_by("platform").agg(
        pl.len().cast(pl.Int64).alias("records"), pl.col("claimed_mg", "counted_mg").sum(), **counts
    )
    names = pl.Series(list(platforms), dtype=pl.String).gather(sums["platform"].cast(pl.UInt32))
    return sums.with_columns(platform=names)


def _write_positions(written: list[_Written], path: Path) -> None:
    total = pl.concat([part.positions for part in written]).group_by("platform").sum()
    total.sort("platform").write_parquet(path)


def _manifest(
    written: list[_Written], files: list[RecordFile], intake: Intake, run: _Run, history: Sequence[Path]
) -> dict[str, Any]:
    verdicts = sum((part.verdicts for part in written), Counter[str]())
    digests = {bucket: digest for part in written for bucket, digest in part.digests.items()}
    counted = sum(int(part.positions["counted_mg"].sum()) for part in written)
    return {
        "records": sum(file.rows for file in files),
        "events": sum(part.events for part in written),
        "counted_mg": counted,
        "verdicts": {word: verdicts[word] for word in VERDICTS},
        "inputs": [{"file": file.name, "rows": file.rows, "sha256": intake.digests[file.path]} for file in files],
        "history": [str(folder) for folder in history],
        "policy": run.policy.version,
        "methodology": run.methodology.version,
        "engine": ENGINE,
        "root": root_of_digests([digests[bucket] for bucket in sorted(digests)]),
    }
