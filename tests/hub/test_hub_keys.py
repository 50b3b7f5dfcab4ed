"""Keys change while everything goes on: nothing fails, nothing counts twice, and what was cut short is finished."""

import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from joserfc import jws
from joserfc.jwk import KeySet
from tests_support.deliveries import act, delivery
from tests_support.rotating import (
    NOW,
    another_process,
    live,
    nothing,
    open_beijing,
    require_readable,
    require_sound,
    ride,
    rows,
    sequence,
)

import consent.keyring
from consent.keyring import load_keyring
from consent.metadata import server_jwks
from consent.people import add_person
from hub.audit import audit
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import Conflict, NotFound
from hub.keys.columns import RING_COLUMNS
from hub.keys.listing import list_keys
from hub.keys.rotation import (
    Rotated,
    count_hanging,
    let_due_keys_sign,
    retire_key,
    rotate_key_encryption,
    rotate_log,
    rotate_pairwise,
    rotate_signing,
)
from hub.log.checkpoint import open_checkpoint
from hub.log.note import NoteError
from hub.log.store import load_checkpoint
from hub.log_signing import log_signer
from hub.pipeline import clear_dirty, take_delivery
from hub.portal.account import load_account

ROOT = Path(__file__).resolve().parents[2]


def at(hub: Hub, now: datetime) -> Hub:
    return replace(hub, clock=lambda: now)


# --- key-encryption -------------------------------------------------------------------------------------------------------


def test_everything_moves_to_a_new_key_encryption_key_and_the_old_one_can_be_retired(hub: Hub) -> None:
    subject_id = live(hub)
    told: list[tuple[int, int]] = []
    rotated = rotate_key_encryption(hub, settle=nothing, progress=lambda done, total: told.append((done, total)))
    assert rotated == Rotated(key_id="kek-0002", resealed=4)
    assert told[-1] == (4, 4)
    assert (count_hanging(hub, "kek-0001"), count_hanging(hub, "kek-0002")) == (0, 4)
    assert rows(hub, "SELECT DISTINCT kek_id FROM person") == [("kek-0002",)]
    require_readable(hub, subject_id)
    with pytest.raises(Conflict, match="overlap"):
        retire_key(hub, "kek-0001", at_once=False)
    retire_key(at(hub, NOW + timedelta(days=2)), "kek-0001", at_once=False)
    require_readable(another_process(hub), subject_id)
    require_sound(hub)


def test_a_key_is_not_retired_while_anything_hangs_on_it(hub: Hub) -> None:
    live(hub)
    with pytest.raises(Conflict, match="in use"):
        retire_key(hub, "kek-0001", at_once=True)
    stale = another_process(hub)
    rotate_key_encryption(hub, settle=nothing)
    with writing(hub.engine) as session:  # a process that has not looked yet seals once more with the old key
        add_person(session, stale.ring, username="wang", password=None, display_name="w", now=NOW)
    with pytest.raises(Conflict, match="1 values"):
        retire_key(hub, "kek-0001", at_once=True)
    assert rotate_key_encryption(hub, settle=nothing) == Rotated(key_id="kek-0002", resumed=True, resealed=1)
    retire_key(hub, "kek-0001", at_once=True)
    with pytest.raises(NotFound):
        retire_key(hub, "kek-0001", at_once=True)


def test_what_is_sealed_with_the_old_key_during_a_rotation_is_moved_too(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    live(hub)
    monkeypatch.setattr(consent.keyring, "LOOK_EVERY_S", 3600)  # however long this takes, the other one stays stale
    stale = another_process(hub)
    names = iter("abc")

    def settle() -> None:
        name = next(names, None)
        if name is not None:
            with writing(hub.engine) as session:
                add_person(session, stale.ring, username=name, password=None, display_name=name, now=NOW)

    assert rotate_key_encryption(hub, settle=settle).resealed == 7
    assert count_hanging(hub, "kek-0001") == 0


@pytest.mark.parametrize("point", ["keys.after_leaf:1", "keys.after_file:1", "keys.after_rows:1", "keys.after_rows:2"])
def test_a_rotation_that_was_killed_is_finished_by_the_same_command(hub: Hub, point: str) -> None:
    subject_id = live(hub)
    assert run(hub, "keys", "rotate", "key-encryption", TANLIAN_FAILPOINT=point).returncode == -signal.SIGKILL
    require_readable(another_process(hub), subject_id)
    finished = run(hub, "keys", "rotate", "key-encryption", "--json")
    assert finished.returncode == 0, finished.stderr
    assert '"key": "kek-0002"' in finished.stdout
    hub.ring.refresh()
    assert count_hanging(hub, "kek-0001") == 0
    require_readable(hub, subject_id)
    require_sound(hub)


def run(hub: Hub, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "TANLIAN_DATABASE_URL": hub.settings.database_url,
        "TANLIAN_KEYS_DIR": str(hub.settings.keys_dir),
        "TANLIAN_ISSUER": hub.settings.issuer,
    }
    program = "import consent.keyring; consent.keyring.LOOK_EVERY_S = 0.01; import hub.cli; hub.cli.main()"
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        env=os.environ | settings | environment, capture_output=True, text=True, timeout=120, cwd=ROOT,
    )  # fmt: skip


def test_every_place_that_is_sealed_with_the_ring_is_known_to_a_rotation() -> None:
    """A column that nobody listed would be lost with the retired key."""
    under_a_person = {("person", "born_sealed"), ("link", "account_sealed"), ("link", "token_sealed")}
    text_within = {("web_session", "waiting")}  # counted apart: it stands within the session's state
    known = {(one.table, one.column) for one in RING_COLUMNS} | under_a_person | text_within
    places = set()
    for package in ("hub", "consent"):
        for path in (ROOT / package).rglob("*.py"):
            places |= set(re.findall(r'(?<![_\w])place\(\s*"(\w+)",\s*"(\w+)"', path.read_text()))
    assert len(places) >= 5
    assert places <= known


# --- the others ------------------------------------------------------------------------------------------------------------


def test_a_signing_key_is_published_first_and_signs_after_the_overlap(hub: Hub) -> None:
    rotated = rotate_signing(hub, at_once=False)
    assert rotated == Rotated(key_id="oauth-0002", signs_at=NOW + timedelta(days=1))
    assert [key["kid"] for key in server_jwks(hub.ring)["keys"]] == ["oauth-0001", "oauth-0002"]
    assert hub.ring.signing_key.kid == "oauth-0001"
    with pytest.raises(Conflict, match="oauth-0002 is published and signs from 2026-11-21"):
        rotate_signing(hub, at_once=False)
    for key_id in ("oauth-0001", "oauth-0002"):
        with pytest.raises(Conflict):
            retire_key(hub, key_id, at_once=True)
    assert not let_due_keys_sign(at(hub, NOW + timedelta(hours=23)))
    due = at(hub, NOW + timedelta(hours=24))
    assert let_due_keys_sign(due)
    assert not let_due_keys_sign(due)
    assert hub.ring.signing_key.kid == "oauth-0002"
    with pytest.raises(Conflict, match="overlap"):
        retire_key(due, "oauth-0001", at_once=False)
    retire_key(at(hub, NOW + timedelta(hours=49)), "oauth-0001", at_once=False)
    assert [str(key.kid) for key in hub.ring.oauth] == ["oauth-0002"]
    require_sound(hub)


def test_a_signing_key_that_waits_signs_at_once_if_asked(hub: Hub) -> None:
    rotate_signing(hub, at_once=False)
    assert rotate_signing(hub, at_once=True) == Rotated(key_id="oauth-0002", resumed=True, signs_at=NOW)
    assert hub.ring.signing_key.kid == "oauth-0002"
    assert rotate_signing(hub, at_once=True).key_id == "oauth-0003"
    assert hub.ring.signing_key.kid == "oauth-0003"


def test_both_log_keys_vouch_for_a_checkpoint_until_the_old_one_is_retired(hub: Hub) -> None:
    live(hub)
    sequence(hub)
    signer = log_signer(hub)
    old = signer.verifier
    assert rotate_log(hub).key_id == "log-0002"
    new = signer.verifier
    require_sound(hub)  # before the new key has signed anything
    sequence(hub)
    with reading(hub.engine) as session:
        checkpoint = load_checkpoint(session)
    assert checkpoint is not None
    assert open_checkpoint(checkpoint, old) == open_checkpoint(checkpoint, new)
    retire_key(hub, "log-0001", at_once=True)
    sequence(hub)
    with reading(hub.engine) as session:
        checkpoint = load_checkpoint(session)
    assert checkpoint is not None
    assert open_checkpoint(checkpoint, new).origin == hub.settings.log_origin
    with pytest.raises(NoteError):
        open_checkpoint(checkpoint, old)
    require_sound(hub)


def test_the_log_itself_names_its_next_key(hub: Hub) -> None:
    rotate_log(hub)
    ((body,),) = rows(
        hub, "SELECT b.data FROM log_body b JOIN log_leaf l ON l.leaf_id = b.leaf_id WHERE l.kind = 'key.rotated'"
    )
    assert log_signer(hub).vkey.encode() in bytes(body)


def test_the_command_line_prints_the_newest_log_key_or_all(hub: Hub) -> None:
    rotate_log(hub)
    newest, oldest = (key.to_vkey() for key in log_signer(hub).verifiers)
    assert run(hub, "log", "key").stdout.split() == [newest]
    assert run(hub, "log", "key", "--all").stdout.split() == [newest, oldest]


def test_sending_again_after_a_pairwise_rotation_changes_nothing(hub: Hub) -> None:
    subject_id = live(hub)
    beijing = open_beijing(hub)
    before = rows(hub, "SELECT record_id, source_id, version FROM source_record ORDER BY record_id")
    aside = rows(hub, "SELECT quarantine_id, row_key, reason FROM quarantined ORDER BY quarantine_id")
    assert rotate_pairwise(hub, settle=nothing).key_id == "hmac-pairwise-0002"
    again = delivery("d2", ride(1), ride(2), act("99", scene="UNICYCLE"), ride(3, "nobody"))
    taken = take_delivery(hub, beijing, again, now=NOW)
    assert (taken.accepted, taken.replayed) == (0, 2)
    assert rows(hub, "SELECT record_id, source_id, version FROM source_record ORDER BY record_id") == before
    assert rows(hub, "SELECT quarantine_id, row_key, reason FROM quarantined ORDER BY quarantine_id") == aside
    # A correction of an old record is its next version; a new record is named with the new key and found again by it.
    mixed = delivery("d3", ride(1, ver=2, distance=900), ride(4), act("98", scene="UNICYCLE"))
    assert take_delivery(hub, beijing, mixed, now=NOW).accepted == 2
    for number in range(4, 7):
        name = f"d{number}"
        taken = take_delivery(hub, beijing, delivery(name, *map(bytes, mixed.rows), *map(bytes, again.rows)), now=NOW)
        assert taken.accepted == 0
    assert rows(hub, "SELECT COUNT(*), COUNT(DISTINCT source_id) FROM source_record") == [(4, 3)]
    clear_dirty(hub, now=NOW)
    with reading(hub.engine) as session:
        assert len(load_account(session, subject_id).acts) == 3
    require_sound(hub)


def test_a_process_that_does_not_know_the_new_pairwise_key_yet_takes_it_up(hub: Hub) -> None:
    live(hub)
    stale = another_process(hub)
    rotate_pairwise(hub, settle=nothing)
    assert take_delivery(hub, open_beijing(hub), delivery("d2", ride(7)), now=NOW).accepted == 1
    assert take_delivery(stale, open_beijing(stale), delivery("d3", ride(7), ride(1)), now=NOW).replayed == 2
    assert rows(hub, "SELECT COUNT(*), COUNT(DISTINCT source_id) FROM source_record") == [(3, 3)]


def test_a_pairwise_key_that_was_made_and_not_used_is_used_by_the_next_command(hub: Hub) -> None:
    live(hub)
    killed = run(hub, "keys", "rotate", "pairwise", TANLIAN_FAILPOINT="keys.after_file:1")
    assert killed.returncode == -signal.SIGKILL
    assert take_delivery(hub, open_beijing(hub), delivery("d2", ride(1)), now=NOW).replayed == 1
    assert rotate_pairwise(hub, settle=nothing) == Rotated(key_id="hmac-pairwise-0002", resumed=True)
    with pytest.raises(Conflict, match="count a second time"):
        retire_key(hub, "hmac-pairwise-0001", at_once=True)


def test_one_rotation_runs_at_a_time(hub: Hub) -> None:
    def meanwhile() -> None:
        with pytest.raises(Conflict, match="under way"):
            rotate_log(hub)

    rotate_pairwise(hub, settle=meanwhile)


def test_each_rotation_is_a_leaf_and_the_list_says_what_each_key_does(hub: Hub) -> None:
    live(hub)
    rotate_key_encryption(hub, settle=nothing)
    rotate_signing(hub, at_once=False)
    rotate_log(hub)
    rotate_pairwise(hub, settle=nothing)
    told = {reference.rsplit(":", 1)[0] for (reference,) in rows(hub, LEAVES)}
    assert told == {
        "added:kek-0002", "added:oauth-0002", "added:log-0002", "added:hmac-pairwise-0002", "in_use:hmac-pairwise-0002",
    }  # fmt: skip
    states = {line.key_id: (line.state, line.values) for line in list_keys(hub)}
    assert states["kek-0001"] == ("opens what it sealed", 0)
    assert states["kek-0002"] == ("in use", 4)
    assert states["oauth-0001"] == ("in use", None)
    assert states["oauth-0002"] == ("published, signs from 2026-11-21 08:00Z", None)
    assert states["log-0001"] == ("signs beside the newest", None)
    assert states["hmac-pairwise-0001"] == ("finds what it named", None)
    assert states["hmac-spent-0001"] == ("in use, cannot be rotated", None)
    listed = run(hub, "keys", "list", "--json")
    assert listed.returncode == 0
    assert all(key_id in listed.stdout for key_id in states)
    require_sound(hub)


def test_the_audit_notices_a_key_that_the_log_does_not_tell_of(hub: Hub) -> None:
    consent.keyring.add_key(hub.ring, "log")
    failed = [check for check in audit(hub).checks if not check.ok]
    assert [(check.id, check.offenders) for check in failed] == [("changes_have_leaves", ("key log-0002 has no leaf",))]


LEAVES = "SELECT reference FROM change_leaf WHERE kind = 'key.rotated'"


@pytest.mark.parametrize("words", [("rotate", "spent"), ("rotate", "account"), ("retire", "kek-0001"), ("retire", "x")])
def test_what_cannot_be_done_is_said_in_one_line(hub: Hub, words: tuple[str, ...]) -> None:
    refused = run(hub, "keys", *words)
    assert refused.returncode == 1
    assert refused.stdout == ""
    assert re.fullmatch(r"tanlian: [^\n]+\n", refused.stderr)


def test_what_a_retired_signing_key_signed_is_verified_with_the_published_keys(hub: Hub) -> None:
    statement = jws.serialize_compact({"alg": "ES256", "kid": "oauth-0001"}, b"a receipt", hub.ring.signing_key)
    rotate_signing(hub, at_once=True)
    retire_key(hub, "oauth-0001", at_once=True)
    assert [str(key.kid) for key in hub.ring.oauth] == ["oauth-0002"]
    for ring in (hub.ring, load_keyring(hub.ring.directory)):
        keys = KeySet.import_key_set(server_jwks(ring))
        assert [key.kid for key in keys.keys] == ["oauth-0001", "oauth-0002"]
        assert jws.deserialize_compact(statement, keys, algorithms=["ES256"]).payload == b"a receipt"
        assert not any("d" in key for key in server_jwks(ring)["keys"])
