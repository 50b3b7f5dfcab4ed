"""`tanlian explain`: why a record was decided so, in one sentence and with its figures. I/O: terminal, files, database."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.panel import Panel
from rich.table import Table

from hub.clearing.engines.looking import explain_files
from hub.clearing.explain.explanation import Explanation, Match, Report, redact
from hub.clearing.explain.sentences import LANGUAGES, ZONE, contest, local_time, sentence, word
from hub.commands.access import leaves_a_trace
from hub.commands.console import AS_JSON, opened_hub, out, print_json, table
from hub.db import reading
from hub.errors import UsageProblem
from hub.explain import Explained, explain_stored, load_names
from hub.staff.rights import AccessPurpose
from standards.behaviours import default_unit
from standards.choice import format_grams
from standards.schema import Precision
from standards.units import format_micro

COLUMNS = ["record", "platform", "role", "when (UTC+8)", "quantity", "claims g", "verdict", "counts g"]


class Language(StrEnum):
    """In which language the sentence is said first."""

    EN = "en"
    ZH = "zh"


@leaves_a_trace("staff.explain", AccessPurpose.REVIEW, unless=lambda given: given["records"] is not None)
def explain(
    record_id: Annotated[int, typer.Argument(help="The record's number.")],
    language: Annotated[Language, typer.Option("--lang", help="Language of the sentence.")] = Language.EN,
    records: Annotated[
        Path | None, typer.Option(help="Folder with Parquet files, instead of the database.", show_default=False)
    ] = None,
    cleared: Annotated[
        Path | None, typer.Option("--out", help="What `tanlian clear` made of these records.", show_default=False)
    ] = None,
    platform: Annotated[
        str | None, typer.Option("--for", help="Show no more than this platform may know.", show_default=False)
    ] = None,
    thorough: Annotated[bool, typer.Option(help="Learn over the whole window again where it is needed.")] = True,
    as_json: bool = AS_JSON,
) -> None:
    """Say why a record was decided so: its act, who else told of it, the rule with its figures, what counts.

    Of the database or, with --records and --out, of a bulk run: then only that person's rows are read.
    """
    if (records is None) != (cleared is None):
        raise UsageProblem("--records and --out belong together: what was cleared, and what came of it")
    if records is not None and cleared is not None:
        told = explain_files(records, cleared, record_id)
        explained = Explained(told=_for(told, platform), provisional=False, reversed_since=False, names={})
    else:
        with opened_hub() as hub, reading(hub.engine) as session:
            explained = explain_stored(session, record_id, thorough=thorough)
            names = load_names(session)
        explained = Explained(
            told=_for(explained.told, platform), provisional=explained.provisional,
            reversed_since=explained.reversed_since, taken_mg=explained.taken_mg, names=names,
        )  # fmt: skip
    if as_json:
        print_json({"record_id": record_id, **explained.to_dict()})
        return
    _print(explained, "zh-CN" if language is Language.ZH else "en")


def _for(told: Explanation, platform: str | None) -> Explanation:
    if platform is None:
        return told
    if told.report.platform != platform:
        raise UsageProblem(f"record {told.report.record_id} is not one of {platform}")
    return redact(told, lambda report: report.platform == platform)


def _print(explained: Explained, language: str) -> None:
    told, names = explained.told, explained.names
    other = next(one for one in LANGUAGES if one != language)
    said = f"[bold]{sentence(told, language, names)}[/bold]\n[dim]{sentence(told, other, names)}[/dim]"
    beside = explained.notes(language)
    out.print(Panel("\n".join([said, *beside]), title=f"record {told.report.record_id}", title_align="left"))
    decided = Table.grid(padding=(0, 2))
    for name, value in _decided(told):
        decided.add_row(f"[dim]{name}[/dim]", value)
    out.print(decided)
    for title, reports in (("Reports of the act", (told.report, *told.others)), ("Other acts", told.related)):
        if reports:
            rows = [_row(one, told, language) for one in reports]
            table(title, COLUMNS, rows, numbers=frozenset({0, 4, 5, 7}))
    compared = [told.match] if told.match and told.match not in told.candidates else []
    if compared or told.candidates:
        _print_matches([*compared, *told.candidates])
    out.print(contest(told, language, names), style="dim")


def _decided(told: Explanation) -> list[tuple[str, str]]:
    report = told.report
    rows = [
        ("verdict", f"{report.verdict}, by {report.rule}: {report.reason}"),
        ("act", f"{report.event_id or '-'}, counts {format_grams(told.event_mg)} g ({told.event_verdict})"),
        ("policy", told.policy),
    ]
    if told.canonical is not None:
        why = f", before the next by {told.canonical_why}" if told.canonical_why else ""
        rows.append(("canonical", f"{told.canonical.record_id} of {told.canonical.platform}{why}"))
    if told.key is not None:
        rows.append(("key", f"{told.key}, as {', '.join(map(str, told.same_key)) or 'another'}"))
    if told.why is not None:
        rows.append(("because", f"{told.why} ({', '.join(told.sources) or 'the hub’s own matrix'})"))
    if told.limit is not None:
        rows.append(("limit", f"{told.limit.value} {told.limit.unit}, at most {told.limit.limit}"))
    if told.candidate_days:
        rows.append(("could be", ", ".join(map(str, told.candidate_days))))
    return rows + _amount(told)


def _amount(told: Explanation) -> list[tuple[str, str]]:
    amount = told.amount
    if amount is None:
        return []
    by = "-" if amount.reference_mg is None else f"{format_grams(amount.reference_mg)} g"
    claim = "" if amount.claimed_mg is None else f", claimed {format_grams(amount.claimed_mg)} g"
    limited = f", limited by the {amount.limited_by}" if amount.limited_by else ""
    rows = [("amount", f"{by} by {amount.methodology} ({amount.factor_id or 'no figure'}){claim}{limited}")]
    if amount.quantity_from is not None:
        rows.append(("quantity", f"from record {amount.quantity_from}"))
    if told.taken_off:
        rows.append(("taken off", ", ".join(map(str, told.taken_off))))
    return rows


def _row(report: Report, told: Explanation, language: str) -> list[str]:
    mark = " *" if told.canonical is not None and report.record_id == told.canonical.record_id else ""
    unit = report.unit
    if unit is None and report.behaviour and report.precision and report.quantity_micro is not None:
        try:
            unit = default_unit(report.behaviour, report.precision)
        except (KeyError, ValueError):  # a word that nobody knows: that is why it was rejected
            unit = ""
    return [
        f"{report.record_id}{mark}", report.platform or "-", word("role", report.role or "-", language), _times(report),
        "-" if report.quantity_micro is None else f"{format_micro(report.quantity_micro)} {unit}",
        "-" if report.claimed_mg is None else format_grams(report.claimed_mg), report.verdict,
        format_grams(report.counted_mg),
    ]  # fmt: skip


def _times(report: Report) -> str:
    if report.start_at is None or report.end_at is None:
        return "-"
    begin, end = report.start_at.astimezone(ZONE), report.end_at.astimezone(ZONE)
    if report.precision == Precision.DAY:
        return f"{local_time(report):%Y-%m-%d}, the day"
    clock = "%H:%M" if report.precision == Precision.MINUTE else "%H:%M:%S"
    until = "" if begin == end else f"–{end:{clock}}" if begin.date() == end.date() else f" – {end:%Y-%m-%d {clock}}"
    return f"{begin:%Y-%m-%d} {begin:{clock}}{until}"


def _print_matches(matches: list[Match]) -> None:
    first = matches[0]
    table(
        f"Compared on points: one act from {_said(first.accept)}, held from {_said(first.hold)}, a tie within {_said(first.tie)}",
        ["record", "with", "seconds apart", "time", "quantity", "duration", "behaviour", "keys", "sum"],
        [
            [
                str(m.record_id), str(m.other_record_id), f"{m.apart_s}{' (begin to end)' if m.lag else ''}",
                _said(m.time_points), _said(m.quantity_points), _said(m.duration_points), _said(m.behaviour_points),
                _said(m.key_points), _said(m.points),
            ]
            for m in matches
        ],
        numbers=frozenset(range(9)),
    )  # fmt: skip


def _said(points: int) -> str:
    return f"{points / 1000:.2f}"
