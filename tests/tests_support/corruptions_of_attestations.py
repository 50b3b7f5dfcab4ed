"""Corruptions of attestations: sums that the acts do not come to, consents and people that are gone, bits that lie."""

from tests_support.corruption import corruption

STANDING = "(SELECT attestation_id FROM attestation WHERE revoked_at IS NULL)"
ATTESTATIONS = (
    corruption(
        "attestations_are_covered", "an attestation says a milligram more than was cleared",
        f"UPDATE attestation SET cleared_mg = cleared_mg + 1 WHERE attestation_id = {STANDING}",
    ),
    corruption(
        "attestations_are_covered", "an attestation says a milligram more than is final",
        f"UPDATE attestation SET final_mg = final_mg + 1 WHERE attestation_id = {STANDING}",
    ),
    corruption(
        "attestations_are_covered", "an attestation's period is moved to days without acts",
        f"UPDATE attestation SET since = DATE('2026-11-01'), until = DATE('2026-11-02') WHERE attestation_id = {STANDING}",
    ),
    corruption(
        "attestations_rest_on_consent", "an attestation stands on a consent that was withdrawn",
        "UPDATE attestation SET recipient = 'hub', grant_id = :zhao_grant, grant_version = 2, "
        f"subject_id = subject_id WHERE attestation_id = {STANDING}",
    ),
    corruption(
        "attestations_rest_on_consent", "an attestation for a recipient stands on no consent",
        f"UPDATE attestation SET recipient = 'c_shop' WHERE attestation_id = {STANDING}",
    ),
    corruption(
        "status_bits_are_true", "a revoked attestation is made to stand again",
        "UPDATE attestation SET revoked_at = NULL, reason = NULL WHERE reason = 'by_person'",
    ),
    corruption(
        "status_bits_are_true", "the bits of a list are cut off",
        "UPDATE status_list SET bits = :other_root",
    ),
    corruption(
        "status_bits_are_true", "a list has given a place that nobody has",
        "UPDATE status_list SET used = used + 1",
    ),
    corruption(
        "erased_attestations_are_gone", "an erased person's attestation still says what it showed",
        "UPDATE attestation SET disclosed = '[\"acts\"]' WHERE reason = 'erased'",
    ),
    corruption(
        "erased_attestations_are_gone", "an erased person's attestation still has its sum",
        "UPDATE attestation SET cleared_mg = 7 WHERE reason = 'erased'",
    ),
    corruption(
        "sealed_columns_are_sealed", "a statement is in the open",
        f"UPDATE attestation SET statement_sealed = :plain WHERE attestation_id = {STANDING}",
    ),
    corruption(
        "changes_have_leaves", "the leaf of an attestation is forgotten",
        f"DELETE FROM change_leaf WHERE kind = 'attestation.issued' AND reference = {STANDING}",
    ),
    corruption(
        "changes_have_leaves", "the leaf of a revocation is forgotten",
        "DELETE FROM change_leaf WHERE kind = 'attestation.revoked' AND reference = "
        "(SELECT attestation_id FROM attestation WHERE reason = 'by_person')",
    ),
)  # fmt: skip
