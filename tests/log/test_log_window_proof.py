"""The proof that final windows count nothing twice: sound windows hold, and every planted fault is found and named."""

import ast
from collections.abc import Callable
from pathlib import Path

import pytest
from tests_support.window_files import MadeWindow, counted, duplicate, event_lines, key_of, market, two_windows

import hub.log.window_proof
from hub.log.window_proof import MAX_LINE_BYTES, WindowReport, verify_windows

Change = Callable[[MadeWindow, MadeWindow], None]


def judge(tmp_path: Path, one: MadeWindow, two: MadeWindow) -> WindowReport:
    return verify_windows([(made.commit(), made.write(tmp_path / f"{made.window}")) for made in (two, one)])


def test_sound_windows_hold(tmp_path: Path) -> None:
    report = judge(tmp_path, *two_windows())
    assert report.faults == ()
    assert (report.windows, report.decisions, report.events, report.counted_mg) == ((1, 2), 9, 5, 500)
    assert report.holds
    assert report.notes == ()


def test_the_verifier_needs_nothing_but_python() -> None:
    tree = ast.parse(Path(hub.log.window_proof.__file__).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert imported == {"heapq", "collections.abc", "dataclasses", "hashlib", "itertools", "pathlib", "typing"}


def _share_key(one: MadeWindow, two: MadeWindow) -> None:
    one.events = event_lines({1: 100, 3: 250, 7: 50}, keys={3: 1})


def _count_twice(one: MadeWindow, two: MadeWindow) -> None:
    two.decisions = [counted(3, 250), *two.decisions]
    two.events = event_lines({3: 250, 10: 40, 12: 60}, keys={10: 7, 3: 99})


def _key_across(one: MadeWindow, two: MadeWindow) -> None:
    two.reversals = []


def _duplicate_has_amount(one: MadeWindow, two: MadeWindow) -> None:
    one.decisions[1] = "2|1|duplicate|T2|100|1"
    one.events = event_lines({1: 200, 3: 250, 7: 50})


def _counts_for_another(one: MadeWindow, two: MadeWindow) -> None:
    one.decisions[1] = "2|1|counted|T2|0|1"


def _record_twice(one: MadeWindow, two: MadeWindow) -> None:
    one.decisions.insert(2, duplicate(2, 1))


def _wrong_order(one: MadeWindow, two: MadeWindow) -> None:
    two.decisions.reverse()


def _beyond_its_range(one: MadeWindow, two: MadeWindow) -> None:
    two.decisions.append(counted(16, 7))
    two.events = event_lines({10: 40, 12: 60, 16: 7}, keys={10: 7})


def _overlapping_ranges(one: MadeWindow, two: MadeWindow) -> None:
    two.first = 9


def _gap_between_ranges(one: MadeWindow, two: MadeWindow) -> None:
    two.first, two.decisions = 11, [duplicate(8, 12), counted(12, 60)]
    two.events, two.reversals = event_lines({12: 60}), ["7|50"]


def _broken_chain(one: MadeWindow, two: MadeWindow) -> None:
    two.previous_root = key_of(1) * 2


def _false_begin(one: MadeWindow, two: MadeWindow) -> None:
    one.previous_root = key_of(1) * 2
    two.previous_root = one.commit()["root"]


def _act_left_out(one: MadeWindow, two: MadeWindow) -> None:
    one.events = event_lines({1: 100, 3: 300})


def _act_made_up(one: MadeWindow, two: MadeWindow) -> None:
    one.events = event_lines({1: 100, 3: 250, 4: 50})


def _taken_back_twice(one: MadeWindow, two: MadeWindow) -> None:
    two.reversals = ["7|50", "7|50"]


def _serials_twice(one: MadeWindow, two: MadeWindow) -> None:
    one.serials = [market(0, 3, (1, 2), (2, 3))]


def _serials_missing(one: MadeWindow, two: MadeWindow) -> None:
    one.serials = [market(0, 3, (1, 1), (3, 3))]


def _serials_given_again(one: MadeWindow, two: MadeWindow) -> None:
    two.serials = [market(2, 5, (3, 5))]


def _market_forgotten(one: MadeWindow, two: MadeWindow) -> None:
    two.serials = []


LIES: list[tuple[Change, str, str]] = [
    (_share_key, "key_twice", "window 1: act 3 has the key"),
    (_count_twice, "act_twice", "act 3 counts in window 1 and in window 2"),
    (_key_across, "key_twice", "acts 7 of window 1 and 10 of window 2 have the key"),
    (_duplicate_has_amount, "amount_without_counting", "record 2 is duplicate and has 100 mg"),
    (_counts_for_another, "counts_by_another", "record 2 counts act 1, not its own"),
    (_record_twice, "record_twice", "window 1 decides about record 2 twice"),
    (_wrong_order, "not_in_order", "window 2: record 10 comes after record 12"),
    (_beyond_its_range, "outside_range", "window 2 ends with record 15 and decides about 16"),
    (_overlapping_ranges, "ranges_overlap", "window 2 begins with record 9, window 1 ends with 9"),
    (_gap_between_ranges, "ranges_gap", "no window has the records between windows 1 and 2"),
    (_broken_chain, "broken_chain", "window 2 does not name the root of window 1"),
    (_false_begin, "broken_chain", "window 1 does not begin the chain"),
    (_act_left_out, "act_without_key", "1 counted acts are not listed by key"),
    (_act_made_up, "act_not_counted", "act 4 is listed twice, or no decision counts it"),
    (_taken_back_twice, "reversed_twice", "window 2 takes act 7 back twice"),
    (_serials_twice, "serials_overlap", "serials 2 to 3 of gd-exchange overlap what ends with 2"),
    (_serials_missing, "serials_gap", "serials 2 to 2 of gd-exchange are missing"),
    (_serials_given_again, "serials_overlap", "window 2: serials of gd-exchange do not go on where window 1 ends"),
    (_market_forgotten, "serials_gap", "window 2 does not name the market gd-exchange any more"),
]


@pytest.mark.parametrize(("lie", "reason", "detail"), LIES, ids=[lie.__name__ for lie, _, _ in LIES])
def test_a_hub_that_commits_to_a_lie_is_found_out_by_anybody(
    tmp_path: Path, lie: Change, reason: str, detail: str
) -> None:
    one, two = two_windows()
    lie(one, two)
    report = judge(tmp_path, one, two)
    assert not report.holds
    assert any(fault.reason == reason and detail in fault.detail for fault in report.faults), report.faults


@pytest.mark.parametrize(
    ("name", "lines", "reason"),
    [
        ("decisions", [counted(1, 101)], "other_list"),
        ("decisions", [counted(1, 101)], "wrong_sum"),
        ("decisions", [counted(1, 100), duplicate(2, 1)], "wrong_count"),
        ("events", event_lines({1: 100}, keys={1: 5}), "other_list"),
        ("events", [], "wrong_count"),
        ("events", [], "act_without_key"),
        ("reversals", ["1|100"], "other_list"),
    ],
)
def test_a_list_that_is_not_the_one_committed_to_is_found(
    tmp_path: Path, name: str, lines: list[str], reason: str
) -> None:
    made = MadeWindow(window=1, first=1, last=1, decisions=[counted(1, 100)], events=event_lines({1: 100}))
    manifest = made.commit()
    setattr(made, name, lines)
    report = verify_windows([(manifest, made.write(tmp_path / "1"))])
    assert reason in [fault.reason for fault in report.faults]


@pytest.mark.parametrize(
    "change",
    [
        {"counted_mg": "99"}, {"counted_mg": 100}, {"records": 2}, {"first_seq": "1"}, {"first_seq": 2}, {"last_seq": 0},
        {"last_seq": 2**62}, {"previous_root": key_of(2) * 2}, {"root": key_of(2) * 2}, {"root": None},
        {"decisions_root": key_of(2) * 2}, {"decisions_root": "zz"}, {"events": None}, {"events": {"count": 1}},
        {"events": {"count": 1, "mg": "100", "root": key_of(3) * 2}}, {"reversals": []}, {"serials": None}, {"serials": [1]},
        {"serials": [{"market": "m"}]}, {"serials": [{"market": "m", "after": 0, "last": 1, "ranges": [7]}]},
        {"serials": [{"market": "m", "after": 0, "last": 1, "ranges": []}]}, {"window": "1"}, {"window": True},
    ],
    ids=str,
)  # fmt: skip
def test_a_manifest_of_other_figures_or_of_no_form_never_holds(tmp_path: Path, change: dict[str, object]) -> None:
    made = MadeWindow(window=1, first=1, last=1, decisions=[counted(1, 100)], events=event_lines({1: 100}))
    report = verify_windows([(made.commit(**change), made.write(tmp_path / "1"))])
    assert not report.holds


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("decisions", b"1|1|counted|T2|100\n"), ("decisions", b"1|1|counted|T2|100|1"), ("decisions", b"x|1|counted|T2|1|1\n"),
        ("decisions", b"1|1|counted|T2|-1|1\n"), ("decisions", b"1" * (MAX_LINE_BYTES + 2) + b"\n"),
        ("decisions", "１|1|counted|T2|1|1\n".encode()), ("events", b"k|1\n"), ("events", b"k|1|1e3\n"),
        ("reversals", b"1|100|2\n"), ("reversals", b"\x00\n"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_of_the_form_is_told_with_its_line(tmp_path: Path, name: str, content: bytes) -> None:
    made = MadeWindow(window=1, first=1, last=1, decisions=[counted(1, 100)], events=event_lines({1: 100}))
    folder = made.write(tmp_path / "1")
    (folder / name).write_bytes(content)
    (fault,) = verify_windows([(made.commit(), folder)]).faults[-1:]
    assert fault.reason == "unreadable"


def test_what_is_missing_is_named_and_what_was_not_given_is_noted(tmp_path: Path) -> None:
    _, two = two_windows()
    folder = two.write(tmp_path / "2")
    assert verify_windows([(two.commit(), folder)]).holds
    three = MadeWindow(window=4, first=20, last=20, decisions=[], events=[], serials=two.serials)
    report = verify_windows([(two.commit(), folder), (three.commit(), three.write(tmp_path / "4"))])
    assert report.notes == ("windows 3 to 3 were not given: the chain is not checked there",)
    assert report.holds
    twice = verify_windows([(two.commit(), folder), (two.commit(), folder)])
    assert "window_twice" in [fault.reason for fault in twice.faults]
    (folder / "events").unlink()
    assert [fault.reason for fault in verify_windows([(two.commit(), folder)]).faults] == ["unreadable"]
    older = verify_windows([({"window": 1, "root": key_of(1)}, folder)])
    assert older.notes == ("window 1 became final before its keys were kept: it is not checked",)
