"""What differs between two clearing policies, said in words. Pure.

A number without its meaning helps nobody to decide: each known value has words, a unit, and what moving it does.
"""

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from standards.policies import Plain, flatten_policy
from standards.policy import ClearingPolicy

HEAD = frozenset({("version",), ("valid_from",)})
# Where entries have names: what one entry of each is called.
ENTRIES = MappingProxyType(
    {
        "families": "the family",
        "overlaps": "the overlap rule",
        "plausible": "the limits of",
        "doubts": "the doubt about",
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    """The words for one value; `raised` and `lowered` say what follows, if that can be said."""

    what: str
    unit: str = ""
    raised: str = ""
    lowered: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One difference: where, from what to what (None: it is not there), and a sentence."""

    at: str
    before: Plain
    after: Plain
    text: str

    def to_dict(self) -> dict[str, Any]:
        """Return it as a JSON document."""
        return {"at": self.at, "from": self.before, "to": self.after, "text": self.text}


_JOINED = "more reports are joined into one act"
_APART = "fewer reports are joined into one act"
WORDS: MappingProxyType[str, Word] = MappingProxyType(
    {
        "role_order": Word(what="the order in which roles tell the record that counts"),
        "acting_roles": Word(what="the roles that carry acts out themselves"),
        "never_alone_roles": Word(what="the roles whose word alone never counts"),
        "keys.junk_subjects": Word(
            what="how many people may carry one key before it is taken for a constant", raised="more keys are believed",
            lowered="fewer keys are believed",
        ),
        "keys.shared_subjects": Word(
            what="how many people may share the key of one ride", raised="more keys are believed",
            lowered="fewer keys are believed",
        ),
        "keys.span_s": Word(what="how far apart one key is still one act", unit="s", raised=_JOINED, lowered=_APART),
        "keys.parts_s": Word(
            what="how far apart payments of one platform are parts of one", unit="s", raised=_JOINED, lowered=_APART
        ),
        "learning.min_votes": Word(
            what="how many keyed pairs make a platform's custom known", raised="customs are believed later",
            lowered="customs are believed sooner",
        ),
        "learning.miscoded_permille": Word(
            what="from what share of disagreement a platform cannot tell behaviours apart", unit="permille"
        ),
        "learning.rarely_permille": Word(
            what="from what share of other moments a platform tells now begins and now ends", unit="permille"
        ),
        "learning.own_permille": Word(
            what="from what share of other numbers a platform's numbers are its own", unit="permille"
        ),
        "match.accept": Word(
            what="the score from which two reports are one act", unit="points", raised=_APART, lowered=_JOINED
        ),
        "match.hold": Word(
            what="the score from which a doubtful pair is held", unit="points", raised="fewer pairs are held",
            lowered="more pairs are held",
        ),
        "match.tie": Word(
            what="how near two candidates' scores must be for nobody to pick", unit="points", raised="more ties are held",
            lowered="fewer ties are held",
        ),
        "match.window_s": Word(what="how far apart reports are compared at all", unit="s", raised=_JOINED, lowered=_APART),
        "match.stretch_permille": Word(what="how much of its length an act's end may be off", unit="permille"),
        "match.longest_s": Word(
            what="how long one act may last", unit="s", raised="fewer long acts are held",
            lowered="more long acts are held",
        ),
        "match.component": Word(what="how many candidates at one time are still matched"),
        "match.key_conflict": Word(what="the points of two different order numbers", unit="points"),
        "match.time_s": Word(what="the steps of the distance in time", unit="s"),
        "match.time_points": Word(what="the points of the distance in time", unit="points"),
        "match.quantity_permille": Word(what="the steps of the difference in quantity", unit="permille"),
        "match.quantity_points": Word(what="the points of the difference in quantity", unit="points"),
        "match.duration_permille": Word(what="the steps of the difference in length", unit="permille"),
        "match.duration_points": Word(what="the points of the difference in length", unit="points"),
        "match.lag_points": Word(what="the points where one tells the begin and the other the end", unit="points"),
        "match.behaviour_points": Word(what="the points of two different behaviours", unit="points"),
        "match.mixing_roles": Word(what="the roles that may mix behaviours of a family up"),
        "day_acts": Word(what="the behaviours that are told once a day"),
        "zone_offset_s": Word(what="where a service day begins, east of UTC", unit="s"),
        "exclusive_slack_s": Word(
            what="how long two trips of one person may overlap", unit="s", raised="fewer trips are held",
            lowered="more trips are held",
        ),
        "exclusive_permille": Word(
            what="what share of the shorter trip may overlap", unit="permille", raised="fewer trips are held",
            lowered="more trips are held",
        ),
        "max_day_acts": Word(
            what="how many acts of one behaviour a person may have in a day", raised="fewer acts are held",
            lowered="more acts are held",
        ),
        "families.*.ends": Word(what="whose single moment is the end of the act"),
        "families.*.window_s": Word(what="how far apart reports are compared", unit="s", raised=_JOINED, lowered=_APART),
        "families.*.usual_s": Word(what="how long an act usually lasts at most", unit="s"),
        "overlaps.*.kind": Word(what="what the rule does"),
        "overlaps.*.behaviours": Word(what="the behaviours that give way"),
        "overlaps.*.by": Word(what="the behaviours that they give way to"),
        "overlaps.*.per_unit": Word(what="how much of the total one unit takes off"),
        "overlaps.*.negligible_permille": Word(what="below what share a rest is noise", unit="permille"),
        "plausible.*.max_quantity": Word(
            what="the most of one act", raised="fewer acts are held", lowered="more acts are held"
        ),
        "plausible.*.max_per_hour": Word(
            what="the most in an hour", raised="fewer acts are held", lowered="more acts are held"
        ),
        "plausible.*.max_day_quantity": Word(
            what="the most in a day", raised="fewer acts are held", lowered="more acts are held"
        ),
        "plausible.*.max_day_total": Word(
            what="the most of all acts of a day", raised="fewer acts are held", lowered="more acts are held"
        ),
        "plausible.*.max_day_acts": Word(
            what="how many acts in a day", raised="fewer acts are held", lowered="more acts are held"
        ),
    }
)  # fmt: skip


def policy_differences(before: ClearingPolicy, after: ClearingPolicy) -> list[Difference]:
    """Return what differs, in the order of the policy; version and first day of validity are not differences.

    An entry that only one side has (an overlap rule, a behaviour's limits) is one difference. The order of the overlap
    rules is one too.
    """
    one, other = flatten_policy(before), flatten_policy(after)
    told: list[Difference] = []
    entries_told: set[tuple[str, ...]] = set()
    for way in [*one, *(way for way in other if way not in one)]:
        if way in HEAD or (way in one and way in other and one[way] == other[way]) or _follows(way, one, other):
            continue
        entry = way[:2] if len(way) > 1 and way[0] in ENTRIES else None
        if entry and (_holds(one, entry) != _holds(other, entry)):
            if entry not in entries_told:
                told.append(_entry_difference(entry, one if _holds(one, entry) else other, gone=_holds(one, entry)))
                entries_told.add(entry)
            continue
        told.append(_difference(way, one.get(way), other.get(way)))
    return told + _order_difference(before, after)


def _follows(way: tuple[str, ...], one: dict[tuple[str, ...], Plain], other: dict[tuple[str, ...], Plain]) -> bool:
    """True for a family that has no window of its own on either side: the general one says it."""
    general = ("match", "window_s")
    return way[0] == "families" and way[-1] == "window_s" and all(v.get(way) == v[general] for v in (one, other))


def _holds(values: dict[tuple[str, ...], Plain], entry: tuple[str, ...]) -> bool:
    return any(way[:2] == entry and len(way) > 2 for way in values)


def _entry_difference(entry: tuple[str, ...], values: dict[tuple[str, ...], Plain], *, gone: bool) -> Difference:
    # What an entry is named by and what it leaves open says nothing.
    members = {
        way[-1]: value for way, value in values.items() if way[:2] == entry and value not in (None, 0, [], entry[1])
    }
    said = ", ".join(f"{name} {_said(value, '')}" for name, value in members.items())
    text = f"{'gone' if gone else 'new'}: {ENTRIES[entry[0]]} {entry[1]}" + (f", {said}" if said else "")
    return Difference(at=".".join(entry), before=said if gone else None, after=None if gone else said, text=text)


def _difference(way: tuple[str, ...], before: Plain, after: Plain) -> Difference:
    named = len(way) > 2 and way[0] in ENTRIES
    pattern = ".".join((way[0], "*", *way[2:])) if named else ".".join(way)
    word = WORDS.get(pattern) or _plain_word(way[2:] if named else way)
    of = f"{ENTRIES[way[0]]} {way[1]}: " if named else ""
    text = f"{of}{word.what}: {_change(before, after, word.unit)}"
    if isinstance(before, int) and isinstance(after, int):
        follows = word.raised if after > before else word.lowered
        text += f" ({follows})" if follows else ""
    return Difference(at=".".join(way), before=before, after=after, text=text)


def _plain_word(way: tuple[str, ...]) -> Word:
    """Return a value's own name, for one that has no words yet; units are told by its ending."""
    ending = way[-1].rpartition("_")[2]
    unit = {"s": "s", "permille": "permille", "points": "points"}.get(ending, "")
    named = way[-1].removesuffix(f"_{ending}") if unit in ("s", "permille") else way[-1]
    return Word(what=" ".join((*way[:-1], named)).replace("_", " "), unit=unit)


def _change(before: Plain, after: Plain, unit: str) -> str:
    if isinstance(before, list) and isinstance(after, list) and sorted(map(str, before)) != sorted(map(str, after)):
        gone = [str(one) for one in before if one not in after]
        new = [str(one) for one in after if one not in before]
        parts = [f"without {', '.join(gone)}"] if gone else []
        parts += [f"with {', '.join(new)}"] if new else []
        if parts and all(isinstance(one, str) for one in (*before, *after)):
            return " and ".join(parts)
    return f"from {_said(before, unit)} to {_said(after, unit)}"


def _said(value: Plain, unit: str) -> str:
    if value is None:
        return "no limit"
    if isinstance(value, list):
        return "[" + ", ".join(_said(one, unit) for one in value) + "]" if value else "none"
    if isinstance(value, bool) or not isinstance(value, int):
        return str(value)
    if unit == "s":
        for size, name in ((3600, "h"), (60, "min")):
            if value >= size and value % size == 0:
                return f"{value // size} {name}"
        return f"{value} s"
    if unit == "permille":
        return f"{value / 10:g} %"
    if unit == "points":
        return f"{value / 1000:g}"
    return f"{value:,}"


def _order_difference(before: ClearingPolicy, after: ClearingPolicy) -> list[Difference]:
    one, other = ([rule.id for rule in policy.overlaps] for policy in (before, after))
    if sorted(one) != sorted(other) or one == other:
        return []
    text = f"the order of the overlap rules: from {', '.join(one)} to {', '.join(other)}"
    return [Difference(at="overlaps", before=list[Plain](one), after=list[Plain](other), text=text)]
