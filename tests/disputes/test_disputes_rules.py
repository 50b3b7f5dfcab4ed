"""The rules of disputes: which step is allowed when, deadlines in weekdays, and what is a text."""

import doctest
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

import hub.disputes.rules
from hub.disputes.rules import LIVE, TEXT_CHARACTERS, ZONE, State, Step, due_after, moved, require_text
from hub.errors import Conflict, UsageProblem

# Step by step, what becomes of a dispute in each state that is not over; None where the step is refused.
STEPS = {
    Step.ACKNOWLEDGED: (State.EVIDENCE, None, None),
    Step.SUBMITTED: (State.OPENED, State.EVIDENCE, None),
    Step.ASKED: (State.EVIDENCE, State.EVIDENCE, State.EVIDENCE),
    Step.REVIEWED: (State.REVIEW, State.REVIEW, None),
    Step.UPHELD: (None, None, State.UPHELD),
    Step.REJECTED: (None, None, State.REJECTED),
    Step.WITHDRAWN: (State.WITHDRAWN, State.WITHDRAWN, State.WITHDRAWN),
    Step.LAPSED: (None, State.LAPSED, None),
}


def test_the_examples_hold() -> None:
    assert doctest.testmod(hub.disputes.rules).failed == 0


def test_the_table_has_every_step_but_the_opening() -> None:
    assert set(STEPS) == set(Step) - {Step.OPENED}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("state", State)
def test_a_step_leads_where_the_table_says_or_is_refused(step: Step, state: State) -> None:
    wanted = STEPS[step][LIVE.index(state)] if state in LIVE else None
    if wanted is not None:
        assert moved(state, step) is wanted
        return
    with pytest.raises(Conflict, match="is over" if state not in LIVE else f"the state {state}"):
        moved(state, step)


@given(st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC)), st.integers(1, 60))
def test_a_deadline_is_the_end_of_a_weekday_and_leaves_that_many_whole_ones(at: datetime, days: int) -> None:
    due = due_after(at, days).astimezone(ZONE)
    last = (due - timedelta(seconds=1)).date()
    first = at.astimezone(ZONE).date() + timedelta(days=1)
    whole = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    assert (due.hour, due.minute, due.second) == (0, 0, 0)
    assert last.weekday() < 5
    assert sum(day.weekday() < 5 for day in whole) == days


@pytest.mark.parametrize(
    "text",
    ["", " \n ", "x" * (TEXT_CHARACTERS + 1), "half \ud800", "bell \x07", "nul \x00", "right\u202eleft", "\ufffe"],
    ids=["nothing", "space", "long", "surrogate", "bell", "nul", "turned", "none"],
)
def test_what_is_no_text_is_refused(text: str) -> None:
    with pytest.raises(UsageProblem):
        require_text(text)


def test_a_text_keeps_its_lines_its_chinese_and_its_faces() -> None:
    told = "骑的不是我\u3000，\r\n是我弟弟 👨‍👩‍👧\tok\r"
    assert require_text(f"  {told} ") == "骑的不是我\u3000，\n是我弟弟 👨‍👩‍👧\tok"


@given(st.text(max_size=50))
def test_a_text_that_is_taken_is_taken_again_as_it_is(text: str) -> None:
    try:
        told = require_text(text)
    except UsageProblem:
        return
    assert require_text(told) == told
    assert told.encode().decode() == told
