"""How fast many links are read, beside the platform's own raw rate of pages. I/O: a platform process, a database of its own.

The platform answers every account's one page from memory. One side asks it for all pages over kept connections and throws
them away; the other is the hub's own worker step: lease, token, page, consent, translation, valuing, sealing, store, cursor,
log leaf. Resident memory is told at several points of the way: it must not grow with the number of links.
"""

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any

import polars as pl

from hub.bench.http_load import format_request, send_all
from hub.bench.people import AT_ONCE, settle
from hub.context import Hub, open_hub
from hub.db import append_frame, reading, writing
from hub.migrate import prepare
from hub.participants import add_participant, parse_document
from hub.settings import Settings
from hub.sync.fetching import fetch_next
from hub.sync.tables import SyncState

PLATFORM = "bench-bank"
BEHAVIOURS = ("FIN-BILLPAY", "MOB-BIKE")
_POINTS = 5
_RAW_PAGES = 5_000
_DAY = datetime(2026, 10, 5, 1, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncFigure:
    """Both sides in records per second, and their ratio; `memory_mib` along the way, first to last."""

    links: int
    records: int
    seconds: float
    records_per_s: float
    raw_records_per_s: float
    ratio: float
    memory_mib: tuple[int, ...]


def measure_sync(
    folder: Path, *, links: int, records: int, at_once: int, group: int, database_url: str | None = None
) -> SyncFigure:
    """Let so many links be read, each with so many records on one page."""
    settings = Settings(
        database_url=database_url or f"sqlite:///{folder}/hub.db", keys_dir=folder / "keys", allow_loopback=True
    )
    hub = open_hub(settings)
    now = hub.clock()
    prepare(hub.engine, now)
    command = [sys.executable, "-m", "hub.bench.pages", str(records)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as platform:
        try:
            told = platform.stdout.readline() if platform.stdout else ""
            origin = f"http://127.0.0.1:{json.loads(told)['port']}"
            raw = _raw_rate(origin, min(links, _RAW_PAGES), records, at_once)
            _follow(hub, origin, links, at_once, now)
            seconds, memory = _read_all(hub, links, group)
            _require_all(hub, links * records)
        finally:
            platform.terminate()
            hub.engine.dispose()
    rate = (links - min(group, links)) * records / seconds
    return SyncFigure(
        links=links, records=records, seconds=round(seconds, 1), records_per_s=round(rate),
        raw_records_per_s=round(raw), ratio=round(rate / raw, 4), memory_mib=tuple(memory),
    )  # fmt: skip


def token_of(place: int) -> str:
    """The access token of an account: the platform reads the number out of it."""
    return f"t-{place}"


def page_of(place: int, records: int) -> bytes:
    """The one page of an account: bill payments, minutes apart."""
    rows = [
        {
            "cardTransactionId": f"C{place}-{number}", "version": 1, "accountId": str(place), "type": "BILL_PAY",
            "transactionTime": f"{_DAY + timedelta(hours=number):%Y-%m-%d %H:%M:%S}", "merchantOrderNo": None,
            "payNo": f"P{place}-{number}", "carbonG": "89", "status": "BOOKED", "updatedAt": "2026-11-06T01:00:00Z",
        }
        for number in range(records)
    ]  # fmt: skip
    return json.dumps({"records": rows, "next_cursor": None}, separators=(",", ":")).encode()


def _raw_rate(origin: str, pages: int, records: int, connections: int) -> float:
    requests = [
        format_request(f"{origin}/records", method="GET", headers={"authorization": f"Bearer {token_of(place)}"})
        for place in range(pages)
    ]
    load = send_all(origin, requests, connections=connections)
    if not load.good:
        raise AssertionError(f"the platform answered {load.statuses}")
    return load.rate_per_s * records


def _follow(hub: Hub, origin: str, links: int, at_once: int, now: datetime) -> None:
    document: dict[str, Any] = {
        "id": PLATFORM, "name_zh": "测试银行", "name_en": "Bench Bank", "kind": "bank", "connector": "cursor_pull",
        "connector_config": {"records_url": f"{origin}/records", "allow_loopback": True, "drops": ["maskedPan"]},
        "stream": "acts", "mapping": "citic-carbon.acts.v1", "behaviours": list(BEHAVIOURS), "allow_loopback": True,
        "pace": {"requests_per_minute": 600_000, "at_once": at_once},
        "oauth": {"issuer": origin, "client_id": "bench", "client_secret": "bench", "scopes": ["records:read"]},
    }  # fmt: skip
    with writing(hub.engine) as session:
        add_participant(session, hub.ring, parse_document(json.dumps(document)), now)
    ids = settle(hub, PLATFORM, BEHAVIOURS, links, now, token_of=token_of)
    with writing(hub.engine) as session:
        session.add(SyncState(platform=PLATFORM, link_id=ids[0], due_at=now))
    for first in range(1, links, AT_ONCE):
        some = ids[first : first + AT_ONCE]
        rows = {"link_id": some, "due_at": [now] * len(some), "platform": [PLATFORM] * len(some)}
        fixed = {"stream": "", "lane": "feed", "turn": 1, "failures": 0, "rows_read": 0}
        with writing(hub.engine) as session:
            append_frame(
                session, "sync_state", pl.DataFrame(rows).with_columns(**{n: pl.lit(v) for n, v in fixed.items()})
            )


def _read_all(hub: Hub, links: int, group: int) -> tuple[float, list[int]]:
    """Read everything; the first group warms up and is not counted."""
    fetch_next(hub, "bench", most=group)
    memory, begun, done = [_resident_mib()], perf_counter(), group
    while fetch_next(hub, "bench", most=group):
        done += group
        if done * _POINTS // links >= len(memory):
            memory.append(_resident_mib())
    return perf_counter() - begun, memory


def _require_all(hub: Hub, records: int) -> None:
    with reading(hub.engine) as session:
        stored = session.connection().exec_driver_sql("SELECT COUNT(*) FROM source_record").scalar_one()
        problems = (
            session.connection()
            .exec_driver_sql("SELECT DISTINCT last_error FROM sync_state WHERE last_error IS NOT NULL")
            .all()
        )
    if stored != records:
        raise AssertionError(f"of {records} records {stored} were stored; problems: {[row[0] for row in problems][:3]}")


def _resident_mib() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1024
    return 0
