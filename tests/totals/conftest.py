"""A town whose people may join a programme, and a terminal, for all tests of totals."""

from pathlib import Path

import pytest
from tests_support.terminal import Terminal
from tests_support.totalling import Town

from hub.context import Hub


@pytest.fixture
def town(hub: Hub) -> Town:
    return Town(hub)


@pytest.fixture
def tanlian(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, database_url: str
) -> Terminal:
    """A terminal with a migrated database."""
    terminal = Terminal(monkeypatch, capsys, tmp_path)
    monkeypatch.setenv("TANLIAN_DATABASE_URL", database_url)
    return terminal
