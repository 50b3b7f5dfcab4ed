"""connectors check: the conformance suite, on the sandbox and on a participant's own endpoint. I/O: terminal, network, files."""

from pathlib import Path

from connectors.registry import KINDS
from hub.clock import system_clock
from hub.commands.console import opened_hub, out, print_json, progress_bars, table
from hub.conformance.cases import Group
from hub.conformance.endpoint import Endpoint
from hub.conformance.live import LIVE_CASES
from hub.conformance.report import Report, Result, Verdict
from hub.conformance.stage import Stage
from hub.conformance.suite import Tell, cases_of, check_endpoint, check_feed
from hub.conformance.targets import Bench, bench_of_kind, benches_of_participant, benches_of_platform
from hub.context import Hub
from hub.db import reading
from hub.errors import NotFound, UsageProblem
from hub.participants import Platform, open_platform
from hub.sandbox.specs import SPECS

_LONGEST_NAME = 64
_SHOWN = 400


def check_connectors(name: str, *, report: Path | None, only: frozenset[Group], sandbox: bool, as_json: bool) -> None:
    """Run the suite and tell; exits with 1 if a case failed."""
    groups = only
    if sandbox or name in KINDS:
        results = _check(_benches(name), None, None, groups, quiet=as_json)
    else:
        with opened_hub() as hub:
            platform = _participant(hub, name)
            benches = _benches(name) if platform is None else benches_of_participant(SPECS, platform)
            results = _check(benches, hub, platform, groups, quiet=as_json)
    told = Report(name=name, checked_at=system_clock(), results=tuple(results))
    if report is not None:
        report.write_text(told.json_text() if report.suffix == ".json" else told.markdown(), encoding="utf-8")
    if as_json:
        print_json(told.document())
    else:
        _print(told, report)
    if not told.ok:
        raise SystemExit(1)


def _participant(hub: Hub, name: str) -> Platform | None:
    try:
        with reading(hub.engine) as session:
            return open_platform(session, hub.ring, name)
    except NotFound:
        if name in SPECS:
            return None
        shown = name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "..."
        raise NotFound(
            f"there is no participant {shown!r}, and no connector or platform of the sandbox of that name"
        ) from None


def _benches(name: str) -> list[Bench]:
    found = bench_of_kind(SPECS, name) if name in KINDS else benches_of_platform(SPECS, name)
    if not found:
        raise UsageProblem(f"no platform of the sandbox is {name!r} or speaks its format")
    return found


def _check(
    benches: list[Bench], hub: Hub | None, platform: Platform | None, groups: frozenset[Group], *, quiet: bool
) -> list[Result]:
    cases = cases_of(groups - {Group.LIVE}) if groups != {Group.LIVE} else []
    results: list[Result] = []
    with progress_bars(quiet=quiet) as bars:

        def bar(title: str, total: int) -> Tell:
            task = bars.add_task(title, total=total)
            return lambda result: bars.update(task, advance=1)

        if hub is not None and platform is not None and (not groups or Group.LIVE in groups):
            for feed in platform.feeds:
                endpoint = Endpoint(hub=hub, platform=platform, feed=feed)
                results += check_endpoint(endpoint, tell=bar(f"{platform.platform_id}/{feed.stream}", len(LIVE_CASES)))
        with Stage() as stage:
            for bench in benches if cases else []:
                tell = bar(f"{bench.spec.id}/{bench.feed.stream} (simulated)", len(cases))
                results += check_feed(stage, bench.spec, bench.feed, cases=cases, tell=tell)
    return results


def _print(told: Report, written: Path | None) -> None:
    shown = [one for one in told.worst_first() if one.verdict is not Verdict.NOT_APPLICABLE]
    cells = [[one.id, one.title, one.subject, str(one.verdict), one.detail[:_SHOWN]] for one in shown]
    table(f"Conformance of {told.name}", ["case", "", "of", "verdict", "detail"], cells)
    groups = [[str(group), *(counts[verdict] for verdict in Verdict)] for group, counts in told.by_group().items()]
    table("By group", ["group", *(str(verdict) for verdict in Verdict)], groups, numbers=frozenset({1, 2, 3}))
    out.print(f"{told.name}: {told.score} cases passed")
    if written is not None:
        out.print(f"written to {written}")
