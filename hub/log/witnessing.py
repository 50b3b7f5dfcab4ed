"""Asks the policy's witnesses to cosign the newest checkpoint. I/O: the database, network.

A round takes the newest checkpoint, asks every witness that is due about exactly it, at once and each within its time, and
keeps what they answered. The log is signed and served whatever witnesses do: a round runs beside the sequencer, holds no
lock while it waits, and a witness that fails is asked again later, less and less often.

A witness that knows a larger log than this database holds (`ahead`), or another root at a size (`forked`), says that the
log was rolled back or forked: that is no failure of the witness's, and an operator must look.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import structlog
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from sqlmodel import col, select

from connectors.base import ConnectorError
from connectors.net.egress import Answer, EgressLimits, Origin, SafeClient
from hub.db import lock, reading, writing
from hub.errors import UsageProblem
from hub.log.checkpoint import Checkpoint, parse_unverified
from hub.log.note import NoteError, NoteSigner, VerifierKey, open_note
from hub.log.policy import NOBODY, PolicyError, Witness, WitnessPolicy, parse_policy
from hub.log.store import load_checkpoint
from hub.log.stored_proofs import prove_growth
from hub.log.tables import LogWitness, LogWitnessed
from hub.log.witness_protocol import (
    MAX_ANSWER_BYTES,
    SIZE_TYPE,
    Cosignature,
    add_lines,
    find_cosignature,
    format_request,
    parse_size,
)

log = structlog.get_logger(__name__)

LIMITS = EgressLimits(connect_s=3.0, read_s=5.0, total_s=10.0, body_bytes=MAX_ANSWER_BYTES)
AT_ONCE = 8
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=2), timedelta(minutes=10)
AGAIN = timedelta(hours=1)
"""A witness says anew once in so long that it has seen nothing else, though the log did not grow."""
CLAIM = timedelta(seconds=30)
_TRIES = 3


class Problem(StrEnum):
    """Why a witness did not cosign."""

    UNREACHABLE = "unreachable"
    REFUSED_TARGET = "target_refused"
    UNKNOWN_LOG = "unknown_log"
    KEY_NOT_TRUSTED = "key_not_trusted"
    BAD_REQUEST = "bad_request"
    PROOF_REFUSED = "proof_refused"
    AHEAD = "ahead"
    FORKED = "forked"
    MOVING = "moving"
    WRONG_ANSWER = "wrong_answer"


_PROBLEMS = {
    "answer_refused": Problem.WRONG_ANSWER,
    **dict.fromkeys(("target_refused", "origin_unreadable", "origin_not_https", "redirected"), Problem.REFUSED_TARGET),
}
ALARMS = frozenset({Problem.AHEAD, Problem.FORKED, Problem.PROOF_REFUSED})


class Client(Protocol):
    """How a witness is reached: `SafeClient`, or a test's own."""

    def fetch(
        self, url: str, *, method: str = "GET", headers: dict[str, str] | None = None, content: bytes | None = None
    ) -> Answer: ...


Connect = Callable[[str], AbstractContextManager[Client]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What came of asking one witness; `size` is what it has cosigned by now, as far as it told."""

    witness: Witness
    size: int
    cosignature: Cosignature | None
    problem: Problem | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one round did."""

    size: int
    asked: tuple[Asked, ...]
    quorum: bool


def load_policy(path: Path | None) -> WitnessPolicy:
    """Return the policy of a file; without one nobody is asked. Raises UsageProblem."""
    if path is None:
        return NOBODY
    try:
        return parse_policy(path.read_bytes())
    except OSError as cause:
        raise UsageProblem(f"TANLIAN_WITNESS_POLICY: {path} cannot be read") from cause
    except PolicyError as cause:
        raise UsageProblem(f"TANLIAN_WITNESS_POLICY: {cause}") from cause


def connect_safely(*, allow_loopback: bool) -> Connect:
    """Return how to reach witnesses: by https at public addresses, as platforms are."""

    def connect(url: str) -> SafeClient:
        return SafeClient([Origin.parse(url, allow_loopback=allow_loopback)], limits=LIMITS)

    return connect


class Witnessing:
    """Runs rounds. Any number of processes may: each claims the witnesses that it asks."""

    def __init__(self, engine: Engine, signer: NoteSigner, policy: WitnessPolicy, connect: Connect) -> None:
        """Take the policy as it is now; witnesses without an address are never asked."""
        self._engine, self._signer, self._policy, self._connect = engine, signer, policy, connect
        self._asked = tuple(one for one in policy.witnesses if one.url is not None)

    def step(self, now: datetime) -> Round | None:
        """Ask whoever is due about the newest checkpoint; None if nobody is, or there is nothing to cosign."""
        if not self._asked:
            return None
        with reading(self._engine) as session:
            note = load_checkpoint(session)
            if note is None or not self._due(session, parse_unverified(note), now):
                return None
        with writing(self._engine) as session:
            lock(session, "log_witness")
            due = self._claim(session, parse_unverified(note), now)
        if not due:
            return None
        with ThreadPoolExecutor(max_workers=min(AT_ONCE, len(due)), thread_name_prefix="witness") as threads:
            asked = tuple(threads.map(lambda one: self._ask(note, *one), due))
        with writing(self._engine) as session:
            lock(session, "log_witness")
            quorum = self._keep(session, note, asked, now)
        for one in asked:
            _tell(one)
        return Round(size=parse_unverified(note).size, asked=asked, quorum=quorum)

    def _due(self, session: Session, checkpoint: Checkpoint, now: datetime) -> list[tuple[Witness, LogWitness | None]]:
        rows = {row.key: row for row in session.scalars(select(LogWitness))}
        pairs = [(one, rows.get(one.key.to_vkey())) for one in self._asked]
        return [(one, row) for one, row in pairs if row is None or _is_due(row, checkpoint, now)]

    def _claim(self, session: Session, checkpoint: Checkpoint, now: datetime) -> list[tuple[Witness, int]]:
        claimed = []
        for witness, row in self._due(session, checkpoint, now):
            if row is None:
                row = LogWitness(key=witness.key.to_vkey(), size=0, next_at=now, failures=0)
                session.add(row)
            row.next_at = now + CLAIM
            claimed.append((witness, row.size))
        return claimed

    def _ask(self, note: bytes, witness: Witness, known: int) -> Asked:
        """Ask one witness, and again from the size that it names; every outcome is a value."""
        size = parse_unverified(note).size
        try:
            with self._connect(witness.url or "") as client:
                for _ in range(_TRIES):
                    if known > size:
                        return Asked(witness=witness, size=known, cosignature=None, problem=Problem.AHEAD)
                    answer = self._post(client, witness, note, known, size)
                    if (moved := _named_size(answer)) is None:
                        return _judge(answer, witness, note, known, size)
                    known = moved
        except ConnectorError as error:
            problem = _PROBLEMS.get(error.reason, Problem.UNREACHABLE)
            return Asked(witness=witness, size=known, cosignature=None, problem=problem)
        return Asked(witness=witness, size=known, cosignature=None, problem=Problem.MOVING)

    def _post(self, client: Client, witness: Witness, note: bytes, known: int, size: int) -> Answer:
        with reading(self._engine) as session:
            proof = prove_growth(session, known, size=size)
        return client.fetch(
            f"{(witness.url or '').rstrip('/')}/add-checkpoint",
            method="POST",
            headers={"content-type": "text/plain; charset=utf-8"},
            content=format_request(old_size=known, proof=proof, note=note),
        )

    def _keep(self, session: Session, note: bytes, asked: Sequence[Asked], now: datetime) -> bool:
        checkpoint = parse_unverified(note)
        rows = {row.key: row for row in session.scalars(select(LogWitness))}
        for one in asked:
            row = rows[one.witness.key.to_vkey()]
            row.problem = None if one.problem is None else str(one.problem)
            if one.cosignature is None:
                row.size = one.size if one.problem is not Problem.AHEAD else row.size
                row.failures += 1
                row.next_at = now + min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(row.failures - 1, 12))
                continue
            row.size, row.root, row.line = checkpoint.size, checkpoint.root, one.cosignature.line
            row.failures, row.cosigned_at, row.next_at = 0, now, now
        session.flush()
        return self._keep_quorum(session, note, now)

    def _keep_quorum(self, session: Session, note: bytes, now: datetime) -> bool:
        """Keep the checkpoint with all its cosignatures if they are the quorum, and it is no older than what is kept."""
        checkpoint = parse_unverified(note)
        wanted = select(LogWitness).where(
            col(LogWitness.size) == checkpoint.size, col(LogWitness.root) == checkpoint.root
        )
        lines = [row.line for row in session.scalars(wanted.order_by(col(LogWitness.key))) if row.line is not None]
        whole = add_lines(note, lines)
        if not lines or not self._policy.is_met(_signers(whole, (*self._signer.verifiers, *self._policy.keys))):
            return False
        kept = session.get(LogWitnessed, 1)
        if kept is None:
            session.add(LogWitnessed(id=1, size=checkpoint.size, note=whole, at=now))
        elif kept.size <= checkpoint.size:
            kept.size, kept.note, kept.at = checkpoint.size, whole, now
        return True


def _is_due(row: LogWitness, checkpoint: Checkpoint, now: datetime) -> bool:
    if now < row.next_at:
        return False
    current = (row.size, row.root) == (checkpoint.size, checkpoint.root) and row.failures == 0
    return not current or row.cosigned_at is None or now >= row.cosigned_at + AGAIN


def _named_size(answer: Answer) -> int | None:
    """Return the size from which the witness wants the proof, if that is what it says."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip()
    if answer.status != 409 or kind != SIZE_TYPE:
        return None
    try:
        return parse_size(answer.body.decode("ascii").removesuffix("\n"))
    except UnicodeDecodeError:
        return None


def _judge(answer: Answer, witness: Witness, note: bytes, known: int, size: int) -> Asked:
    problems = {
        400: Problem.BAD_REQUEST,
        403: Problem.KEY_NOT_TRUSTED,
        404: Problem.UNKNOWN_LOG,
        # One size with two roots is 422 by the newer text and a conflict by the older.
        409: Problem.FORKED,
        422: Problem.FORKED if known == size else Problem.PROOF_REFUSED,
    }
    if answer.status != 200:
        problem = problems.get(answer.status, Problem.UNREACHABLE if answer.status >= 500 else Problem.WRONG_ANSWER)
        return Asked(witness=witness, size=known, cosignature=None, problem=problem)
    try:
        cosignature = find_cosignature(note, answer.body, witness.key)
    except NoteError:
        return Asked(witness=witness, size=known, cosignature=None, problem=Problem.WRONG_ANSWER)
    return Asked(witness=witness, size=size, cosignature=cosignature, problem=None)


def _signers(note: bytes, keys: tuple[VerifierKey, ...]) -> tuple[VerifierKey, ...]:
    try:
        return open_note(note, keys).signed_by
    except NoteError:
        return ()


def _tell(asked: Asked) -> None:
    if asked.problem is None:
        return
    tell = log.error if asked.problem in ALARMS else log.info
    tell("witness_did_not_cosign", witness=asked.witness.name, problem=str(asked.problem), size=asked.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class WitnessStanding:
    """How one witness of the policy stands: `behind` counts leaves that it has not cosigned."""

    name: str
    cosigned_at: datetime | None
    behind: int
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the policy stands: `witnessed_size` is what the quorum cosigned last, of a log of `size`."""

    size: int
    witnessed_size: int
    witnessed_at: datetime | None
    witnesses: tuple[WitnessStanding, ...]


def load_standing(session: Session, policy: WitnessPolicy) -> Standing:
    """Return what witnesses have cosigned so far."""
    note = load_checkpoint(session)
    size = 0 if note is None else parse_unverified(note).size
    rows = {row.key: row for row in session.scalars(select(LogWitness))}
    kept = session.get(LogWitnessed, 1)
    told = []
    for one in policy.witnesses:
        row = rows.get(one.key.to_vkey())
        cosigned = row.size if row is not None and row.line is not None else 0
        told.append(
            WitnessStanding(
                name=one.name, cosigned_at=row.cosigned_at if row else None, behind=max(0, size - cosigned),
                problem=row.problem if row else None,
            )
        )  # fmt: skip
    return Standing(
        size=size,
        witnessed_size=kept.size if kept else 0,
        witnessed_at=kept.at if kept else None,
        witnesses=tuple(told),
    )
