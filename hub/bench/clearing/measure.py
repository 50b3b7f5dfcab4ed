"""Clears labelled records with the kernel and with peers, and scores all of them. I/O: files in a folder, the clock."""

import os
import platform as machine
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import polars as pl

from hub.bench.clearing.corpus import read_labelled, read_records, write_corpus, write_labelled
from hub.bench.clearing.errors import ErrorClass, find_errors
from hub.bench.clearing.peers import Peer, clear_with
from hub.bench.clearing.profiles import PROFILES
from hub.bench.clearing.scoring import Score, score
from hub.bench.clearing.town import make_town
from hub.clearing.engines.local import clear_files
from standards.behaviours import accepted_behaviours

KERNEL = "tanlian"


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What one way of clearing came to."""

    name: str
    seconds: float
    """Wall clock; what else the machine does goes into it."""
    score: Score
    versions: Mapping[str, str]

    def as_document(self) -> dict[str, Any]:
        """Return the result as JSON can hold it."""
        return {"seconds": self.seconds, "versions": dict(self.versions), **self.score.as_document()}


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """All results on one labelled corpus; the kernel's is first."""

    corpus: str
    about: str
    seed: int | None
    facts: Mapping[str, float]
    policy: str
    methodology: str
    results: tuple[Result, ...]
    errors: tuple[ErrorClass, ...]

    @property
    def kernel(self) -> Result:
        """The kernel's result."""
        return self.results[0]

    @property
    def ratio(self) -> float | None:
        """What the kernel leaves wrong of what the best peer leaves wrong, as 1 - F1; null without a peer that errs."""
        best = max((result.score.pairs.f1 for result in self.results[1:]), default=1.0)
        return round((1 - self.kernel.score.pairs.f1) / (1 - best), 4) if best < 1 else None

    def as_document(self) -> dict[str, Any]:
        """Return everything on one JSON object: the kernel, its peers, and the ratio."""
        return {
            "bench": "clearing", "corpus": self.corpus, "seed": self.seed, **self.facts, "policy": self.policy,
            "methodology": self.methodology, "ratio": self.ratio, "kernel": self.kernel.as_document(),
            "peers": {result.name: result.as_document() for result in self.results[1:]},
        }  # fmt: skip


def measure_profiles(
    folder: Path, names: Iterable[str], *, records: int, seed: int, peers: Iterable[Peer]
) -> Iterator[Quality]:
    """Make and measure one corpus after another, below a folder that is to be thrown away."""
    peers = tuple(peers)
    for name in names:
        write_corpus(PROFILES[name], records=records, seed=seed, folder=folder / name)
        yield measure_folder(
            folder / name, folder / f"{name}-out", corpus=name, about=PROFILES[name].about, seed=seed, peers=peers
        )


def measure_town(folder: Path, *, people: int, seed: int, peers: Iterable[Peer]) -> Quality:
    """Measure on what the platforms of the simulated town deliver, below a folder that is to be thrown away."""
    write_labelled([make_town(people=people, seed=seed)], folder / "town")
    about = f"{people:,} people of the simulated town, through the mappings of its platforms"
    return measure_folder(folder / "town", folder / "town-out", corpus="town", about=about, seed=seed, peers=peers)


def measure_folder(
    labelled: Path, out: Path, *, corpus: str, about: str, seed: int | None, peers: Iterable[Peer]
) -> Quality:
    """Measure the kernel and peers on one labelled folder.

    Args:
        labelled: with `records/` and `truth/`.
        out: where the kernel's result goes.

    Raises:
        UsageProblem: the folder is not labelled, or a peer is not installed.
        ClearingInputError: its records cannot be read.
    """
    truth = read_labelled(labelled)
    begun = perf_counter()
    manifest = clear_files(labelled / "records", out)
    seconds = round(perf_counter() - begun, 2)
    records = read_records(labelled)
    decisions = pl.read_parquet(out / "decisions" / "*.parquet")
    versions = {KERNEL: version("tanlian")}
    results = [Result(name=KERNEL, seconds=seconds, score=score(records, truth, decisions), versions=versions)]
    results += [_measure_peer(peer, records, truth) for peer in peers]
    return Quality(
        corpus=corpus, about=about, seed=seed, facts=describe(records, truth), policy=manifest["policy"],
        methodology=manifest["methodology"], results=tuple(results),
        errors=tuple(find_errors(records, truth, decisions)),
    )  # fmt: skip


def _measure_peer(peer: Peer, records: pl.DataFrame, truth: pl.DataFrame) -> Result:
    begun = perf_counter()
    decisions = clear_with(peer, records)
    seconds = round(perf_counter() - begun, 2)
    return Result(name=peer.name, seconds=seconds, score=score(records, truth, decisions), versions=peer.versions)


def describe(records: pl.DataFrame, truth: pl.DataFrame) -> dict[str, float]:
    """Return what is in a corpus: sizes, and shares of records."""
    pairable = truth.filter("pairable")
    known = records.filter(pl.col("behaviour").is_in(list(accepted_behaviours())))
    share = {
        "redundant": 1 - pairable["event_id"].n_unique() / max(1, len(pairable)),
        "with_event_key": known["event_key"].is_not_null().mean(),
        "with_payment_key": known["payment_key"].is_not_null().mean(),
        "without_quantity": known["quantity"].is_null().mean(),
        "to_the_minute": (known["precision"] == "minute").mean(),
        "by_the_day": (known["precision"] == "day").mean(),
        "overlapped": (truth["expected"] == "overlapped").mean(),
    }
    sizes = {
        "records": len(records),
        "people": records["subject_id"].n_unique(),
        "platforms": known["platform"].n_unique(),
    }
    return {**sizes, **{name: round(float(str(value or 0)), 4) for name, value in share.items()}}


def describe_machine() -> dict[str, str]:
    """Return what the figures were measured on."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        if line.startswith("model name")
    ]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": names[0] if names else machine.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "memory": f"{memory:.0f} GiB",
        "system": f"{machine.system()} {machine.release()}",
        "python": machine.python_version(),
        "numba": version("numba"), "numpy": version("numpy"), "polars": version("polars"),
    }  # fmt: skip
