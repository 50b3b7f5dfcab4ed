"""A town of people with acts in several places, final windows, programmes that they join, and their totals."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import text
from tests_support.deliveries import BEIJING, act, delivery, join
from tests_support.people import LinkedPerson, link_person
from tests_support.windows import close_window

from hub.context import Hub
from hub.db import reading, writing
from hub.participants import open_platform
from hub.pipeline import take_delivery
from hub.totals.asking import Answer, answer, parse_question
from hub.totals.membership import join_programme, leave_programme
from hub.totals.programmes import add_programme, parse_programme
from hub.totals.telling import Told, update_totals

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
CITY = "beijing-green-life"
FIRM, GAMES = "firm", "games"
MONTH = "2026-11"
PROGRAMME = {
    "id": FIRM, "participant": CITY, "kind": "employer", "name_zh": "某公司", "name_en": "A firm",
    "since": "2026-11-01", "until": "2026-12-31",
}  # fmt: skip


class Town:
    """People 0 to n, each with an account at Beijing; acts are told by number and counted by windows."""

    def __init__(self, hub: Hub, people: int = 30) -> None:
        self.hub = hub
        join(hub, BEIJING)
        self.people: list[LinkedPerson] = [
            link_person(hub, f"person-{n}", {CITY: f"account-{n}"}, set(BEIJING["behaviours"]), NOW)
            for n in range(people)
        ]
        self.told = 0

    def row(
        self, person: int, *, day: int = 18, place: str = "110000", scene: str = "BIKE", hour: int = 8, **more: Any
    ) -> dict[str, Any]:
        """One act: by bike two kilometres, else one."""
        self.told += 1
        begin = datetime(2026, 11, day, hour, 12, tzinfo=UTC) - timedelta(hours=8)
        distance = {"distance": more.pop("distance", 2000)} if scene == "BIKE" else {"distance": None}
        times = {"beginTime": f"{begin.isoformat()}", "endTime": f"{(begin + timedelta(minutes=12)).isoformat()}"}
        claimed = {"carbonReduction": more.pop("grams", "500.00")}
        return act(
            more.pop("number", f"{self.told}"), f"account-{person}", scene=scene, cityCode=place,
            **{**times, **distance, **claimed, **more},
        )  # fmt: skip

    def deliver(self, rows: Iterable[dict[str, Any]]) -> None:
        with reading(self.hub.engine) as session:
            platform = open_platform(session, self.hub.ring, CITY)
        self.told += 1
        outcome = take_delivery(self.hub, platform, delivery(f"d{self.told}", *rows), now=NOW)
        assert (outcome.refused, outcome.quarantined) == (0, 0), outcome

    def close(self) -> int:
        """Seal, clear and make final what was delivered."""
        return close_window(self.hub, NOW)

    def lives(self, rows: Iterable[dict[str, Any]]) -> list[Told]:
        """Deliver, make final and tell."""
        self.deliver(rows)
        self.close()
        return self.update()

    def update(self) -> list[Told]:
        return update_totals(self.hub, now=NOW)

    def add(self, **changed: Any) -> None:
        with writing(self.hub.engine) as session:
            add_programme(session, parse_programme(json.dumps(PROGRAMME | changed).encode()), NOW)

    def join(self, *people: int, programme: str = FIRM, days_ago: int = 15) -> None:
        for person in people:
            with writing(self.hub.engine) as session:
                join_programme(session, self.people[person].subject_id, programme, now=NOW - timedelta(days=days_ago))

    def leave(self, *people: int, programme: str = FIRM) -> None:
        for person in people:
            with writing(self.hub.engine) as session:
                leave_programme(session, self.people[person].subject_id, programme, now=NOW)

    def ask(self, by: str = "", period: str = MONTH, programme: str | None = None) -> Answer:
        with reading(self.hub.engine) as session:
            return answer(session, parse_question(by, period, programme), k=self.hub.settings.totals_k)

    def look_up(self, sql: str, **values: Any) -> list[tuple[Any, ...]]:
        with reading(self.hub.engine) as session:
            return [tuple(row) for row in session.execute(text(sql), values)]


def lines(found: Answer) -> dict[tuple[Any, ...], tuple[int, int]]:
    """Return labels -> people at least, acts."""
    return {tuple(line.labels.values()): (line.people_at_least, line.acts) for line in found.lines}
