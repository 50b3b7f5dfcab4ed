"""What a witness remembers: its key, whom it trusts, and the last checkpoint of each log. I/O: files of one folder.

    witness.json   name and the trusted logs' verifier keys
    witness.key    the seed of its Ed25519 key, readable by nobody else
    state.json     by origin, the last cosigned checkpoint: size, root, note

The state is what a witness is worth. It is read, compared and replaced under one lock (of threads and of processes), and
on the disk before anything is answered. It is never made anew by itself: a witness whose state is lost could be shown
another history of the same log, so `load` refuses, and its key is to be retired. Copying the folder to a second machine
makes two witnesses with one name, which can be told two histories too: move it, do not copy it.
"""

import fcntl
import json
import os
import secrets
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hub.errors import Conflict, IntegrityBroken, UsageProblem
from hub.log.checkpoint import Checkpoint, parse_unverified
from hub.log.note import Algorithm, NoteError, VerifierKey, parse_vkey
from hub.log.witness_protocol import Cosigner

_CONFIG, _KEY, _STATE, _LOCK = "witness.json", "witness.key", "state.json", "lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """The last checkpoint of one log that was cosigned; size 0 before the first."""

    checkpoint: Checkpoint
    note: bytes


class WitnessFolder:
    """One witness's files."""

    def __init__(self, folder: Path, cosigner: Cosigner, logs: tuple[VerifierKey, ...]) -> None:
        """Take what was loaded; see `create` and `load`."""
        self.folder, self.cosigner, self.logs = folder, cosigner, logs
        self._threads = threading.Lock()

    def keys_of(self, origin: str) -> tuple[VerifierKey, ...]:
        """Return the trusted keys of a log, none if the log is not known."""
        return tuple(key for key in self.logs if key.name == origin)

    @contextmanager
    def holding(self) -> Iterator["HeldState"]:
        """Hold the state alone: whatever is compared with it is still true when it is replaced."""
        with self._threads, (self.folder / _LOCK).open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield HeldState(self.folder / _STATE)

    def load_last(self, origin: str) -> Remembered | None:
        """Return the last cosigned checkpoint of a log; the file is replaced whole, so no lock is needed."""
        return HeldState(self.folder / _STATE).load(origin)


class HeldState:
    """The state while it is held."""

    def __init__(self, path: Path) -> None:
        """Take the file's place."""
        self._path = path

    def load(self, origin: str) -> Remembered | None:
        """Return what was cosigned last of a log, or None if nothing ever was.

        Raises:
            IntegrityBroken: the file is missing or damaged; the witness must not go on.
        """
        told = _read(self._path).get(origin)
        if told is None:
            return None
        note = str(told["note"]).encode()
        checkpoint = parse_unverified(note)
        if (told["size"], told["root"]) != (checkpoint.size, b64encode(checkpoint.root).decode()):
            raise IntegrityBroken(f"the witness's state is damaged: {self._path}")
        return Remembered(checkpoint=checkpoint, note=note)

    def store(self, note: bytes) -> None:
        """Remember a checkpoint, durably on return; a crash leaves what was there or this, whole."""
        checkpoint = parse_unverified(note)
        told = _read(self._path)
        root = b64encode(checkpoint.root).decode()
        told[checkpoint.origin] = {"size": checkpoint.size, "root": root, "note": note.decode()}
        _replace(self._path, json.dumps(told, ensure_ascii=False, indent=1).encode() + b"\n")


def create(folder: Path, name: str, vkeys: list[str]) -> WitnessFolder:
    """Make a witness with a key of its own; raises Conflict if the folder has one already, UsageProblem."""
    if (folder / _CONFIG).exists():
        raise Conflict(f"{folder} holds a witness already")
    logs = _parse_logs(vkeys)
    seed = secrets.token_bytes(32)
    try:
        cosigner = Cosigner(name, seed)
    except NoteError as cause:
        raise UsageProblem(str(cause)) from None
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _replace(folder / _KEY, seed.hex().encode() + b"\n")
    _replace(folder / _STATE, b"{}\n")
    # Last: a folder without it holds no witness, whatever else a crash left there.
    _replace(folder / _CONFIG, _config(name, logs))
    return WitnessFolder(folder, cosigner, logs)


def load(folder: Path) -> WitnessFolder:
    """Return the witness of a folder.

    Raises:
        UsageProblem: there is none. IntegrityBroken: its state is lost or damaged: retire its key.
    """
    try:
        told = json.loads((folder / _CONFIG).read_bytes())
        seed = bytes.fromhex((folder / _KEY).read_text().strip())
        witness = WitnessFolder(folder, Cosigner(str(told["name"]), seed), _parse_logs(told["logs"]))
    except FileNotFoundError:
        raise UsageProblem(f"{folder} holds no witness; `tanlian witness init` makes one") from None
    except (ValueError, KeyError, TypeError, NoteError) as cause:
        raise UsageProblem(f"the witness in {folder} cannot be read: {cause}") from None
    for origin in {key.name for key in witness.logs}:
        witness.load_last(origin)
    return witness


def trust(folder: Path, vkey: str) -> WitnessFolder:
    """Let the witness cosign for one more log, or for a further key of a log that it knows."""
    witness = load(folder)
    (new,) = _parse_logs([vkey])
    if new in witness.logs:
        raise Conflict("this key is trusted already")
    logs = (*witness.logs, new)
    _replace(folder / _CONFIG, _config(witness.cosigner.verifier.name, logs))
    return WitnessFolder(folder, witness.cosigner, logs)


def _config(name: str, logs: tuple[VerifierKey, ...]) -> bytes:
    return json.dumps({"name": name, "logs": [key.to_vkey() for key in logs]}, ensure_ascii=False, indent=1).encode()


def _parse_logs(vkeys: list[str]) -> tuple[VerifierKey, ...]:
    try:
        keys = tuple(parse_vkey(vkey) for vkey in vkeys)
    except NoteError as cause:
        raise UsageProblem(f"the log's key: {cause}") from None
    if any(key.algorithm is not Algorithm.ED25519 for key in keys):
        raise UsageProblem("the log's key: a log signs with type 01, not with a witness's key")
    return keys


def _read(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise IntegrityBroken(f"the witness's state is lost ({path}): retire its key and make a new witness") from None
    except ValueError:
        raise IntegrityBroken(f"the witness's state is damaged: {path}") from None
    if not isinstance(told, dict):
        raise IntegrityBroken(f"the witness's state is damaged: {path}")
    return told


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_name(path.name + ".new")
    # Opened for the owner only from its first byte on: a key must not be readable in between.
    number = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(number, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, path)
    folder = os.open(path.parent, os.O_RDONLY)  # the new name is in the folder, which is a file of its own
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
