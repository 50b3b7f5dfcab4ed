"""How a platform joins: the document is followed word by word, by a platform of its own and without any code of the hub.

The platform is built of the reference clients and a simulated sign-in; the hub is served over HTTP, its operator uses the
command line, and the person a browser.
"""

import json
import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
from docs.markdown_blocks import ROOT, Block, parse_blocks, parse_codes, parse_rows, without_blocks
from docs.test_docs_links import fault_of_command
from fastapi import FastAPI
from standardwebhooks import Webhook
from starlette.routing import Route
from tests_support.fetching import Clock
from tests_support.golden import quantified
from tests_support.portal import PASSWORD, sign_up
from tests_support.terminal import Ran, Terminal
from tests_support.town import served_hub
from tests_support.web import free_port, look_up, served

from connectors.clients.pull_server import Place, PullServer, Row
from connectors.clients.push_client import PushClient, PushRefused, hmac_signer
from connectors.strict_json import split_records
from hub.commands.profiles import DOCUMENTS
from hub.context import Hub, open_hub
from hub.db import reading
from hub.ledger.store import load_balances
from hub.records.naming import load_naming, token_of
from hub.sandbox.browser import Browser, Persona, link_platform, sign_in
from hub.sandbox.platforms.auth_server import AuthServer, Client
from hub.settings import Settings
from hub.sync.fetching import fetch_next
from mappings import load_mapping, translate, use_mappings_from

NAME, ORIGIN = "qingdao-carbon", "https://carbon.qingdao.example"
PERSON, ACCOUNT = "王小明", "qd-000777"
TEXT = (DOCUMENTS / "joining.v1.md").read_text(encoding="utf-8")
BLOCKS = parse_blocks(TEXT)
KNOWN = {
    "mapping", "rows", "first", "aside", "message", "headers", "page", "second", "participant", "third", "answer", "notice",
    "notice-headers", "noted", "fourth", "later", "past",
}  # fmt: skip


def blocks(word: str) -> list[Block]:
    return [block for block in BLOCKS if block.words == (word,)]


def only(word: str) -> str:
    (block,) = blocks(word)
    return block.text.removesuffix("\n")


def headers(word: str) -> dict[str, str]:
    pairs = [line.partition(": ") for line in only(word).splitlines()]
    return {name: value for name, _, value in pairs}


def moment(word: str) -> datetime:
    return datetime.fromtimestamp(int(headers(word)["webhook-timestamp"]), UTC)


def message(number: int) -> bytes:
    return blocks("message")[number].text.removesuffix("\n").encode()


def secrets() -> tuple[str, str]:
    told = json.loads(only("participant"))
    return told["secrets"]["webhook_secrets"], told["notice_secret"]


@dataclass
class City:
    """The platform: its sign-in, its book behind cursor pull, and a client that pushes. It knows nothing of the hub but urls."""

    origin: str
    hub_url: str
    clock: Clock
    app: FastAPI = field(default_factory=FastAPI)
    book: list[Row] = field(default_factory=list)

    def __post_init__(self) -> None:
        told = json.loads(only("participant"))["oauth"]
        back = f"{self.hub_url}/links/callback/{NAME}"
        client = Client(client_id=told["client_id"], client_secret=told["client_secret"], redirect_uri=back)
        self.oauth = AuthServer(
            issuer=self.origin, title="青岛碳普惠", key=bytes(32), client=client, clock=self.clock,
            sign_in=lambda name, password: ACCOUNT if (name, password) == (PERSON, "city") else None,
        )  # fmt: skip
        self.app.include_router(self.oauth.router())
        ledger = PullServer(
            account_of=lambda token: self.oauth.account_of(f"Bearer {token}"), load_rows=self._select, clock=self.clock
        )
        self.app.router.routes.append(Route("/ledger", ledger))

    def _select(self, account: str, after: Place, before: datetime, limit: int) -> list[Row]:
        """The statement of the reference server, by hand."""
        rows = [row for row in self.book if after < (row.updated_at, row.id) and row.updated_at <= before]
        return sorted(rows, key=lambda row: (row.updated_at, row.id))[:limit] if account == ACCOUNT else []

    def write(self, entry: dict[str, Any]) -> None:
        at = datetime.fromtimestamp(entry["更新"] / 1000, UTC)
        text = json.dumps(entry, ensure_ascii=False, separators=(",", ":"))
        self.book.append(Row(id=entry["流水号"], updated_at=at, document=text.encode()))

    def client(self, secret: str, path: str = "") -> PushClient:
        return PushClient(
            url=f"{self.hub_url}/in/{NAME}{path}", sign=hmac_signer(secret), waits_s=(),
            clock=lambda: self.clock().timestamp(),
        )  # fmt: skip


@dataclass
class Desk:
    """The operator's desk: a served hub, a terminal for it, and the city's own server."""

    hub: Hub
    terminal: Terminal
    city: City
    clock: Clock

    subject: int

    def run(self, line: str) -> Ran:
        return self.terminal(*shlex.split(line)[1:])

    def add(self, **changes: str) -> None:
        """Add the participant of the document; its host is a port of this machine here."""
        told = json.loads(only("participant").replace(ORIGIN, self.city.origin)) | changes
        told["allow_loopback"] = told["more_feeds"][0]["connector_config"]["allow_loopback"] = True
        ran = self.terminal("participants", "add", self.terminal.write(f"{NAME}.json", told))
        assert ran.out == f"{NAME}: stored\n", ran.err

    def link(self) -> None:
        """A person signs in at the hub and links the account, by forms and redirects only."""
        person = Persona(username=PERSON, hub_password=PASSWORD, platform_password="city")
        with Browser() as browser:
            sign_in(browser, self.hub.settings.issuer, person)
            link_platform(browser, self.hub.settings.issuer, NAME, person)

    def post(self, body: bytes, signed: dict[str, str], path: str = "") -> httpx.Response:
        """Send bytes with headers that were written before."""
        url = f"{self.hub.settings.issuer}/in/{NAME}{path}"
        return httpx.post(
            url, content=body, headers=signed | {"content-type": "application/json"}, trust_env=False, timeout=60
        )

    def decided(self) -> dict[tuple[str, int], tuple[str, int]]:
        """Verdict and milligrams of each telling, by the platform's own id and the version."""
        with reading(self.hub.engine) as session:
            naming = load_naming(session, self.hub.ring)
        ours = {token_of(naming.current, name): name for name in re.findall(r"[QL][A-Z]?-[0-9]+", f"{TEXT} L-88003")}
        rows = look_up(
            self.hub,
            "SELECT source_id, version, verdict, counted_mg FROM decision JOIN source_record USING (record_id) "
            "ORDER BY record_id, decision.window_id",
        )
        return {(ours[source], version): (verdict, mg) for source, version, verdict, mg in rows}

    def pending(self) -> int:
        with reading(self.hub.engine) as session:
            return load_balances(session, self.subject)["pending"]

    def aside(self) -> dict[str, int]:
        return {row["reason"]: row["rows"] for row in self.run("tanlian quarantine list --json").json}

    def push(self, message_id: str, body: bytes) -> dict[str, Any]:
        return self.city.client(secrets()[0]).send(message_id, body)


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Iterator[Terminal]:
    """An operator's shell with the document's files in its folder."""
    (tmp_path / "mappings").mkdir()
    for block in BLOCKS:
        if block.file is not None:
            folder = tmp_path / "mappings" if block.words == ("mapping",) else tmp_path
            (folder / block.file).write_text(block.text.removesuffix("\n"), encoding="utf-8")
    opened = Terminal(monkeypatch, capsys, tmp_path)
    monkeypatch.setenv("TANLIAN_MAPPINGS_DIR", str(tmp_path / "mappings"))
    yield opened
    use_mappings_from(None)


@pytest.fixture
def desk(terminal: Terminal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sqlite_template: Path) -> Iterator[Desk]:
    clock = Clock()
    clock.now = moment("headers")
    shutil.copyfile(sqlite_template, tmp_path / "hub.db")
    monkeypatch.setenv("TANLIAN_DATABASE_URL", f"sqlite:///{tmp_path}/hub.db")
    monkeypatch.setenv("TANLIAN_ALLOW_LOOPBACK", "1")
    opened = open_hub(Settings(), clock=clock)
    with ExitStack() as stack:
        stack.callback(opened.engine.dispose)
        hub = stack.enter_context(served_hub(opened))
        monkeypatch.setenv("TANLIAN_ISSUER", hub.settings.issuer)
        bound, origin = stack.enter_context(free_port())
        city = City(origin=origin, hub_url=hub.settings.issuer, clock=clock)
        stack.enter_context(served(city.app, bound))
        yield Desk(hub, terminal, city, clock, sign_up(hub, PERSON))


def told_grams(heading: str) -> dict[tuple[str, int], tuple[str, int]]:
    """The document's table of what counts, in the words of `decided`."""
    rows = {}
    for telling, verdict, grams, *_ in parse_rows(TEXT, heading):
        name, _, version = telling.replace("`", "").partition(", version ")
        rows[name, int(version or 1)] = verdict, int(Decimal(grams) * 1000)
    return rows


def test_a_city_joins_and_its_acts_count_as_the_document_says(desk: Desk) -> None:
    for line in only("first").splitlines()[1:]:
        assert desk.run(line).code == 0
    desk.add()
    shown = desk.run(only("third").splitlines()[1])
    assert "ledger" in shown.out
    assert not any(secret in shown.out for secret in secrets())
    desk.link()

    answered = desk.post(message(0), headers("headers"))
    assert (answered.status_code, answered.json()) == (200, json.loads(only("answer")))
    for entry in json.loads(only("page"))["records"]:
        desk.city.write(entry)
    desk.clock.now = moment("notice-headers")
    noted = desk.post(only("notice").encode(), headers("notice-headers"), "/changes")
    assert (noted.status_code, noted.json()) == (202, json.loads(only("noted")))
    assert fetch_next(desk.hub, "w1")
    assert not fetch_next(desk.hub, "w1")  # its next turn is hours away

    assert "ledger" in desk.run(only("fourth").splitlines()[0]).out
    assert desk.aside() == {"not_final": 1, "unknown_account": 1}
    for line in only("fourth").splitlines():
        assert desk.run(line).code == 0, line
    first = told_grams("Record")
    assert desk.decided() == first
    assert desk.pending() == sum(mg for _, mg in first.values())

    desk.clock.pass_by(hours=4, minutes=10)
    assert desk.push("qd-20261006-0002", message(1))["accepted"] == 3
    assert desk.run("tanlian window seal").code == 0
    second = told_grams("Telling")
    assert desk.decided() == first | second
    standing = sum(mg for key, (_, mg) in (first | second).items() if key not in {("QD-1001", 1), ("QD-1002", 1)})
    assert desk.pending() == standing
    told = re.search(r"that is ([0-9.]+) g; before it was ([0-9.]+) g", TEXT)
    assert told is not None
    assert [int(Decimal(grams) * 1000) for grams in told.groups()] == [standing, sum(mg for _, mg in first.values())]
    audited = desk.run("tanlian audit --json")
    assert (audited.code, audited.json["failed"]) == (0, 0)


@pytest.fixture
def joined(desk: Desk) -> Desk:
    """The city has joined, the person has linked, and the first message was taken."""
    desk.add()
    desk.link()
    assert desk.push("qd-20261006-0001", message(0)) == json.loads(only("answer"))
    return desk


def test_the_endpoint_passes_the_check_before_anybody_has_linked(desk: Desk) -> None:
    desk.add()
    ran = desk.run(only("third").splitlines()[2])
    assert (ran.code, "failed │" in ran.out) == (0, False), ran.out


def test_what_is_sent_again_changes_nothing(joined: Desk) -> None:
    before = look_up(joined.hub, "SELECT COUNT(*) FROM source_record")
    assert joined.push("qd-20261006-0001", message(0)) == json.loads(only("answer"))
    again = joined.push("qd-another-id", message(0))
    assert (again["accepted"], again["replayed"]) == (0, 2)
    with pytest.raises(PushRefused, match="409 delivery_conflict"):
        joined.push("qd-20261006-0001", message(1))
    assert look_up(joined.hub, "SELECT COUNT(*) FROM source_record") == before


def test_a_record_that_is_no_strict_json_disturbs_no_other(joined: Desk) -> None:
    twice, long = b'{"actId":"a","actId":"b"}', b'{"actId":"' + b"x" * 70_000 + b'"}'
    good = message(0).partition(b"[")[2].partition(b"\n")[0].replace(b"QD-1001", b"QD-1009")
    told = joined.push("qd-20261006-0009", b'{"records":[' + twice + b"," + long + b"," + good.rstrip(b",") + b"]}")
    assert (told["accepted"], told["quarantined"]) == (1, 2)
    assert [(one["position"], one["reason"]) for one in told["unreadable"]] == [(0, "duplicate_key")]


def test_each_door_has_its_own_key(joined: Desk) -> None:
    push_key, notice_key = secrets()
    notice, unread = only("notice").encode(), b'{"records":[]}'
    assert joined.city.client(push_key, "/acts").send("by-name", unread)["accepted"] == 0
    with pytest.raises(PushRefused, match="401 signature_invalid"):
        joined.city.client(push_key, "/changes").send("n1", notice)
    with pytest.raises(PushRefused, match="401 signature_invalid"):
        joined.city.client(notice_key).send("m1", unread)
    with pytest.raises(PushRefused, match="400 notice_malformed"):
        joined.city.client(notice_key, "/changes").send("n2", b'{"accounts":["a"],"stream":"nothing"}')


def test_without_a_notice_the_book_is_read_in_its_turn(joined: Desk) -> None:
    assert fetch_next(joined.hub, "w1")  # what was linked just now
    assert not fetch_next(joined.hub, "w1")
    joined.city.client(secrets()[1], "/changes").send("n1", only("notice").encode())
    assert fetch_next(joined.hub, "w1")
    minutes = json.loads(only("participant"))["more_feeds"][0]["poll_minutes"]
    joined.clock.pass_by(minutes=minutes - 1)
    assert not fetch_next(joined.hub, "w1")
    joined.clock.pass_by(minutes=1)
    assert fetch_next(joined.hub, "w1")


@pytest.mark.parametrize("sealed", [True, False], ids=["sealed", "open"])
def test_a_reversal_on_one_feed_is_none_on_the_other(joined: Desk, sealed: bool) -> None:
    ride = json.loads(only("page"))["records"][1]
    metro = ride | {"流水号": "L-88003", "行为": "地铁", "订单号": "MT-20261005-12", "减排量": "0.046"}
    joined.city.write(metro | {"日期时间": "2026-10-05 18:40:00"})
    assert fetch_next(joined.hub, "w1")
    if sealed:
        joined.run("tanlian window seal")
        assert joined.decided()["L-88003", 1] == ("duplicate", 0)
    joined.clock.pass_by(hours=5)
    joined.push("qd-20261006-0002", message(1))
    joined.run("tanlian window seal")
    assert joined.decided()["L-88003", 1] == ("counted", 46_000)
    assert joined.pending() == 115_870 + 144_000 + 46_000
    joined.city.write(metro | {"修订": 2, "状态": "作废", "更新": 1791270000000})
    joined.clock.pass_by(hours=6)
    assert fetch_next(joined.hub, "w1")
    joined.run("tanlian window seal")
    assert joined.pending() == 115_870 + 144_000
    assert joined.run("tanlian audit --json").json["failed"] == 0


def test_a_word_that_nobody_knew_is_translated_later_by_the_next_version(joined: Desk) -> None:
    unknown = message(0).replace(b'"QD-1002"', b'"QD-1009"').replace(b'"METRO"', b'"SUBWAY"', 1)
    assert joined.push("qd-20261006-0003", unknown)["quarantined"] == 2
    name, next_name = f"{NAME}.acts.v1", f"{NAME}.acts.v2"
    assert next_name in TEXT
    text = blocks("mapping")[0].text.replace(name, next_name)
    text = text.replace('METRO = "MOB-METRO"', 'METRO = "MOB-METRO"\nSUBWAY = "MOB-METRO"')
    text = text.replace('path = "kind", equals = "METRO"', 'path = "kind", in = ["METRO", "SUBWAY"]')
    (joined.terminal.folder / "mappings" / f"{next_name}.toml").write_text(text, encoding="utf-8")
    joined.add(mapping=next_name)
    assert "1 taken" in " ".join(joined.run(only("later")).out.split())
    assert joined.aside() == {"not_final": 1, "unknown_account": 1, "unknown_scene": 1}


def test_the_past_is_asked_for_where_it_can_be(joined: Desk) -> None:
    past, now = only("past").splitlines()
    assert "no such feed" in joined.run(past).complaint
    assert joined.run(now).out == f"{NAME}: 1 to be read now\n"


def test_samples_are_translated_and_set_aside_as_the_document_says(terminal: Terminal) -> None:
    lines = only("first").splitlines()
    assert lines[0].startswith("export TANLIAN_MAPPINGS_DIR=")
    names = terminal(*shlex.split(lines[1])[1:]).out.split()
    assert {str(block.file).removesuffix(".toml") for block in blocks("mapping")} <= set(names)
    told = terminal(*shlex.split(lines[2])[1:], "--json").json
    assert [[row["row"], row["reason"]] for row in told["quarantined"]] == json.loads(only("aside"))
    assert [row["source_id"] for row in told["records"]] == ["QD-1001", "QD-1003"]
    ride = told["records"][0]
    assert (ride["quantity_micro"], ride["unit"], ride["region"], ride["account"]) == (3_120_000, "km", 370202, ACCOUNT)


def test_message_and_page_are_valid_and_a_mapping_finds_what_it_does_not_take(terminal: Terminal) -> None:
    push, page = (shlex.split(line)[1:] for line in only("second").splitlines())
    assert terminal(*push).out == "signed-push: nothing found\n"
    assert terminal(*page).out == "cursor-pull: nothing found\n"
    ran = terminal(*push, "--mapping", f"{NAME}.acts.v1", "--json")
    assert (ran.code, [(one["code"], one["where"]) for one in ran.json["findings"]]) == (
        1,
        [("not_final", "records[3]")],
    )
    changed = message(0).replace(b"3120", b"3121")
    (terminal.folder / "message.json").write_bytes(changed)
    assert terminal(*push).code == 1


def test_the_vectors_are_made_by_the_reference_client(terminal: Terminal) -> None:
    for secret, word, body in zip(
        secrets(), ("headers", "notice-headers"), (message(0), only("notice").encode()), strict=True
    ):
        told = headers(word)
        signed = f"{told['webhook-id']}.{told['webhook-timestamp']}.".encode() + body
        assert hmac_signer(secret)(signed) == told["webhook-signature"]
        assert Webhook(secret).sign(told["webhook-id"], moment(word), body.decode()) == told["webhook-signature"]


def test_the_grams_are_those_of_the_methodology_or_of_the_claim(terminal: Terminal) -> None:
    use_mappings_from(terminal.folder / "mappings")
    grams = {}
    for name, body in (("acts", message(0)), ("ledger", only("page").encode())):
        rows = pl.Series(split_records(body, "records").rows, dtype=pl.Binary)
        accounts = pl.Series([ACCOUNT] * len(rows), dtype=pl.String)
        mapping = load_mapping(f"{NAME}.{name}.v1")
        told = translate(mapping, rows, token_key=bytes(32), now=moment("headers"), accounts=accounts)
        for source_id, row in zip(told.records["source_id"], quantified((NAME, told)).to_dicts(), strict=True):
            most = [mg for mg in (row["reference_mg"], row["claimed_mg"]) if mg is not None]
            grams[source_id] = min(most) if row["reference_mg"] is not None else 0
    del grams["QD-1003"]  # of somebody who has not linked
    assert grams == {name: mg for (name, _), (_, mg) in told_grams("Record").items()}


def test_every_block_of_the_document_is_tried() -> None:
    assert all(block.words for block in BLOCKS)
    assert {word for block in BLOCKS for word in block.words} == KNOWN


PROFILE_DOCUMENTS = sorted(DOCUMENTS.glob("*.md"))


@pytest.mark.parametrize("path", PROFILE_DOCUMENTS, ids=lambda path: path.name)
def test_every_command_file_and_page_that_a_profile_document_names_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    lines = [code for code in parse_codes(text) if code.startswith("tanlian ")]
    lines += [line for block in parse_blocks(text) if block.language == "sh" for line in block.text.splitlines()]
    commands = [line for line in lines if line.startswith("tanlian ")]
    assert commands
    faults = {line: fault_of_command(shlex.split(line)[1:]) for line in commands}
    assert {line: fault for line, fault in faults.items() if fault} == {}
    assert [name for name in re.findall(r"\]\(([^)]+)\)", text) if not (path.parent / name).exists()] == []
    named = [
        code for code in parse_codes(text) if re.fullmatch(r"(?:connectors|mappings|hub|standards)/[\w./-]+", code)
    ]
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert path.name == "joining.v1.md" or "(joining.v1.md)" in without_blocks(text)


def test_a_part_that_the_explanation_names_is_in_the_files(terminal: Terminal) -> None:
    told = json.loads(only("participant"))
    for row in parse_rows(TEXT, "Part"):
        for name in re.findall(r"[a-z_]+", row[0]):
            assert name in told or name in str(told["more_feeds"]) or name in blocks("mapping")[0].text, name


def test_no_code_of_the_hub_knows_the_city() -> None:
    packages = ("hub", "connectors", "consent", "mappings", "standards")
    code = [path for package in packages for path in (ROOT / package).rglob("*.py")]
    told = [
        path
        for path in [*code, *(ROOT / "mappings" / "files").glob("*.toml")]
        if NAME in path.read_text(encoding="utf-8")
    ]
    assert told == []
