"""Platforms that post one record in each message, each in a form of its own. I/O: network."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from hub.sandbox.platforms.courier import Courier
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.site import Tally, Voice
from hub.sandbox.reports import Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What goes to the hub for one record; `delivery_id` is how both sides know it afterwards."""

    delivery_id: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


class SinglePost(Voice):
    """Posts the rows of a part one by one."""

    @abstractmethod
    def message(self, row: Report) -> Message:
        """Write the message of one row, well or as badly as the faults say."""

    def is_taken(self, answer: httpx.Response) -> bool:
        """Say whether the hub's answer is the one that this platform waits for."""
        return answer.is_success

    async def deliver(self, part: int) -> Tally:
        tally = Tally()
        async with Courier() as courier:
            for row in self.rows(part):
                for _ in range(2 if self.faults.take(Fault.DUPLICATES) else 1):
                    await self._send(courier, part, row, tally)
        return tally

    def door(self) -> str:
        """Return the hub's address for this feed: a platform's further feeds have one of their own."""
        base = f"{self.site.hub_url}/in/{self.site.platform}"
        return f"{base}/{self.stream}" if self.stream else base

    async def _send(self, courier: Courier, part: int, row: Report, tally: Tally) -> None:
        message = self.message(row)
        answer = await courier.post(message.url, message.body, message.headers)
        tally.deliveries += 1
        if answer is not None and self.is_taken(answer):
            self.book.note(message.delivery_id, part, (row,))
            tally.taken += 1
            tally.rows += 1
        elif answer is not None and answer.is_client_error:
            tally.refused += 1
        else:
            tally.failed += 1
