"""Keeps the log current: signs what waits, says how the log stands, never ends a worker. I/O: the database, the head file."""

import structlog
from sqlalchemy import Engine

from hub.clock import Clock
from hub.errors import IntegrityBroken
from hub.log.note import NoteSigner
from hub.log.sequencer import Sequencer, SequencingInterrupted
from hub.log.watch import LogWatch, Standing

log = structlog.get_logger(__name__)

RUNS_A_STEP = 16


class LogKeeper:
    """Sequences and signs in bounded steps, whatever else the worker waits for."""

    def __init__(self, engine: Engine, signer: NoteSigner, watch: LogWatch, clock: Clock) -> None:
        """Take what is signed with, and the watch whose head file remembers what was signed."""
        self.sequencer = Sequencer(engine, signer, watch.head_file)
        self.standing: Standing | None = None
        self._engine, self._watch, self._clock = engine, watch, clock
        self._refusal: str | None = None

    def step(self) -> bool:
        """Sign what waits; returns whether there was anything.

        A refusal is told once and tried again at the next step: only the database or the head file can end it, and the
        watch stops the hub meanwhile.
        """
        worked = self._sign()
        self.standing = self._watch.look(self._engine, self._clock())
        return worked

    def _sign(self) -> bool:
        try:
            done = self.sequencer.run_until_current(self._clock(), max_runs=RUNS_A_STEP)
        except SequencingInterrupted as interrupted:
            log.warning("log_interrupted", reason=type(interrupted.__cause__).__name__)
            return False
        except IntegrityBroken as refusal:
            if str(refusal) != self._refusal:
                log.error("log_not_signed", reason=str(refusal), look="tanlian log status")
            self._refusal = str(refusal)
            return False
        if self._refusal is not None:
            log.info("log_signed_again", size=done.size)
        self._refusal = None
        return done.assigned > 0 or done.integrated > 0 or done.more
