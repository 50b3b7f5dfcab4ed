"""Staff: added by command, enrolled by a link, signed in by passkey, held to their rights, and all of it written down."""

import doctest
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DatabaseError, IntegrityError
from starlette.requests import Request
from tests_support.deliveries import BEIJING, join
from tests_support.portal import Visitor, visitor
from tests_support.staff import SCOPES, StaffVisitor, invite, staff_visitor
from tests_support.web import count, look_up

import hub.staff.rights
from hub.api.operation import COUNTED, load_figures
from hub.app import create_app
from hub.audit import audit
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import Conflict, NotFound, UsageProblem
from hub.log.leaves import Kind
from hub.staff.accounts import add_staff, disable_staff, list_staff, load_enrolled, make_enrolment
from hub.staff.actions import append_action, digest_of
from hub.staff.door import StaffRefused, acting, require_staff
from hub.staff.pages import FIGURE_NAMES, RIGHT_NAMES, WHAT_NAMES
from hub.staff.rights import (
    NEEDS_CASE,
    NEEDS_PARTICIPANT,
    NEEDS_REGION,
    RIGHTS,
    Member,
    Refusal,
    Right,
    Role,
    Scope,
    What,
    find_refusal,
)
from hub.staff.sessions import purge_staff
from hub.staff.tables import StaffAction

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
OWN = Scope(participant="beijing-green-life", region="440305", case_id="case-1")


def member(role: Role) -> Member:
    scope = {"participant": None, "jurisdiction": None} | SCOPES[role]
    return Member(
        staff_id="a" * 32, name="chen", role=role, participant_id=scope["participant"],
        jurisdiction=scope["jurisdiction"],
    )  # fmt: skip


def wait(browser: Visitor, **passed: float) -> None:
    at = browser.hub.clock() + timedelta(**passed)
    browser.hub = replace(browser.hub, clock=lambda: at)
    browser.app = create_app(browser.hub)


def done(hub: Hub) -> list[str]:
    return [row[0] for row in look_up(hub, "SELECT what FROM staff_action ORDER BY at, what")]


# Rights, as rules.


def test_the_examples_hold():
    assert doctest.testmod(hub.staff.rights).failed == 0


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("right", Right)
def test_a_role_may_do_what_its_row_says_within_its_scope_and_nothing_else(role: Role, right: Right):
    refusal = find_refusal(member(role), right, OWN)
    assert refusal == (None if right in RIGHTS[role] else Refusal.NO_RIGHT)


def test_every_role_has_its_row_and_every_right_is_somebody_s():
    assert set(RIGHTS) == set(Role)
    assert frozenset().union(*RIGHTS.values()) == set(Right)
    assert set(Right) >= (NEEDS_CASE | NEEDS_PARTICIPANT | NEEDS_REGION)


@pytest.mark.parametrize(
    ("role", "right", "scope", "refusal"),
    [
        (Role.PLATFORM, Right.SEE_STATEMENTS, Scope(), Refusal.OUT_OF_SCOPE),
        (Role.PLATFORM, Right.SEE_STATEMENTS, Scope(participant="citic-carbon"), Refusal.OUT_OF_SCOPE),
        (Role.REGULATOR, Right.SEE_FIGURES, Scope(), Refusal.OUT_OF_SCOPE),
        (Role.REGULATOR, Right.SEE_FIGURES, Scope(region="440100"), Refusal.OUT_OF_SCOPE),
        (Role.REGULATOR, Right.SEE_FIGURES, Scope(region="440300"), None),
        (Role.REGULATOR, Right.SEE_CASE, Scope(region="440305"), Refusal.NO_CASE),
        (Role.REGULATOR, Right.SEE_CASE, Scope(region="440305", case_id=""), Refusal.NO_CASE),
        (Role.REGULATOR, Right.SEE_CASE, Scope(case_id="case-1"), Refusal.OUT_OF_SCOPE),
        (Role.OPERATOR, Right.SEE_OPERATION, Scope(), None),
    ],
)
def test_a_right_ends_at_its_scope(role: Role, right: Right, scope: Scope, refusal: Refusal | None):
    assert find_refusal(member(role), right, scope) == refusal


# Accounts.


def test_a_member_needs_the_scope_of_their_role_and_no_other(hub: Hub):
    join(hub, BEIJING)
    wrong: list[dict[str, object]] = [
        {"role": Role.PLATFORM},
        {"role": Role.OPERATOR, "participant": "beijing-green-life"},
        {"role": Role.REGULATOR},
        {"role": Role.REGULATOR, "jurisdiction": "shenzhen"},
        {"role": Role.REGULATOR, "jurisdiction": "000000"},
        {"role": Role.OPERATOR, "jurisdiction": "CN"},
        {"role": Role.OPERATOR, "name": "Chen Wei"},
        {"role": Role.OPERATOR, "name": ""},
    ]
    for fields in wrong:
        with writing(hub.engine) as session, pytest.raises(UsageProblem):
            add_staff(session, **{"name": "chen", "now": NOW, **fields})
    assert count(hub, "staff", "staff_action") == {"staff": 0, "staff_action": 0}
    for number, role in enumerate(Role):
        with writing(hub.engine) as session:
            add_staff(session, name=f"s{number}", role=role, now=NOW, **SCOPES[role])
    with writing(hub.engine) as session, pytest.raises(Conflict):
        add_staff(session, name="s0", role=Role.OPERATOR, now=NOW)


def test_the_database_itself_keeps_staff_to_a_scope(hub: Hub):
    for role, participant, jurisdiction in (
        ("platform", None, None), ("regulator", None, None), ("operator", None, "CN"), ("root", None, None),
    ):  # fmt: skip
        with pytest.raises(IntegrityError), writing(hub.engine) as session:
            session.execute(
                text("INSERT INTO staff VALUES ('x', 'x', :r, :p, :j, '2026-11-20 08:00:00+00:00', NULL)"),
                {"r": role, "p": participant, "j": jurisdiction},
            )


def test_a_link_registers_a_passkey_and_the_passkey_signs_in(hub: Hub):
    token = invite(hub)
    browser = StaffVisitor(hub)
    page = browser.see(f"/staff/enrol?token={token}")
    assert (page.status, "chen" in page.text, "operator" in page.text) == (200, True, True)
    assert browser.see(f"/staff/enrol?token={token}").status == 200  # looking uses nothing up
    assert browser.see("/staff").goes_to == "/staff/signin"
    assert browser.enrol(token).goes_to == "/staff/signin"
    assert browser.see("/staff").goes_to == "/staff/signin"  # registering is not signing in
    assert browser.sign_in_as_staff().goes_to == "/staff"
    home = browser.see("/staff").text
    assert all(word in home for word in ("chen", "operator", "see how the hub runs", "signed in", "enrolled"))
    with reading(hub.engine) as session:
        assert [one.standing for one in list_staff(session)] == ["enrolled"]
    assert token not in str(look_up(hub, "SELECT * FROM staff_enrolment"))


def test_a_new_link_takes_the_old_one_s_place_and_its_passkey_that_of_the_old_one(hub: Hub):
    first = invite(hub)
    with writing(hub.engine) as session:
        second = make_enrolment(session, "chen", now=NOW)
        assert load_enrolled(session, first, now=NOW) is None
    lost = StaffVisitor(hub)
    assert lost.enrol(second).goes_to == "/staff/signin"
    assert lost.sign_in_as_staff().goes_to == "/staff"
    with writing(hub.engine) as session:
        third = make_enrolment(session, "chen", now=NOW)
    assert lost.see("/staff").status == 200  # until the link is used
    fresh = StaffVisitor(hub)
    assert fresh.enrol(third).goes_to == "/staff/signin"
    assert lost.see("/staff").goes_to == "/staff/signin"
    assert lost.sign_in_as_staff().status == 401
    assert fresh.sign_in_as_staff().goes_to == "/staff"
    assert count(hub, "passkey") == {"passkey": 1}


def test_who_is_disabled_is_out_at_once_and_what_they_did_stays(hub: Hub):
    browser = staff_visitor(hub)
    with writing(hub.engine) as session:
        assert disable_staff(session, "chen", now=NOW)
        assert not disable_staff(session, "chen", now=NOW)
    assert browser.see("/staff").goes_to == "/staff/signin"
    assert browser.sign_in_as_staff().status == 401
    with writing(hub.engine) as session:
        with pytest.raises(Conflict):
            make_enrolment(session, "chen", now=NOW)
        with pytest.raises(NotFound):
            make_enrolment(session, "nobody", now=NOW)
        assert [one.standing for one in list_staff(session)] == ["disabled"]
    assert {"staff.signed_in", "staff.disabled", "staff.home_seen"} <= set(done(hub))


def test_who_is_disabled_between_the_check_and_the_act_sees_nothing(hub: Hub):
    browser = staff_visitor(hub)
    permit = require_staff(hub, request_of(browser), Right.SEE_OPERATION)
    with writing(hub.engine) as session:
        disable_staff(session, "chen", now=NOW)
    with pytest.raises(StaffRefused), acting(hub, permit, What.OPERATION_SEEN):
        pytest.fail("the act began")
    assert "staff.operation_seen" not in done(hub)


# Sessions.


def test_a_staff_session_ends_after_an_idle_hour_and_after_eight_hours(hub: Hub):
    browser = staff_visitor(hub)
    for _ in range(9):
        wait(browser, minutes=50)
        assert browser.see("/staff").status == 200
    wait(browser, minutes=31)
    assert browser.see("/staff").goes_to == "/staff/signin"
    idle = staff_visitor(hub, name="wu")
    wait(idle, minutes=61)
    assert idle.see("/staff").goes_to == "/staff/signin"


def test_the_staff_cookie_is_another_one_sent_from_no_other_site_and_changes_at_sign_in(hub: Hub):
    browser = StaffVisitor(hub)
    browser.enrol(invite(hub))
    answer = browser.see("/staff/signin").answer
    before = answer.headers["set-cookie"]
    assert before.startswith("__Host-tanlian-staff=")
    assert {"httponly", "secure", "samesite=strict", "path=/"} <= {part.strip().lower() for part in before.split(";")}
    browser.sign_in_as_staff()
    assert dict(browser.cookies)["__Host-tanlian-staff"] not in before


def test_signing_out_ends_the_session_and_is_written_down(hub: Hub):
    browser = staff_visitor(hub)
    assert browser.send("/staff/signout").goes_to == "/staff/signin"
    assert browser.see("/staff").goes_to == "/staff/signin"
    assert "staff.signed_out" in done(hub)


def test_ended_sessions_are_cleared_away_and_actions_are_not(hub: Hub):
    staff_visitor(hub)
    acted = count(hub, "staff_action")
    with writing(hub.engine) as session:
        assert purge_staff(session, now=NOW) == 0
        assert purge_staff(session, now=NOW + timedelta(hours=9)) >= 1
    assert count(hub, "staff_session", "staff_action") == {"staff_session": 0, **acted}


# The pages, and the record.


def test_the_operator_sees_the_figures_that_prometheus_is_told(hub: Hub):
    browser = staff_visitor(hub)
    page = browser.see("/staff/operation")
    assert page.status == 200
    for meaning, _ in COUNTED.values():
        assert meaning in page.text
    assert "staff.operation_seen" in done(hub)


def test_every_word_of_the_record_and_every_figure_has_a_name_in_both_languages(hub: Hub):
    assert set(WHAT_NAMES) == set(What)
    assert set(RIGHT_NAMES) == set(Right)
    with reading(hub.engine) as session:
        assert [figure.name for figure in load_figures(session)] == list(FIGURE_NAMES)


def test_every_action_is_a_row_and_a_leaf_with_the_row_s_digest(hub: Hub):
    browser = staff_visitor(hub)
    browser.see("/staff/operation")
    browser.send("/staff/signout")
    told = done(hub)
    assert {
        "staff.added", "staff.link_made", "staff.enrolled", "staff.signed_in", "staff.home_seen",
        "staff.operation_seen", "staff.signed_out",
    } == set(told)  # fmt: skip
    leaves = look_up(
        hub,
        "SELECT c.reference, b.data FROM change_leaf c JOIN log_body b ON b.leaf_id = c.leaf_id "
        "WHERE c.kind = :kind", kind=str(Kind.ACCESS_MADE),
    )  # fmt: skip
    assert len(leaves) == len(told)
    with reading(hub.engine) as session:
        for reference, data in leaves:
            row, body = session.get_one(StaffAction, reference), bytes(data)[2:]  # behind its length
            leaf = json.loads(body)
            assert leaf["digest"] == digest_of(row).hex()
            assert (leaf["what"], leaf["right"], leaf["role"]) == (row.what, row.right, "staff.operator")
            assert not {"chen", row.staff_id, row.action_id} & set(body.decode().replace('"', " ").split())


def test_what_a_page_would_show_is_not_shown_if_it_cannot_be_written_down(hub: Hub, monkeypatch: pytest.MonkeyPatch):
    browser = staff_visitor(hub)

    def broken(*_: object, **__: object) -> None:
        raise OSError("the log is away")

    monkeypatch.setattr("hub.staff.actions.log_change", broken)
    step = browser.see("/staff/operation")
    assert (step.status, "records taken" in step.text) == (500, False)
    assert "staff.operation_seen" not in done(hub)


def test_a_record_takes_ids_of_known_names_and_no_words(hub: Hub):
    with writing(hub.engine) as session:
        chen = add_staff(session, name="chen", role=Role.OPERATOR, now=NOW)
        for ids, case in (
            ({"query": "x"}, None),
            ({"window": "two words"}, None),
            ({}, "a case!"),
            ({"region": ""}, None),
        ):
            with pytest.raises(UsageProblem):
                append_action(
                    session, chen, right=Right.SEE_OWN, what=What.HOME_SEEN, now=NOW, ids=ids, case_id=case
                )  # fmt: skip
    assert done(hub) == ["staff.added"]


def test_the_record_says_which_platform_region_and_case(hub: Hub):
    join(hub, BEIJING)
    browser = staff_visitor(hub, Role.REGULATOR)
    permit = require_staff(hub, request_of(browser), Right.SEE_CASE, Scope(region="440305", case_id="case-7"))
    with acting(hub, permit, What.HOME_SEEN, ids={"window": "3"}):
        pass
    row = look_up(hub, "SELECT ids, case_id FROM staff_action WHERE case_id IS NOT NULL")
    assert row == [('{"region": "440305", "window": "3"}', "case-7")]
    assert "case-7" in browser.see("/staff").text


@pytest.mark.parametrize("change", ["UPDATE staff_action SET what = 'x'", "DELETE FROM staff_action"])
def test_the_record_cannot_be_changed(hub: Hub, change: str):
    invite(hub)
    before = count(hub, "staff_action")
    with pytest.raises(DatabaseError, match="append-only"), writing(hub.engine) as session:
        session.execute(text(change))
    assert count(hub, "staff_action") == before


def test_the_audit_finds_an_action_that_the_log_does_not_know(hub: Hub):
    staff_visitor(hub)
    assert "every change has a leaf" not in faults(hub)
    with writing(hub.engine) as session:
        member = session.execute(text("SELECT staff_id FROM staff")).scalar_one()
        session.add(
            StaffAction(action_id="f" * 32, staff_id=member, at=NOW, right="staff.see_own", what="staff.home_seen")
        )
    assert faults(hub)["every change has a leaf"] == ("staff action ffffffffffffffffffffffffffffffff has no leaf",)


def test_a_person_who_is_called_like_a_role_of_staff_is_not_taken_for_told_in_the_log(hub: Hub):
    for name in ("staff", "operator", "home_seen"):
        visitor(hub, name)
    staff_visitor(hub)
    assert "the log names nobody" not in faults(hub)


def faults(hub: Hub) -> dict[str, tuple[str, ...]]:
    return {check.name: tuple(check.offenders) for check in audit(hub).checks if not check.ok}


def request_of(browser: Visitor) -> Request:
    cookies = "; ".join(f"{name}={value}" for name, value in dict(browser.cookies).items())
    return Request({"type": "http", "headers": [(b"cookie", cookies.encode())], "client": ("192.0.2.1", 5)})
