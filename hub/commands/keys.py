"""keys: which there are, what hangs on them, rotating and retiring them. I/O: key directory, terminal, the database."""

import time
from typing import Annotated

import typer

from consent.keyring import LOOK_EVERY_S
from hub.commands.console import AS_JSON, opened_hub, out, print_json, progress_bars, table
from hub.errors import UsageProblem
from hub.keys.listing import list_keys
from hub.keys.rotation import (
    KeyKind,
    Rotated,
    retire_key,
    rotate_key_encryption,
    rotate_log,
    rotate_pairwise,
    rotate_signing,
)

keys = typer.Typer(help="Keys of the hub.", no_args_is_help=True)
NOW = Annotated[bool, typer.Option("--now", help="Do not wait for the overlap (TANLIAN_KEY_OVERLAP).")]


@keys.command("list")
def list_all(as_json: bool = AS_JSON) -> None:
    """List all keys, what each is for, and how many stored values still hang on it."""
    with opened_hub() as hub:
        found = list_keys(hub)
    rows = [
        {"key": key.key_id, "kind": key.kind, "state": key.state, "since": key.since, "values": key.values}
        for key in found
    ]
    if as_json:
        print_json(rows)
        return
    cells = [
        [row["key"], row["kind"], row["state"], f"{row['since']:%Y-%m-%d %H:%M}Z", row["values"] or ""] for row in rows
    ]
    table("Keys", ["key", "kind", "state", "since", "values"], cells, numbers=frozenset({4}))


@keys.command("rotate")
def rotate(
    kind: Annotated[str, typer.Argument(help=f"One of {', '.join(KeyKind)}.")],
    now: NOW = False,
    as_json: bool = AS_JSON,
) -> None:
    """Let a new key take over, while everything goes on. A rotation that was cut short is finished by the same command."""
    if kind not in list(KeyKind):
        raise UsageProblem(f"there is no key kind {kind!r} that can be rotated; known: {', '.join(KeyKind)}")
    with opened_hub() as hub:
        match KeyKind(kind):
            case KeyKind.KEY_ENCRYPTION:
                with progress_bars(quiet=as_json) as bars:
                    bar = bars.add_task("sealed anew", total=None)
                    rotated = rotate_key_encryption(
                        hub,
                        settle=_settle,
                        progress=lambda done, total: bars.update(bar, completed=done, total=total),
                    )
            case KeyKind.SIGNING | KeyKind.ATTESTATION:
                rotated = rotate_signing(hub, at_once=now, kind=KeyKind(kind))
            case KeyKind.LOG:
                rotated = rotate_log(hub)
            case KeyKind.PAIRWISE:
                rotated = rotate_pairwise(hub, settle=_settle)
    if as_json:
        print_json(
            {
                "key": rotated.key_id,
                "resumed": rotated.resumed,
                "resealed": rotated.resealed,
                "signs_at": rotated.signs_at,
            }
        )
        return
    out.print(_told(KeyKind(kind), rotated))


@keys.command("retire")
def retire(
    key_id: Annotated[str, typer.Argument(help="For example kek-0001; see `keys list`.")], now: NOW = False
) -> None:
    """Set a replaced key aside that nothing needs any longer; its file is kept below `retired/`."""
    with opened_hub() as hub:
        retire_key(hub, key_id, at_once=now)
    out.print(f"{key_id} is retired; destroy its file once no backup of the database is older than this")


def _settle() -> None:
    """Give every process the time for two looks at the key directory."""
    time.sleep(2 * LOOK_EVERY_S)


def _told(kind: KeyKind, rotated: Rotated) -> str:
    begun = "finished: " if rotated.resumed else ""
    match kind:
        case KeyKind.KEY_ENCRYPTION:
            return f"{begun}{rotated.key_id} seals; {rotated.resealed:,} values were sealed anew"
        case KeyKind.SIGNING | KeyKind.ATTESTATION:
            return f"{begun}{rotated.key_id} is published and signs from {rotated.signs_at:%Y-%m-%d %H:%M}Z on"
        case KeyKind.LOG:
            return f"{rotated.key_id} signs checkpoints beside the older keys; publish `tanlian log key` to those who verify"
        case KeyKind.PAIRWISE:
            return f"{begun}{rotated.key_id} names new records; older ones keep their names and are found by them"
