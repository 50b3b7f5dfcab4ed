"""The signed file drop, checked with the public key alone."""

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from hub.sandbox.config import participants
from hub.sandbox.people import SHENZHEN
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.shenzhen import PartOutOfOrderError, ShenzhenTransit
from hub.sandbox.platforms.site import Front, Site
from hub.sandbox.reports import Reports


@pytest.fixture
def platform(make_site: Callable[..., Site], drop_dir: Path) -> ShenzhenTransit:
    return ShenzhenTransit(Front(make_site(SHENZHEN, drop_dir=drop_dir)))


def _public_key(drop_dir: Path) -> Ed25519PublicKey:
    documents = {document["id"]: document for document in participants(8100, drop_dir, "http://127.0.0.1:1", 7)}
    (text,) = documents[SHENZHEN]["connector_config"]["public_keys"]
    return Ed25519PublicKey.from_public_bytes(base64.b64decode(text))


def _verified(drop_dir: Path, sequence: int) -> tuple[dict[str, Any], bytes]:
    directory = drop_dir / f"{sequence:06d}"
    assert (directory / ".ok").read_bytes() == b""
    data = (directory / "manifest.json").read_bytes()
    _public_key(drop_dir).verify(base64.b64decode((directory / "manifest.sig").read_text()), data)
    return json.loads(data), data


def test_a_drop_is_signed_and_holds_the_taps_of_its_part(
    platform: ShenzhenTransit, drop_dir: Path, reports: Reports
) -> None:
    tally = asyncio.run(platform.deliver(1))
    manifest, _ = _verified(drop_dir, 1)
    assert (manifest["platform"], manifest["stream"], manifest["sequence"]) == (SHENZHEN, "trips", 1)
    (described,) = manifest["files"]
    content = (drop_dir / "000001" / described["name"]).read_bytes()
    assert hashlib.sha256(content).hexdigest() == described["sha256"]
    lines = content.decode().splitlines()
    rows = reports.told_by(SHENZHEN, 1)
    assert described["rows"] == len(lines)
    assert sorted(lines) == sorted(line for row in rows for line in row.lines)
    assert tally.rows == len(rows)
    times = [json.loads(line)["deal_date"] for line in lines]
    assert times == sorted(times)


def test_each_manifest_names_the_one_before(platform: ShenzhenTransit, drop_dir: Path) -> None:
    for part in (1, 2, 3):
        asyncio.run(platform.deliver(part))
    before = None
    for sequence in (1, 2, 3):
        manifest, data = _verified(drop_dir, sequence)
        assert manifest["prev_manifest_sha256"] == before
        before = hashlib.sha256(data).hexdigest()


def test_the_same_seed_drops_the_same_bytes(
    platform: ShenzhenTransit, make_site: Callable[..., Site], drop_dir: Path, tmp_path: Path
) -> None:
    other = ShenzhenTransit(Front(make_site(SHENZHEN, drop_dir=tmp_path / "other")))
    for one in (platform, other):
        asyncio.run(one.deliver(1))
    files = sorted(path.name for path in (drop_dir / "000001").iterdir())
    assert files == [".ok", "cards.jsonl", "manifest.json", "manifest.sig"]
    for name in files:
        assert (drop_dir / "000001" / name).read_bytes() == (tmp_path / "other" / "000001" / name).read_bytes()


def test_dropping_again_writes_nothing_over(platform: ShenzhenTransit, drop_dir: Path) -> None:
    asyncio.run(platform.deliver(1))
    (drop_dir / "000001" / "cards.jsonl").write_bytes(b"as it was left")
    asyncio.run(platform.deliver(1))
    assert (drop_dir / "000001" / "cards.jsonl").read_bytes() == b"as it was left"
    assert len(platform.book.statement()["deliveries"]) == 1


def test_a_part_is_not_dropped_before_the_one_that_comes_first(platform: ShenzhenTransit, drop_dir: Path) -> None:
    with pytest.raises(PartOutOfOrderError):
        asyncio.run(platform.deliver(2))
    assert not (drop_dir / "000002").exists()
    assert platform.book.statement() == {"deliveries": []}


def test_a_wrong_signature_is_really_wrong(platform: ShenzhenTransit, drop_dir: Path) -> None:
    platform.faults.arm(Fault.WRONG_SIGNATURE)
    asyncio.run(platform.deliver(1))
    with pytest.raises(InvalidSignature):
        _verified(drop_dir, 1)


def test_a_tampered_file_no_longer_has_its_digest(platform: ShenzhenTransit, drop_dir: Path) -> None:
    platform.faults.arm(Fault.TAMPERED)
    asyncio.run(platform.deliver(1))
    manifest, _ = _verified(drop_dir, 1)
    content = (drop_dir / "000001" / "cards.jsonl").read_bytes()
    assert hashlib.sha256(content).hexdigest() != manifest["files"][0]["sha256"]


def test_a_skipped_number_leaves_a_gap(platform: ShenzhenTransit, drop_dir: Path) -> None:
    platform.faults.arm(Fault.SKIPPED_SEQUENCE)
    asyncio.run(platform.deliver(1))
    assert not (drop_dir / "000001").exists()
    assert _verified(drop_dir, 2)[0]["sequence"] == 2


def test_duplicates_are_lines_told_twice(platform: ShenzhenTransit, drop_dir: Path, reports: Reports) -> None:
    platform.faults.arm(Fault.DUPLICATES)
    asyncio.run(platform.deliver(1))
    lines = (drop_dir / "000001" / "cards.jsonl").read_text().splitlines()
    assert len(lines) == 2 * len(set(lines)) == 2 * sum(len(row.lines) for row in reports.told_by(SHENZHEN, 1))
