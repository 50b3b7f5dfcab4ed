"""The background process: fetch, clear, seal, sign, tidy up. I/O: everything.

Every job is one bounded step that commits by itself and says whether it found work. Any number of workers may run; what
only one may do is guarded by leases and row locks, not by hoping that there is only one.

The log is signed in a thread of its own, so that no slow platform and no large window keeps a leaf from being provable in
time; and while the log is too far behind, jobs whose work needs leaves wait (ADR 0038).
"""

import secrets
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta

import structlog

from consent.purge import purge_ended
from consent.withdraw import expire_due
from hub.api.repeats import forget_answers
from hub.changes import log_consent_change
from hub.clearing.windows import find_open_window
from hub.context import Hub, make_watch
from hub.db import reading, writing
from hub.disputes.moving import follow_deadlines
from hub.disputes.moving import is_any_due as is_any_dispute_due
from hub.errors import Busy
from hub.exchange.hours import tell_hours
from hub.keys.rotation import let_due_keys_sign
from hub.log.keeping import LogKeeper
from hub.log.watch import State, find_watch
from hub.log.witnessing import Witnessing, connect_safely, load_policy
from hub.log_signing import log_signer
from hub.market import blocks
from hub.pipeline import clear_dirty, clear_sealed, seal_window
from hub.records.races import DATABASE_ERRORS, lost_a_race
from hub.rights.scrub import scrub_files
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
    enough for a provisional result or a checkpoint. A job that stands `apart` has a thread of its own while the worker runs;
    one that only `ends` something, or needs no leaf, goes on while the log is behind.
    """

    name: str
    run: Callable[[], bool]
    every: timedelta = timedelta(0)
    apart: bool = False
    ends: bool = False


class Worker:
    """Runs all jobs in turn until told to stop."""

    def __init__(self, hub: Hub, *, poll: timedelta = POLL) -> None:
        self.hub = hub
        self.name = f"worker-{secrets.token_hex(6)}"
        self.stopping = threading.Event()
        self._poll = poll
        watch = find_watch(hub.engine) or make_watch(hub.settings)
        watch.speaks = True
        self._log = LogKeeper(hub.engine, log_signer(hub), watch, hub.clock)
        self._witnessing = Witnessing(
            hub.engine, log_signer(hub), load_policy(hub.settings.witness_policy),
            connect_safely(allow_loopback=hub.settings.allow_loopback),
        )  # fmt: skip
        self._apart: frozenset[str] = frozenset()
        self._purge_at = hub.clock()
        self.jobs = (
            Job(name="fetch", run=self._fetch),
            Job(name="backfill", run=self._backfill),
            Job(name="clear", run=self._clear, every=SOON),
            Job(name="seal", run=self._seal, every=SOON),
            Job(name="clear_sealed", run=self._clear_sealed),
            Job(name="totals", run=self._totals, every=SELDOM),
            Job(name="hours", run=self._hours, every=SELDOM),
            Job(name="sign", run=self._log.step, every=hub.settings.log_sign_every, apart=True, ends=True),
            Job(name="witness", run=self._witness, every=SOON, apart=True, ends=True),
            Job(name="keys", run=self._keys, every=SELDOM, ends=True),
            Job(name="expire", run=self._expire, every=SELDOM, ends=True),
            Job(name="reservations", run=self._reservations, every=SOON),
            Job(name="blocks", run=self._blocks, every=SELDOM),
            Job(name="disputes", run=self._disputes, every=SELDOM),
            Job(name="give_back", run=self._give_back, every=SELDOM, ends=True),
            Job(name="webhooks", run=self._webhooks, every=SOON, ends=True),
        )
        self._next_run = dict.fromkeys((job.name for job in self.jobs), hub.clock())

    def run(self) -> None:
        """Work until `stopping` is set; a job whose failure time may heal is tried again on the next round."""
        log.info("worker_started", worker=self.name)
        apart = [job for job in self.jobs if job.apart]
        self._apart = frozenset(job.name for job in apart)
        with ThreadPoolExecutor(max(1, len(apart)), thread_name_prefix="apart") as pool:
            beside = [pool.submit(self._keep_on, job) for job in apart]
            for one in beside:
                one.add_done_callback(lambda _: self.stopping.set())
            try:
                while not self.stopping.is_set():
                    if not self.round():
                        self.stopping.wait(self.hub.settings.worker_idle.total_seconds())
            finally:
                self.stopping.set()
        self._apart = frozenset()
        log.info("worker_stopped", worker=self.name)
        for one in beside:
            one.result()

    def round(self) -> bool:
        """Run each job that is due once; returns whether any found work."""
        worked = False
        for job in self.jobs:
            if self.stopping.is_set():
                break
            if job.name in self._apart or self.hub.clock() < self._next_run[job.name]:
                continue
            if job.ends or not self._log_is_behind():
                worked |= self._do(job)
            self._next_run[job.name] = self.hub.clock() + job.every
        return worked

    def _do(self, job: Job) -> bool:
        try:
            return job.run()
        except Busy as busy:
            log.info("job_busy", job=job.name, reason=str(busy))
        except DATABASE_ERRORS as error:
            if not lost_a_race(error):
                raise
            # Rolled back whole: another transaction was faster, or two waited for each other.
            log.info("job_met_another", job=job.name)
        return False

    def _keep_on(self, job: Job) -> None:
        """Do one job in a thread of its own until the worker stops; a bug in it stops the worker, which raises it."""
        while not self.stopping.is_set():
            self._do(job)
            self.stopping.wait(job.every.total_seconds())

    def _log_is_behind(self) -> bool:
        """Tell whether leaves would be refused: then what needs some is not even begun, and no platform is asked."""
        standing = self._log.standing
        return standing is not None and standing.state in (State.STOPPED, State.REFUSED)

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

    def _hours(self) -> bool:
        return tell_hours(self.hub, now=self.hub.clock()) > 0

    def _witness(self) -> bool:
        return self._witnessing.step(self.hub.clock()) is not None

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
        now, purged = self.hub.clock(), False
        with writing(self.hub.engine) as session:
            changes = expire_due(session, now=now)
            for change in changes:
                log_consent_change(session, change, now, hub=self.hub)
            if now >= self._purge_at:
                purge_ended(session, now=now)
                purge_staff(session, now=now)
                forget_answers(session, now)
                self._purge_at = now + PURGE_EVERY
                purged = True
        if purged:
            scrub_files(self.hub.engine)
        return bool(changes)


def run_worker(hub: Hub, *, poll: timedelta = POLL) -> None:
    """Run one worker in this process until SIGTERM or SIGINT; the step in hand is finished first."""
    worker = Worker(hub, poll=poll)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.stopping.set())
    worker.run()
