"""The command line: its help, how it fails, its database and its worker. On both databases."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from tests_support.deliveries import BEIJING
from tests_support.postgres import Cluster
from tests_support.terminal import Terminal
from tests_support.tokens import metadata

from hub.cli import app
from hub.migrate import head_revision

CITY = "beijing-green-life"


def commands(group: Any = None, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    group = typer.main.get_command(app) if group is None else group
    found = [path]
    for name, command in getattr(group, "commands", {}).items():
        found += commands(command, (*path, name))
    return found


COMMANDS = commands()


# Help and usage.


def test_every_command_explains_itself(bare: Terminal):
    assert len(COMMANDS) > 30
    for words in COMMANDS:
        ran = bare(*words, "--help")
        assert (ran.code, ran.err) == (0, ""), words
        assert "Usage:" in ran.out, words
        body = [line for line in ran.out.splitlines() if line.strip() and not line.startswith(("Usage", " Usage"))]
        assert len(body[0].strip()) > 10, words  # a sentence, not a list of options alone


def test_the_commands_of_the_contract_are_there():
    told = {" ".join(words) for words in COMMANDS}
    assert {
        "migrate", "serve", "worker", "demo", "participants add", "participants list", "participants show",
        "participants suspend", "clients register", "people add", "connectors list", "connectors check", "mappings list",
        "mappings test", "standards show", "clear", "window list", "window seal", "window reconcile", "window finalize",
        "audit", "log verify", "log export", "log key", "quarantine list", "quarantine show", "quarantine replay",
        "quarantine discard", "staff add", "staff list", "staff enrol", "staff disable",
        "receipts verify",
    } <= told  # fmt: skip


@pytest.mark.parametrize(
    "words",
    [
        ["no-such-command"],
        ["migrate", "--no-such-option"],
        ["participants", "add"],
        ["participants", "no-such-command"],
        ["people", "add"],
        ["staff", "add", "chen"],
        ["staff", "add", "chen", "--role", "root"],
        ["window", "reconcile"],
        ["window", "reconcile", "one"],
        ["clear", "--records", "x"],
        ["clear", "--records", "x", "--out", "y", "--engine", "none"],
        ["clear", "--records", "x", "--out", "y", "--workers", "0"],
        ["serve", "--workers", "0"],
        ["serve", "--port", "not-a-port"],
        ["demo", "--people", "1"],
        ["log", "verify"],
        ["log", "verify", "--url", "http://127.0.0.1:1/log", "--dir", "."],
        ["log", "export"],
    ],
)
def test_a_usage_error_is_told_on_stderr_and_exits_2(bare: Terminal, words: list[str]):
    ran = bare(*words)
    assert (ran.code, ran.out) == (2, "")
    assert ran.err
    assert "Traceback" not in ran.err
    assert list(bare.folder.iterdir()) == []  # nothing was opened or created for it


def test_the_entry_point_of_the_package_is_this_command_line(bare: Terminal):
    script = "from importlib.metadata import entry_points as e; (p,) = e(group='console_scripts', name='tanlian'); p.load()()"
    done = subprocess.run(
        [sys.executable, "-c", script, "participants", "show", "nobody"], capture_output=True, text=True, cwd=bare.folder
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("tanlian: ")
    assert len(done.stderr.splitlines()) == 1


# Failures of the world are one line.


def test_before_the_migration_every_command_that_needs_the_database_says_so_in_one_line(bare: Terminal):
    document = bare.write("beijing.json", BEIJING)
    client = bare.write("client.json", metadata())
    for words in (
        ["participants", "add", document],
        ["participants", "list"],
        ["participants", "show", CITY],
        ["participants", "suspend", CITY],
        ["clients", "register", client],
        ["people", "add", "li", "--password-stdin"],
        ["connectors", "check", CITY],
        ["quarantine", "list"],
        ["quarantine", "show", CITY],
        ["quarantine", "replay", CITY],
        ["quarantine", "discard", "1"],
        ["window", "list"],
        ["window", "seal"],
        ["window", "reconcile", "1"],
        ["window", "finalize", "1"],
        ["log", "export", "--dir", bare.folder / "log"],
    ):  # fmt: skip
        assert "tanlian migrate" in bare(*words, stdin="a long password\n").complaint, words


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TANLIAN_DATABASE_URL", "nonsense"),
        ("TANLIAN_DATABASE_URL", "oracle://host/db"),
        ("TANLIAN_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none?connect_timeout=1"),
        ("TANLIAN_DATABASE_URL", "sqlite:////proc/none/tanlian.db"),
        ("TANLIAN_PORT", "eighty"),
        ("TANLIAN_LEASE", "soon"),
        ("TANLIAN_KEYS_DIR", "/proc/none/keys"),
    ],
)
def test_a_setting_that_cannot_be_is_one_line(bare: Terminal, name: str, value: str):
    bare.monkeypatch.setenv(name, value)
    complaint = bare("window", "list").complaint
    assert complaint
    assert "Error" not in complaint.split(":")[0]


def test_a_missing_and_an_unreadable_file_are_one_line_that_names_it(tanlian: Terminal):
    missing, folder, binary = tanlian.folder / "missing.json", tanlian.folder, tanlian.folder / "binary.json"
    binary.write_bytes(b"[\xff\xfe")
    for words in ("participants add", "clients register", "mappings test beijing-green-life.acts.v1"):
        for path in (missing, folder, binary):
            assert str(path) in tanlian(*words.split(), path).complaint, words


# The database.


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/deep/down/fresh.db"
        return
    cluster: Cluster = request.getfixturevalue("cluster")
    url = cluster.create_database()
    yield url
    cluster.drop_database(url)


def test_migrating_creates_the_database_and_doing_it_again_changes_nothing(bare: Terminal, fresh_url: str):
    bare.monkeypatch.setenv("TANLIAN_DATABASE_URL", fresh_url)
    for _ in range(2):
        ran = bare("migrate")
        assert (ran.code, ran.err) == (0, "")
        assert head_revision() in ran.out
        windows = bare("window", "list", "--json").json
        assert [(window["window"], window["state"]) for window in windows] == [(1, "open")]


# Long-running commands.


def test_the_worker_says_that_it_runs_and_ends_well_when_told_to(bare: Terminal, sqlite_template: Path):
    bare.monkeypatch.setenv("TANLIAN_DATABASE_URL", f"sqlite:///{shutil.copy(sqlite_template, bare.folder)}")
    command = [sys.executable, "-c", "from hub.cli import main; main()", "worker"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, cwd=bare.folder, text=True)
    assert process.stderr is not None
    with process.stderr as lines:
        first = next(lines)
        process.send_signal(signal.SIGTERM)
        rest = lines.read()
    assert process.wait(timeout=60) == 0
    assert json.loads(first)["event"] == "worker_started"
    assert [json.loads(line)["event"] for line in rest.splitlines()] == ["worker_stopped"]
