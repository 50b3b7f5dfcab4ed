"""Bulk clearing on this machine: files in, files out, no database. I/O: reads and writes files.

Three passes. Records are read, checked and laid aside by bucket; each range of buckets is sorted and watched for what
must be learnt over all; then each range is cleared and written. Memory holds a few ranges, whatever the number of
records, and threads share the ranges. Nothing depends on the order of files, on their layout, or on who comes first.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from threading import Lock
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
import polars as pl

from hub.clearing.engines.cleared import Naming, Written, clear_range, sums_of, total_positions, write_rejected
from hub.clearing.engines.intake import (
    History,
    Intake,
    find_repeated,
    load_history,
    pieces_of,
    repeated_record,
    take_in,
)
from hub.clearing.engines.reading import RecordFile, find_files, open_file
from hub.clearing.engines.shelf import Shelf
from hub.clearing.engines.sketch import count_people, new_counters, slots_of_people, suspected
from hub.clearing.engines.writing import whole_folder, write_manifest
from hub.clearing.kernel.clear import watch
from hub.clearing.kernel.codes import build_catalogue
from hub.clearing.kernel.encode import BAD, sorted_rows
from hub.clearing.kernel.facts import Evidence, Facts, conclude, count_keys, find_rides, merge_evidence, name_customs
from hub.clearing.kernel.rows import ROW, TOLD
from hub.clearing.kernel.rules import build_rules
from hub.clearing.kernel.valuing import Valuer
from standards.methodology import Methodology, load_methodology
from standards.policy import ClearingPolicy, load_policy

ENGINE = "local"
Progress = Callable[[str, int, int], None]
"""Called with the step, the records that are through it, and all records; every record goes through every step."""
STEPS = {"read": 0.33, "check": 0.02, "learn": 0.25, "keys": 0.05, "clear": 0.35}
"""About the share of the time that each step takes; only the bar goes by it."""
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """What all steps share."""

    pool: ThreadPoolExecutor
    folder: Path
    size: int
    """Records of this run and of earlier ones."""
    report: Progress
    shelf: Shelf
    naming: Naming

    def each(
        self, step: str, work: Callable[[T], R], items: Sequence[T], weights: Sequence[int] | None = None
    ) -> list[R]:
        """Do the work for all items on all threads; the results are in the order of the items.

        Args:
            weights: of the items, for the progress; by default they are alike.
        """
        tasks = [self.pool.submit(work, item) for item in items]
        whole, done = sum(weights) if weights else len(tasks), 0
        results = []
        try:
            for place, task in enumerate(tasks):
                results.append(task.result())
                done += weights[place] if weights else 1
                self.report(step, self.size * done // max(whole, 1), self.size)
        finally:
            for task in tasks:
                task.cancel()
        return results


def _told(naming: Naming, files: list[RecordFile], intake: Intake, history: Sequence[Path]) -> dict[str, Any]:
    """Return what the manifest says of the run before its sums."""
    return {
        "records": sum(file.rows for file in files),
        "inputs": [{"file": file.name, "rows": file.rows, "sha256": intake.digests[file.path]} for file in files],
        "history": [str(folder) for folder in history],
        "policy": naming.policy.version,
        "methodology": naming.methodology.version,
        "engine": ENGINE,
    }


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
    policy, methodology = policy or load_policy(), methodology or load_methodology()
    catalogue = build_catalogue(policy.role_order)
    files = [open_file(path, records) for path in find_files(records, besides=out)]
    past = [load_history(folder) for folder in history]
    size = sum(file.rows for file in files) + sum(file.rows for run in past for file in run.files)
    seconds: dict[str, float] = {}
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(workers or len(os.sched_getaffinity(0))))
        folder = stack.enter_context(whole_folder(out))
        run = _Run(
            pool=pool,
            folder=folder,
            size=size,
            report=progress or (lambda step, done, whole: None),
            # What the hub knows is only of records that were cleared before.
            shelf=Shelf(folder / "shelf", size, ROW, kept=ROW if past else TOLD),
            naming=Naming(catalogue=catalogue, platforms=(), policy=policy, methodology=methodology),
        )
        intake = _read_all(run, files, past)
        run = replace(run, naming=replace(run.naming, platforms=intake.names.sorted()))
        seconds["read"] = perf_counter() - began
        facts = _learn(run, intake)
        seconds["learn"] = perf_counter() - began - seconds["read"]
        written = _clear_all(run, facts, intake)
        run.shelf.clear()
        total_positions(written).write_parquet(folder / "positions.parquet")
        manifest = _told(run.naming, files, intake, history) | sums_of(written)
        seconds["clear"] = perf_counter() - began - seconds["read"] - seconds["learn"]
        manifest["steps"] = {step: round(taken, 3) for step, taken in seconds.items()}
        manifest["seconds"] = round(perf_counter() - began, 3)
        write_manifest(manifest, folder)
    return manifest


def _read_all(run: _Run, files: list[RecordFile], past: list[History]) -> Intake:
    """Lay all records aside, each number once.

    Raises:
        ClearingInputError: a file cannot be used, or two records share a number.
    """
    intake, numbers = Intake(), Shelf(run.folder / "numbers", run.size, np.dtype(np.int64))
    pieces = pieces_of(files, past)
    run.each(
        "read",
        lambda piece: take_in(piece, run.shelf, numbers, run.naming.catalogue, intake),
        pieces,
        [piece.rows for piece in pieces],
    )
    run.shelf.flush()
    numbers.flush()
    repeated = run.each("check", lambda number: find_repeated(numbers.take(number)), range(numbers.ranges))
    numbers.clear()
    if any(number is not None for number in repeated):
        least = min(number for number in repeated if number is not None)
        raise repeated_record(least, files + [file for earlier in past for file in earlier.files])
    return intake


# --- learning ---------------------------------------------------------------------------------------------------------


def _learn(run: _Run, intake: Intake) -> Facts:
    """Sort every range, and learn from all what one range cannot know."""
    policy, catalogue, platforms = run.naming.policy, run.naming.catalogue, run.naming.platforms
    rules, shared = build_rules(policy, catalogue, platforms, None), catalogue.shared(policy)
    ranks, counters, lock = intake.names.ranks(), new_counters(run.size), Lock()
    most = min(policy.keys.junk_subjects, policy.keys.shared_subjects)

    def watch_range(number: int) -> Evidence:
        rows = run.shelf.take(number)
        if len(rows):
            rows["platform"] = ranks[rows["platform"]]
        rows = sorted_rows(rows)
        run.shelf.replace(number, rows)
        slots = slots_of_people(rows, counters)
        with lock:
            count_people(counters, slots)
        customs = watch(rows, rules, platforms, catalogue)
        by_behaviour, partners = name_customs(customs, platforms, catalogue.behaviours)
        return Evidence(
            keys=count_keys(rows[:0], shared),
            rides=find_rides(rows, shared),
            customs=by_behaviour,
            partners=partners,
            slots=tuple(customs.slots.tolist()),
        )

    ranges = range(run.shelf.ranges)
    evidence = merge_evidence(run.each("learn", watch_range, ranges))
    if (counters > most).any():
        keys = run.each(
            "keys",
            lambda number: [count_keys(suspected(rows, counters, most), shared) for rows in run.shelf.peek(number)],
            ranges,
        )
        evidence = replace(evidence, keys=pl.concat(chain.from_iterable(keys)).group_by("kind", "key").sum())
    return conclude(evidence, policy)


# --- clearing and writing ---------------------------------------------------------------------------------------------


def _clear_all(run: _Run, facts: Facts, intake: Intake) -> list[Written]:
    decisions, events = run.folder / "decisions", run.folder / "events"
    decisions.mkdir()
    events.mkdir()
    rules = build_rules(run.naming.policy, run.naming.catalogue, run.naming.platforms, facts)
    valuer = Valuer(run.naming.catalogue, run.naming.methodology)

    def clear_one(number: int) -> Written:
        rows = run.shelf.take(number)
        run.shelf.drop(number)
        name = f"part-{number:04d}.parquet"
        return clear_range(
            rows, facts, rules, valuer, run.naming, decisions_to=decisions / name, events_to=events / name
        )

    written = run.each("clear", clear_one, range(run.shelf.ranges))
    bad = np.concatenate([np.zeros(0, BAD), *intake.bad])
    known = bad["platform"] >= 0
    bad["platform"][known] = intake.names.ranks()[bad["platform"][known]]
    return [*written, write_rejected(bad, run.naming, decisions_to=decisions / "rejected.parquet")]
