"""The requests of each hour as a picture: how many went well, and how many were turned away. Pure.

One `<svg>` without script and without inline styles, as the other pictures are: colours are presentation attributes, and
nothing is told by colour alone: what was turned away is hatched, and every figure stands in the description too.
"""

from datetime import UTC, datetime
from html import escape

from hub.exchange.measures import Measures

WIDTH, HEIGHT = 640, 220
MOST_HOURS = 168
_LEFT, _RIGHT, _TOP, _BOTTOM = 48, 12, 40, 34
_INK, _GREY, _DONE, _REFUSED = "#1a1a1a", "#4a4a4a", "#0b6e4f", "#9a3412"
_FONT = "system-ui, 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', sans-serif"


def measures_svg(told: Measures, *, name: str = "requests") -> str:
    """Draw requests by hour, the newest MOST_HOURS of them.

    Args:
        name: begins the ids inside, so that two pictures can stand on one page.
    """
    hours = told.hours_told[-MOST_HOURS:]
    most = max((count for _, count, _ in hours), default=0)
    total, refused = sum(count for _, count, _ in hours), sum(lost for _, _, lost in hours)
    summary = f"{total:,} requests in {len(hours)} hours, {refused:,} turned away"
    parts = [_text(_LEFT, 18, "Requests by hour", size=15, weight="bold"), _text(_LEFT, 33, summary, fill=_GREY)]
    floor, room = HEIGHT - _BOTTOM, HEIGHT - _BOTTOM - _TOP
    width = (WIDTH - _LEFT - _RIGHT) / max(1, len(hours))
    for place, (_, count, lost) in enumerate(hours):
        x, tall, low = _LEFT + place * width, room * count / most, room * lost / most
        parts.append(_bar(x, floor - tall, width, tall - low, _DONE))
        if lost:
            parts.append(_bar(x, floor - low, width, low, f"url(#{escape(name)}-hatch)"))
    parts.append(f'<line x1="{_LEFT}" y1="{floor}" x2="{WIDTH - _RIGHT}" y2="{floor}" stroke="{_GREY}"/>')
    parts += [
        _text(_LEFT - 6, _TOP + 8, f"{most:,}", anchor="end", fill=_GREY),
        _text(_LEFT - 6, floor, "0", anchor="end"),
    ]
    if hours:
        parts.append(_text(_LEFT, floor + 16, _hour(hours[0][0]), fill=_GREY))
        parts.append(_text(WIDTH - _RIGHT, floor + 16, _hour(hours[-1][0]), anchor="end", fill=_GREY))
    described = " ".join([f"{summary}.", *(f"{_hour(h)}: {n}, {lost} turned away." for h, n, lost in hours)])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xml:lang="en" viewBox="0 0 {WIDTH} {HEIGHT}" width="100%" role="img" '
        f'aria-labelledby="{escape(name)}-title {escape(name)}-desc" font-family="{escape(_FONT)}">\n'
        f'<title id="{escape(name)}-title">Requests by hour</title>\n<desc id="{escape(name)}-desc">{escape(described)}</desc>\n'
        f'<defs><pattern id="{escape(name)}-hatch" width="4" height="4" patternUnits="userSpaceOnUse">'
        f'<rect width="4" height="4" fill="#ffffff"/><path d="M0 4L4 0" stroke="{_REFUSED}" stroke-width="2"/></pattern></defs>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n"
    )


def _bar(x: float, y: float, width: float, height: float, fill: str) -> str:
    return f'<rect x="{x:.2f}" y="{y:.2f}" width="{max(0.5, width - 1):.2f}" height="{max(0.0, height):.2f}" fill="{fill}"/>'


def _text(
    x: float, y: float, words: str, *, size: int = 11, fill: str = _INK, weight: str = "normal", anchor: str = "start"
) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size}" fill="{fill}" font-weight="{weight}" text-anchor="{anchor}">'
        f"{escape(words)}</text>"
    )


def _hour(hour: int) -> str:
    return f"{datetime.fromtimestamp(hour, tz=UTC):%m-%d %H:00}Z"
