"""Linking for a child: the guardian allowed it, the child brings the account. I/O: `grant_version`, `link`.

    the guardian's yes -> a grant with assurance `guardian` -> the child signs in at the platform -> the link hangs on it

The two are apart because the guardian does not sign in as the child, neither here nor at the platform.
"""

from datetime import datetime

from sqlalchemy.orm import Session

from consent.changes import Change
from consent.grants import Grant, GrantState, load_grants
from consent.guardians import GuardianNeeded
from consent.keyring import KeyRing
from consent.links import open_link
from consent.platform_client import Attempt, Linked
from consent.tables import Link
from consent.terms import HUB, Assurance


def find_given(session: Session, *, subject_id: int, platform: str, now: datetime) -> Grant | None:
    """The grant to the hub that a guardian gave for a child at this platform, if it is in force."""
    mine = [grant for grant in load_grants(session, subject_id=subject_id) if concerns(grant, platform)]
    return next((grant for grant in mine if _is_given(grant, now)), None)


def find_asked(session: Session, *, subject_id: int, platform: str) -> Grant | None:
    """What a child asked for at this platform and nobody has answered yet."""
    mine = [grant for grant in load_grants(session, subject_id=subject_id) if concerns(grant, platform)]
    return next((grant for grant in mine if grant.state is GrantState.REQUESTED), None)


def concerns(grant: Grant, platform: str) -> bool:
    """Whether a grant is of the kind that a link hangs on: to the hub, naming the platform."""
    return grant.terms.recipient == HUB and platform in grant.terms.platforms


def complete_ward_link(
    session: Session, keyring: KeyRing, *, attempt: Attempt, linked: Linked, now: datetime
) -> tuple[Link, list[Change]]:
    """Open a child's link on the guardian's grant. Raises GuardianNeeded, AlreadyLinked."""
    grant = find_given(session, subject_id=attempt.subject_id, platform=attempt.platform, now=now)
    if grant is None:
        raise GuardianNeeded("the guardian has not allowed this, or no longer does")
    link, opened = open_link(
        session,
        keyring,
        subject_id=attempt.subject_id,
        platform=attempt.platform,
        account=linked.account,
        grant_id=grant.grant_id,
        valid_from=grant.terms.valid_from,
        now=now,
        tokens=linked.tokens,
        scope=linked.scope,
    )
    return link, [opened]


def _is_given(grant: Grant, now: datetime) -> bool:
    in_force = grant.state is GrantState.ACTIVE and grant.terms.valid_from <= now < grant.terms.valid_until
    return in_force and grant.assurance is Assurance.GUARDIAN
