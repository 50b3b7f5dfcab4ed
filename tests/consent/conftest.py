"""A key ring, a person and a grant for tests of consent/."""

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from consent.grants import HUB, GrantTerms, Purpose
from consent.keyring import KeyRing, load_keyring


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
            "notice_version": "2026-11",
            "language": "zh-CN",
        }
        return GrantTerms(**{**terms, **changed})

    return make
