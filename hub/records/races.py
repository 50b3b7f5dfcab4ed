"""Two deliveries of the same rows, or of two newer versions of one record, at the same moment. Pure.

PostgreSQL lets both look for what is stored, finds the second insert out, and rolls that one back whole; asked again, it
finds what the first has stored. On SQLite writers follow one another and this cannot happen.
"""

from collections.abc import Callable
from typing import TypeVar

import psycopg
from sqlalchemy.exc import DBAPIError

Done = TypeVar("Done")
TRIES = 5
# COPY speaks to the driver, so its errors come without SQLAlchemy's cover.
DATABASE_ERRORS = (DBAPIError, psycopg.Error)
# unique_violation, deadlock_detected, serialization_failure. Source: PostgreSQL documentation, appendix A.
_LOST = frozenset({"23505", "40P01", "40001"})


def lost_a_race(error: Exception) -> bool:
    """Say whether a rolled-back transaction will find the other one's rows when it is run again."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(cause, psycopg.Error) and cause.sqlstate in _LOST


def try_again(work: Callable[[], Done]) -> Done:
    """Do what is one transaction, again where another one was faster, at most TRIES times."""
    for _ in range(TRIES - 1):
        try:
            return work()
        except DATABASE_ERRORS as error:
            if not lost_a_race(error):
                raise
    return work()
