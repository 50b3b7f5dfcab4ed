"""What the consent guard costs, as a share of taking the same records without it. I/O: a database of its own.

Every row of a delivery is asked about in the transaction that stores it. The clock runs around the whole of taking a
delivery and, within it, around the guard; the ratio is the guard's time over the rest.
"""

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import hub.records.collect as collecting
from connectors.base import Delivery
from hub.bench.people import settle
from hub.context import Hub, open_hub
from hub.db import reading, writing
from hub.migrate import prepare
from hub.participants import Platform, add_participant, open_platform, parse_document
from hub.pipeline import take_delivery
from hub.settings import Settings

PLATFORM = "bench-city"
BEHAVIOURS = ("MOB-BIKE", "MOB-METRO")
DOCUMENT = {
    "id": PLATFORM, "name_zh": "测试城市", "name_en": "Bench City", "kind": "city", "connector": "signed_push",
    "connector_config": {"stream": "acts", "role": "aggregator", "drops": ["mobile", "nickname"]},
    "secrets": {"webhook_secrets": "whsec_YmVuY2gtb25seS1zZWNyZXQtMzItYnl0ZXMtbG9uZyE="}, "stream": "acts",
    "mapping": "beijing-green-life.acts.v1", "behaviours": list(BEHAVIOURS),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardFigure:
    """Medians over the deliveries of one size; `ratio` is the guard's time over that of all the rest."""

    rows: int
    people: int
    deliveries: int
    guard_ms: float
    rest_ms: float
    ratio: float


def measure_guard(
    folder: Path, *, rows: int, people: int, deliveries: int, database_url: str | None = None
) -> GuardFigure:
    """Take deliveries of `rows` rows about people drawn from `people`, all of whom allow it."""
    settings = Settings(database_url=database_url or f"sqlite:///{folder}/hub.db", keys_dir=folder / "keys")
    hub = open_hub(settings)
    now = hub.clock()
    prepare(hub.engine, now)
    try:
        platform = join_platform(hub, now)
        settle(hub, PLATFORM, BEHAVIOURS, people, now)
        times = [_time_one(hub, platform, place, rows, people, now) for place in range(deliveries + 1)]
    finally:
        hub.engine.dispose()
    guard_s = median(guard for guard, _ in times[1:])  # the first one warms up
    rest_s = median(rest for _, rest in times[1:])
    return GuardFigure(
        rows=rows, people=people, deliveries=deliveries, guard_ms=round(guard_s * 1000, 2),
        rest_ms=round(rest_s * 1000, 2), ratio=round(guard_s / rest_s, 4),
    )  # fmt: skip


def _time_one(hub: Hub, platform: Platform, place: int, rows: int, people: int, now: datetime) -> tuple[float, float]:
    delivery = delivery_of(place, rows, people, now)
    with _clocked_guard() as guarded:
        begun = perf_counter()
        outcome = take_delivery(hub, platform, delivery, now=now)
        whole = perf_counter() - begun
    if outcome.accepted != rows:
        raise AssertionError(f"of {rows} rows {outcome.accepted} were taken")
    return guarded[0], whole - guarded[0]


@contextmanager
def _clocked_guard() -> Iterator[list[float]]:
    """Measure what the pipeline itself calls, in its place."""
    real, spent = vars(collecting)["permit"], [0.0]

    def clocked(*args: Any, **kwargs: Any) -> Any:
        begun = perf_counter()
        try:
            return real(*args, **kwargs)
        finally:
            spent[0] += perf_counter() - begun

    vars(collecting)["permit"] = clocked
    try:
        yield spent
    finally:
        vars(collecting)["permit"] = real


def join_platform(hub: Hub, now: datetime) -> Platform:
    """Onboard the benchmark's city."""
    parsed = parse_document(json.dumps(DOCUMENT))
    with writing(hub.engine) as session:
        add_participant(session, hub.ring, parsed, now)
    with reading(hub.engine) as session:
        return open_platform(session, hub.ring, PLATFORM)


def delivery_of(place: int, rows: int, people: int, now: datetime) -> Delivery:
    """Return one delivery of rides by people drawn from so many; each `place` is another one."""
    dice = random.Random(place)  # noqa: S311 - filler, not a secret
    day = now - timedelta(days=2)
    documents = []
    for number in range(rows):
        begun = day + timedelta(seconds=dice.randrange(86_000))
        documents.append(
            {
                "tradeNo": f"B{place}-{number}", "ver": 1, "memberId": str(dice.randrange(people)), "scene": "BIKE",
                "beginTime": begun.isoformat(timespec="seconds"), "distance": dice.randrange(500, 9_000),
                "endTime": (begun + timedelta(minutes=12)).isoformat(timespec="seconds"),
                "orderNo": f"O{place}-{number}", "payNo": None, "carbonReduction": "100.00", "status": "FINISHED",
                "updateTime": begun.isoformat(timespec="seconds"), "cityCode": "110000",
            }
        )  # fmt: skip
    content = tuple(json.dumps(document).encode() for document in documents)
    digest = sha256(b"".join(content)).digest()
    return Delivery(delivery_id=f"bench-{place}", stream="acts", rows=content, digest=digest)
