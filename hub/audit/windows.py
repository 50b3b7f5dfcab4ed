"""Invariant 10, windows and batches: what the log committed to is what the tables say. I/O: reads the database."""

import json
from collections.abc import Iterator
from hashlib import sha256
from itertools import groupby
from operator import itemgetter
from typing import Any

from hub.audit.bodies import leaf_bodies
from hub.audit.books import Books
from hub.audit.report import Finding, Offenders
from hub.audit.roots import NO_ROOT, merkle_root

_STATES = ("open", "sealed", "reconciling", "provisional", "final")


def windows_chain(books: Books) -> Finding:
    """Follow the windows from the first: no gap, no overlap, the last one open, every record in its own."""
    wrong, before = Offenders(), None
    for window, state, first, last, *times in books.rows(
        "SELECT window_id, state, first_seq, last_seq, sealed_at, provisional_at, final_at FROM clearing_window "
        "ORDER BY window_id"
    ):
        sealed, provisional, final = (_is_at_least(state, step) for step in ("sealed", "provisional", "final"))
        if state not in _STATES or [last, *times].count(None) != 4 - (2 * sealed + provisional + final):
            wrong.add(f"window {window} is {state!r}, and its end or its times do not say so")
        if (window, first) != ((1, 1) if before is None else (before[0] + 1, (before[1] or 0) + 1)):
            wrong.add(f"window {window} begins with record {first} and does not follow the one before")
        if last is not None and last < first - 1:
            wrong.add(f"window {window} ends with record {last} before it begins with {first}")
        before = (window, last)
    if before is None or before[1] is not None:
        wrong.add("no window is open")
    for record, window in books.rows(
        "SELECT s.record_id, s.window_id FROM source_record s "
        "LEFT JOIN clearing_window w ON w.window_id = s.window_id AND s.record_id >= w.first_seq "
        "AND (w.last_seq IS NULL OR s.record_id <= w.last_seq) WHERE w.window_id IS NULL ORDER BY s.record_id"
    ):
        wrong.add(f"record {record} is not in the range of its window {window}")
    return Finding(figure=f"{books.count('clearing_window'):,} windows", wrong=wrong)


def final_roots_recompute(books: Books) -> Finding:
    """Compute the root of every final window anew and set it against the window, its manifest and the log."""
    wrong, decisions, finals = Offenders(), 0, 0
    logged = leaf_bodies(books, "window.final")
    roots = dict(books.rows("SELECT window_id, root FROM clearing_window"))
    for window, root, manifest in books.rows(
        "SELECT window_id, root, manifest FROM clearing_window WHERE state = 'final' ORDER BY window_id"
    ):
        finals += 1
        decisions += books.count("decision WHERE window_id = :window AND NOT provisional", window=window)
        anew = sha256((roots.get(window - 1) or NO_ROOT) + merkle_root(_digests(books, window))).digest()
        if root is None or anew != bytes(root):
            wrong.add(f"window {window}: the decisions make another root than the window's")
        told = _root_of(manifest)
        if told != anew.hex():
            wrong.add(f"window {window}: the manifest names another root")
        body = logged.get(f"{window}")
        if body is None:
            continue  # changes_have_leaves says so
        digest = sha256((manifest or "").encode()).hexdigest()
        if (body.get("root"), body.get("manifest")) != (anew.hex(), digest):
            wrong.add(f"window {window}: the log names another root or manifest")
    return Finding(figure=f"{finals:,} final windows over {decisions:,} decisions", wrong=wrong)


def batches_commit_to_records(books: Books) -> Finding:
    """Compute the root over every batch's records anew and set it against the batch and the log.

    The digests of erased people's records are destroyed, so a batch that brought one can only be counted.
    """
    wrong, records, emptied = Offenders(), 0, 0
    logged = {
        reference: body
        for origin in ("received", "fetched", "replayed", "restated", "released")
        for reference, body in leaf_bodies(books, f"batch.{origin}").items()
    }
    rows = books.rows(
        "SELECT b.batch_id, b.accepted, b.records_root, s.digest, CASE WHEN p.erased_at IS NULL THEN 0 ELSE 1 END "
        "FROM batch b LEFT JOIN (SELECT batch_id, digest, subject_id, record_id AS place FROM source_record UNION ALL "
        "SELECT batch_id, digest, NULL, event_key FROM corroboration) s ON s.batch_id = b.batch_id "
        "LEFT JOIN person p ON p.subject_id = s.subject_id ORDER BY b.batch_id, s.place"
    )
    for batch, group in groupby(rows, key=itemgetter(0)):
        told = list(group)
        digests = [bytes(row[3]) for row in told if row[3] is not None]
        is_emptied = any(row[4] for row in told)
        emptied += is_emptied
        records += len(digests)
        accepted, root = told[0][1], bytes(told[0][2])
        anew = root if is_emptied else merkle_root(digests)
        if len(digests) != accepted or anew != root:
            wrong.add(f"batch {batch}: its records are not those that it committed to")
        body = logged.get(f"{batch}")
        if body is not None and (body.get("records_root"), body.get("accepted_count")) != (root.hex(), accepted):
            wrong.add(f"batch {batch}: the log names another root or number of records")
    for (record,) in books.rows(
        "SELECT s.record_id FROM source_record s LEFT JOIN batch b ON b.batch_id = s.batch_id "
        "WHERE b.batch_id IS NULL ORDER BY s.record_id"
    ):
        wrong.add(f"record {record} is of no batch")
    figure = f"{books.count('batch'):,} batches with {records:,} records, {emptied:,} batches with erased ones"
    return Finding(figure=figure, wrong=wrong)


def _is_at_least(state: str, step: str) -> bool:
    return state in _STATES[_STATES.index(step) :]


def _digests(books: Books, window: int) -> Iterator[bytes]:
    """Yield the leaf of every settled decision: SHA-256 of record|event|verdict|rule|counted|canonical, in decimal."""
    for row in books.rows(
        "SELECT record_id, event_id, verdict, rule, counted_mg, canonical_record_id FROM decision "
        "WHERE window_id = :window AND NOT provisional ORDER BY record_id",
        window=window,
    ):
        yield sha256("|".join("" if value is None else str(value) for value in row).encode()).digest()


def _root_of(manifest: str | None) -> Any:
    try:
        return json.loads(manifest or "{}").get("root")
    except (ValueError, AttributeError):
        return None
