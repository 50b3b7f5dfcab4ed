"""Every feed of every platform of the sandbox passes every case that applies to it.

The first feed of each connector is tried with everything; the others of the same connector, whose code is the same, with what
depends on the feed: what they say of themselves, that they are read whole, and what becomes of their rows.
"""

import pytest

from connectors.base import Transport
from connectors.registry import KINDS
from hub.conformance.cases import Case
from hub.conformance.catalogue import CASES
from hub.conformance.report import Verdict
from hub.conformance.rig import Rig
from hub.conformance.stage import Stage
from hub.conformance.suite import check_feed
from hub.conformance.targets import Bench, bench_of_kind, every_bench, stand_ins
from hub.sandbox.specs import SPECS

BENCHES = [*every_bench(SPECS), *stand_ins()]
FIRST = {bench.feed.connector: bench_of_kind(SPECS, bench.feed.connector)[0] for bench in BENCHES}
OF_THE_FEED = ("CON-", "SET-", "LIFE-", "PUSH-0", "PUSH-1", "PULL-0", "PULL-1", "FILE-0")
SHARDS = 3


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
    assert transports >= {Transport.PUSH, Transport.DEVICE, Transport.PULL, Transport.FILE}
