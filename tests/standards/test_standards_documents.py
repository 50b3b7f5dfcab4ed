"""Documents for platforms and regulators: they build, validate, come back as the tables they were made from, and stay."""

import csv
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import jsonschema
import polars as pl
import pyarrow as pa
import pytest

from hub.sandbox.reports import Reports
from hub.sandbox.specs import SPECS
from hub.sandbox.town import Town
from mappings import load_mapping, translate
from standards.behaviours import accepted_behaviours, load_behaviours
from standards.datafile import DataError
from standards.documents import lists
from standards.documents.catalogue import Document, build_documents, load_documents
from standards.documents.record import EXAMPLES, record_json_schema
from standards.documents.table import Table, cell, csv_bytes, exact_text, make_table, markdown_table
from standards.factors import FACTOR_SCHEMA, load_factors, load_sources
from standards.methodology import load_methodology, methodology_versions
from standards.overlap import load_overlaps
from standards.published import (
    GRID_SCHEMA,
    REFERENCE_SCHEMA,
    REWARD_SCHEMA,
    load_grid_factors,
    load_reference_values,
    load_rewards,
)
from standards.regions import load_regions
from standards.schema import Precision, Role, arrow_schema
from standards.units import format_micro

# Of each platform; a town tells thousands.
FEEDS = [(spec, feed, feed.stream if place else "") for spec in SPECS.values() for place, feed in enumerate(spec.feeds)]
MOST_ROWS = 60
ROOT = Path(__file__).resolve().parents[2]
TABLES = {
    "behaviours.csv": lists.behaviour_table, "factors.csv": lists.factor_table, "grid-factors.csv": lists.grid_table,
    "reference-values.csv": lists.reference_table, "rewards.csv": lists.reward_table, "sources.csv": lists.source_table,
    "regions.csv": lists.region_table, "overlap.csv": lists.overlap_table, "schemes.csv": lists.scheme_table,
    "exchanges.csv": lists.exchange_table,
}  # fmt: skip
FRAMES = {
    "factors.csv": (FACTOR_SCHEMA, load_factors), "grid-factors.csv": (GRID_SCHEMA, load_grid_factors),
    "reference-values.csv": (REFERENCE_SCHEMA, load_reference_values), "rewards.csv": (REWARD_SCHEMA, load_rewards),
}  # fmt: skip


@pytest.fixture(scope="module")
def documents() -> dict[str, Document]:
    return dict(build_documents())


def text_of(document: Document) -> str:
    return document.content.decode("utf-8", errors="strict")


def read_csv(document: Document) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text_of(document), newline=""), strict=True))


def records_of(document: Document) -> list[dict[str, str]]:
    head, *rows = read_csv(document)
    return [dict(zip(head, row, strict=True)) for row in rows]


# What there is.


def test_every_document_that_was_promised_is_built(documents: dict[str, Document]) -> None:
    assert list(documents) == [
        "reduction-record.schema.json", "reduction-record.arrow", "reduction-record.arrow.json", "behaviours.csv",
        "behaviours.md", "factors.csv", "grid-factors.csv", "reference-values.csv", "rewards.csv", "schemes.csv",
        "exchanges.csv", "sources.csv", "regions.csv", "overlap.csv", "overlap.md",
        *(f"methodology-{version}.md" for version in reversed(methodology_versions())),
    ]  # fmt: skip
    assert {name for name in documents if name.endswith(".csv")} == TABLES.keys()
    for document in documents.values():
        assert document.content
        assert document.zh
        assert document.about
    assert load_documents() == documents


def test_one_version_can_be_asked_for_and_an_unknown_one_is_refused() -> None:
    assert [name for name in build_documents("hub-2026.1") if name.startswith("methodology")] == [
        "methodology-hub-2026.1.md"
    ]
    with pytest.raises(DataError, match=r"no methodology 'hub-1999.1'; there are hub-2026.1"):
        build_documents("hub-1999.1")


def test_two_builds_are_byte_for_byte_the_same_in_another_process_too(documents: dict[str, Document]) -> None:
    again = build_documents()
    assert {name: d.content for name, d in again.items()} == {name: d.content for name, d in documents.items()}
    program = (
        "from hashlib import sha256; from standards.documents.catalogue import build_documents\n"
        "for d in build_documents().values(): print(sha256(d.content).hexdigest())"
    )
    # Another seed orders sets otherwise, another locale reads files otherwise.
    environment = {**os.environ, "PYTHONHASHSEED": "4711", "LC_ALL": "C", "TZ": "America/New_York"}
    ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.split() == [sha256(d.content).hexdigest() for d in documents.values()]


def test_text_is_utf8_with_line_feeds_and_csv_with_the_line_ends_of_its_standard(
    documents: dict[str, Document],
) -> None:
    for name, document in documents.items():
        if name.endswith(".arrow"):
            continue
        text = text_of(document)
        assert not text.startswith("\ufeff"), name
        if name.endswith(".csv"):
            assert text.endswith("\r\n"), name
            assert text.count("\r\n") == text.count("\n") == text.count("\r"), name
        else:
            assert "\r" not in text, name
            assert text.endswith("\n"), name
            assert not text.endswith("\n\n"), name


# CSV.


@pytest.mark.parametrize("name", TABLES)
def test_a_table_read_back_is_the_table(documents: dict[str, Document], name: str) -> None:
    table = TABLES[name]()
    head, *rows = read_csv(documents[name])
    assert (tuple(head), tuple(map(tuple, rows))) == (table.columns, table.rows)
    assert len(set(head)) == len(head)
    assert len(rows) > 5


@pytest.mark.parametrize("name", FRAMES)
def test_a_table_of_figures_read_back_is_the_frame_that_the_hub_values_with(
    documents: dict[str, Document], name: str
) -> None:
    schema, load = FRAMES[name]
    # Every column as text first: no reader's guess, and no float, stands between file and frame.
    head, *rows = read_csv(documents[name])
    texts = pl.DataFrame(
        [[value or None for value in row] for row in rows], schema=dict.fromkeys(head, pl.String()), orient="row"
    )
    days = [pl.col(column).str.to_date(strict=True) for column, kind in schema.items() if kind == pl.Date]
    assert texts.with_columns(days).select(list(schema)).cast(dict(schema)).equals(load())


def test_no_cell_of_any_table_is_taken_for_a_formula(documents: dict[str, Document]) -> None:
    for name in TABLES:
        for row in read_csv(documents[name]):
            assert not [value for value in row if value[:1] in {"=", "+", "-", "@", "\t", "\r"}], name


@pytest.mark.parametrize("value", ["=1+1", "+86", "-5", "@SUM(A1)", "\tx", -5, Fraction(-1, 2), ("=a", "b")])
def test_a_cell_that_would_be_taken_for_one_is_refused(value: object) -> None:
    with pytest.raises(DataError, match="formula"):
        cell(value)


@pytest.mark.parametrize("value", [0.5, float("nan"), Decimal("1"), b"x", ["a"]])
def test_a_value_without_an_exact_text_is_refused(value: object) -> None:
    with pytest.raises(DataError, match="no exact text"):
        cell(value)


def test_signs_that_mean_something_come_through_and_parts_stay_apart() -> None:
    table = make_table(("a", "b"), [('said "so", twice', "two\nlines"), (("x", "y"), None)])
    assert list(csv.reader(io.StringIO(csv_bytes(table).decode(), newline=""), strict=True)) == [
        ["a", "b"], ['said "so", twice', "two\nlines"], ["x; y", ""],
    ]  # fmt: skip
    with pytest.raises(DataError, match="separates"):
        cell(("a; b", "c"))
    with pytest.raises(DataError, match="2 cells"):
        make_table(("a", "b"), [("only one",)])
    assert markdown_table(("a",), [("<b> | *c*",)]) == "| a |\n| --- |\n| &lt;b&gt; \\| \\*c\\* |\n"
    assert Table(columns=("a",), rows=()) == make_table(("a",), [])


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Fraction(82, 5), "16.4"), (Fraction(10**30), "1" + "0" * 30), (Fraction(1, 2**20), "0.00000095367431640625"),
        (Fraction(0), "0"), (Fraction(2, 3), "2/3 (about 0.66666667)"), (Fraction(2**53 + 1), "9007199254740993"),
    ],
)  # fmt: skip
def test_numbers_are_written_exactly(value: Fraction, text: str) -> None:
    assert exact_text(value) == text


def test_grams_are_exact_decimals_and_every_factor_is_there_with_its_source(documents: dict[str, Document]) -> None:
    rows = records_of(documents["factors.csv"])
    assert [row["factor_id"] for row in rows] == load_factors()["factor_id"].to_list()
    assert set(FACTOR_SCHEMA) <= rows[0].keys()
    for row in rows:
        assert Fraction(row["grams"]) * 1000 == int(row["amount_mg"])
        assert not row["mg_per_unit"] or int(row["mg_per_unit"]) * int(row["per"]) == int(row["amount_mg"])
        source = load_sources()[row["source"]]
        assert (row["source_title"], row["source_address"]) == (source.title, source.address)
    for row in records_of(documents["grid-factors.csv"]):
        assert Fraction(row["kg_per_kwh"]) * 10**6 == int(row["mg_per_kwh"])


def test_no_reward_can_be_read_as_grams(documents: dict[str, Document]) -> None:
    head, *rows = read_csv(documents["rewards.csv"])
    assert len(rows) == len(load_rewards())
    assert head[0] == "what_it_is"
    assert all(row[0].startswith("not grams of CO2e") for row in rows)
    assert not any(name in {"grams", "amount_mg", "mg_per_unit"} for name in head)


def test_every_source_that_any_table_names_is_in_the_table_of_sources(documents: dict[str, Document]) -> None:
    known = {row["id"] for row in records_of(documents["sources.csv"])}
    named = set()
    for name in TABLES.keys() - {"sources.csv", "regions.csv"}:
        for row in records_of(documents[name]):
            named |= set(filter(None, (row.get("source") or row["sources"]).split("; ")))
    assert named <= known
    assert len(named) > 20


def test_behaviours_overlaps_and_regions_are_complete(documents: dict[str, Document]) -> None:
    behaviours = records_of(documents["behaviours.csv"])
    assert [row["code"] for row in behaviours] == list(load_behaviours())
    for row in behaviours:
        known = load_behaviours()[row["code"]]
        assert row["units"].split("; ") == list(known.units)
        assert tuple(filter(None, row["aliases"].split("; "))) == known.aliases
        assert (row["accepted"] == "yes") == known.accepted
        assert row["support_in_words"] == lists.SUPPORT[known.support]
    overlaps = {row["id"]: row for row in records_of(documents["overlap.csv"])}
    page = text_of(documents["overlap.md"])
    for overlap in load_overlaps().overlaps:
        row = overlaps.pop(overlap.id)
        assert (row["why"], row["resolution"]) == (overlap.why, overlap.resolution)
        assert (row["version"], tuple(row["settled_by"].split("; "))) == (load_overlaps().version, overlap.settled_by)
        assert f"### {overlap.id}\n" in page
    assert overlaps == {}
    assert [int(row["code"]) for row in records_of(documents["regions.csv"])] == list(load_regions())
    assert all(f"| {code} |" in text_of(documents["behaviours.md"]) for code in load_behaviours())


# The record.


@cache
def validator() -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(record_json_schema())
    return jsonschema.Draft202012Validator(record_json_schema())


def test_the_schema_file_is_the_schema_and_its_examples_validate(documents: dict[str, Document]) -> None:
    schema = json.loads(documents["reduction-record.schema.json"].content)
    assert schema == record_json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert len(schema["examples"]) == len(EXAMPLES) >= 4
    for example in schema["examples"]:
        validator().validate(example)
    assert {example["role"] for example in EXAMPLES} <= set(Role)
    assert {example["precision"] for example in EXAMPLES} == set(Precision)


@pytest.mark.parametrize("code", accepted_behaviours())
def test_each_behaviour_takes_its_own_units_and_no_others(code: str) -> None:
    every = {unit for behaviour in load_behaviours().values() for unit in behaviour.units}
    for unit in [*sorted(every), "furlong", None]:
        record = EXAMPLES[0] | {"behaviour": code, "unit": unit}
        expected = unit is None or unit in accepted_behaviours()[code].units
        assert validator().is_valid(record) == expected, unit
    assert validator().is_valid({k: v for k, v in EXAMPLES[0].items() if k != "unit"} | {"behaviour": code})


@pytest.mark.parametrize(
    "change",
    [
        {"behaviour": "MOB-TELEPORT"}, {"behaviour": "CLO-SUSTAIN"}, {"role": "bystander"}, {"precision": "hour"},
        {"quantity": "-1"}, {"quantity": "1e3"}, {"quantity": "0.1234567"}, {"claimed_mg": 1.5}, {"start_at": None},
    ],
    ids=str,
)  # fmt: skip
def test_a_record_of_unknown_words_or_inexact_numbers_does_not_validate(change: dict[str, Any]) -> None:
    assert not validator().is_valid(EXAMPLES[0] | change)


def told_records(key: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    reports = Reports(Town(seed=7, people=12))
    for spec, feed, stream in FEEDS:
        mapping = load_mapping(f"{spec.id}.{feed.stream}.v1")
        rows = [row for row in reports.told_by(spec.id, stream=stream) if row.trouble is None][:MOST_ROWS]
        translated = translate(
            mapping, pl.Series([row.body for row in rows], dtype=pl.String), token_key=key,
            now=datetime(2026, 11, 21, tzinfo=UTC), accounts=pl.Series([row.account for row in rows], dtype=pl.String),
        )  # fmt: skip
        for number, record in enumerate(translated.records.iter_rows(named=True)):
            public = {field: record.get(field) for field in arrow_schema().names}
            micro = record["quantity_micro"]
            times = {field: public[field].isoformat() for field in ("start_at", "end_at")}
            yield mapping.id, public | times | {
                "record_id": number, "subject_id": 7, "platform": mapping.platform,
                "quantity": None if micro is None else format_micro(micro),
            }  # fmt: skip


def test_what_the_town_s_platforms_report_validates_and_with_another_unit_does_not() -> None:
    check, seen = validator(), set()
    for mapping, record in told_records(b"a key for tests, of thirty-two b"):
        assert [error.message for error in check.iter_errors(record)] == [], record
        assert not check.is_valid(record | {"unit": "furlong"})
        seen.add(mapping)
    assert seen == {f"{spec.id}.{feed.stream}.v1" for spec, feed, _ in FEEDS}


def test_the_arrow_file_opens_and_says_what_the_columns_are(documents: dict[str, Document]) -> None:
    with pa.ipc.open_file(pa.BufferReader(documents["reduction-record.arrow"].content)) as file:
        assert file.num_record_batches == 0
        assert file.schema.equals(arrow_schema(), check_metadata=False)
        assert all(field.metadata[b"meaning"] for field in file.schema)
    told = json.loads(documents["reduction-record.arrow.json"].content)["fields"]
    assert [(f["name"], f["type"], f["nullable"]) for f in told] == [
        (f.name, str(f.type), f.nullable) for f in arrow_schema()
    ]
    assert next(f["values"] for f in told if f["name"] == "role") == list(Role)


# Pages of the methodology.


@pytest.mark.parametrize("version", methodology_versions())
def test_a_page_tells_every_method_figure_source_and_what_is_not_taken(
    documents: dict[str, Document], version: str
) -> None:
    page = text_of(documents[f"methodology-{version}.md"])
    methodology = load_methodology(version)
    assert str(methodology.valid_from) in page
    for method in methodology.methods.values():
        section = page.split(f"\n## {method.id}: ", 1)[1].split("\n## ", 1)[0]
        for words in (f"`{method.formula.text}`", method.boundary, f"status: {method.status}"):
            assert words in section, method.id
        for choice in method.inputs:
            assert f"{choice.fallback.id} (fallback)" in section
            for figure in choice.figures:
                (row, *_) = [line for line in section.splitlines() if line.startswith(f"| {figure.id} ")]
                words = [exact_text(figure.value), figure.source, str(figure.valid_from or "")]
                assert all(word in row for word in words), figure.id
        for left in method.not_taken:
            assert f"| {left.factor} |" in section
            assert left.why in section
        assert (method.cap is None) == ("- cap: " not in section)
        assert f"### Example {method.id} 1" in section


def test_days_in_pages_are_those_of_the_data(documents: dict[str, Document]) -> None:
    row = next(
        line for line in text_of(documents["methodology-hub-2026.2.md"]).splitlines() if "| wuhan-2024-bike" in line
    )
    assert str(date(2024, 11, 13)) in row
    assert str(date(2025, 8, 1)) in row
    assert "operator-record" in row
