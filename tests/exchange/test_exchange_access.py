"""Who may look and who may not; every look leaves a leaf that names nobody, or there is no look."""

import json
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import select, text
from tests_support.regulating import CITY, NOW, SEARCH, accesses, leaves, problem, regulator, sign
from tests_support.staff import staff_visitor
from tests_support.terminal import Terminal
from tests_support.tokens import Machine, metadata
from tests_support.web import Caller, count

from consent.people import load_subject_id
from consent.vault import ErasedError, load_vault
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import Conflict, NotFound, UsageProblem
from hub.exchange.tables import TerminalAccess
from hub.log.commitments import commitment
from hub.log.watch import LogLagging
from hub.rights.erase import erase_person
from hub.staff.accounts import add_staff, disable_staff
from hub.staff.actions import digest_of
from hub.staff.machines import bind_client
from hub.staff.rights import RIGHTS, Refusal, Right, Role
from hub.staff.tables import StaffAction
from standards.canonical import canonical_bytes

DOORS = (SEARCH, f"{SEARCH}/export", "/v1/regulator/metrics")


def test_only_a_regulator_s_own_software_gets_in(town: Hub, gu: Machine):
    caller = Caller(town)
    machines = {
        "no token": None,
        "another scope": Machine(town, CITY, "records:write"),
        "the scope, and nobody's software": Machine(town, None, "regulator"),
        "the scope, and a platform's software": Machine(town, CITY, "regulator"),
    }
    before = count(town, "staff_action", "log_leaf")
    for name, machine in machines.items():
        for door in DOORS:
            answer = caller.get(door) if machine is None else machine.get(door)
            assert problem(answer)[0] == (401 if machine is None else 403), (name, door)
        posted = {"method": "POST", "path": f"{SEARCH}/pairs/{CITY}", "content": b'{"message_id": "d1"}\n'}
        answer = caller.call(**posted) if machine is None else machine.call(**posted)
        assert problem(answer)[0] == (401 if machine is None else 403), name
    assert count(town, "staff_action", "log_leaf") == before
    assert [gu.get(door).status_code for door in DOORS] == [200, 200, 200]


def test_software_ends_with_its_member_and_cannot_be_anybody_else_s(town: Hub, gu: Machine):
    assert gu.get(SEARCH).status_code == 200
    with writing(town.engine) as session:
        disable_staff(session, "gu", now=NOW)
        add_staff(session, name="chen", role=Role.OPERATOR, now=NOW)
    assert problem(gu.get(SEARCH)) == (403, "forbidden")
    other = Machine(town, None, "regulator")
    for name, wrong in (("chen", UsageProblem), ("gu", Conflict), ("nobody", NotFound)):
        with pytest.raises(wrong), writing(town.engine) as session:
            bind_client(session, other.client_id, name, now=NOW)
    assert problem(other.get(SEARCH)) == (403, "forbidden")


def test_a_search_leaves_who_what_why_and_when_and_no_name(town: Hub, gu: Machine):
    before = len(accesses(town))
    gu.get(SEARCH, params={"participant": CITY})
    gu.get(SEARCH, params={"participant": CITY})
    first, second = accesses(town)[before:]
    with reading(town.engine) as session:
        row = session.scalars(select(StaffAction).where(StaffAction.what == "staff.log_searched")).first()  # type: ignore[arg-type]
        assert row is not None
        digests = {digest_of(one).hex() for one in session.scalars(select(StaffAction))}
    number = sha256(f"staff_id:{row.staff_id}".encode()).hexdigest()[:16]
    expected = {
        "what": "staff.log_searched", "right": "staff.see_log", "role": "staff.regulator", "by": number,
        "purpose": "supervision", "outcome": "granted", "in_case": False, "kind": "access.made", "v": "tanlian/1",
        "at": "2026-11-20T08:00:00Z",
    }  # fmt: skip
    for leaf in (first, second):
        assert {name: value for name, value in leaf.items() if name != "digest"} == expected
        assert leaf["digest"] in digests
    # Salted: the same question by the same member is another commitment.
    assert first["digest"] != second["digest"]
    assert "gu" not in {str(value) for value in first.values()}
    assert json.loads(row.ids) == {"object": sha256(canonical_bytes({"participant": CITY})).hexdigest()}


def test_without_the_leaf_nothing_is_shown(town: Hub, gu: Machine, monkeypatch: pytest.MonkeyPatch):
    def fails(*_: Any, **__: Any) -> None:
        raise LogLagging("the log is behind")

    gu.get(SEARCH)
    before = count(town, "staff_action", "log_leaf")
    monkeypatch.setattr("hub.staff.actions.log_change", fails)
    for door in DOORS:
        answer = gu.get(door)
        assert problem(answer) == (503, "log_behind"), door
        assert "entries" not in answer.text
        assert CITY not in answer.text
    pairs = gu.call("POST", f"{SEARCH}/pairs/{CITY}", content=b'{"message_id": "d1"}\n')
    assert problem(pairs) == (503, "log_behind")
    assert count(town, "staff_action", "log_leaf") == before


def test_what_a_role_may_not_is_refused_and_the_refusal_is_logged(
    town: Hub, gu: Machine, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(RIGHTS, Role.REGULATOR, frozenset({Right.SEE_OWN}))
    before = len(accesses(town))
    assert problem(gu.get(SEARCH)) == (403, "forbidden")
    (leaf,) = accesses(town)[before:]
    assert (leaf["what"], leaf["outcome"], leaf["right"]) == ("staff.refused", "refused", "staff.see_log")
    with reading(town.engine) as session:
        ids = session.execute(text("SELECT ids FROM staff_action WHERE what = 'staff.refused'")).scalar_one()
    assert json.loads(ids) == {"refusal": str(Refusal.NO_RIGHT)}


@pytest.mark.parametrize("role", [Role.REGULATOR, Role.OPERATOR, Role.PLATFORM])
def test_the_pages_are_for_regulators_and_operators(town: Hub, role: Role):
    browser = staff_visitor(town, role, name="zhou")
    may = role is not Role.PLATFORM
    before = len(accesses(town))
    for path in ("/staff/log?kind=batch.received", "/staff/exchange"):
        step = browser.see(path)
        assert step.status == (200 if may else 403), path
        assert ("beijing-green-life" in step.text) == may
    wrong = browser.see("/staff/log?kind=everything&participant=%27")
    assert (wrong.status, "batch.received, " in wrong.text or "participant:" in wrong.text) == (
        200 if may else 403,
        may,
    )
    told = accesses(town)[before:]
    assert [leaf["outcome"] for leaf in told] == ["granted" if may else "refused"] * 3
    assert ("/staff/log" in browser.see("/staff").text) == may


def test_a_command_about_a_person_is_logged_before_it_runs_and_can_be_shown_to_be_about_them(
    town: Hub, tanlian: Terminal
):
    hub = town
    assert tanlian("people", "statement", "li", "--year", "2026").code == 0
    (leaf,) = [one for one in accesses(hub) if one["what"] == "staff.people_statement"]
    assert (leaf["by"], leaf["role"], leaf["purpose"]) == ("terminal", "staff.operator", "persons_request")
    with reading(hub.engine) as session:
        row = session.scalars(select(TerminalAccess)).one()
        subject_id = load_subject_id(session, "li")
        assert subject_id is not None
        assert row.salt is None
        assert row.salt_sealed is not None
        vault = load_vault(session, hub.ring, [subject_id])
        place = {"row_id": row.access_id, "subject_id": subject_id, "blob": row.salt_sealed}
        salt = vault.open("terminal_access", "salt_sealed", **place)
    assert commitment(salt, "asked", canonical_bytes({"name": "li", "year": "2026"})).hex() == leaf["digest"]
    erase_person(hub, subject_id, now=NOW)
    with reading(hub.engine) as session:
        gone = load_vault(session, hub.ring, [subject_id])
        with pytest.raises(ErasedError):
            gone.open("terminal_access", "salt_sealed", **place)


def test_a_command_that_names_nobody_keeps_its_salt_and_a_name_of_nobody_keeps_none(town: Hub, tanlian: Terminal):
    assert tanlian("holds", "list").code == 0
    assert "no person" in tanlian("people", "statement", "nobody", "--year", "2026").complaint
    with reading(town.engine) as session:
        rows = {row.what: row for row in session.scalars(select(TerminalAccess))}
    assert rows["staff.holds_list"].salt is not None
    assert rows["staff.holds_list"].salt_sealed is None
    assert rows["staff.people_statement"].salt is rows["staff.people_statement"].salt_sealed is None


def test_a_command_whose_leaf_cannot_be_written_does_not_run(
    town: Hub, tanlian: Terminal, monkeypatch: pytest.MonkeyPatch
):
    def fails(*_: Any, **__: Any) -> None:
        raise LogLagging("the log is behind")

    monkeypatch.setattr("hub.commands.access.log_change", fails)
    before = count(town, "terminal_access", "log_leaf")
    for words in (("people", "statement", "li", "--year", "2026"), ("log", "search"), ("quarantine", "list")):
        ran = tanlian(*words)
        assert (ran.complaint, ran.out) == ("the log is behind", ""), words
    assert count(town, "terminal_access", "log_leaf") == before


def test_a_client_is_registered_for_a_regulator_at_the_terminal(town: Hub, tanlian: Terminal):
    assert tanlian("staff", "add", "gu", "--role", "regulator", "--jurisdiction", "CN").code == 0
    file = tanlian.write("client.json", metadata("regulator"))
    assert "--regulator" in tanlian("clients", "register", file).complaint
    assert "not for both" in tanlian("clients", "register", file, "--regulator", "gu", "--participant", CITY).complaint
    other = tanlian.write("other.json", metadata("records:write"))
    assert "--regulator" in tanlian("clients", "register", other, "--regulator", "gu").complaint
    before = count(town, "oauth_client", "staff_client")
    told = tanlian("clients", "register", file, "--regulator", "gu")
    assert (told.code, told.json["scope"]) == (0, "regulator")
    assert before == {"oauth_client": 0, "staff_client": 0}
    assert count(town, "oauth_client", "staff_client") == {"oauth_client": 1, "staff_client": 1}
    sign(replace(town, clock=lambda: datetime.now(tz=NOW.tzinfo)))
    assert "client.changed" in {leaf["kind"] for leaf in leaves(town)}


def test_two_regulators_have_numbers_of_their_own(town: Hub, gu: Machine):
    other = regulator(town, "zhou")
    gu.get(SEARCH)
    other.get(SEARCH)
    numbers = {leaf["by"] for leaf in accesses(town) if leaf["what"] == "staff.log_searched"}
    assert len(numbers) == 2
