"""`tanlian holds` and `tanlian anomalies`: figures, decisions, clear refusals."""

import pytest
from tests_support.deliveries import act
from tests_support.holding import WHY, held_record, hire, person, told, too_fast
from tests_support.terminal import Terminal
from tests_support.web import look_up

from hub.context import Hub


@pytest.fixture
def lived(opened: Hub) -> Hub:
    """A held ride among sound ones, in a final window."""
    hire(opened)
    person(opened)
    morning = {"beginTime": "2026-11-17T08:12:03+08:00", "endTime": "2026-11-17T08:24:03+08:00"}
    told(opened, too_fast("1"), act("2", **morning))
    return opened


def test_holds_are_listed_with_figures(lived: Hub, tanlian: Terminal) -> None:
    held = held_record(lived)
    document = tanlian("holds", "list", "--json").json
    assert document["open"] == 1
    (hold,) = document["holds"]
    assert (hold["record"], hold["window"], hold["platform"]) == (held, 1, "beijing-green-life")
    assert (hold["rule"], hold["reason"]) == ("plausibility", "implausible_speed")
    assert hold["value"] == pytest.approx(40 / 13 * 60)
    assert (hold["limit"], hold["measure"]) == (60, "per hour")
    shown = tanlian("holds", "list").out
    assert "184.6 per hour, at most 60" in shown
    assert "1 holds wait for a decision" in shown


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["--reason", "implausible_speed"], 1), (["--reason", "tie"], 0), (["--platform", "beijing-green-life"], 1),
        (["--platform", "kuaidian"], 0), (["--window", "1"], 1), (["--window", "2"], 0),
    ],
)  # fmt: skip
def test_a_list_can_be_narrowed(lived: Hub, tanlian: Terminal, words: list[str], count: int) -> None:
    assert tanlian("holds", "list", *words, "--json").json["open"] == count


def test_one_hold_is_shown_with_its_reports(lived: Hub, tanlian: Terminal) -> None:
    held = held_record(lived)
    document = tanlian("holds", "show", f"{held}", "--json").json
    assert (document["verdict"], document["reviewed"]) == ("held", None)
    (report,) = document["reports"]
    assert (report["record"], report["quantity"], report["unit"]) == (held, 40, "km")
    assert "184.6 per hour, at most 60" in tanlian("holds", "show", f"{held}").out
    missing = tanlian("holds", "show", "999")
    assert (missing.code, missing.err) == (1, "tanlian: there is no decision about a record 999\n")


def test_a_hold_is_released_once(lived: Hub, tanlian: Terminal) -> None:
    held = held_record(lived)
    document = tanlian("holds", "release", f"{held}", "--by", "chen", "--why", WHY, "--json").json
    assert (document["record"], document["outcome"], document["window"]) == (held, "released", 2)
    assert document["new_record"] > held
    assert tanlian("holds", "list", "--json").json == {"open": 0, "holds": []}
    assert tanlian("holds", "show", f"{held}", "--json").json["reviewed"] == "released"
    again = tanlian("holds", "release", f"{held}", "--by", "chen", "--why", WHY)
    assert again.code == 1
    assert again.err == f"tanlian: record {held} was reviewed before, and released\n"
    assert tanlian("window", "seal").code == 0
    assert look_up(lived, "SELECT verdict FROM decision WHERE window_id = 2") == [("counted",)]
    assert tanlian("audit").code == 0


def test_a_hold_is_rejected(lived: Hub, tanlian: Terminal) -> None:
    held = held_record(lived)
    done = tanlian("holds", "reject", f"{held}", "--by", "chen", "--why", WHY)
    assert done.code == 0
    assert f"record {held} (implausible_speed): rejected; review " in done.out
    assert tanlian("audit").code == 0


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--by", "nobody", "--why", WHY], "there is no member of staff of this name"),
        (["--by", "chen", "--why", " "], "say why in one line of at most 200 characters, without anybody's name"),
    ],
)
def test_a_refusal_is_one_line(lived: Hub, tanlian: Terminal, words: list[str], problem: str) -> None:
    ran = tanlian("holds", "release", f"{held_record(lived)}", *words)
    assert (ran.code, ran.err) == (1, f"tanlian: {problem}\n")


def test_anomalies_of_a_window_are_told_in_figures(lived: Hub, tanlian: Terminal) -> None:
    document = tanlian("anomalies", "--json").json
    assert (document["window"], document["drift"]) == (1, [])
    (row,) = document["holds"]
    assert (row["reason"], row["holds"], row["people"], row["limit"]) == ("implausible_speed", 1, 1, 60)
    assert row["most"] == pytest.approx(40 / 13 * 60)
    shown = tanlian("anomalies", "--window", "1").out
    assert "implausible_speed" in shown
    assert "1 holds, 0 platforms drift" in shown


def test_a_platform_that_drifts_is_told_from_what_to_what(
    opened: Hub, tanlian: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    person(opened)
    for day in range(1, 7):
        metres = 2000 + day if day < 6 else 6000
        rides = [
            act(
                f"{day}{n}", distance=metres + n,
                beginTime=f"2026-11-{day:02}T{8 + n:02}:00:00+08:00", endTime=f"2026-11-{day:02}T{8 + n:02}:30:00+08:00",
            )
            for n in range(3)
        ]  # fmt: skip
        told(opened, *rides, name=f"d{day}")
    _say_less_is_enough(monkeypatch)
    document = tanlian("anomalies", "--json").json
    drifts = {(row["platform"], row["measure"], row["behaviour"]): row for row in document["drift"]}
    row = drifts["beijing-green-life", "median_quantity", "MOB-BIKE"]
    assert row["from_value"] == pytest.approx(2.0, abs=0.01)
    assert row["to_value"] == pytest.approx(6.0, abs=0.01)
    assert (row["windows"], row["records"]) == (5, 3)
    assert tanlian("anomalies", "--window", "5", "--json").json["drift"] == []
    assert "1 platforms drift" in tanlian("anomalies").out


def test_what_is_not_cleared_has_no_anomalies(opened: Hub, tanlian: Terminal) -> None:
    assert tanlian("anomalies").err == "tanlian: no window is cleared yet\n"
    person(opened)
    told(opened, act("1"))
    assert tanlian("anomalies", "--window", "2").err == "tanlian: window 2 is not cleared\n"


def _say_less_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few records say nothing under the policy that ships."""
    from dataclasses import replace

    from standards.policy import load_policy

    policy = load_policy()
    assert policy.doubts.drift is not None
    few = replace(policy, doubts=replace(policy.doubts, drift=replace(policy.doubts.drift, min_records=3)))
    monkeypatch.setattr("hub.commands.anomalies.load_policy", lambda: few)
