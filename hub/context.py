"""What every edge of the hub needs at hand, opened once per process. I/O: opens the database and the key ring."""

from dataclasses import dataclass

from sqlalchemy import Engine

from consent.keyring import KeyRing, load_keyring
from hub.clock import Clock, system_clock
from hub.db import make_engine
from hub.errors import UsageProblem
from hub.log.head_file import HeadFile
from hub.log.watch import Bounds, LogWatch, watch_log
from hub.settings import Settings
from mappings import MappingError, use_mappings_from
from standards.check import check_standards
from standards.datafile import DataError


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """Settings, database, keys and clock of one running hub."""

    settings: Settings
    engine: Engine
    ring: KeyRing
    clock: Clock


def find_mappings(settings: Settings) -> None:
    """Let this process know the operator's own mappings too; raises UsageProblem."""
    try:
        use_mappings_from(settings.mappings_dir)
    except MappingError as cause:
        raise UsageProblem(f"TANLIAN_MAPPINGS_DIR: {cause}") from cause


def check_data(settings: Settings) -> None:
    """See that figures, methodologies and rules are sound before anything is valued; raises UsageProblem."""
    try:
        check_standards(settings.methodology)
    except DataError as cause:
        raise UsageProblem(f"standards: {cause}") from cause


def open_hub(settings: Settings | None = None, *, clock: Clock = system_clock) -> Hub:
    """Open the database, load (or first create) the keys and find the mappings that the settings name.

    Raises:
        UsageProblem: the directory of mappings cannot be used.
    """
    settings = settings or Settings()
    find_mappings(settings)
    ring = load_keyring(settings.keys_dir)
    engine = make_engine(settings.database_url)
    watch_log(engine, make_watch(settings))
    return Hub(settings=settings, engine=engine, ring=ring, clock=clock)


def make_watch(settings: Settings, *, look_again_s: float = 1.0) -> LogWatch:
    """Return what looks after the log's lag, as the settings bound it."""
    bounds = Bounds(alarm_after=settings.log_alarm_after, stop_after=settings.log_stop_after)
    return LogWatch(HeadFile(settings.log_head_file), bounds, look_again_s=look_again_s)
