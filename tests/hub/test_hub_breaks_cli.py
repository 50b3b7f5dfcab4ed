"""`tanlian breaks` and `tanlian window report`: what differs, whose turn it is, and the same as CSV and as a picture."""

import csv
import io
from datetime import timedelta
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import polars as pl
import pytest
from tests_support.deliveries import BEIJING, KUAIDIAN, act, charge, delivery, join
from tests_support.fetching import NOW
from tests_support.people import link_person
from tests_support.settling import lines_of, tell
from tests_support.staff import invite
from tests_support.terminal import Terminal
from tests_support.web import look_up

from hub.context import Hub
from hub.db import writing
from hub.pipeline import clear_sealed, seal_window, take_delivery
from hub.reconcile.breaks import propose, require_break, sign
from hub.reconcile.deliveries import STATEMENT_SCHEMA
from hub.reconcile.lines import BreakKind
from hub.reconcile.report_rows import COLUMNS, OF_DELIVERIES, Row, format_csv
from hub.reconcile.report_svg import MOST_BARS, report_svg
from hub.reconcile.rules import Side
from hub.staff.rights import Role
from hub.sync.statements import record_statement

CITY = "beijing-green-life"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def lived(opened: Hub) -> Hub:
    """Window 1: of three records of Beijing one is denied, one has another amount; kuaidian makes no statement."""
    city, charging = join(opened, BEIJING), join(opened, KUAIDIAN)
    accounts = {CITY: "bj-1", "kuaidian": "kd-1"}
    link_person(opened, "li", accounts, {*BEIJING["behaviours"], "MOB-EVCHARGE"}, NOW)
    rides = (
        act(f"{n}", beginTime=f"2026-11-1{n}T08:12:03+08:00", endTime=f"2026-11-1{n}T08:24:03+08:00") for n in (5, 6, 7)
    )
    take_delivery(opened, city, delivery("d1", *rides), now=NOW)
    take_delivery(opened, charging, delivery("c1", charge("1"), stream="charge_orders"), now=NOW)
    seal_window(opened, now=NOW)
    clear_sealed(opened, now=NOW)
    theirs = lines_of(("BJ5", 1, 500_000), ("BJ6", 1, 400_000))
    done = tell(opened, 1, CITY, theirs, NOW + timedelta(seconds=1))
    assert done.moved.opened == (1, 2)
    invite(opened)
    return opened


def test_breaks_are_listed_without_an_id_of_the_platform(lived: Hub, tanlian: Terminal) -> None:
    told = tanlian("breaks", "list", "--json").json
    assert [(one["break"], one["kind"], one["ours"], one["theirs"], one["owner"]) for one in told] == [
        (1, "amount", 500_000, 400_000, "platform"), (2, "missing_there", 500_000, None, "platform"),
    ]  # fmt: skip
    assert "BJ6" not in tanlian("breaks", "list").out + str(told)
    assert tanlian("breaks", "list", "--platform", "kuaidian", "--json").json == []
    assert tanlian("breaks", "list", "--window", "2", "--json").json == []
    assert tanlian("breaks", "list", "--state", "closed", "--json").json == []
    assert len(tanlian("breaks", "list", "--limit", "1", "--json").json) == 1


def test_one_break_is_shown_with_what_may_be_proposed(lived: Hub, tanlian: Terminal) -> None:
    told = tanlian("breaks", "show", "1", "--json").json
    assert (told["kind"], next(iter(told["choices"]))) == ("amount", "platform_corrects")
    assert "platform_corrects" in tanlian("breaks", "show", "1").out
    assert tanlian("breaks", "show", "99").complaint == "there is no break 99"


def test_the_hub_proposes_and_signs_by_a_member_of_staff(lived: Hub, tanlian: Terminal) -> None:
    proposed = tanlian(
        "breaks", "propose", "1", "hub_takes_again", "--by", "chen", "--note", "looked at", "--json"
    ).json
    assert (proposed["state"], proposed["owner"], proposed["note"]) == ("proposed", "hub", "looked at")
    assert tanlian("breaks", "sign", "1", "hub_takes_again", "--by", "chen", "--json").json["state"] == "signed_hub"
    with writing(lived.engine) as session:
        row = require_break(session, 1, hold=True)
        sign(session, row, "hub_takes_again", by="client-1", side=Side.PLATFORM, now=NOW + timedelta(hours=1))
    ((state, why, by),) = look_up(
        lived, "SELECT state, closed_why, hub_signed_by FROM statement_break WHERE break_id = 1"
    )
    assert (state, why, by.startswith("hub:")) == ("closed", "signed", True)
    assert look_up(lived, "SELECT what FROM staff_action WHERE what LIKE 'staff.break%' ORDER BY at, what") == [
        ("staff.break_proposed",), ("staff.break_signed",),
    ]  # fmt: skip
    assert tanlian("audit", "--json").json["failed"] == 0
    assert "closed" in tanlian("breaks", "sign", "1", "hub_takes_again", "--by", "chen").complaint


def test_who_may_not_settle_is_told_so_and_moves_nothing(lived: Hub, tanlian: Terminal) -> None:
    invite(lived, "wang", Role.REGULATOR)
    assert "may not settle breaks" in tanlian("breaks", "propose", "1", "platform_corrects", "--by", "wang").complaint
    assert tanlian("breaks", "propose", "1", "platform_corrects", "--by", "nobody").code == 1
    assert "propose one of" in tanlian("breaks", "propose", "1", "counts_where_it_arrived", "--by", "chen").complaint
    assert tanlian("breaks", "propose", "1", "forget_it", "--by", "chen").code == 2
    assert "nothing is proposed" in tanlian("breaks", "sign", "1", "platform_corrects", "--by", "chen").complaint
    assert tanlian("staff", "disable", "chen").code == 0
    assert "disabled" in tanlian("breaks", "propose", "1", "platform_corrects", "--by", "chen").complaint
    assert look_up(lived, "SELECT DISTINCT state, steps FROM statement_break") == [("open", 0)]


def test_breaks_are_exported(lived: Hub, tanlian: Terminal, tmp_path: Path) -> None:
    assert "2 breaks" in tanlian("breaks", "export", tmp_path / "breaks.csv").out
    rows = list(csv.DictReader(io.StringIO((tmp_path / "breaks.csv").read_text())))
    assert [(row["break"], row["kind"], row["mg"]) for row in rows] == [
        ("1", "amount", "100000"),
        ("2", "missing_there", "500000"),
    ]
    assert "BJ6" not in (tmp_path / "breaks.csv").read_text()
    tell(lived, 1, CITY, lines_of(*((f"BJ{n}", 1, 500_000) for n in (5, 6, 7))), NOW + timedelta(hours=1))
    tanlian("breaks", "export", tmp_path / "live.csv")
    tanlian("breaks", "export", tmp_path / "all.csv", "--all")
    assert [len((tmp_path / name).read_text().splitlines()) for name in ("live.csv", "all.csv")] == [1, 3]


def test_a_window_is_reported_with_both_sides(lived: Hub, tanlian: Terminal, tmp_path: Path) -> None:
    city, charging = tanlian("window", "report", "1", "--json").json
    assert (city["platform"], city["stream"], city["state"]) == (CITY, "acts", "breaks")
    assert (city["ours_count"], city["theirs_count"], city["ours_mg"], city["theirs_mg"]) == (3, 2, 1_500_000, 900_000)
    assert (city["matched_mg"], city["broken_mg"], city["live_breaks"], city["same_digest"]) == (
        500_000,
        600_000,
        2,
        False,
    )
    assert (city["amount"], city["missing_there"], city["rows"], city["signed"]) == (1, 1, 0, 0)
    assert city["oldest_s"] >= 0
    assert (charging["platform"], charging["state"], charging["ours_count"]) == ("kuaidian", "no_statement", 1)
    ran = tanlian("window", "report", "1", "--csv", tmp_path / "r.csv", "--chart", tmp_path / "r.svg")
    assert "differs" in ran.out
    told = list(csv.DictReader(io.StringIO((tmp_path / "r.csv").read_text())))
    assert [row["state"] for row in told] == ["breaks", "no_statement"]
    assert tuple(told[0]) == COLUMNS
    assert ElementTree.parse(tmp_path / "r.svg").getroot().tag == f"{SVG}svg"
    assert tanlian("window", "report", "9").complaint == "there is no window 9"


def test_a_window_is_settled_when_everything_is_signed_and_matched_when_all_is_gone(
    lived: Hub, tanlian: Terminal
) -> None:
    with writing(lived.engine) as session:
        for number, proposal in ((1, "platform_corrects"), (2, "platform_confirms")):
            row = require_break(session, number, hold=True)
            propose(session, row, proposal, note="", by="chen", side=Side.HUB, now=NOW + timedelta(hours=1))
            for side in Side:
                sign(session, row, proposal, by="x", side=side, now=NOW + timedelta(hours=1))
    city = tanlian("window", "report", "1", "--json").json[0]
    assert (city["state"], city["signed"], city["live_breaks"], city["broken_mg"]) == ("settled", 2, 0, 0)
    tell(
        lived,
        1,
        CITY,
        lines_of(*((f"BJ{n}", 1, 500_000) for n in (5, 6, 7))),
        NOW + timedelta(hours=2),
        totals_only=True,
    )
    city = tanlian("window", "report", "1", "--json").json[0]
    assert (city["state"], city["matched_mg"], city["same_digest"]) == ("matched", 1_500_000, True)
    deliveries = record_statement(lived, 1, CITY, pl.DataFrame(schema=STATEMENT_SCHEMA), now=NOW + timedelta(hours=3))
    assert deliveries.state == "breaks"
    rows = {row["stream"]: row for row in tanlian("window", "report", "1", "--json").json if row["platform"] == CITY}
    assert (rows[OF_DELIVERIES]["state"], rows[OF_DELIVERIES]["missing_there"], rows["acts"]["state"]) == (
        "breaks",
        1,
        "matched",
    )


def row(platform: str, matched: int | None, broken: int = 0, **more: Any) -> Row:
    told: dict[str, Any] = {
        "window": 1, "platform": platform, "stream": "acts", "state": "breaks" if broken else "matched", "ours_count": 1,
        "theirs_count": 1, "ours_mg": matched or 9, "matched_mg": matched, "broken_mg": broken,
        "breaks": {str(BreakKind.AMOUNT): 1} if broken else {},
    }  # fmt: skip
    return Row(**(told | more))


def test_a_picture_shows_what_is_agreed_and_what_is_broken() -> None:
    rows = [
        row("a", 3_000_000),
        row("b", 1_000_000, 1_000_000),
        row("c", None, state="no_statement", theirs_count=None, ours_mg=500_000),
    ]
    root = ElementTree.fromstring(report_svg(rows, window_id=1))
    bars = [
        (int(bar.get("width", "0")), bar.get("fill")) for bar in root.iter(f"{SVG}rect") if bar.get("height") == "14"
    ]
    agreed, broken, unknown = (bar.get("fill") for bar in root.iter(f"{SVG}rect") if bar.get("height") == "12")
    # The stream with breaks first; lengths are as the grams.
    assert bars == [(110, agreed), (110, broken), (330, agreed), (55, unknown)]
    words = " ".join(text.text or "" for text in root.iter(f"{SVG}text"))
    assert "1,000.000 g agreed, 1,000.000 g in 1 break" in words
    assert "2 of 3 streams compared; 4,000.000 g agreed; 1 breaks live, 1,000.000 g" in words
    assert "500.000 g, no statement" in words
    described = root.find(f"{SVG}desc")
    assert described is not None
    assert "b, acts: 1,000.000 g agreed" in (described.text or "")


def test_a_picture_of_nothing_and_of_very_much_is_a_picture() -> None:
    assert "0 of 0 streams compared" in report_svg([], window_id=1)
    many = ElementTree.fromstring(report_svg([row(f"p{n:03}<&>", 1) for n in range(MOST_BARS + 5)], window_id=1))
    assert any((text.text or "") == "and 5 streams more" for text in many.iter(f"{SVG}text"))


def test_csv_has_every_column_and_nothing_for_what_nobody_knows() -> None:
    (told,) = csv.DictReader(io.StringIO(format_csv([row("a", None, theirs_count=None)])))
    assert (told["theirs_count"], told["matched_mg"], told["compared_at"]) == ("", "", "")
