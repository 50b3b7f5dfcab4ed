"""The bulk engine's own parts: sorting, laying aside, counting people, pieces of files, and how far it says it is."""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.bench.clearing_speed import write_records
from hub.clearing.engines import reading, shelf
from hub.clearing.engines.intake import find_repeated
from hub.clearing.engines.local import STEPS, clear_files
from hub.clearing.engines.reading import find_files, open_file
from hub.clearing.engines.shelf import Shelf
from hub.clearing.engines.sketch import FULL, count_people, new_counters, slots_of_people, suspected
from hub.clearing.errors import ClearingInputError
from hub.clearing.kernel.encode import KEY_BITS, LONG_RUN, bucket_keys, chosen_rows, sorted_rows
from hub.clearing.kernel.rows import ROW, TOLD, Table
from hub.commands.pace import overall

RECORDS = 12_000


def made_rows(fields: dict[str, Any]) -> Table:
    """ROW with these fields; the number is the place."""
    size = len(next(iter(fields.values())))
    rows = np.zeros(size, ROW)
    rows["record"] = np.arange(size)[::-1]
    for name, values in fields.items():
        rows[name] = values
    return rows


def plainly_sorted(rows: Table) -> Table:
    fields = (rows["record"], rows["platform"], rows["start"], rows["family"], bucket_keys(rows))
    return rows[np.lexsort(fields)]


SMALL = st.integers(0, 3)


@given(st.lists(st.tuples(SMALL, SMALL, st.sampled_from([0, 1, 7, 1 << 52]), SMALL), max_size=40))
@settings(max_examples=60, deadline=None)
def test_rows_are_in_full_order_whatever_is_equal(told: list[tuple[int, int, int, int]]) -> None:
    columns = (
        dict(zip(("subject", "family", "start", "platform"), zip(*told, strict=True), strict=True)) if told else {}
    )
    rows = made_rows(columns) if told else np.zeros(0, ROW)
    assert np.array_equal(sorted_rows(rows), plainly_sorted(rows))


def test_a_flood_at_one_instant_is_in_full_order() -> None:
    dice = np.random.default_rng(1)
    size = 5 * LONG_RUN
    rows = made_rows({"platform": dice.integers(0, 3, size), "start": dice.integers(0, 2, size) * 1000})
    # So far apart that the instants near zero become one number.
    rows["start"][0] = 1 << 51
    assert np.array_equal(sorted_rows(rows), plainly_sorted(rows))


def test_people_whose_keys_begin_alike_are_kept_apart() -> None:
    subjects = np.arange(200_000)
    keys = bucket_keys(made_rows({"subject": subjects}))
    first = keys >> np.uint64(64 - KEY_BITS + 8)
    shared = np.flatnonzero(np.bincount(first.astype(np.int64), minlength=1)[first.astype(np.int64)] > 1)[:400]
    ends = subjects[[int(keys.argmin()), int(keys.argmax())]]
    people = np.r_[np.tile(subjects[shared], 3), ends]
    rows = made_rows({"subject": people, "start": np.random.default_rng(2).integers(0, 9, len(people))})
    assert len(shared) > 100
    assert np.array_equal(sorted_rows(rows), plainly_sorted(rows))


def test_chosen_rows_are_those_at_the_places() -> None:
    rows = made_rows({"start": np.arange(9) * 7})
    at = np.array([8, 0, 3, 3])
    assert np.array_equal(chosen_rows(rows, at), rows[at])


@pytest.mark.parametrize("on_disk", [False, True])
def test_a_shelf_gives_back_what_all_threads_laid_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, on_disk: bool
) -> None:
    monkeypatch.setattr(shelf, "ROWS_IN_RANGE", 100)
    monkeypatch.setattr(shelf, "MOST_ROWS_IN_TRAY", 3)
    monkeypatch.setattr(shelf, "ROWS_IN_MEMORY", 0 if on_disk else 1 << 20)
    rows = made_rows({"subject": np.arange(1000)})
    kept = Shelf(tmp_path / "shelf", len(rows), ROW, kept=TOLD)
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(kept.add, np.array_split(rows, 20)))
    kept.flush()
    parts = [kept.take(number) for number in range(kept.ranges)]
    assert kept.ranges == 16
    assert (tmp_path / "shelf").exists() == on_disk
    assert np.array_equal(np.sort(np.concatenate(parts), order="record"), np.sort(rows, order="record"))
    for number, part in enumerate(parts):
        assert set(kept.ranges_of(bucket_keys(part)).tolist()) <= {number}
    turned = parts[5][::-1].copy()
    kept.replace(5, turned)
    assert np.array_equal(kept.take(5), turned)
    assert np.array_equal(kept.take(6), parts[6])
    kept.drop(5)
    assert len(kept.take(5)) == 0
    kept.clear()
    assert not (tmp_path / "shelf").exists()


def test_the_sketch_never_misses_a_key_that_many_people_carry() -> None:
    dice = np.random.default_rng(3)
    size = 4000
    rows = made_rows({"subject": dice.integers(0, 300, size), "event_key": dice.integers(0, 900, size)})
    rows["payment_key"] = np.where(dice.random(size) < 0.3, 7, 0)
    rows = sorted_rows(rows)
    counters = new_counters(1)
    count_people(counters, slots_of_people(rows, counters))
    most = 4
    frame = pl.DataFrame({name: rows[name].copy() for name in ("subject", "event_key", "payment_key", "record")})
    many = set()
    for name in ("event_key", "payment_key"):
        people = frame.filter(pl.col(name) != 0).group_by(name).agg(pl.col("subject").n_unique())
        many |= set(frame.filter(pl.col(name).is_in(people.filter(pl.col("subject") > most)[name].implode()))["record"])
    found = set(suspected(rows, counters, most)["record"].tolist())
    assert many <= found < set(range(size))
    kept = suspected(rows, counters, most)
    for name in ("event_key", "payment_key"):
        # A key stays only where its own counter is high, and there it always stays.
        there = {(row, key) for row, key in zip(kept["record"].tolist(), kept[name].tolist(), strict=True) if key}
        carried = frame.filter(pl.col(name) != 0).group_by(name).agg(pl.col("subject").n_unique())
        guilty = carried.filter(pl.col("subject") > most)[name]
        assert set(frame.filter(pl.col(name).is_in(guilty.implode())).select("record", name).rows()) <= there
        assert there <= set(frame.select("record", name).rows())


def test_each_person_counts_once_for_a_key_and_a_full_counter_stays_full() -> None:
    counters = new_counters(1)
    rows = made_rows({"subject": [5, 5, 5, 6], "event_key": [9, 9, 8, 9], "payment_key": [9, 0, 0, 0]})
    slots = slots_of_people(rows, counters)
    assert sorted(Counter(slots.tolist()).values()) == [1, 2]
    for _ in range(300):
        count_people(counters, slots)
    assert set(counters.tolist()) == {0, FULL}


def test_the_least_repeated_number_is_found() -> None:
    assert find_repeated(np.array([5, -3, 8, 5, -3, 7])) == -3
    assert find_repeated(np.array([3, 1, 2])) is None
    assert find_repeated(np.zeros(0, np.int64)) is None


# --- whole runs -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "records"
    write_records(folder, RECORDS, 4)
    return folder


@pytest.fixture(scope="module")
def expected(made: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return clear_files(made, tmp_path_factory.mktemp("expected") / "out")


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("in_memory", [True, False])
def test_workers_spilling_pieces_and_order_do_not_change_the_root(
    made: Path, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int, in_memory: bool
) -> None:
    table = pq.read_table(made)
    order = np.random.default_rng(workers).permutation(len(table))
    (tmp_path / "mixed").mkdir()
    pq.write_table(table.take(order), tmp_path / "mixed" / "one.parquet", row_group_size=700)
    monkeypatch.setattr(reading, "PIECE_ROWS", 1500)
    monkeypatch.setattr(reading, "BATCH_ROWS", 400)
    monkeypatch.setattr(shelf, "ROWS_IN_RANGE", 500)
    monkeypatch.setattr(shelf, "MOST_ROWS_IN_TRAY", 20)
    monkeypatch.setattr(shelf, "ROWS_IN_MEMORY", 1 << 20 if in_memory else 10)
    manifest = clear_files(tmp_path / "mixed", tmp_path / "out", workers=workers)
    told = ("root", "records", "events", "counted_mg", "verdicts")
    assert {name: manifest[name] for name in told} == {name: expected[name] for name in told}
    assert manifest["verdicts"]["duplicate"] > RECORDS // 50
    assert len(list((tmp_path / "out" / "decisions").iterdir())) == 32


def test_a_number_that_occurs_twice_is_found_on_the_disk_too(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shelf, "ROWS_IN_RANGE", 500)
    monkeypatch.setattr(shelf, "ROWS_IN_MEMORY", 10)
    table = pq.read_table(made)
    for name, part in (("a", table), ("b", table.slice(77, 1))):
        (tmp_path / "in").mkdir(exist_ok=True)
        pq.write_table(part, tmp_path / "in" / f"{name}.parquet")
    number = table["record_id"][77].as_py()
    with pytest.raises(ClearingInputError, match=rf"record_id {number} occurs twice: in a\.parquet and in b\.parquet"):
        clear_files(tmp_path / "in", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


def test_a_large_file_is_read_in_pieces_that_hold_all_of_it(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(pq.read_table(made), tmp_path / "one.parquet", row_group_size=1000)
    monkeypatch.setattr(reading, "PIECE_ROWS", 2500)
    file = open_file(find_files(tmp_path)[0], tmp_path)
    pieces = file.pieces()
    assert [len(piece) for piece in pieces[:-1]] == [3] * (len(pieces) - 1)
    assert [number for piece in pieces for number in piece] == list(range(len(file.groups)))
    assert sum(file.groups) == file.rows
    batches = [batch for piece in pieces for batch in reading.read_batches(file, piece)]
    assert sum(len(batch) for batch in batches) == file.rows


def test_progress_is_told_in_records_and_every_step_comes_to_its_end(made: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    manifest = clear_files(made, tmp_path / "out", progress=lambda *step: told.append(step))
    whole = manifest["records"]
    steps = list(dict.fromkeys(step for step, _, _ in told))
    assert [name for name in STEPS if name in steps] == steps
    assert {"read", "check", "learn", "clear"} <= set(steps)
    assert {size for _, _, size in told} == {whole}
    for name in steps:
        done = [records for step, records, _ in told if step == name]
        assert done == sorted(done)
        assert done[-1] == whole
    work = [overall(STEPS, *step) for step in told]
    assert work == sorted(work)
    assert work[-1] == pytest.approx(whole)
    assert overall({"a": 1, "b": 3}, "b", 5, 10) == pytest.approx(6.25)
    assert overall({"a": 1, "b": 3}, "a", 0, 0) == 0
