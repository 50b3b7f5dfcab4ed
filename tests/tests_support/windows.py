"""Windows that are sealed, cleared and made final, for tests of what comes after."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text

from hub.context import Hub
from hub.db import reading
from hub.pipeline import clear_sealed, finalise_window, seal_window
from hub.sync.statements import reconcile_window

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


def clear_window(hub: Hub, now: datetime = NOW) -> int:
    """Seal and clear; returns the window's id."""
    sealed = seal_window(hub, now=now)
    assert clear_sealed(hub, now=now) == sealed.window_id
    return sealed.window_id


def close_window(hub: Hub, now: datetime = NOW) -> int:
    """Seal, clear and finalise; returns the window's id."""
    window_id = clear_window(hub, now)
    reconcile_window(hub, window_id, now=now)
    finalise_window(hub, window_id, now=now, waive_challenge=True)
    return window_id


def rows(hub: Hub, sql: str, **values: Any) -> list[tuple[Any, ...]]:
    """The rows of a SELECT."""
    with reading(hub.engine) as session:
        return [tuple(row) for row in session.execute(text(sql), values)]
