"""The hub's web application without a network, applications on real loopback ports, and counting rows."""

import asyncio
import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from sqlalchemy import text

from hub.app import create_app
from hub.context import Hub
from hub.db import reading

# Building the application takes longer than most tests: what calls one hub calls one application, as outside.
_running: deque[tuple[Hub, FastAPI]] = deque(maxlen=4)


def app_of(hub: Hub) -> FastAPI:
    """The application that runs on a hub; another hub, also the same one at a later time, has another one."""
    for known, app in _running:
        if known is hub:
            return app
    _running.append((hub, create_app(hub)))
    return _running[-1][1]


class Caller:
    """One client of the hub with its own cookies. Every call is answered by the whole application."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.app = app_of(hub)
        self.cookies = httpx.Cookies()

    def call(self, method: str, path: str, **request: Any) -> httpx.Response:
        async def once() -> httpx.Response:
            transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)
            base = self.hub.settings.issuer
            async with httpx.AsyncClient(transport=transport, base_url=base, cookies=self.cookies) as client:
                answer = await client.request(method, path, **request)
                self.cookies = client.cookies
                return answer

        return asyncio.run(once())

    def get(self, path: str, **request: Any) -> httpx.Response:
        return self.call("GET", path, **request)

    def post(self, path: str, **request: Any) -> httpx.Response:
        return self.call("POST", path, **request)


def count(hub: Hub, *tables: str) -> dict[str, int]:
    """Return how many rows each table has."""
    with reading(hub.engine) as session:
        return {name: session.execute(text(f"SELECT COUNT(*) FROM {name}")).scalar_one() for name in tables}


def look_up(hub: Hub, sql: str, **values: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a SELECT."""
    with reading(hub.engine) as session:
        return [tuple(row) for row in session.execute(text(sql), values)]


@contextmanager
def free_port() -> Iterator[tuple[socket.socket, str]]:
    """Hold a loopback port before the application that needs to know its own address is built."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound, f"http://127.0.0.1:{bound.getsockname()[1]}"


@contextmanager
def served(app: FastAPI, bound: socket.socket) -> Iterator[None]:
    """Serve an application on a held port."""
    config = uvicorn.Config(app, log_level="critical", lifespan="off", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    until = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < until, "the server does not start"
        threading.Event().wait(0.005)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(timeout=10)
