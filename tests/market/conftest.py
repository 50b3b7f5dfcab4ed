"""A town whose people hold a little more than two tonnes, a market, and a terminal."""

from pathlib import Path

import pytest
from tests_support.marketing import Market, Town, settled_town
from tests_support.terminal import Terminal

from hub.context import Hub


@pytest.fixture
def town(hub: Hub) -> Town:
    return settled_town(hub)


@pytest.fixture
def market(hub: Hub, town: Town) -> Market:
    """All three people allow the market to pool their grams."""
    market = Market.opened(hub)
    market.allowed(*town.people)
    return market


@pytest.fixture
def tanlian(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, hub: Hub) -> Terminal:
    """A terminal at the test's hub."""
    terminal = Terminal(monkeypatch, capsys, tmp_path)
    monkeypatch.setenv("TANLIAN_DATABASE_URL", hub.settings.database_url)
    monkeypatch.setenv("TANLIAN_KEYS_DIR", str(hub.settings.keys_dir))
    monkeypatch.setenv("TANLIAN_ISSUER", hub.settings.issuer)
    return terminal
