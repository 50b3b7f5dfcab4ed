"""Corruptions of grams: entries, postings, decisions, events and reversals."""

from tests_support.corruption import corruption, entry, side

GRAMS = (
    corruption(
        "entries_sum_to_zero", "one side of an entry is changed",
        "UPDATE posting SET mg = mg - 1 WHERE entry_id = :issue_9 AND line = 0",
    ),
    corruption("entries_have_two_sides", "an entry has no side", entry("hold", 1, "1")),
    corruption("entries_have_two_sides", "an entry has one side", entry("hold", 1, "1"), side(0, ":li_held", "0")),
    corruption("postings_are_placed", "a posting has no entry", side(0, ":li_held", "0", number=9001)),
    corruption(
        "postings_are_placed", "a posting has no window",
        entry("hold", 1, "1"), side(0, ":li_held", "0"), side(1, ":li_held", "0", window=77),
    ),
    corruption(
        "postings_are_placed", "a posting has no account",
        entry("hold", 1, "1"), side(0, ":li_held", "0"), side(1, "7777", "0"),
    ),
    corruption(
        "events_count_once", "a duplicate becomes counted",
        "UPDATE decision SET verdict = 'counted' WHERE record_id = :record_9d",
    ),
    corruption(
        "decisions_sum_to_events", "a decision counts more than its event",
        "UPDATE decision SET counted_mg = counted_mg + 1 WHERE record_id = :record_9",
    ),
    corruption(
        "decisions_sum_to_events", "a rejected record counts",
        "UPDATE decision SET counted_mg = 1 WHERE record_id = :record_13",
    ),
    corruption(
        "cleared_records_are_decided", "a decision is gone", "DELETE FROM decision WHERE record_id = :record_9d"
    ),
    corruption(
        "cleared_records_are_decided", "a decision of a cleared window is provisional again",
        "UPDATE decision SET provisional = (1 = 1) WHERE record_id = :record_9d",
    ),
    corruption(
        "cleared_records_are_decided", "a decision is settled in the open window",
        "UPDATE decision SET provisional = (1 = 0) WHERE record_id = :record_12",
    ),
    corruption(
        "cleared_records_are_decided", "a record is decided again in a later window for no reason",
        "INSERT INTO decision SELECT record_id, 3, subject_id, event_id, 'duplicate', rule, reason, 0, "
        "canonical_record_id, policy, provisional FROM decision WHERE record_id = :record_7",
    ),
    corruption(
        "cleared_records_are_decided", "an act was taken back in a window that did not decide anew",
        "UPDATE event_reversal SET window_id = 3 WHERE event_id = :record_1",
    ),
    corruption(
        "counted_events_are_issued", "the grams of an event were never issued",
        "DELETE FROM posting WHERE entry_id = :issue_9", "DELETE FROM journal_entry WHERE entry_id = :issue_9",
    ),
    corruption(
        "counted_events_are_issued", "an event issued twice its grams",
        "UPDATE posting SET mg = mg * 2 WHERE entry_id = :issue_9",
    ),
    corruption(
        "counted_events_are_issued", "an event issued its grams to somebody else",
        "UPDATE posting SET account_id = :wang_pending WHERE entry_id = :issue_9 AND line = 1",
    ),
    corruption(
        "counted_events_are_issued", "an event issued its grams for another day",
        "UPDATE posting SET vintage = 20261120 WHERE entry_id = :issue_9",
    ),
    corruption(
        "counted_events_are_issued", "an event issued its grams once more",
        entry("issue", 2, ":record_9"), side(0, ":activity", "-:mg_9"), side(1, ":li_held", ":mg_9"),
    ),
    corruption(
        "counted_events_are_issued", "grams are issued without an event",
        entry("issue", 3, "123456"), side(0, ":activity", "-5"), side(1, ":li_held", "5"),
    ),
    corruption(
        "only_events_make_grams", "a hold makes grams",
        entry("hold", 1, "1"), side(0, ":activity", "-5"), side(1, ":li_held", "5"),
    ),
    corruption(
        "only_events_make_grams", "a hold gives one person's grams to another",
        entry("hold", 1, "1"), side(0, ":li_held", "-5"), side(1, ":wang_held", "5"),
    ),
    corruption(
        "no_two_acts_at_once", "one ride is moved into another",
        "UPDATE event SET start_us = :start_1 + 60000000, end_us = :end_1 + 60000000 WHERE event_id = :record_2",
    ),
    corruption(
        "balances_are_not_negative", "more is held than was pending",
        entry("hold", 1, "1"), side(0, ":li_pending", "-99999999", window=3, vintage=20261119),
        side(1, ":li_held", "99999999", window=3, vintage=20261119),
    ),
    corruption(
        "used_within_held", "what was never held is redeemed",
        "INSERT INTO account (account_id, kind, subject_id) VALUES (9000, 'redeemed', :li)",
        entry("redeem", 1, "1"), side(0, ":li_pending", "-5", window=3, vintage=20261119),
        side(1, "9000", "5", window=3, vintage=20261119),
    ),
    corruption(
        "used_within_held", "there is an account of an unknown kind",
        "INSERT INTO account (account_id, kind, subject_id) VALUES (9000, 'gold', :li)",
    ),
    corruption(
        "reversals_name_an_issue", "a reversal names a hold",
        "UPDATE journal_entry SET reverses = :hold_li WHERE entry_id = :reversal_3",
    ),
    corruption(
        "reversals_name_an_issue", "a reversal names nothing",
        "UPDATE journal_entry SET reverses = NULL WHERE entry_id = :reversal_3",
    ),
    corruption(
        "reversals_name_an_issue", "a hold names an issue",
        "UPDATE journal_entry SET reverses = :issue_9 WHERE entry_id = :hold_li",
    ),
    corruption(
        "reversals_within_their_issue", "an issue is reversed once more",
        entry("reverse", 3, ":record_3", ":issue_3"), side(0, ":li_held", "-1"), side(1, ":activity", "1"),
    ),
    corruption(
        "reversals_within_their_issue", "a reversal takes another person's grams",
        "UPDATE posting SET account_id = :li_held WHERE entry_id = :reversal_3 AND line = 0",
    ),
    corruption(
        "reversed_events_have_reversals", "a cancelled event counts again",
        "DELETE FROM event_reversal WHERE event_id = :record_3",
    ),
    corruption(
        "reversed_events_have_reversals", "an event stops counting and keeps its grams",
        "INSERT INTO event_reversal (event_id, by_record_id, window_id, reason) "
        "VALUES (:record_2, :record_9, 3, 'forged')",
    ),
    corruption(
        "kept_balances_are_posted", "a kept balance says more than was posted",
        "UPDATE balance SET mg = mg + 1 WHERE account_id = :li_held",
    ),
    corruption(
        "kept_balances_are_posted", "a kept balance is gone", "DELETE FROM balance WHERE account_id = :li_held"
    ),
    corruption(
        "reservations_are_posted", "a reservation has no entries",
        "INSERT INTO reservation (reservation_id, number, participant, client_id, grant_id, subject_id, use, rules, mg, "
        "used_mg, state, created_at, expires_at) SELECT 'r_forged', 900, 'shop', 'c', 'g', :li, 'redeem', 'uses-2026.1', 5, "
        "0, 'reserved', posted_at, posted_at FROM journal_entry WHERE entry_id = :issue_9",
        "INSERT INTO reservation_line (number, line, window_id, vintage, rights, mg, used_mg) "
        "VALUES (900, 0, 1, 20261118, 'both', 5, 0)",
    ),
    corruption(
        "reservations_are_posted", "grams are reserved for nobody",
        "INSERT INTO account (account_id, kind, subject_id) VALUES (9000, 'reserved', :li)",
        entry("reserve", 3, "900"), side(0, ":li_held", "-5"), side(1, "9000", "5"),
    ),
    corruption(
        "debts_are_posted", "a platform owes what nobody took back",
        "INSERT INTO debt (entry_id, rights, subject_id, platform, window_id, vintage, mg, left_mg) "
        "VALUES (:issue_9, 'both', :li, 'kuaidian', 1, 20261118, 5, 0)",
    ),
    corruption(
        "debts_are_posted", "grams are taken from a platform that owes nothing",
        "INSERT INTO account (account_id, kind, platform) VALUES (9000, 'owed', 'kuaidian')",
        entry("settle", 3, "900"), side(0, "9000", "-5"), side(1, ":li_held", "5"),
    ),
    corruption(
        "adjustments_are_posted", "an adjustment says more than was taken back",
        "UPDATE adjustment SET mg = mg + 1 WHERE posted_as = 'reverse'",
    ),
    corruption(
        "adjustments_are_posted", "staff took an act back and nothing says so",
        "DELETE FROM adjustment WHERE posted_as = 'reverse'",
    ),
    corruption(
        "adjustments_are_posted", "an adjustment gives another reason than its entry",
        "UPDATE adjustment SET reason = 'oper' WHERE posted_as = 'reverse'",
    ),
    corruption(
        "parts_sum_to_adjustments", "an event counts more than its adjustment left of it",
        "UPDATE event_adjusted SET taken_mg = taken_mg - 1",
    ),
    corruption(
        "parts_sum_to_adjustments", "an event counts for a platform that it was not moved to",
        "UPDATE event_adjusted SET platform = 'kuaidian'",
    ),
)  # fmt: skip
