"""The demo as a stranger runs it, undisturbed and with its worker killed (SIGKILL) in the middle of each kind of step.

Every run is the real thing: hub, worker and town are processes of their own. Balances and positions must end the same.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hub.sandbox.own_bills import OWN_BILLS
from hub.sandbox.registers import PLATFORMS

PEOPLE = "5"
# One point in each step that the worker does, and a death at each in one life of the town: before and after a page is
# committed, between giving leaves their place in the log and signing, before and after a group of a sealed window is
# committed.
POINTS = (
    "collect.before_commit:5",
    "log.after_assign:4",
    "collect.after_commit:9",
    "clear.before_commit:2",
    "clear.after_commit:1",
)


def run_demo(folder: Path, worker_id: str, failpoint: str = "") -> dict[str, Any]:
    number = int(worker_id.removeprefix("gw") or 0) if worker_id != "master" else 0
    (folder / "var" / "demo").mkdir(parents=True, exist_ok=True)
    (folder / "var" / "demo" / "ports.json").write_text(json.dumps([20100 + 100 * number, 20110 + 100 * number]))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("TANLIAN_")}
    if failpoint:
        environment["TANLIAN_FAILPOINT"] = failpoint
        environment["TANLIAN_LEASE"] = "PT15S"  # what a dead worker had leased is waited for
    done = subprocess.run(
        [sys.executable, "-c", "from hub.cli import main; main()", "demo", "--people", PEOPLE, "--json"],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def balances(told: dict[str, Any]) -> dict[str, Any]:
    return {name: told[name] for name in ("people", "platforms", "counted_mg", "held_mg", "events", "quarantined")}


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("demo")
    return folder, run_demo(folder, worker_id)


def test_the_demo_holds_its_audit_and_its_log_verifies(undisturbed: tuple[Path, dict[str, Any]]):
    _, told = undisturbed
    assert told["audit"]["failed"] == 0
    assert told["audit"]["passed"] > 10
    assert told["log"]["verified"]
    assert told["held_mg"] == told["counted_mg"] > 0
    assert sum(platform["duplicate"] for platform in told["platforms"]) > 0
    assert told["worker_starts"] == 1
    states = {(name, one["state"]) for window in told["reconciliation"].values() for name, one in window.items()}
    # What people bring has no platform that could make a statement.
    assert states == {(name, "matched") for name in PLATFORMS} | {(OWN_BILLS, "no_statement")}


def test_a_second_run_on_the_same_database_ends_in_the_same_state(
    undisturbed: tuple[Path, dict[str, Any]], worker_id: str
):
    folder, told = undisturbed
    again = run_demo(folder, worker_id)
    # What people who have withdrawn meanwhile are told of again is refused, and set aside with that reason.
    told, again = balances(told) | {"quarantined": None}, balances(again) | {"quarantined": None}
    assert again == told


def test_a_worker_that_is_killed_again_and_again_ends_in_the_same_balances(
    undisturbed: tuple[Path, dict[str, Any]], tmp_path: Path, worker_id: str
):
    told = run_demo(tmp_path, worker_id, ",".join(POINTS))
    assert told["worker_starts"] == 1 + len(POINTS), "a point was never reached"
    assert balances(told) == balances(undisturbed[1])
    assert told["audit"]["failed"] == 0
