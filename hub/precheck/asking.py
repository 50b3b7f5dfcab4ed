"""What a platform may ask before it claims acts, and which claims answer it. Pure.

The answer is the first half of T2 of clearing: somebody else has told of an act of this family under this number, near this
time. It is one bit, the same whoever told and however long ago, so that it names neither a person nor a platform. ADR 0029.
"""

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Self

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from connectors.strict_json import MalformedJsonError, parse_object
from hub.errors import UsageProblem
from mappings.tokens import MAX_KEY_BYTES, event_token
from standards.behaviours import accepted_behaviours
from standards.policy import ClearingPolicy

MOST_EVENTS = 500
MOST_BYTES = 512 * 1024
# A number that short, or of so few different signs, is found by trying, so it proves that nobody has seen the act.
LEAST_SIGNS = 8
LEAST_DIFFERENT = 4
AHEAD = timedelta(seconds=60)
KINDS = {"event_key": "origin", "payment_key": "payment"}
ASKED_SCHEMA: dict[str, Any] = {
    "row": pl.UInt32(), "kind": pl.String(), "key": pl.Int64(), "family": pl.String(), "at_us": pl.Int64(),
}  # fmt: skip
CLAIMS_SCHEMA: dict[str, Any] = {
    "kind": pl.String(), "key": pl.Int64(), "subject_id": pl.Int64(), "platform": pl.String(), "role": pl.String(),
    "behaviour": pl.String(), "start_us": pl.Int64(), "verdict": pl.String(),
}  # fmt: skip
_SECOND_US = 1_000_000
_TIME = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})$"
Key = Annotated[str, Field(min_length=1, max_length=MAX_KEY_BYTES)]


class Event(BaseModel):
    """One act that the platform has seen: what it was, when it began, and its number."""

    model_config = ConfigDict(strict=True, extra="forbid")

    behaviour: str = Field(description="code of the behaviour list", max_length=32)
    at: str = Field(
        pattern=_TIME, description="begin of the act, RFC 3339 with zone", examples=["2026-10-05T08:12:03+08:00"]
    )
    event_key: Key | None = Field(
        default=None, description="order, trip, charge or waybill number, as it stands in the platform's own records"
    )
    payment_key: Key | None = Field(default=None, description="payment number, instead of event_key")

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if (self.event_key is None) == (self.payment_key is None):
            raise ValueError("give event_key or payment_key, and not both")
        return self


class Question(BaseModel):
    """The body of a pre-check."""

    model_config = ConfigDict(strict=True, extra="forbid")

    events: list[Event] = Field(min_length=1, max_length=MOST_EVENTS)


class Answer(BaseModel):
    """The answer about one act."""

    claimed: bool = Field(description="another platform has told of this act, and that stands")


class Answers(BaseModel):
    """The answers, in the order of the question."""

    events: list[Answer]
    left_today: int = Field(description="how many more acts this platform may ask about today (China)")


def parse_question(body: bytes) -> Question:
    """Read a question.

    Raises:
        UsageProblem: not strict JSON, or not of the agreed form; what stood there is not repeated.
    """
    try:
        return Question.model_validate(parse_object(body))
    except MalformedJsonError as cause:
        raise UsageProblem(f"the question is not strict JSON ({cause.reason})") from None
    except ValidationError as cause:
        first = cause.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UsageProblem(f"the question is not of the agreed form ({where}: {first['msg']})") from None


def read_events(question: Question, *, behaviours: frozenset[str], token_key: bytes, now: datetime) -> pl.DataFrame:
    """Return ASKED_SCHEMA: what is asked, with tokens for numbers.

    Args:
        behaviours: those that the platform reports; it can have seen no other act.

    Raises:
        UsageProblem: an act is none that may be asked about; names the first by its place. Nothing was looked up.
    """
    rows = []
    for place, event in enumerate(question.events):
        known = accepted_behaviours().get(event.behaviour)
        if known is None or event.behaviour not in behaviours:
            raise UsageProblem(f"events.{place}.behaviour: this participant does not report it")
        at = _parse_time(event.at)
        if at is None or at > now + AHEAD:
            raise UsageProblem(f"events.{place}.at: no time, or one that has not come yet")
        name = "event_key" if event.event_key is not None else "payment_key"
        token = _token(token_key, KINDS[name], event.event_key or event.payment_key or "")
        if token is None:
            raise UsageProblem(
                f"events.{place}.{name}: a number needs {LEAST_SIGNS} letters or digits, {LEAST_DIFFERENT} of them different"
            )
        signed = token - 2**64 if token >= 2**63 else token
        rows.append((place, name, signed, known.family, _micros(at)))
    return pl.DataFrame(rows, schema=ASKED_SCHEMA, orient="row")


def answer_events(asked: pl.DataFrame, claims: pl.DataFrame, *, platform: str, policy: ClearingPolicy) -> list[bool]:
    """Say for each act whether somebody else has claimed it.

    Args:
        asked: ASKED_SCHEMA.
        claims: CLAIMS_SCHEMA, the standing reports under the numbers asked, of people who allow clearing; `verdict` is null
            where nothing is decided yet.
        platform: who asks; its own reports are no claim of another.
        policy: how far apart one number is one act, how many people may carry it, whose word alone never counts.
    """
    span_us = policy.keys.span_s * _SECOND_US
    families = {code: behaviour.family for code, behaviour in accepted_behaviours().items()}
    shared = sorted({code for rule in policy.overlaps if rule.kind == "shared" for code in rule.behaviours})
    told = claims.with_columns(
        family=pl.col("behaviour").replace_strict(families, default=None, return_dtype=pl.String),
        people=pl.col("subject_id").n_unique().over("kind", "key"),
        most=pl.when(pl.col("behaviour").is_in(shared))
        .then(policy.keys.shared_subjects)
        .otherwise(policy.keys.junk_subjects),
    )
    # Alone, such a word claims nothing; clearing has said so already, or will.
    alone = pl.col("role").is_in(sorted(policy.never_alone_roles)) & (
        pl.col("verdict").is_null() | (pl.col("verdict") == "held")
    )
    others = told.filter((pl.col("platform") != platform) & ~alone & (pl.col("people") <= pl.col("most")))
    pairs = asked.join(others, on=["kind", "key", "family"], how="inner")
    near = pairs.filter((pl.col("start_us") - pl.col("at_us")).abs() <= span_us)
    return asked["row"].is_in(near["row"].unique().implode()).to_list()


def _token(key: bytes, kind: str, raw: str) -> int | None:
    signs = re.findall(r"[^\W_]", raw.upper())
    if len(signs) < LEAST_SIGNS or len(set(signs)) < LEAST_DIFFERENT:
        return None
    return event_token(key, kind, raw)


def _micros(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


def _parse_time(told: str) -> datetime | None:
    try:
        return datetime.fromisoformat(told)
    except ValueError:
        return None
