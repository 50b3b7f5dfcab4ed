"""What happens in the demo, step by step. I/O: everything; each step is what a person, a platform or an operator does.

    people are created -> platforms join -> people link accounts over OAuth -> for each part of the month:
    platforms deliver -> the worker fetches the rest -> the window is sealed, cleared, reconciled, final
    -> some people withdraw -> ... -> the log is signed -> the audit

Run again on the same database and seed, every step finds its work done and nothing changes.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from threading import Lock
from typing import Any

import httpx
from rich.progress import Progress
from sqlalchemy import select, text
from sqlmodel import col

from consent.links import load_links
from consent.people import add_person, hash_password
from consent.tables import Person
from hub.clearing.windows import WindowState, load_windows
from hub.commands.people import join_hub
from hub.context import Hub
from hub.db import reading, writing
from hub.demo.processes import DemoFailed, Town
from hub.participants import parse_document
from hub.pipeline import finalise_window, seal_window
from hub.sandbox.browser import Browser, LostWayError, Persona, link_platform, revoke_platform, sign_in
from hub.sandbox.config import control_url, origin_of, participants
from hub.sandbox.own_bills import OWN_BILLS, bill_of, brings_bills, participant
from hub.sandbox.people import PLATFORMS, WECHAT
from hub.sandbox.people import Person as Inhabitant
from hub.sandbox.town import Town as Inhabitants
from hub.sync.cursors import make_due
from hub.sync.statements import reconcile_window
from hub.totals.telling import update_totals
from hub.uploads import take_upload

PEOPLE_AT_ONCE = 4
DRAIN_S = 600.0


@dataclass(frozen=True, kw_only=True)
class Story:
    """One run of the demo."""

    hub: Hub
    town: Town
    inhabitants: Inhabitants
    seed: int
    bars: Progress

    def run(self) -> dict[str, Any]:
        """Tell the whole story; returns what reconciliation found, by window and platform."""
        self.create_people()
        self.join_platforms()
        self.link_everybody()
        found: dict[str, Any] = {}
        month = self.bars.add_task("deliver, clear, reconcile the month", total=self.inhabitants.parts)
        for part in range(1, self.inhabitants.parts + 1):
            self.deliver(part)
            if part == self.inhabitants.parts:
                self.bring_bills()
            self.drain(self._is_idle, "the worker to read and clear everything")
            window_id = seal_window(self.hub, now=self.hub.clock()).window_id
            self.drain(lambda: self._is_cleared(window_id), "the worker to clear the sealed window")  # noqa: B023
            found[str(window_id)] = reconcile_window(self.hub, window_id, now=self.hub.clock())
            finalise_window(self.hub, window_id, now=self.hub.clock(), waive_challenge=True)
            update_totals(self.hub, now=self.hub.clock())
            self.withdraw_after(part)
            self.bars.advance(month)
        self.drain(self._is_signed, "the log to be signed")
        return found

    def create_people(self) -> None:
        """Create each inhabitant's account at the hub; who exists already is left alone."""
        people = self.inhabitants.people
        with reading(self.hub.engine) as session:
            known = set(session.execute(select(col(Person.username))).scalars())
        missing = [person for person in people if person.username not in known]
        task = self.bars.add_task("people open accounts at the hub", total=len(missing))
        with ThreadPoolExecutor(PEOPLE_AT_ONCE) as pool:  # hashing takes all the time, and leaves the lock alone
            hashes = pool.map(hash_password, [person.password for person in missing])
            for person, password_hash in zip(missing, hashes, strict=True):
                with writing(self.hub.engine) as session:
                    added = add_person(
                        session, self.hub.ring, username=person.username, password=None,
                        display_name=person.username, now=self.hub.clock(),
                    )  # fmt: skip
                    added.password_hash = password_hash
                self.bars.advance(task)

    def join_platforms(self) -> None:
        """Onboard the town's platforms, and what people bring themselves."""
        documents = participants(self.town.base_port, self.town.folder / "drop", self.town.hub_url, self.seed)
        for document in [*documents, participant()]:
            join_hub(self.hub, parse_document(httpx.Response(200, json=document).content))

    def link_everybody(self) -> None:
        """Let each person link, in a browser, every account that they allow and have not linked before."""
        wanted = [(person, self._unlinked(person)) for person in self.inhabitants.people]
        wanted = [(person, platforms) for person, platforms in wanted if platforms]
        task = self.bars.add_task("people link accounts over OAuth", total=sum(len(p) for _, p in wanted))
        lock = Lock()

        def one(person: Inhabitant, platforms: list[str]) -> None:
            with Browser() as browser:
                persona = self._persona(person)
                sign_in(browser, self.town.hub_url, persona)
                for platform in platforms:
                    link_platform(browser, self.town.hub_url, platform, persona)
                    with lock:
                        self.bars.advance(task)

        self._together([lambda p=person, n=names: one(p, n) for person, names in wanted])  # type: ignore[misc]

    def deliver(self, part: int) -> None:
        """Make every platform deliver a part of the month in its own way, all at the same time."""
        task = self.bars.add_task(f"platforms deliver part {part}", total=len(PLATFORMS))

        def one(platform: str) -> None:
            answer = httpx.post(
                f"{control_url(self.town.base_port)}/control/deliver", json={"platform": platform, "part": part},
                trust_env=False, timeout=DRAIN_S,
            )  # fmt: skip
            if answer.status_code != 200 or answer.json()["failed"]:
                raise DemoFailed(f"{platform} could not deliver part {part}; see {self.town.sandbox.log}")
            self.bars.advance(task)

        self._together([lambda p=platform: one(p) for platform in PLATFORMS])  # type: ignore[misc]
        with writing(self.hub.engine) as session:
            make_due(session, self.hub.clock())

    def withdraw_after(self, part: int) -> None:
        """Let those people who change their minds after this part withdraw a consent, in a browser."""
        for person in self.inhabitants.people:
            if person.revokes is None or person.revokes.after_part != part:
                continue
            if not self._is_linked(person, person.revokes.platform):
                continue
            with Browser() as browser:
                sign_in(browser, self.town.hub_url, self._persona(person))
                revoke_platform(browser, self.town.hub_url, person.revokes.platform)

    def bring_bills(self) -> None:
        """Let those people who keep their wallet's bill bring the month's file; the same file again changes nothing."""
        bringing = [person for person in self.inhabitants.people if self._is_linked(person, OWN_BILLS)]
        task = self.bars.add_task("people bring their bills", total=len(bringing))
        for person in bringing:
            bill = bill_of(self.inhabitants, person)
            reply = take_upload(self.hub, self._subject_id(person), OWN_BILLS, bill, now=self.hub.clock())
            if reply.status != 200:
                raise DemoFailed(f"the bill of {person.username} was not taken: {reply.status}")
            self.bars.advance(task)

    def drain(self, done: Callable[[], bool], what: str) -> None:
        """Wait until the worker has no more of this to do; a worker that dies meanwhile is started again."""
        until = time.monotonic() + DRAIN_S
        while not done():
            self.town.keep_alive()
            if time.monotonic() > until:
                raise DemoFailed(f"waited {DRAIN_S:.0f} s for {what}; see {self.town.worker.log}")
            time.sleep(0.05)

    def _is_idle(self) -> bool:
        with reading(self.hub.engine) as session:
            waiting = session.execute(
                text(
                    "SELECT COUNT(*) FROM sync_state y LEFT JOIN link l ON l.link_id = y.link_id "
                    "WHERE (y.lease_holder IS NOT NULL OR y.last_success_at IS NULL OR y.last_error IS NOT NULL "
                    "OR y.last_success_at < y.asked_at) AND (y.link_id = '' OR l.state = 'active')"
                )
            ).scalar_one()
            dirty = session.execute(text("SELECT COUNT(*) FROM dirty_subject")).scalar_one()
        return int(waiting) == 0 and int(dirty) == 0

    def _is_cleared(self, window_id: int) -> bool:
        with reading(self.hub.engine) as session:
            return all(
                window.cleared_at is not None
                for window in load_windows(session)
                if window.window_id <= window_id and window.state != WindowState.OPEN
            )

    def _is_signed(self) -> bool:
        with reading(self.hub.engine) as session:
            waiting = session.execute(text("SELECT COUNT(*) FROM log_leaf WHERE first_index IS NULL")).scalar_one()
            behind = session.execute(text("SELECT COUNT(*) FROM log_head WHERE sequenced > size")).scalar_one()
        return int(waiting) == 0 and int(behind) == 0

    def _unlinked(self, person: Inhabitant) -> list[str]:
        known = self._links(person)
        wanted = [*person.links, OWN_BILLS] if brings_bills(person) else person.links
        return [platform for platform in wanted if platform not in known]

    def _is_linked(self, person: Inhabitant, platform: str) -> bool:
        return self._links(person).get(platform, False)

    def _links(self, person: Inhabitant) -> dict[str, bool]:
        """Return each platform the person ever linked, and whether the link is open."""
        subject_id = self._subject_id(person)
        with reading(self.hub.engine) as session:
            links = load_links(session, subject_id=subject_id)
        found: dict[str, bool] = {}
        for link in links:
            found[link.platform] = found.get(link.platform, False) or link.valid_until is None
        return found

    def _subject_id(self, person: Inhabitant) -> int:
        with reading(self.hub.engine) as session:
            wanted = select(col(Person.subject_id)).where(col(Person.username) == person.username)
            return int(session.execute(wanted).scalar_one())

    def _persona(self, person: Inhabitant) -> Persona:
        def fetch_code() -> str:
            answer = httpx.post(
                f"{origin_of(WECHAT, self.town.base_port)}/phone/login",
                data={"username": person.username, "password": person.password},
                trust_env=False,
            )
            return str(answer.raise_for_status().json()["code"])

        return Persona(
            username=person.username, hub_password=person.password, platform_password=person.password,
            fetch_code=fetch_code,
        )  # fmt: skip

    def _together(self, jobs: list[Callable[[], None]]) -> None:
        with ThreadPoolExecutor(PEOPLE_AT_ONCE) as pool:
            futures = [pool.submit(job) for job in jobs]
            while not all(future.done() for future in futures):
                self.town.keep_alive()
                time.sleep(0.1)
            for future in futures:
                try:
                    future.result()
                except (LostWayError, httpx.HTTPError) as lost:
                    raise DemoFailed(f"a person or platform could not go on: {lost}; see {self.town.hub.log}") from lost


def look_back(inhabitants: Inhabitants, hub: Hub) -> timedelta:
    """Return how far back consents must reach for the town's month to be covered."""
    return hub.clock() - inhabitants.starts_at + timedelta(days=2)
