"""The audit passes a hub that lived, and every check of it fails on a database that somebody changed."""

import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL, create_engine, make_url, text
from tests_support.corruption import Corruption, corrupt
from tests_support.corruptions_of_attestations import ATTESTATIONS
from tests_support.corruptions_of_disputes import DISPUTES
from tests_support.corruptions_of_erasure import ERASURE
from tests_support.corruptions_of_exchange import EXCHANGE
from tests_support.corruptions_of_grams import GRAMS
from tests_support.corruptions_of_market import MARKET
from tests_support.corruptions_of_reconciliation import RECONCILIATION
from tests_support.corruptions_of_records import RECORDS
from tests_support.corruptions_of_the_log import LOG
from tests_support.corruptions_of_totals import TOTALS
from tests_support.lived_hub import NAMES, live, open_at
from tests_support.postgres import Cluster, find_binaries

from hub.audit import CHECKS, AuditReport, audit, format_report
from hub.audit.books import Books
from hub.audit.making import all_tasks, gather, make
from hub.audit.readers import ArrowReader, SessionReader
from hub.audit.report import EXAMPLES
from hub.audit.roots import merkle_root
from hub.context import Hub
from hub.db import reading, writing
from hub.log.merkle import commitment_root

CORRUPTIONS = (*GRAMS, *MARKET, *RECORDS, *LOG, *ERASURE, *RECONCILIATION, *TOTALS, *ATTESTATIONS, *DISPUTES, *EXCHANGE)
KINDS = ["sqlite", "postgresql"] if find_binaries() else ["sqlite"]
# Every audit runs every check's statements on its database; so of the second one, one corruption of each check is enough.
FIRST = {case.noticed_by: case for case in reversed(CORRUPTIONS)}
CASES = [
    pytest.param(kind, case, id=f"{kind}-{case.says.replace(' ', '-')}")
    for kind in KINDS
    for case in (CORRUPTIONS if kind == "sqlite" else FIRST.values())
]


@dataclass(frozen=True)
class Template:
    """A database of a hub that lived, to be copied for each test."""

    kind: str
    place: str
    keys_dir: Path


@pytest.fixture(scope="module")
def templates() -> dict[str, Template]:
    """Return what was made so far, by kind of database."""
    return {}


@pytest.fixture(params=KINDS)
def template(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, templates: dict[str, Template]
) -> Template:
    kind = request.param
    if kind not in templates:
        folder = tmp_path_factory.mktemp("lived")
        if kind == "sqlite":
            shutil.copyfile(request.getfixturevalue("sqlite_template"), folder / "tanlian.db")
            url = f"sqlite:///{folder / 'tanlian.db'}"
        else:
            cluster: Cluster = request.getfixturevalue("cluster")
            url = cluster.create_database("lived", template=request.getfixturevalue("postgres_template"))
        hub = open_at(url, folder / "keys")
        live(hub)
        hub.engine.dispose()
        templates[kind] = Template(kind=kind, place=url, keys_dir=folder / "keys")
    return templates[kind]


@pytest.fixture
def lived(request: pytest.FixtureRequest, template: Template, tmp_path: Path) -> Iterator[Hub]:
    if template.kind == "sqlite":
        original = Path(str(make_url(template.place).database))
        assert not original.with_name("tanlian.db-wal").exists()
        shutil.copyfile(original, tmp_path / "tanlian.db")
        url = f"sqlite:///{tmp_path / 'tanlian.db'}"
    else:
        cluster: Cluster = request.getfixturevalue("cluster")
        url = cluster.create_database(template="lived")
    hub = open_at(url, template.keys_dir)
    yield hub
    hub.engine.dispose()
    if template.kind == "postgresql":
        cluster.drop_database(url)


def failed(report: AuditReport) -> set[str]:
    return {check.id for check in report.checks if not check.ok}


def audit_by_columns(hub: Hub) -> AuditReport:
    """Audit as several processes would, in this one."""
    with reading(hub.engine) as session, closing(ArrowReader(hub.engine)) as arrow:
        books = {False: Books(hub=hub, reader=SessionReader(session)), True: Books(hub=hub, reader=arrow)}
        return gather([make(task, books[task.reads_columns]) for task in all_tasks(books[False])])


def test_a_hub_that_lived_passes(lived: Hub) -> None:
    report = audit(lived)
    assert failed(report) == set(), format_report(report)
    assert (report.passed, report.failed, report.holds) == (len(CHECKS), 0, True)


def test_the_hub_that_lived_has_something_for_every_check_to_look_at(lived: Hub) -> None:
    figures = {check.id: check.figure for check in audit(lived).checks}
    nothing = {name: figure for name, figure in figures.items() if not any(c in "123456789" for c in figure)}
    assert nothing == {}
    assert figures["events_count_once"] == "27 counted decisions on 27 events"
    assert figures["reversed_events_have_reversals"] == "3 events that no longer count"
    assert figures["one_version_stands"] == "29 identities"
    assert figures["windows_chain"] == "4 windows"
    with reading(lived.engine) as session:
        assert session.execute(text("SELECT MIN(groups) FROM clearing_window WHERE groups > 0")).scalar_one() > 1


def test_a_hub_that_has_just_begun_passes(hub: Hub) -> None:
    report = audit(hub)
    assert failed(report) == set(), format_report(report)


def test_a_connection_that_has_sorted_before_can_audit(lived: Hub) -> None:
    """SQLite refuses some settings once a connection has used its temporary store."""
    with lived.engine.connect() as connection:
        connection.exec_driver_sql("CREATE TEMPORARY TABLE used (one INTEGER)")
        connection.commit()
    assert audit(lived, jobs=1).holds


def test_two_audits_of_one_database_say_the_same(lived: Hub) -> None:
    assert audit(lived) == audit(lived)


def test_several_processes_say_what_one_says(lived: Hub) -> None:
    corrupt(
        lived,
        "UPDATE reduction_record SET reference_mg = reference_mg + 1",
        "UPDATE decision SET rule = 'none' WHERE record_id = :record_1",
        "DELETE FROM posting WHERE mg > 0",
    )
    told: list[tuple[int, int]] = []
    assert audit(lived, jobs=2, tell=lambda done, of: told.append((done, of))) == audit(lived, jobs=1)
    assert audit(lived).failed > 3
    assert told == [(done, len(told)) for done in range(1, len(told) + 1)]
    with writing(lived.engine) as session:  # nobody holds the database any more
        session.execute(text("DELETE FROM dirty_subject"))


def test_columns_are_read_from_a_file_of_any_name(sqlite_template: Path, tmp_path: Path) -> None:
    """Nothing else opens the file here: two copies of SQLite must not meet in one process."""
    path = tmp_path / "碳 100% #1?mode=rw.db"
    shutil.copyfile(sqlite_template, path)
    engine = create_engine(URL.create("sqlite", database=str(path)))
    with closing(ArrowReader(engine)) as reader:
        assert list(reader.rows("SELECT window_id, state FROM clearing_window", {})) == [(1, "open")]


def test_the_audit_s_own_root_is_the_log_s() -> None:
    for size in range(70):
        entries = [f"{number}".encode() for number in range(size)]
        assert merkle_root(entries) == commitment_root(entries)


def test_every_check_has_a_corruption_that_makes_it_fail() -> None:
    assert {case.noticed_by for case in CORRUPTIONS} == {rule.id for rule in CHECKS}
    assert len({rule.id for rule in CHECKS}) == len(CHECKS)


@pytest.mark.parametrize(("template", "case"), CASES, indirect=["template"])
def test_the_audit_notices(lived: Hub, case: Corruption) -> None:
    known = corrupt(lived, *case.statements)
    report = audit(lived)
    assert failed(report) == {case.noticed_by}, format_report(report)
    (check,) = [check for check in report.checks if not check.ok]
    if lived.engine.dialect.name == "postgresql":  # the two drivers of SQLite must not meet in one process
        assert audit_by_columns(lived) == report
    assert check.wrong >= len(check.offenders) > 0
    assert not check.figure.startswith("could not")
    require_impersonal(report, known)


def test_a_grant_that_did_not_name_the_act_shows_at_every_step(lived: Hub) -> None:
    steps = {"collected_as_allowed", "cleared_as_allowed", "credited_as_allowed"}
    for changed in ("behaviours = '[\"MOB-BUS\"]'", "platforms = '[\"kuaidian\"]'", "recipient = 'other'"):
        corrupt(lived, f"UPDATE grant_version SET {changed} WHERE grant_id = :zhao_grant AND version = 2")
        assert failed(audit(lived)) >= steps


def test_a_check_that_cannot_be_made_fails_and_the_others_are_made(lived: Hub) -> None:
    known = corrupt(
        lived,
        "UPDATE grant_version SET purposes = 'not json' WHERE grant_id = :zhao_grant AND version = 2",
        "DROP TABLE reconciliation",
    )
    report = audit(lived)
    unmade = {check.id for check in report.checks if check.figure.startswith("could not be checked")}
    consents = {"collected_as_allowed", "cleared_as_allowed", "credited_as_allowed"}
    assert unmade == failed(report) == consents | {"changes_have_leaves", "comparisons_recompute"}
    require_impersonal(report, known)


def test_examples_are_few_whatever_the_damage(lived: Hub) -> None:
    corrupt(lived, "UPDATE reduction_record SET reference_mg = 1")
    report = audit(lived)
    (check,) = [check for check in report.checks if not check.ok]
    assert (check.id, len(check.offenders), check.wrong) == ("amounts_recompute", EXAMPLES, 31)
    assert "and 21 more" in format_report(report)
    assert f"1 of {len(CHECKS)} checks FAILED" in format_report(report)


@pytest.mark.parametrize(
    ("seconds", "clashes"), [(0, True), (359, True), (361, False), (720, False)], ids=lambda value: str(value)
)
def test_acts_may_touch_as_far_as_the_policy_tolerates(lived: Hub, seconds: int, clashes: bool) -> None:
    """Two rides of twelve minutes: half of them together is no conflict yet."""
    shift = seconds * 1_000_000
    corrupt(
        lived,
        f"UPDATE event SET start_us = :start_1 + {shift}, end_us = :end_1 + {shift} WHERE event_id = :record_2",
    )
    assert failed(audit(lived)) == ({"no_two_acts_at_once"} if clashes else set())


def test_what_is_told_for_a_day_excludes_nothing(lived: Hub) -> None:
    corrupt(
        lived,
        "UPDATE event SET start_us = :start_1, end_us = :end_1 WHERE event_id = :record_2",
        "UPDATE reduction_record SET precision = 'day' WHERE record_id = :record_2",
    )
    assert failed(audit(lived)) == set()


def test_pages_of_any_size_find_the_same(lived: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    corrupt(
        lived,
        "UPDATE event SET start_us = :start_1, end_us = :end_1 WHERE event_id = :record_2",
        "UPDATE grant_version SET purposes = '[]' WHERE grant_id = :zhao_grant AND version = 2",
        "UPDATE reduction_record SET reference_mg = reference_mg + 1",
    )
    whole = audit(lived)
    monkeypatch.setattr("hub.audit.pages.PAGE_RECORDS", 1)
    assert audit(lived) == whole
    monkeypatch.setattr("hub.audit.books.FEW_VERSIONS", 0)
    monkeypatch.setattr("hub.audit.events.MOST_EVENTS", 5)
    monkeypatch.setattr("hub.audit.windows._RANGE", 2)
    assert audit(lived) == whole
    assert whole.failed == 5


def require_impersonal(report: AuditReport, known: dict[str, Any]) -> None:
    told = format_report(report) + "".join("".join(check.offenders) for check in report.checks)
    personal = [str(known[name.partition(".")[0]]) for name in NAMES[:5]] + [str(known["erased"])]
    assert [word for word in (*personal, *NAMES, "bj-1", "kd-1") if word in told] == []
