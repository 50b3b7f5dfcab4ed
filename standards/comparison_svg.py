"""A comparison as a picture: bars as SVG, for a page without scripts and without inline styles. Pure.

One picture has one part for each unit, because units do not compare. It is drawn 400 units wide and scales with its page,
so that it can be read on a phone. Colours, fonts and dashes are presentation attributes, which a strict content security
policy allows; nothing is told by colour alone.
"""

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from html import escape

from standards.compare import Comparison, Told, UnitTable
from standards.points import decimal_text

WIDTH = 400
_LEFT, _RIGHT = 12, 388
_BAR_MOST = 225
_INK, _GREY, _HUB, _HERE = "#1a1a1a", "#4a4a4a", "#0b6e4f", "#4a6fa5"
_FONT = "system-ui, 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', sans-serif"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Bar:
    en: str
    zh: str
    mg: Fraction
    value: str
    below: str
    kind: str
    """hub, here, or elsewhere: another place or another time."""


def comparison_svg(comparison: Comparison, *, name: str = "comparison") -> str:
    """Draw a comparison.

    Args:
        comparison: what to draw.
        name: begins the ids inside, so that two pictures can stand on one page.

    Returns:
        One `<svg>` element; well-formed XML, no style and no script in it.
    """
    parts: list[str] = []
    y = 22
    known = comparison.behaviour
    parts.append(_text(_LEFT, y, known.code, known.zh, size=15, weight="bold"))
    for line in _lines(f"{known.en}; {comparison.place}, {comparison.day}, {comparison.methodology}"):
        y += 17
        parts.append(_text(_LEFT, y, line, fill=_GREY))
    for table in comparison.tables:
        y = _panel(parts, table, y + 28)
    for note in comparison.notes:
        y += 8
        for line in _lines(note):
            y += 16
            parts.append(_text(_LEFT, y, line, fill=_GREY))
    y = _legend(parts, y + 30)
    title = f"{known.code} {known.zh} {known.en}: grams of CO2e per unit, by issuer"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xml:lang="en" viewBox="0 0 {WIDTH} {y}" width="100%" role="img" '
        f'aria-labelledby="{escape(name)}-title {escape(name)}-desc" font-family="{escape(_FONT)}">\n'
        f'<title id="{escape(name)}-title">{escape(title)}</title>\n'
        f'<desc id="{escape(name)}-desc">{escape(describe(comparison))}</desc>\n'
        f'<rect width="{WIDTH}" height="{y}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def describe(comparison: Comparison) -> str:
    """Return the whole comparison as sentences, for who cannot see the picture."""
    told = [f"Values in {comparison.place} on {comparison.day} by {comparison.methodology}."]
    for table in comparison.tables:
        for bar in _bars(table):
            value = bar.value.replace("≥", "not lower than")
            told.append(f"{bar.en} {bar.zh}: {value} per {table.unit}, {bar.below}.")
    return " ".join((*told, *comparison.notes))


def times_text(told: Told) -> str:
    """Return an issuer's value as a multiple of the hub's, to two decimals; empty if the hub has none."""
    if told.ratio is None:
        return ""
    return f"×{decimal_text(Fraction(round(told.ratio * 100), 100))}"


def value_text(told: Told) -> str:
    """Return an issuer's value in grams, marked as a floor if it is one."""
    return f"{'≥ ' if told.floor else ''}{decimal_text(told.figure.value / 1000)}"


def _bars(table: UnitTable) -> Iterator[_Bar]:
    if table.hub is not None:
        yield _Bar(
            en="The hub",
            zh="碳联",
            mg=table.hub.exact_mg,
            value=f"{decimal_text(table.hub.exact_mg / 1000)} g",
            below=f"by {' and '.join(used.figure.id for used in table.hub.used)}",
            kind="hub",
        )
    for told in table.told:
        times = times_text(told)
        yield _Bar(
            en=told.scheme.en,
            zh=told.scheme.zh,
            mg=told.figure.value,
            value=f"{value_text(told)} g" + (f" ({times})" if times else ""),
            below=told.reasons[0].text,
            kind="here" if told.here else "elsewhere",
        )


def _panel(parts: list[str], table: UnitTable, y: int) -> int:
    bars = list(_bars(table))
    parts.append(_text(_LEFT, y, f"Grams of CO2e per {table.unit}", size=14, weight="bold"))
    most = max((bar.mg for bar in bars), default=Fraction(1))
    for bar in bars:
        y += 24
        parts.append(_text(_LEFT, y, bar.en, _fit(bar.zh, 340 - _length(bar.en, 13), 13), size=13))
        y += 6
        length = max(1, round(_BAR_MOST * bar.mg / most))
        parts.append(f'<rect x="{_LEFT}" y="{y}" width="{length}" height="14" {_paint(bar.kind)}/>')
        parts.append(_text(_LEFT + length + 6, y + 12, bar.value, size=13, weight="bold"))
        y += 12
        for line in _lines(bar.below):
            y += 16
            parts.append(_text(_LEFT, y, line, fill=_GREY))
    return y


def _legend(parts: list[str], y: int) -> int:
    for kind, words in (
        ("hub", "the hub's value"),
        ("here", "holds for this place and day"),
        ("elsewhere", "dashed: another place or another time"),
    ):
        parts.append(f'<rect x="{_LEFT}" y="{y - 10}" width="18" height="11" {_paint(kind)}/>')
        parts.append(_text(_LEFT + 26, y, words, fill=_GREY))
        y += 18
    parts.append(_text(_LEFT, y, "≥ not lower than; × as many times as the hub's value", fill=_GREY))
    return y + 14


def _paint(kind: str) -> str:
    if kind == "elsewhere":
        return f'fill="#ffffff" stroke="{_HERE}" stroke-width="1.5" stroke-dasharray="4 2"'
    return f'fill="{_HUB if kind == "hub" else _HERE}"'


def _text(
    x: int, y: int, words: str, chinese: str = "", *, size: int = 12, weight: str = "normal", fill: str = _INK
) -> str:
    # The language of a part decides which shapes its characters get.
    zh = f' <tspan xml:lang="zh-CN">{escape(chinese)}</tspan>' if chinese else ""
    return f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{fill}">{escape(words)}{zh}</text>'


def _lines(words: str) -> Iterator[str]:
    line = ""
    for word in words.split():
        if line and _length(f"{line} {word}", 12) > _RIGHT - _LEFT:
            yield line
            line = word
        else:
            line = f"{line} {word}".strip()
    if line:
        yield line


def _fit(words: str, room: float, size: int) -> str:
    """Cut a text that would be longer than its room."""
    if _length(words, size) <= room:
        return words
    while words and _length(words, size) > room - size:
        words = words[:-1]
    return f"{words.rstrip()}…" if words else ""


def _length(words: str, size: int) -> float:
    """About how long a text is: Chinese characters are as wide as high, others about half."""
    return size * sum(1.0 if unicodedata.east_asian_width(letter) in "WF" else 0.54 for letter in words)
