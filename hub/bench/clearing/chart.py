"""The quality of clearing as a picture: bars as SVG, one column per corpus, one row per figure. Pure.

Errors span five powers of ten, so the rows about grams have a logarithmic scale; the row of F1 begins at zero. Colours are
attributes, no style and no script; nothing is told by colour alone, since every bar has its name and its value.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from math import log10

from hub.bench.clearing.measure import KERNEL, Quality, Result

_FONT = "system-ui, 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', sans-serif"
_INK, _GREY, _LINE, _HUB, _PEER = "#1a1a1a", "#4a4a4a", "#e3e6ea", "#0b6e4f", "#8fa8c8"
_LEFT, _TOP, _GAP = 92, 78, 26
_COLUMN, _VALUE = 208, 58
_BAR, _STEP, _HEAD = 15, 22, 40


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    title: str
    value: Callable[[Result], float]
    length: Callable[[float], float]
    """0 to 1."""
    text: Callable[[float], str]
    ticks: tuple[float, ...]


def _on_log(value: float) -> float:
    """Return the place on a scale of 1 to a million; below one is at its begin."""
    return min(1.0, log10(value) / 6) if value > 1 else 0.0


def _count(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def _tick(value: float) -> str:
    return f"{value:g}" if value < 1_000 else f"{value:,.0f}".replace(",000,000", " M").replace(",000", " k")


_ROWS = (
    _Row(title="F1 of pairs: longer is better", value=lambda r: r.score.pairs.f1, length=lambda v: v,
         text=lambda v: f"{v:.4f}", ticks=(0, 0.5, 1)),
    _Row(title="Milligrams counted twice, per million, in undisputed acts (logarithmic): shorter is better",
         value=lambda r: r.score.plain_double_ppm, length=_on_log, text=_count, ticks=(1, 100, 10_000, 1_000_000)),
    _Row(title="Milligrams wrongly removed, per million (logarithmic): shorter is better", value=lambda r: r.score.removed_ppm,
         length=_on_log, text=_count, ticks=(1, 100, 10_000, 1_000_000)),
)  # fmt: skip


def quality_svg(qualities: Sequence[Quality]) -> str:
    """Draw results.

    Args:
        qualities: one or several corpora with the same ways of clearing.

    Returns:
        One `<svg>` element, well-formed XML.
    """
    names = [result.name for result in qualities[0].results]
    width = _LEFT + len(qualities) * _COLUMN + (len(qualities) - 1) * _GAP + 16
    panel = _HEAD + len(names) * _STEP + 34
    height = _TOP + len(_ROWS) * panel + 8
    parts = [
        _text(16, 30, "How right clearing is", size=18, weight="bold"),
        _text(
            16,
            50,
            f"{qualities[0].policy}, beside other ways to find records of one act, on the same records",
            fill=_GREY,
        ),
    ]
    for place, quality in enumerate(qualities):
        x = _LEFT + place * (_COLUMN + _GAP)
        parts.append(
            _text(x, _TOP, f"{quality.corpus}: {quality.facts['records']:,.0f} records", size=13, weight="bold")
        )
        for number, row in enumerate(_ROWS):
            parts += _draw_panel(row, quality.results, x, _TOP + 8 + number * panel)
    for number, row in enumerate(_ROWS):
        y = _TOP + 8 + number * panel
        parts.append(_text(16, y + 22, row.title, size=13))
        for line, name in enumerate(names):
            weight = "bold" if name == KERNEL else "normal"
            parts.append(_text(_LEFT - 8, y + _HEAD + line * _STEP + 12, name, weight=weight, anchor="end"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xml:lang="en" viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f'aria-labelledby="quality-title quality-desc" font-family="{escape(_FONT)}">\n'
        f'<title id="quality-title">How right clearing is, beside its peers</title>\n'
        f'<desc id="quality-desc">{escape(describe_results(qualities))}</desc>\n'
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def describe_results(qualities: Sequence[Quality]) -> str:
    """Return the picture as sentences, for who cannot see it."""
    told = []
    for quality in qualities:
        for result in quality.results:
            values = "; ".join(f"{row.title.split(':')[0]} {row.text(row.value(result))}" for row in _ROWS)
            told.append(f"Corpus {quality.corpus}, {result.name}: {values}.")
    return " ".join(told)


def _draw_panel(row: _Row, results: Sequence[Result], x: int, y: int) -> list[str]:
    span, bottom = _COLUMN - _VALUE, y + _HEAD + len(results) * _STEP
    parts = []
    for tick in row.ticks:
        at = x + round(span * row.length(tick))
        parts.append(f'<line x1="{at}" y1="{y + _HEAD - 4}" x2="{at}" y2="{bottom}" stroke="{_LINE}"/>')
        parts.append(_text(at, bottom + 13, _tick(tick), size=10, fill=_GREY, anchor="middle"))
    for line, result in enumerate(results):
        value = row.value(result)
        length = max(2, round(span * row.length(value)))
        top = y + _HEAD + line * _STEP
        fill = _HUB if result.name == KERNEL else _PEER
        parts.append(f'<rect x="{x}" y="{top}" width="{length}" height="{_BAR}" rx="2" fill="{fill}"/>')
        weight = "bold" if result.name == KERNEL else "normal"
        parts.append(_text(x + length + 5, top + 12, row.text(value), weight=weight))
    return parts


def _text(
    x: int, y: int, words: str, *, size: int = 12, weight: str = "normal", fill: str = _INK, anchor: str = "start"
) -> str:
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{fill}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )
