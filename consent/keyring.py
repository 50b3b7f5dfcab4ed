"""Keys of the installation: loaded from a directory outside the database, each named, the newest in use.

I/O: reads, and creates where absent, one file per key (directory 0700, files 0600). A key file is never rewritten:
a rotation adds the next number, and what an older key sealed or signed stays readable. Losing the directory loses
every sealed column; copying it beside a database backup would undo erasure.
"""

import hmac
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

from joserfc.jwk import ECKey

from consent.errors import ConsentError
from consent.seal import SealedKey, SealError, key_id_of, open_sealed, seal


class KeyPurpose(StrEnum):
    """What an HMAC key may be used for; one key never serves two purposes."""

    EVENT = "event-token"
    ACCOUNT = "account"
    PAIRWISE = "pairwise"
    SESSION = "session"


class KeyRingError(ConsentError):
    """The key directory cannot be used; starting without it would seal with keys nobody can find again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRing:
    """All keys of one installation. Each tuple is ordered oldest first; the last one seals, signs and tokenises."""

    directory: Path
    encryption: tuple[SealedKey, ...] = field(repr=False)
    hmac_keys: dict[KeyPurpose, tuple[SealedKey, ...]] = field(repr=False)
    log_seeds: tuple[SealedKey, ...] = field(repr=False)
    oauth: tuple[ECKey, ...] = field(repr=False)

    @property
    def kek_id(self) -> str:
        return self.encryption[-1].key_id

    @property
    def log_seed(self) -> bytes:
        """The 32-byte Ed25519 seed that signs checkpoints."""
        return self.log_seeds[-1].secret

    @property
    def signing_key(self) -> ECKey:
        """The ES256 key that signs as the hub: client assertions and receipts."""
        return self.oauth[-1]

    def hmac_key(self, purpose: KeyPurpose) -> bytes:
        return self.hmac_keys[purpose][-1].secret

    def digest(self, purpose: KeyPurpose, *parts: str) -> bytes:
        """HMAC-SHA-256 of the parts, separated by 0x1f so that two splits of one text differ."""
        return hmac.digest(self.hmac_key(purpose), "\x1f".join(parts).encode(), "sha256")

    def seal(self, plaintext: bytes, associated: bytes) -> bytes:
        """Seal under the newest key-encryption key; for data keys and for columns that belong to no person."""
        return seal(self.encryption[-1], plaintext, associated)

    def open(self, blob: bytes, associated: bytes) -> bytes:
        """Open what any key of this ring sealed. Raises SealError if the blob is not of this place or of this ring."""
        key_id = key_id_of(blob)
        for key in self.encryption:
            if key.key_id == key_id:
                return open_sealed(key, blob, associated)
        raise SealError("sealed by a key that this ring does not hold")


def load_keyring(directory: Path) -> KeyRing:
    """Load every key below `directory`, creating the first of each kind where there is none."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if directory.stat().st_mode & 0o077:
        raise KeyRingError(f"{directory} can be read by others; expected mode 0700")
    return KeyRing(
        directory=directory,
        encryption=_load_secrets(directory, "kek"),
        hmac_keys={purpose: _load_secrets(directory, f"hmac-{purpose}") for purpose in KeyPurpose},
        log_seeds=_load_secrets(directory, "log"),
        oauth=tuple(_parse_signing_key(name, text) for name, text in _load_files(directory, "oauth", _new_ec_key)),
    )


def add_key(keyring: KeyRing, kind: str) -> KeyRing:
    """Create the next key of a kind (`kek`, `log`, `oauth` or `hmac-<purpose>`) and load the ring anew."""
    kinds = ["kek", "log", "oauth", *(f"hmac-{purpose}" for purpose in KeyPurpose)]
    if kind not in kinds:
        raise KeyRingError(f"no key kind {kind!r}; known: {', '.join(kinds)}")
    create = _new_ec_key if kind == "oauth" else _new_secret
    count = len(_key_files(keyring.directory, kind))
    create_if_absent(keyring.directory / f"{kind}-{count + 1:04d}.key", create())
    return load_keyring(keyring.directory)


def load_client_key(keyring: KeyRing, platform: str) -> ECKey:
    """The key that signs as the hub to one platform, created at first use.

    Every platform has its own: what one of them can obtain signed is worth nothing at another.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", platform):
        raise KeyRingError("a platform id is made of a-z, 0-9 and -")
    name, content = _load_files(keyring.directory, f"client-{platform}", _new_ec_key)[-1]
    return _parse_signing_key(name, content)


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
        _sync_directory(path.parent)
    finally:
        draft.unlink()


def token_hash(token: str) -> str:
    """Hash of a random token of at least 128 bits, as stored. Not for passwords or anything guessable."""
    return sha256(token.encode()).hexdigest()


def _load_secrets(directory: Path, kind: str) -> tuple[SealedKey, ...]:
    keys = []
    for name, content in _load_files(directory, kind, _new_secret):
        secret = bytes.fromhex(content.decode().strip())
        if len(secret) != 32:
            raise KeyRingError(f"{name} does not hold 32 bytes")
        keys.append(SealedKey(key_id=name, secret=secret))
    return tuple(keys)


def _load_files(directory: Path, kind: str, create: Callable[[], bytes]) -> list[tuple[str, bytes]]:
    if not _key_files(directory, kind):
        create_if_absent(directory / f"{kind}-0001.key", create())
    return [(path.stem, path.read_bytes()) for path in _key_files(directory, kind)]


def _key_files(directory: Path, kind: str) -> list[Path]:
    return sorted(directory.glob(f"{kind}-[0-9][0-9][0-9][0-9].key"))


def _parse_signing_key(name: str, content: bytes) -> ECKey:
    return ECKey.import_key(content.decode(), {"kid": name, "use": "sig", "alg": "ES256"})


def _new_secret() -> bytes:
    return secrets.token_hex(32).encode()


def _new_ec_key() -> bytes:
    pem: bytes = ECKey.generate_key("P-256").as_pem(private=True)
    return pem


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
