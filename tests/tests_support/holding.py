"""A hub with acts that clearing holds, and a reviewer."""

from typing import Any

from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import LinkedPerson, link_person
from tests_support.restating import NOW, close_window
from tests_support.staff import SCOPES
from tests_support.web import look_up

from hub.clearing.reviews.reviews import Outcome
from hub.context import Hub
from hub.db import writing
from hub.participants import Platform
from hub.pipeline import take_delivery
from hub.records.release import Reviewed, decide_hold
from hub.staff.accounts import add_staff
from hub.staff.rights import Role

CITY, KUAIDIAN = "beijing-green-life", "kuaidian"
BEHAVIOURS = set(BEIJING["behaviours"]) | {"MOB-EVCHARGE"}
WHY = "a race on a closed course, seen in the organiser's list"
FAST = {"distance": 40_000}  # metres in twelve minutes: 200 km/h by bike


def hire(hub: Hub, name: str = "chen", role: Role = Role.OPERATOR) -> None:
    with writing(hub.engine) as session:
        add_staff(session, name=name, role=role, now=NOW, **SCOPES[role])


def person(hub: Hub, name: str = "li", account: str = "1") -> LinkedPerson:
    return link_person(hub, name, {CITY: f"bj-{account}", KUAIDIAN: f"kd-{account}"}, BEHAVIOURS, NOW)


def told(hub: Hub, *rows: dict[str, Any], name: str = "d1", final: bool = True) -> Platform:
    platform = join(hub, BEIJING)
    take_delivery(hub, platform, delivery(name, *rows), now=NOW)
    if final:
        close_window(hub)
    return platform


def too_fast(number: str = "1", account: str = "bj-1", **changes: Any) -> dict[str, Any]:
    return act(number, account, **(FAST | changes))


def held_record(hub: Hub) -> int:
    """The number of the only hold."""
    ((record,),) = look_up(
        hub, "SELECT record_id FROM decision WHERE verdict = 'held' AND event_id = record_id ORDER BY record_id"
    )
    return int(record)


def release(hub: Hub, record_id: int, *, by: str = "chen", why: str = WHY) -> Reviewed:
    return decide_hold(hub, record_id, Outcome.RELEASED, by=by, why=why, now=NOW)


def reject(hub: Hub, record_id: int, *, by: str = "chen", why: str = WHY) -> Reviewed:
    return decide_hold(hub, record_id, Outcome.REJECTED, by=by, why=why, now=NOW)
