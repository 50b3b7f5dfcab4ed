"""What a person does with consents in the portal, each act one transaction with its receipt and leaf. I/O: the database."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy.orm import Session

from consent.care import find_asked, find_given
from consent.changes import Change
from consent.grants import activate_grant, amend_grant, refuse_grant, request_grant
from consent.terms import Assurance, GrantTerms
from consent.withdraw import withdraw_grant
from hub.changes import log_consent_change
from hub.context import Hub
from hub.db import writing


def log_changes(hub: Hub, session: Session, changes: Sequence[Change], now: datetime) -> None:
    """Tell the log of changes of consents, and give the person their receipts."""
    for change in changes:
        log_consent_change(session, change, now, hub=hub)


def refuse(hub: Hub, subject_id: int, terms: GrantTerms, *, platform: str) -> None:
    """Record a no. What a child had asked its guardian for is answered by it."""
    now = hub.clock()
    with writing(hub.engine) as session:
        changes: list[Change] = []
        asked = find_asked(session, subject_id=subject_id, platform=platform)
        if asked is None:
            asked, change = request_grant(session, subject_id=subject_id, terms=terms, now=now)
            changes.append(change)
        _, refused = refuse_grant(session, grant_id=asked.grant_id, subject_id=subject_id, now=now)
        log_changes(hub, session, [*changes, refused], now)


def ask_guardian(hub: Hub, subject_id: int, terms: GrantTerms, *, platform: str) -> None:
    """Record that a child asks; asking twice is asking once."""
    now = hub.clock()
    with writing(hub.engine) as session:
        if find_asked(session, subject_id=subject_id, platform=platform) is None:
            _, change = request_grant(session, subject_id=subject_id, terms=terms, now=now)
            log_changes(hub, session, [change], now)


def give_for_ward(hub: Hub, subject_id: int, terms: GrantTerms, *, platform: str) -> None:
    """Record the guardian's yes for a child, whether or not the child had asked; a second yes renews the first."""
    now = hub.clock()
    with writing(hub.engine) as session:
        changes: list[Change] = []
        before = find_given(session, subject_id=subject_id, platform=platform, now=now)
        if before is not None:
            _, renewed = amend_grant(
                session,
                grant_id=before.grant_id,
                subject_id=subject_id,
                now=now,
                assurance=Assurance.GUARDIAN,
                terms=terms,
                reason="renewed",
            )
            log_changes(hub, session, [renewed], now)
            return
        asked = find_asked(session, subject_id=subject_id, platform=platform)
        if asked is None:
            asked, change = request_grant(session, subject_id=subject_id, terms=terms, now=now)
            changes.append(change)
        _, given = activate_grant(
            session,
            grant_id=asked.grant_id,
            subject_id=subject_id,
            now=now,
            assurance=Assurance.GUARDIAN,
            terms=terms,
        )
        log_changes(hub, session, [*changes, given], now)


def renew(hub: Hub, subject_id: int, grant_id: str, terms: GrantTerms, assurance: Assurance) -> None:
    """Record a new yes to a grant that ends: a new version with a later end. Raises as amend_grant does."""
    now = hub.clock()
    with writing(hub.engine) as session:
        _, change = amend_grant(
            session,
            grant_id=grant_id,
            subject_id=subject_id,
            terms=terms,
            now=now,
            assurance=assurance,
            reason="renewed",
        )
        log_changes(hub, session, [change], now)


def withdraw(hub: Hub, subject_id: int, grant_id: str) -> None:
    """End a grant with all that hangs on it, at once. Raises as withdraw_grant does."""
    now = hub.clock()
    with writing(hub.engine) as session:
        log_changes(hub, session, withdraw_grant(session, grant_id=grant_id, subject_id=subject_id, now=now), now)
