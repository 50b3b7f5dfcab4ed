"""What a platform says that it told, where its own format has a word for it: values, and the receiver of them. Pure.

A connector keeps no database: it reads a statement into a value, the hub compares it with what it has, and the connector
writes the answer in the platform's words. A receiver that understands statements says which requests are some; the
others go to `receive` as ever.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, runtime_checkable

from connectors.base import Inbound, Reply

Why = Literal["unknown", "quantity"]
"""The hub never had the record, or had it with another quantity."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementLine:
    """One record as its platform remembers it; `row` is the line as it was written.

    `quantity_micro` is in millionths of the unit that the format's records have.
    """

    source_id: str
    quantity_micro: int
    row: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A platform's own account of a stretch of time (half-open) of one stream.

    `statement_id` is the same whenever the same statement comes again; `digest` is the SHA-256 of its text. `period` is
    how the platform wrote its stretch of time, for the answer.
    """

    statement_id: str
    stream: str
    since: datetime
    until: datetime
    period: tuple[str, str]
    lines: tuple[StatementLine, ...] = field(repr=False)
    digest: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    line: StatementLine
    why: Why


def find_disputes(statement: Statement, taken: Mapping[str, int]) -> tuple[Dispute, ...]:
    """Compare a statement with what the hub took, line by line, in the statement's order.

    Args:
        taken: quantity in millionths by source id: the version that stands, of every record of the statement that the
            hub has, whether or not it counts.
    """
    disputes = []
    for line in statement.lines:
        if line.source_id not in taken:
            disputes.append(Dispute(line=line, why="unknown"))
        elif taken[line.source_id] != line.quantity_micro:
            disputes.append(Dispute(line=line, why="quantity"))
    return tuple(disputes)


def find_untold(statement: Statement, taken: Mapping[str, int]) -> tuple[str, ...]:
    """Return the source ids that the hub took for the statement's time and the platform does not name, sorted."""
    return tuple(sorted(set(taken) - {line.source_id for line in statement.lines}))


@runtime_checkable
class StatementReceiver(Protocol):
    """A receiver whose format also has statements."""

    def is_statement(self, request: Inbound) -> bool:
        """Tell by its address alone whether a request is a statement."""
        ...

    def receive_statement(self, request: Inbound, *, now: datetime) -> Statement | Reply:
        """Check one request. A `Reply` means that it is refused."""
        ...

    def answer_statement(self, statement: Statement, disputes: Sequence[Dispute]) -> Reply: ...
