"""Reading the folders of signed file drops, wherever they lie. I/O: through the place (`drop_place.py`).

A drop is `<root>/<sequence>/` with its files, `manifest.json`, `manifest.sig` and, written last, an empty `.ok`.
Everything is checked (signature, chain, digests, row counts) before one row is handed on.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from connectors.base import SetAside
from connectors.profiles.drop_manifest import (
    MANIFEST,
    SIGNATURE,
    Manifest,
    ManifestFile,
    parse_manifest,
    require_place,
    require_signature,
)
from connectors.profiles.drop_place import DropPlace, DropReader, ReadFile
from connectors.profiles.drop_rows import ENDINGS, DroppedFile, Entry, Parse, is_named, parse_rows

_SEQUENCE = re.compile(r"[0-9]{1,10}")
_MAX_MANIFEST_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class DropSource:
    """Where drops lie, whose they must be, how large one may be, and what kind of files it has."""

    place: DropPlace
    platform: str
    stream: str
    keys: tuple[Ed25519PublicKey, ...] = field(repr=False)
    encoding: str = "utf-8"
    file_bytes: int = 64 * 1024 * 1024
    inflated_bytes: int = 256 * 1024 * 1024
    rows: int = 500_000
    parse: Parse = field(default=parse_rows, repr=False)  # an arrangement's may know a key
    endings: tuple[str, ...] = ENDINGS


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    sequence: int
    manifest: Manifest
    entries: tuple[Entry, ...]


def load_next(
    source: DropSource, sequence: int, *, previous: str | None, now: datetime, only: int | None = None
) -> Drop | None:
    """Read the drop of a sequence number, whole and checked; None while it is not there or still being written.

    Args:
        previous: SHA-256 of the manifest before, or None for the first drop.
        only: the one sequence number that a source may have at all.

    Raises:
        SetAside: the drop is not as its manifest says, or a later one is complete and this one was lost.
        RetryLater: the place cannot be read now.
        Stop: it is not the place that was agreed.
    """
    with source.place.open_reader() as reader:
        folder = _find_folder(reader, sequence)
        if folder is None:
            return None
        if only is not None and sequence != only:
            raise SetAside("drop_after_the_last")
        with reader.enter(folder) as read_file:
            return load_drop(source, read_file, sequence, previous=previous, now=now)


def load_drop(source: DropSource, read_file: ReadFile, sequence: int, *, previous: str | None, now: datetime) -> Drop:
    text = read_file(MANIFEST, _MAX_MANIFEST_BYTES)
    require_signature(text, read_file(SIGNATURE, 1024), source.keys)
    manifest = parse_manifest(text)
    require_place(
        manifest, platform=source.platform, stream=source.stream, sequence=sequence, previous=previous, now=now
    )
    if not all(is_named(file.name, source.endings) for file in manifest.files):
        raise SetAside("manifest_file_name")
    if sum(file.rows for file in manifest.files) > source.rows:
        raise SetAside("drop_too_many_rows")
    entries: list[Entry] = []
    for file in manifest.files:
        entries.extend(_load_file(source, read_file, file, first=len(entries)))
    return Drop(sequence=sequence, manifest=manifest, entries=tuple(entries))


def _find_folder(reader: DropReader, sequence: int) -> str | None:
    folders = list_sequences(reader)
    later = any(reader.is_ready(folder) for number, folder in folders.items() if number > sequence)
    folder = folders.get(sequence)
    if folder is None:
        if later:
            raise SetAside("sequence_gap")
        return None
    if not reader.is_ready(folder):
        if later:
            raise SetAside("drop_incomplete")
        return None
    return folder


def list_sequences(reader: DropReader) -> dict[int, str]:
    """Return the folders that are named by a number; whatever else lies there does not matter."""
    folders: dict[int, str] = {}
    for name in reader.list_folders():
        if not _SEQUENCE.fullmatch(name):
            continue
        if int(name) in folders:
            raise SetAside("sequence_twice")  # `7` and `007`: which of them was meant?
        folders[int(name)] = name
    return folders


def _load_file(source: DropSource, read_file: ReadFile, file: ManifestFile, *, first: int) -> Sequence[Entry]:
    data = read_file(file.name, source.file_bytes)
    if not hmac.compare_digest(hashlib.sha256(data).hexdigest(), file.sha256):
        raise SetAside("file_digest")
    dropped = DroppedFile(
        name=file.name,
        data=data,
        first=first,
        encoding=source.encoding,
        most_bytes=source.inflated_bytes,
        most_rows=file.rows,
    )
    entries: list[Entry] = []
    for entry in source.parse(dropped):
        if len(entries) == file.rows:
            raise SetAside("file_row_count")
        entries.append(entry)
    if len(entries) != file.rows:
        raise SetAside("file_row_count")
    return entries
