"""What tests of the sequencer share: the leaves and roots to expect, what is stored, and commits that fail."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError

from hub.db import reading
from hub.log.merkle import leaf_hash, tree_root
from hub.log.store import (
    load_entry,
    load_head,
)


def body(number: int) -> bytes:
    return b'{"n":%d}' % number


def root_of(size: int) -> bytes:
    return tree_root([leaf_hash(body(number)) for number in range(size)])


def stored_entries(engine: Engine) -> list[bytes]:
    with reading(engine) as session:
        head = load_head(session)
        assert head is not None
        return [entry for index in range(head.size) if (entry := load_entry(session, index)) is not None]


@contextmanager
def failing_commit(engine: Engine, *, number: int, persisted: bool) -> Iterator[None]:
    commits = 0

    def fail(connection: Connection) -> None:
        nonlocal commits
        commits += 1
        if commits == number:
            if persisted:
                driver: Any = connection.connection.driver_connection
                driver.commit()
            raise OperationalError("COMMIT", None, Exception("the server went away"))

    event.listen(engine, "commit", fail)
    try:
        yield
    finally:
        event.remove(engine, "commit", fail)
    assert commits >= number, "the write that should fail was never reached"
