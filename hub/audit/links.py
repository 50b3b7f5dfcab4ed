"""Invariant 11: an account has one owner at a time, and a record belongs to the owner then. I/O: reads the database."""

import polars as pl

from hub.audit.books import FOREVER_US, Books
from hub.audit.erasure import DAY_US, ERASED
from hub.audit.report import Finding, Offenders

_LINK = {
    "link_id": pl.String(),
    "platform": pl.String(),
    "account_key": pl.String(),
    "from_us": pl.Int64(),
    "until_us": pl.Int64(),
}


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


def records_belong_to_owners(books: Books) -> Finding:
    """Look for records whose link is another person's or platform's, or did not cover the act."""
    begin, end = books.micros("l.valid_from"), books.micros("l.valid_until")
    wrong = Offenders()
    for (record,) in books.rows(
        "SELECT s.record_id FROM source_record s JOIN reduction_record r ON r.record_id = s.record_id "
        "LEFT JOIN link l ON l.link_id = s.link_id AND l.subject_id = s.subject_id AND l.platform = s.platform "
        # Of an act of somebody who was erased only the day is known.
        f"AND {begin} <= r.start_us + CASE WHEN s.subject_id IN {ERASED} THEN {DAY_US - 1} ELSE 0 END "
        f"AND r.start_us < COALESCE({end}, {FOREVER_US}) "
        "WHERE l.link_id IS NULL ORDER BY s.record_id"
    ):
        wrong.add(f"record {record} does not belong to the owner of its account at the time of the act")
    return Finding(figure=f"{books.count('source_record'):,} records", wrong=wrong)
