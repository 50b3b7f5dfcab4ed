"""What may be disputed, by whom, in which order it goes on, and until when. Pure. ADR 0037.

    opened -> evidence -> review -> upheld | rejected
    opened, evidence, review     -> withdrawn   by who opened it
    evidence                     -> lapsed      who opened it was asked and did not answer in time

Nothing is decided by time passing: a dispute whose evidence is due goes on to review, and one whose decision is overdue is
shown so. Days are weekdays, Monday to Friday, in Asia/Shanghai; public holidays are not known here.
"""

import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from enum import StrEnum
from zoneinfo import ZoneInfo

from hub.errors import Conflict, UsageProblem

ZONE = ZoneInfo("Asia/Shanghai")
TEXT_CHARACTERS = 4_000
MOST_PIECES = 20
"""Of evidence, by one side of one dispute."""
_SATURDAY = 5
# Half a character, unassigned code points and controls have no place in a text; nor has what turns the order of reading round.
_NO_TEXT = frozenset({"Cc", "Cs", "Cn", "Co"})
_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


class Target(StrEnum):
    """What a dispute is about."""

    LINK = "link"  # an account at a platform is not, or was not, this person's
    EVENT = "event"  # an act should not count, or is another person's
    AMOUNT = "amount"  # it should count another amount
    RETIREMENT = "retirement"  # grams were used that should not have been


class Side(StrEnum):
    """Who speaks in a dispute."""

    PERSON = "person"
    PLATFORM = "platform"
    REGULATOR = "regulator"
    OPERATOR = "operator"


class State(StrEnum):
    """How far a dispute has come."""

    OPENED = "opened"
    EVIDENCE = "evidence"
    REVIEW = "review"
    UPHELD = "upheld"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    LAPSED = "lapsed"


class Step(StrEnum):
    """What moves a dispute, or is added to it; the words that stand in the log."""

    OPENED = "opened"
    ACKNOWLEDGED = "acknowledged"
    SUBMITTED = "submitted"
    ASKED = "asked"
    REVIEWED = "reviewed"
    UPHELD = "upheld"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    LAPSED = "lapsed"


class Adjust(StrEnum):
    """What follows from a dispute that is upheld."""

    FULL = "full"
    PARTIAL = "partial"
    NONE = "none"  # a note: nothing is left to take back


LIVE = (State.OPENED, State.EVIDENCE, State.REVIEW)
_EARLY = (State.OPENED, State.EVIDENCE)
_NEXT: dict[Step, tuple[tuple[State, ...], State | None]] = {
    Step.ACKNOWLEDGED: ((State.OPENED,), State.EVIDENCE),
    Step.SUBMITTED: (_EARLY, None),
    Step.ASKED: (LIVE, State.EVIDENCE),
    Step.REVIEWED: (_EARLY, State.REVIEW),
    Step.UPHELD: ((State.REVIEW,), State.UPHELD),
    Step.REJECTED: ((State.REVIEW,), State.REJECTED),
    Step.WITHDRAWN: (LIVE, State.WITHDRAWN),
    Step.LAPSED: ((State.EVIDENCE,), State.LAPSED),
}
MOST_OPEN = {Side.PERSON: 20, Side.PLATFORM: 200}
"""Open disputes that one person, or one platform, may have: each locks somebody's grams."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weekdays:
    """How many weekdays there are, from the opening, to acknowledge, to bring evidence and to decide."""

    acknowledge: int
    evidence: int
    decision: int


def is_live(state: str) -> bool:
    """Tell whether a dispute is not over."""
    return state in LIVE


def moved(state: str, step: Step) -> State:
    """Return the state after a step.

    Raises:
        Conflict: the dispute is over, or not so far, or further.
    """
    before = State(state)
    allowed, after = _NEXT[step]
    if before not in LIVE:
        raise Conflict(f"this dispute is over: {before}")
    if before not in allowed:
        hint = {
            Step.SUBMITTED: "evidence is closed; ask the hub to open it again",
            Step.UPHELD: "take it into review first", Step.REJECTED: "take it into review first",
        }.get(step, f"it cannot be {step} now")  # fmt: skip
        raise Conflict(f"this dispute is in the state {before}: {hint}")
    return before if after is None else after


def due_after(at: datetime, weekdays: int) -> datetime:
    """Return the end of the so many-th weekday after the day of `at`, in Asia/Shanghai.

    Example:
        >>> friday = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
        >>> due_after(friday, 1).isoformat(), due_after(friday, 5).isoformat()
        ('2026-11-23T16:00:00+00:00', '2026-11-27T16:00:00+00:00')
    """
    day, left = at.astimezone(ZONE).date(), weekdays
    while left > 0:
        day += timedelta(days=1)
        left -= day.weekday() < _SATURDAY
    return datetime.combine(day + timedelta(days=1), time.min, tzinfo=ZONE).astimezone(UTC)


def require_text(text: str) -> str:
    """Return what somebody wrote, as it is kept: with plain line ends, without space around.

    Raises:
        UsageProblem: it is empty or too long, or has characters that are no text.
    """
    told = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    if not 0 < len(told) <= TEXT_CHARACTERS:
        raise UsageProblem(f"say what is wrong in 1 to {TEXT_CHARACTERS} characters")
    wrong = any(one in _TURNING or (one not in "\n\t" and unicodedata.category(one) in _NO_TEXT) for one in told)
    if wrong:
        raise UsageProblem("the text has characters that are no text (controls, or half of one)")
    return told
