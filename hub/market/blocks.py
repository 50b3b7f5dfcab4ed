"""What becomes of blocks: frozen, pending offset, retired, or held again. I/O: the database, in the caller's transaction.

    held -> frozen -> pending_offset -> retired       frozen, pending_offset -> held: released, or out of time
                   -> retired                         where no other registry takes part in the use

A retirement is the end. Whoever acts on several blocks acts on all or on none. Source: CCER used for a quota are frozen in
their registry, marked as pending in the other, then retired (环办气候函〔2023〕237号).
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from hashlib import sha256
from typing import Any

import polars as pl
from sqlalchemy.orm import Session
from sqlmodel import col, select

from hub.changes import log_changes
from hub.clearing.windows import join_open_window
from hub.db import load_by_ids
from hub.errors import Conflict, NotFound, UsageProblem
from hub.ledger.store import append_entries
from hub.log.leaves import Kind
from hub.market import pooling
from hub.market.tables import CreditBlock
from hub.uses.reservations import PURPOSES
from standards.canonical import canonical_bytes

USUAL = timedelta(days=30)
"""How long a freeze lasts unless another time is asked for, and again from the moment of pending; the hub's own number."""
MOST = timedelta(days=180)
OFFSET = "quota_offset"
"""The purpose that another registry takes part in: it has to say that the offset is pending."""
BENEFICIARY_CHARS = 200
REFERENCE_CHARS = 120
MOST_AT_ONCE = 1_000


class State(StrEnum):
    """Where a block is; a retired one stays so."""

    HELD = "held"
    FROZEN = "frozen"
    PENDING_OFFSET = "pending_offset"
    RETIRED = "retired"


NEXT: Mapping[State, frozenset[State]] = {
    State.HELD: frozenset({State.FROZEN}),
    State.FROZEN: frozenset({State.PENDING_OFFSET, State.RETIRED, State.HELD}),
    State.PENDING_OFFSET: frozenset({State.RETIRED, State.HELD}),
    State.RETIRED: frozenset(),
}


def freeze(
    session: Session, block_ids: Sequence[str], *, purpose: str, now: datetime, timeout: timedelta | None = None,
    participant: str | None = None,
) -> list[CreditBlock]:  # fmt: skip
    """Set held blocks aside for one use until they are retired, released or out of time.

    Args:
        purpose: one of `hub.uses.reservations.PURPOSES`.
        participant: whose blocks they have to be; None: anybody's, for an operator.

    Raises:
        NotFound, Conflict, UsageProblem: nothing was changed, of no block.
    """
    if purpose not in PURPOSES:
        raise UsageProblem(f"purpose: one of {', '.join(sorted(PURPOSES))}")
    ends = now + _require_timeout(timeout)
    blocks = _require_blocks(session, block_ids, participant, State.FROZEN, now)
    for block in blocks:
        block.purpose, block.expires_at = purpose, ends
    return _step(session, blocks, State.FROZEN, now)


def mark_pending(
    session: Session, block_ids: Sequence[str], *, reference: str, now: datetime, timeout: timedelta | None = None,
    participant: str | None = None,
) -> list[CreditBlock]:  # fmt: skip
    """Note that the other registry has taken frozen blocks up, under its number; the time begins anew.

    Raises:
        NotFound, Conflict, UsageProblem: as for `freeze`.
    """
    told = _require_line("reference", reference, REFERENCE_CHARS)
    ends = now + _require_timeout(timeout)
    blocks = _require_blocks(session, block_ids, participant, State.PENDING_OFFSET, now)
    for block in blocks:
        block.reference, block.expires_at = told, ends
    return _step(session, blocks, State.PENDING_OFFSET, now)


def retire(
    session: Session, block_ids: Sequence[str], *, beneficiary: str, now: datetime, reference: str | None = None,
    participant: str | None = None,
) -> list[CreditBlock]:  # fmt: skip
    """Use blocks for good: their people's grams go from issued to retired.

    Args:
        beneficiary: the enterprise or event that they are used for; never a person.
        reference: the number in the other registry, where it differs from the one that `mark_pending` told.

    Raises:
        NotFound, Conflict, UsageProblem: as for `freeze`; a block for a quota has to be pending first.
    """
    whom = _require_line("beneficiary", beneficiary, BENEFICIARY_CHARS)
    told = None if reference is None else _require_line("reference", reference, REFERENCE_CHARS)
    window_id = join_open_window(session)
    blocks = _require_blocks(session, block_ids, participant, State.RETIRED, now)
    for block in blocks:
        if block.purpose == OFFSET and block.state != State.PENDING_OFFSET:
            raise Conflict(
                f"block {serial_of(block)} is for a quota: the other registry has to mark it as pending first"
            )
    _post_retirement(session, blocks, window_id, now)
    for block in blocks:
        block.beneficiary, block.reference = whom, told or block.reference
        block.retired_at, block.expires_at = now, None
    return _step(session, blocks, State.RETIRED, now)


def release(
    session: Session, block_ids: Sequence[str], *, now: datetime, participant: str | None = None
) -> list[CreditBlock]:
    """Let blocks that were set aside be held again. One that is out of time can be released, too.

    Raises:
        NotFound, Conflict: as for `freeze`.
    """
    return _free(session, _require_blocks(session, block_ids, participant, State.HELD, now), now)


def expire_due(session: Session, *, now: datetime, limit: int = 500) -> int:
    """Release what was set aside and not retired in time; returns how many blocks."""
    wanted = (
        select(CreditBlock).where(_due(now)).order_by(col(CreditBlock.expires_at), col(CreditBlock.number)).limit(limit)
    )
    due = list(session.scalars(wanted.with_for_update(skip_locked=True)))
    _free(session, due, now)
    return len(due)


def is_any_due(session: Session, *, now: datetime) -> bool:
    """Say whether a block has run out of time that was not released yet."""
    return session.scalar(select(col(CreditBlock.number)).where(_due(now)).limit(1)) is not None


def serial_of(block: CreditBlock) -> str:
    """Return a serial as it is written: market, vintage year, number."""
    return write_serial(block.participant, block.vintage_year, block.serial)


def write_serial(participant: str, year: int, serial: int) -> str:
    """Return a serial as it is written."""
    return f"{participant}-{year}-{serial:09d}"


def find_block(session: Session, block_id: str, participant: str | None = None) -> CreditBlock:
    """Return a block. Raises NotFound: there is none, or it is another market's."""
    known = block_id.isascii() and block_id.isprintable()
    found = session.get(CreditBlock, block_id) if known else None
    if found is None or participant not in (None, found.participant):
        raise NotFound("there is no such block")
    return found


def load_blocks(
    session: Session, *, participant: str | None = None, state: State | None = None, year: int | None = None,
    after: int = 0, limit: int = 100,
) -> list[CreditBlock]:  # fmt: skip
    """Load blocks in the order of their numbers, those behind `after`."""
    wanted = select(CreditBlock).where(col(CreditBlock.number) > after)
    for column, value in (
        (col(CreditBlock.participant), participant), (col(CreditBlock.state), state), (col(CreditBlock.vintage_year), year),
    ):  # fmt: skip
        wanted = wanted if value is None else wanted.where(column == value)
    return list(session.scalars(wanted.order_by(col(CreditBlock.number)).limit(limit)))


def load_shares(session: Session, numbers: Sequence[int]) -> pl.DataFrame:
    """Load the shares of blocks: pooling.SHARE_SCHEMA, `block` is the place in `numbers`."""
    sql = (
        "SELECT number, line, subject_id, window_id, vintage, rights, offset_mg, mg FROM block_share "
        "WHERE number IN :ids ORDER BY number, line"
    )
    found = load_by_ids(session, sql, pooling.SHARE_SCHEMA, list(numbers))
    return found.with_columns(
        block=pl.col("block").replace_strict(list(numbers), range(len(numbers)), return_dtype=pl.Int64)
    )


def describe(block: CreditBlock) -> dict[str, Any]:
    """Return a block as its market sees it."""

    def time(at: datetime | None) -> str | None:
        return None if at is None else at.isoformat()

    return {
        "block_id": block.block_id, "serial": serial_of(block), "vintage_year": block.vintage_year,
        "mg": pooling.BLOCK_MG, "state": block.state, "purpose": block.purpose, "beneficiary": block.beneficiary,
        "reference": block.reference, "created_at": time(block.created_at), "changed_at": time(block.changed_at),
        "expires_at": time(block.expires_at), "retired_at": time(block.retired_at),
    }  # fmt: skip


def _require_timeout(timeout: timedelta | None) -> timedelta:
    told = USUAL if timeout is None else timeout
    if not timedelta(0) < told <= MOST:
        raise UsageProblem(f"timeout_s: between 1 and {int(MOST.total_seconds())}")
    return told


def _require_line(name: str, told: str, most: int) -> str:
    line = told.strip()
    # An export is opened in spreadsheets, which run a text that begins like a formula (OWASP, "CSV Injection").
    if not 0 < len(line) <= most or not line.isprintable() or line[0] in "=+-@":
        raise UsageProblem(f"{name}: one line of 1 to {most} printable characters that begins like a name")
    return line


def _require_blocks(
    session: Session, block_ids: Sequence[str], participant: str | None, to: State, now: datetime
) -> list[CreditBlock]:
    """Return blocks for changing them, in the order of their numbers so that no two callers wait for each other."""
    if not 0 < len(block_ids) <= MOST_AT_ONCE or len(set(block_ids)) < len(block_ids):
        raise UsageProblem(f"between 1 and {MOST_AT_ONCE} different blocks are changed at one time")
    for block_id in block_ids:
        find_block(session, block_id, participant)
    wanted = select(CreditBlock).where(col(CreditBlock.block_id).in_(block_ids)).order_by(col(CreditBlock.number))
    blocks = list(session.scalars(wanted.with_for_update().execution_options(populate_existing=True)))
    for block in blocks:
        if to not in NEXT[State(block.state)]:
            raise Conflict(f"block {serial_of(block)} is {block.state} and cannot become {to.value}")
        if to is not State.HELD and block.expires_at is not None and block.expires_at <= now:
            raise Conflict(f"block {serial_of(block)} is out of time; nothing was changed")
    return blocks


def _due(now: datetime) -> Any:
    aside = col(CreditBlock.state).in_([State.FROZEN, State.PENDING_OFFSET])
    return aside & (col(CreditBlock.expires_at) <= now)


def _free(session: Session, blocks: list[CreditBlock], now: datetime) -> list[CreditBlock]:
    for block in blocks:
        block.purpose, block.reference, block.expires_at = None, None, None
    return _step(session, blocks, State.HELD, now)


def _post_retirement(session: Session, blocks: list[CreditBlock], window_id: int, now: datetime) -> None:
    """Enter the retirement, of each market and purpose together."""
    by_use: dict[tuple[str, str], list[int]] = {}
    for block in blocks:
        by_use.setdefault((block.participant, str(block.purpose)), []).append(block.number)
    for (participant, purpose), numbers in sorted(by_use.items()):
        shares = load_shares(session, numbers)
        posted = pooling.retire(shares, numbers, purpose=purpose, participant=participant, window_id=window_id)
        append_entries(session, *posted, now)


def _step(session: Session, blocks: list[CreditBlock], to: State, now: datetime) -> list[CreditBlock]:
    for block in blocks:
        block.state, block.steps, block.changed_at = to, block.steps + 1, now
    session.flush()
    log_changes(session, now, [(Kind.BLOCK_CHANGED, f"{b.number}:{b.steps}", _leaf(b)) for b in blocks])
    return blocks


def _leaf(block: CreditBlock) -> dict[str, Any]:
    """Tell the log. For whom a block was retired is in the digest only, which is over the block's random id as well."""
    told = {
        "block": block.block_id, "state": block.state, "purpose": block.purpose or "",
        "beneficiary": block.beneficiary or "", "reference": block.reference or "",
    }  # fmt: skip
    return {
        "participant": block.participant, "vintage_year": block.vintage_year, "serial_first": block.serial,
        "serial_last": block.serial, "outcome": block.state, "block": sha256(canonical_bytes(told)).digest(),
        **({"purpose": block.purpose} if block.purpose else {}),
    }  # fmt: skip
