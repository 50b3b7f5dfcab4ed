"""Reading and writing the folders of signed file drops. I/O: files below one root.

A drop is `<root>/<sequence>/` with its files, `manifest.json`, `manifest.sig` and, written last, an empty `.ok`.
Whoever uploads may be hostile: names are opened below the folder's own descriptor, links are not followed, only regular
files are read, and everything is checked (signature, chain, digests, row counts) before one row is handed on.
"""

import base64
import hashlib
import hmac
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from connectors.base import RetryLater, SetAside
from connectors.profiles.drop_manifest import (
    MANIFEST,
    READY,
    SIGNATURE,
    Manifest,
    ManifestFile,
    parse_manifest,
    require_place,
    require_signature,
)
from connectors.profiles.drop_rows import Entry, parse_rows

_SEQUENCE = re.compile(r"[0-9]{1,10}")
_MAX_MANIFEST_BYTES = 1024 * 1024
_RETRY_S = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class DropSource:
    """Where drops lie, whose they must be, and how large one may be."""

    root: Path
    platform: str
    stream: str
    keys: tuple[Ed25519PublicKey, ...] = field(repr=False)
    encoding: str = "utf-8"
    file_bytes: int = 64 * 1024 * 1024
    inflated_bytes: int = 256 * 1024 * 1024
    rows: int = 500_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    sequence: int
    manifest: Manifest
    entries: tuple[Entry, ...]


def find_next(source: DropSource, sequence: int) -> Path | None:
    """Find the folder of a sequence number if it is complete; None while nothing new is there.

    Raises:
        SetAside: a later drop is complete, so this one was lost or left half written.
        RetryLater: the root cannot be read now.
    """
    folders = _list_folders(source.root)
    later = any(_is_ready(folder) for number, folder in folders.items() if number > sequence)
    folder = folders.get(sequence)
    if folder is None:
        if later:
            raise SetAside("sequence_gap")
        return None
    if not _is_ready(folder):
        if later:
            raise SetAside("drop_incomplete")
        return None
    return folder


def load_drop(source: DropSource, folder: Path, sequence: int, *, previous: str | None, now: datetime) -> Drop:
    """Read one complete drop, whole and checked.

    Args:
        previous: SHA-256 of the manifest before, or None for the first drop.
    """
    with _opened(folder) as within:
        text = _read_file(within, MANIFEST, _MAX_MANIFEST_BYTES)
        require_signature(text, _read_file(within, SIGNATURE, 1024), source.keys)
        manifest = parse_manifest(text)
        require_place(
            manifest, platform=source.platform, stream=source.stream, sequence=sequence, previous=previous, now=now
        )
        if sum(file.rows for file in manifest.files) > source.rows:
            raise SetAside("drop_too_many_rows")
        entries: list[Entry] = []
        for file in manifest.files:
            entries.extend(_load_file(source, within, file, first=len(entries)))
    return Drop(sequence=sequence, manifest=manifest, entries=tuple(entries))


def write_drop(
    source: DropSource,
    sequence: int,
    files: Mapping[str, tuple[bytes, int]],
    *,
    previous: str | None,
    created_at: datetime,
    key: Ed25519PrivateKey,
) -> str:
    """Write a drop as a platform does; `.ok` last, so that a reader never sees half of it.

    Args:
        files: name -> bytes as stored, number of rows.

    Returns:
        SHA-256 of the manifest: `previous` of the next drop.
    """
    folder = source.root / str(sequence)
    folder.mkdir(parents=True)
    listed = []
    for name, (data, rows) in files.items():
        (folder / name).write_bytes(data)
        listed.append({"name": name, "sha256": hashlib.sha256(data).hexdigest(), "rows": rows})
    document = {
        "platform": source.platform,
        "stream": source.stream,
        "sequence": sequence,
        "files": listed,
        "prev_manifest_sha256": previous,
        "created_at": created_at.isoformat(),
    }
    manifest = json.dumps(document, ensure_ascii=False, indent=1).encode()
    (folder / MANIFEST).write_bytes(manifest)
    (folder / SIGNATURE).write_bytes(base64.b64encode(key.sign(manifest)))
    (folder / READY).touch()
    return hashlib.sha256(manifest).hexdigest()


def _load_file(source: DropSource, within: int, file: ManifestFile, *, first: int) -> Sequence[Entry]:
    data = _read_file(within, file.name, source.file_bytes)
    if not hmac.compare_digest(hashlib.sha256(data).hexdigest(), file.sha256):
        raise SetAside("file_digest")
    rows = parse_rows(file.name, data, encoding=source.encoding, first=first, most_bytes=source.inflated_bytes)
    entries: list[Entry] = []
    for entry in rows:
        if len(entries) == file.rows:
            raise SetAside("file_row_count")
        entries.append(entry)
    if len(entries) != file.rows:
        raise SetAside("file_row_count")
    return entries


def _list_folders(root: Path) -> dict[int, Path]:
    folders: dict[int, Path] = {}
    try:
        names = [entry.name for entry in os.scandir(root) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        raise RetryLater("root_unreadable", after_s=_RETRY_S) from None
    for name in names:
        if not _SEQUENCE.fullmatch(name):
            continue
        if int(name) in folders:
            raise SetAside("sequence_twice")  # `7` and `007`: which of them was meant?
        folders[int(name)] = root / name
    return folders


def _is_ready(folder: Path) -> bool:
    try:
        return stat.S_ISREG(os.lstat(folder / READY).st_mode)
    except FileNotFoundError:
        return False
    except OSError:
        raise RetryLater("root_unreadable", after_s=_RETRY_S) from None


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    try:
        within = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        raise RetryLater("root_unreadable", after_s=_RETRY_S) from None
    try:
        yield within
    finally:
        os.close(within)


def _read_file(within: int, name: str, most: int) -> bytes:
    # Not blocking, because a named pipe of that name would hold the worker until somebody writes to it.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=within)
    except FileNotFoundError:
        raise SetAside("file_missing") from None
    except OSError:
        raise SetAside("file_not_regular") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SetAside("file_not_regular")
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise SetAside("file_too_large")
    return data
