"""Invariant 9: nothing was collected, cleared or credited but as its person allowed it then. I/O: reads the database.

The guard asked when it was done; here the versions of grants are asked again for that moment. A grant that was changed
at the very microsecond counts in both its forms: which came first is not in the database.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import polars as pl

from hub.audit.books import DAY_US, FOREVER_US, Books
from hub.audit.pages import Page, Seen
from hub.audit.report import Finding, Offenders
from standards.canonical import BUCKETS

_VERSIONS: dict[str, Any] = {
    "grant_id": pl.String(),
    "version": pl.Int64(),
    "subject_id": pl.Int64(),
    "recipient": pl.String(),
    "state": pl.String(),
    "purposes": pl.String(),
    "behaviours": pl.String(),
    "platforms": pl.String(),
    "created_us": pl.Int64(),
    "from_us": pl.Int64(),
    "until_us": pl.Int64(),
}
_WORDS = pl.List(pl.String())


def collected_as_allowed(page: Page) -> Seen:
    """Ask for every source record whether its person allowed to collect it when it was received.

    A record without a translation tells no behaviour and no time to ask for: records_are_translated finds it.
    """
    acts = page.sources.join(page.reductions.select("record_id", "behaviour", "start_us"), on="record_id")
    acts = acts.with_columns(first_us="received_us", last_us="received_us")
    seen = Seen(counts=Counter(acts=len(acts)))
    for record in without_consent(page.books, acts, "collect", "record_id")["record_id"].sort():
        seen.wrong.add(f"record {record} was collected without consent")
    return seen


def cleared_as_allowed(page: Page) -> Seen:
    """Ask for every settled decision that was not rejected whether clearing was allowed when it was made.

    A version that was superseded in its own window is left out: nothing was decided on it but that another came. So is
    what was settled in an open window, which had no time of clearing: cleared_records_are_decided finds it.
    """
    moments = at_clearing(page.books)
    decided = page.decisions.filter(
        ~pl.col("provisional") & (pl.col("verdict") != "rejected") & (pl.col("reason") != "superseded_version")
    ).join(moments.groups, on="window_id", how="semi")
    told = page.reductions.select("record_id", "platform", "behaviour", "start_us", "bucket")
    acts = decided.select("record_id", "subject_id", "window_id").join(told, on="record_id")
    seen = Seen(counts=Counter(acts=len(acts)))
    for record in without_consent(page.books, moments.join_onto(acts), "clear", "record_id")["record_id"].sort():
        seen.wrong.add(f"record {record} was cleared without consent")
    return seen


def credited_as_allowed(page: Page) -> Seen:
    """Ask for every issue of grams whether crediting was allowed when it was posted."""
    posted = page.issues.select("event_id", "entry_id", first_us="posted_us", last_us="posted_us").unique()
    acts = posted.join(page.events.select("event_id", "subject_id", "behaviour", "start_us"), on="event_id")
    acts = acts.join(page.reductions.select("platform", event_id="record_id"), on="event_id")
    seen = Seen(counts=Counter(acts=len(acts)))
    for entry in without_consent(page.books, acts, "credit", "entry_id")["entry_id"].sort():
        seen.wrong.add(f"entry {entry} issued grams without consent")
    return seen


def guard_reads_the_latest(books: Books) -> Finding:
    """Set the copy of the grants that the guard asks against the versions that were given."""
    begin, end = books.micros("v.valid_from"), books.micros("v.valid_until")
    latest = (
        f"SELECT v.grant_id, v.version, v.subject_id, v.recipient, v.state, v.purposes, v.behaviours, v.platforms, "
        f"{begin} AS from_us, {end} AS until_us FROM grant_version v "
        "WHERE NOT EXISTS (SELECT 1 FROM grant_version n WHERE n.grant_id = v.grant_id AND n.version > v.version)"
    )
    wrong = Offenders()
    for (grant,) in books.rows(
        f"SELECT l.grant_id FROM ({latest}) l LEFT JOIN grant_current c ON c.grant_id = l.grant_id "
        "AND c.subject_id = l.subject_id AND c.recipient = l.recipient AND c.version = l.version "
        "AND c.state = l.state AND c.valid_from_us = l.from_us AND c.valid_until_us = l.until_us "
        "LEFT JOIN grant_terms t ON t.terms_id = c.terms_id AND t.purposes = l.purposes "
        "AND t.behaviours = l.behaviours AND t.platforms = l.platforms WHERE t.terms_id IS NULL ORDER BY l.grant_id"
    ):
        wrong.add(f"the guard does not ask the latest version of grant {grant}")
    for (grant,) in books.rows(
        "SELECT c.grant_id FROM grant_current c LEFT JOIN grant_version v ON v.grant_id = c.grant_id "
        "AND v.subject_id = c.subject_id AND v.recipient = c.recipient AND v.version = c.version "
        "WHERE v.grant_id IS NULL ORDER BY c.grant_id"
    ):
        wrong.add(f"the guard asks a version of grant {grant} that nobody gave")
    return Finding(figure=f"{books.count('grant_current'):,} grants", wrong=wrong)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """When each group of each window was cleared.

    `groups` has window_id, groups, cleared_us; `steps` has window_id, group, first_us and last_us. The last group's
    time is the window's own; of the others the log knows the second only, so that whole second stands for it.
    """

    groups: pl.DataFrame
    steps: pl.DataFrame

    def join_onto(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Add first_us and last_us to rows with window_id and bucket."""
        # The inverse of "group g begins at bucket g * BUCKETS // groups".
        group = ((pl.col("bucket") + 1) * pl.col("groups") - 1) // BUCKETS + 1
        timed = rows.join(self.groups, on="window_id", how="left").with_columns(group=group)
        timed = timed.join(self.steps, on=["window_id", "group"], how="left")
        is_last = pl.col("cleared_us").is_not_null() & (
            (pl.col("group") == pl.col("groups")) | pl.col("first_us").is_null()
        )
        return timed.with_columns(
            first_us=pl.when(is_last).then("cleared_us").otherwise("first_us"),
            last_us=pl.when(is_last).then("cleared_us").otherwise("last_us"),
        )


def at_clearing(books: Books) -> Moments:
    """Tell when each group of buckets was cleared."""
    return books.keep("times of clearing", lambda: _read_moments(books))


def _read_moments(books: Books) -> Moments:
    groups = books.frame(
        f"SELECT window_id, groups, {books.micros('cleared_at')} FROM clearing_window WHERE groups IS NOT NULL",
        {"window_id": pl.Int64(), "groups": pl.Int64(), "cleared_us": pl.Int64()},
    )
    leaves = books.frame(
        f"SELECT c.reference, {books.micros('l.created_at')} FROM change_leaf c "
        "JOIN log_leaf l ON l.leaf_id = c.leaf_id WHERE c.kind = 'entries.posted'",
        {"reference": pl.String(), "first_us": pl.Int64()},
    )
    names = pl.col("reference").str.split(":").list
    steps = leaves.select(
        window_id=names.get(0).cast(pl.Int64), group=names.get(1).cast(pl.Int64), first_us="first_us",
        last_us=pl.col("first_us") + 999_999,
    )  # fmt: skip
    return Moments(groups=groups, steps=steps)


def without_consent(books: Books, acts: pl.DataFrame, purpose: str, name: str) -> pl.DataFrame:
    """Return the column `name` of the acts that no grant to the hub allowed, neither at first_us nor at last_us.

    Args:
        acts: subject_id, platform, behaviour, start_us, first_us, last_us; a null is never allowed.
    """
    if acts.is_empty():
        return acts.select(name)
    grants = _grants_for(books, acts, purpose)
    # Of an act of somebody who was erased only the day is known: it was allowed if it was at any time of that day.
    may_be_later = pl.when(pl.col("subject_id").is_in(books.erased.implode())).then(DAY_US - 1).otherwise(0)
    asked = acts.select(
        name, "subject_id", "platform", "behaviour", "start_us", "first_us", "last_us",
        latest_us=pl.col("start_us") + may_be_later,
    )  # fmt: skip
    pairs = asked.join(grants.versions, on=["subject_id", "platform"], how="inner")
    allowed = pairs.filter(
        (_in_force("first_us") | _in_force("last_us"))
        & (pl.col("latest_us") >= pl.col("from_us"))
        & (pl.col("start_us") < pl.col("until_us"))
    ).join(grants.words, on=["terms", "behaviour"], how="semi")
    return acts.join(allowed, on=name, how="anti").select(name)


def _in_force(at: str) -> pl.Expr:
    """At that time the version was the last one, and valid."""
    return pl.col(at).is_between("created_us", "replaced_us") & pl.col(at).is_between(
        "from_us", "until_us", closed="left"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grants:
    """Active versions that name a purpose, a row for each platform named; and the behaviours of each of their terms."""

    versions: pl.DataFrame
    words: pl.DataFrame


def _grants_for(books: Books, acts: pl.DataFrame, purpose: str) -> _Grants:
    """Return the versions of the persons of these acts at least."""
    if books.few_versions:
        return books.keep(f"grants that name {purpose}", lambda: _read_grants(books, purpose, -(2**63), 2**63 - 1))
    return _read_grants(books, purpose, int(acts["subject_id"].min()), int(acts["subject_id"].max()))  # type: ignore[arg-type]


def _read_grants(books: Books, purpose: str, low: int, high: int) -> _Grants:
    sql = (
        "SELECT grant_id, version, subject_id, recipient, state, purposes, behaviours, platforms, "
        f"{books.micros('created_at')}, {books.micros('valid_from')}, {books.micros('valid_until')} "
        f"FROM grant_version WHERE subject_id BETWEEN {low} AND {high}"
    )
    versions = books.frame(sql, _VERSIONS).sort("grant_id", "version")
    replaced = pl.col("created_us").shift(-1).over("grant_id").fill_null(FOREVER_US)
    versions = versions.with_columns(replaced_us=replaced).filter(
        (pl.col("recipient") == "hub") & (pl.col("state") == "active")
    )
    terms = versions.select("purposes", "behaviours", "platforms").unique().with_row_index("terms")
    told = terms.with_columns(pl.col("purposes", "behaviours", "platforms").str.json_decode(_WORDS))
    named = told.filter(pl.col("purposes").list.contains(purpose))
    versions = versions.join(terms, on=["purposes", "behaviours", "platforms"])
    versions = versions.join(named.select("terms", platform="platforms").explode("platform"), on="terms")
    return _Grants(
        versions=versions.select("subject_id", "platform", "terms", "created_us", "replaced_us", "from_us", "until_us"),
        words=named.select("terms", behaviour="behaviours").explode("behaviour"),
    )
