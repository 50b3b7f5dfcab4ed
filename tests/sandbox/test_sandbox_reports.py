"""What the platforms tell: every way in which real records are hard occurs, and the oracle knows of each."""

import json
from collections import Counter, defaultdict
from datetime import datetime, timedelta

import pytest

from hub.sandbox import acts
from hub.sandbox.people import BEIJING, CITIC, KUAIDIAN, PLATFORMS, SHENZHEN, WECHAT
from hub.sandbox.registers import (
    ALIPAY,
    BAIC,
    BAIDU,
    DIDI,
    EWAYBILL,
    FIRST,
    GREEN_BUTTON,
    HARBIN,
    HELLO_BIKE,
    LUZHOU,
    NAMELESS,
    OLYMPICS,
    PLANET,
    PUHUI,
    SHANXI,
    TAKEAWAY,
    TOYOTA,
    ZHENHAI,
)
from hub.sandbox.reports import Note, Oracle, Report, Reports
from hub.sandbox.town import Town

EXPECTED_NOTES = {
    BEIJING: {Note.PLAIN, Note.LATE, Note.REPLAY, Note.CORRECTION, Note.CANCELLATION, Note.MALFORMED},
    CITIC: {Note.PLAIN, Note.LATE, Note.CANCELLATION, Note.ONCE_AGAIN, Note.MALFORMED},
    KUAIDIAN: {Note.PLAIN, Note.LATE, Note.REPLAY, Note.CORRECTION, Note.CANCELLATION, Note.DIRTY, Note.MALFORMED},
    DIDI: {Note.PLAIN, Note.LATE, Note.REPLAY, Note.CORRECTION, Note.CANCELLATION, Note.DIRTY, Note.MALFORMED},
    BAIDU: {Note.PLAIN, Note.LATE, Note.CORRECTION, Note.DIRTY, Note.MALFORMED},
    HELLO_BIKE: {Note.PLAIN, Note.DIRTY, Note.MALFORMED},
    WECHAT: {Note.PLAIN, Note.LATE, Note.REPLAY, Note.CORRECTION, Note.PARTIAL},
    SHENZHEN: {Note.PLAIN, Note.LATE, Note.REPLAY, Note.CORRECTION, Note.DIRTY},
    LUZHOU: {Note.PLAIN, Note.LATE, Note.REPLAY, Note.CANCELLATION, Note.MALFORMED},
    HARBIN: {Note.PLAIN, Note.LATE, Note.REPLAY, Note.CORRECTION, Note.CANCELLATION, Note.MALFORMED},
    PLANET: {Note.PLAIN, Note.LATE, Note.REPLAY, Note.CORRECTION, Note.CANCELLATION, Note.MALFORMED},
    SHANXI: {Note.PLAIN, Note.LATE, Note.REPLAY, Note.CORRECTION, Note.CANCELLATION, Note.MALFORMED},
    PUHUI: {Note.PLAIN, Note.LATE, Note.REPLAY, Note.CORRECTION, Note.CANCELLATION, Note.MALFORMED},
    TAKEAWAY: {Note.PLAIN, Note.LATE, Note.REPLAY, Note.CANCELLATION, Note.DIRTY, Note.MALFORMED},
    EWAYBILL: {Note.PLAIN, Note.LATE, Note.REPLAY, Note.CORRECTION, Note.CANCELLATION, Note.MALFORMED},
    ZHENHAI: {Note.PLAIN, Note.LATE, Note.REPLAY, Note.CANCELLATION, Note.DIRTY, Note.MALFORMED},
    ALIPAY: {Note.PLAIN, Note.LATE, Note.REPLAY, Note.MALFORMED},
    TOYOTA: {Note.PLAIN, Note.LATE, Note.REPLAY, Note.CORRECTION, Note.CANCELLATION, Note.DIRTY, Note.MALFORMED},
    GREEN_BUTTON: {Note.PLAIN, Note.LATE, Note.REPLAY, Note.CORRECTION, Note.DIRTY},
    BAIC: {Note.PLAIN, Note.LATE, Note.REPLAY, Note.CANCELLATION, Note.DIRTY, Note.MALFORMED},
    OLYMPICS: {Note.PLAIN, Note.MALFORMED},
}


@pytest.fixture(scope="module")
def full() -> Oracle:
    """The town of the demo."""
    return Oracle(Reports(Town(7, 200)))


@pytest.mark.parametrize("platform", PLATFORMS)
def test_every_hardship_of_a_platform_occurs(full: Oracle, platform: str) -> None:
    assert set(full.notes(platform)) == EXPECTED_NOTES[platform]


def test_every_trouble_occurs(full: Oracle) -> None:
    found: dict[str, set[str]] = defaultdict(set)
    for (platform, _), reasons in full.quarantines().items():
        found[platform] |= set(reasons)
    assert found == {
        BEIJING: {
            "number_too_large",
            "missing_zone",
            "time_ahead",
            "unknown_scene",
            "negative_quantity",
            "end_before_start",
        },
        CITIC: {
            "bad_time",
            "missing_scene",
            "missing_time",
            "missing_zone",
            "no_reduction",
            "not_final",
            "time_ahead",
            "unknown_scene",
        },
        KUAIDIAN: {
            "negative_quantity",
            "end_before_start",
            "missing_source_id",
            "missing_status",
            "missing_version",
        },
        DIDI: {"bad_time", "end_before_start", "negative_quantity", "no_reduction", "no_trip", "unknown_status"},
        BAIDU: {"negative_quantity", "no_reduction", "unknown_scene"},
        BAIC: {"bad_time", "missing_role", "no_reduction", "unknown_scene", "unknown_status", "unpaired"},
        OLYMPICS: {"bad_region", "negative_quantity", "unknown_role", "unknown_scene"},
        HELLO_BIKE: {"end_before_start", "negative_quantity", "time_out_of_range"},
        SHENZHEN: {"unpaired", "no_trip", "incomplete_record"},
        LUZHOU: {"bad_time", "time_ahead", "unknown_scene", "unknown_status"},
        HARBIN: {"bad_quantity", "bad_region", "missing_account", "unknown_scene"},
        PLANET: {"bad_quantity", "time_out_of_range", "unknown_scene", "unknown_status"},
        SHANXI: {"end_before_start", "missing_time", "negative_quantity", "unit_mismatch", "unknown_scene"},
        PUHUI: {"bad_key", "bad_time", "unit_mismatch", "unknown_scene", "unknown_status"},
        TAKEAWAY: {"no_reduction", "not_final", "unknown_status", "time_out_of_range", "bad_region"},
        EWAYBILL: {"unknown_status", "missing_time", "bad_region", "bad_time", "time_ahead"},
        ZHENHAI: {
            "not_final",
            "unknown_scene",
            "negative_quantity",
            "missing_status",
            "bad_time",
            "bad_quantity",
            "unit_mismatch",
        },
        ALIPAY: {"bad_quantity", "bad_time", "missing_time", "negative_quantity", "unknown_scene"},
        TOYOTA: {
            "bad_time",
            "end_before_start",
            "missing_account",
            "missing_zone",
            "negative_quantity",
            "no_reduction",
            "unknown_role",
            "unknown_scene",
        },
        GREEN_BUTTON: {"no_reduction", "not_final"},
    }


def test_rows_in_trouble_belong_to_accounts_that_the_hub_sees_throughout(full: Oracle) -> None:
    people = {person.index: person for person in full.town.people}
    for row in full.rows:
        if row.trouble is not None and row.platform not in NAMELESS:
            assert row.platform in people[row.person].links
            assert people[row.person].revokes is None


def test_a_row_is_in_trouble_exactly_if_reading_it_says_so(full: Oracle) -> None:
    """The oracle's word is checked against the row itself, by a reader that knows the format and not the oracle."""
    for row in full.rows:
        if row.platform in FIRST and not row.stream:
            assert _trouble_of(row) == row.trouble, row.body


def _trouble_of(row: Report) -> str | None:
    document = json.loads(row.body)
    if row.platform == BEIJING:
        return _beijing_trouble(document)
    if row.platform == CITIC:
        if document["type"] == "GOLD_BUY":
            return "unknown_scene"
        try:
            return "time_ahead" if datetime.fromisoformat(document["transactionTime"]).year > 2080 else None
        except ValueError:
            return "bad_time"
    if row.platform == KUAIDIAN:
        order = {name.lower(): value for name, value in document.items()}
        if order["endtime"] < order["starttime"]:
            return "end_before_start"
        return "negative_quantity" if order["totalpower"] < 0 else None
    if row.platform == SHENZHEN:
        return _shenzhen_trouble(document)
    return None


def _beijing_trouble(document: dict[str, object]) -> str | None:
    begin, end = (datetime.fromisoformat(str(document[name])) for name in ("beginTime", "endTime"))
    if document["scene"] == "HOVERBOARD":
        return "unknown_scene"
    if begin.tzinfo is None:
        return "missing_zone"
    if end < begin:
        return "end_before_start"
    if begin.year > 2080:
        return "time_ahead"
    distance = document["distance"]
    if distance == float("inf"):
        return "number_too_large"
    return "negative_quantity" if isinstance(distance, int) and distance < 0 else None


def _shenzhen_trouble(document: dict[str, dict[str, str] | None]) -> str | None:
    sides = [document["tap"]] if "tap" in document else [document["in"], document["out"]]
    if any(side is None for side in sides):
        return "unpaired"
    into, out = sides[0] or {}, sides[-1] or {}
    if len(out) == 9:
        return "incomplete_record"
    return "no_trip" if len(sides) == 2 and into["station"] == out["station"] and out["deal_money"] == "0" else None


def test_every_row_with_an_act_tells_of_the_same_person_and_about_the_same_time(reports: Reports) -> None:
    by_id = {act.act_id: act for act in reports.town.acts}
    for row in reports.told_by(BEIJING, stream=""):
        if row.act_id is None:
            continue
        act, document = by_id[row.act_id], json.loads(row.body)
        assert act.person == row.person
        begin = datetime.fromisoformat(document["beginTime"])
        assert abs(begin - act.start_at) <= timedelta(seconds=60)


def test_a_metro_ride_is_told_by_three_platforms(full: Oracle) -> None:
    seen = Counter(told.platforms for told in full.acts_told(full.linked).values() if told.act.behaviour == acts.METRO)
    assert seen[frozenset({SHENZHEN, BEIJING, CITIC})] >= 10


@pytest.mark.parametrize(
    ("behaviour", "pair"),
    [(acts.BIKE, {BEIJING, CITIC}), (acts.CHARGE, {KUAIDIAN, CITIC}), (acts.BUS, {SHENZHEN, BEIJING})],
)
def test_true_duplicates_cross_platforms(full: Oracle, behaviour: str, pair: set[str]) -> None:
    both = [told for told in full.acts_told().values() if told.act.behaviour == behaviour and told.platforms >= pair]
    assert len(both) >= 10


def test_an_origin_key_is_the_same_wherever_it_is_told_and_missing_at_some(full: Oracle) -> None:
    same = missing = 0
    for told in full.acts_told().values():
        if told.act.behaviour != acts.BIKE or not told.platforms >= {BEIJING, CITIC}:
            continue
        documents = {row.platform: json.loads(row.body) for row in told.rows if not row.stream}
        if not documents.keys() >= {BEIJING, CITIC}:
            continue  # one of them told of it in its second feed only
        keys = {documents[BEIJING]["orderNo"], documents[CITIC]["merchantOrderNo"]} - {"999999999"}
        assert keys <= {told.act.order_no, None}
        same += keys == {told.act.order_no}
        missing += None in keys
    assert same >= 50
    assert missing >= 50


def test_a_charge_that_the_bank_paid_carries_the_number_of_the_charge(full: Oracle) -> None:
    for told in full.acts_told().values():
        if told.act.behaviour == acts.CHARGE:
            assert len(told.act.order_no) == 27
            for row in told.rows:
                key = json.loads(row.body).get("merchantOrderNo")
                assert key in (None, told.act.order_no, "999999999")


def test_a_replay_is_the_same_bytes_and_comes_after_what_it_repeats(reports: Reports) -> None:
    first: dict[tuple[str, str, str, int], str] = {}
    replays = 0
    for row in reports.rows:
        key = (row.platform, row.stream, row.source_id, row.version)
        if row.platform == WECHAT:
            continue  # told by days and not by editions: the next test
        if row.note is Note.REPLAY:
            replays += 1
            assert first[key] == row.body
        else:
            assert key not in first
            first[key] = row.body
    assert replays > 20


def test_steps_are_told_again_until_they_are_final(reports: Reports) -> None:
    last: dict[str, int] = {}
    for row in reports.told_by(WECHAT):
        step = json.loads(row.body)["step"]
        if row.note in (Note.PLAIN, Note.PARTIAL, Note.LATE):
            assert row.source_id not in last
        elif row.note is Note.REPLAY:
            assert last[row.source_id] == step
        else:
            assert last[row.source_id] < step
        last[row.source_id] = step
    truth = {
        f"{person.accounts[WECHAT]}|{act.start_at + timedelta(hours=8):%Y-%m-%d}": act.quantity_micro // 1_000_000
        for person in reports.town.people
        for act in reports.town.acts_of(person)
        if act.behaviour == acts.WALK
    }
    assert last == truth


def test_corrections_change_the_quantity_and_keep_the_id(reports: Reports) -> None:
    originals = {row.source_id: row for row in reports.told_by(KUAIDIAN) if row.note is Note.PLAIN}
    corrections = [row for row in reports.told_by(KUAIDIAN) if row.note is Note.CORRECTION]
    assert corrections
    for row in corrections:
        was, now = (
            {name.lower(): value for name, value in json.loads(body).items()}
            for body in (originals[row.source_id].body, row.body)
        )
        assert now["totalpower"] < was["totalpower"]
        assert now["starttime"] == was["starttime"]


def test_some_corrections_cross_into_a_later_part(reports: Reports) -> None:
    first_part = {(row.platform, row.source_id): row.part for row in reports.rows if row.version == 1}
    crossed = [row for row in reports.rows if row.version == 2 and row.part > first_part[row.platform, row.source_id]]
    assert {row.platform for row in crossed} >= {BEIJING, CITIC, WECHAT}


def test_late_rows_are_delivered_in_a_later_part_than_they_happened(reports: Reports) -> None:
    by_id = {act.act_id: act for act in reports.town.acts}
    late = [row for row in reports.rows if row.note is Note.LATE]
    assert {row.platform for row in late} >= {BEIJING, CITIC, SHENZHEN, WECHAT}
    for row in late:
        assert row.act_id is not None
        assert reports.town.part_of(by_id[row.act_id].start_at) < row.part


def test_a_feed_only_ever_grows_at_its_end(reports: Reports) -> None:
    rows = reports.told_by(CITIC, stream="")
    times = [json.loads(row.body)["updatedAt"] for row in rows]
    assert times == sorted(times)
    assert [row.part for row in rows] == sorted(row.part for row in rows)


def test_parts_hold_every_row_once(reports: Reports) -> None:
    for platform in PLATFORMS:
        parts = [row for part in range(1, reports.town.parts + 1) for row in reports.told_by(platform, part)]
        assert len(parts) == len(reports.told_by(platform)) > 0
        assert {id(row) for row in parts} == {id(row) for row in reports.told_by(platform)}


def test_a_cancelled_record_is_no_longer_alive(oracle: Oracle) -> None:
    alive = {(row.platform, row.stream, row.source_id) for row in oracle.live_rows}
    cancelled = [row for row in oracle.rows if row.note is Note.CANCELLATION]
    assert cancelled
    assert all((row.platform, row.stream, row.source_id) not in alive for row in cancelled)


def test_before_the_cancellation_is_delivered_the_record_is_alive(reports: Reports) -> None:
    crossing = next(
        row for row in reports.rows if row.note is Note.CANCELLATION and _first_part(reports, row) < row.part
    )
    before = Oracle(reports, parts=crossing.part - 1)
    assert (crossing.platform, crossing.source_id) in {(row.platform, row.source_id) for row in before.live_rows}


def _first_part(reports: Reports, row: Report) -> int:
    return min(one.part for one in reports.rows if (one.platform, one.source_id) == (row.platform, row.source_id))


def test_the_oracle_counts_only_what_linked_accounts_tell(oracle: Oracle) -> None:
    everything, seen = oracle.acts_told(), oracle.acts_told(oracle.linked)
    assert set(seen) < set(everything)
    silent = {person.index for person in oracle.town.people if not person.links}
    assert silent
    assert not any(told.act.person in silent for told in seen.values())
    assert sum(oracle.unlinked_rows(platform) for platform in PLATFORMS) > 0


def test_platforms_deliver_rows_of_people_who_never_consented(oracle: Oracle) -> None:
    for platform in (BEIJING, CITIC, WECHAT, SHENZHEN):
        assert oracle.unlinked_rows(platform) > 0


def test_the_summary_adds_up(oracle: Oracle) -> None:
    summary = oracle.summary()
    rows = summary["rows"]
    assert isinstance(rows, dict)
    assert sum(rows.values()) == len(oracle.rows)
    assert json.loads(json.dumps(summary)) == summary


def test_the_lines_of_a_card_file_are_the_taps_of_its_rides(reports: Reports) -> None:
    for row in reports.told_by(SHENZHEN):
        document = json.loads(row.body)
        taps = [tap for tap in (document.get("in"), document.get("out"), document.get("tap")) if tap is not None]
        assert [json.loads(line) for line in row.lines] == taps
        assert all(isinstance(value, str) for tap in taps for value in tap.values())


def test_a_claim_is_what_the_row_says(reports: Reports) -> None:
    for row in reports.told_by(BEIJING, stream=""):
        said = json.loads(row.body)["carbonReduction"]
        assert row.claimed_mg == (0 if said is None else round(float(said) * 1000))
    for row in reports.told_by(CITIC, stream=""):
        said = json.loads(row.body)["carbonG"]
        assert row.claimed_mg == (0 if said is None else int(said) * 1000)
