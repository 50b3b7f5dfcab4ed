"""standards export, standards validate: documents for platforms and regulators, checks of data. I/O: files, terminal."""

import os
import shutil
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer

from hub.commands.console import AS_JSON, out, print_json, table
from hub.errors import UsageProblem
from standards.check import check_standards
from standards.datafile import DataError
from standards.documents.catalogue import Document, build_documents, load_documents
from standards.drafts import check_draft


def export(
    folder: Annotated[Path, typer.Option("--dir", help="The folder to write; new, empty, or an earlier export.")],
    methodology: Annotated[str | None, typer.Option(help="Only this version's page; all of them.")] = None,
    as_json: bool = AS_JSON,
) -> None:
    """Write schemas, tables and pages for platforms and regulators, all or nothing."""
    try:
        documents = build_documents(*([methodology] if methodology else []))
    except DataError as problem:
        raise UsageProblem(str(problem)) from problem
    _write_folder(folder, documents)
    if as_json:
        listed = [
            {"name": d.name, "media_type": d.media_type, "bytes": len(d.content), "sha256": sha256(d.content).hexdigest()}
            for d in documents.values()
        ]  # fmt: skip
        print_json({"dir": str(folder), "documents": listed})
        return
    table(
        f"{len(documents)} documents in {folder}",
        ["file", "bytes", "what it is"],
        [[d.name, f"{len(d.content):,}", d.about] for d in documents.values()],
        numbers=frozenset({1}),
    )


def validate(
    files: Annotated[list[Path] | None, typer.Argument(help="Drafts of data files; without one, all in use.")] = None,
    as_json: bool = AS_JSON,
) -> None:
    """Check all data files in use, or drafts, against every rule of their kind; exit code 1 and file and line if not."""
    if not files:
        _validate_all(as_json=as_json)
        return
    checked, problems = [], []
    for file in files:
        try:
            found = check_draft(file)
            checked.append({"file": str(file), "kind": found.kind, "entries": found.entries, "problem": None})
        except DataError as problem:
            # The text begins with the file's bare name; several drafts may have the same.
            told = f"{file}{str(problem).removeprefix(file.name)}"
            checked.append({"file": str(file), "kind": None, "entries": None, "problem": told})
            problems.append(told)
    if as_json:
        print_json({"valid": not problems, "files": checked})
    else:
        for one in checked:
            if one["problem"] is None:
                out.print(f"{one['file']}: {one['kind']}, {one['entries']} entries, no mistake", soft_wrap=True)
    if problems:
        raise UsageProblem("; ".join(problems))


def _validate_all(*, as_json: bool) -> None:
    try:
        entries = check_standards()
        # Working out every example is part of making the documents.
        documents = len(load_documents())
    except DataError as problem:
        raise UsageProblem(str(problem)) from problem
    entries |= {"documents": documents}
    if as_json:
        print_json({"valid": True, "entries": entries})
        return
    table("Checked, no mistake", ["what", "entries"], [[k, v] for k, v in entries.items()], numbers=frozenset({1}))


def _write_folder(folder: Path, documents: Mapping[str, Document]) -> None:
    """Write beside the folder and rename, so that it has all documents or stays as it was."""
    _require_ours(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    beside, old = (folder.parent / f".{folder.name}.{os.getpid()}.{end}" for end in ("writing", "old"))
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        for document in documents.values():
            (beside / document.name).write_bytes(document.content)
        if folder.exists():
            folder.rename(old)
        try:
            beside.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def _require_ours(folder: Path) -> None:
    """Refuse to replace anything but documents of an earlier export."""
    if not folder.exists():
        return
    if not folder.is_dir() or folder.is_symlink():
        raise UsageProblem(f"{folder} exists and is not a folder")
    known = load_documents().keys()
    strange = sorted(
        path.name
        for path in folder.iterdir()
        if path.name not in known and not (path.name.startswith("methodology-") and path.suffix == ".md")
    )
    if strange:
        raise UsageProblem(
            f"{folder} holds {strange[0]}, which is no document of an earlier export; nothing was written"
        )
