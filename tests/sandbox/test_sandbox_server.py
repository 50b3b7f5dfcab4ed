"""The whole town as a process: it says when it is ready, does as it is told, and stops when told to."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from hub.sandbox.config import origin_of, secrets_of
from hub.sandbox.people import BEIJING, CITIC, PLATFORMS, SHENZHEN
from hub.sandbox.reports import Oracle, Reports
from hub.sandbox.server import Sandbox, SandboxOptions, load_secrets, parse_options
from hub.sandbox.town import Town


class Running:
    """The process and a way to speak to its control door."""

    def __init__(self, process: subprocess.Popen[str], described: dict[str, Any]) -> None:
        self.process, self.described = process, described
        self.http = httpx.Client(base_url=described["control"], trust_env=False, timeout=60)

    def deliver(self, platform: str, part: int) -> httpx.Response:
        return self.http.post("/control/deliver", json={"platform": platform, "part": part})


@pytest.fixture
def running(base_port: int, drop_dir: Path, tmp_path: Path) -> Iterator[Running]:
    command = [sys.executable, "-m", "hub.sandbox.server", "--seed", "5", "--people", "8"]
    command += ["--base-port", str(base_port), "--hub", "http://127.0.0.1:9", "--drop", str(drop_dir)]
    command += ["--secrets", str(tmp_path / "none.json")]
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=root, env=os.environ | {"PYTHONPATH": str(root)}
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    try:
        one = Running(process, json.loads(line))
        with one.http:
            yield one
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def test_a_ready_town_answers_on_every_port(running: Running) -> None:
    assert running.described["people"] == 8
    assert running.http.get("/control/ready").json() == {"ready": True}
    assert set(running.described["platforms"]) == set(PLATFORMS)
    for platform, origin in running.described["platforms"].items():
        assert httpx.get(f"{origin}/statement", trust_env=False, timeout=60).json() == {
            "platform": platform,
            "deliveries": [],
        }


def test_a_delivery_is_answered_with_counts_and_the_statement(running: Running, drop_dir: Path) -> None:
    rows = len(Reports(Town(5, 8)).told_by(SHENZHEN, 1))
    answer = running.deliver(SHENZHEN, 1).json()
    assert (answer["platform"], answer["part"], answer["rows"], answer["deliveries"]) == (SHENZHEN, 1, rows, 1)
    assert answer["statement"]["deliveries"] == [
        {"delivery_id": "trips-00000001-00000000", "rows": rows, "claimed_mg": 0}
    ]
    assert (drop_dir / SHENZHEN / "000001" / ".ok").exists()
    asked = running.http.get("/control/statement", params={"platform": SHENZHEN, "part": 1}).json()
    assert asked == {"platform": SHENZHEN, **answer["statement"]}
    assert running.http.get("/control/statement", params={"platform": SHENZHEN, "part": 2}).json()["deliveries"] == []


def test_what_cannot_be_done_is_refused(running: Running) -> None:
    assert running.deliver("nobody", 1).status_code == 404
    assert running.deliver(SHENZHEN, 5).status_code == 422
    assert running.deliver(SHENZHEN, 0).status_code == 422
    assert running.deliver(SHENZHEN, 2).status_code == 409
    assert running.http.get("/control/statement", params={"platform": "nobody"}).status_code == 404


def test_a_fault_is_armed_from_outside(running: Running) -> None:
    order = {"platform": CITIC, "fault": "server_error", "times": 1}
    assert running.http.post("/control/faults", json=order).json() == {"platform": CITIC, "armed": {"server_error": 1}}
    records = f"{running.described['platforms'][CITIC]}/records"
    assert [httpx.get(records, trust_env=False, timeout=60).status_code for _ in range(2)] == [500, 401]
    assert running.http.post("/control/faults", json=order | {"fault": "flood"}).status_code == 422


def test_the_truth_can_be_asked_for(running: Running) -> None:
    summary = running.http.get("/control/oracle", params={"parts": 2}).json()
    assert summary == json.loads(json.dumps(Oracle(Reports(Town(5, 8)), 2).summary()))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_town_stops_when_it_is_told_to(running: Running, number: signal.Signals) -> None:
    running.process.send_signal(number)
    assert running.process.wait(timeout=10) == 0


def test_nothing_but_the_ready_line_is_printed(running: Running) -> None:
    running.deliver(SHENZHEN, 1)
    running.process.send_signal(signal.SIGTERM)
    running.process.wait(timeout=10)
    assert running.process.stdout is not None
    assert running.process.stdout.read() == ""


def test_a_taken_port_is_an_error_and_not_a_half_town(base_port: int, drop_dir: Path, serve: Any) -> None:
    sandbox = Sandbox(SandboxOptions(people=3, base_port=base_port, drop_dir=drop_dir))
    serve(sandbox.platforms[CITIC].app, base_port + 2)
    with pytest.raises((SystemExit, BaseExceptionGroup)):
        asyncio.run(sandbox.serve(announce=False))


def test_secrets_from_a_file_win_over_those_of_the_seed(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    path.write_text(json.dumps({BEIJING: {"client_secret": "agreed-otherwise"}}))
    agreed = load_secrets(path, 7)
    assert agreed[BEIJING]["client_secret"] == "agreed-otherwise"
    assert agreed[BEIJING]["webhook_secret"] == secrets_of(7)[BEIJING]["webhook_secret"]
    assert agreed[CITIC] == secrets_of(7)[CITIC]
    path.write_text(json.dumps({"nobody": {}}))
    with pytest.raises(SystemExit, match="nobody"):
        load_secrets(path, 7)


def test_the_command_line_says_everything(tmp_path: Path) -> None:
    arguments = f"--seed 3 --people 4 --base-port 9000 --hub http://127.0.0.1:1 --drop {tmp_path}"
    options = parse_options(arguments.split())
    assert (options.seed, options.people, options.base_port, options.hub_url, options.drop_dir) == (
        3, 4, 9000, "http://127.0.0.1:1", tmp_path,
    )  # fmt: skip
    assert options.secrets == secrets_of(3)
    assert origin_of(BEIJING, 9000) == "http://127.0.0.1:9001"
