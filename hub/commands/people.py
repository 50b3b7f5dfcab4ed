"""participants, clients, people: who takes part. I/O: files, terminal, the database."""

import json
import sys
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from connectors.base import Scope
from consent.changes import change
from consent.clients import RegistrationRefused, register_client
from consent.keyring import KeyRingError
from consent.people import PersonRefused, add_person, set_guardian
from consent.platform_pins import pin_anew
from consent.platforms import client_jwks
from consent.webhook_secrets import webhook_secret
from hub.changes import log_consent_change
from hub.commands.access import leaves_a_trace
from hub.commands.console import AS_JSON, opened_hub, out, print_json, table
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import UsageProblem
from hub.participants import (
    ParticipantDocument,
    Status,
    add_participant,
    load_document,
    load_participants,
    open_platform,
    parse_document,
    require_participant,
    set_status,
    wants_loopback,
)
from hub.staff.machines import SCOPE, bind_client
from hub.staff.rights import AccessPurpose
from hub.sync.cursors import ensure_state
from hub.sync.outward import find_endpoints, registration

participants = typer.Typer(help="Platforms that take part.", no_args_is_help=True)
clients = typer.Typer(help="OAuth clients of this hub.", no_args_is_help=True)
people = typer.Typer(help="Individuals.", no_args_is_help=True)


@participants.command("add")
def add(files: Annotated[list[Path], typer.Argument(help="Onboarding files, one JSON document each.")]) -> None:
    """Add or update participants; adding the same file again changes nothing.

    The endpoints of a platform's authorization server are pinned as they are found now. Should the platform name others
    one day, they are refused until the participant is added again.
    """
    with opened_hub() as hub:
        for document in [parse_document(_read(file)) for file in files]:
            changed = join_hub(hub, document)
            out.print(f"{document.id}: {'stored' if changed else 'unchanged'}")


def join_hub(hub: Hub, document: ParticipantDocument) -> bool:
    """Store one participant; a whole platform's file drop is followed from now on.

    Raises:
        UsageProblem: nothing is stored; the text says what is wrong.
    """
    if wants_loopback(document) and not hub.settings.allow_loopback:
        raise UsageProblem(f"{document.id}: loopback addresses need TANLIAN_ALLOW_LOOPBACK=1 (sandbox and tests only)")
    found = find_endpoints(hub, document) if document.oauth is not None else None
    with writing(hub.engine) as session:
        changed = add_participant(session, hub.ring, document, hub.clock())
        if found is not None:
            changed |= pin_anew(session, registration(hub, document), found, now=hub.clock())
        platform = open_platform(session, hub.ring, document.id)
        for feed in platform.fetched(Scope.PLATFORM):
            ensure_state(session, document.id, "", hub.clock(), stream=platform.state_name(feed))
    return changed


@participants.command("list")
def list_all(as_json: bool = AS_JSON) -> None:
    """List all participants with their standing."""
    with opened_hub() as hub, reading(hub.engine) as session:
        rows = [
            {"id": row.participant_id, "name_zh": row.name_zh, "name_en": row.name_en, "kind": row.kind, "status": row.status}
            for row in load_participants(session)
        ]  # fmt: skip
    if as_json:
        print_json(rows)
        return
    table("Participants", ["id", "名称", "name", "kind", "status"], [list(row.values()) for row in rows])


@participants.command("show")
def show(participant_id: str, as_json: bool = AS_JSON) -> None:
    """Show one participant's configuration, without its secrets."""
    with opened_hub() as hub, reading(hub.engine) as session:
        row = require_participant(session, participant_id)
        document = load_document(row, hub.ring).model_dump(exclude=_SECRET)
        document["status"] = row.status
    if as_json:
        print_json(document)
        return
    for name, value in document.items():
        out.print(f"[bold]{name}[/bold]: {value}")


_SECRET: dict[str, Any] = {
    "secrets": True,
    "notice_secret": True,
    "oauth": {"client_secret"},
    "more_feeds": {"__all__": {"secrets"}},
}


@participants.command("jwks")
def show_keys(participant_id: str) -> None:
    """Print the public key set to register at a platform that authenticates the hub by `private_key_jwt`.

    The key is made at first use and may be asked for before the participant is added.
    """
    with opened_hub() as hub:
        try:
            print_json(client_jwks(hub.ring, participant_id))
        except KeyRingError as refused:
            raise UsageProblem(str(refused)) from None


@participants.command("suspend")
def suspend(participant_id: str) -> None:
    """Suspend a participant: its door closes and nothing is fetched from it, from the next act on."""
    _set(participant_id, Status.SUSPENDED)


@participants.command("webhook-secret")
def show_webhook_secret(participant_id: str) -> None:
    """Print the secret with which a participant verifies the hub's webhooks."""
    with opened_hub() as hub, reading(hub.engine) as session:
        require_participant(session, participant_id)
        print(webhook_secret(hub.ring, f"participant:{participant_id}"))


@participants.command("reinstate")
def reinstate(participant_id: str) -> None:
    """End a suspension."""
    _set(participant_id, Status.ACTIVE)


def _set(participant_id: str, status: Status) -> None:
    with opened_hub() as hub, writing(hub.engine) as session:
        changed = set_status(session, participant_id, status, hub.clock())
    out.print(f"{participant_id}: {status}{'' if changed else ' already'}")


@clients.command("register")
def register(
    file: Path,
    participant: Annotated[str | None, typer.Option(help="The participant this client acts for.")] = None,
    regulator: Annotated[
        str | None, typer.Option(metavar="NAME", help="The regulator's member of staff whose rights this client has.")
    ] = None,
) -> None:
    """Register a client from RFC 7591 metadata; prints its client information; logged."""
    if participant is not None and regulator is not None:
        raise UsageProblem("a client acts for a participant or for a regulator, not for both")
    try:
        metadata = json.loads(_read(file))
    except ValueError:
        raise UsageProblem(f"{file}: not JSON") from None
    if not isinstance(metadata, dict):
        raise UsageProblem(f"{file}: not a JSON object")
    with opened_hub() as hub, writing(hub.engine) as session:
        if participant is not None:
            require_participant(session, participant)
        try:
            information = register_client(session, metadata, participant=participant, now=hub.clock())
        except RegistrationRefused as refused:
            raise UsageProblem(f"{file}: {refused}") from None
        if (SCOPE in information["scope"].split()) != (regulator is not None):
            raise UsageProblem(f"the scope {SCOPE} belongs to --regulator NAME, and to no other client")
        client_id = information["client_id"]
        log_consent_change(session, change("client.registered", client=client_id), hub.clock(), hub=hub)
        if regulator is not None:
            bind_client(session, client_id, regulator, now=hub.clock())
        if "webhook_uri" in information:
            information["webhook_secret"] = webhook_secret(hub.ring, f"client:{information['client_id']}")
    print_json(information)


@people.command("add")
@leaves_a_trace("staff.people_add", AccessPurpose.PERSONS_REQUEST, person="name")
def add_individual(
    name: str,
    password_stdin: Annotated[bool, typer.Option("--password-stdin", help="Read the password from stdin.")] = False,
    born: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Day of birth; kept sealed.")] = None,
    guardian: Annotated[
        str | None, typer.Option(help="Who decides for a child under 14; verify that they may.")
    ] = None,
) -> None:
    """Create an individual who can sign in at the portal.

    A child under 14 cannot consent: its guardian, a person with an account here, does so for it.
    """
    password = sys.stdin.readline().rstrip("\n") if password_stdin else typer.prompt(
        "Password", hide_input=True, confirmation_prompt=True
    )  # fmt: skip
    with opened_hub() as hub, writing(hub.engine) as session:
        try:
            add_person(
                session, hub.ring, username=name, password=password, display_name=name, now=hub.clock(),
                born=None if born is None else born.date(), guardian=guardian,
            )  # fmt: skip
        except PersonRefused as refused:
            raise UsageProblem(str(refused)) from None
    out.print(f"{name}: created")


@people.command("guardian")
@leaves_a_trace("staff.people_guardian", AccessPurpose.PERSONS_REQUEST, person="name")
def change_guardian(
    name: Annotated[str, typer.Argument(help="The child.")],
    guardian: Annotated[
        str | None, typer.Argument(help="Who decides from now on; verify that they may. Nobody if left out.")
    ] = None,
) -> None:
    """Say who decides for a child under 14. What the one before allowed and was not used yet is worth nothing then."""
    with opened_hub() as hub, writing(hub.engine) as session:
        try:
            set_guardian(session, username=name, guardian=guardian, now=hub.clock())
        except PersonRefused as refused:
            raise UsageProblem(str(refused)) from None
    out.print(f"{name}: {'has no guardian' if guardian is None else f'is in the care of {guardian}'}")


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as cause:
        raise UsageProblem(f"{file}: {cause.strerror}") from None
    except UnicodeDecodeError:
        raise UsageProblem(f"{file}: not UTF-8 text") from None
