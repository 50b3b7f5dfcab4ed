"""Invariant 2, as final windows publish it: no platform's act counts twice under its key. I/O: reads the database."""

import json
from collections.abc import Iterator
from hashlib import sha256
from itertools import islice
from typing import Any

from hub.audit.books import Books
from hub.audit.report import Finding, Offenders
from hub.audit.roots import Root

_AT_ONCE = 100_000
_EVENTS = (
    "SELECT k.token, k.event_id, d.counted_mg FROM window_event_key k LEFT JOIN decision d ON d.record_id = k.event_id "
    "AND d.window_id = k.window_id WHERE k.window_id = :window ORDER BY k.token, k.event_id"
)


def window_keys_are_committed(books: Books) -> Finding:
    """Make the lists of final windows' counted events anew and set them against the manifests; look for keys of two live ones.

    Windows that became final before keys were kept have a manifest without them: nothing is asked of those.
    """
    wrong, keys, windows = Offenders(), 0, 0
    for window, manifest in books.rows(
        "SELECT window_id, manifest FROM clearing_window WHERE state = 'final' ORDER BY window_id"
    ):
        told = _parse(manifest)
        if "events" not in told:
            continue
        windows += 1
        events = (f"{bytes(token).hex()}|{event}|{mg}" for token, event, mg in books.rows(_EVENTS, window=window))
        count, root = _root(events)
        keys += count
        if told["events"].get("root") != root:
            wrong.add(f"window {window}: its keys are not those that its manifest commits to")
    for first, last, count in books.rows(
        "SELECT MIN(k.event_id), MAX(k.event_id), COUNT(*) FROM window_event_key k LEFT JOIN event_reversal x "
        "ON x.event_id = k.event_id WHERE x.event_id IS NULL GROUP BY k.token HAVING COUNT(*) > 1 ORDER BY 1"
    ):
        wrong.add(f"{count} live events have one key, of them {first} and {last}")
    return Finding(figure=f"{keys:,} keys of {windows:,} final windows", wrong=wrong)


def _root(lines: Iterator[str]) -> tuple[int, str]:
    root, count = Root(), 0
    while some := [sha256(line.encode()).digest() for line in islice(lines, _AT_ONCE)]:
        root.add(some)
        count += len(some)
    return count, root.digest().hex()


def _parse(manifest: str | None) -> dict[str, Any]:
    try:
        told = json.loads(manifest or "{}")
    except ValueError:
        return {}  # final_roots_recompute says so
    return told if isinstance(told, dict) and isinstance(told.get("events"), dict) else {}
