"""Every page and every form of the hub, found in the application itself: nobody frames one, nobody else sends one."""

import re
from collections.abc import Iterator

import pytest
from fastapi import FastAPI
from starlette.routing import Route, Router
from tests_support.deliveries import BEIJING, join
from tests_support.portal import Visitor, visitor
from tests_support.staff import staff_visitor
from tests_support.web import count, look_up

from hub.app import create_app
from hub.context import Hub
from hub.staff.rights import Role

# Doors for machines: they know their callers by a key, a signature or a token, and look at no cookie.
MACHINES = ("/oauth/", "/in/", "/v1/", "/log/", "/.well-known/", "/healthz", "/readyz", "/metrics", "/openapi.json")
PEOPLE_UNDER_A_MACHINE_S_PREFIX = ("/oauth/authorize",)
EVIL = {
    "no token": ({"csrf": ""}, {}),
    "a wrong token": ({"csrf": "x" * 32}, {}),
    "another site": ({}, {"origin": "https://evil.example"}),
    "no site at all": ({}, {"origin": "null"}),
}


def routes_of(app: FastAPI) -> Iterator[Route]:
    for outer in app.routes:
        for route in getattr(outer, "original_router", Router([outer])).routes:
            if isinstance(route, Route):
                yield route


def pages(app: FastAPI, method: str) -> list[str]:
    """Return what people and staff may reach by a method, every parameter filled in."""
    found = {
        re.sub(r"\{[^}]*\}", "beijing-green-life", route.path)
        for route in routes_of(app)
        if method in (route.methods or ())
    }
    return sorted(
        path for path in found if not path.startswith(MACHINES) or path.startswith(PEOPLE_UNDER_A_MACHINE_S_PREFIX)
    )


def tables(hub: Hub) -> list[str]:
    """Return every table, but for the record of what staff did: a refusal is written there."""
    sqlite = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    postgresql = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    sql = sqlite if hub.engine.dialect.name == "sqlite" else postgresql
    return sorted(row[0] for row in look_up(hub, sql))


def content(hub: Hub) -> dict[str, object]:
    """What a forged form could have changed: how many rows there are, and who is signed in."""
    sessions = look_up(hub, "SELECT token_hash FROM web_session UNION SELECT token_hash FROM staff_session ORDER BY 1")
    return {**count(hub, *tables(hub)), "sessions": sessions}


@pytest.fixture
def everybody(hub: Hub) -> list[Visitor]:
    """A stranger, a person and one of each kind of staff."""
    join(hub, BEIJING)
    staff = [staff_visitor(hub, role, f"staff-{role}") for role in Role]
    return [Visitor(hub), visitor(hub), *staff]


def test_the_pages_and_forms_are_found(hub: Hub):
    app = create_app(hub)
    assert {"/", "/signin", "/stepup", "/security", "/links", "/staff", "/staff/operation", "/staff/enrol"} <= set(
        pages(app, "GET")
    )
    forms = set(pages(app, "POST"))
    assert {
        "/signin", "/signin/passkey", "/signin/passkey/options", "/signout", "/stepup", "/stepup/passkey",
        "/security/passkeys", "/security/passkeys/remove", "/security/sessions/end", "/staff/signin", "/staff/signout",
        "/staff/enrol", "/links/beijing-green-life/revoke",
    } <= forms  # fmt: skip
    assert not any(path.startswith(("/v1/", "/in/")) for path in forms)


def test_no_page_can_be_framed(hub: Hub, everybody: list[Visitor]):
    """Clickjacking: the person presses our button and sees another site's picture."""
    for browser in everybody:
        paths = [*pages(browser.app, "GET"), "/no/such/page"]
        for path in paths:
            for step in (browser.see(path), browser.send(path)):
                headers = step.answer.headers
                if not headers.get("content-type", "text/html").startswith("text/html"):
                    continue
                assert headers["x-frame-options"] == "DENY", path
                assert "frame-ancestors 'none'" in headers["content-security-policy"], path


def test_no_form_that_another_site_sends_changes_anything(hub: Hub, everybody: list[Visitor]):
    for browser in everybody:
        for path in pages(browser.app, "POST"):
            before = content(hub)
            for name, (fields, headers) in EVIL.items():
                step = browser.send(path, headers=headers, decision="approve", session="all", **fields)
                assert step.status in (303, 400, 401, 403, 404, 409, 410, 422), (path, name, step.status)
                assert not step.answer.headers.get("location", "/").startswith("http"), (path, name)
            after = content(hub)
            # A stranger's sign-in form opens a session of nobody; nothing else may come of a forged form.
            opened = set(after.pop("sessions")) - set(before["sessions"])
            gone = set(before.pop("sessions")) - set(content(hub)["sessions"])
            assert gone == set(), path
            kept = {name: value for name, value in before.items() if name not in ("web_session", "staff_session")}
            assert kept == {name: value for name, value in after.items() if name in kept}, path
            for (token,) in opened:
                owners = look_up(
                    hub,
                    "SELECT subject_id IS NULL FROM web_session WHERE token_hash = :t "
                    "UNION ALL SELECT staff_id IS NULL FROM staff_session WHERE token_hash = :t",
                    t=token,
                )
                assert [bool(row[0]) for row in owners] == [True], path


def test_no_form_is_sent_by_opening_an_address(hub: Hub, everybody: list[Visitor]):
    for browser in everybody[:2]:
        shown = set(pages(browser.app, "GET"))
        for path in set(pages(browser.app, "POST")) - shown:
            assert browser.see(f"{path}?csrf={browser.csrf}").status in (303, 404, 405), path
