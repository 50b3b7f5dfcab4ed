"""A small town and a way to serve applications on real ports."""

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import uvicorn
from fastapi import FastAPI

from hub.sandbox.config import NAMES, origin_of, secrets_of
from hub.sandbox.platforms.site import Site
from hub.sandbox.reports import Oracle, Reports
from hub.sandbox.town import Town

SEED = 7
Serve = Callable[[FastAPI], str]


@pytest.fixture(scope="session")
def town() -> Town:
    return Town(SEED, 60)


@pytest.fixture(scope="session")
def reports(town: Town) -> Reports:
    return Reports(town)


@pytest.fixture(scope="session")
def oracle(reports: Reports) -> Oracle:
    return Oracle(reports)


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve applications on free loopback ports for the length of a test; returns each one's origin."""
    running: list[tuple[uvicorn.Server, threading.Thread, socket.socket]] = []

    def start(app: FastAPI, port: int = 0) -> str:
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", port))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=2))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
        thread.start()
        running.append((server, thread, bound))
        deadline = time.monotonic() + 10
        while not server.started:
            assert time.monotonic() < deadline, "the server does not start"
            threading.Event().wait(0.005)
        return f"http://127.0.0.1:{bound.getsockname()[1]}"

    yield start
    for server, thread, bound in running:
        server.should_exit = True
        thread.join(timeout=10)
        bound.close()


@pytest.fixture
def make_site(reports: Reports) -> Callable[..., Site]:
    """Make the place of one platform; the origin may be told later, when the port is known."""

    def make(
        platform: str, *, hub_url: str = "http://127.0.0.1:1", origin: str | None = None, drop_dir: Path = Path("drop")
    ) -> Site:
        return Site(
            platform=platform,
            title=NAMES[platform][1],
            origin=origin or origin_of(platform, 8100),
            hub_url=hub_url,
            reports=reports,
            clock=lambda: datetime.now(UTC),
            secrets=secrets_of(SEED)[platform],
            drop_dir=drop_dir,
        )

    return make


@pytest.fixture
def drop_dir(tmp_path: Path) -> Path:
    return tmp_path / "drop"


@pytest.fixture
def base_port() -> int:
    """Return a port after which one for each platform is free; below the range from which systems take ports for clients."""
    for _ in range(100):
        first = random.SystemRandom().randrange(12_000, 30_000)
        if all(_is_free(first + offset) for offset in range(len(NAMES) + 1)):
            return first
    raise AssertionError("there are not enough free ports in a row")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
