"""The processes of the demo: the hub, its worker, the town. I/O: processes, ports.

Each runs as an operator would run it. The worker is watched: if it dies it is started again, because nothing that it
does may depend on its living on.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from hub.errors import TanlianError
from hub.failpoints import later_points
from hub.sandbox.registers import PLATFORMS

START_S = 90.0
STOP_S = 15.0
TOWN_PORTS = 1 + len(PLATFORMS)


class DemoFailed(TanlianError):
    """A process of the demo did not do its part; the text says which and where its log is."""


@dataclass
class Child:
    """One process and the file with what it said."""

    name: str
    command: list[str]
    log: Path
    environment: dict[str, str] = field(repr=False)
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)
    starts: int = 0

    def start(self) -> None:
        """Start it (again); what it says is appended to its log."""
        with self.log.open("ab") as said:
            self.process = subprocess.Popen(
                self.command, stdout=said, stderr=said, stdin=subprocess.DEVNULL, env=self.environment
            )
        self.starts += 1

    def is_dead(self) -> bool:
        """Tell whether it was started and has ended."""
        return self.process is not None and self.process.poll() is not None

    def stop(self) -> None:
        """Ask it to end, and end it if it does not."""
        if self.process is None or self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass(frozen=True, kw_only=True)
class Town:
    """Where everything is, while the demo runs."""

    hub_url: str
    base_port: int
    folder: Path
    hub: Child
    worker: Child
    sandbox: Child

    def keep_alive(self) -> None:
        """Start a worker that died again; a dead hub or town ends the demo."""
        for child in (self.hub, self.sandbox):
            if child.is_dead():
                raise DemoFailed(f"the {child.name} process ended; see {child.log}")
        if self.worker.is_dead():
            # A point armed for a test kills once.
            points = self.worker.environment.pop("TANLIAN_FAILPOINT", "")
            if later := later_points(points):
                self.worker.environment["TANLIAN_FAILPOINT"] = later
            self.worker.start()


@contextmanager
def running_town(
    folder: Path, *, database_url: str, keys_dir: Path, people: int, seed: int, look_back_days: int, failpoint: str
) -> Iterator[Town]:
    """Start the hub, the town and the worker; stop them at the end, the worker first."""
    folder.mkdir(parents=True, exist_ok=True)
    hub_port, base_port = _ports(folder)
    hub_url = f"http://127.0.0.1:{hub_port}"
    environment = {name: value for name, value in os.environ.items() if name != "TANLIAN_FAILPOINT"} | {
        "TANLIAN_DATABASE_URL": database_url,
        "TANLIAN_KEYS_DIR": str(keys_dir),
        "TANLIAN_ISSUER": hub_url,
        "TANLIAN_ALLOW_LOOPBACK": "1",
        "TANLIAN_CONSENT_LOOK_BACK": f"P{look_back_days}D",
        "TANLIAN_WORKER_IDLE": "PT0.2S",
        "TANLIAN_WINDOW_LENGTH": "P3650D",  # the story seals its windows itself
        "PYTHONUNBUFFERED": "1",
        "POLARS_MAX_THREADS": "1",  # small frames: handing them between threads costs more than the work
    }
    tanlian = [sys.executable, "-c", "from hub.cli import main; main()"]
    town_command = [
        sys.executable, "-m", "hub.sandbox.server", "--seed", str(seed), "--people", str(people),
        "--base-port", str(base_port), "--hub", hub_url, "--drop", str(folder / "drop"),
    ]  # fmt: skip
    armed = environment | ({"TANLIAN_FAILPOINT": failpoint} if failpoint else {})
    town = Town(
        hub_url=hub_url,
        base_port=base_port,
        folder=folder,
        hub=Child(
            "hub", [*tanlian, "serve", "--port", str(hub_port), "--workers", "2"], folder / "hub.log", environment
        ),
        worker=Child("worker", [*tanlian, "worker"], folder / "worker.log", dict(armed)),
        sandbox=Child("town", town_command, folder / "town.log", environment),
    )
    children = (town.hub, town.sandbox, town.worker)
    try:
        for child in children:
            child.start()
        _wait_for(f"{hub_url}/readyz", town.hub)
        _wait_for(f"http://127.0.0.1:{base_port}/control/ready", town.sandbox)
        yield town
    finally:
        for child in reversed(children):
            child.stop()


def _wait_for(url: str, child: Child) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if child.is_dead():
            raise DemoFailed(f"the {child.name} process did not start; see {child.log}")
        try:
            if httpx.get(url, trust_env=False, timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise DemoFailed(f"the {child.name} process does not answer; see {child.log}")


def _ports(folder: Path) -> tuple[int, int]:
    """Return the hub's port and the town's first: the same as last time where they are free, so that links still fit."""
    kept = folder / "ports.json"
    hub_port, base_port = json.loads(kept.read_text()) if kept.exists() else (8000, 8100)
    if not _all_free([hub_port, *range(base_port, base_port + TOWN_PORTS)]):
        hub_port, base_port = _free_block()
    kept.write_text(json.dumps([hub_port, base_port]))
    return hub_port, base_port


def _free_block() -> tuple[int, int]:
    for base in range(18100, 60000, 97):
        if _all_free([base - 1, *range(base, base + TOWN_PORTS)]):
            return base - 1, base
    raise DemoFailed("no free ports were found on the loopback")


def _all_free(ports: list[int]) -> bool:
    for port in ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True
