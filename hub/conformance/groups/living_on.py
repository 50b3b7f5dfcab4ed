"""The rows' way through mapping and record store: what is set aside, what may not be stored, what is refused. I/O: a database."""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

from connectors.base import Delivery
from hub.conformance.cases import CaseList, Group, NotApplicable, require
from hub.conformance.groups.living import accounts_of, names_people
from hub.conformance.household import Household
from hub.conformance.rig import Rig
from hub.sandbox.platforms.faults import Fault

CASES: CaseList[Rig] = CaseList(Group.LIFE, names_people)
_case = CASES.case
_OFTEN = 10_000
_BAD_ROWS = (
    b"", b"{", b"{}", b"[]", b"null", b'{"x":NaN}', b'{"x":1,"x":2}', b"\xff\xfe", b'{"x":"' + b"y" * 5000 + b'"}',
)  # fmt: skip


@_case("LIFE-20", "Rows that nobody can read are set aside, and every other row of their delivery is taken")
def fails_in_part(rig: Rig) -> None:
    deliveries = [delivery for delivery in rig.deliveries() if delivery.rows]
    with Household(rig, "good") as good, Household(rig, "mixed", keys=good.keys) as mixed:
        for home in (good, mixed):
            home.link_all(accounts_of(rig))
        clean = good.take(deliveries)
        outcome = mixed.take([_with_bad_rows(delivery) for delivery in deliveries])
        require(outcome.accepted == clean.accepted, "Good rows were lost because of bad ones beside them.")
        bad = len(_BAD_ROWS) * len(deliveries)
        require(outcome.quarantined == clean.quarantined + bad, "A bad row was taken, or has disappeared.")
        require(mixed.standing() == good.standing(), "Bad rows beside good ones change what stands.")


@_case("LIFE-21", "What is set aside has the reasons that the platform's own troubles deserve")
def sets_troubles_aside(rig: Rig) -> None:
    deliveries = rig.deliveries()
    expected = {row.trouble for row in rig.own() if row.trouble is not None}
    with Household(rig) as home:
        home.link_all(accounts_of(rig))
        home.take(deliveries)
        found = Counter(row[0] for row in home.rows("SELECT reason FROM quarantined"))
    missing = sorted(reason for reason in expected if not found[reason])
    require(not missing, f"Troubles of the platform were not set aside as {', '.join(missing)}.")
    rows = sum(len(delivery.rows) + len(delivery.unreadable) for delivery in deliveries)
    require(sum(found.values()) <= rows, "More rows were set aside than were told.")


@_case("LIFE-22", "Rows from a future are set aside, and taken once their time has come")
def sets_the_future_aside(rig: Rig) -> None:
    deliveries = rig.deliveries()
    before = rig.town.starts_at - timedelta(days=40)
    with Household(rig) as home:
        home.link_all(accounts_of(rig))
        early = home.take(deliveries, now=before)
        require(early.accepted == 0, f"{early.accepted} rows were taken that lie weeks ahead of the hub's clock.")
        renamed = [replace(delivery, delivery_id=f"again-{n}") for n, delivery in enumerate(deliveries)]
        later = home.take(renamed)
        require(later.accepted > 0, "Rows that came too early are not taken when they come again.")


@_case("LIFE-23", "Rows that a platform's clock has put into the future do not stand")
def sets_a_fast_clock_aside(rig: Rig) -> None:
    rig.faults.arm(Fault.CLOCK_SKEW, _OFTEN)
    deliveries = rig.deliveries()
    if rig.faults.armed().get(Fault.CLOCK_SKEW) == _OFTEN:
        raise NotApplicable("The simulator's clock cannot run ahead.")
    with Household(rig) as home:
        home.link_all(accounts_of(rig))
        home.take(deliveries)
        latest = int((rig.now + timedelta(minutes=5)).timestamp() * 1_000_000)
        ahead = home.number("SELECT COUNT(*) FROM reduction_record WHERE start_us > :latest", latest=latest)
        require(ahead == 0, f"{ahead} records stand that have not happened yet.")


@_case("LIFE-24", "Nobody's account and no personal value lies in the clear in the database")
def keeps_people_out_of_the_clear(rig: Rig) -> None:
    deliveries = rig.deliveries()
    accounts = accounts_of(rig)
    with Household(rig) as home:
        home.link(accounts[0])  # the others stay strangers, and their rows are refused
        home.take([_with_bad_rows(delivery) for delivery in deliveries])
        written = home.on_disk()
    for value in {*accounts, *rig.private_values()}:
        clear = len(value) >= 6 and value.encode() in written
        require(not clear, "An account or a personal value lies in the clear.")


@_case("LIFE-25", "A delivery's id that comes with other bytes is a contradiction, and nothing of it is stored")
def notices_contradictions(rig: Rig) -> None:
    delivery = next((one for one in rig.deliveries() if one.rows), None)
    if delivery is None:
        raise NotApplicable("Nothing was told.")
    with Household(rig) as home:
        home.link_all(accounts_of(rig))
        home.take([delivery])
        before = home.standing()
        other = replace(delivery, rows=delivery.rows[:-1], digest=bytes(32))
        require(home.contradicts(other), "Another content under an id that is taken is stored.")
        require(home.standing() == before, "A contradiction has left something behind.")


@_case("LIFE-26", "Only behaviours are recorded that the platform may tell of")
def tells_what_it_may(rig: Rig) -> None:
    deliveries = rig.deliveries()
    with Household(rig) as home:
        home.link_all(accounts_of(rig))
        home.take(deliveries)
        found = {row[0] for row in home.rows("SELECT DISTINCT behaviour FROM reduction_record")}
    foreign = found - set(rig.spec.behaviours)
    require(not foreign, f"Behaviours are recorded that the platform did not register: {', '.join(sorted(foreign))}.")


@_case("LIFE-27", "What is stored has times and amounts that can be")
def stores_sound_records(rig: Rig) -> None:
    deliveries = rig.deliveries()
    with Household(rig) as home:
        home.link_all(accounts_of(rig))
        home.take(deliveries)
        unsound = home.number(
            "SELECT COUNT(*) FROM reduction_record WHERE end_us < start_us OR quantity_micro < 0 OR claimed_mg < 0 "
            "OR reference_mg < 0 OR start_us <= 0"
        )
        require(unsound == 0, f"{unsound} records end before they begin or have a negative amount.")
        stored = home.number("SELECT COUNT(*) FROM reduction_record")
        require(stored > 0, "Nothing of a month was stored although everybody allows it.")


@_case("LIFE-28", "The rows of two people stay apart")
def keeps_people_apart(rig: Rig) -> None:
    accounts = accounts_of(rig)
    if len(accounts) < 2:
        raise NotApplicable("One reading brings one account.")
    deliveries = rig.deliveries()
    with Household(rig) as home:
        residents = home.link_all(accounts)
        home.take(deliveries)
        for resident in residents:
            mine = {row.source_id for row in rig.own() if row.account == resident.account and row.trouble is None}
            found = home.number(
                "SELECT COUNT(*) FROM source_record WHERE subject_id = :s AND superseded_by IS NULL",
                s=resident.subject_id,
            )
            require(found == len(mine), f"{found} records stand for a person of whom {len(mine)} were told.")


@_case("LIFE-29", "Rows that name nobody credit nobody", applies=lambda told: told.corroborates)
def credits_nobody(rig: Rig) -> None:
    deliveries = rig.deliveries()
    with Household(rig) as home:
        home.take(deliveries)
        require(not any(home.balances().values()), "Rows that name nobody have credited somebody.")


def _with_bad_rows(delivery: Delivery) -> Delivery:
    return replace(delivery, rows=(*delivery.rows, *_BAD_ROWS))
