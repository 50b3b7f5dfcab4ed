"""How steps that call a platform in between open their transactions, and how they tell of what they changed. Pure."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from sqlalchemy.orm import Session

from consent.changes import Change

Transactions = Callable[[], AbstractContextManager[Session]]
"""Opens one committing transaction each time it is called."""

Record = Callable[[Session, Sequence[Change]], None]
"""Called with the changes inside the transaction that makes them."""
