"""Every row that the sandbox town's platforms deliver becomes what the town knows of it."""

from datetime import UTC, datetime

import polars as pl
import pytest

from hub.sandbox.reports import Note, Reports
from hub.sandbox.specs import SPECS
from hub.sandbox.town import Town
from mappings import load_mapping, translate

# These are caught by the connectors, before a mapping sees the row.
BY_CONNECTOR = {"number_too_large", "incomplete_record"}


@pytest.fixture(scope="module")
def reports() -> Reports:
    return Reports(Town(seed=7, people=15))


# Mapping, and the stream under which the town's reports tell of it: a platform's first feed has none.
FEEDS = [
    (f"{spec.id}.{feed.stream}.v1", "" if number == 0 else feed.stream)
    for spec in SPECS.values()
    for number, feed in enumerate(spec.feeds)
]


@pytest.mark.parametrize(("name", "stream"), FEEDS)
def test_the_town_is_understood_row_by_row(reports: Reports, key: bytes, name: str, stream: str) -> None:
    mapping = load_mapping(name)
    rows = [row for row in reports.told_by(mapping.platform, stream=stream) if row.trouble not in BY_CONNECTOR]
    assert rows
    translation = translate(
        mapping,
        pl.Series([row.body for row in rows]),
        token_key=key,
        now=datetime(2026, 11, 21, tzinfo=UTC),
        accounts=pl.Series([row.account for row in rows], dtype=pl.String),
    )
    refused = dict(translation.quarantined.select("row", "reason").rows())
    assert refused == {i: row.trouble for i, row in enumerate(rows) if row.trouble is not None}
    for record in translation.records.iter_rows(named=True):
        told = rows[record["row"]]
        assert record["source_id"] == told.source_id
        assert record["account"] == (told.account or None)  # some formats name nobody
        assert (record["claimed_mg"] or 0) == told.claimed_mg
        assert record["cancelled"] == (told.note is Note.CANCELLATION)
