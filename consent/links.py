"""A subject's accounts at platforms, with valid-time and sealed tokens. I/O: `link`, `grant_version`, `person`.

The account itself is sealed; what is searched is a keyed hash of platform and account, so a copy of the database does
not tell whose card a number is. One account has one owner at a time: a partial unique index, not a check in Python.
"""

import json
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from functools import cache
from typing import Any

import polars as pl
from sqlalchemy import bindparam, func, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.batches import Query, among, dialect_of, epoch_us, load_columns
from consent.changes import Change, change
from consent.errors import ConsentError
from consent.keyring import KeyPurpose, KeyRing
from consent.tables import Link
from consent.vault import load_vault

OWNED_SCHEMA: dict[str, Any] = {"row": pl.UInt32, "subject_id": pl.Int64, "link_id": pl.String}
_INTERVAL_SCHEMA: dict[str, Any] = {
    "account_key": pl.String,
    "subject_id": pl.Int64,
    "link_id": pl.String,
    "begin": pl.Int64,
    "end": pl.Int64,
}
FOREVER_US = 2**62
ACCOUNT_KEY_HEX = 32  # 128 bits: two of a billion accounts meet with probability below 1e-20


class LinkState(StrEnum):
    ACTIVE = "active"
    BROKEN = "broken"
    REVOKED = "revoked"


class AlreadyLinked(ConsentError):
    """The account belongs to another person now. Say no more than that to the one who asks."""


class LinkNotFound(ConsentError):
    """No such link of this person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokens:
    """What a platform issued for one link."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)
    expires_at: datetime | None = None


def account_key(keyring: KeyRing, platform: str, account: str) -> str:
    """The keyed name of one account. Accounts are compared byte for byte: no trimming, no case folding."""
    return keyring.digest(KeyPurpose.ACCOUNT, platform, account).hex()[:ACCOUNT_KEY_HEX]


def account_keys(keyring: KeyRing, platform: str, accounts: pl.Series) -> pl.Series:
    """The keyed names of many accounts of one platform, each distinct account hashed once; null stays null."""
    distinct = accounts.drop_nulls().unique()
    keys = [account_key(keyring, platform, account) for account in distinct]
    return accounts.replace_strict(distinct, keys, default=None, return_dtype=pl.String).rename("account_key")


def owners(session: Session, *, platform: str, asked: pl.DataFrame) -> pl.DataFrame:
    """Whose account each was at the time of the act, in one query.

    Args:
        asked: row u32, account_key str, at Datetime(us, UTC).

    Returns:
        OWNED_SCHEMA, one line per row of `asked` in its order; subject_id and link_id null where nobody owned it then.
    """
    keys = asked["account_key"].drop_nulls().unique().to_list()
    query = _intervals_query(dialect_of(session))
    columns = load_columns(session, query, keys, {"platform": platform})
    links = pl.DataFrame(
        [
            pl.Series(name, values, dtype=_INTERVAL_SCHEMA[name])
            for name, values in zip(_INTERVAL_SCHEMA, columns, strict=True)
        ]
    )
    lines = asked.select(pl.col("row").cast(pl.UInt32), "account_key", at=pl.col("at").dt.epoch("us"))
    lines = lines.with_row_index("line")
    owned = lines.join(links, on="account_key", how="inner").filter(
        pl.col("at").is_between("begin", "end", closed="left")
    )
    owned = owned.unique("line", keep="any").select("line", "subject_id", "link_id")
    return lines.join(owned, on="line", how="left", maintain_order="left").select(list(OWNED_SCHEMA))


def open_link(
    session: Session,
    keyring: KeyRing,
    *,
    subject_id: int,
    platform: str,
    account: str,
    grant_id: str,
    valid_from: datetime,
    now: datetime,
    tokens: Tokens | None = None,
    scope: str = "",
) -> tuple[Link, Change]:
    """Make the account this person's, or renew their own link of it.

    Past acts are covered back to `valid_from` only while nobody else ever owned the account: after another owner,
    ownership begins now, so that unlinking and linking anew cannot move anyone's past acts.

    Raises:
        AlreadyLinked: the account is another person's.
        ErasedError: the person has no data key.
    """
    if not account:
        raise ValueError("a link needs an account")
    key = account_key(keyring, platform, account)
    history = _load_history(session, platform, key)
    open_now = next((link for link in history if link.valid_until is None), None)
    if open_now is not None and open_now.subject_id != subject_id:
        raise AlreadyLinked
    if open_now is not None:
        return _renew(session, keyring, open_now, grant_id=grant_id, tokens=tokens, scope=scope)
    link = Link(
        link_id="l_" + secrets.token_urlsafe(16),
        subject_id=subject_id,
        platform=platform,
        account_key=key,
        account_sealed=b"",
        grant_id=grant_id,
        state=LinkState.ACTIVE.value,
        valid_from=_ownership_begin(history, subject_id, valid_from=valid_from, now=now),
        scope=scope,
        created_at=now,
    )
    link.account_sealed = _seal(session, keyring, link, "account_sealed", account.encode())
    _put_tokens(session, keyring, link, tokens)
    try:
        with session.begin_nested():
            session.add(link)
    except IntegrityError as cause:
        raise AlreadyLinked from cause
    return link, change("link.opened", link_id=link.link_id, platform=platform, grant_id=grant_id)


def find_open_link(session: Session, keyring: KeyRing, *, platform: str, account: str) -> Link | None:
    """The link that owns the account now, whoever's it is."""
    query = select(Link).where(
        col(Link.platform) == platform,
        col(Link.account_key) == account_key(keyring, platform, account),
        col(Link.valid_until).is_(None),
    )
    return session.scalars(query).one_or_none()


def close_link(session: Session, *, link_id: str, subject_id: int, now: datetime, reason: str) -> Change:
    """End the ownership now. The token stays sealed until the platform was told (platform_tokens.revoke_at_platform).

    Raises LinkNotFound, also for another person's link and for one closed already.
    """
    link = session.get(Link, link_id, with_for_update=True)
    if link is None or link.subject_id != subject_id or link.valid_until is not None:
        raise LinkNotFound
    link.state = LinkState.REVOKED.value
    link.valid_until = now
    link.last_error = reason
    link.give_back_at = None if link.token_sealed is None else now
    session.flush()
    return change("link.revoked", link_id=link_id, platform=link.platform, reason=reason)


def mark_broken(session: Session, *, link_id: str, reason: str) -> Change | None:
    """The platform no longer takes our token. The owner stays; they are asked to link again. None if not active."""
    link = session.get(Link, link_id, with_for_update=True)
    if link is None or link.state != LinkState.ACTIVE:
        return None
    link.state = LinkState.BROKEN.value
    link.last_error = reason[:80]
    session.flush()
    return change("link.broken", link_id=link_id, platform=link.platform, reason=reason[:80])


def load_links(session: Session, *, subject_id: int) -> list[Link]:
    """All links of a person, also closed ones, newest first."""
    query = select(Link).where(col(Link.subject_id) == subject_id).order_by(col(Link.created_at).desc())
    return list(session.scalars(query))


def take_lease(session: Session, *, link_id: str, holder: str, now: datetime, life: timedelta) -> bool:
    """Become the only one who refreshes this link's token until the lease ends. Commit before calling the platform."""
    free = or_(col(Link.lease_until).is_(None), col(Link.lease_until) <= now, col(Link.lease_holder) == holder)
    statement = update(Link).where(col(Link.link_id) == link_id, col(Link.state) == LinkState.ACTIVE, free)
    result = session.execute(statement.values(lease_holder=holder, lease_until=now + life))
    return bool(result.rowcount == 1)  # type: ignore[attr-defined]


def release_lease(session: Session, *, link_id: str, holder: str) -> None:
    statement = update(Link).where(col(Link.link_id) == link_id, col(Link.lease_holder) == holder)
    session.execute(statement.values(lease_holder=None, lease_until=None))


def store_tokens(
    session: Session, keyring: KeyRing, *, link_id: str, holder: str, expected_version: int, tokens: Tokens
) -> bool:
    """Compare and set: stores the refreshed token only if the lease is still ours and nobody stored one meanwhile."""
    link = session.get(Link, link_id, with_for_update=True, populate_existing=True)
    if link is None or link.lease_holder != holder or link.token_version != expected_version:
        return False
    if link.state != LinkState.ACTIVE:
        # Ended while the platform was asked: what it gave is not used, but it is this token that must be given back.
        if link.state == LinkState.REVOKED:
            _put_tokens(session, keyring, link, tokens)
            link.give_back_at, link.give_back_tries = link.valid_until, 0
            session.flush()
        return False
    _put_tokens(session, keyring, link, tokens)
    link.lease_holder, link.lease_until, link.last_error = None, None, None
    session.flush()
    return True


@cache
def _intervals_query(dialect: str) -> Query:
    return select(
        col(Link.account_key),
        col(Link.subject_id),
        col(Link.link_id),
        epoch_us(dialect, col(Link.valid_from)),
        func.coalesce(epoch_us(dialect, col(Link.valid_until)), FOREVER_US),
    ).where(col(Link.platform) == bindparam("platform"), among(dialect, col(Link.account_key)))


def _load_history(session: Session, platform: str, key: str) -> list[Link]:
    query = select(Link).where(col(Link.platform) == platform, col(Link.account_key) == key)
    return list(session.scalars(query))


def _ownership_begin(history: list[Link], subject_id: int, *, valid_from: datetime, now: datetime) -> datetime:
    if any(link.subject_id != subject_id for link in history):
        return now
    return max([valid_from, *(link.valid_until for link in history if link.valid_until is not None)])


def _renew(
    session: Session, keyring: KeyRing, link: Link, *, grant_id: str, tokens: Tokens | None, scope: str
) -> tuple[Link, Change]:
    link.grant_id, link.scope = grant_id, scope
    link.state, link.last_error = LinkState.ACTIVE.value, None
    link.lease_holder, link.lease_until = None, None
    _put_tokens(session, keyring, link, tokens)
    session.flush()
    return link, change("link.renewed", link_id=link.link_id, platform=link.platform, grant_id=grant_id)


def _put_tokens(session: Session, keyring: KeyRing, link: Link, tokens: Tokens | None) -> None:
    link.token_version = (link.token_version or 0) + 1
    link.token_expires_at = None if tokens is None else tokens.expires_at
    if tokens is None:
        link.token_sealed = None
        return
    text = json.dumps({"access_token": tokens.access_token, "refresh_token": tokens.refresh_token})
    link.token_sealed = _seal(session, keyring, link, "token_sealed", text.encode())


def _seal(session: Session, keyring: KeyRing, link: Link, column: str, plaintext: bytes) -> bytes:
    vault = load_vault(session, keyring, [link.subject_id])
    return vault.seal("link", column, row_id=link_row_id(link), subject_id=link.subject_id, plaintext=plaintext)


def link_row_id(link: Link) -> str:
    """The platform is part of it: a row whose platform was edited would send the token to the wrong one."""
    return f"{link.link_id}@{link.platform}"
