"""Past amounts are restated by new versions and entries, never by edits; what is final stays as it is. On both databases."""

from datetime import date
from typing import Any

import polars as pl
import pytest
from sqlalchemy import text
from tests_support.deliveries import BEIJING, KUAIDIAN, act, charge, delivery, join
from tests_support.people import LinkedPerson, link_person
from tests_support.restating import (
    BIKE_2_KM_MG,
    NEW,
    NOW,
    OLD,
    allow_only,
    balances,
    clear_window,
    close_window,
    decision,
    everything,
    install_halves,
    moved,
    run,
)
from tests_support.web import look_up

from consent.terms import Purpose
from consent.withdraw import withdraw_grant
from hub.audit import audit, format_report
from hub.audit.bodies import leaf_bodies
from hub.audit.books import Books
from hub.audit.readers import SessionReader
from hub.changes import log_consent_change
from hub.clearing.final import window_root
from hub.clearing.store import load_positions
from hub.context import Hub
from hub.db import reading, writing
from hub.errors import UsageProblem
from hub.ledger.postings import ENTRY_SCHEMA, SIDE_SCHEMA
from hub.ledger.store import append_entries
from hub.participants import Platform
from hub.pipeline import clear_dirty, clear_sealed, seal_window, take_delivery
from hub.reconcile.deliveries import load_restated, load_statement
from hub.records.restate import count_standing, preview, require_restatement
from hub.records.restatement import Left
from hub.rights.erase import erase_person

CITY = "beijing-green-life"
BEHAVIOURS = set(BEIJING["behaviours"]) | {"MOB-EVCHARGE"}
HALF = BIKE_2_KM_MG // 2


@pytest.fixture(autouse=True)
def _halves(monkeypatch: pytest.MonkeyPatch) -> None:
    install_halves(monkeypatch)


def person(hub: Hub, name: str = "li", account: str = "1") -> LinkedPerson:
    return link_person(hub, name, {CITY: f"bj-{account}", "kuaidian": f"kd-{account}"}, BEHAVIOURS, NOW)


def city_grant(hub: Hub, who: LinkedPerson) -> str:
    ((grant,),) = look_up(
        hub, "SELECT grant_id FROM link WHERE subject_id = :s AND platform = :p", s=who.subject_id, p=CITY
    )
    return grant


def withdraw(hub: Hub, who: LinkedPerson) -> None:
    with writing(hub.engine) as session:
        for change in withdraw_grant(session, grant_id=city_grant(hub, who), subject_id=who.subject_id, now=NOW):
            log_consent_change(session, change, NOW, hub=hub)


def afternoon(number: str, account: str = "bj-1", **changes: Any) -> dict[str, Any]:
    times = {"beginTime": "2026-11-18T15:00:00+08:00", "endTime": "2026-11-18T15:12:00+08:00"}
    return act(number, account, **(times | changes))


def told(hub: Hub, *rows: dict[str, Any], name: str = "d1", final: bool = True) -> Platform:
    platform = join(hub, BEIJING)
    take_delivery(hub, platform, delivery(name, *rows), now=NOW)
    if final:
        close_window(hub)
    return platform


def require_sound(hub: Hub) -> None:
    report = audit(hub)
    assert report.failed == 0, format_report(report)


def test_final_acts_are_taken_back_and_counted_anew_by_entries(hub: Hub) -> None:
    li = person(hub)
    told(hub, act("1"), afternoon("2"))
    final = everything(hub, "clearing_window", "decision", "event", "journal_entry", "posting")
    done = run(hub)
    assert moved(done) == [(CITY, "MOB-BIKE", 2, 2, 2 * BIKE_2_KM_MG, 2 * HALF)]
    assert done.left == {}
    close_window(hub)
    assert balances(hub, li.subject_id) == {"pending": 0, "held": 2 * HALF}
    kinds = look_up(hub, "SELECT kind, window_id, reverses IS NOT NULL FROM journal_entry ORDER BY entry_id")
    assert [kind for kind, _, _ in kinds] == ["issue"] * 2 + ["hold"] + ["reverse"] * 2 + ["issue"] * 2 + ["hold"]
    assert {(kind, window) for kind, window, reverses in kinds if reverses} == {("reverse", 2)}
    assert look_up(hub, "SELECT DISTINCT vintage FROM posting") == [(20261118,)]
    assert look_up(hub, "SELECT COALESCE(SUM(mg), 0) FROM posting") == [(0,)]
    pins = look_up(hub, "SELECT window_id, methodology, mapping FROM reduction_record ORDER BY record_id")
    assert pins == [(1, OLD, f"{CITY}.acts.v1")] * 2 + [(2, NEW, f"{CITY}.acts.v1")] * 2
    assert look_up(hub, "SELECT window_id, methodology, mg FROM event ORDER BY event_id") == (
        [(1, OLD, BIKE_2_KM_MG)] * 2 + [(2, NEW, HALF)] * 2
    )
    after = everything(hub, *final)
    assert all(row in after[name] for name, rows in final.items() for row in rows if name != "clearing_window")
    require_sound(hub)


def test_a_final_window_stays_byte_for_byte(hub: Hub) -> None:
    person(hub)
    told(hub, act("1"))
    sql = "SELECT root, manifest, final_at, first_seq, last_seq FROM clearing_window WHERE window_id = 1"
    before = look_up(hub, sql)
    run(hub)
    close_window(hub)
    assert look_up(hub, sql) == before
    with reading(hub.engine) as session:
        assert window_root(session, 1) == before[0][0]


def test_the_open_window_s_position_of_the_platform_shows_it_and_its_statement_does_not(hub: Hub) -> None:
    person(hub)
    told(hub, act("1"))
    run(hub)
    with reading(hub.engine) as session:
        assert load_statement(session, 2, CITY).is_empty()
        assert load_restated(session, 2, CITY)["rows"].to_list() == [1]
    clear_window(hub)
    with reading(hub.engine) as session:
        (row,) = load_positions(session, 2).to_dicts()
    assert (row["platform"], row["records"], row["counted_mg"]) == (CITY, 1, HALF)


def test_what_was_restated_is_not_found_again(hub: Hub) -> None:
    person(hub)
    told(hub, act("1"), afternoon("2"))
    run(hub)
    before = everything(hub)
    again = run(hub)
    assert (again.records, again.left) == (0, {})
    assert everything(hub) == before
    clear_window(hub)
    before = everything(hub)
    run(hub)
    assert everything(hub) == before


def test_a_restatement_can_be_taken_back_the_same_way(hub: Hub) -> None:
    li = person(hub)
    told(hub, act("1"))
    run(hub)
    close_window(hub)
    run(hub, decision(old=NEW, new=OLD))
    close_window(hub)
    assert balances(hub, li.subject_id)["held"] == BIKE_2_KM_MG
    run(hub)
    close_window(hub)
    assert balances(hub, li.subject_id)["held"] == HALF
    require_sound(hub)


def test_a_preview_says_the_same_and_changes_nothing(hub: Hub) -> None:
    zhao = person(hub, "zhao", "2")
    person(hub)
    told(hub, act("1"), act("1d", orderNo="ORD1"), afternoon("2"), act("3", "bj-2"))
    withdraw(hub, zhao)
    before = everything(hub)
    numbers = look_up(hub, "SELECT MAX(record_id) FROM source_record")
    shown = run(hub, step=preview, limit=1)
    assert everything(hub) == before
    done = run(hub, limit=2)
    assert (moved(done), done.left) == (moved(shown), shown.left)
    assert moved(done) == [(CITY, "MOB-BIKE", 3, 2, 2 * BIKE_2_KM_MG, 2 * HALF)]
    assert done.left == {Left.REFUSED: 1}
    ((first,),) = look_up(hub, "SELECT MIN(record_id) FROM reduction_record WHERE methodology = :new", new=NEW)
    assert first == numbers[0][0] + 1


def test_records_of_the_open_window_count_once(hub: Hub) -> None:
    li = person(hub)
    told(hub, act("1"), final=False)
    clear_dirty(hub, now=NOW)
    assert moved(run(hub)) == [(CITY, "MOB-BIKE", 1, 1, BIKE_2_KM_MG, HALF)]
    clear_dirty(hub, now=NOW)
    assert look_up(hub, "SELECT mg, methodology FROM event") == [(HALF, NEW)]
    close_window(hub)
    assert balances(hub, li.subject_id)["held"] == HALF
    require_sound(hub)


def test_an_act_moves_with_all_its_reports_and_counts_once(hub: Hub) -> None:
    li = person(hub)
    told(hub, act("1"), act("1d", orderNo="ORD1"))
    assert moved(run(hub, limit=1)) == [(CITY, "MOB-BIKE", 2, 1, BIKE_2_KM_MG, HALF)]
    close_window(hub)
    assert look_up(hub, "SELECT verdict, window_id FROM decision ORDER BY record_id") == [
        ("counted", 1), ("duplicate", 1), ("counted", 2), ("duplicate", 2),
    ]  # fmt: skip
    assert balances(hub, li.subject_id)["held"] == HALF
    require_sound(hub)


def test_the_platform_s_claim_bounds_the_new_amount_too(hub: Hub) -> None:
    li = person(hub)
    told(hub, act("1", carbonReduction="20.00"), afternoon("2", carbonReduction="50.00"))
    assert moved(run(hub)) == [(CITY, "MOB-BIKE", 2, 2, 70_000, 20_000 + HALF)]
    close_window(hub)
    assert balances(hub, li.subject_id)["held"] == 20_000 + HALF


def test_records_that_did_not_count_do_not_begin_to(hub: Hub) -> None:
    li = person(hub)
    told(hub, act("1"), final=False)
    withdraw(hub, li)
    close_window(hub)
    link_person(hub, "li2", {"kuaidian": "kd-9"}, BEHAVIOURS, NOW)
    assert look_up(hub, "SELECT verdict FROM decision") == [("rejected",)]
    assert (run(hub).records, run(hub).left) == (0, {})


def test_who_withdrew_keeps_what_counted_and_is_told_of_in_numbers(hub: Hub) -> None:
    li, zhao = person(hub), person(hub, "zhao", "2")
    told(hub, act("1"), act("2", "bj-2"))
    withdraw(hub, zhao)
    done = run(hub)
    assert (done.records, done.left) == (1, {Left.REFUSED: 1})
    close_window(hub)
    assert balances(hub, zhao.subject_id)["held"] == BIKE_2_KM_MG
    assert balances(hub, li.subject_id)["held"] == HALF
    require_sound(hub)


@pytest.mark.parametrize("missing", [Purpose.CLEAR, Purpose.CREDIT])
def test_both_purposes_have_to_hold(hub: Hub, missing: Purpose) -> None:
    li = person(hub)
    told(hub, act("1"))
    allow_only(hub, li.subject_id, city_grant(hub, li), *({Purpose.COLLECT, Purpose.CLEAR, Purpose.CREDIT} - {missing}))
    assert run(hub).left == {Left.REFUSED: 1}
    allow_only(hub, li.subject_id, city_grant(hub, li), Purpose.CLEAR, Purpose.CREDIT)  # nothing is collected
    assert run(hub).records == 1
    close_window(hub)
    assert balances(hub, li.subject_id)["held"] == HALF
    require_sound(hub)


def test_grams_that_were_never_issued_are_not_made(hub: Hub) -> None:
    li = person(hub)
    allow_only(hub, li.subject_id, city_grant(hub, li), Purpose.COLLECT, Purpose.CLEAR)
    told(hub, act("1"))
    allow_only(hub, li.subject_id, city_grant(hub, li), Purpose.COLLECT, Purpose.CLEAR, Purpose.CREDIT)
    assert (run(hub).records, run(hub).left) == (0, {Left.ELSEWHERE: 1})
    close_window(hub)
    assert balances(hub, li.subject_id) == {"pending": 0, "held": 0}


def test_a_withdrawal_before_clearing_is_treated_as_after_a_correction(hub: Hub) -> None:
    li = person(hub)
    told(hub, act("1"))
    run(hub)
    withdraw(hub, li)
    close_window(hub)
    assert balances(hub, li.subject_id)["held"] == 0
    require_sound(hub)


def test_who_was_erased_stays_as_they_are(hub: Hub) -> None:
    li, wu = person(hub), person(hub, "wu", "2")
    told(hub, act("1"), act("2", "bj-2"))
    erase_person(hub, wu.subject_id, now=NOW)
    done = run(hub)
    assert (done.records, done.left) == (1, {Left.ERASED: 1})
    close_window(hub)
    assert balances(hub, wu.subject_id) == {"pending": 0, "held": 0, "forfeited": BIKE_2_KM_MG}
    assert balances(hub, li.subject_id)["held"] == HALF
    require_sound(hub)


def test_who_is_erased_afterwards_leaves_nothing(hub: Hub) -> None:
    li = person(hub)
    told(hub, act("1"))
    run(hub)
    erase_person(hub, li.subject_id, now=NOW)
    close_window(hub)
    assert balances(hub, li.subject_id) == {"pending": 0, "held": 0, "forfeited": 0}
    require_sound(hub)


def use(hub: Hub, subject_id: int, mg: int) -> None:
    """Redeem grams of window 1, as an entry."""
    entry = {"kind": "redeem", "reason": "spent", "window_id": 2, "source_id": subject_id, "reverses": None}
    base = {
        "kind": "redeem",
        "source_id": subject_id,
        "subject_id": subject_id,
        "platform": None,
        "window_id": 1,
        "rights": "both",
    }
    sides = pl.DataFrame(
        [
            base | {"line": 0, "account_kind": "held", "vintage": 20261118, "mg": -mg},
            base | {"line": 1, "account_kind": "redeemed", "vintage": 20261118, "mg": mg},
        ],
        schema=SIDE_SCHEMA,
    )
    with writing(hub.engine) as session:
        append_entries(session, pl.DataFrame([entry], schema=ENTRY_SCHEMA), sides, NOW)


def test_grams_that_were_used_are_treated_as_a_correction_treats_them(hub: Hub) -> None:
    li, zhao = person(hub), person(hub, "zhao", "2")
    platform = told(hub, act("1"), act("2", "bj-2"))
    for who in (li, zhao):
        use(hub, who.subject_id, BIKE_2_KM_MG - 1000)
    run(hub, decision(platform=CITY, since=date(2026, 11, 18), until=date(2026, 11, 19)))
    # The same change, told by the platform: half the distance. It supersedes the restated version in the same window.
    take_delivery(hub, platform, delivery("d2", act("2", "bj-2", ver=2, distance=1000)), now=NOW)
    close_window(hub)
    assert balances(hub, li.subject_id) == balances(hub, zhao.subject_id)
    # What was used stays used, and the city owes it; what the act is worth now is held.
    assert balances(hub, li.subject_id) == {"pending": 0, "held": HALF, "redeemed": BIKE_2_KM_MG - 1000}
    assert look_up(hub, "SELECT COALESCE(SUM(mg), 0) FROM posting") == [(0,)]


def test_a_platform_corrects_and_repeats_what_was_restated(hub: Hub) -> None:
    li = person(hub)
    platform = told(hub, act("1"))
    run(hub)
    again = take_delivery(hub, platform, delivery("d2", act("1")), now=NOW)
    assert (again.accepted, again.replayed) == (0, 1)
    assert take_delivery(hub, platform, delivery("d3", act("1", ver=2, distance=1000)), now=NOW).accepted == 1
    close_window(hub)
    assert balances(hub, li.subject_id)["held"] == BIKE_2_KM_MG // 2
    take_delivery(hub, platform, delivery("d4", act("1", ver=3, status="CANCELLED")), now=NOW)
    close_window(hub)
    assert balances(hub, li.subject_id)["held"] == 0
    assert run(hub).records == 0
    require_sound(hub)


def test_two_corrections_in_one_later_window_take_the_old_event_back_once(hub: Hub) -> None:
    li = person(hub)
    platform = told(hub, act("1"))
    take_delivery(hub, platform, delivery("d2", act("1", ver=2, distance=1000)), now=NOW)
    take_delivery(hub, platform, delivery("d3", act("1", ver=3, distance=500)), now=NOW)
    close_window(hub)
    assert balances(hub, li.subject_id)["held"] == BIKE_2_KM_MG // 4
    require_sound(hub)


def test_a_sealed_window_is_cleared_as_it_was_and_restated_in_the_next(hub: Hub) -> None:
    li = person(hub)
    told(hub, act("1"), final=False)
    seal_window(hub, now=NOW)
    run(hub)
    clear_sealed(hub, now=NOW)
    assert balances(hub, li.subject_id)["pending"] == BIKE_2_KM_MG
    clear_window(hub)
    assert balances(hub, li.subject_id)["pending"] == HALF
    require_sound(hub)


LIMITS: dict[str, tuple[dict[str, Any], int]] = {
    "the city": ({"platform": CITY}, 2),
    "the chargers": ({"platform": "kuaidian"}, 1),
    "bikes": ({"behaviour": "MOB-BIKE"}, 1),
    "window 1": ({"window_id": 1}, 2),
    "window 2": ({"window_id": 2}, 1),
    "window 3": ({"window_id": 3}, 0),
    "from the day on": ({"since": date(2026, 11, 18)}, 3),
    "from the next day on": ({"since": date(2026, 11, 19)}, 0),
    "until the day": ({"until": date(2026, 11, 18)}, 0),
    "the day": ({"since": date(2026, 11, 18), "until": date(2026, 11, 19)}, 3),
    "a platform's other acts": ({"platform": "kuaidian", "behaviour": "MOB-BIKE"}, 0),
}


def test_a_restatement_keeps_to_its_limits(hub: Hub) -> None:
    person(hub)
    told(hub, act("1"), afternoon("2", scene="BUS", distance=5000))
    take_delivery(hub, join(hub, KUAIDIAN), delivery("c1", charge("1"), stream="charge_orders"), now=NOW)
    clear_window(hub)
    for name, (limits, records) in LIMITS.items():
        with reading(hub.engine) as session:
            assert count_standing(session, decision(**limits)) == records, name
        assert run(hub, decision(**limits), step=preview).records == records, name
    assert run(hub, decision(behaviour="MOB-BIKE")).records == 1
    assert run(hub).records == 2
    clear_window(hub)
    require_sound(hub)


def test_what_cannot_be_read_again_stays(hub: Hub) -> None:
    person(hub)
    told(hub, act("1"), afternoon("2"))
    first = "WHERE record_id = (SELECT MIN(event_id) FROM event)"
    with writing(hub.engine) as session:
        session.execute(text(f"UPDATE reduction_record SET mapping = 'gone.acts.v1' {first}"))
    done = run(hub)
    assert (done.records, done.left) == (1, {Left.UNREADABLE: 1})
    with writing(hub.engine) as session:
        session.execute(text(f"UPDATE reduction_record SET mapping = '{CITY}.acts.v1' {first}"))
        session.execute(text(f"UPDATE source_record SET payload = :other {first}"), {"other": bytes(64)})
    assert (run(hub).records, run(hub).left) == (0, {Left.UNREADABLE: 1})


def test_the_log_tells_of_it_without_words(hub: Hub) -> None:
    person(hub)
    told(hub, act("1"), afternoon("2"))
    run(hub, decision(platform=CITY), limit=1)
    with reading(hub.engine) as session:
        books = Books(hub=hub, reader=SessionReader(session))
        (decided,) = leaf_bodies(books, "restatement.decided").values()
        batches = leaf_bodies(books, "batch.restated")
    assert (decided["from"], decided["to"], decided["participant"]) == (OLD, NEW, CITY)
    assert decided["decision"] == decision(platform=CITY).digest().hex()
    assert [body["accepted_count"] for body in batches.values()] == [1, 1]
    assert {(body["from_mg"], body["to_mg"]) for body in batches.values()} == {(str(BIKE_2_KM_MG), str(HALF))}
    assert {body["decision"] for body in batches.values()} == {decided["decision"]}
    ((kept,),) = look_up(hub, "SELECT reference FROM change_leaf WHERE kind = 'restatement.decided'")
    assert kept.endswith(decision().why)
    assert not [body for (body,) in look_up(hub, "SELECT data FROM log_body") if b"twice" in bytes(body)]


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "an unknown old version": ({"old": "hub-1999.1"}, "there is no methodology 'hub-1999.1'"),
    "an unknown new version": ({"new": "../x"}, "there is no methodology '../x'"),
    "an unknown platform": ({"platform": "nowhere"}, "there is no participant 'nowhere'"),
    "an unknown behaviour": ({"behaviour": "MOB-SKATE"}, "there is no behaviour 'MOB-SKATE'"),
    "an unknown window": ({"window_id": 9}, "there is no window 9"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_restatement_of_what_is_not_there_is_refused(hub: Hub, case: str) -> None:
    limits, says = WRONG[case]
    with reading(hub.engine) as session, pytest.raises(UsageProblem) as refused:
        require_restatement(session, decision(**limits))
    assert says in str(refused.value)


@pytest.mark.parametrize(
    "limits",
    [
        {"new": OLD},
        {"why": " "},
        {"why": "a\nb"},
        {"why": "x" * 201},
        {"since": date(2026, 1, 2), "until": date(2026, 1, 2)},
    ],
    ids=str,
)
def test_a_decision_has_two_versions_a_reason_and_a_period(limits: dict[str, Any]) -> None:
    with pytest.raises(UsageProblem):
        decision(**limits)


def test_the_audit_notices_a_restatement_that_pins_the_same_version(hub: Hub) -> None:
    person(hub)
    told(hub, act("1"))
    run(hub)
    with writing(hub.engine) as session:
        session.execute(
            text(
                "UPDATE reduction_record SET methodology = :old, reference_mg = reference_mg * 2 WHERE methodology = :new"
            ),
            {"old": OLD, "new": NEW},
        )
    (check,) = [check for check in audit(hub).checks if not check.ok]
    assert (check.id, check.wrong) == ("one_version_stands", 1)


def test_the_audit_notices_an_event_that_counts_beside_its_restatement(hub: Hub) -> None:
    person(hub)
    told(hub, act("1"))
    run(hub)
    clear_window(hub)
    postgresql = hub.engine.dialect.name == "postgresql"
    with writing(hub.engine) as session:
        if postgresql:
            session.execute(text("ALTER TABLE event_reversal DISABLE TRIGGER USER"))
        for name in [] if postgresql else ["event_reversal_no_delete"]:
            session.execute(text(f"DROP TRIGGER {name}"))
        session.execute(text("DELETE FROM event_reversal"))
    wrong = {check.id: check.offenders for check in audit(hub).checks if not check.ok}
    assert any("still counts beside the newer version" in one for one in wrong["reversed_events_have_reversals"])


def test_nothing_that_stands_is_nothing_to_look_at(hub: Hub) -> None:
    assert (run(hub).records, run(hub, step=preview).records) == (0, 0)
