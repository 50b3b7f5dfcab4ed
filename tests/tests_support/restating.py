"""A second version of the methodology that halves every amount, and a hub with acts to restate."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pytest
from tests_support.web import look_up

from consent.grants import amend_grant, require_grant
from consent.terms import Purpose
from hub.changes import log_consent_change
from hub.context import Hub
from hub.db import reading, writing
from hub.ledger.store import load_balances
from hub.pipeline import clear_sealed, finalise_window, seal_window
from hub.records.restate import restate
from hub.records.restatement import Restated, Restatement, add_up
from hub.sync.statements import reconcile_window
from standards.methodology import CURRENT_METHODOLOGY, Methodology, load_methodology
from standards.quantify import quantify

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
OLD, NEW = CURRENT_METHODOLOGY, "hub-2027.1"
BIKE_2_KM_MG = 67_760
TABLES = (
    "source_record", "reduction_record", "batch", "decision", "event", "event_reversal", "journal_entry", "posting",
    "clearing_window", "dirty_subject", "log_leaf", "change_leaf", "quarantined", "account",
)  # fmt: skip


def install_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make NEW a version that this installation has."""

    def load(version: str = OLD) -> Methodology:
        return _halves() if version == NEW else load_methodology(version)

    def value(records: pl.DataFrame, methodology: Methodology) -> pl.DataFrame:
        valued = quantify(records, methodology)
        return valued if methodology.version != NEW else valued.with_columns(pl.col("reference_mg") // 2)

    for module in ("hub.records.restate", "hub.audit.records", "hub.records.collect"):
        monkeypatch.setattr(f"{module}.load_methodology", load)
    for module in ("hub.records.restatement", "hub.audit.records", "hub.records.collect"):
        monkeypatch.setattr(f"{module}.quantify", value)


def _halves(known: list[Methodology] = []) -> Methodology:  # noqa: B006 - one object for all, as the loader's
    if not known:
        known.append(replace(load_methodology(OLD), version=NEW))
    return known[0]


def decision(**limits: Any) -> Restatement:
    return Restatement(**({"old": OLD, "new": NEW, "why": "the factor was twice too high"} | limits))


def run(hub: Hub, wanted: Restatement | None = None, *, step: Any = restate, limit: int = 500) -> Restated:
    parts, last = [], 0
    while (done := step(hub, wanted or decision(), after=last, limit=limit, now=NOW)) is not None:
        parts.append(done.restated)
        last = done.last
    return add_up(parts)


def clear_window(hub: Hub) -> int:
    sealed = seal_window(hub, now=NOW)
    assert clear_sealed(hub, now=NOW) == sealed.window_id
    return sealed.window_id


def close_window(hub: Hub) -> int:
    """Seal, clear and finalise; returns the window's id."""
    window_id = clear_window(hub)
    reconcile_window(hub, window_id, now=NOW)
    finalise_window(hub, window_id, now=NOW, waive_challenge=True)
    return window_id


def balances(hub: Hub, subject_id: int) -> dict[str, int]:
    with reading(hub.engine) as session:
        return load_balances(session, subject_id)


def everything(hub: Hub, *tables: str) -> dict[str, list[tuple[Any, ...]]]:
    return {name: sorted(look_up(hub, f"SELECT * FROM {name}"), key=repr) for name in tables or TABLES}


def moved(done: Restated) -> list[tuple[Any, ...]]:
    return done.moved.rows()


def allow_only(hub: Hub, subject_id: int, grant_id: str, *purposes: Purpose) -> None:
    with writing(hub.engine) as session:
        grant = require_grant(session, grant_id=grant_id, subject_id=subject_id)
        terms = replace(grant.terms, purposes=frozenset(purposes))
        _, change = amend_grant(session, grant_id=grant_id, subject_id=subject_id, terms=terms, now=NOW)
        log_consent_change(session, change, NOW, hub=hub)
