"""staff: who inspects, who works for a platform, who runs the hub. I/O: terminal, the database."""

from typing import Annotated

import typer

from hub.commands.console import AS_JSON, opened_hub, out, print_json, table
from hub.context import Hub
from hub.db import reading, writing
from hub.participants import require_participant
from hub.portal.browser import passkeys_of
from hub.staff.accounts import add_staff, disable_staff, list_staff, make_enrolment
from hub.staff.rights import Role
from hub.staff.signin import ENROL

staff = typer.Typer(help="Staff of platforms, of regulators and of this hub.", no_args_is_help=True)


@staff.command("add")
def add(
    name: str,
    role: Annotated[Role, typer.Option(help="Whom this member works for.")],
    participant: Annotated[str | None, typer.Option(help="For the role platform: which one.")] = None,
    jurisdiction: Annotated[
        str | None, typer.Option(help="For the role regulator: a GB/T 2260 code of six digits, or CN.")
    ] = None,
    as_json: bool = AS_JSON,
) -> None:
    """Add a member of staff; prints the link by which they register their passkey, once, within a day."""
    with opened_hub() as hub:
        with writing(hub.engine) as session:
            if participant is not None:
                require_participant(session, participant)
            member = add_staff(
                session, name=name, role=role, now=hub.clock(), participant=participant, jurisdiction=jurisdiction
            )
            token = make_enrolment(session, member.name, now=hub.clock())
        _tell_link(hub, name, token, as_json=as_json)


@staff.command("enrol")
def enrol(name: str, as_json: bool = AS_JSON) -> None:
    """Print a new link for a member; the passkey it registers takes the place of those they had."""
    with opened_hub() as hub:
        with writing(hub.engine) as session:
            token = make_enrolment(session, name, now=hub.clock())
        _tell_link(hub, name, token, as_json=as_json)


@staff.command("list")
def list_all(as_json: bool = AS_JSON) -> None:
    """List all members with their scope and standing."""
    with opened_hub() as hub, reading(hub.engine) as session:
        rows = [
            {
                "name": one.member.name, "role": str(one.member.role), "participant": one.member.participant_id,
                "jurisdiction": one.member.jurisdiction, "standing": one.standing,
            }
            for one in list_staff(session)
        ]  # fmt: skip
    if as_json:
        print_json(rows)
        return
    cells = [[value or "" for value in row.values()] for row in rows]
    table("Staff", ["name", "role", "participant", "jurisdiction", "standing"], cells)


@staff.command("disable")
def disable(name: str) -> None:
    """Disable a member: they are signed out, and their passkeys and links are worth nothing from now on."""
    with opened_hub() as hub, writing(hub.engine) as session:
        changed = disable_staff(session, name, now=hub.clock())
    out.print(f"{name}: disabled{'' if changed else ' already'}")


def _tell_link(hub: Hub, name: str, token: str, *, as_json: bool) -> None:
    link = f"{hub.settings.issuer.rstrip('/')}{ENROL}?token={token}"
    if as_json:
        print_json({"name": name, "link": link, "passkeys": passkeys_of(hub) is not None})
        return
    out.print(f"{name}: open this link once, within 24 hours:", highlight=False)
    print(link)  # as one line, however narrow the terminal is
    if passkeys_of(hub) is None:
        out.print("It will not work yet: passkeys need a TANLIAN_ISSUER with a name over https, or http://localhost.")
