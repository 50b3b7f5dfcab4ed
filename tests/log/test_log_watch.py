"""How far the log may be behind: the alarm, then the refusal, what goes on all the same, and a restored database."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, text
from structlog.testing import capture_logs
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.doors import is_problem
from tests_support.fetching import Clock
from tests_support.people import LinkedPerson, link_person
from tests_support.pushes import DOOR, push
from tests_support.web import Caller, count, look_up

from consent.withdraw import withdraw_grant
from hub.changes import log_change, log_consent_change
from hub.context import Hub, make_watch, open_hub
from hub.db import writing
from hub.keys.rotation import rotate_log
from hub.log.backlog import load_backlog
from hub.log.leaves import Kind
from hub.log.sequencer import ForkRefused, Sequencer
from hub.log.watch import LogLagging, State, find_watch, is_ending, watch_log
from hub.log_signing import log_signer
from hub.participants import Platform, Status, set_status
from hub.pipeline import take_delivery
from hub.rights.erase import erase_person
from hub.settings import Settings
from hub.worker import Worker

ALARM, STOP = timedelta(seconds=60), timedelta(hours=4)


@dataclass
class Rig:
    """A hub that lives by a clock, is watched at every look, and has one person whose leaves nobody has signed."""

    hub: Hub
    clock: Clock
    beijing: Platform
    li: LinkedPerson

    def state(self) -> State:
        watch = find_watch(self.hub.engine)
        assert watch is not None
        return watch.look(self.hub.engine, self.clock()).state

    def sign(self) -> int:
        file = self.hub.settings.log_head_file
        return Sequencer(self.hub.engine, log_signer(self.hub), file).run_until_current(self.clock()).size

    def adopt(self, name: str) -> None:
        """Do something that has a leaf and ends nothing."""
        with writing(self.hub.engine) as session:
            log_change(session, Kind.MAPPING_ADOPTED, name, self.clock(), {"mapping": name})


@pytest.fixture
def rig(hub: Hub) -> Rig:
    clock = Clock()
    settings = hub.settings.model_copy(update={"log_alarm_after": ALARM, "log_stop_after": STOP})
    ticking = replace(hub, clock=clock, settings=settings)
    watch_log(ticking.engine, make_watch(settings, look_again_s=0))
    beijing = join(ticking, BEIJING)
    li = link_person(ticking, "li", {"beijing-green-life": "bj-1"}, set(BEIJING["behaviours"]), clock())
    return Rig(ticking, clock, beijing, li)


def figures(caller: Caller) -> dict[str, float]:
    families = text_string_to_metric_families(caller.get("/metrics").text)
    return {sample.name: sample.value for family in families for sample in family.samples}


def test_the_alarm_comes_before_the_refusal_and_both_are_told_everywhere(rig: Rig) -> None:
    caller, start = Caller(rig.hub), rig.clock()
    told: list[tuple[str, str]] = []
    for passed, state in (
        (timedelta(0), "current"), (ALARM, "current"), (ALARM + timedelta(seconds=1), "late"), (STOP, "late"),
        (STOP + timedelta(seconds=1), "stopped"),
    ):  # fmt: skip
        rig.clock.now = start + passed
        with capture_logs() as lines:
            ready, seen = caller.get("/readyz"), figures(caller)
        told += [(line["log_level"], line["event"]) for line in lines]
        assert (ready.status_code, ready.json()) == (200, {"status": "ready", "log": state})
        assert seen["tanlian_log_lag_seconds"] == passed.total_seconds()
        assert seen["tanlian_log_state"] == ["current", "late", "stopped", "refused"].index(state)
        assert (seen["tanlian_log_alarm_after_seconds"], seen["tanlian_log_stop_after_seconds"]) == (60, 14_400)
        assert seen["tanlian_log_waiting"] > 0
    rig.sign()
    with capture_logs() as lines:
        assert figures(caller)["tanlian_log_lag_seconds"] == 0
    assert told + [(line["log_level"], line["event"]) for line in lines] == [
        ("warning", "log_late"), ("error", "log_stopped"), ("info", "log_current"),
    ]  # fmt: skip


def test_a_log_too_far_behind_accepts_nothing_and_a_signature_ends_it(rig: Rig) -> None:
    rig.clock.now += STOP
    rig.adopt("in-time")
    rig.clock.now += timedelta(seconds=1)
    stores = ("source_record", "batch", "change_leaf", "log_leaf", "quarantined")
    before, caller = count(rig.hub, *stores), Caller(rig.hub)
    with pytest.raises(LogLagging, match="4 h 0 min behind"):
        rig.adopt("too-late")
    with pytest.raises(LogLagging):
        take_delivery(rig.hub, rig.beijing, delivery("d1", act("1")), now=rig.clock())
    answer = caller.post(DOOR, **push("d2", act("1"), now=rig.clock()))
    assert is_problem(answer, 503, "log_behind")
    assert answer.headers["retry-after"] == "30"
    assert count(rig.hub, *stores) == before
    # What is read and proved goes on, and whoever is told to come back finds it mended.
    assert [caller.get(path).status_code for path in ("/healthz", "/readyz", "/metrics")] == [200] * 3
    assert rig.sign() == before["log_leaf"]
    assert caller.get("/log/checkpoint").status_code == 200
    assert caller.post(DOOR, **push("d2", act("1"), now=rig.clock())).status_code == 200
    assert count(rig.hub, "source_record") == {"source_record": 1}


def test_whoever_ends_something_is_not_kept_waiting_by_the_log(rig: Rig) -> None:
    take_delivery(rig.hub, rig.beijing, delivery("d1", act("1")), now=rig.clock())
    wang = link_person(rig.hub, "wang", {"beijing-green-life": "bj-2"}, set(BEIJING["behaviours"]), rig.clock())
    rig.clock.now += STOP * 2
    assert rig.state() is State.STOPPED
    with writing(rig.hub.engine) as session:
        for change in withdraw_grant(session, grant_id=wang.grant_id, subject_id=wang.subject_id, now=rig.clock()):
            log_consent_change(session, change, rig.clock(), hub=rig.hub)
    assert look_up(rig.hub, "SELECT state FROM link WHERE link_id = :l", l=wang.link_id) == [("revoked",)]
    assert erase_person(rig.hub, rig.li.subject_id, now=rig.clock()).records == 1
    rotate_log(rig.hub)
    with writing(rig.hub.engine) as session:
        assert set_status(session, "beijing-green-life", Status.SUSPENDED, rig.clock())
    with pytest.raises(LogLagging), writing(rig.hub.engine) as session:
        set_status(session, "beijing-green-life", Status.ACTIVE, rig.clock())
    rig.sign()
    assert rig.state() is State.CURRENT


def test_what_ends_is_a_closed_list() -> None:
    ending = [
        (Kind.CONSENT_CHANGED, {"what": "grant.revoked"}), (Kind.LINK_CHANGED, {"what": "link.broken"}),
        (Kind.CLIENT_CHANGED, {"what": "client.deleted"}), (Kind.PARTICIPANT_CHANGED, {"status": "suspended"}),
        (Kind.ATTESTATION_REVOKED, {}), (Kind.SUBJECT_ERASED, {}), (Kind.KEY_ROTATED, {}),
    ]  # fmt: skip
    assert all(is_ending(kind, fields) for kind, fields in ending)
    other: list[tuple[Kind, dict[str, Any]]] = [
        (Kind.CONSENT_CHANGED, {"what": "grant.activated"}), (Kind.LINK_CHANGED, {"what": "link.opened"}),
        (Kind.CLIENT_CHANGED, {"what": "client.changed"}), (Kind.PARTICIPANT_CHANGED, {"status": "active"}),
    ]  # fmt: skip
    assert not any(is_ending(kind, fields) for kind, fields in other)
    always = {kind for kind in Kind if is_ending(kind, {})}
    assert always == {Kind.ATTESTATION_REVOKED, Kind.SUBJECT_ERASED, Kind.KEY_ROTATED}
    assert not is_ending(Kind.ACCESS_MADE, {}), "who could stop the log could look unseen"


def test_a_worker_begins_nothing_that_needs_leaves_while_the_signer_cannot_sign(rig: Rig) -> None:
    take_delivery(rig.hub, rig.beijing, delivery("d1", act("1")), now=rig.clock())
    assert rig.sign() > 0
    head_file = rig.hub.settings.log_head_file
    kept = head_file.read_bytes()
    head_file.unlink()
    rig.adopt("one-more")
    rig.clock.now += STOP + timedelta(seconds=1)
    worker = Worker(rig.hub)
    begun = [job.name for job in worker.jobs if not job.ends]
    with capture_logs() as lines:
        worker.round()  # signing is refused here, so from the next round on nothing is begun
        before = count(rig.hub, "change_leaf")
        worker.jobs = tuple(replace(job, run=_never) if job.name in begun else job for job in worker.jobs)
        rig.clock.now += timedelta(seconds=10)
        worker.round()
    assert count(rig.hub, "change_leaf") == before
    assert [line["event"] for line in lines].count("log_not_signed") == 1
    head_file.write_bytes(kept)
    rig.clock.now += timedelta(seconds=10)
    worker = Worker(rig.hub)
    while worker.round():
        rig.clock.now += timedelta(seconds=2)
    assert rig.state() is State.CURRENT
    assert count(rig.hub, "dirty_subject") == {"dirty_subject": 0}


def _never() -> bool:
    raise AssertionError("a job that needs leaves was begun")


def test_the_log_is_signed_in_a_thread_of_its_own_and_its_failure_ends_the_worker(rig: Rig) -> None:
    worker = Worker(rig.hub)
    jobs = {job.name: job for job in worker.jobs}
    signing = jobs["sign"]
    assert signing.apart
    done: list[str] = []

    def sign() -> bool:
        done.append("sign")
        if len(done) > 3:
            raise RuntimeError("a bug")
        return signing.run()

    def slow() -> bool:
        while not worker.stopping.wait(0.01):
            pass  # a platform that never answers, say
        return False

    worker.jobs = (
        replace(jobs["fetch"], run=slow), replace(signing, run=sign, every=timedelta(milliseconds=1)),
    )  # fmt: skip
    with pytest.raises(RuntimeError, match="a bug"):
        worker.run()
    assert done == ["sign"] * 4
    assert rig.state() is State.CURRENT


# A restored database.


def _restore(engine: Engine, change: Callable[[], None]) -> None:
    """Let the log's tables be as they were before a change."""
    saved = {}
    tables = ("change_leaf", "log_leaf", "log_body", "log_tile", "log_head")
    with writing(engine) as session:
        for table in tables:
            saved[table] = [dict(row) for row in session.execute(text(f"SELECT * FROM {table}")).mappings()]
    change()
    with writing(engine) as session:
        session.execute(text("DELETE FROM log_entry"))
        for table in ("log_body", "change_leaf", "log_leaf", "log_tile", "log_head"):
            session.execute(text(f"DELETE FROM {table}"))
        for table in tables:
            for row in saved[table]:
                names = ", ".join(row)
                session.execute(
                    text(f"INSERT INTO {table} ({names}) VALUES ({', '.join(f':{name}' for name in row)})"), row
                )


def test_a_restored_database_accepts_nothing_at_once_and_signing_it_leaves_no_trace(rig: Rig) -> None:
    old = rig.sign()

    def go_on() -> None:
        rig.adopt("what-the-backup-lacks")
        assert rig.sign() == old + 1

    _restore(rig.hub.engine, go_on)
    caller = Caller(rig.hub)
    rig.clock.now += timedelta(seconds=1)
    assert rig.state() is State.REFUSED
    ready = caller.get("/readyz")
    assert (ready.status_code, "restored backup" in ready.json()["reason"]) == (503, True)
    assert figures(caller)["tanlian_log_state"] == 3
    assert is_problem(caller.post(DOOR, **push("d2", act("1"), now=rig.clock())), 503, "log_behind")
    with pytest.raises(LogLagging, match="tanlian log status"):
        rig.adopt("another-history")
    with pytest.raises(LogLagging):  # even an ending: it would be lost with this database
        erase_person(rig.hub, rig.li.subject_id, now=rig.clock())
    # Leaves that came in unwatched, as many as were lost: refused too, and the database goes on saying that it is behind.
    watch = find_watch(rig.hub.engine)
    rig.hub.engine.update_execution_options(tanlian_log_watch=None)
    rig.adopt("unwatched")
    for _ in range(2):
        with pytest.raises(ForkRefused, match=f"another root was signed at size {old + 1}"):
            rig.sign()
    assert watch is not None
    assert watch.look(rig.hub.engine, rig.clock()).state is State.REFUSED
    assert look_up(rig.hub, "SELECT size, sequenced FROM log_head") == [(old, old)]


def test_a_damaged_head_file_is_told_and_stops_everything(rig: Rig) -> None:
    rig.sign()
    rig.hub.settings.log_head_file.write_bytes(b"damaged")
    assert rig.state() is State.REFUSED
    with pytest.raises(LogLagging, match="damaged"):
        rig.adopt("x")


# The settings, and where the watch is.


def test_an_opened_hub_is_watched_and_one_put_together_by_hand_is_not(tmp_path: Path, hub: Hub) -> None:
    opened = open_hub(Settings(_env_file=None, database_url=f"sqlite:///{tmp_path}/x.db", keys_dir=tmp_path / "k"))
    try:
        watch = find_watch(opened.engine)
    finally:
        opened.engine.dispose()
    assert watch is not None
    assert watch.head_file.path == tmp_path / "k" / "log-head"
    assert (watch.bounds.alarm_after, watch.bounds.stop_after) == (ALARM, timedelta(days=9999))
    assert find_watch(hub.engine) is None


def test_the_bounds_that_an_operator_gets_are_those_that_were_promised(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TANLIAN_LOG_STOP_AFTER")
    settings = Settings(_env_file=None)
    assert settings.log_sign_every <= timedelta(seconds=5), "visible in five seconds"
    assert (settings.log_alarm_after, settings.log_stop_after) == (timedelta(seconds=60), timedelta(hours=4))
    for name, wrong in (("SIGN_EVERY", "PT6S"), ("SIGN_EVERY", "PT0S"), ("STOP_AFTER", "PT60S")):
        monkeypatch.setenv(f"TANLIAN_LOG_{name}", wrong)
        with pytest.raises(ValueError, match=r"(?i)log_(sign|stop)"):
            Settings(_env_file=None)
        monkeypatch.delenv(f"TANLIAN_LOG_{name}")


def test_a_good_answer_holds_for_a_moment_and_a_refusal_is_asked_again_each_time(rig: Rig) -> None:
    lasting = make_watch(rig.hub.settings, look_again_s=3600)
    watch_log(rig.hub.engine, lasting)
    rig.adopt("asks")
    rig.clock.now += STOP * 2
    rig.adopt("is-not-asked-again")
    fresh = make_watch(rig.hub.settings, look_again_s=3600)
    watch_log(rig.hub.engine, fresh)
    with pytest.raises(LogLagging):
        rig.adopt("no")
    rig.sign()
    rig.adopt("yes")


def test_the_backlog_is_counted_by_its_parts(rig: Rig) -> None:
    with writing(rig.hub.engine) as session:
        waiting = load_backlog(session)
    leaves = count(rig.hub, "log_leaf")["log_leaf"]
    assert (waiting.count, waiting.oldest_at) == (leaves, rig.clock())
    rig.sign()
    with writing(rig.hub.engine) as session:
        assert (load_backlog(session).count, load_backlog(session).oldest_at) == (0, None)
