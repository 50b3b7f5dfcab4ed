"""The right to read linked accounts now: tokens opened, one or many at once, if consent allows it. I/O: `link`,
`grant_version`, `grant_current`, `person`.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, lru_cache, partial
from typing import Any

from sqlalchemy import and_, select
from sqlalchemy.orm import Session
from sqlmodel import col

from consent.batches import Query, among, dialect_of, load_columns
from consent.errors import ConsentError
from consent.grants import GrantState
from consent.keyring import KeyRing
from consent.links import LinkState, Tokens, link_row_id
from consent.tables import GrantCurrent, GrantVersion, Link
from consent.terms import HUB, Purpose
from consent.vault import SubjectVault, load_vault


class LinkUnusable(ConsentError):
    """The link may not be used now: `reason` is link_inactive, grant, no_token or erased."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What is needed to call the platform for one link. Keep it no longer than the call."""

    link_id: str
    subject_id: int
    platform: str
    account: str = field(repr=False)
    tokens: Tokens | None = field(repr=False)
    token_version: int
    scope: str


def load_access(session: Session, keyring: KeyRing, *, link_id: str, now: datetime) -> Access:
    """Open the link's account and token for one call, if the grant allows collecting from that platform now.

    Raises LinkUnusable.
    """
    found = load_accesses(session, keyring, link_ids=[link_id], now=now)[link_id]
    if isinstance(found, LinkUnusable):
        raise found
    return found


def load_accesses(
    session: Session, keyring: KeyRing, *, link_ids: Sequence[str], now: datetime
) -> dict[str, Access | LinkUnusable]:
    """Open many links at once, each as `load_access` does; who may not be read has the reason in its place.

    Raises SealError if a sealed column is not of its row.
    """
    links, reasons = _load_standing(session, link_ids, now)
    usable = [link for name, link in links.items() if name not in reasons]
    vault = load_vault(session, keyring, [link.subject_id for link in usable])
    found: dict[str, Access | LinkUnusable] = {name: LinkUnusable(reason) for name, reason in reasons.items()}
    return found | {link.link_id: _open(vault, link) for link in usable}


def find_unusable(session: Session, *, link_ids: Sequence[str], now: datetime) -> dict[str, str]:
    """Return which of these links may not be read now, with the reason: `link_inactive` or `grant`."""
    return _load_standing(session, link_ids, now)[1]


def _load_standing(session: Session, link_ids: Sequence[str], now: datetime) -> tuple[dict[str, Link], dict[str, str]]:
    """The links that are there, and the reasons of those that may not be read; two queries, however many they are."""
    dialect = dialect_of(session)
    columns = load_columns(session, _links_query(dialect), link_ids)
    links = {row[0]: Link(**dict(zip(_LINK_COLUMNS, row, strict=True))) for row in zip(*columns, strict=True)}
    grants = {
        row[:2]: row[2:]
        for row in zip(
            *load_columns(session, _grants_query(dialect), sorted({link.grant_id for link in links.values()})),
            strict=True,
        )
    }
    reasons = {}
    for name in link_ids:
        link = links.get(name)
        if link is None or link.state != LinkState.ACTIVE or link.valid_until is not None:
            reasons[name] = "link_inactive"
        elif not _allows(grants.get((link.grant_id, link.subject_id)), link.platform, now):
            reasons[name] = "grant"
    return links, reasons


def _allows(grant: tuple[Any, ...] | None, platform: str, now: datetime) -> bool:
    if grant is None:
        return False
    state, purposes, platforms, valid_from, valid_until = grant
    if state != GrantState.ACTIVE or not valid_from <= now < valid_until:
        return False
    return Purpose.COLLECT in _words(purposes) and platform in _words(platforms)


@lru_cache(maxsize=512)
def _words(text: str) -> frozenset[str]:
    return frozenset(json.loads(text))


_LINK_COLUMNS = (
    "link_id", "subject_id", "platform", "account_sealed", "grant_id", "state", "valid_until", "token_sealed",
    "token_expires_at", "token_version", "scope",
)  # fmt: skip


@cache
def _links_query(dialect: str) -> Query:
    return select(*(getattr(Link, name) for name in _LINK_COLUMNS)).where(among(dialect, col(Link.link_id)))


@cache
def _grants_query(dialect: str) -> Query:
    """The latest version of grants to the hub."""
    names = ("grant_id", "subject_id", "state", "purposes", "platforms", "valid_from", "valid_until")
    current = (
        col(GrantCurrent.subject_id) == col(GrantVersion.subject_id),
        col(GrantCurrent.recipient) == col(GrantVersion.recipient),
        col(GrantCurrent.grant_id) == col(GrantVersion.grant_id),
        col(GrantCurrent.version) == col(GrantVersion.version),
    )
    return (
        select(*(getattr(GrantVersion, name) for name in names))
        .join(GrantCurrent, and_(*current))
        .where(among(dialect, col(GrantVersion.grant_id)), col(GrantVersion.recipient) == HUB)
    )


def open_access(session: Session, keyring: KeyRing, link: Link) -> Access:
    """Open a link's account and token without asking the grant: for telling the platform that it is over.

    Raises LinkUnusable if the person is erased, SealError if a sealed column is not of this row.
    """
    opened = _open(load_vault(session, keyring, [link.subject_id]), link)
    if isinstance(opened, LinkUnusable):
        raise opened
    return opened


def _open(vault: SubjectVault, link: Link) -> Access | LinkUnusable:
    if not vault.has(link.subject_id):
        return LinkUnusable("erased")
    open_column = partial(vault.open, "link", row_id=link_row_id(link), subject_id=link.subject_id)
    account = open_column("account_sealed", blob=link.account_sealed)
    sealed = None if link.token_sealed is None else open_column("token_sealed", blob=link.token_sealed)
    return Access(
        link_id=link.link_id,
        subject_id=link.subject_id,
        platform=link.platform,
        account=account.decode(),
        tokens=None if sealed is None else _parse_tokens(sealed, link.token_expires_at),
        token_version=link.token_version,
        scope=link.scope,
    )


def _parse_tokens(sealed: bytes, expires_at: datetime | None) -> Tokens:
    parts = json.loads(sealed)
    return Tokens(access_token=parts["access_token"], refresh_token=parts["refresh_token"], expires_at=expires_at)
