"""What people are shown before they decide, word for word, kept for ever. Pure; reads `notices/`.

A notice is a file, and its version is the digest of that file's bytes: `link-2@sha256`. A changed word is a new file
beside the old ones, so whatever a grant or receipt names can be shown again as it was. `{name}` stands for what differs
from one decision to the next; nothing else is put in.

Source: PIPL article 17; ISO/IEC TS 27560 (privacy_notice, language); Electronic Signature Law articles 5 and 8.
"""

import string
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from consent.terms import Sensitive

FILES = Path(__file__).parent / "notices"
LANGUAGES = ("en", "zh-CN")


class NoticeUnknown(LookupError):
    """No notice of that name, language or digest was ever kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """The words of one page of consent; `points` are a term and its text, `sensitive` has a sentence for each class."""

    name: str
    number: int
    language: str
    sha256: str
    heading: str
    lead: str
    points: tuple[tuple[str, str], ...]
    sensitive: Mapping[Sensitive, str]
    closing: str
    approve: str
    refuse: str

    @property
    def version(self) -> str:
        """What a grant keeps: name, number and the digest of the very words."""
        return f"{self.name}-{self.number}@{self.sha256}"

    def words(self) -> tuple[str, ...]:
        """All words in the order of the page."""
        points = [word for point in self.points for word in point]
        return (self.heading, self.lead, *points, *self.sensitive.values(), self.closing, self.approve, self.refuse)


def current_notice(name: str, language: str) -> Notice:
    """The newest notice of a name, in this language or else in English. Raises NoticeUnknown."""
    spoken = language if language in LANGUAGES else LANGUAGES[0]
    found = [one for one in _all().values() if (one.name, one.language) == (name, spoken)]
    if not found:
        raise NoticeUnknown(name)
    return max(found, key=lambda one: one.number)


def notice_by_digest(digest: str) -> Notice:
    """Any notice that was ever shown, by the SHA-256 of its file. Raises NoticeUnknown."""
    try:
        return _all()[digest]
    except KeyError:
        raise NoticeUnknown(digest) from None


def find_notice(version: str) -> Notice | None:
    """The notice that a grant names; None for what was recorded before notices were kept."""
    return _all().get(version.rpartition("@")[2])


def fill_in(notice: Notice, values: Mapping[str, str], *, classes: frozenset[Sensitive]) -> Notice:
    """Put in what belongs to one decision.

    Args:
        values: for every name that the notice has in braces.
        classes: the sensitive classes that are in question; sentences on others are left out.
    """

    def filled(text: str) -> str:
        return text.format_map(dict(values))

    return Notice(
        name=notice.name,
        number=notice.number,
        language=notice.language,
        sha256=notice.sha256,
        heading=filled(notice.heading),
        lead=filled(notice.lead),
        points=tuple((term, filled(text)) for term, text in notice.points),
        sensitive={one: filled(text) for one, text in notice.sensitive.items() if one in classes},
        closing=filled(notice.closing),
        approve=notice.approve,
        refuse=notice.refuse,
    )


def blanks(notice: Notice) -> frozenset[str]:
    """The names that a notice has in braces."""
    return frozenset(name for text in notice.words() for _, name, _, _ in string.Formatter().parse(text) if name)


def parse_notice(content: bytes) -> Notice:
    """Read the file of a notice."""
    text = tomllib.loads(content.decode())
    return Notice(
        name=text["name"],
        number=text["number"],
        language=text["language"],
        sha256=sha256(content).hexdigest(),
        heading=text["heading"],
        lead=text["lead"],
        points=tuple((term, told) for term, told in text["points"]),
        sensitive={Sensitive(one): told for one, told in text["sensitive"].items()},
        closing=text["closing"],
        approve=text["approve"],
        refuse=text["refuse"],
    )


@cache
def _all() -> dict[str, Notice]:
    parsed = [parse_notice(path.read_bytes()) for path in sorted(FILES.glob("*.toml"))]
    return {one.sha256: one for one in parsed}
