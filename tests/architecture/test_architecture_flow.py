"""The flow table says what the code does, and the rules that it names are pure."""

import tomllib
from functools import cache
from importlib import import_module
from pathlib import Path

import grimp
import pytest
from sqlmodel import SQLModel

from consent.terms import Purpose
from hub.pipeline import FLOW, Step

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("hub", "connectors", "consent", "standards", "mappings")
CONTRACT = "Rules compute, edges do I/O"
EDGES = ("sqlalchemy", "sqlmodel", "httpx", "fastapi", "hub.db", "hub.clock")
IN_MEMORY = ("translated row",)
by_step = pytest.mark.parametrize("step", FLOW, ids=lambda step: step.name)


@cache
def load_graph() -> grimp.ImportGraph:
    return grimp.build_graph(*PACKAGES, include_external_packages=True, cache_dir=None)


@cache
def load_contract() -> dict[str, list[str]]:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    found = [contract for contract in contracts if contract["name"] == CONTRACT]
    assert len(found) == 1, f"pyproject.toml has no import contract named {CONTRACT!r}"
    return found[0]


def edges_behind(module: str) -> list[str]:
    """Return the shortest ways from a module to an edge, by way of whatever it imports."""
    graph = load_graph()
    chains = [graph.find_shortest_chain(importer=module, imported=edge) for edge in EDGES if edge in graph.modules]
    return [" -> ".join(chain) for chain in chains if chain]


@by_step
def test_the_rules_of_a_step_are_a_module(step: Step) -> None:
    assert import_module(step.rules).__doc__


@by_step
def test_the_rules_of_a_step_reach_no_database_network_or_clock(step: Step) -> None:
    assert step.rules in load_graph().modules, f"{step.rules}: its folder has no __init__.py, so no contract sees it"
    assert edges_behind(step.rules) == []


def test_a_module_that_reaches_the_database_is_noticed() -> None:
    assert edges_behind("hub.ledger.store")
    assert edges_behind("hub.pipeline")


@by_step
def test_the_rules_of_a_step_are_named_in_the_contract(step: Step) -> None:
    sources = load_contract()["source_modules"]
    assert any(step.rules == source or step.rules.startswith(f"{source}.") for source in sources)


def test_the_contract_forbids_every_edge() -> None:
    assert set(EDGES) <= set(load_contract()["forbidden_modules"])


@by_step
def test_what_a_step_writes_is_a_table(step: Step) -> None:
    for name in ("consent.tables", "hub.records.tables", "hub.clearing.tables", "hub.ledger.tables", "hub.log.tables"):
        import_module(name)
    assert step.writes in SQLModel.metadata.tables or step.writes in IN_MEMORY


def test_each_step_reads_what_a_step_before_it_wrote() -> None:
    known = {"delivery"}
    for step in FLOW:
        assert step.reads in known or step.reads == "every step"
        known.add(step.writes)


def test_every_step_that_touches_records_of_persons_names_its_purpose() -> None:
    assert [step.purpose for step in FLOW] == [Purpose.COLLECT] * 3 + [Purpose.CLEAR, Purpose.CREDIT, None]
    assert [step.name for step in FLOW if step.purpose is None] == ["log"]
