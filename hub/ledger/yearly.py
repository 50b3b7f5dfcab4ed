"""A person's statement of a year: what was there at its begin, what moved in each month, what is there at its end.

I/O: reads the database, inside the caller's transaction. Months are those in which entries were posted, in Asia/Shanghai, as
on a bank's statement; the day of the act is the vintage. A gram whose rights have parted is told where its attribute is.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
from sqlalchemy import select
from sqlalchemy.orm import Session
from sqlmodel import col

from hub.ledger.tables import Account, JournalEntry, Posting
from standards.uses import Rights

ZONE = ZoneInfo("Asia/Shanghai")
FIRST_YEAR, LAST_YEAR = 2000, 2999
_SCHEMA: dict[str, Any] = {
    "account": pl.String(), "participant": pl.String(), "entry": pl.String(), "posted_at": pl.Datetime("us", "UTC"),
    "mg": pl.Int64(),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class YearStatement:
    """One person's year, in milligrams.

    `opening` and `closing` are by account kind. `lines` has month (1-12), entry (kind of journal entry), account,
    participant (where the grams were used, else null), mg and entries; opening and lines sum to closing.
    """

    year: int
    opening: dict[str, int]
    lines: pl.DataFrame
    closing: dict[str, int]

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "year": self.year,
            "opening_mg": self.opening,
            "lines": self.lines.to_dicts(),
            "closing_mg": self.closing,
        }


def load_year(session: Session, subject_id: int, year: int) -> YearStatement:
    """Load a person's statement of a year (FIRST_YEAR to LAST_YEAR)."""
    begin, until = (datetime(one, 1, 1, tzinfo=ZONE).astimezone(UTC) for one in (year, year + 1))
    moves = _load(session, subject_id, until)
    before = pl.col("posted_at") < begin
    lines = (
        moves.filter(~before)
        .group_by(month=pl.col("posted_at").dt.convert_time_zone("Asia/Shanghai").dt.month().cast(pl.Int64),
                  entry="entry", account="account", participant="participant")
        .agg(mg=pl.col("mg").sum(), entries=pl.len().cast(pl.Int64))
        .filter(pl.col("mg") != 0)
        .sort("month", "entry", "account", "participant")
    )  # fmt: skip
    return YearStatement(year=year, opening=_sums(moves.filter(before)), lines=lines, closing=_sums(moves))


def _load(session: Session, subject_id: int, until: datetime) -> pl.DataFrame:
    """Load what moved on a person's accounts before a time; by account, so the size of the ledger does not matter."""
    wanted = (
        select(
            col(Account.kind), col(Account.platform), col(JournalEntry.kind), col(JournalEntry.posted_at), col(Posting.mg)
        )
        .join(Posting, col(Posting.account_id) == col(Account.account_id))
        .join(JournalEntry, col(JournalEntry.entry_id) == col(Posting.entry_id))
        .where(
            col(Account.subject_id) == subject_id, col(Posting.rights) != Rights.INCENTIVE.value,
            col(JournalEntry.posted_at) < until,
        )
    )  # fmt: skip
    rows = [tuple(row) for row in session.execute(wanted)]
    return pl.DataFrame(rows, schema=_SCHEMA, orient="row")


def _sums(moves: pl.DataFrame) -> dict[str, int]:
    summed = moves.group_by("account").agg(pl.col("mg").sum()).filter(pl.col("mg") != 0).sort("account")
    return dict(summed.iter_rows())
