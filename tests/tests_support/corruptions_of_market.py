"""Corruptions of blocks: of another year, of serials that nobody gave, used without an entry, of others' shares and money."""

from tests_support.corruption import corruption, entry, side

A_SHARE = "line = 0 AND number = (SELECT MIN(number) FROM credit_block)"
MARKET = (
    corruption(
        "blocks_are_whole", "blocks are of another year than their acts",
        "UPDATE credit_block SET vintage_year = 2025", "UPDATE credit_issuance SET vintage_year = 2025",
    ),
    corruption(
        "serials_are_dense", "an issuance has given a serial that no block has",
        "UPDATE credit_issuance SET serial_last = serial_last + 1",
    ),
    corruption(
        "blocks_are_posted", "a retired block is held again",
        "UPDATE credit_block SET state = 'held', purpose = NULL, beneficiary = NULL, retired_at = NULL "
        "WHERE state = 'retired'",
    ),
    corruption(
        "blocks_are_posted", "a block is retired without an entry",
        "UPDATE credit_block SET state = 'retired', beneficiary = 'x', retired_at = changed_at, expires_at = NULL "
        "WHERE state = 'frozen'",
    ),
    corruption(
        "blocks_are_posted", "a block is pending without a number of the other registry",
        "UPDATE credit_block SET state = 'pending_offset' WHERE state = 'frozen'",
    ),
    corruption(
        "blocks_are_posted", "grams are pooled into no block",
        "INSERT INTO account (account_id, kind, subject_id, platform) VALUES (9000, 'issued', :li, 'kuaidian')",
        entry("pool", 3, "900"), side(0, ":li_held", "-5"), side(1, "9000", "5"),
    ),
    corruption(
        "shares_make_their_roots", "a share has another salt",
        f"UPDATE block_share SET salt = :other_root WHERE {A_SHARE}",
    ),
    corruption(
        "shares_make_their_roots", "an issuance commits to other shares",
        "UPDATE credit_issuance SET shares_root = :other_root",
    ),
    corruption(
        "income_is_shared", "somebody is owed a fen too much",
        "UPDATE block_payout SET fen = fen + 1 WHERE subject_id = (SELECT MIN(subject_id) FROM block_payout)",
    ),
    corruption(
        "income_is_shared", "an income is owed to somebody else",
        "UPDATE block_payout SET subject_id = :li WHERE subject_id = (SELECT MIN(subject_id) FROM block_payout)",
    ),
    corruption(
        "changes_have_leaves", "the leaf of a block's step is forgotten",
        "DELETE FROM change_leaf WHERE kind = 'block.changed'",
    ),
    corruption(
        "changes_have_leaves", "the leaf of an issuance is forgotten",
        "DELETE FROM change_leaf WHERE kind = 'blocks.pooled'",
    ),
)  # fmt: skip
