"""Invariant 10, the log itself: dense, and what its signed root says. I/O: reads the database."""

from hub.audit.books import Books
from hub.audit.report import Finding, Offenders
from hub.log.store import load_resource
from hub.log.tiles import parse_path
from hub.log.verify import verify_log
from hub.log_signing import log_signer


def log_is_dense(books: Books) -> Finding:
    """Follow the runs of leaves from index 0: each begins where the one before ends."""
    wrong, end = Offenders(), 0
    for leaf, first, count in books.rows(
        "SELECT leaf_id, first_index, count FROM log_leaf WHERE first_index IS NOT NULL ORDER BY first_index"
    ):
        if first != end:
            wrong.add(f"leaf {leaf} has index {first} where {end} belongs")
        end = max(end, first + count)
    given = books.number("SELECT COALESCE(MAX(sequenced), 0) FROM log_head")
    if given != end:
        wrong.add(f"{given:,} indexes were given out, the leaves have {end:,}")
    waiting = books.number("SELECT COALESCE(SUM(count), 0) FROM log_leaf WHERE first_index IS NULL")
    return Finding(figure=f"{end:,} leaves in order, {waiting:,} waiting", wrong=wrong)


def log_recomputes(books: Books) -> Finding:
    """Hash the log anew as it is published, and compare with what the hub's key signed."""
    wrong = Offenders()
    head = next(books.rows("SELECT size, root, checkpoint FROM log_head"), None)
    if head is None or head[2] is None:
        if head is not None and head[0] != 0:
            wrong.add("the log has leaves under no checkpoint")
        return Finding(figure="nothing was signed yet", wrong=wrong)
    size, root, checkpoint = head

    def fetch(path: str) -> bytes | None:
        if path == "checkpoint":
            return bytes(checkpoint)
        parsed = parse_path(path)
        return None if parsed is None else load_resource(books.session, parsed)

    # Just after a rotation the newest key has not signed yet, and an older one of ours vouches.
    report = verify_log(fetch, log_signer(books.hub).vkey_for(bytes(checkpoint)))
    if report.fault is not None:
        wrong.add(f"{report.fault.place}: {report.fault.reason}")
    elif report.size != size:
        wrong.add(f"the head has size {size}, the checkpoint {report.size}")
    figure = f"{report.size:,} leaves in {report.tiles:,} tiles, root {report.root or bytes(root).hex()}"
    return Finding(figure=figure, wrong=wrong)
