"""What platforms write is read as strictly in columns as it is line by line."""

import json
from typing import Any

import polars as pl
import pytest

from hub.errors import UsageProblem
from hub.reconcile.documents import MOST_LINES_INSIDE, parse_lines, parse_told
from hub.reconcile.lines import LINE_SCHEMA, totals_of

GOOD = [
    {"source_id": "a", "version": 1, "claimed_mg": 2, "posted_at": "2026-10-05T08:12:03+08:00"},
    {"source_id": "骑行 |7", "posted_at": "2026-10-05T00:12:03.5Z"},
    {"source_id": "c", "version": 0, "claimed_mg": 10**12},
]
READ = [("a", 1, 2, 1_791_159_123_000_000), ("骑行 |7", 0, 0, 1_791_159_123_500_000), ("c", 0, 10**12, None)]
WRONG: dict[str, bytes] = {
    "no JSON": b"{",
    "a list": b"[]",
    "a text": b'"a"',
    "a key twice": b'{"source_id":"a","source_id":"b"}',
    "an unknown member": b'{"source_id":"a","mg":1}',
    "no id": b'{"version":1}',
    "an id that is null": b'{"source_id":null}',
    "an id that is a number": b'{"source_id":1}',
    "an empty id": b'{"source_id":""}',
    "an endless id": b'{"source_id":"' + b"a" * 513 + b'"}',
    "an id with a line feed": b'{"source_id":"a|1|0\\nb"}',
    "half a character": b'{"source_id":"\\ud800"}',
    "a version as text": b'{"source_id":"a","version":"1"}',
    "a version as true": b'{"source_id":"a","version":true}',
    "a version with a point": b'{"source_id":"a","version":1.0}',
    "a version below zero": b'{"source_id":"a","version":-1}',
    "a version beyond 64 bits": b'{"source_id":"a","version":99999999999999999999}',
    "a claim below zero": b'{"source_id":"a","claimed_mg":-1}',
    "a claim beyond all bounds": b'{"source_id":"a","claimed_mg":1000000000001}',
    "a claim that is NaN": b'{"source_id":"a","claimed_mg":NaN}',
    "a claim as 1e3": b'{"source_id":"a","claimed_mg":1e3}',
    "a time without zone": b'{"source_id":"a","posted_at":"2026-10-05T08:12:03"}',
    "a time that cannot be": b'{"source_id":"a","posted_at":"2026-13-05T08:12:03Z"}',
    "a time as a number": b'{"source_id":"a","posted_at":1791159123}',
    "a record twice": b'{"source_id":"a","version":1}\n{"source_id":"a","version":2}',
    "too deep": b'{"source_id":' + b"[" * 100_000,
    "not UTF-8": b'{"source_id":"\xff"}',
}


def test_lines_are_read() -> None:
    frame = parse_lines("\n".join(json.dumps(line, ensure_ascii=False) for line in GOOD).encode())
    assert frame.schema == LINE_SCHEMA
    assert frame.rows() == READ


@pytest.mark.parametrize("body", [b"", b"\n", b"  \n\n"])
def test_no_line_is_an_empty_stream(body: bytes) -> None:
    assert parse_lines(body).equals(pl.DataFrame(schema=LINE_SCHEMA))


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_line_is_refused_and_not_repeated(name: str) -> None:
    with pytest.raises(UsageProblem) as refused:
        parse_lines(b'{"source_id":"z"}\n' + WRONG[name])
    assert not any(part in str(refused.value) for part in ("aaaa", "1791159123", "99999", "2026"))


@pytest.mark.parametrize("name", [name for name in WRONG if name not in ("no JSON", "not UTF-8", "too deep")])
def test_a_line_inside_a_statement_is_held_to_the_same(name: str) -> None:
    lines = b",".join([b'{"source_id":"z"}', *WRONG[name].split(b"\n")])
    with pytest.raises(UsageProblem):
        parse_told(b'{"streams":[{"lines":[' + lines + b"]}]}", extra="forbid")


def statement(**stream: Any) -> bytes:
    return json.dumps({"streams": [stream]}).encode()


def test_lines_inside_a_statement_are_the_same_lines() -> None:
    (told,) = parse_told(statement(lines=GOOD), extra="forbid").streams
    assert told.lines is not None
    assert told.lines.rows() == READ
    assert (told.stream, told.totals) == (None, totals_of(told.lines))


def test_lines_that_do_not_make_the_totals_are_told_so() -> None:
    (told,) = parse_told(statement(lines=GOOD), extra="forbid").streams
    whole = {"records": 3, "claimed_mg": told.totals.claimed_mg, "digest": told.totals.digest.hex(), "lines": GOOD}
    assert parse_told(statement(**whole), extra="forbid").streams[0].totals == told.totals
    for wrong in ({"records": 2}, {"claimed_mg": 1}, {"digest": "0" * 64}):
        with pytest.raises(UsageProblem, match=r"streams\.0: the lines do not make"):
            parse_told(statement(**(whole | wrong)), extra="forbid")


HALVES: dict[str, bytes] = {
    "nothing": b"{}",
    "no totals and no lines": statement(stream="acts"),
    "half of the totals": statement(records=1, claimed_mg=0),
    "a digest in capitals": statement(records=0, claimed_mg=0, digest="A" * 64),
    "a count below zero": statement(records=-1, claimed_mg=0, digest="0" * 64),
    "a stream that is no name": statement(stream="Acts!", lines=[]),
    "a stream twice": json.dumps({"streams": [{"stream": "acts", "lines": []}] * 2}).encode(),
    "lines beyond the bound": statement(lines=[{"source_id": f"{n}"} for n in range(MOST_LINES_INSIDE + 1)]),
}


@pytest.mark.parametrize("name", HALVES)
def test_half_a_statement_is_refused(name: str) -> None:
    with pytest.raises(UsageProblem, match="not of the agreed form"):
        parse_told(HALVES[name], extra="forbid")
