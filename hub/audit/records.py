"""Invariants 7 and 8: a record is there once, and its amount can be computed again. I/O: reads the database."""

from typing import Any

import polars as pl

from hub.audit.books import Books
from hub.audit.report import Finding, Offenders
from hub.audit.restatements import wrong_heirs
from hub.audit.reviews import wrong_releases
from mappings import MappingError, load_mapping
from standards.datafile import DataError
from standards.methodology import Methodology, load_methodology
from standards.policy import load_policy
from standards.quantify import quantify
from standards.rates import rate_table
from standards.schema import RECORD_SCHEMA

_STORED: dict[str, Any] = {
    "record_id": pl.Int64(),
    "role": pl.String(),
    "start_us": pl.Int64(),
    "region": pl.Int32(),
    "behaviour": pl.String(),
    "precision": pl.String(),
    "quantity_micro": pl.Int64(),
    "unit": pl.String(),
    "reference_mg": pl.Int64(),
    "factor_id": pl.String(),
}


def records_are_told_once(books: Books) -> Finding:
    """Look for source records with one identity and one content."""
    wrong = Offenders()
    for first, count in books.rows(
        "SELECT MIN(record_id), COUNT(*) FROM source_record GROUP BY platform, stream, source_id, digest "
        "HAVING COUNT(*) > 1 ORDER BY 1"
    ):
        wrong.add(f"record {first} is there {count} times")
    return Finding(figure=f"{books.count('source_record'):,} source records", wrong=wrong)


def one_version_stands(books: Books) -> Finding:
    """Look for identities of which not exactly one version stands, and for heirs of another identity or of nothing new."""
    wrong = Offenders()
    identity = "platform, stream, source_id"
    for first, standing in books.rows(
        "SELECT MIN(record_id), SUM(CASE WHEN superseded_by IS NULL THEN 1 ELSE 0 END) FROM source_record "
        f"GROUP BY {identity} HAVING SUM(CASE WHEN superseded_by IS NULL THEN 1 ELSE 0 END) <> 1 ORDER BY 1"
    ):
        wrong.add(f"of record {first} and its versions {standing} stand")
    for record, heir in books.rows(
        "SELECT s.record_id, s.superseded_by FROM source_record s "
        "LEFT JOIN source_record n ON n.record_id = s.superseded_by AND n.platform = s.platform "
        "AND n.stream = s.stream AND n.source_id = s.source_id AND n.record_id <> s.record_id "
        "WHERE s.superseded_by IS NOT NULL AND n.record_id IS NULL ORDER BY s.record_id"
    ):
        wrong.add(f"record {record} is superseded by {heir}, which is no version of it")
    wrong.add_all(wrong_heirs(books))
    wrong.add_all(wrong_releases(books))
    identities = books.count(f"(SELECT 1 AS one FROM source_record GROUP BY {identity}) x")
    return Finding(figure=f"{identities:,} identities", wrong=wrong)


def records_are_translated(books: Books) -> Finding:
    """Pair source records with their translation: each has one, of the same person, platform and window."""
    wrong = Offenders()
    for (record,) in books.rows(
        "SELECT s.record_id FROM source_record s LEFT JOIN reduction_record r ON r.record_id = s.record_id "
        "AND r.subject_id = s.subject_id AND r.platform = s.platform AND r.window_id = s.window_id "
        "WHERE r.record_id IS NULL ORDER BY s.record_id"
    ):
        wrong.add(f"record {record} has no translation of its person, platform and window")
    return Finding(figure=f"{books.count('reduction_record'):,} reduction records", wrong=wrong)


def versions_are_known(books: Books) -> Finding:
    """Look for methodologies, factors, mappings and policies that this installation does not have."""
    wrong, known = Offenders(), 0
    for column, table in (
        ("methodology", "reduction_record"),
        ("methodology", "event"),
        ("mapping", "reduction_record"),
        ("mapping", "batch"),
        ("policy", "event"),
        ("policy", "decision"),
    ):
        for version, rows in books.rows(f"SELECT {column}, COUNT(*) FROM {table} GROUP BY {column} ORDER BY {column}"):
            known += 1
            if not _is_known(column, version):
                wrong.add(f"{column} {version!r}, pinned by {rows:,} rows of {table}, is not installed")
    for methodology, factor, rows in books.rows(
        "SELECT methodology, factor_id, COUNT(*) FROM reduction_record WHERE factor_id IS NOT NULL "
        "GROUP BY methodology, factor_id ORDER BY methodology, factor_id"
    ):
        known += 1
        pinned = _methodology(methodology)
        if pinned is not None and factor not in {rate.pin for rate in rate_table(pinned).rates}:
            wrong.add(f"factor {factor!r}, pinned by {rows:,} records, is not in methodology {methodology}")
    return Finding(figure=f"{known:,} pinned versions", wrong=wrong)


def amounts_recompute(books: Books) -> Finding:
    """Compute the amount and factor of every reduction record anew from its quantity."""
    sql = (
        "SELECT record_id, role, start_us, region, behaviour, precision, quantity_micro, unit, reference_mg, factor_id "
        "FROM reduction_record "
        "WHERE methodology = :version ORDER BY record_id"
    )
    wrong, computed = Offenders(), 0
    versions = [version for (version,) in books.rows("SELECT DISTINCT methodology FROM reduction_record ORDER BY 1")]
    for version in versions:
        methodology = _methodology(version)
        if methodology is None:
            continue  # versions_are_known says so
        for page in books.pages(sql, _STORED, version=version):
            told = page.with_columns(start_at=pl.from_epoch("start_us", time_unit="us").dt.replace_time_zone("UTC"))
            absent = [
                pl.lit(None, kind).alias(name) for name, kind in RECORD_SCHEMA.items() if name not in told.columns
            ]
            anew = quantify(told.with_columns(absent), methodology)
            differs = page["reference_mg"].ne_missing(anew["reference_mg"]) | page["factor_id"].ne_missing(
                anew["factor_id"]
            )
            for record, stored, amount in zip(
                page["record_id"].filter(differs),
                page["reference_mg"].filter(differs),
                anew["reference_mg"].filter(differs),
                strict=True,
            ):
                wrong.add(f"record {record} is stored with {_mg(stored)}, {version} gives {_mg(amount)}")
            computed += len(page)
    return Finding(figure=f"{computed:,} amounts computed again", wrong=wrong)


def _mg(amount: int | None) -> str:
    return "no amount" if amount is None else f"{amount:,} mg"


def _is_known(column: str, version: str) -> bool:
    if column == "methodology":
        return _methodology(version) is not None
    try:
        load_mapping(version) if column == "mapping" else load_policy(version)
    except (MappingError, DataError, OSError):
        return False
    return True


def _methodology(version: str) -> Methodology | None:
    try:
        return load_methodology(version)
    except (DataError, OSError):
        return None
