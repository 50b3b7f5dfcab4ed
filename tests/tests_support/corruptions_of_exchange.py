"""Corruptions of what leaves are found by, of told hours, of accesses by command and of regulators' software."""

from tests_support.corruption import corruption

EXCHANGE = (
    *(
        corruption("changes_have_leaves", f"a {what} leaf is forgotten", f"DELETE FROM change_leaf WHERE {which}")
        for what, which in (
            ("window's opening", "kind = 'window.opened' AND reference = '3'"),
            ("told hour's", "kind = 'exchange.counted'"),
            (
                "command's access",
                "kind = 'access.made' AND reference IN (SELECT access_id FROM terminal_access WHERE salt IS NULL)",
            ),
        )
    ),
    corruption(
        "leaves_can_be_found", "a leaf is not found any more",
        "DELETE FROM log_entry WHERE leaf_id = :first_leaf",
    ),
    corruption(
        "leaves_can_be_found", "a batch is found as another platform's",
        "UPDATE log_entry SET participant = 'kuaidian' WHERE kind = 'batch.received' AND batch_id = 1",
    ),
    corruption(
        "leaves_can_be_found", "a leaf is found in another window",
        "UPDATE log_entry SET window_id = 2 WHERE kind = 'window.sealed' AND window_id = 1",
    ),
    corruption(
        "hours_are_counted", "refused requests were never made",
        "DELETE FROM exchange_count WHERE outcome = 'refused'",
    ),
    corruption(
        "hours_are_counted", "an hour was told otherwise",
        "UPDATE exchange_hour SET requests = requests + 1",
    ),
    corruption(
        "software_is_of_regulators", "software has the operator's rights",
        "UPDATE staff_client SET staff_id = (SELECT staff_id FROM staff WHERE role = 'operator')",
    ),
)  # fmt: skip
