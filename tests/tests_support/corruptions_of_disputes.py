"""Corruptions of disputes: locks that lie, outcomes without effect, ways that nobody went, words that stayed."""

from tests_support.corruption import corruption, entry, side

LIVE = "(SELECT dispute_id FROM dispute WHERE closed_at IS NULL)"
UPHELD = "(SELECT dispute_id FROM dispute WHERE state = 'upheld')"
LOCKED = "(SELECT account_id FROM account WHERE kind = 'locked' AND subject_id = :qian)"
PENDING = "(SELECT account_id FROM account WHERE kind = 'pending' AND subject_id = :qian)"
DISPUTES = (
    corruption(
        "disputes_lock_what_is_posted", "a lock says a milligram less than is locked",
        f"UPDATE dispute_lock SET both_mg = both_mg - 1 WHERE dispute_id = {LIVE}",
    ),
    corruption(
        "disputes_lock_what_is_posted", "a lock is forgotten", f"DELETE FROM dispute_lock WHERE dispute_id = {LIVE}"
    ),
    corruption(
        "disputes_lock_what_is_posted", "a lock outlives its dispute",
        f"UPDATE dispute_lock SET unlocked_at = NULL WHERE dispute_id = {UPHELD}",
    ),
    corruption(
        "disputes_lock_what_is_posted", "a lock is of an act that nobody disputes",
        f"UPDATE dispute_lock SET event_id = :record_2 WHERE dispute_id = {LIVE}",
    ),
    corruption(
        "disputes_lock_what_is_posted", "locked grams are let go behind the dispute",
        entry("hold", 1, "1"), side(0, LOCKED, "-5", window=3, vintage=20261119),
        side(1, PENDING, "5", window=3, vintage=20261119),
    ),
    corruption(
        "outcomes_are_posted", "an outcome says that more followed than did",
        f"UPDATE dispute SET adjustments = adjustments + 1 WHERE dispute_id = {UPHELD}",
    ),
    corruption(
        "outcomes_are_posted", "an adjustment names a dispute that nobody decided",
        f"UPDATE adjustment SET case_id = {LIVE} WHERE case_id IS NULL",
    ),
    corruption(
        "disputes_went_their_way", "a dispute is in a review that nobody took it to",
        f"UPDATE dispute SET state = 'review' WHERE dispute_id = {LIVE}",
    ),
    corruption(
        "disputes_went_their_way", "a dispute that is over is about something else than it was",
        "UPDATE dispute SET claimed_mg = 7 WHERE state = 'withdrawn'",
    ),
    corruption(
        "disputes_went_their_way", "a text is taken out of the middle",
        f"DELETE FROM dispute_evidence WHERE number = 1 AND dispute_id = {UPHELD}",
    ),
    corruption(
        "erased_disputes_are_empty", "what an erased person wrote is kept",
        "UPDATE dispute_evidence SET text_sealed = (SELECT text_sealed FROM dispute_evidence "
        f"WHERE dispute_id = {UPHELD} AND number = 1) WHERE subject_id = :erased",
    ),
    corruption(
        "erased_disputes_are_empty", "why an erased person's dispute ended is kept",
        "UPDATE dispute SET why = 'seen with wu' WHERE subject_id = :erased",
    ),
    corruption(
        "sealed_columns_are_sealed", "what was written in a dispute is in the open",
        f"UPDATE dispute_evidence SET text_sealed = :plain WHERE dispute_id = {LIVE}",
    ),
    corruption(
        "changes_have_leaves", "the leaf of a dispute's last step is forgotten",
        "DELETE FROM change_leaf WHERE kind = 'dispute.changed' AND reference = "
        f"(SELECT dispute_id || ':' || steps FROM dispute WHERE dispute_id = {LIVE})",
    ),
)  # fmt: skip
