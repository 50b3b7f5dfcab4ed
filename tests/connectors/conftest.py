"""A platform over real HTTP on this machine, to be told how to behave by each test. I/O: network, threads."""

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass
class Exchange:
    """One request, and the means to answer it well or badly."""

    handler: BaseHTTPRequestHandler
    method: str
    path: str
    headers: dict[str, str]

    def reply(self, status: int, document: Any, headers: dict[str, str] | None = None) -> None:
        self.reply_bytes(status, json.dumps(document).encode(), headers)

    def reply_bytes(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.handler.send_response(status)
        for name, value in {"content-type": "application/json", **(headers or {})}.items():
            self.handler.send_header(name, value)
        self.handler.send_header("content-length", str(len(body)))
        self.handler.end_headers()
        self.handler.wfile.write(body)

    def write(self, data: bytes) -> None:
        self.handler.wfile.write(data)
        self.handler.wfile.flush()


@dataclass
class LocalPlatform:
    """Answers each request with `answer`; keeps what was asked."""

    answer: Callable[[Exchange], None]
    port: int = 0
    asked: list[Exchange] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is what these tests are about."""


@pytest.fixture
def serve() -> Iterator[Callable[[Callable[[Exchange], None]], LocalPlatform]]:
    servers: list[_Server] = []

    def start(answer: Callable[[Exchange], None]) -> LocalPlatform:
        platform = LocalPlatform(answer=answer)

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                headers = {name.lower(): value for name, value in self.headers.items()}
                exchange = Exchange(handler=self, method=self.command, path=self.path, headers=headers)
                platform.asked.append(exchange)
                platform.answer(exchange)

            do_POST = do_DELETE = do_GET  # noqa: N815 - the names are the library's

            def log_message(self, format: str, *args: Any) -> None:
                return

        server = _Server(("127.0.0.1", 0), Handler)
        servers.append(server)
        platform.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return platform

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
