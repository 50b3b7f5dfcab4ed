"""The background process: fetch, clear, seal, sign, tidy up. I/O: everything.

Every job is one bounded step that commits by itself and says whether it found work. Any number of workers may run; what
only one may do is guarded by leases and row locks, not by hoping that there is only one.
"""

import secrets
import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

import structlog

from consent.purge import purge_ended
from consent.withdraw import expire_due
from hub.api.repeats import forget_answers
from hub.changes import log_consent_change
from hub.clearing.windows import find_open_window
from hub.context import Hub
from hub.db import reading, writing
from hub.disputes.moving import follow_deadlines
from hub.disputes.moving import is_any_due as is_any_dispute_due
from hub.errors import Busy
from hub.keys.rotation import let_due_keys_sign
from hub.log.sequencer import Sequencer
from hub.log_signing import log_signer
from hub.market import blocks
from hub.pipeline import clear_dirty, clear_sealed, seal_window
from hub.records.races import DATABASE_ERRORS, lost_a_race
from hub.staff.sessions import purge_staff
from hub.sync.cursors import Lane
from hub.sync.fetching import POLL, fetch_next
from hub.sync.giving_back import give_back
from hub.sync.webhooks import deliver_webhooks
from hub.totals.telling import update_totals
from hub.uses.reservations import expire_due as expire_due_reservations
from hub.uses.reservations import is_any_due

log = structlog.get_logger(__name__)

PURGE_EVERY = timedelta(minutes=10)
GROUPS_A_ROUND = 8
SOON = timedelta(seconds=1)
SELDOM = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One kind of step; `run` returns whether it found work.

    `every` is the shortest time between two runs: clearing and signing cost less for many at once, and a second is soon
    enough for a provisional result or a checkpoint.
    """

    name: str
    run: Callable[[], bool]
    every: timedelta = timedelta(0)


class Worker:
    """Runs all jobs in turn until told to stop."""

    def __init__(self, hub: Hub, *, poll: timedelta = POLL) -> None:
        self.hub = hub
        self.name = f"worker-{secrets.token_hex(6)}"
        self.stopping = threading.Event()
        self._poll = poll
        self._sequencer = Sequencer(hub.engine, log_signer(hub), hub.settings.keys_dir / "log-head")
        self._purge_at = hub.clock()
        self.jobs = (
            Job(name="fetch", run=self._fetch),
            Job(name="backfill", run=self._backfill),
            Job(name="clear", run=self._clear, every=SOON),
            Job(name="seal", run=self._seal, every=SOON),
            Job(name="clear_sealed", run=self._clear_sealed),
            Job(name="totals", run=self._totals, every=SELDOM),
            Job(name="sign", run=self._sign, every=SOON),
            Job(name="keys", run=self._keys, every=SELDOM),
            Job(name="expire", run=self._expire, every=SELDOM),
            Job(name="reservations", run=self._reservations, every=SOON),
            Job(name="blocks", run=self._blocks, every=SELDOM),
            Job(name="disputes", run=self._disputes, every=SELDOM),
            Job(name="give_back", run=self._give_back, every=SELDOM),
            Job(name="webhooks", run=self._webhooks, every=SOON),
        )
        self._next_run = dict.fromkeys((job.name for job in self.jobs), hub.clock())

    def run(self) -> None:
        """Work until `stopping` is set; a job whose failure time may heal is tried again on the next round."""
        log.info("worker_started", worker=self.name)
        while not self.stopping.is_set():
            if not self.round():
                self.stopping.wait(self.hub.settings.worker_idle.total_seconds())
        log.info("worker_stopped", worker=self.name)

    def round(self) -> bool:
        """Run each job that is due once; returns whether any found work."""
        worked = False
        for job in self.jobs:
            if self.stopping.is_set():
                break
            if self.hub.clock() < self._next_run[job.name]:
                continue
            try:
                worked |= job.run()
            except Busy as busy:
                log.info("job_busy", job=job.name, reason=str(busy))
            except DATABASE_ERRORS as error:
                if not lost_a_race(error):
                    raise
                # Rolled back whole: another transaction was faster, or two waited for each other.
                log.info("job_met_another", job=job.name)
            self._next_run[job.name] = self.hub.clock() + job.every
        return worked

    def _fetch(self) -> bool:
        """Read some links before the other jobs get their turn: clearing and signing cost less for many at once."""
        for done in range(GROUPS_A_ROUND):
            if self.stopping.is_set() or not self._fetch_some(Lane.FEED):
                return done > 0
        return True

    def _backfill(self) -> bool:
        """Read a little of the past in each round: it never stands before what is new."""
        return not self.stopping.is_set() and self._fetch_some(Lane.BACKFILL)

    def _fetch_some(self, lane: Lane) -> bool:
        return fetch_next(self.hub, self.name, poll=self._poll, lane=lane, most=self.hub.settings.links_a_group)

    def _clear(self) -> bool:
        return clear_dirty(self.hub, now=self.hub.clock()) > 0

    def _seal(self) -> bool:
        now = self.hub.clock()
        with reading(self.hub.engine) as session:
            window = find_open_window(session)
        if window is None or now < window.opened_at + self.hub.settings.window_length:
            return False
        seal_window(self.hub, now=now, window_id=window.window_id)
        return True

    def _clear_sealed(self) -> bool:
        return clear_sealed(self.hub, now=self.hub.clock()) is not None

    def _totals(self) -> bool:
        return bool(update_totals(self.hub, now=self.hub.clock()))

    def _sign(self) -> bool:
        done = self._sequencer.run_once(self.hub.clock())
        return done.assigned > 0 or done.more

    def _give_back(self) -> bool:
        return give_back(self.hub)

    def _webhooks(self) -> bool:
        return deliver_webhooks(self.hub)

    def _keys(self) -> bool:
        return let_due_keys_sign(self.hub)

    def _reservations(self) -> bool:
        now = self.hub.clock()
        with reading(self.hub.engine) as session:
            if not is_any_due(session, now=now):
                return False
        with writing(self.hub.engine) as session:
            return expire_due_reservations(session, now=now) > 0

    def _blocks(self) -> bool:
        now = self.hub.clock()
        with reading(self.hub.engine) as session:
            if not blocks.is_any_due(session, now=now):
                return False
        with writing(self.hub.engine) as session:
            return blocks.expire_due(session, now=now) > 0

    def _disputes(self) -> bool:
        now = self.hub.clock()
        with reading(self.hub.engine) as session:
            if not is_any_dispute_due(session, now=now):
                return False
        with writing(self.hub.engine) as session:
            return follow_deadlines(session, now) > 0

    def _expire(self) -> bool:
        now = self.hub.clock()
        with writing(self.hub.engine) as session:
            changes = expire_due(session, now=now)
            for change in changes:
                log_consent_change(session, change, now, hub=self.hub)
            if now >= self._purge_at:
                purge_ended(session, now=now)
                purge_staff(session, now=now)
                forget_answers(session, now)
                self._purge_at = now + PURGE_EVERY
        return bool(changes)


def run_worker(hub: Hub, *, poll: timedelta = POLL) -> None:
    """Run one worker in this process until SIGTERM or SIGINT; the step in hand is finished first."""
    worker = Worker(hub, poll=poll)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stopping.set())
    worker.run()
