"""Posting a platform's messages to the hub, with a patience that ends. I/O: network."""

import asyncio
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import httpx

_ATTEMPTS = 5
_LONGEST_WAIT_S = 5.0


class Courier:
    """One platform's outgoing connection for one delivery."""

    def __init__(self, *, attempts: int = _ATTEMPTS, first_wait_s: float = 0.2) -> None:
        self._attempts, self._first_wait_s = attempts, first_wait_s
        # The environment may name a proxy, and the hub is on the loopback.
        self._client = httpx.AsyncClient(trust_env=False, timeout=60.0, follow_redirects=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> httpx.Response | None:
        """Post one message; 429, 5xx and silence are tried again. None: nobody answered.

        The same bytes go out each time: whoever took the first of two tries must be able to recognise the second.
        """
        answer: httpx.Response | None = None
        for attempt in range(self._attempts):
            if attempt:
                await asyncio.sleep(_wait_s(answer, self._first_wait_s * 2 ** (attempt - 1)))
            try:
                answer = await self._client.post(url, content=body, headers=dict(headers))
            except httpx.TransportError:
                answer = None
                continue
            if answer.status_code != 429 and answer.status_code < 500:
                return answer
        return answer


def _wait_s(answer: httpx.Response | None, otherwise_s: float) -> float:
    asked = "" if answer is None else answer.headers.get("retry-after", "")
    return min(float(asked) if asked.isdecimal() else otherwise_s, _LONGEST_WAIT_S)
