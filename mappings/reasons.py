"""Why a row is set aside: the closed list of quarantine reasons, each with one sentence. Pure.

The order is the order of precedence: a row with several faults carries the first. Codes are stable:
platforms read them.
"""

from enum import StrEnum
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Faults: TypeAlias = NDArray[np.uint8]
"""Per row the number of its reason, or NONE."""
NONE = 0


class Reason(StrEnum):
    """A machine code, its `number` (from 1), and what it means as a `sentence`, which never quotes the row."""

    number: int
    sentence: str

    def __new__(cls, code: str, sentence: str) -> "Reason":
        member = str.__new__(cls, code)
        member._value_ = code
        member.number = len(cls.__members__) + 1
        member.sentence = sentence
        return member

    # How the document was read.
    JSON_TOO_LARGE = "json_too_large", "The document is larger than 64 KiB or an object has more than 512 members."
    NOT_JSON = "not_json", "The document is not valid JSON in UTF-8."
    JSON_TOO_DEEP = "json_too_deep", "The document is nested deeper than 32 levels."
    NOT_OBJECT = "not_object", "The document is not a JSON object."
    NOT_FINITE = "not_finite", "The document contains NaN or Infinity, which are not numbers in JSON."
    DUPLICATE_KEY = "duplicate_key", "An object of the document has the same key twice."
    # What the platform says did not become an act.
    NO_REDUCTION = "no_reduction", "The record does not show that the act avoided any emission."
    MISSING_SCENE = "missing_scene", "The kind of act is not told."
    UNKNOWN_SCENE = "unknown_scene", "The mapping does not know this kind of act."
    UNPAIRED = "unpaired", "The trip has an entry without an exit, or an exit without an entry."
    NO_TRIP = "no_trip", "The person left where they entered and paid nothing, so there was no trip."
    NOT_FINAL = "not_final", "The platform has not settled the act yet."
    # Who and what the record is.
    MISSING_SOURCE_ID = "missing_source_id", "The record has no id."
    BAD_SOURCE_ID = "bad_source_id", "The record's id is not 1 to 128 printable ASCII characters, or cannot be joined."
    MISSING_ACCOUNT = "missing_account", "The account is not told."
    BAD_ACCOUNT = "bad_account", "The account is not 1 to 128 printable ASCII characters."
    MISSING_VERSION = "missing_version", "The record has no version."
    BAD_VERSION = "bad_version", "The version is not a whole number of at least 0."
    MISSING_STATUS = "missing_status", "The status is not told."
    UNKNOWN_STATUS = "unknown_status", "The mapping does not know this status."
    MISSING_ROLE = "missing_role", "The platform's part in the act cannot be told."
    UNKNOWN_ROLE = "unknown_role", "The mapping does not know which part the platform has in this act."
    MISSING_PRECISION = "missing_precision", "It cannot be told how exact the time is."
    UNKNOWN_PRECISION = "unknown_precision", "The mapping does not know how exact this time is."
    # When.
    MISSING_TIME = "missing_time", "A time is not told."
    BAD_TIME = "bad_time", "A time is not written as expected, or there is no such date or time of day."
    MISSING_ZONE = "missing_zone", "A time is written without its zone."
    NONEXISTENT_TIME = "nonexistent_time", "The local time was skipped when the clocks went forward."
    AMBIGUOUS_TIME = "ambiguous_time", "The local time occurred twice when the clocks went back."
    TIME_OUT_OF_RANGE = "time_out_of_range", "A time lies before the year 2000 or after 9999."
    END_BEFORE_START = "end_before_start", "The act ends before it starts."
    TIME_AHEAD = "time_ahead", "A time lies more than 60 seconds ahead of the hub's clock."
    # How much.
    BAD_QUANTITY = "bad_quantity", "The quantity is not a decimal number."
    NEGATIVE_QUANTITY = "negative_quantity", "The quantity is negative."
    QUANTITY_OUT_OF_RANGE = "quantity_out_of_range", "The quantity has more than 12 digits before the point."
    UNIT_MISMATCH = "unit_mismatch", "The behaviour is not counted in this unit."
    BAD_CLAIM = "bad_claim", "The claimed mass is not a decimal number."
    NEGATIVE_CLAIM = "negative_claim", "The claimed mass is negative."
    CLAIM_OUT_OF_RANGE = "claim_out_of_range", "The claimed mass of one act is more than a tonne."
    # By what else it is known.
    BAD_KEY = "bad_key", "An order or payment number is longer than 256 bytes, or cannot be joined."
    BAD_REGION = "bad_region", "The region is not a GB/T 2260 code of a place in China."
    # Anywhere.
    WRONG_TYPE = "wrong_type", "A field holds a boolean, an object or an array where a text or number belongs."
    CONFLICTING_FIELDS = "conflicting_fields", "Two names of one field are both present and differ."


READING = (
    Reason.JSON_TOO_LARGE,
    Reason.NOT_JSON,
    Reason.JSON_TOO_DEEP,
    Reason.NOT_OBJECT,
    Reason.NOT_FINITE,
    Reason.DUPLICATE_KEY,
)
"""In the order of the scanner's statuses, which begin with 1."""

STATED = (Reason.UNPAIRED, Reason.NO_TRIP, Reason.NOT_FINAL, Reason.NO_REDUCTION, Reason.UNIT_MISMATCH)
"""The reasons that a mapping file may give by a condition of its own."""
