"""A participant's own endpoint: read and judged, and nothing of it is stored."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import link_person
from tests_support.town import document_of, inhabitant, link_inhabitant, served_platform, token_for
from tests_support.web import count

from hub.conformance.endpoint import Endpoint
from hub.conformance.report import Verdict
from hub.conformance.suite import check_endpoint
from hub.context import Hub
from hub.db import reading
from hub.participants import open_platform
from hub.pipeline import take_delivery
from hub.sandbox.people import CITIC
from hub.sandbox.platforms.citic import CiticCarbon

TABLES = ("batch", "source_record", "quarantined", "sync_state")


@pytest.fixture
def bank(hub: Hub) -> Iterator[tuple[Hub, CiticCarbon]]:
    """A bank on the loopback whose first part is there to be read; somebody has linked an account."""
    with served_platform(CiticCarbon, CITIC, hub) as (simulated, origin):
        join(hub, document_of(CITIC, origin=origin, connector_config={"limit": 10}, more_feeds=[]))
        tokens = token_for(hub, CITIC, inhabitant(1).accounts[CITIC])
        link_inhabitant(hub, CITIC, inhabitant(1), tokens)
        simulated.delivered_part = 4
        yield hub, simulated


def verdicts(hub: Hub, platform: str) -> dict[str, tuple[Verdict, str]]:
    with reading(hub.engine) as session:
        opened = open_platform(session, hub.ring, platform)
    endpoint = Endpoint(hub=hub, platform=opened, feed=opened.feeds[0])
    before = count(hub, *TABLES)
    found = {one.id: (one.verdict, one.detail) for one in check_endpoint(endpoint)}
    assert count(hub, *TABLES) == before
    return found


def test_a_sound_endpoint_passes_everything_that_can_be_asked_of_it(bank: tuple[Hub, CiticCarbon]) -> None:
    found = verdicts(bank[0], CITIC)
    assert {name: told for name, told in found.items() if told[0] is Verdict.FAILED} == {}
    assert {name for name, told in found.items() if told[0] is Verdict.PASSED} >= {
        "LIVE-01", "LIVE-02", "LIVE-03", "LIVE-04", "LIVE-05", "LIVE-06", "LIVE-07", "LIVE-08", "LIVE-09", "LIVE-10", "LIVE-11",
    }  # fmt: skip


def spoil(simulated: CiticCarbon, change: Callable[[dict[str, object]], None]) -> None:
    def edited(row):  # type: ignore[no-untyped-def]
        try:
            document = json.loads(row.body)
        except ValueError:
            return row
        change(document)
        return replace(row, body=json.dumps(document))

    feeds = simulated._feeds
    simulated._feeds = {account: [(place, edited(row)) for place, row in feed] for account, feed in feeds.items()}


def test_fields_that_nobody_decided_about_are_listed(bank: tuple[Hub, CiticCarbon]) -> None:
    spoil(bank[1], lambda row: row.update(bloodGroup="A", address={"street": "x"}))
    verdict, detail = verdicts(bank[0], CITIC)["LIVE-09"]
    assert verdict is Verdict.FAILED
    assert "bloodGroup" in detail
    assert "address.street" in detail


def test_rows_that_nobody_could_translate_are_told_with_their_reasons(bank: tuple[Hub, CiticCarbon]) -> None:
    spoil(bank[1], lambda row: row.update(type="NOT-A-TYPE"))
    verdict, detail = verdicts(bank[0], CITIC)["LIVE-08"]
    assert (verdict, "100%" in detail) == (Verdict.FAILED, True)


def test_without_a_link_nothing_is_read(hub: Hub) -> None:
    with served_platform(CiticCarbon, CITIC, hub) as (_, origin):
        join(hub, document_of(CITIC, origin=origin, more_feeds=[]))
        assert "Nobody's account is linked" in verdicts(hub, CITIC)["LIVE-03"][1]


def test_a_platform_that_pushes_is_judged_by_what_it_has_delivered(hub: Hub) -> None:
    platform = join(hub, BEIJING)
    assert verdicts(hub, "beijing-green-life")["LIVE-20"] == (Verdict.NOT_APPLICABLE, "It has delivered nothing yet.")
    link_person(hub, "li", {"beijing-green-life": "bj-1"}, set(BEIJING["behaviours"]), hub.clock())
    good = [act(f"{n}") for n in range(10)]
    take_delivery(hub, platform, delivery("m1", *good), now=hub.clock())
    assert verdicts(hub, "beijing-green-life")["LIVE-20"][0] is Verdict.PASSED
    strangers = [act(f"s{n}", account="bj-2") for n in range(40)]
    bad = [act(f"b{n}", scene="NOT-A-SCENE") for n in range(10)]
    other = act("1", carbonReduction="900.00")
    take_delivery(hub, platform, delivery("m2", *strangers, *bad, other), now=hub.clock())
    found = verdicts(hub, "beijing-green-life")
    assert {name for name, told in found.items() if told[0] is Verdict.FAILED} == {
        "LIVE-20",
        "LIVE-21",
        "LIVE-23",
        "LIVE-24",
    }
    assert "unknown" in found["LIVE-20"][1]
