"""The Spark engine: two executors, any layout, one of them killed, and still the rows and the root of one machine."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from hub.clearing.engines import reading
from hub.clearing.engines.cluster import spark_session
from hub.clearing.engines.local import clear_files
from hub.clearing.engines.spark import clear_files_spark
from hub.clearing.errors import ClearingInputError
from hub.cli import app
from standards.schema import arrow_schema

pyspark = pytest.importorskip("pyspark", reason="PySpark is not installed")
pytestmark = pytest.mark.skipif(not shutil.which("java"), reason="there is no Java runtime")

TWO_EXECUTORS = "local-cluster[2,1,1024]"
EXECUTOR = b"CoarseGrainedExecutorBackend"
PUBLIC = pa.schema([field.with_nullable(True) for field in arrow_schema()])
ABOVE_INT64 = (1 << 63) + 12_345


@pytest.fixture(scope="module")
def session() -> Iterator[Any]:
    with spark_session(TWO_EXECUTORS) as running:
        yield running
        application = running.sparkContext.applicationId
    # The executors of such a cluster work beside Spark's own files.
    shutil.rmtree(Path(pyspark.__file__).parent / "work" / application, ignore_errors=True)


def public(frame: pl.DataFrame) -> pa.Table:
    """RECORD columns as a file has them; quantities as decimals."""
    quantity = (pl.col("quantity_micro").cast(pl.Decimal(18, 6)) / 1_000_000).cast(pl.Decimal(18, 6))
    return frame.with_columns(quantity=quantity).select(PUBLIC.names).to_arrow().cast(PUBLIC)


def write(table: pa.Table, path: Path, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)


def write_in_pieces(table: pa.Table, folder: Path, *, seed: int) -> None:
    """The same records in another order and other files: decimals here and floats there, few rows a row group."""
    order = pl.int_range(len(table), eager=True).shuffle(seed=seed).to_arrow()
    mixed = table.take(order)
    floats = mixed.set_column(PUBLIC.get_field_index("quantity"), "quantity", mixed["quantity"].cast(pa.float64()))
    size = len(table) // 4 + 1
    for part in range(4):
        piece = (mixed, floats)[part % 2].slice(part * size, size)
        write(piece, folder / ("deep/" * (part % 3)) / f"{part}.parquet", row_group_size=size // 3)


def result(out: Path) -> dict[str, Any]:
    """All that a run says, without who computed it and for how long."""
    manifest = json.loads((out / "manifest.json").read_text())
    for name in ("engine", "steps", "seconds", "inputs", "history"):
        del manifest[name]
    return {
        "decisions": pl.read_parquet(out / "decisions" / "*.parquet").sort("record_id").to_dicts(),
        "events": pl.read_parquet(out / "events" / "*.parquet").sort("event_id").to_dicts(),
        "positions": pl.read_parquet(out / "positions.parquet").to_dicts(),
        "manifest": manifest,
    }


@pytest.fixture(scope="module")
def town(kit: Any) -> pa.Table:
    """People with second reports, shared rides, constants for keys, keys beyond signed numbers, days and bad rows."""
    records = []
    for person in range(60):
        who = {"subject_id": 7919 * person - 50_000}
        number = 100 * person
        ride = {"behaviour": "MOB-CARPOOL", "event_key": ABOVE_INT64 + person // 2, "lasts": 20, "minute": 300}
        records += [
            kit.record(number, "operator-a", km=2 + person / 10, payment_key=number + 1, claimed_mg=60_000, **who),
            kit.record(number + 1, "navigation-b", km=2.02 + person / 10, minute=0.4, **who),
            kit.record(number + 2, "payment-c", minute=10.2, lasts=0, payment_key=number + 1, **who),
            kit.record(number + 3, "operator-d", behaviour="FOOD-OWNCUP", lasts=0, minute=200, event_key=55, **who),
            kit.record(number + 4, "aggregator-e", behaviour="FOOD-OWNCUP", lasts=0, minute=900, event_key=55, **who),
            kit.record(number + 5, "operator-a", km=8, **ride, **who),
            kit.day(number + 6, "operator-f", "MOB-NODRIVE", **who),
            kit.day(number + 7, "self_report-g", "MOB-WALK", 5000 + 10 * person, **who),
            kit.record(number + 8, "operator-h" if person % 9 else "operator-z", km=-1, **who),
        ]
    nobody = kit.record(90_000, km=1) | {"subject_id": None}
    return public(kit.frame(*records, nobody))


@pytest.fixture(scope="module")
def alone(town: pa.Table, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one machine says of the town."""
    folder = tmp_path_factory.mktemp("alone")
    write(town, folder / "in" / "all.parquet")
    clear_files(folder / "in", folder / "out")
    return result(folder / "out")


def test_the_town_has_what_can_go_wrong_between_machines(alone: dict[str, Any]) -> None:
    decided = {decision["record_id"]: decision for decision in alone["decisions"]}
    assert {"bad_quantity", "missing_value"} <= {decision["reason"] for decision in decided.values()}
    assert {"T2", "T4", "shared-ride"} <= {decision["rule"] for decision in decided.values()}
    # A cup at noon and one at night, under a number that no single place knows to be everybody's.
    assert [decided[number]["verdict"] for number in (3, 4)] == ["counted", "counted"]


def test_two_executors_say_what_one_machine_says(
    session: Any, town: pa.Table, alone: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "PIECE_ROWS", 50)
    write_in_pieces(town, tmp_path / "in", seed=1)
    steps = set()
    manifest = clear_files_spark(
        tmp_path / "in", tmp_path / "out", progress=lambda step, done, whole: steps.add((step, done == whole))
    )
    assert result(tmp_path / "out") == alone
    assert manifest["engine"] == "spark"
    # Files say what they held, in their order; digests are those that one machine takes.
    clear_files(tmp_path / "in", tmp_path / "other")
    assert manifest["inputs"] == json.loads((tmp_path / "other" / "manifest.json").read_text())["inputs"]
    assert {("learn", True), ("keys", True), ("clear", True)} <= steps
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"decisions", "events", "manifest.json", "positions.parquet"}
    kinds = [
        pq.read_schema(next((folder / "decisions").iterdir())) for folder in (tmp_path / "out", tmp_path / "other")
    ]
    assert kinds[0] == kinds[1]


def executors(session: Any) -> list[int]:
    """Processes of executors that this session's own Java process started."""
    mine = session.sparkContext._gateway.proc.pid
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == mine and EXECUTOR in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue  # it has ended meanwhile
    return found


@pytest.mark.parametrize("during", ["read", "learn"])
def test_a_killed_executor_changes_nothing(
    session: Any, town: pa.Table, alone: dict[str, Any], tmp_path: Path, during: str
) -> None:
    """`read`: the first tasks are done. `learn`: all records are sorted, and half of them on the disk of the dead."""
    write_in_pieces(town, tmp_path / "in", seed=2)
    killed: list[int] = []
    finished: list[str] = []

    def kill_one(step: str, done: int, whole: int) -> None:
        if step == during and done > 0 and not killed:
            killed.append(executors(session)[0])
            os.kill(killed[0], signal.SIGKILL)
        if killed and done == whole:
            finished.append(step)

    clear_files_spark(tmp_path / "in", tmp_path / "out", progress=kill_one)
    assert len(killed) == 1
    assert "clear" in finished
    assert result(tmp_path / "out") == alone
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}
    assert {path.suffix for path in (tmp_path / "out" / "decisions").iterdir()} == {".parquet"}


def test_an_earlier_run_binds_every_engine_alike(session: Any, kit: Any, town: pa.Table, tmp_path: Path) -> None:
    old = tmp_path / "old"
    write(town, old / "records" / "a.parquet")
    clear_files(old / "records", old / "out")
    late = [
        kit.record(
            200_000 + person, "aggregator-late", km=2.01 + person / 10, minute=0.5, subject_id=7919 * person - 50_000
        )
        for person in range(60)
    ]
    write_in_pieces(public(kit.frame(*late)), tmp_path / "in", seed=3)
    clear_files(tmp_path / "in", tmp_path / "local", history=[old])
    manifest = clear_files_spark(tmp_path / "in", tmp_path / "spark", history=[old])
    assert result(tmp_path / "spark") == result(tmp_path / "local")
    assert manifest["history"] == [str(old)]
    assert manifest["verdicts"]["duplicate"] > 0


def refused(records: Path, out: Path, **options: Any) -> list[str]:
    """What both engines say of the same input, neither of which may write anything."""
    texts = []
    for engine in (clear_files, clear_files_spark):
        with pytest.raises(ClearingInputError) as error:
            engine(records, out, **options)
        assert not list(out.parent.glob(f"*{out.name}*"))
        texts.append(str(error.value))
    return texts


def test_a_number_that_occurs_twice_names_both_files(session: Any, town: pa.Table, tmp_path: Path) -> None:
    write(town, tmp_path / "in" / "all.parquet")
    write(town.slice(3, 30), tmp_path / "in" / "again.parquet")
    texts = refused(tmp_path / "in", tmp_path / "out")
    assert texts == ["record_id 3 occurs twice: in again.parquet and in all.parquet"] * 2


def without_number(table: pa.Table) -> pa.Table:
    return table.set_column(0, "record_id", pa.array([None, *table["record_id"].to_pylist()[1:]], pa.int64()))


def test_the_first_file_that_cannot_be_used_is_named(session: Any, town: pa.Table, tmp_path: Path) -> None:
    write(town.slice(0, 200), tmp_path / "in" / "a.parquet")
    write(without_number(town.slice(200, 100)), tmp_path / "in" / "b.parquet")
    write(town.slice(300), tmp_path / "in" / "c.parquet")
    # Its end is whole, so that only who reads the records finds the hole.
    damaged = tmp_path / "in" / "c.parquet"
    content = bytearray(damaged.read_bytes())
    content[4:400] = bytes(396)
    damaged.write_bytes(content)
    assert refused(tmp_path / "in", tmp_path / "out") == ["b.parquet: column record_id holds nulls"] * 2
    (tmp_path / "in" / "b.parquet").unlink()
    assert refused(tmp_path / "in", tmp_path / "out") == ["c.parquet: not a readable Parquet file"] * 2


def test_an_earlier_run_that_did_not_decide_all_is_refused(session: Any, kit: Any, tmp_path: Path) -> None:
    old = tmp_path / "old"
    write(public(kit.frame(kit.record(1, km=2))), old / "records" / "a.parquet")
    clear_files(old / "records", old / "out")
    write(public(kit.frame(kit.record(2, km=2, minute=timedelta(days=1).seconds))), old / "records" / "b.parquet")
    write(public(kit.frame(kit.record(3, km=2))), tmp_path / "in" / "new.parquet")
    texts = refused(tmp_path / "in", tmp_path / "out", history=[old])
    assert texts == [f"{old}/records/b.parquet: holds records that out/ did not decide"] * 2


@pytest.mark.parametrize("rows", [0, 1])
def test_no_sound_record_gives_tables_without_rows(session: Any, town: pa.Table, tmp_path: Path, rows: int) -> None:
    # The last one has no person.
    write(town.slice(len(town) - rows, rows), tmp_path / "in" / "all.parquet")
    clear_files(tmp_path / "in", tmp_path / "local")
    clear_files_spark(tmp_path / "in", tmp_path / "spark")
    assert result(tmp_path / "spark") == result(tmp_path / "local")


def test_the_command_clears_on_spark(session: Any, town: pa.Table, alone: dict[str, Any], tmp_path: Path) -> None:
    write(town, tmp_path / "in" / "all.parquet")
    options = ["--engine", "spark", "--records", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--json"]
    told = CliRunner().invoke(app, ["clear", *options])
    assert told.exit_code == 0
    assert json.loads(told.stdout) == json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert result(tmp_path / "out") == alone
