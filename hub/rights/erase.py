"""Erase a person (PIPL article 47). I/O: the database; network, to give platforms their tokens back first.

    end      grants withdrawn, links closed, every session and token dead           one transaction
    return   platforms are told that their tokens are over; who is away is not waited for
    destroy  spent marks, records emptied, grams forfeited, the data key gone, leaf  one transaction

Dying between the steps leaves a person who has withdrawn everything and can erase again. The last step holds every window
that is not final alone: no delivery and no clearing is under way meanwhile, so nothing of the person comes in behind it.
What becomes of each table is said in fates.py. ADR 0014.
"""

import secrets
from dataclasses import dataclass
from datetime import datetime

import polars as pl
import structlog
from sqlalchemy import column as sql_column
from sqlalchemy import delete, select, table, text
from sqlalchemy.orm import Session
from sqlmodel import col

from connectors.base import ConnectorError
from consent.changes import Change
from consent.grants import LEGAL, load_grants
from consent.link_access import LinkUnusable
from consent.links import LinkState, close_link
from consent.platform_tokens import revoke_at_platform
from consent.platforms import PlatformRefused
from consent.seal import SealError
from consent.tables import Link, Person
from consent.withdraw import withdraw_grant
from hub.attestations.ending import forget_attestations
from hub.changes import log_change, log_consent_change
from hub.clearing.windows import hold_unfinished_windows
from hub.context import Hub
from hub.db import reading, writing
from hub.disputes.moving import forget_disputes
from hub.errors import NotFound
from hub.failpoints import failpoint
from hub.ledger import postings
from hub.ledger.store import append_entries, load_usable
from hub.log.leaves import Kind
from hub.log.watch import let_end
from hub.participants import open_platform
from hub.records.emptying import empty_records
from hub.records.store import mark_dirty
from hub.rights.fates import Fate, tables_of
from hub.rights.scrub import scrub_files
from hub.sync.outward import platform_config, platform_http
from hub.sync.tables import SyncState
from hub.sync.transactions import transactions_of
from hub.totals.membership import forget_memberships
from hub.uses.reservations import void_all

log = structlog.get_logger(__name__)

REASON = "erased"


@dataclass(frozen=True, slots=True, kw_only=True)
class Erased:
    """What an erasure did, in numbers."""

    records: int
    links: int
    forfeited_mg: int
    tokens_not_returned: int


def erase_person(hub: Hub, subject_id: int, *, now: datetime) -> Erased:
    """Erase a person for good. Durable on return; doing it again is NotFound.

    Raises:
        NotFound: there is no such person, or they are erased already.
    """
    with writing(hub.engine) as session:
        let_end(session)
        _require_person(session, subject_id)
        _end_everything(session, hub, subject_id, now)
    left = _return_tokens(hub, subject_id, now)
    failpoint("erase.before_destroying")
    with writing(hub.engine) as session:
        let_end(session)
        erased = _destroy(session, hub, subject_id, now, tokens_not_returned=left)
        failpoint("erase.before_commit")
    scrub_files(hub.engine)
    return erased


def _require_person(session: Session, subject_id: int) -> Person:
    person = session.get(Person, subject_id, with_for_update=True, populate_existing=True)
    if person is None or person.erased_at is not None:
        raise NotFound("there is no such person")
    return person


def _end_everything(session: Session, hub: Hub, subject_id: int, now: datetime) -> None:
    """Withdraw what is allowed, close what is open, end every session and token."""
    changes: list[Change] = []
    for grant in load_grants(session, subject_id=subject_id):
        if LEGAL[grant.state]:
            changes += withdraw_grant(session, grant_id=grant.grant_id, subject_id=subject_id, now=now, reason=REASON)
    for link_id in session.scalars(
        select(col(Link.link_id)).where(col(Link.subject_id) == subject_id, col(Link.valid_until).is_(None))
    ).all():
        changes.append(close_link(session, link_id=link_id, subject_id=subject_id, now=now, reason=REASON))
    for change in changes:
        log_consent_change(session, change, now, hub=hub)
    for name in tables_of(Fate.DELETED):
        session.execute(delete(table(name, sql_column("subject_id"))).where(sql_column("subject_id") == subject_id))


def _return_tokens(hub: Hub, subject_id: int, now: datetime) -> int:
    """Tell platforms that their tokens are over; returns how many could not be told."""
    waiting = select(col(Link.link_id), col(Link.platform)).where(
        col(Link.subject_id) == subject_id, col(Link.state) == LinkState.REVOKED, col(Link.token_sealed).is_not(None)
    )
    with reading(hub.engine) as session:
        links = [(link_id, platform) for link_id, platform in session.execute(waiting)]
    return [_return_token(hub, link_id, platform, now) for link_id, platform in links].count(False)


def _return_token(hub: Hub, link_id: str, platform_id: str, now: datetime) -> bool:
    try:
        with reading(hub.engine) as session:
            platform = open_platform(session, hub.ring, platform_id)
        with platform_http(platform) as http:
            config = platform_config(hub, platform)
            return revoke_at_platform(transactions_of(hub), hub.ring, http, config=config, link_id=link_id, now=now)
    except (ConnectorError, PlatformRefused, LinkUnusable, SealError, NotFound) as failure:
        # Our copy is destroyed all the same: erasure does not wait for a platform that is away.
        log.info("not_given_back", platform=platform_id, link=link_id, reason=type(failure).__name__)
        return False


def _destroy(session: Session, hub: Hub, subject_id: int, now: datetime, *, tokens_not_returned: int) -> Erased:
    window_id = hold_unfinished_windows(session)
    person = _require_person(session, subject_id)
    _end_everything(session, hub, subject_id, now)  # whatever was allowed or linked since the first step
    void_all(session, subject_id, now=now)
    forget_disputes(session, subject_id, window_id, now)
    forget_attestations(session, subject_id, now, tell=log_change)
    forget_memberships(session, subject_id, now=now)
    records = empty_records(session, hub.ring, subject_id)
    links = _empty_links(session, subject_id)
    forfeited = _forfeit(session, subject_id, window_id, now)
    session.execute(text("UPDATE block_share SET salt = :none WHERE subject_id = :s"), {"none": b"", "s": subject_id})
    session.execute(text("UPDATE receipt SET jws_sealed = :none WHERE subject_id = :s"), {"none": b"", "s": subject_id})
    session.execute(text("UPDATE person SET guardian_id = NULL WHERE guardian_id = :s"), {"s": subject_id})
    for name in (
        "username", "password_hash", "display_name", "data_key", "kek_id", "born_sealed", "guarded_until", "guardian_id",
    ):  # fmt: skip
        setattr(person, name, None)
    person.erased_at = now
    mark_dirty(session, pl.Series([subject_id], dtype=pl.Int64()))
    # No amount and no count: together with the time they could tell who it was.
    log_change(session, Kind.SUBJECT_ERASED, f"{subject_id}", now, {"window": window_id})
    return Erased(records=records, links=links, forfeited_mg=forfeited, tokens_not_returned=tokens_not_returned)


def _empty_links(session: Session, subject_id: int) -> int:
    """Forget which accounts the links were of, and how far each was read.

    The key of an account is destroyed although it is a keyed hash: kept, it would join the new person who links the
    account again with the old acts.
    """
    links = session.scalars(select(Link).where(col(Link.subject_id) == subject_id)).all()
    for link in links:
        link.account_key = secrets.token_hex(16)
        link.account_sealed = b""
        link.token_sealed, link.token_expires_at, link.scope = None, None, ""
        link.give_back_at, link.last_error = None, REASON
        session.execute(delete(SyncState).where(col(SyncState.link_id) == link.link_id))
    session.flush()
    return len(links)


def _forfeit(session: Session, subject_id: int, window_id: int, now: datetime) -> int:
    """Take the grams out of use by an entry; they stay in the sum of all accounts and can never be spent."""
    balances = load_usable(session, subject_id)
    entries, sides = postings.forfeit(balances, subject_id, window_id)
    append_entries(session, entries, sides, now)
    return int(balances["mg"].sum() or 0)
