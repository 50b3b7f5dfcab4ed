"""Every write that a piece of code does, counted, and one of them failing: before it is done, or although it was done."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError

FILE_WRITES = ("pwrite", "fsync", "fdatasync", "replace")


@dataclass
class Plan:
    """Which write fails and how; `writes` are all that were begun, in order, `failed` the one that failed."""

    number: int
    persisted: bool
    writes: list[str] = field(default_factory=list)
    failed: str | None = None

    def reach(self, name: str, failure: Exception, *, do: Callable[[], Any]) -> Any:
        """Do a write, unless it is the one that fails."""
        self.writes.append(name)
        if len(self.writes) != self.number:
            return do()
        self.failed = name
        if self.persisted:
            do()
        raise failure


class _FailingOs:
    """The module `os`, whose writes may fail."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan

    def __getattr__(self, name: str) -> Any:
        real = getattr(os, name)
        if name not in FILE_WRITES:
            return real
        gone = OSError("the disk went away")
        return lambda *arguments: self._plan.reach(name, gone, do=lambda: real(*arguments))


@contextmanager
def failing_write(
    number: int, *, persisted: bool, engine: Engine, modules: tuple[ModuleType, ...] = ()
) -> Iterator[Plan]:
    """Let the write of this number fail: statements that change rows, commits, and writes of files in these modules."""
    plan = Plan(number, persisted)
    gone = OperationalError("write", None, Exception("the server went away"))

    def before(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        words = statement.split()
        if words[0] in ("INSERT", "UPDATE", "DELETE"):
            target = words[1] if words[0] == "UPDATE" else words[2]
            plan.writes.append(f"{words[0]} {target}")
            if len(plan.writes) == number and not persisted:
                plan.failed = plan.writes[-1]
                raise gone

    def after(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if (
            plan.failed is None
            and len(plan.writes) == number
            and statement.split()[0] in ("INSERT", "UPDATE", "DELETE")
        ):
            plan.failed = plan.writes[-1]
            raise gone

    def commit(connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        if len(plan.writes) + 1 == number:
            plan.reach("COMMIT", gone, do=driver.commit)
        plan.writes.append("COMMIT")

    listeners = (("before_cursor_execute", before), ("after_cursor_execute", after), ("commit", commit))
    for name, listener in listeners:
        event.listen(engine, name, listener)
    try:
        with pytest.MonkeyPatch.context() as patch:
            for module in modules:
                patch.setattr(module, "os", _FailingOs(plan))
            yield plan
    finally:
        for name, listener in listeners:
            event.remove(engine, name, listener)
