"""What machines that watch the hub see: alive, ready, figures."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import link_person
from tests_support.web import Caller, count

from hub.context import Hub
from hub.db import make_engine, writing
from hub.migrate import prepare
from hub.pipeline import take_delivery

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)


@pytest.fixture
def empty(hub: Hub, tmp_path: Path) -> Hub:
    """A hub whose database nobody has migrated."""
    return replace(hub, engine=make_engine(f"sqlite:///{tmp_path}/empty.db"))


def figures(hub: Hub) -> dict[str, float]:
    answer = Caller(hub).get("/metrics")
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/plain")
    families = list(text_string_to_metric_families(answer.text))
    assert all(family.documentation for family in families)
    return {sample.name: sample.value for family in families for sample in family.samples}


def test_a_migrated_hub_is_alive_and_ready(hub: Hub):
    caller = Caller(hub)
    assert (caller.get("/healthz").status_code, caller.get("/readyz").status_code) == (200, 200)
    assert caller.get("/readyz").json() == {"status": "ready", "log": "current"}


def test_before_the_migration_the_hub_is_alive_and_not_ready(empty: Hub):
    caller = Caller(empty)
    assert caller.get("/healthz").status_code == 200
    answer = caller.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (503, "not ready")
    assert "tanlian migrate" in answer.json()["reason"]
    assert caller.get("/metrics").status_code == 503
    prepare(empty.engine, NOW)
    assert caller.get("/readyz").status_code == 200


def test_a_database_of_another_revision_is_not_ready(hub: Hub):
    with writing(hub.engine) as session:
        session.execute(text("UPDATE alembic_version SET version_num = 'another'"))
    assert Caller(hub).get("/readyz").status_code == 503


def test_a_database_that_is_away_is_not_ready(hub: Hub):
    away = replace(hub, engine=make_engine("postgresql://nobody@127.0.0.1:1/none?connect_timeout=1"))
    caller = Caller(away)
    assert [caller.get(path).status_code for path in ("/healthz", "/readyz", "/metrics")] == [200, 503, 503]


def test_the_figures_follow_what_is_stored(hub: Hub):
    before = figures(hub)
    assert before["tanlian_source_records"] == before["tanlian_open_links"] == before["tanlian_log_waiting"] == 0
    platform = join(hub, BEIJING)
    link_person(hub, "li", {"beijing-green-life": "bj-1"}, set(BEIJING["behaviours"]), NOW)
    take_delivery(hub, platform, delivery("d1", act("1"), act("2", "nobody")), now=NOW)
    leaves = count(hub, "change_leaf")["change_leaf"]
    assert figures(hub) == {
        "tanlian_source_records": 1, "tanlian_quarantined_rows": 1, "tanlian_dirty_subjects": 1, "tanlian_open_links": 1,
        "tanlian_open_disputes": 0, "tanlian_log_waiting": leaves, "tanlian_log_lag_seconds": 0, "tanlian_log_state": 0,
        "tanlian_log_alarm_after_seconds": hub.settings.log_alarm_after.total_seconds(),
        "tanlian_log_stop_after_seconds": hub.settings.log_stop_after.total_seconds(),
        "tanlian_window_seal_lag_seconds": 0,
    }  # fmt: skip


def test_no_figure_names_a_person_or_a_platform(hub: Hub):
    join(hub, BEIJING)
    answer = Caller(hub).get("/metrics")
    assert "beijing" not in answer.text


def test_the_api_describes_itself(hub: Hub):
    document = Caller(hub).get("/openapi.json").json()
    assert {"/healthz", "/readyz", "/metrics", "/v1/statements/{window}", "/in/{participant}"} <= set(document["paths"])
    assert not any(path.startswith(("/links", "/signin")) for path in document["paths"])


def test_an_address_that_is_not_there_is_a_problem_for_machines_and_a_page_for_people(hub: Hub):
    caller = Caller(hub)
    machine, person = caller.get("/nowhere"), caller.get("/nowhere", headers={"accept": "text/html,*/*"})
    assert (machine.status_code, machine.json()["type"]) == (404, "urn:tanlian:problem:not_found")
    assert (person.status_code, person.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "That did not work" in person.text


def test_a_mistake_of_the_hub_is_a_problem_that_tells_nothing_of_it(empty: Hub):
    answer = Caller(empty).get("/signin")
    assert (answer.status_code, answer.json()["type"]) == (500, "urn:tanlian:problem:error")
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert answer.headers["cache-control"] == "no-store"
    assert not any(word in answer.text for word in ("sqlite", "SELECT", "INSERT", "web_session", "Traceback"))
