"""Invariants 2 and 3: an event counts once, and nobody does two things at once. I/O: reads the database."""

from collections import Counter
from collections.abc import Iterator

import polars as pl

from hub.audit.books import Books
from hub.audit.consents import at_clearing, without_consent
from hub.audit.pages import FIRST, Page, Seen
from hub.audit.report import Finding, Offenders
from standards.behaviours import load_behaviours
from standards.policy import load_policy
from standards.schema import Precision

MOST_EVENTS = 20_000_000
"""Events that are held in memory at once, about 2 GB."""
_AMOUNT = {"event_id": pl.Int64(), "mg": pl.Int64()}
_SHANGHAI = "Asia/Shanghai"
_DECIDED = ["record_id", "window_id"]
_ACTS = {
    "event_id": pl.Int64(),
    "subject_id": pl.Int64(),
    "behaviour": pl.String(),
    "start_us": pl.Int64(),
    "end_us": pl.Int64(),
    "policy": pl.String(),
}


def events_count_once(books: Books) -> Finding:
    """Look for events with more than one counted decision."""
    wrong = Offenders()
    for event, decisions in books.rows(
        "SELECT event_id, COUNT(*) FROM decision WHERE verdict = 'counted' "
        "GROUP BY event_id HAVING COUNT(*) > 1 ORDER BY event_id"
    ):
        wrong.add(f"event {event} has {decisions} counted decisions")
    counted = books.count("decision WHERE verdict = 'counted'")
    return Finding(figure=f"{counted:,} counted decisions on {books.count('event'):,} events", wrong=wrong)


def decisions_sum_to_events(books: Books) -> Finding:
    """Set the amount of every event against the sum of its decisions."""
    wrong, events, total = Offenders(), 0, 0
    for part in _parts(books, "event_id"):
        told = books.frame(f"SELECT event_id, mg FROM event WHERE {part}", _AMOUNT)
        decided = books.frame(
            f"SELECT event_id, counted_mg FROM decision WHERE counted_mg <> 0 AND event_id IS NOT NULL AND {part}",
            _AMOUNT,
        ).rename({"mg": "decided_mg"})
        # Nearly all events have one decision that counts: only where there are more is anything summed up.
        if decided["event_id"].is_duplicated().any():
            decided = decided.group_by("event_id").sum()
        sums = told.join(decided, on="event_id", how="left").with_columns(pl.col("decided_mg").fill_null(0))
        for event, mg, counted in sums.filter(pl.col("mg") != pl.col("decided_mg")).sort("event_id").iter_rows():
            wrong.add(f"event {event} has {mg:,} mg, its decisions {counted:,} mg")
        events, total = events + len(told), total + int(told["mg"].sum())
    for record, mg in books.rows(
        "SELECT d.record_id, d.counted_mg FROM decision d LEFT JOIN event v ON v.event_id = d.event_id "
        "WHERE d.counted_mg <> 0 AND (v.event_id IS NULL OR d.verdict <> 'counted') ORDER BY d.record_id"
    ):
        wrong.add(f"the decision about record {record} counts {int(mg):,} mg of no event")
    return Finding(figure=f"{events:,} events of {total:,} mg", wrong=wrong)


def _parts(books: Books, column: str) -> list[str]:
    """Cut the events into as many parts as memory asks for; return a condition for each."""
    parts = books.count("event") // MOST_EVENTS + 1
    return [f"ABS({column}) % {parts} = {part}" for part in range(parts)] if parts > 1 else ["1 = 1"]


def cleared_records_are_decided(page: Page) -> Seen:
    """Look for records of cleared windows without a settled decision, and for settled decisions elsewhere."""
    books, settled = page.books, page.decisions.filter(~pl.col("provisional"))
    windows = books.windows
    seen = Seen(counts=Counter(decisions=len(settled)))
    cleared = page.sources.join(windows.filter("is_cleared"), on="window_id", how="semi")
    for record, window in cleared.join(settled, on=["record_id", "window_id"], how="anti")[_DECIDED].iter_rows():
        seen.wrong.add(f"record {record} of window {window} has no settled decision")
    for record, window in settled.join(windows.filter(~pl.col("is_open")), on="window_id", how="anti")[
        _DECIDED
    ].iter_rows():
        seen.wrong.add(f"the decision about record {record} is settled in window {window}, which is open")
    came = page.sources.select("record_id", "window_id")
    if len(settled.join(came, on="record_id", how="semi")) > len(settled.join(came, on=_DECIDED, how="semi")):
        seen.wrong.add_all(_decided_elsewhere(page))
    if page.first == FIRST:
        seen.wrong.add_all(_not_decided_anew(books))
    return seen


def _decided_elsewhere(page: Page) -> Iterator[str]:
    """Find decisions of a window that the record did not come in, and whose event that window did not take back."""
    for record, window in page.books.rows(
        "SELECT d.record_id, d.window_id FROM decision d JOIN source_record s ON s.record_id = d.record_id "
        "WHERE NOT d.provisional AND d.window_id <> s.window_id AND d.record_id BETWEEN :first AND :last "
        "AND NOT EXISTS (SELECT 1 FROM decision b "
        "JOIN event_reversal x ON x.event_id = b.event_id AND x.window_id = d.window_id "
        "WHERE b.record_id = d.record_id AND b.window_id < d.window_id) ORDER BY d.record_id, d.window_id",
        first=page.first,
        last=page.last,
    ):
        yield f"record {record} was decided anew in window {window}, which did not take its event back"


def _not_decided_anew(books: Books) -> Iterator[str]:
    """Find reports of an event that was taken back which were not decided anew then.

    Of reversals that are older than deciding anew nothing is asked, nor of those by staff (named by the event's own record),
    nor of the record that the event is named by: it falls with its event.
    """
    for record, event, window in books.rows(
        "SELECT b.record_id, b.event_id, x.window_id FROM event_reversal x JOIN decision b ON b.event_id = x.event_id "
        "JOIN source_record s ON s.record_id = b.record_id JOIN clearing_window w ON w.window_id = x.window_id "
        "LEFT JOIN decision n ON n.record_id = b.record_id AND n.window_id = x.window_id AND NOT n.provisional "
        "WHERE x.decided_anew IS NOT NULL AND x.by_record_id <> x.event_id AND NOT b.provisional AND b.window_id < x.window_id "
        "AND b.record_id <> b.event_id AND b.verdict <> 'rejected' AND b.reason <> 'declared_only' "
        "AND n.record_id IS NULL "
        "AND (s.superseded_by IS NULL OR s.superseded_by > w.last_seq) ORDER BY b.record_id, x.window_id"
    ):
        yield f"record {record} was not decided anew in window {window}, which took its event {event} back"


def counted_events_are_issued(page: Page) -> Seen:
    """Set every settled event against the entry that issued its grams, and every such entry against its event."""
    counted = page.events.filter(~pl.col("provisional") & (pl.col("mg") > 0))
    lines = page.issues.filter((pl.col("kind") != "activity").fill_null(True))
    entries = lines.group_by("event_id").agg(
        one_entry=pl.col("entry_id").min() == pl.col("entry_id").max(), sides=pl.col("kind").count(),
        issued_mg=pl.col("mg").sum(),
        owner_id=pl.col("subject_id").min(), vintage=pl.col("vintage").min(),
    )  # fmt: skip
    told = page.reductions.select("platform", "bucket", event_id="record_id")
    events = counted.join(entries, on="event_id", how="left").join(told, on="event_id", how="left")
    seen = Seen()
    missing = events.filter(pl.col("one_entry").is_null())
    refused = without_consent(page.books, at_clearing(page.books).join_onto(missing), "credit", "event_id")
    for event in missing.join(refused, on="event_id", how="anti")["event_id"].sort():
        seen.wrong.add(f"the grams of event {event} were not issued")
    present = events.filter(pl.col("one_entry").is_not_null())
    act = pl.from_epoch("start_us", time_unit="us").dt.replace_time_zone("UTC").dt.convert_time_zone(_SHANGHAI)
    day = act.dt.year().cast(pl.Int64) * 10_000 + act.dt.month().cast(pl.Int64) * 100 + act.dt.day()
    right = (
        pl.col("one_entry") & (pl.col("sides") == 1) & (pl.col("issued_mg") == pl.col("mg"))
        & (pl.col("owner_id") == pl.col("subject_id")) & (pl.col("vintage") == day)
    )  # fmt: skip
    for event in present.filter(~right.fill_null(False))["event_id"].sort():
        seen.wrong.add(f"event {event} was not issued once, whole, to its person and day")
    issued = page.issues.select("entry_id", "event_id", "window_id").unique()
    strangers = issued.join(counted, on=["event_id", "window_id"], how="anti").select("entry_id", "event_id")
    for entry, event in [
        *strangers.sort("entry_id").iter_rows(),
        *(_of_no_window(page.books) if page.first == FIRST else ()),
    ]:
        seen.wrong.add(f"entry {entry} issues grams of event {event}, which is none of its window")
    seen.counts["events"] += len(present)
    return seen


def _of_no_window(books: Books) -> Iterator[tuple[int, int]]:
    yield from books.rows(
        "SELECT e.entry_id, e.source_id FROM journal_entry e LEFT JOIN clearing_window w ON w.window_id = e.window_id "
        "WHERE e.kind = 'issue' AND w.window_id IS NULL ORDER BY e.entry_id"
    )


def no_two_acts_at_once(books: Books) -> Finding:
    """Look for two events that count, of one person and exclusivity group, that overlap by more than is tolerated."""
    groups = {code: behaviour.group for code, behaviour in load_behaviours().items() if behaviour.group is not None}
    wrong, acts = Offenders(), 0
    for part in _parts(books, "v.subject_id"):
        rows = books.frame(
            "SELECT v.event_id, v.subject_id, v.behaviour, v.start_us, v.end_us, v.policy FROM event v "
            "JOIN reduction_record r ON r.record_id = v.event_id "
            "LEFT JOIN event_reversal x ON x.event_id = v.event_id "
            "WHERE NOT v.provisional AND v.mg > 0 AND x.event_id IS NULL AND v.end_us > v.start_us "
            f"AND r.precision <> '{Precision.DAY}' AND {part}",
            _ACTS,
        ).filter(pl.col("behaviour").is_in(list(groups)))
        acts += len(rows)
        wrong.add_all(_clashes(rows, groups))
    return Finding(figure=f"{acts:,} acts in {len(set(groups.values()))} exclusivity groups", wrong=wrong)


def _clashes(acts: pl.DataFrame, groups: dict[str, str]) -> list[str]:
    """Name the pairs of overlapping acts: first what touches at all, then pair by pair within it."""
    if acts.is_empty():
        return []
    who = ["subject_id", "group"]
    policies = {name: load_policy(name) for name in acts["policy"].unique().sort()}
    named = acts.with_columns(
        group=pl.col("behaviour").replace_strict(groups, return_dtype=pl.String),
        slack=pl.col("policy").replace_strict(
            {name: policy.exclusive_slack_s * 1_000_000 for name, policy in policies.items()}, return_dtype=pl.Int64
        ),
        share=pl.col("policy").replace_strict(
            {name: policy.exclusive_permille for name, policy in policies.items()}, return_dtype=pl.Int64
        ),
    ).sort(*who, "start_us", "event_id")
    before = pl.col("end_us").cum_max().shift(1).over(who)
    apart = (pl.col("start_us") >= before).fill_null(True)
    named = named.with_columns(knot=apart.cum_sum())
    knotted = named.filter(pl.len().over("knot") > 1)
    pairs = knotted.join(knotted, on="knot", suffix="_2").filter(pl.col("event_id") < pl.col("event_id_2"))
    common = pl.min_horizontal("end_us", "end_us_2") - pl.max_horizontal("start_us", "start_us_2")
    shorter = pl.min_horizontal(pl.col("end_us") - pl.col("start_us"), pl.col("end_us_2") - pl.col("start_us_2"))
    clash = (common > pl.max_horizontal("slack", "slack_2")) & (
        common // 1000 * 1000 > shorter // 1000 * pl.max_horizontal("share", "share_2")
    )
    found = pairs.filter(clash).select("event_id", "event_id_2").sort("event_id", "event_id_2")
    return [f"events {one} and {other} of one person are at one time" for one, other in found.iter_rows()]
