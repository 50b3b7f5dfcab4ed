"""A town whose grams are held, an operator who decides, and a second platform."""

import pytest
from tests_support.disputing import employ
from tests_support.people import LinkedPerson
from tests_support.terminal import Terminal
from tests_support.using import settle_town

from hub.context import Hub


@pytest.fixture
def li(hub: Hub) -> LinkedPerson:
    """Li holds the grams of three rides on three days; Chen decides."""
    employ(hub)
    return settle_town(hub)[1]


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
