"""A hub whose keys change, in tests: a person with records, and that all of it can still be read."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import text
from tests_support.deliveries import BEIJING, KUAIDIAN, act, delivery, join
from tests_support.people import link_person

from consent.keyring import load_keyring
from consent.link_access import open_access
from consent.links import load_links
from hub.audit import audit, format_report
from hub.context import Hub
from hub.db import make_engine, reading
from hub.log.sequencer import Sequencer
from hub.log_signing import log_signer
from hub.participants import load_document, load_participants, open_platform
from hub.pipeline import clear_dirty, take_delivery
from hub.records.quarantine import load_waiting

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


def nothing() -> None:
    """No other process is there to wait for."""


def another_process(hub: Hub) -> Hub:
    """A hub with its own ring and connections, as another process has it."""
    return replace(hub, engine=make_engine(hub.settings.database_url), ring=load_keyring(hub.settings.keys_dir))


def ride(number: int, account: str = "bj-1", **changes: Any) -> dict[str, Any]:
    begin = f"2026-11-{number % 18 + 1:02d}T{6 + number // 18:02d}"
    return act(str(number), account, beginTime=f"{begin}:00:00+08:00", endTime=f"{begin}:12:00+08:00", **changes)


def rows(hub: Hub, sql: str, **values: Any) -> list[tuple[Any, ...]]:
    with reading(hub.engine) as session:
        return [tuple(row) for row in session.execute(text(sql), values)]


def live(hub: Hub) -> int:
    """A person with a link, records, a row that waits for a mapping, and two platforms."""
    beijing = join(hub, BEIJING)
    join(hub, KUAIDIAN)
    li = link_person(hub, "li", {"beijing-green-life": "bj-1"}, set(BEIJING["behaviours"]), NOW)
    unknown = act("99", scene="UNICYCLE")
    take_delivery(hub, beijing, delivery("d1", ride(1), ride(2), unknown, ride(3, "nobody")), now=NOW)
    clear_dirty(hub, now=NOW)
    return li.subject_id


def require_readable(hub: Hub, subject_id: int) -> None:
    with reading(hub.engine) as session:
        for row in load_participants(session):
            assert load_document(row, hub.ring).id == row.participant_id
        (link,) = load_links(session, subject_id=subject_id)
        assert open_access(session, hub.ring, link).account == "bj-1"
        beijing = open_platform(session, hub.ring, "beijing-green-life")
        waiting = load_waiting(session, hub.ring, beijing, beijing.feeds[0], after=0, limit=9, tried_too=True)
    assert b"UNICYCLE" in waiting.rows[0]


def sequence(hub: Hub) -> None:
    Sequencer(hub.engine, log_signer(hub), hub.settings.keys_dir / "log-head").run_until_current(hub.clock())


def require_sound(hub: Hub) -> None:
    report = audit(hub)
    assert report.holds, format_report(report)


def open_beijing(hub: Hub) -> Any:
    with reading(hub.engine) as session:
        return open_platform(session, hub.ring, "beijing-green-life")
