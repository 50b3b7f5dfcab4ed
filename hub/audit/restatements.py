"""Invariants 5 and 8, restatements: another version is pinned to the same act, and the old event is taken back.

I/O: reads the database. ADR 0017.
"""

from collections.abc import Iterator

from hub.audit.books import Books


def wrong_heirs(books: Books) -> Iterator[str]:
    """Find restated records that restate nothing: no version of a record, the same methodology, or another act."""
    for (record,) in books.rows(
        "SELECT n.record_id FROM reduction_record n JOIN source_record t ON t.record_id = n.record_id "
        "JOIN batch b ON b.batch_id = t.batch_id LEFT JOIN source_record s ON s.superseded_by = n.record_id "
        "LEFT JOIN reduction_record o ON o.record_id = s.record_id AND o.methodology <> n.methodology "
        "AND o.mapping = n.mapping AND o.subject_id = n.subject_id AND o.behaviour = n.behaviour "
        "AND o.start_us = n.start_us AND s.version = t.version "
        "WHERE b.origin = 'restated' GROUP BY n.record_id HAVING COUNT(o.record_id) = 0 ORDER BY n.record_id"
    ):
        yield f"record {record} restates no version of its act that pins another methodology"


def standing_events(books: Books) -> Iterator[str]:
    """Find events that still count although a later window was cleared with a newer version of their record."""
    for event, heir in books.rows(
        "SELECT v.event_id, s.superseded_by FROM event v JOIN source_record s ON s.record_id = v.event_id "
        "JOIN source_record n ON n.record_id = s.superseded_by AND n.window_id > v.window_id "
        "JOIN clearing_window w ON w.window_id = n.window_id AND w.cleared_at IS NOT NULL "
        "LEFT JOIN event_reversal x ON x.event_id = v.event_id "
        "WHERE NOT v.provisional AND v.mg > 0 AND x.event_id IS NULL ORDER BY v.event_id"
    ):
        yield f"event {event} still counts beside the newer version {heir} of its record"
