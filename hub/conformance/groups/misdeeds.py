"""The ways in which a platform's answer goes wrong, and which errors a connector may make of each. Pure."""

import gzip
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from email.utils import format_datetime
from functools import cache

from connectors.base import ConnectorError, Reauthorise, RetryLater, SetAside, Stop
from hub.conformance.inspection import MARK
from hub.conformance.wire import Answered, Asked, Misdeed
from hub.conformance.world import town_reports

FLOOD_BYTES = 96 << 20
RETRY_S = 7
_ANY = (RetryLater, SetAside, Stop)
_WHATEVER = (RetryLater, SetAside, Stop, Reauthorise)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoil:
    """A misdeed with its name. `heals`: asking again later helps, so nothing but RetryLater is right."""

    title: str
    misdeed: Misdeed = field(repr=False)
    allowed: tuple[type[ConnectorError], ...] = _ANY
    heals: bool = False
    at_least_s: int = 0
    may_be_read: bool = False  # a tolerant connector may take the answer for what it is


def _status(status: int, headers: Mapping[str, str] | None = None) -> Misdeed:
    body = json.dumps({"error": MARK, "message": MARK, "access_token": MARK}).encode()
    given = (("content-type", "application/json"), *(headers or {}).items())

    def spoil(asked: Asked, answered: Answered) -> Answered:
        return Answered(status=status, headers=given, body=body)

    return spoil


def _body(body: bytes, kind: str = "application/json", headers: Mapping[str, str] | None = None) -> Misdeed:
    def spoil(asked: Asked, answered: Answered) -> Answered:
        return Answered(status=200, headers=(("content-type", kind), *(headers or {}).items()), body=body)

    return spoil


def _truncated(asked: Asked, answered: Answered) -> Answered:
    return replace(answered, body=answered.body[: len(answered.body) * 2 // 3])


def _cut(asked: Asked, answered: Answered) -> Answered:
    return replace(answered, body=answered.body[: len(answered.body) // 2], announced=len(answered.body) + 10)


def _flood(asked: Asked, answered: Answered) -> Answered:
    def chunks() -> Iterator[bytes]:
        yield b'{"records":['
        for _ in range(FLOOD_BYTES >> 18):
            yield b" " * (1 << 18)

    return Answered(status=200, headers=(("content-type", "application/json"),), body=b"", chunks=chunks())


@cache
def bomb() -> bytes:
    """A gzip of a few kilobytes that becomes a hundred megabytes."""
    return gzip.compress(b" " * FLOOD_BYTES, compresslevel=9)


def _bomb(asked: Asked, answered: Answered) -> Answered:
    headers = (("content-type", "application/json"), ("content-encoding", "gzip"))
    return Answered(status=200, headers=headers, body=bomb())


def _foreign_encoding(asked: Asked, answered: Answered) -> Answered:
    return replace(answered, headers=(*answered.headers, ("content-encoding", "br")))


def _damaged_gzip(asked: Asked, answered: Answered) -> Answered:
    pressed = gzip.compress(answered.body)
    return replace(answered, headers=(*answered.headers, ("content-encoding", "gzip")), body=pressed[:-9] + b"x" * 9)


def _doubled(asked: Asked, answered: Answered) -> Answered:
    return replace(answered, body=answered.body + answered.body)


def _with_bytes(asked: Asked, answered: Answered) -> Answered:
    middle = len(answered.body) // 2
    return replace(answered, body=answered.body[:middle] + b"\xff\xfe" + answered.body[middle:])


def _until() -> str:
    at = town_reports().town.ends_at + timedelta(days=2, minutes=2)
    return format_datetime(at, usegmt=True)


_DEEP = b"[" * 100_000
MISDEEDS: Mapping[str, Spoil] = {
    "429": Spoil(title="429 with seconds to wait", misdeed=_status(429, {"Retry-After": str(RETRY_S)}),
                 allowed=(RetryLater,), heals=True, at_least_s=RETRY_S),
    "429-date": Spoil(title="429 with a time to wait for", misdeed=_status(429, {"Retry-After": _until()}),
                      allowed=(RetryLater,), heals=True, at_least_s=110),
    "429-absurd": Spoil(title="429 with an absurd wait", misdeed=_status(429, {"Retry-After": "-999999999999"}),
                        allowed=(RetryLater,), heals=True),
    "429-bare": Spoil(title="429 without a wait", misdeed=_status(429), allowed=(RetryLater,), heals=True),
    "408": Spoil(title="408", misdeed=_status(408), allowed=(RetryLater,), heals=True),
    "500": Spoil(title="500", misdeed=_status(500), allowed=(RetryLater,), heals=True),
    "502": Spoil(title="502 of a gateway", misdeed=_status(502), allowed=(RetryLater,), heals=True),
    "503": Spoil(title="503 with a wait", misdeed=_status(503, {"Retry-After": str(RETRY_S)}),
                 allowed=(RetryLater,), heals=True, at_least_s=RETRY_S),
    "400": Spoil(title="400", misdeed=_status(400)),
    "401": Spoil(title="401", misdeed=_status(401), allowed=_WHATEVER),
    "403": Spoil(title="403", misdeed=_status(403), allowed=_WHATEVER),
    "404": Spoil(title="404", misdeed=_status(404)),
    "410": Spoil(title="410", misdeed=_status(410)),
    "422": Spoil(title="422", misdeed=_status(422)),
    "204": Spoil(title="204 without anything", misdeed=lambda asked, answered: Answered(status=204, headers=(), body=b"")),
    "redirect": Spoil(title="a redirect to an address inside", allowed=(Stop,),
                      misdeed=_status(302, {"Location": "http://169.254.169.254/latest/meta-data"})),
    "redirect-307": Spoil(title="a redirect that keeps the method", allowed=(Stop,),
                          misdeed=_status(307, {"Location": "/elsewhere"})),
    "empty": Spoil(title="200 and nothing", misdeed=_body(b"")),
    "garbage": Spoil(title="200 and garbage", misdeed=_body(b"\x00\xff<html>\x80{]" + MARK.encode())),
    "html": Spoil(title="200 and a page for people",
                  misdeed=_body(f"<html><body>{MARK}</body></html>".encode(), "text/html")),
    "truncated": Spoil(title="an answer that ends too early", misdeed=_truncated),
    "doubled": Spoil(title="an answer that is there twice", misdeed=_doubled),
    "bytes": Spoil(title="an answer with bytes that are no text", misdeed=_with_bytes),
    "null": Spoil(title="200 and null", misdeed=_body(b"null")),
    "array": Spoil(title="200 and an array", misdeed=_body(b"[]")),
    "object": Spoil(title="200 and an empty object", misdeed=_body(b"{}")),
    "text": Spoil(title="200 and a text", misdeed=_body(json.dumps(MARK).encode())),
    "deep": Spoil(title="200 and arrays without end", misdeed=_body(_DEEP)),
    "deep-member": Spoil(title="200 and an object without end", misdeed=_body(b'{"records":' * 50_000)),
    "number": Spoil(title="200 and a number without end", misdeed=_body(b'{"records":' + b"9" * 100_000 + b"}")),
    "flood": Spoil(title="an answer without end", misdeed=_flood),
    "bomb": Spoil(title="a small answer that becomes a huge one", misdeed=_bomb),
    "encoding": Spoil(title="an encoding that was not asked for", misdeed=_foreign_encoding),
    "gzip": Spoil(title="damaged compression", misdeed=_damaged_gzip),
    "cut": Spoil(title="a connection that breaks", misdeed=_cut, allowed=(RetryLater,), heals=True),
}  # fmt: skip
