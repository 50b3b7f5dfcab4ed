"""The files of the key directory: one per key, never rewritten, set aside when retired. I/O: that directory.

kek-0002.key      a key; the number rises with each rotation and is never used twice
oauth-0002.waits  the key of that name is published but does not sign before this moment
oauth-0001.pub    the public half of a retired signing key: what it signed is verified for ever
retired/          keys that nothing needs any longer; kept, because a backup of the database may still need them
"""

import os
import secrets
from datetime import datetime
from pathlib import Path

RETIRED = "retired"
_NUMBER = "[0-9]" * 4


def list_names(directory: Path) -> tuple[str, ...]:
    """The names of everything that says which keys there are. A few microseconds: asked once a second."""
    return tuple(sorted(name for name in os.listdir(directory) if name.endswith((".key", ".waits", ".pub"))))


def key_paths(directory: Path, kind: str) -> list[Path]:
    """The files of one kind, oldest first."""
    return sorted(directory.glob(f"{kind}-{_NUMBER}.key"))


def next_key_id(directory: Path, kind: str) -> str:
    """The name of the next key of a kind. Retired ones count: what they sealed must not be taken for another key's."""
    used = [*key_paths(directory, kind), *key_paths(directory / RETIRED, kind)]
    return f"{kind}-{max((int(path.stem[-4:]) for path in used), default=0) + 1:04d}"


def load_waits(directory: Path) -> dict[str, datetime]:
    """Which keys do not sign yet, and until when."""
    return {path.stem: datetime.fromisoformat(path.read_text()) for path in directory.glob("*.waits")}


def write_waits(directory: Path, key_id: str, until: datetime) -> None:
    """Say that a key waits. Written before the key itself, so that nobody ever sees the key without it."""
    create_if_absent(directory / f"{key_id}.waits", until.isoformat().encode())


def end_waits(directory: Path, key_id: str) -> None:
    """Let a key sign from now on."""
    (directory / f"{key_id}.waits").unlink(missing_ok=True)
    sync_directory(directory)


def load_public(directory: Path) -> list[str]:
    """The public halves of retired signing keys, as JSON, oldest first."""
    return [path.read_text() for path in sorted(directory.glob("*.pub"))]


def keep_public(directory: Path, key_id: str, jwk: str) -> None:
    """Keep the public half of a key that is about to be retired. Durable on return."""
    create_if_absent(directory / f"{key_id}.pub", jwk.encode())


def set_aside(directory: Path, key_id: str) -> None:
    """Move a key to the retired ones. Destroying the file is left to the operator, who knows the age of the backups."""
    retired = directory / RETIRED
    retired.mkdir(mode=0o700, exist_ok=True)
    (directory / f"{key_id}.key").rename(retired / f"{key_id}.key")
    sync_directory(retired)
    sync_directory(directory)


def create_if_absent(path: Path, content: bytes) -> None:
    """Write a new file, whole or not at all; an existing one wins. Durable on return.

    Written beside and linked into place: two processes that start at once agree on one key, and a crash leaves no
    half-written key that would be read as a whole one.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(draft, path)
        except FileExistsError:
            return
        sync_directory(path.parent)
    finally:
        draft.unlink()


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
