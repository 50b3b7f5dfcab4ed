"""A check that has never failed is not a check: hostile connectors are red, by name, for what they do."""

import pytest
from tests_support.hostile_connectors import build_hostile

from hub.conformance.report import Report, Result, Verdict
from hub.conformance.stage import Stage
from hub.conformance.suite import check_feed
from hub.conformance.targets import bench_of_kind
from hub.sandbox.specs import SPECS

# What each of them must be caught at: the case, and a word of the sentence that says why.
PUSH = {
    "CON-03": "title", "CON-05": "official", "CON-07": "role", "CON-09": "final", "SET-01": "unknown",
    "SET-02": "secret", "SET-06": "secret", "PUSH-01": "secret", "PUSH-03": "secret",
}  # fmt: skip


def failed(stage: Stage, kind: str) -> dict[str, Result]:
    bench = bench_of_kind(SPECS, kind)[0]
    results = check_feed(stage, bench.spec, bench.feed, builder=build_hostile, limit_s=10.0)
    return {one.id: one for one in results if one.verdict is Verdict.FAILED}
