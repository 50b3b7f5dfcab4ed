"""Clearing policies in a running hub: which one decides about a window, adopting another, and trying one out first."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import LinkedPerson, link_person
from tests_support.policies import NO_RIDES, draft
from tests_support.terminal import Terminal
from tests_support.web import look_up

import standards.policies
import standards.policy
from consent.withdraw import withdraw_grant
from hub.audit import audit
from hub.clearing.adoption import adopt_policy, load_adoptions, policy_of_window
from hub.clearing.simulate.of_files import Simulation, describe
from hub.clearing.simulate.of_windows import Chosen, last_closed_month, month_of_acts, simulate_stored
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import Conflict, NotFound, UsageProblem
from hub.participants import open_platform
from hub.pipeline import clear_dirty, clear_sealed, seal_window, take_delivery
from standards.datafile import DATA, DataError
from standards.policies import find_policy
from standards.policy import CURRENT_POLICY

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
CITY, OTHER = "beijing-green-life", "other-city"
NEXT = "clearing-2099.1"
BIKE_2_KM_MG = 67_760
NOVEMBER = month_of_acts(date(2026, 11, 1))


@pytest.fixture
def li(hub: Hub) -> LinkedPerson:
    """Li has told of one ride by two cities, and of one by one of them; zhao of one."""
    city, other = join(hub, BEIJING), join(hub, BEIJING | {"id": OTHER})
    behaviours = set(BEIJING["behaviours"])
    person = link_person(hub, "li", {CITY: "bj-1", OTHER: "oc-1"}, behaviours, NOW)
    link_person(hub, "zhao", {CITY: "bj-2"}, behaviours, NOW)
    take_delivery(hub, city, delivery("d1", act("1"), _evening("2"), act("3", "bj-2")), now=NOW)
    take_delivery(hub, other, delivery("o1", act("1", "oc-1")), now=NOW)
    return person


def _evening(number: str, **changes: Any) -> dict[str, Any]:
    times = {"beginTime": "2026-11-18T19:00:00+08:00", "endTime": "2026-11-18T19:12:00+08:00"}
    return act(number, **times, **changes)


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The hub's software comes with one more policy, under which no ride counts."""
    data = tmp_path / "data"
    data.mkdir()
    for file in DATA.glob("clearing-policy-*.toml"):
        (data / file.name).write_bytes(file.read_bytes())
    draft(data, NO_RIDES).rename(data / "clearing-policy-2099.1.toml")
    monkeypatch.setattr(standards.policies, "DATA", data)
    monkeypatch.setattr(standards.policy, "DATA", data)
    return NEXT


def in_force(hub: Hub, window: int) -> str:
    with reading(hub.engine) as session:
        return policy_of_window(session, window).version


def adopt(hub: Hub, version: str, why: str = "the council of 20 November", now: datetime = NOW) -> Any:
    with writing(hub.engine) as session:
        return adopt_policy(session, version, why, now)


def simulated(hub: Hub, folder: Path, chosen: Chosen = NOVEMBER, *changes: tuple[str, str]) -> Simulation:
    after = find_policy(str(draft(folder, *(changes or (NO_RIDES,)))))
    return simulate_stored(hub, chosen, before=find_policy(CURRENT_POLICY), after=after, now=NOW)


def everything(hub: Hub) -> dict[str, list[tuple[Any, ...]]]:
    tables = ("decision", "event", "journal_entry", "log_leaf", "change_leaf", "clearing_window", "dirty_subject")
    return {name: sorted(look_up(hub, f"SELECT * FROM {name}"), key=str) for name in tables}


# Adopting.


def test_a_hub_that_adopted_nothing_goes_by_the_softwares_version(hub: Hub):
    assert in_force(hub, 1) == in_force(hub, 2) == CURRENT_POLICY


def test_an_adoption_decides_about_the_windows_that_are_opened_from_then_on(hub: Hub, li: LinkedPerson, released: str):
    adopted = adopt(hub, released)
    assert (adopted.policy, adopted.former, adopted.first_window) == (released, CURRENT_POLICY, 2)
    while clear_dirty(hub, now=NOW):
        pass
    seal_window(hub, now=NOW)
    with reading(hub.engine) as session:
        city = open_platform(session, hub.ring, CITY)
    take_delivery(hub, city, delivery("d2", _evening("4", memberId="bj-2")), now=NOW)
    clear_sealed(hub, now=NOW)
    seal_window(hub, now=NOW)
    clear_sealed(hub, now=NOW)
    told = look_up(hub, "SELECT DISTINCT window_id, policy FROM decision ORDER BY window_id")
    assert told == [(1, CURRENT_POLICY), (2, released)]
    assert look_up(hub, "SELECT verdict, reason FROM decision WHERE window_id = 2") == [
        ("held", "implausible_quantity")
    ]
    assert look_up(hub, "SELECT SUM(counted_mg) FROM decision WHERE window_id = 1") == [(3 * BIKE_2_KM_MG,)]


def test_an_adoption_is_logged_and_the_reason_stays_in_the_hub(hub: Hub, released: str):
    adopted = adopt(hub, released)
    ((body,),) = look_up(
        hub,
        "SELECT b.data FROM log_body b JOIN change_leaf c ON c.leaf_id = b.leaf_id WHERE c.kind = 'standards.adopted'",
    )
    told = bytes(body)
    assert f'"version":"{released}"'.encode() in told
    assert b'"window":2' in told
    assert adopted.decision.hex().encode() in told
    assert b"council" not in told
    with reading(hub.engine) as session:
        (row,) = load_adoptions(session)
    assert (row.why, row.first_window, row.former) == ("the council of 20 November", 2, CURRENT_POLICY)


def test_the_audit_misses_the_leaf_of_an_adoption(hub: Hub, released: str):
    adopt(hub, released)
    assert audit(hub).failed == 0
    with writing(hub.engine) as session:
        session.execute(text("DELETE FROM change_leaf WHERE kind = 'standards.adopted'"))
    offenders = [offender for check in audit(hub).checks for offender in check.offenders]
    assert "adoption of a policy clearing.policy:1 has no leaf" in offenders


def test_an_adoption_can_be_taken_back_until_its_window_opens(hub: Hub, released: str):
    adopt(hub, released)
    assert adopt(hub, CURRENT_POLICY).former == released
    assert (in_force(hub, 1), in_force(hub, 2)) == (CURRENT_POLICY, CURRENT_POLICY)
    adopt(hub, released)
    seal_window(hub, now=NOW)
    adopt(hub, CURRENT_POLICY)
    assert [in_force(hub, window) for window in (1, 2, 3)] == [CURRENT_POLICY, released, CURRENT_POLICY]


def test_what_cannot_be_adopted_changes_nothing(
    hub: Hub, released: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    adopt(hub, released)
    with pytest.raises(Conflict, match="window 2 will be decided by"):
        adopt(hub, released)
    with pytest.raises(DataError, match="there is no clearing policy"):
        adopt(hub, "clearing-1999.1")
    for why in ("", " ", "x" * 201, "two\nlines"):
        with pytest.raises(UsageProblem, match="say why"):
            adopt(hub, CURRENT_POLICY, why)
    with pytest.raises(Conflict, match="is valid from 2026-01-01"):
        adopt(hub, CURRENT_POLICY, now=datetime(2025, 12, 31, 15, 59, tzinfo=UTC))
    assert look_up(hub, "SELECT COUNT(*) FROM policy_adoption") == [(1,)]
    assert adopt(hub, CURRENT_POLICY, now=datetime(2025, 12, 31, 16, 0, tzinfo=UTC)).former == released


# Trying out.


def test_a_months_acts_are_cleared_twice_and_nothing_is_written(hub: Hub, li: LinkedPerson, tmp_path: Path):
    seal_window(hub, now=NOW)
    clear_sealed(hub, now=NOW)
    before = everything(hub)
    told = describe(simulated(hub, tmp_path))
    assert everything(hub) == before
    assert (told["what"], told["from"], told["to"], told["methodology"]) == (
        "policy",
        CURRENT_POLICY,
        NEXT,
        "hub-2026.2",
    )
    assert (told["records"], told["left_out"]) == (4, 0)
    assert told["from_mg"] == 3 * BIKE_2_KM_MG == look_up(hub, "SELECT SUM(counted_mg) FROM decision")[0][0]
    assert (told["to_mg"], told["changed"]) == (0, 3)
    assert {(row["platform"], row["records"]) for row in told["platforms"]} == {(CITY, 3), (OTHER, 1)}
    assert told["largest"][0]["to_reason"] == "implausible_quantity"


def test_the_number_of_groups_changes_nothing(hub: Hub, li: LinkedPerson, tmp_path: Path):
    whole = describe(simulated(hub, tmp_path))
    small = replace(hub, settings=hub.settings.model_copy(update={"clear_group_records": 1}))
    assert describe(simulated(small, tmp_path)) == whole


def test_windows_are_chosen_one_by_one_and_earlier_acts_stay_counted(hub: Hub, li: LinkedPerson, tmp_path: Path):
    seal_window(hub, now=NOW)
    clear_sealed(hub, now=NOW)
    with reading(hub.engine) as session:
        other = open_platform(session, hub.ring, OTHER)
    take_delivery(hub, other, delivery("o2", _evening("2", memberId="oc-1")), now=NOW)
    second = describe(simulated(hub, tmp_path, Chosen(windows=(2,))))
    # The ride counted in window 1, so its second report is a duplicate by either policy.
    assert (second["records"], second["from_mg"], second["to_mg"]) == (1, 0, 0)
    assert second["platforms"][0]["verdicts"] == [
        {"from_verdict": "duplicate", "to_verdict": "duplicate", "records": 1}
    ]
    both = describe(simulated(hub, tmp_path, Chosen(windows=(1, 2))))
    assert (both["records"], both["from_mg"], both["to_mg"]) == (5, 3 * BIKE_2_KM_MG, 0)
    assert describe(simulated(hub, tmp_path)) == both


def test_what_is_not_allowed_now_is_left_out_and_counted(hub: Hub, li: LinkedPerson, tmp_path: Path):
    with writing(hub.engine) as session:
        for (grant,) in session.execute(
            text("SELECT DISTINCT grant_id FROM grant_version WHERE subject_id = :s"), {"s": li.subject_id}
        ).all():
            withdraw_grant(session, grant_id=grant, subject_id=li.subject_id, now=NOW, reason="test")
    told = describe(simulated(hub, tmp_path))
    assert (told["records"], told["left_out"], told["from_mg"]) == (1, 3, BIKE_2_KM_MG)


def test_older_versions_and_what_was_taken_back_are_not_looked_at(hub: Hub, li: LinkedPerson, tmp_path: Path):
    with reading(hub.engine) as session:
        city = open_platform(session, hub.ring, CITY)
    changes = (act("3", "bj-2", ver=2, distance=500), _evening("2", ver=2, status="CANCELLED"))
    take_delivery(hub, city, delivery("d2", *changes), now=NOW)
    told = describe(simulated(hub, tmp_path))
    assert (told["records"], told["from_mg"], told["to_mg"]) == (3, BIKE_2_KM_MG + 16_940, 16_940)


def test_nothing_to_look_at_is_said(hub: Hub, li: LinkedPerson, tmp_path: Path):
    with pytest.raises(NotFound, match="no record was chosen"):
        simulated(hub, tmp_path, month_of_acts(date(2026, 10, 1)))
    with pytest.raises(NotFound, match="there is no window 9"):
        simulated(hub, tmp_path, Chosen(windows=(1, 9)))
    seal_window(hub, now=NOW)
    with pytest.raises(NotFound, match="no record was chosen"):
        simulated(hub, tmp_path, Chosen(windows=(2,)))


@pytest.mark.parametrize(
    ("now", "month"),
    [
        (datetime(2026, 11, 20, 8, tzinfo=UTC), date(2026, 10, 1)),
        (datetime(2026, 10, 31, 16, tzinfo=UTC), date(2026, 10, 1)),
        (datetime(2026, 10, 31, 15, tzinfo=UTC), date(2026, 9, 1)),
        (datetime(2027, 1, 5, tzinfo=UTC), date(2026, 12, 1)),
    ],
)
def test_the_last_month_is_chinas(now: datetime, month: date):
    assert last_closed_month(now) == month
    chosen = month_of_acts(month)
    assert chosen.since_us is not None
    assert chosen.until_us is not None
    begins = datetime.fromtimestamp(chosen.since_us / 1_000_000, tz=UTC) + timedelta(hours=8)
    ends = datetime.fromtimestamp(chosen.until_us / 1_000_000, tz=UTC) + timedelta(hours=8)
    assert (begins.date(), begins.hour, ends.day, ends.hour) == (month, 0, 1, 0)
    assert timedelta(days=28) <= ends - begins <= timedelta(days=31)


# The command line.


def test_policies_are_listed_shown_validated_and_compared(bare: Terminal, tmp_path: Path):
    listed = bare("policy", "list", "--json").json
    assert [row["version"] for row in listed if row["default"]] == [CURRENT_POLICY]
    assert CURRENT_POLICY in bare("policy", "list").out
    assert bare("policy", "show", CURRENT_POLICY, "--json").json["keys"]["junk_subjects"] == 3
    for words in ("junk_subjects", "no-drive-day", "displaced", "MOB-BIKE", "valid from 2026-01-01"):
        assert words in bare("policy", "show", CURRENT_POLICY).out, words
    file = draft(tmp_path, NO_RIDES)
    told = bare("policy", "compare", CURRENT_POLICY, file)
    assert "1 differences" in told.out
    assert "the limits of MOB-BIKE: the most of one act: from 100 to 1 (more acts are held)" in told.out
    checked = bare("policy", "validate", file, "--json").json
    assert (checked["valid"], checked["version"], len(checked["differences"])) == (True, NEXT, 1)
    assert "draft.toml: clearing-2099.1, valid from" in bare("policy", "validate", "draft.toml").out
    assert "clear alike" in bare("policy", "compare", CURRENT_POLICY, CURRENT_POLICY).out
    file.write_text(file.read_text().replace("[match]", "[mtach]"))
    assert "draft.toml" in bare("policy", "validate", file).complaint
    assert not (bare.folder / "unmigrated.db").exists()


def test_adopting_and_its_history_are_commands(opened: Hub, tanlian: Terminal, released: str):
    adopted = tanlian("policy", "adopt", released, "--why", "the council", "--json").json
    assert (adopted["policy"], adopted["first_window"]) == (released, 2)
    told = tanlian("policy", "history", "--json").json
    assert (told["window"], told["policy"], told["next"]) == (1, CURRENT_POLICY, released)
    assert [(row["policy"], row["why"]) for row in told["adoptions"]] == [(released, "the council")]
    shown = tanlian("policy", "history").out
    assert f"window 1 is decided by {CURRENT_POLICY}, the next by {released}" in shown
    assert "already" in tanlian("policy", "adopt", released, "--why", "again").complaint
    assert "instead of" in tanlian("policy", "adopt", CURRENT_POLICY, "--why", "back").out
    assert "there is no clearing policy" in tanlian("policy", "adopt", "clearing-1999.1", "--why", "x").complaint


def test_a_policy_is_tried_out_on_the_database(opened: Hub, tanlian: Terminal, tmp_path: Path):
    city = join(opened, BEIJING)
    link_person(opened, "li", {CITY: "bj-1"}, set(BEIJING["behaviours"]), NOW)
    take_delivery(opened, city, delivery("d1", act("1")), now=NOW)
    file, chart = draft(tmp_path, NO_RIDES), tmp_path / "moved.svg"
    words = ("policy", "simulate", "--to", file, "--chart", chart, "--out", tmp_path / "kept")
    told = tanlian(*words, "--window", "1", "--json").json
    assert (told["from"], told["difference_mg"]) == (CURRENT_POLICY, -BIKE_2_KM_MG)
    assert CITY in chart.read_text()
    assert sorted(path.name for path in (tmp_path / "kept").iterdir()) == ["moved.parquet", "simulation.json"]
    shown = tanlian(*words, "--month", "2026-11")
    assert "-67.760" in shown.out
    assert "The picture is in" in shown.out
    assert "no record was chosen" in tanlian("policy", "simulate", "--to", file, "--month", "2019-01").complaint
