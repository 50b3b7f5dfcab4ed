"""The record schema has one source: Polars, Arrow and JSON forms agree in names, nullability and types."""

from datetime import UTC, datetime
from decimal import Decimal

import jsonschema
import polars as pl
import pyarrow as pa
import pytest

from standards import schema
from standards.schema import PUBLIC_COLUMNS, RECORD_COLUMNS, Precision, Role, Verdict, arrow_schema, json_schema

ALL_FRAMES = {
    "public": (schema.PUBLIC_COLUMNS, schema.PUBLIC_SCHEMA),
    "record": (schema.RECORD_COLUMNS, schema.RECORD_SCHEMA),
    "quantified": (schema.QUANTIFIED_COLUMNS, schema.QUANTIFIED_SCHEMA),
    "translated": (schema.TRANSLATED_COLUMNS, schema.TRANSLATED_SCHEMA),
    "quarantined": (schema.QUARANTINED_COLUMNS, schema.QUARANTINED_SCHEMA),
    "decision": (schema.DECISION_COLUMNS, schema.DECISION_SCHEMA),
    "event": (schema.EVENT_COLUMNS, schema.EVENT_SCHEMA),
}
RECORD = {
    "record_id": 1,
    "subject_id": 2,
    "platform": "shenzhen-transit",
    "role": "operator",
    "behaviour": "MOB-METRO",
    "start_at": "2026-10-05T08:12:03+08:00",
    "end_at": "2026-10-05T08:40:00+08:00",
    "precision": "second",
}
# What each Arrow type must look like in JSON, written down apart from the code under test.
JSON_OF_ARROW = {
    pa.int32(): {"integer"},
    pa.int64(): {"integer"},
    pa.uint32(): {"integer"},
    pa.uint64(): {"integer", "string"},
    pa.string(): {"string"},
    pa.bool_(): {"boolean"},
    pa.timestamp("us", tz="UTC"): {"string"},
    pa.decimal128(18, 6): {"number", "string"},
}


@pytest.mark.parametrize(("columns", "polars_schema"), ALL_FRAMES.values(), ids=ALL_FRAMES.keys())
def test_json_and_arrow_forms_have_the_same_names_nullability_and_types(columns, polars_schema):
    arrow, json_form = arrow_schema(columns), json_schema(columns)
    assert arrow.names == list(json_form["properties"]) == list(polars_schema)
    assert {field.name for field in arrow if not field.nullable} == set(json_form["required"])
    for field in arrow:
        types = set(json_form["properties"][field.name]["type"])
        assert types - {"null"} == JSON_OF_ARROW[field.type], field.name
        assert ("null" in types) == field.nullable, field.name
        assert (json_form["properties"][field.name].get("format") == "date-time") == pa.types.is_timestamp(field.type)
    jsonschema.Draft202012Validator.check_schema(json_form)


@pytest.mark.parametrize(("columns", "polars_schema"), ALL_FRAMES.values(), ids=ALL_FRAMES.keys())
def test_the_polars_form_becomes_the_arrow_form(columns, polars_schema):
    given = pl.DataFrame(schema=polars_schema).to_arrow(compat_level=pl.CompatLevel.oldest()).schema
    for field, expected in zip(given, arrow_schema(columns), strict=True):
        plain = pa.string() if pa.types.is_large_string(field.type) else field.type
        assert (field.name, plain) == (expected.name, expected.type)


def test_the_public_record_is_the_contracts_table():
    assert [(f.name, str(f.type), f.nullable) for f in arrow_schema()] == [
        ("record_id", "int64", False),
        ("subject_id", "int64", False),
        ("platform", "string", False),
        ("role", "string", False),
        ("behaviour", "string", False),
        ("start_at", "timestamp[us, tz=UTC]", False),
        ("end_at", "timestamp[us, tz=UTC]", False),
        ("precision", "string", False),
        ("quantity", "decimal128(18, 6)", True),
        ("unit", "string", True),
        ("event_key", "uint64", True),
        ("payment_key", "uint64", True),
        ("region", "int32", True),
        ("claimed_mg", "int64", True),
    ]


def test_the_internal_record_differs_only_in_the_quantity():
    public = [column for column in PUBLIC_COLUMNS if column.name != "quantity"]
    internal = [column for column in RECORD_COLUMNS if column.name != "quantity_micro"]
    assert public == internal
    assert schema.RECORD_SCHEMA["quantity_micro"] == pl.Int64()
    assert list(schema.RECORD_SCHEMA).index("quantity_micro") == list(schema.PUBLIC_SCHEMA).index("quantity")


def test_closed_vocabularies_are_those_of_the_contract():
    assert list(Role) == ["operator", "meter", "payment", "navigation", "aggregator", "self_report", "declared"]
    assert [role.rank for role in Role] == [0, 1, 2, 3, 4, 5, 6]
    assert list(Precision) == ["second", "minute", "day"]
    assert list(Verdict) == ["counted", "duplicate", "overlapped", "held", "rejected"]


ACCEPTED = {
    "the least record": {},
    "a quantity as decimal text": {"quantity": "4.395"},
    "a quantity as number": {"quantity": 4.395},
    "the largest quantity": {"quantity": "999999999999.999999"},
    "a key as number": {"event_key": 2**64 - 1},
    "a key as text": {"event_key": "18446744073709551615"},
    "told nulls": {"quantity": None, "unit": None, "event_key": None, "claimed_mg": None},
    "a member that nobody knows": {"weather": "rain"},
}
REFUSED = {
    "seven decimals": {"quantity": "1.2345678"},
    "a negative quantity": {"quantity": -1},
    "a negative quantity as text": {"quantity": "-1"},
    "thirteen digits before the point": {"quantity": "1000000000000"},
    "a mass with a fraction": {"claimed_mg": 1.5},
    "a mass as text": {"claimed_mg": "89000"},
    "an unknown role": {"role": "bank"},
    "an unknown precision": {"precision": "hour"},
    "a null platform": {"platform": None},
    "a key above 64 bits": {"event_key": 2**64},
    "a time as number": {"start_at": 1759593600},
}


def _checked(change):
    return jsonschema.Draft202012Validator(json_schema()).is_valid(RECORD | change)


@pytest.mark.parametrize("change", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_the_json_schema_accepts(change):
    assert _checked(change)


@pytest.mark.parametrize("change", REFUSED.values(), ids=REFUSED.keys())
def test_the_json_schema_refuses(change):
    assert not _checked(change)


@pytest.mark.parametrize("name", json_schema()["required"])
def test_the_json_schema_requires(name):
    record = {key: value for key, value in RECORD.items() if key != name}
    assert not jsonschema.Draft202012Validator(json_schema()).is_valid(record)


def test_a_polars_frame_of_the_public_schema_is_valid_arrow():
    row = {
        "record_id": 1,
        "subject_id": 2,
        "platform": "p",
        "role": "meter",
        "behaviour": "MOB-EVCHARGE",
        "start_at": datetime(2026, 10, 5, tzinfo=UTC),
        "end_at": datetime(2026, 10, 5, 1, tzinfo=UTC),
        "precision": "second",
        "quantity": Decimal("12.345678"),
        "event_key": 2**64 - 1,
    }
    frame = pl.DataFrame([row], schema=schema.PUBLIC_SCHEMA)
    table = frame.to_arrow().cast(arrow_schema())
    assert table.to_pylist()[0]["quantity"] == Decimal("12.345678")
    assert table.to_pylist()[0]["event_key"] == 2**64 - 1
