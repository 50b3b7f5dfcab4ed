"""A person at the portal, without a network to the hub; platforms are really called."""

from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
from sqlalchemy import select
from sqlmodel import col
from tests_support.web import Caller

from consent.people import add_person, hash_password
from consent.tables import Person
from hub.context import Hub
from hub.db import writing
from hub.sandbox.forms import Page, parse_page
from hub.sandbox.people import Person as Inhabitant

PASSWORD = "a long password"
EVERY_BOX = {"sensitive_whereabouts": "yes", "sensitive_financial_account": "yes"}


@dataclass
class Step:
    """One answer of the portal as a person sees it."""

    answer: httpx.Response

    @property
    def status(self) -> int:
        return self.answer.status_code

    @property
    def text(self) -> str:
        return self.answer.text

    @property
    def goes_to(self) -> str | None:
        return self.answer.headers.get("location")

    @property
    def page(self) -> Page:
        return parse_page(str(self.answer.url), self.answer.status_code, self.answer.text)

    @property
    def csrf(self) -> str:
        return next(form.values["csrf"] for form in self.page.forms if "csrf" in form.values)


class Visitor(Caller):
    """One browser; `csrf` is the token of its session."""

    csrf = ""

    def see(self, path: str, **request: object) -> Step:
        return Step(self.get(path, headers={"accept": "text/html"}, **request))

    def send(self, path: str, *, headers: dict[str, str] | None = None, **fields: str) -> Step:
        """Send a form as its page would; a yes to a consent, and what follows from it, is one with every box ticked."""
        ticks = EVERY_BOX if path.startswith("/links/callback/") or fields.get("decision") == "approve" else {}
        form = {"csrf": self.csrf, **ticks, **fields}
        own = {"accept": "text/html", "origin": self.hub.settings.issuer}
        return Step(self.post(path, data=form, headers=own | (headers or {})))

    def sign_in(self, name: str = "li", password: str = PASSWORD) -> Step:
        self.csrf = self.see("/signin").csrf
        step = self.send("/signin", username=name, password=password)
        if step.goes_to == "/":
            self.csrf = self.see("/links").csrf
        return step


def sign_up(hub: Hub, name: str = "li", password: str = PASSWORD) -> int:
    """Create a person who can sign in; returns the subject id."""
    with writing(hub.engine) as session:
        person = add_person(
            session, hub.ring, username=name, password=password, display_name=name, now=hub.clock()
        )  # fmt: skip
        return person.subject_id


def give_password(hub: Hub, name: str) -> None:
    """Let somebody sign in who was created without a password."""
    with writing(hub.engine) as session:
        person = session.execute(select(Person).where(col(Person.username) == name)).scalar_one()
        person.password_hash = hash_password(PASSWORD)


def visitor(hub: Hub, name: str = "li") -> Visitor:
    """A new person who has just signed in."""
    sign_up(hub, name)
    browser = Visitor(hub)
    assert browser.sign_in(name).goes_to == "/"
    return browser


def ask_platform(address: str, person: Inhabitant, decision: str = "approve") -> str:
    """Walk through a simulated platform's pages; returns the hub's address that it sends the person back to."""
    with httpx.Client(trust_env=False, timeout=60) as client:
        page = _page(client.get(address))
        form = page.forms[0]
        page = _page(
            client.post(form.action, data={**form.values, "username": person.username, "password": person.password})
        )
        form = page.forms[0]
        answer = client.post(form.action, data={**form.values, "decision": decision})
        back = urlsplit(answer.headers["location"])
        return f"{back.path}?{back.query}"


def _page(answer: httpx.Response) -> Page:
    return parse_page(str(answer.url), answer.status_code, answer.text)
