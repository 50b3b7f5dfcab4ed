"""A window's reconciliation as a picture: a bar for each platform and stream, what is agreed and what is broken. Pure.

One `<svg>` without script and without inline styles, as `hub/clearing/simulate/moved_svg.py` draws: colours are presentation
attributes, and nothing is told by colour alone: every bar has its state and figures beside it.
"""

from collections.abc import Sequence
from decimal import Decimal
from html import escape

from hub.reconcile.report_rows import OF_DELIVERIES, Row

WIDTH = 640
MOST_BARS = 60
_LEFT, _LONGEST, _ROW = 12, 330, 42
_INK, _GREY, _MATCHED, _BROKEN, _UNKNOWN = "#1a1a1a", "#4a4a4a", "#0b6e4f", "#9a3412", "#9ca3af"
_FONT = "system-ui, 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', sans-serif"


def report_svg(rows: Sequence[Row], *, window_id: int, name: str = "statement") -> str:
    """Draw the claims of each stream of a window: agreed, broken, or compared with nobody.

    Args:
        rows: as `load_report` gives them; deliveries have no grams and are left out. Beyond MOST_BARS the rest is told as a
            number, the streams with breaks first.
        name: begins the ids inside, so that two pictures can stand on one page.

    Returns:
        One `<svg>` element; well-formed XML.
    """
    streams = [row for row in rows if row.stream != OF_DELIVERIES]
    ranked = sorted(streams, key=lambda row: (-row.broken_mg, not row.breaks, row.platform, row.stream))
    shown, rest = ranked[:MOST_BARS], len(ranked) - MOST_BARS
    most = max((matched + broken + unknown for matched, broken, unknown in map(_parts, shown)), default=0)
    summary = _summary(streams)
    parts = [
        _text(_LEFT, 24, f"Statements of window {window_id}: claims by platform and stream", size=15, weight="bold"),
        _text(_LEFT, 43, summary, fill=_GREY),
    ]
    y = 62
    for row in shown:
        parts += _bar(row, most, y)
        y += _ROW
    if rest > 0:
        parts.append(_text(_LEFT, y + 12, f"and {rest} streams more", fill=_GREY))
        y += 20
    parts += _legend(y + 8)
    height = y + 34
    described = " ".join([f"{summary}.", *(f"{row.platform}, {row.stream}: {_figure(row)}." for row in ranked)])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xml:lang="en" viewBox="0 0 {WIDTH} {height}" width="100%" role="img" '
        f'aria-labelledby="{escape(name)}-title {escape(name)}-desc" font-family="{escape(_FONT)}">\n'
        f'<title id="{escape(name)}-title">Statements of window {window_id}</title>\n'
        f'<desc id="{escape(name)}-desc">{escape(described)}</desc>\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _parts(row: Row) -> tuple[int, int, int]:
    """Return what is agreed, what is broken, and what nobody compared, in milligrams."""
    if row.matched_mg is None:
        return 0, 0, max(row.ours_mg or 0, row.theirs_mg or 0)
    return row.matched_mg, row.broken_mg, 0


def _bar(row: Row, most: int, y: int) -> list[str]:
    parts, x = [_text(_LEFT, y + 10, f"{row.platform}, {row.stream}", size=13)], _LEFT
    for mg, paint in zip(_parts(row), (_MATCHED, _BROKEN, _UNKNOWN), strict=True):
        if mg:
            # Whole numbers: what is there at all shows, and the longest bar is about as long as there is room.
            length = max(1, mg * _LONGEST // most)
            parts.append(f'<rect x="{x}" y="{y + 15}" width="{length}" height="14" fill="{paint}"/>')
            x += length
    parts.append(_text(x + 6, y + 26, _figure(row)))
    return parts


def _figure(row: Row) -> str:
    matched, broken, unknown = _parts(row)
    if row.matched_mg is None:
        return f"{_grams(unknown)}, {row.state.replace('_', ' ')}"
    count = sum(row.breaks.values())
    if count:
        return f"{_grams(matched)} agreed, {_grams(broken)} in {count} {'break' if count == 1 else 'breaks'}"
    return f"{_grams(matched)}, {row.state}"


def _summary(rows: Sequence[Row]) -> str:
    compared = [row for row in rows if row.theirs_count is not None]
    matched = sum(row.matched_mg or 0 for row in compared)
    breaks = sum(sum(row.breaks.values()) for row in compared)
    told = f"{len(compared)} of {len(rows)} streams compared; {_grams(matched)} agreed"
    return f"{told}; {breaks} breaks live, {_grams(sum(row.broken_mg for row in compared))}"


def _legend(y: int) -> list[str]:
    parts, x = [], _LEFT
    for paint, words in ((_MATCHED, "agreed"), (_BROKEN, "in breaks"), (_UNKNOWN, "not compared")):
        parts.append(f'<rect x="{x}" y="{y}" width="12" height="12" fill="{paint}"/>')
        parts.append(_text(x + 18, y + 10, words, fill=_GREY))
        x += 120
    return parts


def _grams(mg: int) -> str:
    return f"{Decimal(mg).scaleb(-3):,.3f} g"


def _text(x: int, y: int, words: str, *, size: int = 12, weight: str = "normal", fill: str = _INK) -> str:
    return f'<text x="{x}" y="{y}" font-size="{size}" font-weight="{weight}" fill="{fill}">{escape(words)}</text>'
