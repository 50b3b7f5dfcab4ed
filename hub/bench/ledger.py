"""How fast a window is closed and what comes of it: entries beside pgbench, sealing, statements, the audit.

I/O: a database of its own. Everything goes through the hub's own functions: deliveries are taken, the window is sealed, cleared
and made final; then people are asked for their year, and the whole ledger is audited. On PostgreSQL `pgbench` runs its
simple-update transactions on the same server in the same run: both are durable, and the ratio is of entries to transactions.
"""

import os
import random
import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from shutil import which
from statistics import quantiles
from time import perf_counter

import polars as pl
from sqlalchemy import make_url, text

from hub.audit import audit
from hub.bench.guard import BEHAVIOURS, PLATFORM, delivery_of, join_platform
from hub.bench.people import settle
from hub.context import Hub, open_hub
from hub.db import reading, writing
from hub.errors import UsageProblem
from hub.ledger import postings
from hub.ledger.store import append_entries
from hub.ledger.yearly import load_year
from hub.migrate import prepare
from hub.participants import Platform
from hub.pipeline import clear_sealed, finalise_window, seal_window, take_delivery
from hub.settings import Settings
from hub.sync.statements import reconcile_window

ROWS = 50_000
GROUP, MOST_POSTED, INVENTED = 100_000, 1_000_000, 10**15
PGBENCH_S, PGBENCH_SCALE, PGBENCH_CLIENTS = 10, 10, 8
_TPS = re.compile(r"tps = ([0-9.]+) \(without initial connection time\)")
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerFigure:
    """One closed window. Rates are per second of the clock; `ratio` is entries to pgbench's transactions."""

    database: str
    records: int
    people: int
    entries: int
    ingest_per_s: int
    seal_ms: float
    small_delivery_p99_ms: float
    small_delivery_p99_ms_while_sealing: float
    posted_per_s: int
    pgbench_tps: float | None
    ratio: float | None
    clear_s: float
    final_s: float
    year_p50_ms: float
    year_p99_ms: float
    audit_s: float
    audit_holds: bool


def measure_ledger(
    folder: Path, *, records: int, people: int, years: int, database_url: str | None, tell: Tell
) -> LedgerFigure:
    """Take records of people, close their window, and ask.

    Args:
        years: how many statements of a year are asked for. database_url: an empty PostgreSQL database; else SQLite.
        tell: hears what is done next.

    Raises:
        UsageProblem: pgbench is not installed.
    """
    settings = Settings(database_url=database_url or f"sqlite:///{folder}/hub.db", keys_dir=folder / "keys")
    opened = open_hub(settings)
    now = opened.clock()
    prepare(opened.engine, now)
    try:
        tps = None if database_url is None else _pgbench(database_url, tell)
        platform = join_platform(opened, now)
        tell(f"{people:,} people")
        settle(opened, PLATFORM, BEHAVIOURS, people, now)
        return _close_one(opened, platform, records, people, years, now, tps, tell)
    finally:
        opened.engine.dispose()


def _close_one(
    hub: Hub, platform: Platform, records: int, people: int, years: int, now: datetime, tps: float | None, tell: Tell
) -> LedgerFigure:
    begun, taken = perf_counter(), 0
    while taken < records:
        tell(f"records: {taken:,} of {records:,} taken")
        rows = min(ROWS, records - taken)
        take_delivery(hub, platform, delivery_of(taken, rows, people, now), now=now)
        taken += rows
    ingest_s = perf_counter() - begun
    alone = _small_deliveries(hub, platform, people, now, seals=False, first=10**9)
    begun = perf_counter()
    window = seal_window(hub, now=now).window_id
    seal_s = perf_counter() - begun
    beside = _small_deliveries(hub, platform, people, now, seals=True, first=2 * 10**9)
    tell("clearing")
    begun = perf_counter()
    while clear_sealed(hub, now=now) is not None:
        pass
    clear_s = perf_counter() - begun
    begun = perf_counter()
    reconcile_window(hub, window, now=now)
    finalise_window(hub, window, now=now, waive_challenge=True)
    final_s = perf_counter() - begun
    tell("statements")
    asked = [_year_ms(hub, place, now) for place in _some_people(hub, years)]
    tell("audit")
    begun = perf_counter()
    report = audit(hub)
    audit_s = perf_counter() - begun
    entries = _count(hub, "journal_entry")
    tell("posting")
    per_s = round(_post(hub, min(entries, MOST_POSTED), window, now))
    return LedgerFigure(
        database=hub.engine.dialect.name, records=records, people=people, entries=entries,
        ingest_per_s=round(records / ingest_s), seal_ms=round(seal_s * 1000, 1),
        small_delivery_p99_ms=alone, small_delivery_p99_ms_while_sealing=beside, posted_per_s=per_s, pgbench_tps=tps,
        ratio=None if tps is None else round(per_s / tps, 1), clear_s=round(clear_s, 1), final_s=round(final_s, 1),
        year_p50_ms=_at(asked, 50), year_p99_ms=_at(asked, 99), audit_s=round(audit_s, 1),
        # What people without receipts would show: the copies of the model have none.
        audit_holds={check.id for check in report.checks if not check.ok} <= {"decisions_have_receipts", "changes_have_leaves"},
    )  # fmt: skip


def _post(hub: Hub, entries: int, window_id: int, now: datetime) -> float:
    """Return the entries per second that are posted durably: issues of invented events, a transaction for each GROUP.

    What they are about does not exist; nothing is asked of this database afterwards.
    """
    people, seconds = _some_people(hub, GROUP), 0.0
    for first in range(0, entries, GROUP):
        count = min(GROUP, entries - first)
        events = pl.DataFrame(
            {"event_id": range(INVENTED + first, INVENTED + first + count), "subject_id": people[:count]}
        ).with_columns(
            start_at=pl.lit(now, pl.Datetime("us", "UTC")), mg=pl.lit(45_720, pl.Int64), platform=pl.lit(PLATFORM)
        )
        begun = perf_counter()
        with writing(hub.engine) as session:
            append_entries(session, *postings.issue(events, window_id), now)
        seconds += perf_counter() - begun
    return entries / seconds


def _small_deliveries(hub: Hub, platform: Platform, people: int, now: datetime, *, seals: bool, first: int) -> float:
    """Return the p99 in milliseconds of a hundred deliveries of one row, with a window sealed before every tenth."""
    times = []
    for place in range(100):
        delivery = delivery_of(first + place, 1, people, now)
        begun = perf_counter()
        if seals and place % 10 == 0:
            seal_window(hub, now=now)
            begun = perf_counter()
        take_delivery(hub, platform, delivery, now=now)
        times.append((perf_counter() - begun) * 1000)
    return _at(times, 99)


def _some_people(hub: Hub, count: int) -> list[int]:
    with reading(hub.engine) as session:
        everybody = session.execute(text("SELECT DISTINCT subject_id FROM account WHERE kind = 'held'")).scalars().all()
    return random.Random(1).choices(sorted(everybody), k=count)  # noqa: S311 - a sample, not a secret


def _year_ms(hub: Hub, subject_id: int, now: datetime) -> float:
    begun = perf_counter()
    with reading(hub.engine) as session:
        load_year(session, subject_id, now.year)
    return (perf_counter() - begun) * 1000


def _at(times: list[float], percent: int) -> float:
    return round(quantiles(times, n=100, method="inclusive")[percent - 1], 1)


def _count(hub: Hub, table: str) -> int:
    with reading(hub.engine) as session:
        return int(session.execute(text(f"SELECT COUNT(*) FROM {table}")).scalar_one())


def _pgbench(database_url: str, tell: Tell) -> float:
    """Return the rate of PostgreSQL's own simple-update transactions on the server of this database."""
    program = which("pgbench") or next(map(str, sorted(Path("/usr/lib/postgresql").glob("*/bin/pgbench"))), None)
    if program is None:
        raise UsageProblem("pgbench is not installed; it comes with PostgreSQL's server or contrib package")
    url = make_url(database_url)
    known = {"host": url.host or url.query.get("host"), "port": url.port, "username": url.username}
    words = [word for name, value in known.items() if value for word in (f"--{name}", str(value))]
    environment = os.environ | ({"PGPASSWORD": str(url.password)} if url.password else {})

    def run(*more: str) -> str:
        done = subprocess.run(
            [program, *more, *words, str(url.database)], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    tell("pgbench")
    run("--initialize", "--quiet", "--scale", str(PGBENCH_SCALE))
    told = run(
        "--skip-some-updates", "--protocol", "prepared", "--client", str(PGBENCH_CLIENTS), "--jobs", "2", "--time",
        str(PGBENCH_S),
    )  # fmt: skip
    found = _TPS.search(told)
    if found is None:
        raise UsageProblem("pgbench said no rate")
    return float(found.group(1))
