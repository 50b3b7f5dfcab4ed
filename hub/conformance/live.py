"""Cases against a participant's own endpoint: what it answers now, and what it has delivered so far. Pure, but for the endpoint.

They cannot provoke faults there, so they are fewer than the sandbox's; what they find is of real data.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

from connectors.base import Reauthorise, RetryLater
from hub.conformance.cases import CaseList, Group, NotApplicable, is_fetcher, is_pull_of_links, require
from hub.conformance.endpoint import Endpoint
from hub.conformance.rig import FALSE_TOKEN

LIVE_CASES: CaseList[Endpoint] = CaseList(Group.LIVE)
_told = LIVE_CASES.case
MOST_ASIDE, MOST_STRANGERS, MOST_REPLAYED, MOST_LATE = 0.05, 0.5, 0.5, 0.05
SLOW_S = 10.0
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")


@_told("LIVE-01", "The connector finds no fault with the endpoint")
def finds_no_fault(endpoint: Endpoint) -> None:
    result = endpoint.feed.connector.check()
    require(result.ok, f"check() found: {', '.join(result.findings)}.")


@_told("LIVE-02", "A false token is refused", applies=is_pull_of_links)
def refuses_a_false_token(endpoint: Endpoint) -> None:
    access = endpoint.access
    if access is None:
        raise NotApplicable("It reads with credentials of its own.")
    false = replace(access, access_token=FALSE_TOKEN, prove=None, hear=None)
    read = endpoint.read(None, access=false)
    require(not read.rows, "Records are given for a token that nobody gave out.")
    require(isinstance(read.error, Reauthorise), "A false token is not refused as one (401).")


@_told("LIVE-03", "The first pages can be read", applies=is_fetcher)
def can_be_read(endpoint: Endpoint) -> None:
    error = endpoint.first.error
    if isinstance(error, RetryLater):
        raise NotApplicable(f"The endpoint asks to come again later ({error.reason}).")
    require(error is None, f"Reading ended in {type(error).__name__}({error.reason if error else ''}).")


@_told("LIVE-04", "The same cursor gives the same rows", applies=is_fetcher)
def is_steady(endpoint: Endpoint) -> None:
    rows = endpoint.rows()
    again = endpoint.read(None)
    lost = set(rows) - set(again.rows)
    require(
        not lost, f"{len(lost)} of {len(rows)} rows were gone or different when the same pages were asked for again."
    )


@_told("LIVE-05", "The next cursor goes on where the page ended", applies=is_fetcher)
def goes_on(endpoint: Endpoint) -> None:
    pages = endpoint.first.pages
    if len(pages) < 2:
        raise NotApplicable("The feed has one page.")
    after = endpoint.read(pages[0].cursor)
    lost = set(pages[1].delivery.rows) - set(after.rows)
    require(not lost, f"{len(lost)} rows of the second page did not come when reading went on after the first.")


@_told("LIVE-06", "One id and version is one content", applies=is_fetcher)
def has_stable_ids(endpoint: Endpoint) -> None:
    rows = endpoint.rows()
    if endpoint.description.correction_mode == "replace":
        raise NotApplicable("A later telling replaces an earlier one under the same id.")
    told: dict[tuple[str, int], set[bytes]] = {}
    for row, source_id, version in endpoint.translate(rows).records.select("row", "source_id", "version").iter_rows():
        told.setdefault((source_id, version), set()).add(rows[row])
    twice = sum(len(contents) > 1 for contents in told.values())
    require(twice == 0, f"{twice} ids came with two contents in one version.")


@_told("LIVE-07", "Nothing is told that has not happened yet", applies=is_fetcher)
def is_on_time(endpoint: Endpoint) -> None:
    reasons = _reasons(endpoint)
    require(reasons["time_ahead"] == 0, f"{reasons['time_ahead']} rows lie ahead of the hub's clock.")


@_told("LIVE-08", "The mapping translates what is told", applies=is_fetcher)
def can_be_translated(endpoint: Endpoint) -> None:
    rows = endpoint.rows()
    reasons = _reasons(endpoint)
    share = sum(reasons.values()) / len(rows)
    require(share <= MOST_ASIDE, f"{share:.0%} of {len(rows)} rows would be set aside: {_listed(reasons)}.")


@_told("LIVE-09", "Every field that is told is known to the mapping, as kept or as dropped", applies=is_fetcher)
def has_no_unknown_fields(endpoint: Endpoint) -> None:
    mapping = endpoint.mapping
    known = {path[:end] for path in (*mapping.keep, *mapping.drop) for end in range(1, len(path) + 1)}
    known |= {tuple(name.split(".")) for name in endpoint.description.drops}
    unknown: Counter[str] = Counter()
    for row in endpoint.rows():
        for path in _paths(json.loads(row), ()):
            if not any(path[: len(out)] == out for out in (*mapping.drop, *mapping.keep)) and path not in known:
                unknown[".".join(name if _NAME.fullmatch(name) else "?" for name in path)] += 1
    require(
        not unknown, f"Fields that nobody decided about: {_listed(unknown)}. Keep them or drop them in the mapping."
    )


@_told("LIVE-10", "No row is unreadable", applies=is_fetcher)
def has_no_unreadable_rows(endpoint: Endpoint) -> None:
    endpoint.rows()
    found = Counter(bad.reason for delivery in endpoint.deliveries() for bad in delivery.unreadable)
    require(not found, f"Rows that nobody can read: {_listed(found)}.")


@_told("LIVE-11", "A page comes in good time", applies=is_fetcher)
def is_fast(endpoint: Endpoint) -> None:
    seconds = endpoint.first.seconds
    if not seconds:
        raise NotApplicable("No page came.")
    require(max(seconds) <= SLOW_S, f"A page took {max(seconds):.1f} s; the hub gives up after thirty.")


@_told("LIVE-20", "Few of the rows that were delivered had to be set aside")
def delivers_soundly(endpoint: Endpoint) -> None:
    rows, _, aside, _, _ = _delivered(endpoint)
    reasons = Counter(
        dict(
            endpoint.select(
                "SELECT reason, COUNT(*) FROM quarantined WHERE platform = :platform AND stream = :stream "
                "AND state = 'open' AND payload IS NOT NULL GROUP BY reason"
            )
        )
    )
    require(aside <= MOST_ASIDE * rows, f"{aside} of {rows} rows were set aside: {_listed(reasons)}.")


@_told("LIVE-21", "No two contents were delivered under one id and version")
def delivers_without_conflict(endpoint: Endpoint) -> None:
    rows, _, _, conflicts, _ = _delivered(endpoint)
    require(conflicts == 0, f"{conflicts} of {rows} rows contradict what was delivered before.")


@_told("LIVE-22", "Most rows are delivered once")
def delivers_once(endpoint: Endpoint) -> None:
    if is_fetcher(endpoint.description):
        raise NotApplicable("The hub reads some pages again by itself.")
    rows, replayed, _, _, _ = _delivered(endpoint)
    require(replayed <= MOST_REPLAYED * rows, f"{replayed} of {rows} rows had been delivered before.")


@_told("LIVE-23", "Rows come of people who have linked their account, and of few others")
def delivers_only_what_it_may(endpoint: Endpoint) -> None:
    rows, _, _, _, refused = _delivered(endpoint)
    sentence = f"{refused} of {rows} rows were of people who have not allowed it: they should not leave the platform."
    require(refused <= MOST_STRANGERS * rows, sentence)


@_told("LIVE-24", "Rows come as early as the connector says")
def delivers_in_time(endpoint: Endpoint) -> None:
    longest = int(endpoint.description.overlap.total_seconds() * 1_000_000)
    found = endpoint.select(
        "SELECT COUNT(*), SUM(CASE WHEN s.received_us - r.end_us > " + str(longest) + " THEN 1 ELSE 0 END) "
        "FROM source_record s JOIN reduction_record r ON r.record_id = s.record_id JOIN batch b ON b.batch_id = s.batch_id "
        "WHERE s.platform = :platform AND s.stream = :stream AND b.origin = 'received'"
    )[0]
    count, late = int(found[0]), int(found[1] or 0)
    if count == 0:
        raise NotApplicable("Nothing was delivered by the platform itself.")
    require(late <= MOST_LATE * count, f"{late} of {count} rows came later than the connector's class of lateness.")


def _delivered(endpoint: Endpoint) -> tuple[int, int, int, int, int]:
    """Rows, replays, rows set aside, contradictions and refusals of everything that was delivered so far."""
    found = endpoint.select(
        "SELECT SUM(rows), SUM(replayed), SUM(quarantined), SUM(conflicting), SUM(refused) FROM batch "
        "WHERE platform = :platform AND stream = :stream AND origin IN ('received', 'fetched')"
    )[0]
    rows, replayed, aside, conflicts, refused = (int(value or 0) for value in found)
    if rows == 0:
        raise NotApplicable("It has delivered nothing yet.")
    return rows, replayed, aside, conflicts, refused


def _reasons(endpoint: Endpoint) -> Counter[str]:
    return Counter(endpoint.translate(endpoint.rows()).quarantined["reason"].to_list())


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in counts.most_common(20)) or "none"


def _paths(value: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the way to every value that is no object; what stands in an array is under the array's name."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _paths(inner, (*path, name))
    elif isinstance(value, list) and any(isinstance(inner, dict | list) for inner in value):
        yield from _in_array(value, path)
    else:
        yield path


def _in_array(values: Iterable[Any], path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for inner in values:
        yield from _paths(inner, path)
