"""shenzhen-transit: writes signed drops of card records into a directory, and has a sign-in. I/O: files, HTTP in.

A drop is a directory named by its number; its manifest names the files, chains to the manifest before, and is signed;
the empty `.ok` comes last, so that a drop without it is one that is still being written.
"""

import asyncio
import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hub.sandbox.platforms.faults import Fault, Faults
from hub.sandbox.platforms.site import DeliveryBook, Site, Tally, platform_app
from hub.sandbox.reports import Report

STREAM = "trips"
PAGE_ROWS = 5000
CARDS_FILE = "cards.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drop:
    sequence: int
    content: bytes
    lines: int
    manifest: bytes
    signature: str


class ShenzhenTransit:
    """The operator's side of the signed file drop profile."""

    def __init__(self, site: Site, root: Path, faults: Faults | None = None) -> None:
        self.site, self.root, self.faults, self.book = site, root, faults or Faults(), DeliveryBook()
        self.app = platform_app(site, self.faults, self.book, site.auth_server())
        self._key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(site.secrets["signing_key"]))

    async def deliver(self, part: int) -> Tally:
        """Write the drop of a part; parts must be dropped in order, because each drop names the one before."""
        rows = self.site.rows(part)
        written = await asyncio.to_thread(self._write, part, rows)
        for start in range(0, max(len(rows), 1), PAGE_ROWS):
            page = f"{STREAM}-{part:08d}-{start:08d}"  # as the profile names the pages of a drop
            self.book.note(page, part, rows[start : start + PAGE_ROWS])
        return Tally(deliveries=1, taken=int(written), rows=len(rows))

    def _write(self, part: int, rows: tuple[Report, ...]) -> bool:
        sequence = part + (1 if self.faults.take(Fault.SKIPPED_SEQUENCE) else 0)
        directory = self.root / f"{sequence:06d}"
        if (directory / ".ok").exists():
            return False  # what is dropped is dropped: a drop is never written over
        drop = self._drop(sequence, part, rows)
        directory.mkdir(parents=True, exist_ok=True)
        content = drop.content
        if self.faults.take(Fault.TAMPERED):
            content = content.replace(b'"deal_money":"', b'"deal_money":"9', 1)
        (directory / CARDS_FILE).write_bytes(content)
        (directory / "manifest.json").write_bytes(drop.manifest)
        (directory / "manifest.sig").write_text(drop.signature)
        (directory / ".ok").touch()
        return True

    def _drop(self, sequence: int, part: int, rows: tuple[Report, ...]) -> _Drop:
        lines = _card_lines(rows)
        if self.faults.take(Fault.DUPLICATES):
            lines = [line for line in lines for _ in range(2)]
        content = "".join(line + "\n" for line in lines).encode()
        described = {"name": CARDS_FILE, "sha256": hashlib.sha256(content).hexdigest(), "rows": len(lines)}
        written_at = self.site.reports.town.part_ends_at(part) + timedelta(hours=3)  # not the wall clock: same bytes
        manifest = {
            "platform": self.site.platform,
            "stream": STREAM,
            "sequence": sequence,
            "files": [described],
            "prev_manifest_sha256": self._manifest_before(part),
            "created_at": f"{written_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        }
        data = json.dumps(manifest, ensure_ascii=False, sort_keys=True, indent=1).encode()
        signed = data + b" " if self.faults.take(Fault.WRONG_SIGNATURE) else data
        signature = base64.b64encode(self._key.sign(signed)).decode()
        return _Drop(sequence=sequence, content=content, lines=len(lines), manifest=data, signature=signature)

    def _manifest_before(self, part: int) -> str | None:
        if part == 1:
            return None
        before = self.root / f"{part - 1:06d}" / "manifest.json"
        if not before.exists():
            raise PartOutOfOrderError(f"part {part - 1} is not dropped yet")
        return hashlib.sha256(before.read_bytes()).hexdigest()


class PartOutOfOrderError(Exception):
    """A part cannot be delivered before the one that comes first."""


def public_key_of(signing_key: str) -> str:
    """Return the base64 public key of a base64 Ed25519 private key."""
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(signing_key))
    return base64.b64encode(key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def _card_lines(rows: tuple[Report, ...]) -> list[str]:
    """Return the taps of all rides in the order of time, as the gates wrote them."""
    taps = [line for row in rows for line in row.lines]
    return sorted(taps, key=lambda line: (json.loads(line)["deal_date"], line))
