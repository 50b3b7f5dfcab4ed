"""The sandbox's town as a counterpart in tests: small, and on real loopback ports where somebody has to be called."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from fastapi import FastAPI
from tests_support.web import free_port, served

from consent.grants import activate_grant, request_grant
from consent.links import Tokens, open_link
from consent.people import add_person
from consent.terms import HUB, GrantTerms, Purpose, Sensitive
from hub.app import create_app
from hub.changes import log_consent_change
from hub.context import Hub
from hub.db import writing
from hub.sandbox.config import NAMES, origin_of, participants, secrets_of
from hub.sandbox.people import Person
from hub.sandbox.platforms.site import Front, Site
from hub.sandbox.platforms.tokens import Sealer
from hub.sandbox.reports import Reports
from hub.sandbox.town import Town

SEED, PEOPLE = 7, 8
BASE_PORT = 8100  # of the documents as the sandbox writes them; no test listens there
Simulated = TypeVar("Simulated")


@cache
def reports() -> Reports:
    """Everything that the town's platforms tell of its month (October 2026)."""
    return Reports(Town(SEED, PEOPLE))


def inhabitant(number: int = 1) -> Person:
    """The first inhabitant has an account everywhere."""
    return reports().town.people[number - 1]


def document_of(platform: str, *, origin: str = "", drop: Path = Path(), **changes: Any) -> dict[str, Any]:
    """The platform's onboarding document with its first feed, for a simulator that listens at `origin`."""
    documents = participants(BASE_PORT, drop, "http://127.0.0.1:1", SEED)
    text = json.dumps(next(one for one in documents if one["id"] == platform))
    document: dict[str, Any] = json.loads(text.replace(origin_of(platform, BASE_PORT), origin or "http://127.0.0.1:1"))
    config = {**document["connector_config"], **changes.pop("connector_config", {})}
    return {**document, "more_feeds": [], **changes, "connector_config": config}


def site_of(platform: str, hub: Hub, *, origin: str = "http://127.0.0.1:1", drop_dir: Path = Path("drop")) -> Site:
    """The simulator's place in the world; it lives by the hub's clock."""
    return Site(
        platform=platform,
        title=NAMES[platform][1],
        origin=origin,
        hub_url=hub.settings.issuer,
        reports=reports(),
        clock=hub.clock,
        secrets=secrets_of(SEED)[platform],
        drop_dir=drop_dir,
    )


@contextmanager
def served_hub(hub: Hub) -> Iterator[Hub]:
    """The hub at a real address of its own, which is also its issuer."""
    with free_port() as (bound, url):
        there = replace(hub, settings=hub.settings.model_copy(update={"issuer": url, "allow_loopback": True}))
        with served(create_app(there), bound):
            yield there


@contextmanager
def served_platform(kind: type[Simulated], platform: str, hub: Hub) -> Iterator[tuple[Simulated, str]]:
    """A simulated platform and the origin at which it really listens."""
    with ExitStack() as stack:
        bound, origin = stack.enter_context(free_port())
        simulated = kind(Front(site_of(platform, hub, origin=origin)))  # type: ignore[call-arg]
        app: FastAPI = simulated.app  # type: ignore[attr-defined]
        stack.enter_context(served(app, bound))
        yield simulated, origin


def token_for(hub: Hub, platform: str, account: str, *, lives: timedelta = timedelta(hours=1)) -> Tokens:
    """What the simulated platform would have issued for one account."""
    sealer, now = Sealer(secrets_of(SEED)[platform]["seal_key"].encode()), hub.clock()
    claims = {"sub": account, "scope": "records:read openid", "grant": f"grant-of-{account}"}
    return Tokens(
        access_token=sealer.seal("access", claims | {"jti": "j"}, now=now, lives=lives),
        refresh_token=sealer.seal("refresh", claims, now=now, lives=timedelta(days=180)),
        expires_at=now + lives,
    )


def link_inhabitant(hub: Hub, platform: str, person: Person, tokens: Tokens | None = None) -> tuple[int, str, str]:
    """Link an account as the portal does, without the browser; returns subject, grant and link."""
    now = hub.clock()
    terms = GrantTerms(
        recipient=HUB,
        purposes=frozenset({Purpose.COLLECT, Purpose.CLEAR, Purpose.CREDIT}),
        behaviours=frozenset(document_of(platform)["behaviours"]),
        platforms=frozenset({platform}),
        valid_from=now - timedelta(days=90),
        valid_until=now + timedelta(days=365),
        sensitive=frozenset(Sensitive),
        notice_version="test",
        language="en",
    )
    with writing(hub.engine) as session:
        subject = add_person(
            session, hub.ring, username=person.username, password=None, display_name=person.username, now=now
        ).subject_id
        session.flush()
        grant, asked = request_grant(session, subject_id=subject, terms=terms, now=now)
        _, given = activate_grant(session, grant_id=grant.grant_id, subject_id=subject, now=now)
        link, opened = open_link(
            session, hub.ring, subject_id=subject, platform=platform, account=person.accounts[platform],
            grant_id=grant.grant_id, valid_from=terms.valid_from, now=now, tokens=tokens, scope="records:read",
        )  # fmt: skip
        for change in (asked, given, opened):
            log_consent_change(session, change, now, hub=hub)
        return subject, grant.grant_id, link.link_id
