"""The rows' way through mapping and record store: what is taken, what counts once, what is put right. I/O: a database."""

import random
from collections.abc import Sequence
from dataclasses import replace

from connectors.base import Delivery, Description
from hub.conformance.cases import CaseList, Group, NotApplicable, require
from hub.conformance.household import Household, editions, expected_standing, repacked
from hub.conformance.rig import Rig
from hub.sandbox.reports import Note


def names_people(told: Description) -> bool:
    return not told.corroborates


CASES: CaseList[Rig] = CaseList(Group.LIFE, names_people)
_case = CASES.case


def accounts_of(rig: Rig) -> list[str]:
    """The accounts whose rows one reading brings."""
    found = [rig.account] if rig.is_of_links else sorted({row.account for row in rig.told})
    if not any(found):
        raise NotApplicable("The platform tells of nobody.")
    return found


@_case("LIFE-01", "Every record of somebody who allows it stands, and each once")
def takes_what_is_allowed(rig: Rig) -> None:
    deliveries, accounts = rig.deliveries(), accounts_of(rig)
    with Household(rig) as home:
        home.link_all(accounts)
        home.take(deliveries)
        expected = expected_standing(rig, deliveries, accounts)
        found = [bytes(row[0]) for row in home.standing()]
        require(len(found) == len(expected), f"{len(expected)} records were told and {len(found)} stand.")
        require(sorted(found) == sorted(expected.values()), "What stands is not the last telling of each record.")


@_case("LIFE-02", "A delivery that comes again changes nothing")
def changes_nothing_twice(rig: Rig) -> None:
    deliveries = rig.deliveries()
    with Household(rig) as home:
        home.link_all(accounts_of(rig))
        home.take(deliveries)
        before = (home.standing(), home.balances(), _sizes(home))
        again = home.take(deliveries)
        require(
            (home.standing(), home.balances(), _sizes(home)) == before, "A delivery that came again changed something."
        )
        require(
            again.accepted + again.replayed >= len(before[0]), "A delivery that came again was not answered as before."
        )


@_case("LIFE-03", "The same rows in other messages count once")
def counts_rows_once(rig: Rig) -> None:
    deliveries = rig.deliveries()
    with Household(rig) as home:
        home.link_all(accounts_of(rig))
        home.take(deliveries)
        before = (home.standing(), home.balances())
        outcome = home.take(repacked(deliveries))
        require(
            (home.standing(), home.balances()) == before, "Rows that came again in other messages changed something."
        )
        require(outcome.accepted == 0, f"{outcome.accepted} rows that came again were taken as new.")


@_case("LIFE-04", "A row that comes late is taken into the window that is open then")
def takes_late_rows(rig: Rig) -> None:
    deliveries = rig.deliveries()
    if len(deliveries) < 2:
        raise NotApplicable("Everything comes in one delivery.")
    half = len(deliveries) // 2
    with Household(rig) as home:
        home.link_all(accounts_of(rig))
        home.take(deliveries[:half])
        latest = home.number("SELECT MAX(start_us) FROM reduction_record")
        home.seal()
        taken = home.number("SELECT COUNT(*) FROM reduction_record")
        home.take(deliveries[half:])
        newest = "(SELECT MAX(window_id) FROM clearing_window)"
        sealed = home.number(f"SELECT COUNT(*) FROM reduction_record WHERE window_id < {newest}")
        require(sealed == taken, "A sealed window has grown.")
        late = home.number(
            f"SELECT COUNT(*) FROM reduction_record WHERE start_us < :latest AND window_id = {newest}",
            latest=latest,
        )
        if late == 0:
            raise NotApplicable("The platform tells nothing late.")


@_case("LIFE-05", "A correction takes the place of what it corrects")
def puts_corrections_in_place(rig: Rig) -> None:
    deliveries, accounts = rig.deliveries(), accounts_of(rig)
    corrected = {name for name, told in editions(rig, deliveries).items() if len(told) > 1}
    if not corrected or rig.description.correction_mode == "none":
        raise NotApplicable("The platform corrects nothing.")
    with Household(rig) as home:
        home.link_all(accounts)
        home.take(deliveries)
        expected = {d for name, d in expected_standing(rig, deliveries, accounts).items() if name in corrected}
        found = {bytes(row[0]) for row in home.standing()}
        require(expected <= found, f"{len(expected - found)} corrections did not take the place of what they correct.")


@_case("LIFE-06", "What is taken back counts for nothing")
def takes_reversals(rig: Rig) -> None:
    deliveries, accounts = rig.deliveries(), accounts_of(rig)
    with Household(rig) as home:
        home.link_all(accounts)
        home.take(deliveries)
        home.balances()
        cancelled = home.number("SELECT COUNT(*) FROM source_record WHERE cancelled AND superseded_by IS NULL")
        told = [row for row in rig.own() if row.note is Note.CANCELLATION and row.account in accounts]
        require(cancelled or not told, f"{len(told)} records were taken back and none is marked as that.")
        if not cancelled:
            raise NotApplicable("The platform takes nothing back.")
        counted = home.number(
            "SELECT SUM(d.counted_mg) FROM decision d JOIN source_record s ON s.record_id = d.record_id "
            "WHERE s.cancelled OR s.superseded_by IS NOT NULL"
        )
        require(counted == 0, f"{counted} mg count for records that were taken back or superseded.")


@_case("LIFE-07", "In whatever order deliveries come, the same counts")
def needs_no_order(rig: Rig) -> None:
    deliveries = _unambiguous(rig, rig.deliveries())
    accounts = accounts_of(rig)
    shuffled = list(repacked(deliveries, rows=3))
    random.Random(7).shuffle(shuffled)  # noqa: S311 - an order, not a secret
    with Household(rig, "told") as told:
        told.link_all(accounts)
        told.take(deliveries)
        standing, balances = told.standing(), told.balances()
        for number, order in enumerate((deliveries[::-1], shuffled)):
            with Household(rig, f"order-{number}", keys=told.keys) as other:
                other.link_all(accounts)
                other.take(order)
                require(other.balances() == balances, "The same rows in another order count differently.")
                require(other.standing() == standing, "The same rows in another order leave other records standing.")


@_case("LIFE-08", "After somebody withdraws, nothing more of theirs is taken, and nothing of it is kept")
def stops_at_a_withdrawal(rig: Rig) -> None:
    deliveries, accounts = rig.deliveries(), accounts_of(rig)
    if len(deliveries) < 2:
        raise NotApplicable("Everything comes in one delivery.")
    half = len(deliveries) // 2
    with Household(rig) as home:
        residents = home.link_all(accounts)
        home.take(deliveries[:half])
        resident = next(one for one in residents if one.account == rig.account)
        mine = "SELECT COUNT(*) FROM source_record WHERE subject_id = :subject"
        before = home.number(mine, subject=resident.subject_id)
        home.withdraw(resident)
        outcome = home.take(deliveries[half:])
        require(home.number(mine, subject=resident.subject_id) == before, "Rows were taken after the withdrawal.")
        if outcome.refused == 0:
            raise NotApplicable("The platform tells nothing of this person after the withdrawal.")
        _require_no_content_of_refused_rows(home, outcome.refused)


@_case("LIFE-09", "Rows of an account that nobody has linked are refused, and nothing of them is kept")
def refuses_strangers(rig: Rig) -> None:
    deliveries = rig.deliveries()
    accounts_of(rig)
    with Household(rig) as home:
        outcome = home.take(deliveries)
        require(outcome.accepted == 0, f"{outcome.accepted} rows of strangers were taken.")
        require(outcome.refused > 0, "No row was refused although nobody has linked anything.")
        _require_no_content_of_refused_rows(home, outcome.refused)


def _require_no_content_of_refused_rows(home: Household, refused: int) -> None:
    """What nobody allowed is known by a keyed digest; what no mapping reads may be kept, reduced, for a better one."""
    readable = home.rows(
        "SELECT reason, payload IS NOT NULL FROM quarantined WHERE detail LIKE 'this row may not be taken%'"
    )
    require(readable or not refused, "No refused row was written down.")
    kept = sum(bool(has_payload) for _, has_payload in readable)
    require(kept == 0, f"The content of {kept} refused rows was kept.")


def _sizes(home: Household) -> list[int]:
    counts = (
        "SELECT COUNT(*) FROM source_record",
        "SELECT COUNT(*) FROM reduction_record",
        "SELECT COUNT(*) FROM quarantined",
    )
    return [home.number(count) for count in counts]


def _unambiguous(rig: Rig, deliveries: Sequence[Delivery]) -> list[Delivery]:
    """Leave out what only the order of arrival decides: where the same id comes again with other content."""
    if rig.description.correction_mode == "version":
        return list(deliveries)
    several = {name for name, told in editions(rig, deliveries).items() if len(told) > 1}
    found = []
    for delivery in deliveries:
        ids = rig.translate(delivery.rows).records.select("row", "source_id").iter_rows()
        out = {row for row, source_id in ids if source_id in several}
        rows = tuple(row for place, row in enumerate(delivery.rows) if place not in out)
        found.append(replace(delivery, rows=rows))
    return found
