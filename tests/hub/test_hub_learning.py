"""What earlier windows taught about platforms holds for a small window, for provisional results, and across people."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import LinkedPerson, link_person
from tests_support.windows import NOW, clear_window, close_window, rows

import mappings.load
from hub import pipeline
from hub.clearing import learning
from hub.clearing.deciding import learn_window
from hub.context import Hub
from hub.db import reading, writing
from hub.participants import Platform
from hub.pipeline import clear_dirty, clear_sealed, take_delivery

OPERATOR, BANK = "operator-city", "bank-city"
DOCUMENTS = (
    {**BEIJING, "id": OPERATOR, "connector_config": {**BEIJING["connector_config"], "role": "operator"}},
    {**BEIJING, "id": BANK},
)


@pytest.fixture
def both(hub: Hub) -> tuple[Platform, Platform]:
    return join(hub, DOCUMENTS[0]), join(hub, DOCUMENTS[1])


@pytest.fixture
def li(hub: Hub, both: tuple[Platform, Platform]) -> LinkedPerson:
    return link_person(hub, "li", {OPERATOR: "bj-1", BANK: "bj-1"}, set(BEIJING["behaviours"]), NOW)


def metro(number: str, hour: int, *, end: bool = False, keyed: bool = True) -> dict[str, Any]:
    """A metro ride of half an hour as the gate tells it; as the bank does (`end`), only the moment at the exit."""
    begin = f"2026-11-{11 + hour // 10:02d}T{8 + hour % 10:02d}:"
    order = f"ORD{number}" if keyed else None
    told = {"scene": "METRO", "distance": None, "orderNo": order, "endTime": begin + "30:00+08:00"}
    return act(f"{'B' if end else 'O'}{number}", **told, beginTime=begin + ("30:00+08:00" if end else "00:00+08:00"))


def teach(hub: Hub, both: tuple[Platform, Platform], *, rides: int = 24) -> None:
    """A window in which order numbers show that the bank tells the end of a ride."""
    take_delivery(hub, both[0], delivery("t1", *(metro(f"{n}", n) for n in range(rides))), now=NOW)
    take_delivery(hub, both[1], delivery("t2", *(metro(f"{n}", n, end=True) for n in range(rides))), now=NOW)
    clear_window(hub)


def tell_one(hub: Hub, both: tuple[Platform, Platform]) -> None:
    take_delivery(hub, both[0], delivery("o1", metro("one", 61, keyed=False)), now=NOW)
    take_delivery(hub, both[1], delivery("o2", metro("one", 61, end=True, keyed=False)), now=NOW)


def ends(hub: Hub, window_id: int) -> dict[tuple[str, str], int]:
    with reading(hub.engine) as session:
        return learn_window(session, window_id, groups=1)[1].ends


def test_a_small_window_knows_what_the_one_before_taught(
    hub: Hub, both: tuple[Platform, Platform], li: LinkedPerson
) -> None:
    teach(hub, both)
    tell_one(hub, both)
    assert (BANK, "MOB-METRO") in ends(hub, 2)
    assert ends(hub, 2) == ends(hub, 1)
    assert clear_dirty(hub, now=NOW) == 1
    told = "SELECT verdict FROM decision WHERE window_id = 2 ORDER BY record_id"
    provisional = rows(hub, told)
    clear_window(hub)
    assert provisional == rows(hub, told) == [("counted",), ("duplicate",)]


def test_without_a_window_that_taught_nothing_is_known(
    hub: Hub, both: tuple[Platform, Platform], li: LinkedPerson
) -> None:
    clear_window(hub)
    tell_one(hub, both)
    assert ends(hub, 2) == {}


def test_what_a_window_taught_stays_as_it_was_when_its_clearing_began(
    hub: Hub, both: tuple[Platform, Platform], li: LinkedPerson, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: Any, **__: Any) -> bool:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(pipeline, "clear_group", stop)
        with pytest.raises(KeyboardInterrupt):
            teach(hub, both)
    (kept,) = rows(hub, "SELECT window_id, counts FROM window_learning")
    before = ends(hub, 1)
    with writing(hub.engine) as session:
        session.execute(text("UPDATE reduction_record SET event_key = NULL, start_us = 0, end_us = 0"))
    assert ends(hub, 1) == before != {}
    assert clear_sealed(hub, now=NOW) == 1
    assert rows(hub, "SELECT window_id, counts FROM window_learning") == [kept]


def test_what_is_kept_names_platforms_and_nobody(hub: Hub, both: tuple[Platform, Platform], li: LinkedPerson) -> None:
    teach(hub, both)
    ((counts,),) = rows(hub, "SELECT counts FROM window_learning")
    assert set(json.loads(counts)) == {"customs", "partners", "slots"}
    assert str(li.subject_id) not in counts
    for key, record in rows(hub, "SELECT event_key, record_id FROM reduction_record"):
        assert str(key) not in counts
        assert record > 0


def test_only_the_last_windows_are_asked(
    hub: Hub, both: tuple[Platform, Platform], li: LinkedPerson, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(learning, "RECENT_WINDOWS", 2)
    teach(hub, both)
    for expected in (True, True, False):
        with reading(hub.engine) as session:
            window_id = session.connection().exec_driver_sql("SELECT MAX(window_id) FROM clearing_window").scalar_one()
        assert (ends(hub, window_id) != {}) == expected
        clear_window(hub)


# --- rides that two people share --------------------------------------------------------------------------------------


FIRST, CARS = "beijing-green-life.acts.v1", "beijing-green-life.cars.v1"


@pytest.fixture
def cars(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Platform]:
    """A platform whose rides are shared cars; driver and passenger tell of one under one number."""
    files = tmp_path / "mappings"
    shutil.copytree(mappings.load.FILES, files)
    changed = (
        (files / f"{FIRST}.toml").read_text().replace(FIRST, CARS).replace('BIKE = "MOB-BIKE"', 'BIKE = "MOB-CARPOOL"')
    )
    (files / f"{CARS}.toml").write_text(changed)
    monkeypatch.setattr(mappings.load, "FILES", files)
    mappings.load.load_mapping.cache_clear()
    yield join(hub, {**BEIJING, "mapping": CARS, "behaviours": ["MOB-CARPOOL"]})
    mappings.load.load_mapping.cache_clear()


def share(hub: Hub, cars: Platform, account: str, **changes: Any) -> None:
    told = act(account, account, orderNo="CAR", distance=9_000, **changes)
    assert take_delivery(hub, cars, delivery(f"{account}{changes}", told), now=NOW).accepted == 1


def in_car(hub: Hub) -> None:
    for name, account in (("li", "bj-1"), ("wang", "bj-2")):
        link_person(hub, name, {BEIJING["id"]: account}, {"MOB-CARPOOL"}, NOW)


def verdicts(hub: Hub) -> list[tuple[Any, ...]]:
    return rows(hub, "SELECT record_id, verdict, reason FROM decision ORDER BY window_id, record_id")


COUNTED, OTHERS = ("counted", "only_report"), ("overlapped", "counted_for_other_person")


def test_a_ride_that_counts_for_one_person_counts_for_nobody_in_a_later_window(hub: Hub, cars: Platform) -> None:
    in_car(hub)
    share(hub, cars, "bj-1")
    close_window(hub)
    share(hub, cars, "bj-2")
    assert clear_dirty(hub, now=NOW) == 2
    assert verdicts(hub) == [(1, *COUNTED), (2, *OTHERS)]
    close_window(hub)
    assert verdicts(hub) == [(1, *COUNTED), (2, *OTHERS)]


def test_provisional_results_know_who_else_was_in_the_car(hub: Hub, cars: Platform) -> None:
    in_car(hub)
    for account in ("bj-1", "bj-2"):
        share(hub, cars, account)
        assert clear_dirty(hub, now=NOW) == 1
    provisional = verdicts(hub)
    clear_window(hub)
    assert provisional == verdicts(hub) == [(1, *COUNTED), (2, *OTHERS)]


def test_a_ride_that_its_teller_took_back_counts_for_who_else_was_in_the_car(hub: Hub, cars: Platform) -> None:
    in_car(hub)
    share(hub, cars, "bj-1")
    share(hub, cars, "bj-1", ver=2, status="CANCELLED")
    share(hub, cars, "bj-2")
    clear_window(hub)
    assert [row[1] for row in verdicts(hub)] == ["rejected", "rejected", "counted"]
