"""connectors, mappings, clear: what the hub knows, and bulk clearing. I/O: files, terminal."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import polars as pl
import typer

from connectors.registry import list_connectors
from hub.clearing.engines.local import STEPS, clear_files
from hub.clearing.engines.spark import clear_files_spark
from hub.clock import system_clock
from hub.commands import checking
from hub.commands.console import AS_JSON, out, print_json, progress_bars, table
from hub.commands.pace import run_bar
from hub.context import find_mappings
from hub.errors import UsageProblem
from hub.settings import Settings
from mappings import MappingError, list_mappings, load_mapping, translate

connectors = typer.Typer(help="Formats the hub speaks.", no_args_is_help=True)
mappings = typer.Typer(help="Platforms' words to ours.", no_args_is_help=True)


@connectors.command("list")
def list_kinds(as_json: bool = AS_JSON) -> None:
    """List the connectors; `profile` marks the hub's own forms, for platforms without a public record API."""
    rows = [{"name": k.name, "transport": str(k.transport), "profile": k.profile} for k in list_connectors()]
    if as_json:
        print_json(rows)
        return
    table(
        "Connectors",
        ["name", "transport", "kind"],
        [[r["name"], r["transport"], "profile" if r["profile"] else "official format"] for r in rows],
    )


connectors.command("check")(checking.check)


@mappings.command("list")
def list_names(as_json: bool = AS_JSON) -> None:
    """List the mappings: those that come with the hub, and those of TANLIAN_MAPPINGS_DIR."""
    find_mappings(Settings())
    if as_json:
        print_json(list(list_mappings()))
        return
    for name in list_mappings():
        out.print(name)


@mappings.command("test")
def translate_sample(mapping: str, sample: Path, as_json: bool = AS_JSON) -> None:
    """Translate a sample (a JSON array or NDJSON of the platform's own rows); shows records and quarantined rows."""
    find_mappings(Settings())
    try:
        loaded = load_mapping(mapping)
    except MappingError as error:
        raise UsageProblem(str(error)) from None
    rows = _sample_rows(sample)
    documents = pl.Series(rows, dtype=pl.Binary)
    # Only for a mapping whose rows do not say the account: a sample comes through no link.
    accounts = pl.Series(["(the link's)"] * len(rows), dtype=pl.String)
    translation = translate(loaded, documents, token_key=bytes(32), now=system_clock(), accounts=accounts)
    if as_json:
        print_json({"records": translation.records.to_dicts(), "quarantined": translation.quarantined.to_dicts()})
        return
    shown = ["row", "source_id", "behaviour", "start_at", "end_at", "quantity_micro", "unit", "claimed_mg"]
    table(f"{len(translation.records)} records", shown, [list(r) for r in translation.records.select(shown).rows()])
    bad = translation.quarantined.select("row", "reason", "detail")
    table(f"{len(bad)} quarantined", ["row", "reason", "detail"], [list(r) for r in bad.rows()])


def _sample_rows(sample: Path) -> list[bytes]:
    try:
        content = sample.read_bytes()
    except OSError as cause:
        raise UsageProblem(f"{sample}: {cause.strerror}") from None
    if content.lstrip().startswith(b"["):
        try:
            return list(_elements(content.decode().strip()))
        except (ValueError, RecursionError) as cause:
            raise UsageProblem(f"{sample}: not a JSON array ({cause})") from None
    return [line for line in content.splitlines() if line.strip()]


def _elements(text: str) -> Iterator[bytes]:
    """Give each element of a JSON array as it is written: a parser's copy would hide a key that stands there twice."""
    decoder, at = json.JSONDecoder(), _skip(text, 1)
    while at != len(text) - 1 or text[at] != "]":
        value_at, at = at, decoder.raw_decode(text, at)[1]
        yield text[value_at:at].encode()
        at = _skip(text, at)
        if text[at : at + 1] == ",":
            at = _skip(text, at + 1)
        elif at != len(text) - 1 or text[at] != "]":
            raise ValueError(f"neither a comma nor the end at character {at}")


def _skip(text: str, at: int) -> int:
    """Return where the next word begins."""
    while text[at : at + 1].isspace():
        at += 1
    return at


def clear(
    records: Annotated[Path, typer.Option(help="Folder with Parquet files of reduction records.")],
    output: Annotated[Path, typer.Option("--out", help="Folder to write; must not exist or be an earlier result.")],
    history: Annotated[list[Path] | None, typer.Option(help="Earlier runs, each with records/ and out/.")] = None,
    engine: Annotated[str, typer.Option(help="Where to clear: local or spark.")] = "local",
    workers: Annotated[int | None, typer.Option(min=1, help="Threads of local; by default one per core.")] = None,
    spark_master: Annotated[str, typer.Option(help="Where Spark runs: local[*], or a cluster's address.")] = "local[*]",
    as_json: bool = AS_JSON,
) -> None:
    """Clear files in bulk: Parquet in, decisions, events, positions and a manifest out. No database."""
    if engine not in ("local", "spark"):
        raise typer.BadParameter(f"there is no engine {engine!r}; choose local or spark", param_hint="--engine")
    past = tuple(history or ())
    if engine == "spark":
        with progress_bars(quiet=as_json) as bars:
            tasks: dict[str, Any] = {}

            def tell(step: str, done: int, total: int) -> None:
                task = tasks.get(step)
                if task is None:
                    task = tasks[step] = bars.add_task(step, total=total)
                bars.update(task, completed=done, total=total)

            manifest = clear_files_spark(records, output, history=past, master=spark_master, progress=tell)
    else:
        with run_bar(STEPS, quiet=as_json) as report:
            manifest = clear_files(records, output, history=past, workers=workers, progress=report)
    if as_json:
        print_json(manifest)
        return
    rate = manifest["records"] / max(manifest["seconds"], 1e-9)
    out.print(
        f"{manifest['records']:,} records in {manifest['seconds']:.1f} s ({rate:,.0f}/s): "
        f"{manifest['events']:,} events, {manifest['counted_mg']:,} mg counted"
    )
    table(
        "Verdicts",
        ["verdict", "records"],
        [[k, f"{v:,}"] for k, v in manifest["verdicts"].items()],
        numbers=frozenset({1}),
    )
