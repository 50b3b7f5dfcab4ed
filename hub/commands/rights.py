"""people export, statement, erase: what a person may ask of the hub, done on their behalf. I/O: files, the database."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from consent.link_access import LinkUnusable
from consent.people import load_subject_id
from hub.commands.access import leaves_a_trace
from hub.commands.console import AS_JSON, opened_hub, out, print_json, table
from hub.context import Hub
from hub.db import reading
from hub.errors import NotFound, UsageProblem
from hub.ledger.yearly import FIRST_YEAR, LAST_YEAR, load_year
from hub.rights.erase import erase_person
from hub.rights.export import export_person
from hub.staff.rights import AccessPurpose
from hub.sync.words import in_words
from hub.uploads import take_upload
from standards.choice import format_grams


@leaves_a_trace("staff.people_export", AccessPurpose.PERSONS_REQUEST, person="name")
def export(
    name: str, file: Annotated[Path, typer.Option("--out", help="The ZIP file to write; it must not exist.")]
) -> None:
    """Write everything about a person into a signed ZIP file, readable by its owner only."""
    with opened_hub() as hub:
        subject_id = _find(hub, name)
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise UsageProblem(f"{file}: exists already") from None
        with os.fdopen(descriptor, "w+b") as target:
            export_person(hub, subject_id, target)
    out.print(f"{file}: {file.stat().st_size:,} bytes")


@leaves_a_trace("staff.people_statement", AccessPurpose.PERSONS_REQUEST, person="name")
def statement(
    name: str,
    year: Annotated[int, typer.Option(min=FIRST_YEAR, max=LAST_YEAR, help="The year, in China's time.")],
    as_json: bool = AS_JSON,
) -> None:
    """Show what a person had at the begin of a year, what moved in each month, and what was there at its end."""
    with opened_hub() as hub:
        subject_id = _find(hub, name)
        with reading(hub.engine) as session:
            told = load_year(session, subject_id, year).to_dict()
    if as_json:
        print_json(told)
        return
    for when in ("opening", "closing"):
        sums = [f"{account} {format_grams(mg)} g" for account, mg in told[f"{when}_mg"].items()]
        out.print(f"{when}: {', '.join(sums) or 'nothing'}")
    names = ("month", "entry", "account", "participant", "entries", "mg")
    rows = [[f"{one[name]:,}" if name == "mg" else one[name] or "" for name in names] for one in told["lines"]]
    table(f"{name}, {year}", list(names), rows, numbers=frozenset({0, 4, 5}))


@leaves_a_trace("staff.people_erase", AccessPurpose.PERSONS_REQUEST, person="name", ends=True)
def erase(
    name: str,
    yes: Annotated[bool, typer.Option("--yes", help="There is no way back; say that you know.")] = False,
    as_json: bool = AS_JSON,
) -> None:
    """Erase a person for good: name, key, links, consents, sessions, contents of records; grams are forfeited."""
    if not yes:
        raise UsageProblem("erasing cannot be undone; export first if the person wants a copy, then give --yes")
    with opened_hub() as hub:
        erased = erase_person(hub, _find(hub, name), now=hub.clock())
    if as_json:
        print_json(
            {"records": erased.records, "links": erased.links, "forfeited_mg": erased.forfeited_mg,
             "tokens_not_returned": erased.tokens_not_returned}
        )  # fmt: skip
        return
    out.print(
        f"erased: {erased.records:,} records emptied, {erased.links:,} links, {erased.forfeited_mg:,} mg forfeited"
    )
    if erased.tokens_not_returned:
        out.print(
            f"{erased.tokens_not_returned:,} tokens were destroyed here without the platform being told: it was away"
        )


@leaves_a_trace("staff.people_upload", AccessPurpose.PERSONS_REQUEST, person="name")
def upload(
    name: str,
    participant_id: Annotated[str, typer.Argument(help="The source that the file was exported from.")],
    file: Annotated[Path, typer.Argument(help="The file as it was exported.")],
    as_json: bool = AS_JSON,
) -> None:
    """Take a file that a person has brought; they must have linked its source. The same file again changes nothing."""
    try:
        content = file.read_bytes()
    except OSError as cause:
        raise UsageProblem(f"{file}: {cause.strerror}") from None
    with opened_hub() as hub:
        try:
            reply = take_upload(hub, _find(hub, name), participant_id, content, now=hub.clock())
        except LinkUnusable as refused:
            raise UsageProblem(f"{name}: {in_words(refused.reason)}") from None
    told = json.loads(reply.body)
    if reply.status >= 400:
        raise UsageProblem(f"{file}: {told['title']} ({told['type'].rpartition(':')[2]})")
    if as_json:
        print_json(told)
        return
    out.print(
        f"{file.name}: {told['accepted']:,} rows taken, {told['replayed']:,} were there already, "
        f"{told['quarantined']:,} set aside, {told['refused']:,} without permission, {len(told['unreadable']):,} unreadable"
    )


def _find(hub: Hub, name: str) -> int:
    with reading(hub.engine) as session:
        subject_id = load_subject_id(session, name)
    if subject_id is None:
        raise NotFound(f"there is no person {name!r}")
    return subject_id
