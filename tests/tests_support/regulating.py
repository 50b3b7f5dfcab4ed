"""A hub with something in its log, and a regulator's software that looks at it."""

import json
from datetime import UTC, datetime
from typing import Any

import httpx
from tests_support.deliveries import BEIJING, KUAIDIAN, act, charge, delivery, join
from tests_support.people import link_person
from tests_support.tokens import Machine

from hub.context import Hub
from hub.db import reading, writing
from hub.log.sequencer import Sequencer
from hub.log.store import load_entry, load_head
from hub.log_signing import log_signer
from hub.pipeline import clear_sealed, seal_window, take_delivery
from hub.staff.accounts import add_staff
from hub.staff.machines import bind_client
from hub.staff.rights import Role

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
CITY = "beijing-green-life"
SEARCH = "/v1/regulator/log"


def regulator(hub: Hub, name: str = "gu") -> Machine:
    """A regulator, and the software that asks for them."""
    machine = Machine(hub, None, "regulator")
    with writing(hub.engine) as session:
        add_staff(session, name=name, role=Role.REGULATOR, jurisdiction="440300", now=hub.clock())
        bind_client(session, machine.client_id, name, now=hub.clock())
    return machine


def sign(hub: Hub) -> int:
    """Let the log sign what waits; returns its size."""
    sequencer = Sequencer(hub.engine, log_signer(hub), hub.settings.keys_dir / "log-head")
    return sequencer.run_until_current(hub.clock()).size


def lively(hub: Hub) -> Hub:
    """Two platforms, three messages, one of them with a row of nobody's, two windows; all of it signed."""
    city, other = join(hub, BEIJING), join(hub, KUAIDIAN)
    link_person(hub, "li", {CITY: "bj-1", "kuaidian": "kd-1"}, {*BEIJING["behaviours"], "MOB-EVCHARGE"}, NOW)
    take_delivery(hub, city, delivery("d1", act("1"), act("2", "nobody")), now=NOW)
    take_delivery(hub, other, delivery("c1", charge("1"), stream="charge_orders"), now=NOW)
    seal_window(hub, now=NOW)
    clear_sealed(hub, now=NOW)
    take_delivery(hub, city, delivery("d2", act("3", scene="METRO")), now=NOW)
    sign(hub)
    return hub


def leaves(hub: Hub) -> list[dict[str, Any]]:
    """All signed leaves, read from the log itself and not from what they are found by."""
    with reading(hub.engine) as session:
        head = load_head(session)
        assert head is not None
        return [json.loads(load_entry(session, index) or b"") for index in range(head.size)]


def accesses(hub: Hub) -> list[dict[str, Any]]:
    """The leaves of accesses, signed now."""
    sign(hub)
    return [leaf for leaf in leaves(hub) if leaf["kind"] == "access.made"]


def problem(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["type"].removeprefix("urn:tanlian:problem:")
