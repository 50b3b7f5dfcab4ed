"""Consent, asked at the act, for a whole batch at once. I/O: reads `grant_current`, `grant_terms`, `link`.

A row is allowed if one grant of its person, as it stands now, names the recipient, the platform, the purpose and the
behaviour, is active and in force at `now`, and covers the time of the act. Collecting also takes a link to the platform
that is active now. Nothing is a wildcard: an empty or unknown word never matches.

A Permit can only be made here. What it allows is true for the transaction it was made in; do not keep it.
"""

import json
from dataclasses import InitVar, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sqlalchemy import String, bindparam, exists, select
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.batches import Query, among, dialect_of, load_array, load_columns
from consent.grants import GrantState
from consent.guard_copy import EPOCH
from consent.tables import GrantCurrent, GrantTermsRow, Link
from consent.terms import HUB, Purpose

ASKED_SCHEMA: dict[str, Any] = {
    "row": pl.UInt32,
    "subject_id": pl.Int64,
    "platform": pl.String,
    "behaviour": pl.String,
    "at": pl.Datetime("us", "UTC"),
}
ALLOWED_SCHEMA: dict[str, Any] = {"row": pl.UInt32, "grant_id": pl.String}
REFUSED_SCHEMA: dict[str, Any] = {"row": pl.UInt32, "reason": pl.String}


class Refusal(StrEnum):
    """Why a row is refused, in order of nearness: the reason told is that of the grant which came nearest."""

    NO_GRANT = "no_grant"
    RECIPIENT = "recipient"
    PLATFORM = "platform"
    PURPOSE = "purpose"
    BEHAVIOUR = "behaviour"
    REQUESTED = "requested"
    REFUSED = "refused"
    REVOKED = "revoked"
    EXPIRED = "expired"
    PAUSED = "paused"
    NOT_STARTED = "not_started"
    PERIOD = "period"
    LINK_INACTIVE = "link_inactive"


RANKS = {refusal: rank for rank, refusal in enumerate(Refusal)}
ALLOWED = len(RANKS)
REASONS = np.array([refusal.value for refusal in Refusal], dtype=np.object_)
LINK_ACTIVE = "active"
STATE_PLACES = {state.value: place for place, state in enumerate(GrantState)}
NEVER = -(2**62)  # before every time; never a real one
NOBODY = 0  # never a subject id

_MINT = object()


class PermitForged(TypeError):
    """A permit was made somewhere else than in the guard."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Permit:
    """What may be done now, and with which rows. Reading and writing personal records takes one.

    `allowed` is a frame of ALLOWED_SCHEMA, `refused` one of REFUSED_SCHEMA; together they hold every row asked.
    """

    purpose: Purpose
    recipient: str
    issued_at: datetime
    allowed: pl.DataFrame
    refused: pl.DataFrame
    mint: InitVar[object] = None

    def __post_init__(self, mint: object) -> None:
        if mint is not _MINT:
            raise PermitForged("a permit is made by consent.guard.permit only")


def permit(
    session: Session, *, purpose: Purpose, recipient: str, asked: pl.DataFrame, now: datetime, hold: bool = False
) -> Permit:
    """Ask for a batch, in at most two queries (and one more for terms not met before).

    Args:
        recipient: who will have the data: `hub`, or a client id.
        asked: ASKED_SCHEMA, one line per row; `at` is the time of the act. A null never matches. What is collected for
            the hub comes from one platform at a time, as deliveries do.
        now: aware UTC.
        hold: let no grant that was asked change before this transaction ends, so that a withdrawal is in force at once:
            what was begun before it is stored before it, and what begins after it is refused. Only where the
            transaction writes, and is bounded: a withdrawal waits for it. On SQLite writers wait for each other anyway.
    """
    rows = _parse_rows(asked)
    people = rows.people[rows.people != NOBODY].tolist()
    collects = purpose is Purpose.COLLECT and recipient == HUB
    if collects and len(rows.platforms.known) > 1:
        raise ValueError("records are collected from one platform at a time")
    platform = rows.platforms.known[0] if collects and rows.platforms.known else None
    grants = _load_grants(session, people, recipient, platform, hold=hold)
    rank, grant = _rank(rows, grants, purpose, now)
    if collects and len(grants.linked):
        rank[(rank == ALLOWED) & ~grants.linked[grant]] = RANKS[Refusal.LINK_INACTIVE]
    without = rows.people[np.unique(rows.person[rank == RANKS[Refusal.NO_GRANT]])]
    if without.any():
        elsewhere = np.isin(rows.people, _load_others(session, without[without != NOBODY].tolist()))
        rank[(rank == RANKS[Refusal.NO_GRANT]) & elsewhere[rows.person]] = RANKS[Refusal.RECIPIENT]
    allowed = rank == ALLOWED
    return Permit(
        purpose=purpose,
        recipient=recipient,
        issued_at=now,
        allowed=pl.DataFrame(
            {"row": rows.names[allowed], "grant_id": grants.grant_ids[grant[allowed]]}, schema=ALLOWED_SCHEMA
        ),
        refused=pl.DataFrame({"row": rows.names[~allowed], "reason": REASONS[rank[~allowed]]}, schema=REFUSED_SCHEMA),
        mint=_MINT,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Words:
    """A column of words as places in a short list."""

    places: NDArray[np.int64]
    known: list[str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sets:
    """What a grant names."""

    purposes: frozenset[str]
    behaviours: frozenset[str]
    platforms: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """The batch as arrays. Polars would do the same, at a tenth of a millisecond per step: dear for a small batch."""

    names: NDArray[np.uint32]
    people: NDArray[np.int64]  # distinct, ordered
    person: NDArray[np.int64]  # each row's place in `people`
    platforms: _Words
    behaviours: _Words
    at: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grants:
    """Latest versions, ordered by person, and the sets they name: people share few distinct sets, so these are few."""

    subjects: NDArray[np.int64]
    grant_ids: NDArray[np.object_]
    states: NDArray[np.int64]
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    linked: NDArray[np.bool_]  # the person has a link in force to the platform that is collected from
    terms: NDArray[np.int64]  # place in `sets`
    sets: list[_Sets]


def _parse_rows(asked: pl.DataFrame) -> _Rows:
    subjects = _filled(_typed(asked["subject_id"], pl.Int64()), NOBODY)
    people, person = np.unique(subjects, return_inverse=True)
    return _Rows(
        names=_typed(asked["row"], pl.UInt32()).to_numpy(),
        people=people,
        person=person,
        platforms=_number_words(asked["platform"]),
        behaviours=_number_words(asked["behaviour"]),
        at=_filled(_typed(asked["at"], pl.Datetime("us", "UTC")).to_physical(), NEVER),
    )


def _typed(column: pl.Series, kind: pl.DataType) -> pl.Series:
    """A step of Polars takes longer than looking whether it is needed: a batch can be small."""
    return column if column.dtype == kind else column.cast(kind)


def _filled(column: pl.Series, default: int) -> NDArray[np.int64]:
    return (column.fill_null(default) if column.null_count() else column).to_numpy()


def _number_words(words: pl.Series) -> _Words:
    numbers: dict[str | None, int] = {}
    return _Words(
        places=np.array([numbers.setdefault(word, len(numbers)) for word in words.to_list()], dtype=np.int64),
        known=list(numbers),
    )


def _load_grants(session: Session, people: list[int], recipient: str, platform: str | None, *, hold: bool) -> _Grants:
    query, named = _grants_query(dialect_of(session), hold=hold), {"recipient": recipient, "platform": platform}
    found = load_array(session, query, people, named, _GRANT_FIELDS)
    found = found[np.argsort(found["subject_id"], kind="stable")]
    terms_ids, terms = np.unique(found["terms_id"], return_inverse=True)
    known = _load_sets(session, terms_ids.tolist())
    return _Grants(
        subjects=found["subject_id"],
        grant_ids=found["grant_id"],
        states=np.array([STATE_PLACES[state] for state in found["state"]], dtype=np.int64),
        begins=found["begin"],
        ends=found["end"],
        linked=found["linked"],
        terms=terms,
        sets=[known[terms_id] for terms_id in terms_ids.tolist()],
    )


_SETS: dict[int, _Sets] = {}  # by content, so that no entry can ever be out of date
_SETS_BOUND = 50_000


def _load_sets(session: Session, terms_ids: list[int]) -> dict[int, _Sets]:
    found = {terms_id: _SETS[terms_id] for terms_id in terms_ids if terms_id in _SETS}
    missing = [terms_id for terms_id in terms_ids if terms_id not in found]
    if missing:
        columns = load_columns(session, _sets_query(dialect_of(session)), missing)
        for terms_id, purposes, behaviours, platforms in zip(*columns, strict=True):
            found[terms_id] = _Sets(
                purposes=frozenset(json.loads(purposes)),
                behaviours=frozenset(json.loads(behaviours)),
                platforms=frozenset(json.loads(platforms)),
            )
        if len(_SETS) > _SETS_BOUND:
            _SETS.clear()
        _SETS.update(found)
    return found


def _rank(rows: _Rows, grants: _Grants, purpose: Purpose, now: datetime) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each row's rank (the first check that its nearest grant fails, or ALLOWED) and the place of that grant."""
    row, grant = _pair(rows, grants.subjects)
    terms, begin, end, state = grants.terms[grant], grants.begins[grant], grants.ends[grant], grants.states[grant]
    at, now_us = rows.at[row], (now - EPOCH) // timedelta(microseconds=1)
    named = np.array([purpose in one.purposes for one in grants.sets], dtype=np.bool_)
    platforms = [one.platforms for one in grants.sets]
    behaviours = [one.behaviours for one in grants.sets]
    fails = {
        Refusal.PLATFORM: ~_table(platforms, rows.platforms.known)[terms, rows.platforms.places[row]],
        Refusal.PURPOSE: ~named[terms],
        Refusal.BEHAVIOUR: ~_table(behaviours, rows.behaviours.known)[terms, rows.behaviours.places[row]],
        Refusal.REQUESTED: state == STATE_PLACES[GrantState.REQUESTED],
        Refusal.REFUSED: state == STATE_PLACES[GrantState.REFUSED],
        Refusal.REVOKED: state == STATE_PLACES[GrantState.REVOKED],
        Refusal.EXPIRED: (state == STATE_PLACES[GrantState.EXPIRED]) | (end <= now_us),
        Refusal.PAUSED: state != STATE_PLACES[GrantState.ACTIVE],
        Refusal.NOT_STARTED: begin > now_us,
        Refusal.PERIOD: (at < begin) | (at >= end),
    }
    ranks = np.select(list(fails.values()), [RANKS[refusal] for refusal in fails], default=ALLOWED)
    best = np.full(len(rows.names), RANKS[Refusal.NO_GRANT], dtype=np.int64)
    chosen = np.zeros(len(rows.names), dtype=np.int64)
    order = np.lexsort((grant, ranks)) if (row[1:] == row[:-1]).any() else slice(None)
    best[row[order]] = ranks[order]  # of several grants the last written stays: the highest rank
    chosen[row[order]] = grant[order]
    return best, chosen


def _pair(rows: _Rows, owners: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All pairs of a row and a grant of its person, as places, by row; `owners` is ordered."""
    first, last = np.searchsorted(owners, rows.people, side="left"), np.searchsorted(owners, rows.people, side="right")
    counts, first = (last - first)[rows.person], first[rows.person]
    row = np.repeat(np.arange(len(counts)), counts)
    grant = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(first, counts)
    return row, grant


def _table(sets: list[frozenset[str]], words: list[str | None]) -> NDArray[np.bool_]:
    """Which set holds which word; a null is in none."""
    table = np.zeros((len(sets), len(words)), dtype=np.bool_)
    for place, allowed in enumerate(sets):
        table[place] = [word in allowed for word in words]
    return table


def _load_others(session: Session, people: list[int]) -> list[int]:
    """Who of these has a grant to anybody: a different reason, no different answer."""
    return list(load_columns(session, _others_query(dialect_of(session)), people)[0])


_GRANT_FIELDS = (
    ("subject_id", np.int64),
    ("grant_id", np.object_),
    ("state", np.object_),
    ("begin", np.int64),
    ("end", np.int64),
    ("terms_id", np.int64),
    ("linked", np.bool_),
)


@cache
def _grants_query(dialect: str, *, hold: bool) -> Query:
    current = GrantCurrent
    query = select(
        col(current.subject_id),
        col(current.grant_id),
        col(current.state),
        col(current.valid_from_us),
        col(current.valid_until_us),
        col(current.terms_id),
        exists().where(
            col(Link.subject_id) == col(current.subject_id),
            col(Link.platform) == bindparam("platform", type_=String()),
            col(Link.state) == LINK_ACTIVE,
            col(Link.valid_until).is_(None),
        ),
    ).where(among(dialect, col(current.subject_id)), col(current.recipient) == bindparam("recipient"))
    # In the order of the key, so that no two of these wait for each other in a circle. SQLite knows no such lock.
    held = query.order_by(col(current.subject_id), col(current.recipient), col(current.grant_id))
    return held.with_for_update(read=True, of=current) if hold and dialect == "postgresql" else query


@cache
def _sets_query(dialect: str) -> Query:
    terms = GrantTermsRow
    columns = (col(terms.terms_id), col(terms.purposes), col(terms.behaviours), col(terms.platforms))
    return select(*columns).where(among(dialect, col(terms.terms_id)))


@cache
def _others_query(dialect: str) -> Query:
    return select(col(GrantCurrent.subject_id)).where(among(dialect, col(GrantCurrent.subject_id))).distinct()
