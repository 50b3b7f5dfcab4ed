"""Every column that the key-encryption key seals, and how a value moves to the newest one. I/O: the database.

A person's data key is wrapped anew; what it sealed need not be touched. Values that belong to nobody are sealed anew
themselves. Values of a linking under way are left: they live for minutes or hours, and a key is only retired once they
are gone. A test finds every place that is sealed anywhere in the code and compares it with this list.
"""

import json
from base64 import b64decode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from consent.keyring import KeyRing
from consent.seal import SealError, header, key_id_of, place
from consent.vault import rewrap_data_key
from hub.reconcile.breaks import break_place
from hub.reconcile.comparing import digest_place
from hub.records.quarantine import quarantine_place
from hub.sync.outbox import webhook_place

Reseal = Callable[[KeyRing, tuple[Any, ...], bytes], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class RingColumn:
    """One column of sealed values; `reseal` takes the ring, the values of `key`, and the value."""

    table: str
    column: str
    key: tuple[str, ...]
    reseal: Reseal | None
    also: str = ""  # what else changes with the value


def _resealing(where: Callable[[tuple[Any, ...]], bytes]) -> Reseal:
    def reseal(ring: KeyRing, key: tuple[Any, ...], blob: bytes) -> bytes:
        return ring.seal(ring.open(blob, where(key)), where(key))

    return reseal


RING_COLUMNS = (
    RingColumn(
        table="person", column="data_key", key=("subject_id",), also=", kek_id = :kek",
        reseal=lambda ring, key, blob: rewrap_data_key(ring, key[0], blob),
    ),
    RingColumn(
        table="participant", column="configuration", key=("participant_id",),
        reseal=_resealing(lambda key: place("participant", "configuration", key[0], None)),
    ),
    RingColumn(
        table="quarantined", column="payload", key=("platform", "stream", "row_key", "reason"),
        reseal=_resealing(lambda key: quarantine_place(key[0], bytes(key[2]))),
    ),
    RingColumn(
        table="statement_break", column="source_sealed", key=("break_id",),
        reseal=_resealing(lambda key: break_place(key[0])),
    ),
    *(
        RingColumn(
            table="stream_reconciliation", column=f"{side}_digest", key=("window_id", "platform", "stream"),
            reseal=_resealing(lambda key, side=side: digest_place(side, *key)),  # type: ignore[misc]
        )
        for side in ("ours", "theirs")
    ),
    RingColumn(
        table="sync_state", column="cursor", key=("platform", "link_id", "stream", "lane"),
        reseal=_resealing(lambda key: place("sync_state", "cursor", f"{key[0]}/{key[1]}", None)),
    ),
    RingColumn(
        table="webhook", column="body", key=("webhook_id",),
        reseal=_resealing(lambda key: webhook_place(key[0])),
    ),
    RingColumn(table="link_attempt", column="verifier", key=("state_hash",), reseal=None),
)  # fmt: skip


def count_sealed(session: Session, column: RingColumn, key_id: str) -> int:
    """Count the values that this key sealed."""
    head = header(key_id)
    sql = f"SELECT COUNT(*) FROM {column.table} WHERE substr({column.column}, 1, {len(head)}) = :head"
    return int(session.execute(text(sql), {"head": head}).scalar_one())


def count_waiting(session: Session, key_id: str) -> int:
    """Count browser sessions that hold a linking sealed by this key: it stands as text within their state."""
    rows = session.execute(text("SELECT state FROM web_session WHERE state LIKE '%waiting%'")).scalars()
    return sum(_sealed_by(json.loads(state).get("waiting")) == key_id for state in rows)


def count_others(session: Session, column: RingColumn, key_id: str) -> int:
    """Count the values that any other key sealed."""
    return int(
        session.execute(text(f"SELECT COUNT(*) FROM {_others(column, key_id)}"), {"head": header(key_id)}).scalar_one()
    )


def reseal_some(session: Session, ring: KeyRing, column: RingColumn, *, after: Any, limit: int) -> tuple[Any, int]:
    """Move the next values to the newest key; returns the last key seen (None at the end) and how many there were.

    A value that somebody changed meanwhile is left: it was sealed anew by that.
    """
    if column.reseal is None:
        raise AssertionError(f"{column.table}.{column.column} is not sealed anew")
    names, newest = ", ".join(column.key), ring.kek_id
    marks = ", ".join(f":k{number}" for number in range(len(column.key)))
    beyond = "" if after is None else f" AND ({names}) > ({marks})"
    sql = f"SELECT {names}, {column.column} FROM {_others(column, newest)}{beyond} ORDER BY {names} LIMIT :n"
    bound = {} if after is None else _bound(after)
    rows = session.execute(text(sql), {"head": header(newest), "n": limit, **bound}).all()
    same = " AND ".join(f"{name} = :k{number}" for number, name in enumerate(column.key))
    change = f"UPDATE {column.table} SET {column.column} = :new{column.also} WHERE {same} AND {column.column} = :old"
    for *key, blob in rows:
        new = column.reseal(ring, tuple(key), bytes(blob))
        values = {"new": new, "old": bytes(blob), **_bound(key)}
        session.execute(text(change), values | ({"kek": key_id_of(new)} if column.also else {}))
    return (tuple(rows[-1][:-1]) if len(rows) == limit else None), len(rows)


def columns_to_reseal() -> Iterator[RingColumn]:
    """Yield the columns whose values are moved."""
    return (column for column in RING_COLUMNS if column.reseal is not None)


def _others(column: RingColumn, key_id: str) -> str:
    name, head = column.column, header(key_id)
    return f"{column.table} WHERE length({name}) > 0 AND substr({name}, 1, {len(head)}) <> :head"


def _bound(key: Any) -> dict[str, Any]:
    return {f"k{number}": bytes(part) if isinstance(part, memoryview) else part for number, part in enumerate(key)}


def _sealed_by(waiting: str | None) -> str | None:
    try:
        return None if waiting is None else key_id_of(b64decode(waiting))
    except (SealError, ValueError):
        return None
