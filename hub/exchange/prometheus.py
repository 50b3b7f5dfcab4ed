"""The figures of exchange for Prometheus. I/O: reads the database.

Some of them read many rows, and a scraper may ask every few seconds: they are read at most once in KEPT, and told again
until then.
"""

import threading
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from hub.context import Hub
from hub.db import reading
from hub.exchange.histogram import BOUNDS_MS
from hub.exchange.measures import Measures, load_measures

KEPT = timedelta(seconds=30)
HOURS = 24


class ExchangeMetrics(Collector):
    """Collects the figures of the last HOURS hours."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._lock = threading.Lock()
        self._kept: tuple[datetime, Measures] | None = None

    def describe(self) -> list[Metric]:
        """Name nothing beforehand: registering must not read the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield the figures."""
        told = self._load()
        yield _requests(told)
        yield _gauge(
            "tanlian_exchange_refused_requests", "requests turned away, by reason", ("participant", "operation", "reason"),
            [((one.participant, one.where, one.reason), one.count) for one in told.refused_requests],
        )  # fmt: skip
        yield _gauge(
            "tanlian_exchange_refused_rows", "rows set aside, by reason", ("participant", "stream", "reason"),
            [((one.participant, one.where, one.reason), one.count) for one in told.refused_rows],
        )  # fmt: skip
        yield from _streams(told)
        yield _gauge(
            "tanlian_duplicate_share", "share of records of the newest cleared window that are duplicates", ("participant",),
            [((name,), twice / decided) for name, decided, twice in told.duplicates if decided],
        )  # fmt: skip
        for name, meaning, figure in (
            ("tanlian_breaks_open", "open differences between statements", "open"),
            ("tanlian_break_age_seconds", "age of the oldest open difference", "oldest_s"),
        ):
            rows = [((one.participant, one.kind), getattr(one, figure)) for one in told.breaks]
            yield _gauge(name, meaning, ("participant", "kind"), rows)
        yield GaugeMetricFamily(
            "tanlian_window_seal_lag_seconds",
            "how long ago the open window should have been sealed",
            value=told.seal_lag_s,
        )

    def _load(self) -> Measures:
        now = self._hub.clock()
        with self._lock:
            if self._kept is not None and now - self._kept[0] < KEPT:
                return self._kept[1]
            with reading(self._hub.engine) as session:
                told = load_measures(session, now, hours=HOURS, window_length=self._hub.settings.window_length)
            self._kept = (now, told)
            return told


def _requests(told: Measures) -> Metric:
    family = HistogramMetricFamily(
        "tanlian_exchange_seconds",
        "requests of a day and the time they took",
        labels=("participant", "operation", "outcome"),
    )
    for one in told.requests:
        below, buckets = 0, []
        for bound in BOUNDS_MS[:-1]:
            below += one.buckets.get(bound, 0)
            buckets.append((str(bound / 1000), float(below)))
        buckets.append(("+Inf", float(one.requests)))
        labels = (one.participant, one.operation, one.outcome)
        family.add_metric(labels, buckets, sum_value=one.mean_ms * one.requests / 1000)
    return family


def _streams(told: Measures) -> Iterator[Metric]:
    for name, meaning, figure in (
        ("rows", "rows that came", "rows"),
        ("rows_accepted", "rows that were taken", "accepted"),
        ("rows_refused", "rows without permission", "refused"),
        ("again_share", "share of rows that had come before", "again_share"),
        ("complete_share", "share of records that both sides have, by the newest statement", "complete_share"),
    ):
        yield _gauge(
            f"tanlian_stream_{name}", meaning, ("participant", "stream"),
            [((one.participant, one.stream), getattr(one, figure)) for one in told.streams if getattr(one, figure) is not None],
        )  # fmt: skip
    late = [
        ((one.participant, one.stream, quantile), minutes * 60)
        for one in told.streams
        for quantile, minutes in (("0.5", one.late_p50_minutes), ("0.95", one.late_p95_minutes))
        if minutes is not None
    ]
    meaning = "how long after an act its record came"
    yield _gauge("tanlian_stream_late_seconds", meaning, ("participant", "stream", "quantile"), late)


def _gauge(name: str, meaning: str, labels: tuple[str, ...], rows: Sequence[tuple[tuple[str, ...], float]]) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=labels)
    for values, figure in rows:
        family.add_metric(values, figure)
    return family
