"""What a mapping file says, as checked values: the closed vocabulary of conditions and transforms. Pure."""

from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

from mappings.reader import Path, Paths, Tree
from mappings.reasons import Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Equals:
    """The text, or the number as written, is one of these."""

    paths: Paths
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualsNumber:
    """The decimal number is this one, however it is written; in millionths."""

    paths: Paths
    value_micro: int


@dataclass(frozen=True, slots=True, kw_only=True)
class IsAbsent:
    """The field is missing or null; with `expected` false: it is there."""

    paths: Paths
    expected: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SameAs:
    """Two fields are told and hold the same text."""

    paths: Paths
    others: Paths


@dataclass(frozen=True, slots=True, kw_only=True)
class Not:
    """The condition does not hold."""

    condition: "Condition"


@dataclass(frozen=True, slots=True, kw_only=True)
class AllOf:
    """Every condition holds."""

    conditions: tuple["Condition", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AnyOf:
    """At least one condition holds."""

    conditions: tuple["Condition", ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IsFlag:
    """The field is the JSON boolean true, or with `expected` false: the boolean false."""

    paths: Paths
    expected: bool


Condition: TypeAlias = Equals | EqualsNumber | IsAbsent | IsFlag | SameAs | Not | AllOf | AnyOf


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant:
    """The same for every row: a word, a whole number (quantities in millionths), or true (1) or false (0)."""

    value: str | int


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """The text or whole number at a path."""

    paths: Paths


@dataclass(frozen=True, slots=True, kw_only=True)
class Join:
    """Several texts, joined by a separator that none of them contains."""

    parts: tuple[Paths, ...]
    separator: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """The account is the one of the link through which the row was fetched; the row does not say."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nobody:
    """The format names no person: its rows confirm acts that others report, and credit nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """The platform's words and ours, place by place; a word that is not listed is refused."""

    paths: Paths
    theirs: tuple[str, ...]
    ours: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Codes:
    """The platform's words and our numbers, place by place."""

    paths: Paths
    theirs: tuple[str, ...]
    ours: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """A decimal number x 10^places, as a whole number."""

    paths: Paths
    places: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OffsetTime:
    """A time that is written with its offset from UTC; one without is on the clock of `zone`, if that is given."""

    paths: Paths
    zone: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalTime:
    """A time on the wall clock of a zone."""

    paths: Paths
    zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDay:
    """The start, or with `end` the end, of a date in a zone."""

    paths: Paths
    zone: str
    end: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UnixTime:
    """A time since 1970 in UTC, in s, ms or us."""

    paths: Paths
    unit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """The keyed number of an order, trip or payment."""

    source: Text | Join
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reversal:
    """A status: true if it takes the act back, false if the act stands; any other is refused."""

    paths: Paths
    reversed: tuple[str, ...]
    normal: tuple[str, ...]


Time: TypeAlias = OffsetTime | LocalTime | ServiceDay | UnixTime
Transform: TypeAlias = Constant | Text | Join | Link | Nobody | Words | Codes | Number | Time | Token | Reversal


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One way to fill a field: the first case of a field whose condition holds is taken; None always holds."""

    when: Condition | None
    transform: Transform
    unit: str | None = None
    """Of a quantity only."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stated:
    """A condition under which the mapping itself sets a row aside."""

    reason: Reason
    when: Condition


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mapping:
    """One platform's format, translated. `digest` (SHA-256 of the file) pins exactly these rules."""

    id: str
    platform: str
    stream: str
    version: int
    about: str
    sources: tuple[str, ...]
    digest: bytes
    keep: tuple[Path, ...]
    drop: tuple[Path, ...]
    stated: tuple[Stated, ...]
    fields: MappingProxyType[str, tuple[Case, ...]]
    tree: Tree
    """Of all paths in `keep`, which contain all that fields and conditions read."""

    @property
    def needs_link(self) -> bool:
        """Tell whether the rows do not say whose they are: only the link through which they were fetched does."""
        return any(isinstance(case.transform, Link) for case in self.fields.get("account", ()))

    @property
    def corroborates(self) -> bool:
        """Tell whether the rows name nobody: then `account` is null in every record."""
        return any(isinstance(case.transform, Nobody) for case in self.fields.get("account", ()))
