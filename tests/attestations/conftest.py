"""A hub with somebody to attest something about."""

import pytest
from tests_support.attesting import Recipient, settle_town
from tests_support.terminal import Terminal

from hub.context import Hub


@pytest.fixture
def li(hub: Hub) -> int:
    return settle_town(hub)


@pytest.fixture
def bank(hub: Hub, li: int) -> Recipient:
    """A credit system that Li allowed to look at everything."""
    return Recipient.of(hub, li)


@pytest.fixture
def tanlian(
    hub: Hub,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Terminal:
    """A terminal beside the hub, on its database and keys."""
    terminal = Terminal(monkeypatch, capsys, tmp_path_factory.mktemp("beside"))
    monkeypatch.setenv("TANLIAN_DATABASE_URL", hub.settings.database_url)
    monkeypatch.setenv("TANLIAN_KEYS_DIR", str(hub.settings.keys_dir))
    monkeypatch.setenv("TANLIAN_ISSUER", hub.settings.issuer)
    return terminal
