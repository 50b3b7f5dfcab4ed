"""Every row that the sandbox town's platforms deliver becomes what the town knows of it."""

from datetime import UTC, datetime

import polars as pl
import pytest

from hub.sandbox.reports import Note, Reports
from hub.sandbox.town import Town
from mappings import list_mappings, load_mapping, translate

# These are caught by the connectors, before a mapping sees the row.
BY_CONNECTOR = {"number_too_large", "incomplete_record"}


@pytest.fixture(scope="module")
def reports() -> Reports:
    return Reports(Town(seed=7, people=15))


@pytest.mark.parametrize("name", list_mappings())
def test_the_town_is_understood_row_by_row(reports: Reports, key: bytes, name: str) -> None:
    mapping = load_mapping(name)
    rows = [row for row in reports.told_by(mapping.platform) if row.trouble not in BY_CONNECTOR]
    assert rows
    translation = translate(
        mapping, pl.Series([row.body for row in rows]), token_key=key, now=datetime(2026, 11, 21, tzinfo=UTC)
    )
    refused = dict(translation.quarantined.select("row", "reason").rows())
    assert refused == {i: row.trouble for i, row in enumerate(rows) if row.trouble is not None}
    for record in translation.records.iter_rows(named=True):
        told = rows[record["row"]]
        assert record["source_id"] == told.source_id
        assert record["account"] == told.account
        assert (record["claimed_mg"] or 0) == told.claimed_mg
        assert record["cancelled"] == (told.note is Note.CANCELLATION)
