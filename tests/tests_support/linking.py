"""One hub that links with two fake platforms, step by step, without portal and network."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session
from tests_support.oauth_platforms import OAuthPlatform, Town

from consent.authorization_request import request_address
from consent.changes import Change
from consent.keyring import KeyRing
from consent.people import add_person
from consent.platform_client import LinkRefusal, LinkRefused, finish_link, start_link
from consent.platforms import PlatformConfig, client_jwks, discover
from consent.sessions import SessionInfo, start_session
from consent.tables import GrantVersion, Link
from consent.terms import HUB, GrantTerms, Purpose, Sensitive
from hub.db import writing


class Linking:
    """One hub, two platforms, and what was told to the log."""

    def __init__(self, engine: Engine, ring: KeyRing, now: datetime) -> None:
        self.engine, self.ring, self.now = engine, ring, now
        self.bank, self.evil = OAuthPlatform("bank"), OAuthPlatform("evil")
        self.town = Town(self.bank, self.evil)
        self.transactions = partial(writing, engine)
        self.told: list[Change] = []

    def sign_up(self, name: str) -> SessionInfo:
        with writing(self.engine) as session:
            person = add_person(session, self.ring, username=name, password=None, display_name=name, now=self.now)
            return start_session(session, subject_id=person.subject_id, now=self.now)[1]

    def start(self, platform: OAuthPlatform, who: SessionInfo, **changed: object) -> str:
        """The address that the browser is sent to."""
        config = platform.config(**changed)
        metadata = discover(self.town, config)
        terms = GrantTerms(
            recipient=HUB,
            purposes=frozenset({Purpose.COLLECT, Purpose.CLEAR}),
            behaviours=frozenset({"MOB-BIKE"}),
            platforms=frozenset({platform.name}),
            valid_from=self.now - timedelta(days=90),
            valid_until=self.now + timedelta(days=365),
            sensitive=frozenset(Sensitive),
            notice_version="2026-11",
            language="zh-CN",
        )
        with writing(self.engine) as session:
            request = start_link(session, self.ring, config=config, web_session=who, terms=terms, now=self.now)
        address = request_address(self.town, self.ring, config=config, metadata=metadata, request=request, now=self.now)
        platform.calls.clear()
        return address

    def finish(
        self,
        platform: OAuthPlatform,
        who: SessionInfo | None,
        answer: dict[str, str],
        *,
        after: timedelta = timedelta(0),
        config: PlatformConfig | None = None,
    ) -> str:
        return finish_link(
            self.transactions,
            self.ring,
            self.town,
            config=config or platform.config(),
            web_session=who,
            answer=answer,
            now=self.now + after,
            record=self.record,
        )

    def record(self, _session: Session, changes: Sequence[Change]) -> None:
        self.told += changes

    def refusal(self, *arguments: object, **named: object) -> LinkRefusal:
        """Finish, expect a refusal, and see that nothing was linked, granted, or told to the log."""
        before = self.counts()
        with pytest.raises(LinkRefused) as refused:
            self.finish(*arguments, **named)
        assert self.counts() == before
        return refused.value.reason

    def counts(self) -> tuple[int, ...]:
        with writing(self.engine) as session:
            tables = (Link, GrantVersion)
            return (*[session.scalar(select(func.count()).select_from(t)) or 0 for t in tables], len(self.told))

    def secure(self, platform: OAuthPlatform) -> OAuthPlatform:
        """Let a platform ask for everything: pushed requests, proofs with a nonce, assertions."""
        platform.pushes, platform.dpop, platform.nonce = True, True, "n-1"
        platform.jwks = client_jwks(self.ring, platform.name)
        return platform
