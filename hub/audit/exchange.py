"""Invariant 10: leaves can be found, hours are what was counted, and software has a regulator's rights. I/O: reads the database.

What a leaf is found by is held against the leaf itself, and for a batch against the batch.
"""

import json
from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from typing import Any

from hub.audit.bodies import leaf_bodies, split_run
from hub.audit.books import Books
from hub.audit.report import Finding, Offenders
from standards.canonical import canonical_bytes


def leaves_can_be_found(books: Books) -> Finding:
    """Look for leaves of the log that no search finds, or finds as something else."""
    wrong = Offenders()
    for (leaf,) in books.rows(
        "SELECT l.leaf_id FROM log_leaf l JOIN change_leaf c ON c.leaf_id = l.leaf_id "
        "LEFT JOIN log_entry e ON e.leaf_id = l.leaf_id AND e.kind = l.kind "
        "WHERE l.first_index IS NOT NULL AND e.leaf_id IS NULL ORDER BY l.leaf_id"
    ):
        wrong.add(f"leaf {leaf} cannot be found")
    for leaf, batch in books.rows(
        "SELECT e.leaf_id, b.batch_id FROM log_entry e JOIN batch b ON b.batch_id = e.batch_id "
        "WHERE e.participant IS NULL OR e.participant <> b.platform OR e.window_id IS NULL OR e.window_id <> b.window_id "
        "ORDER BY e.leaf_id"
    ):
        wrong.add(f"leaf {leaf} is found beside batch {batch}")
    found = 0
    seconds = books.micros("e.at")
    for leaf, data, at_us, kind, window, batch in books.rows(
        f"SELECT e.leaf_id, b.data, {seconds}, e.kind, e.window_id, e.batch_id FROM log_entry e "
        "JOIN log_body b ON b.leaf_id = e.leaf_id ORDER BY e.leaf_id"
    ):
        found += 1
        told = json.loads(split_run(bytes(data))[0])
        if _said(told) != (at_us // 1_000_000, kind, window, batch):
            wrong.add(f"leaf {leaf} is found as something else")
    return Finding(figure=f"{found:,} leaves can be found", wrong=wrong)


def hours_are_counted(books: Books) -> Finding:
    """Add the counts of every told hour up again, and hold them against the log."""
    wrong, hours = Offenders(), 0
    leaves = leaf_bodies(books, "exchange.counted")
    for hour, participant, requests, digest in books.rows(
        "SELECT hour, participant, requests, digest FROM exchange_hour ORDER BY hour, participant"
    ):
        hours += 1
        counts = list(_counts(books, hour, participant))
        total = sum(int(one["requests"]) for one in counts)
        made = sha256(canonical_bytes({"counts": counts})).digest()
        leaf = leaves.get(f"{hour}:{participant}")
        if total != requests or made != bytes(digest):
            wrong.add(f"the hour {hour} of {participant} has other counts")
        elif leaf is not None and (leaf["requests_count"], leaf["digest"]) != (requests, made.hex()):
            wrong.add(f"the log was told other counts of the hour {hour} of {participant}")
    return Finding(figure=f"{hours:,} hours", wrong=wrong)


def software_is_of_regulators(books: Books) -> Finding:
    """Look for software that has the rights of somebody who is no regulator, or that acts for a platform too."""
    wrong = Offenders()
    for (client,) in books.rows(
        "SELECT s.client_id FROM staff_client s LEFT JOIN staff m ON m.staff_id = s.staff_id "
        "LEFT JOIN oauth_client o ON o.client_id = s.client_id "
        "WHERE m.role IS NULL OR m.role <> 'regulator' OR o.client_id IS NULL OR o.participant IS NOT NULL "
        "ORDER BY s.client_id"
    ):
        wrong.add(f"client {client} is of no regulator")
    return Finding(figure=f"{books.count('staff_client'):,} clients", wrong=wrong)


def _said(told: dict[str, Any]) -> tuple[int, str, int | None, int | None]:
    at = int(datetime.fromisoformat(told["at"]).timestamp())
    return at, told["kind"], _number(told.get("window")), _number(told.get("batch"))


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _counts(books: Books, hour: int, participant: str) -> Iterator[dict[str, Any]]:
    for operation, outcome, reason, up_to_ms, *sums in books.rows(
        "SELECT operation, outcome, reason, up_to_ms, requests, sum_us, bytes_in, bytes_out FROM exchange_count "
        "WHERE hour = :hour AND participant = :participant ORDER BY operation, outcome, reason, up_to_ms",
        hour=hour,
        participant=participant,
    ):
        names = ("requests", "sum_us", "bytes_in", "bytes_out")
        told = dict(zip(names, map(str, sums), strict=True))
        yield {"operation": operation, "outcome": outcome, "reason": reason, "up_to_ms": up_to_ms, **told}
