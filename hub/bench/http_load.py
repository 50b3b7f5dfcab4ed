"""Sends requests that were made beforehand over kept connections, and takes the time. I/O: network.

Bare sockets on purpose: a client library would need more of the processor than the server that is measured.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from urllib.parse import urlsplit

ANSWER_SECONDS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What came of a load; times in milliseconds."""

    requests: int
    rate_per_s: float
    p50_ms: float
    p99_ms: float
    statuses: Mapping[int, int] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether every answer was a success."""
        return all(200 <= status < 300 for status in self.statuses)


def format_request(
    url: str, *, method: str = "POST", headers: Mapping[str, str] | None = None, body: bytes = b""
) -> bytes:
    """Write one HTTP/1.1 request as bytes."""
    parts = urlsplit(url)
    lines = [f"{method} {parts.path} HTTP/1.1", f"host: {parts.netloc}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def send_all(origin: str, requests: Sequence[bytes], *, connections: int) -> Load:
    """Send every request once, each connection its next as soon as its last was answered (closed loop)."""
    return asyncio.run(_send_all(origin, requests, connections))


async def _send_all(origin: str, requests: Sequence[bytes], connections: int) -> Load:
    parts, waiting = urlsplit(origin), iter(requests)
    times: list[float] = []
    statuses: Counter[int] = Counter()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        for request in waiting:
            begun = perf_counter()
            writer.write(request)
            statuses[await asyncio.wait_for(_read_answer(reader), ANSWER_SECONDS)] += 1
            times.append(perf_counter() - begun)
        writer.close()

    begun = perf_counter()
    await asyncio.gather(*(connection() for _ in range(connections)))
    took = perf_counter() - begun
    times.sort()
    return Load(
        requests=len(times), rate_per_s=len(times) / took, p50_ms=times[len(times) // 2] * 1000,
        p99_ms=times[min(len(times) - 1, len(times) * 99 // 100)] * 1000, statuses=dict(statuses),
    )  # fmt: skip


async def _read_answer(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    lowered = head.lower()
    if b"transfer-encoding: chunked" in lowered:
        while size := int((await reader.readline()).split(b";")[0], 16):
            await reader.readexactly(size + 2)
        await reader.readline()
    elif b"content-length:" in lowered:
        length = int(lowered.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        await reader.readexactly(length)
    return status
