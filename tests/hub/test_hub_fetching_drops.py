"""Fetching signed file drops: in order, each once, and none that is not as it was signed."""

import json
from base64 import b64decode
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from tests_support.deliveries import join
from tests_support.fetching import NOW, STORES, Clock, state_of, stored
from tests_support.town import (
    SEED,
    document_of,
    inhabitant,
    link_inhabitant,
    site_of,
)  # fmt: skip
from tests_support.web import count, look_up

from connectors.clients.drop_writer import write_drop
from consent.seal import place
from hub.context import Hub
from hub.db import writing
from hub.sandbox.config import secrets_of
from hub.sandbox.people import SHENZHEN
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.shenzhen import ShenzhenTransit
from hub.sandbox.platforms.site import Front
from hub.sync.cursors import ensure_state
from hub.sync.fetching import PAUSED, fetch_next


@pytest.fixture
def city(ticking: Hub, tmp_path: Path) -> ShenzhenTransit:
    (tmp_path / "drop").mkdir()
    join(ticking, document_of(SHENZHEN, drop=tmp_path / "drop"))
    link_inhabitant(ticking, SHENZHEN, inhabitant(1))
    with writing(ticking.engine) as session:
        ensure_state(session, SHENZHEN, "", NOW)
    return ShenzhenTransit(Front(site_of(SHENZHEN, ticking, drop_dir=tmp_path / "drop" / SHENZHEN)))


def drop(city: ShenzhenTransit, part: int) -> None:
    city._write(part, city.site.rows(part))  # what `deliver` does, without its thread


def read_when_due(hub: Hub, clock: Clock) -> str | None:
    clock.now = max(clock.now, state_of(hub).due_at)
    assert fetch_next(hub, "w1")
    return state_of(hub).last_error


def test_drops_are_read_in_order_each_once(ticking: Hub, clock: Clock, city: ShenzhenTransit):
    assert read_when_due(ticking, clock) is None  # nothing is there yet
    grown = [stored(ticking)]
    for part in (1, 2, 3):
        drop(city, part)
        assert read_when_due(ticking, clock) is None
        grown.append(stored(ticking))
    assert grown[0] == 0
    assert grown == sorted(set(grown))
    before = count(ticking, *STORES)
    assert read_when_due(ticking, clock) is None
    assert count(ticking, *STORES) == before
    refused = look_up(
        ticking, "SELECT COUNT(*) FROM quarantined WHERE reason = 'unknown_account' AND payload IS NOT NULL"
    )
    assert refused == [(0,)]


@pytest.mark.parametrize("fault", [Fault.TAMPERED, Fault.WRONG_SIGNATURE, Fault.SKIPPED_SEQUENCE])
def test_a_drop_that_was_changed_wrongly_signed_or_skipped_waits_for_an_operator(
    ticking: Hub, clock: Clock, city: ShenzhenTransit, fault: Fault
):
    drop(city, 1)
    assert read_when_due(ticking, clock) is None
    before = count(ticking, *STORES)
    city.faults.arm(fault)
    drop(city, 2)
    told = read_when_due(ticking, clock)
    assert told
    assert state_of(ticking).due_at == clock.now + PAUSED
    assert count(ticking, *STORES) == before
    for folder in (city.site.drop_dir / "000002", city.site.drop_dir / "000003"):  # the platform mends it
        for file in folder.glob("*") if folder.exists() else ():
            file.unlink()
        if folder.exists():
            (folder / ".ok").unlink(missing_ok=True)
            folder.rmdir()
    drop(city, 2)
    assert read_when_due(ticking, clock) is None
    assert stored(ticking) > before["source_record"]


def tap(card: str, at: str, kind: str) -> dict[str, str]:
    return {
        "deal_date": at, "close_date": "2026-10-05 00:00:00", "card_no": card, "deal_value": "380", "deal_type": kind,
        "company_name": "地铁五号线", "car_no": "OGT-101", "station": "长龙" if "入" in kind else "大学城",
        "conn_mark": "0", "deal_money": "380", "equ_no": "263031101",
    }  # fmt: skip


def test_an_entry_waits_sealed_in_the_cursor_for_its_exit_in_the_next_drop(
    ticking: Hub, clock: Clock, city: ShenzhenTransit
):
    card, key = inhabitant(1).accounts[SHENZHEN], secrets_of(SEED)[SHENZHEN]["signing_key"]
    signing = Ed25519PrivateKey.from_private_bytes(b64decode(key))
    previous = None
    taps = [tap(card, "2026-10-05 23:50:00", "地铁入站")], [tap(card, "2026-10-06 00:20:00", "地铁出站")]
    for sequence, records in enumerate(taps, start=1):
        data = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records).encode()
        files = {"cards.jsonl": (data, len(records))}
        previous = write_drop(
            city.site.drop_dir / str(sequence), files, platform=SHENZHEN, stream="trips", sequence=sequence, previous=previous,
            created_at=NOW - timedelta(days=9 - sequence), key=signing,
        )  # fmt: skip
        assert read_when_due(ticking, clock) is None
        raw = state_of(ticking).cursor
        assert raw is not None
        assert card.encode() not in raw
        opened = ticking.ring.open(raw, place("sync_state", "cursor", f"{SHENZHEN}/", None))
        assert (card.encode() in opened) == (sequence == 1)  # so that there was something to hide
        assert stored(ticking) == sequence - 1
    assert look_up(ticking, "SELECT behaviour, end_us - start_us FROM reduction_record") == [
        ("MOB-METRO", 30 * 60 * 1_000_000)
    ]


def test_a_drop_s_page_is_one_transaction_and_a_run_goes_on_where_the_last_one_ended(
    ticking: Hub, clock: Clock, tmp_path: Path
):
    document = document_of(SHENZHEN, drop=tmp_path / "drop", connector_config={"page_rows": 3})
    join(ticking, document)
    link_inhabitant(ticking, SHENZHEN, inhabitant(1))
    with writing(ticking.engine) as session:
        ensure_state(session, SHENZHEN, "", NOW)
    drop(ShenzhenTransit(Front(site_of(SHENZHEN, ticking, drop_dir=tmp_path / "drop" / SHENZHEN))), 1)
    one_page = replace(ticking, settings=ticking.settings.model_copy(update={"max_pages_per_fetch": 1}))
    rows = [0]
    for _ in range(200):
        read_when_due(one_page, clock)
        rows.append(look_up(ticking, "SELECT COALESCE(SUM(rows), 0) FROM batch")[0][0])
        if rows[-1] == rows[-2]:
            break
    assert len(rows) > 5
    assert all(after - before <= 3 for before, after in pairwise(rows))
    assert sum(count(ticking, "source_record", "quarantined").values()) == rows[-1]
