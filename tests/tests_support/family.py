"""A family at the portal, and a client that asks the child: what tests of guardians' decisions share."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from tests_support.oauth import TYPE
from tests_support.portal import PASSWORD, Step, Visitor, sign_up
from tests_support.tokens import Machine

from consent.people import add_person
from hub.context import Hub
from hub.db import writing

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
BORN = date(2013, 5, 1)
PAGE = "/oauth/authorize"
FOOD = {"type": TYPE, "actions": ["read"], "behaviours": ["FOOD-CLEANPLATE"], "purpose": "积分"}
BIKE = {"type": TYPE, "actions": ["read"], "behaviours": ["MOB-BIKE"]}


@dataclass
class Family:
    """A guardian, a child of 13 and a shop that asks for the child's account."""

    hub: Hub
    shop: Machine
    asked: dict[str, Any]

    @classmethod
    def sign_up(cls, hub: Hub, *, guardian: str | None = "parent", **asked: Any) -> "Family":
        if guardian is not None:
            sign_up(hub, guardian)
        with writing(hub.engine) as session:
            add_person(
                session, hub.ring, username="child", password=PASSWORD, display_name="child", now=NOW, born=BORN,
                guardian=guardian,
            )  # fmt: skip
        return cls(hub, Machine.recipient(hub), asked or {"authorization_details": [FOOD]})

    def later(self, **passed: float) -> "Family":
        there = replace(self.hub, clock=lambda: NOW + timedelta(**passed))
        return Family(there, self.shop.move(there), self.asked)

    def browser(self, name: str) -> Visitor:
        browser = Visitor(self.hub)
        assert browser.sign_in(name).goes_to == "/"
        return browser

    def push(self, **asked: Any) -> dict[str, str]:
        """A request of the shop, as the browser carries it."""
        told = self.shop.push(**(asked or self.asked))
        assert told.status == 201, told.document
        return {"client_id": self.shop.client_id, "request_uri": told.document["request_uri"]}

    def ask(self, child: Visitor, **asked: Any) -> dict[str, str]:
        """The child meets the request and has the guardian asked."""
        names = self.push(**asked)
        assert child.send(PAGE, **names, decision="ask").goes_to == address(names)
        return names

    def waiting(self, guardian: Visitor) -> list[str]:
        """The addresses of requests that the guardian sees waiting."""
        return re.findall(r'href="(/care/requests/[^"]+)"', guardian.see("/care").text)

    def allowed(self, child: Visitor, guardian: Visitor, **asked: Any) -> None:
        self.ask(child, **asked)
        (question,) = self.waiting(guardian)
        assert guardian.send(question, decision="approve").goes_to == "/care"


def address(names: dict[str, str]) -> str:
    return f"{PAGE}?{urlencode(names)}"


def told(step: Step) -> dict[str, str]:
    """What the client is told by the redirect."""
    assert step.status == 303, step.text
    return dict(parse_qsl(urlsplit(str(step.goes_to)).query))
