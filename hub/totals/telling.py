"""Totals of windows that became final: computed once, kept, and logged. I/O: the database.

    acts of the windows since the last telling -> months -> for each month fold -> release, cells, people, leaf

A month whose new facts are of too few people waits and is told with what comes later. What was told is never told again in
another way, so two looks differ by whole cells, each of k people or more. ADR 0034.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
from sqlalchemy import func, select, text
from sqlalchemy.orm import Session
from sqlmodel import col

from hub.changes import log_change
from hub.context import Hub
from hub.db import append_frame, load_frame, lock, reading, writing
from hub.log.leaves import Kind
from hub.totals import facts as load
from hub.totals.folding import (
    CELL_SCHEMA,
    FACT_SCHEMA,
    LEVELS,
    PEOPLE_SCHEMA,
    Rule,
    are_safe,
    count_people,
    fold,
    place,
    whole,
)
from hub.totals.tables import TotalProgress, TotalRelease, TotalWaiting
from hub.totals.taking import label_places, take
from standards.canonical import canonical_bytes

LOCK = "totals"
COUNTED, TAKEN_BACK, USED = "counted", "taken_back", "used"
ZONE = ZoneInfo("Asia/Shanghai")
RELEASE_SCHEMA: dict[str, Any] = {
    "release_id": pl.Int64(), "facts": pl.String(), "month": pl.Int64(), "first_window": pl.Int64(),
    "last_window": pl.Int64(),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One release: which facts of which month, from how many cells; 0 cells: it waits for more people."""

    facts: str
    month: int
    first_window: int
    last_window: int
    cells: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Update:
    """One telling under way."""

    session: Session
    hub: Hub
    now: datetime
    seen: int
    last: int
    months_too: frozenset[int]

    @property
    def rule(self) -> Rule:
        return Rule(k=self.hub.settings.totals_k, p_percent=self.hub.settings.totals_p_percent)


def update_totals(hub: Hub, *, now: datetime, months: frozenset[int] = frozenset()) -> list[Told]:
    """Tell what became final since the last time. Durable on return; a second call changes nothing.

    Args:
        months: yyyymm; months under way that are told on demand where the settings would wait for their end.
    """
    with reading(hub.engine) as session:
        if not _is_due(session, months):
            return []
    with writing(hub.engine) as session:
        lock(session, LOCK)
        last = load.load_last_final(session)
        update = _Update(session=session, hub=hub, now=now, seen=_seen(session), last=last, months_too=months)
        told = [*_tell_counted(update), *_tell_taken_back(update), *_tell_used(update)]
        progress = session.get(TotalProgress, LOCK) or TotalProgress(name=LOCK, window_id=0)
        progress.window_id = last
        session.add(progress)
    return told


def last_release(session: Session) -> int:
    """Return the number of the newest release; 0 if there is none."""
    return int(session.execute(select(func.coalesce(func.max(col(TotalRelease.release_id)), 0))).scalar_one())


def month_bounds_us(month: int) -> tuple[int, int]:
    """Return the begin of a month (yyyymm, Asia/Shanghai) and of the next, in microseconds since 1970."""
    year, number = divmod(month, 100)
    begin = datetime(year, number, 1, tzinfo=ZONE)
    end = datetime(year + number // 12, number % 12 + 1, 1, tzinfo=ZONE)
    return tuple((at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) for at in (begin, end))  # type: ignore[return-value]


def _is_due(session: Session, months: frozenset[int]) -> bool:
    waiting = session.execute(select(func.count()).select_from(TotalWaiting)).scalar_one()
    return load.load_last_final(session) > _seen(session) or (bool(months) and waiting > 0)


def _seen(session: Session) -> int:
    progress = session.get(TotalProgress, LOCK)
    return 0 if progress is None else progress.window_id


def _tell_counted(update: _Update) -> Iterator[Told]:
    """Tell acts; of every month concerned all told ones are read again, to count the people behind the sums."""
    session, last = update.session, update.last
    new = _with_month(load.load_acts(session, first=update.seen + 1, last=last))
    waiting = _waiting(session, COUNTED)
    months = sorted({*new["month"].unique().to_list(), *waiting})
    if not months:
        return
    releases = _releases(session, months)
    first = {month: waiting.get(month, update.seen + 1) for month in months}
    begin = min([*first.values(), *releases["first_window"].to_list()])
    if begin <= update.seen:
        bounds = [month_bounds_us(month) for month in months]
        span = {"since_us": min(low for low, _ in bounds), "until_us": max(high for _, high in bounds)}
        before = _with_month(load.load_acts(session, first=begin, last=update.seen, **span))
        new = pl.concat([before.filter(pl.col("month").is_in(months)), new])
    number = last_release(session)
    coming = []
    for month in months:
        if _may_be_told(update, month):
            number += 1
            coming.append((number, COUNTED, month, first[month], last))
        else:
            _wait(session, COUNTED, month, first[month])
    all_releases = pl.concat([releases, pl.DataFrame(coming, schema=RELEASE_SCHEMA, orient="row")])
    acts = _label(update, _of_releases(new, all_releases), begin)
    for release_id, _, month, since, _ in coming:
        mine = acts.filter(pl.col("release_id") == release_id)
        cells = fold(mine.select(list(FACT_SCHEMA)), update.rule)
        told = _keep(update, release_id, COUNTED, month, since, cells, facts=len(mine))
        if told.cells:
            _keep_people(session, month, acts.filter(pl.col("month") == month))
        yield told


def _tell_taken_back(update: _Update) -> Iterator[Told]:
    """Tell how much of what was told no longer counts. An act that was never told goes without a word.

    One sum a month, without labels; and it waits while any told cell would keep acts of a few people only, since the cell
    less the sum could be those.
    """
    session, last = update.session, update.last
    waiting = _waiting(session, TAKEN_BACK)
    begin = min([update.seen + 1, *waiting.values()])
    acts = _with_month(load.load_reversed(session, first=begin, last=last))
    months = sorted({*acts["month"].unique().to_list(), *waiting})
    if not months:
        return
    back = _within(acts, _releases(session, months)).filter(pl.col("reversed_in") > pl.col("last_window"))
    for month in months:
        since = waiting.get(month, update.seen + 1)
        mine = back.filter((pl.col("month") == month) & (pl.col("reversed_in") >= since))
        if mine.is_empty():
            _stop_waiting(session, TAKEN_BACK, month)
        elif not _may_be_told(update, month):
            _wait(session, TAKEN_BACK, month, since)
        else:
            cells = whole(mine, update.rule)
            cells = cells if _leaves_enough(update, month) else cells.clear()
            yield _keep(update, last_release(session) + 1, TAKEN_BACK, month, since, cells, facts=len(mine))


def _leaves_enough(update: _Update, month: int) -> bool:
    """Say whether what still counts of each told cell of a month could be told by itself."""
    releases = _releases(update.session, [month])
    low, high = month_bounds_us(month)
    first = int(releases["first_window"].min() or 1)  # type: ignore[arg-type]
    acts = _with_month(load.load_acts(update.session, first=first, last=update.last, since_us=low, until_us=high))
    told = _in_cells(update.session, month, _label(update, _of_releases(acts, releases), first))
    left = told.filter(pl.col("reversed_in").is_null() | (pl.col("reversed_in") > update.last))
    return are_safe(left, ["release_id", *LEVELS], update.rule)


def _tell_used(update: _Update) -> Iterator[Told]:
    """Tell what was used up, by the month in which it was; a use is of grams of many acts, so it has no place and no kind."""
    session, last = update.session, update.last
    waiting = _waiting(session, USED)
    begin = min([update.seen + 1, *waiting.values()])
    uses = load.load_uses(session, first=begin, last=last).with_columns(start_us="posted_us")
    uses = _with_month(uses)
    for month in sorted({*uses["month"].unique().to_list(), *waiting}):
        since = waiting.get(month, update.seen + 1)
        net = uses.filter((pl.col("month") == month) & (pl.col("window_id") >= since))
        net = net.group_by("subject_id", behaviour="used_as").agg(mg=pl.col("mg").sum(), acts=pl.len().cast(pl.Int64))
        mine = net.filter(pl.col("mg") > 0).with_columns(
            programme=pl.lit(""), province=pl.lit(0, pl.Int32), city=pl.lit(0, pl.Int32), category=pl.lit(USED),
            day=pl.lit(0, pl.Int32),
        )  # fmt: skip
        yield from _fold_or_wait(update, USED, month, since, mine)


def _fold_or_wait(update: _Update, what: str, month: int, since: int, mine: pl.DataFrame) -> Iterator[Told]:
    if mine.is_empty():
        _stop_waiting(update.session, what, month)
    elif not _may_be_told(update, month):
        _wait(update.session, what, month, since)
    else:
        cells = fold(mine.select(list(FACT_SCHEMA)), update.rule)
        yield _keep(update, last_release(update.session) + 1, what, month, since, cells, facts=len(mine))


def _may_be_told(update: _Update, month: int) -> bool:
    over = update.now.astimezone(ZONE) >= datetime.fromtimestamp(month_bounds_us(month)[1] // 1_000_000, ZONE)
    return over or update.hub.settings.totals_of_months_under_way or month in update.months_too


def _keep(
    update: _Update, release_id: int, what: str, month: int, since: int, cells: pl.DataFrame, *, facts: int
) -> Told:
    """Store a release with its leaf; without cells the month waits, if it has any facts."""
    session, rule = update.session, update.rule
    told = Told(facts=what, month=month, first_window=since, last_window=update.last, cells=len(cells))
    if cells.is_empty():
        if facts:
            _wait(session, what, month, since)
        else:
            _stop_waiting(session, what, month)
        return told
    digest = cells_digest(cells)
    session.add(
        TotalRelease(
            release_id=release_id, facts=what, month=month, first_window=since, last_window=update.last, k=rule.k,
            p_percent=rule.p_percent, cells=len(cells), digest=digest, told_at=update.now,
        )
    )  # fmt: skip
    session.flush()
    numbered = cells.with_columns(
        release_id=pl.lit(release_id, pl.Int64), cell=pl.int_range(1, pl.len() + 1, dtype=pl.Int64)
    )
    append_frame(session, "total_cell", numbered)
    _stop_waiting(session, what, month)
    fields = {
        "release": release_id, "facts": what, "month": month, "first_window": since, "last_window": update.last,
        "cells_count": len(cells), "cells": digest,
    }  # fmt: skip
    log_change(session, Kind.TOTALS_TOLD, f"{release_id}", update.now, fields)
    return told


def cells_digest(cells: pl.DataFrame) -> bytes:
    """Return the digest that the log has of a release: SHA-256 of its cells in canonical JSON, people and sums as text."""
    rows = cells.select(*LEVELS, *(pl.col(name).cast(pl.String) for name in ("people", "acts", "mg"))).to_dicts()
    return sha256(canonical_bytes(rows)).digest()


def _keep_people(session: Session, month: int, acts: pl.DataFrame) -> None:
    """Replace the people behind the sums of a month. They never become fewer: an erasure must not show."""
    people = count_people(_in_cells(session, month, acts))
    labels = [name for name in PEOPLE_SCHEMA if name != "people"]
    sql = f"SELECT {', '.join(PEOPLE_SCHEMA)} FROM total_people WHERE month = :m"
    before = load_frame(session, sql, PEOPLE_SCHEMA, m=month)
    people = pl.concat([before, people]).group_by(labels).agg(pl.col("people").max()).sort(labels, nulls_last=True)
    session.execute(text("DELETE FROM total_people WHERE month = :m"), {"m": month})
    rows = people.with_columns(month=pl.lit(month, pl.Int64), line=pl.int_range(1, pl.len() + 1, dtype=pl.Int64))
    append_frame(session, "total_people", rows)


def _in_cells(session: Session, month: int, acts: pl.DataFrame) -> pl.DataFrame:
    """Return the told acts of a month with the labels of their cells.

    An erased person's acts have lost their place and programme, and may belong to no cell of an older release any more.
    """
    names = ["release_id", *LEVELS]
    schema = {"release_id": pl.Int64(), **{name: CELL_SCHEMA[name] for name in LEVELS}}
    columns = ", ".join(f"c.{name}" for name in names)
    sql = (
        f"SELECT {columns} FROM total_cell c JOIN total_release r ON r.release_id = c.release_id "
        "WHERE r.facts = 'counted' AND r.month = :m"
    )
    cells = load_frame(session, sql, schema, m=month)
    told = acts.join(cells.select("release_id").unique(), on="release_id", how="semi")
    return place(told, cells, ["release_id"]).join(cells, on=names, how="semi", nulls_equal=True)


def _label(update: _Update, acts: pl.DataFrame, begin: int) -> pl.DataFrame:
    session = update.session
    placed = _places_and_kinds(acts)
    programmes = load.load_programme_rules(session)
    if programmes.is_empty():
        return placed.with_columns(programme=pl.lit(""))
    own = load.load_own(session, programmes, first=begin, last=update.last)
    return take(placed, programmes, load.load_memberships(session), own)


def _places_and_kinds(acts: pl.DataFrame) -> pl.DataFrame:
    labelled = label_places(acts).join(load.categories(), on="behaviour", how="left", maintain_order="left")
    return labelled.with_columns(pl.col("category").fill_null(""))


def _with_month(acts: pl.DataFrame) -> pl.DataFrame:
    local = pl.col("start_us").cast(pl.Datetime("us", "UTC")).dt.convert_time_zone("Asia/Shanghai")
    return acts.with_columns(month=(local.dt.year() * 100 + local.dt.month().cast(pl.Int32)).cast(pl.Int64))


def _within(acts: pl.DataFrame, releases: pl.DataFrame) -> pl.DataFrame:
    """Join acts to the release of their month that has their window."""
    joined = acts.join(releases.drop("facts"), on="month", how="inner")
    return joined.filter(
        (pl.col("window_id") >= pl.col("first_window")) & (pl.col("window_id") <= pl.col("last_window"))
    )


def _of_releases(acts: pl.DataFrame, releases: pl.DataFrame) -> pl.DataFrame:
    """Return the acts that each release tells: those that had not been taken back when it told them."""
    standing = pl.col("reversed_in").is_null() | (pl.col("reversed_in") > pl.col("last_window"))
    return _within(acts, releases).filter(standing)


def _releases(session: Session, months: list[int]) -> pl.DataFrame:
    sql = "SELECT release_id, facts, month, first_window, last_window FROM total_release WHERE facts = 'counted'"
    return load_frame(session, sql, RELEASE_SCHEMA).filter(pl.col("month").is_in(months))


def _waiting(session: Session, what: str) -> dict[int, int]:
    sql = "SELECT month, first_window FROM total_waiting WHERE facts = :f"
    return {row.month: row.first_window for row in session.execute(text(sql), {"f": what})}


def _wait(session: Session, what: str, month: int, since: int) -> None:
    if session.get(TotalWaiting, (what, month)) is None:
        session.add(TotalWaiting(facts=what, month=month, first_window=since))
        session.flush()


def _stop_waiting(session: Session, what: str, month: int) -> None:
    row = session.get(TotalWaiting, (what, month))
    if row is not None:
        session.delete(row)
        session.flush()
