"""The tasks of an audit: a check each, or a range of records that several checks look at. I/O: reads the database.

Whatever goes wrong in a check is its own failure.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from hub.audit.books import Books
from hub.audit.checks import CHECKS, Paged, Rule
from hub.audit.pages import Page, Seen, page_bounds
from hub.audit.report import AuditReport, Check, Finding
from hub.errors import TanlianError

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Task:
    """A check by its id, or all checks that look at the records of a range."""

    check: str | None = None
    bounds: tuple[int, int] = (0, 0)
    reads_columns: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What a task found, by check; a text stands for what could not be checked."""

    task: Task
    findings: dict[str, Finding | str]
    seen: dict[str, Seen | str]


def all_tasks(books: Books) -> list[Task]:
    """Return what is to be done: first the ranges, which take longest."""
    ranges = [Task(bounds=bounds) for bounds in page_bounds(books)]
    return [*ranges, *_tasks_of_rules()]


def _tasks_of_rules() -> list[Task]:
    rules = [rule for rule in CHECKS if isinstance(rule, Rule)]
    return [Task(check=rule.id, reads_columns=rule.reads_columns) for rule in rules]


def make(task: Task, books: Books) -> Done:
    """Make one task."""
    if task.check is not None:
        (rule,) = (rule for rule in CHECKS if isinstance(rule, Rule) and rule.id == task.check)
        return Done(task=task, findings={rule.id: _tried(books, partial(rule.find, books))}, seen={})
    page = Page(books=books, first=task.bounds[0], last=task.bounds[1])
    paged = [rule for rule in CHECKS if isinstance(rule, Paged)]
    return Done(task=task, findings={}, seen={rule.id: _tried(books, partial(rule.look, page)) for rule in paged})


def gather(made: Iterable[Done]) -> AuditReport:
    """Put what the tasks found together, in the order of the checks."""
    findings: dict[str, Finding | str] = {}
    seen: dict[str, list[Seen | str]] = defaultdict(list)
    for done in sorted(made, key=lambda done: done.task.bounds):
        findings |= done.findings
        for check, one in done.seen.items():
            seen[check].append(one)
    told = [findings[rule.id] if isinstance(rule, Rule) else _summed(rule, seen[rule.id]) for rule in CHECKS]
    return AuditReport(checks=tuple(_check(rule, found) for rule, found in zip(CHECKS, told, strict=True)))


def _summed(rule: Paged, seen: list[Seen | str]) -> Finding | str:
    whole = Seen()
    for one in seen:
        if isinstance(one, str):
            return one
        whole.wrong.absorb(one.wrong)
        whole.counts.update(one.counts)
    return rule.conclude(whole)


def _check(rule: Rule | Paged, found: Finding | str) -> Check:
    if isinstance(found, str):
        return Check(
            invariant=rule.invariant, id=rule.id, name=rule.name, figure=found, ok=False, wrong=1, offenders=(found,)
        )
    return Check(
        invariant=rule.invariant, id=rule.id, name=rule.name, figure=found.figure, ok=found.wrong.count == 0,
        wrong=found.wrong.count, offenders=tuple(found.wrong.examples),
    )  # fmt: skip


def _tried(books: Books, look: Callable[[], Made]) -> Made | str:
    try:
        # A failed statement ends a whole transaction on PostgreSQL; the savepoint keeps the snapshot for the others.
        with books.reader.savepoint():
            return look()
    except Exception as error:  # whatever the damage, the other checks are still worth making
        return f"could not be checked: {_reason(error)}"


def _reason(error: Exception) -> str:
    # Only the hub's own errors promise to hold no name and no content; a driver's may quote a row.
    return f"{type(error).__name__}: {error}" if isinstance(error, TanlianError) else type(error).__name__
