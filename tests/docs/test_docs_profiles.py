"""The profiles' documents are true: every block in them is run, every vector is made again."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from docs.markdown_blocks import ROOT, Block, parse_blocks
from standardwebhooks import Webhook
from typer.testing import CliRunner

from connectors.base import Delivery, Inbound
from connectors.clients.drop_writer import DropWriter
from connectors.clients.pull_server import parse_cursor, write_cursor
from connectors.clients.push_client import ed25519_signer, hmac_signer
from connectors.profiles.drop_sftp import SftpPlace
from connectors.profiles.file_drop import FileDrop
from connectors.profiles.file_drop import parse_config as parse_drop_config
from connectors.profiles.signed_push import SignedPush
from connectors.profiles.signed_push import parse_config as parse_push_config
from connectors.validate import validate_drop, validate_page, validate_push
from connectors.webhook_signature import parse_keys
from hub.commands.profiles import DOCUMENTS, GUIDES, PROFILES, profiles
from hub.participants import ParticipantDocument, parse_document
from mappings import load_mapping, translate

NAMES = sorted(PROFILES)
RUNNER = CliRunner()
KNOWN = {
    "participant",
    "message",
    "headers",
    "page",
    "request",
    "cursor",
    "manifest",
    "signature",
    "previous",
    "data",
    "sftp",
}


def document(name: str) -> str:
    return (ROOT / "standards" / "profiles" / f"{name}.v1.md").read_text(encoding="utf-8")


def blocks(name: str, word: str) -> list[Block]:
    return [block for block in parse_blocks(document(name)) if block.words == (word,)]


def only(name: str, word: str) -> str:
    (block,) = blocks(name, word)
    return block.text.removesuffix("\n")


def participant(name: str) -> ParticipantDocument:
    return parse_document(only(name, "participant"))


def private_key(name: str) -> Ed25519PrivateKey:
    (seed,) = re.findall(r"key whose\s+32 bytes are `([0-9a-f]{64})`", document(name))
    return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))


def refused(mapping: str, rows: list[bytes], now: datetime) -> list[str]:
    translation = translate(
        load_mapping(mapping), pl.Series(rows, dtype=pl.Binary), token_key=bytes(32), now=now,
        accounts=pl.Series(["a"] * len(rows), dtype=pl.String),
    )  # fmt: skip
    assert len(translation.records) + len(translation.quarantined) == len(rows) > 0
    return translation.quarantined["reason"].to_list()


def test_every_profile_has_a_document_and_every_block_is_known() -> None:
    assert sorted(path.name for path in DOCUMENTS.glob("*.md")) == [
        f"{name}.v1.md" for name in sorted([*NAMES, *GUIDES])
    ]
    for name in NAMES:
        for block in parse_blocks(document(name)):
            assert block.language == "sql" or set(block.words) <= KNOWN, f"{name}: {block.language} {block.words}"


@pytest.mark.parametrize("name", NAMES)
def test_the_participant_file_is_one_that_the_hub_takes(name: str) -> None:
    parsed = participant(name)
    assert parsed.connector == name.replace("-", "_")
    assert parsed.mapping.startswith(parsed.id)


def push_headers() -> dict[str, str]:
    pairs = [line.partition(": ") for line in only("signed-push", "headers").splitlines()]
    return {name: value for name, _, value in pairs}


def test_the_push_vector_is_made_by_the_client_and_by_another_library() -> None:
    headers, body = push_headers(), only("signed-push", "message").encode()
    secret = str(participant("signed-push").secrets["webhook_secrets"]).split()[0]
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    key = private_key("signed-push")
    assert headers["webhook-signature"] == f"{hmac_signer(secret)(signed)} {ed25519_signer(key)(signed)}"
    moment = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    assert headers["webhook-signature"].split()[0] == Webhook(secret).sign(headers["webhook-id"], moment, body.decode())


@pytest.mark.parametrize("entry", [0, 1])
def test_the_message_is_taken_with_either_signature_and_understood(entry: int) -> None:
    headers, body, told = push_headers(), only("signed-push", "message").encode(), participant("signed-push")
    now = datetime.fromtimestamp(int(headers["webhook-timestamp"]) + 60, UTC)
    headers["webhook-signature"] = headers["webhook-signature"].split()[entry]
    door = SignedPush(parse_push_config(told.connector_config, told.secrets))
    delivery = door.receive(Inbound(method="POST", path="/", headers=headers, body=body), now=now)
    assert isinstance(delivery, Delivery)
    assert delivery.unreadable == ()
    assert refused(told.mapping, list(delivery.rows), now) == []
    keys = parse_keys(str(told.secrets["webhook_secrets"]))
    assert validate_push(body, headers, keys=keys, now=now) == []
    assert [found.code for found in validate_push(body + b" ", headers, keys=keys, now=now)] == ["signature_invalid"]


def test_the_pages_are_read_and_the_cursor_is_the_reference_server_s() -> None:
    pages = [block.text.encode() for block in blocks("cursor-pull", "page")]
    assert len(pages) == 2
    assert [found for page in pages for found in validate_page(page)] == []
    told = json.loads(only("cursor-pull", "cursor"))
    place = datetime.fromisoformat(told["updated_at"]), told["id"]
    assert write_cursor(place) == told["cursor"] == json.loads(pages[0])["next_cursor"]
    assert parse_cursor(told["cursor"]) == place
    assert json.loads(pages[1])["next_cursor"] is None
    assert any(f"cursor={told['cursor']}" in block.text for block in blocks("cursor-pull", "request"))
    rows = [json.dumps(row).encode() for page in pages for row in json.loads(page)["records"]]
    assert refused(participant("cursor-pull").mapping, rows, datetime(2026, 10, 7, tzinfo=UTC)) == []


@pytest.fixture
def written(tmp_path: Path) -> Path:
    """The drop of the document, byte for byte."""
    folder = tmp_path / "1"
    folder.mkdir()
    (data,) = blocks("file-drop", "data")
    (folder / "20261005.csv").write_bytes(data.text.encode())
    (folder / "manifest.json").write_bytes(only("file-drop", "manifest").encode())
    (folder / "manifest.sig").write_bytes(only("file-drop", "signature").encode())
    (folder / ".ok").touch()
    return tmp_path


def test_the_drop_of_the_document_is_read_and_understood(written: Path) -> None:
    told, now = participant("file-drop"), datetime(2026, 10, 6, tzinfo=UTC)
    config = parse_drop_config(told.connector_config | {"root": str(written)}, told.secrets)
    (page,) = FileDrop(config).fetch(None, None, now=now)
    assert page.delivery.unreadable == ()
    assert refused(told.mapping, list(page.delivery.rows), now) == []
    assert page.cursor["manifest"] == only("file-drop", "previous")
    assert validate_drop(written, keys=config.source.keys, now=now) == []


def test_the_settings_of_a_place_behind_sftp_are_taken() -> None:
    ours = private_key("file-drop").private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    told = participant("file-drop").connector_config | json.loads(only("file-drop", "sftp"))
    place = parse_drop_config(told, {"sftp_private_key": ours}).source.place
    assert isinstance(place, SftpPlace)
    assert (place.host, place.root, place.total_s) == ("sftp.example", "/out/carbon", 300)
    assert "PRIVATE KEY" not in repr(place)


def test_the_drop_vector_is_made_by_the_writer(written: Path, tmp_path: Path) -> None:
    told = json.loads(only("file-drop", "manifest"))
    key = private_key("file-drop")
    writer = DropWriter(root=tmp_path / "again", platform=told["platform"], stream=told["stream"], key=key)
    data = (written / "1" / "20261005.csv").read_bytes()
    moment = datetime.fromisoformat(told["created_at"])
    folder = writer.write({"20261005.csv": (data, 2)}, created_at=moment)
    for name in ("manifest.json", "manifest.sig", ".ok"):
        assert (folder / name).read_bytes() == (written / "1" / name).read_bytes()
    assert base64.b64encode(key.public_key().public_bytes_raw()).decode() in document("file-drop")
    following = json.loads((writer.write({}, created_at=moment) / "manifest.json").read_bytes())
    assert following["prev_manifest_sha256"] == only("file-drop", "previous")
    assert hashlib.sha256(only("file-drop", "manifest").encode()).hexdigest() == only("file-drop", "previous")


def test_the_commands_list_show_and_validate(written: Path, tmp_path: Path) -> None:
    listed = RUNNER.invoke(profiles, ["list", "--json"])
    assert [row["name"] for row in json.loads(listed.stdout)] == [*PROFILES, *GUIDES]
    for name in (*NAMES, *GUIDES):
        assert RUNNER.invoke(profiles, ["show", name]).stdout == document(name)
    told = participant("signed-push")
    body, headers = tmp_path / "message.json", tmp_path / "headers.txt"
    body.write_bytes(only("signed-push", "message").encode())
    headers.write_text(only("signed-push", "headers"))
    moment = datetime.fromtimestamp(int(push_headers()["webhook-timestamp"]), UTC).isoformat()
    keys = [word for key in str(told.secrets["webhook_secrets"]).split() for word in ("--key", key)]
    words = ["validate", "signed-push", str(body), "--headers", str(headers), "--at", moment, *keys]
    assert run(words, "--mapping", told.mapping) == (0, [])
    assert run(words[:-4], "--key", "whsec_" + base64.b64encode(bytes(32)).decode()) == (1, ["signature_invalid"])
    public, moment = participant("file-drop").connector_config["public_keys"][0], "2026-10-06T08:00:00+08:00"
    assert run(["validate", "file-drop", str(written), "--at", moment, "--key", public]) == (0, [])
    (written / "1" / ".ok").unlink()
    assert run(["validate", "file-drop", str(written), "--at", moment, "--key", public]) == (1, ["drop_incomplete"])


def run(words: list[str], *more: str) -> tuple[int, list[str]]:
    done = RUNNER.invoke(profiles, [*words, *more, "--json"])
    told: dict[str, Any] = json.loads(done.stdout)
    assert told["ok"] is (done.exit_code == 0)
    return done.exit_code, [finding["code"] for finding in told["findings"]]


def test_a_mapping_tells_which_records_it_would_not_understand(tmp_path: Path) -> None:
    page = tmp_path / "page.json"
    page.write_bytes(blocks("cursor-pull", "page")[0].text.replace("E_STATEMENT", "LOTTERY").encode())
    assert run(["validate", "cursor-pull", str(page)], "--mapping", "citic-carbon.acts.v1") == (1, ["unknown_scene"])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda root: (root / "1" / "20261005.csv").write_bytes(b"a\n1\n"),
        lambda root: (root / "1" / "manifest.json").write_bytes(b"{}"),
        lambda root: (root / "1" / "manifest.sig").unlink(),
        lambda root: (root / "1").rename(root / "2"),
        lambda root: (root / "01").mkdir(),
    ],
)
def test_a_spoilt_drop_has_findings(written: Path, spoil: Callable[[Path], Any]) -> None:
    spoil(written)
    assert validate_drop(written, keys=(private_key("file-drop").public_key(),), now=datetime(2026, 10, 6, tzinfo=UTC))
