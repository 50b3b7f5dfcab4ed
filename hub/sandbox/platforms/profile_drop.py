"""The platform's side of the signed file drop profile: tables written into a directory. I/O: files.

A drop is a directory named by its number; its manifest names the files, chains to the manifest before, and is signed;
the empty `.ok` comes last, so that a drop without it is one that is still being written.
"""

import asyncio
import base64
import csv
import hashlib
import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.site import Front, Tally, Voice
from hub.sandbox.platforms.spec import Feed, Place
from hub.sandbox.reports import Report

PAGE_ROWS = 5000
SIGNING_KEY = "signing_key"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drop:
    sequence: int
    files: Mapping[str, bytes]
    manifest: bytes
    signature: str


class PartOutOfOrderError(Exception):
    """A part cannot be delivered before the one that comes first."""


class DropVoice(Voice):
    """Writes the rows of a part as one table, in the encoding of the platform's office.

    `told_stream` is the stream in manifests; `tampering` is what somebody changes in a drop, and into what.
    """

    numbers_versions = True
    told_stream = ""
    file_name = "table.csv"
    encoding = "utf-8"
    tampering = (b"2026", b"2025")

    def __init__(self, front: Front, stream: str = "") -> None:
        super().__init__(front, stream)
        # A platform's further feeds have a directory of their own: each is a chain by itself.
        self.directory = directory_of(self.site.drop_dir, stream)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(self.site.secrets[SIGNING_KEY]))

    def lines(self, rows: tuple[Report, ...]) -> list[str]:
        """Return the lines of the file, its header first if it has one. A day without rows has the header of any other."""
        written = [json.loads(row.body) for row in rows]
        headed = written or [
            json.loads(row.body) for row in self.site.reports.told_by(self.site.platform, stream=self.stream)[:1]
        ]
        return [*(_csv_line(list(row)) for row in headed[:1]), *(_csv_line(list(row.values())) for row in written)]

    def count(self, lines: Sequence[str]) -> int:
        """Return how many rows the lines are."""
        return max(len(lines) - 1, 0)

    def files(self, part: int, rows: tuple[Report, ...]) -> dict[str, tuple[bytes, int]]:
        """Return the files of a part's drop by name, each with its number of rows."""
        lines = self.lines(rows)
        content = "".join(line + "\n" for line in lines).encode(self.encoding)
        return {self.file_name: (content, self.count(lines))}

    async def deliver(self, part: int) -> Tally:
        """Write the drop of a part; parts must be dropped in order, because each drop names the one before."""
        rows = self.rows(part)
        written = await asyncio.to_thread(self._write, part, rows)
        for start in range(0, max(len(rows), 1), PAGE_ROWS):
            page = f"{self.told_stream}-{self.sequence_of(part):08d}-{start:08d}"  # as the profile names the pages of a drop
            self.book.note(page, part, rows[start : start + PAGE_ROWS])
        return Tally(deliveries=1, taken=int(written), rows=len(rows))

    def _write(self, part: int, rows: tuple[Report, ...]) -> bool:
        sequence = self.sequence_of(part) + (1 if self.faults.take(Fault.SKIPPED_SEQUENCE) else 0)
        directory = self.directory / f"{sequence:06d}"
        if (directory / ".ok").exists():
            return False  # what is dropped is dropped: a drop is never written over
        drop = self._drop(sequence, part, rows)
        directory.mkdir(parents=True, exist_ok=True)
        tampered = self.faults.take(Fault.TAMPERED)
        for name, content in drop.files.items():
            (directory / name).write_bytes(content.replace(*self.tampering, 1) if tampered else content)
        (directory / "manifest.json").write_bytes(drop.manifest)
        (directory / "manifest.sig").write_text(drop.signature)
        (directory / ".ok").touch()
        return True

    def _drop(self, sequence: int, part: int, rows: tuple[Report, ...]) -> _Drop:
        if self.faults.take(Fault.DUPLICATES):
            rows = tuple(row for row in rows for _ in range(2))
        files = self.files(part, rows)
        described = [
            {"name": name, "sha256": hashlib.sha256(content).hexdigest(), "rows": count}
            for name, (content, count) in files.items()
        ]
        written_at = self.site.reports.town.part_ends_at(part) + timedelta(hours=3)  # not the wall clock: same bytes
        manifest = {
            "platform": self.site.platform,
            "stream": self.told_stream,
            "sequence": sequence,
            "files": described,
            "prev_manifest_sha256": self._manifest_before(self.sequence_of(part)),
            "created_at": f"{written_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        }
        data = json.dumps(manifest, ensure_ascii=False, sort_keys=True, indent=1).encode()
        signed = data + b" " if self.faults.take(Fault.WRONG_SIGNATURE) else data
        signature = base64.b64encode(self._key.sign(signed)).decode()
        contents = {name: content for name, (content, _) in files.items()}
        return _Drop(sequence=sequence, files=contents, manifest=data, signature=signature)

    def sequence_of(self, part: int) -> int:
        """Return the number of a part's drop."""
        return part

    def _manifest_before(self, sequence: int) -> str | None:
        if sequence == 1:
            return None
        before = self.directory / f"{sequence - 1:06d}" / "manifest.json"
        if not before.exists():
            raise PartOutOfOrderError(f"part {sequence - 1} is not dropped yet")
        return hashlib.sha256(before.read_bytes()).hexdigest()


def _csv_line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


def directory_of(drop_dir: Path, stream: str) -> Path:
    """Return where a feed's drops lie; the first feed's stream is empty in reports."""
    return drop_dir / stream if stream else drop_dir


def drop_agreed(name: str) -> Callable[[Callable[[str], bytes]], dict[str, str]]:
    """Return what a platform that drops files keeps for signing, for `Spec.agreed`."""
    return lambda secret: {SIGNING_KEY: base64.b64encode(secret(f"{name}/sign")).decode()}


def drop_feed(
    voice: type[DropVoice], *, connector: str = "file_drop", role: str | None = None, drops: Sequence[str] = (),
    first: bool = True, **more: Any,
) -> Feed:  # fmt: skip
    """Return a feed of this profile; `first` says whether it is its platform's first."""
    stream = voice.told_stream
    # An arrangement of its own (card records) says its role and its encoding itself.
    own = {} if role is None else {"role": role, "drops": list(drops), "encoding": voice.encoding}

    def config(place: Place) -> dict[str, Any]:
        return {
            "root": str(directory_of(place.drop_dir, "" if first else stream)),
            "platform": place.platform,
            "stream": stream,
            "public_keys": [public_key_of(place.agreed[SIGNING_KEY])],
            "page_rows": PAGE_ROWS,
            **own,
            **more,
        }

    return Feed(stream=stream, connector=connector, voice=voice, config=config)


def public_key_of(signing_key: str) -> str:
    """Return the base64 public key of a base64 Ed25519 private key."""
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(signing_key))
    return base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()
