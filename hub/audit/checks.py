"""Which checks there are, by the invariant of the product that each one looks after. Pure; the checks themselves read.

Invariant 6, that an error answer changes nothing, leaves no trace to audit: tests see to it.
"""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from hub.audit import (
    adjustments,
    attestations,
    changes,
    consents,
    decisions,
    disputes,
    erasure,
    events,
    exchange,
    ledger,
    links,
    log,
    market,
    privacy,
    reconciliations,
    records,
    totals,
    uses,
    window_keys,
    windows,
)
from hub.audit.books import Books
from hub.audit.pages import Page, Seen
from hub.audit.report import Finding


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One check; `find` reads the books and says what is wrong.

    Most let the database sum up; some read whole columns instead.
    """

    invariant: int
    name: str
    find: Callable[[Books], Finding]
    reads_columns: bool = False

    @property
    def id(self) -> str:
        """Return the stable name for machines."""
        return self.find.__name__


@dataclass(frozen=True, slots=True, kw_only=True)
class Paged:
    """One check of records a range at a time; `conclude` hears what was seen of all ranges together."""

    invariant: int
    name: str
    look: Callable[[Page], Seen]
    conclude: Callable[[Seen], Finding]

    @property
    def id(self) -> str:
        """Return the stable name for machines."""
        return self.look.__name__


def _sums(figure: str) -> Callable[[Seen], Finding]:
    """Conclude with numbers that were counted."""
    return lambda seen: Finding(figure=figure.format_map(defaultdict(int, seen.counts)), wrong=seen.wrong)


CHECKS: tuple[Rule | Paged, ...] = (
    Rule(invariant=1, name="every entry sums to zero", find=ledger.entries_sum_to_zero),
    Rule(invariant=1, name="every entry has two sides", find=ledger.entries_have_two_sides),
    Rule(invariant=1, name="every posting has an entry, an account and a window", find=ledger.postings_are_placed),
    Rule(invariant=2, name="an event counts once", find=events.events_count_once),
    Rule(
        invariant=2,
        name="decisions count what their event counts",
        find=events.decisions_sum_to_events,
        reads_columns=True,
    ),
    Paged(
        invariant=2,
        name="every record of a cleared window is decided",
        look=events.cleared_records_are_decided,
        conclude=_sums("{decisions:,} settled decisions"),
    ),
    Paged(
        invariant=2,
        name="every counted event issued its grams once",
        look=events.counted_events_are_issued,
        conclude=_sums("{events:,} events with their grams issued"),
    ),
    Rule(invariant=2, name="grams come from events only", find=ledger.only_events_make_grams),
    Rule(invariant=2, name="attestations say no more than there is", find=attestations.attestations_are_covered),
    Rule(
        invariant=2, name="no platform's act counts twice in final windows", find=window_keys.window_keys_are_committed
    ),
    Rule(invariant=2, name="told totals are sums of counted events", find=totals.totals_recompute),
    Rule(invariant=3, name="nobody does two things at once", find=events.no_two_acts_at_once, reads_columns=True),
    Rule(invariant=4, name="no balance is negative", find=ledger.balances_are_not_negative),
    Rule(invariant=4, name="only what was held is used", find=ledger.used_within_held),
    Rule(invariant=4, name="kept balances are what was posted", find=uses.kept_balances_are_posted),
    Rule(invariant=4, name="reservations are posted as they stand", find=uses.reservations_are_posted),
    Rule(invariant=4, name="blocks are whole tonnes", find=market.blocks_are_whole),
    Rule(invariant=4, name="serials are dense", find=market.serials_are_dense),
    Rule(invariant=4, name="blocks are posted as they stand", find=market.blocks_are_posted),
    Rule(invariant=4, name="income of blocks is shared to the fen", find=market.income_is_shared),
    Rule(invariant=4, name="disputes lock what is posted", find=disputes.disputes_lock_what_is_posted),
    Rule(invariant=5, name="what platforms owe is posted", find=uses.debts_are_posted),
    Rule(invariant=5, name="a reversal names one issue", find=ledger.reversals_name_an_issue),
    Rule(invariant=5, name="a reversal takes no more than was issued", find=ledger.reversals_within_their_issue),
    Rule(invariant=5, name="adjustments are posted as they stand", find=adjustments.adjustments_are_posted),
    Rule(invariant=5, name="events count less what was taken back", find=adjustments.parts_sum_to_adjustments),
    Rule(invariant=5, name="outcomes of disputes are posted", find=disputes.outcomes_are_posted),
    Rule(invariant=5, name="grams go when their event does", find=ledger.reversed_events_have_reversals),
    Rule(invariant=7, name="a record is there once", find=records.records_are_told_once, reads_columns=True),
    Rule(invariant=7, name="one version of a record stands", find=records.one_version_stands, reads_columns=True),
    Paged(
        invariant=7,
        name="every record is translated",
        look=records.records_are_translated,
        conclude=_sums("{records:,} reduction records"),
    ),
    Paged(
        invariant=8,
        name="pinned versions are installed",
        look=records.versions_are_known,
        conclude=records.unknown_versions,
    ),
    Paged(
        invariant=8,
        name="amounts compute to the same milligram",
        look=records.amounts_recompute,
        conclude=_sums("{amounts:,} amounts computed again"),
    ),
    Paged(
        invariant=9,
        name="nothing was collected without consent",
        look=consents.collected_as_allowed,
        conclude=_sums("{acts:,} records"),
    ),
    Paged(
        invariant=9,
        name="nothing was cleared without consent",
        look=consents.cleared_as_allowed,
        conclude=_sums("{acts:,} decisions"),
    ),
    Paged(
        invariant=9,
        name="nothing was credited without consent",
        look=consents.credited_as_allowed,
        conclude=_sums("{acts:,} issues of grams"),
    ),
    Rule(invariant=9, name="the guard asks the latest grants", find=consents.guard_reads_the_latest),
    Rule(
        invariant=9, name="sensitive classes were decided on their own", find=decisions.sensitive_classes_were_decided
    ),
    Rule(invariant=9, name="every decision has its receipt", find=decisions.decisions_have_receipts),
    Rule(invariant=9, name="guardians decided for children", find=decisions.guardians_spoke_for_children),
    Rule(invariant=9, name="attestations rest on a consent", find=attestations.attestations_rest_on_consent),
    Rule(invariant=10, name="every change has a leaf", find=changes.changes_have_leaves),
    Rule(invariant=10, name="every remembered leaf is in the log", find=changes.leaves_are_there),
    Rule(invariant=10, name="the log is dense", find=log.log_is_dense),
    Rule(invariant=10, name="the log makes its signed root", find=log.log_recomputes),
    Rule(invariant=10, name="windows follow one another", find=windows.windows_chain),
    Rule(
        invariant=10,
        name="final windows make their logged roots",
        find=windows.final_roots_recompute,
        reads_columns=True,
    ),
    Rule(
        invariant=10, name="batches make their logged roots", find=windows.batches_commit_to_records, reads_columns=True
    ),
    Rule(invariant=10, name="comparisons say what the hub has", find=reconciliations.comparisons_recompute),
    Rule(invariant=10, name="breaks are settled by both sides, or gone", find=reconciliations.breaks_are_settled),
    Rule(invariant=10, name="shares of blocks make their logged roots", find=market.shares_make_their_roots),
    Rule(invariant=10, name="disputes went their way", find=disputes.disputes_went_their_way),
    Rule(invariant=10, name="status lists are true", find=attestations.status_bits_are_true),
    Rule(invariant=10, name="every leaf can be found", find=exchange.leaves_can_be_found),
    Rule(invariant=10, name="told hours are what was counted", find=exchange.hours_are_counted),
    Rule(invariant=10, name="regulators' software is of regulators", find=exchange.software_is_of_regulators),
    Rule(invariant=11, name="an account has one owner at a time", find=links.accounts_have_one_owner),
    Paged(
        invariant=11,
        name="a record belongs to the owner then",
        look=links.records_belong_to_owners,
        conclude=_sums("{records:,} records"),
    ),
    Rule(invariant=12, name="the log names nobody", find=privacy.leaves_name_nobody),
    Rule(invariant=12, name="personal columns are sealed", find=privacy.sealed_columns_are_sealed),
    Rule(invariant=12, name="sealed columns open with a key at hand", find=privacy.seals_name_known_keys),
    Rule(invariant=12, name="refused rows keep nothing", find=privacy.refused_rows_keep_nothing),
    Rule(invariant=12, name="no told total is of few people", find=totals.totals_are_of_many),
    Rule(invariant=12, name="who was erased is gone", find=erasure.erased_people_are_gone),
    Rule(invariant=12, name="who was erased left nothing open", find=erasure.erased_people_left_nothing_open),
    Rule(invariant=12, name="attestations of the erased are gone", find=attestations.erased_attestations_are_gone),
    Rule(invariant=12, name="disputes of the erased are empty", find=disputes.erased_disputes_are_empty),
    Rule(invariant=12, name="records of the erased are empty", find=erasure.erased_records_are_empty),
    Rule(invariant=12, name="records of the erased never count again", find=erasure.erased_records_are_spent),
    Rule(invariant=12, name="only the erased forfeit, and all they have", find=erasure.only_the_erased_forfeit),
)
