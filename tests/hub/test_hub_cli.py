"""The command line: what it prints, how it fails, and that running it again does no harm. On both databases."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import typer
from tests_support.deliveries import BEIJING, act, delivery
from tests_support.people import link_person
from tests_support.portal import Visitor
from tests_support.postgres import Cluster
from tests_support.pushes import DOOR, push
from tests_support.tokens import metadata
from tests_support.town import document_of, served_hub
from tests_support.web import Caller, count, look_up

from consent.metadata import server_jwks
from consent.receipts import load_receipts
from hub.cli import app, main
from hub.context import Hub, open_hub
from hub.db import reading
from hub.migrate import head_revision
from hub.participants import open_platform
from hub.pipeline import take_delivery
from hub.sandbox.people import CITIC, PLATFORMS, WECHAT
from hub.settings import Settings
from hub.worker import Worker

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
CITY = "beijing-green-life"


@dataclass(frozen=True)
class Ran:
    """What one command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The one line on stderr."""
        lines = self.err.splitlines()
        assert (self.code, len(lines)) == (1, 1), (self.code, self.err)
        assert lines[0].startswith("tanlian: ")
        return lines[0].removeprefix("tanlian: ")


class Terminal:
    """Runs `tanlian` in this process, as its entry point does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self.monkeypatch, self.capsys, self.folder = monkeypatch, capsys, folder
        monkeypatch.chdir(folder)
        for name in [name for name in os.environ if name.startswith("TANLIAN_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("TANLIAN_KEYS_DIR", str(folder / "keys"))
        monkeypatch.setenv("TANLIAN_DATABASE_URL", f"sqlite:///{folder}/unmigrated.db")
        monkeypatch.setenv("COLUMNS", "200")

    def __call__(self, *words: str | Path, stdin: str = "") -> Ran:
        self.monkeypatch.setattr(sys, "argv", ["tanlian", *map(str, words)])
        self.monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        self.capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        told = self.capsys.readouterr()
        return Ran(code, told.out, told.err)

    def write(self, name: str, content: Any) -> Path:
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path


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


# Participants, clients, people.


def test_a_participant_is_added_once_however_often_and_replaced_by_another_document(tanlian: Terminal, opened: Hub):
    first = tanlian.write("beijing.json", BEIJING)
    assert tanlian("participants", "add", first).out == f"{CITY}: stored\n"
    before = count(opened, "participant", "change_leaf", "sync_state")
    assert tanlian("participants", "add", first).out == f"{CITY}: unchanged\n"
    assert count(opened, "participant", "change_leaf", "sync_state") == before
    assert [one["id"] for one in tanlian("participants", "list", "--json").json] == [CITY]
    second = tanlian.write("other.json", BEIJING | {"name_en": "Beijing, renamed"})
    assert tanlian("participants", "add", second).out == f"{CITY}: stored\n"
    assert tanlian("participants", "show", CITY, "--json").json["name_en"] == "Beijing, renamed"
    assert count(opened, "participant") == {"participant": 1}


def test_the_sandbox_s_documents_are_added_together_where_loopback_is_allowed(tanlian: Terminal, opened: Hub):
    files = [tanlian.write(f"{name}.json", document_of(name, drop=tanlian.folder)) for name in PLATFORMS]
    assert "TANLIAN_ALLOW_LOOPBACK" in tanlian("participants", "add", *files).complaint
    assert count(opened, "participant") == {"participant": 0}
    tanlian.monkeypatch.setenv("TANLIAN_ALLOW_LOOPBACK", "1")
    assert tanlian("participants", "add", *files).out.count("stored") == len(PLATFORMS)
    assert count(opened, "participant", "sync_state") == {"participant": len(PLATFORMS), "sync_state": 1}


def test_a_connector_s_own_loopback_switch_needs_the_same_permission(tanlian: Terminal, opened: Hub):
    for platform in (CITIC, WECHAT):
        document = document_of(platform) | {"allow_loopback": False, "oauth": None, "statement_url": None}
        assert document["connector_config"]["allow_loopback"] is True
        complaint = tanlian("participants", "add", tanlian.write("p.json", document)).complaint
        assert "TANLIAN_ALLOW_LOOPBACK" in complaint, platform
    assert count(opened, "participant") == {"participant": 0}


WRONG_DOCUMENTS: dict[str, tuple[Any, str]] = {
    "no JSON": ("{", "not valid"),
    "a list": ("[]", "not valid"),
    "empty": ("", "not valid"),
    "no id": ({name: value for name, value in BEIJING.items() if name != "id"}, "id"),
    "an id with a slash": (BEIJING | {"id": "a/b"}, "id"),
    "an id with a line break": (BEIJING | {"id": "city\n"}, "id"),
    "an unknown field": (BEIJING | {"colour": "red"}, "colour"),
    "an unknown connector": (BEIJING | {"connector": "telepathy"}, "telepathy"),
    "an unknown mapping": (BEIJING | {"mapping": "nobody.acts.v1"}, "nobody.acts.v1"),
    "a mapping outside the folder": (BEIJING | {"mapping": "../../etc/passwd"}, "mapping"),
    "an unknown behaviour": (BEIJING | {"behaviours": ["MOB-BIKE", "MOB-TELEPORT"]}, "MOB-TELEPORT"),
    "no behaviours": (BEIJING | {"behaviours": []}, "behaviours"),
    "a stream that the connector has not": (BEIJING | {"stream": "dreams"}, "stream"),
    "an unknown field of the connector": (BEIJING | {"connector_config": {"colour": "red"}}, "colour"),
    "a secret too short": (BEIJING | {"secrets": {"webhook_secrets": "whsec_AAAA"}}, "webhook_secrets"),
    "no secret": (BEIJING | {"secrets": {}}, "webhook_secrets"),
    "a statement by plain http": (BEIJING | {"statement_url": "http://city.example/s"}, "statement_url"),
    "a statement by ftp": (BEIJING | {"statement_url": "ftp://city.example/s"}, "statement_url"),
    "an issuer by plain http": (
        BEIJING | {"oauth": {"issuer": "http://city.example", "client_id": "a", "client_secret": "b", "scopes": ["c"]}},
        "oauth.issuer",
    ),
    "an issuer with a password in it": (
        BEIJING | {"oauth": {"issuer": "https://u:p@city.example", "client_id": "a", "client_secret": "b", "scopes": ["c"]}},
        "oauth.issuer",
    ),
}  # fmt: skip


def test_a_wrong_document_is_one_line_that_names_the_field_and_stores_nothing(tanlian: Terminal, opened: Hub):
    for name, (document, named) in WRONG_DOCUMENTS.items():
        complaint = tanlian("participants", "add", tanlian.write("wrong.json", document)).complaint
        assert named in complaint, (name, complaint)
        assert "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" not in complaint, name
    assert count(opened, "participant", "change_leaf") == {"participant": 0, "change_leaf": 0}


def test_one_wrong_document_among_many_stores_none_of_them(tanlian: Terminal, opened: Hub):
    good, wrong = tanlian.write("good.json", BEIJING), tanlian.write("wrong.json", "{")
    tanlian("participants", "add", good, wrong).complaint  # noqa: B018 - asserts one line and code 1
    assert count(opened, "participant") == {"participant": 0}


def test_no_secret_of_a_participant_is_ever_shown(tanlian: Terminal, opened: Hub):
    tanlian.monkeypatch.setenv("TANLIAN_ALLOW_LOOPBACK", "1")
    document = document_of(CITY)
    tanlian("participants", "add", tanlian.write("p.json", document))
    secrets = [document["oauth"]["client_secret"], document["secrets"]["webhook_secrets"]]
    for words in (["participants", "show", CITY], ["participants", "list"], ["connectors", "check", CITY]):
        for flag in ([], ["--json"]):
            ran = tanlian(*words, *flag)
            assert ran.code == 0
            assert not any(secret in ran.out for secret in secrets)
    raw = look_up(opened, "SELECT configuration FROM participant")[0][0]
    assert not any(secret.encode() in bytes(raw) for secret in secrets)


def test_a_suspension_closes_the_door_and_reinstating_opens_it(tanlian: Terminal, opened: Hub):
    tanlian("participants", "add", tanlian.write("beijing.json", BEIJING))
    door = Caller(opened)
    assert tanlian("participants", "suspend", CITY).out == f"{CITY}: suspended\n"
    assert tanlian("participants", "suspend", CITY).out == f"{CITY}: suspended already\n"
    assert door.post(DOOR, **push("m1", now=NOW)).status_code == 404
    assert tanlian("participants", "show", CITY, "--json").json["status"] == "suspended"
    assert tanlian("participants", "reinstate", CITY).code == 0
    assert door.post(DOOR, **push("m1", now=NOW)).status_code == 200


def test_an_unknown_participant_is_one_line(tanlian: Terminal):
    for words in ("participants show", "participants suspend", "connectors check"):
        for name in ("nobody", "", "a/b", "x" * 3000, "名"):
            assert "no participant" in tanlian(*words.split(), name).complaint, words


def test_a_client_is_registered_and_its_information_is_json(tanlian: Terminal, opened: Hub):
    tanlian("participants", "add", tanlian.write("beijing.json", BEIJING))
    ran = tanlian("clients", "register", tanlian.write("client.json", metadata()), "--participant", CITY)
    told = ran.json
    assert (ran.code, told["scope"], told["token_endpoint_auth_method"]) == (0, "records:write", "private_key_jwt")
    assert look_up(opened, "SELECT client_id, participant FROM oauth_client") == [(told["client_id"], CITY)]


def test_a_client_that_cannot_be_registered_is_one_line(tanlian: Terminal, opened: Hub):
    good = metadata()
    cases: dict[str, Any] = {
        "no JSON": "{",
        "a list": [],
        "a text": '"client"',
        "no name": {name: value for name, value in good.items() if name != "client_name"},
        "an unknown scope": good | {"scope": "everything"},
        "a shared secret": good | {"token_endpoint_auth_method": "client_secret_basic"},
        "a private key": good | {"jwks": {"keys": [{"kty": "EC", "crv": "P-256", "x": "a", "y": "b", "d": "c"}]}},
        "no keys": good | {"jwks": {"keys": []}},
    }
    for name, document in cases.items():
        complaint = tanlian("clients", "register", tanlian.write("wrong.json", document)).complaint
        assert "wrong.json" in complaint, name
    file = tanlian.write("client.json", good)
    assert "no participant" in tanlian("clients", "register", file, "--participant", "nobody").complaint
    assert count(opened, "oauth_client") == {"oauth_client": 0}


def test_a_person_is_created_and_can_sign_in(tanlian: Terminal, opened: Hub):
    assert tanlian("people", "add", "李雷", "--password-stdin", stdin="a long password\n").out == "李雷: created\n"
    assert Visitor(opened).sign_in("李雷", "a long password").goes_to == "/"
    assert "taken" in tanlian("people", "add", "李雷", "--password-stdin", stdin="a long password\n").complaint
    assert count(opened, "person") == {"person": 1}


def test_a_person_with_an_impossible_name_or_password_is_one_line(tanlian: Terminal, opened: Hub):
    good = "a long password"
    for name, password in (("li", "short"), ("li", ""), ("", good), ("x" * 100, good), ("a\nb", good)):
        assert tanlian("people", "add", name, "--password-stdin", stdin=f"{password}\n").complaint
    assert count(opened, "person") == {"person": 0}


def test_a_child_is_created_with_its_guardian(tanlian: Terminal, opened: Hub):
    born = f"{date.today().year - 8}-03-01"  # the command's clock is the real one
    password = {"stdin": "a long password\n"}
    assert tanlian("people", "add", "parent", "--born", "1980-01-02", "--password-stdin", **password).code == 0
    assert tanlian(
        "people", "add", "child", "--born", born, "--guardian", "parent", "--password-stdin", **password
    ).out == "child: created\n"  # fmt: skip
    rows = look_up(
        opened,
        "SELECT c.username, g.username, c.born_sealed IS NOT NULL FROM person c LEFT JOIN person g "
        "ON g.subject_id = c.guardian_id ORDER BY c.username",
    )
    assert [(name, guardian, bool(sealed)) for name, guardian, sealed in rows] == [
        ("child", "parent", True), ("parent", None, True),
    ]  # fmt: skip
    assert "no account" in tanlian(
        "people", "add", "other", "--born", born, "--guardian", "nobody", "--password-stdin", **password
    ).complaint  # fmt: skip
    assert tanlian("people", "add", "other", "--born", "yesterday", "--password-stdin", **password).code == 2
    assert count(opened, "person") == {"person": 2}


# Receipts: verified without the hub.


def test_a_receipt_is_verified_with_a_file_of_keys_alone(bare: Terminal, hub: Hub):
    person = link_person(hub, "li", {CITY: "bj-1"}, {"MOB-BIKE"}, NOW)
    with reading(hub.engine) as session:
        (receipt,) = load_receipts(session, hub.ring, subject_id=person.subject_id)
    file, keys = bare.write("receipt.jwt", receipt.jws), bare.write("jwks.json", server_jwks(hub.ring))
    ran = bare("receipts", "verify", file, "--jwks", keys)
    assert (ran.code, ran.err) == (0, "")
    for words in ("The receipt is valid", "given at 2026-11-20T08:00:00Z", "MOB-BIKE", CITY, receipt.digest.hex()):
        assert words in ran.out, words
    told = bare("receipts", "verify", file, "--jwks", keys, "--json").json
    assert (told["valid"], told["digest"]) == (True, receipt.digest.hex())
    assert told["receipt"]["record_metadata"]["record_id"] == person.grant_id
    assert not (bare.folder / "unmigrated.db").exists()  # no hub was opened for it


def test_what_is_no_receipt_or_cannot_be_read_is_one_line(bare: Terminal, hub: Hub):
    person = link_person(hub, "li", {CITY: "bj-1"}, {"MOB-BIKE"}, NOW)
    with reading(hub.engine) as session:
        (receipt,) = load_receipts(session, hub.ring, subject_id=person.subject_id)
    file, keys = bare.write("receipt.jwt", receipt.jws), bare.write("jwks.json", server_jwks(hub.ring))
    changed = bare.write("changed.jwt", receipt.jws[:-4] + ("AAAA" if receipt.jws[-4:] != "AAAA" else "BBBB"))
    chinese = bare.write("chinese.jwt", "收据")
    text, number = bare.write("keys.txt", "no JSON"), bare.write("keys.json", "7")
    for receipt_file, place, told in (
        (changed, keys, "signature"), (keys, keys, "not a valid receipt"), (chinese, keys, "not a receipt"),
        (bare.folder / "nowhere", keys, "No such file"), (file, bare.folder / "nowhere", "No such file"),
        (file, text, "not a set of keys"), (file, number, "not a set of keys"), (file, "http://127.0.0.1:1/x", "ConnectError"),
    ):  # fmt: skip
        assert told in bare("receipts", "verify", receipt_file, "--jwks", place).complaint, (receipt_file, place)


def test_the_keys_may_be_fetched_from_the_hub(bare: Terminal, hub: Hub):
    with served_hub(hub) as there:
        person = link_person(there, "li", {CITY: "bj-1"}, {"MOB-BIKE"}, NOW)
        with reading(there.engine) as session:
            (receipt,) = load_receipts(session, there.ring, subject_id=person.subject_id)
        file = bare.write("receipt.jwt", receipt.jws)
        ran = bare("receipts", "verify", file, "--jwks", f"{there.settings.issuer}/oauth/jwks")
        assert (ran.code, "valid" in ran.out) == (0, True)
        assert bare("receipts", "verify", file, "--jwks", f"{there.settings.issuer}/nowhere").complaint


# Connectors, mappings, standards: no database is needed or made.


def test_what_the_hub_knows_is_listed_without_a_database(bare: Terminal):
    assert {one["name"] for one in bare("connectors", "list", "--json").json} >= {"signed_push", "tcec102", "werun"}
    assert "beijing-green-life.acts.v1" in bare("mappings", "list", "--json").json
    listed = bare("standards", "show", "--json").json
    assert {"MOB-BIKE", "MOB-METRO", "FOOD-NOTABLEWARE"} <= {one["code"] for one in listed}
    for words in (
        ["connectors", "list"],
        ["mappings", "list"],
        ["standards", "show"],
        ["standards", "show", "MOB-BIKE"],
    ):
        ran = bare(*words)
        assert (ran.code, ran.err) == (0, "")
        assert ran.out
    assert list(bare.folder.iterdir()) == []


def test_one_behaviour_is_shown_with_its_sources_and_an_unknown_one_is_one_line(bare: Terminal):
    told = bare("standards", "show", "MOB-BIKE", "--json").json
    assert (told["code"], told["units"][0]) == ("MOB-BIKE", "km")
    assert told["rates"]
    assert all(factor["source"] for factor in told["factors"])
    complaint = bare("standards", "show", "MOB-TELEPORT").complaint
    assert "MOB-TELEPORT" in complaint
    assert "MOB-BIKE" in complaint


@pytest.mark.parametrize("form", ["array", "lines"])
def test_a_sample_shows_its_records_and_every_bad_row_with_its_reason(bare: Terminal, form: str):
    rows = [json.dumps(act("1")), json.dumps(act("2", scene="UNICYCLE")), json.dumps(act("3", distance=-1))]
    rows.append(json.dumps(act("4")).replace('"ver": 1', '"ver": 1, "ver": 2'))
    rows.append(json.dumps(act("5")).replace('"distance": 2000', '"distance": NaN'))
    sample = bare.write("sample", "[" + ",\n".join(rows) + "]" if form == "array" else "\n".join(rows) + "\n")
    ran = bare("mappings", "test", "beijing-green-life.acts.v1", sample, "--json")
    assert ran.code == 0
    assert [(one["row"], one["behaviour"]) for one in ran.json["records"]] == [(0, "MOB-BIKE")]
    reasons = {one["row"]: one["reason"] for one in ran.json["quarantined"]}
    assert set(reasons) == {1, 2, 3, 4}
    assert (reasons[1], reasons[2], reasons[3]) == ("unknown_scene", "negative_quantity", "duplicate_key")
    shown = bare("mappings", "test", "beijing-green-life.acts.v1", sample)
    assert "4 quarantined" in shown.out
    assert "unknown_scene" in shown.out


def test_an_unknown_mapping_and_a_broken_sample_are_one_line(bare: Terminal):
    sample = bare.write("sample.json", "[{]")
    assert "nobody.acts.v1" in bare("mappings", "test", "nobody.acts.v1", sample).complaint
    assert "sample.json" in bare("mappings", "test", "beijing-green-life.acts.v1", sample).complaint
    assert bare("mappings", "test", "../../pyproject", sample).complaint


# Bulk clearing.


def records_folder(folder: Path, *, kilometres: tuple[str, ...] = ("2.0", "3.5"), **changes: Any) -> Path:
    folder.mkdir()
    begin = datetime(2026, 10, 5, 8, 0, tzinfo=UTC)
    rows = [
        {
            "record_id": number, "subject_id": 1, "platform": "city", "role": "operator", "behaviour": "MOB-BIKE",
            "start_at": begin + timedelta(hours=number), "end_at": begin + timedelta(hours=number, minutes=10),
            "precision": "second", "quantity": Decimal(km), "unit": "km", "event_key": None, "payment_key": None,
            "region": None, "claimed_mg": None,
        } | changes
        for number, km in enumerate(kilometres, start=1)
    ]  # fmt: skip
    schema = {
        "quantity": pl.Decimal(18, 6), "start_at": pl.Datetime("us", "UTC"), "end_at": pl.Datetime("us", "UTC"),
        "event_key": pl.UInt64, "payment_key": pl.UInt64, "region": pl.Int32, "claimed_mg": pl.Int64,
    }  # fmt: skip
    pl.DataFrame(rows, schema_overrides=schema).write_parquet(folder / "a.parquet")
    return folder


def test_files_are_cleared_without_a_database(bare: Terminal):
    records = records_folder(bare.folder / "records")
    ran = bare("clear", "--records", records, "--out", bare.folder / "out", "--json")
    assert ran.code == 0, ran.err
    told = ran.json
    assert (told["records"], told["events"], told["verdicts"]["counted"]) == (2, 2, 2)
    assert told["counted_mg"] == 33_880 * 2 + 33_880 * 35 // 10
    assert json.loads((bare.folder / "out" / "manifest.json").read_text())["root"] == told["root"]
    decisions = pl.read_parquet(bare.folder / "out" / "decisions" / "*.parquet")
    assert decisions["counted_mg"].sum() == told["counted_mg"]
    assert not (bare.folder / "keys").exists()
    shown = bare("clear", "--records", records, "--out", bare.folder / "out2")
    assert "2 records" in shown.out


def test_a_folder_that_cannot_be_cleared_is_one_line_and_nothing_is_written(bare: Terminal):
    out = bare.folder / "out"
    (bare.folder / "empty").mkdir()
    (bare.folder / "broken").mkdir()
    (bare.folder / "broken" / "a.parquet").write_bytes(b"PAR1 and no more")
    twice = records_folder(bare.folder / "twice", record_id=1)
    wrong = records_folder(bare.folder / "wrong", subject_id="one")
    file = bare.write("file", "x")
    for records in (bare.folder / "missing", bare.folder / "broken", twice, wrong, file):
        assert bare("clear", "--records", records, "--out", out).complaint, records
        assert not out.exists(), records
    occupied = bare.folder / "occupied"
    occupied.mkdir()
    (occupied / "mine.txt").write_text("keep me")
    good = records_folder(bare.folder / "good")
    assert bare("clear", "--records", good, "--out", occupied).complaint
    assert (occupied / "mine.txt").read_text() == "keep me"


# Windows.


def test_a_window_goes_its_way_by_the_command_line_and_only_in_order(tanlian: Terminal, opened: Hub):
    tanlian("participants", "add", tanlian.write("beijing.json", BEIJING))
    link_person(opened, "li", {CITY: "bj-1"}, set(BEIJING["behaviours"]), NOW)
    with reading(opened.engine) as session:
        city = open_platform(session, opened.ring, CITY)
    take_delivery(opened, city, delivery("d1", act("1")), now=NOW)

    assert "1" in tanlian("window", "finalize", "1").complaint  # still open
    assert "not cleared" in tanlian("window", "reconcile", "1").complaint
    assert tanlian("window", "seal", "--json").json["window"] == 1
    assert "window 1" in tanlian("window", "finalize", "1").complaint
    assert tanlian("window", "reconcile", "1", "--json").json == {CITY: {"state": "no_statement"}}
    assert "challenged until" in tanlian("window", "finalize", "1").complaint
    ran = tanlian("window", "finalize", "1", "--waive-challenge")
    assert (ran.code, "window 1 is final" in ran.out) == (0, True)
    assert "final" in tanlian("window", "finalize", "1", "--waive-challenge").complaint
    windows = tanlian("window", "list", "--json").json
    assert [(one["window"], one["state"], one["cleared"]) for one in windows] == [
        (1, "final", True),
        (2, "open", False),
    ]
    assert windows[0]["root"] in ran.out
    assert look_up(opened, "SELECT SUM(mg) FROM posting") in ([(0,)], [(Decimal(0),)])
    for words in (["window", "list"], ["window", "seal"], ["window", "reconcile", "2"]):
        assert tanlian(*words).code == 0


def test_an_unknown_window_is_one_line(tanlian: Terminal):
    for words in ("reconcile", "finalize"):
        for number in ("99", "0"):
            assert "no window" in tanlian("window", words, number).complaint
        assert tanlian("window", words, str(10**20)).code == 2


# The quarantine.


def test_set_aside_rows_are_shown_translated_with_a_corrected_mapping_and_given_up(
    tanlian: Terminal, opened: Hub, corrected: str
):
    assert tanlian("quarantine", "list", "--json").json == []
    tanlian("participants", "add", tanlian.write("beijing.json", BEIJING))
    link_person(opened, "li", {CITY: "bj-1"}, set(BEIJING["behaviours"]), NOW)
    with reading(opened.engine) as session:
        platform = open_platform(session, opened.ring, CITY)
    take_delivery(opened, platform, delivery("d1", act("1", scene="RIDE"), act("2", scene="ROCKET")), now=NOW)
    (told,) = tanlian("quarantine", "list", "--json").json
    assert (told["reason"], told["state"], told["rows"], told["kept"]) == ("unknown_scene", "open", 2, 2)
    assert "beijing" in tanlian("quarantine", "list").out
    shown = tanlian("quarantine", "show", CITY)
    assert "Open rows" in shown.out
    assert "ROCKET" not in shown.out
    assert tanlian("quarantine", "replay", CITY, "--json").json["rows"] == 0
    tanlian("participants", "add", tanlian.write("beijing.json", BEIJING | {"mapping": corrected}))
    ran = tanlian("quarantine", "replay", CITY)
    assert (
        ran.code,
        " ".join(ran.out.split()).startswith(f"{CITY}: 1 of 2 rows translate with {corrected}: 1 taken"),
    ) == (0, True)
    (left,) = tanlian("quarantine", "show", CITY, "--json").json
    assert tanlian("quarantine", "discard", str(left["row"])).out == "1 rows discarded\n"
    assert "discarded already" in tanlian("quarantine", "discard", str(left["row"])).complaint
    assert "no quarantined row 99" in tanlian("quarantine", "discard", "99").complaint
    assert "no participant" in tanlian("quarantine", "replay", "nobody").complaint
    assert tanlian("quarantine", "show", CITY, "--json").json == []


# The audit and the log.


def test_the_audit_of_a_sound_hub_holds_and_that_of_a_damaged_one_exits_1(tanlian: Terminal, opened: Hub):
    tanlian("participants", "add", tanlian.write("beijing.json", BEIJING))
    link_person(opened, "li", {CITY: "bj-1"}, set(BEIJING["behaviours"]), NOW)
    with reading(opened.engine) as session:
        city = open_platform(session, opened.ring, CITY)
    take_delivery(opened, city, delivery("d1", act("1")), now=NOW)
    tanlian("window", "seal")
    Worker(opened).round()
    ran = tanlian("audit", "--json")
    told = ran.json
    assert (ran.code, told["failed"]) == (0, 0), [one for one in told["checks"] if not one["ok"]]
    assert told["passed"] == len(told["checks"]) > 10
    assert f"{told['passed']} passed, 0 failed" in tanlian("audit").out
    with opened.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE decision SET counted_mg = counted_mg + 1")
    assert tanlian("audit").code == 1
    damaged = tanlian("audit", "--json")
    assert (damaged.code, damaged.json["failed"] > 0) == (1, True)
    assert next(one for one in damaged.json["checks"] if not one["ok"])["offenders"]


def test_the_log_is_exported_and_verified_and_a_flipped_byte_is_found(tanlian: Terminal, opened: Hub):
    tanlian("participants", "add", tanlian.write("beijing.json", BEIJING))
    tanlian("participants", "suspend", CITY)
    Worker(opened).round()
    key = tanlian("log", "key").out.strip()
    assert key.startswith("tanlian.local/log+")
    folder = tanlian.folder / "log"
    assert "2 entries" in tanlian("log", "export", "--dir", folder).out
    assert tanlian("log", "export", "--dir", folder).code == 0  # again, over itself
    ran = tanlian("log", "verify", "--dir", folder, "--json")
    assert (ran.code, ran.json["size"]) == (0, 2)
    assert tanlian("log", "verify", "--dir", folder, "--key", key).out.startswith("verified: 2 entries")
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole = file.read_bytes()
        file.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
        broken = tanlian("log", "verify", "--dir", folder, "--json")
        assert broken.code == 1, file
        file.write_bytes(whole)
    assert tanlian("log", "verify", "--dir", folder).code == 0
    shown = folder / "checkpoint"
    shown.write_bytes(shown.read_bytes().replace(b"\n2\n", b"\n3\n"))
    ran = tanlian("log", "verify", "--dir", folder)
    assert (ran.code, "NOT VERIFIED" in ran.out) == (1, True)


def test_a_log_that_is_not_there_or_another_one_s_key_is_not_verified(tanlian: Terminal):
    assert tanlian("log", "verify", "--dir", tanlian.folder / "missing").code == 1
    assert tanlian("log", "verify", "--url", "http://127.0.0.1:1/log").code == 1
    assert tanlian("log", "verify", "--dir", tanlian.folder, "--key", "no key").complaint
    file = tanlian.write("a-file", "x")
    assert tanlian("log", "export", "--dir", file).complaint


# Staff.


def test_staff_are_added_with_a_link_listed_invited_anew_and_disabled(tanlian: Terminal, opened: Hub):
    tanlian.monkeypatch.setenv("TANLIAN_ISSUER", "https://hub.example/")
    tanlian("participants", "add", tanlian.write("beijing.json", BEIJING))
    ran = tanlian("staff", "add", "chen", "--role", "operator")
    assert (ran.code, len(ran.out.splitlines())) == (0, 2)
    link = ran.out.splitlines()[1]
    assert link.startswith("https://hub.example/staff/enrol?token=")
    told = tanlian("staff", "add", "lin", "--role", "platform", "--participant", CITY, "--json").json
    assert (told["name"], told["passkeys"]) == ("lin", True)
    assert tanlian("staff", "add", "gu", "--role", "regulator", "--jurisdiction", "440300").code == 0
    again = tanlian("staff", "enrol", "chen").out.splitlines()[1]
    assert again != link
    assert tanlian("staff", "disable", "gu").out == "gu: disabled\n"
    assert tanlian("staff", "disable", "gu").out == "gu: disabled already\n"
    rows = tanlian("staff", "list", "--json").json
    assert [(row["name"], row["participant"], row["jurisdiction"], row["standing"]) for row in rows] == [
        ("chen", None, None, "invited"),
        ("gu", None, "440300", "disabled"),
        ("lin", CITY, None, "invited"),
    ]
    assert "operator" in tanlian("staff", "list").out
    assert len(look_up(opened, "SELECT * FROM staff_enrolment")) == 2
    assert link.rpartition("=")[2] not in str(look_up(opened, "SELECT * FROM staff_enrolment"))


def test_a_member_of_staff_who_cannot_be_is_refused_in_one_line(tanlian: Terminal, opened: Hub):
    for words in (
        ["add", "chen", "--role", "platform"],
        ["add", "chen", "--role", "platform", "--participant", "nobody"],
        ["add", "chen", "--role", "operator", "--jurisdiction", "CN"],
        ["add", "chen", "--role", "regulator", "--jurisdiction", "44"],
        ["add", "Chen Wei", "--role", "operator"],
        ["enrol", "nobody"],
        ["disable", "nobody"],
    ):
        assert tanlian("staff", *words).complaint
    assert count(opened, "staff", "staff_action") == {"staff": 0, "staff_action": 0}
    assert tanlian("staff", "add", "chen", "--role", "operator").code == 0
    assert "already" in tanlian("staff", "add", "chen", "--role", "operator").complaint


def test_where_no_browser_gives_passkeys_the_link_comes_with_a_warning(tanlian: Terminal, opened: Hub):
    assert "TANLIAN_ISSUER" in tanlian("staff", "add", "chen", "--role", "operator").out
    assert tanlian("staff", "enrol", "chen", "--json").json["passkeys"] is False


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
