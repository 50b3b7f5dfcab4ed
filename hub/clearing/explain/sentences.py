"""An explanation in one sentence, in Chinese and English, for the person whose act it was. Pure.

Reads `sentences.toml` (what is said for which reason) and `words.toml` (what acts, units and roles are called). Nothing is
said by code: a sentence is chosen by the reason, and filled with what the explanation knows.
"""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from types import MappingProxyType
from zoneinfo import ZoneInfo

from hub.clearing.explain.explanation import Explanation, Match, Report
from standards.behaviours import accepted_behaviours, default_unit
from standards.datafile import DataError, load_head, load_rows
from standards.schema import Precision, Verdict
from standards.units import format_micro

LANGUAGES = ("en", "zh-CN")
ZONE = ZoneInfo("Asia/Shanghai")
HERE = Path(__file__).parent
SENTENCES = ("reason", "outcome", "because", "first", "apart", "beside", "name")
WORDS = ("act", "unit", "role", "verdict")
Texts = Mapping[tuple[str, str], Mapping[str, tuple[str, ...]]]
"""By table and id: by language, the sentences to try."""
Fields = dict[str, str]
SPANS = ((86_400, "day", "天"), (3600, "hour", "小时"), (60, "minute", "分钟"), (1, "second", "秒"))
MONTHS = (
    "January February March April May June July August September October November December".split()  # noqa: SIM905
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """What a platform is called."""

    en: str
    zh: str


Names = Mapping[str, Name]
NO_NAMES: Names = MappingProxyType({})


@cache
def load_texts() -> Texts:
    """Return all texts.

    Raises:
        DataError: a text is missing in one language, or names a place that is not known.
    """
    texts: dict[tuple[str, str], Mapping[str, tuple[str, ...]]] = {}
    for file, tables in (("sentences.toml", SENTENCES), ("words.toml", WORDS)):
        head = load_head(HERE / file, frozenset(tables))
        head.text("version")
        places = frozenset(head.texts("places"))
        head.finish()
        for table in tables:
            for row in load_rows(HERE / file, table):
                whole = table in SENTENCES
                key = (table, row.text("id"))
                if key in texts:
                    raise row.error(f"{table} {key[1]} occurs twice")
                texts[key] = {
                    language: row.texts(name, required=True) if whole else (row.text(name),)
                    for language, name in zip(LANGUAGES, ("en", "zh"), strict=True)
                }
                row.finish()
                unknown = {p for said in texts[key].values() for one in said for p in places_in(one)} - places
                if unknown:
                    raise row.error(f"unknown places: {', '.join(sorted(unknown))}")
    return MappingProxyType(texts)


def places_in(text: str) -> set[str]:
    """Return the names of what a text leaves open."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def word(table: str, name: str, language: str) -> str:
    """Return one word of the tables; the name itself where there is none.

    Example:
        >>> word("unit", "km", "zh-CN"), word("role", "meter", "en")
        ('公里', 'measures')
    """
    known = load_texts().get((table, name))
    return name if known is None else known[language][0]


def sentence(told: Explanation, language: str, names: Names = NO_NAMES) -> str:
    """Say in one sentence what was decided about a report, and why.

    Args:
        language: one of LANGUAGES.
        names: of platforms; others are called by their ids.
    """
    return _Speaker(told, language, names).say("reason", str(told.report.reason))


def notes(
    told: Explanation,
    language: str,
    names: Names = NO_NAMES,
    *,
    provisional: bool = False,
    reversed_since: bool = False,
    taken_mg: int = 0,
) -> tuple[str, ...]:
    """Return what else there is to say, a sentence each: about the amount, about later changes.

    Args:
        taken_mg: how many milligrams of the act were taken back by themselves, while the rest still counts.
    """
    speaker = _Speaker(told, language, names)
    found = []
    amount = told.amount
    if amount is not None and told.report.reason not in ("no_quantity", "no_rate"):
        kind = {"rest": "amount_rest", "claim": "amount_claim", None: "amount_method"}[amount.limited_by]
        lent = amount.quantity_from is not None and amount.limited_by is None
        found.append(speaker.say("beside", "amount_lent" if lent else kind))
    if taken_mg and not reversed_since:
        found.append(speaker.say_part(taken_mg))
    marks = (("reversed", reversed_since), ("provisional", provisional), ("not_reproduced", not told.reproduced))
    found += [speaker.say("beside", name) for name, holds in marks if holds]
    return tuple(found)


def contest(told: Explanation, language: str, names: Names = NO_NAMES) -> str:
    """Say where to go if it is not right."""
    return _Speaker(told, language, names).say("beside", "contest")


def grams(mg: int, language: str) -> str:
    """Write milligrams as a person reads them: grams below a kilogram, kilograms above.

    Example:
        >>> grams(45_720, "en"), grams(1_234_567, "zh-CN")
        ('45.72 g', '1.23千克')
    """
    gram, kilogram = (" g", " kg") if language == "en" else ("克", "千克")
    if abs(mg) >= 1_000_000:
        return f"{mg / 1_000_000:,.2f}{kilogram}"
    return f"{mg / 1000:,.3f}".rstrip("0").rstrip(".") + gram


def span(seconds: int, language: str) -> str:
    """Write a length of time in its two largest units.

    Example:
        >>> span(125, "en"), span(3600, "zh-CN")
        ('2 minutes 5 seconds', '1小时')
    """
    parts: list[str] = []
    for size, en, zh in SPANS:
        count, rest = divmod(seconds, size)
        if count and len(parts) < 2:
            parts.append(f"{count} {en}{'' if count == 1 else 's'}" if language == "en" else f"{count}{zh}")
        elif parts:
            break
        seconds = rest
    return (" " if language == "en" else "").join(parts) or ("0 seconds" if language == "en" else "0秒")


def rounded(value: str) -> str:
    """Round a number for reading: to two decimals below a hundred, to the whole above.

    Example:
        >>> rounded("2898.7448"), rounded("2.0487"), rounded("7")
        ('2899', '2.05', '7')
    """
    number = Decimal(value)
    places = Decimal(1) if abs(number) >= 100 else Decimal("0.01")
    return f"{number.quantize(places).normalize():f}"


def local_time(report: Report) -> datetime | None:
    """Return when an act was as people there read a clock; of a day record, the middle of its day."""
    if report.start_at is None:
        return None
    middle = timedelta(hours=12) if report.precision == Precision.DAY else timedelta(0)
    return (report.start_at + middle).astimezone(ZONE)


def when(report: Report, language: str) -> str | None:
    """Write when an act was: `on 5 October 2026 at 08:00`."""
    at = local_time(report)
    if at is None:
        return None
    whole_day = report.precision == Precision.DAY
    if language == "en":
        day = f"on {at.day} {MONTHS[at.month - 1]} {at.year}"
        return day if whole_day else f"{day} at {at:%H:%M}"
    day = f"{at.year}年{at.month}月{at.day}日"
    return day if whole_day else f"{day}{at:%H:%M}"


class _Speaker:
    """Fills the texts with what one explanation knows, in one language."""

    def __init__(self, told: Explanation, language: str, names: Names) -> None:
        if language not in LANGUAGES:
            raise ValueError(f"there are no sentences in {language!r}")
        self.told, self.language, self.names = told, language, names

    def say(self, table: str, name: str) -> str:
        """Return the first sentence of a text whose places are all known."""
        known = {field: value for field, value in self._fields().items() if value is not None}
        return self._filled(table, name, known)

    def say_part(self, taken_mg: int) -> str:
        """Say that a part of the act was taken back."""
        left = self.told.report.counted_mg - taken_mg
        known = {"taken_grams": grams(taken_mg, self.language), "left_grams": grams(left, self.language)}
        return self._filled("beside", "part_taken", known)

    def _filled(self, table: str, name: str, known: Mapping[str, str]) -> str:
        text = load_texts().get((table, name))
        for one in text[self.language] if text else ():
            if places_in(one) <= known.keys():
                filled = one.format_map(known)
                # A platform's name stays as the platform writes it; "a platform" begins a sentence like any other word.
                begins = table in ("reason", "beside") and filled.startswith(("a ", "another "))
                return filled[:1].upper() + filled[1:] if begins else filled
        raise DataError(f"no sentence for {table} {name!r} can be said with {', '.join(sorted(known))}")

    def _fields(self) -> dict[str, str | None]:
        told, report = self.told, self.told.report
        other = self._report(told.match.other_record_id) if told.match else None
        lender = told.amount and told.amount.quantity_from and self._report(told.amount.quantity_from)
        fields: dict[str, str | None] = {
            "act": self._act(report),
            "when": when(report, self.language),
            "platform": self._platform(report) or self._name("a_platform"),
            "grams": grams(report.counted_mg, self.language),
            "record_id": str(report.record_id),
            "outcome": self._outcome(),
            "others": self._others([one for one in self.told.others if one.window != "later"]),
            "later": self._others([one for one in self.told.others if one.window == "later"]),
            "why_first": self._why_first(),
            "same": self._teller(told.same_key),
            "other": self._beside(other) if other else None,
            "apart": self._apart(told.match) if told.match else None,
            "because": self._because(),
            "n": self._candidates(),
            "methodology": told.amount.methodology if told.amount else None,
            "reference_grams": self._reference(),
            "lender": self._platform(lender) if lender else None,
        }
        return fields | self._other_act() | self._limit() | self._rest()

    def _report(self, record_id: int) -> Report | None:
        known = (self.told.report, *self.told.others, *self.told.related)
        return next((one for one in known if one.record_id == record_id), None)

    def _name(self, name: str) -> str:
        return load_texts()["name", name][self.language][0]

    def _platform(self, report: Report) -> str | None:
        if report.platform is None:
            return None
        known = self.names.get(report.platform)
        return report.platform if known is None else known.en if self.language == "en" else known.zh

    def _act(self, report: Report) -> str:
        known = report.behaviour in accepted_behaviours()
        return word("act", str(report.behaviour), self.language) if known else self._name("act")

    def _beside(self, other: Report) -> str | None:
        """Name who told of another report: by name, or as the platform's own."""
        return self._name("own_report") if other.platform == self.told.report.platform else self._platform(other)

    def _teller(self, record_ids: Sequence[int]) -> str | None:
        found = [one for one in map(self._report, record_ids) if one is not None]
        return self._beside(found[0]) if found else None

    def _outcome(self) -> str:
        told = self.told
        if told.canonical is None or told.event_verdict not in (Verdict.COUNTED, Verdict.HELD, Verdict.OVERLAPPED):
            return self._filled("outcome", "unknown", {})
        name = self._beside(told.canonical) or self._name("another_platform")
        own = told.canonical.platform == told.report.platform
        known = {
            "event_grams": grams(told.event_mg, self.language),
            "counted_from": name if own or self.language == "en" else f"{name}的记录",
        }
        return self._filled("outcome", told.event_verdict, known)

    def _others(self, others: Sequence[Report]) -> str | None:
        mine = self.told.report.platform
        names = dict.fromkeys(self._platform(one) for one in others if one.platform != mine)
        listed = [name for name in names if name is not None]
        if not listed:
            return self._name("own_report") if others else None
        *most, last = listed
        if not most:
            return last
        return f"{', '.join(most)} and {last}" if self.language == "en" else f"{'、'.join(most)}和{last}"

    def _why_first(self) -> str | None:
        why, canonical = self.told.canonical_why, self.told.canonical
        if why is None or canonical is None:
            return None
        return self._filled("first", str(canonical.role) if why == "role" else why, {})

    def _apart(self, match: Match) -> str:
        name = "lag" if match.lag else "near" if match.apart_s else "same"
        return self._filled("apart", name, {"span": span(match.apart_s, self.language)})

    def _because(self) -> str | None:
        rule, behaviour = str(self.told.report.rule), self.told.report.behaviour
        if rule == "T3" and behaviour in accepted_behaviours():
            rule = str(accepted_behaviours()[str(behaviour)].group)
        return self._filled("because", rule, {}) if ("because", rule) in load_texts() else None

    def _candidates(self) -> str | None:
        told = self.told
        best = told.candidates[0].points - told.candidates[0].tie if told.candidates else 0
        count = len(told.candidate_days) or sum(one.points >= best for one in told.candidates)
        return str(count) if count > 1 else None

    def _reference(self) -> str | None:
        amount = self.told.amount
        known = amount is not None and amount.reference_mg is not None
        return grams(amount.reference_mg or 0, self.language) if amount is not None and known else None

    def _other_act(self) -> dict[str, str | None]:
        other = self.told.other_act
        if other is None:
            return {}
        return {
            "other_act": self._act(other),
            "other_when": when(other, self.language),
            "other_platform": self._platform(other),
        }

    def _limit(self) -> dict[str, str | None]:
        limit = self.told.limit
        if limit is None:
            return {}
        value, most = (self._measured(rounded(one), limit.unit) for one in (limit.value, limit.limit))
        # What is just beyond the limit must not read like the limit.
        return {"value": self._measured(limit.value, limit.unit) if value == most else value, "limit": most}

    def _rest(self) -> dict[str, str | None]:
        amount, report = self.told.amount, self.told.report
        if amount is None or amount.taken_off_micro is None or amount.quantity_micro is None:
            return {}
        unit = report.unit or default_unit(str(report.behaviour), str(report.precision))
        left = amount.quantity_micro - amount.taken_off_micro
        return {
            "taken": self._measured(rounded(format_micro(amount.taken_off_micro)), unit),
            "left": self._measured(rounded(format_micro(left)), unit),
        }

    def _measured(self, value: str, unit: str) -> str:
        if unit == "s":
            return span(int(value), self.language)
        whole, point, rest = value.partition(".")
        number = f"{int(whole):,}{point}{rest}"
        name = word("unit", unit.removesuffix("/h"), self.language)
        if self.language == "en":
            name = name.removesuffix("s") if number == "1" else name
            return f"{number} {name}" + (" per hour" if unit.endswith("/h") else "")
        return ("每小时" if unit.endswith("/h") else "") + f"{number}{name}"
