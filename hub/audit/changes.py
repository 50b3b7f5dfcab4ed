"""Invariant 10, changes: each has its leaf in the log. I/O: reads the database."""

from collections.abc import Iterator

from hub.audit.books import Books
from hub.audit.report import Finding, Offenders

# What has to have a leaf: the words for it, the kinds of leaf that will do, and a SELECT of what the leaf's reference
# is (or begins with, where it ends with ':'). Sources: hub/pipeline.py, hub/sync/statements.py, hub/participants.py.
_CHANGES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    (
        "batch",
        ("batch.received", "batch.fetched", "batch.replayed", "batch.restated", "batch.released"),
        "SELECT batch_id FROM batch ORDER BY batch_id",
    ),
    (
        "sealing of window",
        ("window.sealed",),
        "SELECT window_id FROM clearing_window WHERE sealed_at IS NOT NULL ORDER BY window_id",
    ),
    (
        "clearing of window",
        ("window.cleared",),
        "SELECT window_id FROM clearing_window WHERE cleared_at IS NOT NULL ORDER BY window_id",
    ),
    (
        "challenge period of window",
        ("window.provisional",),
        "SELECT window_id FROM clearing_window WHERE provisional_at IS NOT NULL ORDER BY window_id",
    ),
    (
        "final state of window",
        ("window.final",),
        "SELECT window_id FROM clearing_window WHERE final_at IS NOT NULL ORDER BY window_id",
    ),
    (
        "review",
        ("review.decided",),
        "SELECT review_id FROM hold_review ORDER BY review_id",
    ),
    (
        "adjustment",
        ("adjustment.posted",),
        "SELECT adjustment_id FROM adjustment ORDER BY adjustment_id",
    ),
    (
        "step of dispute",
        ("dispute.changed",),
        "SELECT dispute_id || ':' || steps FROM dispute ORDER BY dispute_id",
    ),
    (
        "staff action",
        ("access.made",),
        "SELECT action_id FROM staff_action ORDER BY action_id",
    ),
    (
        "access by command",
        ("access.made",),
        "SELECT access_id FROM terminal_access ORDER BY access_id",
    ),
    (
        "hour of exchange",
        ("exchange.counted",),
        "SELECT hour || ':' || participant FROM exchange_hour ORDER BY hour, participant",
    ),
    (
        # Windows were not told of when they open before; from the first that was, all are.
        "opening of window",
        ("window.opened",),
        (
            "SELECT window_id FROM clearing_window WHERE window_id >= (SELECT MIN(CAST(reference AS INTEGER)) "
            "FROM change_leaf WHERE kind = 'window.opened') ORDER BY window_id"
        ),
    ),
    (
        "adoption of a policy",
        ("standards.adopted",),
        "SELECT 'clearing.policy:' || adoption FROM policy_adoption ORDER BY adoption",
    ),
    (
        "programme",
        ("programme.changed",),
        (
            "SELECT programme_id || ':' || 'added' FROM programme UNION ALL "
            "SELECT programme_id || ':' || 'closed' FROM programme WHERE closed_at IS NOT NULL ORDER BY 1"
        ),
    ),
    (
        "membership",
        ("membership.changed",),
        (
            "SELECT membership_id || ':' || 'joined' FROM programme_membership UNION ALL "
            "SELECT membership_id || ':' || 'left' FROM programme_membership WHERE left_at IS NOT NULL ORDER BY 1"
        ),
    ),
    (
        "telling of totals",
        ("totals.told",),
        "SELECT release_id FROM total_release ORDER BY release_id",
    ),
    (
        "issuance of blocks",
        ("blocks.pooled",),
        "SELECT issuance_id FROM credit_issuance ORDER BY issuance_id",
    ),
    (
        "step of a block",
        ("block.changed",),
        "SELECT number || ':' || steps FROM credit_block WHERE steps > 0 ORDER BY number",
    ),
    (
        "attestation",
        ("attestation.issued",),
        "SELECT attestation_id FROM attestation ORDER BY attestation_id",
    ),
    (
        "revocation of attestation",
        ("attestation.revoked",),
        "SELECT attestation_id FROM attestation WHERE revoked_at IS NOT NULL ORDER BY attestation_id",
    ),
    (
        "opening of breaks",
        ("reconciliation.done",),
        "SELECT DISTINCT opened_by FROM statement_break ORDER BY opened_by",
    ),
    (
        "closing of breaks",
        ("reconciliation.done", "break.changed"),
        "SELECT DISTINCT closed_by FROM statement_break WHERE closed_at IS NOT NULL ORDER BY closed_by",
    ),
    (
        "step of a break",
        ("break.changed",),
        "SELECT break_id || ':' || steps FROM statement_break WHERE steps > 0 ORDER BY break_id",
    ),
    (
        "comparison",
        ("reconciliation.done",),
        "SELECT window_id || ':' || platform || ':' FROM reconciliation ORDER BY window_id, platform",
    ),
)


def changes_have_leaves(books: Books) -> Finding:
    """Look for changes whose leaf nobody remembers."""
    wrong, changes = Offenders(), 0
    for what, kinds, sql in _CHANGES:
        known = {reference for kind in kinds for reference in _references(books, kind)}
        begins = {_up_to_second_colon(reference) for reference in known} if what == "comparison" else known
        for (reference,) in books.rows(sql):
            changes += 1
            if str(reference) not in begins:
                wrong.add(f"{what} {str(reference).rstrip(':')} has no leaf")
    for what, reference, has_leaf in (
        *_groups(books), *_grants(books), *_links(books), *_participants(books), *_erasures(books), *_keys(books),
    ):  # fmt: skip
        changes += 1
        if not has_leaf:
            wrong.add(f"{what} {reference} has no leaf")
    return Finding(figure=f"{changes:,} changes", wrong=wrong)


def leaves_are_there(books: Books) -> Finding:
    """Look for changes whose leaf is not in the log, has no bytes or is of another kind."""
    wrong = Offenders()
    for kind, leaf in books.rows(
        "SELECT c.kind, c.leaf_id FROM change_leaf c LEFT JOIN log_leaf l ON l.leaf_id = c.leaf_id AND l.kind = c.kind "
        "LEFT JOIN log_body b ON b.leaf_id = l.leaf_id WHERE b.leaf_id IS NULL ORDER BY c.leaf_id, c.kind"
    ):
        wrong.add(f"leaf {leaf} is not in the log as {kind}")
    for leaf, count in books.rows(
        "SELECT leaf_id, COUNT(*) FROM change_leaf GROUP BY leaf_id HAVING COUNT(*) > 1 ORDER BY leaf_id"
    ):
        wrong.add(f"leaf {leaf} stands for {count} changes")
    return Finding(figure=f"{books.count('change_leaf'):,} remembered leaves", wrong=wrong)


def _references(books: Books, kind: str) -> Iterator[str]:
    for (reference,) in books.rows("SELECT reference FROM change_leaf WHERE kind = :kind", kind=kind):
        yield str(reference)


def _up_to_second_colon(reference: str) -> str:
    return ":".join(reference.split(":")[:2]) + ":"


def _groups(books: Books) -> Iterator[tuple[str, str, bool]]:
    known = set(_references(books, "entries.posted"))
    for window, cleared in books.rows("SELECT window_id, groups_cleared FROM clearing_window ORDER BY window_id"):
        for group in range(1, cleared + 1):
            yield "group of entries", f"{window}:{group}", f"{window}:{group}" in known
    # Entries that no cleared group and no final window accounts for were posted past the log. What staff take back, its
    # adjustment accounts for, in whatever window.
    for window, kind in books.rows(
        "SELECT DISTINCT e.window_id, e.kind FROM journal_entry e JOIN clearing_window w ON w.window_id = e.window_id "
        "WHERE (e.kind = 'issue' AND w.groups_cleared = 0) OR (e.kind = 'hold' AND w.state <> 'final') "
        "OR (e.kind = 'reverse' AND e.reason = 'superseded_version' AND w.groups_cleared = 0) "
        "ORDER BY e.window_id, e.kind"
    ):
        yield f"{kind} entries of window", f"{window}", False


def _grants(books: Books) -> Iterator[tuple[str, str, bool]]:
    """The reference is the verb and then the ids in order of their names: grant, recipient, state, version."""
    known = {
        reference.partition(":")[2]
        for reference in _references(books, "consent.changed")
        if reference.startswith("grant.")
    }
    for grant, version, recipient, state in books.rows(
        "SELECT grant_id, version, recipient, state FROM grant_version ORDER BY grant_id, version"
    ):
        yield f"version {version} of grant", grant, f"{grant}:{recipient}:{state}:{version}" in known


def _links(books: Books) -> Iterator[tuple[str, str, bool]]:
    """The reference is the verb, the grant, the link and more; the grant may have been another one since."""
    opened, closed = set(), set()
    for reference in _references(books, "link.changed"):
        verb, *ids = reference.split(":")
        if verb == "link.opened":
            opened.add(ids[1])
        elif verb == "link.revoked":
            closed.add(ids[0])
    for link, is_closed in books.rows(
        "SELECT link_id, CASE WHEN valid_until IS NULL THEN 0 ELSE 1 END FROM link ORDER BY link_id"
    ):
        yield "opening of link", link, link in opened
        if is_closed:
            yield "end of link", link, link in closed


def _keys(books: Books) -> Iterator[tuple[str, str, bool]]:
    """The first key of each kind came with the installation; every later one is a rotation."""
    known = {_up_to_second_colon(reference) for reference in _references(books, "key.rotated")}
    for name in books.hub.ring.keys.names:
        key, is_key = name.removesuffix(".key"), name.endswith(".key") and not name.startswith("client-")
        if is_key and not key.endswith("-0001"):
            yield "key", key, f"added:{key}:" in known


def _erasures(books: Books) -> Iterator[tuple[str, str, bool]]:
    """The reference is the person, who is not named in a report."""
    known = set(_references(books, "subject.erased"))
    for (subject,) in books.rows("SELECT subject_id FROM person WHERE erased_at IS NOT NULL ORDER BY subject_id"):
        yield "erasure of", "somebody", str(subject) in known


def _participants(books: Books) -> Iterator[tuple[str, str, bool]]:
    known = {_up_to_second_colon(f"{reference}:") for reference in _references(books, "participant.changed")}
    for participant, digest in books.rows(
        "SELECT participant_id, configuration_digest FROM participant ORDER BY participant_id"
    ):
        yield "configuration of", participant, f"{participant}:{bytes(digest).hex()[:16]}:" in known
