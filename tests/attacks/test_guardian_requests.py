"""Attacks on the guardian's yes to a client: forged, replayed, widened, late, by the wrong one, twice at once."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from tests_support.family import BIKE, BORN, FOOD, NOW, PAGE, Family, address, told
from tests_support.portal import Step, Visitor, sign_up
from tests_support.tokens import Machine
from tests_support.web import count, look_up

from consent.people import add_person
from hub.audit import audit
from hub.context import Hub
from hub.db import writing

ACTIVE = "SELECT COUNT(*) FROM grant_version WHERE state = 'active'"


@pytest.fixture
def family(hub: Hub) -> Family:
    return Family.sign_up(hub)


def is_refused(family: Family, child: Visitor, names: dict[str, str] | None = None, **asked: object) -> bool:
    """The child says yes by itself: no code, no grant; a page says why."""
    before = look_up(family.hub, ACTIVE)
    step = child.send(PAGE, **(names or family.push(**asked)), decision="approve")
    return (step.status, step.goes_to) == (403, None) and look_up(family.hub, ACTIVE) == before


def test_a_child_approves_by_posting_the_forms_itself(family: Family) -> None:
    child = family.browser("child")
    names = family.push()
    assert is_refused(family, child, names)
    family.ask(child)
    assert is_refused(family, child, names)
    (request,) = look_up(family.hub, "SELECT request_id FROM guardian_request")[0]
    path = f"/care/requests/{request}"
    for step in (child.see(path), child.send(path, decision="approve"), child.send(f"{path}/withdraw")):
        assert step.status == 404
    assert look_up(family.hub, "SELECT answer FROM guardian_request") == [(None,)]


def test_somebody_else_and_another_guardian_see_and_decide_nothing(family: Family) -> None:
    child, guardian = family.browser("child"), family.browser("parent")
    family.ask(child)
    (question,) = family.waiting(guardian)
    sign_up(family.hub, "other")
    with writing(family.hub.engine) as session:
        add_person(
            session, family.hub.ring, username="theirs", password=None, display_name="t", now=NOW, born=BORN,
            guardian="other",
        )  # fmt: skip
    other = family.browser("other")
    assert family.waiting(other) == []
    for step in (other.see(question), other.send(question, decision="approve"), other.send(f"{question}/withdraw")):
        assert step.status == 404
    for csrf in ("", "forged", other.csrf):
        assert guardian.send(question, decision="approve", csrf=csrf).status == 403
    evil = {"origin": "https://evil.example"}
    assert guardian.send(question, decision="approve", headers=evil).status == 403
    assert str(Visitor(family.hub).see(question).goes_to).startswith("/signin")
    guardian.send(question, decision="approve")
    given = family.shop.redeem(told(child.send(PAGE, **family.push(), decision="approve"))["code"]).document
    assert other.send(f"/care/grants/{given['grant_id']}/withdraw").status == 404
    assert look_up(family.hub, "SELECT state FROM grant_current") == [("active",)]


def test_a_yes_is_worth_nothing_the_second_time(family: Family) -> None:
    child, guardian = family.browser("child"), family.browser("parent")
    family.allowed(child, guardian)
    names = family.push()
    assert "code" in told(child.send(PAGE, **names, decision="approve"))
    assert child.send(PAGE, **names, decision="approve").status == 400, "the request itself is over"
    assert is_refused(family, child)
    assert "Ask my guardian" in child.see(address(family.push())).text, "the guardian is asked anew"


@pytest.mark.parametrize(
    "asked",
    [
        {"authorization_details": [{**FOOD, "behaviours": ["FOOD-CLEANPLATE", "MOB-BIKE"]}]},
        {"authorization_details": [FOOD, BIKE]},
        {"authorization_details": [{**FOOD, "purpose": "other"}]},
        {"authorization_details": [{**FOOD, "until": "2026-12-01"}]},
        {"authorization_details": [{"type": FOOD["type"], "actions": ["read"]}]},
        {"authorization_details": [{**FOOD, "actions": ["read", "use"]}], "scope": "account:read grams:use"},
    ],
)
def test_a_yes_is_to_these_very_details_neither_wider_nor_narrower(family: Family, asked: dict[str, object]) -> None:
    child, guardian = family.browser("child"), family.browser("parent")
    family.allowed(child, guardian)
    assert is_refused(family, child, **asked)
    family.ask(child, **asked)
    assert is_refused(family, child, **asked)
    assert len(family.waiting(guardian)) == 1
    assert "code" in told(child.send(PAGE, **family.push(), decision="approve")), "what was allowed still is"


def test_a_yes_to_one_client_is_none_to_another(family: Family) -> None:
    family.allowed(family.browser("child"), family.browser("parent"))
    family.shop = Machine.recipient(family.hub)
    assert is_refused(family, family.browser("child"))


def test_what_is_asked_is_not_changed_under_the_guardian_s_eyes(family: Family) -> None:
    child, guardian = family.browser("child"), family.browser("parent")
    family.ask(child)
    (question,) = family.waiting(guardian)
    family.ask(child, authorization_details=[{**FOOD, "behaviours": ["FOOD-CLEANPLATE", "MOB-BIKE"]}])
    assert guardian.send(question, decision="approve").status == 404
    assert is_refused(family, child)


def test_what_came_too_late_is_over(family: Family) -> None:
    family.ask(family.browser("child"))
    late = family.later(days=7)
    guardian = late.browser("parent")
    assert late.waiting(guardian) == []
    (request,) = look_up(family.hub, "SELECT request_id FROM guardian_request")[0]
    assert guardian.send(f"/care/requests/{request}", decision="approve").status == 404
    late.allowed(late.browser("child"), guardian)
    later = family.later(days=14)
    assert is_refused(later, later.browser("child"))


NOBODY = "UPDATE person SET guardian_id = NULL WHERE username = 'child'"
ANOTHER = (
    "UPDATE person SET guardian_id = (SELECT subject_id FROM person p WHERE p.username = 'other') "
    "WHERE username = 'child'"
)
ERASED = "UPDATE person SET erased_at = created_at WHERE username = 'parent'"


@pytest.mark.parametrize("ended", [NOBODY, ANOTHER, ERASED])
def test_a_guardianship_that_ended_between_takes_the_yes_along(family: Family, ended: str) -> None:
    sign_up(family.hub, "other")
    child, guardian = family.browser("child"), family.browser("parent")
    family.allowed(child, guardian)
    family.ask(child, authorization_details=[BIKE])
    (question,) = family.waiting(guardian)
    with writing(family.hub.engine) as session:
        session.connection().exec_driver_sql(ended)
    assert is_refused(family, child)
    if "erased_at" not in ended:
        assert guardian.send(question, decision="approve").status == 404
        assert is_refused(family, child, authorization_details=[BIKE])


def at_once(*steps: tuple[Visitor, str, dict[str, str]]) -> list[Step]:
    barrier = Barrier(len(steps))

    def send(step: tuple[Visitor, str, dict[str, str]]) -> Step:
        barrier.wait(timeout=60)
        browser, path, fields = step
        return browser.send(path, **fields)

    with ThreadPoolExecutor(len(steps)) as pool:
        return list(pool.map(send, steps))


def test_of_two_answers_at_once_one_is_the_decision(family: Family) -> None:
    child = family.browser("child")
    first, second = family.browser("parent"), family.browser("parent")
    family.ask(child)
    (question,) = family.waiting(first)
    answers = at_once((first, question, {"decision": "approve"}), (second, question, {"decision": "refuse"}))
    assert sorted(step.status for step in answers) == [303, 404]
    ((answer,),) = look_up(family.hub, "SELECT answer FROM guardian_request")
    assert answer == ("approved" if answers[0].status == 303 else "refused")
    assert count(family.hub, "grant_version") == {"grant_version": 0 if answer == "approved" else 2}


def test_of_two_windows_that_use_a_yes_at_once_one_gets_the_code(family: Family) -> None:
    first, guardian = family.browser("child"), family.browser("parent")
    second = family.browser("child")
    family.allowed(first, guardian)
    one, two = family.push(), family.push()
    answers = at_once((first, PAGE, {**one, "decision": "approve"}), (second, PAGE, {**two, "decision": "approve"}))
    assert sorted(step.status for step in answers) == [303, 403]
    assert look_up(family.hub, ACTIVE) == [(1,)]
    assert count(family.hub, "authorization_code") == {"authorization_code": 1}
    assert audit(family.hub).holds
