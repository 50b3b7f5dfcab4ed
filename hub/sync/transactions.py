"""The hub's transactions in the shape that consent/ asks for. I/O: the database."""

from contextlib import AbstractContextManager
from functools import partial

from sqlalchemy.orm import Session

from consent.transactions import Transactions
from hub.context import Hub
from hub.db import writing


def transactions_of(hub: Hub) -> Transactions:
    """Return a function that opens one committing transaction each time it is called."""
    return partial[AbstractContextManager[Session]](writing, hub.engine)
