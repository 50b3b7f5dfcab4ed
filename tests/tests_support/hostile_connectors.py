"""Connectors that do what no connector may do, one vice each. The conformance suite must be red on each, and say why.

They are chosen instead of the real ones by giving `building(...)` to the suite. None is registered anywhere.
"""

import hashlib
import json
import logging
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx

from connectors import registry
from connectors.base import (
    CheckResult,
    Connector,
    ConnectorError,
    Cursor,
    Delivery,
    Description,
    Fetcher,
    Inbound,
    LinkAccess,
    Outcome,
    Page,
    Receiver,
    Reply,
    RetryLater,
    SetAside,
    Window,
)
from connectors.kind import Settings

log = logging.getLogger(__name__)


class Disguise(Connector):
    """What the vices share: they describe themselves as the real connector does, and can be found in its place."""

    def __init__(self, real: Any, config: Mapping[str, Any], secrets: Mapping[str, Any]) -> None:
        self.real, self.config = real, config
        self.tell_secret = lambda: str(next(iter(secrets.values()), ""))
        self.stream = real.describe().streams[0]

    def describe(self) -> Description:
        return self.real.describe()  # type: ignore[no-any-return]

    def check(self) -> CheckResult:
        return self.real.check()  # type: ignore[no-any-return]


class Boaster(Disguise):
    """Says of itself what is not true."""

    def describe(self) -> Description:
        return replace(
            self.real.describe(), name="best_connector", title=" ", official=True, role="witness", finality="final",
            drops=("mobile", "mobile"), streams=("everything",), lateness_class="never",
        )  # type: ignore[arg-type] # fmt: skip

    def receive(self, request: Inbound, *, now: datetime) -> Delivery | Reply:
        return self.real.receive(request, now=now)  # type: ignore[no-any-return]

    def acknowledge(self, delivery: Delivery, outcome: Outcome) -> Reply:
        return self.real.acknowledge(delivery, outcome)  # type: ignore[no-any-return]


class Believer(Disguise):
    """Takes unsigned messages, whoever sent them, and gives each a new name."""

    def receive(self, request: Inbound, *, now: datetime) -> Delivery | Reply:
        document = json.loads(request.body)
        rows = tuple(json.dumps(row, ensure_ascii=False).encode() for row in document["records"])
        digest = hashlib.sha256(request.body).digest()
        return Delivery(delivery_id=uuid.uuid4().hex, stream=self.stream, rows=rows, digest=digest)

    def acknowledge(self, delivery: Delivery, outcome: Outcome) -> Reply:
        return Reply(status=200 if outcome.accepted else 500)


class Talker(Disguise):
    """Takes what it should, and tells everybody about it."""

    def __repr__(self) -> str:
        return f"Talker({self.tell_secret()})"

    def receive(self, request: Inbound, *, now: datetime) -> Delivery | Reply:
        log.debug("checking a message with %s", self.tell_secret())
        return self.real.receive(request, now=now)  # type: ignore[no-any-return]

    def acknowledge(self, delivery: Delivery, outcome: Outcome) -> Reply:
        return Reply(status=200, body=b"thank you for " + b"".join(delivery.rows))


class Picker(Disguise):
    """Hands on the rows that it likes, drops the others without a word, and makes one up."""

    def receive(self, request: Inbound, *, now: datetime) -> Delivery | Reply:
        taken = self.real.receive(request, now=now)
        if not isinstance(taken, Delivery):
            return taken  # type: ignore[no-any-return]
        if taken.unreadable:
            return replace(taken, rows=(), unreadable=())
        made_up = taken.rows[0].replace(b'"tradeNo":"', b'"tradeNo":"X')
        return replace(taken, rows=(*taken.rows[1:], made_up))

    def acknowledge(self, delivery: Delivery, outcome: Outcome) -> Reply:
        return self.real.acknowledge(delivery, outcome)  # type: ignore[no-any-return]


class Runner(Disguise):
    """A client of its own: it follows redirects, reads without a bound, and shows its token in the address."""

    def fetch(
        self, access: LinkAccess | None, cursor: Cursor | None, *, now: datetime, window: Window | None = None
    ) -> Iterator[Page]:
        token = access.access_token if access is not None else "anonymous"
        asked = (cursor or {}).get("cursor")
        with httpx.Client(trust_env=False, follow_redirects=True, timeout=1) as client:
            while True:
                query = {"limit": self.config.get("limit", 100), "access_token": token} | (
                    {"cursor": asked} if asked else {}
                )
                answer = client.get(
                    self.config["records_url"], params=query, headers={"authorization": f"Bearer {token}"}
                )
                if answer.status_code >= 400:
                    raise SetAside(f"the platform says: {answer.text}")
                document = answer.json()
                rows = tuple(json.dumps(row, ensure_ascii=False).encode() for row in document["records"])
                following = document["next_cursor"]
                delivery = Delivery(delivery_id="page", stream=self.stream, rows=rows, digest=bytes(32))
                yield Page(delivery=delivery, cursor=Cursor(cursor=following or asked))
                if following is None:
                    return
                asked = following


class Circler(Runner):
    """Asks again whatever happens, for ever."""

    def fetch(
        self, access: LinkAccess | None, cursor: Cursor | None, *, now: datetime, window: Window | None = None
    ) -> Iterator[Page]:
        while True:
            try:
                for page in self.real.fetch(access, cursor, now=now, window=window):
                    cursor = page.cursor
                    yield page
                return
            except ConnectorError:
                log.info("again")


class Hurrier(Disguise):
    """Moves the cursor before it has the rows, and takes a refused token for the end of the feed."""

    def fetch(
        self, access: LinkAccess | None, cursor: Cursor | None, *, now: datetime, window: Window | None = None
    ) -> Iterator[Page]:
        held: Page | None = None
        try:
            for page in self.real.fetch(access, cursor, now=now, window=window):
                if held is not None:
                    yield replace(held, cursor=page.cursor)
                held = page
        except RetryLater:
            raise
        except ConnectorError:
            return
        if held is not None:
            yield held


class Opener(Disguise):
    """Takes whatever lies in a folder, whoever put it there and whether or not it is finished."""

    def fetch(
        self, access: LinkAccess | None, cursor: Cursor | None, *, now: datetime, window: Window | None = None
    ) -> Iterator[Page]:
        done = int((cursor or {}).get("done") or 0)
        for folder in sorted(Path(str(self.config["root"])).iterdir())[done:]:
            done += 1
            for file in sorted(folder.iterdir()):
                if file.suffix in (".jsonl", ".csv") and not file.is_fifo() and file.resolve() != Path("/dev/zero"):
                    rows = tuple(file.read_bytes().splitlines())
                    delivery = Delivery(delivery_id=folder.name, stream=self.stream, rows=rows, digest=bytes(32))
                    yield Page(delivery=delivery, cursor=Cursor(done=done))


class Gullible(Disguise):
    """Believes a file: that it is text, whose it says it is, that it is whole, and that its rows are first-hand."""

    def describe(self) -> Description:
        return replace(self.real.describe(), role="operator")  # type: ignore[no-any-return]

    def receive(self, request: Inbound, *, now: datetime) -> Delivery | Reply:
        text = request.body.decode("gb18030", "replace")
        named = re.search(r"own-[0-9a-f]{20}|somebody-else", text)
        account = named.group() if named else "nobody"
        rows = tuple(
            json.dumps(
                {"bill": "alipay", "paid_at": cells[0], "payment": cells[9].strip()}, ensure_ascii=False
            ).encode()
            for cells in (line.split(",") for line in text.splitlines())
            if len(cells) > 9
        )
        digest = hashlib.sha256(account.encode()).digest()
        return Delivery(delivery_id=account, stream=self.stream, rows=rows, digest=digest, account=account)

    def acknowledge(self, delivery: Delivery, outcome: Outcome) -> Reply:
        return self.real.acknowledge(delivery, outcome)  # type: ignore[no-any-return]


def building(vice: type[Disguise]) -> Callable[[str, Settings, Settings], Receiver | Fetcher]:
    """Return what builds this connector where the real one is asked for; its settings are those of the real one."""

    def build(name: str, config: Settings, secrets: Settings) -> Receiver | Fetcher:
        return vice(registry.build(name, config, secrets), config, secrets)  # type: ignore[return-value]

    return build
