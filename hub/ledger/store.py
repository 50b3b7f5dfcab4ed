"""The ledger's store. I/O: the database, inside the caller's transaction.

Durable when that transaction commits. Entries are only appended; the unique key (kind, window, source) makes posting
the same cause twice an error instead of a second entry.
"""

import json
from datetime import datetime
from typing import Any, cast

import polars as pl
from sqlalchemy import CursorResult, text
from sqlalchemy.orm import Session

from hub.columns import instant_text
from hub.db import INSERT_CHUNK, append_frame, is_postgresql, load_by_ids, load_frame, next_sequence
from hub.errors import IntegrityBroken
from hub.ledger.postings import LOT_SCHEMA
from standards.uses import Rights

ACCOUNT_SCHEMA = {
    "account_id": pl.Int64(),
    "account_kind": pl.String(),
    "subject_id": pl.Int64(),
    "platform": pl.String(),
}
KEPT = ("held", "reserved", "locked", "issued", "transferred", "forfeited", "buffer")
"""Accounts whose balances are kept beside their postings: grams that somebody could still spend, or take back."""
LOT = ["account_id", "window_id", "vintage", "rights"]


def append_entries(session: Session, entries: pl.DataFrame, sides: pl.DataFrame, now: datetime) -> int:
    """Post entries with their sides; returns how many entries.

    Args:
        entries: postings.ENTRY_SCHEMA. sides: postings.SIDE_SCHEMA; the sides of each entry sum to zero.
    """
    if entries.is_empty():
        return 0
    entries = entries.with_columns(entry_id=pl.Series(next_sequence(session, "entry", len(entries)), dtype=pl.Int64()))
    sides = sides.join(entries.select("kind", "source_id", "entry_id"), on=["kind", "source_id"], how="inner")
    for parted in (Rights.ATTRIBUTE, Rights.INCENTIVE):
        of_right = sides.filter(pl.col("rights") != parted.rest.value).group_by("entry_id").agg(pl.col("mg").sum())
        if (of_right["mg"] != 0).any():
            raise AssertionError(f"{(of_right['mg'] != 0).sum()} entries do not sum to zero")
    accounts = _require_accounts(session, sides)
    sides = sides.join(accounts, on=["account_kind", "subject_id", "platform"], how="inner", nulls_equal=True)
    append_frame(session, "journal_entry", entries.with_columns(posted_at=pl.lit(instant_text(session, now))))
    append_frame(
        session, "posting", sides.select("entry_id", "line", "account_id", "window_id", "vintage", "rights", "mg")
    )
    move_balances(session, sides.filter(pl.col("account_kind").is_in(KEPT)))
    _note_debts(session, entries, sides)
    return len(entries)


def _note_debts(session: Session, entries: pl.DataFrame, sides: pl.DataFrame) -> None:
    """Remember by whom and of whose grams is owed what a reversal took from `owed`."""
    owed = sides.filter(pl.col("kind").is_in(["reverse", "adjust"]) & (pl.col("account_kind") == "owed"))
    if owed.is_empty():
        return
    whose = load_by_ids(
        session, "SELECT p.entry_id, a.subject_id FROM posting p JOIN account a USING (account_id) "
        "WHERE a.subject_id IS NOT NULL AND p.entry_id IN :ids GROUP BY p.entry_id, a.subject_id",
        {"reverses": pl.Int64(), "owner": pl.Int64()},
        entries.filter(pl.col("entry_id").is_in(owed["entry_id"].implode()))["reverses"].to_list(),
    )  # fmt: skip
    debts = owed.join(entries.select("entry_id", "reverses"), on="entry_id").join(whose, on="reverses")
    append_frame(
        session, "debt",
        debts.select(
            "entry_id", "rights", "platform", "window_id", "vintage", subject_id="owner", mg=-pl.col("mg"),
            left_mg=-pl.col("mg"),
        ),
    )  # fmt: skip


def move_balances(session: Session, sides: pl.DataFrame) -> None:
    """Add sides of accounts of KEPT to their balances, in one order so that two transactions never wait for each other.

    The database refuses a balance below zero: of two who spend the same grams, the second fails.
    """
    moved = sides.group_by(LOT).agg(pl.col("mg").sum()).filter(pl.col("mg") != 0).sort(LOT)
    # What goes out first: a balance that is only added to may not be there yet.
    out, into = moved.filter(pl.col("mg") < 0), moved.filter(pl.col("mg") > 0)
    taken = _change_balances(
        session, out, "UPDATE balance AS b SET mg = b.mg + u.mg FROM {rows} WHERE b.account_id = u.account_id "
        "AND b.window_id = u.window_id AND b.vintage = u.vintage AND b.rights = u.rights",
    )  # fmt: skip
    if taken != len(out):
        raise IntegrityBroken("grams were posted from a balance that does not exist; run `tanlian audit`")
    _change_balances(
        session, into, "INSERT INTO balance (account_id, window_id, vintage, rights, mg) SELECT u.* FROM {rows} "
        "WHERE true ON CONFLICT (account_id, window_id, vintage, rights) DO UPDATE SET mg = balance.mg + excluded.mg",
    )  # fmt: skip


def _change_balances(session: Session, lots: pl.DataFrame, sql: str) -> int:
    """Run a statement over lots (LOT and mg), which stand in it as the rows `u`; returns how many it changed."""
    names, changed = [*LOT, "mg"], 0
    for part in lots.select(names).iter_slices(INSERT_CHUNK):
        if is_postgresql(session):
            kinds = ("bigint", "integer", "integer", "text", "bigint")
            arrays = ", ".join(f"CAST(:{name} AS {kind}[])" for name, kind in zip(names, kinds, strict=True))
            rows = f"unnest({arrays}) AS u ({', '.join(names)})"
            params: dict[str, Any] = {name: part[name].to_list() for name in names}
        else:
            columns = ", ".join(f"json_extract(value, '$[{place}]') AS {name}" for place, name in enumerate(names))
            rows, params = f"(SELECT {columns} FROM json_each(:told)) AS u", {"told": json.dumps(part.rows())}
        changed += cast(CursorResult[Any], session.execute(text(sql.format(rows=rows)), params)).rowcount
    return changed


def load_lots(session: Session, subject_id: int, account_kind: str, *, hold: bool = False) -> pl.DataFrame:
    """Load a person's balances of one kind that are above zero: postings.LOT_SCHEMA, the oldest acts first.

    Args:
        hold: let nobody else spend them before this transaction ends.
    """
    locked = " FOR UPDATE OF b" if hold and is_postgresql(session) else ""
    sql = (
        "SELECT b.window_id, b.vintage, b.rights, b.mg FROM balance b JOIN account a ON a.account_id = b.account_id "
        # Held in the order of `load_issued`: two who take a person's balances in two orders would wait for each other.
        f"WHERE a.subject_id = :s AND a.kind = :k ORDER BY b.account_id, b.window_id, b.vintage, b.rights{locked}"
    )
    lots = load_frame(session, sql, LOT_SCHEMA, s=subject_id, k=account_kind)
    return lots.filter(pl.col("mg") > 0).sort("vintage", "window_id", "rights")


def load_pending(session: Session, window_id: int) -> pl.DataFrame:
    """Load what is pending in a window: subject_id, vintage, mg; balances of zero are left out."""
    sql = (
        # Summed before it is joined: there are fewer sums than postings, whatever the planner knows of either.
        "SELECT a.subject_id, p.vintage, p.mg FROM (SELECT account_id, vintage, CAST(SUM(mg) AS BIGINT) AS mg FROM posting "
        "WHERE window_id = :w GROUP BY account_id, vintage HAVING SUM(mg) <> 0) p JOIN account a USING (account_id) "
        "WHERE a.kind = 'pending' ORDER BY a.subject_id, p.vintage"
    )
    schema = {"subject_id": pl.Int64(), "vintage": pl.Int64(), "mg": pl.Int64()}
    return load_frame(session, sql, schema, w=window_id)


def load_issued(session: Session, event_ids: list[int]) -> pl.DataFrame:
    """Load the issue entries of events as `postings.reverse` wants them; events that issued nothing are left out.

    What was taken back of an event before is off its `mg`, and its platform is the one that it counts for now. The grams of
    one person, window and vintage are alike, so what is free is given to one event after the other.
    """
    sql = (
        "SELECT e.source_id, e.entry_id, s.subject_id, COALESCE(j.platform, f.platform), ps.window_id, ps.vintage, "
        "ps.mg - COALESCE(j.taken_mg, 0), "
        "CASE WHEN q.erased_at IS NOT NULL THEN 'forfeited' WHEN w.state = 'final' THEN 'held' ELSE 'pending' END "
        "FROM journal_entry e JOIN posting ps ON ps.entry_id = e.entry_id AND ps.line = 1 "
        "JOIN posting pf ON pf.entry_id = e.entry_id AND pf.line = 0 "
        "JOIN account s ON s.account_id = ps.account_id JOIN account f ON f.account_id = pf.account_id "
        "JOIN clearing_window w ON w.window_id = e.window_id LEFT JOIN person q ON q.subject_id = s.subject_id "
        "LEFT JOIN event_adjusted j ON j.event_id = e.source_id WHERE e.kind = 'issue' AND e.source_id IN :ids "
        "ORDER BY e.source_id"
    )
    schema = {
        "event_id": pl.Int64(), "entry_id": pl.Int64(), "subject_id": pl.Int64(), "platform": pl.String(),
        "issue_window": pl.Int64(), "vintage": pl.Int64(), "mg": pl.Int64(), "held_as": pl.String(),
    }  # fmt: skip
    issued = load_by_ids(session, sql, schema, event_ids)
    people = issued.filter(pl.col("held_as") != "pending")["subject_id"].unique().sort().to_list()
    locked = " FOR UPDATE OF b" if is_postgresql(session) else ""
    free_sql = (
        "SELECT a.subject_id, a.kind, b.window_id, b.vintage, b.rights, b.mg FROM balance b "
        "JOIN account a ON a.account_id = b.account_id WHERE a.kind IN ('held', 'forfeited') AND a.subject_id IN :ids "
        f"ORDER BY b.account_id, b.window_id, b.vintage, b.rights{locked}"
    )
    lot = {
        "subject_id": pl.Int64(), "held_as": pl.String(), "issue_window": pl.Int64(), "vintage": pl.Int64(),
        "rights": pl.String(), "left": pl.Int64(),
    }  # fmt: skip
    return _with_free(issued, load_by_ids(session, free_sql, lot, people))


def _with_free(issued: pl.DataFrame, lots: pl.DataFrame) -> pl.DataFrame:
    """Add `free`, `free_incentive` and `free_attribute`: what of each event's account is left after the events before it."""
    place = ["subject_id", "held_as", "issue_window", "vintage"]
    names = {Rights.BOTH: "free", Rights.INCENTIVE: "free_incentive", Rights.ATTRIBUTE: "free_attribute"}
    for rights, name in names.items():
        of_rights = lots.filter(pl.col("rights") == rights.value).select(*place, pl.col("left").alias(name))
        issued = issued.join(of_rights, on=place, how="left", maintain_order="left")
        issued = issued.with_columns(pl.col(name).fill_null(0))
    pending = pl.col("held_as") == "pending"
    before = (pl.col("mg").cum_sum() - pl.col("mg")).over(place)
    free = pl.when(pending).then("mg").otherwise((pl.col("free") - before).clip(0))
    issued = issued.with_columns(free=free)
    # The parted rights come after what is whole, so what the events before still needed beyond it is gone of them.
    beyond = pl.col("mg") - pl.min_horizontal("mg", "free")
    gone = (beyond.cum_sum() - beyond).over(place)
    return issued.with_columns((pl.col(name) - gone).clip(0) for name in ("free_incentive", "free_attribute"))


def load_usable(session: Session, subject_id: int) -> pl.DataFrame:
    """Load what a person has and has not used: account_kind, window_id, vintage, rights, mg; zeros are left out."""
    sql = (
        "SELECT a.kind, p.window_id, p.vintage, p.rights, CAST(SUM(p.mg) AS BIGINT) FROM posting p "
        "JOIN account a USING (account_id) WHERE a.subject_id = :s AND a.kind IN ('pending', 'held', 'reserved') "
        "GROUP BY a.kind, p.window_id, p.vintage, p.rights HAVING SUM(p.mg) <> 0 "
        "ORDER BY a.kind, p.window_id, p.vintage, p.rights"
    )
    schema = {"account_kind": pl.String(), **LOT_SCHEMA}
    return load_frame(session, sql, schema, s=subject_id)


def load_balances(session: Session, subject_id: int) -> dict[str, int]:
    """Return a person's grams by state, in milligrams: pending, held, and whatever else there is.

    A gram whose rights have parted is where its attribute is: that is the reduction; the incentive is the thanks for it.
    """
    rows = session.execute(
        text(
            "SELECT a.kind, CAST(COALESCE(SUM(p.mg), 0) AS BIGINT) FROM account a LEFT JOIN posting p "
            "ON p.account_id = a.account_id AND p.rights <> 'incentive' WHERE a.subject_id = :s GROUP BY a.kind"
        ),
        {"s": subject_id},
    )
    return {"pending": 0, "held": 0} | {kind: int(mg) for kind, mg in rows}


def total_held(session: Session) -> int:
    """Return the milligrams that all people hold."""
    sql = "SELECT COALESCE(SUM(mg), 0) FROM balance JOIN account USING (account_id) WHERE kind = 'held' AND rights <> 'incentive'"
    return int(session.execute(text(sql)).scalar_one())


def _require_accounts(session: Session, sides: pl.DataFrame) -> pl.DataFrame:
    """Return the account of each side's owner, opening those that are missing."""
    wanted = sides.select("account_kind", "subject_id", "platform").unique(maintain_order=True)
    known = _load_accounts(session, wanted)
    on = ["account_kind", "subject_id", "platform"]
    missing = wanted.join(known, on=on, how="anti", nulls_equal=True)
    if missing.is_empty():
        return known
    numbers = pl.Series("n", next_sequence(session, "account", len(missing)), dtype=pl.Int64())
    session.execute(
        text(
            "INSERT INTO account (account_id, kind, subject_id, platform) "
            "VALUES (:n, :account_kind, :subject_id, :platform) ON CONFLICT DO NOTHING"
        ),
        missing.with_columns(numbers).to_dicts(),
    )
    return _load_accounts(session, wanted)


def _load_accounts(session: Session, wanted: pl.DataFrame) -> pl.DataFrame:
    people = wanted["subject_id"].drop_nulls().unique().to_list()
    platforms = wanted["platform"].drop_nulls().unique().to_list()
    sql = "SELECT account_id, kind, subject_id, platform FROM account WHERE {} IN :ids"
    return pl.concat(
        [
            load_by_ids(session, sql.format("subject_id"), ACCOUNT_SCHEMA, people),
            load_by_ids(session, sql.format("subject_id IS NULL AND platform"), ACCOUNT_SCHEMA, platforms),
        ]
    )
