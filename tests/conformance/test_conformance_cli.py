"""`tanlian connectors check`: what a name stands for, what is printed, what is written, and how it ends."""

import json
from pathlib import Path

import pytest
from tests_support.terminal import Terminal

from hub.sandbox.specs import SPECS


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Terminal:
    """A terminal whose database nobody has migrated."""
    return Terminal(monkeypatch, capsys, tmp_path)


def test_a_connector_is_checked_on_the_sandbox_without_a_database(bare: Terminal) -> None:
    ran = bare("connectors", "check", "signed_push", "--only", "contract")
    assert ran.code == 0
    assert "signed_push: " in ran.out
    assert "cases passed" in ran.out
    assert "CON-01" in ran.out
    assert "PUSH-01" not in ran.out


def test_a_platform_of_the_sandbox_is_checked_with_all_its_feeds(bare: Terminal) -> None:
    document = bare("connectors", "check", "citic-carbon", "--sandbox", "--only", "contract", "--json").json
    assert (document["ok"], document["failed"]) == (True, 0)
    assert len({case["subject"] for case in document["cases"]}) == len(SPECS["citic-carbon"].feeds)
    assert document["score"] == f"{document['passed']}/{document['passed']}"


def test_a_format_that_no_platform_of_the_sandbox_speaks_is_checked_on_its_stand_in(bare: Terminal) -> None:
    document = bare("connectors", "check", "bill_csv", "--sandbox", "--only", "contract", "--json").json
    assert (document["ok"], document["failed"]) == (True, 0)
    assert {case["subject"] for case in document["cases"]} == {"own-bills/payments (bill_csv)"}


@pytest.mark.parametrize("name", ["report.md", "report.json"])
def test_a_report_is_written(bare: Terminal, tmp_path: Path, name: str) -> None:
    assert bare("connectors", "check", "file_drop", "--only", "contract", "--report", tmp_path / name).code == 0
    text = (tmp_path / name).read_text(encoding="utf-8")
    if name.endswith(".json"):
        assert json.loads(text)["ok"] is True
    else:
        assert text.startswith("# Conformance of file_drop\n")


def test_a_name_that_nothing_has_is_one_line(bare: Terminal) -> None:
    assert "no platform of the sandbox" in bare("connectors", "check", "nobody", "--sandbox").complaint


def test_a_failure_ends_with_one(bare: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real connector is replaced where the suite builds it."""
    from tests_support.hostile_connectors import Boaster, building

    import hub.commands.conformance as command

    real = command.check_feed
    monkeypatch.setattr(command, "check_feed", lambda *of, **how: real(*of, **how, builder=building(Boaster)))
    ran = bare("connectors", "check", "signed_push", "--only", "contract")
    assert ran.code == 1
    assert "CON-07" in ran.out
    assert "failed" in ran.out
