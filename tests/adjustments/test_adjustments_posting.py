"""What an adjustment does to the event, its grams and the platforms; and what is refused leaves everything as it is."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests_support.adjusting import OTHER, WHY, mend, settle_two_cities, standing
from tests_support.deliveries import delivery
from tests_support.holding import hire
from tests_support.people import LinkedPerson
from tests_support.state import state_of
from tests_support.using import CITY, DAYS, NOW, Shop, close_window, ride, rows, sums, use
from typer.testing import CliRunner

from hub.adjustments.adjusting import adjust, post_adjustment
from hub.adjustments.kinds import AdjustmentKind, Order, Reason
from hub.attestations.content import Asked
from hub.attestations.issue import issue_own
from hub.audit import audit
from hub.clearing.store import load_positions
from hub.cli import app
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import Busy, Conflict, NotFound, TanlianError, UsageProblem
from hub.explain import explain_stored
from hub.participants import Platform
from hub.pipeline import clear_dirty, clear_sealed, seal_window, take_delivery
from hub.portal.account import load_account
from hub.rights.erase import erase_person
from hub.staff.rights import Role
from standards.uses import load_use_rules

Town = tuple[Platform, Platform, LinkedPerson]
FULL, PART, CORRECT = AdjustmentKind.FULL_REVERSAL, AdjustmentKind.PARTIAL_REVERSAL, AdjustmentKind.CORRECTION
CLAW, MOVE, DRAW = AdjustmentKind.CLAW_BACK, AdjustmentKind.REATTRIBUTION, AdjustmentKind.BUFFER_DRAW


@pytest.fixture
def town(hub: Hub) -> Town:
    return settle_two_cities(hub)


def require_sound(hub: Hub) -> None:
    assert [(check.name, check.offenders) for check in audit(hub).checks if not check.ok] == []


def positions(hub: Hub) -> dict[str, int]:
    with reading(hub.engine) as session:
        return dict(load_positions(session).select("platform", "counted_mg").iter_rows())


def owed(hub: Hub) -> dict[str, int]:
    return dict(rows(hub, "SELECT platform, SUM(left_mg) FROM debt GROUP BY platform"))


def test_a_full_reversal_takes_the_act_away_and_nothing_else(hub: Hub, town: Town) -> None:
    held = sums(hub, town[2].subject_id)["held"]
    first, *rest = standing(hub)
    done = mend(hub, FULL, first, reason=Reason.FRAD, case_id="case-7")
    assert (done.mg, done.owed_mg, done.platform, done.case_id) == (held // 3, 0, CITY, "case-7")
    assert sums(hub, town[2].subject_id) == {"held": held // 3 * 2}
    assert standing(hub) == rest
    assert positions(hub)[CITY] == held // 3 * 2
    require_sound(hub)
    with pytest.raises(Conflict, match="taken back already"):
        mend(hub, FULL, first)


def test_a_part_is_taken_back_more_than_once_and_never_more_than_there_is(hub: Hub, town: Town) -> None:
    held = sums(hub, town[2].subject_id)["held"]
    each, event = held // 3, standing(hub)[0]
    mend(hub, PART, event, mg=1000)
    mend(hub, PART, event, mg=each - 1001)
    assert sums(hub, town[2].subject_id) == {"held": 2 * each + 1}
    before = state_of(hub.engine)
    for mg in (1, 2):
        with pytest.raises(UsageProblem, match="counts 1 mg"):
            mend(hub, PART, event, mg=mg)
    assert state_of(hub.engine) == before
    require_sound(hub)
    assert mend(hub, FULL, event).mg == 1
    assert sums(hub, town[2].subject_id) == {"held": 2 * each}
    require_sound(hub)


def test_a_correction_says_what_is_right(hub: Hub, town: Town) -> None:
    held = sums(hub, town[2].subject_id)["held"]
    each, event = held // 3, standing(hub)[1]
    assert mend(hub, CORRECT, event, mg=each - 400).mg == 400
    assert sums(hub, town[2].subject_id) == {"held": held - 400}
    with pytest.raises(UsageProblem, match="newer version of the record"):
        mend(hub, CORRECT, event, mg=each)
    require_sound(hub)


def test_everybody_who_tells_of_the_act_tells_what_is_left(hub: Hub, town: Town) -> None:
    person = town[2].subject_id
    event = standing(hub)[2]
    shop = Shop.opened(hub)
    mend(hub, PART, event, mg=777)
    with reading(hub.engine) as session:
        account = load_account(session, person)
        told = explain_stored(session, event)
    (shown,) = [one for one in account.acts if one.event_id == event]
    left = shown.mg
    assert left == sums(hub, person)["held"] - 2 * (left + 777)
    assert "777" in told.to_dict()["sentence"]["en"] or any("0.777 g" in note for note in told.notes("en"))
    assert any("0.777克" in note for note in told.notes("zh-CN"))
    assert told.to_dict()["taken_back_mg"] == 777
    assert positions(hub)[CITY] == sums(hub, person)["held"]
    token = shop.allowed(person)
    assert shop.reserve(token, sums(hub, person)["held"] + 1).status_code == 409
    assert shop.reserve(token, sums(hub, person)["held"]).status_code == 201
    require_sound(hub)


def test_a_reversal_does_not_undo_a_use_and_a_claw_back_lets_the_platform_owe(hub: Hub, town: Town) -> None:
    person = town[2].subject_id
    held = sums(hub, person)["held"]
    each, event = held // 3, standing(hub)[0]
    shop = Shop.opened(hub)
    use(shop, shop.allowed(person), each - 500)
    before = state_of(hub.engine)
    for kind, mg in ((FULL, None), (PART, 501), (CORRECT, each - 501)):
        with pytest.raises(Conflict, match=f"a claw-back takes them too, and {CITY} owes them"):
            mend(hub, kind, event, mg=mg)
    assert state_of(hub.engine) == before
    mend(hub, PART, event, mg=500)
    assert (sums(hub, person), owed(hub)) == ({"held": 2 * each, "redeemed": each - 500}, {})
    assert mend(hub, CLAW, event, mg=100).owed_mg == 100
    done = mend(hub, CLAW, event)
    assert (done.mg, done.owed_mg) == (each - 600, each - 600)
    assert (sums(hub, person), owed(hub)) == ({"held": 2 * each, "redeemed": each - 500}, {CITY: each - 500})
    require_sound(hub)


def test_pending_and_forfeited_grams_are_taken_where_they_are(hub: Hub, town: Town) -> None:
    city, _, li = town
    take_delivery(hub, city, delivery("d3", ride("9", day="2026-11-18")), now=NOW)
    seal_window(hub, now=NOW)
    clear_sealed(hub, now=NOW)
    event = standing(hub)[-1]
    pending = sums(hub, li.subject_id)["pending"]
    mend(hub, PART, event, mg=300)
    assert sums(hub, li.subject_id)["pending"] == pending - 300
    erase_person(hub, li.subject_id, now=NOW)
    forfeited = sums(hub, li.subject_id)["forfeited"]
    mend(hub, FULL, event)
    assert sums(hub, li.subject_id) == {"forfeited": forfeited - pending + 300}
    assert rows(hub, "SELECT why FROM adjustment ORDER BY at") == [("",), (WHY,)]
    require_sound(hub)


def test_an_act_counts_for_another_platform_that_told_it_and_its_person_keeps_the_grams(hub: Hub, town: Town) -> None:
    person, event = town[2].subject_id, standing(hub)[0]
    held = sums(hub, person)["held"]
    mend(hub, PART, event, mg=held // 3 - 900)
    assert mend(hub, MOVE, event, platform=OTHER).mg == 900
    assert sums(hub, person) == {"held": held // 3 * 2 + 900}
    assert positions(hub) == {CITY: held // 3 * 2, OTHER: 900}
    require_sound(hub)
    with pytest.raises(Conflict, match="counts for other-city already"):
        mend(hub, MOVE, event, platform=OTHER)
    shop = Shop.opened(hub)
    use(shop, shop.allowed(person), held // 3 * 2 + 900)
    mend(hub, CLAW, event)
    assert owed(hub) == {OTHER: 900}
    assert positions(hub) == {CITY: held // 3 * 2, OTHER: 0}
    require_sound(hub)


def test_a_newer_version_does_not_bring_back_what_staff_took_back(hub: Hub, town: Town) -> None:
    city, _, li = town
    event, *rest = standing(hub)
    mend(hub, FULL, event, reason=Reason.FRAD)
    left = sums(hub, li.subject_id)
    for version in (2, 3):
        again = ride("0", day=DAYS[0], ver=version, distance=2000 + version)
        take_delivery(hub, city, delivery(f"again-{version}", again), now=NOW)
        clear_dirty(hub, now=NOW)
        close_window(hub)
        newest = "SELECT verdict, reason FROM decision ORDER BY record_id DESC LIMIT 1"
        assert rows(hub, newest) == [("rejected", "taken_back")]
        assert (sums(hub, li.subject_id), standing(hub)) == (left, rest)
        ((record,),) = rows(hub, "SELECT MAX(record_id) FROM decision")
        with reading(hub.engine) as session:
            told = explain_stored(session, record)
        assert "taken back for good" in told.sentence("en")
        assert "冲销" in told.sentence("zh-CN")
    require_sound(hub)


def test_a_newer_version_after_a_part_was_taken_back_counts_as_it_says(hub: Hub, town: Town) -> None:
    city, _, li = town
    event = standing(hub)[0]
    each = sums(hub, li.subject_id)["held"] // 3
    mend(hub, PART, event, mg=100)
    take_delivery(hub, city, delivery("again", ride("0", day=DAYS[0], ver=2, distance=1000)), now=NOW)
    close_window(hub)
    assert event not in standing(hub)
    assert 0 < sums(hub, li.subject_id)["held"] - 2 * each < each
    require_sound(hub)


def test_an_attestation_that_says_more_than_is_left_is_revoked(hub: Hub, town: Town) -> None:
    since = NOW.date() - timedelta(days=10)
    issue_own(hub, town[2].subject_id, Asked(since=since, until=NOW.date(), disclose=("final_mg",)), now=NOW)
    mend(hub, PART, standing(hub)[0], mg=1)
    assert rows(hub, "SELECT reason FROM attestation WHERE revoked_at IS NOT NULL") == [("overstated",)]
    require_sound(hub)


def test_the_buffer_delivers_what_a_platform_owes(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = replace(load_use_rules(), buffer_permille=100)
    monkeypatch.setattr("hub.pipeline.load_use_rules", lambda: rules)
    _, _, li = settle_two_cities(hub)
    shop = Shop.opened(hub)
    use(shop, shop.allowed(li.subject_id), sums(hub, li.subject_id)["held"])
    mend(hub, CLAW, standing(hub)[0])
    before = owed(hub)[CITY]
    assert mend(hub, DRAW, platform=CITY, mg=2000, reason=Reason.OPER).mg == 2000
    assert owed(hub) == {CITY: before - 2000}
    require_sound(hub)
    for more, complaint in (
        ({"platform": CITY, "mg": before}, "between 1 and that"),
        ({"platform": CITY}, "names who owes"),
        ({"platform": "nobody", "mg": 1}, "no participant"),
    ):
        with pytest.raises(TanlianError, match=complaint):
            mend(hub, DRAW, **more)


@pytest.mark.parametrize(
    ("kind", "more", "error", "complaint"),
    [
        (FULL, {"event_id": 999_999}, NotFound, "no event 999999"),
        (FULL, {"event_id": None}, UsageProblem, "say which event"),
        (FULL, {"mg": 1}, UsageProblem, "takes all that is left"),
        (FULL, {"platform": OTHER}, UsageProblem, "re-attribution or a draw only"),
        (PART, {}, UsageProblem, "how many milligrams"),
        (PART, {"mg": 0}, UsageProblem, "a part is between"),
        (PART, {"mg": -5}, UsageProblem, "a part is between"),
        (CLAW, {"mg": 10**15}, UsageProblem, "between 1 and that"),
        (CORRECT, {"mg": 0}, UsageProblem, "a correction says less"),
        (MOVE, {}, UsageProblem, "for which participant"),
        (MOVE, {"platform": OTHER, "mg": 5}, UsageProblem, "no amount"),
        (MOVE, {"platform": "kuaidian"}, Conflict, "has not reported this act"),
        (MOVE, {"platform": CITY}, Conflict, "already"),
        (FULL, {"why": ""}, UsageProblem, "say why"),
        (FULL, {"why": "two\nlines"}, UsageProblem, "say why"),
        (FULL, {"case_id": "é"}, UsageProblem, "case"),
        (FULL, {"case_id": "x" * 65}, UsageProblem, "case"),
    ],
)
def test_what_is_refused_changes_nothing(
    hub: Hub, town: Town, kind: AdjustmentKind, more: dict[str, Any], error: type[TanlianError], complaint: str
) -> None:
    before = state_of(hub.engine)
    asked: dict[str, Any] = {"kind": kind, "reason": Reason.OPER, "event_id": standing(hub)[0], "why": WHY} | more
    with pytest.raises(error, match=complaint):
        adjust(hub, Order(**asked), by="chen", now=NOW)
    assert state_of(hub.engine) == before


def test_only_who_may_adjusts(hub: Hub, town: Town) -> None:
    hire(hub, "wang", Role.REGULATOR)
    before = state_of(hub.engine)
    asked = Order(kind=FULL, reason=Reason.OPER, event_id=standing(hub)[0], why=WHY)
    with pytest.raises(Conflict, match="may not adjust"):
        adjust(hub, asked, by="wang", now=NOW)
    with pytest.raises(NotFound):
        adjust(hub, asked, by="nobody", now=NOW)
    assert state_of(hub.engine) == before


def test_nothing_is_taken_back_under_a_window_that_is_being_cleared(hub: Hub, town: Town) -> None:
    take_delivery(hub, town[0], delivery("d3", ride("9", day="2026-11-18")), now=NOW)
    clear_dirty(hub, now=NOW)
    (provisional,) = [one for one in standing(hub) if one not in standing(hub)[:3]]
    with pytest.raises(Conflict, match="is provisional"):
        mend(hub, FULL, provisional)
    window = seal_window(hub, now=NOW).window_id
    with pytest.raises(Busy, match=f"window {window} is sealed"):
        mend(hub, FULL, standing(hub)[0])
    clear_sealed(hub, now=NOW)
    mend(hub, FULL, standing(hub)[0])
    require_sound(hub)


def test_what_fails_in_the_caller_s_transaction_leaves_nothing(hub: Hub, town: Town) -> None:
    before = state_of(hub.engine)
    ((staff_id,),) = rows(hub, "SELECT staff_id FROM staff")
    asked = Order(kind=PART, reason=Reason.OPER, event_id=standing(hub)[0], mg=5, why=WHY)

    def cut() -> None:
        with writing(hub.engine) as session:
            post_adjustment(session, asked, staff_id=staff_id, now=NOW)
            raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power"):
        cut()
    assert state_of(hub.engine) == before


def test_the_command_line_adjusts_and_lists(hub: Hub, town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    person = town[2].subject_id
    one, two, three = standing(hub)
    each = sums(hub, person)["held"] // 3
    monkeypatch.setenv("TANLIAN_DATABASE_URL", hub.settings.database_url)
    monkeypatch.setenv("TANLIAN_KEYS_DIR", str(hub.settings.keys_dir))
    words = ["--by", "chen", "--why", WHY]

    def run(*more: str) -> Any:
        return CliRunner().invoke(app, ["adjust", *more])

    part = run("reverse", str(one), "--mg", "100", "--reason", "fact", *words, "--json")
    assert (part.exit_code, json.loads(part.stdout)["kind"]) == (0, "partial_reversal"), part.output
    for more, said in (
        (
            ("reverse", str(one), "--reason", "frad", "--case", "c-1"),
            f"{each - 100:,} mg of event {one} were taken back",
        ),
        (("correct", str(two), "--mg", "900", "--reason", "fact"), f"{each - 900:,} mg of event {two} were taken back"),
        (("claw-back", str(three), "--mg", "100", "--reason", "capx"), "100 mg of event"),
        (("reattribute", str(three), "--to", OTHER, "--reason", "oper"), f"counts for {OTHER} now"),
    ):
        done = run(*more, *words)
        assert done.exit_code == 0, done.output
        assert said in done.stdout.replace("\n", " ")
    refused = run("draw", CITY, "--mg", "5", "--reason", "oper", *words)
    assert isinstance(refused.exception, Conflict)
    listed = json.loads(run("list", "--json").stdout)
    assert len(listed) == 5
    assert {row["kind"] for row in listed} == {
        "full_reversal", "partial_reversal", "correction", "claw_back", "reattribution",
    }  # fmt: skip
    assert [row["case"] for row in json.loads(run("list", "--event", str(one), "--json").stdout)].count("c-1") == 1
    assert CITY in run("list", "--participant", CITY).stdout
    require_sound(hub)
