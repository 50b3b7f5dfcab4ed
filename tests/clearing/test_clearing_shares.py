"""The steps of a cluster's executors, without a cluster: what a task sends, whenever and however often it is done."""

import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from hub.clearing.engines.blobs import (
    BLOB_BYTES,
    DECIDED,
    KEY,
    RIDE,
    Blob,
    Kind,
    exact_bytes,
    gather,
    scattered,
    table_of,
    to_batches,
    with_platforms,
)
from hub.clearing.engines.reading import open_file
from hub.clearing.engines.shares import (
    NO_EVIDENCE,
    Job,
    Learnt,
    Part,
    clear_place,
    judge_keys,
    learn,
    own_version,
    read_part,
)
from hub.clearing.kernel.encode import BAD
from hub.clearing.kernel.facts import conclude
from hub.clearing.kernel.rows import ROW
from hub.cli import app
from hub.errors import UsageProblem
from standards.methodology import load_methodology
from standards.policy import load_policy
from standards.schema import arrow_schema

PUBLIC = pa.schema([field.with_nullable(True) for field in arrow_schema()])
ABOVE_INT64 = (1 << 63) + 12_345


@pytest.fixture
def job(kit: Any, tmp_path: Path) -> Job:
    """A job with two files and four places."""
    records = [
        kit.record(
            number, f"operator-{number % 3}", km=2, subject_id=number // 2, event_key=ABOVE_INT64, minute=number % 7
        )
        for number in range(200)
    ]
    bad = kit.record(900, km=-1) | {"subject_id": None}
    frame = kit.frame(*records, bad)
    quantity = (pl.col("quantity_micro").cast(pl.Decimal(18, 6)) / 1_000_000).cast(pl.Decimal(18, 6))
    table = frame.with_columns(quantity=quantity).select(PUBLIC.names).to_arrow().cast(PUBLIC)
    for part, name in enumerate(("a.parquet", "b.parquet")):
        pq.write_table(table.slice(part * 100, 100 + part), tmp_path / name)
    files = tuple(open_file(tmp_path / name, tmp_path) for name in ("a.parquet", "b.parquet"))
    folders = tmp_path / "writing", tmp_path / "attempts"
    for folder in (folders[0] / "decisions", folders[0] / "events", folders[1]):
        folder.mkdir(parents=True)
    return Job(
        version=own_version(),
        files=files,
        run_of=(-1, -1),
        runs=(),
        new=tuple(
            Part(path=file.path, number=number, groups=file.pieces()[0], is_first=True)
            for number, file in enumerate(files)
        ),
        old=(),
        places=4,
        policy=load_policy(),
        methodology=load_methodology(),
        folder=folders[0],
        attempts=folders[1],
    )


def exchanged(blobs: Iterable[Blob]) -> dict[int, list[Blob]]:
    """What comes to each place."""
    places: dict[int, list[Blob]] = defaultdict(list)
    for blob in blobs:
        places[blob.place].append(blob)
    return places


def by_kind(blobs: Iterable[Blob]) -> dict[Kind, list[Blob]]:
    return gather(to_batches(blobs))[1]


def read_all(job: Job) -> list[Blob]:
    return [blob for part in job.new for blob in read_part(part, job)]


def sent(blobs: Iterable[Blob]) -> list[tuple[Any, ...]]:
    """All that can be seen of blobs, in no order."""
    return sorted((b.place, int(b.kind), b.number, b.names, bytes(b.content)) for b in blobs)


def learnt_places(job: Job, *, backwards: bool = False) -> dict[int, list[Blob]]:
    step = -1 if backwards else 1
    return {place: list(learn(place, by_kind(b[::step]), job)) for place, b in exchanged(read_all(job)).items()}


def test_reading_again_sends_the_same_bytes(job: Job) -> None:
    # In between, memory is used for something else.
    first = sent(read_all(job))
    litter = [np.full(1 << 16, 255, np.uint8) for _ in range(50)]
    del litter
    assert sent(read_all(job)) == first


def test_the_order_in_which_blobs_arrive_does_not_show(job: Job) -> None:
    one, other = learnt_places(job), learnt_places(job, backwards=True)
    assert {place: sent(blobs) for place, blobs in one.items()} == {place: sent(b) for place, b in other.items()}


@pytest.mark.parametrize("dtype", [ROW, BAD, DECIDED, KEY, RIDE, np.dtype("i8")])
def test_what_lies_between_fields_is_not_sent(dtype: np.dtype[Any]) -> None:
    clean, dirty = np.zeros(3, dtype), np.zeros(3, dtype)
    dirty.view(np.uint8)[:] = 255
    for name in dtype.names or ():
        dirty[name] = clean[name]
    if dtype.names:
        assert exact_bytes(dirty) == exact_bytes(clean)
    assert np.array_equal(np.frombuffer(exact_bytes(clean), dtype), clean)


def test_unsigned_keys_and_absent_platforms_come_through() -> None:
    rows = np.zeros(40_000, ROW)
    rows["event_key"], rows["record"], rows["platform"] = (
        ABOVE_INT64,
        np.arange(len(rows)),
        np.arange(len(rows)) % 3 - 1,
    )
    blobs = list(scattered(Kind.ROWS, rows, np.full(len(rows), 7), names=("b", "d")))
    assert len(blobs) > 1
    assert max(len(blob.content) for blob in blobs) <= BLOB_BYTES
    place, kinds = gather(to_batches(blobs))
    assert place == 7
    assert np.array_equal(table_of(kinds[Kind.ROWS], ROW), rows)
    # The platforms of a whole run are more than those that one task met.
    named = with_platforms(kinds[Kind.ROWS], ROW, ("a", "b", "c", "d"))
    assert named["platform"][:3].tolist() == [-1, 1, 3]


def test_a_task_has_one_place() -> None:
    blobs = [Blob(place=place, kind=Kind.IDS, content=b"") for place in (1, 2)]
    with pytest.raises(RuntimeError, match="2 places"):
        gather(to_batches(blobs))


def test_an_executor_of_another_version_reads_nothing(job: Job) -> None:
    (blob,) = read_part(job.new[0], replace(job, version="kernel-of-yesterday"))
    assert "another version" in orjson.loads(blob.content)["error"]


def test_a_key_is_judged_by_all_who_carry_it_anywhere(job: Job) -> None:
    found = [blob for blobs in learnt_places(job).values() for blob in blobs if blob.kind in (Kind.KEYS, Kind.RIDES)]
    most = load_policy().keys.junk_subjects
    alone = [len(pl.from_numpy(table_of([blob], KEY))) for blob in found if blob.kind is Kind.KEYS]
    assert alone == [1] * len(alone)
    judged = [blob for place, blobs in exchanged(found).items() for blob in judge_keys(place, by_kind(blobs), job)]
    junk = [np.frombuffer(blob.content, [("kind", "u1"), ("key", "u8")]) for blob in judged if blob.kind is Kind.JUNK]
    assert [int(key) for table in junk for key in table["key"]] == [ABOVE_INT64]
    assert most < 100


def cleared(job: Job, learnt: Learnt) -> Iterator[dict[str, Any]]:
    for place, blobs in learnt_places(job).items():
        kept = [blob for blob in blobs if blob.kind in (Kind.ROWS, Kind.BAD)]
        for blob in clear_place(place if kept else -1, by_kind(kept), job, learnt):
            yield orjson.loads(blob.content)


def test_a_place_that_is_done_twice_is_there_once(job: Job) -> None:
    # One platform has only the record that is none.
    platforms = ("operator-0", "operator-1", "operator-2", "operator-a")
    learnt = Learnt(facts=conclude(NO_EVIDENCE, job.policy), platforms=platforms)
    first = list(cleared(job, learnt))
    contents = {path: path.read_bytes() for path in job.folder.rglob("*.parquet")}
    assert list(cleared(job, learnt)) == first
    assert {path: path.read_bytes() for path in job.folder.rglob("*.parquet")} == contents
    told = {name: size for document in first for name, size in document["files"].items()}
    assert told == {path.relative_to(job.folder).as_posix(): len(content) for path, content in contents.items()}
    assert list(job.attempts.iterdir()) == []
    assert sum(document["written"]["verdicts"]["rejected"] for document in first) == 1


def test_without_pyspark_the_engine_says_what_to_install(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyspark.errors", None)
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    told = CliRunner().invoke(
        app, ["clear", "--engine", "spark", "--records", str(tmp_path), "--out", str(tmp_path / "out")]
    )
    assert isinstance(told.exception, UsageProblem)
    assert "pip install 'tanlian[spark]'" in str(told.exception)
    assert not (tmp_path / "out").exists()
