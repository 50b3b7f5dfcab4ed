"""Invariants 7 and 8: a record is there once, and its amount can be computed again. I/O: reads the database."""

import json
import secrets
from collections import Counter

import polars as pl

from hub.audit.books import Books
from hub.audit.pages import FIRST, Page, Seen
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

_PAGE_ROWS = 250_000
_VERSION = {
    "record_id": pl.Int64(), "platform": pl.String(), "stream": pl.String(), "source_id": pl.String(),
    "digest": pl.Binary(), "stands": pl.Boolean(),
}  # fmt: skip


def records_are_told_once(books: Books) -> Finding:
    """Look for source records with one identity and one content."""
    wrong = Offenders()
    versions = _versions(books)
    same = versions.filter(pl.struct("identity", "digest").is_duplicated())
    for first, count in _exactly(books, same, "platform, stream, source_id, digest", "COUNT(*)", "COUNT(*) > 1"):
        wrong.add(f"record {first} is there {count} times")
    return Finding(figure=f"{len(versions):,} source records", wrong=wrong)


def one_version_stands(books: Books) -> Finding:
    """Look for identities of which not exactly one version stands, and for heirs of another identity or of nothing new."""
    wrong = Offenders()
    standing = _versions(books).with_columns(standing=pl.col("stands").sum().over("identity"))
    count = "SUM(CASE WHEN superseded_by IS NULL THEN 1 ELSE 0 END)"
    for first, found in _exactly(
        books, standing.filter(pl.col("standing") != 1), "platform, stream, source_id", count, f"{count} <> 1"
    ):
        wrong.add(f"of record {first} and its versions {found} stand")
    for record, heir in books.rows(
        "SELECT s.record_id, s.superseded_by FROM source_record s "
        "LEFT JOIN source_record n ON n.record_id = s.superseded_by AND n.platform = s.platform "
        "AND n.stream = s.stream AND n.source_id = s.source_id AND n.record_id <> s.record_id "
        "WHERE s.superseded_by IS NOT NULL AND n.record_id IS NULL ORDER BY s.record_id"
    ):
        wrong.add(f"record {record} is superseded by {heir}, which is no version of it")
    wrong.add_all(wrong_heirs(books))
    wrong.add_all(wrong_releases(books))
    return Finding(figure=f"{standing['identity'].n_unique():,} identities", wrong=wrong)


def _versions(books: Books) -> pl.DataFrame:
    """Return record_id, identity, digest and stands of every source record, identity and digest as 64 bits of a hash.

    Ten million take 250 MB. The hash is begun anew in every audit, so that nobody can prepare what falls together.
    """
    return books.keep("versions of records", lambda: _read_versions(books))


def _read_versions(books: Books) -> pl.DataFrame:
    sql = (
        "SELECT record_id, platform, stream, source_id, digest, CASE WHEN superseded_by IS NULL THEN 1 ELSE 0 END "
        "FROM source_record"
    )
    seed = secrets.randbits(64)
    identity = pl.struct("platform", "stream", "source_id").hash(seed)
    pages = (
        page.select("record_id", identity=identity, digest=pl.col("digest").hash(seed), stands="stands")
        for page in books.pages(sql, _VERSION, _PAGE_ROWS)
    )
    empty = {"record_id": pl.Int64(), "identity": pl.UInt64(), "digest": pl.UInt64(), "stands": pl.Boolean()}
    return pl.concat([pl.DataFrame(schema=empty), *pages])


def _exactly(books: Books, suspects: pl.DataFrame, same: str, told: str, wrong: str) -> list[tuple[int, int]]:
    """Ask the database itself about the identities of records that a hash makes suspicious."""
    found: set[tuple[int, int]] = set()
    ids = suspects["record_id"].sort().to_list()
    for begin in range(0, len(ids), 500):
        some = ", ".join(str(record) for record in ids[begin : begin + 500])
        named = f"(SELECT DISTINCT platform, stream, source_id FROM source_record WHERE record_id IN ({some}))"
        matched = " AND ".join(f"s.{name} = n.{name}" for name in ("platform", "stream", "source_id"))
        columns = ", ".join(f"s.{name}" for name in same.split(", "))
        found |= set(
            books.rows(
                f"SELECT MIN(s.record_id), {told} FROM {named} n JOIN source_record s ON {matched} "
                f"GROUP BY {columns} HAVING {wrong}"
            )
        )
    return sorted((first, int(count)) for first, count in found)


def records_are_translated(page: Page) -> Seen:
    """Pair source records with their translation: each has one, of the same person, platform and window."""
    seen = Seen(counts=Counter(records=len(page.reductions)))
    same = ["record_id", "subject_id", "platform", "window_id"]
    for record in page.sources.join(page.reductions, on=same, how="anti")["record_id"]:
        seen.wrong.add(f"record {record} has no translation of its person, platform and window")
    return seen


def versions_are_known(page: Page) -> Seen:
    """Count the methodologies, factors, mappings and policies that are pinned."""
    seen = Seen()
    for column, table, rows in (
        ("methodology", "reduction_record", page.reductions), ("methodology", "event", page.events),
        ("mapping", "reduction_record", page.reductions), ("policy", "event", page.events),
        ("policy", "decision", page.decisions),
    ):  # fmt: skip
        for version, pinned in rows.group_by(column).len().iter_rows():
            seen.counts[_pin(column, version, table)] += pinned
    factors = page.reductions.filter(pl.col("factor_id").is_not_null()).group_by("methodology", "factor_id").len()
    for methodology, factor, pinned in factors.iter_rows():
        seen.counts[_pin("factor", factor, methodology)] += pinned
    if page.first == FIRST:
        for version, pinned in page.books.rows("SELECT mapping, COUNT(*) FROM batch GROUP BY mapping"):
            seen.counts[_pin("mapping", version, "batch")] += pinned
    return seen


def unknown_versions(seen: Seen) -> Finding:
    """Look for pinned versions that this installation does not have."""
    wrong = Offenders()
    for pin, rows in sorted(seen.counts.items()):
        column, version, where = json.loads(pin)
        if column == "factor":
            pins = _methodology(where)
            if pins is not None and version not in {rate.pin for rate in rate_table(pins).rates}:
                wrong.add(f"factor {version!r}, pinned by {rows:,} records, is not in methodology {where}")
        elif not _is_known(column, version):
            wrong.add(f"{column} {version!r}, pinned by {rows:,} rows of {where}, is not installed")
    return Finding(figure=f"{len(seen.counts):,} pinned versions", wrong=wrong)


def _pin(column: str, version: str, where: str) -> str:
    return json.dumps([column, version, where])


def amounts_recompute(page: Page) -> Seen:
    """Compute the amount and factor of every reduction record anew from its quantity."""
    seen = Seen()
    for (version,), rows in page.reductions.group_by("methodology", maintain_order=True):
        methodology = _methodology(str(version))
        if methodology is None:
            continue  # versions_are_known says so
        told = rows.select(column for column in rows.columns if column in RECORD_SCHEMA or column == "start_us")
        told = told.with_columns(start_at=pl.from_epoch("start_us", time_unit="us").dt.replace_time_zone("UTC"))
        absent = [pl.lit(None, kind).alias(name) for name, kind in RECORD_SCHEMA.items() if name not in told.columns]
        anew = quantify(told.with_columns(absent), methodology)
        differs = rows["reference_mg"].ne_missing(anew["reference_mg"]) | rows["factor_id"].ne_missing(
            anew["factor_id"]
        )
        found = rows.filter(differs).select("record_id", "reference_mg")
        for (record, stored), amount in zip(found.iter_rows(), anew["reference_mg"].filter(differs), strict=True):
            seen.wrong.add(f"record {record} is stored with {_mg(stored)}, {version} gives {_mg(amount)}")
        seen.counts["amounts"] += len(rows)
    return seen


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
