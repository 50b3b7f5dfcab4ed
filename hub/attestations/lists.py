"""The status lists as they are kept: a place for each attestation, and its bit. I/O: the database, in the caller's transaction.

Places are random, so that neighbours in a list have nothing in common; a list takes no more than half of what it has room
for, so that a random place is soon found. Who gives or takes something of a list holds its row until commit.
"""

import secrets
from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session
from sqlmodel import col

from hub.attestations.statuslist import SIZE, with_bit
from hub.attestations.tables import Attestation, StatusListRow
from hub.db import lock

PATH = "/v1/status-lists"


def uri_of(issuer: str, list_id: int) -> str:
    """Return where a list is found; statements carry this address."""
    return f"{issuer}{PATH}/{list_id}"


def take_place(session: Session, *, now: datetime) -> tuple[int, int]:
    """Return the list and the index of a place that no attestation has or ever had."""
    lock(session, "status_list")  # two who find the newest list full must not both open the next
    newest = select(func.max(StatusListRow.list_id))
    list_id = session.scalar(newest) or 0
    row = session.get(StatusListRow, list_id, with_for_update=True, populate_existing=True) if list_id else None
    if row is None or row.used >= row.size // 2:
        row = StatusListRow(list_id=list_id + 1, size=SIZE, used=0, bits=bytes(SIZE // 8), created_at=now)
        session.add(row)
    row.used += 1
    session.flush()
    taken = select(col(Attestation.list_index)).where(col(Attestation.list_id) == row.list_id)
    while True:
        index = secrets.randbelow(row.size)
        if session.scalar(taken.where(col(Attestation.list_index) == index)) is None:
            return row.list_id, index


def set_bits(session: Session, places: Mapping[int, list[int]]) -> None:
    """Say of places (indexes by list) that they are revoked."""
    for list_id in sorted(places):  # in one order: who revokes many never waits in a circle
        row = session.get_one(StatusListRow, list_id, with_for_update=True, populate_existing=True)
        for index in places[list_id]:
            row.bits = with_bit(row.bits, index)
    session.flush()


def load_bits(session: Session, list_id: int) -> bytes | None:
    """Return the bits of a list; None if there is none of this number."""
    return session.scalar(select(col(StatusListRow.bits)).where(col(StatusListRow.list_id) == list_id))
