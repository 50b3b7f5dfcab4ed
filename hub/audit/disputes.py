"""Invariants 4, 5, 10 and 12, disputes: what they lock, what follows from them, how they went, who was erased.

I/O: reads the database. ADR 0037.
"""

from hashlib import sha256
from typing import Any

from hub.audit.bodies import leaf_bodies
from hub.audit.books import ERASED, Books
from hub.audit.report import Finding, Offenders
from standards.canonical import canonical_bytes

_LIVE = ("opened", "evidence", "review")
_DECIDED = ("upheld", "rejected")
_RIGHTS = ("both", "incentive", "attribute")
_MOVED = ", ".join(f"SUM(CASE WHEN p.rights = '{name}' THEN p.mg ELSE 0 END) AS {name}_mg" for name in _RIGHTS)
# What each entry of a lock put onto the person's account of locked grams, or took from it.
_ENTRIES = (
    f"SELECT e.kind, e.source_id, {_MOVED}, MIN(p.window_id) AS owner_window, MAX(p.window_id) AS other_window, "
    "MIN(p.vintage) AS vintage, MIN(a.subject_id) AS subject_id, COUNT(DISTINCT e.entry_id) AS entries "
    "FROM journal_entry e JOIN posting p ON p.entry_id = e.entry_id JOIN account a ON a.account_id = p.account_id "
    "WHERE e.kind IN ('lock', 'unlock') AND a.kind = 'locked' GROUP BY e.kind, e.source_id"
)


def disputes_lock_what_is_posted(books: Books) -> Finding:
    """Set what open disputes lock, and what others locked once, against the entries."""
    wrong = Offenders()
    same = " OR ".join(f"x.{name}_mg <> {{sign}}l.{name}_mg" for name in _RIGHTS)
    for kind, sign, needed in (("lock", "", "1 = 1"), ("unlock", "-", "l.unlocked_at IS NOT NULL")):
        for number, dispute in books.rows(
            f"SELECT l.number, l.dispute_id FROM dispute_lock l JOIN dispute d ON d.dispute_id = l.dispute_id "
            f"LEFT JOIN ({_ENTRIES}) x ON x.source_id = l.number AND x.kind = '{kind}' "
            f"WHERE ({needed} AND (x.source_id IS NULL OR x.entries <> 1 OR {same.format(sign=sign)} "
            "OR x.owner_window <> l.window_id OR x.other_window <> l.window_id OR x.vintage <> l.vintage "
            f"OR x.subject_id <> d.subject_id)) OR (NOT ({needed}) AND x.source_id IS NOT NULL) ORDER BY l.number"
        ):
            wrong.add(f"lock {number} of dispute {dispute}: its {kind} is posted otherwise, or not at all")
    for number, kind in books.rows(
        f"SELECT x.source_id, x.kind FROM ({_ENTRIES}) x LEFT JOIN dispute_lock l ON l.number = x.source_id "
        "WHERE l.number IS NULL ORDER BY x.source_id, x.kind"
    ):
        wrong.add(f"a {kind} is posted for lock {number}, which there is not")
    for (entry,) in books.rows(
        "SELECT DISTINCT e.entry_id FROM journal_entry e JOIN posting p ON p.entry_id = e.entry_id "
        "JOIN account a ON a.account_id = p.account_id WHERE (a.kind = 'locked') AND e.kind NOT IN ('lock', 'unlock') "
        "ORDER BY e.entry_id"
    ):
        wrong.add(f"entry {entry} moves locked grams, and is of no dispute")
    for number, dispute in books.rows(
        "SELECT l.number, l.dispute_id FROM dispute_lock l JOIN dispute d ON d.dispute_id = l.dispute_id "
        "LEFT JOIN source_record s ON s.record_id = l.event_id "
        "WHERE (l.unlocked_at IS NULL AND d.closed_at IS NOT NULL) OR COALESCE(l.event_id = d.event_id, "
        "s.link_id = d.link_id, 1 = 0) = (1 = 0) ORDER BY l.number"
    ):
        wrong.add(f"lock {number} of dispute {dispute} is of an act that it is not about, or outlives it")
    locked = books.number("SELECT COALESCE(SUM(both_mg + attribute_mg), 0) FROM dispute_lock WHERE unlocked_at IS NULL")
    return Finding(figure=f"{books.count('dispute_lock'):,} locks, {locked:,} mg locked now", wrong=wrong)


def outcomes_are_posted(books: Books) -> Finding:
    """Pair the disputes that were upheld with the adjustments that name them, both ways."""
    wrong = Offenders()
    for dispute, told, posted in books.rows(
        "SELECT d.dispute_id, d.adjustments, COUNT(a.adjustment_id) FROM dispute d LEFT JOIN adjustment a "
        "ON a.case_id = d.dispute_id AND a.at = d.closed_at AND a.reason = d.reason AND d.state = 'upheld' "
        "AND (a.event_id = d.event_id OR d.event_id IS NULL) "
        "GROUP BY d.dispute_id, d.adjustments HAVING COUNT(a.adjustment_id) <> d.adjustments ORDER BY d.dispute_id"
    ):
        wrong.add(f"dispute {dispute} says that {told} adjustments followed, and {posted} did")
    for (dispute,) in books.rows(
        "SELECT dispute_id FROM dispute WHERE (adjustments > 0 AND (state <> 'upheld' OR adjust = 'none')) "
        "OR (state = 'upheld' AND adjust <> 'none' AND adjustments = 0 AND target <> 'link') ORDER BY dispute_id"
    ):
        wrong.add(f"dispute {dispute} has an outcome without an effect, or an effect without an outcome")
    for adjustment, dispute in books.rows(
        "SELECT a.adjustment_id, d.dispute_id FROM adjustment a JOIN dispute d ON d.dispute_id = a.case_id "
        "WHERE d.state <> 'upheld' OR a.at <> d.closed_at ORDER BY a.adjustment_id"
    ):
        wrong.add(f"adjustment {adjustment} names dispute {dispute}, which did not decide it")
    upheld = books.count("dispute WHERE state = 'upheld'")
    return Finding(figure=f"{books.count('dispute'):,} disputes, {upheld:,} upheld", wrong=wrong)


def disputes_went_their_way(books: Books) -> Finding:
    """Look for disputes whose state, times and leaves do not fit together."""
    wrong, steps = Offenders(), 0
    leaves = leaf_bodies(books, "dispute.changed")
    at = {name: books.micros(f"{name}_at") for name in ("opened", "acknowledged", "review", "closed")}
    never = " OR ".join(f"{at[name]} < {at['opened']}" for name in ("acknowledged", "review", "closed"))
    for (dispute,) in books.rows(
        f"SELECT dispute_id FROM dispute WHERE {never} OR {at['closed']} < {at['review']} "
        f"OR {at['review']} < {at['acknowledged']} OR (state IN {_DECIDED}) <> (decided_by IS NOT NULL) "
        "OR (state = 'review' AND review_at IS NULL) OR (state = 'evidence' AND acknowledged_at IS NULL) "
        "OR (answer_due_at IS NOT NULL AND state <> 'evidence') ORDER BY dispute_id"
    ):
        wrong.add(f"dispute {dispute} is in a state that its times and its author do not fit")
    for dispute, count, last in books.rows(
        "SELECT dispute_id, COUNT(*), MAX(number) FROM dispute_evidence GROUP BY dispute_id "
        "HAVING COUNT(*) <> MAX(number) ORDER BY dispute_id"
    ):
        wrong.add(f"dispute {dispute} has {count} of {last} texts")
    for row in books.rows(
        "SELECT dispute_id, steps, state, target_key, reason, claimed_mg, adjust, closed_at FROM dispute ORDER BY dispute_id"
    ):
        dispute, count, state = row[:3]
        steps += count
        told = [leaves.get(f"{dispute}:{step}") for step in range(1, count + 1)]
        if count and told[-1] is None:
            continue  # changes_have_leaves says so
        if not count or any(one is None or one.get("step") != number for number, one in enumerate(told, 1)):
            wrong.add(f"dispute {dispute} took a step that the log does not tell")
        elif told[-1] is not None and (told[-1].get("state") != state or not _is_named(row, told[-1])):
            wrong.add(f"dispute {dispute} stands otherwise than the log tells")
    return Finding(figure=f"{books.count('dispute'):,} disputes in {steps:,} steps", wrong=wrong)


def erased_disputes_are_empty(books: Books) -> Finding:
    """Look for what erased people and others wrote about them, and for disputes of theirs that go on."""
    wrong = Offenders()
    for what, count in {
        "a text about an erased person is kept": books.count(
            f"dispute_evidence WHERE subject_id IN {ERASED} AND length(text_sealed) > 0"
        ),
        "a dispute about an erased person goes on, or says why it ended": books.count(
            f"dispute WHERE subject_id IN {ERASED} AND (closed_at IS NULL OR why <> '')"
        ),
    }.items():
        wrong.add_all(what for _ in range(count))
    return Finding(figure=f"{books.count('dispute_evidence'):,} texts", wrong=wrong)


def _is_named(row: tuple[Any, ...], leaf: dict[str, Any]) -> bool:
    """Whether the leaf of the last step names the row as it stands; of a step with a text, only who has that can tell."""
    dispute, steps, state, target, reason, claimed, adjust, _closed = row
    if state in _LIVE:
        return True
    told = {
        "adjust": adjust or "", "claimed_mg": str(claimed or ""), "dispute": dispute, "evidence": "", "reason": reason,
        "state": state, "step": str(steps), "target": target, "what": str(leaf.get("what", "")).removeprefix("dispute."),
    }  # fmt: skip
    return bool(leaf.get("digest") == sha256(canonical_bytes(told)).hexdigest())
