"""Journal entries as frames. Pure.

    issue    activity of the canonical platform  ->  pending of the subject     when a sealed window is cleared
    hold     pending of the subject              ->  held of the subject        when the window is final
    reverse  wherever the subject's grams are    ->  activity of the platform   when a later version takes an act back
    adjust   the same, a part of an event        ->  activity of the platform   when staff take a part of it back; or from the
             activity of one platform to that of another, when the act is found to be the other's
    forfeit  pending, held                       ->  forfeited of the subject   when the person is erased
    reserve  held of the subject                 ->  reserved of the subject    when a participant reserves grams
    use      reserved of the subject             ->  redeemed, transferred or retired of the subject at the participant,
                                                     and back to held what was reserved and not used
    release  reserved of the subject             ->  held of the subject        when a reservation is voided or runs out
    lock     pending or held of the subject      ->  locked of the subject      when a dispute about the act is opened
    unlock   locked of the subject               ->  pending, or held if final  when it is over, or the act is taken back
    settle   held of the subject                 ->  owed of the platform       what was taken back while it was reserved
    replace  transferred of a subject at the one ->  owed of the platform       who owes delivers grams of its pool
    draw     buffer of the hub                   ->  owed of the platform       who owes cannot
    pool     held of the subject                 ->  issued of the subject at   when grams are pooled into a block
                                                     the market
    retire   issued of the subject at the market ->  retired of the subject there   when the block is retired

A reversal whose grams are used takes them from `owed` of the platform that reported the act: the only account beside
`activity` that may be below zero. A use is never undone.

Every entry's postings sum to zero, for each of a gram's two rights; what was posted is never edited. Masses are whole
milligrams. A posting names the window whose grams it moves (a reversal: the window that issued them); its entry names the
window it was posted in.
"""

from collections.abc import Sequence

import polars as pl

from standards.uses import Rights, Use

ENTRY_SCHEMA = {
    "kind": pl.String(),
    "reason": pl.String(),
    "window_id": pl.Int64(),
    "source_id": pl.Int64(),
    "reverses": pl.Int64(),
}
SIDE_SCHEMA = {
    "kind": pl.String(),
    "source_id": pl.Int64(),
    "line": pl.Int64(),
    "account_kind": pl.String(),
    "subject_id": pl.Int64(),
    "platform": pl.String(),
    "window_id": pl.Int64(),
    "vintage": pl.Int64(),
    "rights": pl.String(),
    "mg": pl.Int64(),
}
LOT_SCHEMA = {"window_id": pl.Int64(), "vintage": pl.Int64(), "rights": pl.String(), "mg": pl.Int64()}
Posted = tuple[pl.DataFrame, pl.DataFrame]
"""Entries (ENTRY_SCHEMA) and their sides (SIDE_SCHEMA)."""
HUB = "hub"
"""Whose the buffer is."""
USED_AS = {Use.REDEEM: "redeemed", Use.TRANSFER: "transferred", Use.RETIRE: "retired"}


def vintage_of(start_at: pl.Expr) -> pl.Expr:
    """Return the day of an act in Asia/Shanghai as the number yyyymmdd."""
    local = start_at.dt.convert_time_zone("Asia/Shanghai")
    return (local.dt.year() * 10_000 + local.dt.month().cast(pl.Int32) * 100 + local.dt.day()).cast(pl.Int64)


def issue(events: pl.DataFrame, window_id: int) -> Posted:
    """Enter the counted events of a window: grams appear at the person, pending, against the platform's activity.

    Args:
        events: event_id, subject_id, start_at, mg, platform (the canonical record's); events of 0 mg are left out.

    Returns:
        Entries (ENTRY_SCHEMA) and their sides (SIDE_SCHEMA), two sides an entry.
    """
    counted = events.filter(pl.col("mg") > 0).with_columns(vintage=vintage_of(pl.col("start_at")))
    return _entries(counted, "issue", "cleared", window_id), _two_sides(
        counted, "issue", window_id, source="activity", target="pending"
    )


def hold(pending: pl.DataFrame, window_id: int, *, buffer_permille: int = 0) -> Posted:
    """Enter that a final window's pending grams are now held: one entry a subject, two or three sides a vintage.

    Args:
        pending: subject_id, vintage, mg (balance of `pending` in that window, not zero).
        buffer_permille: of them, what goes to the hub's buffer; rounded down.
    """
    people = pending.select("subject_id").unique(maintain_order=True).rename({"subject_id": "event_id"})
    line = (pl.int_range(pl.len()).over("subject_id") * 3).alias("line")
    base = pending.sort("subject_id", "vintage").select(
        pl.col("subject_id"), pl.col("vintage"), pl.col("mg"), line.cast(pl.Int64),
        kept=pl.col("mg").clip(0) * buffer_permille // 1000,
    )  # fmt: skip
    owner, hub = pl.col("subject_id"), pl.lit(None, pl.Int64())
    sides = [
        base.with_columns(account_kind=pl.lit("pending"), mg=-pl.col("mg"), owner=owner, platform=pl.lit(None, pl.String())),
        base.with_columns(
            account_kind=pl.lit("held"), mg=pl.col("mg") - pl.col("kept"), line=pl.col("line") + 1, owner=owner,
            platform=pl.lit(None, pl.String()),
        ),
        base.filter(pl.col("kept") > 0).with_columns(
            account_kind=pl.lit("buffer"), mg=pl.col("kept"), line=pl.col("line") + 2, owner=hub, platform=pl.lit(HUB),
        ),
    ]  # fmt: skip
    frame = pl.concat(sides).with_columns(
        kind=pl.lit("hold"),
        source_id=pl.col("subject_id"),
        subject_id=pl.col("owner"),
        window_id=pl.lit(window_id, pl.Int64()),
        rights=pl.lit(Rights.BOTH.value),
    )
    return _entries(people, "hold", "window_final", window_id), frame.select(list(SIDE_SCHEMA))


def reverse(issued: pl.DataFrame, window_id: int, reason: str, *, kind: str = "reverse") -> Posted:
    """Enter reversals of issue entries, out of wherever the grams are now.

    Args:
        issued: event_id (the entry's source), entry_id (of the issue), subject_id, platform, issue_window, vintage, mg (to
            take back), held_as; and of the mg how much is free to be taken from that account: `free` (both rights
            together), `free_incentive`, `free_attribute` (parted ones). The platform owes the rest.
        kind: "adjust" where it is a part of what is left of the event.
    """
    entries = _entries(issued, kind, reason, window_id).with_columns(reverses=issued["entry_id"])
    both = pl.min_horizontal("mg", "free")
    rest = pl.col("mg") - both
    incentive, attribute = (pl.min_horizontal(rest, f"free_{word}") for word in ("incentive", "attribute"))
    owed = pl.min_horizontal(rest - incentive, rest - attribute)
    parts = (
        ("own", Rights.BOTH, both),
        ("activity", Rights.BOTH, -pl.col("mg")),
        ("own", Rights.INCENTIVE, incentive),
        ("own", Rights.ATTRIBUTE, attribute),
        ("owed", Rights.BOTH, owed),
        ("owed", Rights.INCENTIVE, rest - incentive - owed),
        ("owed", Rights.ATTRIBUTE, rest - attribute - owed),
    )
    sides = []
    for line, (account, rights, mg) in enumerate(parts):
        owned = account == "own"
        sides.append(
            issued.select(
                kind=pl.lit(kind),
                source_id=pl.col("event_id"),
                line=pl.lit(line, pl.Int64()),
                account_kind=pl.col("held_as") if owned else pl.lit(account),
                subject_id=pl.col("subject_id") if owned else pl.lit(None, pl.Int64()),
                platform=pl.lit(None, pl.String()) if owned else pl.col("platform"),
                window_id=pl.col("issue_window"),
                vintage=pl.col("vintage").cast(pl.Int64()),
                rights=pl.lit(rights.value),
                mg=-mg,
            ).filter(pl.col("mg") != 0)
        )
    return entries, pl.concat(sides).cast(pl.Schema(SIDE_SCHEMA))


def reattribute(issued: pl.DataFrame, number: int, to_platform: str, window_id: int, reason: str) -> Posted:
    """Enter that one issued act counts for another platform: its person's grams stay where they are.

    Args:
        issued: as for `reverse`, one row; `platform` is the one that it counted for.
    """
    (row,) = issued.iter_rows(named=True)
    lot = issued.select(
        window_id="issue_window", vintage="vintage", rights=pl.lit(Rights.BOTH.value), mg="mg"
    ).cast(pl.Schema(LOT_SCHEMA))  # fmt: skip
    sides = [side("activity", lot, +1, platform=row["platform"]), side("activity", lot, -1, platform=to_platform)]
    entries, moved = move("adjust", reason, number, window_id, sides)
    return entries.with_columns(reverses=pl.lit(row["entry_id"], pl.Int64())), moved


def forfeit(balances: pl.DataFrame, subject_id: int, window_id: int) -> Posted:
    """Enter that nobody can use these grams any more: one entry for a person who is erased, two sides a balance.

    Args:
        balances: account_kind, window_id, vintage, rights, mg (not zero), in a fixed order.
    """
    person = pl.DataFrame({"event_id": [subject_id] if len(balances) else []}, schema={"event_id": pl.Int64()})
    base = balances.with_columns(
        kind=pl.lit("forfeit"), source_id=pl.lit(subject_id, pl.Int64()), subject_id=pl.lit(subject_id, pl.Int64()),
        line=pl.int_range(pl.len(), dtype=pl.Int64()) * 2, platform=pl.lit(None, pl.String()),
    )  # fmt: skip
    sides = [
        base.with_columns(mg=-pl.col("mg")),
        base.with_columns(account_kind=pl.lit("forfeited"), line=pl.col("line") + 1),
    ]
    return _entries(person, "forfeit", "erased", window_id), pl.concat(sides).select(list(SIDE_SCHEMA))


def move(kind: str, reason: str, source_id: int, window_id: int, sides: Sequence[pl.DataFrame]) -> Posted:
    """Enter one movement between accounts.

    Args:
        sides: what `side` gives.
    """
    cause = pl.DataFrame({"event_id": [source_id]}, schema={"event_id": pl.Int64()})
    moved = pl.concat(sides).filter(pl.col("mg") != 0)
    moved = moved.with_columns(
        kind=pl.lit(kind), source_id=pl.lit(source_id, pl.Int64()), line=pl.int_range(pl.len(), dtype=pl.Int64())
    )
    return _entries(cause, kind, reason, window_id), moved.select(list(SIDE_SCHEMA))


def side(
    account: str, lots: pl.DataFrame, sign: int, *, subject_id: int | None = None, platform: str | None = None
) -> pl.DataFrame:
    """Return lots (LOT_SCHEMA) as sides of one account, with the sign of +1 (onto it) or -1 (from it)."""
    return lots.select(
        account_kind=pl.lit(account),
        subject_id=pl.lit(subject_id, pl.Int64()),
        platform=pl.lit(platform, pl.String()),
        window_id=pl.col("window_id"),
        vintage=pl.col("vintage"),
        rights=pl.col("rights"),
        mg=pl.col("mg") * sign,
    )


def _entries(rows: pl.DataFrame, kind: str, reason: str, window_id: int) -> pl.DataFrame:
    return rows.select(
        kind=pl.lit(kind),
        reason=pl.lit(reason),
        window_id=pl.lit(window_id, pl.Int64()),
        source_id=pl.col("event_id"),
        reverses=pl.lit(None, pl.Int64()),
    )


def _two_sides(rows: pl.DataFrame, kind: str, window_id: int | None, *, source: str, target: str) -> pl.DataFrame:
    whose = pl.col("issue_window") if window_id is None else pl.lit(window_id, pl.Int64())
    parts = []
    for line, account, sign in ((0, source, -1), (1, target, 1)):
        owned = account != "activity"
        parts.append(
            rows.select(
                kind=pl.lit(kind),
                source_id=pl.col("event_id"),
                line=pl.lit(line, pl.Int64()),
                account_kind=pl.lit(account),
                subject_id=pl.col("subject_id") if owned else pl.lit(None, pl.Int64()),
                platform=pl.lit(None, pl.String()) if owned else pl.col("platform"),
                window_id=whose.cast(pl.Int64()),
                vintage=pl.col("vintage").cast(pl.Int64()),
                rights=pl.lit(Rights.BOTH.value),
                mg=pl.col("mg") * sign,
            )
        )
    return pl.concat(parts)
