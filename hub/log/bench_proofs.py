"""How fast one leaf of a large log is proved and checked. I/O: the database, the head file.

The log is made as any other, by appending and signing, in batches that are forgotten at once: memory does not grow with
the leaves. Proofs are made from stored tiles for leaves drawn at random, each in a transaction of its own, and checked as
a stranger would: leaf bytes, proof file and public key.
"""

import random
import resource
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter

from sqlalchemy import Engine

from hub.db import reading, writing
from hub.log.bench import LEAF_BYTES
from hub.log.checkpoint import open_checkpoint
from hub.log.leaves import Kind, Leaf
from hub.log.merkle import leaf_hash
from hub.log.note import LogSigner
from hub.log.proofs import verify_consistency, verify_inclusion
from hub.log.sequencer import Sequencer
from hub.log.store import append_leaves, load_entry, load_head
from hub.log.stored_proofs import load_root_at, prove_growth, prove_leaf
from hub.log.tlogproof import parse_proof, verify_leaf

_AT = datetime(2026, 1, 1, tzinfo=UTC)
_BATCH = 65_536  # leaves of one transaction, and of one checkpoint
_SEED = 20260101


@dataclass(frozen=True, slots=True, kw_only=True)
class ProofFigure:
    """Times in milliseconds, of `proofs` leaves drawn at random from `leaves`; sizes in bytes."""

    leaves: int
    proofs: int
    built_per_s: float
    hashes: int
    proof_bytes: int
    inclusion_p50_ms: float
    inclusion_p99_ms: float
    consistency_p50_ms: float
    consistency_p99_ms: float
    verify_p50_ms: float
    verify_p99_ms: float
    hashing_only_p99_ms: float
    peak_memory_mib: int


def measure_proofs(
    engine: Engine,
    head_file: Path,
    signer: LogSigner,
    *,
    leaves: int,
    proofs: int,
    tell: Callable[[str, int, int], None] = lambda *_: None,
) -> ProofFigure:
    """Let the log of this database grow to so many leaves, then prove and check.

    Args:
        head_file, signer: with which the log was begun, if it was.
        tell: is told what is under way, how much of it is done, and how much there is.
    """
    sequencer = Sequencer(engine, signer, head_file, max_leaves=_BATCH)
    before = sequencer.run_until_current(_AT).size
    leaves = max(leaves, before)
    begin = perf_counter()
    _build(engine, sequencer, before, leaves, tell)
    built_s = perf_counter() - begin
    dice = random.Random(_SEED)  # noqa: S311 - draws leaves, keeps no secret
    times = _prove_leaves(engine, signer, [dice.randrange(leaves) for _ in range(proofs)], tell)
    growths = _prove_growths(engine, signer, dice, leaves, max(10, proofs // 10))
    return ProofFigure(
        leaves=leaves,
        proofs=proofs,
        built_per_s=round((leaves - before) / built_s),
        hashes=times.hashes,
        proof_bytes=times.proof_bytes,
        inclusion_p50_ms=_percentile(times.made, 50),
        inclusion_p99_ms=_percentile(times.made, 99),
        consistency_p50_ms=_percentile(growths, 50),
        consistency_p99_ms=_percentile(growths, 99),
        verify_p50_ms=_percentile(times.checked, 50),
        verify_p99_ms=_percentile(times.checked, 99),
        hashing_only_p99_ms=_percentile(times.hashed, 99),
        peak_memory_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    )


@dataclass(slots=True)
class _Times:
    """Seconds that each proof took to make, to check, and to check without its signature; the longest proof."""

    made: list[float] = field(default_factory=list)
    checked: list[float] = field(default_factory=list)
    hashed: list[float] = field(default_factory=list)
    hashes: int = 0
    proof_bytes: int = 0


def _prove_leaves(
    engine: Engine, signer: LogSigner, indexes: Sequence[int], tell: Callable[[str, int, int], None]
) -> _Times:
    times = _Times()
    for number, index in enumerate(indexes, start=1):
        with reading(engine) as session:
            entry = load_entry(session, index)
        if entry is None:
            raise RuntimeError("the log does not hold what was appended")
        begin = perf_counter()
        with reading(engine) as session:
            proof = prove_leaf(session, index)
        times.made.append(perf_counter() - begin)
        begin = perf_counter()
        checkpoint = verify_leaf(entry, proof, signer.verifier)
        times.checked.append(perf_counter() - begin)
        parsed = parse_proof(proof)
        begin = perf_counter()
        verify_inclusion(
            leaf=leaf_hash(entry), index=index, size=checkpoint.size, proof=parsed.hashes, root=checkpoint.root
        )
        times.hashed.append(perf_counter() - begin)
        times.hashes, times.proof_bytes = max(times.hashes, len(parsed.hashes)), max(times.proof_bytes, len(proof))
        tell("proofs", number, len(indexes))
    return times


def _build(
    engine: Engine, sequencer: Sequencer, before: int, leaves: int, tell: Callable[[str, int, int], None]
) -> None:
    for start in range(before, leaves, _BATCH):
        dice = random.Random(_SEED + start)  # noqa: S311 - filler, not a secret
        batch = [
            Leaf(kind=Kind.BATCH_RECEIVED, at=_AT, body=dice.randbytes(LEAF_BYTES))
            for _ in range(min(_BATCH, leaves - start))
        ]
        with writing(engine) as session:
            append_leaves(session, batch)
        sequencer.run_once(_AT)
        tell("leaves", start + len(batch), leaves)
    if sequencer.run_until_current(_AT).size != leaves:
        raise RuntimeError("the log does not hold what was appended")


def _prove_growths(engine: Engine, signer: LogSigner, dice: random.Random, leaves: int, count: int) -> list[float]:
    """Prove growth from older sizes drawn at random, and check each against the root of then."""
    times = []
    for _ in range(count):
        old_size = dice.randrange(leaves + 1)
        begin = perf_counter()
        with reading(engine) as session:
            hashes = prove_growth(session, old_size)
        times.append(perf_counter() - begin)
        with reading(engine) as session:
            head, old_root = load_head(session), load_root_at(session, old_size)
        if head is None or head.checkpoint is None:
            raise RuntimeError("the log has no checkpoint")
        newest = open_checkpoint(head.checkpoint, signer.verifier)
        verify_consistency(
            old_size=old_size, old_root=old_root, new_size=newest.size, new_root=newest.root, proof=hashes
        )
    return times


def _percentile(times: Sequence[float], percent: int) -> float:
    """Return the time in ms that so many percent of all do not exceed."""
    ordered = sorted(times)
    return round(ordered[min(len(ordered) - 1, len(ordered) * percent // 100)] * 1000, 3)
