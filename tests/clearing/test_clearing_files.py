"""Bulk clearing: files in, files out, the same whatever the layout, and nothing at all if an input is wrong."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from hub.clearing.engines import shelf
from hub.clearing.engines.local import clear_files
from hub.clearing.engines.writing import root_of_digests
from hub.clearing.errors import ClearingInputError
from hub.clearing.kernel.clear import clear
from hub.clearing.kernel.compiled import cache_folder
from standards.policy import load_policy
from standards.schema import arrow_schema

TABLES = ("decisions", "events")
# A file may hold nulls where none is allowed; such rows are rejected.
PUBLIC = pa.schema([field.with_nullable(True) for field in arrow_schema()])


def public(frame: pl.DataFrame) -> pa.Table:
    """RECORD columns as a file has them; quantities as decimals."""
    quantity = (pl.col("quantity_micro").cast(pl.Decimal(18, 6)) / 1_000_000).cast(pl.Decimal(18, 6))
    return frame.with_columns(quantity=quantity).select(PUBLIC.names).to_arrow().cast(PUBLIC)


def write(table: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def result(out: Path) -> dict[str, pl.DataFrame]:
    tables = {name: pl.read_parquet(out / name / "*.parquet") for name in TABLES}
    sort = {"decisions": "record_id", "events": "event_id"}
    return {name: table.sort(sort[name]) for name, table in tables.items()} | {
        "positions": pl.read_parquet(out / "positions.parquet")
    }


@pytest.fixture(scope="module")
def frame(kit: Any) -> pl.DataFrame:
    """A little town: rides with second reports, meals, days, keys, claims, and a bad row."""
    records = []
    for person in range(40):
        who = {"subject_id": 7919 * person - 50_000}
        number = 100 * person
        records += [
            kit.record(number, "operator-a", km=2 + person / 10, event_key=number + 1, claimed_mg=60_000, **who),
            kit.record(number + 1, "navigation-b", km=2.02 + person / 10, minute=0.4, **who),
            kit.record(number + 2, "payment-c", minute=10.2, lasts=0, payment_key=number + 1, **who),
            kit.record(number + 3, "operator-d", behaviour="FOOD-NOTABLEWARE", lasts=0, minute=200, **who),
            kit.record(
                number + 4, "aggregator-e", behaviour="FOOD-NOTABLEWARE", lasts=0, minute=201, event_key=55, **who
            ),
            kit.day(number + 5, "operator-f", "MOB-NODRIVE", **who),
            kit.day(number + 6, "self_report-g", "MOB-WALK", 5000 + 10 * person, **who),
        ]
    bad = kit.record(9_000, km=-1) | {"role": "operator", "subject_id": None}
    return kit.frame(*records, bad).filter(pl.col("record_id").is_not_null())


@pytest.fixture
def records(frame: pl.DataFrame, tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    write(public(frame), folder / "all.parquet")
    return folder


def test_the_bulk_engine_decides_what_the_kernel_decides(frame: pl.DataFrame, records: Path, tmp_path: Path) -> None:
    manifest = clear_files(records, tmp_path / "out")
    expected = clear(frame, None, load_policy())
    found = result(tmp_path / "out")
    assert found["decisions"].equals(expected.decisions)
    assert found["events"].equals(expected.events)
    counts = dict(expected.decisions["verdict"].value_counts().iter_rows())
    assert manifest["verdicts"] == {v: counts.get(v, 0) for v in manifest["verdicts"]}
    assert manifest["records"] == len(frame)
    assert manifest["events"] == len(expected.events)
    assert manifest["counted_mg"] == expected.decisions["counted_mg"].sum() == found["events"]["mg"].sum()
    assert json.loads((tmp_path / "out" / "manifest.json").read_text()) == manifest
    assert manifest["inputs"][0]["file"] == "all.parquet"


def test_positions_are_the_sums_of_decisions_by_platform(frame: pl.DataFrame, records: Path, tmp_path: Path) -> None:
    clear_files(records, tmp_path / "out")
    found = result(tmp_path / "out")
    joined = found["decisions"].join(frame.select("record_id", "platform", "claimed_mg"), on="record_id")
    verdict = pl.col("verdict")
    expected = joined.group_by("platform").agg(
        pl.len().cast(pl.Int64).alias("records"),
        pl.col("claimed_mg", "counted_mg").sum(),
        **{v: (verdict == v).sum().cast(pl.Int64) for v in ("duplicate", "overlapped", "held", "rejected")},
    )
    assert found["positions"].equals(expected.sort("platform"))


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("ranges", [1, 8])
def test_layout_order_and_workers_do_not_matter(
    records: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, ranges: int
) -> None:
    first = clear_files(records, tmp_path / "out")
    table = pq.read_table(records / "all.parquet")
    order = pa.array(pl.int_range(len(table), eager=True).shuffle(seed=ranges + workers).to_numpy())
    mixed = table.take(order)
    floats = mixed.set_column(PUBLIC.get_field_index("quantity"), "quantity", mixed["quantity"].cast(pa.float64()))
    for part in range(5):
        write((mixed, floats)[part % 2].slice(part * 60, 60), tmp_path / "mixed" / ("deep/" * part) / f"{part}.parquet")
    # Small enough for several ranges on disk.
    monkeypatch.setattr(shelf, "ROWS_IN_RANGE", len(table) // ranges + 1)
    monkeypatch.setattr(shelf, "ROWS_IN_MEMORY", 10 if ranges > 1 else 1 << 20)
    second = clear_files(tmp_path / "mixed", tmp_path / "other", workers=workers)
    one, other = result(tmp_path / "out"), result(tmp_path / "other")
    assert all(one[name].equals(other[name]) for name in one)
    assert second["root"] == first["root"]
    assert sorted(p.name for p in (tmp_path / "other").iterdir()) == [
        "decisions",
        "events",
        "manifest.json",
        "positions.parquet",
    ]


def test_the_root_changes_with_any_decision(records: Path, tmp_path: Path) -> None:
    table = pq.read_table(records / "all.parquet")
    write(table.slice(0, len(table) - 1), tmp_path / "less" / "all.parquet")
    roots = {clear_files(folder, tmp_path / f"out-{folder.name}")["root"] for folder in (records, tmp_path / "less")}
    assert len(roots) == 2


def test_the_root_is_that_of_rfc_6962() -> None:
    # Test vectors of the RFC's reference code: the empty tree, and the tree of one empty leaf.
    assert root_of_digests([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert root_of_digests([b""]) == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"


def drop(name: str) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.drop_columns([name])


def cast(name: str, kind: pa.DataType) -> Callable[[pa.Table], pa.Table]:
    return lambda table: table.set_column(table.schema.get_field_index(name), name, table[name].cast(kind))


def without_number(table: pa.Table) -> pa.Table:
    numbers = [None, *table["record_id"].to_pylist()[1:]]
    return table.set_column(0, "record_id", pa.array(numbers, pa.int64()))


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (drop("event_key"), "broken.parquet: column event_key is missing"),
        (drop("region"), "broken.parquet: column region is missing"),
        (cast("subject_id", pa.string()), "broken.parquet: column subject_id is string, not int64"),
        (cast("claimed_mg", pa.float64()), "broken.parquet: column claimed_mg is double, not int64"),
        (
            cast("start_at", pa.timestamp("us")),
            "broken.parquet: column start_at is timestamp[us], not timestamp[us, UTC]",
        ),
        (cast("end_at", pa.timestamp("ns", tz="UTC")), "broken.parquet: column end_at is timestamp[ns, tz=UTC]"),
        (cast("quantity", pa.string()), "broken.parquet: column quantity is string"),
        (without_number, "broken.parquet: column record_id holds nulls"),
    ],
)
def test_a_wrong_file_is_one_line_and_nothing_is_written(
    records: Path, tmp_path: Path, damage: Callable[[pa.Table], pa.Table], says: str
) -> None:
    write(damage(pq.read_table(records / "all.parquet")), records / "broken.parquet")
    with pytest.raises(ClearingInputError) as error:
        clear_files(records, tmp_path / "out")
    assert says in str(error.value)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == [records]


def test_a_file_that_is_no_parquet_is_named(records: Path, tmp_path: Path) -> None:
    (records / "text.parquet").write_text("record_id\n1\n")
    with pytest.raises(ClearingInputError, match=r"text\.parquet: not a readable Parquet file"):
        clear_files(records, tmp_path / "out")


def test_a_number_that_occurs_twice_names_both_files(records: Path, tmp_path: Path) -> None:
    write(pq.read_table(records / "all.parquet").slice(3, 1), records / "again.parquet")
    with pytest.raises(ClearingInputError, match=r"record_id 3 occurs twice: in again\.parquet and in all\.parquet"):
        clear_files(records, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [records]


def test_a_column_that_nobody_filled_may_have_no_type_and_unit_may_be_absent(records: Path, tmp_path: Path) -> None:
    table = pq.read_table(records / "all.parquet").drop_columns(["unit", "region", "claimed_mg"])
    for name in ("region", "claimed_mg"):
        table = table.append_column(name, pa.nulls(len(table)))
    write(table.append_column("note", pa.array(["x"] * len(table))), records / "all.parquet")
    assert clear_files(records, tmp_path / "out")["records"] == len(table)


@pytest.mark.parametrize("told", [float("nan"), float("inf"), 1e12, -0.5])
def test_a_float_that_is_no_quantity_is_rejected(records: Path, tmp_path: Path, told: float) -> None:
    table = pq.read_table(records / "all.parquet").slice(0, 1)
    write(table.set_column(PUBLIC.get_field_index("quantity"), "quantity", pa.array([told])), records / "all.parquet")
    clear_files(records, tmp_path / "out")
    assert result(tmp_path / "out")["decisions"].select("verdict", "reason").row(0) == ("rejected", "bad_quantity")


def test_no_records_give_an_empty_result(records: Path, tmp_path: Path) -> None:
    write(pq.read_table(records / "all.parquet").slice(0, 0), records / "all.parquet")
    manifest = clear_files(records, tmp_path / "out")
    assert (manifest["records"], manifest["events"], manifest["counted_mg"]) == (0, 0, 0)
    assert result(tmp_path / "out")["decisions"].is_empty()


def test_an_earlier_result_is_replaced_and_anything_else_is_not(records: Path, tmp_path: Path) -> None:
    clear_files(records, tmp_path / "out")
    clear_files(records, tmp_path / "out")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(ClearingInputError, match="not the result of a clearing run"):
        clear_files(records, tmp_path / "mine")
    assert (tmp_path / "mine" / "letter.txt").exists()


def test_decisions_of_history_stay_and_later_reports_give_way(kit: Any, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    ride = kit.record(1, "aggregator-b", km=2)
    write(public(kit.frame(ride, kit.record(2, km=-1))), first / "records" / "a.parquet")
    clear_files(first / "records", first / "out")
    write(public(kit.frame(kit.record(3, "operator-a", km=2, minute=0.5))), second / "records" / "b.parquet")
    manifest = clear_files(second / "records", second / "out", history=[first])
    found = result(second / "out")
    assert found["decisions"].select("record_id", "event_id", "verdict", "canonical_record_id").rows() == [
        (3, 1, "duplicate", 1)
    ]
    assert found["events"].is_empty()
    assert (manifest["records"], manifest["counted_mg"]) == (1, 0)
    third = clear_files(second / "records", tmp_path / "alone")
    assert third["counted_mg"] > 0


def test_a_history_without_a_result_is_refused(kit: Any, records: Path, tmp_path: Path) -> None:
    write(public(kit.frame(kit.record(1, km=2))), tmp_path / "old" / "records" / "a.parquet")
    with pytest.raises(ClearingInputError, match="no result of a clearing run"):
        clear_files(records, tmp_path / "out", history=[tmp_path / "old"])


def test_a_history_with_undecided_records_is_refused(kit: Any, records: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    write(public(kit.frame(kit.record(70_000, km=2))), old / "records" / "a.parquet")
    clear_files(old / "records", old / "out")
    write(public(kit.frame(kit.record(70_001, km=2, minute=timedelta(days=1).seconds))), old / "records" / "b.parquet")
    with pytest.raises(ClearingInputError, match=r"b\.parquet: holds records that out/ did not decide"):
        clear_files(records, tmp_path / "out", history=[old])


def test_compiled_code_is_kept_apart_for_every_version_of_its_sources(tmp_path: Path) -> None:
    (tmp_path / "rows.py").write_text("A = 1\n")
    before = cache_folder(tmp_path)
    (tmp_path / "unrelated.py").write_text("B = 1\n")
    assert cache_folder(tmp_path) == before
    (tmp_path / "rows.py").write_text("A = 2\n")
    assert cache_folder(tmp_path) != before
