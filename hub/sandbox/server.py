"""The whole town as one process: all platforms and the control door, each on its own port. I/O: network, files.

Run `python -m hub.sandbox.server --hub http://127.0.0.1:8000 --drop DIR`; it prints one JSON line when it can be
spoken to, and stops when it is told to (SIGTERM, SIGINT).
"""

import argparse
import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from hub.clock import Clock, system_clock
from hub.sandbox.config import NAMES, Secrets, control_url, origin_of, secrets_of
from hub.sandbox.control import control_app
from hub.sandbox.people import PLATFORMS
from hub.sandbox.platforms.site import Front, Platform, Site
from hub.sandbox.reports import Reports
from hub.sandbox.specs import SPECS
from hub.sandbox.town import Town

_HOST = "127.0.0.1"
_STOP_WITHIN_S = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxOptions:
    """What the process is started with."""

    seed: int = 7
    people: int = 200
    base_port: int = 8100
    hub_url: str = "http://127.0.0.1:8000"
    drop_dir: Path
    secrets: Secrets | None = field(default=None, repr=False)
    clock: Clock = system_clock


class Sandbox:
    """Every server of the town, built and not yet listening."""

    def __init__(self, options: SandboxOptions) -> None:
        self.options = options
        self.reports = Reports(Town(options.seed, options.people))
        self.platforms = make_platforms(options, self.reports)
        apps: dict[int, FastAPI] = {options.base_port: control_app(self.platforms, self.reports)}
        for offset, platform in enumerate(PLATFORMS, start=1):
            apps[options.base_port + offset] = self.platforms[platform].app
        self._servers = [_QuietServer(_server_config(app, port)) for port, app in apps.items()]

    async def serve(self, *, announce: bool = True) -> None:
        """Serve until `stop`; prints one JSON line once every port answers."""
        async with asyncio.TaskGroup() as group:
            for server in self._servers:
                group.create_task(server.serve())
            while not all(server.started for server in self._servers):
                await asyncio.sleep(0.01)
            if announce:
                print(json.dumps(self.described()), flush=True)

    def stop(self) -> None:
        """Let every server finish what it is answering, then end `serve`."""
        for server in self._servers:
            server.should_exit = True

    def described(self) -> dict[str, Any]:
        """Return what a caller needs to find the way: addresses and the size of the town."""
        port = self.options.base_port
        return {
            "ready": True,
            "control": control_url(port),
            "platforms": {platform: origin_of(platform, port) for platform in PLATFORMS},
            "drop": str(self.options.drop_dir),
            "people": len(self.reports.town.people),
            "parts": self.reports.town.parts,
        }


class _QuietServer(uvicorn.Server):
    """One of several servers in a loop: signals belong to the process and not to each of them."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def make_platforms(options: SandboxOptions, reports: Reports) -> Mapping[str, Platform]:
    """Return the platforms of the town, ready to be served."""
    agreed = secrets_of(options.seed) if options.secrets is None else options.secrets
    return {
        platform: make_platform(
            Site(
                platform=platform,
                title=NAMES[platform][1],
                origin=origin_of(platform, options.base_port),
                hub_url=options.hub_url.rstrip("/"),
                reports=reports,
                clock=options.clock,
                secrets=agreed[platform],
                drop_dir=options.drop_dir / platform,
            )
        )
        for platform in PLATFORMS
    }


def make_platform(site: Site) -> Platform:
    """Return one platform with all its feeds."""
    spec = SPECS[site.platform]
    front = Front(site, signs_in=spec.signs_in)
    streams = ["", *(feed.stream for feed in spec.feeds[1:])]
    return Platform(front, [feed.voice(front, stream) for feed, stream in zip(spec.feeds, streams, strict=True)])


def _server_config(app: FastAPI, port: int) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        host=_HOST,  # never more than the loopback: nothing here is meant to be safe
        port=port,
        log_level="warning",
        access_log=False,
        lifespan="off",
        timeout_graceful_shutdown=_STOP_WITHIN_S,
    )


async def run(options: SandboxOptions) -> None:
    """Serve the town until the process is told to stop."""
    sandbox = Sandbox(options)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, sandbox.stop)
    await sandbox.serve()


def load_secrets(path: Path | None, seed: int) -> Secrets:
    """Return what follows from the seed, overlaid with what a hub has agreed otherwise: {platform: {name: value}}."""
    agreed: dict[str, dict[str, str]] = secrets_of(seed)
    given = {} if path is None or not path.exists() else json.loads(path.read_text(encoding="utf-8"))
    for platform, values in given.items():
        if platform not in agreed:
            raise SystemExit(f"{path}: there is no platform named {platform}")
        agreed[platform] |= values
    return agreed


def parse_options(arguments: list[str]) -> SandboxOptions:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m hub.sandbox.server", description="A town to try the hub in.")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--base-port", type=int, default=8100, help="control port; the platforms take the next ones")
    parser.add_argument("--hub", default="http://127.0.0.1:8000", help="base address of the hub")
    parser.add_argument("--drop", type=Path, required=True, help="directory for signed file drops")
    parser.add_argument("--secrets", type=Path, help="JSON file with secrets that differ from the seed's")
    given = parser.parse_args(arguments)
    return SandboxOptions(
        seed=given.seed,
        people=given.people,
        base_port=given.base_port,
        hub_url=given.hub,
        drop_dir=given.drop,
        secrets=load_secrets(given.secrets, given.seed),
    )


if __name__ == "__main__":
    asyncio.run(run(parse_options(sys.argv[1:])))
