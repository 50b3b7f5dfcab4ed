"""What all commands share: where they print, how they fail, how long work shows progress. I/O: terminal."""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError, ProgrammingError

from hub.context import Hub, open_hub
from hub.errors import TanlianError, UsageProblem
from hub.settings import Settings

# Where nobody looks on, no column need be folded: the tables of a log or a file are as wide as they need.
out = Console(width=None if sys.stdout.isatty() or "COLUMNS" in os.environ else 140)
err = Console(stderr=True, highlight=False)

AS_JSON = typer.Option(False, "--json", help="Print JSON instead of tables.")


def print_json(document: Any) -> None:
    """Print one JSON document, Chinese as it is."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=1, default=str) + "\n")


def print_line(document: Any) -> None:
    """Print one JSON document on one line."""
    sys.stdout.write(json.dumps(document, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def fail(message: str, code: int = 1) -> NoReturn:
    """Say in one line on stderr what is wrong, and end."""
    sys.stderr.write(f"tanlian: {' '.join(message.split())}\n")
    raise SystemExit(code)


@contextmanager
def opened_hub() -> Iterator[Hub]:
    """Open the hub that the settings name, and close its database at the end."""
    settings = Settings()
    try:
        backend = make_url(settings.database_url).get_backend_name()
    except ArgumentError:
        backend = ""
    if backend not in ("sqlite", "postgresql"):
        raise UsageProblem("TANLIAN_DATABASE_URL must be sqlite:///file or postgresql://...")
    hub = open_hub(settings)
    try:
        yield hub
    finally:
        hub.engine.dispose()


def table(title: str, columns: list[str], rows: list[list[Any]], *, numbers: frozenset[int] = frozenset()) -> None:
    """Print a table; the columns in `numbers` are aligned to the right."""
    shown = Table(title=title, title_justify="left", header_style="bold")
    for index, name in enumerate(columns):
        shown.add_column(name, justify="right" if index in numbers else "left", overflow="fold")
    for row in rows:
        shown.add_row(*[str(value) for value in row])
    out.print(shown)


@contextmanager
def progress_bars(*, quiet: bool) -> Iterator[Progress]:
    """Show bars on stderr while work lasts; they leave with it."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    # Where nobody looks on, a bar would only leave empty lines beside an error.
    with Progress(*columns, console=err, disable=quiet or not err.is_terminal) as bars:
        yield bars


def told_errors(run: Callable[[], Any]) -> Any:
    """Run a command; a failure of the world becomes one line, a bug keeps its traceback."""
    try:
        return run()
    except TanlianError as error:
        fail(str(error))
    except BrokenPipeError:
        raise SystemExit(0) from None
    except OSError as error:
        fail(f"{error.filename or 'the system'}: {error.strerror or error}")
    except (OperationalError, ProgrammingError) as error:
        fail(_database_problem(error))  # the error's own text would repeat the statement and its values
    except ValidationError as error:
        if error.title != Settings.__name__:
            raise
        fail("; ".join(f"TANLIAN_{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors()))


def _database_problem(error: DBAPIError) -> str:
    told = str(error.orig).strip().splitlines()
    if "no such table" in told[0] or getattr(error.orig, "sqlstate", None) == "42P01":  # undefined_table
        return "the database has not the tables of this version; run `tanlian migrate`"
    return f"the database cannot be used: {told[0]}"
