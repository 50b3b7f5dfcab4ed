"""No door of staff or regulators and no command about people lacks the leaf of its access."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import typer
from fastapi.routing import APIRoute
from sqlalchemy import text
from starlette.routing import Router
from tests_support.regulating import lively, regulator
from tests_support.staff import staff_visitor
from tests_support.web import app_of

from hub.cli import app
from hub.context import Hub
from hub.db import reading
from hub.staff.rights import Role, What

# Before anybody is known: these pages show a form, and what is done with it is written down by the one who signs in.
BEFORE_ANYBODY = {"/staff/signin", "/staff/signin/options", "/staff/enrol", "/staff/enrol/options", "/staff/signout"}
FILLED = {"participant": "beijing-green-life", "window_id": "1", "record_id": "1", "index": "0"}
BODY = b'{"message_id": "d1"}\n'

# Every other command and why it leaves no leaf of access: it shows nothing of people, or what it does has its own leaf.
NOTHING_OF_PEOPLE = {
    "files": "works on files and shows no database",
    "figures": "totals, configuration or keys of the hub; nothing of one person",
    "runs": "runs the hub; each change has its leaf",
    "proofs": "gives digests and commitments",
    "by": "names the member of staff who acts, whose action is recorded with its leaf",
    "own": "changes something that has a leaf of its own, and shows nobody's data",
}
REASONS = {
    "files": "clear receipts/verify attest/verify connectors/list mappings/list mappings/test profiles/list profiles/show "
    "profiles/validate standards/show standards/explain standards/compare standards/points standards/export "
    "standards/validate policy/list policy/show policy/validate policy/compare",
    "figures": "audit market/blocks market/show market/export participants/list participants/show participants/jwks "
    "participants/webhook-secret programmes/list programmes/show programmes/people-count totals/show staff/list "
    "standards/simulate policy/simulate policy/history sync/status window/list window/report disputes/figures log/key "
    "log/status log/report log/verify log/export keys/list",
    "proofs": "log/prove log/bundle/record log/bundle/decision log/bundle/leaf log/bundle/window witness/init witness/trust "
    "witness/key witness/serve witness/status",
    "runs": "migrate serve worker demo connectors/check window/seal window/reconcile window/finalize log/sign "
    "log/adopt-head log/reindex",
    "by": "holds/release holds/reject adjust/reverse adjust/correct adjust/claw-back adjust/reattribute adjust/draw "
    "breaks/propose breaks/sign disputes/show disputes/open disputes/evidence disputes/acknowledge disputes/ask "
    "disputes/review disputes/decide disputes/withdraw staff/add staff/enrol staff/disable",
    "own": "reservations/expire debts/pay market/pool market/freeze market/pending market/retire market/release "
    "market/income participants/add participants/suspend participants/reinstate clients/register programmes/add "
    "programmes/close totals/update standards/restate policy/adopt quarantine/replay quarantine/discard sync/now "
    "sync/backfill keys/rotate keys/retire",
}
LEFT_OUT = {name: why for why, names in REASONS.items() for name in names.split()}


@dataclass(frozen=True)
class Door:
    """One address of staff or regulators."""

    method: str
    path: str

    @property
    def filled(self) -> str:
        path = self.path
        for name, value in FILLED.items():
            path = path.replace("{" + name + "}", value)
        assert "{" not in path, f"say in FILLED how to fill in {path}"
        return path


def doors(hub: Hub, prefix: str) -> list[Door]:
    """Every address below a prefix, those of included routers too."""
    outer = app_of(hub).routes
    routes = [inner for one in outer for inner in getattr(one, "original_router", Router([one])).routes]
    found = [route for route in routes if isinstance(route, APIRoute) and route.path.startswith(prefix)]
    return [Door(method, route.path) for route in found for method in sorted(route.methods)]


def logged(hub: Hub) -> int:
    with reading(hub.engine) as session:
        sql = "SELECT COUNT(*) FROM log_entry WHERE kind = 'access.made'"
        return int(session.execute(text(sql)).scalar_one())


def test_every_door_of_regulators_logs_who_came_whatever_comes_of_it(hub: Hub):
    lively(hub)
    machine = regulator(hub)
    found = doors(hub, "/v1/regulator")
    assert len(found) >= 4
    for door in found:
        before = logged(hub)
        answer = machine.call(door.method, door.filled, content=BODY if door.method == "POST" else None)
        assert answer.status_code < 500, (door, answer.text)
        assert logged(hub) > before, f"{door} leaves no leaf of its access"


@pytest.mark.parametrize("role", [Role.REGULATOR, Role.OPERATOR])
def test_every_page_of_staff_logs_who_came_or_was_turned_away(hub: Hub, role: Role):
    lively(hub)
    browser = staff_visitor(hub, role, name="zhou")
    found = [door for door in doors(hub, "/staff") if door.path not in BEFORE_ANYBODY]
    assert len(found) >= 4
    for door in found:
        before = logged(hub)
        step = browser.see(door.filled) if door.method == "GET" else browser.send(door.filled)
        assert step.status < 500, door
        assert logged(hub) > before, f"{door} leaves no leaf of its access"


def commands(group: typer.Typer, *before: str) -> Iterator[tuple[str, bool]]:
    """Yield each command's words and whether it writes its access down."""
    for one in group.registered_commands:
        assert one.callback is not None
        name = one.name or one.callback.__name__.replace("_", "-")
        yield "/".join([*before, name]), hasattr(one.callback, "leaves_a_trace")
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from commands(inner.typer_instance, *before, str(inner.name))


def test_every_command_logs_its_access_or_says_why_it_shows_nothing_of_people():
    found = {name: traced for name, traced in commands(app) if not name.startswith("bench/")}
    traced = {name for name, is_traced in found.items() if is_traced}
    assert {"people/export", "people/erase", "holds/show", "explain", "log/search"} <= traced
    assert {name for name in found if name not in traced} - LEFT_OUT.keys() == set(), "say what these commands show"
    assert LEFT_OUT.keys() - found.keys() == set(), "there are no such commands"
    assert LEFT_OUT.keys() & traced == set()
    assert set(REASONS) == set(NOTHING_OF_PEOPLE)


def test_every_act_of_staff_has_a_name_for_people_to_read():
    from hub.staff.pages import RIGHT_NAMES, WHAT_NAMES
    from hub.staff.rights import PURPOSES, Right

    assert set(WHAT_NAMES) == set(What)
    assert set(RIGHT_NAMES) == set(PURPOSES) == set(Right)
