"""Whether a message, a page or a drop is as its profile says: every finding, not only the first. I/O: reads drops.

For platforms, before they connect: what is told here is what the hub would refuse or set aside, with the same codes, and
what it takes but will not understand (the same record twice, records without an id).
"""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from connectors.base import ConnectorError, Inbound, Reply, Unreadable
from connectors.net.egress import Answer
from connectors.profiles.cursor_pull import Names, parse_page
from connectors.profiles.drop_folder import DropSource, list_sequences
from connectors.profiles.drop_manifest import (
    MANIFEST,
    SIGNATURE,
    Manifest,
    parse_manifest,
    require_place,
    require_signature,
)
from connectors.profiles.drop_place import LocalPlace, ReadFile
from connectors.profiles.drop_rows import DroppedFile, is_named
from connectors.profiles.signed_push import SignedPush, SignedPushConfig
from connectors.webhook_signature import WebhookKeys

MAX_FINDINGS = 200
_MAX_MANIFEST_BYTES = 1024 * 1024
_SENTENCES = {
    "sequence_gap": "A drop of this chain is missing.",
    "sequence_twice": "Two folders have the same number.",
    "drop_incomplete": "The folder has no `.ok`: the hub waits for it.",
    "manifest_signature": "No key signed exactly these bytes of `manifest.json`.",
    "manifest_shape": "`manifest.json` does not have exactly the members of the profile, each of its type.",
    "manifest_file_name": "A file's name is not one plain name with one of the profile's endings.",
    "manifest_repeated_name": "Two files have the same name.",
    "manifest_of_another_stream": "The manifest names another platform or stream.",
    "manifest_sequence": "The manifest's number is not that of its folder.",
    "manifest_time_ahead": "The manifest was written later than now.",
    "chain_broken": "`prev_manifest_sha256` is not the digest of the manifest before.",
    "file_missing": "A file that the manifest names is not there.",
    "file_not_regular": "A file is a link, a folder or a pipe.",
    "file_too_large": "A file, or what comes out of it, is larger than its bound.",
    "file_digest": "A file's SHA-256 is not the one in the manifest.",
    "file_row_count": "A file does not have as many rows as the manifest says.",
    "file_header": "The first line does not name every column once.",
    "file_encoding": "The file is not in the agreed encoding.",
    "file_csv": "The file is not CSV as RFC 4180 has it.",
    "file_gzip_damaged": "The file is not gzip, or cut off.",
    "file_parquet": "The file is not Parquet that can be read.",
    "file_column_type": "A column is nested, or of a type without an agreed meaning.",
    "page_unreadable": "The page is not JSON.",
    "page_no_records": "The page has no list of records.",
    "page_no_next_cursor": "The page does not say where to continue; at the end `next_cursor` is null.",
    "page_next_cursor": "`next_cursor` is neither null nor 1 to 2048 printable characters.",
    "page_too_many_records": "The page has more records than agreed.",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong: the hub's code, where, and a sentence without anything of the content."""

    code: str
    where: str
    sentence: str


def validate_push(body: bytes, headers: Mapping[str, str], *, keys: WebhookKeys | None, now: datetime) -> list[Finding]:
    """Check one message as the hub's door would; without keys the signature is not looked at."""
    told = {name.lower(): value for name, value in headers.items()}
    if keys is None:
        findings = [] if _is_headed(told) else [_finding("webhook_headers", "headers", "A webhook header is missing.")]
        return findings + _validate_page_like(body, most_rows=5000)
    door = SignedPush(SignedPushConfig(keys=keys))
    answer = door.receive(Inbound(method="POST", path="/", headers=told, body=body), now=now)
    if isinstance(answer, Reply):
        problem = json.loads(answer.body)
        return [_finding(problem["type"].rpartition(":")[2], "message", problem["title"])]
    return _row_findings(answer.rows, answer.unreadable, where="records")


def validate_page(body: bytes, *, names: Names | None = None, most_rows: int = 5000) -> list[Finding]:
    """Check one page of a cursor pull feed."""
    answer = Answer(status=200, headers={}, body=body)
    try:
        split, _ = parse_page(answer, names=names or Names(), most_rows=most_rows)
    except ConnectorError as error:
        return [_of_reason(error.reason, "page")]
    return _row_findings(split.rows, split.unreadable, where="records")


def validate_drop(
    root: Path,
    *,
    keys: Sequence[Ed25519PublicKey],
    now: datetime,
    platform: str | None = None,
    stream: str | None = None,
    encoding: str = "utf-8",
) -> list[Finding]:
    """Check one drop, or all drops of a root and their chain; without keys no signature is looked at."""
    place = LocalPlace(root.parent if (root / MANIFEST).exists() else root)
    findings: list[Finding] = []
    with place.open_reader() as reader:
        try:
            folders = list_sequences(reader)
        except ConnectorError as error:
            return [_of_reason(error.reason, str(root.name))]
        if place.root != root:
            folders = {number: name for number, name in folders.items() if name == root.name}
            if not folders:
                return [_finding("folder_name", root.name, "A drop's folder is named by its number.")]
        previous: Manifest | None = None
        for number, name in sorted(folders.items()):
            source = DropSource(
                place=place, platform=platform or "", stream=stream or "", keys=tuple(keys), encoding=encoding
            )
            if not reader.is_ready(name):
                findings.append(_of_reason("drop_incomplete", name))
            if previous is not None and number != previous.sequence + 1:
                findings.append(_of_reason("sequence_gap", f"{previous.sequence + 1}"))
            with reader.enter(name) as read_file:
                told = _Told(number=number, name=name, previous=previous, chained=place.root == root, now=now)
                found, previous = _validate_folder(source, read_file, told)
            findings += found
    if not folders:
        findings.append(_finding("root_empty", root.name, "There is no drop here."))
    return findings[:MAX_FINDINGS]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """Where a drop stands: `chained` if the one before it is known too."""

    number: int
    name: str
    previous: Manifest | None
    chained: bool
    now: datetime


def _validate_folder(source: DropSource, read_file: ReadFile, told: _Told) -> tuple[list[Finding], Manifest | None]:
    findings: list[Finding] = []
    name = told.name
    try:
        text = read_file(MANIFEST, _MAX_MANIFEST_BYTES)
        manifest = parse_manifest(text)
    except ConnectorError as error:
        return [_of_reason(error.reason, f"{name}/{MANIFEST}")], None
    try:
        signature = read_file(SIGNATURE, 1024)
        if source.keys:
            require_signature(text, signature, source.keys)
    except ConnectorError as error:
        findings.append(_of_reason(error.reason, f"{name}/{SIGNATURE}"))
    before = manifest.prev_manifest_sha256
    if told.chained:
        # The first drop that is there need not be the first there ever was.
        before = told.previous.sha256 if told.previous is not None else (None if told.number <= 1 else before)
    try:
        require_place(
            manifest,
            platform=source.platform or manifest.platform,
            stream=source.stream or manifest.stream,
            sequence=told.number,
            previous=before,
            now=told.now,
        )
    except ConnectorError as error:
        findings.append(_of_reason(error.reason, f"{name}/{MANIFEST}"))
    for file in manifest.files:
        findings += _validate_file(source, read_file, file.name, file.sha256, file.rows, f"{name}/{file.name}")
    return findings, manifest


def _validate_file(
    source: DropSource, read_file: ReadFile, name: str, sha256: str, rows: int, where: str
) -> list[Finding]:
    if not is_named(name, source.endings):
        return [_of_reason("manifest_file_name", where)]
    try:
        data = read_file(name, source.file_bytes)
        wrong = [] if hashlib.sha256(data).hexdigest() == sha256 else [_of_reason("file_digest", where)]
        file = DroppedFile(
            name=name, data=data, first=0, encoding=source.encoding, most_bytes=source.inflated_bytes, most_rows=rows
        )
        entries = list(source.parse(file))
    except ConnectorError as error:
        return [_of_reason(error.reason, where)]
    if len(entries) != rows:
        wrong.append(_of_reason("file_row_count", where))
    unreadable = [entry for entry in entries if isinstance(entry, Unreadable)]
    return wrong + _row_findings([entry for entry in entries if isinstance(entry, bytes)], unreadable, where=where)


def _row_findings(rows: Sequence[bytes], unreadable: Sequence[Unreadable], *, where: str) -> list[Finding]:
    found = [_finding(row.reason, f"{where}[{row.position}]", row.detail) for row in unreadable]
    for row, times in Counter(rows).items():
        if times > 1:
            place = f"{where}[{rows.index(row)}]"
            found.append(_finding("repeated_record", place, f"The same record stands here {times} times."))
    found += [
        _finding("too_long", f"{where}[{position}]", "The record is longer than 64 KiB.")
        for position, row in enumerate(rows)
        if len(row) > 64 * 1024
    ]
    return found[:MAX_FINDINGS]


def _validate_page_like(body: bytes, *, most_rows: int) -> list[Finding]:
    """The body of a message without its signature: a page whose end is not told."""
    names = Names(may_leave_out=True, cursor_member=("next_cursor",))
    return validate_page(body, names=names, most_rows=most_rows)


def _is_headed(headers: Mapping[str, str]) -> bool:
    return not headers or {"webhook-id", "webhook-timestamp", "webhook-signature"} <= set(headers)


def _of_reason(reason: str, where: str) -> Finding:
    sentence = _SENTENCES.get(reason, "The message is not a strict JSON object as the profile has it.")
    return _finding(reason, where, sentence)


def _finding(code: str, where: str, sentence: str) -> Finding:
    return Finding(code=code, where=where, sentence=sentence)
