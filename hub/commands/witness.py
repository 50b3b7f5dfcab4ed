"""witness: a witness of other people's logs, to run elsewhere than they do. I/O: its folder, network, terminal.

It needs no hub and no database. Behind a proxy of your own with TLS: it listens on the loopback unless told otherwise.
"""

from pathlib import Path
from typing import Annotated

import typer
import uvicorn

from hub.clock import system_clock
from hub.commands.console import AS_JSON, opened_hub, out, print_json, table
from hub.db import reading
from hub.log.witnessing import load_policy, load_standing
from hub.witness import keeping
from hub.witness.answering import witness_app

witness = typer.Typer(help="A witness of other logs, and how this log's own witnesses stand.", no_args_is_help=True)
Folder = Annotated[Path, typer.Option("--dir", help="The witness's folder: key, trusted logs, state.")]
LogKey = Annotated[str, typer.Option("--log", help="A log's verifier key (vkey line), had from its operator.")]


@witness.command("init")
def init(
    name: Annotated[str, typer.Argument(help="The witness's name, for example witness.example/w1.")],
    folder: Folder,
    logs: Annotated[list[str] | None, typer.Option("--log", help="A log's verifier key; may be repeated.")] = None,
) -> None:
    """Make a witness with a key of its own, and print its verifier key: logs and verifiers put it into their policy."""
    made = keeping.create(folder, name, logs or [])
    print(made.cosigner.verifier.to_vkey())


@witness.command("trust")
def trust(log: LogKey, folder: Folder) -> None:
    """Cosign for one more log, or for a further key of a log that is known; restart `serve` afterwards."""
    made = keeping.trust(folder, log)
    out.print(f"{len(made.logs)} keys are trusted", highlight=False)


@witness.command("key")
def show_key(folder: Folder) -> None:
    """Print the witness's verifier key (vkey line)."""
    print(keeping.load(folder).cosigner.verifier.to_vkey())


@witness.command("serve")
def serve(
    folder: Folder,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on.")] = 7380,
) -> None:
    """Answer add-checkpoint requests (C2SP tlog-witness) until stopped."""
    loaded = keeping.load(folder)
    uvicorn.run(
        witness_app(loaded, system_clock), host=host, port=port, access_log=False, log_level="warning",
        proxy_headers=False, server_header=False,
    )  # fmt: skip


@witness.command("status")
def status(as_json: bool = AS_JSON) -> None:
    """Show how the witnesses of this hub's own log stand, by TANLIAN_WITNESS_POLICY."""
    with opened_hub() as hub, reading(hub.engine) as session:
        policy = load_policy(hub.settings.witness_policy)
        standing = load_standing(session, policy)
    told = [
        {"witness": one.name, "cosigned_at": one.cosigned_at, "behind": one.behind, "problem": one.problem}
        for one in standing.witnesses
    ]
    if as_json:
        print_json(
            {"size": standing.size, "witnessed_size": standing.witnessed_size, "witnessed_at": standing.witnessed_at,
             "quorum": policy.quorum, "witnesses": told}
        )  # fmt: skip
        return
    rows = [[one["witness"], one["cosigned_at"] or "never", one["behind"], one["problem"] or ""] for one in told]
    table("Witnesses", ["witness", "cosigned", "leaves behind", "problem"], rows, numbers=frozenset({2}))
    out.print(
        f"quorum {policy.quorum}: {standing.witnessed_size:,} of {standing.size:,} entries witnessed", highlight=False
    )
