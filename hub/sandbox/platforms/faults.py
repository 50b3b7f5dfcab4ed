"""Switches that make a platform misbehave a given number of times. Pure, but for the response of `FaultDoor`.

A hub is only as good as what it survives: each fault is one that real platforms have shown.
"""

import asyncio
from collections import Counter
from collections.abc import Collection
from enum import StrEnum

from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send


class Fault(StrEnum):
    RATE_LIMITED = "rate_limited"  # 429 with Retry-After
    SERVER_ERROR = "server_error"  # 500
    SLOW = "slow"  # the answer comes, but late
    TRUNCATED_PAGE = "truncated_page"  # a page whose bytes end too early
    GARBAGE = "garbage"  # 200, and bytes that are nothing
    REDIRECT = "redirect"  # somewhere else, where nobody should follow
    CHANGING_CURSOR = "changing_cursor"  # a page that always names another one to come
    CLOCK_SKEW = "clock_skew"  # times that lie ahead
    REPEATED_PAGE = "repeated_page"  # the page before, with the cursor that was asked for
    WRONG_SIGNATURE = "wrong_signature"
    TAMPERED = "tampered"  # content changed after it was signed or sealed
    DUPLICATES = "duplicates"  # every message of the delivery is sent twice
    SKIPPED_SEQUENCE = "skipped_sequence"  # a file drop with a number too high
    WRONG_APPID = "wrong_appid"  # step data that were sealed for another application


class Faults:
    """How often each fault is still to show. Lost on restart, as switches of a test should be."""

    def __init__(self, *, slow_s: float = 2.0) -> None:
        self.slow_s = slow_s
        self._left: Counter[Fault] = Counter()

    def arm(self, fault: Fault, times: int = 1) -> None:
        """Show this fault the next `times` times; 0 disarms it."""
        if times < 0:
            raise ValueError("a fault is shown 0 times or more")
        self._left[fault] = times

    def take(self, fault: Fault) -> bool:
        """Say whether the fault shows now, and count it."""
        if self._left[fault] <= 0:
            return False
        self._left[fault] -= 1
        return True

    def armed(self) -> dict[str, int]:
        return {fault.value: count for fault, count in self._left.items() if count > 0}


class FaultDoor:
    """ASGI middleware: what any server may do wrong, in front of everything that a platform serves to the hub.

    `doors` is read at each request: feeds add theirs when they are made.
    """

    def __init__(self, app: ASGIApp, faults: Faults, doors: Collection[str]) -> None:
        self.app, self.faults, self.doors = app, faults, doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(tuple(self.doors)):
            await self.app(scope, receive, send)
            return
        refusal = self._refusal()
        if refusal is not None:
            await refusal(scope, receive, send)
            return
        if self.faults.take(Fault.SLOW):
            await asyncio.sleep(self.faults.slow_s)
        await self.app(scope, receive, send)

    def _refusal(self) -> Response | None:
        if self.faults.take(Fault.RATE_LIMITED):
            return JSONResponse({"error": "rate_limited"}, status_code=429, headers={"Retry-After": "1"})
        if self.faults.take(Fault.SERVER_ERROR):
            return JSONResponse({"error": "server_error"}, status_code=500)
        if self.faults.take(Fault.GARBAGE):
            return Response(b"\x00\xff<html>\x80{]", media_type="application/json")
        if self.faults.take(Fault.REDIRECT):
            return RedirectResponse("http://169.254.169.254/latest/meta-data", status_code=302)
        return None
