"""What tests of several parts of the hub share."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests_support.deliveries import join
from tests_support.fetching import NOW, Clock, Feed
from tests_support.terminal import Terminal
from tests_support.town import document_of, inhabitant, link_inhabitant, served_platform, token_for

import mappings.load
from hub.context import Hub, open_hub
from hub.db import writing
from hub.sandbox.people import CITIC
from hub.sandbox.platforms.citic import CiticCarbon
from hub.settings import Settings
from hub.sync.cursors import ensure_state

# A machine without the browser runs all else; CI installs it, and tests/conftest.py fails a run there without it.
collect_ignore = [] if shutil.which("chromium") else ["test_hub_chromium_passkeys.py"]
# The acceptance kit for OAuth is written for Node and lives outside: its test exists where both are there.
if not (shutil.which("node") and shutil.which("npm") and os.environ.get("TANLIAN_FAPI_KIT")):
    collect_ignore.append("test_hub_fapi_kit.py")
FIRST, SECOND = "beijing-green-life.acts.v1", "beijing-green-life.acts.v2"


@pytest.fixture
def corrected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The mapping's next version, which also knows the scene RIDE."""
    files = tmp_path / "mappings"
    shutil.copytree(mappings.load.FILES, files)
    text = (files / f"{FIRST}.toml").read_text().replace(FIRST, SECOND)
    text = text.replace('BIKE = "MOB-BIKE"', 'BIKE = "MOB-BIKE"\nRIDE = "MOB-BIKE"')
    text = text.replace('{ path = "scene", equals = "BIKE" }', '{ path = "scene", in = ["BIKE", "RIDE"] }')
    (files / f"{SECOND}.toml").write_text(text)
    monkeypatch.setattr(mappings.load, "FILES", files)
    mappings.load.load_mapping.cache_clear()
    yield SECOND
    mappings.load.load_mapping.cache_clear()


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Terminal:
    """A terminal whose database nobody has migrated."""
    return Terminal(monkeypatch, capsys, tmp_path)


@pytest.fixture
def tanlian(bare: Terminal, database_url: str) -> Terminal:
    """A terminal with a migrated database."""
    bare.monkeypatch.setenv("TANLIAN_DATABASE_URL", database_url)
    return bare


@pytest.fixture
def opened(tanlian: Terminal) -> Iterator[Hub]:
    """The hub that the terminal works on."""
    hub = open_hub(Settings(), clock=lambda: NOW)
    yield hub
    hub.engine.dispose()


@pytest.fixture
def clock() -> Clock:
    """Time, for a test to move."""
    return Clock()


@pytest.fixture
def ticking(hub: Hub, clock: Clock) -> Hub:
    """A hub that lives by the test's clock."""
    return replace(hub, clock=clock)


@pytest.fixture
def feed(ticking: Hub, clock: Clock) -> Iterator[Feed]:
    """A hub that follows one account at the simulated bank, served on the loopback."""
    with served_platform(CiticCarbon, CITIC, ticking) as (bank, origin):
        join(ticking, document_of(CITIC, origin=origin, connector_config={"limit": 5}))
        tokens = token_for(ticking, CITIC, inhabitant(1).accounts[CITIC])
        subject, grant, link = link_inhabitant(ticking, CITIC, inhabitant(1), tokens)
        with writing(ticking.engine) as session:
            ensure_state(session, CITIC, link, NOW)
        yield Feed(ticking, clock, bank, subject, grant, link)
