"""A client asks a child: the guardian answers in their own time, and the child's next try completes; both can withdraw."""

from datetime import UTC, datetime, timedelta
from io import BytesIO

import pytest
from tests_support.family import BIKE, FOOD, NOW, PAGE, Family, address, told
from tests_support.portal import sign_up
from tests_support.web import count, look_up

from consent.guardian_requests import LIFE
from consent.metadata import server_jwks
from consent.notices import current_notice
from consent.people import PersonRefused, set_guardian
from consent.purge import purge_ended
from consent.receipts import load_receipts, verify_receipt
from hub.audit import audit, format_report
from hub.context import Hub
from hub.db import reading, writing
from hub.rights.archive import verify_archive
from hub.rights.export import export_person

VERSIONS = "SELECT version, state, reason, assurance FROM grant_version ORDER BY created_at, grant_id, version"
BIRTHDAY = datetime(2027, 4, 30, 16, tzinfo=UTC)


@pytest.fixture
def family(hub: Hub) -> Family:
    return Family.sign_up(hub)


def test_a_child_has_the_guardian_asked_and_the_next_try_completes(family: Family) -> None:
    child, guardian = family.browser("child"), family.browser("parent")
    names = family.push()
    step = child.see(address(names))
    assert (step.status, "由监护人决定" in step.text) == (200, True)
    form = step.page.form_to(PAGE)
    assert form is not None
    assert [value for _, value in form.buttons] == ["ask", "refuse"]
    assert count(family.hub, "guardian_request") == {"guardian_request": 0}, "looking asks nobody"
    assert child.send(PAGE, **names, decision="ask").goes_to == address(names)
    child.send(PAGE, **names, decision="ask")  # asking twice is asking once
    assert "Your guardian was asked at 2026-11-20 16:00" in child.see(address(names)).text
    assert count(family.hub, "guardian_request", "grant_version") == {"guardian_request": 1, "grant_version": 0}

    (question,) = family.waiting(guardian)
    page = guardian.see(question)
    for words in (
        "child is under 14",
        "光盘行动",
        "积分",
        "read the child",
        "as often as needed",
        "sensitive",
        "2027-11-19",
    ):
        assert words in page.text, words
    assert guardian.send(question, decision="approve").goes_to == "/care"
    assert "You allowed what it asks for" in guardian.see("/care").text
    assert count(family.hub, "grant_version", "authorization_code") == {"grant_version": 0, "authorization_code": 0}

    assert "Your guardian allowed what" in child.see(address(names)).text  # the waiting page, loaded again
    answer = told(child.send(PAGE, **names, decision="approve"))
    given = family.shop.redeem(answer["code"])
    assert given.status == 200
    assert given.document["authorization_details"][0]["behaviours"] == ["FOOD-CLEANPLATE"]
    assert look_up(family.hub, VERSIONS) == [(1, "requested", "requested", "none"), (2, "active", "given", "guardian")]
    who = (
        "SELECT p.username FROM guardian_request q JOIN person p ON p.subject_id = q.guardian_id WHERE q.grant_id = :g"
    )
    assert look_up(family.hub, who, g=given.document["grant_id"]) == [("parent",)]
    ((subject,),) = look_up(family.hub, "SELECT subject_id FROM person WHERE username = 'child'")
    with reading(family.hub.engine) as session:
        (receipt,) = load_receipts(session, family.hub.ring, subject_id=subject)
    claims = verify_receipt(receipt.jws, server_jwks(family.hub.ring))
    assert claims["pii_processing"]["lawful_basis"] == "guardian_consent"
    assert claims["pii_processing"]["privacy_notice"]["sha256"] == current_notice("ward", "en").sha256
    copy = BytesIO()
    export_person(family.hub, subject, copy)
    account = verify_archive(BytesIO(copy.getvalue()), server_jwks(family.hub.ring))
    assert [(asked["answer"], asked["grant_id"]) for asked in account["guardian_requests"]] == [
        ("approved", given.document["grant_id"])
    ]
    assert audit(family.hub).holds, format_report(audit(family.hub))


def test_the_guardian_answers_days_later_and_a_new_request_of_the_same_words_completes(family: Family) -> None:
    family.asked = {"authorization_details": [{"type": FOOD["type"], "actions": ["read"]}]}  # dates are left open
    family.ask(family.browser("child"))
    then = family.later(days=3)
    guardian = then.browser("parent")
    (question,) = then.waiting(guardian)
    assert guardian.send(question, decision="approve", sensitive_whereabouts="no").goes_to == "/care"
    after = family.later(days=6)
    answer = told(after.browser("child").send(PAGE, **after.push(), decision="approve"))
    detail = after.shop.redeem(answer["code"]).document["authorization_details"][0]
    assert detail["until"] == "2027-11-19", "what the guardian was shown, not a year from today"
    assert not any(word.startswith("MOB-") for word in detail["behaviours"])


def test_a_no_of_the_guardian_is_on_record_and_told_to_the_client_once(family: Family) -> None:
    child, guardian = family.browser("child"), family.browser("parent")
    family.ask(child)
    (question,) = family.waiting(guardian)
    assert guardian.send(question, decision="refuse").goes_to == "/care"
    assert look_up(family.hub, VERSIONS)[-1][1] == "refused"
    assert family.waiting(guardian) == []
    names = family.push()
    assert "Your guardian said no" in child.see(address(names)).text
    assert told(child.send(PAGE, **names, decision="leave"))["error"] == "access_denied"
    assert count(family.hub, "grant_version") == {"grant_version": 2}, "told, not refused once more"
    again = family.push()
    assert "Asked again too soon" in child.see(address(again)).text
    assert child.send(PAGE, **again, decision="ask").status == 403
    assert child.send(PAGE, **again, decision="approve").status == 403
    assert told(child.send(PAGE, **again, decision="leave"))["error"] == "access_denied"
    assert audit(family.hub).holds


def test_guardian_and_child_can_withdraw_what_a_client_was_given(family: Family) -> None:
    child, guardian = family.browser("child"), family.browser("parent")
    for who in ("guardian", "child"):
        family.allowed(child, guardian)
        given = family.shop.redeem(told(child.send(PAGE, **family.push(), decision="approve"))["code"]).document
        grant = given["grant_id"]
        assert f'action="/care/grants/{grant}/withdraw"' in guardian.see("/care").text
        browser, path = (guardian, "/care/grants") if who == "guardian" else (child, "/consents")
        assert browser.send(f"{path}/{grant}/withdraw").status == 303
        assert look_up(family.hub, "SELECT state FROM grant_current WHERE grant_id = :g", g=grant) == [("revoked",)]
        assert family.shop.get("/v1/account", given["access_token"]).status_code == 401
        assert grant not in guardian.see("/care").text


def test_a_yes_can_be_taken_back_before_it_is_used(family: Family) -> None:
    child, guardian = family.browser("child"), family.browser("parent")
    family.allowed(child, guardian)
    assert family.waiting(guardian) == []
    form = next(one for one in guardian.see("/care").page.forms if "/care/requests/" in one.action)
    assert guardian.send(form.action.removeprefix("https://hub.example")).goes_to == "/care"
    assert told(child.send(PAGE, **family.push(), decision="approve"))["error"] == "access_denied"
    assert look_up(family.hub, "SELECT state FROM grant_current") == [("refused",)]


def test_several_details_and_classes_are_decided_one_by_one_and_nothing_is_asked_again(family: Family) -> None:
    child, guardian = family.browser("child"), family.browser("parent")
    asked = {"authorization_details": [FOOD, BIKE]}
    family.ask(child, **asked)
    (question,) = family.waiting(guardian)
    form = guardian.see(question).page.form_to(question)
    assert form is not None
    assert set(form.boxes) == {"detail_0", "detail_1", "sensitive_whereabouts"}
    nothing = guardian.send(question, decision="approve")
    assert (nothing.status, 'role="alert"' in nothing.text) == (422, True)
    assert guardian.send(question, decision="approve", detail_0="yes").goes_to == "/care"
    answer = told(child.send(PAGE, **family.push(**asked), decision="approve"))
    details = family.shop.redeem(answer["code"]).document["authorization_details"]
    assert [one["behaviours"] for one in details] == [["FOOD-CLEANPLATE"]]


def test_a_child_without_a_guardian_is_told_how_to_get_one(hub: Hub) -> None:
    family = Family.sign_up(hub, guardian=None)
    child, names = family.browser("child"), family.push()
    step = child.see(address(names))
    assert (step.status, "the operator enters it" in step.text) == (403, True)
    assert child.send(PAGE, **names, decision="ask").status == 403
    assert count(hub, "guardian_request") == {"guardian_request": 0}
    assert told(child.send(PAGE, **names, decision="leave"))["error"] == "access_denied"
    assert count(hub, "grant_version") == {"grant_version": 0}


def test_a_guardian_can_be_entered_later_and_replaced(hub: Hub) -> None:
    family = Family.sign_up(hub, guardian=None)
    sign_up(hub, "aunt")
    with writing(hub.engine) as session:
        for child, guardian in (("child", "nobody"), ("child", "child"), ("aunt", "aunt"), ("nobody", "aunt")):
            with pytest.raises(PersonRefused):
                set_guardian(session, username=child, guardian=guardian, now=NOW)
        set_guardian(session, username="child", guardian="aunt", now=NOW)
    child, aunt = family.browser("child"), family.browser("aunt")
    family.allowed(child, aunt)
    with writing(hub.engine) as session:
        set_guardian(session, username="child", guardian=None, now=NOW)
    assert child.send(PAGE, **family.push(), decision="approve").status == 403
    assert "Nobody under 14" in aunt.see("/care").text


def test_a_child_that_does_not_want_it_any_more_takes_it_from_the_guardian(family: Family) -> None:
    child, guardian = family.browser("child"), family.browser("parent")
    names = family.ask(child)
    assert told(child.send(PAGE, **names, decision="refuse"))["error"] == "access_denied"
    assert family.waiting(guardian) == []
    assert look_up(family.hub, "SELECT state FROM grant_current") == [("refused",)]


def test_at_fourteen_what_waited_vanishes_and_the_person_decides_alone(family: Family) -> None:
    eve = family.later(days=(BIRTHDAY - NOW) / timedelta(days=1), seconds=-60)
    eve.allowed(eve.browser("child"), eve.browser("parent"))
    day = family.later(days=(BIRTHDAY - NOW) / timedelta(days=1))
    guardian, child = day.browser("parent"), day.browser("child")
    assert "/care/requests/" not in guardian.see("/care").text
    names = day.push()
    assert "asks for your account" in child.see(address(names)).text
    assert "code" in told(child.send(PAGE, **names, decision="approve"))
    assert look_up(day.hub, VERSIONS)[-1] == (2, "active", "given", "password")


def test_what_nobody_answered_or_used_is_purged_and_what_gave_a_grant_stays(family: Family) -> None:
    child, guardian = family.browser("child"), family.browser("parent")
    family.allowed(child, guardian)
    told(child.send(PAGE, **family.push(), decision="approve"))
    family.ask(child, authorization_details=[BIKE])
    with writing(family.hub.engine) as session:
        assert purge_ended(session, now=NOW + LIFE - timedelta(seconds=1))["guardian_request"] == 0
        assert purge_ended(session, now=NOW + LIFE)["guardian_request"] == 1
        assert purge_ended(session, now=NOW + 9 * LIFE)["guardian_request"] == 0
    assert audit(family.hub).holds


def test_the_guardian_proves_anew_who_they_are_and_comes_back_to_the_question(family: Family) -> None:
    family.ask(family.browser("child"))
    guardian = family.browser("parent")
    (question,) = family.waiting(guardian)
    there = family.later(minutes=20).browser("parent").hub
    guardian.hub, guardian.app = there, type(guardian)(there).app
    for step in (guardian.see(question), guardian.send(question, decision="approve")):
        assert str(step.goes_to).startswith("/stepup?next=%2Fcare%2Frequests%2Fq_")
    assert look_up(family.hub, "SELECT answer FROM guardian_request") == [(None,)]


def test_the_record_of_who_decided_is_audited(family: Family) -> None:
    child, guardian = family.browser("child"), family.browser("parent")
    family.allowed(child, guardian)
    told(child.send(PAGE, **family.push(), decision="approve"))
    sign_up(family.hub, "stranger")
    with writing(family.hub.engine) as session:
        session.connection().exec_driver_sql("UPDATE guardian_request SET guardian_id = NULL")
    report = audit(family.hub)
    assert not report.holds
    assert "has no guardian who decided" in format_report(report)
