"""The common record as platforms need it: JSON Schema with the units of each behaviour, Arrow schema, field table. Pure."""

import json
from typing import Any

import pyarrow as pa

from standards.behaviours import Behaviour, accepted_behaviours
from standards.schema import PUBLIC_COLUMNS, RECORD_JSON_SCHEMA_ID, Column, arrow_schema, json_schema

# One of each kind: a trip with its order, a distance, a day's total, a measured session, a report by the person alone.
EXAMPLES: tuple[dict[str, Any], ...] = (
    {
        "record_id": 1, "subject_id": 7, "platform": "city-metro", "role": "operator", "behaviour": "MOB-METRO",
        "start_at": "2026-11-20T08:12:03+08:00", "end_at": "2026-11-20T08:40:00+08:00", "precision": "second",
        "quantity": "1", "unit": "trip", "event_key": "13835058055282163712", "region": 110000,
    },
    {
        "record_id": 2, "subject_id": 7, "platform": "city-bikes", "role": "operator", "behaviour": "MOB-BIKE",
        "start_at": "2026-11-20T00:45:00Z", "end_at": "2026-11-20T00:58:00Z", "precision": "minute",
        "quantity": "2.4", "unit": "km", "region": 420100, "claimed_mg": 240000,
    },
    {
        "record_id": 3, "subject_id": 7, "platform": "phone-steps", "role": "meter", "behaviour": "MOB-WALK",
        "start_at": "2026-11-19T16:00:00Z", "end_at": "2026-11-20T16:00:00Z", "precision": "day",
        "quantity": 8200, "unit": "steps",
    },
    {
        "record_id": 4, "subject_id": 7, "platform": "plugs", "role": "meter", "behaviour": "MOB-EVCHARGE",
        "start_at": "2026-11-20T19:03:11+08:00", "end_at": "2026-11-20T20:10:45+08:00", "precision": "second",
        "quantity": "21.356", "unit": "kWh", "payment_key": "42",
    },
    {
        "record_id": 5, "subject_id": 7, "platform": "green-life", "role": "self_report", "behaviour": "FOOD-OWNCUP",
        "start_at": "2026-11-20T09:30:00+08:00", "end_at": "2026-11-20T09:30:00+08:00", "precision": "minute",
        "quantity": None, "unit": None,
    },
)  # fmt: skip


def record_json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of one record: an accepted behaviour, in one of its units."""
    base = json_schema()
    accepted = accepted_behaviours()
    base["properties"]["behaviour"]["enum"] = list(accepted)
    return {
        "$schema": base["$schema"],
        "$id": RECORD_JSON_SCHEMA_ID,
        "title": "reduction record",
        "description": (
            "One report of one low-carbon act of one person. Quantities and keys may be decimal strings, because many "
            "readers of JSON lose digits of large numbers. end_at is never before start_at, which this schema cannot say."
        ),
        **{name: value for name, value in base.items() if not name.startswith("$")},
        "allOf": [_unit_rule(behaviour) for behaviour in accepted.values()],
        "examples": list(EXAMPLES),
    }


def record_json() -> bytes:
    """Return the JSON Schema as a file."""
    return json_bytes(record_json_schema())


def record_arrow_schema() -> pa.Schema:
    """Return the Arrow schema of files of records; every field carries its meaning as metadata."""
    meanings = {column.name: _meaning(column) for column in PUBLIC_COLUMNS}
    fields = [field.with_metadata({"meaning": meanings[field.name]}) for field in arrow_schema()]
    return pa.schema(fields, metadata={"id": RECORD_JSON_SCHEMA_ID})


def record_arrow() -> bytes:
    """Return an Arrow IPC file that holds the schema and no rows."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, record_arrow_schema()):
        pass
    content: bytes = sink.getvalue().to_pybytes()
    return content


def record_arrow_json() -> bytes:
    """Return the Arrow schema as a table that people can read."""
    fields = [
        {"name": f.name, "type": str(f.type), "nullable": f.nullable, "meaning": c.meaning, "values": list(c.values) or None}
        for f, c in zip(arrow_schema(), PUBLIC_COLUMNS, strict=True)
    ]  # fmt: skip
    return json_bytes({"id": RECORD_JSON_SCHEMA_ID, "file": "reduction-record.arrow", "fields": fields})


def json_bytes(document: Any) -> bytes:
    """Return a JSON document as a file: UTF-8, Chinese as it is, ends in a line break."""
    return (json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False) + "\n").encode()


def _unit_rule(behaviour: Behaviour) -> dict[str, Any]:
    """If it is this behaviour, then its units; null or nothing is the default."""
    names = f"{behaviour.zh} {behaviour.en}"
    default = behaviour.units[0]
    if behaviour.day_unit is not None:
        other = next(unit for unit in behaviour.units if unit != behaviour.day_unit)
        default = f"{other}, of a day record {behaviour.day_unit}"
    return {
        "if": {"properties": {"behaviour": {"const": behaviour.code}}, "required": ["behaviour"]},
        "then": {
            "properties": {
                "unit": {"enum": [*behaviour.units, None], "description": f"{names}; without a unit: {default}"}
            }
        },
    }


def _meaning(column: Column) -> str:
    return f"{column.meaning}; one of {', '.join(column.values)}" if column.values else column.meaning
