"""When a link ends, a platform whose format has words for it is told in them, and then gets its token back."""

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests_support.deliveries import join
from tests_support.town import BASE_PORT, SEED, inhabitant, link_inhabitant, site_of, token_for
from tests_support.web import free_port, look_up, served

from consent.withdraw import withdraw_grant
from hub.context import Hub
from hub.db import writing
from hub.sandbox.config import origin_of, participants
from hub.sandbox.people import CITIC
from hub.sandbox.platforms.citic_card import CiticCards
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.server import make_platform
from hub.sync.giving_back import give_back


def whole_document(platform: str, origin: str, drop: Path) -> Any:
    """The onboarding document with all feeds."""
    documents = participants(BASE_PORT, drop, "http://127.0.0.1:1", SEED)
    text = json.dumps(next(one for one in documents if one["id"] == platform))
    return json.loads(text.replace(origin_of(platform, BASE_PORT), origin))


@pytest.mark.parametrize("faulty", [False, True])
def test_a_bank_s_consent_is_terminated_and_then_the_token_given_back(
    ticking: Hub, clock: Any, tmp_path: Path, faulty: bool
):
    with ExitStack() as stack:
        bound, origin = stack.enter_context(free_port())
        bank = make_platform(site_of(CITIC, ticking, origin=origin, drop_dir=tmp_path / CITIC))
        stack.enter_context(served(bank.app, bound))
        join(ticking, whole_document(CITIC, origin, tmp_path))
        person = inhabitant(1)
        tokens = token_for(ticking, CITIC, person.accounts[CITIC])
        subject, grant, _ = link_inhabitant(ticking, CITIC, person, tokens)
        (cards,) = [voice for voice in bank.voices if isinstance(voice, CiticCards)]
        assert not give_back(ticking)
        with writing(ticking.engine) as session:
            withdraw_grant(session, grant_id=grant, subject_id=subject, now=clock.now)
        if faulty:
            bank.faults.arm(Fault.SERVER_ERROR, 1)
            assert not give_back(ticking)  # the bank is down: both wait
            assert cards._ended == set()
            assert look_up(ticking, "SELECT token_sealed IS NOT NULL FROM link") in ([(1,)], [(True,)])
            clock.pass_by(minutes=5)
        assert give_back(ticking)
        assert len(cards._ended) == 1
        assert look_up(ticking, "SELECT give_back_at, token_sealed FROM link") == [(None, None)]
