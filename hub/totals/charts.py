"""Totals as pictures: provinces as a map of tiles, and any split as bars. SVG without script and inline styles. Pure.

Drawn 360 units wide, so that a phone shows the text at about the page's size. Nothing is told by colour alone: each tile and
bar has its figure as text. Colours follow the page by `currentColor`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from standards.regions import load_regions

WIDTH = 360
MOST_BARS = 40
_FONT = "system-ui, 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', sans-serif"
_TILE = 40
_ROW = 42
# Column and row of each province: neighbours roughly where they are; the hub's own arrangement.
TILES = {
    230000: (8, 0), 150000: (6, 1), 220000: (8, 1), 650000: (1, 2), 620000: (3, 2), 640000: (4, 2), 110000: (6, 2),
    120000: (7, 2), 210000: (8, 2), 630000: (2, 3), 610000: (4, 3), 140000: (5, 3), 130000: (6, 3), 370000: (7, 3),
    540000: (1, 4), 510000: (3, 4), 500000: (4, 4), 410000: (5, 4), 340000: (6, 4), 320000: (7, 4), 310000: (8, 4),
    530000: (3, 5), 520000: (4, 5), 420000: (5, 5), 360000: (6, 5), 330000: (7, 5), 450000: (4, 6), 430000: (5, 6),
    440000: (6, 6), 350000: (7, 6), 710000: (8, 6), 460000: (5, 7), 820000: (6, 7), 810000: (7, 7),
}  # fmt: skip
_STEPS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar: what it is called, how much, and how many people at least."""

    name: str
    mg: int
    people_at_least: int


def tiles_svg(by_province: dict[int, int], *, name: str = "map") -> str:
    """Draw the provinces as tiles, the darker the more; one without a told figure is empty and says so by a dash.

    Args:
        by_province: milligrams by the province's code. name: begins the ids inside.

    Returns:
        One `<svg>` element; well-formed XML.
    """
    shown = {code: mg for code, mg in by_province.items() if code in TILES and mg > 0}
    ranked = sorted(shown.values())
    parts, told = [], []
    for code, (column, row) in TILES.items():
        known = load_regions()[code]
        mg = shown.get(code)
        # By rank, so that one large province does not make all others pale.
        step = 0 if mg is None else 1 + ranked.index(mg) * _STEPS // len(ranked)
        figure = "–" if mg is None else short_mass(mg)
        parts.append(_tile(column * _TILE, row * _TILE, known.zh, figure, step))
        told += [] if mg is None else [f"{known.zh} {figure}"]
    described = "；".join(told) or "各省尚无可公布的数字"
    height = (max(row for _, row in TILES.values()) + 1) * _TILE
    return _svg(name, "各省份经清分的减排量", described, height, parts)


def bars_svg(title: str, bars: Sequence[Bar], *, name: str = "bars") -> str:
    """Draw bars, in the order given.

    Args:
        bars: beyond MOST_BARS the rest is told as a number.

    Returns:
        One `<svg>` element; well-formed XML.
    """
    shown, rest = bars[:MOST_BARS], len(bars) - MOST_BARS
    most = max((bar.mg for bar in shown), default=0)
    parts = [_text(10, 20, title, size=14, bold=True)]
    y = 34
    for bar in shown:
        people = f" · {bar.people_at_least:,}+ 人" if bar.people_at_least else ""
        length = max(1, bar.mg * (WIDTH - 20) // most) if bar.mg > 0 else 0
        parts.append(_text(10, y + 12, bar.name, size=12))
        parts.append(_text(WIDTH - 10, y + 12, f"{short_mass(bar.mg)}{people}", size=12, anchor="end"))
        if length:
            parts.append(
                f'<rect x="10" y="{y + 18}" width="{length}" height="10" fill="currentColor" fill-opacity="0.6"/>'
            )
        y += _ROW
    if rest > 0:
        parts.append(_text(10, y + 12, f"另有 {rest} 项", size=12))
        y += 20
    if not shown:
        parts.append(_text(10, y + 12, "尚无可公布的数字", size=12))
        y += 20
    described = "；".join(f"{bar.name} {short_mass(bar.mg)}" for bar in shown) or "尚无可公布的数字"
    return _svg(name, title, described, y + 6, parts)


def short_mass(mg: int) -> str:
    """Write a mass in few signs.

    Example:
        >>> short_mass(45_720), short_mass(1_234_567), short_mass(12_345_678_900), short_mass(0)
        ('46g', '1.2kg', '12t', '0g')
    """
    for size, unit in ((1_000_000_000, "t"), (1_000_000, "kg"), (1000, "g")):
        if mg >= size:
            amount = mg / size
            return f"{amount:,.1f}{unit}" if amount < 10 and unit != "g" else f"{amount:,.0f}{unit}"
    return f"{mg}mg" if mg else "0g"


def _tile(x: int, y: int, zh: str, figure: str, step: int) -> str:
    fill = f'fill="currentColor" fill-opacity="{0.12 * step:.2f}"' if step else 'fill="none"'
    return (
        f'<rect x="{x + 1}" y="{y + 1}" width="{_TILE - 2}" height="{_TILE - 2}" rx="4" {fill} stroke="currentColor" '
        f'stroke-opacity="0.4"/>'
        + _text(x + _TILE // 2, y + 18, zh[:2], size=12, anchor="middle")
        + _text(x + _TILE // 2, y + 32, figure, size=10, anchor="middle")
    )


def _text(x: int, y: int, words: str, *, size: int, bold: bool = False, anchor: str = "start") -> str:
    weight = ' font-weight="700"' if bold else ""
    return f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}"{weight}>{escape(words)}</text>'


def _svg(name: str, title: str, described: str, height: int, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" lang="zh-CN" viewBox="0 0 {WIDTH} {height}" width="100%" role="img" '
        f'aria-labelledby="{escape(name)}-title {escape(name)}-desc" font-family="{escape(_FONT)}" fill="currentColor">\n'
        f'<title id="{escape(name)}-title">{escape(title)}</title>\n'
        f'<desc id="{escape(name)}-desc">{escape(described)}</desc>\n' + "\n".join(parts) + "\n</svg>\n"
    )
