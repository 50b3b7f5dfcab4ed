"""Exports: three forms say the same, and a reader of its own finds every row as the manifest and the log say."""

import csv
import io
import json
import tracemalloc
import zipfile
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tests_support.regulating import CITY, NOW, SEARCH, leaves, problem, sign
from tests_support.terminal import Terminal
from tests_support.tokens import Machine
from tests_support.web import Caller

from hub.changes import log_changes
from hub.context import Hub
from hub.db import writing
from hub.errors import UsageProblem
from hub.exchange.exporting import COLUMNS, FileFormat, export_entries
from hub.exchange.search import Filters
from hub.log.checkpoint import open_checkpoint
from hub.log.leaves import Kind
from hub.log.merkle import tree_root
from hub.log_signing import log_signer

Rows = list[dict[str, Any]]


def read_rows(form: str, content: bytes) -> Rows:
    """Read a file as somebody would who has only the manifest: by its format's own library, in one form for all."""
    if form == "csv":
        rows = [
            {name: None if value == "" else value for name, value in row.items()}
            for row in csv.DictReader(io.StringIO(content.decode()))
        ]
        for row in rows:
            row |= {name: int(row[name]) for name in ("index", "window", "batch") if row[name] is not None}
        return rows
    if form == "ndjson":
        return [json.loads(line) for line in content.splitlines()]
    rows = pq.read_table(io.BytesIO(content)).to_pylist()
    return [row | {"at": row["at"].strftime("%Y-%m-%dT%H:%M:%SZ")} for row in rows]


def check(hub: Hub, manifest: dict[str, Any], content: bytes) -> Rows:
    """Verify an export with hashlib and the log's published files alone; returns its rows."""
    (file,) = manifest["files"]
    form = file["name"].partition(".")[2]
    assert (len(content), sha256(content).hexdigest()) == (file["bytes"], file["sha256"])
    rows = read_rows(form, content)
    assert (len(rows), list(rows[0]) if rows else list(COLUMNS)) == (manifest["rows"], manifest["columns"])
    signed = open_checkpoint(manifest["checkpoint"].encode(), log_signer(hub).verifier)
    assert (signed.size, signed.root.hex()) == (manifest["size"], manifest["root"])
    caller, size = Caller(hub), manifest["size"]
    tile = caller.get("/log/tile/0/000" if size >= 256 else f"/log/tile/0/000.p/{size}").content
    for row in rows:
        assert sha256(b"\x00" + row["leaf"].encode()).hexdigest() == row["leaf_hash"]
        at = row["index"] * 32
        assert tile[at : at + 32].hex() == row["leaf_hash"], row["index"]
        told = json.loads(row["leaf"])
        assert (told["kind"], told["at"]) == (row["kind"], row["at"])
    indexes = [row["index"] for row in rows]
    assert len(set(indexes)) == len(indexes)
    assert (manifest["first_index"], manifest["last_index"]) == (min(indexes, default=None), max(indexes, default=None))
    kinds = {kind: sum(row["kind"] == kind for row in rows) for kind in {row["kind"] for row in rows}}
    assert manifest["kinds"] == kinds
    return rows


@pytest.mark.parametrize("form", list(FileFormat))
def test_an_export_over_http_is_verified_by_a_reader_of_its_own(town: Hub, gu: Machine, form: FileFormat):
    sign(town)
    answer = gu.get(f"{SEARCH}/export", params={"format": str(form), "participant": CITY})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
        assert sorted(packed.namelist()) == sorted([f"entries.{form}", "manifest.json"])
        manifest, content = json.loads(packed.read("manifest.json")), packed.read(f"entries.{form}")
    rows = check(town, manifest, content)
    assert manifest["filters"] == {"participant": CITY}
    fits = [index for index, leaf in enumerate(leaves(town)) if leaf.get("participant") == CITY]
    assert sorted(row["index"] for row in rows) == fits
    assert [row["index"] for row in rows] != fits  # newest first


def test_the_whole_log_exported_makes_its_signed_root(town: Hub, tmp_path: Path):
    size = sign(town)
    written = export_entries(
        town.engine, tmp_path, Filters(), FileFormat.NDJSON, origin=town.settings.log_origin, now=NOW
    )
    manifest = json.loads(written.manifest.read_text())
    rows = check(town, manifest, written.data.read_bytes())
    assert (written.rows, manifest["rows"], len(rows)) == (size, size, size)
    ordered = sorted(rows, key=lambda row: int(row["index"]))
    assert tree_root([bytes.fromhex(row["leaf_hash"]) for row in ordered]).hex() == manifest["root"]


def test_the_three_forms_hold_the_same_rows(town: Hub, tmp_path: Path):
    told = []
    for form in FileFormat:
        place = tmp_path / form
        written = export_entries(town.engine, place, Filters(), form, origin="o", now=NOW)
        told.append(read_rows(form, written.data.read_bytes()))
    assert told[0] == told[1] == told[2]
    assert told[0]


@pytest.mark.parametrize("form", list(FileFormat))
def test_nothing_that_fits_is_a_file_without_rows(town: Hub, tmp_path: Path, form: FileFormat):
    filters = Filters(participant="nobody")
    written = export_entries(town.engine, tmp_path, filters, form, origin="o", now=NOW)
    assert check(town, json.loads(written.manifest.read_text()), written.data.read_bytes()) == []


def test_what_is_there_is_not_written_over_and_too_much_leaves_nothing(town: Hub, tmp_path: Path):
    def export(place: str, **more: Any) -> Any:
        return export_entries(
            town.engine, tmp_path / place, Filters(), FileFormat.CSV, origin="o", now=NOW, **more
        )  # fmt: skip

    export("a")
    with pytest.raises(UsageProblem, match="exists already"):
        export("a")
    with pytest.raises(UsageProblem, match="more than 3"):
        export("b", most=3)
    assert list((tmp_path / "b").iterdir()) == []


def test_too_much_over_http_is_refused(gu: Machine, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hub.api.regulator_log.MOST_EXPORTED", 2)
    assert problem(gu.get(f"{SEARCH}/export")) == (422, "usage_problem")
    assert problem(gu.get(f"{SEARCH}/export", params={"format": "xml"})) == (422, "invalid_request")


def test_the_terminal_searches_and_exports(town: Hub, tanlian: Terminal):
    told = tanlian("log", "search", "--participant", CITY, "--kind", "batch.received", "--json").json
    assert ([one["batch"] for one in told["entries"]], told["next"]) == ([3, 1], None)
    shown = tanlian("log", "search", "--limit", "2")
    assert (shown.code, "--cursor" in shown.out) == (0, True)
    following = shown.out.split("--cursor ")[1].strip()
    assert tanlian("log", "search", "--limit", "2", "--cursor", following).code == 0
    assert (
        "cursor"
        in tanlian("log", "search", "--limit", "2", "--kind", "batch.received", "--cursor", following).complaint
    )
    done = tanlian("log", "export-entries", "--dir", "out", "--format", "csv", "--window", "2", "--json").json
    manifest = json.loads(Path(done["manifest"]).read_text())
    rows = check(town, manifest, Path(done["data"]).read_bytes())
    assert {row["window"] for row in rows} == {2}
    assert "exists already" in tanlian("log", "export-entries", "--dir", "out", "--format", "csv").complaint
    for wrong in (
        ("--kind", "x"),
        ("--since", "today"),
        ("--since", "2026-11-20T08:00:00"),
        ("--participant", "a' OR"),
    ):
        assert tanlian("log", "search", *wrong).code == 1, wrong
    assert tanlian("log", "reindex", "--json").json["entries"] >= len(leaves(town))


def test_memory_is_flat_in_the_number_of_rows(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hub.exchange.exporting.ROWS_A_GROUP", 200)
    peaks = []
    for round_number, many in enumerate((400, 3_600)):
        with writing(hub.engine) as session:
            log_changes(
                session, NOW + timedelta(seconds=round_number),
                [
                    (Kind.PRECHECK_ANSWERED, f"{round_number}:{n}", {"participant": CITY, "asked_count": n, "claimed_count": 0})
                    for n in range(many)
                ],
            )  # fmt: skip
        sign(hub)
        for form in FileFormat:
            tracemalloc.start()
            place = tmp_path / f"{form}-{many}"
            export_entries(hub.engine, place, Filters(), form, origin="o", now=datetime.now(tz=NOW.tzinfo))
            peaks.append((form, tracemalloc.get_traced_memory()[1]))
            tracemalloc.stop()
    few, more = peaks[:3], peaks[3:]
    for (form, little), (_, much) in zip(few, more, strict=True):
        # Ten times the rows.
        assert much < 2 * little, (form, little, much)
