"""Joining and leaving programmes, each the person's own decision. I/O: the database, in the caller's transaction.

The log has a leaf of every joining and leaving with the digest of the membership's random id, and without the programme:
how many join which programme on a day would be a count of few people. ADR 0034.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

import polars as pl
from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.guardians import GuardianNeeded, is_child
from hub.changes import log_change
from hub.db import lock
from hub.errors import Conflict
from hub.log.leaves import Kind
from hub.totals import facts as load
from hub.totals.programmes import is_open, require_programme
from hub.totals.tables import Programme, ProgrammeMembership
from hub.totals.taking import label_places, take
from hub.totals.telling import LOCK, last_release

NEXT_RELEASE = 2**31 - 1
"""Stands for the release to come: who is in a programme now is counted by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What a person's own acts of final windows are in a programme: exact, for that person alone."""

    acts: int
    mg: int


def join_programme(session: Session, subject_id: int, programme_id: str, *, now: datetime) -> bool:
    """Let a person join; returns whether anything changed. Counts acts from now on.

    Raises:
        NotFound: there is no such programme. Conflict: nobody may join it any more.
        GuardianNeeded: the person is under 14, and nobody decides this for a child.
    """
    # Of two at once, and beside a telling, one waits: whom a release counts is the same whoever asks later.
    lock(session, LOCK)
    programme = require_programme(session, programme_id)
    if find_membership(session, subject_id, programme_id) is not None:
        return False
    if not is_open(session, programme, now):
        raise Conflict(f"programme {programme_id} is over; nobody can join it")
    if is_child(session, subject_id=subject_id, now=now):
        raise GuardianNeeded("people under 14 do not join programmes")
    row = ProgrammeMembership(
        membership_id=secrets.token_hex(16), programme_id=programme_id, subject_id=subject_id, joined_at=now,
        joined_after=last_release(session),
    )  # fmt: skip
    session.add(row)
    session.flush()
    _log(session, row, "joined", now)
    return True


def leave_programme(session: Session, subject_id: int, programme_id: str, *, now: datetime) -> bool:
    """Let a person leave; returns whether anything changed. No later total of the programme has anything of theirs.

    Raises:
        NotFound: there is no such programme.
    """
    lock(session, LOCK)
    require_programme(session, programme_id)
    row = find_membership(session, subject_id, programme_id)
    if row is None:
        return False
    row.left_at, row.left_after = now, last_release(session)
    session.flush()
    _log(session, row, "left", now)
    return True


def find_membership(session: Session, subject_id: int, programme_id: str) -> ProgrammeMembership | None:
    """Return a person's membership that stands, if there is one."""
    wanted = select(ProgrammeMembership).where(
        col(ProgrammeMembership.subject_id) == subject_id,
        col(ProgrammeMembership.programme_id) == programme_id,
        col(ProgrammeMembership.left_at).is_(None),
    )
    return session.execute(wanted).scalars().one_or_none()


def load_memberships_of(session: Session, subject_id: int) -> list[tuple[ProgrammeMembership, Programme]]:
    """Return all memberships of a person with their programmes, ended ones too, newest first."""
    wanted = (
        select(ProgrammeMembership, Programme)
        .join(Programme, col(Programme.programme_id) == col(ProgrammeMembership.programme_id))
        .where(col(ProgrammeMembership.subject_id) == subject_id)
        .order_by(col(ProgrammeMembership.joined_at).desc(), col(ProgrammeMembership.membership_id))
    )
    return [(one, programme) for one, programme in session.execute(wanted)]


def load_shares(session: Session, subject_id: int) -> dict[str, Share]:
    """Return what a person's standing acts of final windows are in each programme, as things are now."""
    programmes = load.load_programme_rules(session)
    last = load.load_last_final(session)
    acts = load.load_acts_of(session, subject_id, last=last)
    standing = acts.filter(pl.col("reversed_in").is_null())
    if programmes.is_empty() or standing.is_empty():
        return {}
    asked = label_places(standing).with_columns(
        release_id=pl.lit(NEXT_RELEASE, pl.Int64), last_window=pl.lit(last, pl.Int64)
    )
    mine = load.load_memberships(session, subject_id)
    own = load.load_own(session, programmes, first=1, last=last, subject_id=subject_id)
    taken = take(asked, programmes, mine, own).filter(pl.col("programme") != "")
    summed = taken.group_by("programme").agg(acts=pl.len(), mg=pl.col("mg").sum())
    return {name: Share(acts=int(acts), mg=int(mg)) for name, acts, mg in summed.iter_rows()}


def forget_memberships(session: Session, subject_id: int, *, now: datetime) -> None:
    """Let an erased person leave everything, and take them out of their memberships: the rows stay and lead to nobody."""
    for row, _ in load_memberships_of(session, subject_id):
        if row.left_at is None:
            leave_programme(session, subject_id, row.programme_id, now=now)
        row.subject_id = None
    session.flush()


def membership_digest(membership_id: str) -> str:
    """Return a membership's random id as leaves name it."""
    return sha256(f"membership_id:{membership_id}".encode()).hexdigest()


def describe_membership(row: ProgrammeMembership) -> dict[str, Any]:
    """Return a membership as its person sees it."""
    return {
        "programme": row.programme_id, "joined_at": row.joined_at.isoformat(),
        "left_at": None if row.left_at is None else row.left_at.isoformat(),
    }  # fmt: skip


def _log(session: Session, row: ProgrammeMembership, what: str, now: datetime) -> None:
    fields = {"what": what, "membership": membership_digest(row.membership_id)}
    log_change(session, Kind.MEMBERSHIP_CHANGED, f"{row.membership_id}:{what}", now, fields)
