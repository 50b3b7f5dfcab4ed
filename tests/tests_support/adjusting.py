"""A town whose acts are adjusted: three rides, each told by two cities, and somebody who may mend. I/O: the hub's database."""

from typing import Any

from tests_support.deliveries import BEIJING, delivery, join
from tests_support.holding import hire
from tests_support.people import LinkedPerson, link_person
from tests_support.using import CITY, DAYS, NOW, close_window, ride, rows

from hub.adjustments.adjusting import adjust
from hub.adjustments.kinds import AdjustmentKind, Order, Reason
from hub.adjustments.tables import Adjustment
from hub.context import Hub
from hub.participants import Platform
from hub.pipeline import take_delivery

OTHER = "other-city"
WHY = "the organiser's list shows another course"


def settle_two_cities(hub: Hub) -> tuple[Platform, Platform, LinkedPerson]:
    """Li holds the grams of three rides on three days, which both cities told; they count for the first."""
    city, other = join(hub, BEIJING), join(hub, BEIJING | {"id": OTHER})
    li = link_person(hub, "li", {CITY: "bj-1", OTHER: "oc-1"}, set(BEIJING["behaviours"]), NOW)
    take_delivery(hub, city, delivery("d1", *(ride(f"{n}", day=day) for n, day in enumerate(DAYS))), now=NOW)
    told = [ride(f"{n}", "oc-1", day=day, tradeNo=f"OC{n}") for n, day in enumerate(DAYS)]
    take_delivery(hub, other, delivery("d2", *told), now=NOW)
    hire(hub)
    close_window(hub)
    return city, other, li


def order(kind: AdjustmentKind, event_id: int | None = None, *, reason: Reason = Reason.FACT, **more: Any) -> Order:
    return Order(kind=kind, reason=reason, event_id=event_id, why=WHY, **more)


def mend(hub: Hub, kind: AdjustmentKind, event_id: int | None = None, **more: Any) -> Adjustment:
    return adjust(hub, order(kind, event_id, **more), by="chen", now=NOW)


def standing(hub: Hub) -> list[int]:
    """Return the events that count, the oldest act first."""
    sql = (
        "SELECT e.event_id FROM event e LEFT JOIN event_reversal v ON v.event_id = e.event_id "
        "WHERE v.event_id IS NULL AND e.mg > 0 ORDER BY e.start_us"
    )
    return [int(one) for (one,) in rows(hub, sql)]
