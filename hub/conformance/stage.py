"""Two servers on the loopback, for as long as a check lasts: where the platform stands, and the hub's doors. I/O: network.

What is behind them is changed from case to case; starting a server for each would take most of the time.
"""

import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

import uvicorn
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from connectors.base import Inbound, Reply
from hub.conformance.wire import Wire

_HOST = "127.0.0.1"
_STARTS_WITHIN_S, _STOPS_WITHIN_S = 30.0, 10.0
_DOOR, _UPLOADS = "/in/", "/v1/uploads/"

Take = Callable[[Inbound, str | None], Reply]
"""Takes a request, and the account of the person who brings it where a person does."""


class Door:
    """The hub's doors for platforms that push and for people who bring files, with a connector behind and no hub.

    A person who brings a file is known by the bearer that their app shows. No token is given out here: it is the account.
    """

    def __init__(self) -> None:
        self.take: Take | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        body, path = await request.body(), request.url.path
        if self.take is None or not path.startswith((_DOOR, _UPLOADS)):
            await Response(status_code=404)(scope, receive, send)
            return
        if path.startswith(_UPLOADS):
            # What the connector is given is the file and nothing of the request around it.
            inbound = Inbound(method=request.method, path="/", body=body)
            bringer = request.headers.get("authorization", "").removeprefix("Bearer ")
        else:
            inbound, bringer = _inbound(request, body), None
        reply = await run_in_threadpool(self.take, inbound, bringer)
        await Response(reply.body, status_code=reply.status, headers=dict(reply.headers))(scope, receive, send)


def _inbound(request: Request, body: bytes) -> Inbound:
    _, _, rest = request.url.path.removeprefix(_DOOR).partition("/")
    return Inbound(
        method=request.method,
        path="/" + rest,
        query=dict(request.query_params),
        headers={name.lower(): value for name, value in request.headers.items()},
        body=body,
    )


class Stage:
    """The servers; `origin` is the platform's and `hub_url` the hub's."""

    def __init__(self) -> None:
        self.wire, self.door = Wire(), Door()
        self._servers: list[_Served] = []
        self.origin = self.hub_url = ""

    def __enter__(self) -> Self:
        self._servers = [_Served(self.wire), _Served(self.door)]
        self.origin, self.hub_url = (server.start() for server in self._servers)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.ask_to_stop()
        for server in self._servers:
            server.stop()


class _Served:
    """One application on a port that the system chose."""

    def __init__(self, app: ASGIApp) -> None:
        self._server = uvicorn.Server(
            uvicorn.Config(app, log_level="critical", access_log=False, lifespan="off", timeout_graceful_shutdown=1)
        )
        self._bound = socket.socket()
        self._thread: threading.Thread | None = None

    def start(self) -> str:
        self._bound.bind((_HOST, 0))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._bound]}, daemon=True)
        self._thread.start()
        until = time.monotonic() + _STARTS_WITHIN_S
        while not self._server.started:
            if time.monotonic() > until:
                raise TimeoutError("a server on the loopback does not start")
            threading.Event().wait(0.005)
        return f"http://{_HOST}:{self._bound.getsockname()[1]}"

    def ask_to_stop(self) -> None:
        self._server.should_exit = True

    def stop(self) -> None:
        if self._thread is not None:
            self._thread.join(timeout=_STOPS_WITHIN_S)
        self._bound.close()
