"""The only way out to a platform: registered origins, checked addresses, bounded answers. I/O: network.

The origin must be registered by the operator, no redirect is followed, no proxy of the environment used, and an answer
is read whole within a bound, on the wire and inflated. How addresses are checked: `checked_network.py`.

`SafeTransport` is an httpx transport and can be given to any httpx client; `SafeClient` is what connectors call. It
does not go through `httpx.Client`, which writes each URL with its query to the log: some platforms put a secret there.
"""

import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import TracebackType
from typing import Self

import httpcore
import httpx

from connectors.base import RetryLater, SetAside, Stop
from connectors.net.checked_network import (
    PORTS,
    CheckedNetwork,
    EgressLimits,
    Origin,
    Resolve,
    TargetRefused,
    resolve_system,
    within,
)
from connectors.net.inflate import BrokenGzipError, TooLargeError, collect, inflate

__all__ = ["Answer", "AnswerRefused", "EgressLimits", "Origin", "SafeClient", "SafeTransport", "TargetRefused"]

RETRY_AFTER_FAILURE_S = 30
_HEADERS_OF_THE_WIRE = ("content-encoding", "content-length", "transfer-encoding")  # untrue once the body is read


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes


class AnswerRefused(httpx.RequestError):
    """The answer broke a bound: too large, or in an encoding that was not asked for."""


class SafeTransport(httpx.BaseTransport):
    """An httpx transport that only reaches the registered origins. Answers arrive read, inflated and bounded."""

    def __init__(
        self,
        origins: Sequence[Origin],
        *,
        limits: EgressLimits | None = None,
        resolve: Resolve = resolve_system,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._limits = limits or EgressLimits()
        self._pools = {
            (origin.scheme, origin.host, origin.port): httpcore.ConnectionPool(
                ssl_context=tls or _default_tls(),
                network_backend=CheckedNetwork(origin, self._limits, resolve),
                max_connections=8,
                http2=False,
                retries=0,
            )
            for origin in origins
        }

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        port = PORTS.get(url.scheme) if url.port is None else url.port
        pool = self._pools.get((url.scheme, url.host, port or 0))
        if pool is None or url.userinfo:
            raise TargetRefused("the origin is not registered")
        request.headers["accept-encoding"] = "gzip"
        with _as_httpx_errors(), within(self._limits.total_s):
            return self._exchange(pool, request)

    def close(self) -> None:
        for pool in self._pools.values():
            pool.close()

    def _exchange(self, pool: httpcore.ConnectionPool, request: httpx.Request) -> httpx.Response:
        limits = self._limits
        timeouts = {"connect": limits.connect_s, "read": limits.read_s, "write": limits.read_s, "pool": limits.total_s}
        with pool.stream(
            request.method,
            str(request.url.copy_with(fragment=None)),
            headers=request.headers.raw,
            content=request.read(),
            extensions={"timeout": timeouts},
        ) as response:
            headers = httpx.Headers(response.headers)
            body = _read_bounded(response, headers.get("content-encoding", "identity"), limits.body_bytes)
        kept = [(name, value) for name, value in headers.multi_items() if name not in _HEADERS_OF_THE_WIRE]
        return httpx.Response(response.status, headers=kept, content=body, request=request)


@cache
def _default_tls() -> ssl.SSLContext:
    """Loading the trusted roots takes tens of milliseconds, and a connector is built for every delivery."""
    return httpx.create_ssl_context(trust_env=False)


def _read_bounded(response: httpcore.Response, encoding: str, most: int) -> bytes:
    chunks = response.iter_stream()
    try:
        if encoding.strip().lower() == "gzip":
            return inflate(_at_most(chunks, most), most=most)
        if encoding.strip().lower() in ("identity", ""):
            return collect(chunks, most=most)
    except TooLargeError:
        raise AnswerRefused("the answer is too large") from None
    except BrokenGzipError:
        raise httpx.RemoteProtocolError("the answer's compression is damaged") from None
    raise AnswerRefused("the answer's encoding was not asked for")


def _at_most(chunks: Iterator[bytes], most: int) -> Iterator[bytes]:
    """Bound the compressed side too: empty gzip members inflate to nothing for ever."""
    total = 0
    for chunk in chunks:
        total += len(chunk)
        if total > most:
            raise TooLargeError
        yield chunk


@contextmanager
def _as_httpx_errors() -> Iterator[None]:
    """Speak httpx's errors, without the texts: they can hold what the other side sent."""
    try:
        yield
    except httpcore.TimeoutException:
        raise httpx.ReadTimeout("the platform did not answer in time") from None
    except httpcore.ProtocolError:
        raise httpx.RemoteProtocolError("the platform broke the protocol or hung up") from None
    except httpcore.NetworkError:
        raise httpx.ConnectError("the platform could not be reached") from None


class SafeClient:
    """Call registered origins and get whole answers, or an error named by its recovery."""

    def __init__(
        self,
        origins: Sequence[Origin],
        *,
        limits: EgressLimits | None = None,
        resolve: Resolve = resolve_system,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._transport = SafeTransport(origins, limits=limits, resolve=resolve, tls=tls)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._transport.close()

    def fetch(
        self, url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> Answer:
        """Send one request.

        Raises:
            RetryLater: not reached, too slow, cut off.
            SetAside: the answer is larger than the bound or in a foreign encoding.
            Stop: the target may not be called, or it answered with a redirect.
        """
        try:
            request = httpx.Request(method, url, headers=dict(headers or {}), content=content)
            response = self._transport.handle_request(request)
        except (TargetRefused, httpx.InvalidURL):
            raise Stop("target_refused") from None
        except AnswerRefused:
            raise SetAside("answer_refused") from None
        except httpx.TransportError:
            raise RetryLater("unreachable", after_s=RETRY_AFTER_FAILURE_S) from None
        if response.is_redirect or 300 <= response.status_code < 400:
            raise Stop("redirected")
        return Answer(status=response.status_code, headers=dict(response.headers), body=response.content)
