"""Invariants 5 and 10, releases: what was released is the record that was held, and somebody decided so.

I/O: reads the database. ADR 0028.
"""

from collections.abc import Iterator

from hub.audit.books import Books

_SAME = (
    "o.subject_id = n.subject_id AND o.platform = n.platform AND o.role = n.role AND o.behaviour = n.behaviour "
    "AND o.start_us = n.start_us AND o.end_us = n.end_us AND o.precision = n.precision AND o.methodology = n.methodology "
    "AND o.mapping = n.mapping AND COALESCE(o.quantity_micro, -1) = COALESCE(n.quantity_micro, -1) "
    "AND COALESCE(o.reference_mg, -1) = COALESCE(n.reference_mg, -1)"
)


def wrong_releases(books: Books) -> Iterator[str]:
    """Find released records that nobody released or that say something else, and releases of what was not held."""
    for (record,) in books.rows(
        "SELECT n.record_id FROM reduction_record n JOIN source_record t ON t.record_id = n.record_id "
        "JOIN batch b ON b.batch_id = t.batch_id LEFT JOIN hold_review h ON h.record_id = n.record_id "
        "AND h.outcome = 'released' AND h.window_id = n.window_id "
        f"LEFT JOIN reduction_record o ON o.record_id = h.event_id AND {_SAME} "
        "LEFT JOIN source_record s ON s.record_id = h.event_id AND s.superseded_by = n.record_id "
        "WHERE b.origin = 'released' AND (o.record_id IS NULL OR s.record_id IS NULL) ORDER BY n.record_id"
    ):
        yield f"record {record} is not what a reviewer released"
    for event, outcome in books.rows(
        "SELECT h.event_id, h.outcome FROM hold_review h LEFT JOIN decision d ON d.record_id = h.event_id "
        "AND d.event_id = h.event_id AND d.verdict = 'held' AND NOT d.provisional AND d.rule = h.rule "
        "AND d.reason = h.reason AND d.window_id < h.window_id LEFT JOIN source_record t ON t.record_id = h.record_id "
        "LEFT JOIN batch b ON b.batch_id = t.batch_id AND b.origin = 'released' "
        "WHERE d.record_id IS NULL OR (h.outcome = 'released' AND b.batch_id IS NULL) ORDER BY h.event_id"
    ):
        yield f"event {event} was {outcome} by a reviewer, and was not held so"
