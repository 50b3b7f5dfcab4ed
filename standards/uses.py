"""The rules of using held grams: which rights a use takes, and for how long grams can be reserved. Pure.

Reads `data/use-rules.toml`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cache
from pathlib import Path
from types import MappingProxyType

from standards.datafile import DATA, DataError, load_rows


class Rights(StrEnum):
    """What of a gram a posting moves. Both rights begin together; they part when one of them is used alone."""

    BOTH = "both"
    INCENTIVE = "incentive"
    ATTRIBUTE = "attribute"

    @property
    def rest(self) -> "Rights":
        """Return the other right of a gram."""
        return {Rights.INCENTIVE: Rights.ATTRIBUTE, Rights.ATTRIBUTE: Rights.INCENTIVE}[self]


class Use(StrEnum):
    """What grams are used for: points or benefits, an enterprise's pool, a market or a voluntary retirement."""

    REDEEM = "redeem"
    TRANSFER = "transfer"
    RETIRE = "retire"


TAKES: Mapping[Use, Rights] = MappingProxyType(
    {Use.REDEEM: Rights.INCENTIVE, Use.TRANSFER: Rights.BOTH, Use.RETIRE: Rights.ATTRIBUTE}
)
"""The right that a use is about, where rights may be used apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UseRules:
    """One version of the rules."""

    version: str
    both: bool
    """Whether a gram's two rights may be used apart."""
    usual: timedelta
    most: timedelta
    open: int
    """Open reservations of one person at one participant."""
    buffer_permille: int

    def rights_of(self, use: Use) -> Rights:
        """Return the rights that a use takes."""
        return TAKES[use] if self.both else Rights.BOTH


@cache
def load_use_rules() -> UseRules:
    """Return the rules in force."""
    return parse_use_rules(DATA / "use-rules.toml")


def parse_use_rules(file: Path) -> UseRules:
    """Read and check a file of rules.

    Raises:
        DataError: a rule is missing, or cannot be; the text names file and line.
    """
    rows = load_rows(file, "use")
    if len(rows) != 1:
        raise DataError(f"{file.name}: one table [[use]] was expected, not {len(rows)}")
    row = rows[0]
    rules = UseRules(
        version=row.text("version"),
        both=row.flag("both", default=False),
        usual=timedelta(seconds=row.whole("usual_s", minimum=1)),
        most=timedelta(seconds=row.whole("most_s", minimum=1)),
        open=row.whole("open", minimum=1),
        buffer_permille=row.whole("buffer_permille", minimum=0),
    )
    row.finish()
    if rules.usual > rules.most:
        raise row.error("usual_s is above most_s")
    if rules.buffer_permille > 500:
        raise row.error(f"buffer_permille is {rules.buffer_permille}: nobody gives more than half away")
    return rules
