"""A simulation as a picture: grams moved per platform, as bars to the left and right of what counts today. Pure.

One `<svg>` without script and without inline styles, as `standards/comparison_svg.py` draws: colours are presentation
attributes, and nothing is told by colour alone: every bar has its sign and figure beside it.
"""

from decimal import Decimal
from html import escape
from typing import Any

from hub.clearing.simulate.moved import percent
from hub.clearing.simulate.of_files import Simulation

WIDTH = 640
MOST_BARS = 40
_MIDDLE, _LONGEST, _ROW = 320, 190, 40
_INK, _GREY, _MORE, _LESS = "#1a1a1a", "#4a4a4a", "#0b6e4f", "#9a3412"
_FONT = "system-ui, 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', sans-serif"


def moved_svg(simulation: Simulation, *, name: str = "moved") -> str:
    """Draw what a change would move, the platform with the largest difference first.

    Args:
        simulation: what to draw; beyond MOST_BARS platforms the rest is told as a number.
        name: begins the ids inside, so that two pictures can stand on one page.

    Returns:
        One `<svg>` element; well-formed XML.
    """
    rows = simulation.moved.by("platform").to_dicts()
    shown, rest = rows[:MOST_BARS], len(rows) - MOST_BARS
    parts = [
        _text(12, 24, f"Grams moved per platform: {simulation.version} to {simulation.other}", size=15, weight="bold"),
        _text(12, 43, _summary(simulation), fill=_GREY),
    ]
    most = max((abs(_difference(row)) for row in shown), default=0)
    y = 62
    for row in shown:
        parts += _bar(row, most, y)
        y += _ROW
    if rest > 0:
        parts.append(_text(12, y + 12, f"and {rest} platforms that move less", fill=_GREY))
        y += 20
    parts.append(f'<line x1="{_MIDDLE}" y1="56" x2="{_MIDDLE}" y2="{y}" stroke="{_INK}" stroke-width="1"/>')
    parts.append(_text(12, y + 20, "to the right: more counts than today; to the left: less", fill=_GREY))
    height = y + 34
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xml:lang="en" viewBox="0 0 {WIDTH} {height}" width="100%" role="img" '
        f'aria-labelledby="{escape(name)}-title {escape(name)}-desc" font-family="{escape(_FONT)}">\n'
        f'<title id="{escape(name)}-title">{escape(f"Grams moved from {simulation.version} to {simulation.other}")}</title>\n'
        f'<desc id="{escape(name)}-desc">{escape(_described(simulation, rows))}</desc>\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def signed_grams(mg: int) -> str:
    """Return milligrams as grams with a sign, to the milligram."""
    return f"{Decimal(mg).scaleb(-3):+,.3f} g"


def _summary(simulation: Simulation) -> str:
    moved = simulation.moved
    share = percent(moved.total("from_mg"), moved.total("to_mg"))
    told = f"{moved.total('records'):,} records; together {signed_grams(moved.total('to_mg') - moved.total('from_mg'))}"
    return told if share is None else f"{told} ({share:+.2f} %)"


def _described(simulation: Simulation, rows: list[dict[str, Any]]) -> str:
    told = [f"{row['platform'] or 'unknown'}: {_figure(row)}." for row in rows]
    return " ".join([f"{_summary(simulation)}.", *told])


def _difference(row: dict[str, Any]) -> int:
    return int(row["to_mg"] - row["from_mg"])


def _figure(row: dict[str, Any]) -> str:
    share = percent(row["from_mg"], row["to_mg"])
    told = signed_grams(_difference(row))
    return told if share is None else f"{told} ({share:+.2f} %)"


def _bar(row: dict[str, Any], most: int, y: int) -> list[str]:
    difference = _difference(row)
    # Whole numbers: what moves at all shows, and the longest bar is as long as there is room.
    length = max(1, abs(difference) * _LONGEST // most) if difference else 0
    left = _MIDDLE - length if difference < 0 else _MIDDLE
    paint = _LESS if difference < 0 else _MORE
    parts = [_text(12, y + 10, str(row["platform"] or "unknown"), size=13)]
    if length:
        parts.append(f'<rect x="{left}" y="{y + 15}" width="{length}" height="14" fill="{paint}"/>')
    at, anchor = (_MIDDLE + 6, "start") if difference <= 0 else (_MIDDLE - 6, "end")
    parts.append(_text(at, y + 26, _figure(row), anchor=anchor))
    return parts


def _text(
    x: int, y: int, words: str, *, size: int = 12, weight: str = "normal", fill: str = _INK, anchor: str = "start"
) -> str:
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{fill}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )
