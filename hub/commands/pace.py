"""One bar for a run of several steps over the same records, with its rate and what is left. I/O: terminal."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from hub.commands.console import err


class RateColumn(ProgressColumn):
    """Records per second of the whole run, as if each went through all steps at once."""

    def render(self, task: Task) -> Text:
        """Return the rate so far, over all of the time: a step's own rate would promise too much or too little."""
        rate = task.completed / task.elapsed if task.elapsed else 0.0
        return Text(f"{rate:,.0f} records/s")


def overall(shares: Mapping[str, float], step: str, done: int, whole: int) -> float:
    """Return how many records' worth of all work is done, when so many of the whole are through a step.

    Args:
        shares: of the time, by step, in the order of the steps; one that was skipped counts as done.
    """
    names = list(shares)
    before = sum(shares[name] for name in names[: names.index(step)])
    return whole * (before + shares[step] * (done / whole if whole else 1.0)) / sum(shares.values())


@contextmanager
def run_bar(shares: Mapping[str, float], *, quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Show one bar on stderr, and give what it is told by: step, records through it, all records."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        RateColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, disable=quiet or not err.is_terminal) as bars:
        task = bars.add_task("", total=None)

        def report(step: str, done: int, whole: int) -> None:
            bars.update(task, description=step, completed=overall(shares, step, done, whole), total=whole)

        yield report
