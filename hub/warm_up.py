"""Compile the loops over rows once, so that nobody waits for it later. I/O: the compiler's cache folder.

Run by `make setup` as `python -m hub.warm_up`; harmless to run again.
"""

from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl

from hub.clearing.engines.local import clear_files
from hub.clearing.explain.explaining import explain_records
from hub.clearing.kernel.clear import clear
from mappings import load_mapping, translate
from standards.methodology import load_methodology
from standards.policy import load_policy
from standards.quantify import quantify
from standards.schema import RECORD_SCHEMA

START = datetime(2026, 10, 1, 8, tzinfo=UTC)
SAMPLE = (
    b'{"tradeNo":"W1","ver":1,"memberId":"m","scene":"BIKE","beginTime":"2026-10-01T08:00:00+08:00",'
    b'"endTime":"2026-10-01T08:20:00+08:00","distance":2000,"orderNo":"o1","payNo":null,"carbonReduction":"1.5",'
    b'"status":"FINISHED","updateTime":"2026-10-01T09:00:00+08:00","cityCode":"110000"}'
)


def warm_up() -> int:
    """Translate, clear and explain a handful of rows; returns how many decisions came out."""
    translate(load_mapping("beijing-green-life.acts.v1"), pl.Series([SAMPLE]), token_key=bytes(32), now=START)
    rows = [
        (number, 1, platform, role, "MOB-BIKE", START, START, "second", 2_000_000, "km", 7, None, 110000, None)
        for number, (platform, role) in enumerate((("a", "operator"), ("b", "payment"), ("c", "aggregator")), start=1)
    ]
    records = quantify(pl.DataFrame(rows, schema=RECORD_SCHEMA, orient="row"), load_methodology())
    cleared = clear(records.head(2), None, load_policy())
    live = records.head(2).join(cleared.decisions, on="record_id").select(
        *records.columns, "event_id", "verdict", "counted_mg", "canonical_record_id"
    )  # fmt: skip
    explain_records(records, None, load_policy(), record_ids=[1])
    late = clear(records.tail(1), live, load_policy())
    return len(cleared.decisions) + len(late.decisions) + _clear_files(records)


def _clear_files(records: pl.DataFrame) -> int:
    """Clear the rows in bulk, as if every one were of many people: then their key is looked at as well."""
    number = pl.int_range(pl.len(), dtype=pl.Int64)
    quantity = pl.col("quantity_micro").cast(pl.Float64)
    many = pl.concat([records] * 5).with_columns(record_id=number, subject_id=number, quantity=quantity)
    with TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "records").mkdir()
        many.write_parquet(place / "records" / "few.parquet")
        return int(clear_files(place / "records", place / "out")["records"])


if __name__ == "__main__":
    warm_up()
