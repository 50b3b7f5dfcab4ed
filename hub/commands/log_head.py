"""log status, sign, adopt-head: how the log stands, and what an operator does when it does not go on. I/O: terminal, the
database, the head file.
"""

from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

import typer
from sqlalchemy.orm import Session

from hub.commands.console import AS_JSON, opened_hub, out, print_json, progress_bars
from hub.context import Hub, make_watch
from hub.db import reading
from hub.errors import Conflict, IntegrityBroken
from hub.log.backlog import load_backlog
from hub.log.checkpoint import Checkpoint
from hub.log.head_file import HeadFile
from hub.log.merkle import EMPTY
from hub.log.sameness import find_contradiction
from hub.log.sequencer import Sequencer
from hub.log.store import Head, load_head
from hub.log.watch import Standing, State
from hub.log_signing import log_signer

_ADVICE = {
    State.CURRENT: "",
    State.LATE: "see that `tanlian worker` runs and that its log says nothing of `log_not_signed`",
    State.STOPPED: "nothing that needs a leaf is accepted; start `tanlian worker`, or sign once by `tanlian log sign`",
    State.REFUSED: "nothing is accepted. Restore a database that has what was signed, with its newest changes; never delete "
    "the head file: a second history under one key can be shown to anybody",
}


def status(as_json: bool = AS_JSON) -> None:
    """Tell how far the log is behind, what was signed last, and whether it can go on; exit 1 unless all is well."""
    with opened_hub() as hub:
        watch = make_watch(hub.settings)
        standing = watch.look(hub.engine, hub.clock())
        told = _describe(hub, watch.head_file, standing)
    if as_json:
        print_json(told)
    else:
        _print(told)
    if standing.state is not State.CURRENT or told["signer_refuses"] is not None:
        raise SystemExit(1)


def sign(as_json: bool = AS_JSON) -> None:
    """Sequence and sign all that waits, as the worker does; safe beside a worker."""
    with opened_hub() as hub:
        with reading(hub.engine) as session:
            waiting = load_backlog(session).count
        sequencer = Sequencer(hub.engine, log_signer(hub), HeadFile(hub.settings.log_head_file))
        with progress_bars(quiet=as_json) as bars:
            bar = bars.add_task("leaves", total=waiting or None)
            signed = _sign_all(sequencer, hub.clock, lambda done: bars.advance(bar, done))
    if as_json:
        print_json({"size": signed["size"], "root": signed["root"], "signed": signed["signed"]})
        return
    out.print(f"{signed['signed']:,} leaves signed: size {signed['size']:,}, root {signed['root']}")


def adopt_head(
    size: Annotated[
        int,
        typer.Option(
            min=0, help="The size that you compared with a witness or a reader of the log.", show_default=False
        ),
    ],
    as_json: bool = AS_JSON,
) -> None:
    """After the head file was lost: trust the database's checkpoint as the last one that was signed.

    Wrong if the database is a restored backup: then the log would be signed twice from there. Compare with somebody outside
    first, and name the size that they have.
    """
    with opened_hub() as hub:
        with reading(hub.engine) as session:
            head = load_head(session)
        if head is not None and head.size != size:
            raise Conflict(
                f"the database's checkpoint has size {head.size}, not {size}: it is not the one that you compared"
            )
        adopted = Sequencer(hub.engine, log_signer(hub), HeadFile(hub.settings.log_head_file)).adopt_head()
    if as_json:
        print_json({"size": adopted.size, "root": adopted.root.hex()})
        return
    out.print(f"the head file says again: size {adopted.size:,}, root {adopted.root.hex()}")


def _sign_all(sequencer: Sequencer, clock: Callable[[], datetime], tell: Callable[[int], None]) -> dict[str, Any]:
    done, more = 0, True
    while more:
        result = sequencer.run_once(clock())
        done, more = done + result.integrated, result.more
        tell(result.integrated)
    return {"size": result.size, "root": result.root.hex(), "signed": done}


def _describe(hub: Hub, head_file: HeadFile, standing: Standing) -> dict[str, Any]:
    try:
        signed, damage = head_file.load(), None
    except IntegrityBroken as cause:
        signed, damage = None, str(cause)
    with reading(hub.engine) as session:
        head, backlog = load_head(session), load_backlog(session)
        refuses = damage or _why_refused(session, signed, origin=hub.settings.log_origin)
    return {
        "state": str(standing.state),
        "reason": standing.reason,
        "advice": _ADVICE[standing.state] or None,
        "waiting": backlog.count,
        "oldest_at": backlog.oldest_at,
        "lag_s": int(standing.lag.total_seconds()),
        "alarm_after_s": int(hub.settings.log_alarm_after.total_seconds()),
        "stop_after_s": int(hub.settings.log_stop_after.total_seconds()),
        "size": head.size if head else 0,
        "sequenced": head.sequenced if head else 0,
        "root": head.frontier.root().hex() if head else None,
        "signed_at": head.signed_at if head else None,
        "head_file": {
            "path": str(head_file.path),
            "size": signed.size if signed else None,
            "root": signed.root.hex() if signed else None,
        },
        "signer_refuses": refuses,
    }


def _why_refused(session: Session, signed: Checkpoint | None, *, origin: str) -> str | None:
    head = load_head(session) or Head(sequenced=0, frontier=EMPTY, checkpoint=None, signed_at=None)
    return find_contradiction(session, head, signed, origin=origin)


def _print(told: dict[str, Any]) -> None:
    colour = {"current": "green", "late": "yellow"}.get(told["state"], "red")
    out.print(
        f"the log is [{colour}]{told['state']}[/{colour}]: {told['waiting']:,} leaves wait, the oldest {told['lag_s']:,} s"
    )
    out.print(f"  bounds: alarm after {told['alarm_after_s']:,} s, stop after {told['stop_after_s']:,} s")
    out.print(f"  database: size {told['size']:,} of {told['sequenced']:,} given out, root {told['root'] or '-'}")
    remembered = told["head_file"]
    size = "nothing" if remembered["size"] is None else f"size {remembered['size']:,}, root {remembered['root']}"
    out.print(f"  head file {remembered['path']}: {size}")
    for name in ("signer_refuses", "advice"):
        if told[name]:
            out.print(f"  {'the signer refuses: ' if name == 'signer_refuses' else ''}{told[name]}")
