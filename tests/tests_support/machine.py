"""A hub that anything may happen to, in any order: a machine whose steps are the hub's own functions. I/O: the hub's database.

After each step the books are held against the model (`machine_model.py`); a step that is refused leaves every row of every
table as it was; at the end everything is delivered again, and the whole audit passes.
"""

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import cache
from inspect import getmembers
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import text
from sqlalchemy.orm import Session
from tests_support.machine_model import Books, Expected, Reserved
from tests_support.machine_town import (
    CHARGING_HOUR,
    CHINA,
    CITY,
    DOCUMENTS,
    HOURS,
    KUAIDIAN,
    OTHER,
    PEOPLE,
    Person,
    Template,
    Told,
    Town,
)
from tests_support.restating import install_halves
from tests_support.state import state_of

from consent.errors import ConsentError
from hub.audit import audit, format_report
from hub.db import reading, writing
from hub.errors import IntegrityBroken, TanlianError
from hub.log.sequencer import Sequencer
from hub.log_signing import log_signer
from hub.pipeline import clear_dirty, clear_sealed, finalise_window, seal_window
from hub.sync.statements import reconcile_window
from hub.uses.debts import Source, repay
from hub.uses.reservations import Wanted
from standards.uses import TAKES, Rights, Use, load_use_rules

Done = TypeVar("Done")
NUMBERS = st.integers(0, PEOPLE - 1)
CHOICES = st.integers(0, 10**6)
PERMILLE = st.sampled_from((1, 250, 500, 999, 1000))
WANTED = st.sampled_from((1, 500, 999, 1000, 1001))
RIDES = st.sampled_from((500, 1000, 2000, 3000, 40_000))
PLATFORMS = st.sampled_from(tuple(DOCUMENTS))
WHY = "seen in the organiser's list"


class Died(BaseException):
    """A process that died at a failpoint."""


def step(weight: int = 1, when: Callable[[Any], bool] = lambda _: True, **drawn: st.SearchStrategy[Any]) -> Any:
    """Make a method a step of the machine: how often it is taken beside the others, when it can be, and with what."""

    def note(method: Callable[..., None]) -> Callable[..., None]:
        method.step = (weight, when, st.fixed_dictionaries(drawn))  # type: ignore[attr-defined]
        return method

    return note


class HubMachine(RuleBasedStateMachine):
    """Three people, three platforms, a shop and a reviewer do whatever they may, and what they may not."""

    template: ClassVar[Template]
    seen: ClassVar[Counter[str]]
    """What happened in all runs, so that a test can say that the machine has been everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.town: Town = self.template.opened()
        self.hub = self.town.hub
        self.patched = pytest.MonkeyPatch()
        install_halves(self.patched)
        self.expected, self.books = Expected(windows={1: "final", 2: "open"}), Books()
        for platform, rows, message in self.template.told:
            self.expected.note(platform, rows, message, len(rows))
        with reading(self.hub.engine) as session:
            self.expected.roots = roots_of(session)
        self.sequencer = Sequencer(self.hub.engine, log_signer(self.hub), self.town.folder / "log-head")

    @initialize(apart=st.booleans(), buffer=st.sampled_from((0, 50)))
    def choose_rules(self, apart: bool, buffer: int) -> None:
        """Whether a gram's two rights may be used apart, and how much goes to the buffer."""
        self.rules = replace(load_use_rules(), both=apart, buffer_permille=buffer)
        for module in ("hub.uses.reservations", "hub.pipeline"):
            self.patched.setattr(f"{module}.load_use_rules", lambda: self.rules)

    @rule(data=st.data())
    def anything_happens(self, data: st.DataObject) -> None:
        """Take one step of those that can be taken.

        One rule and not one for each step: Hypothesis leaves rules out of whole runs, which takes many runs to make up for.
        """
        steps = [name for name, (weight, when, _) in self.steps().items() for _ in range(weight) if when(self)]
        name = data.draw(st.sampled_from(steps))
        getattr(self, name)(**data.draw(self.steps()[name][2], label=name))

    @classmethod
    @cache
    def steps(cls) -> dict[str, tuple[int, Callable[[Any], bool], st.SearchStrategy[Any]]]:
        """Name of a step -> what `step` noted of it."""
        return {name: method.step for name, method in getmembers(cls) if hasattr(method, "step")}

    # --- what everything is done with -----------------------------------------------------------------------------

    def attempt(self, what: str, work: Callable[[], Done]) -> Done | None:
        """Do something that may be refused: then nothing at all is changed, and None is returned."""
        before = state_of(self.hub.engine)
        try:
            done = work()
        except IntegrityBroken:
            raise
        except (TanlianError, ConsentError) as refused:
            self._require_same(before, f"{what} was refused: {refused}")
            self.seen[f"{what} refused"] += 1
            return None
        self.seen[what] += 1
        return done

    def _require_same(self, before: dict[str, str], why: str) -> None:
        after = state_of(self.hub.engine)
        assert [table for table, rows in before.items() if after[table] != rows] == [], why

    def person(self, number: int) -> Person:
        return self.town.people[number]

    def deliver(self, *rows: Told, what: str = "deliver") -> int:
        """Tell something; returns how many rows were taken."""
        platform, message = rows[0].platform, self.town.message(list(rows))
        outcome = self.town.deliver(platform, message)
        told = outcome.accepted + outcome.refused + outcome.replayed + outcome.quarantined
        assert told == len(rows)
        allowed = [row for row in rows if self.person(row.person).allows(platform) and row not in self.expected.kept]
        assert outcome.accepted <= len(allowed), "a row was taken that nobody allowed, or that was taken before"
        self.expected.note(platform, list(rows), message, outcome.accepted)
        self.seen[what if outcome.accepted else f"{what} refused"] += 1
        return outcome.accepted

    # --- what platforms tell --------------------------------------------------------------------------------------

    @step(
        weight=4,
        number=NUMBERS, platform=st.sampled_from((CITY, OTHER)), days_ago=st.integers(0, 4), hour=st.sampled_from(HOURS),
        size=RIDES, scene=st.sampled_from(("BIKE", "BIKE", "METRO")), keyed=st.booleans(), twin=st.sampled_from(("", "d")),
        minute=st.sampled_from((0, 4)), both=st.booleans(),
    )  # fmt: skip
    def a_ride_is_told(self, number: int, platform: str, days_ago: int, hour: int, both: bool, **how: Any) -> None:
        """One platform tells of a ride, or both do; it may be late, and told before in another way."""
        act = {"owner": number, "person": number, "day": self._day(days_ago), "hour": hour}
        for teller in (CITY, OTHER) if both else (platform,):
            told = Told(platform=teller, **act, **how)
            self.deliver(replace(told, version=self.expected.versions[told.source] + 2))

    @step(number=NUMBERS, days_ago=st.integers(0, 4), size=st.sampled_from((1000, 2000, 3000)))
    def a_charge_is_told(self, number: int, days_ago: int, size: int) -> None:
        """This platform sends no versions: what comes again with other content is newer."""
        act = {"owner": number, "person": number, "day": self._day(days_ago), "hour": CHARGING_HOUR}
        self.deliver(Told(platform=KUAIDIAN, size=size, **act), what="charge")

    @step(
        weight=2,
        rows=st.lists(st.tuples(NUMBERS, st.sampled_from(HOURS), RIDES), min_size=2, max_size=4),
        platform=PLATFORMS,
    )
    def a_day_is_told_at_once(self, rows: list[tuple[int, int, int]], platform: str) -> None:
        """One message with acts of several people, the same act twice perhaps."""
        day = self.town.today() - 1
        told = [
            Told(
                platform=platform, owner=number, person=number, day=day, size=size, keyed=False,
                hour=CHARGING_HOUR if platform == KUAIDIAN else hour,
            )
            for number, hour, size in rows
        ]  # fmt: skip
        self.deliver(*(replace(one, version=self.expected.versions[one.source] + 2) for one in told), what="many")

    @step(
        weight=3,
        which=CHOICES,
        how=st.sampled_from(("newer", "older", "other content", "another person's", "again")),
        size=RIDES,
    )
    def what_was_told_is_told_otherwise(self, which: int, how: str, size: int) -> None:
        """A correction, a version that was overtaken, a contradiction, a mistake about whose it is, or the same once more."""
        rows = self.expected.rows()
        told = rows[which % len(rows)]
        newer = self.expected.versions[told.source] + 2
        now_told = {
            "newer": replace(told, version=newer, size=size),
            "older": replace(told, version=told.version - 1, size=size),
            "other content": replace(told, size=size),
            "another person's": replace(told, version=newer, person=(told.person + 1) % PEOPLE),
            "again": told,
        }[how]
        self.deliver(now_told, what=how)

    @step(weight=2, which=CHOICES)
    def an_act_is_withdrawn(self, which: int) -> None:
        """The platform says that it was not so."""
        rows = [row for row in self.expected.rows() if row.platform != KUAIDIAN]
        told = rows[which % len(rows)]
        self.deliver(replace(told, version=self.expected.versions[told.source] + 2, cancelled=True), what="withdrawal")

    @step(which=CHOICES)
    def a_message_comes_again(self, which: int) -> None:
        """Under its own name: the answer is the same, and nothing at all is changed."""
        platform, _, message = self.expected.told[which % len(self.expected.told)]
        before = state_of(self.hub.engine)
        self.town.deliver(platform, message)
        self._require_same(before, "the same message came again")

    # --- windows --------------------------------------------------------------------------------------------------

    @step()
    def the_open_window_is_decided(self) -> None:
        clear_dirty(self.hub, now=self.town.tick())

    @step()
    def the_window_is_sealed(self) -> None:
        sealed = seal_window(self.hub, now=self.town.tick()).window_id
        self.expected.windows |= {sealed: "sealed", sealed + 1: "open"}

    @step(weight=2, when=lambda self: self.expected.in_states("sealed"))
    def a_window_is_cleared(self) -> None:
        cleared = clear_sealed(self.hub, now=self.town.tick())
        assert cleared == min(self.expected.in_states("sealed"))
        self.expected.windows[cleared] = "cleared"

    @step(
        when=lambda self: self.expected.in_states("sealed"),
        place=st.sampled_from(("clear.before_commit", "clear.after_commit")),
    )
    def a_clearing_dies(self, place: str) -> None:
        """The first group of the window that it takes is written, or rolled back; the rest waits for the next run."""
        self.patched.setattr("hub.pipeline.failpoint", die_at(place))
        with pytest.raises(Died):
            clear_sealed(self.hub, now=self.town.tick())
        self.patched.setattr("hub.pipeline.failpoint", die_at(None))
        window = min(self.expected.in_states("sealed"))
        if self._number(
            "SELECT COUNT(*) FROM clearing_window WHERE window_id = :w AND cleared_at IS NOT NULL", w=window
        ):
            self.expected.windows[window] = "cleared"
        self.seen["died"] += 1

    @step(weight=2, which=CHOICES)
    def a_window_is_reconciled(self, which: int) -> None:
        window = self._window(which)
        could = self.expected.windows[window] in ("cleared", "provisional", "final")
        done = self.attempt("reconcile", lambda: reconcile_window(self.hub, window, now=self.town.tick()))
        assert (done is not None) == could
        if self.expected.windows[window] == "cleared":
            self.expected.windows[window] = "provisional"

    @step(weight=2, which=CHOICES)
    def a_window_is_made_final(self, which: int) -> None:
        window = self._window(which)
        before = [state for number, state in self.expected.windows.items() if number < window and state != "final"]
        could = self.expected.windows[window] == "provisional" and not before
        done = self.attempt(
            "finalise", lambda: finalise_window(self.hub, window, now=self.town.tick(), waive_challenge=True)
        )
        assert (done is not None) == could, f"window {window} became final, or did not, out of turn"
        if done is not None:
            self.expected.windows[window], self.expected.roots[window] = "final", done.root

    @step(weight=3)
    def all_windows_are_closed(self) -> None:
        unfinished = self.expected.in_states("sealed", "cleared", "provisional")
        final = self.town.close_windows(unfinished)
        self.expected.windows |= dict.fromkeys(final, "final") | {final[-1] + 1: "open"}
        with reading(self.hub.engine) as session:
            self.expected.roots |= {number: root for number, root in roots_of(session).items() if number in final}

    # --- what people allow ----------------------------------------------------------------------------------------

    @step(number=NUMBERS, platform=PLATFORMS)
    def a_consent_is_withdrawn_or_renewed(self, number: int, platform: str) -> None:
        person = self.person(number)
        if person.erased:
            return
        if platform in person.grants:
            self.town.withdraw(person, person.grants.pop(platform))
            person.paused.discard(platform)
        else:
            self.town.allow(person, platform)

    @step(number=NUMBERS, platform=PLATFORMS)
    def a_consent_is_paused_or_resumed(self, number: int, platform: str) -> None:
        person = self.person(number)
        if platform in person.grants:
            self.town.pause(person, platform)

    @step(number=NUMBERS)
    def the_shop_is_refused_or_let(self, number: int) -> None:
        person = self.person(number)
        if person.erased:
            return
        if person.shop is None:
            self.town.let_shop(person)
        else:
            self.town.withdraw(person, person.shop)
            person.shop = None

    @step(number=NUMBERS)
    def somebody_is_erased(self, number: int) -> None:
        """Or comes back under another name, with the same accounts."""
        person = self.person(number)
        if person.erased:
            self.town.people[number] = self.town.come(number)
            return
        self.town.erase(person)
        self.expected.gone.add(person.subject_id)
        for one in self.expected.reservations.values():
            one.open &= one.subject_id != person.subject_id
        self.seen["erase"] += 1

    # --- uses -----------------------------------------------------------------------------------------------------

    @step(
        weight=5,
        number=NUMBERS, participant=st.sampled_from((CITY, OTHER)), use=st.sampled_from(Use), permille=WANTED,
        patient=st.booleans(), then=st.sampled_from(("wait", "commit", "commit", "void")),
    )  # fmt: skip
    def grams_are_reserved(
        self, number: int, participant: str, use: Use, permille: int, patient: bool, then: str
    ) -> None:
        """A part of what somebody holds, or more than all; at once used, given back, or neither."""
        person, takes = self.person(number), self._takes(use)
        if person.shop is None:
            return
        held = min(self.books.total(half, "held", subject_id=person.subject_id) for half in takes)
        wanted = Wanted(
            mg=max(1, held * permille // 1000), use=use, purpose="voluntary" if use is Use.RETIRE else None,
            timeout=timedelta(days=6) if patient else None,
        )  # fmt: skip
        done = self.attempt("reserve", lambda: self.town.reserve(person, participant, wanted))
        if done is None:
            return
        assert wanted.mg <= held
        self.expected.reservations[done.reservation_id] = Reserved(
            person=number, subject_id=person.subject_id, grant_id=person.shop, participant=participant, use=use,
            takes=takes, mg=wanted.mg, expires_at=done.expires_at,
        )  # fmt: skip
        if then != "wait":
            self._close(done.reservation_id, then, permille)

    @step(
        weight=2,
        when=lambda self: self.expected.reservations,
        which=CHOICES,
        how=st.sampled_from(("commit", "commit", "void")),
        permille=PERMILLE,
    )
    def a_reservation_is_closed(self, which: int, how: str, permille: int) -> None:
        """Used or given back; one that is over, has run out or is not allowed any more is not used."""
        names = self.expected.open_now() or list(self.expected.reservations)
        self._close(names[which % len(names)], how, permille)

    def _close(self, name: str, how: str, permille: int) -> None:
        one = self.expected.reservations[name]
        if how == "void":
            done = self.attempt("void", lambda: self.town.void(name))
            assert (done is not None) == one.open
            one.open = False
            return
        mg = max(1, one.mg * min(permille, 1000) // 1000)
        done = self.attempt(f"commit {one.use}", lambda: self.town.commit(name, mg))
        if done is not None:
            assert one.open
            assert self.person(one.person).shop == one.grant_id
            assert one.expires_at > self.town.now, "what had run out was used"
            one.open, one.used_mg = False, mg

    @step(days=st.sampled_from((0, 0, 1, 3)))
    def time_passes(self, days: int) -> None:
        """An hour or some days; what ran out meanwhile is given back."""
        self.town.now += timedelta(days=days, hours=0 if days else 1)
        assert self.town.expire() == self.expected.expire(self.town.now)

    @step(
        weight=3,
        when=lambda self: self.books.total(Rights.BOTH, "owed"),
        platform=st.sampled_from((CITY, CITY, OTHER)),
        source=st.sampled_from(Source),
        permille=PERMILLE,
    )
    def a_debt_is_paid(self, platform: str, source: Source, permille: int) -> None:
        """Of what is owed, from grams that people transferred to the platform, or from the buffer."""
        owed = -self.books.total(Rights.BOTH, "owed", platform=platform)
        mg = max(1, owed * permille // 1000)

        def pay() -> int:
            with writing(self.hub.engine) as session:
                return repay(session, platform, mg, source, now=self.town.tick()).left_mg

        if self.attempt(f"pay from {source}", pay) is not None and source is Source.POOL:
            self.expected.delivered[platform] += mg

    # --- what holds -----------------------------------------------------------------------------------------------

    @invariant()
    def the_books_are_right(self) -> None:
        self.books.require(self.hub, self.expected, self.town.people)

    def teardown(self) -> None:
        """If nothing failed: deliver everything again, in another order, and audit the whole."""
        try:
            if sys.exc_info()[0] is None:
                self._end()
        finally:
            self.patched.undo()
            self.template.close(self.town)

    def _end(self) -> None:
        self.all_windows_are_closed()
        self.the_books_are_right()
        settled = self._balances()
        if self._tell_everything():
            # What nobody allowed at its time may be allowed by now; what is taken is taken once.
            assert self._tell_everything() == 0
        else:
            self.all_windows_are_closed()
            self.the_books_are_right()
            assert self._balances() == settled
        self.sequencer.run_until_current(self.town.tick())
        report = audit(self.hub)
        assert report.holds, format_report(report)

    def _tell_everything(self) -> int:
        """Tell all that was ever told, a platform at a time and the latest first; returns how many rows were taken."""
        rows = list(dict.fromkeys(self.expected.rows()))[::-1]
        told = [[row for row in rows if row.platform == platform] for platform in DOCUMENTS]
        return sum(self.deliver(*some, what="redelivery") for some in told if some)

    def _balances(self) -> dict[tuple[str, int | None, str | None, int, str], int]:
        """What is where, by vintage: the windows in which it was credited may differ in nothing else."""
        found: Counter[tuple[str, int | None, str | None, int, str]] = Counter()
        for (number, _, vintage, rights), mg in self.books.sums.items():
            account = self.books.accounts[number]
            found[account.kind, account.subject_id, account.platform, vintage, rights] += mg
        return {place: mg for place, mg in found.items() if mg}

    def _takes(self, use: Use) -> frozenset[Rights]:
        halves = frozenset({Rights.INCENTIVE, Rights.ATTRIBUTE})
        return halves if not self.rules.both or TAKES[use] is Rights.BOTH else frozenset({TAKES[use]})

    def _day(self, days_ago: int) -> int:
        """The number of a day whose hours are over."""
        today = self.town.today()
        return min(today - days_ago, today if self.town.now.astimezone(CHINA).hour > HOURS[-1] else today - 1)

    def _window(self, which: int) -> int:
        """One of the windows that still move, or of the last final ones."""
        last = max(self.expected.windows)
        return max(1, last - which % 4)

    def _rows(self, sql: str, **values: Any) -> list[Any]:
        with reading(self.hub.engine) as session:
            return list(session.execute(text(sql), values))

    def _number(self, sql: str, **values: Any) -> int:
        return int(self._rows(sql, **values)[0][0])


def die_at(place: str | None) -> Callable[[str], None]:
    """Return a failpoint that dies at one place."""

    def failpoint(name: str) -> None:
        if name == place:
            raise Died(name)

    return failpoint


def roots_of(session: Session) -> dict[int, bytes]:
    found = session.execute(text("SELECT window_id, root FROM clearing_window WHERE root IS NOT NULL"))
    return {number: bytes(root) for number, root in found}
