"""What is counted at the doors, told to the log hour by hour, and shown as figures; nothing of it is of a person."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from defusedxml.ElementTree import fromstring
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event, text
from sqlalchemy.exc import OperationalError
from tests_support.deliveries import act, delivery
from tests_support.regulating import CITY, NOW, leaves, regulator, sign
from tests_support.terminal import Terminal
from tests_support.tokens import Machine
from tests_support.web import Caller

from hub.context import Hub
from hub.db import reading
from hub.exchange.counting import FLUSH_EVERY, MOST_KEYS, Counter
from hub.exchange.histogram import BOUNDS_MS, bucket_of, quantile
from hub.exchange.hours import GRACE, tell_hours
from hub.exchange.measures import load_measures
from hub.exchange.measures_svg import measures_svg
from hub.participants import open_platform
from hub.pipeline import take_delivery
from hub.worker import Worker

DAY = timedelta(days=1)
HOUR = int(NOW.timestamp()) // 3600 * 3600


class Moving:
    """A clock for a test to move."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Moving:
    return Moving()


@pytest.fixture
def ticking(town: Hub, clock: Moving) -> Hub:
    return replace(town, clock=clock)


def counts(hub: Hub) -> list[tuple[Any, ...]]:
    with reading(hub.engine) as session:
        sql = (
            "SELECT participant, operation, outcome, reason, SUM(requests) FROM exchange_count "
            "GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
        )
        return [(*tuple(row[:4]), int(row[4])) for row in session.execute(text(sql))]


def test_requests_are_counted_by_door_participant_and_end(ticking: Hub, clock: Moving):
    city = Machine(ticking, CITY)
    assert city.get("/v1/statements/1").status_code == 200
    assert city.get("/v1/statements/99").status_code == 404
    assert city.get("/v1/account").status_code == 403
    caller = Caller(ticking)
    assert caller.post("/in/nobody", content=b"{}").status_code == 404
    assert caller.post(f"/in/{CITY}", content=b"{}").status_code >= 400
    assert caller.get("/no/such/page/with/13812345678").status_code == 404
    assert caller.get("/healthz").status_code == 200
    assert counts(ticking) == []
    clock.now += FLUSH_EVERY
    assert caller.get("/healthz").status_code == 200
    told = {row[:4]: row[4] for row in counts(ticking)}
    assert told[(CITY, "GET /v1/statements/{window}", "done", "")] == 1
    assert told[(CITY, "GET /v1/statements/{window}", "refused", "not_found")] == 1
    assert told[("", "GET /v1/account", "refused", "forbidden")] == 1
    assert told[("", "POST /in/{participant}", "refused", "status_404")] == 1
    assert [key for key in told if key[:3] == (CITY, "POST /in/{participant}", "refused")]
    assert told[("", "unknown", "refused", "not_found")] == 1
    assert "13812345678" not in json.dumps(counts(ticking))
    assert not any("healthz" in row[1] for row in counts(ticking))


def test_counts_that_cannot_be_written_are_kept_and_written_later(ticking: Hub, clock: Moving):
    counter = Counter(hub=ticking, flushed_at=NOW)
    key = (CITY, "GET /v1/account", "done", "", 5)
    counter.add(key, 4.2, bytes_in=10, bytes_out=20)

    def fail(*_: Any) -> None:
        raise OperationalError("COMMIT", None, Exception("the server went away"))

    event.listen(ticking.engine, "commit", fail)
    try:
        assert counter.flush(clock.now) == 0
    finally:
        event.remove(ticking.engine, "commit", fail)
    counter.add(key, 4.4, bytes_in=1, bytes_out=2)
    assert counts(ticking) == []
    assert counter.flush(clock.now) == 1
    assert counter.flush(clock.now) == 0
    with reading(ticking.engine) as session:
        row = session.execute(text("SELECT requests, sum_us, bytes_in, bytes_out FROM exchange_count")).one()
    assert tuple(row) == (2, 8600, 11, 22)


def test_two_processes_add_up_and_kinds_are_bounded(town: Hub):
    for _ in range(2):
        counter = Counter(hub=town, flushed_at=NOW)
        counter.add((CITY, "GET /x", "done", "", 5), 1.0, bytes_in=0, bytes_out=0)
        counter.flush(NOW)
    assert counts(town) == [(CITY, "GET /x", "done", "", 2)]
    counter = Counter(hub=town, flushed_at=NOW)
    for number in range(MOST_KEYS + 50):
        counter.add((CITY, "GET /x", "refused", f"r{number}", 5), 1.0, bytes_in=0, bytes_out=0)
    assert len(counter.counts) == MOST_KEYS + 1
    assert counter.counts["", "GET /x", "refused", "", 5].requests == 50


def test_an_hour_that_is_over_is_told_once_and_holds_what_was_counted(town: Hub):
    counter = Counter(hub=town, flushed_at=NOW)
    for ms, outcome, many in ((4.0, "done", 90), (80.0, "done", 9), (400.0, "refused", 1)):
        for _ in range(many):
            counter.add((CITY, "GET /x", outcome, "", bucket_of(ms)), ms, bytes_in=7, bytes_out=3)
    counter.add(("", "GET /", "done", "", 5), 1.0, bytes_in=0, bytes_out=0)
    counter.flush(NOW)
    over = NOW.replace(minute=0) + timedelta(hours=1) + GRACE
    assert tell_hours(town, now=over - timedelta(seconds=1)) == 0
    assert tell_hours(town, now=over) == 1
    assert tell_hours(town, now=over + DAY) == 0
    sign(town)
    (leaf,) = [one for one in leaves(town) if one["kind"] == "exchange.counted"]
    assert {name: leaf[name] for name in ("participant", "requests_count", "refused_count", "failed_count")} == {
        "participant": CITY, "requests_count": 100, "refused_count": 1, "failed_count": 0,
    }  # fmt: skip
    assert (leaf["in_bytes"], leaf["out_bytes"], leaf["hour"]) == (700, 300, "2026-11-20T08:00:00Z")
    assert (leaf["p50_ms"], leaf["p95_ms"], leaf["p99_ms"]) == (4, 78, 100)
    # What comes later is of another hour: the told one stays as it was told.
    counter.add((CITY, "GET /x", "done", "", 5), 1.0, bytes_in=0, bytes_out=0)
    counter.flush(over)
    with reading(town.engine) as session:
        told = session.execute(
            text("SELECT hour, SUM(requests) FROM exchange_count WHERE participant <> '' GROUP BY hour")
        )
        assert {int(hour): int(n) for hour, n in told} == {HOUR: 100, HOUR + 3600: 1}


def test_the_worker_tells_hours(town: Hub):
    counter = Counter(hub=town, flushed_at=NOW)
    counter.add((CITY, "GET /x", "done", "", 5), 1.0, bytes_in=0, bytes_out=0)
    counter.flush(NOW)
    worker = Worker(replace(town, clock=lambda: NOW + 2 * timedelta(hours=1)))
    job = next(job for job in worker.jobs if job.name == "hours")
    assert (job.run(), job.run()) == (True, False)


def test_figures_of_streams_breaks_and_lag(town: Hub, clock: Moving):
    with reading(town.engine) as session:
        city = open_platform(session, town.ring, CITY)
    take_delivery(town, city, delivery("d3", act("1"), act("3", scene="METRO"), act("9")), now=NOW)
    with reading(town.engine) as session:
        told = load_measures(session, NOW + DAY, hours=48, window_length=DAY - timedelta(hours=1))
    stream = next(one for one in told.streams if one.participant == CITY)
    assert (stream.messages, stream.rows, stream.accepted, stream.again) == (3, 6, 3, 2)
    assert stream.again_share == round(2 / 6, 6)
    assert (stream.refused + stream.aside, stream.complete_share) == (1, None)
    # Rides of 18 November that came on the 20th.
    assert stream.late_p95_minutes is not None
    assert 2880 < stream.late_p95_minutes <= 10_080
    assert sum(one.count for one in told.refused_rows) == 1
    assert {name: (decided, twice) for name, decided, twice in told.duplicates}[CITY] == (1, 0)
    assert told.log_waiting > 0
    assert (told.log_lag_s, told.seal_lag_s) == (DAY.total_seconds(), 3600.0)


def test_completeness_comes_from_statements_and_breaks_age(town: Hub):
    machine = Machine(town, CITY)
    body = {"streams": [{"lines": [{"source_id": "BJ1", "version": 1, "claimed_mg": 500_000}, {"source_id": "BJ77"}]}]}
    answer = machine.send_json("/v1/statements/1", body)
    assert answer.status_code == 200, answer.text
    with reading(town.engine) as session:
        told = load_measures(session, NOW + DAY, hours=48, window_length=DAY)
    stream = next(one for one in told.streams if one.participant == CITY)
    assert (stream.complete_share, stream.compared_window) == (0.5, 1)
    assert [(one.participant, one.open, one.oldest_s) for one in told.breaks] == [(CITY, 1, 86_400)]


def test_prometheus_is_told_the_same(ticking: Hub, clock: Moving):
    city = Machine(ticking, CITY)
    for window in (1, 1, 99):
        city.get(f"/v1/statements/{window}")
    clock.now += FLUSH_EVERY
    caller = Caller(ticking)
    caller.get("/healthz")
    families = {one.name: one for one in text_string_to_metric_families(caller.get("/metrics").text)}
    door = {"participant": CITY, "operation": "GET /v1/statements/{window}"}
    found = [
        sample
        for sample in families["tanlian_exchange_seconds"].samples
        if sample.name.endswith("_count") and door.items() <= sample.labels.items()
    ]
    assert {sample.labels["outcome"]: sample.value for sample in found} == {"done": 2, "refused": 1}
    buckets = [
        sample.value
        for sample in families["tanlian_exchange_seconds"].samples
        if sample.name.endswith("_bucket") and (door | {"outcome": "done"}).items() <= sample.labels.items()
    ]
    assert (buckets == sorted(buckets), buckets[-1], len(buckets)) == (True, 2, len(BOUNDS_MS))
    refused = families["tanlian_exchange_refused_requests"].samples
    assert [(s.labels["reason"], s.value) for s in refused if door.items() <= s.labels.items()] == [("not_found", 1)]
    rows = {sample.labels["participant"]: sample.value for sample in families["tanlian_stream_rows"].samples}
    assert rows == {CITY: 3, "kuaidian": 1}
    for name in ("tanlian_stream_late_seconds", "tanlian_window_seal_lag_seconds", "tanlian_duplicate_share"):
        assert families[name].samples, name


def test_a_regulator_reads_the_same_figures(ticking: Hub, clock: Moving):
    gu = regulator(ticking)
    gu.get("/v1/regulator/log")
    clock.now += FLUSH_EVERY
    gu.get("/v1/regulator/log")
    told = gu.get("/v1/regulator/metrics", params={"hours": 1}).json()
    ours = [one for one in told["requests"] if one["operation"] == "GET /v1/regulator/log"]
    assert [(one["participant"], one["outcome"], one["requests"]) for one in ours] == [("", "done", 2)]
    assert {one["participant"] for one in told["streams"]} == {CITY, "kuaidian"}
    assert gu.get("/v1/regulator/metrics", params={"hours": 0}).status_code == 422


def test_the_terminal_reports_and_draws(town: Hub, tanlian: Terminal):
    counter = Counter(hub=town, flushed_at=NOW)
    counter.add((CITY, "GET /x", "refused", "conflict", 5), 1.0, bytes_in=0, bytes_out=0)
    counter.flush(datetime.now(tz=NOW.tzinfo))
    ran = tanlian("log", "report", "--svg", "hours.svg")
    assert (ran.code, "conflict" in ran.out, "Streams" in ran.out) == (0, True, True)
    told = tanlian("log", "report", "--json").json
    assert told["requests"][0]["requests"] == 1
    drawing = (tanlian.folder / "hours.svg").read_text()
    root = fromstring(drawing)
    assert root.tag.endswith("svg")
    assert "1 turned away" in drawing
    assert "style=" not in drawing


def test_an_hour_without_requests_is_a_picture_too(town: Hub):
    with reading(town.engine) as session:
        told = load_measures(session, NOW, hours=24, window_length=DAY)
    assert fromstring(measures_svg(told)).tag.endswith("svg")
    many = replace(told, hours_told=tuple((HOUR + 3600 * n, n, n // 2) for n in range(400)))
    assert measures_svg(many).count("<rect") <= 2 * 168 + 3


@given(st.dictionaries(st.sampled_from(BOUNDS_MS), st.integers(1, 1000), min_size=1), st.integers(1, 100))
def test_a_quantile_lies_in_the_bucket_that_holds_it(buckets: dict[int, int], percent: int):
    ordered = sorted(bound for bound, count in buckets.items() for _ in range(count))
    exact = ordered[max(0, -(-len(ordered) * percent // 100) - 1)]
    below = max((bound for bound in BOUNDS_MS if bound < exact), default=0)
    assert below <= quantile(buckets, BOUNDS_MS, percent) <= exact


def test_a_time_falls_into_the_first_bucket_that_is_long_enough():
    assert [bucket_of(ms) for ms in (0.0, 1.0, 1.01, 59_999, 60_000, 10**9)] == [1, 1, 2, 60_000, 60_000, 60_000]
    assert quantile({}, BOUNDS_MS, 50) == 0.0
