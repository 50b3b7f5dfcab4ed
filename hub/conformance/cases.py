"""What a case of the suite is, how a case fails, and the list of all of them. Pure.

A case has an id that never changes its meaning: reports of different days are compared by it. It passes by returning,
fails by raising `Violation` with a sentence that says what the connector did and what it must do, and steps aside by
raising `NotApplicable` where the format, the simulator or the connector gives it nothing to look at.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Generic, TypeVar

from connectors.base import Description, Scope, Transport

Subject = TypeVar("Subject")
Applies = Callable[[Description], bool]


class Group(StrEnum):
    CONTRACT = "contract"  # what the connector says of itself
    PUSH = "push"  # messages that come in
    DEVICE = "device"  # messages that come in, and the platform that is asked about them
    PULL = "pull"  # pages that are asked for
    FILE = "file"  # drops that are read
    UPLOAD = "upload"  # files that people bring
    LIFE = "life"  # the rows' way through mapping and record store
    LIVE = "live"  # a participant's own endpoint


class Violation(Exception):
    """The connector does what it must not do, or not what it must."""


class NotApplicable(Exception):
    """There is nothing here that the case could look at; the text says why."""


def require(condition: object, sentence: str) -> None:
    """Raise unless the condition holds."""
    if not condition:
        raise Violation(sentence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case(Generic[Subject]):
    """One thing that is looked at."""

    id: str
    title: str
    group: Group
    run: Callable[[Subject], None] = field(repr=False)
    applies: Applies = field(default=lambda told: True, repr=False)


class CaseList(Generic[Subject]):
    """Cases of one group in the order in which they were told, each id once."""

    def __init__(self, group: Group, applies: Applies = lambda told: True) -> None:
        self._group, self._applies = group, applies
        self._cases: dict[str, Case[Subject]] = {}

    def __iter__(self) -> Iterator[Case[Subject]]:
        return iter(self._cases.values())

    def __len__(self) -> int:
        return len(self._cases)

    def add(self, id: str, title: str, run: Callable[[Subject], None], *, applies: Applies | None = None) -> None:
        if id in self._cases:
            raise ValueError(f"{id} is there already")
        self._cases[id] = Case(id=id, title=title, group=self._group, run=run, applies=applies or self._applies)

    def case(
        self, id: str, title: str, *, applies: Applies | None = None
    ) -> Callable[[Callable[[Subject], None]], Callable[[Subject], None]]:
        """Register a function as a case."""

        def register(run: Callable[[Subject], None]) -> Callable[[Subject], None]:
            self.add(id, title, run, applies=applies)
            return run

        return register


def is_receiver(told: Description) -> bool:
    return told.transport in (Transport.PUSH, Transport.DEVICE, Transport.UPLOAD)


def is_pushed(told: Description) -> bool:
    """Whether a platform speaks: then somebody vouches for the message. A file that a person brings anybody can edit."""
    return told.transport in (Transport.PUSH, Transport.DEVICE)


def is_upload(told: Description) -> bool:
    return told.transport is Transport.UPLOAD


def is_device(told: Description) -> bool:
    return told.transport is Transport.DEVICE


def is_fetcher(told: Description) -> bool:
    return told.transport in (Transport.PULL, Transport.FILE)


def is_pull(told: Description) -> bool:
    return told.transport is Transport.PULL


def is_file(told: Description) -> bool:
    return told.transport is Transport.FILE


def is_pull_of_links(told: Description) -> bool:
    return told.transport is Transport.PULL and told.scope is Scope.LINK
