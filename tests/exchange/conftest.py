"""A hub with something in its log, a regulator's software, and a terminal, for all tests of exchange."""

from pathlib import Path

import pytest
from tests_support.regulating import lively, regulator
from tests_support.terminal import Terminal
from tests_support.tokens import Machine

from hub.context import Hub


@pytest.fixture
def town(hub: Hub) -> Hub:
    return lively(hub)


@pytest.fixture
def gu(town: Hub) -> Machine:
    return regulator(town)


@pytest.fixture
def tanlian(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, database_url: str
) -> Terminal:
    """A terminal on the database of `hub`, with its keys."""
    terminal = Terminal(monkeypatch, capsys, tmp_path)
    monkeypatch.setenv("TANLIAN_DATABASE_URL", database_url)
    return terminal
