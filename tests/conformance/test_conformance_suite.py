"""The suite itself: its list of cases, how a case is judged, and what a report says."""

import json
import logging
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from hub.conformance.cases import Case, CaseList, Group, NotApplicable, Violation, require
from hub.conformance.catalogue import CASES
from hub.conformance.live import LIVE_CASES
from hub.conformance.report import Report, Result, Verdict
from hub.conformance.suite import cases_of, run_case

AT = datetime(2026, 11, 20, 8, tzinfo=UTC)
# What the suite must look at whatever else changes, and a case that does.
TOPICS = {
    "duplicates": ("PUSH-07", "PULL-15", "LIFE-02", "LIFE-03"),
    "late data": ("LIFE-04", "PULL-10"),
    "corrections": ("LIFE-05",),
    "reversals": ("LIFE-06",),
    "revocation": ("LIFE-08", "LIFE-09"),
    "partial failure": ("LIFE-20", "PUSH-60", "FILE-90", "PULL-69"),
    "skew": ("PUSH-31", "PUSH-33", "LIFE-22", "LIFE-23", "FILE-66"),
    "limits of the platform": ("PULL-20", "PULL-21", "PULL-60", "PULL-61"),
    "loops": ("PULL-63", "PULL-64", "PULL-65"),
    "what people bring": ("UPL-03", "UPL-20", "UPL-50", "UPL-51", "UPL-52", "UPL-53"),
    "signatures": ("PUSH-28", "FILE-26", "PULL-67"),
}


def test_there_are_more_than_a_hundred_cases_each_under_its_own_id() -> None:
    ids = [case.id for case in CASES] + [case.id for case in LIVE_CASES]
    assert len(set(ids)) == len(ids) > 200
    assert all(re.fullmatch(r"[A-Z]{3,4}-[0-9]{2}", one) for one in ids)
    assert len({case.title for case in CASES}) == len(CASES)


@pytest.mark.parametrize(("topic", "ids"), TOPICS.items(), ids=TOPICS)
def test_what_must_be_looked_at_is_looked_at(topic: str, ids: tuple[str, ...]) -> None:
    assert set(ids) <= {case.id for case in CASES}


def test_cases_are_chosen_by_group() -> None:
    assert {case.group for case in cases_of([Group.FILE, Group.LIFE])} == {Group.FILE, Group.LIFE}
    assert len(cases_of()) == len(CASES)


def test_an_id_is_given_once() -> None:
    cases: CaseList[None] = CaseList(Group.PUSH)
    cases.add("X-1", "one", lambda subject: None)
    with pytest.raises(ValueError, match="there already"):
        cases.add("X-1", "another", lambda subject: None)


def outcome(run: Callable[[list[str]], None], **options: object) -> tuple[Verdict, str]:
    case: Case[list[str]] = Case(id="X-1", title="a case", group=Group.PUSH, run=run)
    result = run_case(case, lambda: ["subject"], "somebody", **options)  # type: ignore[arg-type]
    assert (result.id, result.subject, result.seconds >= 0) == ("X-1", "somebody", True)
    return result.verdict, result.detail


def test_a_case_that_returns_has_passed() -> None:
    assert outcome(lambda subject: require(subject == ["subject"], "no")) == (Verdict.PASSED, "")


def test_a_violation_fails_the_case_with_its_sentence() -> None:
    assert outcome(lambda subject: require(subject == [], "It is not empty.")) == (Verdict.FAILED, "It is not empty.")


def test_a_case_may_step_aside() -> None:
    def run(subject: list[str]) -> None:
        raise NotApplicable("Nothing is here.")

    assert outcome(run) == (Verdict.NOT_APPLICABLE, "Nothing is here.")


def test_any_other_error_fails_the_case() -> None:
    verdict, detail = outcome(lambda subject: subject[7].strip() and None)
    assert verdict is Verdict.FAILED
    assert "IndexError" in detail


def test_a_case_that_does_not_end_fails_and_is_ended() -> None:
    ended = threading.Event()

    def run(subject: list[str]) -> None:
        try:
            while True:
                threading.Event().wait(0.01)
        finally:
            ended.set()

    verdict, detail = outcome(run, limit_s=0.1)
    assert (verdict, "not come to an end" in detail) == (Verdict.FAILED, True)
    assert ended.wait(5)


def test_an_end_that_was_lost_once_comes_again() -> None:
    """An error that is thrown while a finaliser runs goes to nobody: the thread would ask on, in the cases that follow."""
    ended = threading.Event()

    def run(subject: list[str]) -> None:
        try:
            try:
                while True:
                    threading.Event().wait(0.01)
            except BaseException:  # what a finaliser does with whatever is raised in it
                while True:
                    threading.Event().wait(0.01)
        finally:
            ended.set()

    assert outcome(run, limit_s=0.1)[0] is Verdict.FAILED
    assert ended.is_set()


def test_what_was_logged_can_fail_a_case_that_passed() -> None:
    def leak(subject: list[str], lines: list[str]) -> str:
        return "It stands in the log." if any("secret-7" in line for line in lines) else ""

    said = logging.getLogger("somebody")
    assert outcome(lambda subject: said.debug("knows %s", "secret-7"), leak=leak) == (
        Verdict.FAILED,
        "It stands in the log.",
    )
    assert outcome(lambda subject: said.debug("knows nothing"), leak=leak) == (Verdict.PASSED, "")


def result(id: str, verdict: Verdict, detail: str = "", group: Group = Group.PUSH) -> Result:
    return Result(
        id=id, title=f"title of {id}", group=group, verdict=verdict, seconds=0.25, subject="p/s (c)", detail=detail
    )  # fmt: skip


RESULTS = (
    result("P-1", Verdict.PASSED),
    result("P-2", Verdict.FAILED, "It | said\nno."),
    result("L-1", Verdict.NOT_APPLICABLE, "Nothing here.", Group.LIFE),
)


def test_a_report_scores_what_had_something_to_look_at() -> None:
    report = Report(name="x", checked_at=AT, results=RESULTS)
    assert (report.score, report.ok, report.passed, report.failed) == ("1/2", False, 1, 1)
    assert [one.id for one in report.worst_first()] == ["P-2", "P-1", "L-1"]
    assert Report(name="x", checked_at=AT, results=RESULTS[:1]).ok


def test_a_report_in_which_nothing_was_looked_at_is_not_ok() -> None:
    assert not Report(name="x", checked_at=AT, results=RESULTS[2:]).ok
    assert not Report(name="x", checked_at=AT, results=()).ok


def test_a_report_is_json() -> None:
    document = json.loads(Report(name="x", checked_at=AT, results=RESULTS).json_text())
    assert (document["score"], document["not_applicable"], len(document["cases"])) == ("1/2", 1, 3)
    assert document["groups"]["push"] == {"passed": 1, "failed": 1}
    assert document["cases"][0] == {
        "id": "P-2", "title": "title of P-2", "group": "push", "verdict": "failed", "seconds": 0.25, "subject": "p/s (c)",
        "detail": "It | said\nno.",
    }  # fmt: skip


def test_a_report_is_markdown_with_the_failures_first() -> None:
    text = Report(name="x", checked_at=AT, results=RESULTS).markdown()
    assert text.startswith("# Conformance of x\n\n1/2 cases passed on 2026-11-20 08:00 UTC; 1 had nothing to look at.")
    assert "- **P-2** (p/s (c)) title of P-2: It | said no." in text
    assert "| P-2 | title of P-2 | failed | 0.25 | It \\| said no. |" in text
    assert text.index("## Failed") < text.index("## p/s (c)")


def test_a_violation_is_no_assertion() -> None:
    with pytest.raises(Violation, match="must"):
        require("", "It must.")
