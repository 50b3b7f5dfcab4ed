"""Invariants 2 and 12, totals: what was told is what the events say, and nothing told is of few people. I/O: reads the database.

Every release is made again from the events: which acts it had to tell, in which cell each belongs. An erasure takes place
and programme from acts that had been told with them, so cells are held to bounds by that much; a release's sums, which no
erasure touches, are held to the milligram. ADR 0034.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl

from hub.audit.books import Books
from hub.audit.report import Finding, Offenders
from standards.behaviours import load_behaviours
from standards.canonical import canonical_bytes
from standards.regions import load_regions

LEAST = 10
ZONE = ZoneInfo("Asia/Shanghai")
OWN_CITY = ("11", "12", "31", "50")
USED = "('redeemed', 'transferred', 'retired')"
LABELS = ("programme", "province", "city", "category", "behaviour", "day")
_ACT: dict[str, Any] = {
    "event_id": pl.Int64(), "subject_id": pl.Int64(), "behaviour": pl.String(), "start_us": pl.Int64(),
    "region": pl.Int64(), "mg": pl.Int64(), "acts": pl.Int64(), "erased": pl.Int64(),
}  # fmt: skip
_CELL: dict[str, Any] = {
    "cell": pl.Int64(), "programme": pl.String(), "province": pl.Int64(), "city": pl.Int64(), "category": pl.String(),
    "behaviour": pl.String(), "day": pl.Int64(), "people": pl.Int64(), "acts": pl.Int64(), "mg": pl.Int64(),
}  # fmt: skip
_PLACED: dict[str, Any] = {"cell": pl.Int64(), "subject_id": pl.Int64(), "acts": pl.Int64(), "mg": pl.Int64()}
_PARTS = "adjustment a WHERE a.posted_as = 'adjust' AND a.to_platform IS NULL"
# An event in pieces: what is left of it, which is the act, and each part that was taken back by itself.
_PIECES = (
    "(SELECT e.event_id, e.mg - COALESCE(SUM(a.mg), 0) AS mg, 1 AS acts, MIN(v.window_id) AS gone_in FROM event e "
    f"LEFT JOIN (SELECT * FROM {_PARTS}) a ON a.event_id = e.event_id LEFT JOIN event_reversal v "
    f"ON v.event_id = e.event_id GROUP BY e.event_id, e.mg UNION ALL SELECT a.event_id, a.mg, 0, a.window_id FROM {_PARTS})"
)
_COLUMNS = (
    "e.event_id, e.subject_id, e.behaviour, e.start_us, r.region, v.mg, v.acts, "
    "CASE WHEN p.erased_at IS NULL THEN 0 ELSE 1 END "
    "FROM event e JOIN reduction_record r ON r.record_id = e.event_id JOIN person p ON p.subject_id = e.subject_id "
)
_Path = tuple[Any, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Release:
    number: int
    facts: str
    month: int
    first: int
    last: int
    k: int
    p_percent: int
    digest: bytes


def totals_recompute(books: Books) -> Finding:
    """Make every release again and compare: its sums, its cells, its digest, and that windows are told once."""
    wrong, cells = Offenders(), 0
    releases = list(_releases(books))
    for one in releases:
        told = _cells(books, one)
        cells += len(told)
        acts = _acts(books, one)
        for name in ("acts", "mg"):
            found = int(acts["acts"].sum()) if name == "acts" else int(acts["mg"].sum())
            if found != int(told[name].sum()):
                wrong.add(f"release {one.number} tells {int(told[name].sum()):,} {name}, and there are {found:,}")
        if _digest(told) != one.digest:
            wrong.add(f"release {one.number} is not what its digest says")
        wrong.add_all(_wrong_cells(one, told, acts))
    for facts, month in books.rows(
        "SELECT a.facts, a.month FROM total_release a JOIN total_release b ON b.facts = a.facts AND b.month = a.month "
        "AND b.release_id > a.release_id AND b.first_window <= a.last_window ORDER BY a.facts, a.month"
    ):
        wrong.add(f"{facts} of {month}: a window was told twice")
    events = books.count("event e JOIN clearing_window w ON w.window_id = e.window_id WHERE w.state = 'final'")
    return Finding(figure=f"{cells:,} cells in {len(releases):,} releases; {events:,} final events", wrong=wrong)


def totals_are_of_many(books: Books) -> Finding:
    """Look for cells of fewer people than k, for a k below 10, and for cells of which one person has nearly all."""
    wrong = Offenders()
    for release, cell, people in books.rows(
        "SELECT c.release_id, c.cell, c.people FROM total_cell c JOIN total_release r ON r.release_id = c.release_id "
        f"WHERE c.people < r.k OR r.k < {LEAST} ORDER BY c.release_id, c.cell"
    ):
        wrong.add(f"cell {cell} of release {release} is of {people} people")
    for month, line, people in books.rows(
        f"SELECT month, line, people FROM total_people WHERE people < {LEAST} ORDER BY month, line"
    ):
        wrong.add(f"line {line} of {month} is of {people} people")
    for one in _releases(books):
        told = _cells(books, one)
        placed = _place(told, _acts(books, one).filter(pl.col("erased") == 0))
        for name in ("acts", "mg"):
            most = placed.group_by("cell").agg(first=pl.col(name).max(), both=pl.col(name).top_k(2).sum())
            held = most.join(told.select("cell", name), on="cell")
            found = held.filter((pl.col(name) - pl.col("both")) * 100 < pl.col("first") * one.p_percent)
            wrong.add_all(
                f"cell {cell} of release {one.number}: one person has nearly all {name}" for cell in found["cell"]
            )
        wrong.add_all(_few_left(books, one, told))
    cells = books.count("total_cell")
    return Finding(figure=f"{cells:,} cells of {LEAST} people or more", wrong=wrong)


def _few_left(books: Books, one: _Release, told: pl.DataFrame) -> Iterator[str]:
    """Look for cells of which so much was told to be taken back that what is left is of few people."""
    if one.facts != "counted":
        return
    gone = books.frame(
        "SELECT v.event_id, v.window_id FROM event_reversal v JOIN event e ON e.event_id = v.event_id "
        "JOIN total_release t ON t.facts = 'taken_back' AND t.month = :m "
        "AND v.window_id BETWEEN t.first_window AND t.last_window "
        "WHERE e.window_id BETWEEN :a AND :b AND v.window_id > :b",
        {"event_id": pl.Int64(), "gone_in": pl.Int64()}, m=one.month, a=one.first, b=one.last,
    )  # fmt: skip
    if gone.is_empty():
        return
    left = _place(told, _acts(books, one).join(gone, on="event_id", how="anti")).drop_nulls("cell")
    for cell, people in left.group_by("cell").agg(pl.len()).sort("cell").iter_rows():
        if people < one.k:
            yield f"cell {cell} of release {one.number}: what was not taken back is of {people} people"


def _wrong_cells(one: _Release, told: pl.DataFrame, acts: pl.DataFrame) -> Iterator[str]:
    erased = acts.filter(pl.col("erased") == 1)
    lost = {"people": erased["subject_id"].n_unique(), "acts": int(erased["acts"].sum()), "mg": int(erased["mg"].sum())}
    placed = _place(told, acts.filter(pl.col("erased") == 0))
    homeless = placed.filter(pl.col("cell").is_null())
    if len(homeless):
        yield f"release {one.number} has no cell for the acts of {homeless['subject_id'].n_unique()} people"
    found = placed.group_by("cell").agg(people=pl.len(), acts=pl.col("acts").sum(), mg=pl.col("mg").sum())
    both = told.join(found, on="cell", how="left", suffix="_found").fill_null(0).sort("cell")
    for row in both.iter_rows(named=True):
        for name in ("people", "acts", "mg"):
            if not row[f"{name}_found"] <= row[name] <= row[f"{name}_found"] + lost[name]:
                yield f"cell {row['cell']} of release {one.number} tells {row[name]:,} {name}"


def _place(told: pl.DataFrame, acts: pl.DataFrame) -> pl.DataFrame:
    """Find the cell of every act, from the first label to the last: its own label where that is told, else the rest."""
    tree: dict[_Path, set[Any]] = {}
    cell_of: dict[_Path, int] = {}
    for row in told.select("cell", *LABELS).iter_rows():
        for level in range(len(LABELS)):
            tree.setdefault(tuple(row[1 : level + 1]), set()).add(row[level + 1])
        cell_of[tuple(row[1:])] = row[0]

    def walk(labels: _Path) -> int | None:
        path: _Path = ()
        for label in labels:
            path = (*path, label if label in tree.get(path, ()) else None)
        return cell_of.get(path)

    paths = acts.select(LABELS).unique()
    homes = pl.Series("cell", [walk(path) for path in paths.iter_rows()], dtype=pl.Int64())
    homed = acts.join(paths.with_columns(homes), on=list(LABELS), how="left", nulls_equal=True)
    return homed.group_by("cell", "subject_id").agg(pl.col("acts").sum(), pl.col("mg").sum())


def _acts(books: Books, one: _Release) -> pl.DataFrame:
    """Load what a release had to tell, labelled: LABELS, subject_id, acts, mg, erased, and of acts event_id."""
    if one.facts == "used":
        return _uses(books, one)
    year, number = divmod(one.month, 100)
    begin = datetime(year, number, 1, tzinfo=ZONE)
    end = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=ZONE)
    params = {
        "a": one.first, "b": one.last, "m": one.month, "no": False,
        "begin": int(begin.astimezone(UTC).timestamp()) * 1_000_000, "end": int(end.timestamp()) * 1_000_000,
    }  # fmt: skip
    month = "e.start_us >= :begin AND e.start_us < :end AND e.provisional = :no AND e.mg > 0"
    if one.facts == "counted":
        sql = (
            f"SELECT {_COLUMNS} JOIN {_PIECES} v ON v.event_id = e.event_id "
            f"WHERE e.window_id BETWEEN :a AND :b AND (v.gone_in IS NULL OR v.gone_in > :b) AND {month}"
        )
        params.pop("m")
    else:
        sql = (
            f"SELECT {_COLUMNS} JOIN {_PIECES} v ON v.event_id = e.event_id JOIN total_release t "
            "ON t.facts = 'counted' AND t.month = :m AND e.window_id BETWEEN t.first_window AND t.last_window "
            f"WHERE v.gone_in BETWEEN :a AND :b AND v.gone_in > t.last_window AND {month}"
        )
    acts = _labelled(books.frame(sql, _ACT, **params))
    programme = _programmes(books, one, acts) if one.facts == "counted" else None
    if programme is None:
        return acts.with_columns(programme=pl.lit("")).select(*LABELS, "event_id", "subject_id", "acts", "mg", "erased")
    found = acts.join(programme, on="event_id", how="left").with_columns(pl.col("programme").fill_null(""))
    return found.select(*LABELS, "event_id", "subject_id", "acts", "mg", "erased")


def _labelled(acts: pl.DataFrame) -> pl.DataFrame:
    digits = pl.col("region").cast(pl.String).fill_null("")
    provinces = {str(code)[:2] for code in load_regions()}
    known = digits.str.slice(0, 2).is_in(sorted(provinces)) & (digits.str.len_chars() == 6)
    province = (digits.str.slice(0, 2) + "0000").cast(pl.Int64, strict=False)
    itself = digits.str.slice(0, 2).is_in(OWN_CITY)
    city = pl.when(itself).then(province).when(digits.str.slice(2, 2) != "00").then(
        (digits.str.slice(0, 4) + "00").cast(pl.Int64, strict=False)
    ).otherwise(0)  # fmt: skip
    days = (pl.col("start_us") + 8 * 3_600_000_000) // 86_400_000_000
    categories = {code: one.category for code, one in load_behaviours().items()}
    return acts.with_columns(
        province=pl.when(known).then(province).otherwise(0),
        city=pl.when(known).then(city).otherwise(0),
        category=pl.col("behaviour").replace_strict(categories, default="", return_dtype=pl.String),
        day=days.cast(pl.Int32).cast(pl.Date).dt.strftime("%Y%m%d").cast(pl.Int64),
    )


def _programmes(books: Books, one: _Release, acts: pl.DataFrame) -> pl.DataFrame | None:
    """Say in which programme each act belonged at that release: event_id, programme. None if there is no programme."""
    told = []
    for name, participant, since, until, regions, codes, own, closed in books.rows(
        "SELECT programme_id, participant_id, since, until, regions, behaviours, own_file, closed_after FROM programme "
        "ORDER BY programme_id"
    ):
        if closed is not None and closed < one.number:
            continue
        places, kinds = json.loads(regions), json.loads(codes)
        begin, end = (int(str(day).replace("-", "")) for day in (since, until))
        fits = pl.col("day").is_between(begin, end)
        if places:
            fits = fits & (pl.col("province").is_in(places) | pl.col("city").is_in(places))
        if kinds:
            fits = fits & pl.col("behaviour").is_in(kinds)
        here = acts.filter(fits)
        members = books.frame(
            f"SELECT subject_id, {books.micros('joined_at')} FROM programme_membership WHERE programme_id = :p "
            "AND subject_id IS NOT NULL AND joined_after < :r AND (left_after IS NULL OR left_after >= :r)",
            {"subject_id": pl.Int64(), "joined_us": pl.Int64()}, p=name, r=one.number,
        )  # fmt: skip
        joined = here.join(members, on="subject_id").filter(pl.col("start_us") >= pl.col("joined_us"))
        told.append(joined.select("event_id", order=pl.lit(1), since="joined_us", programme=pl.lit(name)))
        if own:
            reported = books.frame(
                "SELECT DISTINCT d.event_id, d.event_id FROM decision d JOIN reduction_record r "
                "ON r.record_id = d.record_id WHERE r.platform = :p AND d.verdict IN ('counted', 'duplicate') "
                "AND d.provisional = :no AND d.window_id <= :b AND d.event_id IS NOT NULL",
                {"event_id": pl.Int64(), "same": pl.Int64()}, p=participant, no=False, b=one.last,
            )  # fmt: skip
            mine = here.join(reported, on="event_id", how="semi")
            told.append(mine.select("event_id", order=pl.lit(0), since=pl.lit(0, pl.Int64), programme=pl.lit(name)))
    if not told:
        return None
    first = pl.concat(told).sort("order", "since", "programme").unique("event_id", keep="first", maintain_order=True)
    return first.select("event_id", "programme")


def _uses(books: Books, one: _Release) -> pl.DataFrame:
    posted = books.micros("e.posted_at")
    schema = {
        "subject_id": pl.Int64(), "behaviour": pl.String(), "at_us": pl.Int64(), "mg": pl.Int64(), "erased": pl.Int64(),
    }  # fmt: skip
    sides = books.frame(
        f"SELECT a.subject_id, a.kind, {posted}, p.mg, CASE WHEN q.erased_at IS NULL THEN 0 ELSE 1 END FROM posting p "
        "JOIN journal_entry e ON e.entry_id = p.entry_id JOIN account a ON a.account_id = p.account_id "
        f"JOIN person q ON q.subject_id = a.subject_id WHERE a.kind IN {USED} AND e.window_id BETWEEN :a AND :b",
        schema, a=one.first, b=one.last,
    )  # fmt: skip
    local = pl.col("at_us").cast(pl.Datetime("us", "UTC")).dt.convert_time_zone("Asia/Shanghai")
    mine = sides.filter(local.dt.strftime("%Y%m") == str(one.month))
    net = mine.group_by("subject_id", "behaviour", "erased").agg(
        mg=pl.col("mg").sum(), acts=pl.len().cast(pl.Int64)
    ).filter(pl.col("mg") > 0)  # fmt: skip
    labels = net.with_columns(
        programme=pl.lit(""), province=pl.lit(0, pl.Int64), city=pl.lit(0, pl.Int64), category=pl.lit("used"),
        day=pl.lit(0, pl.Int64),
    )  # fmt: skip
    return labels.select(*LABELS, "subject_id", "acts", "mg", "erased")


def _releases(books: Books) -> Iterator[_Release]:
    for row in list(
        books.rows(
            "SELECT release_id, facts, month, first_window, last_window, k, p_percent, digest FROM total_release "
            "ORDER BY release_id"
        )
    ):
        number, facts, month, first, last, k, p_percent, digest = row
        yield _Release(
            number=number, facts=facts, month=month, first=first, last=last, k=k, p_percent=p_percent,
            digest=bytes(digest),
        )  # fmt: skip


def _cells(books: Books, one: _Release) -> pl.DataFrame:
    sql = f"SELECT {', '.join(_CELL)} FROM total_cell WHERE release_id = :r ORDER BY cell"
    return books.frame(sql, _CELL, r=one.number)


def _digest(told: pl.DataFrame) -> bytes:
    sums = ("people", "acts", "mg")
    rows = [
        {**{name: row[name] for name in LABELS}, **{name: str(row[name]) for name in sums}}
        for row in told.iter_rows(named=True)
    ]
    return sha256(canonical_bytes(rows)).digest()
