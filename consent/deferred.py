"""What the requests of a group leave to its end, where one statement writes it for all. I/O: `used_jti`, the tables named.

Only inside a group (`together.py`) does anything wait; everywhere else each function here does its work at once.

An identifier of a group is taken for unused until the end. If another had used it before, `write_deferred` raises, all that
the group did is rolled back, and it runs again knowing so. Nobody is answered before the commit: a replay gets nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any

from sqlalchemy.orm import Session
from sqlmodel import SQLModel

from consent.batches import insert, insert_new, insert_once
from consent.clients import RegisteredClient
from consent.tables import UsedJti

_GROUP = "tanlian_group"
Identifier = tuple[str, str]
"""Whose it is and the hash of it: the key of `used_jti`."""


class UsedBefore(Exception):
    """These identifiers of the group were used before it: roll it back, and run it again with them."""

    def __init__(self, identifiers: frozenset[Identifier]) -> None:
        super().__init__("identifiers of the group were used before")
        self.identifiers = identifiers


@dataclass(slots=True, kw_only=True)
class _Group:
    used: frozenset[Identifier]
    taken: dict[Identifier, datetime] = field(default_factory=dict)
    rows: dict[type[SQLModel], list[Mapping[str, Any]]] = field(default_factory=dict)
    clients: dict[str, RegisteredClient | None] = field(default_factory=dict)


def defer(session: Session, used: frozenset[Identifier] = frozenset()) -> None:
    """From now on the statements of this transaction wait; `write_deferred` must follow."""
    session.info[_GROUP] = _Group(used=used)


def use_up(session: Session, issuer: str, jti: str, *, expires_at: datetime) -> bool:
    """Use up an identifier; True for exactly one of any number of racing requests, over all workers.

    Args:
        expires_at: until when it is kept: as long as what carries it could be used.
    """
    key = (issuer, sha256(jti.encode("utf-8", "surrogatepass")).hexdigest())
    group = _group_of(session)
    if group is None:
        return insert_once(session, UsedJti, _used(key, expires_at))
    if key in group.used or key in group.taken:
        return False
    group.taken[key] = expires_at
    return True


def insert_later(session: Session, table: type[SQLModel], values: Mapping[str, Any]) -> None:
    """Insert one row that a request of the same group may end, and none may look at before `write_rows`."""
    group = _group_of(session)
    if group is None:
        insert(session, table, values)
    else:
        group.rows.setdefault(table, []).append(values)


def read_client(
    session: Session, client_id: str, load: Callable[[Session, str], RegisteredClient | None]
) -> RegisteredClient | None:
    """Load a client once for all requests of a group.

    They had all come before the first of them was looked at: a client that was suspended before a request came is never
    taken for one that may act.
    """
    group = _group_of(session)
    if group is None:
        return load(session, client_id)
    if client_id not in group.clients:
        group.clients[client_id] = load(session, client_id)
    return group.clients[client_id]


def write_rows(session: Session) -> None:
    """Insert the rows that wait: before a statement that could be about one of them."""
    group = _group_of(session)
    if group is None:
        return
    for table, rows in group.rows.items():
        insert(session, table, rows)
    group.rows.clear()


def write_deferred(session: Session) -> None:
    """Write everything that waits, at the end of the group. Raises UsedBefore."""
    group = _group_of(session)
    if group is None:
        return
    if group.taken:
        # In the order of the key: two workers that got the same requests wait for each other in one direction.
        new = insert_new(session, UsedJti, [_used(key, group.taken[key]) for key in sorted(group.taken)])
        if len(new) < len(group.taken):
            raise UsedBefore(frozenset(group.taken.keys() - new))
    write_rows(session)


def _group_of(session: Session) -> _Group | None:
    group: _Group | None = session.info.get(_GROUP)
    return group


def _used(key: Identifier, expires_at: datetime) -> dict[str, Any]:
    return {"issuer": key[0], "jti_hash": key[1], "expires_at": expires_at}
