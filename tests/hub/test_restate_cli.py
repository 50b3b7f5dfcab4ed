"""`tanlian standards restate`: the table before, the same table after, and clear refusals."""

from typing import Any

import pytest
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import link_person
from tests_support.restating import BIKE_2_KM_MG, NEW, NOW, OLD, close_window, everything, install_halves
from tests_support.terminal import Ran, Terminal

from consent.withdraw import withdraw_grant
from hub.changes import log_consent_change
from hub.context import Hub
from hub.db import writing
from hub.pipeline import take_delivery

CITY = "beijing-green-life"
HALF = BIKE_2_KM_MG // 2


@pytest.fixture(autouse=True)
def _halves(monkeypatch: pytest.MonkeyPatch) -> None:
    install_halves(monkeypatch)


@pytest.fixture
def lived(opened: Hub) -> Hub:
    """Two acts in a final window; one of them of somebody who has withdrawn."""
    platform = join(opened, BEIJING)
    link_person(opened, "li", {CITY: "bj-1"}, set(BEIJING["behaviours"]), NOW)
    zhao = link_person(opened, "zhao", {CITY: "bj-2"}, set(BEIJING["behaviours"]), NOW)
    take_delivery(opened, platform, delivery("d1", act("1"), act("2", "bj-2")), now=NOW)
    close_window(opened)
    with writing(opened.engine) as session:
        for change in withdraw_grant(session, grant_id=zhao.grant_id, subject_id=zhao.subject_id, now=NOW):
            log_consent_change(session, change, NOW, hub=opened)
    return opened


def ran(tanlian: Terminal, *words: str, old: str = OLD, new: str = NEW, why: str = "a wrong factor") -> Ran:
    return tanlian("standards", "restate", "--from", old, "--to", new, "--why", why, *words)


def test_a_dry_run_tells_what_the_run_then_does(lived: Hub, tanlian: Terminal) -> None:
    before = everything(lived)
    shown = ran(tanlian, "--dry-run", "--json").json
    assert everything(lived) == before
    done = ran(tanlian, "--json").json
    assert shown.pop("dry_run") is True
    assert done.pop("dry_run") is False
    assert shown == done
    row: dict[str, Any] = {"platform": CITY, "behaviour": "MOB-BIKE", "records": 1, "acts": 1}
    assert done["moved"] == [row | {"before_mg": BIKE_2_KM_MG, "after_mg": HALF}]
    assert (done["records"], done["before_mg"], done["after_mg"]) == (1, BIKE_2_KM_MG, HALF)
    assert done["left"] == {"refused": 1, "erased": 0, "unreadable": 0, "elsewhere": 0}
    assert (done["from"], done["to"], done["why"], len(done["decision"])) == (OLD, NEW, "a wrong factor", 64)


def test_the_tables_name_what_moved_and_what_stays(lived: Hub, tanlian: Terminal) -> None:
    shown = ran(
        tanlian, "--dry-run", "--platform", CITY, "--window", "1", "--since", "2026-11-18", "--until", "2026-11-19"
    )
    assert shown.code == 0
    for words in (
        f"Would be restated from {OLD} to {NEW}",
        "67,760",
        "33,880",
        "1 records stay",
        "nothing was changed",
    ):
        assert words in shown.out
    done = ran(tanlian, "--behaviour", "MOB-BIKE")
    assert f"Restated from {OLD} to {NEW}" in done.out
    assert "(-33,880)" in done.out
    assert "decision" in done.out
    # Who withdrew is still there to be told of; nothing else is.
    again = ran(tanlian)
    assert "0 records, 0 mg before, 0 mg after" in again.out


def test_nothing_to_do_is_said(lived: Hub, tanlian: Terminal) -> None:
    assert ran(tanlian, old=NEW, new=OLD).complaint == (
        f"nothing to do: no record that pins {NEW} stands within these limits"
    )
    same = ran(tanlian, "--dry-run", old=OLD, new="hub-2026.1" if OLD != "hub-2026.1" else "hub-2026.2")
    assert same.complaint.startswith("nothing to do: 2 records pin")


@pytest.mark.parametrize(
    ("words", "changed", "says"),
    [
        ((), {"old": "hub-1999.1"}, "there is no methodology 'hub-1999.1'"),
        ((), {"new": "hub-1999.1"}, "there is no methodology 'hub-1999.1'"),
        ((), {"new": OLD}, f"methodology {OLD} cannot be restated by itself"),
        ((), {"why": "  "}, "say why"),
        (("--platform", "nowhere"), {}, "there is no participant 'nowhere'"),
        (("--behaviour", "nothing"), {}, "there is no behaviour 'nothing'"),
        (("--window", "77"), {}, "there is no window 77"),
        (("--since", "2026-11-19", "--until", "2026-11-19"), {}, "ends before it begins"),
    ],
    ids=str,
)
def test_what_cannot_be_restated_is_one_clear_line(
    tanlian: Terminal, words: tuple[str, ...], changed: dict[str, str], says: str
) -> None:
    assert says in ran(tanlian, *words, **changed).complaint
