"""Corruptions of records and of what people allowed: versions, amounts, grants and receipts."""

from tests_support.corruption import copied, corruption, leaf

RECORDS = (
    corruption(
        "records_are_told_once", "a replay was stored as a record, with batch and leaf",
        "LOOSEN source_record", "LOOSEN batch",
        copied("source_record", record_id="900", batch_id="900", superseded_by=":record_12"),
        copied("reduction_record", record_id="900"),
        copied("batch", batch_id="900", accepted="1", records_root=":root_of_12"),
        *leaf(":leaf_of_replay"),
        "INSERT INTO change_leaf (kind, reference, leaf_id) VALUES ('batch.received', '900', 9000)",
    ),
    corruption(
        "one_version_stands", "a superseded version stands again",
        "DROP INDEX uq_source_record_standing",
        "UPDATE source_record SET superseded_by = NULL WHERE record_id = :record_1",
    ),
    corruption(
        "one_version_stands", "a record is superseded by another act's",
        "UPDATE source_record SET superseded_by = :record_9 WHERE record_id = :record_1",
    ),
    corruption(
        "records_are_translated", "a reduction record is gone",
        "DELETE FROM reduction_record WHERE record_id = :record_9d",
    ),
    corruption(
        "records_are_translated", "a reduction record is somebody else's",
        "UPDATE reduction_record SET subject_id = :wang WHERE record_id = :record_9d",
    ),
    corruption(
        "versions_are_known", "a mapping is not installed",
        "UPDATE reduction_record SET mapping = 'nowhere.acts.v1' WHERE record_id = :record_9",
    ),
    corruption(
        "versions_are_known", "a methodology is not installed",
        "UPDATE reduction_record SET methodology = 'hub-1999.1' WHERE record_id = :record_9",
    ),
    corruption(
        "versions_are_known", "a clearing policy is not installed",
        "UPDATE decision SET policy = 'clearing-1999.1' WHERE record_id = :record_9",
    ),
    corruption(
        "amounts_recompute", "an amount is one milligram more",
        "UPDATE reduction_record SET reference_mg = reference_mg + 1 WHERE record_id = :record_9",
    ),
    corruption(
        "amounts_recompute", "a quantity is changed",
        "UPDATE reduction_record SET quantity_micro = quantity_micro + 1000000 WHERE record_id = :record_9d",
    ),
    corruption(
        "amounts_recompute", "an amount is gone",
        "UPDATE reduction_record SET reference_mg = NULL WHERE record_id = :record_9",
    ),
    corruption(
        "collected_as_allowed", "the grant never allowed to collect",
        "UPDATE grant_version SET purposes = '[\"clear\",\"credit\"]' WHERE grant_id = :zhao_grant AND version = 2",
    ),
    corruption(
        "collected_as_allowed", "a record came before the grant was given",
        "UPDATE source_record SET received_us = received_us - 86400000000 WHERE record_id = :record_4",
    ),
    corruption(
        "collected_as_allowed", "a record came after the grant was revoked",
        "UPDATE source_record SET received_us = received_us + 86400000000 WHERE record_id = :record_4",
    ),
    corruption(
        "cleared_as_allowed", "the grant never allowed to clear",
        "UPDATE grant_version SET purposes = '[\"collect\",\"credit\"]' WHERE grant_id = :zhao_grant AND version = 2",
    ),
    corruption(
        "cleared_as_allowed", "a record of somebody who had withdrawn is held for review",
        "UPDATE decision SET verdict = 'held', reason = 'tie' WHERE record_id = :record_13",
    ),
    corruption(
        "credited_as_allowed", "the grant never allowed to credit",
        "UPDATE grant_version SET purposes = '[\"clear\",\"collect\"]' WHERE grant_id = :zhao_grant AND version = 2",
    ),
    corruption(
        "guard_reads_the_latest", "the guard still takes a revoked grant for active",
        "UPDATE grant_current SET state = 'active' WHERE grant_id = :zhao_grant",
    ),
    corruption(
        "guard_reads_the_latest", "the guard takes a grant for one that nobody gave",
        "INSERT INTO grant_current (subject_id, recipient, grant_id, version, state, terms_id, valid_from_us, "
        "valid_until_us) SELECT subject_id, 'somebody', 'g_forged', 1, 'active', terms_id, valid_from_us, "
        "valid_until_us FROM grant_current WHERE grant_id = :zhao_grant",
    ),
    corruption(
        "guard_reads_the_latest", "the words of a grant are changed",
        "UPDATE grant_terms SET purposes = '[\"disclose\"]'",
    ),
    corruption(
        "sensitive_classes_were_decided", "a yes to whereabouts was never given",
        "UPDATE grant_version SET sensitive = '[\"financial_account\"]' WHERE grant_id = :zhao_grant AND version = 2",
    ),
    corruption(
        "decisions_have_receipts", "a receipt is gone",
        "DELETE FROM receipt WHERE grant_id = :zhao_grant AND version = 2",
    ),
    corruption(
        "decisions_have_receipts", "a receipt has another digest",
        "UPDATE receipt SET digest = :other_root WHERE grant_id = :zhao_grant AND version = 3",
    ),
    corruption(
        "decisions_have_receipts", "a receipt is another person's",
        "UPDATE receipt SET jws_sealed = (SELECT jws_sealed FROM receipt WHERE grant_id = :qian_grant AND version = 2) "
        "WHERE grant_id = :zhao_grant AND version = 2",
    ),
    corruption(
        "decisions_have_receipts", "a receipt was never logged",
        "UPDATE receipt SET digest = :other_root WHERE subject_id IN (SELECT subject_id FROM person "
        "WHERE erased_at IS NOT NULL) AND version = 2",
    ),
    corruption(
        "guardians_spoke_for_children", "a child said yes for itself",
        "UPDATE grant_version SET assurance = 'password' WHERE grant_id = :guo_grant AND version = 2",
    ),
)  # fmt: skip
