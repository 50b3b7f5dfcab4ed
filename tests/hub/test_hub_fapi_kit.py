"""An acceptance kit that is not ours, over openid-client and raw requests, judges a hub that really listens.

Collected only where Node is installed and TANLIAN_FAPI_KIT names the kit's folder (see conftest.py).
"""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests_support.oauth import EVERY_SCOPE
from tests_support.portal import PASSWORD, sign_up
from tests_support.town import served_hub

from consent.clients import register_client
from hub.clock import system_clock
from hub.context import Hub
from hub.db import writing

# The flow ends with a refusal, after which its client may not ask again.
SCRIPTS = ("negative.mjs", "flow.mjs")
PATIENCE_S = 600


@pytest.fixture(scope="session")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the kit with the packages that it names, from the registry that npm is set up for."""
    place = tmp_path_factory.mktemp("fapi")
    there = Path(os.environ["TANLIAN_FAPI_KIT"])
    for path in [*there.glob("*.mjs"), *there.glob("package*.json")]:
        shutil.copy(path, place)
    run(place, "npm", "install", "--no-audit", "--no-fund", "--silent")
    return place


@pytest.fixture
def served(hub: Hub) -> Iterator[Hub]:
    with served_hub(replace(hub, clock=system_clock)) as there:
        yield there


def run(place: Path, *command: str, **settings: str) -> str:
    """Run a command of the kit; it fails the test with what it said."""
    done = subprocess.run(
        command, cwd=place, env={**os.environ, **settings}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-8000:]
    return done.stdout


def register(kit: Path, hub: Hub, name: str, folder: Path) -> str:
    """Make a client with the kit's own tool, register it, and give the tool the answer; returns the client's file."""
    client, metadata = folder / f"{name}.json", folder / f"{name}.metadata.json"
    run(kit, "node", "make-client.mjs", "new", str(client), str(metadata), "--name", name, "--scope", EVERY_SCOPE)
    with writing(hub.engine) as session:
        document: dict[str, Any] = json.loads(metadata.read_text())
        registered = register_client(session, document, participant=None, now=hub.clock())
    mine = json.loads(client.read_text())
    client.write_text(json.dumps({**mine, "client_id": registered["client_id"]}))
    return str(client)


def test_the_kit_finds_nothing_wrong(kit: Path, served: Hub, tmp_path: Path) -> None:
    sign_up(served)
    settings = {
        "ISSUER": served.settings.issuer, "USERNAME_": "li", "PASSWORD_": PASSWORD,
        "SCOPE": "account:read", "CC_SCOPE": "records:write",
        "CLIENT_FILE": register(kit, served, "one", tmp_path), "OTHER_CLIENT_FILE": register(kit, served, "two", tmp_path),
    }  # fmt: skip
    said = {script: run(kit, "node", script, **settings) for script in SCRIPTS}
    assert "all good" in said["flow.mjs"]
    assert ", 0 FAILED" in said["negative.mjs"]
    rows = int(said["negative.mjs"].rpartition("\n")[0].rsplit("\n", 1)[-1].split(" ", 1)[0])
    assert rows > 200
