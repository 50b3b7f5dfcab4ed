"""A restatement that is killed goes on where it was, and one that meets a delivery leaves one version standing."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread

import pytest
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import LinkedPerson, link_person
from tests_support.restating import BIKE_2_KM_MG, NOW, balances, close_window, decision, install_halves, run
from tests_support.web import look_up

from hub.audit import audit, format_report
from hub.context import Hub
from hub.pipeline import take_delivery
from hub.records.restate import restate
from hub.records.restatement import Restatement

CITY = "beijing-green-life"
PATIENCE_S = 60.0


def person(hub: Hub) -> LinkedPerson:
    return link_person(hub, "li", {CITY: "bj-1"}, set(BEIJING["behaviours"]), NOW)


def require_sound(hub: Hub) -> None:
    report = audit(hub)
    assert report.failed == 0, format_report(report)


PROGRAM = """
import sys
from datetime import datetime
from pathlib import Path
from consent.keyring import load_keyring
from hub.context import Hub
from hub.db import make_engine
from hub.records.restate import restate
from hub.records.restate import restate
from hub.records.restatement import Restatement
from hub.settings import Settings
url, keys, now = sys.argv[1:]
settings = Settings(_env_file=None, database_url=url, keys_dir=Path(keys), issuer="https://hub.example")
hub = Hub(settings=settings, engine=make_engine(url), ring=load_keyring(Path(keys)), clock=lambda: None)
wanted, last = Restatement(old="hub-2026.1", new="hub-2026.2", why="clean plates"), 0
while step := restate(hub, wanted, after=last, limit=1, now=datetime.fromisoformat(now)):
    last = step.last
"""


@pytest.mark.parametrize(("point", "done"), [("restate.before_commit:2", 1), ("restate.after_commit:2", 2)])
def test_a_restatement_that_was_killed_goes_on(hub: Hub, database_url: str, point: str, done: int) -> None:
    """Three clean plates, which the two versions that ship value differently; one record a step."""
    first = replace(hub, settings=hub.settings.model_copy(update={"methodology": "hub-2026.1"}))
    li = person(first)
    noons = [f"2026-11-{day}T12:00:00+08:00" for day in (17, 18, 19)]
    plates = [act(noon[8:10], scene="CLEAN_PLATE", distance=None, beginTime=noon, endTime=noon) for noon in noons]
    take_delivery(first, join(first, BEIJING), delivery("d1", *plates), now=NOW)
    close_window(first)
    before = balances(first, li.subject_id)["held"]
    hub.engine.dispose()
    command = [sys.executable, "-c", PROGRAM, database_url, str(hub.settings.keys_dir), NOW.isoformat()]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    killed = subprocess.run(
        command, cwd=root, env=environment | {"TANLIAN_FAILPOINT": point}, capture_output=True, text=True, timeout=300
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    restated = "SELECT COUNT(*) FROM reduction_record WHERE methodology = 'hub-2026.2'"
    assert look_up(hub, restated) == [(done,)]
    require_sound(hub)
    wanted = Restatement(old="hub-2026.1", new="hub-2026.2", why="clean plates")
    rest = run(hub, wanted)
    assert (rest.records, look_up(hub, restated)) == (3 - done, [(3,)])
    assert look_up(hub, "SELECT COUNT(*) FROM change_leaf WHERE kind = 'restatement.decided'") == [(1,)]
    close_window(hub)
    ((after,),) = look_up(hub, "SELECT SUM(reference_mg) FROM reduction_record WHERE methodology = 'hub-2026.2'")
    assert before != balances(hub, li.subject_id)["held"] == after
    require_sound(hub)


def test_a_correction_that_comes_during_a_step_waits_for_it(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    install_halves(monkeypatch)
    li, platform = person(hub), join(hub, BEIJING)
    take_delivery(hub, platform, delivery("d1", act("1")), now=NOW)
    close_window(hub)
    correction = delivery("d2", act("1", ver=2, distance=1000))
    taken = Event()

    def correct() -> None:
        take_delivery(hub, platform, correction, now=NOW)
        taken.set()

    beside = Thread(target=correct)

    def stop(name: str) -> None:
        if name == "restate.before_commit":
            beside.start()
            assert not taken.wait(1.0)  # without the lock it takes milliseconds

    monkeypatch.setattr("hub.records.restate.failpoint", stop)
    step = restate(hub, decision(), now=NOW)
    assert step is not None
    assert step.restated.records == 1
    beside.join(PATIENCE_S)
    assert taken.is_set()
    standing = look_up(hub, "SELECT version FROM source_record WHERE superseded_by IS NULL")
    assert standing == [(2,)]
    close_window(hub)
    assert balances(hub, li.subject_id)["held"] == BIKE_2_KM_MG // 2
    require_sound(hub)
