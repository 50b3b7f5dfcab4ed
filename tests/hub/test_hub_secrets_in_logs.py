"""Nothing secret is written to the log. Every test of the suite is watched (tests/conftest.py); here the watch is tried."""

import json
import logging
import secrets
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog
from tests_support.deliveries import BEIJING, act, join
from tests_support.people import link_person
from tests_support.portal import PASSWORD, Visitor, give_password
from tests_support.pushes import DOOR, WRONG_SECRET, push
from tests_support.secrets_in_logs import WATCH
from tests_support.tokens import Machine
from tests_support.web import Caller

from consent.people import HASHES
from hub.context import Hub
from hub.keys.rotation import rotate_key_encryption, rotate_log, rotate_pairwise, rotate_signing
from hub.rights.erase import erase_person
from hub.worker import Worker

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize("prefix", ["", "at_", "Bearer ", "https://hub.example/cb?code="])
def test_a_token_in_a_line_is_noticed_whatever_stands_around_it(prefix: str) -> None:
    token = secrets.token_urlsafe(32)
    for write in (structlog.get_logger("hub").info, logging.getLogger("hub").warning):
        write(f"a line with {prefix}{token}, and more")
        assert len(WATCH.leaked()) == 1


def test_a_password_and_a_key_in_a_line_are_noticed() -> None:
    HASHES.verify_and_update("correct horse battery", HASHES.hash("another password"))
    key = secrets.token_hex(32)
    for text in ("tried correct horse battery", "another password", f"key={key}"):
        structlog.get_logger("hub").error("failed", detail=text)
        assert len(WATCH.leaked()) == 1


def test_an_identifier_in_a_line_is_no_secret() -> None:
    structlog.get_logger("hub").info("fetched", link="l_" + secrets.token_urlsafe(16), root=secrets.token_hex(16))
    assert len(WATCH.lines) == 1
    assert WATCH.leaked() == []


def test_a_day_at_the_hub_writes_no_secret(hub: Hub, capfd: pytest.CaptureFixture[str]) -> None:
    """Signing in and failing to, tokens, messages good and bad, a broken fetch, new keys, and an erasure."""
    join(hub, BEIJING)
    person = link_person(hub, "li", {"beijing-green-life": "bj-1"}, set(BEIJING["behaviours"]), NOW)
    give_password(hub, "li")
    browser, caller, machine = Visitor(hub), Caller(hub), Machine(hub, "beijing-green-life")
    assert browser.sign_in(password="a wrong password").status == 401
    assert browser.sign_in().goes_to == "/"
    assert machine.call("GET", "/v1/statements/1").status_code == 200
    assert caller.post(DOOR, **push("m1", act("1"), now=NOW)).status_code == 200
    assert caller.post(DOOR, **push("m2", act("2"), now=NOW, secret=WRONG_SECRET)).status_code == 401
    rotate_key_encryption(hub, settle=lambda: None)
    rotate_signing(hub, at_once=True)
    rotate_log(hub)
    rotate_pairwise(hub, settle=lambda: None)
    worker = Worker(hub)
    worker.round()
    worker.round()
    structlog.get_logger("hub").info("the watch listens")
    assert browser.send("/data/export").status == 200
    erase_person(hub, person.subject_id, now=NOW)
    assert WATCH.lines
    written = "\n".join([*capfd.readouterr(), *WATCH.lines])
    issued = [machine.held or "", PASSWORD, "a wrong password", browser.csrf]
    issued += [cookie.value or "" for cookie in browser.cookies.jar]
    issued += [path.read_text().strip() for path in hub.settings.keys_dir.glob("*.key")]
    issued += _texts(BEIJING["secrets"])
    assert len([secret for secret in issued if len(secret) >= 13]) > 12
    assert [secret for secret in issued if secret and secret in written] == []


def _texts(secret: dict[str, Any]) -> list[str]:
    return [value if isinstance(value, str) else json.dumps(value) for value in secret.values()]
