"""Corruptions of the log and of what it vouches for: leaves, tiles, windows, batches, links and seals."""

from tests_support.corruption import corruption, leaf

LOG = (
    *(
        corruption("changes_have_leaves", f"a {kind} leaf is forgotten", f"DELETE FROM change_leaf WHERE {which}")
        for kind, which in (
            ("batch", "kind = 'batch.received' AND reference = '1'"),
            ("grant", "kind = 'consent.changed' AND reference LIKE 'grant.activated:%'"),
            ("revoked grant", "kind = 'consent.changed' AND reference LIKE 'grant.revoked:%'"),
            ("link", "kind = 'link.changed' AND reference LIKE 'link.opened:%'"),
            ("closed link", "kind = 'link.changed' AND reference LIKE 'link.revoked:%'"),
            ("sealed window", "kind = 'window.sealed' AND reference = '1'"),
            ("cleared window", "kind = 'window.cleared' AND reference = '3'"),
            ("provisional window", "kind = 'window.provisional' AND reference = '2'"),
            ("final window", "kind = 'window.final' AND reference = '2'"),
            ("comparison", "kind = 'reconciliation.done' AND reference LIKE '1:%'"),
            ("group of entries", "kind = 'entries.posted' AND reference = '3:1'"),
            ("participant", "kind = 'participant.changed' AND reference LIKE 'kuaidian:%'"),
        )
    ),
    corruption(
        "changes_have_leaves", "something is held in a window that is not final",
        "UPDATE journal_entry SET window_id = 3 WHERE entry_id = :hold_li",
    ),
    corruption(
        "leaves_are_there", "a change remembers a leaf that is not there",
        "UPDATE change_leaf SET leaf_id = 999999 WHERE kind = 'window.sealed' AND reference = '1'",
    ),
    corruption(
        "leaves_are_there", "two changes share a leaf",
        "UPDATE change_leaf SET leaf_id = (SELECT leaf_id FROM change_leaf WHERE kind = 'window.sealed' "
        "AND reference = '2') WHERE kind = 'window.sealed' AND reference = '1'",
    ),
    corruption("leaves_are_there", "a leaf lost its bytes", "DELETE FROM log_body WHERE leaf_id = :waiting_leaf"),
    corruption("log_is_dense", "an index was given to no leaf", "UPDATE log_head SET sequenced = sequenced + 1"),
    corruption(
        "log_is_dense", "a leaf stands beyond a gap",
        "UPDATE log_leaf SET first_index = 100000 WHERE leaf_id = :waiting_leaf",
    ),
    corruption(
        "log_recomputes", "a leaf says something else",
        "UPDATE log_body SET data = :other_body WHERE leaf_id = :first_leaf",
    ),
    corruption(
        "log_recomputes", "a hash of a tile is another", "UPDATE log_tile SET data = :other_tile WHERE level = 0"
    ),
    corruption("log_recomputes", "a tile is gone", "DELETE FROM log_tile WHERE level = 0"),
    corruption("log_recomputes", "another key signed", "UPDATE log_head SET checkpoint = :forged_checkpoint"),
    corruption("log_recomputes", "the checkpoint is gone", "UPDATE log_head SET checkpoint = NULL"),
    corruption(
        "windows_chain", "a window begins later",
        "UPDATE clearing_window SET first_seq = first_seq + 1 WHERE window_id = 4",
    ),
    corruption(
        "windows_chain", "a window ends earlier",
        "UPDATE clearing_window SET last_seq = last_seq - 1 WHERE window_id = 3",
    ),
    corruption(
        "windows_chain", "no window is open",
        "UPDATE clearing_window SET state = 'closed' WHERE window_id = 4",
    ),
    corruption(
        "windows_chain", "a window is said to be provisional", "UPDATE clearing_window SET state = 'provisional' "
        "WHERE window_id = 3",
    ),
    corruption(
        "final_roots_recompute", "a decision of a final window has another rule",
        "UPDATE decision SET rule = 'T9' WHERE record_id = :record_2",
    ),
    corruption(
        "final_roots_recompute", "a final window has another root",
        "UPDATE clearing_window SET root = :other_root WHERE window_id = 2",
    ),
    corruption(
        "final_roots_recompute", "a final window has another manifest",
        "UPDATE clearing_window SET manifest = :other_manifest WHERE window_id = 2",
    ),
    corruption(
        "window_keys_are_committed", "an act of a final window has no key",
        "DELETE FROM window_event_key WHERE event_id = :record_2",
    ),
    corruption(
        "window_keys_are_committed", "an act of a final window has another act's key",
        "UPDATE window_event_key SET token = (SELECT token FROM window_event_key WHERE window_id = 2 ORDER BY token LIMIT 1) "
        "WHERE event_id = :record_2",
    ),
    corruption(
        "batches_commit_to_records", "a record has another digest",
        "UPDATE source_record SET digest = :other_root WHERE record_id = :record_9",
    ),
    corruption(
        "batches_commit_to_records", "a batch has another root",
        "UPDATE batch SET records_root = :other_root WHERE batch_id = :batch_12",
    ),
    corruption(
        "batches_commit_to_records", "a record is of no batch",
        "UPDATE source_record SET batch_id = 777 WHERE record_id = :record_9",
    ),
    corruption(
        "accounts_have_one_owner", "a link that was closed is open beside the next owner's",
        "DROP INDEX uq_link_owner", "UPDATE link SET valid_until = NULL WHERE link_id = :zhao_link",
    ),
    corruption(
        "records_belong_to_owners", "a record came by somebody else's link",
        "UPDATE source_record SET link_id = :zhao_link WHERE record_id = :record_9d",
    ),
    corruption(
        "records_belong_to_owners", "a record is of an act before the link",
        "UPDATE link SET valid_from = (SELECT MAX(received_at) FROM batch) WHERE link_id = :qian_link",
    ),
    corruption("leaves_name_nobody", "a leaf holds a subject id", *leaf(":leaf_of_subject")),
    corruption("leaves_name_nobody", "a leaf holds a name", *leaf(":leaf_of_name")),
    corruption("leaves_name_nobody", "a leaf holds a name among other words", *leaf(":leaf_of_words")),
    corruption("leaves_name_nobody", "a leaf holds an account's key", *leaf(":leaf_of_account")),
    *(
        corruption(
            "sealed_columns_are_sealed", f"{table}.{column} is in the open",
            f"UPDATE {table} SET {column} = :plain WHERE {which}",
        )
        for table, column, which in (
            ("source_record", "payload", "record_id = :record_9"),
            ("quarantined", "payload", "payload IS NOT NULL"),
            ("person", "data_key", "subject_id = :he"),  # who has no receipt that this keeps from opening
            ("link", "account_sealed", "link_id = :zhao_link"),
            ("link", "token_sealed", "link_id = :zhao_link"),
            ("participant", "configuration", "participant_id = 'kuaidian'"),
        )
    ),
    corruption(
        "refused_rows_keep_nothing", "a row without consent keeps its payload",
        "UPDATE quarantined SET payload = (SELECT payload FROM quarantined WHERE payload IS NOT NULL LIMIT 1) "
        "WHERE reason = 'revoked'",
    ),
    corruption(
        "seals_name_known_keys", "a participant's configuration is sealed by a key that nobody has",
        "UPDATE participant SET configuration = :of_no_key WHERE participant_id = 'kuaidian'",
    ),
)  # fmt: skip
