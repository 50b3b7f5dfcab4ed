"""Whether anything may still happen: how far the log is behind, the alarm, and the refusal. I/O: reads the database and the
head file.

What happens must be provable soon. Two bounds say how soon: behind the first an operator is alarmed, behind the second
nothing more is accepted that needs a leaf. And a database that lacks what was signed (a restored backup) accepts nothing
at all: what is written there now would be lost with it. ADR 0038.

The watch is known to the engine, so that every transaction that appends a leaf finds it; an engine without one (a test's,
a benchmark's) is not watched. An outage of the signer alone never keeps the log from being read or signed again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from time import monotonic
from typing import Any

import structlog
from sqlalchemy import Engine, column, text
from sqlalchemy.orm import Session

from consent.types import UtcDateTime
from hub.db import reading
from hub.errors import Busy, IntegrityBroken
from hub.log.checkpoint import Checkpoint
from hub.log.head_file import HeadFile
from hub.log.leaves import Kind

log = structlog.get_logger(__name__)

_OPTION = "tanlian_log_watch"
_GOES_ON = "log_goes_on"
_TELL_AGAIN_S = 60.0
# The oldest of each part by its index, and not the minimum of all: this is asked while others wait.
_LOAD = text(
    "SELECT h.sequenced AS sequenced, h.size AS size, h.root AS root,"
    " (SELECT created_at FROM log_leaf WHERE first_index IS NULL ORDER BY leaf_id LIMIT 1) AS waiting_at,"
    " (SELECT created_at FROM log_leaf WHERE first_index >= h.size ORDER BY first_index LIMIT 1) AS given_at"
    " FROM (SELECT 1 AS id) AS one LEFT JOIN log_head h ON h.id = one.id"
).columns(
    column("sequenced"),
    column("size"),
    column("root"),
    column("waiting_at", UtcDateTime()),
    column("given_at", UtcDateTime()),
)
# What takes away, ends or mends goes on while the log is behind: who withdraws must not wait for a machine of ours.
_ENDINGS: Mapping[Kind, tuple[str, frozenset[str]]] = {
    Kind.CONSENT_CHANGED: ("what", frozenset({"grant.revoked", "grant.paused", "grant.refused", "grant.expired"})),
    Kind.LINK_CHANGED: ("what", frozenset({"link.revoked", "link.broken"})),
    Kind.CLIENT_CHANGED: ("what", frozenset({"client.deleted"})),
    Kind.PARTICIPANT_CHANGED: ("status", frozenset({"suspended"})),
}
_ALWAYS = frozenset({Kind.ATTESTATION_REVOKED, Kind.SUBJECT_ERASED, Kind.KEY_ROTATED})


class LogLagging(Busy):
    """The log is too far behind to accept more: what happens now would not be provable in time. Nothing was changed."""

    retry_after_s = 30


class State(StrEnum):
    """How the log stands, from good to bad."""

    CURRENT = "current"
    LATE = "late"  # the alarm
    STOPPED = "stopped"  # what needs a leaf is refused, but for endings
    REFUSED = "refused"  # the database is not the one that was signed: everything is refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How long a leaf may wait for its checkpoint before the alarm, and before nothing more is accepted."""

    alarm_after: timedelta
    stop_after: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the log stood at a moment; `lag` is how long the oldest leaf under no checkpoint has waited."""

    state: State
    oldest_at: datetime | None
    lag: timedelta
    reason: str | None = None


class LogWatch:
    """Knows the bounds and the signer's memory; one for each process and database."""

    def __init__(self, head_file: HeadFile, bounds: Bounds, *, look_again_s: float = 1.0) -> None:
        """Take what to compare with; a good answer holds for `look_again_s` of this process's time."""
        self.head_file = head_file
        self.bounds = bounds
        self.speaks = False  # whoever stays says to the operators' log how it stands; a command says it by its answer
        self._look_again_s = look_again_s
        self._good_until = -1.0
        self._told: tuple[State, float] = (State.CURRENT, 0.0)

    def look(self, engine: Engine, now: datetime) -> Standing:
        """Return how the log stands now, and tell the operators' log of a change for worse or better."""
        signed = self._load_signed()  # before the database: the file is never ahead of indexes that are given out
        with reading(engine) as session:
            return self._stand(session, signed, now)

    def require_open(self, session: Session, now: datetime, *, ending: bool) -> None:
        """Fail closed.

        Args:
            now: when the change happens. ending: it only takes away; the lag does not stop it.

        Raises:
            LogLagging: the log is too far behind, or not the one that was signed; the caller's transaction must end.
        """
        if monotonic() < self._good_until:
            return
        standing = self._stand(session, self._load_signed(), now)
        if standing.state is State.REFUSED:
            raise LogLagging(f"nothing is accepted: {standing.reason}; an operator has to look: `tanlian log status`")
        if standing.state is State.STOPPED and not ending:
            raise LogLagging(
                f"the interconnection log is {_words(standing.lag)} behind; nothing more is accepted until it has caught up"
                " (`tanlian worker` signs it, `tanlian log status` tells)"
            )
        if standing.state is not State.STOPPED:
            self._good_until = monotonic() + self._look_again_s

    def _load_signed(self) -> Checkpoint | IntegrityBroken | None:
        try:
            return self.head_file.load()
        except IntegrityBroken as damaged:
            return damaged

    def _stand(self, session: Session, signed: Checkpoint | IntegrityBroken | None, now: datetime) -> Standing:
        sequenced, size, root, waiting_at, given_at = session.execute(_LOAD).one()
        oldest_at = min((at for at in (waiting_at, given_at) if at is not None), default=None)
        lag = timedelta(0) if oldest_at is None else max(timedelta(0), now - oldest_at)
        reason = _why_refused(signed, sequenced=sequenced or 0, size=size or 0, root=root)
        if reason is not None:
            state = State.REFUSED
        elif lag > self.bounds.stop_after:
            state = State.STOPPED
        else:
            state = State.LATE if lag > self.bounds.alarm_after else State.CURRENT
        standing = Standing(state=state, oldest_at=oldest_at, lag=lag, reason=reason)
        self._tell(standing)
        return standing

    def _tell(self, standing: Standing) -> None:
        """Write a line when the state changes, and again each minute while it is not well."""
        before, told_at = self._told
        again = standing.state is not State.CURRENT and monotonic() >= told_at + _TELL_AGAIN_S
        if not self.speaks or (standing.state is before and not again):
            return
        self._told = (standing.state, monotonic())
        facts = {"lag_s": int(standing.lag.total_seconds()), "reason": standing.reason}
        match standing.state:
            case State.CURRENT:
                log.info("log_current", **facts)
            case State.LATE:
                log.warning("log_late", **facts)
            case _:
                log.error(f"log_{standing.state}", **facts)


def watch_log(engine: Engine, watch: LogWatch) -> None:
    """Let every transaction of this engine find the watch."""
    engine.update_execution_options(**{_OPTION: watch})


def find_watch(engine: Engine) -> LogWatch | None:
    """Return the engine's watch, if it has one."""
    watch: LogWatch | None = engine.get_execution_options().get(_OPTION)
    return watch


def let_end(session: Session) -> None:
    """Say that this transaction only ends or destroys (an erasure): whatever leaves it needs, the lag stops none."""
    session.info[_GOES_ON] = True


def require_log_open(session: Session, kind: Kind, now: datetime, fields: Mapping[str, Any]) -> None:
    """Fail closed before a leaf is appended: raises LogLagging where the engine is watched and the log is behind."""
    watch: LogWatch | None = session.get_bind().get_execution_options().get(_OPTION)
    if watch is not None:
        watch.require_open(session, now, ending=session.info.get(_GOES_ON, False) or is_ending(kind, fields))


def is_ending(kind: Kind, fields: Mapping[str, Any]) -> bool:
    """Tell whether what a leaf would say only takes away, ends or mends."""
    if kind in _ALWAYS:
        return True
    name, values = _ENDINGS.get(kind, ("", frozenset()))
    return fields.get(name) in values


def _why_refused(
    signed: Checkpoint | IntegrityBroken | None, *, sequenced: int, size: int, root: bytes | None
) -> str | None:
    """Say why the database cannot be the one that was signed; a host without a head file knows nothing of it."""
    match signed:
        case None:
            return None
        case IntegrityBroken():
            return str(signed)
    if signed.size > sequenced:
        return f"size {signed.size} of the log was signed and the database has {sequenced}: a restored backup?"
    if signed.size == size and root is not None and signed.root != root:
        return f"another root was signed at size {size} of the log"
    return None


def _words(lag: timedelta) -> str:
    minutes = int(lag.total_seconds()) // 60
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
