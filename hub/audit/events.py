"""Invariants 2 and 3: an event counts once, and nobody does two things at once. I/O: reads the database."""

from collections.abc import Iterator

import polars as pl

from hub.audit.books import Books
from hub.audit.consents import at_clearing, without_consent
from hub.audit.report import Finding, Offenders
from standards.behaviours import load_behaviours
from standards.policy import load_policy
from standards.schema import Precision

_SHANGHAI = "Asia/Shanghai"
_ISSUED = {
    "event_id": pl.Int64(),
    "subject_id": pl.Int64(),
    "platform": pl.String(),
    "behaviour": pl.String(),
    "start_us": pl.Int64(),
    "window_id": pl.Int64(),
    "bucket": pl.Int64(),
    "mg": pl.Int64(),
    "entries": pl.Int64(),
    "sides": pl.Int64(),
    "issued_mg": pl.Int64(),
    "owner_id": pl.Int64(),
    "vintage": pl.Int64(),
}
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
    wrong = Offenders()
    sums = "SELECT event_id, SUM(counted_mg) AS mg FROM decision WHERE event_id IS NOT NULL GROUP BY event_id"
    for event, mg, counted in books.rows(
        f"SELECT v.event_id, v.mg, COALESCE(d.mg, 0) FROM event v LEFT JOIN ({sums}) d ON d.event_id = v.event_id "
        "WHERE v.mg <> COALESCE(d.mg, 0) ORDER BY v.event_id"
    ):
        wrong.add(f"event {event} has {int(mg):,} mg, its decisions {int(counted):,} mg")
    for record, mg in books.rows(
        "SELECT d.record_id, d.counted_mg FROM decision d LEFT JOIN event v ON v.event_id = d.event_id "
        "WHERE d.counted_mg <> 0 AND (v.event_id IS NULL OR d.verdict <> 'counted') ORDER BY d.record_id"
    ):
        wrong.add(f"the decision about record {record} counts {int(mg):,} mg of no event")
    total = books.number("SELECT COALESCE(SUM(mg), 0) FROM event")
    return Finding(figure=f"{books.count('event'):,} events of {total:,} mg", wrong=wrong)


def cleared_records_are_decided(books: Books) -> Finding:
    """Look for records of cleared windows without a settled decision, and for settled decisions elsewhere."""
    wrong = Offenders()
    for record, window in books.rows(
        "SELECT s.record_id, s.window_id FROM source_record s JOIN clearing_window w ON w.window_id = s.window_id "
        "LEFT JOIN decision d ON d.record_id = s.record_id AND d.window_id = s.window_id AND NOT d.provisional "
        "WHERE w.cleared_at IS NOT NULL AND d.record_id IS NULL ORDER BY s.record_id"
    ):
        wrong.add(f"record {record} of window {window} has no settled decision")
    for record, window in books.rows(
        "SELECT d.record_id, d.window_id FROM decision d LEFT JOIN clearing_window w ON w.window_id = d.window_id "
        "WHERE NOT d.provisional AND (w.window_id IS NULL OR w.state = 'open') ORDER BY d.record_id"
    ):
        wrong.add(f"the decision about record {record} is settled in window {window}, which is open")
    wrong.add_all(_decided_elsewhere(books))
    settled = books.count("decision WHERE NOT provisional")
    windows = books.count("clearing_window WHERE cleared_at IS NOT NULL")
    return Finding(figure=f"{settled:,} settled decisions in {windows:,} cleared windows", wrong=wrong)


def _decided_elsewhere(books: Books) -> Iterator[str]:
    """Find decisions of a window that the record did not come in, and whose event that window did not take back; and the
    other way round, reports of an event that was taken back which were not decided anew then.

    Of reversals that are older than deciding anew nothing is asked, nor of those by staff (named by the event's own record),
    nor of the record that the event is named by: it falls with its event.
    """
    for record, window in books.rows(
        "SELECT d.record_id, d.window_id FROM decision d JOIN source_record s ON s.record_id = d.record_id "
        "WHERE NOT d.provisional AND d.window_id <> s.window_id AND NOT EXISTS (SELECT 1 FROM decision b "
        "JOIN event_reversal x ON x.event_id = b.event_id AND x.window_id = d.window_id "
        "WHERE b.record_id = d.record_id AND b.window_id < d.window_id) ORDER BY d.record_id, d.window_id"
    ):
        yield f"record {record} was decided anew in window {window}, which did not take its event back"
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


def counted_events_are_issued(books: Books) -> Finding:
    """Set every settled event against the entry that issued its grams, and every such entry against its event."""
    wrong, issued = Offenders(), 0
    entries = (
        "SELECT e.source_id, COUNT(DISTINCT e.entry_id) AS entries, COUNT(*) AS sides, SUM(p.mg) AS mg, "
        "MIN(a.subject_id) AS owner_id, MIN(p.vintage) AS vintage FROM journal_entry e "
        "JOIN posting p ON p.entry_id = e.entry_id JOIN account a ON a.account_id = p.account_id "
        "WHERE e.kind = 'issue' AND a.kind <> 'activity' GROUP BY e.source_id"
    )
    sql = (
        "SELECT v.event_id, v.subject_id, r.platform, v.behaviour, v.start_us, v.window_id, r.bucket, v.mg, "
        "i.entries, i.sides, CAST(i.mg AS BIGINT), i.owner_id, i.vintage "
        f"FROM event v LEFT JOIN reduction_record r ON r.record_id = v.event_id LEFT JOIN ({entries}) i "
        "ON i.source_id = v.event_id WHERE NOT v.provisional AND v.mg > 0 ORDER BY v.event_id"
    )
    moments = at_clearing(books)
    for page in books.pages(sql, _ISSUED):
        missing = page.filter(pl.col("entries").is_null())
        refused = without_consent(books, moments.join_onto(missing), "credit", "event_id")
        for event in missing.join(refused, on="event_id", how="anti")["event_id"].sort():
            wrong.add(f"the grams of event {event} were not issued")
        present = page.filter(pl.col("entries").is_not_null())
        act = pl.from_epoch("start_us", time_unit="us").dt.replace_time_zone("UTC").dt.convert_time_zone(_SHANGHAI)
        vintage = act.dt.strftime("%Y%m%d").cast(pl.Int64)
        right = (
            (pl.col("entries") == 1) & (pl.col("sides") == 1) & (pl.col("issued_mg") == pl.col("mg"))
            & (pl.col("owner_id") == pl.col("subject_id")) & (pl.col("vintage") == vintage)
        )  # fmt: skip
        for event in present.filter(~right.fill_null(False))["event_id"].sort():
            wrong.add(f"event {event} was not issued once, whole, to its person and day")
        issued += len(present)
    for entry, event in books.rows(
        "SELECT e.entry_id, e.source_id FROM journal_entry e "
        "LEFT JOIN event v ON v.event_id = e.source_id AND NOT v.provisional AND v.window_id = e.window_id "
        "WHERE e.kind = 'issue' AND (v.event_id IS NULL OR v.mg <= 0) ORDER BY e.entry_id"
    ):
        wrong.add(f"entry {entry} issues grams of event {event}, which is none of its window")
    return Finding(figure=f"{issued:,} events with their grams issued", wrong=wrong)


def no_two_acts_at_once(books: Books) -> Finding:
    """Look for two events that count, of one person and exclusivity group, that overlap by more than is tolerated."""
    groups = {code: behaviour.group for code, behaviour in load_behaviours().items() if behaviour.group is not None}
    sql = (
        "SELECT v.event_id, v.subject_id, v.behaviour, v.start_us, v.end_us, v.policy FROM event v "
        "JOIN reduction_record r ON r.record_id = v.event_id "
        "LEFT JOIN event_reversal x ON x.event_id = v.event_id "
        "WHERE NOT v.provisional AND v.mg > 0 AND x.event_id IS NULL AND v.end_us > v.start_us "
        "AND r.precision <> :day ORDER BY v.subject_id, v.start_us, v.event_id"
    )
    wrong, acts, waiting = Offenders(), 0, pl.DataFrame(schema=_ACTS)
    for page in books.pages(sql, _ACTS, day=str(Precision.DAY)):
        rows = pl.concat([waiting, page.filter(pl.col("behaviour").is_in(list(groups)))])
        acts += len(rows) - len(waiting)
        # The page's last person may go on in the next page.
        last = page["subject_id"].max()
        waiting = rows.filter(pl.col("subject_id") == last)
        wrong.add_all(_clashes(rows.filter(pl.col("subject_id") != last), groups))
    wrong.add_all(_clashes(waiting, groups))
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
