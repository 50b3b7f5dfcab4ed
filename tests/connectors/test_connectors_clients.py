"""The platforms' side of the profiles, against the hub's side, over real HTTP where there is any."""

import base64
import json
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from connectors.base import Cursor, Inbound, LinkAccess, Outcome, Reauthorise, Reply, RetryLater
from connectors.clients.drop_writer import DropWriter, csv_file, jsonl_file
from connectors.clients.pull_server import Place, PullServer, Row, parse_cursor
from connectors.clients.push_client import (
    PushClient,
    PushFailed,
    PushRefused,
    ed25519_signer,
    hmac_signer,
    write_message,
)
from connectors.profiles.cursor_pull import CursorPull
from connectors.profiles.cursor_pull import parse_config as parse_pull_config
from connectors.profiles.signed_push import SignedPush
from connectors.profiles.signed_push import parse_config as parse_push_config

NOW = datetime(2026, 10, 6, 1, 0, tzinfo=UTC)
SECRET, OTHER_SECRET = "whsec_" + "QUJD" * 11, "whsec_" + "REVG" * 11
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ROWS = [{"id": 1, "amount": "6.00"}, {"id": 2, "name": "绿"}]


class Door:
    """A hub's door that fails first as often as it is told to."""

    def __init__(self, *failures: int | None, secret: str = SECRET) -> None:
        self.failures, self.seen, self.slept = list(failures), [], []  # type: ignore[var-annotated]
        self.push = SignedPush(parse_push_config({}, {"webhook_secrets": secret}))
        self.at = NOW

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        failure = self.failures.pop(0) if self.failures else 200
        if failure is None:
            raise httpx.ConnectError("nobody there")
        if failure != 200:
            return httpx.Response(failure, headers={"retry-after": "77"}, json={"type": "urn:tanlian:problem:later"})
        inbound = Inbound(method="POST", path="/", headers=dict(request.headers), body=request.content)
        found = self.push.receive(inbound, now=self.at)
        if not isinstance(found, Reply):
            found = self.push.acknowledge(found, Outcome(accepted=len(found.rows)))
        return httpx.Response(found.status, content=found.body)

    def client(self, **changes: Any) -> PushClient:
        def sleep(seconds: float) -> None:
            self.slept.append(seconds)
            self.at += timedelta(seconds=seconds)

        settings = {
            "url": "https://hub.example/in/town", "sign": hmac_signer(SECRET), "sleep": sleep,
            "client": httpx.Client(transport=httpx.MockTransport(self)), "clock": lambda: self.at.timestamp(),
        } | changes  # fmt: skip
        return PushClient(**settings)


def test_a_message_is_signed_and_taken() -> None:
    door = Door()
    assert door.client().push("m-1", ROWS)["accepted"] == 2
    assert json.loads(door.seen[0].content) == {"records": ROWS}


def test_failures_are_tried_again_with_the_same_bytes_and_a_fresh_signature() -> None:
    door = Door(503, None, 429, 200)
    assert door.client().push("m-1", ROWS)["accepted"] == 2
    assert len({request.content for request in door.seen}) == 1
    assert {request.headers["webhook-id"] for request in door.seen} == {"m-1"}
    assert len({request.headers["webhook-signature"] for request in door.seen}) == 4
    assert door.slept == [77.0, 30.0, 120.0]


def test_a_refusal_is_not_repeated_and_patience_ends() -> None:
    door = Door(secret=OTHER_SECRET)
    with pytest.raises(PushRefused) as refused:
        door.client().push("m-1", ROWS)
    assert (refused.value.status, refused.value.reason, len(door.seen)) == (401, "signature_invalid", 1)
    door = Door(*[500] * 9)
    with pytest.raises(PushFailed):
        door.client(waits_s=(1, 1)).push("m-1", ROWS)
    assert len(door.seen) == 3


def test_both_schemes_sign_while_keys_are_changed() -> None:
    public = "whpk_" + base64.b64encode(KEY.public_key().public_bytes_raw()).decode()
    for secret in (SECRET, public):
        door = Door(secret=secret)
        assert door.client(sign=[hmac_signer(SECRET), ed25519_signer(KEY)]).push("m-1", ROWS)["accepted"] == 2


def test_a_message_that_the_hub_would_not_take_is_not_written() -> None:
    with pytest.raises(ValueError, match="split"):
        write_message([{}] * 5001)
    with pytest.raises(ValueError, match="split"):
        write_message([{"a": "x" * (1 << 20)}])
    with pytest.raises(ValueError, match="JSON"):
        write_message([{"a": float("nan")}])


class Table:
    """A platform's table of records."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Row] = {}

    def put(self, account: str, row_id: str, updated_at: datetime, **more: Any) -> None:
        document = json.dumps({"id": row_id, **more}).encode()
        self.rows[account, row_id] = Row(id=row_id, updated_at=updated_at, document=document)

    def load(self, account: str, after: Place, before: datetime, limit: int) -> Sequence[Row]:
        own = [row for (owner, _), row in self.rows.items() if owner == account]
        told = [row for row in own if (row.updated_at, row.id) > after and row.updated_at <= before]
        return sorted(told, key=lambda row: (row.updated_at, row.id))[:limit]


@pytest.fixture
def feed() -> Iterator[tuple[Table, str]]:
    table = Table()
    app = PullServer(account_of={"t-a": "a", "t-b": "b"}.get, load_rows=table.load, clock=lambda: NOW)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        threading.Event().wait(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield table, f"http://127.0.0.1:{port}/records"
    server.should_exit = True
    thread.join(timeout=10)


def access(token: str) -> LinkAccess:
    return LinkAccess(link_id="1", account=token.removeprefix("t-"), access_token=token)


def read(url: str, token: str = "t-a", cursor: Cursor | None = None, **config: Any) -> tuple[list[str], Cursor | None]:
    source = CursorPull(parse_pull_config({"records_url": url, "allow_loopback": True, "limit": 3} | config, {}))
    ids: list[str] = []
    for page in source.fetch(access(token), cursor, now=NOW):
        ids += [json.loads(row)["id"] for row in page.delivery.rows]
        cursor = page.cursor
    return ids, cursor


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
def test_every_record_is_read_once_whatever_the_limit(feed: tuple[Table, str], limit: int) -> None:
    table, url = feed
    for number in range(7):
        # Several rows of one moment, so that pages end between them.
        table.put("a", f"r{number}", NOW - timedelta(hours=1, seconds=-(number // 3)))
    table.put("b", "of somebody else", NOW - timedelta(hours=1))
    assert read(url, limit=limit)[0] == [f"r{number}" for number in range(7)]
    assert read(url, "t-b")[0] == ["of somebody else"]


def test_what_is_added_or_changed_later_is_read_next_time(feed: tuple[Table, str]) -> None:
    table, url = feed
    for number in range(4):
        table.put("a", f"r{number}", NOW - timedelta(hours=2, seconds=-number))
    ids, cursor = read(url)
    assert ids == ["r0", "r1", "r2", "r3"]
    table.put("a", "r1", NOW - timedelta(hours=1), version=2)
    table.put("a", "r9", NOW - timedelta(minutes=30))
    table.put("a", "fresh", NOW - timedelta(seconds=59))  # its transaction may have neighbours that are not seen yet
    again, cursor = read(url, cursor=cursor)
    assert again == ["r3", "r1", "r9"]  # the last page again, and what followed
    assert read(url, cursor=cursor)[0] == ["r3", "r1", "r9"]


def test_nothing_is_told_without_a_token_and_nothing_guessed_from_a_bad_cursor(feed: tuple[Table, str]) -> None:
    _, url = feed
    assert CursorPull(parse_pull_config({"records_url": url, "allow_loopback": True}, {})).check().ok
    with pytest.raises(Reauthorise):
        read(url, "stranger")
    for query in ("cursor=x", "cursor=W10", "limit=0", "limit=-1", "limit=1e3", "limit=9999999"):
        assert httpx.get(f"{url}?{query}", headers={"authorization": "Bearer t-a"}, timeout=60).status_code == 400
    assert httpx.post(url, timeout=60).status_code == 405
    assert parse_cursor("WzEsMl0") is None


def test_a_hub_that_reads_while_the_feed_is_down_comes_again(feed: tuple[Table, str]) -> None:
    with pytest.raises(RetryLater):
        read("http://127.0.0.1:9/records")


def test_a_writer_that_was_interrupted_finishes_its_drop(tmp_path: Path) -> None:
    writer = DropWriter(root=tmp_path, platform="town", stream="acts", key=KEY)
    assert writer.find_last() is None
    writer.write({"a.jsonl": jsonl_file(ROWS)}, created_at=NOW)
    (tmp_path / "2").mkdir()
    (tmp_path / "2" / "a.jsonl").write_bytes(b"half")
    folder = writer.write({"a.csv": csv_file([{"id": "1"}], ["id"])}, created_at=NOW)
    assert folder.name == "2"
    assert writer.find_last() == 2
    assert json.loads((folder / "manifest.json").read_bytes())["files"][0]["name"] == "a.csv"


def test_a_table_does_not_take_columns_that_it_does_not_name() -> None:
    with pytest.raises(ValueError, match="fields"):
        csv_file([{"id": "1", "name": "x"}], ["id"])
