"""Corruptions of an erasure: what must be gone, and what must have stayed."""

from tests_support.corruption import corruption, entry, side

ERASURE = (
    corruption(
        "erased_people_are_gone", "an erased person still has a name",
        "UPDATE person SET username = 'wu.di' WHERE subject_id = :erased",
    ),
    corruption(
        "erased_people_are_gone", "an erased person still has a key",
        "UPDATE person SET kek_id = 'kek-0001' WHERE subject_id = :erased",
    ),
    corruption(
        "erased_people_left_nothing_open", "an erased person has a passkey",
        "INSERT INTO passkey (credential_hash, credential_id, subject_id, user_handle, public_key, sign_count, name, "
        "transports, created_at) SELECT 'h', :plain, subject_id, :plain, :plain, 0, 'p', '[]', created_at FROM person "
        "WHERE subject_id = :erased",
    ),
    corruption(
        "erased_people_left_nothing_open", "an erased person is signed in",
        "INSERT INTO web_session (token_hash, subject_id, csrf, created_at, expires_at, state) "
        "SELECT 'h', subject_id, 'c', created_at, created_at, '{}' FROM person WHERE subject_id = :erased",
    ),
    corruption(
        "erased_people_left_nothing_open", "a token of an erased person is left",
        "INSERT INTO access_token (token_hash, client_id, subject_id, scope, issued_at, expires_at) "
        "SELECT 'h', 'c', subject_id, '', created_at, created_at FROM person WHERE subject_id = :erased",
    ),
    corruption(
        "erased_records_are_empty", "an erased person's record still has its content",
        "UPDATE source_record SET payload = (SELECT payload FROM source_record WHERE record_id = :record_9) "
        "WHERE subject_id = :erased",
    ),
    corruption(
        "erased_records_are_empty", "an erased person's act still has its order number",
        "UPDATE reduction_record SET event_key = 7 WHERE subject_id = :erased",
    ),
    corruption(
        "erased_records_are_empty", "an erased person's act still has its time of day",
        "UPDATE reduction_record SET start_us = start_us + 60000000, end_us = end_us + 60000000 "
        "WHERE subject_id = :erased",
    ),
    corruption(
        "erased_records_are_empty", "an erased person's event still has its time of day",
        "UPDATE event SET start_us = start_us + 60000000, end_us = end_us + 60000000 WHERE subject_id = :erased",
    ),
    corruption(
        "erased_records_are_empty", "an erased person's link still has its account",
        "UPDATE link SET account_sealed = (SELECT account_sealed FROM link WHERE link_id = :zhao_link) "
        "WHERE subject_id = :erased",
    ),
    corruption(
        "erased_records_are_spent", "the mark of an erased person's record is gone",
        "DELETE FROM spent_record WHERE token = (SELECT token FROM spent_record ORDER BY token LIMIT 1)",
    ),
    corruption(
        "only_the_erased_forfeit", "an erased person holds grams again",
        entry("correct", 4, "1"), side(0, ":erased_forfeited", "-:mg_9"), side(1, ":erased_held", ":mg_9"),
    ),
    corruption(
        "only_the_erased_forfeit", "somebody's grams are forfeited who was not erased",
        entry("forfeit", 4, ":li"), side(0, ":li_held", "-:mg_9"), side(1, "(SELECT 9000)", ":mg_9"),
        "INSERT INTO account (account_id, kind, subject_id) VALUES (9000, 'forfeited', :li)",
    ),
    corruption(
        "changes_have_leaves", "the leaf of an erasure is forgotten",
        "DELETE FROM change_leaf WHERE kind = 'subject.erased'",
    ),
)  # fmt: skip
