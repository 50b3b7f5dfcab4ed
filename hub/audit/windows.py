"""Invariant 10, windows and batches: what the log committed to is what the tables say. I/O: reads the database."""

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import polars as pl

from hub.audit.bodies import leaf_bodies
from hub.audit.books import Books
from hub.audit.report import Finding, Offenders
from hub.audit.roots import NO_ROOT, Root, merkle_root

_RANGE = 500_000
"""Records in memory at once, about 200 MB while they are hashed."""
_DECISION: dict[str, Any] = {
    "record_id": pl.Int64(), "event_id": pl.Int64(), "verdict": pl.String(), "rule": pl.String(),
    "counted_mg": pl.Int64(), "canonical_record_id": pl.Int64(),
}  # fmt: skip
_COMMITTED: dict[str, Any] = {
    "batch_id": pl.Int64(), "place": pl.Int64(), "subject_id": pl.Int64(), "digest": pl.Binary(),
}  # fmt: skip
_NOTHING = pl.DataFrame(schema=_COMMITTED | {"is_erased": pl.Boolean()})
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
    wrong.add_all(_out_of_range(books))
    return Finding(figure=f"{books.count('clearing_window'):,} windows", wrong=wrong)


def _out_of_range(books: Books) -> Iterator[str]:
    """Find records outside the range of their window: first whether there are any, which is one look at the table."""
    inside = "record_id >= w.first_seq AND (w.last_seq IS NULL OR {} <= w.last_seq)"
    ends = (
        "(SELECT window_id, MIN(record_id) AS record_id, MAX(record_id) AS last FROM source_record GROUP BY window_id)"
    )
    windows = f"{ends} s LEFT JOIN clearing_window w ON w.window_id = s.window_id AND s.{inside.format('s.last')}"
    if not books.count(f"{windows} WHERE w.window_id IS NULL"):
        return
    for record, window in books.rows(
        "SELECT s.record_id, s.window_id FROM source_record s LEFT JOIN clearing_window w ON w.window_id = s.window_id "
        f"AND s.{inside.format('s.record_id')} WHERE w.window_id IS NULL ORDER BY s.record_id"
    ):
        yield f"record {record} is not in the range of its window {window}"


def final_roots_recompute(books: Books) -> Finding:
    """Compute the root of every final window anew and set it against the window, its manifest and the log."""
    wrong, decisions, finals = Offenders(), 0, 0
    logged = leaf_bodies(books, "window.final")
    roots = dict(books.rows("SELECT window_id, root FROM clearing_window"))
    for window, root, manifest in books.rows(
        "SELECT window_id, root, manifest FROM clearing_window WHERE state = 'final' ORDER BY window_id"
    ):
        finals += 1
        count, decided = _of_decisions(books, window)
        decisions += count
        anew = sha256((roots.get(window - 1) or NO_ROOT) + decided).digest()
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
    accepted = dict(books.rows("SELECT batch_id, accepted FROM batch"))
    for ids in _groups(accepted):
        rows = _committed(books, ids).partition_by("batch_id", as_dict=True)
        for batch, root in _roots(books, ids):
            told = rows.get((batch,), _NOTHING)
            digests = told["digest"].to_list()
            is_emptied = bool(told["is_erased"].any())
            emptied += is_emptied
            records += len(digests)
            anew = root if is_emptied else merkle_root(digests)
            if len(digests) != accepted[batch] or anew != root:
                wrong.add(f"batch {batch}: its records are not those that it committed to")
            body = logged.get(f"{batch}")
            if body is not None and (body.get("records_root"), body.get("accepted_count")) != (
                root.hex(),
                accepted[batch],
            ):
                wrong.add(f"batch {batch}: the log names another root or number of records")
    for (record,) in books.rows(
        "SELECT s.record_id FROM source_record s LEFT JOIN batch b ON b.batch_id = s.batch_id "
        "WHERE b.batch_id IS NULL ORDER BY s.record_id"
    ):
        wrong.add(f"record {record} is of no batch")
    figure = f"{books.count('batch'):,} batches with {records:,} records, {emptied:,} batches with erased ones"
    return Finding(figure=figure, wrong=wrong)


def _groups(accepted: dict[int, int]) -> Iterator[list[int]]:
    """Cut batches, in the order of their numbers, into lists with about so many records."""
    group: list[int] = []
    room = _RANGE
    for batch in sorted(accepted):
        group.append(batch)
        room -= max(accepted[batch], 1)
        if room <= 0:
            yield group
            group, room = [], _RANGE
    if group:
        yield group


def _committed(books: Books, ids: list[int]) -> pl.DataFrame:
    """Return what came with these batches in the order that they committed to."""
    between = f"BETWEEN {ids[0]} AND {ids[-1]}"
    rows = books.frame(
        f"SELECT batch_id, record_id, subject_id, digest FROM source_record WHERE batch_id {between} UNION ALL "
        f"SELECT batch_id, event_key, NULL, digest FROM corroboration WHERE batch_id {between}",
        _COMMITTED,
    )
    return rows.with_columns(is_erased=pl.col("subject_id").is_in(books.erased.implode())).sort("batch_id", "place")


def _roots(books: Books, ids: list[int]) -> Iterator[tuple[int, bytes]]:
    for batch, root in books.rows(
        "SELECT batch_id, records_root FROM batch WHERE batch_id BETWEEN :first AND :last ORDER BY batch_id",
        first=ids[0],
        last=ids[-1],
    ):
        yield batch, bytes(root)


def _is_at_least(state: str, step: str) -> bool:
    return state in _STATES[_STATES.index(step) :]


def _of_decisions(books: Books, window: int) -> tuple[int, bytes]:
    """Return number and root of a window's settled decisions, in the order of their records.

    The leaf of each is SHA-256 of record|event|verdict|rule|counted|canonical, in decimal.
    """
    settled = f"FROM decision WHERE window_id = {window} AND NOT provisional"
    ((low, high),) = books.rows(f"SELECT COALESCE(MIN(record_id), 0), COALESCE(MAX(record_id), -1) {settled}")
    count, root = 0, Root()
    # A range at a time, because order is only kept within what is in memory.
    for first in range(low, high + 1, _RANGE):
        rows = books.frame(
            f"SELECT record_id, event_id, verdict, rule, counted_mg, canonical_record_id {settled} "
            f"AND record_id BETWEEN {first} AND {first + _RANGE - 1}",
            _DECISION,
        ).sort("record_id")
        told = rows.select(pl.concat_str(pl.all().cast(pl.String).fill_null(""), separator="|").cast(pl.Binary))
        root.add([sha256(text).digest() for text in told.to_series()])
        count += len(rows)
    return count, root.digest()


def _root_of(manifest: str | None) -> Any:
    try:
        return json.loads(manifest or "{}").get("root")
    except (ValueError, AttributeError):
        return None
