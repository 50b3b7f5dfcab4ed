"""log prove: the proof of one entry, computed from the published files alone. I/O: terminal, a folder or an address."""

from base64 import b64encode
from pathlib import Path
from typing import Annotated

import typer

from hub.commands.console import AS_JSON, opened_hub, out, print_json
from hub.errors import UsageProblem
from hub.log.note import NoteError, parse_vkey
from hub.log.published import PublishedLog
from hub.log.source import open_source
from hub.log_signing import log_signer


def prove(
    index: Annotated[int, typer.Argument(min=0, help="The entry's index in the log, from 0.")],
    url: Annotated[str | None, typer.Option(help="Address of a log, for example https://hub.example/log.")] = None,
    directory: Annotated[Path | None, typer.Option("--dir", help="Folder with an exported log.")] = None,
    key: Annotated[str | None, typer.Option(help="The log's verifier key; by default this hub's own.")] = None,
    target: Annotated[Path | None, typer.Option("--out", help="File for the proof (C2SP tlog-proof).")] = None,
    entry: Annotated[Path | None, typer.Option(help="File for the entry's bytes, which the proof is of.")] = None,
    as_json: bool = AS_JSON,
) -> None:
    """Prove that one entry is in the log, from its tiles and checkpoint; any verifier of tlog-proof takes the file."""
    if (url is None) == (directory is None):
        raise typer.BadParameter("say where the log is, once", param_hint="--url or --dir")
    fetch = open_source(url if url is not None else directory or Path())
    if key is None:
        with opened_hub() as hub:
            key = log_signer(hub).vkey_for(fetch("checkpoint") or b"")
    try:
        log = PublishedLog(fetch, parse_vkey(key))
    except NoteError as error:
        raise UsageProblem(str(error)) from None
    proof, body = log.prove_entry(index), log.read_entry(index)
    for file, content in ((target, proof), (entry, body)):
        if file is not None:
            file.write_bytes(content)
    if as_json:
        told = {"index": index, "size": log.checkpoint.size, "root": b64encode(log.checkpoint.root).decode()}
        print_json({**told, "entry": body.decode("utf-8", "replace"), "proof": proof.decode()})
        return
    out.print(f"entry {index:,} is in the log of {log.checkpoint.size:,} entries", highlight=False)
    out.print(body.decode("utf-8", "replace"), markup=False, highlight=False, soft_wrap=True)
    if target is None:
        out.print(proof.decode(), markup=False, highlight=False, soft_wrap=True, end="")
