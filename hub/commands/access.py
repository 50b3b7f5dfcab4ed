"""Commands that show or change what is of people leave a leaf, before they do. I/O: the database.

    @people.command("export")
    @leaves_a_trace("staff.people_export", AccessPurpose.PERSONS_REQUEST, person="name")
    def export(name: str, ...) -> None:

The leaf is committed before the command begins: if it cannot be written, the command does not run. It says which command,
for which purpose, and commits to what was asked by a salted digest; who sits at the terminal is not known to the hub.
Commands that name a member of staff (`--by`) write that member's own record besides. A test names every command there is,
with this or with the reason why it shows nobody's data.
"""

import secrets
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from sqlalchemy.orm import Session

from consent.people import load_subject_id
from consent.vault import load_vault
from hub.changes import log_change
from hub.commands.console import opened_hub
from hub.context import Hub
from hub.db import writing
from hub.exchange.tables import TerminalAccess
from hub.log.commitments import KEY_BYTES, commitment
from hub.log.leaves import Kind
from hub.log.watch import let_end
from hub.staff.actions import BY_COMMAND
from hub.staff.rights import AccessPurpose
from standards.canonical import canonical_bytes

Params = ParamSpec("Params")
Result = TypeVar("Result")
_OUTPUT = frozenset({"as_json", "file", "out", "password_stdin"})


def leaves_a_trace(
    what: str,
    purpose: AccessPurpose,
    *,
    person: str | None = None,
    unless: Callable[[dict[str, Any]], bool] = lambda _: False,
    ends: bool = False,
) -> Callable[[Callable[Params, Result]], Callable[Params, Result]]:
    """Make a command write its access into the log before it runs.

    Args:
        what: how the leaf names it, `staff.` and the command's words.
        person: the parameter that names a person, if one does.
        unless: says of the parameters that the command will not look into the database.
        ends: the command only takes away, as an erasure does; it goes on while the log is behind.
    """

    def decorate(command: Callable[Params, Result]) -> Callable[Params, Result]:
        @wraps(command)
        def traced(*args: Params.args, **kwargs: Params.kwargs) -> Result:
            if not unless(kwargs):
                with opened_hub() as hub, writing(hub.engine) as session:
                    if ends:
                        let_end(session)
                    named = kwargs.get(person) if person else None
                    asked = {name: str(value) for name, value in kwargs.items() if name not in _OUTPUT}
                    append_terminal_access(session, hub, what, purpose, asked, person=str(named) if named else None)
            return command(*args, **kwargs)

        traced.leaves_a_trace = what  # type: ignore[attr-defined]
        return traced

    return decorate


def append_terminal_access(
    session: Session, hub: Hub, what: str, purpose: AccessPurpose, asked: dict[str, str], *, person: str | None = None
) -> str:
    """Write one access by command: a row with the commitment's salt, and the leaf; returns the access's random id.

    Args:
        asked: what the commitment is to. person: the name of whom it is about; then the salt is sealed under their key.
    """
    access_id, salt, now = secrets.token_hex(16), secrets.token_bytes(KEY_BYTES), hub.clock()
    subject_id = None if person is None else load_subject_id(session, person)
    row = TerminalAccess(access_id=access_id, at=now, what=what, purpose=str(purpose))
    if subject_id is None:
        # Of a name that nobody has, nothing may be kept that a name could be tried on.
        row.salt = None if person is not None else salt
    else:
        vault = load_vault(session, hub.ring, [subject_id])
        if vault.has(subject_id):
            row.salt_sealed = vault.seal(
                "terminal_access", "salt_sealed", row_id=access_id, subject_id=subject_id, plaintext=salt
            )
    session.add(row)
    fields = {
        "what": what, "right": BY_COMMAND, "role": "staff.operator", "by": "terminal", "purpose": str(purpose),
        "outcome": "granted", "in_case": False, "digest": commitment(salt, "asked", canonical_bytes(asked)),
    }  # fmt: skip
    log_change(session, Kind.ACCESS_MADE, access_id, now, fields)
    return access_id
