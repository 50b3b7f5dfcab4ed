"""Invariant 9: nothing was collected, cleared or credited but as its person allowed it then. I/O: reads the database.

The guard asked when it was done; here the versions of grants are asked again for that moment. A grant that was changed
at the very microsecond counts in both its forms: which came first is not in the database.
"""

from dataclasses import dataclass
from typing import Any

import polars as pl

from hub.audit.books import FOREVER_US, Books
from hub.audit.erasure import DAY_US, ERASED
from hub.audit.report import Finding, Offenders
from standards.canonical import BUCKETS

_ACT: dict[str, Any] = {
    "record_id": pl.Int64(),
    "subject_id": pl.Int64(),
    "platform": pl.String(),
    "behaviour": pl.String(),
    "start_us": pl.Int64(),
}
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
FEW_VERSIONS = 2_000_000
"""Versions of grants up to which all are kept in memory, and acts need no order by person."""


def collected_as_allowed(books: Books) -> Finding:
    """Ask for every source record whether its person allowed to collect it when it was received.

    A record without a translation tells no behaviour and no time to ask for: records_are_translated finds it.
    """
    sql = (
        "SELECT s.record_id, s.subject_id, s.platform, r.behaviour, r.start_us, s.received_us FROM source_record s "
        f"JOIN reduction_record r ON r.record_id = s.record_id {_by_person(books, 's.subject_id')}"
    )
    wrong, asked = Offenders(), 0
    for page in books.pages(sql, _ACT | {"first_us": pl.Int64()}):
        refused = without_consent(books, page.with_columns(last_us="first_us"), "collect", "record_id")
        wrong.add_all(f"record {record} was collected without consent" for record in refused["record_id"].sort())
        asked += len(page)
    return Finding(figure=f"{asked:,} records, {books.count('grant_version'):,} versions of grants", wrong=wrong)


def cleared_as_allowed(books: Books) -> Finding:
    """Ask for every settled decision that was not rejected whether clearing was allowed when it was made.

    A version that was superseded in its own window is left out: nothing was decided on it but that another came. So is
    what was settled in an open window, which had no time of clearing: cleared_records_are_decided finds it.
    """
    sql = (
        "SELECT d.record_id, d.subject_id, r.platform, r.behaviour, r.start_us, d.window_id, r.bucket FROM decision d "
        "JOIN reduction_record r ON r.record_id = d.record_id "
        "JOIN clearing_window w ON w.window_id = d.window_id AND w.groups IS NOT NULL "
        "WHERE NOT d.provisional AND d.verdict <> 'rejected' AND d.reason <> 'superseded_version' "
        f"{_by_person(books, 'd.subject_id')}"
    )
    wrong, asked, moments = Offenders(), 0, at_clearing(books)
    for page in books.pages(sql, _ACT | {"window_id": pl.Int64(), "bucket": pl.Int64()}):
        refused = without_consent(books, moments.join_onto(page), "clear", "record_id")
        wrong.add_all(f"record {record} was cleared without consent" for record in refused["record_id"].sort())
        asked += len(page)
    return Finding(figure=f"{asked:,} decisions", wrong=wrong)


def credited_as_allowed(books: Books) -> Finding:
    """Ask for every issue of grams whether crediting was allowed when it was posted."""
    sql = (
        "SELECT v.event_id, v.subject_id, r.platform, v.behaviour, v.start_us, e.entry_id, "
        f"{books.micros('e.posted_at')} FROM journal_entry e JOIN event v ON v.event_id = e.source_id "
        "JOIN reduction_record r ON r.record_id = v.event_id "
        f"WHERE e.kind = 'issue' {_by_person(books, 'v.subject_id')}"
    )
    wrong, asked = Offenders(), 0
    for page in books.pages(sql, _ACT | {"entry_id": pl.Int64(), "first_us": pl.Int64()}):
        refused = without_consent(books, page.with_columns(last_us="first_us"), "credit", "entry_id")
        wrong.add_all(f"entry {entry} issued grams without consent" for entry in refused["entry_id"].sort())
        asked += len(page)
    return Finding(figure=f"{asked:,} issues of grams", wrong=wrong)


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
    """Read when each group of buckets was cleared."""
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
    allowing = _versions_for(books, acts, purpose)
    # Of an act of somebody who was erased only the day is known: it was allowed if it was at any time of that day.
    erased = books.frame(f"SELECT subject_id FROM {ERASED} x", {"subject_id": pl.Int64()})["subject_id"]
    may_be_later = pl.when(pl.col("subject_id").is_in(erased.implode())).then(DAY_US - 1).otherwise(0)
    pairs = acts.select(
        name, "subject_id", "platform", "behaviour", "start_us", at=pl.concat_list("first_us", "last_us"),
        latest_us=pl.col("start_us") + may_be_later,
    )  # fmt: skip
    pairs = pairs.explode("at").join(allowing, on=["subject_id", "platform"], how="inner")
    allowed = pairs.filter(
        pl.col("at").is_between("created_us", "replaced_us")
        & pl.col("at").is_between("from_us", "until_us", closed="left")
        & (pl.col("latest_us") >= pl.col("from_us"))
        & (pl.col("start_us") < pl.col("until_us"))
    )
    words = allowed.select("behaviours").unique()
    words = words.with_columns(behaviour=pl.col("behaviours").str.json_decode(_WORDS)).explode("behaviour")
    allowed = allowed.join(words, on=["behaviours", "behaviour"], how="semi")
    return acts.join(allowed, on=name, how="anti").select(name)


def _by_person(books: Books, column: str) -> str:
    """Return how acts are ordered: by person, so that a page needs the grants of some only, where there are many grants."""
    return "" if books.count("grant_version") <= FEW_VERSIONS else f"ORDER BY {column}"


def _versions_for(books: Books, acts: pl.DataFrame, purpose: str) -> pl.DataFrame:
    """Return the active versions that name a purpose, of the persons of these acts at least, one row for each platform named."""
    name = f"grants that name {purpose}"
    if name in books.kept:
        return books.kept[name]
    if books.count("grant_version") > FEW_VERSIONS:
        return _read_versions(books, purpose, int(acts["subject_id"].min()), int(acts["subject_id"].max()))  # type: ignore[arg-type]
    books.kept[name] = _read_versions(books, purpose, -(2**63), 2**63 - 1)
    return books.kept[name]


def _read_versions(books: Books, purpose: str, low: int, high: int) -> pl.DataFrame:
    sql = (
        "SELECT grant_id, version, subject_id, recipient, state, purposes, behaviours, platforms, "
        f"{books.micros('created_at')}, {books.micros('valid_from')}, {books.micros('valid_until')} "
        "FROM grant_version WHERE subject_id >= :low AND subject_id <= :high ORDER BY grant_id, version"
    )
    versions = books.frame(sql, _VERSIONS, low=low, high=high)
    replaced = pl.col("created_us").shift(-1).over("grant_id").fill_null(FOREVER_US)
    versions = versions.with_columns(replaced_us=replaced).filter(
        (pl.col("recipient") == "hub") & (pl.col("state") == "active")
    )
    words = versions.with_columns(
        pl.col("purposes").str.json_decode(_WORDS), platform=pl.col("platforms").str.json_decode(_WORDS)
    )
    named = words.filter(pl.col("purposes").list.contains(purpose)).explode("platform")
    return named.select("subject_id", "platform", "behaviours", "created_us", "replaced_us", "from_us", "until_us")
