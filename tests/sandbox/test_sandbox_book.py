"""What a simulated platform says of its records: once each, of who shares them, in the time in which they were told."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from hub.reconcile.documents import parse_lines, parse_told
from hub.reconcile.lines import totals_of
from hub.sandbox.config import participants
from hub.sandbox.platforms.book import DeliveryBook
from hub.sandbox.reports import Note, Report, Reports
from hub.sandbox.server import SandboxOptions, make_platforms
from hub.sandbox.town import Town

BEGIN = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


def report(source: str, version: int = 1, claimed_mg: int = 5, account: str = "bj-1") -> Report:
    return Report(
        platform="x", part=1, person=1, account=account, act_id=1, source_id=source, version=version,
        delivered_at=BEGIN, body="{}", claimed_mg=claimed_mg, note=Note.PLAIN,
    )  # fmt: skip


class Clock:
    def __init__(self) -> None:
        self.now = BEGIN

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def front(clock: Clock) -> DeliveryBook:
    return DeliveryBook(clock=clock, is_shared=lambda row: row.account != "nobody")


def read(book: DeliveryBook, since: datetime = BEGIN, until: datetime = BEGIN + timedelta(hours=1)) -> list[Any]:
    """Records, claims and digest of each stream, as the hub reads them; the lines make the same totals."""
    streams = parse_told(json.dumps({"streams": book.streams(since, until)}).encode(), extra="forbid").streams
    for told in streams:
        assert totals_of(parse_lines(book.lines_text(told.stream or "", since, until).encode())) == told.totals
    return [(told.stream, told.totals.records, told.totals.claimed_mg) for told in streams]


def test_a_record_is_told_once_with_its_last_version(front: DeliveryBook, clock: Clock) -> None:
    book = front.of_feed("", lambda row: row.version)
    book.note("d1", 1, (report("a"), report("b"), report("a", 2, 7), report("c", account="nobody")))
    book.note("d2", 1, (report("b"), report("a")))
    assert read(front) == [(None, 2, 12)]
    assert '"version": 2' in book.lines_text("", BEGIN, BEGIN + timedelta(hours=1))
    clock.now = BEGIN + timedelta(hours=1)
    book.note("d3", 2, (report("b"), report("a", 3, 1)))
    assert read(front) == [(None, 2, 12)]
    assert read(front, clock.now, clock.now + timedelta(hours=1)) == [(None, 1, 1)]


def test_feeds_stand_apart_and_rows_of_nobody_in_none(front: DeliveryBook) -> None:
    first, second = front.of_feed("", lambda row: 0), front.of_feed("ledger", lambda row: row.version)
    nobody = front.of_feed("trips", None)
    for book in (first, second, nobody):
        book.note(f"d-{id(book)}", 1, (report("a", 4),))
    assert read(front) == [(None, 1, 5), ("ledger", 1, 5)]
    assert '"version": 0' in front.lines_text("acts", BEGIN, BEGIN + timedelta(hours=1))
    assert '"version": 4' in front.lines_text("ledger", BEGIN, BEGIN + timedelta(hours=1))


def test_what_a_feed_leaves_out_is_in_no_statement(front: DeliveryBook) -> None:
    book = front.of_feed("", lambda row: 0 if row.version == 1 else None)
    book.note("d1", 1, (report("a"), report("a", 2, 9), report("b", 2)))
    assert read(front) == [(None, 1, 5)]


async def ask(app: FastAPI, *queries: dict[str, str]) -> list[httpx.Response]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://platform.example") as caller:
        return [await caller.get("/statement", params=query) for query in queries]


def test_every_platform_of_the_town_serves_both_forms(tmp_path: Any) -> None:
    made = make_platforms(SandboxOptions(people=3, drop_dir=tmp_path), Reports(Town(7, 3)))
    told = {document["id"]: document for document in participants(8100, tmp_path, "http://127.0.0.1:8000", 7)}
    for name, platform in made.items():
        assert told[name]["statement_streams"] is True
        query = {"window": "1", "from": BEGIN.isoformat(), "until": (BEGIN + timedelta(days=1)).isoformat()}
        answer, lines, bare = asyncio.run(ask(platform.app, query, query | {"lines": "true"}, {}))
        read_back = parse_told(answer.content, extra="ignore")
        assert read_back.deliveries is not None
        assert len(read_back.streams) == len([voice for voice in platform.voices if voice.names_people]), name
        assert lines.text == ""
        assert "streams" not in bare.json()
