"""Final windows as files: written by a hub that lived, checked by anybody, and wrong as soon as the hub's tables are."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session
from tests_support.regulating import sign
from tests_support.terminal import Terminal
from tests_support.web import look_up

from hub.clearing.event_keys import event_token
from hub.commands.log_bundle import prover_of
from hub.context import Hub
from hub.db import reading
from hub.errors import IntegrityBroken
from hub.log.bundles import verify_bundle
from hub.log.merkle import commit_lines, commitment_root
from hub.log.window_proof import verify_windows
from hub.log_signing import log_signer
from hub.proving.window_files import PROOF, write_window


def write(hub: Hub, folder: Path, *windows: int) -> list[Path]:
    sign(hub)
    with reading(hub.engine) as session:
        return [write_window(session, prover_of(hub), one, folder).folder for one in windows]


def test_a_lived_hub_s_final_windows_count_nothing_twice(lived: Hub, tmp_path: Path) -> None:
    folders = write(lived, tmp_path, 1, 2)
    proved = []
    for folder in folders:
        told = verify_bundle((folder / PROOF).read_bytes(), log_signer(lived).verifiers)
        assert told.manifest is not None
        proved.append((told.manifest, folder))
    report = verify_windows(proved)
    assert report.faults == ()
    assert (report.windows, report.notes) == ((1, 2), ())
    ((counted, mg),) = look_up(
        lived,
        "SELECT COUNT(*), SUM(counted_mg) FROM decision "
        "WHERE window_id IN (1, 2) AND verdict = 'counted' AND NOT provisional",
    )
    assert (report.events, report.counted_mg) == (counted, int(mg))
    # The second window took acts of the first back, whose newer versions have the same keys.
    assert proved[1][0]["reversals"]["count"] > 0
    (one, two) = ({line.split("|")[0] for line in (folder / "events").read_text().splitlines()} for folder in folders)
    assert one & two
    (folders[1] / "reversals").write_text("")
    assert "key_twice" in [fault.reason for fault in verify_windows(proved).faults]


def test_keys_are_those_of_the_platform_s_acts_and_no_list_names_anybody(lived: Hub, tmp_path: Path) -> None:
    rows = look_up(
        lived,
        "SELECT k.token, s.platform, s.stream, s.source_id FROM window_event_key k "
        "JOIN source_record s ON s.record_id = k.event_id JOIN person p ON p.subject_id = s.subject_id "
        "WHERE p.erased_at IS NULL",
    )
    assert len(rows) > 5
    assert all(bytes(token) == event_token(lived.ring, *name) for token, *name in rows)
    subjects = [str(row[0]) for row in look_up(lived, "SELECT subject_id FROM person")]
    names = [row[0] for row in look_up(lived, "SELECT source_id FROM source_record")]
    for folder in write(lived, tmp_path, 1, 2):
        content = "".join(file.read_text() for file in folder.iterdir())
        assert not [one for one in (*subjects, *names) if one in content]


def test_windows_are_written_and_checked_by_command(
    lived: Hub, tanlian: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign(lived)
    told = tanlian("log", "bundle", "window", "1", "2", "--dir", "proofs", "--json").json
    assert [one["window"] for one in told] == [1, 2]
    assert "decisions" in tanlian("log", "bundle", "window", "1", "2", "--dir", "proofs").out
    assert "only a final window" in tanlian("log", "bundle", "window", "3", "--dir", "proofs").complaint
    monkeypatch.setenv("TANLIAN_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    key = log_signer(lived).vkey
    words = ("log", "verify", "--window", "proofs/window-1", "--window", "proofs/window-2", "--key", key)
    ran = tanlian(*words)
    assert (ran.code, ran.out.startswith("verified: 2 windows, ")) == (0, True), ran
    whole = tanlian(*words, "--json").json
    assert (whole["verified"], whole["faults"], whole["windows"]) == (True, [], [1, 2])
    events = tanlian.folder / "proofs" / "window-1" / "events"
    events.write_text(events.read_text() + events.read_text().splitlines()[-1] + "\n")
    ran = tanlian(*words)
    assert (ran.code, ran.out.startswith("NOT VERIFIED: ")) == (1, True)
    assert "  key_twice: window 1: act " in ran.out
    shutil.copyfile(tanlian.folder / "proofs" / "window-2" / PROOF, tanlian.folder / "proofs" / "window-1" / PROOF)
    reasons = [fault["reason"] for fault in tanlian(*words, "--json").json["faults"]]
    assert "other_list" in reasons
    (tanlian.folder / "proofs" / "window-1" / PROOF).write_text("{}")
    assert tanlian(*words, "--json").json["faults"][0]["reason"] == "not_logged"


SAME_KEY = "(SELECT token FROM window_event_key WHERE window_id = 1 ORDER BY token LIMIT 1)"
LIES: list[tuple[str, str]] = [
    ("SELECT 1", ""),
    ("UPDATE decision SET counted_mg = counted_mg + 1 WHERE window_id = 1 AND verdict = 'counted'", "wrong_sum"),
    (f"UPDATE window_event_key SET token = {SAME_KEY} WHERE window_id = 1", "key_twice"),
]


@contextmanager
def undone(hub: Hub) -> Iterator[Session]:
    """A transaction on everybody's hub that is rolled back at the end."""
    with hub.engine.connect() as connection, connection.begin() as outer:
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            yield session
        outer.rollback()


@pytest.mark.parametrize(("lie", "reason"), LIES)
def test_tables_that_were_changed_after_the_window_was_final_do_not_fit_what_is_logged(
    lived: Hub, tmp_path: Path, lie: str, reason: str
) -> None:
    with undone(lived) as session:
        session.execute(text(lie))
        folders = [write_window(session, prover_of(lived), one, tmp_path).folder for one in (1, 2)]
    manifests = [json.loads(json.loads((folder / PROOF).read_text())["manifest"]) for folder in folders]
    reasons = {fault.reason for fault in verify_windows(list(zip(manifests, folders, strict=True))).faults}
    assert (reason in reasons, "other_list" in reasons) == ((True, True) if reason else (False, False))


def test_a_window_whose_rows_were_lost_or_whose_manifest_is_older_is_not_written(lived: Hub, tmp_path: Path) -> None:
    cases: list[tuple[str, type[Exception], str]] = [
        ("DELETE FROM window_event_key WHERE window_id = 1", IntegrityBroken, "do not have what window 1 committed to"),
        (
            "UPDATE clearing_window SET manifest = '{}' WHERE window_id = 1",
            IntegrityBroken,
            "the tables do not fit the log",
        ),
    ]
    for lie, error, told in cases:
        with undone(lived) as session:
            session.execute(text(lie))
            with pytest.raises(error, match=told):
                write_window(session, prover_of(lived), 1, tmp_path)
    assert not (tmp_path / "window-1" / PROOF).exists()


@pytest.mark.parametrize("size", [0, 1, 2, 7, (1 << 14) - 1, 1 << 14, (1 << 14) + 1])
def test_lines_that_come_one_by_one_make_the_same_root_as_all_at_once(size: int) -> None:
    lines = [f"{number}|x" for number in range(size)]
    tree = commit_lines(iter(lines))
    assert tree.size == size
    assert tree.root() == commitment_root([sha256(line.encode()).digest() for line in lines])
