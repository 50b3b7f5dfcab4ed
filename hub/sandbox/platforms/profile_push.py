"""The platform's side of the signed push profile: messages signed as Standard Webhooks say. I/O: network."""

import base64
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from standardwebhooks import Webhook

from hub.sandbox.people import town_secret
from hub.sandbox.platforms.courier import Courier
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.site import Tally, Voice
from hub.sandbox.platforms.spec import Feed
from hub.sandbox.reports import Report

_ROWS_PER_MESSAGE = 200
SECRET = "webhook_secret"


class PushVoice(Voice):
    """Pushes the rows of a part, some at a time. `tampering` is what somebody changes on the way, and into what."""

    numbers_versions = True
    tampering = (":1", ":7")
    frame = ('{"records":[', "]}")  # what stands around the rows

    async def deliver(self, part: int) -> Tally:
        tally, rows = Tally(), self.rows(part)
        async with Courier() as courier:
            for start in range(0, len(rows), _ROWS_PER_MESSAGE):
                batch = rows[start : start + _ROWS_PER_MESSAGE]
                for _ in range(2 if self.faults.take(Fault.DUPLICATES) else 1):
                    await self._send(courier, part, batch, tally)
        return tally

    async def _send(self, courier: Courier, part: int, batch: tuple[Report, ...], tally: Tally) -> None:
        # Rows are joined as text: one of them may be no JSON that a parser would give back.
        body = ",".join(row.body for row in batch).join(self.frame)
        # The id follows from the content: the same message keeps its id over a restart, another never gets it.
        message_id = f"msg_{part}_{hashlib.sha256(body.encode()).hexdigest()[:32]}"
        headers = self._signed(message_id, body)
        if self.faults.take(Fault.TAMPERED):
            body = body.replace(*self.tampering, 1)
        answer = await courier.post(self.door(), body.encode(), headers)
        tally.deliveries += 1
        if answer is not None and answer.is_success:
            self.book.note(message_id, part, batch)
            tally.taken += 1
            tally.rows += len(batch)
        elif answer is not None and answer.is_client_error:
            tally.refused += 1
        else:
            tally.failed += 1

    def door(self) -> str:
        """Return the hub's address for this feed: a platform's further feeds have one of their own."""
        base = f"{self.site.hub_url}/in/{self.site.platform}"
        return f"{base}/{self.stream}" if self.stream else base

    def _signed(self, message_id: str, body: str) -> dict[str, str]:
        secret = self.site.secrets[secret_name(self.stream)]
        if self.faults.take(Fault.WRONG_SIGNATURE):
            secret = "whsec_" + base64.b64encode(town_secret(self.site.reports.town.seed, "a wrong secret")).decode()
        now = self.site.clock()
        return {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Webhook(secret).sign(message_id, now, body),
        }


def secret_name(stream: str) -> str:
    """Return under which name the secret of a feed was agreed; the first feed's stream is empty in reports."""
    return f"{stream}_{SECRET}" if stream else SECRET


def push_agreed(name: str, stream: str = "") -> Callable[[Callable[[str], bytes]], dict[str, str]]:
    """Return what a pushing platform agrees with the hub, for `Spec.agreed`."""
    return lambda secret: {secret_name(stream): "whsec_" + base64.b64encode(secret(f"{name}/webhook")).decode()}


def push_feed(
    stream: str, *, role: str, drops: Sequence[str] = (), voice: type[PushVoice] = PushVoice, first: bool = True
) -> Feed:
    """Return a feed of this profile; `first` says whether it is its platform's first."""
    config: dict[str, Any] = {"stream": stream, "role": role, "drops": list(drops)}
    name = secret_name("" if first else stream)
    return Feed(
        stream=stream,
        connector="signed_push",
        voice=voice,
        config=lambda place: dict(config),
        secrets=lambda agreed: {"webhook_secrets": agreed[name]},
    )
