"""Records told by hand, and what is explained of them."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from hub.clearing.explain.explaining import explain_records
from hub.clearing.explain.explanation import Explanation
from standards.methodology import load_methodology
from standards.policy import load_policy
from standards.quantify import quantify
from standards.schema import RECORD_SCHEMA

MORNING = datetime(2026, 10, 5, 0, 0, tzinfo=UTC)  # Monday, 08:00 in Beijing
BIKES = ["MOB-BIKE", "MOB-EBIKE"]
FAMILIES = [
    BIKES, ["MOB-METRO", "MOB-BUS"], ["MOB-WALK", "MOB-NODRIVE"], ["FOOD-NOTABLEWARE"], ["MOB-EV", "MOB-EVCHARGE"],
    ["MOB-BIKE", "MOB-NODRIVE", "MOB-METRO"],
]  # fmt: skip
ROLES = ["operator", "payment", "navigation", "aggregator", "self_report", "declared"]


def meters(count: int) -> int:
    """Kilometres in millionths."""
    return count * 1000


def ride(
    number: int, platform: str, *, minute: float = 0, second: float = 0, lasts: float = 10, **told: Any
) -> dict[str, Any]:
    """Two kilometres on a shared bike in ten minutes, unless told otherwise; a day record spans Monday."""
    start = MORNING + timedelta(minutes=minute, seconds=second)
    if told.get("precision") == "day":
        start, lasts = MORNING - timedelta(hours=8), 24 * 60
    usual = {
        "record_id": number, "subject_id": 1, "platform": platform, "role": platform.split("-")[0],
        "behaviour": "MOB-BIKE", "start_at": start, "end_at": start + timedelta(minutes=lasts), "precision": "second",
        "quantity_micro": meters(2_000), "unit": None, "event_key": None, "payment_key": None, "region": None,
        "claimed_mg": None,
    }  # fmt: skip
    return usual | told


def frame_of(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """QUANTIFIED."""
    return quantify(pl.DataFrame(rows, schema=RECORD_SCHEMA, orient="row"), load_methodology())


def explained(frame: pl.DataFrame, record_id: int, live: pl.DataFrame | None = None) -> Explanation:
    """One explanation."""
    return explain_records(frame, live, load_policy(), record_ids=[record_id])[record_id]


def crowd(dice: random.Random) -> pl.DataFrame:
    """One person's records of one kind, close together and from many platforms, so that every tier has work."""
    family, rows = dice.choice(FAMILIES), []
    for number in range(dice.randint(2, 16)):
        is_day = dice.random() < (0.5 if family[0] in ("MOB-WALK", "MOB-EV") else 0.12)
        role, behaviour = dice.choice(ROLES), dice.choice(family)
        steps = is_day and behaviour == "MOB-WALK"
        rows.append(
            ride(
                1000 + 7 * number, role + dice.choice(["-a", "-b"]),
                second=dice.choice([0, 20, 60, 300, 400, 640, 900, 1200, 3600]) + dice.randint(-30, 30),
                lasts=dice.choice([0, 0, 10, 11, 25]), behaviour=behaviour,
                precision="day" if is_day else dice.choice(["second", "minute"]),
                quantity_micro=dice.choice([None, 10**6, 2 * 10**6, 2_050_000, 2_200_000, 5 * 10**9 if steps else 10**6]),
                event_key=dice.choice([None] * 6 + [1, 2]), payment_key=dice.choice([None] * 6 + [3, 4]),
                claimed_mg=dice.choice([None, None, 0, 5000]),
            )
        )  # fmt: skip
    return frame_of(rows)
