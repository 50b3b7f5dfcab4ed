"""How fast leaves become durable and signed, as a ratio to hashing the same bytes. I/O: the database, the head file.

One figure is the rate from leaf bodies in memory to a committed checkpoint over them: the caller's transaction, the
assignment, the integration and the head file, each synced, per batch. The other is SHA-256 over the same bodies in the
same process. Their ratio is comparable between machines; the rates are not.
"""

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from time import perf_counter

from sqlalchemy import Engine

from hub.db import writing
from hub.log.leaves import Kind, Leaf
from hub.log.note import LogSigner
from hub.log.sequencer import Sequencer
from hub.log.store import append_leaves

_AT = datetime(2026, 1, 1, tzinfo=UTC)
_RAW_ROUNDS = 5
LEAF_BYTES = 213  # a typical leaf; the figure that is published for comparable logs uses the same size


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendFigure:
    """Both sides and their ratio."""

    leaves: int
    batch: int
    batches_per_checkpoint: int
    leaf_bytes: int
    appended_per_s: float
    hashed_per_s: float

    @property
    def ratio(self) -> float:
        """Return appended over hashed."""
        return self.appended_per_s / self.hashed_per_s


def measure_append(
    engine: Engine,
    head_file: Path,
    *,
    signer: LogSigner | None = None,
    batches: int = 200,
    batch: int = 1024,
    batches_per_checkpoint: int = 1,
) -> AppendFigure:
    """Append and sign `batches` x `batch` leaves to the log of this database, which must be empty.

    Args:
        signer: by default a key that is forgotten at the end.
        batch: leaves of one caller's transaction, each durable before the next begins.
        batches_per_checkpoint: how many of those transactions the sequencer finds waiting when it runs.
    """
    dice = random.Random(20260101)  # noqa: S311 - filler, not a secret
    bodies = [dice.randbytes(LEAF_BYTES) for _ in range(batches * batch)]
    leaves = [Leaf(kind=Kind.BATCH_RECEIVED, at=_AT, body=body) for body in bodies]
    hashed_s = min(_measure(lambda: [sha256(body).digest() for body in bodies]) for _ in range(_RAW_ROUNDS))
    signer = signer or new_signer()
    sequencer = Sequencer(engine, signer, head_file, max_leaves=batch * batches_per_checkpoint)
    sequencer.run_once(_AT)
    appended_s = _measure(lambda: _append_all(engine, sequencer, leaves, batch, batches_per_checkpoint))
    return AppendFigure(
        leaves=len(leaves),
        batch=batch,
        batches_per_checkpoint=batches_per_checkpoint,
        leaf_bytes=LEAF_BYTES,
        appended_per_s=len(leaves) / appended_s,
        hashed_per_s=len(leaves) / hashed_s,
    )


def new_signer() -> LogSigner:
    """Return a signer for a log that nobody will keep."""
    return LogSigner("bench.tanlian.example/log", os.urandom(32))


def _append_all(engine: Engine, sequencer: Sequencer, leaves: Sequence[Leaf], batch: int, per_checkpoint: int) -> None:
    for number, start in enumerate(range(0, len(leaves), batch), start=1):
        with writing(engine) as session:
            append_leaves(session, leaves[start : start + batch])
        if number % per_checkpoint == 0:
            sequencer.run_once(_AT)
    if sequencer.run_until_current(_AT).size != len(leaves):
        raise RuntimeError("the log does not hold what was appended")


def _measure(run: Callable[[], object]) -> float:
    begin = perf_counter()
    run()
    return perf_counter() - begin
