"""The closed lists of rules and reasons that a decision can carry, as codes for the kernel and words for people. Pure.

The order is part of the result's root digest: add at the end, never reorder.
"""

from enum import IntEnum

from standards.schema import Verdict

VERDICTS: tuple[str, ...] = tuple(str(verdict) for verdict in Verdict)
COUNTED, DUPLICATE, OVERLAPPED, HELD, REJECTED = range(5)


class Rule(IntEnum):
    """The tier that decided; overlap rules of the policy follow after the last, in the policy's order."""

    INPUT = 0
    SINGLE = 1
    T1 = 2
    T2 = 3
    T3 = 4
    T4 = 5
    PLAUSIBILITY = 6


RULE_WORDS = ("input", "single", "T1", "T2", "T3", "T4", "plausibility")


class Reason(IntEnum):
    """Why, in one word for machines."""

    ONLY_REPORT = 0
    FIRST_IN_ROLE_ORDER = 1
    SAME_CONTENT = 2
    SAME_EVENT_KEY = 3
    SAME_PAYMENT_KEY = 4
    PART_OF_PAYMENT = 5
    SAME_TIME_AND_AMOUNT = 6
    SAME_DAY_ACT = 7
    ONLY_CANDIDATE_OF_DAY = 8
    NO_QUANTITY = 9
    NO_RATE = 10
    REST_OF_DAY = 11
    DISPLACED = 12
    CONTAINED = 13
    TOLD_ONE_BY_ONE = 14
    COUNTED_ONCE_BEFORE = 15
    COUNTED_FOR_OTHER_PERSON = 16
    TIE = 17
    UNCERTAIN = 18
    TOO_MANY_CANDIDATES = 19
    TWO_TRIPS_AT_ONCE = 20
    IMPLAUSIBLE_QUANTITY = 21
    IMPLAUSIBLE_SPEED = 22
    IMPLAUSIBLE_DURATION = 23
    IMPLAUSIBLE_DAY = 24
    MISSING_VALUE = 25
    UNKNOWN_BEHAVIOUR = 26
    UNKNOWN_ROLE = 27
    UNKNOWN_PRECISION = 28
    UNKNOWN_UNIT = 29
    END_BEFORE_START = 30
    BAD_QUANTITY = 31
    BAD_CLAIM = 32
    TIME_OUT_OF_RANGE = 33
    DECLARED_ONLY = 34
    IMPLAUSIBLE_POWER = 35
    IMPLAUSIBLE_ENERGY = 36
    IMPLAUSIBLE_DAY_TOTAL = 37
    IMPOSSIBLE_TRAVEL = 38
    SAME_STEPS_EVERY_DAY = 39
    STEADY_STEPS = 40
    FULL_STEPS_EVERY_DAY = 41
    RELEASED_TOGETHER = 42


REASON_WORDS = tuple(reason.name.lower() for reason in Reason)
