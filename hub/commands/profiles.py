"""profiles: the hub's own forms for platforms without a public record API, and whether data is in them. I/O: files."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import polars as pl
import typer
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

import standards
from connectors.config import ConfigError
from connectors.profiles.drop_manifest import parse_public_key
from connectors.strict_json import MalformedJsonError, split_records
from connectors.validate import Finding, validate_drop, validate_page, validate_push
from connectors.webhook_signature import WebhookKeys, parse_keys
from hub.clock import system_clock
from hub.commands.console import AS_JSON, out, print_json, table
from hub.context import find_mappings
from hub.errors import UsageProblem
from hub.settings import Settings
from mappings import MappingError, load_mapping, translate

PROFILES = {
    "signed-push": "a platform posts its records, signed",
    "cursor-pull": "the hub reads a person's records page by page",
    "file-drop": "a platform leaves files, with a signed manifest",
}
GUIDES = {
    "joining": "from nothing to the first counted record: a platform's way in, with an example",
    "statement": "both sides of a window compared: count, sum and digest, record by record where they differ",
    "precheck": "whether another platform has claimed an act already: asked before it is paid for",
}
DOCUMENTS = Path(standards.__file__).parent / "profiles"

profiles = typer.Typer(help="The hub's forms for platforms without a public record API.", no_args_is_help=True)
Key = Annotated[
    list[str] | None,
    typer.Option("--key", help="Key to check signatures with: whsec_ or whpk_ for a push, base64 for a drop."),
]


@profiles.command("list")
def list_profiles(as_json: bool = AS_JSON) -> None:
    """List the profiles, and what else there is to read before a platform joins."""
    rows = [{"name": name, "version": 1, "about": about} for name, about in (PROFILES | GUIDES).items()]
    if as_json:
        print_json(rows)
        return
    table("Profiles", ["name", "version", "about"], [list(row.values()) for row in rows])


@profiles.command("show")
def show(name: str, as_json: bool = AS_JSON) -> None:
    """Print a profile's document: what a platform's engineer needs to implement it."""
    text = (DOCUMENTS / f"{_known(name, PROFILES | GUIDES)}.v1.md").read_text(encoding="utf-8")
    if as_json:
        print_json({"name": name, "version": 1, "document": text})
    else:
        out.file.write(text)


@profiles.command("validate")
def validate(
    name: str,
    files: Annotated[list[Path], typer.Argument(help="Bodies of messages or pages; for file-drop: folders.")],
    key: Key = None,
    headers: Annotated[Path | None, typer.Option(help="Headers of the message, a `name: value` on each line.")] = None,
    at: Annotated[str | None, typer.Option(help="The time to check at, with its offset; default: now.")] = None,
    mapping: Annotated[str | None, typer.Option(help="Also translate the records with this mapping.")] = None,
    encoding: Annotated[str, typer.Option(help="Of CSV files in a drop: utf-8 or gb18030.")] = "utf-8",
    as_json: bool = AS_JSON,
) -> None:
    """Check messages, pages or drops as the hub would; ends with 1 if anything is found."""
    _known(name, PROFILES)
    now = system_clock() if at is None else _moment(at)
    found: list[Finding] = []
    for file in files:
        match name:
            case "signed-push":
                told = {} if headers is None else _parse_headers(headers)
                found += validate_push(file.read_bytes(), told, keys=_webhook_keys(key), now=now)
            case "cursor-pull":
                found += validate_page(file.read_bytes())
            case _:
                found += validate_drop(file, keys=_drop_keys(key), now=now, encoding=encoding)
        if mapping is not None and name != "file-drop":
            found += _translation_findings(mapping, file.read_bytes(), now)
    if as_json:
        print_json({"profile": name, "ok": not found, "findings": [asdict(finding) for finding in found]})
    elif found:
        table("Findings", ["code", "where", "what"], [[one.code, one.where, one.sentence] for one in found])
    else:
        out.print(f"{name}: nothing found")
    if found:
        raise SystemExit(1)


def _known(name: str, among: dict[str, str]) -> str:
    if name not in among:
        raise UsageProblem(f"there is no profile {name!r}: choose from {', '.join(among)}")
    return name


def _moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageProblem("--at must be a time like 2026-10-06T01:00:00+08:00") from None
    if moment.tzinfo is None:
        raise UsageProblem("--at needs its offset from UTC")
    return moment


def _parse_headers(path: Path) -> dict[str, str]:
    pairs = [line.partition(":") for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return {name.strip(): value.strip() for name, _, value in pairs}


def _webhook_keys(texts: list[str] | None) -> WebhookKeys | None:
    try:
        return parse_keys(" ".join(texts)) if texts else None
    except ConfigError as error:
        raise UsageProblem(f"--key: {error}") from None


def _drop_keys(texts: list[str] | None) -> list[Ed25519PublicKey]:
    try:
        return [parse_public_key(text) for text in texts or []]
    except ConfigError as error:
        raise UsageProblem(f"--key: {error}") from None


def _translation_findings(name: str, body: bytes, now: datetime) -> list[Finding]:
    """Tell which records a mapping would set aside; bodies that are none were told before."""
    find_mappings(Settings())
    try:
        loaded, rows = load_mapping(name), split_records(body, "records").rows
    except MappingError as error:
        raise UsageProblem(str(error)) from None
    except MalformedJsonError:
        return []
    accounts = pl.Series(["(the link's)"] * len(rows), dtype=pl.String)
    translation = translate(
        loaded, pl.Series(rows, dtype=pl.Binary), token_key=bytes(32), now=now, accounts=accounts
    )  # fmt: skip
    refused = translation.quarantined.select("row", "reason", "detail").iter_rows()
    return [Finding(code=reason, where=f"records[{row}]", sentence=detail) for row, reason, detail in refused]
