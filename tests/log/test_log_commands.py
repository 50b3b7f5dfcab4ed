"""What an operator sees of the log and does about it: status, sign, adopt-head."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tests_support.deliveries import BEIJING
from tests_support.terminal import Terminal

CITY = "beijing-green-life"


@pytest.fixture
def tanlian(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, database_url: str
) -> Terminal:
    """A terminal with a migrated database."""
    terminal = Terminal(monkeypatch, capsys, tmp_path)
    monkeypatch.setenv("TANLIAN_DATABASE_URL", database_url)
    return terminal


def test_the_log_s_standing_is_told_and_what_waits_is_signed_by_hand(tanlian: Terminal) -> None:
    empty = tanlian("log", "status", "--json")
    assert (empty.code, empty.json["state"], empty.json["size"], empty.json["waiting"]) == (0, "current", 0, 0)
    tanlian("participants", "add", tanlian.write("beijing.json", BEIJING))
    waiting = tanlian("log", "status", "--json").json
    assert (waiting["state"], waiting["waiting"], waiting["head_file"]["size"]) == ("current", 1, None)
    assert datetime.fromisoformat(waiting["oldest_at"]).tzinfo is not None
    assert tanlian("log", "sign", "--json").json["signed"] == 1
    assert tanlian("log", "sign").out.startswith("0 leaves signed: size 1, root ")
    signed = tanlian("log", "status", "--json").json
    assert (signed["size"], signed["sequenced"], signed["waiting"], signed["signer_refuses"]) == (1, 1, 0, None)
    assert signed["head_file"] == {"path": str(tanlian.folder / "keys" / "log-head"), "size": 1, "root": signed["root"]}
    shown = tanlian("log", "status")
    assert (shown.code, "the log is current: 0 leaves wait" in shown.out, signed["root"] in shown.out) == (
        0,
        True,
        True,
    )


def test_a_log_that_stopped_refuses_commands_in_one_line_and_says_what_to_do(tanlian: Terminal) -> None:
    tanlian("participants", "add", tanlian.write("beijing.json", BEIJING))
    tanlian.monkeypatch.setenv("TANLIAN_LOG_ALARM_AFTER", "PT0.000001S")
    late = tanlian("log", "status", "--json")
    assert (late.code, late.json["state"], "tanlian worker" in late.json["advice"]) == (1, "late", True)
    tanlian.monkeypatch.setenv("TANLIAN_LOG_STOP_AFTER", "PT0.000002S")
    stopped = tanlian("log", "status")
    assert (stopped.code, "the log is stopped" in stopped.out, "tanlian log sign" in stopped.out) == (1, True, True)
    more = tanlian.write("more.json", BEIJING | {"name_en": "Beijing Green Life"})
    assert "nothing more is accepted" in tanlian("participants", "add", more).complaint
    assert tanlian("participants", "suspend", CITY).code == 0  # an ending
    assert tanlian("log", "sign", "--json").json["signed"] == 2
    assert tanlian("participants", "add", more).code == 0


def test_a_lost_head_file_is_adopted_only_at_the_size_that_was_compared(tanlian: Terminal) -> None:
    tanlian("participants", "add", tanlian.write("beijing.json", BEIJING))
    assert "nothing was ever signed" in tanlian("log", "adopt-head", "--size", "0").complaint
    tanlian("log", "sign")
    assert "there is a head file" in tanlian("log", "adopt-head", "--size", "1").complaint
    head_file = tanlian.folder / "keys" / "log-head"
    kept = head_file.read_bytes()
    head_file.unlink()
    tanlian("participants", "suspend", CITY)
    assert "adopt the head" in tanlian("log", "sign").complaint
    status = tanlian("log", "status")
    assert (status.code, "the signer refuses: the head file is missing" in status.out) == (1, True)
    assert tanlian("log", "adopt-head").code == 2
    assert "size 1, not 2" in tanlian("log", "adopt-head", "--size", "2").complaint
    assert not head_file.exists()
    assert tanlian("log", "adopt-head", "--size", "1", "--json").json["size"] == 1
    assert head_file.read_bytes() == kept
    assert tanlian("log", "sign", "--json").json["size"] == 2


def test_a_database_that_lacks_what_was_signed_is_told_with_what_to_do(tanlian: Terminal) -> None:
    tanlian("participants", "add", tanlian.write("beijing.json", BEIJING))
    tanlian("log", "sign")
    tanlian.monkeypatch.setenv("TANLIAN_DATABASE_URL", f"sqlite:///{tanlian.folder}/backup.db")
    assert tanlian("migrate").code == 0
    status = tanlian("log", "status", "--json")
    assert (status.code, status.json["state"]) == (1, "refused")
    assert status.json["signer_refuses"] == "size 1 was signed, the database has 0: a restored backup?"
    assert "never delete" in status.json["advice"]
    assert "restored backup" in tanlian("log", "sign").complaint
    assert "nothing is accepted" in tanlian("participants", "add", tanlian.folder / "beijing.json").complaint
    head_file = tanlian.folder / "keys" / "log-head"
    head_file.write_bytes(b"damaged")
    status = tanlian("log", "status", "--json")
    assert (status.json["state"], "damaged" in status.json["signer_refuses"]) == ("refused", True)
    assert timedelta(seconds=status.json["stop_after_s"]) > timedelta(seconds=status.json["alarm_after_s"])
