"""Fixtures that every area uses: a migrated database of each kind, and a hub on it.

PostgreSQL runs as a private cluster of this test process, from the system's binaries, in a temporary directory; where
there are none, only the SQLite half is collected and the run says so (CI fails instead).
"""

import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, settings
from sqlalchemy import Engine
from tests_support import secrets_in_logs
from tests_support.postgres import Cluster, find_binaries
from tests_support.scratch import write_into_memory

from consent.keyring import load_keyring
from hub.context import Hub
from hub.db import make_engine
from hub.migrate import prepare
from hub.settings import Settings

# Tables are as wide in a worker of the test runner, which sets a width of its own, as they are in a file.
os.environ["COLUMNS"] = "140"
# The tests' clock stands, that of commands goes: between them leaves seem to have waited for days. Tests of the bound set it.
os.environ["TANLIAN_LOG_STOP_AFTER"] = "P9999D"

write_into_memory()

# No example is timed: how long one takes says how busy the machine is.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
BINARIES = find_binaries()
CHROMIUM = shutil.which("chromium")
DATABASES = ["sqlite", "postgresql"] if BINARIES else ["sqlite"]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not BINARIES:
        terminalreporter.write_line("PostgreSQL's server binaries were not found: only the SQLite half was run")
    if not CHROMIUM:
        terminalreporter.write_line("Chromium was not found: passkeys were not tried in a real browser")


def pytest_sessionfinish(session: pytest.Session) -> None:
    if os.environ.get("TANLIAN_FAIL_ON_SKIP") and not (BINARIES and CHROMIUM):
        session.exitstatus = 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    report = yield
    if os.environ.get("TANLIAN_FAIL_ON_SKIP") and report.skipped and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and nothing may be skipped here"
    return report


secrets_in_logs.install()


@pytest.fixture(autouse=True)
def _no_secret_in_logs() -> Iterator[None]:
    """Every test of the suite is also one of what the hub writes to its log."""
    secrets_in_logs.WATCH.lines.clear()
    yield
    assert secrets_in_logs.WATCH.leaked() == []


@pytest.fixture(scope="session")
def now() -> datetime:
    return NOW


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    assert BINARIES is not None
    # Not below pytest's own folder: the next run of pytest takes other users' rights to walk through it away.
    with TemporaryDirectory(prefix="tanlian-postgres-") as folder, Cluster.started(BINARIES, Path(folder)) as running:
        yield running


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "tanlian.db"
    engine = make_engine(f"sqlite:///{path}")
    prepare(engine, NOW)
    engine.dispose()
    return path


@pytest.fixture(scope="session")
def postgres_template(cluster: Cluster) -> str:
    engine = make_engine(cluster.create_database("template_tanlian"))
    prepare(engine, NOW)
    engine.dispose()
    return "template_tanlian"


@pytest.fixture(params=DATABASES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated database of its own for one test, on each kind of server."""
    if request.param == "sqlite":
        path = tmp_path / "tanlian.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    running: Cluster = request.getfixturevalue("cluster")
    url = running.create_database(template=request.getfixturevalue("postgres_template"))
    yield url
    running.drop_database(url)


@pytest.fixture
def engine(database_url: str) -> Iterator[Engine]:
    opened = make_engine(database_url)
    yield opened
    opened.dispose()


@pytest.fixture
def hub(engine: Engine, database_url: str, tmp_path: Path) -> Hub:
    """A hub on the test's database whose clock stands at NOW."""
    settings = Settings(
        _env_file=None, database_url=database_url, keys_dir=tmp_path / "keys", issuer="https://hub.example"
    )
    return Hub(settings=settings, engine=engine, ring=load_keyring(settings.keys_dir), clock=lambda: NOW)
