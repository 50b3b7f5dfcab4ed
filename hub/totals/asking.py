"""Answers about totals: sums of told cells, and of nothing else. I/O: reads the database.

Whoever asks, and however: an answer adds up whole cells of releases, so no two answers differ by fewer than k people. Acts
whose label is not told stand in a line of their own, and every answer adds up to its total. ADR 0034.
"""

import csv
import io
import re
from dataclasses import dataclass, replace
from typing import Any

import polars as pl
from sqlalchemy import text
from sqlalchemy.orm import Session

from hub.db import load_frame
from hub.errors import UsageProblem
from hub.totals.folding import LABELS, PEOPLE_SCHEMA, rounded
from standards.behaviours import load_behaviours
from standards.regions import load_regions

# What may be asked for, by the labels that it takes: a city within its province, a behaviour within its category.
SPLITS: dict[str, tuple[str, ...]] = {
    "region": ("province",), "city": ("province", "city"), "category": ("category",),
    "behaviour": ("category", "behaviour"), "day": ("day",), "month": ("month",),
}  # fmt: skip
SAME = {"province": "region", "family": "category", "period": "day"}
ORDER = ("month", "province", "city", "category", "behaviour", "day")
NAMES = {"province": "region"}
CATEGORIES_ZH = {
    "clothing": "衣", "food": "食", "housing": "住", "travel": "行", "use": "用", "office": "办公", "finance": "金融",
}  # fmt: skip
NOT_TOLD_ZH, UNKNOWN_ZH = "未分项", "未注明"
RULE = (
    "Totals of final windows. A line is of k people or more and nobody has most of it; what is of fewer is told together "
    "with its neighbours, without its label (null). People are rounded down to a multiple of k."
)
_YEAR, _MONTH = re.compile(r"[0-9]{4}", re.ASCII), re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked: by which labels, of which months, perhaps of one day (yyyymmdd), and of everybody or one programme."""

    by: tuple[str, ...]
    labels: tuple[str, ...]
    period: str
    first_month: int
    last_month: int
    day: int | None = None
    programme: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of an answer; a label is None where it is not told apart, 0 or "" where records tell none.

    What was taken back is told of whole months only, so it stands in the total of everybody and is 0 elsewhere.
    """

    labels: dict[str, int | str | None]
    people_at_least: int
    acts: int
    counted_mg: int
    taken_back_mg: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Lines in a fixed order, their total, what was used, and up to which window."""

    question: Question
    lines: tuple[Line, ...]
    total: Line
    used_mg: dict[str, int]
    releases: int
    last_window: int
    k: int


def parse_question(by: str, period: str, programme: str | None = None) -> Question:
    """Read what is asked.

    Args:
        by: some of SPLITS, with commas; empty: only the total.
        period: a year, a month or a day, as 2026, 2026-11, 2026-11-05. Nothing between: other spans could be subtracted.

    Raises:
        UsageProblem: a word that cannot be, with those that can.
    """
    words = [SAME.get(word, word) for word in (part.strip() for part in by.split(",")) if word]
    wrong = [word for word in words if word not in SPLITS]
    if wrong or len(set(words)) != len(words):
        told = f"{wrong[0]!r} is nothing that totals are by" if wrong else "by: the same twice"
        raise UsageProblem(f"{told}; there are {', '.join(SPLITS)}")
    wanted = {label for word in words for label in SPLITS[word]}
    year = int(period[:4]) if _YEAR.fullmatch(period[:4]) else 0
    if _YEAR.fullmatch(period):
        months, day = (year * 100 + 1, year * 100 + 12), None
    elif _MONTH.fullmatch(period):
        months, day = (year * 100 + int(period[5:]),) * 2, None
    elif _DAY.fullmatch(period):
        months, day = (year * 100 + int(period[5:7]),) * 2, int(period.replace("-", ""))
    else:
        raise UsageProblem("a period is a year, a month or a day: 2026, 2026-11 or 2026-11-05")
    return Question(
        by=tuple(words), labels=tuple(name for name in ORDER if name in wanted), period=period, first_month=months[0],
        last_month=months[1], day=day, programme=programme,
    )  # fmt: skip


def answer(session: Session, question: Question, *, k: int) -> Answer:
    """Add up the cells that a question is about."""
    cells = _cells(session, question)
    counted = cells.filter(pl.col("facts") == "counted")
    labels = list(question.labels)
    people = _people(session, question)
    lines = _lines(counted, people, labels, k)
    (total,) = _lines(counted, _people(session, question, only_total=True), [], k)
    total = replace(total, taken_back_mg=int(cells.filter(pl.col("facts") == "taken_back")["mg"].sum()))
    used = cells.filter(pl.col("facts") == "used").drop_nulls("behaviour")
    sums = dict.fromkeys(("redeemed", "transferred", "retired"), 0)
    whole = question.programme is None and question.day is None
    if whole:
        sums |= dict(used.group_by("behaviour").agg(pl.col("mg").sum()).iter_rows())
        every = int(cells.filter(pl.col("facts") == "used")["mg"].sum())
        sums["not_told_apart"] = every - sum(sums.values())
    return Answer(
        question=question, lines=tuple(lines) if labels else (), total=total, used_mg=sums if whole else {},
        releases=int(cells["release_id"].n_unique()), last_window=int(cells["last_window"].max() or 0), k=k,  # type: ignore[arg-type]
    )  # fmt: skip


def to_document(found: Answer) -> dict[str, Any]:
    """Return an answer as JSON gives it."""
    question = found.question
    return {
        "period": question.period, "by": list(question.by), "programme": question.programme, "k": found.k,
        "rule": RULE, "releases": found.releases, "last_window": found.last_window, "total": _total(found.total),
        "rows": [{**_labels(line), **_figures(line)} for line in found.lines],
        "used": {f"{name}_mg": mg for name, mg in found.used_mg.items()},
    }  # fmt: skip


def to_csv(found: Answer) -> str:
    """Return the lines of an answer as CSV with their names in Chinese; a label that is not told is empty."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    names = [NAMES.get(name, name) for name in found.question.labels]
    figures = list(_figures(found.total))
    writer.writerow([*names, "name_zh", *figures])
    for line in found.lines or (found.total,):
        cells = ["" if value is None else value for value in line.labels.values()]
        writer.writerow([*cells, line_name(line), *_figures(line).values()])
    return out.getvalue()


def line_name(line: Line) -> str:
    """Return what to call a line in Chinese: its labels, the closest first named by what is told of it."""
    labels = dict(line.labels)
    if "city" in labels:
        labels.pop("province")
        labels["city"] = line.labels["city"] or line.labels["province"]
    if labels.get("behaviour") is not None:
        labels.pop("category", None)
    elif labels.get("category") is not None:
        labels.pop("behaviour", None)
    words = list(dict.fromkeys(label_name(name, value) for name, value in labels.items()))
    return " · ".join(words) if words else "合计"


def label_name(name: str, value: int | str | None) -> str:
    """Return one label in Chinese.

    Example:
        >>> label_name("province", 110000), label_name("behaviour", None), label_name("city", 0), label_name("day", 20261105)
        ('北京', '未分项', '未注明', '2026-11-05')
    """
    if value is None:
        return NOT_TOLD_ZH
    if not value:
        return UNKNOWN_ZH
    text_of = str(value)
    if name in ("province", "city"):
        known = load_regions().get(int(value))
        return known.zh if known else text_of
    if name == "behaviour":
        behaviour = load_behaviours().get(text_of)
        return behaviour.zh if behaviour else text_of
    if name == "category":
        return CATEGORIES_ZH.get(text_of, text_of)
    return "-".join(part for part in (text_of[:4], text_of[4:6], text_of[6:]) if part)


def _labels(line: Line) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name, value in line.labels.items():
        dated = name in ("day", "month") and value is not None
        told[NAMES.get(name, name)] = label_name(name, value) if dated else value
    return {**told, "name_zh": line_name(line)}


def _figures(line: Line) -> dict[str, int]:
    return {
        "people_at_least": line.people_at_least, "acts": line.acts, "counted_mg": line.counted_mg,
    }  # fmt: skip


def _total(line: Line) -> dict[str, int]:
    standing = line.counted_mg - line.taken_back_mg
    return {**_figures(line), "taken_back_mg": line.taken_back_mg, "standing_mg": standing}


def _cells(session: Session, question: Question) -> pl.DataFrame:
    """Add up the cells by release and by the labels of the question, in the database: a year's days are never all read."""
    labels = [name for name in question.labels if name != "month"]
    labels += [] if "behaviour" in labels else ["behaviour"]  # by which uses are told
    schema = {
        "release_id": pl.Int64(), "facts": pl.String(), "month": pl.Int64(), "last_window": pl.Int64(),
        **{name: LABELS[name] for name in labels}, "acts": pl.Int64(), "mg": pl.Int64(),
    }  # fmt: skip
    which = "r.month >= :first AND r.month <= :last"
    params: dict[str, Any] = {"first": question.first_month, "last": question.last_month}
    if question.day is not None:
        which, params = f"{which} AND c.day = :day", {**params, "day": question.day}
    if question.programme is not None:
        which, params = f"{which} AND c.programme = :programme", {**params, "programme": question.programme}
    grouped = ", ".join(["r.release_id", "r.facts", "r.month", "r.last_window", *(f"c.{name}" for name in labels)])
    sql = (
        f"SELECT {grouped}, CAST(SUM(c.acts) AS BIGINT), CAST(SUM(c.mg) AS BIGINT) FROM total_cell c "
        f"JOIN total_release r ON r.release_id = c.release_id WHERE {which} GROUP BY {grouped}"
    )
    return load_frame(session, sql, schema, **params)


def _people(session: Session, question: Question, *, only_total: bool = False) -> pl.DataFrame:
    """Load the people behind the lines: PEOPLE_SCHEMA columns and `month`. Of several months: the most of one of them."""
    labels = [name for name in question.labels if name != "month" and not only_total]
    if question.day is not None and "day" not in labels:
        labels.append("day")
    schema = {"month": pl.Int64(), **{name: kind for name, kind in PEOPLE_SCHEMA.items() if name != "split_by"}}
    scope = "scope IS NULL" if question.programme is None else "scope = :programme"
    day = "" if question.day is None else " AND day = :day"
    params: dict[str, Any] = {
        "first": question.first_month, "last": question.last_month, "by": ",".join(labels),
        **({} if question.programme is None else {"programme": question.programme}),
        **({} if question.day is None else {"day": question.day}),
    }  # fmt: skip
    sql = (
        f"SELECT {', '.join(schema)} FROM total_people WHERE month >= :first AND month <= :last AND split_by = :by "
        f"AND {scope}{day}"
    )
    return load_frame(session, sql, schema, **params)


def _lines(counted: pl.DataFrame, people: pl.DataFrame, labels: list[str], k: int) -> list[Line]:
    if labels:
        sums = counted.group_by(labels).agg(pl.col("acts").sum(), pl.col("mg").sum())
        most = people.group_by(labels).agg(pl.col("people").max())
        sums = sums.join(most, on=labels, how="left", nulls_equal=True).sort(labels, nulls_last=True)
    else:
        sums = pl.DataFrame(
            {"acts": [counted["acts"].sum()], "mg": [counted["mg"].sum()], "people": [people["people"].max()]}
        )
    return [
        Line(
            labels={name: row[name] for name in labels}, people_at_least=rounded(int(row["people"] or 0), k),
            acts=int(row["acts"] or 0), counted_mg=int(row["mg"] or 0),
        )
        for row in sums.iter_rows(named=True)
    ]  # fmt: skip


def load_told_months(session: Session) -> list[int]:
    """Return the months of which anything is told, newest first (yyyymm)."""
    sql = "SELECT DISTINCT month FROM total_release WHERE facts = 'counted' ORDER BY month DESC"
    return [int(month) for month in session.execute(text(sql)).scalars()]
