"""A new key takes over while traffic flows. I/O: the key directory, the database.

The leaf is written before the key: a key is never in use that the log does not tell of, and a leaf of a key that was
never made harms nobody. Every step can be done again, so whatever dies half-way is finished by the same command.

    key-encryption   new key seals at once; everything older is sealed anew, in small transactions
    signing          new key is published, signs after the overlap (the worker sees to it) or at once
    attestation      the same, for the key of attestations and status lists
    log              new key signs beside the older ones until those are retired
    pairwise         new key is known to every process first, then names new records from one moment on
"""

import fcntl
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from joserfc.jwk import ECKey
from sqlalchemy.orm import Session
from sqlmodel import col, select

from consent.keyfiles import end_waits, keep_public, set_aside
from consent.keyring import ATTESTATION, KeyPurpose, draft_key, keep_key
from hub.changes import log_change
from hub.clearing.windows import hold_unfinished_windows
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import Conflict, NotFound
from hub.failpoints import failpoint
from hub.keys.columns import RING_COLUMNS, columns_to_reseal, count_others, count_sealed, count_waiting, reseal_some
from hub.log.leaves import Kind
from hub.log.note import LogSigner
from hub.log.tables import LogLeaf
from hub.records.naming import load_naming, use_key
from hub.sync.tables import ChangeLeaf

ROWS = 500
ROUNDS = 20
Progress = Callable[[int, int], None]


class KeyKind(StrEnum):
    """What can be rotated."""

    KEY_ENCRYPTION = "key-encryption"
    SIGNING = "signing"
    LOG = "log"
    PAIRWISE = "pairwise"
    ATTESTATION = "attestation"


FILES = {
    KeyKind.KEY_ENCRYPTION: "kek",
    KeyKind.SIGNING: "oauth",
    KeyKind.LOG: "log",
    KeyKind.PAIRWISE: f"hmac-{KeyPurpose.PAIRWISE}",
    KeyKind.ATTESTATION: ATTESTATION,
}
PUBLISHED = (KeyKind.SIGNING, KeyKind.ATTESTATION)
"""Keys whose public half verifies for ever what they signed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rotated:
    """The key that took over or will; `resumed` if a rotation that had begun before was finished."""

    key_id: str
    resumed: bool = False
    resealed: int = 0
    signs_at: datetime | None = None


def rotate_key_encryption(hub: Hub, *, settle: Callable[[], None], progress: Progress = lambda *_: None) -> Rotated:
    """Make a new key-encryption key and move everything to it; an unfinished rotation is finished, with no new key.

    Args:
        settle: waits until every process has taken the new key up: what is sealed with an older one before that is moved too.
        progress: is told how many values were moved and how many there are.

    Raises:
        Conflict: another rotation is under way, or values are sealed with an older key again and again.
    """
    with _alone(hub):
        hub.ring.refresh()
        resumed = _left(hub) > 0
        if not resumed:
            _add(hub, KeyKind.KEY_ENCRYPTION)
        moved, total = 0, _left(hub)
        for _ in range(ROUNDS):
            for step in _sweep(hub):
                moved += step
                progress(moved, max(total, moved))
            settle()
            if _left(hub) == 0:
                return Rotated(key_id=hub.ring.kek_id, resumed=resumed, resealed=moved)
        raise Conflict("a process goes on sealing with an older key; restart it, and give the same command again")


def rotate_signing(hub: Hub, *, at_once: bool, kind: KeyKind = KeyKind.SIGNING) -> Rotated:
    """Publish a new signing key. It signs after the overlap, when all who verify know it; at once only if asked.

    Args:
        kind: `signing`, or `attestation`.

    Raises:
        Conflict: another one waits already, and it is not asked to sign at once.
    """
    now = hub.clock()
    with _alone(hub):
        hub.ring.refresh()
        waits = {key: until for key, until in hub.ring.keys.waits.items() if key.startswith(f"{FILES[kind]}-")}
        if waits and not at_once:
            key_id, until = next(iter(waits.items()))
            raise Conflict(f"{key_id} is published and signs from {until:%Y-%m-%d %H:%M}Z; --now lets it sign at once")
        if waits:
            key_id = max(waits)
            _let_sign(hub, key_id, now)
            return Rotated(key_id=key_id, resumed=True, signs_at=now)
        signs_at = now if at_once else now + hub.settings.key_overlap
        key_id = _add(hub, kind, waits_until=None if at_once else signs_at)
        return Rotated(key_id=key_id, signs_at=signs_at)


def rotate_log(hub: Hub) -> Rotated:
    """Make a new log key; from the next checkpoint on it signs beside the older ones."""
    with _alone(hub):
        return Rotated(key_id=_add(hub, KeyKind.LOG))


def rotate_pairwise(hub: Hub, *, settle: Callable[[], None]) -> Rotated:
    """Name new records with a new key; what is stored keeps its name and is found by it.

    Args:
        settle: waits until every process has taken the new key up.
    """
    now = hub.clock()
    with _alone(hub):
        hub.ring.refresh()
        resumed = _pairwise_in_use(hub) != hub.ring.pairwise_keys[-1].key_id
        if not resumed:
            _add(hub, KeyKind.PAIRWISE)
        settle()
        key_id = hub.ring.pairwise_keys[-1].key_id
        with writing(hub.engine) as session:
            hold_unfinished_windows(session)  # no delivery is under way while the names change
            use_key(session, key_id, now)
            _tell(session, "in_use", key_id, now)
        return Rotated(key_id=key_id, resumed=resumed)


def let_due_keys_sign(hub: Hub) -> bool:
    """Let published keys sign whose overlap is over; for the worker. Returns whether there was one."""
    now = hub.clock()
    due = [key_id for key_id, until in hub.ring.keys.waits.items() if until <= now]
    for key_id in due:
        _let_sign(hub, key_id, now)
    return bool(due)


def retire_key(hub: Hub, key_id: str, *, at_once: bool) -> None:
    """Set a key aside that nothing needs any longer. The file is kept below `retired/` for backups of the database.

    Raises:
        NotFound: there is no such key.
        Conflict: it is in use, something hangs on it, or its successor has not been in use for the overlap yet.
    """
    now = hub.clock()
    with _alone(hub):
        hub.ring.refresh()
        kind, successor = _successor(hub, key_id)
        if kind is KeyKind.PAIRWISE:
            raise Conflict("records are known by names that this key made; without it they would count a second time")
        if kind is KeyKind.KEY_ENCRYPTION and (hanging := count_hanging(hub, key_id)):
            raise Conflict(f"{hanging:,} values are still sealed by {key_id}; finish with `keys rotate key-encryption`")
        since = _in_use_since(hub, successor)
        if not at_once and (since is None or now < since + hub.settings.key_overlap):
            raise Conflict(f"{successor} took over less than the overlap ago; --now does not wait")
        with writing(hub.engine) as session:
            _tell(session, "retired", key_id, now)
        if kind in PUBLISHED:
            published = [*hub.ring.published(), *hub.ring.published_for_attestations()]
            (public,) = [one for one in published if one["kid"] == key_id]
            keep_public(hub.ring.directory, key_id, json.dumps(public))
        set_aside(hub.ring.directory, key_id)
        hub.ring.refresh()


def count_hanging(hub: Hub, key_id: str) -> int:
    """Count all values that a key-encryption key sealed, also those that go by themselves."""
    with reading(hub.engine) as session:
        return sum(count_sealed(session, column, key_id) for column in RING_COLUMNS) + count_waiting(session, key_id)


@contextmanager
def _alone(hub: Hub) -> Iterator[None]:
    """One rotation at a time. The lock goes with the process that holds it, however it ends."""
    path = hub.ring.directory / ".rotation"
    with path.open("a") as file:
        path.chmod(0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict("another rotation is under way") from None
        yield


def _add(hub: Hub, kind: KeyKind, *, waits_until: datetime | None = None) -> str:
    draft = draft_key(hub.ring, FILES[kind])
    public = ""
    if kind is KeyKind.LOG:
        public = LogSigner(hub.settings.log_origin, bytes.fromhex(draft.content.decode())).vkey
    elif kind in PUBLISHED:
        public = ECKey.import_key(draft.content.decode()).thumbprint()
    with writing(hub.engine) as session:
        _tell(session, "added", draft.key_id, hub.clock(), public)
    # Dying here: the log tells of a key that nobody has. The next rotation makes another one under the same number.
    failpoint("keys.after_leaf")
    keep_key(hub.ring, draft, waits_until=waits_until)
    failpoint("keys.after_file")
    return draft.key_id


def _let_sign(hub: Hub, key_id: str, now: datetime) -> None:
    with writing(hub.engine) as session:
        _tell(session, "in_use", key_id, now)
    end_waits(hub.ring.directory, key_id)
    hub.ring.refresh()


def _tell(session: Session, what: str, key_id: str, now: datetime, public: str = "") -> None:
    """Append the leaf, once however often the step is done again. It carries the public half, so the log names its next key."""
    kind = next(kind for kind, files in FILES.items() if key_id.startswith(f"{files}-"))
    reference = f"{what}:{key_id}:{public[-16:]}"
    if session.get(ChangeLeaf, (str(Kind.KEY_ROTATED), reference)) is None:
        fields = {"purpose": str(kind), "what": what, "key": key_id} | ({"public": public} if public else {})
        log_change(session, Kind.KEY_ROTATED, reference, now, fields)


def _sweep(hub: Hub) -> Iterator[int]:
    """Move everything once, in small transactions; yields how many values each of them moved."""
    for column in columns_to_reseal():
        after = None
        while True:
            with writing(hub.engine) as session:
                after, count = reseal_some(session, hub.ring, column, after=after, limit=ROWS)
            failpoint("keys.after_rows")
            yield count
            if after is None:
                break


def _left(hub: Hub) -> int:
    with reading(hub.engine) as session:
        return sum(count_others(session, column, hub.ring.kek_id) for column in columns_to_reseal())


def _pairwise_in_use(hub: Hub) -> str:
    with reading(hub.engine) as session:
        return load_naming(session, hub.ring).current.key_id


def _successor(hub: Hub, key_id: str) -> tuple[KeyKind, str]:
    """Find the key that took over from this one; raises NotFound or Conflict."""
    ring = hub.ring
    known = {
        KeyKind.KEY_ENCRYPTION: ([key.key_id for key in ring.encryption], ring.kek_id),
        KeyKind.SIGNING: ([str(key.kid) for key in ring.oauth], str(ring.signing_key.kid)),
        KeyKind.LOG: ([key.key_id for key in ring.log_seeds], ring.log_seeds[-1].key_id),
        KeyKind.ATTESTATION: ([str(key.kid) for key in ring.keys.attestation], str(ring.attestation_key.kid)),
        KeyKind.PAIRWISE: ([key.key_id for key in ring.pairwise_keys], ""),
    }
    for kind, (key_ids, in_use) in known.items():
        if key_id in key_ids:
            if key_id == in_use or key_id in ring.keys.waits:
                raise Conflict(f"{key_id} is in use" if key_id == in_use else f"{key_id} has not signed yet")
            return kind, in_use
    raise NotFound(f"there is no key {key_id!r} that could be retired")


def _in_use_since(hub: Hub, key_id: str) -> datetime | None:
    """When a key took over: the last leaf that says so."""
    wanted = (
        select(col(LogLeaf.created_at))
        .join(ChangeLeaf, col(ChangeLeaf.leaf_id) == col(LogLeaf.leaf_id))
        .where(
            col(ChangeLeaf.kind) == str(Kind.KEY_ROTATED),
            col(ChangeLeaf.reference).like(f"added:{key_id}:%") | col(ChangeLeaf.reference).like(f"in_use:{key_id}:%"),
        )
        .order_by(col(LogLeaf.created_at).desc())
    )
    with reading(hub.engine) as session:
        return session.execute(wanted.limit(1)).scalar_one_or_none()
