"""The labelled corpus: the same every time, in the public form, with every difficulty that its profile names."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import cache
from pathlib import Path

import polars as pl
import pytest

from hub.bench.clearing.corpus import PUBLIC, make_corpus, read_labelled, read_records, write_corpus
from hub.bench.clearing.labels import EXPECTED, TRUTH_SCHEMA, Labelled
from hub.bench.clearing.profiles import PROFILES, Profile
from hub.clearing.engines.local import clear_files
from hub.errors import UsageProblem
from standards.behaviours import accepted_behaviours

BUSY = PROFILES["busy"]
DAY = timedelta(days=1)


@cache
def busy() -> Labelled:
    """About 12,000 records; one group of people."""
    (made,) = make_corpus(BUSY, records=12_000, seed=4)
    return made


def whole(profile: Profile, records: int, seed: int) -> Labelled:
    parts = list(make_corpus(profile, records=records, seed=seed))
    return Labelled(records=pl.concat([p.records for p in parts]), truth=pl.concat([p.truth for p in parts]))


@pytest.mark.parametrize("name", PROFILES)
def test_the_same_seed_makes_the_same_records_and_another_seed_others(name: str) -> None:
    one, again, other = (whole(PROFILES[name], 3_000, seed) for seed in (5, 5, 6))
    assert one.records.equals(again.records)
    assert one.truth.equals(again.truth)
    assert not one.records.equals(other.records)


@pytest.mark.parametrize("name", PROFILES)
def test_a_corpus_is_about_as_large_as_was_asked_for(name: str) -> None:
    assert whole(PROFILES[name], 20_000, 7).records.height == pytest.approx(20_000, rel=0.1)


def test_people_are_made_in_groups_that_share_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.bench.clearing.corpus.GROUP", 40)
    parts = list(make_corpus(BUSY, records=4_000, seed=3))
    assert len(parts) == 3
    truth, records = pl.concat([p.truth for p in parts]), pl.concat([p.records for p in parts])
    assert records["record_id"].is_unique().all()
    assert records["subject_id"].drop_nulls().n_unique() == sum(
        p.records["subject_id"].drop_nulls().n_unique() for p in parts
    )
    assert truth["event_id"].n_unique() == sum(p.truth["event_id"].n_unique() for p in parts)


def test_every_record_has_its_truth_in_the_documented_columns() -> None:
    assert busy().records.schema == PUBLIC
    assert busy().truth.schema == TRUTH_SCHEMA
    assert busy().truth["record_id"].to_list() == busy().records["record_id"].to_list()
    assert set(busy().truth["expected"]) == set(EXPECTED)
    assert busy().truth.select(pl.col(name).null_count() for name in TRUTH_SCHEMA).row(0) == (0,) * len(TRUTH_SCHEMA)


def test_one_act_has_one_person_one_behaviour_and_one_worth() -> None:
    joined = busy().truth.join(busy().records, on="record_id").filter(pl.col("expected") != "rejected")
    told = joined.group_by("event_id").agg(pl.col("subject_id", "act", "mg", "unit_id").n_unique())
    assert told.select(pl.col("subject_id", "act", "mg", "unit_id").max()).row(0) == (1, 1, 1, 1)


def test_nobody_makes_two_trips_at_once() -> None:
    """Seen by operators, whose clocks are good: two acts of one person never overlap by half a minute."""
    travel = [code for code, known in accepted_behaviours().items() if known.group == "travel"]
    trips = (
        busy().truth.join(busy().records, on="record_id")
        .filter(pl.col("role") == "operator", pl.col("precision") == "second", pl.col("behaviour").is_in(travel))
        .filter(pl.col("expected").is_in(["once", "overlapped"])).unique("event_id").sort("subject_id", "start_at")
    )  # fmt: skip
    gap = trips["start_at"].shift(-1) - trips["end_at"]
    same = trips["subject_id"].shift(-1) == trips["subject_id"]
    assert trips.height > 1_000
    assert gap.filter(same).min() > -timedelta(seconds=30)  # type: ignore[operator]


DIFFICULTIES: dict[str, Callable[[pl.DataFrame], int]] = {
    "several platforms tell of one act": lambda t: t.filter(pl.col("platform").n_unique().over("event_id") > 2).height,
    "one platform tells of one act in parts": lambda t: t.filter(
        pl.col("role") == "payment", pl.len().over("event_id", "platform") > 1
    ).height,
    "a record comes again under another id": lambda t: t.height - t.unique([*PUBLIC.names()[1:]]).height,
    "a single moment": lambda t: t.filter(pl.col("start_at") == pl.col("end_at"), act="MOB-BIKE").height,
    "minute precision": lambda t: t.filter(precision="minute").height,
    "a trip booked on the day": lambda t: t.filter(pl.col("overlap") != "aggregate", precision="day", act="MOB-BUS").height,
    "a wrong name for the act": lambda t: t.filter(pl.col("act") != pl.col("behaviour"), pl.col("expected") == "once").height,
    "a trip over midnight": lambda t: t.filter(
        (pl.col("start_at") + timedelta(hours=8)).dt.date() < (pl.col("end_at") + timedelta(hours=8)).dt.date(),
        pl.col("precision") == "second", pl.col("family") == "transit",
    ).height,
    "a constant for a key": lambda t: t.filter(pl.col("event_key").is_in([123_456_789, 999_999_999])).height,
    "no quantity": lambda t: t["quantity"].null_count(),
    "kilometres where others tell trips": lambda t: t.filter(unit="km", act="MOB-METRO").height,
    "implausible acts": lambda t: t.filter(expected="set_aside").height,
    "bad rows": lambda t: t.filter(expected="rejected").height,
    "no-drive days with trips": lambda t: t.filter(expected="overlapped", overlap="nodrive").height,
    "steps with walks": lambda t: t.filter(expected="overlapped", overlap="steps").height,
    "charges with kilometres": lambda t: t.filter(expected="overlapped", overlap="charge").height,
    "day totals with rides": lambda t: t.filter(expected="overlapped", overlap="aggregate").height,
    "shared rides": lambda t: t.filter(expected="overlapped", overlap="carpool").height,
    "once-only acts claimed again": lambda t: t.filter(expected="overlapped", overlap="once").height,
}  # fmt: skip


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_every_difficulty_is_in_the_corpus(difficulty: str) -> None:
    assert DIFFICULTIES[difficulty](busy().truth.join(busy().records, on="record_id")) > 0


def test_a_profile_without_a_difficulty_has_none_of_it() -> None:
    calm = replace(BUSY, implausible=0.0, bad=0.0, habits=replace(BUSY.habits, totals=0.0, card_again=0.0))
    truth = whole(calm, 4_000, 1).truth
    assert not set(truth["expected"]) & {"set_aside", "rejected"}
    assert not set(truth.filter(expected="overlapped")["overlap"]) & {"aggregate", "once"}


def test_real_acts_follow_each_other_within_minutes() -> None:
    """Two acts of one person and family, a few minutes apart, told by the same operator."""
    told = (
        busy().truth.join(busy().records, on="record_id")
        .filter(pl.col("role") == "operator", pl.col("family") == "cycle", pl.col("expected") == "once")
        .unique("event_id").sort("subject_id", "start_at")
    )  # fmt: skip
    gap = (told["start_at"].shift(-1) - told["end_at"]).filter(told["subject_id"].shift(-1) == told["subject_id"])
    assert (gap < timedelta(minutes=5)).sum() > 10


def test_every_bad_row_is_rejected_and_no_other(tmp_path: Path) -> None:
    write_corpus(replace(BUSY, bad=0.05), records=4_000, seed=2, folder=tmp_path)
    clear_files(tmp_path / "records", tmp_path / "out")
    decided = pl.read_parquet(tmp_path / "out" / "decisions" / "*.parquet").join(
        read_labelled(tmp_path), on="record_id"
    )
    rejected = decided.filter(verdict="rejected")
    assert rejected.height > 100
    assert set(rejected["expected"]) == {"rejected"}
    assert rejected.height == decided.filter(expected="rejected").height
    assert rejected["reason"].n_unique() >= 6


def test_a_labelled_folder_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_corpus(BUSY, records=2_000, seed=1, folder=tmp_path)
    made = whole(BUSY, 2_000, 1)
    assert read_records(tmp_path).equals(made.records)
    assert read_labelled(tmp_path).equals(made.truth)


def test_further_columns_of_the_truth_are_not_read_and_a_missing_one_is_told(tmp_path: Path) -> None:
    write_corpus(BUSY, records=2_000, seed=1, folder=tmp_path)
    file = tmp_path / "truth" / "part-0000.parquet"
    truth = pl.read_parquet(file)
    truth.with_columns(mood=pl.lit("fair")).write_parquet(file)
    assert read_labelled(tmp_path).schema == TRUTH_SCHEMA
    truth.drop("unit_id").write_parquet(file)
    with pytest.raises(UsageProblem, match="no column unit_id"):
        read_labelled(tmp_path)


@pytest.mark.parametrize("name", ["records", "truth"])
def test_a_folder_without_records_or_truth_is_none(tmp_path: Path, name: str) -> None:
    write_corpus(BUSY, records=2_000, seed=1, folder=tmp_path)
    (tmp_path / name / "part-0000.parquet").unlink()
    with pytest.raises(UsageProblem, match=f"no Parquet files below {name}/"):
        read_labelled(tmp_path)
