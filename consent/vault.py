"""Sealing of what belongs to a person, under that person's own data key.

I/O: reads `person` once per vault. The data key is wrapped by the key-encryption key and bound to the person's row;
clearing it erases everything it sealed. A backup of the database holds the wrapped key as it was then, which opens
nothing once the key that wrapped it is destroyed (ADR 0013).
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.batches import Query, among, dialect_of, load_columns
from consent.errors import ConsentError
from consent.keyring import KeyRing
from consent.seal import NONCE_BYTES, SealError, header, open_with, place, place_column, place_row, seal_with
from consent.tables import Person

DATA_KEY_HEADER = header("person-1")


class ErasedError(ConsentError):
    """The person's data key is gone (or never was): nothing of theirs can be sealed or opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectVault:
    """The data keys of some persons, unwrapped. Keep it no longer than the transaction that loaded it."""

    _ciphers: dict[int, AESGCM] = field(repr=False)

    def has(self, subject_id: int) -> bool:
        return subject_id in self._ciphers

    def seal(self, table: str, column: str, *, row_id: str | int, subject_id: int, plaintext: bytes) -> bytes:
        """Raises ErasedError."""
        return seal_with(self._cipher(subject_id), DATA_KEY_HEADER, plaintext, place(table, column, row_id, subject_id))

    def open(self, table: str, column: str, *, row_id: str | int, subject_id: int, blob: bytes) -> bytes:
        """Raises ErasedError, SealError."""
        return open_with(self._cipher(subject_id), DATA_KEY_HEADER, blob, place(table, column, row_id, subject_id))

    def seal_many(
        self,
        table: str,
        column: str,
        *,
        row_ids: Sequence[str | int],
        subject_ids: Sequence[int],
        plaintexts: Sequence[bytes],
    ) -> list[bytes]:
        """Seal one value per row. Raises ErasedError if any person of the batch has no data key."""
        shared, random = DATA_KEY_HEADER + place_column(table, column), os.urandom(NONCE_BYTES * len(plaintexts))
        sealed = []
        for index, (row, who, text) in enumerate(zip(row_ids, subject_ids, plaintexts, strict=True)):
            nonce = random[index * NONCE_BYTES : (index + 1) * NONCE_BYTES]
            encrypted = self._cipher(who).encrypt(nonce, text, shared + place_row(row, who))
            sealed.append(DATA_KEY_HEADER + nonce + encrypted)
        return sealed

    def open_many(
        self,
        table: str,
        column: str,
        *,
        row_ids: Sequence[str | int],
        subject_ids: Sequence[int],
        blobs: Sequence[bytes],
    ) -> list[bytes | None]:
        """Open one value per row; None where the person is erased or the blob is not of that row."""
        rows = zip(row_ids, subject_ids, blobs, strict=True)
        return [self._open_or_none(table, column, row, who, blob) for row, who, blob in rows]

    def _open_or_none(self, table: str, column: str, row_id: str | int, subject_id: int, blob: bytes) -> bytes | None:
        try:
            return self.open(table, column, row_id=row_id, subject_id=subject_id, blob=blob)
        except (ErasedError, SealError):
            return None

    def _cipher(self, subject_id: int) -> AESGCM:
        try:
            return self._ciphers[subject_id]
        except KeyError:
            raise ErasedError("no data key for this person") from None


def load_vault(session: Session, keyring: KeyRing, subject_ids: Iterable[int]) -> SubjectVault:
    """Unwrap the data keys of these persons; the erased and the unknown are left out."""
    people, blobs = load_columns(session, _data_keys_query(dialect_of(session)), sorted(set(subject_ids)))
    pairs = zip(people, blobs, strict=True)
    keys = {who: keyring.open(blob, _data_key_place(who)) for who, blob in pairs if blob is not None}
    return SubjectVault(_ciphers={who: AESGCM(key) for who, key in keys.items()})


def new_data_key(keyring: KeyRing, subject_id: int) -> bytes:
    """A fresh data key, wrapped by the newest key-encryption key, ready for the person's row."""
    return keyring.seal(os.urandom(32), _data_key_place(subject_id))


def rewrap_data_key(keyring: KeyRing, subject_id: int, blob: bytes) -> bytes:
    """The same data key under the newest key-encryption key; what it sealed need not be touched."""
    return keyring.seal(keyring.open(blob, _data_key_place(subject_id)), _data_key_place(subject_id))


@cache
def _data_keys_query(dialect: str) -> Query:
    return select(col(Person.subject_id), col(Person.data_key)).where(among(dialect, col(Person.subject_id)))


def _data_key_place(subject_id: int) -> bytes:
    return place("person", "data_key", subject_id, subject_id)
