"""A hub that lived, signed to its end, for all tests of proofs: made once for each kind of database."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from tests_support.lived_hub import NOW, live, open_at
from tests_support.postgres import Cluster, find_binaries
from tests_support.regulating import regulator, sign
from tests_support.terminal import Terminal
from tests_support.tokens import Machine

from hub.context import Hub

KINDS = ["sqlite", "postgresql"] if find_binaries() else ["sqlite"]


@pytest.fixture(scope="module", params=KINDS)
def lived(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("proving")
    if request.param == "sqlite":
        shutil.copyfile(request.getfixturevalue("sqlite_template"), folder / "tanlian.db")
        url = f"sqlite:///{folder / 'tanlian.db'}"
    else:
        cluster: Cluster = request.getfixturevalue("cluster")
        url = cluster.create_database(template=request.getfixturevalue("postgres_template"))
    hub = open_at(url, folder / "keys")
    live(hub)
    sign(hub)
    yield hub
    hub.engine.dispose()


@pytest.fixture(scope="module")
def gu(lived: Hub) -> Machine:
    """A regulator's software, at a time when nothing is limited any more by what was before."""
    return regulator(replace(lived, clock=lambda: NOW + timedelta(hours=1)), "meng")


@pytest.fixture
def tanlian(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, lived: Hub
) -> Terminal:
    """A terminal on that hub."""
    terminal = Terminal(monkeypatch, capsys, tmp_path)
    monkeypatch.setenv("TANLIAN_DATABASE_URL", lived.settings.database_url)
    monkeypatch.setenv("TANLIAN_KEYS_DIR", str(lived.settings.keys_dir))
    return terminal
