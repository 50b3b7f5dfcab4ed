"""`tanlian_account`: what an OAuth client asks a person for, in the words of RFC 9396. Pure.

    {"type": "tanlian_account", "actions": ["read"|"contribute"|"use"|"pool"], "behaviours": [codes], "platforms": [ids],
     "purpose": text, "from": date, "until": date, "frequency": "once"|"daily"|"weekly"|"monthly"|"always"}

Everything but the type may be left out; what is left out is filled in with explicit words before the person sees it, so
that no grant ever says "all". Dates are days of Asia/Shanghai, `until` is the last day.
"""

import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from authlib.oauth2 import OAuth2Error

from consent.terms import Frequency, Purpose, Sensitive, without_undecided

TYPE = "tanlian_account"
ZONE = ZoneInfo("Asia/Shanghai")
LONGEST = timedelta(days=365)  # no consent is for ever; it can be renewed
MOST_DETAILS = 8
PURPOSE_CHARS = 500
PURPOSES = {
    "read": frozenset({Purpose.DISCLOSE}),
    "contribute": frozenset({Purpose.COLLECT, Purpose.CLEAR, Purpose.CREDIT}),
    "use": frozenset({Purpose.RESERVE}),
    "pool": frozenset({Purpose.POOL}),
}
SCOPES = {"account:read": "read", "records:write": "contribute", "grams:use": "use", "grams:pool": "pool"}
SCOPE_OF = {action: scope for scope, action in SCOPES.items()}


class DetailsRefused(OAuth2Error):  # type: ignore[misc]
    """The details are not of the registered type; the text names the member."""

    error = "invalid_authorization_details"

    def __init__(self, description: str) -> None:
        super().__init__(description=description, status_code=400)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What there is to allow: behaviours and participants of this hub."""

    behaviours: frozenset[str]
    platforms: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """One authorization detail with nothing left open. `since` (inclusive) and `until` (exclusive) are instants."""

    actions: frozenset[str]
    behaviours: frozenset[str]
    platforms: frozenset[str]
    purpose: str
    since: datetime
    until: datetime
    frequency: Frequency

    @property
    def purposes(self) -> frozenset[Purpose]:
        return frozenset().union(*(PURPOSES[action] for action in self.actions))

    def narrowed(self, agreed: Collection[Sensitive]) -> "Detail":
        """Leave out the behaviours whose sensitive class the person did not say yes to."""
        return replace(self, behaviours=without_undecided(self.behaviours, agreed))

    def to_json(self) -> dict[str, Any]:
        """Write it in the words in which it was asked."""
        return {
            "type": TYPE,
            "actions": sorted(self.actions),
            "behaviours": sorted(self.behaviours),
            "platforms": sorted(self.platforms),
            **({"purpose": self.purpose} if self.purpose else {}),
            "from": _day_of(self.since).isoformat(),
            "until": _day_of(self.until - timedelta(microseconds=1)).isoformat(),
            "frequency": self.frequency.value,
        }


def parse_details(
    text: str | None, *, scopes: Collection[str], known: Known, now: datetime, look_back: timedelta
) -> tuple[Detail, ...]:
    """Read `authorization_details` as asked, everything left out filled in.

    Args:
        text: the parameter; where it is absent, the scopes say what is asked for (none, and no detail is made).
        look_back: how far back a detail reaches that does not say so.

    Raises:
        DetailsRefused.
    """
    if text is None:
        actions = sorted(SCOPES[scope] for scope in scopes if scope in SCOPES)
        asked: Any = [{"type": TYPE, "actions": actions}] if actions else []
    else:
        try:
            asked = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
        except (ValueError, RecursionError):
            raise DetailsRefused("authorization_details is not strict JSON") from None
    if not isinstance(asked, list) or len(asked) > MOST_DETAILS or (text is not None and not asked):
        raise DetailsRefused(f"authorization_details must be an array of 1 to {MOST_DETAILS} objects")
    return tuple(_parse(one, scopes=scopes, known=known, now=now, look_back=look_back) for one in asked)


def prolong_details(text: str, *, ended: datetime, until: datetime) -> str:
    """Return granted details with those that last as long as their grant ended later; what is over earlier stays so."""
    # A day is told whole, so a detail can reach some hours beyond its grant.
    return dump_details(tuple(replace(one, until=until) if one.until >= ended else one for one in load_details(text)))


def load_details(text: str) -> tuple[Detail, ...]:
    """Read details that were granted, as `to_json` wrote them."""
    return tuple(
        Detail(
            actions=frozenset(one["actions"]),
            behaviours=frozenset(one["behaviours"]),
            platforms=frozenset(one["platforms"]),
            purpose=one.get("purpose", ""),
            since=_begin_of(date.fromisoformat(one["from"])),
            until=_begin_of(date.fromisoformat(one["until"]) + timedelta(days=1)),
            frequency=Frequency(one["frequency"]),
        )
        for one in json.loads(text)
    )


def dump_details(details: Sequence[Detail]) -> str:
    """Write granted details as JSON text."""
    return json.dumps([detail.to_json() for detail in details], ensure_ascii=False)


def _parse(one: Any, *, scopes: Collection[str], known: Known, now: datetime, look_back: timedelta) -> Detail:
    if not isinstance(one, dict) or one.get("type") != TYPE:
        raise DetailsRefused(f"the type must be {TYPE}")
    members = {"type", "actions", "behaviours", "platforms", "purpose", "from", "until", "frequency"}
    if one.keys() - members:
        raise DetailsRefused("a member is not known")
    today = now.astimezone(ZONE).date()
    since = _date(one, "from", today - look_back)
    until = _date(one, "until", today + LONGEST - timedelta(days=1))
    detail = Detail(
        actions=_words(one, "actions", PURPOSES, lambda: {SCOPES[s] for s in scopes if s in SCOPES} or {"read"}),
        behaviours=_words(one, "behaviours", known.behaviours, lambda: known.behaviours),
        platforms=_words(one, "platforms", known.platforms, lambda: known.platforms),
        purpose=_purpose(one),
        since=_begin_of(since),
        until=_begin_of(min(until, today + LONGEST) + timedelta(days=1)),
        frequency=_frequency(one),
    )
    if detail.until <= max(detail.since, now):
        raise DetailsRefused("until is over, or before from")
    return detail


def _words(
    one: dict[str, Any], member: str, known: Collection[str], default: Callable[[], Collection[str]]
) -> frozenset[str]:
    words = one.get(member)
    if words is None:
        return frozenset(default())
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise DetailsRefused(f"{member} must be a list of texts, and not empty")
    if not set(words) <= set(known):
        raise DetailsRefused(f"{member} has a value that is not known here")
    return frozenset(words)


def _purpose(one: dict[str, Any]) -> str:
    text = one.get("purpose", "")
    if not isinstance(text, str) or len(text) > PURPOSE_CHARS or any(not c.isprintable() for c in text):
        raise DetailsRefused(f"purpose must be a text of at most {PURPOSE_CHARS} printable characters")
    return text.strip()


def _frequency(one: dict[str, Any]) -> Frequency:
    try:
        return Frequency(one.get("frequency", Frequency.ALWAYS))
    except ValueError:
        raise DetailsRefused(f"frequency must be one of {', '.join(Frequency)}") from None


def _date(one: dict[str, Any], member: str, default: date) -> date:
    text = one.get(member)
    if text is None:
        return default
    try:
        day = date.fromisoformat(text) if isinstance(text, str) and len(text) == 10 else None
    except ValueError:
        day = None
    if day is None or day.isoformat() != text or not 2000 <= day.year <= 9000:  # 2026-W05-1 is a date too
        raise DetailsRefused(f"{member} must be a date such as 2026-01-31")
    return day


def _begin_of(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=ZONE).astimezone(UTC)


def _day_of(at: datetime) -> date:
    return at.astimezone(ZONE).date()


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is repeated")
    return found


def _no_constant(_word: str) -> None:
    raise ValueError("not a number of JSON")
