"""Bank statements, odometers and the file of one event: what the town drops is what their connectors hand on."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import polars as pl
import pytest

from connectors.base import Cursor, Fetcher, Page, SetAside
from connectors.registry import build
from hub.sandbox.config import participants
from hub.sandbox.outings import EV_DRIVE, NO_DRIVE
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.profile_drop import DropVoice
from hub.sandbox.platforms.site import Platform, Site
from hub.sandbox.registers import BAIC, CITIC, OLYMPICS, vin_of
from hub.sandbox.reports import Note, Oracle, Reports
from hub.sandbox.server import make_platform
from mappings import load_mapping, translate

SEED = 7
FEEDS = [(BAIC, "", "odometer"), (CITIC, "statements", "statements"), (OLYMPICS, "", "acts")]
MakeSite = Callable[..., Site]
by_feed = pytest.mark.parametrize(("platform", "stream", "named"), FEEDS, ids=[feed[0] for feed in FEEDS])


@by_feed
def test_every_row_is_read_as_it_was_meant(reports: Reports, platform: str, stream: str, named: str) -> None:
    rows = reports.told_by(platform, stream=stream)
    translation = translate(
        load_mapping(f"{platform}.{named}.v1"), pl.Series([row.body for row in rows]), token_key=b"k" * 32,
        now=datetime(2026, 11, 21, tzinfo=UTC),
    )  # fmt: skip
    refused = dict(translation.quarantined.select("row", "reason").rows())
    assert refused == {place: row.trouble for place, row in enumerate(rows) if row.trouble is not None}
    assert len(set(refused.values())) >= 2
    for record in translation.records.iter_rows(named=True):
        meant = rows[record["row"]]
        assert (record["account"], record["source_id"]) == (meant.account, meant.source_id)
        assert (record["claimed_mg"], record["cancelled"]) == (None, meant.note is Note.CANCELLATION)


@pytest.fixture
def documents(drop_dir: Path) -> dict[str, dict[str, Any]]:
    return {one["id"]: one for one in participants(8100, drop_dir, "http://127.0.0.1:1", SEED)}


def fetcher_of(document: dict[str, Any], named: str) -> Fetcher:
    feed = next(feed for feed in (document, *document["more_feeds"]) if feed["stream"] == named)
    return cast(Fetcher, build(feed["connector"], feed["connector_config"], feed["secrets"]))


def voice_of(platform: Platform, stream: str) -> DropVoice:
    return cast(DropVoice, next(voice for voice in platform.voices if voice.stream == stream))


def fetched(fetcher: Fetcher, cursor: Cursor | None = None) -> list[Page]:
    return list(fetcher.fetch(None, cursor, now=datetime.now(UTC)))


@by_feed
def test_what_is_dropped_is_what_is_handed_on(
    make_site: MakeSite,
    documents: dict[str, dict[str, Any]],
    drop_dir: Path,
    reports: Reports,
    platform: str,
    stream: str,
    named: str,
) -> None:
    made = make_platform(make_site(platform, drop_dir=drop_dir / platform))
    fetcher, cursor, voice = fetcher_of(documents[platform], named), None, voice_of(made, stream)
    for part in (1, 2, 3, 4):
        tally = asyncio.run(voice.deliver(part))
        pages = fetched(fetcher, cursor)
        cursor = pages[-1].cursor if pages else cursor
        told = [json.loads(row.body) for row in reports.told_by(platform, part, stream)]
        handed = [json.loads(row) for page in pages for row in page.delivery.rows]
        assert sorted(map(str, handed)) == sorted(map(str, told))
        assert sum(len(page.delivery.unreadable) for page in pages) == 0
        assert tally.rows == len(told)
        assert bool(told) is (platform != OLYMPICS or part == 4)
        said = made.book.statement(part)["deliveries"]
        assert [(one["delivery_id"], one["rows"]) for one in said] == [
            (page.delivery.delivery_id, len(page.delivery.rows)) for page in pages
        ]


@by_feed
@pytest.mark.parametrize(
    ("fault", "reason"), [(Fault.WRONG_SIGNATURE, "manifest_signature"), (Fault.TAMPERED, "file_digest")]
)
def test_a_spoilt_drop_is_set_aside(
    make_site: MakeSite,
    documents: dict[str, dict[str, Any]],
    drop_dir: Path,
    platform: str,
    stream: str,
    named: str,
    fault: Fault,
    reason: str,
) -> None:
    made = make_platform(make_site(platform, drop_dir=drop_dir / platform))
    made.faults.arm(fault)
    voice = voice_of(made, stream)
    asyncio.run(voice.deliver(4 if platform == OLYMPICS else 1))
    with pytest.raises(SetAside, match=reason):
        fetched(fetcher_of(documents[platform], named))


def test_declared_days_are_told_and_driven_ones_found_out(reports: Reports) -> None:
    rows = reports.told_by(BAIC, stream="")
    by_id = {act.act_id: act for act in reports.town.acts}
    assert {by_id[row.act_id].behaviour for row in rows if row.act_id is not None} == {NO_DRIVE}
    driven = [row for row in rows if row.trouble == "no_reduction"]
    assert driven
    for row in driven:
        days = {f"{act.start_at:%Y-%m-%d}" for act in reports.town.acts_of(reports.town.people[row.person - 1])
                if act.behaviour == EV_DRIVE}  # fmt: skip
        assert json.loads(row.body)["date"] in days
    assert all(row.lines[0].startswith(vin_of(row.person)) and vin_of(row.person) not in row.body for row in rows)


def test_statements_tell_payments_that_the_bank_s_other_feeds_do_not(reports: Reports) -> None:
    told = Counter(
        (row.act_id, row.stream) for row in Oracle(reports).live_rows if row.platform == CITIC and row.act_id
    )
    streams: dict[int, set[str]] = {}
    for act_id, stream in told:
        streams.setdefault(act_id, set()).add(stream)
    assert any(names == {"statements"} for names in streams.values())
    assert not any("statements" in names and len(names) > 1 for names in streams.values())


def test_statements_leave_names_and_amounts_in_the_bank(
    make_site: MakeSite, documents: dict[str, dict[str, Any]], drop_dir: Path
) -> None:
    made = make_platform(make_site(CITIC, drop_dir=drop_dir / CITIC))
    asyncio.run(voice_of(made, "statements").deliver(1))
    (file,) = drop_dir.rglob("statements.xml")
    assert "账户持有人".encode() in file.read_bytes()
    handed = b"".join(row for page in fetched(fetcher_of(documents[CITIC], "statements")) for row in page.delivery.rows)
    assert handed
    assert not any(word.encode() in handed for word in ("账户持有人", "某商户", "36.50", "CNY"))
