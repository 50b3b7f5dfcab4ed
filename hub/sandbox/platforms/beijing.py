"""beijing-green-life: pushes signed JSON messages (Standard Webhooks) to the hub. I/O: network."""

import base64
import hashlib

from standardwebhooks import Webhook

from hub.sandbox.people import town_secret
from hub.sandbox.platforms.courier import Courier
from hub.sandbox.platforms.faults import Fault, Faults
from hub.sandbox.platforms.site import DeliveryBook, Site, Tally, platform_app
from hub.sandbox.reports import Report

_ROWS_PER_MESSAGE = 200


class BeijingGreenLife:
    """The platform's side of the signed push profile, and its sign-in."""

    def __init__(self, site: Site, faults: Faults | None = None) -> None:
        self.site, self.faults, self.book = site, faults or Faults(), DeliveryBook()
        self.app = platform_app(site, self.faults, self.book, site.auth_server())

    async def deliver(self, part: int) -> Tally:
        tally, rows = Tally(), self.site.rows(part)
        async with Courier() as courier:
            for start in range(0, len(rows), _ROWS_PER_MESSAGE):
                batch = rows[start : start + _ROWS_PER_MESSAGE]
                for _ in range(2 if self.faults.take(Fault.DUPLICATES) else 1):
                    await self._send(courier, part, batch, tally)
        return tally

    async def _send(self, courier: Courier, part: int, batch: tuple[Report, ...], tally: Tally) -> None:
        # Rows are joined as text: one of them may be no JSON that a parser would give back.
        body = '{"records":[' + ",".join(row.body for row in batch) + "]}"
        # The id follows from the content: the same message keeps its id over a restart, another never gets it.
        message_id = f"msg_{part}_{hashlib.sha256(body.encode()).hexdigest()[:32]}"
        headers = self._signed(message_id, body)
        if self.faults.take(Fault.TAMPERED):
            body = body.replace('"ver":1', '"ver":7', 1)
        answer = await courier.post(f"{self.site.hub_url}/in/{self.site.platform}", body.encode(), headers)
        tally.deliveries += 1
        if answer is not None and answer.is_success:
            self.book.note(message_id, part, batch)
            tally.taken += 1
            tally.rows += len(batch)
        elif answer is not None and answer.is_client_error:
            tally.refused += 1
        else:
            tally.failed += 1

    def _signed(self, message_id: str, body: str) -> dict[str, str]:
        secret = self.site.secrets["webhook_secret"]
        if self.faults.take(Fault.WRONG_SIGNATURE):
            secret = "whsec_" + base64.b64encode(town_secret(self.site.reports.town.seed, "a wrong secret")).decode()
        now = self.site.clock()
        return {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(secret).sign(message_id, now, body),
        }
