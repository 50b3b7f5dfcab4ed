"""A platform's record of its messages beside the hub's: pairs, orphans of each side, and what differs. Pure.

A line of a platform's exchange log names a message as the hub's log does or as X-Road's operational monitoring does:

    message_id  (messageId)      the id that the delivery carried
    at          (requestInTs)    when; RFC 3339, or milliseconds since 1970
    stream      (serviceCode)    of which stream, if it is told
    rows                         how many rows it carried, if it is told
    digest                       SHA-256 of the message in hex, if it is told
    outcome     (succeeded)      `taken` and the hub's other words, or whether it went well; if it is told

What a line does not tell is not compared. Messages are paired by id and stream: never by their time.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from connectors.strict_json import MalformedJsonError, parse_object
from hub.errors import UsageProblem
from hub.exchange.leaves import X_ROAD

MOST_ENTRIES = 1_000_000
THEIRS_SCHEMA: dict[str, Any] = {
    "message_id": pl.String(), "stream": pl.String(), "at_us": pl.Int64(), "rows": pl.Int64(), "digest": pl.String(),
    "taken": pl.Boolean(), "line": pl.Int64(),
}  # fmt: skip
"""The platform's side; what is null was not told. `line` is the number of the line in its file."""
OURS_SCHEMA: dict[str, Any] = {
    "message_id": pl.String(), "stream": pl.String(), "at_us": pl.Int64(), "rows": pl.Int64(), "digest": pl.String(),
    "taken": pl.Boolean(), "batch": pl.Int64(), "index": pl.Int64(), "window": pl.Int64(),
}  # fmt: skip
"""The hub's side; `index` is where the leaf stands in the log, null while it is under no checkpoint."""
COMPARED = ("rows", "digest", "taken")
_ALIASES = {
    X_ROAD["delivery"]: "message_id",
    X_ROAD["at"]: "at",
    X_ROAD["stream"]: "stream",
    X_ROAD["outcome"]: "outcome",
}
_NAMES = frozenset({"message_id", "at", "stream", "rows", "digest", "outcome"})
_DIGEST = re.compile(r"[0-9a-f]{64}")
_STREAM = re.compile(r"[a-z][a-z0-9_]{0,31}")
_TAKEN = {"taken": True, "partly": True, "nothing_new": True, "refused": False, "failed": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """Both sides beside each other.

    `pairs` has line, batch, index, window and `differences` (list of names); `ours_alone` has OURS_SCHEMA without the id,
    which the platform chose and which may say anything; `theirs_alone` has THEIRS_SCHEMA. `twice` counts lines that told of
    a message once more; the first of them is compared.
    """

    pairs: pl.DataFrame
    ours_alone: pl.DataFrame
    theirs_alone: pl.DataFrame
    twice: int

    @property
    def different(self) -> pl.DataFrame:
        """The pairs of which the sides tell different things."""
        return self.pairs.filter(pl.col("differences").list.len() > 0)

    def counts(self) -> dict[str, int]:
        """The figures, as the log tells them."""
        return {
            "pairs_count": len(self.pairs), "different_count": len(self.different), "ours_alone_count": len(self.ours_alone),
            "theirs_alone_count": len(self.theirs_alone), "twice_count": self.twice,
        }  # fmt: skip


def parse_entries(lines: Iterable[bytes]) -> pl.DataFrame:
    """Read an exchange log, a JSON object on each line; returns THEIRS_SCHEMA.

    Raises:
        UsageProblem: a line is none of the agreed form; it names the line and the member, never what stood there.
    """
    rows: list[tuple[Any, ...]] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        if len(rows) >= MOST_ENTRIES:
            raise UsageProblem(f"at most {MOST_ENTRIES:,} messages are paired at once")
        try:
            rows.append((*_entry(parse_object(line)), number))
        except MalformedJsonError as cause:
            raise UsageProblem(f"line {number} is not strict JSON ({cause.reason})") from None
        except _Wrong as wrong:
            raise UsageProblem(f"line {number}: {wrong}") from None
    return pl.DataFrame(rows, schema=THEIRS_SCHEMA, orient="row")


def from_deliveries(deliveries: pl.DataFrame) -> pl.DataFrame:
    """Return the deliveries of a statement (delivery_id, rows, stream) as a platform's side."""
    told = deliveries.with_row_index("line", offset=1).select(
        pl.col("delivery_id").alias("message_id"), "stream", pl.lit(None, pl.Int64()).alias("at_us"), "rows",
        pl.lit(None, pl.String()).alias("digest"), pl.lit(None, pl.Boolean()).alias("taken"), pl.col("line").cast(pl.Int64()),
    )  # fmt: skip
    return told.cast(THEIRS_SCHEMA)  # type: ignore[arg-type]


def pair(ours: pl.DataFrame, theirs: pl.DataFrame, *, apart: timedelta) -> Paired:
    """Pair the two sides.

    Args:
        ours: OURS_SCHEMA. theirs: THEIRS_SCHEMA.
        apart: times that differ by more are a difference (`at`); clocks and queues take their time.
    """
    first = theirs.unique(["message_id", "stream"], keep="first", maintain_order=True)
    exact = first.filter(pl.col("stream").is_not_null()).join(ours, on=["message_id", "stream"], suffix="_ours")
    # A line without a stream means the one message of that id; where two streams have it, it stays alone.
    single = ours.filter(pl.len().over("message_id") == 1)
    loose = first.filter(pl.col("stream").is_null()).drop("stream").join(single, on="message_id", suffix="_ours")
    columns = ["line", "batch", "index", "window", *(f"{n}{s}" for n in (*COMPARED, "at_us") for s in ("", "_ours"))]
    # The same message under its stream and without it is told twice, too.
    both = pl.concat([exact.select(columns), loose.select(columns)]).sort("line")
    once = both.unique("batch", keep="first", maintain_order=True)
    pairs = once.with_columns(differences=_differences(apart)).select("line", "batch", "index", "window", "differences")
    alone = first.filter(~pl.col("line").is_in(both["line"].implode()))
    ours_alone = ours.filter(~pl.col("batch").is_in(pairs["batch"].implode())).drop("message_id")
    twice = len(theirs) - len(first) + len(both) - len(once)
    return Paired(pairs=pairs, ours_alone=ours_alone.sort("batch"), theirs_alone=alone.sort("line"), twice=twice)


class _Wrong(ValueError):
    """The member and the rule."""


def _entry(told: Mapping[str, Any]) -> tuple[Any, ...]:
    named = {_ALIASES.get(name, name): value for name, value in told.items()}
    if len(named) != len(told):
        raise _Wrong("one member is there under two names")
    message = named.get("message_id")
    if not isinstance(message, str) or not 0 < len(message) <= 200:
        raise _Wrong("message_id: text of 1 to 200 characters")
    stream, rows, digest = named.get("stream"), named.get("rows"), named.get("digest")
    if stream is not None and not (isinstance(stream, str) and _STREAM.fullmatch(stream)):
        raise _Wrong("stream: a stream's name")
    if rows is not None and not (type(rows) is int and 0 <= rows <= 10**9):
        raise _Wrong("rows: a number from 0 on")
    if digest is not None and not (isinstance(digest, str) and _DIGEST.fullmatch(digest)):
        raise _Wrong("digest: SHA-256 in 64 small hex digits")
    return message, stream, _micros(named.get("at")), rows, digest, _taken(named.get("outcome"))


def _micros(at: object) -> int | None:
    if at is None:
        return None
    if type(at) is int and 0 <= at < 10**14:
        return at * 1000
    try:
        parsed = datetime.fromisoformat(at) if isinstance(at, str) else None
        if parsed is None or parsed.tzinfo is None:
            raise ValueError
        return (parsed.astimezone(UTC) - datetime.fromtimestamp(0, tz=UTC)) // timedelta(microseconds=1)
    except (ValueError, OverflowError):
        raise _Wrong("at: a time with its zone, or milliseconds since 1970") from None


def _taken(outcome: object) -> bool | None:
    if outcome is None or isinstance(outcome, bool):
        return outcome
    if isinstance(outcome, str) and outcome in _TAKEN:
        return _TAKEN[outcome]
    raise _Wrong(f"outcome: true, false, or one of {json.dumps(sorted(_TAKEN))}")


def _differences(apart: timedelta) -> pl.Expr:
    """Name what both sides tell and tell differently; what one side does not tell is no difference."""
    named = [
        pl.when(pl.col(name).is_not_null() & (pl.col(name) != pl.col(f"{name}_ours"))).then(pl.lit(name))
        for name in COMPARED
    ]
    late = (pl.col("at_us") - pl.col("at_us_ours")).abs() > apart // timedelta(microseconds=1)
    named.append(pl.when(pl.col("at_us").is_not_null() & late).then(pl.lit("at")))
    return pl.concat_list(named).list.drop_nulls()
