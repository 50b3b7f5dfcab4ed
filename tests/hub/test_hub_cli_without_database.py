"""What the command line does without a database: receipts, mappings, standards, bulk clearing."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tests_support.deliveries import act
from tests_support.people import link_person
from tests_support.terminal import Terminal
from tests_support.town import served_hub

from consent.metadata import server_jwks
from consent.receipts import load_receipts
from hub.context import Hub
from hub.db import reading

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
CITY = "beijing-green-life"


def test_a_receipt_is_verified_with_a_file_of_keys_alone(bare: Terminal, hub: Hub):
    person = link_person(hub, "li", {CITY: "bj-1"}, {"MOB-BIKE"}, NOW)
    with reading(hub.engine) as session:
        (receipt,) = load_receipts(session, hub.ring, subject_id=person.subject_id)
    file, keys = bare.write("receipt.jwt", receipt.jws), bare.write("jwks.json", server_jwks(hub.ring))
    ran = bare("receipts", "verify", file, "--jwks", keys)
    assert (ran.code, ran.err) == (0, "")
    for words in ("The receipt is valid", "given at 2026-11-20T08:00:00Z", "MOB-BIKE", CITY, receipt.digest.hex()):
        assert words in ran.out, words
    told = bare("receipts", "verify", file, "--jwks", keys, "--json").json
    assert (told["valid"], told["digest"]) == (True, receipt.digest.hex())
    assert told["receipt"]["record_metadata"]["record_id"] == person.grant_id
    assert not (bare.folder / "unmigrated.db").exists()  # no hub was opened for it


def test_what_is_no_receipt_or_cannot_be_read_is_one_line(bare: Terminal, hub: Hub):
    person = link_person(hub, "li", {CITY: "bj-1"}, {"MOB-BIKE"}, NOW)
    with reading(hub.engine) as session:
        (receipt,) = load_receipts(session, hub.ring, subject_id=person.subject_id)
    file, keys = bare.write("receipt.jwt", receipt.jws), bare.write("jwks.json", server_jwks(hub.ring))
    changed = bare.write("changed.jwt", receipt.jws[:-4] + ("AAAA" if receipt.jws[-4:] != "AAAA" else "BBBB"))
    chinese = bare.write("chinese.jwt", "收据")
    text, number = bare.write("keys.txt", "no JSON"), bare.write("keys.json", "7")
    for receipt_file, place, told in (
        (changed, keys, "signature"), (keys, keys, "not a valid receipt"), (chinese, keys, "not a receipt"),
        (bare.folder / "nowhere", keys, "No such file"), (file, bare.folder / "nowhere", "No such file"),
        (file, text, "not a set of keys"), (file, number, "not a set of keys"), (file, "http://127.0.0.1:1/x", "ConnectError"),
    ):  # fmt: skip
        assert told in bare("receipts", "verify", receipt_file, "--jwks", place).complaint, (receipt_file, place)


def test_the_keys_may_be_fetched_from_the_hub(bare: Terminal, hub: Hub):
    with served_hub(hub) as there:
        person = link_person(there, "li", {CITY: "bj-1"}, {"MOB-BIKE"}, NOW)
        with reading(there.engine) as session:
            (receipt,) = load_receipts(session, there.ring, subject_id=person.subject_id)
        file = bare.write("receipt.jwt", receipt.jws)
        ran = bare("receipts", "verify", file, "--jwks", f"{there.settings.issuer}/oauth/jwks")
        assert (ran.code, "valid" in ran.out) == (0, True)
        assert bare("receipts", "verify", file, "--jwks", f"{there.settings.issuer}/nowhere").complaint


# Connectors, mappings, standards: no database is needed or made.


def test_what_the_hub_knows_is_listed_without_a_database(bare: Terminal):
    assert {one["name"] for one in bare("connectors", "list", "--json").json} >= {"signed_push", "tcec102", "werun"}
    assert "beijing-green-life.acts.v1" in bare("mappings", "list", "--json").json
    listed = bare("standards", "show", "--json").json
    assert {"MOB-BIKE", "MOB-METRO", "FOOD-NOTABLEWARE"} <= {one["code"] for one in listed}
    for words in (
        ["connectors", "list"],
        ["mappings", "list"],
        ["standards", "show"],
        ["standards", "show", "MOB-BIKE"],
    ):
        ran = bare(*words)
        assert (ran.code, ran.err) == (0, "")
        assert ran.out
    assert list(bare.folder.iterdir()) == []


def test_one_behaviour_is_shown_with_its_sources_and_an_unknown_one_is_one_line(bare: Terminal):
    told = bare("standards", "show", "MOB-BIKE", "--json").json
    assert (told["code"], told["units"][0]) == ("MOB-BIKE", "km")
    assert [method["id"] for method in told["methods"]] == ["bike-km"]
    assert all(factor["source"] for factor in told["factors"])
    complaint = bare("standards", "show", "MOB-TELEPORT").complaint
    assert "MOB-TELEPORT" in complaint
    assert "MOB-BIKE" in complaint


@pytest.mark.parametrize("form", ["array", "lines"])
def test_a_sample_shows_its_records_and_every_bad_row_with_its_reason(bare: Terminal, form: str):
    rows = [json.dumps(act("1")), json.dumps(act("2", scene="UNICYCLE")), json.dumps(act("3", distance=-1))]
    rows.append(json.dumps(act("4")).replace('"ver": 1', '"ver": 1, "ver": 2'))
    rows.append(json.dumps(act("5")).replace('"distance": 2000', '"distance": NaN'))
    sample = bare.write("sample", "[" + ",\n".join(rows) + "]" if form == "array" else "\n".join(rows) + "\n")
    ran = bare("mappings", "test", "beijing-green-life.acts.v1", sample, "--json")
    assert ran.code == 0
    assert [(one["row"], one["behaviour"]) for one in ran.json["records"]] == [(0, "MOB-BIKE")]
    reasons = {one["row"]: one["reason"] for one in ran.json["quarantined"]}
    assert set(reasons) == {1, 2, 3, 4}
    assert (reasons[1], reasons[2], reasons[3]) == ("unknown_scene", "negative_quantity", "duplicate_key")
    shown = bare("mappings", "test", "beijing-green-life.acts.v1", sample)
    assert "4 quarantined" in shown.out
    assert "unknown_scene" in shown.out


def test_an_unknown_mapping_and_a_broken_sample_are_one_line(bare: Terminal):
    sample = bare.write("sample.json", "[{]")
    assert "nobody.acts.v1" in bare("mappings", "test", "nobody.acts.v1", sample).complaint
    assert "sample.json" in bare("mappings", "test", "beijing-green-life.acts.v1", sample).complaint
    assert bare("mappings", "test", "../../pyproject", sample).complaint


# Bulk clearing.


def records_folder(folder: Path, *, kilometres: tuple[str, ...] = ("2.0", "3.5"), **changes: Any) -> Path:
    folder.mkdir()
    begin = datetime(2026, 10, 5, 8, 0, tzinfo=UTC)
    rows = [
        {
            "record_id": number, "subject_id": 1, "platform": "city", "role": "operator", "behaviour": "MOB-BIKE",
            "start_at": begin + timedelta(hours=number), "end_at": begin + timedelta(hours=number, minutes=10),
            "precision": "second", "quantity": Decimal(km), "unit": "km", "event_key": None, "payment_key": None,
            "region": None, "claimed_mg": None,
        } | changes
        for number, km in enumerate(kilometres, start=1)
    ]  # fmt: skip
    schema = {
        "quantity": pl.Decimal(18, 6), "start_at": pl.Datetime("us", "UTC"), "end_at": pl.Datetime("us", "UTC"),
        "event_key": pl.UInt64, "payment_key": pl.UInt64, "region": pl.Int32, "claimed_mg": pl.Int64,
    }  # fmt: skip
    pl.DataFrame(rows, schema_overrides=schema).write_parquet(folder / "a.parquet")
    return folder


def test_files_are_cleared_without_a_database(bare: Terminal):
    records = records_folder(bare.folder / "records")
    ran = bare("clear", "--records", records, "--out", bare.folder / "out", "--json")
    assert ran.code == 0, ran.err
    told = ran.json
    assert (told["records"], told["events"], told["verdicts"]["counted"]) == (2, 2, 2)
    assert told["counted_mg"] == 33_880 * 2 + 33_880 * 35 // 10
    assert json.loads((bare.folder / "out" / "manifest.json").read_text())["root"] == told["root"]
    decisions = pl.read_parquet(bare.folder / "out" / "decisions" / "*.parquet")
    assert decisions["counted_mg"].sum() == told["counted_mg"]
    assert not (bare.folder / "keys").exists()
    shown = bare("clear", "--records", records, "--out", bare.folder / "out2")
    assert "2 records" in shown.out


def test_a_folder_that_cannot_be_cleared_is_one_line_and_nothing_is_written(bare: Terminal):
    out = bare.folder / "out"
    (bare.folder / "empty").mkdir()
    (bare.folder / "broken").mkdir()
    (bare.folder / "broken" / "a.parquet").write_bytes(b"PAR1 and no more")
    twice = records_folder(bare.folder / "twice", record_id=1)
    wrong = records_folder(bare.folder / "wrong", subject_id="one")
    file = bare.write("file", "x")
    for records in (bare.folder / "missing", bare.folder / "broken", twice, wrong, file):
        assert bare("clear", "--records", records, "--out", out).complaint, records
        assert not out.exists(), records
    occupied = bare.folder / "occupied"
    occupied.mkdir()
    (occupied / "mine.txt").write_text("keep me")
    good = records_folder(bare.folder / "good")
    assert bare("clear", "--records", good, "--out", occupied).complaint
    assert (occupied / "mine.txt").read_text() == "keep me"
