"""`tanlian`: the command line. I/O: terminal; the commands are in hub/commands/.

Only the command that is called is loaded: all of them together take seconds to import.
"""

import sys
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from typing import Any

import typer

# Each command by the module of hub/commands/ that it is in, and its name there.
COMMANDS = {
    "migrate": "operate:migrate",
    "serve": "operate:serve",
    "worker": "operate:worker",
    "demo": "demo:demo",
    "clear": "inspect:clear",
    "explain": "explaining:explain",
    "audit": "auditing:check",
    "anomalies": "anomalies:anomalies",
    "holds": "holds:holds",
    "reservations": "uses:reservations",
    "debts": "uses:debts",
    "market": "market:market",
    "adjust": "adjust:adjust",
    "participants": "people:participants",
    "clients": "people:clients",
    "people": "people:people",
    "receipts": "receipts:receipts",
    "attest": "attest:attest",
    "programmes": "programmes:programmes",
    "totals": "totals:totals",
    "staff": "staff:staff",
    "connectors": "inspect:connectors",
    "mappings": "inspect:mappings",
    "profiles": "profiles:profiles",
    "standards": "standards:standards",
    "policy": "policy:policy",
    "quarantine": "quarantine:quarantine",
    "sync": "sync:sync",
    "window": "windows:window",
    "breaks": "breaks:breaks",
    "disputes": "disputes:disputes",
    "log": "log_files:log",
    "witness": "witness:witness",
    "bench": "bench:bench",
    "keys": "keys:keys",
}
# What other modules add to a group.
ADDED = {
    "people": {
        "export": "rights:export",
        "statement": "rights:statement",
        "erase": "rights:erase",
        "upload": "rights:upload",
    },
    "standards": {
        "compare": "comparing:compare",
        "points": "comparing:points",
        "simulate": "simulating:simulate",
        "restate": "restating:restate",
        "export": "exporting:export",
        "validate": "exporting:validate",
    },
    "policy": {"simulate": "simulating:simulate_policy"},
    "window": {"report": "breaks:report"},
    "log": {
        "status": "log_head:status",
        "sign": "log_head:sign",
        "adopt-head": "log_head:adopt_head",
        "prove": "log_prove:prove",
        "search": "log_entries:search_log",
        "pair": "log_entries:pair_log",
        "export-entries": "log_entries:export_log_entries",
        "report": "log_entries:report_log",
        "reindex": "log_entries:reindex_log",
        "bundle": "log_bundle:bundle",
    },
}


def build(names: Iterable[str]) -> typer.Typer:
    """Return the command line with these commands."""
    app = typer.Typer(
        name="tanlian", no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode=None,
        help="Tanlian (碳联): interconnection and clearing hub for personal carbon accounts.",
    )  # fmt: skip
    app.callback()(_nothing_first)
    for name in names:
        _add(app, name, _load(name))
    return app


def main() -> None:
    """Run the command line; failures of the world are one line on stderr."""
    from hub.commands.console import told_errors

    called = sys.argv[1] if len(sys.argv) > 1 else ""
    told_errors(build([called]) if called in COMMANDS else whole())


@cache
def whole() -> typer.Typer:
    """Return the command line with all commands."""
    return build(COMMANDS)


def __getattr__(name: str) -> typer.Typer:
    if name == "app":
        return whole()
    raise AttributeError(name)


@cache
def _load(name: str) -> Any:
    found = _find(COMMANDS[name])
    for added, place in ADDED.get(name, {}).items():
        _add(found, added, _find(place))
    return found


def _find(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(f"hub.commands.{module}"), name)


def _add(app: typer.Typer, name: str, found: Any) -> None:
    if isinstance(found, typer.Typer):
        app.add_typer(found, name=name)
    else:
        app.command(name)(found)


def _nothing_first() -> None:
    """Without it a command line of one command would take no name of a command."""
