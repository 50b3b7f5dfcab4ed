"""`tanlian attest`: checking offline without a database, and what an operator sees and does; and its keys."""

import json
from base64 import urlsafe_b64decode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests_support.attesting import NOW, Recipient, jwks_of, list_of, own, state_in_table
from tests_support.rfc9901 import check_sd_jwt
from tests_support.terminal import Terminal

from hub.audit import audit, format_report
from hub.commands import attest as commands
from hub.context import Hub
from hub.errors import Conflict
from hub.keys.listing import list_keys
from hub.keys.rotation import KeyKind, let_due_keys_sign, retire_key, rotate_signing


@pytest.fixture(autouse=True)
def _now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "system_clock", lambda: NOW)


@pytest.fixture
def away(tanlian: Terminal, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A verifier's machine: neither database nor keys of the hub."""
    folder = tmp_path_factory.mktemp("away")
    monkeypatch.setenv("TANLIAN_DATABASE_URL", "sqlite:////nowhere/at/all.db")
    monkeypatch.setenv("TANLIAN_KEYS_DIR", str(folder / "no-keys"))
    return tanlian


def files(terminal: Terminal, hub: Hub, statement: str) -> tuple[Path, Path]:
    return terminal.write("a.sdjwt", statement), terminal.write("jwks.json", jwks_of(hub))


def test_it_verifies_where_there_is_neither_database_nor_network(
    hub: Hub, li: int, away: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, statement = own(hub, li, "final_mg", "acts")
    statement_file, keys = files(away, hub, statement)
    listed = away.write("list.jwt", list_of(hub))

    def none(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", none)
    told = away("attest", "verify", statement_file, "--jwks", keys, "--status", listed, "--json")
    assert told.code == 0, told.err
    assert (told.json["valid"], told.json["status"], told.json["holder_proved"]) == (True, "valid", False)
    assert told.json["disclosed"] == ["acts", "final_mg"]
    assert told.json["claims"] == check_sd_jwt(statement, jwks_of(hub)["jwks"])
    shown = away("attest", "verify", statement_file, "--jwks", keys)
    assert shown.code == 0
    assert "The attestation is genuine" in shown.out
    assert "not checked; it can have been revoked. Fetch https://hub.example/v1/status-lists/1" in shown.out
    assert not (away.folder / "no-keys").exists()


def test_a_revoked_one_fails_and_says_so(hub: Hub, li: int, tanlian: Terminal) -> None:
    name, statement = own(hub, li)
    done = tanlian("attest", "revoke", name, "--json")
    assert (done.code, done.json["state"], done.json["revoked_now"]) == (0, "revoked", True)
    assert state_in_table(hub, name) == (True, "by_operator")
    assert "was revoked before" in tanlian("attest", "revoke", name).out
    statement_file, keys = files(tanlian, hub, statement)
    listed = tanlian.write("list.jwt", list_of(hub))
    told = tanlian("attest", "verify", statement_file, "--jwks", keys, "--status", listed, "--json")
    assert (told.code, told.json["valid"], told.json["status"]) == (1, False, "revoked")
    assert "revoked" in tanlian("attest", "verify", statement_file, "--jwks", keys, "--status", listed).complaint
    report = audit(hub)
    assert report.holds, format_report(report)


def test_what_is_wrong_is_one_line(hub: Hub, li: int, away: Terminal) -> None:
    _, statement = own(hub, li, "acts")
    good, keys = files(away, hub, statement)
    changed = away.write("changed.sdjwt", statement.replace("~", "~WyJhIiwiYiIsMV0~", 1))
    listed = away.write("list.jwt", list_of(hub))
    for words, says in (
        ((changed, "--jwks", keys), "belongs to no digest"),
        ((good,), "give --jwks FILE"),
        ((good, "--jwks", good), "not a set of keys"),
        ((away.folder / "none", "--jwks", keys), "No such file"),
        ((away.write("x", "碳"), "--jwks", keys), "plain letters"),
        ((good, "--jwks", keys, "--nonce", "n"), "has not proved the key"),
        ((good, "--jwks", keys, "--status", keys), "status list cannot be used"),
    ):
        assert says in away("attest", "verify", *words).complaint
    told = away("attest", "verify", changed, "--jwks", keys, "--json")
    assert (told.code, told.json["valid"]) == (1, False)
    assert away("attest", "verify", good, "--jwks", keys, "--status", listed, "--max-age", "0").code == 0


def test_a_list_older_than_the_verifier_takes_is_refused(
    hub: Hub, li: int, away: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, statement = own(hub, li, "acts")
    good, keys = files(away, hub, statement)
    listed = away.write("list.jwt", list_of(hub))
    monkeypatch.setattr(commands, "system_clock", lambda: NOW + timedelta(minutes=5))
    words = ("attest", "verify", good, "--jwks", keys, "--status", listed)
    assert away(*words, "--max-age", "301").code == 0
    assert "fetch a fresh one" in away(*words, "--max-age", "299").complaint


def test_the_hub_s_own_keys_do_where_none_are_given(hub: Hub, li: int, tanlian: Terminal) -> None:
    _, statement = own(hub, li, "acts")
    file = tanlian.write("a.sdjwt", statement)
    assert tanlian("attest", "verify", file).code == 0


def test_the_operator_sees_how_they_stand_and_nothing_of_what_they_say_or_who_it_is(
    hub: Hub, li: int, bank: Recipient, tanlian: Terminal
) -> None:
    mine, statement = own(hub, li)
    theirs = bank.ask().json()
    listed = tanlian("attest", "list", "--json")
    assert {row["attestation"] for row in listed.json} == {mine, theirs["attestation_id"]}
    assert [row["subject"] for row in tanlian("attest", "list", "--recipient", bank.client_id, "--json").json] == [
        theirs["subject"]
    ]
    assert len(tanlian("attest", "list", "--limit", "1", "--json").json) == 1
    shown = tanlian("attest", "show", mine)
    claims = check_sd_jwt(statement, jwks_of(hub)["jwks"])
    told = "".join(
        (listed.out, shown.out, tanlian("attest", "list").out, tanlian("attest", "show", mine, "--json").out)
    )
    assert claims["sub"] in told
    for secret in (str(li), str(claims["cleared_mg"]), str(claims["final_mg"]), "2026-11-01", statement[:60]):
        assert secret not in told
    assert "there is no such attestation" in tanlian("attest", "show", "att_none").complaint


def test_a_new_key_is_published_first_and_what_the_old_one_signed_verifies_for_ever(hub: Hub, li: int) -> None:
    _, before = own(hub, li, "acts")
    rotated = rotate_signing(hub, at_once=False, kind=KeyKind.ATTESTATION)
    assert (rotated.key_id, rotated.signs_at) == ("attestation-0002", NOW + timedelta(days=1))
    published = jwks_of(hub)
    assert published["issuer"] == hub.settings.issuer
    assert [key["kid"] for key in published["jwks"]["keys"]] == ["attestation-0001", "attestation-0002"]
    assert not any("d" in key for key in published["jwks"]["keys"])
    with pytest.raises(Conflict, match="attestation-0002 is published and signs from 2026-11-21"):
        rotate_signing(hub, at_once=False, kind=KeyKind.ATTESTATION)
    assert rotate_signing(hub, at_once=True).key_id == "oauth-0002"  # the other kind does not wait for this one
    assert _kid(own(hub, li, "acts")[1]) == "attestation-0001"
    assert rotate_signing(hub, at_once=True, kind=KeyKind.ATTESTATION).resumed
    _, after = own(hub, li, "acts")
    assert (_kid(after), _kid(list_of(hub))) == ("attestation-0002", "attestation-0002")
    retire_key(hub, "attestation-0001", at_once=True)
    states = {line.key_id: line.state for line in list_keys(hub)}
    assert (states["attestation-0001"], states["attestation-0002"]) == ("retired", "in use")
    for statement in (before, after):
        assert check_sd_jwt(statement, jwks_of(hub)["jwks"])["acts"] == 4
    assert [key["kid"] for key in hub.ring.published()] == ["oauth-0001", "oauth-0002"]
    report = audit(hub)
    assert report.holds, format_report(report)


def test_the_worker_lets_it_sign_when_its_time_has_come(hub: Hub, li: int) -> None:
    rotate_signing(hub, at_once=False, kind=KeyKind.ATTESTATION)
    assert [line.state for line in list_keys(hub) if line.key_id == "attestation-0002"] == [
        "published, signs from 2026-11-21 08:00Z"
    ]
    assert not let_due_keys_sign(hub)
    assert let_due_keys_sign(replace(hub, clock=lambda: datetime(2026, 11, 21, 8, tzinfo=UTC)))
    assert hub.ring.attestation_key.kid == "attestation-0002"


def test_the_command_rotates_them(hub: Hub, li: int, tanlian: Terminal) -> None:
    done = tanlian("keys", "rotate", "attestation", "--now", "--json")
    assert (done.code, done.json["key"]) == (0, "attestation-0002")
    assert "attestation-0003 is published and signs from" in tanlian("keys", "rotate", "attestation").out


def _kid(statement: str) -> str:
    head = statement.split(".")[0]
    return str(json.loads(urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"])
