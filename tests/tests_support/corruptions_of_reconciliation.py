"""Corruptions of comparisons and breaks: figures that are no longer the records', and breaks that one side alone closed."""

from tests_support.corruption import corruption

_SIGNED = "(SELECT MIN(break_id) FROM statement_break WHERE closed_why = 'signed')"
_LIVE = "(SELECT MIN(break_id) FROM statement_break WHERE closed_at IS NULL)"

RECONCILIATION = (
    *(
        corruption("comparisons_recompute", f"a comparison has another {what}", f"UPDATE stream_reconciliation SET {change}")
        for what, change in (
            ("count", "ours_count = ours_count + 1"),
            ("sum", "ours_mg = ours_mg + 1"),
            ("say of its digests", "same_digest = NOT same_digest"),
            ("way of numbering", "numbered = NOT numbered"),
            ("digest", "ours_digest = theirs_digest"),
        )
    ),
    corruption(
        "comparisons_recompute", "a comparison has other rows",
        "UPDATE reconciliation SET ours_rows = ours_rows + 1 WHERE window_id = 1 AND platform = 'beijing-green-life'",
    ),
    corruption(
        "breaks_are_settled", "a closed break has lost the hub's signature",
        f"UPDATE statement_break SET hub_signed_at = NULL WHERE break_id = {_SIGNED}",
    ),
    corruption(
        "breaks_are_settled", "a signed break is said to be gone",
        f"UPDATE statement_break SET closed_why = 'gone' WHERE break_id = {_SIGNED}",
    ),
    corruption(
        "breaks_are_settled", "a signature is not in the log",
        f"UPDATE statement_break SET steps = steps - 1 WHERE break_id = {_SIGNED}",
    ),
    corruption(
        "breaks_are_settled", "a break that lives has both signatures",
        f"UPDATE statement_break SET platform_signed_at = opened_at, hub_signed_at = opened_at WHERE break_id = {_LIVE}",
    ),
    corruption(
        "breaks_are_settled", "a break that was gone is forgotten",
        "DELETE FROM statement_break WHERE closed_why = 'gone'",
    ),
    corruption(
        "breaks_are_settled", "a break that lives is forgotten", f"DELETE FROM statement_break WHERE break_id = {_LIVE}"
    ),
    corruption(
        "breaks_are_settled", "a break was closed by another window's comparison",
        "UPDATE statement_break SET window_id = 2 WHERE closed_why = 'gone'",
    ),
    corruption(
        "changes_have_leaves", "a break's last step is forgotten",
        f"DELETE FROM change_leaf WHERE kind = 'break.changed' AND reference LIKE {_SIGNED} || '_3'",
    ),
)  # fmt: skip
