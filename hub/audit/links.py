"""Invariant 11: an account has one owner at a time, and a record belongs to the owner then. I/O: reads the database."""

from collections import Counter

import polars as pl

from hub.audit.books import DAY_US, FOREVER_US, Books
from hub.audit.pages import Page, Seen
from hub.audit.report import Finding, Offenders

_LINK = {
    "link_id": pl.String(),
    "platform": pl.String(),
    "account_key": pl.String(),
    "from_us": pl.Int64(),
    "until_us": pl.Int64(),
}
_OWNED = {
    "link_id": pl.String(), "subject_id": pl.Int64(), "platform": pl.String(), "from_us": pl.Int64(), "until_us": pl.Int64(),
}  # fmt: skip


def accounts_have_one_owner(books: Books) -> Finding:
    """Look for links of one account whose times overlap."""
    sql = (
        f"SELECT link_id, platform, account_key, {books.micros('valid_from')}, "
        f"COALESCE({books.micros('valid_until')}, {FOREVER_US}) FROM link"
    )
    who = ["platform", "account_key"]
    # A link that was closed before it began covers no time.
    links = books.frame(sql, _LINK).filter(pl.col("until_us") > pl.col("from_us")).sort(*who, "from_us", "link_id")
    before = pl.col("until_us").cum_max().shift(1).over(who)
    wrong = Offenders()
    for link in links.filter(pl.col("from_us") < before)["link_id"]:
        wrong.add(f"link {link} begins while its account has another")
    accounts = links.select(who).n_unique() if len(links) else 0
    return Finding(figure=f"{books.count('link'):,} links of {accounts:,} accounts", wrong=wrong)


def records_belong_to_owners(page: Page) -> Seen:
    """Look for records whose link is another person's or platform's, or did not cover the act."""
    books = page.books
    links = books.keep("links", lambda: _read_links(books, "")) if books.few_versions else _links_of(page)
    acts = page.sources.join(page.reductions.select("record_id", "start_us"), on="record_id")
    # Of an act of somebody who was erased only the day is known.
    may_be_later = pl.when(pl.col("subject_id").is_in(books.erased.implode())).then(DAY_US - 1).otherwise(0)
    pairs = acts.join(links, on=["link_id", "subject_id", "platform"])
    owned = pairs.filter(
        (pl.col("from_us") <= pl.col("start_us") + may_be_later) & (pl.col("start_us") < pl.col("until_us"))
    )
    seen = Seen(counts=Counter(records=len(page.sources)))
    for record in acts.join(owned, on="record_id", how="anti")["record_id"]:
        seen.wrong.add(f"record {record} does not belong to the owner of its account at the time of the act")
    return seen


def _links_of(page: Page) -> pl.DataFrame:
    """Where there are more links than memory should hold, those of one range of records."""
    between = f"record_id BETWEEN {page.first} AND {page.last}"
    return _read_links(page.books, f"WHERE link_id IN (SELECT link_id FROM source_record WHERE {between})")


def _read_links(books: Books, where: str) -> pl.DataFrame:
    sql = (
        f"SELECT link_id, subject_id, platform, {books.micros('valid_from')}, "
        f"COALESCE({books.micros('valid_until')}, {FOREVER_US}) FROM link {where}"
    )
    return books.frame(sql, _OWNED)
