"""Holds in figures: what was measured, against which limit; made from what the kernel held."""

from datetime import timedelta
from typing import Any

import polars as pl
import pytest

from hub.clearing.kernel.vocabulary import Reason
from hub.clearing.reviews.anomalies import FIGURES, SUMMARY, figures_of, summarise
from hub.clearing.reviews.holds import ACTS
from standards.policy import load_policy

BEIJING, SHANGHAI = 110105, 310101
DAY = 24 * 60
CHARGE = {"behaviour": "MOB-EVCHARGE", "unit": "kWh"}


def acts_of(kit: Any, *records: Any) -> pl.DataFrame:
    """What the database would give: the reports with their decisions."""
    frame = kit.frame(*records)
    decisions = kit.clear(*records).decisions.select("record_id", "event_id", "verdict", "rule", "reason")
    told = frame.join(decisions, on="record_id").with_columns(
        start_us=pl.col("start_at").dt.timestamp("us"), end_us=pl.col("end_at").dt.timestamp("us"), window_id=pl.lit(1)
    )
    return told.select(list(ACTS)).cast(ACTS)  # type: ignore[arg-type]


def figures(kit: Any, *records: Any) -> dict[int, tuple[Any, ...]]:
    """Reason, value, limit, measure and other record, by held record."""
    acts = acts_of(kit, *records)
    holds = acts.filter(pl.col("verdict") == "held", pl.col("record_id") == pl.col("event_id")).sort("record_id")
    found = figures_of(holds, acts, load_policy())
    assert found.schema == pl.Schema(FIGURES)
    assert found["record_id"].to_list() == holds["record_id"].to_list()
    told = holds.select("record_id", "reason").join(found, on="record_id", maintain_order="left")
    return {row[0]: row[1:] for row in told.iter_rows()}


def days(kit: Any, counts: dict[int, float]) -> list[Any]:
    return [
        record
        | {"start_at": record["start_at"] + timedelta(days=day), "end_at": record["end_at"] + timedelta(days=day)}
        for day, record in ((day, kit.day(day, "navigation-a", "MOB-WALK", count)) for day, count in counts.items())
    ]


def rides(kit: Any, numbers: range, **told: Any) -> list[Any]:
    return [kit.record(n, "operator-a", 130 * n, event_key=n, **told) for n in numbers]


def one(kit: Any) -> dict[str, list[Any]]:
    """Records by the reason that they are held for."""
    charge = [kit.record(n, "meter-a", 90 * n, lasts=60, quantity_micro=190_000_000, event_key=n, **CHARGE) for n in range(1, 5)]  # fmt: skip  # noqa: E501
    metro = {"behaviour": "MOB-METRO", "lasts": 20}
    return {
        "implausible_quantity": [kit.record(1, km=400, lasts=600)],
        "implausible_speed": [kit.record(1, km=80, lasts=19)],
        "implausible_duration": [kit.record(1, km=80, lasts=3 * DAY)],
        "implausible_power": [kit.record(1, "meter-a", lasts=19, quantity_micro=390_000_000, **CHARGE)],
        "implausible_energy": charge,
        "implausible_day_total": rides(kit, range(1, 4), lasts=120, km=90),
        "implausible_day": [
            kit.record(n, minute=40 * n, lasts=0, behaviour="FOOD-CLEANPLATE", event_key=n) for n in range(1, 14)
        ],
        "impossible_travel": [
            kit.record(1, "operator-a", 0, region=BEIJING, event_key=1, **metro),
            kit.record(2, "operator-b", 30, region=SHANGHAI, event_key=2, **metro),
        ],
        "same_steps_every_day": days(kit, dict.fromkeys((2, 9, 11, 20, 27), 66_666)),
        "steady_steps": days(kit, {day: 8_010 + 3 * day for day in range(1, 11)}),
        "full_steps_every_day": days(kit, {day: 91_001 + 31 * day for day in (1, 9, 11, 20, 27)}),
    }


FOUND: dict[str, tuple[int, float, float, str, int | None]] = {
    "implausible_quantity": (1, 400, 100, "quantity", None),
    "implausible_speed": (1, 240, 60, "per hour", None),
    "implausible_duration": (1, 72, 24, "hours", None),
    "implausible_power": (1, 1170, 800, "kW", None),
    "implausible_energy": (4, 760, 600, "kWh a day", None),
    "implausible_day_total": (3, 270, 250, "a day", None),
    "implausible_day": (13, 13, 12, "acts a day", None),
    # 300 km in 10 minutes and the 40 of both rides at 120 of 350 km/h.
    "impossible_travel": (2, 759.036, 350, "km/h", 1),
    "same_steps_every_day": (27, 5, 4, "days alike", None),
    "steady_steps": (10, 10, 9, "days alike", None),
    "full_steps_every_day": (27, 5, 4, "days alike", None),
}


@pytest.mark.parametrize("reason", FOUND)
def test_each_reason_has_its_figure_and_limit(kit: Any, reason: str) -> None:
    record, value, limit, measure, other = FOUND[reason]
    found = figures(kit, *one(kit)[reason])
    assert found[record] == (reason, pytest.approx(value, rel=1e-5), limit, measure, other)
    assert all(told[1] > told[2] for told in found.values())


def test_every_reason_of_plausibility_is_in_the_table() -> None:
    plausible = {r.name.lower() for r in Reason if r.name.startswith("IMPLAUSIBLE")}
    assert plausible | {"impossible_travel", "same_steps_every_day", "steady_steps", "full_steps_every_day"} == set(
        FOUND
    )


def test_a_hold_that_is_about_no_figure_has_none(kit: Any) -> None:
    at_once = [kit.record(1, km=2, lasts=30), kit.record(2, "operator-b", 5, lasts=20, behaviour="MOB-METRO")]
    ((reason, *rest),) = figures(kit, *at_once).values()
    assert (reason, rest) == ("two_trips_at_once", [None] * 4)


def test_the_quantity_of_an_act_may_be_another_report_s(kit: Any) -> None:
    silent = kit.record(1, "operator-a", lasts=10, event_key=5)
    found = figures(kit, silent, kit.record(2, "navigation-b", km=50, lasts=10, event_key=5))
    assert found[1][:2] == ("implausible_speed", pytest.approx(50 / 11 * 60))


def test_people_are_not_mixed_up(kit: Any) -> None:
    mine = one(kit)["same_steps_every_day"]
    theirs = [record | {"subject_id": 2, "record_id": 100 + record["record_id"]} for record in mine[:3]]
    assert {told[1] for told in figures(kit, *mine, *theirs).values()} == {5.0}


def test_holds_are_summed_up_by_reason(kit: Any) -> None:
    records = [*one(kit)["same_steps_every_day"], kit.record(100, km=80, lasts=19, minute=-50_000)]
    records += [kit.record(101, km=100, lasts=19, minute=-50_000, subject_id=2)]
    acts = acts_of(kit, *records)
    holds = acts.filter(pl.col("verdict") == "held")
    found = summarise(holds, figures_of(holds, acts, load_policy()))
    assert found.schema == pl.Schema(SUMMARY)
    rows = found.to_dicts()
    assert [(row["reason"], row["holds"], row["people"]) for row in rows] == [
        ("same_steps_every_day", 5, 1),
        ("implausible_speed", 2, 2),
    ]
    speed = rows[1]
    assert (speed["limit"], speed["median"], speed["most"], speed["measure"]) == (60, 270, 300, "per hour")
    assert speed["reference_mg"] == holds.filter(pl.col("reason") == "implausible_speed")["reference_mg"].sum() > 0


def test_no_holds_have_no_figures() -> None:
    nothing = pl.DataFrame(schema=ACTS)
    assert figures_of(nothing, nothing, load_policy()).is_empty()
    assert summarise(nothing, pl.DataFrame(schema=FIGURES)).is_empty()
