"""The platform's side of the signed file drop: write files, manifest, signature, and `.ok` last. I/O: files.

To be copied by a platform: it needs `cryptography`, and `pyarrow` only for Parquet. Each drop names the manifest before
it, so a writer keeps nothing but its folder: number and digest of the next drop follow from the last one that is there.

Example:
    writer = DropWriter(root=Path("outgoing"), platform="our-city", stream="acts", key=key)
    writer.write({"acts.jsonl": jsonl_file(rows)})
"""

import base64
import csv
import gzip
import hashlib
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

File = tuple[bytes, int]
"""A file as it is stored, and how many rows it has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DropWriter:
    """Writes the drops of one stream, one after the other. Only one process may write a stream."""

    root: Path
    platform: str
    stream: str
    key: Ed25519PrivateKey = field(repr=False)
    first_sequence: int = 1

    def write(self, files: Mapping[str, File], *, created_at: datetime | None = None) -> Path:
        """Write the next drop; returns its folder.

        A folder without `.ok` is what is left of an attempt that failed: it is finished here, under the same number.
        """
        last = self.find_last()
        sequence = self.first_sequence if last is None else last + 1
        previous = None if last is None else _digest((self.root / str(last) / "manifest.json").read_bytes())
        write_drop(
            self.root / str(sequence),
            files,
            platform=self.platform,
            stream=self.stream,
            sequence=sequence,
            previous=previous,
            created_at=created_at or datetime.now(UTC),
            key=self.key,
        )
        return self.root / str(sequence)

    def find_last(self) -> int | None:
        """Return the number of the last complete drop."""
        if not self.root.is_dir():
            return None
        names = [entry.name for entry in self.root.iterdir() if entry.name.isdecimal() and (entry / ".ok").exists()]
        return max((int(name) for name in names), default=None)


def write_drop(
    folder: Path,
    files: Mapping[str, File],
    *,
    platform: str,
    stream: str,
    sequence: int,
    previous: str | None,
    created_at: datetime,
    key: Ed25519PrivateKey,
) -> str:
    """Write one drop; `.ok` last, so that a reader never sees half of it.

    Args:
        previous: SHA-256 of the manifest before, or None for the first drop.

    Returns:
        SHA-256 of the manifest: `previous` of the next drop.
    """
    folder.mkdir(parents=True, exist_ok=True)
    listed = []
    for name, (data, rows) in files.items():
        _store(folder / name, data)
        listed.append({"name": name, "sha256": _digest(data), "rows": rows})
    document = {
        "platform": platform,
        "stream": stream,
        "sequence": sequence,
        "files": listed,
        "prev_manifest_sha256": previous,
        "created_at": created_at.isoformat(),
    }
    manifest = json.dumps(document, ensure_ascii=False, indent=1).encode()
    _store(folder / "manifest.json", manifest)
    _store(folder / "manifest.sig", base64.b64encode(key.sign(manifest)))
    _store(folder / ".ok", b"")
    return _digest(manifest)


def jsonl_file(rows: Iterable[Mapping[str, Any]], *, press: bool = False) -> File:
    """Make a file of JSON lines; write amounts as texts, so that 6.00 stays 6.00."""
    lines = [json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for row in rows]
    return _pressed(b"".join(lines), press), len(lines)


def csv_file(rows: Sequence[Mapping[str, str]], columns: Sequence[str], *, press: bool = False) -> File:
    """Make a CSV file (RFC 4180, UTF-8); every value is a text."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, extrasaction="raise", lineterminator="\r\n")
    writer.writeheader()
    writer.writerows(rows)
    return _pressed(text.getvalue().encode(), press), len(rows)


def parquet_file(table: Any) -> File:
    """Make a Parquet file of a pyarrow table: flat columns; decimals as decimal128, never as floats."""
    import pyarrow.parquet as pq

    data = io.BytesIO()
    pq.write_table(table, data, compression="zstd")
    return data.getvalue(), int(table.num_rows)


def _pressed(data: bytes, press: bool) -> bytes:
    return gzip.compress(data, mtime=0) if press else data


def _store(path: Path, data: bytes) -> None:
    """Write and flush to the disk: a manifest that survives a power failure must not name files that did not."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
