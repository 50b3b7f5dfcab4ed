"""The speed of clearing is measured beside sorting, on records that clearing accepts."""

import json
from pathlib import Path

import polars as pl
import pytest
from typer.testing import CliRunner

from hub.bench import clearing_speed
from hub.bench.clearing_speed import SORT, measure_sizes, write_records
from hub.clearing.engines.local import clear_files
from hub.commands.bench import bench


def test_made_records_are_sound_and_the_same_for_a_seed(tmp_path: Path) -> None:
    sizes = [write_records(tmp_path / name, 3_000, seed) for name, seed in (("a", 1), ("b", 1), ("c", 2))]
    one, same, other = (pl.read_parquet(tmp_path / name / "*.parquet") for name in ("a", "b", "c"))
    assert one.equals(same)
    assert not one.equals(other)
    assert sizes[0] == len(one) == one["record_id"].n_unique()
    manifest = clear_files(tmp_path / "a", tmp_path / "out")
    assert manifest["verdicts"]["rejected"] == 0
    # 17 of 117 records tell of an act that another tells of.
    assert 0.7 * len(one) * 17 / 117 < manifest["verdicts"]["duplicate"] < 1.3 * len(one) * 17 / 117


def test_the_peer_writes_the_same_records_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_records(tmp_path / "in", 2_000, 1)
    monkeypatch.setattr(clearing_speed, "find_spec", lambda name: None)
    told = clearing_speed._sort_and_write(tmp_path / "in", tmp_path / "out")
    found = pl.read_parquet(tmp_path / "out" / "sorted.parquet")
    assert told["name"].startswith("polars ")
    assert found.select(SORT).equals(found.select(SORT).sort(SORT))
    assert found.sort("record_id").equals(pl.read_parquet(tmp_path / "in" / "*.parquet").sort("record_id"))


def test_a_side_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"ours failed: .*is not a folder of records"):
        clearing_speed._side("ours", tmp_path / "nowhere", tmp_path / "out")


def test_the_command_prints_a_line_for_each_size(monkeypatch: pytest.MonkeyPatch) -> None:
    took = {"ours": 2.0, "peer": 4.0}
    turns: list[tuple[str, int]] = []

    def side(name: str, records: Path, out: Path) -> dict[str, object]:
        rows = pl.scan_parquet(records / "*.parquet").select(pl.len()).collect().item()
        turns.append((name, rows))
        # Twice the time for a record in the larger set.
        seconds = took[name] * rows * (2 if rows > 5_000 else 1) / 1000
        return {"name": name, "root": "r", "seconds": seconds, "processor_s": seconds, "peak_mib": rows}

    monkeypatch.setattr(clearing_speed, "_side", side)
    monkeypatch.setattr(clearing_speed, "WARM_UP", 1_000)
    result = CliRunner().invoke(bench, ["clearing-speed", "-n", "8000", "-n", "2000", "--rounds", "2", "--json"])
    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    assert [line["bench"] for line in lines] == ["clearing-speed"] * 2
    assert [round(line["records"], -3) for line in lines] == [2_000, 8_000]
    assert [line["ratio"] for line in lines] == [0.5, 0.5]
    assert [line["growth"] for line in lines] == [None, 2.0]
    assert lines[1]["ours"]["peak_mib"] == lines[1]["records"]
    assert [name for name, _ in turns[1:5]] == ["ours", "peer", "ours", "peer"]


@pytest.mark.long
def test_both_sides_really_run(tmp_path: Path) -> None:
    told: list[int] = []
    figures = measure_sizes(tmp_path, sizes=[2_000], rounds=1, seed=1, told=lambda figure: told.append(figure.records))
    assert told == [figures[0].records]
    assert figures[0].ours.peak_mib > 50
    assert figures[0].ratio > 0
    assert len(figures[0].root) == 64
