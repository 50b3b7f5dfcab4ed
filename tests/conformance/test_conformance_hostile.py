"""A check that has never failed is not a check: each vice is caught, by the cases that are there for it."""

from datetime import UTC, datetime
from typing import NamedTuple

import pytest
from tests_support.hostile_connectors import (
    Believer,
    Boaster,
    Circler,
    Disguise,
    Gullible,
    Hurrier,
    Opener,
    Picker,
    Runner,
    Talker,
    building,
)

from hub.conformance.catalogue import CASES
from hub.conformance.report import Report, Verdict
from hub.conformance.stage import Stage
from hub.conformance.suite import check_feed
from hub.conformance.targets import bench_of_kind
from hub.sandbox.specs import SPECS


class Caught(NamedTuple):
    """A vice, where it hides, and by case what must be said of it."""

    vice: type[Disguise]
    kind: str
    by: dict[str, str]


CAUGHT = [
    Caught(Boaster, "signed_push", {
        "CON-03": "calls itself", "CON-04": "does not have", "CON-05": "official", "CON-07": "role", "CON-08": "lateness",
        "CON-09": "final", "CON-10": "twice", "CON-12": "stream",
    }),
    Caught(Believer, "signed_push", {
        "CON-17": "another delivery", "PUSH-03": "another delivery", "PUSH-04": "when", "PUSH-10": "for ever",
        "PUSH-20": "receive() raised", "PUSH-25": "twice", "PUSH-26": "twice", "PUSH-27": "under the name",
        "PUSH-28": "wrong_signature", "PUSH-29": "tampered", "PUSH-32": "another id", "PUSH-34": "GET",
        "PUSH-40": "JSONDecodeError", "PUSH-42": "UnicodeDecodeError", "PUSH-43": "TypeError", "PUSH-45": "RecursionError",
        "PUSH-47": "brings rows", "PUSH-48": "brings rows", "PUSH-49": "ValueError", "PUSH-68": "UnicodeEncodeError",
    }),
    Caught(Talker, "signed_push", {"SET-06": "repr", "PUSH-08": "personal", "PUSH-28": "the log", "LIFE-01": "personal"}),
    Caught(Picker, "signed_push", {
        "PUSH-01": "did not arrive", "PUSH-02": "did not post", "PUSH-60": "lost", "PUSH-61": "lost", "PUSH-64": "lost",
    }),
    Caught(Runner, "cursor_pull", {
        "ASK-01": "code", "ASK-05": "address", "PULL-01": "the log", "PULL-17": "one delivery id", "PULL-25": "code",
        "PULL-34": "code", "PULL-36": "JSONDecodeError", "PULL-42": "TypeError", "PULL-44": "KeyError",
        "PULL-50": "raised", "PULL-53": "RemoteProtocolError", "PULL-61": "ReadTimeout", "PULL-63": "did not end",
        "LIFE-01": "stand",
    }),
    Caught(Circler, "cursor_pull", {"ASK-01": "not come to an end", "PULL-25": "not come to an end"}),
    Caught(Hurrier, "cursor_pull", {
        "ASK-01": "no error", "PULL-04": "lost", "PULL-05": "lost", "PULL-69": "",
    }),
    Caught(Opener, "file_drop", {
        "FILE-03": "until it is whole", "FILE-20": "changed file", "FILE-26": "changed signature",
        "FILE-28": "signature of nobody", "FILE-31": "missing", "FILE-34": "link", "FILE-60": "another platform",
        "FILE-64": "follow", "FILE-66": "future", "FILE-69": "too many",
    }),
    Caught(Gullible, "bill_csv", {
        "PUSH-14": "names a person", "PUSH-34": "GET", "UPL-01": "whose the file is",
        "UPL-02": "decides about its rows", "UPL-03": "first-hand", "UPL-10": "other rows", "UPL-11": "other rows",
        "UPL-20": "cut", "UPL-21": "was there", "UPL-30": "as if it were taken", "UPL-33": "as if it were taken",
        "UPL-36": "as if it were taken",
    }),
]  # fmt: skip


@pytest.mark.parametrize("caught", CAUGHT, ids=lambda caught: caught.vice.__name__)
def test_a_hostile_connector_is_caught(stage: Stage, caught: Caught) -> None:
    bench = bench_of_kind(SPECS, caught.kind)[0]
    cases = [case for case in CASES if case.id in caught.by]
    results = check_feed(stage, bench.spec, bench.feed, cases=cases, builder=building(caught.vice), limit_s=3.0)
    told = {one.id: one.detail for one in results if one.verdict is Verdict.FAILED}
    assert {case: word in told.get(case, "(passed)") for case, word in caught.by.items()} == dict.fromkeys(
        caught.by, True
    ), told


@pytest.mark.parametrize("kind", ["signed_push", "cursor_pull", "file_drop", "bill_csv"])
def test_what_catches_them_lets_the_real_one_pass(stage: Stage, kind: str) -> None:
    bench = bench_of_kind(SPECS, kind)[0]
    wanted = {case for caught in CAUGHT if caught.kind == kind for case in caught.by}
    results = check_feed(stage, bench.spec, bench.feed, cases=[case for case in CASES if case.id in wanted])
    assert {one.id: one.detail for one in results if one.verdict is not Verdict.PASSED} == {}


def test_a_connector_that_cannot_be_built_is_one_failure(stage: Stage) -> None:
    def build(*_: object) -> None:
        raise RuntimeError("no such thing")

    bench = bench_of_kind(SPECS, "signed_push")[0]
    results = check_feed(stage, bench.spec, bench.feed, builder=build)  # type: ignore[arg-type]
    assert [(one.id, one.verdict) for one in results] == [("CON-00", Verdict.FAILED)]
    report = Report(name="x", checked_at=datetime(2026, 11, 20, tzinfo=UTC), results=tuple(results))
    assert (report.ok, report.score) == (False, "0/1")
