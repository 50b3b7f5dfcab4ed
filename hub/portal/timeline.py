"""Who told what of one act, on a line of time: an SVG for a page without scripts and without inline styles. Pure.

Drawn 360 units wide, so that it fills a phone's width with text of about the page's size. Each report has a row: a bar from
begin to end, a dot for a single moment, a band for a whole day. The report that counts is filled, the others are outlined
and their rows say so in words; nothing is told by colour alone. Colours follow the page by `currentColor`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape

from hub.clearing.explain.explanation import Explanation, Report
from hub.clearing.explain.sentences import ZONE, Names, grams, word
from standards.schema import Precision, Verdict

WIDTH = 360
_LEFT, _RIGHT = 10, 350
_ROW, _TOP = 54, 40
_FONT = "system-ui, 'Noto Sans CJK SC', 'PingFang SC', 'Microsoft YaHei', sans-serif"
_WORDS = {
    "title": {"en": "Who told of this act, and when", "zh-CN": "谁在何时报告了这一行为"},
    "day": {"en": "whole day", "zh-CN": "全天"},
    "another": {"en": "another act", "zh-CN": "另一行为"},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """The stretch of time that is drawn."""

    begin: datetime
    seconds: float

    def place(self, at: datetime) -> float:
        share = (at - self.begin).total_seconds() / self.seconds
        return _LEFT + (_RIGHT - _LEFT) * min(max(share, 0.0), 1.0)


def timeline_svg(told: Explanation, language: str, names: Names) -> str:
    """Draw the reports of an act, and the act that has its grams, if another has them.

    Args:
        language: of `hub.clearing.explain.sentences`.

    Returns:
        One `<svg>` element; well-formed XML. Empty if no report tells a time.
    """
    rows = [(one, False) for one in sorted((told.report, *told.others), key=_order)]
    rows += [(told.other_act, True)] if told.other_act is not None else []
    drawn = [(report, other) for report, other in rows if report.start_at is not None and report.end_at is not None]
    if not drawn:
        return ""
    line = _line([report for report, _ in drawn])
    counts = told.report.event_id
    parts = [_ticks(line, len(drawn))]
    told_as = []
    for k, (report, other) in enumerate(drawn):
        head, below = _texts(report, language, names, other=other)
        told_as.append(f"{head}: {below}")
        filled = report.verdict == Verdict.COUNTED and (other or report.record_id == counts)
        parts.append(_row(report, line, _TOP + k * _ROW, head, below, filled=filled))
    height = _TOP + len(drawn) * _ROW
    title = _WORDS["title"][language]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" lang="{language}" viewBox="0 0 {WIDTH} {height}" width="100%" '
        f'role="img" aria-labelledby="timeline-title timeline-desc" font-family="{escape(_FONT)}" font-size="13" '
        f'fill="currentColor">\n<title id="timeline-title">{escape(title)}</title>\n'
        f'<desc id="timeline-desc">{escape("; ".join(told_as))}</desc>\n' + "\n".join(parts) + "\n</svg>"
    )


def _order(report: Report) -> tuple[bool, datetime, int]:
    """The one that the event is named by first, then by time."""
    at = report.start_at or datetime.max.replace(tzinfo=ZONE)
    return report.record_id != report.event_id, at, report.record_id


def _line(reports: Sequence[Report]) -> _Line:
    """Cover the moments with room beside them; where all are whole days, the days."""
    exact = [r for r in reports if r.precision != Precision.DAY] or list(reports)
    begin = min(r.start_at for r in exact if r.start_at is not None)
    end = max(r.end_at for r in exact if r.end_at is not None)
    room = max((end - begin) * 0.15, timedelta(minutes=2))
    return _Line(begin=begin - room, seconds=(end - begin + 2 * room).total_seconds())


def _texts(report: Report, language: str, names: Names, *, other: bool) -> tuple[str, str]:
    known = names.get(report.platform or "")
    name = report.platform or "" if known is None else known.en if language == "en" else known.zh
    role = word("role", report.role, language) if report.role else ""
    head = f"{name} · {role}" if role else name
    if report.start_at is None or report.end_at is None:
        return head, ""
    if report.precision == Precision.DAY:
        times = f"{(report.start_at + timedelta(hours=12)).astimezone(ZONE):%Y-%m-%d} {_WORDS['day'][language]}"
    else:
        shown = "%H:%M" if report.precision == Precision.MINUTE else "%H:%M:%S"
        times = f"{report.start_at.astimezone(ZONE):{shown}}"
        if report.end_at != report.start_at:
            times += f"–{report.end_at.astimezone(ZONE):{shown}}"
    verdict = word("verdict", report.verdict, language)
    if report.verdict == Verdict.COUNTED:
        verdict = f"{verdict} {grams(report.counted_mg, language)}"
    return head, " · ".join([times, verdict, *([_WORDS["another"][language]] if other else [])])


def _ticks(line: _Line, rows: int) -> str:
    """Two whole minutes with hair lines, about a fifth from each end: enough to read the others by."""
    parts = []
    for share in (0.2, 0.8):
        at = (line.begin + timedelta(seconds=line.seconds * share)).astimezone(ZONE).replace(second=0, microsecond=0)
        x = line.place(at)
        far = line.seconds > 86_400
        parts.append(
            f'<line x1="{x:.1f}" y1="22" x2="{x:.1f}" y2="{_TOP + rows * _ROW - 6}" stroke="currentColor" '
            f'stroke-opacity="0.25" stroke-dasharray="2 3"/>'
            f'<text x="{x:.1f}" y="15" text-anchor="middle" font-size="11">{at:{"%m-%d %H:%M" if far else "%H:%M"}}</text>'
        )
    return "\n".join(parts)


def _row(report: Report, line: _Line, y: int, head: str, below: str, *, filled: bool) -> str:
    assert report.start_at is not None and report.end_at is not None  # noqa: S101, PT018 - only such reports are drawn
    left, right = line.place(report.start_at), line.place(report.end_at)
    paint = 'fill="currentColor"' if filled else 'fill="none"'
    stroke = 'stroke="currentColor" stroke-width="1.5"'
    if report.precision == Precision.DAY:
        size = f'width="{right - left:.1f}" height="8"'
        mark = f'<rect x="{left:.1f}" y="{y + 30}" {size} {paint} {stroke} stroke-dasharray="4 3"/>'
    elif report.start_at == report.end_at:
        mark = f'<circle cx="{left:.1f}" cy="{y + 34}" r="5" {paint} {stroke}/>'
    else:
        mark = (
            f'<rect x="{left:.1f}" y="{y + 30}" width="{max(right - left, 3):.1f}" height="8" rx="3" {paint} {stroke}/>'
        )
    weight = ' font-weight="700"' if filled else ""
    return (
        f'<text x="{_LEFT}" y="{y + 8}"{weight}>{escape(head)}</text>'
        f'<text x="{_LEFT}" y="{y + 23}" font-size="11.5" fill-opacity="0.85">{escape(below)}</text>{mark}'
    )
