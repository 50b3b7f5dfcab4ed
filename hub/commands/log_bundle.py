"""log bundle, and log verify of bundles and windows: proofs as files, made here and checked anywhere. I/O: files, terminal,
the database for making them."""

from pathlib import Path
from typing import Annotated, Any

import typer

from hub.commands.console import AS_JSON, opened_hub, out, print_json, table
from hub.context import Hub
from hub.db import reading
from hub.errors import UsageProblem
from hub.log.bundles import MAX_BUNDLE_BYTES, BundleKind, BundleRefused, parse_keys, to_text, verify_bundle
from hub.log.note import NoteError, VerifierKey
from hub.log.policy import NOBODY, PolicyError, WitnessPolicy, parse_policy
from hub.log.window_proof import WindowFault, WindowReport, verify_windows
from hub.log_signing import log_signer
from hub.proving.bundling import Prover
from hub.proving.decisions import DecisionTrees
from hub.proving.window_files import PROOF, write_window

bundle = typer.Typer(help="Proofs as files, for whoever does not trust the hub.", no_args_is_help=True)
RecordId = Annotated[int, typer.Argument(min=1, max=2**63 - 1, help="The record's number.")]
WindowId = Annotated[int, typer.Argument(min=1, max=2**31 - 1, help="The window's number.")]
Out = Annotated[Path | None, typer.Option("--out", help="File to write; without it the bundle is printed.")]


@bundle.command("record")
def record(record_id: RecordId, file: Out = None) -> None:
    """Prove that a record is one of those that its batch committed to when it came."""
    with opened_hub() as hub, reading(hub.engine) as session:
        _give(prover_of(hub).prove_record(session, record_id), file)


@bundle.command("decision")
def decision(window_id: WindowId, record_id: RecordId, file: Out = None) -> None:
    """Prove what a final window decided about a record."""
    with opened_hub() as hub, reading(hub.engine) as session:
        _give(prover_of(hub).prove_decision(session, window_id, record_id), file)


@bundle.command("leaf")
def leaf(
    index: Annotated[int, typer.Argument(min=0, max=2**63 - 1, help="Its place, from 0.")], file: Out = None
) -> None:
    """Prove that a leaf stands in the log."""
    with opened_hub() as hub, reading(hub.engine) as session:
        _give(prover_of(hub).prove_leaf(session, index), file)


@bundle.command("window")
def window(
    window_ids: Annotated[list[int], typer.Argument(min=1, max=2**31 - 1, help="Numbers of final windows.")],
    directory: Annotated[Path, typer.Option("--dir", help="Folder; each window gets one of its own in it.")],
    as_json: bool = AS_JSON,
) -> None:
    """Write the proof that final windows count nothing twice: manifest, decisions, keys of acts, log's part."""
    with opened_hub() as hub:
        prover = prover_of(hub)
        written = []
        for window_id in window_ids:
            with reading(hub.engine) as session:
                written.append(write_window(session, prover, window_id, directory))
    if as_json:
        print_json(
            [
                {"window": one.window, "dir": str(one.folder), "decisions": one.decisions, "events": one.events,
                 "reversals": one.reversals}
                for one in written
            ]
        )  # fmt: skip
        return
    rows = [
        [one.window, str(one.folder), f"{one.decisions:,}", f"{one.events:,}", f"{one.reversals:,}"] for one in written
    ]
    table(
        "Windows", ["window", "folder", "decisions", "events", "taken back"], rows, numbers=frozenset({0, 2, 3, 4})
    )  # fmt: skip


def prover_of(hub: Hub) -> Prover:
    """Return what makes bundles on this hub."""
    return Prover(signer=log_signer(hub), trees=DecisionTrees())


def load_policy_file(path: Path | None) -> WitnessPolicy:
    """Return the policy of a file, or the one that asks for no witness; raises UsageProblem."""
    if path is None:
        return NOBODY
    try:
        return parse_policy(path.read_bytes())
    except PolicyError as cause:
        raise UsageProblem(f"{path}: {cause}") from None


def keys_for(vkey: str | None, policy: WitnessPolicy) -> tuple[VerifierKey, ...]:
    """Return the log's keys to verify with: the one that is named, those of the policy, or else this hub's own."""
    try:
        named = parse_keys([] if vkey is None else [vkey], policy)
    except NoteError as cause:
        raise UsageProblem(f"--key: {cause}") from None
    if named:
        return named
    with opened_hub() as hub:
        return log_signer(hub).verifiers


def verify_bundle_file(path: Path, keys: tuple[VerifierKey, ...], policy: WitnessPolicy, *, as_json: bool) -> None:
    """Check a bundle and say what it shows; exit 1 and what failed if it shows nothing."""
    try:
        shown = verify_bundle(_read(path), keys, policy)
    except BundleRefused as refused:
        if as_json:
            print_json({"verified": False, "problem": str(refused)})
        else:
            out.print(f"NOT VERIFIED: {refused}", markup=False, highlight=False)
        raise SystemExit(1) from None
    if as_json:
        print_json(shown.to_json())
        return
    out.print(f"verified: {shown.what}", markup=False, highlight=False)
    witnessed = f", cosigned by {', '.join(shown.witnesses)}" if shown.witnesses else ""
    told = f"  leaf {shown.index:,} of the {shown.size:,} entries of {shown.origin}{witnessed}"
    out.print(told, markup=False, highlight=False)


def verify_window_folders(
    folders: list[Path], keys: tuple[VerifierKey, ...], policy: WitnessPolicy, *, as_json: bool
) -> None:
    """Check the proofs of final windows, each in its folder; exit 1 and every fault's name if one is wrong."""
    proved, faults = [], list[WindowFault]()
    for folder in folders:
        try:
            shown = verify_bundle(_read(folder / PROOF), keys, policy)
            if shown.kind is not BundleKind.WINDOW or shown.manifest is None:
                raise BundleRefused(f"{folder / PROOF} is the proof of a {shown.kind}, not of a window")
            proved.append((shown.manifest, folder))
        except BundleRefused as refused:
            faults.append(WindowFault(window=0, reason="not_logged", detail=f"{folder.name}: {refused}"))
    report = verify_windows(proved)
    faults += report.faults
    if as_json:
        print_json({"verified": not faults, **_told(report, faults)})
    else:
        out.print(
            f"{'NOT VERIFIED' if faults else 'verified'}: {len(report.windows)} windows, {report.decisions:,} decisions, "
            f"{report.events:,} counted acts of {report.counted_mg:,} mg",
            highlight=False,
        )
        for fault in faults:
            out.print(f"  {fault.reason}: {fault.detail}", markup=False, highlight=False)
        for note in report.notes:
            out.print(f"  note: {note}", markup=False, highlight=False)
    if faults:
        raise SystemExit(1)


def _told(report: WindowReport, faults: list[WindowFault]) -> dict[str, Any]:
    return {
        "windows": list(report.windows), "decisions": report.decisions, "events": report.events,
        "counted_mg": report.counted_mg, "notes": list(report.notes),
        "faults": [{"window": one.window, "reason": one.reason, "detail": one.detail} for one in faults],
    }  # fmt: skip


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_BUNDLE_BYTES + 1)


def _give(made: dict[str, Any], file: Path | None) -> None:
    text = to_text(made)
    if file is None:
        print(text, end="")
    else:
        file.write_text(text, encoding="utf-8")
        out.print(f"the bundle is in {file}", markup=False, highlight=False)
