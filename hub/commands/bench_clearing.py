"""bench clearing: how right clearing is, on labelled records, beside its peers. I/O: a temporary folder, a page."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.table import Table

from hub.bench.clearing.measure import Quality, measure_folder, measure_profiles, measure_town
from hub.bench.clearing.peers import PEERS, Peer, absent_packages
from hub.bench.clearing.profiles import PROFILES
from hub.bench.clearing.report import write_report
from hub.commands.console import err, print_line
from hub.errors import UsageProblem


def clearing(
    records: Annotated[
        int, typer.Option(min=1_000, max=100_000_000, help="Records of a made corpus, about.")
    ] = 100_000,
    seed: Annotated[int, typer.Option(min=0, help="Another seed, other people.")] = 1,
    profile: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(PROFILES)}; by default all.")] = None,
    labelled: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder with records/ and truth/, instead.")
    ] = None,
    town: Annotated[
        int | None, typer.Option(min=2, max=10_000, help="People of the simulated town, instead: real formats.")
    ] = None,
    peer: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(PEERS)}; by default all, or none.")] = None,
    report: Annotated[Path | None, typer.Option(file_okay=False, help="Folder for the page and its chart.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The lines only, no words beside them.")] = False,
) -> None:
    """Clear labelled records and tell precision, recall, F1 and milligrams counted twice or wrongly removed."""
    names = _named(profile or list(PROFILES), PROFILES, "profile")
    peers = _peers(peer, needed=peer is not None or report is not None)
    qualities: list[Quality] = []
    with TemporaryDirectory(prefix="tanlian-bench-") as place:
        folder = Path(place)
        for quality in _measured(folder, names, labelled, town, records, seed, peers):
            print_line(quality.as_document())
            if not as_json:
                _tell(quality)
            qualities.append(quality)
    if report is not None:
        page, picture = write_report(report, qualities)
        err.print(f"{page} and {picture} are written")


def _measured(
    folder: Path, names: list[str], labelled: Path | None, town: int | None, records: int, seed: int, peers: list[Peer]
) -> Iterator[Quality]:
    if labelled:
        about = "a labelled folder"
        yield measure_folder(labelled, folder / "out", corpus=labelled.name, about=about, seed=None, peers=peers)
    elif town:
        yield measure_town(folder, people=town, seed=seed, peers=peers)
    else:
        yield from measure_profiles(folder, names, records=records, seed=seed, peers=peers)


def _named(names: list[str], known: Iterable[str], kind: str) -> list[str]:
    there = list(known)
    for name in names:
        if name not in there:
            raise UsageProblem(f"no {kind} {name}; there are {', '.join(there)}")
    return list(dict.fromkeys(names))


def _peers(chosen: list[str] | None, *, needed: bool) -> list[Peer]:
    """Return the peers to measure; those that are not installed are left out, unless they are asked for."""
    wanted = [name for name in _named(chosen or list(PEERS), [*PEERS, "none"], "peer") if name != "none"]
    peers = []
    for name in wanted:
        absent = absent_packages(PEERS[name])
        if absent and needed:
            raise UsageProblem(f"the peer {name} needs {', '.join(absent)}: pip install 'tanlian[bench]'")
        if absent:
            err.print(f"the peer {name} is left out, because {', '.join(absent)} is not installed (extra: bench)")
        else:
            peers.append(PEERS[name])
    return peers


def _tell(quality: Quality) -> None:
    """Show at the terminal, in words, what the line says."""
    seed = f", seed {quality.seed}" if quality.seed is not None else ""
    table = Table(
        title=f"{quality.corpus}: {quality.facts['records']:,} records{seed}; {quality.policy}", title_justify="left"
    )
    for head in ("", "precision", "recall", "F1", "twice", "removed", "held", "seconds"):
        table.add_column(head, justify="left" if not head else "right")
    for result in quality.results:
        score = result.score
        table.add_row(
            result.name, *(f"{value:.4f}" for value in (score.pairs.precision, score.pairs.recall, score.pairs.f1)),
            *(f"{value:,.1f}" for value in (score.plain_double_ppm, score.removed_ppm, score.held_ppm, result.seconds)),
        )  # fmt: skip
    err.print(table)
    err.print("Milligrams per million counted twice (where no other kind of act contests), wrongly removed, held.")
    score = quality.kernel.score
    for title, rates in (("behaviour", score.by_behaviour), ("tier", score.by_tier)):
        detail = Table(title_justify="left")
        for head in (title, "said", "true", "precision", "recall", "F1"):
            detail.add_column(head, justify="left" if head == title else "right")
        for name, rate in rates.items():
            shares = (f"{value:.4f}" for value in (rate.precision, rate.recall, rate.f1))
            detail.add_row(name, f"{rate.said:,}", f"{rate.true:,}", *shares)
        err.print(detail)
    err.print(
        f"With all contested acts {score.double_ppm:,.1f} per million counted twice; "
        f"{score.overlap_accuracy:.2%} of contested units right."
    )
