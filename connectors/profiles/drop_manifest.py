"""The manifest of a signed file drop: what it says, who signed it, what it follows. Pure.

`manifest.json` names the drop's files with their digests and row counts, its sequence number and the digest of the
manifest before it; `manifest.sig` is an Ed25519 signature over the manifest's bytes, in base64. So a lost, repeated,
reordered or changed drop shows, whoever may write to the folder.
"""

import hashlib
import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from connectors.base import SetAside
from connectors.config import ConfigError, decode_base64
from connectors.strict_json import MalformedJsonError, parse_object

MANIFEST, SIGNATURE, READY = "manifest.json", "manifest.sig", ".ok"
_MEMBERS = {"platform", "stream", "sequence", "files", "prev_manifest_sha256", "created_at"}
_FILE_MEMBERS = {"name", "sha256", "rows"}
# What an arrangement takes of these is its own affair (`DropSource.endings`).
# One path segment that begins with a letter or digit: no `..`, no `/`, no hidden file, no other drive.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,120}\.(csv|jsonl|parquet|xml|bin)(\.gz)?")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_FILES = 1000
_MAX_AHEAD = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestFile:
    name: str
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    platform: str
    stream: str
    sequence: int
    files: tuple[ManifestFile, ...]
    prev_manifest_sha256: str | None
    created_at: datetime
    sha256: str  # of the manifest's own bytes: what the next one names


def parse_public_key(text: str) -> Ed25519PublicKey:
    raw = decode_base64(text, most=32)
    if raw is None or len(raw) != 32:
        raise ConfigError("config: field 'public_keys' must hold Ed25519 keys of 32 bytes in base64")
    return Ed25519PublicKey.from_public_bytes(raw)


def require_signature(manifest: bytes, signature: bytes, keys: Sequence[Ed25519PublicKey]) -> None:
    """Raise unless one of the keys signed exactly these bytes. Two keys are valid while one is rotated."""
    try:
        raw = decode_base64(signature.decode("ascii").strip(), most=64)
    except UnicodeDecodeError:
        raw = None
    if raw is not None and len(raw) == 64:
        for key in keys:
            try:
                key.verify(raw, manifest)
            except InvalidSignature:
                continue
            return
    raise SetAside("manifest_signature")


def parse_manifest(data: bytes) -> Manifest:
    try:
        document = parse_object(data)
    except MalformedJsonError:
        raise SetAside("manifest_shape") from None
    if set(document) != _MEMBERS or not isinstance(document["files"], list) or len(document["files"]) > _MAX_FILES:
        raise SetAside("manifest_shape")
    previous = document["prev_manifest_sha256"]
    if previous is not None and not _is_digest(previous):
        raise SetAside("manifest_shape")
    if not isinstance(document["platform"], str) or not isinstance(document["stream"], str):
        raise SetAside("manifest_shape")
    files = tuple(_parse_file(entry) for entry in document["files"])
    if len({file.name.lower() for file in files}) != len(files):
        raise SetAside("manifest_repeated_name")
    return Manifest(
        platform=document["platform"],
        stream=document["stream"],
        sequence=_parse_count(document["sequence"]),
        files=files,
        prev_manifest_sha256=previous,
        created_at=_parse_time(document["created_at"]),
        sha256=hashlib.sha256(data).hexdigest(),
    )


def require_place(
    manifest: Manifest, *, platform: str, stream: str, sequence: int, previous: str | None, now: datetime
) -> None:
    """Raise unless the manifest is this platform's next one.

    A signed manifest of another stream or of last week is genuine, and still wrong here.
    """
    if manifest.platform != platform or manifest.stream != stream:
        raise SetAside("manifest_of_another_stream")
    if manifest.sequence != sequence:
        raise SetAside("manifest_sequence")
    told, expected = manifest.prev_manifest_sha256 or "", previous or ""
    if not hmac.compare_digest(told.encode(), expected.encode()):
        raise SetAside("chain_broken")
    if manifest.created_at > now + _MAX_AHEAD:
        raise SetAside("manifest_time_ahead")


def _parse_file(entry: Any) -> ManifestFile:
    if not isinstance(entry, dict) or set(entry) != _FILE_MEMBERS:
        raise SetAside("manifest_shape")
    if not isinstance(entry["name"], str) or not _NAME.fullmatch(entry["name"]):
        raise SetAside("manifest_file_name")
    if not _is_digest(entry["sha256"]):
        raise SetAside("manifest_shape")
    return ManifestFile(name=entry["name"], sha256=entry["sha256"], rows=_parse_count(entry["rows"]))


def _is_digest(value: Any) -> bool:
    return isinstance(value, str) and _SHA256.fullmatch(value) is not None


def _parse_count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**53:
        raise SetAside("manifest_shape")
    return value


def _parse_time(value: Any) -> datetime:
    try:
        parsed = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        raise SetAside("manifest_shape") from None
    if parsed.tzinfo is None:
        raise SetAside("manifest_shape")
    return parsed
