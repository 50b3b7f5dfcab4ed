"""Pool held grams of everybody who allows it into blocks of one tonne. I/O: the database, in the caller's transaction.

One run is all or nothing: blocks, shares, entries and leaves commit together. Runs of one market follow one another, so its
serials are dense; what others reserve at the same moment waits at the balances.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl
from sqlalchemy import func
from sqlalchemy.orm import Session
from sqlmodel import col, select

from consent.clients import load_client
from consent.tables import OAuthClient
from hub.changes import log_changes
from hub.clearing.windows import join_open_window
from hub.db import append_frame, lock, next_sequence
from hub.errors import Conflict, NotFound, UsageProblem
from hub.ledger.store import append_entries
from hub.log.commitments import KEY_BYTES
from hub.log.leaves import Kind
from hub.market import pooling
from hub.market.allowing import load_allowed, load_held
from hub.market.blocks import State
from hub.market.tables import CreditBlock, CreditIssuance
from hub.participants import require_active
from standards.uses import Use, UseRules, load_use_rules

SCOPE = "grams:pool"
MOST_BLOCKS = 1_000
"""Of one run: its transaction holds the balances of everybody who allows it, and the next run goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to pool: acts of one calendar year or of any; at most so many blocks."""

    year: int | None = None
    most: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pooled:
    """What a run made; nothing where no year has a whole tonne."""

    issuances: tuple[CreditIssuance, ...] = ()
    blocks: tuple[CreditBlock, ...] = ()


def require_pooler(session: Session, participant: str, client_id: str | None = None) -> str:
    """Return the client to whom people allow that an active participant pools their grams.

    Raises:
        NotAdmitted: the participant does not take part.
        NotFound: it has no such client. Conflict: it has several; say which.
    """
    require_active(session, participant)
    if client_id is not None:
        client = load_client(session, client_id)
        if client is None or client.participant != participant or SCOPE not in client.scopes:
            raise NotFound(f"{participant} has no such client with the scope {SCOPE}")
        return client_id
    wanted = select(OAuthClient).where(
        col(OAuthClient.participant) == participant, col(OAuthClient.suspended_at).is_(None)
    )
    found = [row.client_id for row in session.scalars(wanted) if SCOPE in row.scope.split()]
    if not found:
        raise NotFound(f"{participant} has no client with the scope {SCOPE}; see `clients register`")
    if len(found) > 1:
        raise Conflict(f"{participant} has {len(found)} clients with the scope {SCOPE}; name one with --client")
    return found[0]


def pool(
    session: Session, *, participant: str, client_id: str, wanted: Wanted, now: datetime, rules: UseRules | None = None
) -> Pooled:
    """Take the oldest acts of everybody who allows this client to pool them, whole tonnes of a calendar year only.

    What is left over never leaves people's balances. Durable when the caller's transaction commits.

    Args:
        client_id: what `require_pooler` gave, in this transaction.

    Raises:
        UsageProblem: the year or the number of blocks cannot be.
    """
    rules = rules or load_use_rules()
    _require_wanted(wanted)
    window_id = join_open_window(session)
    lock(session, f"market:{participant}")
    rights = rules.rights_of(Use.RETIRE)
    held = load_held(session, client_id)
    if wanted.year is not None:
        held = held.filter(pl.col("vintage") // 10_000 == wanted.year)
    usable = pooling.usable_of(held, load_allowed(session, client_id, held, now=now), rights)
    pieces = pooling.cut_into_blocks(usable, most=min(wanted.most or MOST_BLOCKS, MOST_BLOCKS))
    if pieces.is_empty():
        return Pooled()
    shares = pooling.shares_of(pieces, rights)
    count = int(shares["block"].max()) + 1  # type: ignore[arg-type]
    numbers = next_sequence(session, "block", count)
    serials = _next_serials(session, participant, count)
    salts = secrets.token_bytes(KEY_BYTES * len(shares))
    serial_of = shares["block"].replace_strict(range(count), serials, return_dtype=pl.Int64)
    commitments = pooling.commit_to(shares, serial_of, participant, salts)
    issuances = _issue(session, shares, serials, commitments, participant, client_id, rules, now)
    blocks = _add_blocks(session, shares, issuances, numbers, serials, now)
    _add_shares(session, shares, numbers, salts, commitments)
    posted = pooling.pool(pieces, shares, numbers, rights=rights, participant=participant, window_id=window_id)
    append_entries(session, *posted, now)
    log_changes(session, now, [(Kind.BLOCKS_POOLED, f"{row.issuance_id}", _leaf(row)) for row in issuances])
    return Pooled(issuances=tuple(issuances), blocks=tuple(blocks))


def _require_wanted(wanted: Wanted) -> None:
    if wanted.year is not None and not 2000 <= wanted.year <= 9000:
        raise UsageProblem("vintage_year: a calendar year such as 2026")
    if wanted.most is not None and not 0 < wanted.most <= MOST_BLOCKS:
        raise UsageProblem(f"most: between 1 and {MOST_BLOCKS:,} blocks")


def _next_serials(session: Session, participant: str, count: int) -> list[int]:
    """Return the serials that follow the market's last; the caller holds its lock."""
    wanted = select(func.max(col(CreditIssuance.serial_last))).where(col(CreditIssuance.participant) == participant)
    last = session.execute(wanted).scalar_one() or 0
    return list(range(last + 1, last + count + 1))


def _issue(
    session: Session, shares: pl.DataFrame, serials: Sequence[int], commitments: Sequence[bytes], participant: str,
    client_id: str, rules: UseRules, now: datetime,
) -> list[CreditIssuance]:  # fmt: skip
    """Add one issuance for each calendar year; shares lie in the order of blocks, and blocks in that of years."""
    years = shares.with_row_index("at").group_by(year=pl.col("vintage") // 10_000, maintain_order=True).agg(
        begin=pl.col("at").min(), end=pl.col("at").max() + 1, first=pl.col("block").min(), last=pl.col("block").max(),
        oldest=pl.col("vintage").min(), newest=pl.col("vintage").max(),
    )  # fmt: skip
    ids = next_sequence(session, "block", len(years))
    rows = [
        CreditIssuance(
            issuance_id=number, participant=participant, client_id=client_id, vintage_year=told["year"],
            serial_first=serials[told["first"]], serial_last=serials[told["last"]], first_vintage=told["oldest"],
            last_vintage=told["newest"], rules=rules.version,
            shares_root=pooling.root_of(commitments[told["begin"] : told["end"]]), created_at=now,
        )
        for number, told in zip(ids, years.iter_rows(named=True), strict=True)
    ]  # fmt: skip
    session.add_all(rows)
    session.flush()
    return rows


def _add_blocks(
    session: Session, shares: pl.DataFrame, issuances: Sequence[CreditIssuance], numbers: Sequence[int],
    serials: Sequence[int], now: datetime,
) -> list[CreditBlock]:  # fmt: skip
    blocks = []
    for issuance in issuances:
        for serial in range(issuance.serial_first, issuance.serial_last + 1):
            blocks.append(
                CreditBlock(
                    block_id=f"b_{secrets.token_urlsafe(16)}", number=numbers[serial - serials[0]],
                    issuance_id=issuance.issuance_id, participant=issuance.participant, serial=serial,
                    vintage_year=issuance.vintage_year, state=State.HELD, created_at=now, changed_at=now,
                )
            )  # fmt: skip
    session.add_all(blocks)
    session.flush()
    return blocks


def _add_shares(
    session: Session, shares: pl.DataFrame, numbers: Sequence[int], salts: bytes, commitments: Sequence[bytes]
) -> None:
    number = shares["block"].replace_strict(range(len(numbers)), numbers, return_dtype=pl.Int64).alias("number")
    salt = [salts[at : at + KEY_BYTES] for at in range(0, len(salts), KEY_BYTES)]
    rows = shares.drop("block").with_columns(
        number, salt=pl.Series(salt, dtype=pl.Binary), commitment=pl.Series(commitments, dtype=pl.Binary)
    )
    append_frame(session, "block_share", rows)


def _leaf(row: CreditIssuance) -> dict[str, object]:
    return {
        "participant": row.participant, "vintage_year": row.vintage_year, "serial_first": row.serial_first,
        "serial_last": row.serial_last, "rules": row.rules, "shares_root": row.shares_root,
    }  # fmt: skip
