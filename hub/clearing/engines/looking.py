"""One person's rows out of a bulk run: why one of its records was decided so. I/O: reads Parquet files and the manifest.

Only that person's rows are read into memory, and those of others that carry the same keys: they show which keys are no
tokens, and whose a shared ride is.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from hub.clearing.engines.reading import RecordFile, find_files, open_file, with_micro
from hub.clearing.errors import ClearingInputError
from hub.clearing.explain.explaining import explain_records
from hub.clearing.explain.explanation import Explanation
from hub.clearing.kernel.clear import observe
from hub.clearing.kernel.facts import conclude
from standards.datafile import DataError
from standards.methodology import load_methodology
from standards.policy import load_policy
from standards.quantify import quantify
from standards.schema import DECISION_SCHEMA, RECORD_SCHEMA

MOST_SHARERS = 200_000
"""More rows of others under one person's keys than this teach nothing new."""


def explain_files(records: Path, out: Path, record_id: int) -> Explanation:
    """Explain one decision of a bulk run.

    Args:
        records: folder of Parquet files, as it was cleared.
        out: what the run wrote; its manifest names the policy, the methodology and the earlier runs.

    Raises:
        ClearingInputError: an input cannot be used, or neither holds the record.
    """
    manifest = _manifest(out)
    try:
        policy, methodology = load_policy(manifest["policy"]), load_methodology(manifest["methodology"])
    except DataError as cause:
        raise ClearingInputError(f"{out / 'manifest.json'}: {cause}") from cause
    files = [open_file(path, records) for path in find_files(records, besides=out)]
    person = _person(files, record_id, records)
    mine = _rows(files, pc.field("record_id") == record_id if person is None else pc.field("subject_id") == person)
    decided = _decided(out, mine["record_id"].to_list())
    if record_id not in set(decided["record_id"]):
        raise ClearingInputError(f"{out}: nothing was decided about record {record_id}")
    live = _history(manifest["history"], person)
    told = mine if live is None else pl.concat([mine, live.select(mine.columns)])
    others = _sharers(files, told, person)
    versions = dict.fromkeys(mine["record_id"], methodology.version)
    valued = None if live is None else quantify(live.select(list(RECORD_SCHEMA)), methodology).join(
        live.select("record_id", *[name for name in DECISION_SCHEMA if name != "record_id"]), on="record_id"
    )  # fmt: skip
    evidence = observe(quantify(pl.concat([mine, others]), methodology), valued, policy)
    found = explain_records(
        quantify(mine, methodology), valued, policy, conclude(evidence, policy), record_ids=[record_id], decided=decided,
        methodologies=versions,
    )  # fmt: skip
    return found[record_id]


def _manifest(out: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
        return {name: manifest[name] for name in ("policy", "methodology", "history")}
    except (OSError, ValueError, KeyError, TypeError) as cause:
        raise ClearingInputError(f"{out}: no result of a clearing run") from cause


def _person(files: Sequence[RecordFile], record_id: int, folder: Path) -> int | None:
    """Return whose record it is; None if it names nobody."""
    for file in files:
        table = _read(file, ["record_id", "subject_id"], pc.field("record_id") == record_id)
        if len(table):
            person = table["subject_id"][0].as_py()
            return None if person is None else int(person)
    raise ClearingInputError(f"{folder}: there is no record {record_id}")


def _rows(files: Sequence[RecordFile], wanted: Any, most: int | None = None) -> pl.DataFrame:
    """RECORD of the rows that fit."""
    parts = []
    for file in files:
        table = _read(file, list(file.columns), wanted)
        if len(table):
            frame = pl.DataFrame(pl.from_arrow(with_micro(file, table)))
            parts.append(frame.select(list(RECORD_SCHEMA)).cast(RECORD_SCHEMA))
    rows = pl.concat([pl.DataFrame(schema=RECORD_SCHEMA), *parts])
    return rows if most is None else rows.head(most)


def _sharers(files: Sequence[RecordFile], told: pl.DataFrame, person: int | None) -> pl.DataFrame:
    """RECORD of other people that carries a key of this person's."""
    wanted = None
    for name in ("event_key", "payment_key"):
        keys = told[name].drop_nulls().unique().to_list()
        if keys and person is not None:
            carries = pc.field(name).isin(pa.array(keys, pa.uint64())) & (pc.field("subject_id") != person)
            wanted = carries if wanted is None else wanted | carries
    return pl.DataFrame(schema=RECORD_SCHEMA) if wanted is None else _rows(files, wanted, MOST_SHARERS)


def _decided(out: Path, record_ids: list[int]) -> pl.DataFrame:
    """DECISION of these records."""
    wanted = pc.field("record_id").isin(pa.array(record_ids, pa.int64()))
    parts = [pl.DataFrame(schema=DECISION_SCHEMA)]
    try:
        for path in sorted((out / "decisions").glob("*.parquet")):
            table = pq.read_table(path, filters=wanted)
            if len(table):
                parts.append(pl.DataFrame(pl.from_arrow(table)).select(list(DECISION_SCHEMA)).cast(DECISION_SCHEMA))
    except (pa.ArrowException, OSError) as cause:
        raise ClearingInputError(f"{out / 'decisions'}: not readable") from cause
    return pl.concat(parts)


def _history(folders: Sequence[str], person: int | None) -> pl.DataFrame | None:
    """RECORD and DECISION of what earlier runs decided about the person and what stands in the way of later reports."""
    parts = []
    for folder in map(Path, folders) if person is not None else ():
        files = [open_file(path, folder / "records") for path in find_files(folder / "records")]
        rows = _rows(files, pc.field("subject_id") == person)
        decided = _decided(folder / "out", rows["record_id"].to_list())
        stands = pl.col("event_id").is_not_null() & (pl.col("reason") != "declared_only")
        parts.append(rows.join(decided.filter(stands), on="record_id", how="inner"))
    return pl.concat(parts) if parts else None


def _read(file: RecordFile, columns: list[str], wanted: Any) -> pa.Table:
    try:
        return pq.read_table(file.path, columns=columns, filters=wanted)
    except (pa.ArrowException, OSError) as cause:
        raise ClearingInputError(f"{file.name}: not a readable Parquet file") from cause
