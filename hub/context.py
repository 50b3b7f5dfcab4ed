"""What every edge of the hub needs at hand, opened once per process. I/O: opens the database and the key ring."""

from dataclasses import dataclass

from sqlalchemy import Engine

from consent.keyring import KeyRing, load_keyring
from hub.clock import Clock, system_clock
from hub.db import make_engine
from hub.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Hub:
    """Settings, database, keys and clock of one running hub."""

    settings: Settings
    engine: Engine
    ring: KeyRing
    clock: Clock


def open_hub(settings: Settings | None = None, *, clock: Clock = system_clock) -> Hub:
    """Open the database and load (or first create) the keys that the settings name."""
    settings = settings or Settings()
    ring = load_keyring(settings.keys_dir)
    return Hub(settings=settings, engine=make_engine(settings.database_url), ring=ring, clock=clock)
