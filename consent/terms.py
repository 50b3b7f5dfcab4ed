"""What can be allowed: the words of a consent, and its terms as text and back. Pure.

An empty set of purposes, behaviours or platforms allows nothing. What is sensitive (PIPL article 28) is decided for
itself: a behaviour of a sensitive class is allowed only where the class was said yes to on its own (article 29).
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Any

HUB = "hub"


class Purpose(StrEnum):
    """One thing that may be done with personal records."""

    COLLECT = "collect"
    CLEAR = "clear"
    CREDIT = "credit"
    DISCLOSE = "disclose"
    RESERVE = "reserve"
    POOL = "pool"


class Sensitive(StrEnum):
    """Classes of personal information that take a decision of their own (PIPL articles 28 and 29)."""

    WHEREABOUTS = "whereabouts"
    FINANCIAL_ACCOUNT = "financial_account"


class Frequency(StrEnum):
    """How often a recipient may ask."""

    ONCE = "once"
    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    ALWAYS = "always"


_RAREST_FIRST = (Frequency.ONCE, Frequency.MONTHLY, Frequency.WEEKLY, Frequency.DAILY, Frequency.ALWAYS)


def rarest(frequencies: Iterable[Frequency]) -> Frequency:
    """Return the one that allows least: a grant has one frequency, and none of its parts may be asked for oftener.

    Example:
        >>> rarest([Frequency.DAILY, Frequency.MONTHLY, Frequency.ALWAYS])
        <Frequency.MONTHLY: 'monthly'>
    """
    return min(frequencies, key=_RAREST_FIRST.index)


class Assurance(StrEnum):
    """How the person who decided had shown who they are."""

    NONE = "none"
    PASSWORD = "password"  # noqa: S105 - the name of a method
    PASSKEY = "passkey"
    GUARDIAN = "guardian"


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantTerms:
    """What is allowed: to whom, for which purposes, which behaviours of which platforms, and which time.

    `valid_from` (inclusive) to `valid_until` (exclusive) is both when the grant is in force and which acts it covers;
    it may begin before the grant was given, to cover past acts. `data_life_days` is how long the recipient may keep
    what it got (None: as long as the grant is in force); `purpose_text` is what the recipient told the person, word for
    word. `client_id`, `scope` and `details` (RFC 9396, as JSON) are set where an OAuth client asked.
    """

    recipient: str
    purposes: frozenset[Purpose]
    behaviours: frozenset[str]
    platforms: frozenset[str]
    valid_from: datetime
    valid_until: datetime
    notice_version: str
    language: str
    sensitive: frozenset[Sensitive] = frozenset()
    frequency: Frequency = Frequency.ALWAYS
    data_life_days: int | None = None
    purpose_text: str = ""
    client_id: str | None = None
    scope: str = ""
    details: str = "[]"

    def __post_init__(self) -> None:
        if self.valid_from.tzinfo is None or self.valid_until.tzinfo is None:
            raise ValueError("a consented period needs a zone")
        if self.valid_until <= self.valid_from:
            raise ValueError("a consented period ends after it begins")
        if not self.recipient or not self.notice_version:
            raise ValueError("a grant names its recipient and the notice that was shown")
        if self.data_life_days is not None and self.data_life_days < 0:
            raise ValueError("a data life is a number of days")


def sensitive_class(behaviour: str) -> Sensitive | None:
    """Return the class that a behaviour's records tell about a person, if any.

    Trips and charging say where somebody was; what a bank counts comes from a financial account.
    """
    family = behaviour.partition("-")[0]
    return {"MOB": Sensitive.WHEREABOUTS, "FIN": Sensitive.FINANCIAL_ACCOUNT}.get(family)


def sensitive_classes(behaviours: Iterable[str]) -> frozenset[Sensitive]:
    """Return the classes that a set of behaviours touches, each of which takes its own yes."""
    return frozenset(found for behaviour in behaviours if (found := sensitive_class(behaviour)) is not None)


def without_undecided(behaviours: Iterable[str], agreed: Collection[Sensitive]) -> frozenset[str]:
    """Leave out the behaviours whose sensitive class was not said yes to."""
    return frozenset(word for word in behaviours if (found := sensitive_class(word)) is None or found in agreed)


def format_terms(terms: GrantTerms) -> str:
    """Write terms as canonical JSON text."""
    return json.dumps({field.name: _plain(getattr(terms, field.name)) for field in fields(terms)}, sort_keys=True)


def parse_terms(text: str) -> GrantTerms:
    """Read what `format_terms` wrote."""
    parts: dict[str, Any] = json.loads(text)
    words = {"purposes": Purpose, "behaviours": str, "platforms": str, "sensitive": Sensitive}
    for name, kind in words.items():
        parts[name] = frozenset(kind(word) for word in parts[name])
    for name in ("valid_from", "valid_until"):
        parts[name] = datetime.fromisoformat(parts[name])
    parts["frequency"] = Frequency(parts["frequency"])
    return GrantTerms(**parts)


def _plain(value: object) -> object:
    if isinstance(value, frozenset):
        return sorted(str(word) for word in value)
    return value.isoformat() if isinstance(value, datetime) else value
