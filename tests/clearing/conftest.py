"""Short ways to write records and to see what was decided about them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pytest

from hub.clearing.kernel.clear import Cleared, clear
from hub.clearing.kernel.facts import Facts
from standards.methodology import load_methodology
from standards.policy import load_policy
from standards.quantify import quantify
from standards.schema import RECORD_SCHEMA

# Monday, 08:00 in Beijing.
MORNING = datetime(2026, 10, 5, 0, 0, tzinfo=UTC)
SERVICE_DAY = datetime(2026, 10, 4, 16, 0, tzinfo=UTC)

Record = dict[str, Any]


class Kit:
    """Builds records and clears them."""

    def record(self, number: int, platform: str = "operator-a", minute: float = 0, **told: Any) -> Record:
        """One record: a ride of ten minutes on a shared bike, unless told otherwise; `lasts` in minutes."""
        lasts = told.pop("lasts", 10)
        start = told.pop("start_at", MORNING + timedelta(minutes=minute))
        role = platform.split("-")[0]
        usual: Record = {
            "record_id": number,
            "subject_id": 1,
            "platform": platform,
            "role": role,
            "behaviour": "MOB-BIKE",
            "start_at": start,
            "end_at": start + timedelta(minutes=lasts),
            "precision": "second",
            "quantity_micro": None,
            "unit": None,
            "event_key": None,
            "payment_key": None,
            "region": None,
            "claimed_mg": None,
        }
        if "km" in told:
            usual["quantity_micro"] = round(told.pop("km") * 1_000_000)
        return usual | told

    def day(self, number: int, platform: str, behaviour: str, amount: float | None = None, **told: Any) -> Record:
        """A record of a whole service day."""
        micro = None if amount is None else round(amount * 1_000_000)
        start = told.pop("start_at", SERVICE_DAY)
        return self.record(
            number,
            platform,
            start_at=start,
            lasts=24 * 60,
            precision="day",
            behaviour=behaviour,
            quantity_micro=micro,
            **told,
        )

    def frame(self, *records: Record) -> pl.DataFrame:
        """QUANTIFIED."""
        return quantify(pl.DataFrame(list(records), schema=RECORD_SCHEMA, orient="row"), load_methodology())

    def clear(self, *records: Record, live: pl.DataFrame | None = None, facts: Facts | None = None) -> Cleared:
        return clear(self.frame(*records), live, load_policy(), facts)

    def live(self, *records: Record) -> pl.DataFrame:
        """Records with what an earlier window decided about them."""
        frame = self.frame(*records)
        decided = clear(frame, None, load_policy()).decisions
        return frame.join(decided, on="record_id")

    def outcome(self, cleared: Cleared) -> dict[int, tuple[str, str, str]]:
        """Verdict, rule and reason by record."""
        columns = ("record_id", "verdict", "rule", "reason")
        return {number: tuple(rest) for number, *rest in cleared.decisions.select(columns).iter_rows()}

    def counted(self, cleared: Cleared) -> dict[int, int]:
        """Milligrams by counted record."""
        counted = cleared.decisions.filter(pl.col("verdict") == "counted")
        return dict(counted.select("record_id", "counted_mg").iter_rows())


@pytest.fixture(scope="session")
def kit() -> Kit:
    return Kit()


@pytest.fixture(scope="session")
def rate() -> Callable[[str, str], int]:
    return lambda behaviour, unit: load_methodology().methods[behaviour, unit].fallback_rate()
