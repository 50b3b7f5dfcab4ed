"""The signer's own memory of what it signed last. I/O: one small file beside the key, apart from the database.

It is written and synced before the checkpoint is committed, so it is never behind what was published. It is what keeps
a restored backup or a second instance from signing another history: trusted, may not be restored from a backup, and
must not be lost (a missing file beside a log that is not empty stops the signer until an operator adopts the head).
Source of the idea: the compare-and-swap lock store of Sunlight.

Two slots of one block each are written in turn, each with its digest: a crash in a write leaves the other slot whole,
and one synced write is a quarter of the price of a new file, a rename and two syncs.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from hub.errors import IntegrityBroken
from hub.log.checkpoint import Checkpoint, parse_unverified
from hub.log.note import NoteError

_SLOT_BYTES = 4096
_SLOTS = 2


class HeadFile:
    """The last signed checkpoint, in a file; calls are serialised by the lock on the log's head."""

    def __init__(self, path: Path) -> None:
        """Take the file's place; its folder is made when the first checkpoint is stored."""
        self.path = path

    def load(self) -> Checkpoint | None:
        """Return what was signed last, or None if nothing ever was; IntegrityBroken if the file is damaged."""
        try:
            data = self.path.read_bytes()
        except FileNotFoundError:
            return None
        # A slot that does not read was being written when the process died: its checkpoint was never published.
        slots = [slot for slot in map(_parse_slot, _split(data)) if slot is not None]
        if not slots:
            raise IntegrityBroken(f"the log's head file is damaged: {self.path}")
        return max(slots, key=lambda checkpoint: checkpoint.size)

    def store(self, note: bytes) -> None:
        """Remember this checkpoint, durably on return; a crash leaves what was there or this one, whole."""
        slot = _format_slot(note)
        if not self.path.exists():
            self._create(slot)
            return
        at = self._older_slot() * _SLOT_BYTES
        with _opened(self.path, os.O_WRONLY) as file:
            _write(file, slot, at=at)
            os.fdatasync(file)

    def _older_slot(self) -> int:
        sizes = [-1 if slot is None else slot.size for slot in map(_parse_slot, _split(self.path.read_bytes()))]
        return sizes.index(min(sizes))

    def _create(self, slot: bytes) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(self.path.name + ".new")
        with _opened(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) as file:
            _write(file, slot.ljust(_SLOTS * _SLOT_BYTES, b"\x00"), at=0)
            os.fsync(file)
        os.replace(beside, self.path)
        with _opened(self.path.parent, os.O_RDONLY) as folder:  # the new name is in the folder, a file of its own
            os.fsync(folder)


@contextmanager
def _opened(path: Path, flags: int) -> Iterator[int]:
    file = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield file
    finally:
        os.close(file)


def _write(file: int, data: bytes, *, at: int) -> None:
    if os.pwrite(file, data, at) != len(data):
        raise OSError("the head file was not written whole")


def _split(data: bytes) -> list[bytes]:
    return [data[slot * _SLOT_BYTES : (slot + 1) * _SLOT_BYTES] for slot in range(_SLOTS)]


def _format_slot(note: bytes) -> bytes:
    content = note + sha256(note).hexdigest().encode()
    if len(content) > _SLOT_BYTES:
        raise ValueError("the checkpoint does not fit a slot of the head file")
    return content.ljust(_SLOT_BYTES, b"\x00")


def _parse_slot(slot: bytes) -> Checkpoint | None:
    content = slot.rstrip(b"\x00")
    note, digest = content[:-64], content[-64:]
    if sha256(note).hexdigest().encode() != digest:
        return None
    try:
        return parse_unverified(note)
    except NoteError:
        return None
