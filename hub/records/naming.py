"""The keyed names under which records and set-aside rows are known. I/O: `key_use`, the record store.

A platform's own id can be a card number or an openid, so what is stored is a token of it, made with a pairwise key. After
a rotation new records are named with the new key, and one that came before keeps its name: every delivery is looked for
under all keys, so that sending again changes nothing.

Which key names new records is said by the database and not by the key directory. Two processes that took a new key up a
second apart would otherwise name one record twice. Whoever collects holds the open window's row shared; whoever changes
the key holds it alone (hub/keys/pairwise.py), so no delivery is under way while it changes. ADR 0013.
"""

import hmac
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

import polars as pl
from sqlalchemy.orm import Session
from sqlmodel import col, select

from consent.keyring import KeyPurpose, KeyRing, KeyRingError
from consent.seal import SealedKey
from hub.db import load_by_ids
from hub.records.reading import key_of_row
from hub.records.tables import KeyUse, SpentRecord

SPENT = "spent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Naming:
    """Every key that a name may have been made with, oldest first, and the one that names what is new."""

    keys: tuple[SealedKey, ...]
    current: SealedKey
    spent: bytes = field(repr=False)

    @property
    def older(self) -> list[SealedKey]:
        return [key for key in self.keys if key != self.current]


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """Records with the name that each is known by. `spent` are the rows among them that may never count again."""

    records: pl.DataFrame
    spent: pl.Series


def load_naming(session: Session, ring: KeyRing) -> Naming:
    """Return how records are named in this transaction; call it once the open window is held."""
    wanted = select(col(KeyUse.key_id)).where(col(KeyUse.purpose) == KeyPurpose.PAIRWISE)
    key_id = session.execute(wanted).scalar_one_or_none()
    if key_id is not None and key_id not in {key.key_id for key in ring.pairwise_keys}:
        ring.refresh()
    keys = ring.pairwise_keys
    current = keys[0] if key_id is None else next((key for key in keys if key.key_id == key_id), None)
    if current is None:
        raise KeyRingError(f"records are named with {key_id}, which this key directory does not hold")
    return Naming(keys=keys, current=current, spent=ring.hmac_key(KeyPurpose.SPENT))


def use_key(session: Session, key_id: str, now: datetime) -> None:
    """Name new records with this key from now on; the caller holds the open window alone."""
    session.merge(KeyUse(purpose=str(KeyPurpose.PAIRWISE), key_id=key_id, since=now))
    session.flush()


def name_records(session: Session, naming: Naming, platform: str, stream: str, records: pl.DataFrame) -> Named:
    """Put a keyed token in the place of every `source_id`: the one that is stored already, or a new one."""
    told = records["source_id"].unique(maintain_order=True).to_list()
    names = {source: token_of(naming.current, source) for source in told}
    for key in naming.older:
        tokens = {token_of(key, source): source for source in told}
        names |= {tokens[token]: token for token in _known(session, platform, stream, list(tokens))}
    spent = find_spent(session, naming, platform, stream, told)
    is_spent = records["source_id"].is_in(list(spent)) if spent else pl.repeat(False, len(records), eager=True)
    tokens_only = pl.Series("source_id", [names[source] for source in records["source_id"]], dtype=pl.String())
    return Named(records=records.with_columns(tokens_only), spent=records["row"].filter(is_spent))


def name_rows(session: Session, naming: Naming, platform: str, stream: str, aside: pl.DataFrame) -> pl.DataFrame:
    """Put a keyed digest in the place of every `content`: the row's key, as it is stored already or as it will be."""
    contents = aside["content"].to_list()
    keys = {content: key_of_row(naming.current.secret, content) for content in contents}
    for key in naming.older:
        rows = {key_of_row(key.secret, content): content for content in keys}
        keys |= {rows[bytes(row)]: bytes(row) for row in _known_rows(session, platform, stream, list(rows))}
    row_keys = pl.Series("row_key", [keys[content] for content in contents], dtype=pl.Binary())
    return aside.drop("content").with_columns(row_keys)


def token_of(key: SealedKey, source_id: str) -> str:
    """The token of a platform's own id under one key."""
    return key_of_row(key.secret, b"source\x1f" + source_id.encode())[:16].hex()


def spent_token(key: bytes, platform: str, stream: str, token: str) -> bytes:
    """What stays of an erased person's record: it recognises the record and leads to nobody."""
    return hmac.digest(key, "\x1f".join((platform, stream, token)).encode(), sha256)


def _known(session: Session, platform: str, stream: str, tokens: list[str]) -> list[str]:
    sql = "SELECT DISTINCT source_id FROM source_record WHERE platform = :p AND stream = :s AND source_id IN :ids"
    return load_by_ids(session, sql, {"source_id": pl.String()}, tokens, p=platform, s=stream)["source_id"].to_list()


def _known_rows(session: Session, platform: str, stream: str, keys: Sequence[bytes]) -> list[bytes]:
    sql = "SELECT DISTINCT row_key FROM quarantined WHERE platform = :p AND stream = :s AND row_key IN :ids"
    return load_by_ids(session, sql, {"row_key": pl.Binary()}, list(keys), p=platform, s=stream)["row_key"].to_list()


def find_spent(session: Session, naming: Naming, platform: str, stream: str, told: list[str]) -> set[str]:
    """Find ids of records that somebody took with them when they were erased, whatever key they were named with."""
    if session.execute(select(col(SpentRecord.token)).limit(1)).first() is None:
        return set()
    tokens = {
        spent_token(naming.spent, platform, stream, token_of(key, source)): source
        for key in naming.keys
        for source in told
    }
    sql = "SELECT token FROM spent_record WHERE token IN :ids"
    found = load_by_ids(session, sql, {"token": pl.Binary()}, list(tokens))["token"]
    return {tokens[bytes(token)] for token in found}
