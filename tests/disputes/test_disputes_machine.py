"""Disputes in any order, against a model: what is locked is what open disputes lock, and no gram comes or goes by itself."""

import shutil
import tempfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from tests_support.deliveries import delivery
from tests_support.disputing import (
    decided,
    employ,
    events,
    followed,
    moved,
    opened,
    person,
    platform,
    require_sound,
    rows,
    state_of,
    withdrawn,
    written,
)
from tests_support.using import CITY, DAYS, NOW, Shop, close_window, ride, settle_town, sums, use

from consent.keyring import load_keyring
from hub.context import Hub
from hub.db import make_engine
from hub.disputes.rules import LIVE, Adjust, State, Step, due_after
from hub.disputes.rules import moved as allowed_state
from hub.errors import Conflict
from hub.pipeline import take_delivery
from hub.settings import Settings

PART = 7
EVENT = st.integers(0, len(DAYS) - 1)


class Quarrel(RuleBasedStateMachine):
    """Li, the city and an operator about three rides; `live` has the state that the model expects of each open dispute."""

    template: Path

    @initialize()
    def begin(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="quarrel-"))
        shutil.copyfile(self.template, self.folder / "tanlian.db")
        url = f"sqlite:///{self.folder / 'tanlian.db'}"
        told = Settings(_env_file=None, database_url=url, keys_dir=self.folder / "keys", issuer="https://hub.example")
        self.now = NOW
        self.hub = Hub(settings=told, engine=make_engine(url), ring=load_keyring(told.keys_dir), clock=lambda: self.now)
        employ(self.hub)
        self.city, self.li = settle_town(self.hub)
        self.acts = events(self.hub)
        self.each = sums(self.hub, self.li.subject_id)["held"] // len(self.acts)
        self.left = dict.fromkeys(self.acts, self.each)
        self.live: dict[str, tuple[int, Any, State]] = {}
        self.due: dict[str, tuple[datetime, bool]] = {}
        self.used = 0

    def teardown(self) -> None:
        if hasattr(self, "hub"):
            require_sound(self.hub)
            self.hub.engine.dispose()
            shutil.rmtree(self.folder)

    @rule(which=EVENT, by_person=st.booleans())
    def open(self, which: int, *, by_person: bool) -> None:
        event, who = self.acts[which], person(self.li.subject_id) if by_person else platform(CITY)
        standing = [(name, told) for name, told in self.live.items() if told[0] == event]
        if not self.left[event] or (standing and standing[0][1][1] != who):
            with pytest.raises(Conflict):
                opened(self.hub, who, event_id=event, now=self.now)
            return
        made = opened(self.hub, who, event_id=event, now=self.now)
        if standing:
            assert made == standing[0][0]
            return
        self.live[made] = (event, who, State.OPENED)
        self.due[made] = (due_after(self.now, 5), False)

    @precondition(lambda self: self.live)
    @rule(pick=st.integers(0, 9), step=st.sampled_from((Step.ACKNOWLEDGED, Step.ASKED, Step.REVIEWED, Step.SUBMITTED)))
    def move(self, pick: int, step: Step) -> None:
        dispute, (event, who, state) = self._pick(pick)
        try:
            after = allowed_state(state, step)
        except Conflict:
            with pytest.raises(Conflict):
                self._step(dispute, who, step)
            return
        self._step(dispute, who, step)
        self.live[dispute] = (event, who, after)
        if step is Step.ASKED:
            self.due[dispute] = (due_after(self.now, 5), True)
        elif step in (Step.SUBMITTED, Step.REVIEWED):
            self.due[dispute] = (self.due[dispute][0], False)

    @precondition(lambda self: self.live)
    @rule(pick=st.integers(0, 9), outcome=st.sampled_from(("full", "part", "rejected", "withdrawn")))
    def end(self, pick: int, outcome: str) -> None:
        dispute, (event, who, state) = self._pick(pick)
        if outcome == "withdrawn":
            withdrawn(self.hub, dispute, who, now=self.now)
        else:
            gone = outcome != "rejected" and not self.left[event]
            mg = PART if outcome == "part" and not gone else None
            kind = Adjust.NONE if gone else Adjust.PARTIAL if mg else Adjust.FULL
            if state is not State.REVIEW:
                with pytest.raises(Conflict):
                    decided(self.hub, dispute, upheld=outcome != "rejected", adjust=kind, mg=mg, now=self.now)
                return
            decided(self.hub, dispute, upheld=outcome != "rejected", adjust=kind, mg=mg, now=self.now)
            if outcome != "rejected" and not gone:
                self.left[event] -= mg or self.left[event]
        del self.live[dispute], self.due[dispute]

    @rule(days=st.integers(1, 6))
    def wait(self, days: int) -> None:
        self.now += timedelta(days=days)
        due = [name for name, (at, _) in self.due.items() if at <= self.now and self.live[name][2] is not State.REVIEW]
        assert followed(self.hub, self.now) == len(due)
        for name in due:
            if self.due[name][1]:
                assert state_of(self.hub, name) == State.LAPSED
                del self.live[name], self.due[name]
            else:
                self.live[name] = (*self.live[name][:2], State.REVIEW)

    @rule(which=EVENT)
    def correct(self, which: int) -> None:
        """The city takes a ride back; what was taken back by staff already, its newer version does not bring back."""
        event = self.acts[which]
        if not self.left[event] or self.left[event] != self.each:
            return
        gone = ride(f"{which}", day=DAYS[which], ver=2, status="CANCELLED")
        take_delivery(self.hub, self.city, delivery(f"back-{which}", gone), now=self.now)
        close_window(self.hub, self.now)
        self.left[event] = 0

    @precondition(lambda self: not self.used)
    @rule(mg=st.integers(1, 50_000))
    def use(self, mg: int) -> None:
        if sums(self.hub, self.li.subject_id).get("held", 0) < mg:
            return
        shop = Shop.opened(self.hub)
        use(shop, shop.allowed(self.li.subject_id), mg)
        self.used = mg

    @invariant()
    def locked_is_what_open_disputes_lock(self) -> None:
        if not hasattr(self, "left"):
            return
        told = sums(self.hub, self.li.subject_id)
        locks = rows(
            self.hub,
            "SELECT l.event_id, l.both_mg FROM dispute_lock l JOIN dispute d USING (dispute_id) WHERE l.unlocked_at IS NULL",
        )
        assert told.get("locked", 0) == sum(mg for _, mg in locks)
        assert {event for event, _ in locks} <= {event for event, _, _ in self.live.values() if self.left[event]}
        ((owed,),) = rows(self.hub, "SELECT COALESCE(SUM(left_mg), 0) FROM debt")
        assert told.get("held", 0) + told.get("locked", 0) + self.used == sum(self.left.values()) + owed
        assert all(state_of(self.hub, name) == state and state in LIVE for name, (_, _, state) in self.live.items())

    def _pick(self, pick: int) -> tuple[str, tuple[int, Any, State]]:
        return sorted(self.live.items())[pick % len(self.live)]

    def _step(self, dispute: str, who: Any, step: Step) -> None:
        if step is Step.SUBMITTED:
            written(self.hub, dispute, who, now=self.now)
        else:
            moved(self.hub, dispute, step, now=self.now)


def test_in_whatever_order_they_go(sqlite_template: Path) -> None:
    Quarrel.template = sqlite_template
    run_state_machine_as_test(
        Quarrel,
        settings=settings(
            max_examples=12, stateful_step_count=14, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
