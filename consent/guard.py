"""Consent, asked at the act, for a whole batch at once. I/O: reads `grant_version` and `link`.

A row is allowed if one grant of its person, as it stands now, names the recipient, the platform, the purpose and the
behaviour, is active and in force at `now`, and covers the time of the act. Collecting also takes a link to the platform
that is active now. Nothing is a wildcard: an empty or unknown word never matches.

A Permit can only be made here. What it allows is true for the transaction it was made in; do not keep it.
"""

import json
from dataclasses import InitVar, dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.batches import among, epoch_us
from consent.grants import HUB, GrantState, Purpose, is_latest
from consent.tables import GrantVersion, Link

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
    REVOKED = "revoked"
    EXPIRED = "expired"
    PAUSED = "paused"
    NOT_STARTED = "not_started"
    PERIOD = "period"
    LINK_INACTIVE = "link_inactive"


RANKS = {refusal: rank for rank, refusal in enumerate(Refusal)}
ALLOWED = len(RANKS)
REASON_WORDS = pl.Series([refusal.value for refusal in Refusal], dtype=pl.String)
STATE_PLACES = {state.value: place for place, state in enumerate(GrantState)}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NEVER = -(2**62)  # before every time; never a real one

_MINT = object()


class PermitForged(TypeError):  # noqa: N818 - named by what happened
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


def permit(session: Session, *, purpose: Purpose, recipient: str, asked: pl.DataFrame, now: datetime) -> Permit:
    """Ask for a batch, in at most three queries.

    Args:
        recipient: who will have the data: `hub`, or a client id.
        asked: ASKED_SCHEMA, one line per row; `at` is the time of the act. A null never matches.
        now: aware UTC.
    """
    rows = asked.select(pl.col(name).cast(kind) for name, kind in ASKED_SCHEMA.items())
    subjects = rows["subject_id"].drop_nulls().unique().to_list()
    ranked = _rank(rows, _load_grants(session, subjects, recipient), purpose, now)
    if purpose is Purpose.COLLECT and recipient == HUB:
        ranked = _require_link(ranked, _load_links(session, subjects))
    ranked = _tell_other_recipient(session, ranked)
    refused = ranked.filter(pl.col("rank") < ALLOWED)
    return Permit(
        purpose=purpose,
        recipient=recipient,
        issued_at=now,
        allowed=ranked.filter(pl.col("rank") == ALLOWED).select("row", "grant_id"),
        refused=refused.select("row", reason=REASON_WORDS.gather(refused["rank"])),
        mint=_MINT,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grants:
    """Latest versions, a line each, and the sets they name: people share few distinct sets, so these stay short."""

    lines: pl.DataFrame
    purposes: list[frozenset[str]]
    behaviours: list[frozenset[str]]
    platforms: list[frozenset[str]]


def _load_grants(session: Session, subjects: list[int], recipient: str) -> _Grants:
    version = GrantVersion
    query = select(
        col(version.subject_id),
        col(version.grant_id),
        col(version.purposes),
        col(version.behaviours),
        col(version.platforms),
        col(version.state),
        epoch_us(session, col(version.valid_from)),
        epoch_us(session, col(version.valid_until)),
    ).where(among(session, col(version.subject_id), subjects), col(version.recipient) == recipient, is_latest())
    rows = session.execute(query).all()
    columns: list[tuple[Any, ...]] = list(zip(*rows, strict=True)) if rows else [()] * 8
    subject_ids, grant_ids, purposes, behaviours, platforms, states, begins, ends = columns
    numbered = [_number_sets(texts) for texts in (purposes, behaviours, platforms)]
    lines = pl.DataFrame(
        {
            "subject_id": pl.Series(subject_ids, dtype=pl.Int64),
            "grant_id": pl.Series(grant_ids, dtype=pl.String),
            "purposes": numbered[0][0],
            "behaviours": numbered[1][0],
            "platforms": numbered[2][0],
            "state": pl.Series([STATE_PLACES[state] for state in states], dtype=pl.Int8),
            "valid_from": pl.Series(begins, dtype=pl.Int64),
            "valid_until": pl.Series(ends, dtype=pl.Int64),
        }
    )
    return _Grants(lines=lines, purposes=numbered[0][1], behaviours=numbered[1][1], platforms=numbered[2][1])


def _number_sets(texts: tuple[str, ...]) -> tuple[pl.Series, list[frozenset[str]]]:
    numbers: dict[str, int] = {}
    column = pl.Series([numbers.setdefault(text, len(numbers)) for text in texts], dtype=pl.Int32)
    return column, [frozenset(json.loads(text)) for text in numbers]


def _rank(rows: pl.DataFrame, grants: _Grants, purpose: Purpose, now: datetime) -> pl.DataFrame:
    """Each row with its nearest grant and that grant's rank: the first check it fails, or ALLOWED."""
    pairs = rows.with_row_index("line").join(grants.lines, on="subject_id", how="left")
    now_us = (now - EPOCH) // timedelta(microseconds=1)
    state, begin, end = (_filled(pairs, name) for name in ("state", "valid_from", "valid_until"))
    at = pairs["at"].dt.epoch("us").fill_null(NEVER).to_numpy()
    fails = {
        Refusal.NO_GRANT: pairs["grant_id"].is_null().to_numpy(),
        Refusal.PLATFORM: ~_holds(pairs, "platforms", pairs["platform"], grants.platforms),
        Refusal.PURPOSE: ~_holds(pairs, "purposes", pl.repeat(purpose, len(pairs), eager=True), grants.purposes),
        Refusal.BEHAVIOUR: ~_holds(pairs, "behaviours", pairs["behaviour"], grants.behaviours),
        Refusal.REQUESTED: state == STATE_PLACES[GrantState.REQUESTED],
        Refusal.REVOKED: state == STATE_PLACES[GrantState.REVOKED],
        Refusal.EXPIRED: (state == STATE_PLACES[GrantState.EXPIRED]) | (end <= now_us),
        Refusal.PAUSED: state != STATE_PLACES[GrantState.ACTIVE],
        Refusal.NOT_STARTED: begin > now_us,
        Refusal.PERIOD: (at < begin) | (at >= end),
    }
    rank = np.select(list(fails.values()), [RANKS[refusal] for refusal in fails], default=ALLOWED)
    judged = pairs.select("line", "row", "subject_id", "platform", "grant_id", rank=pl.Series(rank, dtype=pl.Int64))
    if len(judged) == len(rows):
        return judged
    return judged.sort("line", "rank", "grant_id").unique("line", keep="last", maintain_order=True)


def _holds(pairs: pl.DataFrame, number: str, words: pl.Series, sets: list[frozenset[str]]) -> NDArray[np.bool_]:
    """Per pair: is the word in the grant's set? A table of sets by words; its last row and column refuse."""
    known = words.drop_nulls().unique().to_list()
    table = np.zeros((len(sets) + 1, len(known) + 1), dtype=np.bool_)
    for place, allowed in enumerate(sets):
        table[place, : len(known)] = [word in allowed for word in known]
    columns = words.replace_strict(known, range(len(known)), default=len(known), return_dtype=pl.Int32)
    looked_up: NDArray[np.bool_] = table[pairs[number].fill_null(len(sets)).to_numpy(), columns.to_numpy()]
    return looked_up


def _filled(pairs: pl.DataFrame, name: str) -> NDArray[np.int64]:
    return pairs[name].cast(pl.Int64).fill_null(NEVER).to_numpy()


def _load_links(session: Session, subjects: list[int]) -> pl.DataFrame:
    query = select(col(Link.subject_id), col(Link.platform)).where(
        among(session, col(Link.subject_id), subjects), col(Link.state) == "active", col(Link.valid_until).is_(None)
    )
    rows = [tuple(row) for row in session.execute(query.distinct())]
    return pl.DataFrame(rows, schema={"subject_id": pl.Int64, "platform": pl.String}, orient="row")


def _require_link(ranked: pl.DataFrame, links: pl.DataFrame) -> pl.DataFrame:
    linked = ranked.join(
        links.with_columns(linked=True), on=["subject_id", "platform"], how="left", maintain_order="left"
    )
    allowed = (pl.col("rank") == ALLOWED) & pl.col("linked").is_null()
    return linked.with_columns(rank=pl.when(allowed).then(RANKS[Refusal.LINK_INACTIVE]).otherwise("rank"))


def _tell_other_recipient(session: Session, ranked: pl.DataFrame) -> pl.DataFrame:
    """A person without a grant to this recipient may have one to another: a different reason, no different answer."""
    without = ranked.filter(pl.col("rank") == RANKS[Refusal.NO_GRANT])["subject_id"].drop_nulls().unique()
    if without.is_empty():
        return ranked
    query = select(col(GrantVersion.subject_id)).where(among(session, col(GrantVersion.subject_id), without.to_list()))
    others = list(session.scalars(query.distinct()))
    elsewhere = (pl.col("rank") == RANKS[Refusal.NO_GRANT]) & pl.col("subject_id").is_in(others)
    return ranked.with_columns(rank=pl.when(elsewhere).then(RANKS[Refusal.RECIPIENT]).otherwise("rank"))
