"""Connections to checked addresses, under one deadline. I/O: network.

A platform's address is a wish of somebody else. So: the name is resolved once, every address found is checked, and the
connection goes to a checked address (a second look-up could answer differently), while Host and TLS names stay those of
the origin. One deadline covers look-up, connection, every read and every write, so that an answer of one byte a second
ends too.
"""

import logging
import math
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Self

import httpcore
import httpx

from connectors.base import Stop
from connectors.net.addresses import is_callable, is_loopback

Resolve = Callable[[str, int], Sequence[str]]
PORTS = {"https": 443, "http": 80}
logging.getLogger("httpcore").setLevel(logging.INFO)  # at DEBUG it writes down what platforms answer
_deadline: ContextVar[float] = ContextVar("egress_deadline")
_lookups = ThreadPoolExecutor(max_workers=4, thread_name_prefix="egress-lookup")  # getaddrinfo knows no time limit


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """A registered place to call. Plain http is only for simulators on this machine."""

    scheme: str
    host: str
    port: int
    allow_loopback: bool = False

    @classmethod
    def parse(cls, url: str, *, allow_loopback: bool = False) -> Self:
        """Read the origin of a URL, refusing what could be read in two ways (user names, blanks, other schemes)."""
        try:
            parsed = httpx.URL(url)
        except httpx.InvalidURL:
            raise Stop("origin_unreadable") from None
        if parsed.userinfo or not parsed.host or parsed.scheme not in PORTS:
            raise Stop("origin_unreadable")
        if parsed.scheme == "http" and not allow_loopback:
            raise Stop("origin_not_https")
        port = PORTS[parsed.scheme] if parsed.port is None else parsed.port
        if not 0 < port < 65536:
            raise Stop("origin_unreadable")
        return cls(scheme=parsed.scheme, host=parsed.host, port=port, allow_loopback=allow_loopback)


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressLimits:
    connect_s: float = 5.0
    read_s: float = 10.0
    total_s: float = 30.0
    body_bytes: int = 8 * 1024 * 1024
    addresses: int = 4


class TargetRefused(httpx.RequestError):
    """The address is not one that may be called. Nothing was sent."""


def resolve_system(host: str, port: int) -> Sequence[str]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@contextmanager
def within(total_s: float) -> Iterator[None]:
    """Give everything that happens inside one deadline. Inside another one the earlier of the two holds."""
    token = _deadline.set(min(time.monotonic() + total_s, _deadline.get(math.inf)))
    try:
        yield
    finally:
        _deadline.reset(token)


class CheckedNetwork(httpcore.NetworkBackend):
    """Connects to the addresses that were checked, instead of the name."""

    def __init__(self, origin: Origin, limits: EgressLimits, resolve: Resolve) -> None:
        self._origin, self._limits, self._resolve = origin, limits, resolve
        self._network = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: object = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError("no address")
        for address in self._addresses(host, port):
            try:
                stream = self._network.connect_tcp(address, port, timeout=_time_left(timeout))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _TimedStream(stream)
        raise failure

    def _addresses(self, host: str, port: int) -> Sequence[str]:
        lookup = _lookups.submit(self._resolve, host, port)
        try:
            found = list(lookup.result(timeout=_time_left(self._limits.connect_s)))
        except TimeoutError:
            raise httpcore.ConnectTimeout("name look-up") from None
        except (OSError, UnicodeError):
            raise httpcore.ConnectError("name look-up") from None
        allow = self._origin.allow_loopback
        if not all(is_callable(address, allow_loopback=allow) for address in found):
            raise TargetRefused("the name leads to an address that may not be called")
        if self._origin.scheme == "http" and not all(is_loopback(address) for address in found):
            raise TargetRefused("plain http may not leave this machine")
        return found[: self._limits.addresses]


class _TimedStream(httpcore.NetworkStream):
    """A stream whose every wait is cut to the request's deadline: a server that drips never starts a new clock."""

    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, timeout=_time_left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout=_time_left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _TimedStream(self._stream.start_tls(ssl_context, server_hostname, timeout=_time_left(timeout)))

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


def _time_left(timeout: float | None) -> float:
    left = _deadline.get() - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the time for the whole exchange is over")
    return left if timeout is None else min(left, timeout)
