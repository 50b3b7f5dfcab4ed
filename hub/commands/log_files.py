"""log verify, export, key: the published log. I/O: files, other hubs' logs, the database, terminal."""

from pathlib import Path
from typing import Annotated

import typer

from hub.commands.console import AS_JSON, opened_hub, out, print_json, progress_bars
from hub.commands.log_bundle import keys_for, load_policy_file, verify_bundle_file, verify_window_folders
from hub.errors import UsageProblem
from hub.log.bundles import open_witnessed
from hub.log.export import export_log
from hub.log.note import NoteError, VerifierKey
from hub.log.source import open_source
from hub.log.verify import verify_log
from hub.log_signing import log_signer

log = typer.Typer(help="The interconnection log.", no_args_is_help=True)


@log.command("verify")
def verify(
    url: Annotated[str | None, typer.Option(help="Address of a log, for example https://hub.example/log.")] = None,
    directory: Annotated[Path | None, typer.Option("--dir", help="Folder with an exported log.")] = None,
    key: Annotated[str | None, typer.Option(help="The log's verifier key; by default this hub's own.")] = None,
    bundle: Annotated[Path | None, typer.Option(help="A proof bundle (JSON file) instead of a whole log.")] = None,
    windows: Annotated[
        list[Path] | None, typer.Option("--window", help="Folder with a final window's proof; may be repeated.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="A tlog-policy file: the witnesses that must have cosigned.")
    ] = None,
    seen: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A checkpoint that you kept: the log must have grown from it."),
    ] = None,
    as_json: bool = AS_JSON,
) -> None:
    """Recompute the whole log from its published files and check the signature; needs no database but for the key.

    With --bundle or --window: check a proof of one record, decision, leaf or final window, offline.
    """
    if sum(one is not None for one in (url, directory, bundle)) + bool(windows) != 1:
        raise typer.BadParameter("say what to verify, once", param_hint="--url, --dir, --bundle or --window")
    wanted = load_policy_file(policy)
    if bundle is not None:
        return verify_bundle_file(bundle, keys_for(key, wanted), wanted, as_json=as_json)
    if windows:
        return verify_window_folders(windows, keys_for(key, wanted), wanted, as_json=as_json)
    source, others = url if url is not None else directory or Path(), tuple[VerifierKey, ...]()
    if key is None:
        with opened_hub() as hub:
            # Just after a rotation the newest key has not signed yet, and an older one of ours vouches.
            key, others = log_signer(hub).vkey_for(open_source(source)("checkpoint") or b""), log_signer(hub).verifiers
    try:
        with progress_bars(quiet=as_json) as bars:
            bar = bars.add_task("entries", total=None)
            report = verify_log(
                source, key, seen=None if seen is None else seen.read_bytes(), others=others,
                tell=lambda done, of: bars.update(bar, completed=done, total=of),
            )  # fmt: skip
        if report.holds and policy is not None:
            open_witnessed(open_source(source)("checkpoint") or b"", keys_for(key, wanted), wanted)
    except NoteError as error:
        raise UsageProblem(str(error)) from None
    if as_json:
        print_json(report.to_json())
    else:
        out.print(f"{'verified' if report.holds else 'NOT VERIFIED'}: {report.size} entries, root {report.root}")
        if report.fault is not None:
            out.print(f"  {report.fault.place}: {report.fault.reason}: {report.fault.detail}")
    if not report.holds:
        raise SystemExit(1)


@log.command("export")
def export(directory: Annotated[Path, typer.Option("--dir", help="Folder to write to.")]) -> None:
    """Write the log as static tlog-tiles files, for any web server or verifier."""
    with opened_hub() as hub:
        exported = export_log(hub.engine, directory)
    out.print(f"{exported.size} entries in {exported.files} files below {directory}")


@log.command("key")
def show_key(
    every: Annotated[bool, typer.Option("--all", help="All keys that sign now, newest first.")] = False,
) -> None:
    """Print the log's verifier key (vkey line): the newest, for whoever begins to verify now."""
    with opened_hub() as hub:
        keys = [key.to_vkey() for key in log_signer(hub).verifiers]
    print("\n".join(keys if every else keys[:1]))
