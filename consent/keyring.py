"""Keys of the installation: loaded from a directory outside the database, each named, the newest in use.

I/O: reads, and creates where absent, one file per key (directory 0700, files 0600). A key file is never rewritten:
a rotation adds the next number, and what an older key sealed or signed stays readable. Losing the directory loses
every sealed column; copying it beside a database backup would undo erasure.

A ring follows its directory: every process takes up a new key within a second, and at once when it meets a value that
a key sealed which it does not know. So a rotation needs no restart and fails no request. ADR 0013.
"""

import hmac
import json
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any

from joserfc.jwk import ECKey

from consent.errors import ConsentError
from consent.keyfiles import create_if_absent, key_paths, list_names, load_public, load_waits, next_key_id, write_waits
from consent.seal import SealedKey, SealError, key_id_of, open_sealed, seal

LOOK_EVERY_S = 1.0
ATTESTATION = "attestation"
SIGNING_KINDS = ("oauth", ATTESTATION)
"""Kinds of key files that hold an ES256 key; they are published before they sign, and stay published."""


class KeyPurpose(StrEnum):
    """What an HMAC key may be used for; one key never serves two purposes."""

    EVENT = "event-token"
    ACCOUNT = "account"
    PAIRWISE = "pairwise"
    SESSION = "session"
    SPENT = "spent"


class KeyRingError(ConsentError):
    """The key directory cannot be used; starting without it would seal with keys nobody can find again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """What the directory held when it was read. Each tuple is ordered oldest first."""

    names: tuple[str, ...]
    encryption: tuple[SealedKey, ...] = field(repr=False)
    hmac_keys: dict[KeyPurpose, tuple[SealedKey, ...]] = field(repr=False)
    log_seeds: tuple[SealedKey, ...] = field(repr=False)
    oauth: tuple[ECKey, ...] = field(repr=False)
    attestation: tuple[ECKey, ...] = field(repr=False)
    former: tuple[dict[str, Any], ...]
    waits: dict[str, datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A new key that is not kept yet."""

    key_id: str
    content: bytes = field(repr=False)


class KeyRing:
    """All keys of one installation, as they are now. Safe to share between threads: what was read is replaced whole."""

    def __init__(self, directory: Path, keys: Keys) -> None:
        self.directory = directory
        self._keys = keys
        self._looked_at = time.monotonic()

    def __repr__(self) -> str:
        return f"KeyRing({str(self.directory)!r}, {list(self._keys.names)})"

    @property
    def keys(self) -> Keys:
        """The keys of now, at most a second old. What must fit together is taken from one look."""
        # The monotonic clock measures a pause and is no time of day, which only hub/clock.py tells.
        if time.monotonic() - self._looked_at >= LOOK_EVERY_S:
            self._looked_at = time.monotonic()
            self._follow()
        return self._keys

    def refresh(self) -> None:
        """Read the directory now, whenever it was looked at last."""
        self._looked_at = time.monotonic()
        self._keys = _read_keys(self.directory)

    @property
    def encryption(self) -> tuple[SealedKey, ...]:
        return self.keys.encryption

    @property
    def kek_id(self) -> str:
        return self.keys.encryption[-1].key_id

    @property
    def log_seeds(self) -> tuple[SealedKey, ...]:
        """All of them sign each checkpoint; one that was replaced signs on until it is retired."""
        return self.keys.log_seeds

    @property
    def log_seed(self) -> bytes:
        """The newest 32-byte Ed25519 seed that signs checkpoints."""
        return self.keys.log_seeds[-1].secret

    @property
    def oauth(self) -> tuple[ECKey, ...]:
        """All published keys: the one that signs, those that signed before, and one that will."""
        return self.keys.oauth

    def published(self) -> list[dict[str, Any]]:
        """Public halves for /oauth/jwks: also of keys that are retired, for their receipts are still in people's hands."""
        return _published("oauth", self.keys.oauth, self.keys.former)

    def published_for_attestations(self) -> list[dict[str, Any]]:
        """Public halves for /.well-known/jwt-vc-issuer, also of retired keys: their statements are still in people's hands."""
        return _published(ATTESTATION, self.keys.attestation, self.keys.former)

    @property
    def signing_key(self) -> ECKey:
        """The ES256 key that signs as the hub now: receipts, exports. A newer one may be published and wait."""
        keys = self.keys
        return [key for key in keys.oauth if key.kid not in keys.waits][-1]

    @property
    def attestation_key(self) -> ECKey:
        """The ES256 key that signs attestations and their status lists now, and nothing else."""
        keys = self.keys
        return [key for key in keys.attestation if key.kid not in keys.waits][-1]

    @property
    def pairwise_keys(self) -> tuple[SealedKey, ...]:
        """Every key under which records may be known, oldest first; the database says which names new ones."""
        return self.keys.hmac_keys[KeyPurpose.PAIRWISE]

    def hmac_key(self, purpose: KeyPurpose) -> bytes:
        """The key of values that are computed again to be found: always the first, or nothing would be found again."""
        return self.keys.hmac_keys[purpose][0].secret

    def digest(self, purpose: KeyPurpose, *parts: str) -> bytes:
        """HMAC-SHA-256 of the parts, separated by 0x1f so that two splits of one text differ."""
        return hmac.digest(self.hmac_key(purpose), "\x1f".join(parts).encode(), "sha256")

    def seal(self, plaintext: bytes, associated: bytes) -> bytes:
        """Seal under the newest key-encryption key; for data keys and for columns that belong to no person."""
        return seal(self.keys.encryption[-1], plaintext, associated)

    def open(self, blob: bytes, associated: bytes) -> bytes:
        """Open what any key of this ring sealed. Raises SealError if the blob is not of this place or of this ring."""
        key_id = key_id_of(blob)
        key = _find(self.keys.encryption, key_id)
        if key is None:
            self._follow()  # another process may have begun to seal with a key that is younger than our last look
            key = _find(self._keys.encryption, key_id)
        if key is None:
            raise SealError("sealed by a key that this ring does not hold")
        return open_sealed(key, blob, associated)

    def _follow(self) -> None:
        """Read the directory again if it changed. One that cannot be read leaves the keys as they are."""
        try:
            if list_names(self.directory) != self._keys.names:
                self._keys = _read_keys(self.directory)
        except (OSError, KeyRingError):
            return  # a key was moved while we read, or the disk is away: what was loaded still works


def load_keyring(directory: Path) -> KeyRing:
    """Load every key below `directory`, creating the first of each kind where there is none."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.stat().st_mode & 0o077:
        raise KeyRingError(f"{directory} can be read by others; expected mode 0700")
    for kind in _kinds():
        _load_files(directory, kind, _new_ec_key if kind in SIGNING_KINDS else _new_secret)
    return KeyRing(directory, _read_keys(directory))


def draft_key(keyring: KeyRing, kind: str) -> Draft:
    """Make the next key of a kind (`kek`, `log`, `oauth`, `attestation` or `hmac-pairwise`) without keeping it.

    The other HMAC keys cannot be replaced: what they made is found by computing it again, and what it was made from is
    not kept.
    """
    rotatable = ("kek", "log", *SIGNING_KINDS, f"hmac-{KeyPurpose.PAIRWISE}")
    if kind not in rotatable:
        raise KeyRingError(f"no key kind {kind!r} that can be rotated; known: {', '.join(rotatable)}")
    content = _new_ec_key() if kind in SIGNING_KINDS else _new_secret()
    return Draft(key_id=next_key_id(keyring.directory, kind), content=content)


def keep_key(keyring: KeyRing, draft: Draft, *, waits_until: datetime | None = None) -> None:
    """Put a drafted key to use, here at once and in other processes within a second. Durable on return.

    Args:
        waits_until: the key is published, but does not sign before `keyfiles.end_waits` is called.
    """
    if waits_until is not None:
        write_waits(keyring.directory, draft.key_id, waits_until)
    create_if_absent(keyring.directory / f"{draft.key_id}.key", draft.content)
    keyring.refresh()


def add_key(keyring: KeyRing, kind: str, *, waits_until: datetime | None = None) -> KeyRing:
    """Make and keep the next key of a kind, and load the ring anew."""
    keep_key(keyring, draft_key(keyring, kind), waits_until=waits_until)
    return load_keyring(keyring.directory)


def load_client_key(keyring: KeyRing, platform: str) -> ECKey:
    """The key that signs as the hub to one platform, created at first use.

    Every platform has its own: what one of them can obtain signed is worth nothing at another.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", platform):
        raise KeyRingError("a platform id is made of a-z, 0-9 and -")
    name, content = _load_files(keyring.directory, f"client-{platform}", _new_ec_key)[-1]
    return _parse_signing_key(name, content)


def token_hash(token: str) -> str:
    """Hash of a random token of at least 128 bits, as stored. Not for passwords or anything guessable."""
    return sha256(token.encode()).hexdigest()


def _kinds() -> list[str]:
    return ["kek", "log", *SIGNING_KINDS, *(f"hmac-{purpose}" for purpose in KeyPurpose)]


def _read_keys(directory: Path) -> Keys:
    """Read what is there and create nothing: a directory that is gone must not come back with other keys."""
    names = list_names(directory)  # before the contents: what changes meanwhile is noticed at the next look
    return Keys(
        names=names,
        encryption=_load_secrets(directory, "kek"),
        hmac_keys={purpose: _load_secrets(directory, f"hmac-{purpose}") for purpose in KeyPurpose},
        log_seeds=_load_secrets(directory, "log"),
        oauth=_load_signing_keys(directory, "oauth"),
        attestation=_load_signing_keys(directory, ATTESTATION),
        former=tuple(json.loads(text) for text in load_public(directory)),
        waits=load_waits(directory),
    )


def _load_secrets(directory: Path, kind: str) -> tuple[SealedKey, ...]:
    keys = []
    for name, content in _read_files(directory, kind):
        secret = bytes.fromhex(content.decode().strip())
        if len(secret) != 32:
            raise KeyRingError(f"{name} does not hold 32 bytes")
        keys.append(SealedKey(key_id=name, secret=secret))
    return tuple(keys)


def _load_signing_keys(directory: Path, kind: str) -> tuple[ECKey, ...]:
    return tuple(_parse_signing_key(name, content) for name, content in _read_files(directory, kind))


def _published(kind: str, keys: tuple[ECKey, ...], former: tuple[dict[str, Any], ...]) -> list[dict[str, Any]]:
    live = [key.as_dict(private=False) for key in keys]
    names = {key["kid"] for key in live}
    return [*(key for key in former if key["kid"].startswith(f"{kind}-") and key["kid"] not in names), *live]


def _read_files(directory: Path, kind: str) -> list[tuple[str, bytes]]:
    found = [(path.stem, path.read_bytes()) for path in key_paths(directory, kind)]
    if not found:
        raise KeyRingError(f"{directory} holds no key of kind {kind}")
    return found


def _load_files(directory: Path, kind: str, create: Callable[[], bytes]) -> list[tuple[str, bytes]]:
    if not key_paths(directory, kind):
        create_if_absent(directory / f"{kind}-0001.key", create())
    return _read_files(directory, kind)


def _find(keys: tuple[SealedKey, ...], key_id: str) -> SealedKey | None:
    return next((key for key in keys if key.key_id == key_id), None)


def _parse_signing_key(name: str, content: bytes) -> ECKey:
    return ECKey.import_key(content.decode(), {"kid": name, "use": "sig", "alg": "ES256"})


def _new_secret() -> bytes:
    return secrets.token_hex(32).encode()


def _new_ec_key() -> bytes:
    pem: bytes = ECKey.generate_key("P-256").as_pem(private=True)
    return pem
