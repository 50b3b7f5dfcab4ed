"""A copy of everything for the person, signed; and being forgotten from the portal and the command line."""

import csv
import io
import json
import os
import re
import signal
import stat
import subprocess
import sys
import threading
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import SQLModel
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import LinkedPerson, link_person
from tests_support.portal import PASSWORD, Visitor, give_password
from tests_support.web import Caller, count, look_up

import hub.staff.tables  # noqa: F401 - fills the metadata
from consent.keyring import load_keyring
from hub.app import create_app
from hub.audit import audit, format_report
from hub.context import Hub
from hub.db import make_engine, reading
from hub.errors import NotFound
from hub.participants import open_platform
from hub.pipeline import clear_dirty, take_delivery
from hub.records.races import DATABASE_ERRORS, lost_a_race
from hub.rights.archive import ArchiveInvalid, format_csv, verify_archive
from hub.rights.erase import erase_person
from hub.rights.export import export_person
from hub.rights.fates import HOLDINGS, Fate

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
ROOT = Path(__file__).resolve().parents[2]
EVIL = "=cmd|' /C calc'!A1"


@pytest.fixture
def li(hub: Hub) -> LinkedPerson:
    beijing = join(hub, BEIJING)
    person = link_person(hub, "li", {"beijing-green-life": "bj-1"}, set(BEIJING["behaviours"]), NOW)
    link_person(hub, "wang", {"beijing-green-life": "wang-account"}, set(BEIJING["behaviours"]), NOW)
    rides = [act("1"), act("2", beginTime="2026-11-18T18:00:00+08:00", endTime="2026-11-18T18:10:00+08:00")]
    theirs = act("3", "wang-account", orderNo="WANGS-ORDER")
    take_delivery(hub, beijing, delivery("d1", *rides, theirs), now=NOW)
    clear_dirty(hub, now=NOW)
    return person


def archive_of(hub: Hub, subject_id: int) -> bytes:
    target = io.BytesIO()
    export_person(hub, subject_id, target)
    return target.getvalue()


def jwks(hub: Hub) -> dict[str, Any]:
    published: dict[str, Any] = Caller(hub).get("/oauth/jwks").json()
    return published


def table(data: bytes, name: str) -> list[dict[str, str]]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return list(csv.DictReader(io.StringIO(archive.read(f"csv/{name}.csv").decode(), newline="")))


def run(hub: Hub, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    settings = {
        "TANLIAN_DATABASE_URL": hub.settings.database_url,
        "TANLIAN_KEYS_DIR": str(hub.settings.keys_dir),
        "TANLIAN_ISSUER": hub.settings.issuer,
    }
    return subprocess.run(
        [sys.executable, "-c", "import hub.cli; hub.cli.main()", *words],
        env=os.environ | settings | environment, capture_output=True, text=True, timeout=120, cwd=ROOT,
    )  # fmt: skip


# --- the copy ---------------------------------------------------------------------------------------------------------------


def test_the_copy_has_everything_and_verifies_with_the_published_keys(hub: Hub, li: LinkedPerson) -> None:
    data = archive_of(hub, li.subject_id)
    account = verify_archive(io.BytesIO(data), jwks(hub))
    assert account["profile"]["name"] == "li"
    assert [(link["platform"], link["account"]) for link in account["links"]] == [("beijing-green-life", "bj-1")]
    assert [version["state"] for version in account["consents"]] == ["requested", "active"]
    assert account["consents"][1]["purposes"] == ["clear", "collect", "credit"]
    payloads = [record["payload"] for record in account["source_records"]]
    assert [payload["orderNo"] for payload in payloads] == ["ORD1", "ORD2"]
    assert [record["behaviour"] for record in account["reduction_records"]] == ["MOB-BIKE"] * 2
    assert [decision["verdict"] for decision in account["decisions"]] == ["counted"] * 2
    assert all(decision["reason"] for decision in account["decisions"])
    assert len(account["events"]) == 2
    assert {receipt["grant_id"] for receipt in account["receipts"]} == {li.grant_id}
    for name in set(account) - {"profile", "issuer", "exported_at"}:
        assert len(table(data, name)) == len(account[name]), name


def test_the_copy_holds_nothing_of_anybody_else_and_no_secret(hub: Hub, li: LinkedPerson) -> None:
    give_password(hub, "li")
    with zipfile.ZipFile(io.BytesIO(archive_of(hub, li.subject_id))) as archive:
        told = "".join(archive.read(name).decode() for name in archive.namelist())
    assert "WANGS-ORDER" not in told
    assert "wang" not in told
    assert str(li.subject_id) not in told
    assert "argon2" not in told


def test_a_changed_copy_is_refused(hub: Hub, li: LinkedPerson) -> None:
    data = archive_of(hub, li.subject_id)
    keys = jwks(hub)

    def changed(name: str, content: bytes | None) -> io.BytesIO:
        target = io.BytesIO()
        with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(target, "w") as new:
            for entry in old.namelist():
                if entry != name:
                    new.writestr(entry, old.read(entry))
            if content is not None:
                new.writestr(name, content)
        return target

    for name, content in (
        ("account.json", b"{}"), ("csv/events.csv", b""), ("csv/links.csv", None), ("extra.txt", b"x"),
        ("signature.jws", b"a.b.c"), ("signature.jws", None),
    ):  # fmt: skip
        with pytest.raises(ArchiveInvalid):
            verify_archive(changed(name, content), keys)
    with pytest.raises(ArchiveInvalid):
        verify_archive(io.BytesIO(b"no archive"), keys)
    stranger = load_keyring(hub.settings.keys_dir.parent / "stranger").signing_key.as_dict(private=False)
    with pytest.raises(ArchiveInvalid):
        verify_archive(io.BytesIO(data), {"keys": [stranger]})


@pytest.mark.parametrize("text", [EVIL, "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_a_text_that_a_spreadsheet_would_run_is_made_text(text: str) -> None:
    rows = [{"text": text, "amount": -5, "nothing": None, "list": ["=1"], "plain": "a=b"}]
    ((*_,), cells) = csv.reader(io.StringIO(format_csv(rows).decode(), newline=""))
    assert cells == [f"'{text}", "-5", "", '["=1"]', "a=b"]


def test_a_platform_cannot_put_a_formula_into_the_copy(hub: Hub) -> None:
    beijing = join(hub, BEIJING)
    person = link_person(hub, "li", {"beijing-green-life": EVIL}, set(BEIJING["behaviours"]), NOW)
    take_delivery(hub, beijing, delivery("d1", act("1", EVIL, orderNo=EVIL)), now=NOW)
    data = archive_of(hub, person.subject_id)
    for name in ("links", "source_records", "consents", "events", "decisions"):
        for row in table(data, name):
            for cell in row.values():
                assert not cell.startswith(("=", "+", "@", "\t", "\r")), (name, cell)
    assert table(data, "links")[0]["account"] == f"'{EVIL}"
    assert verify_archive(io.BytesIO(data), jwks(hub))["links"][0]["account"] == EVIL


def test_the_copy_is_one_button_from_a_page_that_is_one_link_from_home(hub: Hub, li: LinkedPerson) -> None:
    give_password(hub, "li")
    browser = Visitor(hub)
    browser.sign_in()
    assert 'href="/data"' in browser.see("/").text
    step = browser.see("/data")
    assert 'action="/data/export"' in step.text
    answer = browser.send("/data/export").answer
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["cache-control"] == "no-store"
    assert "attachment" in answer.headers["content-disposition"]
    assert verify_archive(io.BytesIO(answer.content), jwks(hub))["profile"]["name"] == "li"


def test_the_copy_is_given_to_nobody_else(hub: Hub, li: LinkedPerson) -> None:
    stranger = Visitor(hub)
    assert "/signin" in (stranger.see("/data").goes_to or "")
    assert "/signin" in (stranger.send("/data/export", csrf="x").goes_to or "")
    give_password(hub, "li")
    browser = Visitor(hub)
    browser.sign_in()
    assert browser.send("/data/export", csrf="forged").status == 403
    assert browser.send("/data/export", headers={"origin": "https://evil.example"}).status == 403


def test_the_command_line_writes_a_private_file_once(hub: Hub, li: LinkedPerson, tmp_path: Path) -> None:
    file = tmp_path / "li.zip"
    assert run(hub, "people", "export", "li", "--out", str(file)).returncode == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with file.open("rb") as source:
        assert verify_archive(source, jwks(hub))["profile"]["name"] == "li"
    for words in (("li", "--out", str(file)), ("nobody", "--out", str(tmp_path / "no.zip"))):
        refused = run(hub, "people", "export", *words)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert re.fullmatch(r"tanlian: [^\n]+\n", refused.stderr)
    assert not (tmp_path / "no.zip").exists()


# --- being forgotten ----------------------------------------------------------------------------------------------------------


def test_the_page_says_what_goes_and_what_stays_before_anything_is_done(hub: Hub, li: LinkedPerson) -> None:
    give_password(hub, "li")
    browser = Visitor(hub)
    browser.sign_in()
    shown = browser.see("/data/erase").text
    for holding in HOLDINGS:
        assert holding.what in shown
    assert browser.send("/data/erase").status == 400
    assert browser.send("/data/erase", sure="yes", csrf="forged").status == 403
    assert look_up(hub, "SELECT COUNT(*) FROM person WHERE erased_at IS NOT NULL") == [(0,)]


def test_a_person_erases_themself_and_cannot_come_in_again(hub: Hub, li: LinkedPerson) -> None:
    give_password(hub, "li")
    browser, other_browser = Visitor(hub), Visitor(hub)
    browser.sign_in()
    other_browser.sign_in()
    step = browser.send("/data/erase", sure="yes")
    assert step.status == 200, step.text
    assert "Erased" in step.text
    for one in (browser, other_browser):
        assert "/signin" in (one.see("/").goes_to or "")
    assert Visitor(hub).sign_in().status == 401
    with pytest.raises(NotFound):
        archive_of(hub, li.subject_id)
    report = audit(hub)
    assert report.holds, format_report(report)


def test_erasing_needs_a_proof_that_is_not_older_than_five_minutes(hub: Hub, li: LinkedPerson) -> None:
    give_password(hub, "li")
    browser = Visitor(hub)
    browser.sign_in()
    later = replace(hub, clock=lambda: NOW + timedelta(minutes=6))
    browser.app, browser.hub = create_app(later), later
    for step in (browser.see("/data/erase"), browser.send("/data/erase", sure="yes")):
        assert (step.goes_to or "").startswith("/stepup")
    assert look_up(hub, "SELECT COUNT(*) FROM person WHERE erased_at IS NOT NULL") == [(0,)]
    browser.csrf = browser.see("/stepup?next=/data/erase").csrf
    assert browser.send("/stepup", password=PASSWORD, next="/data/erase").goes_to == "/data/erase"
    browser.csrf = browser.see("/data/erase").csrf
    assert browser.send("/data/erase", sure="yes").status == 200


def test_the_command_line_erases_only_when_told_that_it_is_meant(hub: Hub, li: LinkedPerson) -> None:
    refused = run(hub, "people", "erase", "li")
    assert refused.returncode == 1
    assert "--yes" in refused.stderr
    done = run(hub, "people", "erase", "li", "--yes", "--json")
    assert json.loads(done.stdout) == {"records": 2, "links": 1, "forfeited_mg": 0, "tokens_not_returned": 0}
    assert run(hub, "people", "erase", "li", "--yes").returncode == 1


def test_amounts_by_a_city_s_own_figure_compute_again_after_an_erasure(hub: Hub, li: LinkedPerson) -> None:
    with reading(hub.engine) as session:
        beijing = open_platform(session, hub.ring, "beijing-green-life")
    told = [act("77", scene="BUS", cityCode="110105"), act("78", scene="METRO", cityCode="310104")]
    take_delivery(hub, beijing, delivery("d7", *told), now=NOW)
    figures = look_up(hub, "SELECT record_id, reference_mg, factor_id FROM reduction_record ORDER BY record_id")
    erase_person(hub, li.subject_id, now=NOW + timedelta(seconds=1))
    assert look_up(hub, "SELECT record_id, reference_mg, factor_id FROM reduction_record ORDER BY record_id") == figures
    # A place stays as coarse as the figure that the amount names, and only where it names one.
    places = "SELECT DISTINCT region FROM reduction_record WHERE region IS NOT NULL AND subject_id = "
    assert {region % 100 for (region,) in look_up(hub, f"{places}{li.subject_id}")} <= {0}
    assert audit(hub).holds, format_report(audit(hub))


@pytest.mark.parametrize("point", ["erase.before_destroying:1", "erase.before_commit:1"])
def test_an_erasure_that_was_killed_is_finished_by_another(hub: Hub, li: LinkedPerson, point: str) -> None:
    assert run(hub, "people", "erase", "li", "--yes", TANLIAN_FAILPOINT=point).returncode == -signal.SIGKILL
    assert look_up(hub, "SELECT COUNT(*) FROM person WHERE erased_at IS NOT NULL") == [(0,)]
    assert look_up(hub, "SELECT COUNT(*) FROM link WHERE valid_until IS NULL") == [(1,)]  # wang's
    assert run(hub, "people", "erase", "li", "--yes").returncode == 0
    report = audit(hub)
    assert report.holds, format_report(report)


def test_what_comes_in_while_a_person_is_erased_is_emptied_with_the_rest_or_refused(hub: Hub, li: LinkedPerson) -> None:
    beijing = join(hub, BEIJING)
    stop, taken = threading.Event(), [0]

    def send() -> None:
        process = replace(hub, engine=make_engine(hub.settings.database_url), ring=load_keyring(hub.settings.keys_dir))
        number = 100
        while not stop.is_set():
            number += 1
            begin = f"2026-11-{number % 17 + 1:02d}T{number // 17 % 12 + 7:02d}"
            ride = act(f"{number}", beginTime=f"{begin}:00:00+08:00", endTime=f"{begin}:09:00+08:00")
            try:
                take_delivery(process, beijing, delivery(f"r{number}", ride), now=NOW)
                clear_dirty(process, now=NOW)
            except DATABASE_ERRORS as failure:
                if not lost_a_race(failure):
                    raise
            taken[0] += 1
        process.engine.dispose()

    with ThreadPoolExecutor(1) as pool:
        sender = pool.submit(send)
        while taken[0] < 3 and not sender.done():
            threading.Event().wait(0.005)
        erase_person(hub, li.subject_id, now=NOW + timedelta(seconds=1))
        seen = taken[0]
        while taken[0] < seen + 2 and not sender.done():
            threading.Event().wait(0.005)
        stop.set()
        sender.result(timeout=60)
    clear_dirty(hub, now=NOW + timedelta(seconds=2))
    records = look_up(hub, "SELECT COUNT(*) FROM source_record WHERE subject_id = :s", s=li.subject_id)[0][0]
    assert records >= 5
    assert count(hub, "spent_record") == {"spent_record": records}
    failed = {check.id for check in audit(hub).checks if not check.ok}
    assert failed <= {"collected_as_allowed"}  # the clock of this test stands still for the sender


def test_every_table_that_names_a_person_says_what_becomes_of_it() -> None:
    naming = {table.name for table in SQLModel.metadata.tables.values() if "subject_id" in table.columns}
    assert naming == {holding.table for holding in HOLDINGS}
    assert len({holding.table for holding in HOLDINGS}) == len(HOLDINGS)
    for holding in HOLDINGS:
        assert holding.why or holding.fate is Fate.DELETED
