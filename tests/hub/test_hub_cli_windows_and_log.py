"""Windows, the quarantine, the audit and the log by the command line."""

from datetime import UTC, datetime
from decimal import Decimal

from tests_support.deliveries import BEIJING, act, delivery
from tests_support.people import link_person
from tests_support.terminal import Terminal
from tests_support.web import look_up

from hub.context import Hub
from hub.db import reading
from hub.log.note import parse_vkey
from hub.log.tlogproof import verify_leaf
from hub.participants import open_platform
from hub.pipeline import take_delivery
from hub.worker import Worker

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
CITY = "beijing-green-life"


def test_a_window_goes_its_way_by_the_command_line_and_only_in_order(tanlian: Terminal, opened: Hub):
    tanlian("participants", "add", tanlian.write("beijing.json", BEIJING))
    link_person(opened, "li", {CITY: "bj-1"}, set(BEIJING["behaviours"]), NOW)
    with reading(opened.engine) as session:
        city = open_platform(session, opened.ring, CITY)
    take_delivery(opened, city, delivery("d1", act("1")), now=NOW)

    assert "1" in tanlian("window", "finalize", "1").complaint  # still open
    assert "not cleared" in tanlian("window", "reconcile", "1").complaint
    assert tanlian("window", "seal", "--json").json["window"] == 1
    assert "window 1" in tanlian("window", "finalize", "1").complaint
    assert tanlian("window", "reconcile", "1", "--json").json == {CITY: {"state": "no_statement"}}
    assert "challenged until" in tanlian("window", "finalize", "1").complaint
    ran = tanlian("window", "finalize", "1", "--waive-challenge")
    assert (ran.code, "window 1 is final" in ran.out) == (0, True)
    assert "final" in tanlian("window", "finalize", "1", "--waive-challenge").complaint
    windows = tanlian("window", "list", "--json").json
    assert [(one["window"], one["state"], one["cleared"]) for one in windows] == [
        (1, "final", True),
        (2, "open", False),
    ]
    assert windows[0]["root"] in ran.out
    assert look_up(opened, "SELECT SUM(mg) FROM posting") in ([(0,)], [(Decimal(0),)])
    for words in (["window", "list"], ["window", "seal"], ["window", "reconcile", "2"]):
        assert tanlian(*words).code == 0


def test_an_unknown_window_is_one_line(tanlian: Terminal):
    for words in ("reconcile", "finalize"):
        for number in ("99", "0"):
            assert "no window" in tanlian("window", words, number).complaint
        assert tanlian("window", words, str(10**20)).code == 2


# The quarantine.


def test_set_aside_rows_are_shown_translated_with_a_corrected_mapping_and_given_up(
    tanlian: Terminal, opened: Hub, corrected: str
):
    assert tanlian("quarantine", "list", "--json").json == []
    tanlian("participants", "add", tanlian.write("beijing.json", BEIJING))
    link_person(opened, "li", {CITY: "bj-1"}, set(BEIJING["behaviours"]), NOW)
    with reading(opened.engine) as session:
        platform = open_platform(session, opened.ring, CITY)
    take_delivery(opened, platform, delivery("d1", act("1", scene="RIDE"), act("2", scene="ROCKET")), now=NOW)
    (told,) = tanlian("quarantine", "list", "--json").json
    assert (told["reason"], told["state"], told["rows"], told["kept"]) == ("unknown_scene", "open", 2, 2)
    assert "beijing" in tanlian("quarantine", "list").out
    shown = tanlian("quarantine", "show", CITY)
    assert "Open rows" in shown.out
    assert "ROCKET" not in shown.out
    assert tanlian("quarantine", "replay", CITY, "--json").json["rows"] == 0
    tanlian("participants", "add", tanlian.write("beijing.json", BEIJING | {"mapping": corrected}))
    ran = tanlian("quarantine", "replay", CITY)
    assert (
        ran.code,
        " ".join(ran.out.split()).startswith(f"{CITY}: 1 of 2 rows translate with {corrected}: 1 taken"),
    ) == (0, True)
    (left,) = tanlian("quarantine", "show", CITY, "--json").json
    assert tanlian("quarantine", "discard", str(left["row"])).out == "1 rows discarded\n"
    assert "discarded already" in tanlian("quarantine", "discard", str(left["row"])).complaint
    assert "no quarantined row 99" in tanlian("quarantine", "discard", "99").complaint
    assert "no participant" in tanlian("quarantine", "replay", "nobody").complaint
    assert tanlian("quarantine", "show", CITY, "--json").json == []


# The audit and the log.


def test_the_audit_of_a_sound_hub_holds_and_that_of_a_damaged_one_exits_1(tanlian: Terminal, opened: Hub):
    tanlian("participants", "add", tanlian.write("beijing.json", BEIJING))
    link_person(opened, "li", {CITY: "bj-1"}, set(BEIJING["behaviours"]), NOW)
    with reading(opened.engine) as session:
        city = open_platform(session, opened.ring, CITY)
    take_delivery(opened, city, delivery("d1", act("1")), now=NOW)
    tanlian("window", "seal")
    Worker(opened).round()
    ran = tanlian("audit", "--json")
    told = ran.json
    assert (ran.code, told["failed"]) == (0, 0), [one for one in told["checks"] if not one["ok"]]
    assert told["passed"] == len(told["checks"]) > 10
    assert f"{told['passed']} passed, 0 failed" in tanlian("audit").out
    with opened.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE decision SET counted_mg = counted_mg + 1")
    assert tanlian("audit").code == 1
    damaged = tanlian("audit", "--json")
    assert (damaged.code, damaged.json["failed"] > 0) == (1, True)
    assert next(one for one in damaged.json["checks"] if not one["ok"])["offenders"]


def test_the_log_is_exported_and_verified_and_a_flipped_byte_is_found(tanlian: Terminal, opened: Hub):
    tanlian("participants", "add", tanlian.write("beijing.json", BEIJING))
    tanlian("participants", "suspend", CITY)
    Worker(opened).round()
    key = tanlian("log", "key").out.strip()
    assert key.startswith("tanlian.local/log+")
    folder = tanlian.folder / "log"
    assert "2 entries" in tanlian("log", "export", "--dir", folder).out
    assert tanlian("log", "export", "--dir", folder).code == 0  # again, over itself
    ran = tanlian("log", "verify", "--dir", folder, "--json")
    assert (ran.code, ran.json["size"]) == (0, 2)
    assert tanlian("log", "verify", "--dir", folder, "--key", key).out.startswith("verified: 2 entries")
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole = file.read_bytes()
        file.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
        broken = tanlian("log", "verify", "--dir", folder, "--json")
        assert broken.code == 1, file
        file.write_bytes(whole)
    assert tanlian("log", "verify", "--dir", folder).code == 0
    kept = tanlian.write("kept", (folder / "checkpoint").read_text())
    tanlian("participants", "add", tanlian.write("beijing.json", BEIJING))
    Worker(opened).round()
    assert tanlian("log", "verify", "--dir", folder, "--seen", kept).code == 0
    kept.write_bytes(kept.read_bytes()[:-5] + b"AAA=\n")
    assert tanlian("log", "verify", "--dir", folder, "--seen", kept).complaint
    proof, entry = tanlian.folder / "proof", tanlian.folder / "entry"
    ran = tanlian("log", "prove", "1", "--dir", folder, "--out", proof, "--entry", entry)
    assert (ran.code, "entry 1 is in the log of 2 entries" in ran.out) == (0, True)
    assert verify_leaf(entry.read_bytes(), proof.read_bytes(), parse_vkey(key)).size == 2
    assert tanlian("log", "prove", "1", "--dir", folder, "--key", key, "--json").json["proof"] == proof.read_text()
    assert "none with index 2" in tanlian("log", "prove", "2", "--dir", folder).complaint
    assert tanlian("log", "prove", "1", "--dir", folder, "--key", "no key").complaint
    assert tanlian("log", "prove", "1").code == 2
    shown = folder / "checkpoint"
    shown.write_bytes(shown.read_bytes().replace(b"\n2\n", b"\n3\n"))
    ran = tanlian("log", "verify", "--dir", folder)
    assert (ran.code, "NOT VERIFIED" in ran.out) == (1, True)


def test_a_log_that_is_not_there_or_another_one_s_key_is_not_verified(tanlian: Terminal):
    assert tanlian("log", "verify", "--dir", tanlian.folder / "missing").code == 1
    assert tanlian("log", "verify", "--url", "http://127.0.0.1:1/log").code == 1
    assert tanlian("log", "verify", "--dir", tanlian.folder, "--key", "no key").complaint
    file = tanlian.write("a-file", "x")
    assert tanlian("log", "export", "--dir", file).complaint
