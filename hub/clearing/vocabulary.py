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
    SAME_TIME_OF_ONE_PERSON = 9
    NO_QUANTITY = 10
    NO_RATE = 11
    REST_OF_DAY = 12
    DISPLACED = 13
    CONTAINED = 14
    TOLD_ONE_BY_ONE = 15
    COUNTED_ONCE_BEFORE = 16
    COUNTED_FOR_OTHER_PERSON = 17
    TIE = 18
    UNCERTAIN = 19
    TOO_MANY_CANDIDATES = 20
    TWO_TRIPS_AT_ONCE = 21
    IMPLAUSIBLE_QUANTITY = 22
    IMPLAUSIBLE_SPEED = 23
    IMPLAUSIBLE_DURATION = 24
    IMPLAUSIBLE_DAY = 25
    MISSING_VALUE = 26
    UNKNOWN_BEHAVIOUR = 27
    UNKNOWN_ROLE = 28
    UNKNOWN_PRECISION = 29
    UNKNOWN_UNIT = 30
    END_BEFORE_START = 31
    BAD_QUANTITY = 32
    BAD_CLAIM = 33
    TIME_OUT_OF_RANGE = 34


REASON_WORDS = tuple(reason.name.lower() for reason in Reason)
