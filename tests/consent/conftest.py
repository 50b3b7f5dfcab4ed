"""A key ring, a person and a grant for tests of consent/."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine
from tests_support.oauth import Bank, make_authority

from consent.authority import Authority
from consent.keyring import KeyRing, load_keyring
from consent.people import add_person
from consent.terms import HUB, GrantTerms, Purpose, Sensitive
from hub.db import writing


@pytest.fixture(scope="session")
def ring(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    return load_keyring(Path(tmp_path_factory.mktemp("ring")) / "keys")


@pytest.fixture
def make_terms(now: datetime) -> Callable[..., GrantTerms]:
    def make(**changed: object) -> GrantTerms:
        terms = {
            "recipient": HUB,
            "purposes": frozenset({Purpose.COLLECT, Purpose.CLEAR}),
            "behaviours": frozenset({"MOB-BIKE", "MOB-METRO"}),
            "platforms": frozenset({"citic-carbon"}),
            "valid_from": now - timedelta(days=30),
            "valid_until": now + timedelta(days=300),
            "sensitive": frozenset(Sensitive),
            "notice_version": "2026-11",
            "language": "zh-CN",
        }
        return GrantTerms(**{**terms, **changed})

    return make


@pytest.fixture
def authority(ring: KeyRing) -> Authority:
    return make_authority(ring)


@pytest.fixture
def bank(engine: Engine, authority: Authority, now: datetime) -> Bank:
    """A registered client of a participant."""
    return Bank(engine, authority, now, participant="citic-carbon")


@pytest.fixture
def person(engine: Engine, ring: KeyRing, now: datetime) -> int:
    with writing(engine) as session:
        return add_person(session, ring, username="li", password=None, display_name="Li", now=now).subject_id
