"""The town: its people and everything that they really do over a month, from one seed. Pure.

Example:
    >>> town = Town(seed=7, people=3)
    >>> [person.username for person in town.people]
    ['person-0001', 'person-0002', 'person-0003']
    >>> town.part_of(town.starts_at), town.part_of(town.ends_at)
    (1, 4)
"""

from datetime import UTC, date, datetime, time, timedelta

from hub.sandbox.acts import BEIJING_TIME, Act, acts_of
from hub.sandbox.people import Person, make_person

FIRST_DAY = date(2026, 10, 1)
DAYS = 31
PARTS = 4


class Town:
    """A month of simulated life, cut into parts so that platforms can deliver, pause, and deliver on.

    The clock is never read: `first_day` decides. Choose it so that the month is over when the town is used.
    """

    def __init__(
        self, seed: int = 7, people: int = 200, first_day: date = FIRST_DAY, days: int = DAYS, parts: int = PARTS
    ) -> None:
        if people < 1 or not 1 <= parts <= days or seed < 0:
            raise ValueError("a town needs a seed of 0 or more, one person or more, and a day or more in each part")
        self.seed, self.first_day, self.days, self.parts = seed, first_day, days, parts
        self.starts_at = datetime.combine(first_day, time(), BEIJING_TIME).astimezone(UTC)  # the first midnight
        self.ends_at = self.starts_at + timedelta(days=days)  # half-open
        self.people: tuple[Person, ...] = tuple(make_person(seed, index) for index in range(1, people + 1))
        self._acts = {person.index: acts_of(seed, person, first_day, days) for person in self.people}

    @property
    def acts(self) -> tuple[Act, ...]:
        """Every act of everyone, person by person."""
        return tuple(act for person in self.people for act in self._acts[person.index])

    def acts_of(self, person: Person) -> tuple[Act, ...]:
        """Return one person's month."""
        return self._acts[person.index]

    def part_of(self, instant: datetime) -> int:
        """Return the part (from 1) in which an instant lies; what is posted after the month belongs to the last."""
        day = (instant - self.starts_at) // timedelta(days=1)
        return min(max(day, 0) * self.parts // self.days, self.parts - 1) + 1

    def part_ends_at(self, part: int) -> datetime:
        """Return the midnight at which a part is over (half-open)."""
        if not 1 <= part <= self.parts:
            raise ValueError(f"part must be 1 to {self.parts}")
        return self.starts_at + timedelta(days=-(-part * self.days // self.parts))

    def person_named(self, username: str) -> Person | None:
        """Return the person with this sign-in name."""
        index = username.removeprefix("person-")
        if not index.isdecimal() or not 1 <= int(index) <= len(self.people):
            return None
        person = self.people[int(index) - 1]
        return person if person.username == username else None
