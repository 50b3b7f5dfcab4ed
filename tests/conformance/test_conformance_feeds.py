"""Every feed of every platform of the sandbox passes every case that applies to it.

The first feed of each connector is tried with everything; the others of the same connector, whose code is the same, with what
depends on the feed: what they say of themselves, that they are read whole, and what becomes of their rows.
"""

from pathlib import Path
from typing import Any

import pytest

from connectors.base import Transport
from connectors.registry import KINDS
from hub.conformance.cases import Case, Group
from hub.conformance.catalogue import CASES
from hub.conformance.report import Verdict
from hub.conformance.rig import Rig
from hub.conformance.stage import Stage
from hub.conformance.suite import check_feed
from hub.conformance.targets import Bench, bench_of_kind, every_bench, stand_ins
from hub.conformance.world import SEED
from hub.sandbox.config import secrets_for
from hub.sandbox.platforms.spec import Place
from hub.sandbox.specs import SPECS

BENCHES = [*every_bench(SPECS), *stand_ins()]
FIRST = {bench.feed.connector: bench_of_kind(SPECS, bench.feed.connector)[0] for bench in BENCHES}
OF_THE_FEED = ("CON-", "SET-", "LIFE-", "PUSH-0", "PUSH-1", "PULL-0", "PULL-1", "FILE-0")
SHARDS = 3
OWN_GROUP = {
    Transport.PUSH: Group.PUSH, Transport.DEVICE: Group.DEVICE, Transport.PULL: Group.PULL, Transport.FILE: Group.FILE,
    Transport.UPLOAD: Group.UPLOAD,
}  # fmt: skip


def settings_of(bench: Bench) -> tuple[dict[str, Any], dict[str, Any]]:
    agreed = secrets_for(bench.spec, SEED)
    place = Place(platform=bench.spec.id, origin="http://127.0.0.1:9", drop_dir=Path("drop"), agreed=agreed)
    return bench.feed.config(place), bench.feed.secrets(agreed)


def cases_for(bench: Bench, shard: int) -> list[Case[Rig]]:
    whole = FIRST[bench.feed.connector] == bench
    wanted = [case for case in CASES if whole or case.id.startswith(OF_THE_FEED)]
    return wanted[shard::SHARDS]


@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize(
    "bench", BENCHES, ids=lambda bench: f"{bench.spec.id}/{bench.feed.stream}/{bench.feed.connector}"
)
def test_a_feed_of_the_sandbox_conforms(stage: Stage, bench: Bench, shard: int) -> None:
    results = check_feed(stage, bench.spec, bench.feed, cases=cases_for(bench, shard))
    assert [(one.id, one.detail) for one in results if one.verdict is Verdict.FAILED] == []
    assert any(one.verdict is Verdict.PASSED for one in results)


def test_there_is_a_feed_of_every_transport_that_the_suite_has_cases_for() -> None:
    transports = {KINDS[bench.feed.connector].transport for bench in BENCHES}
    assert transports == set(Transport)


def test_every_connector_is_tried_by_the_suite() -> None:
    """As a feed of the town, or as a stand-in where nobody in the town speaks its format."""
    assert {bench.feed.connector for bench in BENCHES} == set(KINDS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_connector_has_cases_of_its_own_transport(kind: str) -> None:
    """A transport of which no case knew would pass with nothing but what every connector says of itself."""
    (bench,) = bench_of_kind(SPECS, kind)
    described = KINDS[kind].build(*settings_of(bench)).describe()
    of_the_transport = {case.group for case in CASES if case.applies(described)} - {Group.CONTRACT, Group.LIFE}
    assert {OWN_GROUP[KINDS[kind].transport]} <= of_the_transport


def test_a_stand_in_is_no_platform_of_the_town() -> None:
    spoken = {bench.feed.connector for bench in every_bench(SPECS)}
    assert not spoken & {bench.feed.connector for bench in stand_ins()}
