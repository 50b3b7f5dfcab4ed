"""The records of an audit, a range at a time, with all that the hub made of them. I/O: reads the database.

Most checks ask about one record, its translation, its decisions, its event and the entry that issued its grams, and all
of these carry the record's number. So the tables are read once, range by range, side by side, and every such check looks
at the same columns. Ranges can be looked at by several processes.
"""

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import polars as pl

from hub.audit.books import Books
from hub.audit.report import Offenders

PAGE_RECORDS = 250_000
"""About 150 MB while all checks look at it."""
FIRST, LAST = -(2**63), 2**63 - 1
_INT, _TEXT = pl.Int64(), pl.String()
_SOURCES = {
    "record_id": _INT, "subject_id": _INT, "platform": _TEXT, "window_id": _INT, "link_id": _TEXT, "received_us": _INT,
}  # fmt: skip
_REDUCTIONS = {
    "record_id": _INT, "subject_id": _INT, "platform": _TEXT, "window_id": _INT, "bucket": _INT, "role": _TEXT,
    "behaviour": _TEXT, "start_us": _INT, "precision": _TEXT, "quantity_micro": _INT, "unit": _TEXT,
    "region": pl.Int32(), "reference_mg": _INT, "factor_id": _TEXT, "methodology": _TEXT, "mapping": _TEXT,
}  # fmt: skip
_DECISIONS = {
    "record_id": _INT, "window_id": _INT, "subject_id": _INT, "verdict": _TEXT, "reason": _TEXT, "policy": _TEXT,
    "provisional": pl.Boolean(),
}  # fmt: skip
_EVENTS = {
    "event_id": _INT, "window_id": _INT, "subject_id": _INT, "behaviour": _TEXT, "start_us": _INT, "mg": _INT,
    "policy": _TEXT, "methodology": _TEXT, "provisional": pl.Boolean(),
}  # fmt: skip
_ISSUES = {
    "entry_id": _INT, "event_id": _INT, "window_id": _INT, "posted_us": _INT, "kind": _TEXT, "subject_id": _INT,
    "vintage": _INT, "mg": _INT,
}  # fmt: skip


@dataclass(slots=True, kw_only=True)
class Seen:
    """What a check saw of one range: what is wrong, and numbers that add up over all ranges."""

    wrong: Offenders = field(default_factory=Offenders)
    counts: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, kw_only=True)
class Page:
    """What there is about the records from `first` to `last`; each table is read when it is asked for."""

    books: Books
    first: int
    last: int

    @cached_property
    def sources(self) -> pl.DataFrame:
        """The source records."""
        return self._read("source_record", _SOURCES)

    @cached_property
    def reductions(self) -> pl.DataFrame:
        """What they were translated into."""
        return self._read("reduction_record", _REDUCTIONS)

    @cached_property
    def decisions(self) -> pl.DataFrame:
        """What was decided about them, in whatever window."""
        return self._read("decision", _DECISIONS)

    @cached_property
    def events(self) -> pl.DataFrame:
        """The events that are named by them."""
        return self._read("event", _EVENTS)

    @cached_property
    def issues(self) -> pl.DataFrame:
        """The lines of the entries that issued the grams of those events."""
        sql = (
            f"SELECT e.entry_id, e.source_id, e.window_id, {self.books.micros('e.posted_at')}, a.kind, a.subject_id, "
            "p.vintage, p.mg FROM clearing_window w JOIN journal_entry e ON e.window_id = w.window_id "
            f"AND e.kind = 'issue' AND e.source_id BETWEEN {self.first} AND {self.last} "
            "LEFT JOIN posting p ON p.entry_id = e.entry_id LEFT JOIN account a ON a.account_id = p.account_id"
        )
        return self.books.frame(sql, _ISSUES)

    def _read(self, table: str, schema: dict[str, Any]) -> pl.DataFrame:
        key = next(iter(schema))
        sql = f"SELECT {', '.join(schema)} FROM {table} WHERE {key} BETWEEN {self.first} AND {self.last}"
        return self.books.frame(sql, schema).sort(key)


def page_bounds(books: Books) -> list[tuple[int, int]]:
    """Cut all numbers into ranges with about so many records each; the outermost have no end."""
    records = books.count("source_record")
    cuts = [
        number
        for (number,) in books.rows(
            "SELECT record_id FROM (SELECT record_id, ROW_NUMBER() OVER (ORDER BY record_id) AS place "
            f"FROM source_record) x WHERE place % {PAGE_RECORDS} = 0 AND place < {records} ORDER BY record_id"
        )
    ]
    return list(zip([FIRST, *(cut + 1 for cut in cuts)], [*cuts, LAST], strict=True))
