"""Invariant 5, adjustments: each is posted as it stands, and what events count is less by the sum. I/O: reads the database."""

from hub.audit.books import Books
from hub.audit.report import Finding, Offenders

_PART = "a.posted_as = 'adjust' AND a.to_platform IS NULL"
# Whom an entry takes from, or gives to, on the platforms' side: back from `activity`, and owed by whom.
_SIDES = (
    "SELECT e.kind, e.window_id, e.source_id, e.reason, i.source_id AS of_event, "
    "SUM(CASE WHEN c.kind = 'activity' AND p.mg > 0 THEN p.mg ELSE 0 END) AS back, "
    "SUM(CASE WHEN c.kind = 'activity' THEN p.mg ELSE 0 END) AS net, "
    "-SUM(CASE WHEN c.kind = 'owed' AND p.rights <> 'incentive' THEN p.mg ELSE 0 END) AS owed_attribute, "
    "-SUM(CASE WHEN c.kind = 'owed' AND p.rights <> 'attribute' THEN p.mg ELSE 0 END) AS owed_incentive, "
    "MIN(CASE WHEN c.kind = 'activity' AND p.mg > 0 THEN c.platform END) AS loser, "
    "MIN(CASE WHEN c.kind = 'activity' AND p.mg < 0 THEN c.platform END) AS winner "
    "FROM journal_entry e JOIN posting p ON p.entry_id = e.entry_id JOIN account c ON c.account_id = p.account_id "
    "LEFT JOIN journal_entry i ON i.entry_id = e.reverses WHERE e.kind IN ('reverse', 'adjust', 'draw') "
    "GROUP BY e.kind, e.window_id, e.source_id, e.reason, i.source_id"
)


def adjustments_are_posted(books: Books) -> Finding:
    """Set every adjustment against its entry, and every entry that only an adjustment can have made against one."""
    wrong = Offenders()
    # An event whose grams were never credited has no entry to take back.
    credited = "EXISTS (SELECT 1 FROM journal_entry n WHERE n.kind = 'issue' AND n.source_id = a.event_id)"
    for (one,) in books.rows(
        f"SELECT a.adjustment_id FROM adjustment a LEFT JOIN ({_SIDES}) s ON s.kind = a.posted_as "
        "AND s.window_id = a.window_id AND s.source_id = a.source_id "
        f"WHERE (s.kind IS NULL AND (a.posted_as = 'draw' OR {credited})) OR (s.kind IS NOT NULL AND ("
        "(a.posted_as <> 'draw' AND (s.of_event <> a.event_id OR s.of_event IS NULL OR s.back <> a.mg "
        "OR s.loser <> a.platform OR s.reason <> a.reason)) "
        "OR (a.posted_as <> 'draw' AND s.net <> CASE WHEN a.to_platform IS NULL THEN a.mg ELSE 0 END) "
        "OR (a.to_platform IS NOT NULL AND (s.winner IS NULL OR s.winner <> a.to_platform)) "
        "OR (a.posted_as <> 'draw' AND a.owed_mg <> CASE WHEN s.owed_attribute > s.owed_incentive "
        "THEN s.owed_attribute ELSE s.owed_incentive END) "
        "OR (a.posted_as = 'draw' AND -s.owed_attribute <> a.mg))) ORDER BY a.adjustment_id"
    ):
        wrong.add(f"adjustment {one} is posted otherwise than it stands, or not at all")
    for entry, kind in books.rows(
        "SELECT e.entry_id, e.kind FROM journal_entry e LEFT JOIN adjustment a ON a.posted_as = e.kind "
        "AND a.window_id = e.window_id AND a.source_id = e.source_id "
        "WHERE (e.kind = 'adjust' OR (e.kind = 'reverse' AND e.reason <> 'superseded_version')) "
        "AND a.adjustment_id IS NULL ORDER BY e.entry_id"
    ):
        wrong.add(f"entry {entry} ({kind}) is of no adjustment")
    mg = books.number("SELECT COALESCE(SUM(mg), 0) FROM adjustment")
    return Finding(figure=f"{books.count('adjustment'):,} adjustments of {mg:,} mg", wrong=wrong)


def parts_sum_to_adjustments(books: Books) -> Finding:
    """Set what each event counts less by against the adjustments of it, and for whom it counts against the last of them."""
    wrong = Offenders()
    both = (
        f"SELECT event_id, taken_mg AS kept, 0 AS told FROM event_adjusted UNION ALL "
        f"SELECT a.event_id, 0, a.mg FROM adjustment a WHERE {_PART}"
    )
    for event, kept, told in books.rows(
        f"SELECT event_id, SUM(kept), SUM(told) FROM ({both}) x GROUP BY event_id HAVING SUM(kept) <> SUM(told) "
        "ORDER BY event_id"
    ):
        wrong.add(f"event {event} counts less by {int(kept):,} mg, and {int(told):,} mg were taken back of it")
    for event, taken, mg in books.rows(
        "SELECT j.event_id, j.taken_mg, e.mg FROM event_adjusted j JOIN event e ON e.event_id = j.event_id "
        "WHERE j.taken_mg >= e.mg ORDER BY j.event_id"
    ):
        wrong.add(f"event {event} counts {int(mg):,} mg, and parts of {int(taken):,} mg were taken back of it")
    for (event,) in books.rows(
        "SELECT j.event_id FROM event_adjusted j WHERE j.platform IS NOT NULL AND NOT EXISTS ("
        "SELECT 1 FROM adjustment a WHERE a.event_id = j.event_id AND a.to_platform = j.platform) "
        "UNION SELECT a.event_id FROM adjustment a LEFT JOIN event_adjusted j ON j.event_id = a.event_id "
        "WHERE a.to_platform IS NOT NULL AND j.platform IS NULL ORDER BY 1"
    ):
        wrong.add(f"event {event} counts for another platform than it was re-attributed to")
    return Finding(figure=f"{books.count('event_adjusted'):,} events that were adjusted", wrong=wrong)
