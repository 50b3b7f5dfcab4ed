"""Which cells of a table may be told, and what is told instead of the others. Pure. ADR 0034.

The facts of a release are divided by one label after another, in the order of LEVELS. A part that is safe is told under
its label. What is left of its siblings is told together, without the label; if that rest is not safe itself, the smallest
told sibling joins it until it is, and where no sibling is left, the whole is told without this label. So in the end every
fact is in one cell, every cell is safe, and whatever anybody adds and subtracts is made of whole cells.

Safe is of `k` people or more, and by the p% rule: who knows the second-largest share of a figure and the figure cannot tell
the largest share to within p percent. With p = 25 nobody has more than 80 % of a safe figure. A union of safe cells is
safe: people only grow in number, and the rule's measure is subadditive.

Source: Hundepool and others, Handbook on Statistical Disclosure Control, chapter 4 (the p% rule; p = 25 for 80 %; table
redesign, secondary suppression); Cox, Linear sensitivity measures in statistical disclosure control, 1981.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import polars as pl

LEVELS = ("programme", "province", "city", "category", "behaviour", "day")
LABELS: dict[str, pl.DataType] = {
    "programme": pl.String(), "province": pl.Int32(), "city": pl.Int32(), "category": pl.String(),
    "behaviour": pl.String(), "day": pl.Int32(),
}  # fmt: skip
FACT_SCHEMA: dict[str, pl.DataType] = {"subject_id": pl.Int64(), **LABELS, "acts": pl.Int64(), "mg": pl.Int64()}
CELL_SCHEMA: dict[str, pl.DataType] = {**LABELS, "people": pl.Int64(), "acts": pl.Int64(), "mg": pl.Int64()}
PEOPLE_SCHEMA: dict[str, pl.DataType] = {
    "scope": pl.String(), "split_by": pl.String(), **{name: LABELS[name] for name in LEVELS[1:]}, "people": pl.Int64(),
}  # fmt: skip
FIGURES = ("acts", "mg")
_REGION = ((), ("province",), ("province", "city"))
_WHAT = ((), ("category",), ("category", "behaviour"))
_WHEN: tuple[tuple[str, ...], ...] = ((), ("day",))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a told cell must be: of `k` people or more, and nobody found in it to within `p_percent`."""

    k: int = 10
    p_percent: int = 25


def fold(facts: pl.DataFrame, rule: Rule) -> pl.DataFrame:
    """Divide facts into cells that may be told.

    Args:
        facts: FACT_SCHEMA, any number of rows a person; every label is told, with 0 or "" where a record tells none.

    Returns:
        CELL_SCHEMA in a fixed order; null labels are not told apart. The cells are disjoint and hold all facts. Empty if all
        of it together may not be told.
    """
    base = _by_person(facts, list(LEVELS))
    if base.is_empty() or not _measure(_by_person(base, []), [], rule)["safe"][0]:
        return pl.DataFrame(schema=CELL_SCHEMA)
    told: list[str] = []
    for level in LEVELS:
        rest = _rest(base, told, level, rule)
        base = base.join(rest, on=[*told, level], how="left", nulls_equal=True)
        # The label of a fact that is not told apart is gone for good: nothing below asks for it again.
        base = base.with_columns(pl.when(pl.col("rest")).then(None).otherwise(pl.col(level)).alias(level)).drop("rest")
        told.append(level)
    return (
        _measure(_by_person(base, told), told, rule)
        .select(list(CELL_SCHEMA))
        .cast(pl.Schema(CELL_SCHEMA))
        .sort(told, nulls_last=True)
    )


def whole(facts: pl.DataFrame, rule: Rule) -> pl.DataFrame:
    """Return facts as one cell without labels, or no cell if all of it together may not be told: CELL_SCHEMA."""
    summed = _measure(_by_person(facts, []), [], rule)
    labels = [pl.lit(None, kind).alias(name) for name, kind in LABELS.items()]
    return summed.filter("safe").with_columns(labels).select(list(CELL_SCHEMA)).cast(pl.Schema(CELL_SCHEMA))


def are_safe(facts: pl.DataFrame, keys: Sequence[str], rule: Rule) -> bool:
    """Say whether each part of facts by `keys` may be told by itself; a part without facts may."""
    return bool(_measure(_by_person(facts, list(keys)), list(keys), rule)["safe"].all())


def place(facts: pl.DataFrame, cells: pl.DataFrame, keys: Sequence[str] = ()) -> pl.DataFrame:
    """Return facts with the labels under which they were told.

    Args:
        facts: with LEVELS and `keys`. cells: what `fold` made of facts with these keys, with the same `keys` columns.
    """
    told = list(keys)
    placed = facts
    for level in LEVELS:
        named = cells.filter(pl.col(level).is_not_null()).select(*told, level, named=pl.lit(value=True)).unique()
        placed = placed.join(named, on=[*told, level], how="left", nulls_equal=True)
        placed = placed.with_columns(pl.when(pl.col("named")).then(pl.col(level)).alias(level)).drop("named")
        told.append(level)
    return placed


def count_people(placed: pl.DataFrame) -> pl.DataFrame:
    """Count the people behind every sum of cells that an answer may show: of everybody, and of each programme.

    Args:
        placed: subject_id and LEVELS of told facts, with the labels under which they were told (`place`).

    Returns:
        PEOPLE_SCHEMA; a null `scope` is everybody, other nulls are labels that the line is not by, or not told apart.
    """
    people = placed.select("subject_id", *LEVELS).unique()
    within = people.filter(pl.col("programme").is_not_null() & (pl.col("programme") != ""))
    parts = [pl.DataFrame(schema=PEOPLE_SCHEMA)]
    for region, what, when in product(_REGION, _WHAT, _WHEN):
        labels = [*region, *what, *when]
        everybody = people.with_columns(scope=pl.lit(None, pl.String()))
        for some in (everybody, within.with_columns(scope=pl.col("programme"))):
            counted = some.group_by("scope", *labels).agg(people=pl.col("subject_id").n_unique().cast(pl.Int64))
            missing = [pl.lit(None, LABELS[name]).alias(name) for name in LEVELS[1:] if name not in labels]
            line = counted.with_columns(*missing, split_by=pl.lit(",".join(labels)))
            parts.append(line.select(list(PEOPLE_SCHEMA)).cast(pl.Schema(PEOPLE_SCHEMA)))
    return pl.concat(parts).sort("scope", "split_by", *LEVELS[1:], nulls_last=True)


def rounded(people: int, k: int) -> int:
    """Return a number of people as it is shown: down to a multiple of k, so that no difference names fewer than k.

    Example:
        >>> rounded(10, 10), rounded(29, 10), rounded(7, 10)
        (10, 20, 0)
    """
    return people // k * k


def _rest(base: pl.DataFrame, told: list[str], level: str, rule: Rule) -> pl.DataFrame:
    """Say for each part whether it is told without its label: told, level, `rest`."""
    by_person = _by_person(base, [*told, level])
    parts = _measure(by_person, [*told, level], rule)
    parts = parts.select(*told, level, "people", rest=~pl.col("safe"))
    while True:
        left = by_person.join(
            parts.filter("rest").select(*told, level), on=[*told, level], how="semi", nulls_equal=True
        )
        if left.is_empty():
            return parts.select(*told, level, "rest")
        unsafe = _measure(_by_person(left, told), told, rule).filter(~pl.col("safe"))
        if unsafe.is_empty():
            return parts.select(*told, level, "rest")
        named = parts.filter(~pl.col("rest"))
        named = named.join(unsafe.select(told), on=told, how="semi", nulls_equal=True) if told else named
        # The whole is safe, so a rest that is not has a told sibling; the smallest is the least loss.
        first = (
            named.sort("people", level).group_by(told, maintain_order=True).first()
            if told
            else named.sort("people", level).head(1)
        )
        joins = first.select(*told, level, joins=pl.lit(value=True))
        parts = parts.join(joins, on=[*told, level], how="left", nulls_equal=True)
        parts = parts.with_columns(rest=pl.col("rest") | pl.col("joins").fill_null(value=False)).drop("joins")


def _by_person(facts: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Sum what each person did of each part."""
    return facts.group_by(*keys, "subject_id").agg(pl.col(name).sum() for name in FIGURES)


def _measure(by_person: pl.DataFrame, keys: list[str], rule: Rule) -> pl.DataFrame:
    """Sum parts and say whether each is safe: keys, people, acts, mg, safe.

    Args:
        by_person: keys, subject_id, acts, mg, one row a person of a part (`_by_person`); figures are not negative.
    """
    measures = [pl.len().cast(pl.Int64).alias("people"), *(pl.col(name).sum() for name in FIGURES)]
    for name in FIGURES:
        measures += [pl.col(name).max().alias(f"{name}_1"), pl.col(name).top_k(2).sum().alias(f"{name}_12")]
    summed = by_person.group_by(keys).agg(measures) if keys else by_person.select(measures)
    enough = pl.col("people") >= rule.k
    for name in FIGURES:
        enough = enough & ((pl.col(name) - pl.col(f"{name}_12")) * 100 >= pl.col(f"{name}_1") * rule.p_percent)
    return summed.with_columns(safe=enough).select(*keys, "people", *FIGURES, "safe")
