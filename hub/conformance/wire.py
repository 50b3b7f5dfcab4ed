"""What stands between a connector and the platform it asks: everything is written down, any answer can be spoilt. I/O: HTTP in.

The simulator behind it answers truly; a `Misdeed` turns the true answer into what goes out. So every fault of the world is
tried on every format, without the simulator knowing.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_REQUESTS = 1500
"""A connector that asks more than this in one case would ask for ever."""

LONGEST_HANG_S = 30.0
_NEVER_SPOILT = ("/oauth/", "/.well-known/", "/statement", "/phone/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One request as it came over the wire."""

    method: str
    path: str
    query: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One answer. `cut`: the connection ends before the announced end. `hangs`: nothing comes at all."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = field(repr=False)
    chunks: Iterable[bytes] | None = field(default=None, repr=False)  # instead of the body, without a length
    announced: int | None = None  # a content-length that is not the body's
    delay_s: float = 0.0
    hangs: bool = False


Misdeed = Callable[[Asked, Answered], Answered]


class Wire:
    """An ASGI application in front of a simulator."""

    def __init__(self) -> None:
        self.sever(None, ())

    def sever(self, app: ASGIApp | None, doors: Collection[str]) -> None:
        """Put another simulator behind the wire, and forget everything."""
        self._app, self.doors = app, doors
        self.asked: list[Asked] = []
        self.spared: set[str] = set()
        self.flooded_bytes = 0
        self._misdeed: Misdeed | None = None
        self._after = self._times = 0
        self._remembered: dict[tuple[str, str, str, bytes], Answered] | None = None

    def misbehave(self, misdeed: Misdeed, *, after: int = 0, times: int = MOST_REQUESTS) -> None:
        """Spoil `times` answers once `after` more were true."""
        self._misdeed, self._after, self._times = misdeed, after, times

    def behave(self) -> None:
        self._misdeed = None

    def remember(self) -> None:
        """From now on answer the same request with the same answer: codes that are good once can be shown again."""
        self._remembered = {}

    def is_spoilt(self, path: str) -> bool:
        """Whether faults stand before a path: what the hub's own client asks for sign-in is none of a connector's."""
        return path.startswith(tuple(self.doors)) and not path.startswith(_NEVER_SPOILT) and path not in self.spared

    def data_requests(self) -> int:
        return sum(self.is_spoilt(one.path) for one in self.asked)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        asked = await _read(scope, receive)
        self.asked.append(asked)
        if self._app is None or len(self.asked) > MOST_REQUESTS:
            await _send(Answered(status=503, headers=(), body=b""), send)
            return
        answered = await self._true_answer(self._app, scope, asked)
        if self._misdeed is not None and self._times > 0 and self.is_spoilt(asked.path):
            if self._after > 0:
                self._after -= 1
            else:
                self._times -= 1
                answered = self._misdeed(asked, answered)
        if answered.delay_s:
            await asyncio.sleep(answered.delay_s)
        if answered.hangs:
            await _until_gone(receive)
            return
        if answered.chunks is not None:
            await self._flood(answered, receive, send)
            return
        await _send(answered, send)

    async def _true_answer(self, app: ASGIApp, scope: Scope, asked: Asked) -> Answered:
        key = (asked.method, asked.path, asked.query, asked.body)
        if self._remembered is not None and key in self._remembered:
            return self._remembered[key]
        answered = await _ask(app, scope, asked.body)
        if self._remembered is not None:
            self._remembered[key] = answered
        return answered

    async def _flood(self, answered: Answered, receive: Receive, send: Send) -> None:
        """Send as much as the other side takes: what is counted ends when it hangs up."""
        gone = asyncio.create_task(_gone(receive))
        await send(_start(answered.status, answered.headers))
        for chunk in answered.chunks or ():
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await asyncio.sleep(0)
            if gone.done():
                return
            self.flooded_bytes += len(chunk)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
        gone.cancel()


async def _read(scope: Scope, receive: Receive) -> Asked:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return Asked(
        method=scope["method"],
        path=scope["path"],
        query=scope["query_string"].decode("latin-1"),
        headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
        body=body,
    )


async def _ask(app: ASGIApp, scope: Scope, body: bytes) -> Answered:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start: Any = next(message for message in sent if message["type"] == "http.response.start")
    headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in start.get("headers", ()))
    whole = b"".join(message.get("body", b"") for message in sent if message["type"] == "http.response.body")
    kept = tuple((name, value) for name, value in headers if name.lower() != "content-length")
    return Answered(status=start["status"], headers=kept, body=whole)


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _until_gone(receive: Receive) -> None:
    try:
        await asyncio.wait_for(_gone(receive), LONGEST_HANG_S)
    except TimeoutError:
        return


async def _send(answered: Answered, send: Send) -> None:
    length = len(answered.body) if answered.announced is None else answered.announced
    await send(_start(answered.status, (*answered.headers, ("content-length", str(length)))))
    await send({"type": "http.response.body", "body": answered.body, "more_body": False})


def _start(status: int, headers: Iterable[tuple[str, str]]) -> Message:
    encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return {"type": "http.response.start", "status": status, "headers": encoded}
