"""The benchmarks measure what they say, on real servers and stores; how fast is not a matter for a test."""

import json
from pathlib import Path

import pytest
from tests_support.postgres import find_binaries

from hub.bench.guard import measure_guard
from hub.bench.http_load import Load, format_request
from hub.bench.ledger import measure_ledger
from hub.bench.token import measure_tokens
from hub.commands.bench import FLOWS


@pytest.mark.parametrize("flow", FLOWS)
def test_every_token_request_of_a_load_is_authentic_and_answered(tmp_path: Path, flow: str) -> None:
    figure = measure_tokens(
        tmp_path, flow=flow, requests=12, rounds=1, connections=4, peer=None, database_url=None
    )  # fmt: skip
    assert figure.ours["statuses"] == {200: 12}
    assert figure.hello["statuses"] == {200: 12}
    assert figure.ratio_to_hello == pytest.approx(figure.ours["rate_per_s"] / figure.hello["rate_per_s"], abs=0.01)
    assert (figure.peer, figure.ratio) == (None, None)


def test_the_guard_is_measured_on_the_pipeline_itself(tmp_path: Path) -> None:
    figure = measure_guard(tmp_path, rows=40, people=30, deliveries=2)
    assert figure.guard_ms > 0
    assert figure.rest_ms > figure.guard_ms
    assert figure.ratio == pytest.approx(figure.guard_ms / figure.rest_ms, abs=0.01)


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"] if find_binaries() else ["sqlite"])
def test_a_closed_window_is_measured_from_delivery_to_audit(
    tmp_path: Path, kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hub.bench.ledger.PGBENCH_S", 1)
    monkeypatch.setattr("hub.bench.ledger.PGBENCH_SCALE", 1)
    url = None if kind == "sqlite" else request.getfixturevalue("cluster").create_database()
    told: list[str] = []
    figure = measure_ledger(tmp_path, records=1000, people=20, years=100, database_url=url, tell=told.append)
    assert (figure.database, figure.records, figure.audit_holds) == (kind, 1000, True)
    assert 20 < figure.entries <= 1220
    assert min(figure.posted_per_s, figure.ingest_per_s, figure.seal_ms, figure.year_p99_ms, figure.audit_s) > 0
    assert told[-1] == "posting"
    if url is None:
        assert (figure.pgbench_tps, figure.ratio) == (None, None)
    else:
        assert figure.ratio == pytest.approx(figure.posted_per_s / (figure.pgbench_tps or 0), abs=0.1)


def test_a_load_with_a_single_refusal_is_not_good() -> None:
    assert Load(requests=2, rate_per_s=1, p50_ms=1, p99_ms=1, statuses={200: 2}).good
    assert not Load(requests=2, rate_per_s=1, p50_ms=1, p99_ms=1, statuses={200: 1, 503: 1}).good


def test_a_request_is_written_whole() -> None:
    written = format_request("http://127.0.0.1:8000/oauth/token", headers={"dpop": "x"}, body=b"a=1")
    head, _, body = written.partition(b"\r\n\r\n")
    assert head.splitlines() == [
        b"POST /oauth/token HTTP/1.1", b"host: 127.0.0.1:8000", b"content-length: 3", b"dpop: x",
    ]  # fmt: skip
    assert body == b"a=1"
    assert json.dumps(written.decode())
