"""Invariant 10, reconciliation: what was compared is what the hub has, and no break is closed by one side alone.

I/O: reads the database, and the sealed payloads of streams that are short enough.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any

import polars as pl

from consent.keyring import KeyPurpose
from consent.seal import SealError, place
from consent.vault import load_vault
from hub.audit.bodies import leaf_bodies
from hub.audit.books import Books
from hub.audit.report import Finding, Offenders
from mappings import MappingError, load_mapping, translate
from standards.datafile import DataError

MOST_DIGESTED = 20_000
"""Longer streams are counted and summed; their ids would have to be read again from as many sealed payloads."""
_RECORDS: dict[str, Any] = {
    "record_id": pl.Int64(), "name": pl.String(), "version": pl.Int64(), "mg": pl.Int64(), "subject_id": pl.Int64(),
    "mapping": pl.String(), "is_empty": pl.Int64(),
}  # fmt: skip
_OF_STREAM = (
    "FROM source_record s JOIN batch b ON b.batch_id = s.batch_id JOIN reduction_record r ON r.record_id = s.record_id "
    "WHERE s.window_id = :w AND s.platform = :p AND s.stream = :s AND b.origin IN ('received', 'fetched')"
)


def comparisons_recompute(books: Books) -> Finding:
    """Count, sum and digest our side of every comparison anew."""
    wrong, streams, digested = Offenders(), 0, 0
    for window, platform, deliveries, rows, count, total in books.rows(
        "SELECT c.window_id, c.platform, c.ours_deliveries, c.ours_rows, COUNT(b.batch_id), COALESCE(SUM(b.rows), 0) "
        "FROM reconciliation c LEFT JOIN batch b ON b.window_id = c.window_id AND b.platform = c.platform "
        "AND b.origin IN ('received', 'fetched') GROUP BY c.window_id, c.platform, c.ours_deliveries, c.ours_rows "
        "ORDER BY c.window_id, c.platform"
    ):
        if (deliveries, rows) != (count, int(total)):
            wrong.add(f"comparison of window {window} with {platform}: the hub has other deliveries")
    for row in books.rows(
        "SELECT window_id, platform, stream, ours_count, ours_mg, ours_digest, theirs_digest, same_digest, numbered "
        "FROM stream_reconciliation ORDER BY window_id, platform, stream"
    ):
        streams += 1
        window, platform, stream, count, mg, digest, theirs, same, numbered = row
        told = f"comparison of window {window} with {platform}, {stream}"
        records = _records(books, window, platform, stream)
        live = records.filter(pl.col("is_empty") == 0)
        # Whoever was erased since is counted by what was compared, and by nothing any more.
        if not len(live) <= count <= len(records) or (len(live) == len(records) and mg != int(records["mg"].sum())):
            wrong.add(f"{told}: the hub has other records")
        if digest is None or theirs is None:
            continue
        ours, other = (_opened(books, side, row[:3], blob) for side, blob in (("ours", digest), ("theirs", theirs)))
        if ours is None or other is None or bool(same) is not (ours == other):
            wrong.add(f"{told}: its digests do not say what it says of them")
        elif len(live) == len(records) <= MOST_DIGESTED:
            digested += 1
            if ours != _digest(books, row[:3], records, numbered=bool(numbered)):
                wrong.add(f"{told}: the records make another digest")
    return Finding(
        figure=f"{books.count('reconciliation'):,} comparisons, {streams:,} streams, {digested:,} digests", wrong=wrong
    )


def breaks_are_settled(books: Books) -> Finding:
    """See that every break was opened by a comparison, and closed by both sides or by a comparison without it."""
    wrong, closed = Offenders(), 0
    compared, steps = leaf_bodies(books, "reconciliation.done"), leaf_bodies(books, "break.changed")
    opened: dict[str, list[int]] = defaultdict(list)
    gone: dict[str, list[int]] = defaultdict(list)
    for number, window, platform, state, count, platform_at, hub_at, opened_by, closed_by, why in books.rows(
        "SELECT break_id, window_id, platform, state, steps, platform_signed_at, hub_signed_at, opened_by, closed_by, "
        "closed_why FROM statement_break ORDER BY break_id"
    ):
        opened[opened_by].append(number)
        both = platform_at is not None and hub_at is not None
        if state != "closed" and both:
            wrong.add(f"break {number} is signed by both and not closed")
        told = [steps.get(f"{number}:{step}") for step in range(1, count + 1)]
        if count and told[-1] is None:
            continue  # changes_have_leaves says so
        if any(one is None or one.get("break") != number for one in told):
            wrong.add(f"break {number} took a step that the log does not tell")
        if state != "closed":
            continue
        closed += 1
        if why == "gone":
            gone[closed_by].append(number)
            body = compared.get(closed_by)
            elsewhere = body is not None and (body.get("window"), body.get("participant")) != (window, platform)
            if elsewhere or (body is None and closed_by in steps):
                wrong.add(f"break {number} is gone, and no comparison shows that")
        elif why != "signed" or not both or not _signed_by_both([one or {} for one in told]):
            wrong.add(f"break {number} is closed, and not both sides have signed it")
    for name, groups in (("opened", opened), ("closed", gone)):
        for reference, body in compared.items():
            if body.get(f"{name}_digest") != _of_numbers(groups.get(reference, ())):
                wrong.add(f"comparison {reference} {name} other breaks than the log says")
    return Finding(figure=f"{books.count('statement_break'):,} breaks, {closed:,} closed", wrong=wrong)


def _signed_by_both(steps: Sequence[dict[str, Any]]) -> bool:
    """Whether both sides signed after whoever proposed last."""
    signed: set[Any] = set()
    for step in steps:
        signed = signed | {step.get("by")} if step.get("what") == "signed" else set()
    return signed == {"platform", "hub"}


def _of_numbers(numbers: Sequence[int]) -> str | None:
    told = ",".join(str(number) for number in sorted(numbers))
    return sha256(told.encode()).hexdigest() if numbers else None


def _records(books: Books, window: int, platform: str, stream: str) -> pl.DataFrame:
    """Return the last version of each record that came in the window."""
    sql = (
        "SELECT s.record_id, s.source_id, s.version, COALESCE(r.claimed_mg, 0), s.subject_id, r.mapping, "
        f"CASE WHEN length(s.payload) = 0 THEN 1 ELSE 0 END {_OF_STREAM} ORDER BY s.version, s.record_id"
    )
    last: dict[str, tuple[Any, ...]] = {}
    for row in books.rows(sql, w=window, p=platform, s=stream):
        last[row[1]] = row
    return pl.DataFrame(list(last.values()), schema=_RECORDS, orient="row")


def _opened(books: Books, side: str, key: Sequence[Any], blob: bytes) -> bytes | None:
    window, platform, stream = key
    where = place("stream_reconciliation", f"{side}_digest", f"{window}/{platform}/{stream}", None)
    try:
        return books.hub.ring.open(bytes(blob), where)
    except SealError:
        return None


def _digest(books: Books, key: Sequence[Any], records: pl.DataFrame, *, numbered: bool) -> bytes:
    told = _lines(books, key, records)
    lines = sorted(f"{source}|{version if numbered else 0}|{mg}\n".encode() for source, version, mg in told)
    return sha256(b"".join(lines)).digest()


def _lines(books: Books, key: Sequence[Any], records: pl.DataFrame) -> Iterator[tuple[str, int, int]]:
    """Yield id, version and claim of each record, the id translated again from what was kept of it."""
    window, platform, stream = key
    found = books.rows(f"SELECT s.record_id, s.payload {_OF_STREAM}", w=window, p=platform, s=stream)
    payloads = {record: bytes(payload) for record, payload in found}
    vault = load_vault(books.session, books.hub.ring, records["subject_id"].unique().to_list())
    for (name,), rows in records.group_by("mapping", maintain_order=True):
        ids = rows["record_id"].to_list()
        opened = vault.open_many(
            "source_record", "payload", row_ids=ids, subject_ids=rows["subject_id"].to_list(),
            blobs=[payloads[record] for record in ids],
        )  # fmt: skip
        try:
            mapping = load_mapping(str(name))
        except (MappingError, DataError, OSError):
            continue
        told = translate(
            mapping, pl.Series(opened, dtype=pl.Binary), token_key=books.hub.ring.hmac_key(KeyPurpose.EVENT),
            now=books.hub.clock(), accounts=pl.Series(["-"] * len(opened), dtype=pl.String),
        ).records  # fmt: skip
        again = rows.with_row_index("row").select("row", "version", "mg")
        yield from told.select("row", "source_id").join(again, on="row", how="inner").drop("row").iter_rows()
