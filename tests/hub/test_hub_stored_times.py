"""A stored time becomes the same whole microseconds in SQL as in Python, whatever its fraction. On both databases."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import select, text
from sqlmodel import col

from consent.batches import dialect_of, epoch_us
from consent.people import add_person
from consent.tables import Person
from hub.audit.books import Books
from hub.audit.readers import SessionReader
from hub.context import Hub
from hub.db import reading, writing

BEGIN = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("micros", [0, 1, 499_999, 500_000, 999_499, 999_500, 999_625, 999_999])
def test_no_fraction_of_a_second_is_rounded_into_the_next(hub: Hub, micros: int) -> None:
    at = datetime(2026, 11, 21, 15, 55, 6, micros, tzinfo=UTC)
    with writing(hub.engine) as session:
        add_person(session, hub.ring, username="li", password=None, display_name="li", now=at)
    exact = (at - BEGIN) // timedelta(microseconds=1)
    with reading(hub.engine) as session:
        books = Books(hub=hub, reader=SessionReader(session))
        assert session.execute(text(f"SELECT {books.micros('created_at')} FROM person")).scalar_one() == exact
        told = epoch_us(dialect_of(session), col(Person.created_at))
        assert session.execute(select(told)).scalar_one() == exact
