"""connectors check: the command line of the conformance suite. I/O: terminal.

The suite brings the whole sandbox with it: it is imported when it is asked for, so that no other command waits for it.
"""

from pathlib import Path
from typing import Annotated

import typer

from hub.commands.console import AS_JSON
from hub.conformance.cases import Group


def check(
    name: Annotated[str, typer.Argument(help="A participant of this hub, a connector, or a platform of the sandbox.")],
    report: Annotated[
        Path | None, typer.Option(help="File to write: .json for machines, anything else is Markdown.")
    ] = None,
    only: Annotated[
        list[Group] | None, typer.Option(help="Only this group of cases; may be given several times.")
    ] = None,
    sandbox: Annotated[bool, typer.Option("--sandbox", help="Only on the sandbox; needs no database.")] = False,
    as_json: bool = AS_JSON,
) -> None:
    """Run the conformance suite: every case that applies to a connector, and what can be asked of a participant itself.

    The sandbox's simulators speak the connector's format, well and badly; nothing of it touches this hub's database. A
    participant's own endpoint is then read, and nothing is stored. Ends with 1 if a case failed.
    """
    from hub.commands.conformance import check_connectors

    check_connectors(name, report=report, only=frozenset(only or ()), sandbox=sandbox, as_json=as_json)
