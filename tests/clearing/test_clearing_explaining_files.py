"""Explaining a decision of a bulk run: one person's rows are read, and what was written is what is explained."""

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests_support.explaining import ride

from hub.clearing.engines.local import clear_files
from hub.clearing.engines.looking import explain_files
from hub.clearing.errors import ClearingInputError
from hub.clearing.explain.sentences import sentence
from standards.schema import PUBLIC_COLUMNS, RECORD_SCHEMA, arrow_schema


def write(folder: Path, rows: list[dict[str, Any]], files: int = 1) -> Path:
    """Write rows as the public Parquet form, spread over some files."""
    folder.mkdir(parents=True)
    frame = pl.DataFrame(rows, schema=RECORD_SCHEMA, orient="row")
    public = frame.with_columns(quantity=(pl.col("quantity_micro") / 1_000_000).cast(pl.Float64))
    names = [column.name for column in PUBLIC_COLUMNS]
    assert set(names) == set(arrow_schema().names)
    for number in range(files):
        part = public.select(names)[number::files]
        part.write_parquet(folder / f"part-{number}.parquet")
    return folder


ROWS = [
    ride(1, "operator-a"), ride(2, "aggregator-a", second=70), ride(3, "operator-a", subject_id=2, minute=1),
    ride(4, "aggregator-a", minute=300, behaviour="MOB-X"), ride(5, "aggregator-a", minute=400, quantity_micro=-1_000_000),
]  # fmt: skip


def test_it_explains_what_was_written_whatever_the_files(tmp_path: Path) -> None:
    records = write(tmp_path / "records", ROWS, files=3)
    clear_files(records, tmp_path / "out")
    told = explain_files(records, tmp_path / "out", 2)
    assert told.reproduced
    assert told.match is not None
    assert (told.match.other_record_id, told.match.apart_s, told.event_mg) == (1, 70, 67_760)
    assert [one.record_id for one in told.others] == [1]
    for number, part in ((4, "a kind of act that is not counted here"), (5, "no possible number"), (3, "no other act")):
        assert part in sentence(explain_files(records, tmp_path / "out", number), "en")


def test_a_key_of_many_people_and_another_person_s_ride_are_looked_up(tmp_path: Path) -> None:
    shared = [
        ride(n, "operator-a", subject_id=n, behaviour="MOB-CARPOOL", event_key=9, minute=n, quantity_micro=8_000_000)
        for n in (1, 2)
    ]
    crowd = [ride(10 + n, "aggregator-a", subject_id=10 + n, event_key=5) for n in range(6)]
    mine = [ride(30, "operator-a", subject_id=10, event_key=5, minute=600)]
    records = write(tmp_path / "records", [*shared, *crowd, *mine])
    clear_files(records, tmp_path / "out")
    assert explain_files(records, tmp_path / "out", 2).report.reason == "counted_for_other_person"
    assert explain_files(records, tmp_path / "out", 2).reproduced
    # A constant in the key's place joins nothing: without the other people it would.
    assert explain_files(records, tmp_path / "out", 30).report.reason == "only_report"
    assert explain_files(records, tmp_path / "out", 30).reproduced


def test_what_earlier_runs_decided_stays_and_is_named(tmp_path: Path) -> None:
    earlier = tmp_path / "earlier"
    write(earlier / "records", ROWS[:1])
    clear_files(earlier / "records", earlier / "out")
    records = write(tmp_path / "records", ROWS[1:2])
    clear_files(records, tmp_path / "out", history=[earlier])
    told = explain_files(records, tmp_path / "out", 2)
    assert told.reproduced
    assert (told.canonical_why, told.report.event_id) == ("earlier", 1)


@pytest.mark.parametrize(("record_id", "says"), [(99, "there is no record 99"), (2, "nothing was decided")])
def test_what_is_not_there_is_said(tmp_path: Path, record_id: int, says: str) -> None:
    records = write(tmp_path / "records", ROWS[:1])
    clear_files(records, tmp_path / "out")
    later = write(tmp_path / "later", ROWS[:2])
    with pytest.raises(ClearingInputError, match=says):
        explain_files(later, tmp_path / "out", record_id)
