"""Restating acts under another version of the methodology: which move, how far, which stay and why. Pure. ADR 0017.

An act moves whole: with every report of it that stands and pins the old version, so that clearing decides it anew from
what it knew. It moves only if the report that it counts by can move.
"""

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from functools import reduce
from hashlib import sha256
from typing import Any

import polars as pl

from hub.errors import UsageProblem
from standards.canonical import canonical_bytes
from standards.methodology import Methodology
from standards.quantify import quantify
from standards.schema import RECORD_SCHEMA, Role, Verdict

WHY_CHARACTERS = 200
MOVED_SCHEMA: dict[str, Any] = {
    "platform": pl.String(),
    "behaviour": pl.String(),
    "records": pl.Int64(),
    "acts": pl.Int64(),
    "before_mg": pl.Int64(),
    "after_mg": pl.Int64(),
}


class Left(StrEnum):
    """Why a record whose amount would change stays as it is."""

    REFUSED = "refused"  # its person does not allow now that it is cleared and credited
    ERASED = "erased"  # its person was erased, and nothing of it can be read
    UNREADABLE = "unreadable"  # the kept bytes do not open, or the pinned mapping does not translate them
    ELSEWHERE = "elsewhere"  # its act counts by a record that stays, or never brought its person any grams


@dataclass(frozen=True, slots=True, kw_only=True)
class Restatement:
    """What an operator decided: records pinned to `old` are valued by `new`; the rest limits which.

    `since` is the first day of acts in China, `until` the first day that is not restated any more.
    """

    old: str
    new: str
    why: str
    platform: str | None = None
    behaviour: str | None = None
    window_id: int | None = None
    since: date | None = None
    until: date | None = None

    def __post_init__(self) -> None:
        if self.old == self.new:
            raise UsageProblem(f"methodology {self.old} cannot be restated by itself")
        if not self.why.strip() or len(self.why) > WHY_CHARACTERS or not self.why.isprintable():
            raise UsageProblem(f"say why in one line of at most {WHY_CHARACTERS} characters")
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise UsageProblem("the period of acts ends before it begins")

    def fields(self) -> dict[str, str | int]:
        """What the log says of the decision; the words are in its digest only."""
        told: dict[str, str | int | None] = {
            "from": self.old, "to": self.new, "participant": self.platform, "behaviour": self.behaviour,
            "window": self.window_id, "since": self.since.isoformat() if self.since else None,
            "until": self.until.isoformat() if self.until else None,
        }  # fmt: skip
        return {name: value for name, value in told.items() if value is not None}

    def digest(self) -> bytes:
        """Name the decision: the same words about the same records give the same name."""
        return sha256(canonical_bytes(self.fields() | {"why": self.why})).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Restated:
    """What a restatement moved (MOVED_SCHEMA, by platform and behaviour) and how many records stayed, by reason.

    The amounts are what is expected to count; what does count is decided when the open window is cleared.
    """

    moved: pl.DataFrame
    left: dict[Left, int]

    @property
    def records(self) -> int:
        return int(self.moved["records"].sum())

    def plus(self, other: "Restated") -> "Restated":
        """Add what another step did."""
        names = ["platform", "behaviour"]
        moved = pl.concat([self.moved, other.moved]).group_by(names).agg(pl.all().sum()).sort(names)
        left = {reason: self.left.get(reason, 0) + other.left.get(reason, 0) for reason in {**self.left, **other.left}}
        return Restated(moved=moved.select(list(MOVED_SCHEMA)), left=left)


NOTHING = Restated(moved=pl.DataFrame(schema=MOVED_SCHEMA), left={})


def add_up(parts: list[Restated]) -> Restated:
    """Sum what several steps did."""
    return reduce(Restated.plus, parts, NOTHING)


def valued(records: pl.DataFrame, methodology: Methodology) -> pl.DataFrame:
    """Return the methodology's reference_mg and factor_id for RECORD columns, row by row."""
    absent = [pl.lit(None, kind).alias(name) for name, kind in RECORD_SCHEMA.items() if name not in records.columns]
    return quantify(records.with_columns(absent).select(list(RECORD_SCHEMA)), methodology).select(
        "reference_mg", "factor_id"
    )


def with_new_amounts(records: pl.DataFrame, methodology: Methodology) -> pl.DataFrame:
    """Add `new_mg` and whether it differs from what is stored (`reference_mg`)."""
    new = valued(records, methodology)["reference_mg"].alias("new_mg")
    return records.with_columns(new, differs=records["reference_mg"].ne_missing(new))


def begun_here(members: pl.DataFrame, *, after: int, last: int) -> pl.DataFrame:
    """Keep the acts of which the first record that asks for restating has a number in (after, last].

    So an act belongs to one step, whichever of its records a step meets.
    """
    asking = pl.when(pl.col("chosen") & pl.col("differs")).then("record_id")
    return members.filter(asking.min().over("act").is_between(after, last, closed="right"))


def settled(members: pl.DataFrame) -> pl.DataFrame:
    """Complete `left`: an act stays whole where the record that it counts by stays, or the one that lends it a quantity may.

    Args:
        members: whole acts, `left` being why a record cannot move by itself, or null.
    """
    anchor = pl.col("record_id") == pl.col("canonical_record_id").fill_null(pl.col("record_id"))
    enough = pl.col("new_mg").is_not_null() | pl.col("left").is_null().all().over("act")
    moves = (anchor & pl.col("left").is_null() & pl.col("credited") & enough).any().over("act")
    left = pl.when(~moves & pl.col("left").is_null()).then(pl.lit(str(Left.ELSEWHERE))).otherwise("left")
    return members.with_columns(anchor=anchor, left=left)


def told(members: pl.DataFrame) -> Restated:
    """Sum settled acts: what moves, from how much to how much, and what stays."""
    stays = members.filter(pl.col("left").is_not_null() & pl.col("chosen") & pl.col("differs"))
    counts = {Left(reason): count for reason, count in stays.group_by("left").len().sort("left").iter_rows()}
    going = _weighed(members.filter(pl.col("left").is_null()))
    names = ["platform", "behaviour"]
    moved = going.group_by(names).agg(
        records=pl.len().cast(pl.Int64),
        acts=pl.col("anchor").sum().cast(pl.Int64),
        before_mg=pl.col("before_mg").sum(),
        after_mg=pl.col("after_mg").sum(),
    )
    return Restated(moved=moved.sort(names).select(list(MOVED_SCHEMA)).cast(MOVED_SCHEMA), left=counts)  # type: ignore[arg-type]


def _weighed(going: pl.DataFrame) -> pl.DataFrame:
    """Add what each act counted and will count to the record that it counts by: 0 to the others.

    As clearing weighs: the methodology's amount of that record, else the best witness's, and never above the claim.
    """
    ranked = going.with_columns(rank=pl.col("role").replace_strict(_RANKS, default=len(_RANKS), return_dtype=pl.Int64))
    ranked = ranked.sort("act", "rank", "record_id")
    anchor = pl.col("anchor")
    platform = pl.col("platform").filter(anchor).first().over("act")
    claims = pl.when((pl.col("platform") == platform) & (pl.col("reason").fill_null("") != "same_content"))
    told_all = claims.then(pl.col("claimed_mg").is_not_null()).otherwise(pl.lit(True)).all().over("act")
    claimed = pl.when(told_all).then(claims.then("claimed_mg").otherwise(0).sum().over("act"))
    ranked = ranked.with_columns(claimed=claimed)
    counts = anchor & (pl.col("verdict").is_null() | (pl.col("verdict") == Verdict.COUNTED))
    return ranked.with_columns(
        before_mg=pl.when(pl.col("verdict").is_not_null()).then("counted_mg").otherwise(_capped("reference_mg")),
        after_mg=pl.when(counts).then(_capped("new_mg")).otherwise(0),
    ).with_columns(pl.col("before_mg").fill_null(0), pl.col("after_mg").fill_null(0))


def _capped(name: str) -> pl.Expr:
    best = pl.col(name).drop_nulls().first().over("act")
    return pl.min_horizontal(pl.coalesce(name, best), "claimed")


_RANKS = {str(role): role.rank for role in Role}
