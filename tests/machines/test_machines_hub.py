"""The invariants of the product, held while anything happens in any order: a state machine over the real stores."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import Engine
from sqlalchemy.orm import Session
from tests_support.machine_staff import StaffedHubMachine
from tests_support.machine_town import CITY, OTHER, Template
from tests_support.postgres import find_binaries

from hub.adjustments.kinds import AdjustmentKind
from hub.clearing.store import load_earlier
from hub.ledger.store import load_issued
from hub.uses import reservations
from standards.uses import Use

DATABASES = ["sqlite", "postgresql"] if find_binaries() else ["sqlite"]
ANY = {"stateful_step_count": 40, "deadline": None, "suppress_health_check": list(HealthCheck)}
# The same examples in each run; what is new is looked for by the long suite.
DRAWN = settings(max_examples=14, derandomize=True, **ANY)
DRAWN_BESIDE = settings(max_examples=4, derandomize=True, **ANY)
SOUGHT = settings(max_examples=200, print_blob=True, **ANY)
# What has to have happened, or the machine has not been where mistakes are.
OFTEN = {"deliver", "many", "withdrawal", "redelivery refused", "erase", "reserve", "restate"}
EVERYWHERE = OFTEN | {
    "older", "again refused", "reconcile", "finalise refused", "reserve refused", "commit transfer", "commit redeem",
    "commit retire", "void", "claw_back", "partial_reversal", "full_reversal", "correction", "reattribution", "attest",
    "dispute of event", "dispute of link", "dispute withdrawn",
}  # fmt: skip


def run(towns: Template, drawn: settings) -> Counter[str]:
    """Let anything happen in copies of the towns; returns what did."""

    class Machine(StaffedHubMachine):
        template = towns
        seen: Counter[str] = Counter()

    run_state_machine_as_test(Machine, settings=drawn)
    return Machine.seen


@pytest.mark.parametrize("towns", ["sqlite"], indirect=True)
def test_whatever_happens_the_books_are_right(towns: Template) -> None:
    seen = run(towns, DRAWN)
    assert set(seen) >= OFTEN, f"never: {OFTEN - set(seen)}; else: {seen}"


@pytest.mark.parametrize("towns", DATABASES[1:], indirect=True)
def test_whatever_happens_on_the_other_database_the_books_are_right_too(towns: Template) -> None:
    assert "deliver" in run(towns, DRAWN_BESIDE)


@pytest.mark.long
@pytest.mark.parametrize("towns", DATABASES, indirect=True)
def test_whatever_else_happens_the_books_are_right(towns: Template) -> None:
    seen = run(towns, SOUGHT)
    assert set(seen) >= EVERYWHERE, f"never: {EVERYWHERE - set(seen)}; else: {seen}"


# --- a machine that cannot fail shows nothing --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """A mistake in the hub, planted under a name that its code uses, the steps on which it shows, and what is then said."""

    name: str
    place: str
    planted: Any
    steps: Callable[[StaffedHubMachine], object]
    says: str


def withdraw_an_act(machine: StaffedHubMachine) -> None:
    machine.an_act_is_withdrawn(which=0)
    machine.all_windows_are_closed()


def tell_of_a_ride_once_more(machine: StaffedHubMachine) -> None:
    """The other city tells of a ride that the first one told of, and that is final."""
    machine.deliver(replace(machine.expected.rows()[1], platform=OTHER, keyed=False))
    machine.all_windows_are_closed()


def use_what_had_run_out(machine: StaffedHubMachine) -> None:
    machine.grams_are_reserved(
        number=0, participant=CITY, use=Use.REDEEM, permille=500, patient=False, then="wait"
    )  # fmt: skip
    machine.town.now += timedelta(hours=1)
    machine.a_reservation_is_closed(which=0, how="commit", permille=1000)


def make_the_later_window_final(machine: StaffedHubMachine) -> None:
    for _ in range(2):
        machine.the_window_is_sealed()
        machine.a_window_is_cleared()
    machine.a_window_is_reconciled(which=1)
    machine.a_window_is_made_final(which=1)


def come_back_and_be_told_of_again(machine: StaffedHubMachine) -> None:
    machine.somebody_is_erased(number=0)
    machine.somebody_is_erased(number=0)
    machine.what_was_told_is_told_otherwise(which=0, how="again", size=2000)


def take_a_part_of_what_is_used(machine: StaffedHubMachine) -> None:
    """Refused, because what was used is not taken; until then an entry has its number."""
    machine.grams_are_reserved(
        number=0, participant=CITY, use=Use.TRANSFER, permille=1000, patient=False, then="commit"
    )  # fmt: skip
    machine.an_event_is_adjusted(which=0, kind=AdjustmentKind.PARTIAL_REVERSAL, permille=500)


@contextmanager
def keeping_what_was_begun(engine: Engine) -> Iterator[Session]:
    """A transaction that is committed although it failed."""
    with Session(engine, expire_on_commit=False) as session:
        try:
            yield session
        finally:
            session.commit()


MISTAKES = (
    Mistake(
        name="what falls keeps its grams", place="hub.clearing.deciding.load_issued",
        planted=lambda session, _events: load_issued(session, []), steps=withdraw_an_act, says="acts gave",
    ),
    Mistake(
        name="late reports do not know what counted before", place="hub.clearing.store.load_earlier",
        planted=lambda *args, _load=load_earlier, **how: _load(*args, **how).clear(), steps=tell_of_a_ride_once_more,
        says="count apart",
    ),
    Mistake(
        name="an erasure leaves grams", place="hub.rights.erase._forfeit", planted=lambda *_: 0,
        steps=lambda machine: machine.somebody_is_erased(number=0), says="somebody was erased and has",
    ),
    Mistake(
        name="what ran out can be used", place="hub.uses.reservations._require_open",
        planted=lambda session, name, client, _now: reservations._require_reserved(session, name, client),
        steps=use_what_had_run_out, says="what had run out was used",
    ),
    Mistake(
        name="a refusal keeps what was begun", place="hub.adjustments.adjusting.writing",
        planted=keeping_what_was_begun, steps=take_a_part_of_what_is_used, says="partial_reversal was refused",
    ),
    Mistake(
        name="balances are not kept", place="hub.ledger.store.move_balances", planted=lambda *_: None,
        steps=withdraw_an_act, says="kept balances are not",
    ),
    Mistake(
        name="windows become final in any order", place="hub.pipeline.require_finalisable",
        planted=lambda *_, **__: None, steps=make_the_later_window_final, says="out of turn",
    ),
    Mistake(
        name="what the erased had counts again", place="hub.records.naming.find_spent", planted=lambda *_: set(),
        steps=come_back_and_be_told_of_again, says="that was taken before",
    ),
)  # fmt: skip


@pytest.fixture
def machine(towns: Template) -> Iterator[StaffedHubMachine]:
    """A machine that takes the steps that a test tells it."""

    class Told(StaffedHubMachine):
        template = towns
        seen: Counter[str] = Counter()

    machine = Told()
    machine.choose_rules(apart=False, buffer=0)
    machine.the_books_are_right()
    yield machine
    machine.patched.undo()
    towns.close(machine.town)


def take(machine: StaffedHubMachine, mistake: Mistake) -> None:
    mistake.steps(machine)
    machine.the_books_are_right()


@pytest.mark.parametrize("towns", ["sqlite"], indirect=True)
@pytest.mark.parametrize("mistake", MISTAKES, ids=[one.name.replace(" ", "-") for one in MISTAKES])
def test_a_mistake_is_found(
    towns: Template, machine: StaffedHubMachine, mistake: Mistake, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mistake.place, mistake.planted)
    with pytest.raises(AssertionError, match=mistake.says):
        take(machine, mistake)


@pytest.mark.parametrize("towns", ["sqlite"], indirect=True)
@pytest.mark.parametrize("mistake", MISTAKES, ids=[one.name.replace(" ", "-") for one in MISTAKES])
def test_without_the_mistake_the_same_steps_are_right(
    towns: Template, machine: StaffedHubMachine, mistake: Mistake
) -> None:
    take(machine, mistake)
