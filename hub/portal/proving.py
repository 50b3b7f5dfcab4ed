"""One try to prove who one is, by password or by passkey, at every door of the hub. I/O: HTTP, the database.

What a try is worth is said in the caller's own transaction, with what follows from it: `finish_sign_in` for a password,
`finish_proving` and `finish_passkey_try` for a passkey.
"""

from dataclasses import dataclass
from datetime import datetime

from fastapi import Request, Response

from consent.passkeys import Door, Owner, begin_proving
from consent.people import Checked, check_password
from consent.signin import Attempt, SignIn, begin_passkey_try, begin_sign_in
from hub.context import Hub
from hub.db import writing
from hub.portal.passkeys import options_answer
from hub.portal.source import source_of


@dataclass(frozen=True, slots=True, kw_only=True)
class TriedPassword:
    """A try that is counted, and a password that is checked."""

    attempt: Attempt
    checked: Checked


def try_password(hub: Hub, request: Request, *, username: str, password: str) -> TriedPassword | SignIn:
    """Count the try, then check the password while no transaction is open; a blocked try is refused unchecked."""
    source = source_of(request, trusted_proxies=hub.settings.trusted_proxies)
    with writing(hub.engine) as session:
        attempt = begin_sign_in(session, hub.ring, username=username, now=hub.clock(), source=source)
    if isinstance(attempt, SignIn):
        return attempt
    return TriedPassword(attempt=attempt, checked=check_password(attempt.known, password))


def challenge(hub: Hub, door: Door, *, owner: Owner | None) -> Response:
    """Ask the browser's script for a passkey; `owner` is as in `begin_proving`."""
    with writing(hub.engine) as session:
        return options_answer(begin_proving(session, door, owner=owner, now=hub.clock()))


def count_passkey_try(hub: Hub, request: Request, *, now: datetime) -> str | None:
    """Count a passkey that is about to be verified; returns the source to forgive, or None while that is blocked."""
    source = source_of(request, trusted_proxies=hub.settings.trusted_proxies)
    with writing(hub.engine) as session:
        free = begin_passkey_try(session, hub.ring, source=source, now=now)
    return source if free else None
