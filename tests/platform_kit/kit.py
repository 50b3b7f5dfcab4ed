"""The kit's platform as a process, how it is onboarded, and what a reader must end with. I/O: processes, files."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from threading import Timer
from typing import Any

PLATFORM = "kit-platform"
MAPPINGS = Path(__file__).parent / "mappings"
START_S = 60.0
BEIJING = timezone(timedelta(hours=8))
BEHAVIOURS = {"bike": "MOB-BIKE", "bus": "MOB-BUS", "metro": "MOB-METRO"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Kit:
    """A copy of the kit with its dependencies installed."""

    folder: Path

    @classmethod
    def installed(cls, source: Path, folder: Path) -> "Kit":
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("node_modules"))
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)  # the source may be read-only
        command = ["npm", "ci" if (folder / "package-lock.json").exists() else "install", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
        return cls(folder)

    def truth(self, person: str) -> list[dict[str, Any]]:
        command = ["node", "server.mjs", "--truth", person]
        done = subprocess.run(command, cwd=self.folder, check=True, capture_output=True, text=True, timeout=60)
        rows: list[dict[str, Any]] = json.loads(done.stdout, parse_float=Decimal)
        return rows

    @contextmanager
    def running(
        self, hub_url: str, *, using: str = "", evil: str = "", port: int | None = None, **environment: str
    ) -> Iterator[int]:
        """Start the platform for a hub; yields its port (the records are at the next one)."""
        port = port or free_pair()
        redirect = f"{hub_url}/links/callback/{PLATFORM}"
        command = ["node", "server.mjs", *(["--with", using] if using else []), *(["--evil", evil] if evil else [])]
        process = subprocess.Popen(
            command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env={**os.environ, "PORT": str(port), "REDIRECT_URIS": redirect, **environment},
        )  # fmt: skip
        patience = Timer(START_S, process.kill)
        patience.start()
        try:
            assert process.stdout is not None
            assert "issuer" in process.stdout.readline(), "the kit's platform does not start"
            patience.cancel()
            yield port
        finally:
            patience.cancel()
            process.kill()
            process.wait()


def free_pair() -> int:
    """Find a port of the loopback that is free, as is the next one."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port: int = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


def participant(port: int, *, using: str = "", limit: int = 20) -> dict[str, Any]:
    """The onboarding file of the kit's platform: configuration, and no code."""
    keys = "private_key_jwt" in using
    client = {"client_auth": "private_key_jwt"} if keys else {"client_secret": "acceptance-only-secret"}
    return {
        "id": PLATFORM,
        "name_zh": "验收平台",
        "name_en": "Kit platform",
        "kind": "city",
        "connector": "cursor_pull",
        "connector_config": {
            "records_url": f"http://127.0.0.1:{port + 1}/records",
            "allow_loopback": True,
            "limit": limit,
        },
        "stream": "acts",
        "mapping": f"{PLATFORM}.acts.v1",
        "behaviours": sorted(BEHAVIOURS.values()),
        "oauth": {
            "issuer": f"http://127.0.0.1:{port}",
            "client_id": "tanlian",
            "scopes": ["openid", "records:read"],
            "par": "par" in using.split(","),
            "dpop": "dpop" in using.split(","),
            **client,
        },
        "allow_loopback": True,
    }


def in_our_words(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Translate the truth by hand: behaviour, start, end, quantity, claim, cancelled, version."""
    return sorted(
        (
            BEHAVIOURS[row["act"]], _microseconds(row["begin"]), _microseconds(row["finish"]), row["metres"] * 1000,
            int(Decimal(row["saved_g"]) * 1000), row["status"] == "cancelled", row["ver"],
        )
        for row in rows
    )  # fmt: skip


def _microseconds(local: str) -> int:
    at = datetime.strptime(local, "%Y-%m-%d %H:%M:%S").replace(tzinfo=BEIJING)
    return (at - EPOCH) // timedelta(microseconds=1)
