"""A person with a linked account, without the browser: for tests of what comes after linking."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from consent.grants import activate_grant, request_grant
from consent.links import open_link
from consent.people import add_person
from consent.terms import HUB, GrantTerms, Purpose, Sensitive
from hub.changes import log_consent_change
from hub.context import Hub
from hub.db import writing


@dataclass(frozen=True, slots=True)
class LinkedPerson:
    subject_id: int
    grant_id: str
    link_id: str


def link_person(hub: Hub, name: str, accounts: dict[str, str], behaviours: set[str], now: datetime) -> LinkedPerson:
    """Create a person who allows the hub to collect, clear and credit, with the given accounts by platform."""
    with writing(hub.engine) as session:
        person = add_person(session, hub.ring, username=name, password=None, display_name=name, now=now)
        session.flush()
        grant_id, link_id = "", ""
        for platform, account in accounts.items():
            terms = GrantTerms(
                recipient=HUB,
                purposes=frozenset({Purpose.COLLECT, Purpose.CLEAR, Purpose.CREDIT}),
                behaviours=frozenset(behaviours),
                platforms=frozenset({platform}),
                valid_from=now - timedelta(days=90),
                valid_until=now + timedelta(days=365),
                sensitive=frozenset(Sensitive),
                notice_version="test",
                language="en",
            )
            grant, asked = request_grant(session, subject_id=person.subject_id, terms=terms, now=now)
            _, given = activate_grant(session, grant_id=grant.grant_id, subject_id=person.subject_id, now=now)
            link, opened = open_link(
                session, hub.ring, subject_id=person.subject_id, platform=platform, account=account,
                grant_id=grant.grant_id, valid_from=terms.valid_from, now=now,
            )  # fmt: skip
            for change in (asked, given, opened):
                log_consent_change(session, change, now, hub=hub)
            grant_id, link_id = grant.grant_id, link.link_id
        return LinkedPerson(person.subject_id, grant_id, link_id)
