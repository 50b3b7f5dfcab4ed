"""Corruptions of told totals: a month that nobody lived, sums of few people, and who never joined."""

from tests_support.corruption import corruption

TOTALS = (
    corruption(
        "totals_recompute", "a month is told in which nobody did anything",
        "INSERT INTO total_release (release_id, facts, month, first_window, last_window, k, p_percent, cells, digest, "
        "told_at) SELECT 900, 'counted', 199911, 1, 2, 10, 25, 1, :other_root, created_at FROM log_leaf "
        "WHERE leaf_id = :waiting_leaf",
        "INSERT INTO total_cell (release_id, cell, people, acts, mg) VALUES (900, 1, 10, 10, 1000)",
        # Whoever forges a release and knows the house forges its leaf too.
        "INSERT INTO log_leaf (leaf_id, first_index, count, kind, created_at) "
        "SELECT 9000, NULL, 1, 'totals.told', created_at FROM log_leaf WHERE leaf_id = :waiting_leaf",
        "INSERT INTO log_body (leaf_id, data) VALUES (9000, :leaf_of_replay)",
        "INSERT INTO change_leaf (kind, reference, leaf_id) VALUES ('totals.told', '900', 9000)",
    ),
    corruption(
        "totals_are_of_many", "people behind a sum are few",
        "INSERT INTO total_people (month, line, split_by, people) VALUES (202611, 1, '', 3)",
    ),
    corruption(
        "changes_have_leaves", "somebody is in a programme without having joined",
        "INSERT INTO programme (programme_id, participant_id, kind, name_zh, name_en, since, until, regions, behaviours, "
        "own_file, rules_digest, created_at) SELECT 'forged', participant_id, 'employer', 'n', 'n', DATE('2026-11-01'), "
        "DATE('2026-12-01'), '[]', '[]', (1 = 0), configuration_digest, created_at FROM participant "
        "WHERE participant_id = 'kuaidian'",
        "INSERT INTO programme_membership (membership_id, programme_id, subject_id, joined_at, joined_after) "
        "SELECT 'm', 'forged', subject_id, created_at, 0 FROM person WHERE subject_id = :li",
    ),
)  # fmt: skip
