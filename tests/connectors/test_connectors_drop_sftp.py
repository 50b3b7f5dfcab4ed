"""Signed drops behind SFTP: a real server on the loopback, honest and hostile."""

import base64
import io
import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import paramiko
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from connectors.base import ConnectorError, Page, RetryLater, SetAside, Stop
from connectors.clients.drop_writer import DropWriter, jsonl_file
from connectors.config import ConfigError
from connectors.profiles.drop_sftp import SftpPlace, bounded_client, load_private_key, parse_host_key
from connectors.profiles.file_drop import FileDrop, FileDropConfig, parse_config

NOW = datetime(2026, 10, 6, 1, 0, tzinfo=UTC)
SIGNING = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = base64.b64encode(SIGNING.public_key().public_bytes_raw()).decode()


def openssh(seed: int) -> str:
    key = Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32))
    return key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()


def paramiko_key(text: str) -> paramiko.PKey:
    return paramiko.Ed25519Key.from_private_key(io.StringIO(text))


def host_key_text(text: str) -> str:
    key = paramiko_key(text)
    return f"{key.get_name()} {key.get_base64()}"


HOST, OTHER_HOST, OURS, STRANGER = (openssh(seed) for seed in (1, 2, 3, 4))


@dataclass
class Behaviour:
    """How the server is to be; by default as it should."""

    root: Path
    wait_s: float = 0.0
    released: threading.Event = field(default_factory=threading.Event)
    waited_out: bool = False
    large: bytes = b""
    opened: list[str] = field(default_factory=list)


class Files(paramiko.SFTPServerInterface):  # type: ignore[misc]
    """A folder of this machine as it is, links and all."""

    def __init__(self, server: Any, behaviour: Behaviour) -> None:
        super().__init__(server)
        self.behaviour = behaviour

    def _real(self, path: str) -> Path:
        return self.behaviour.root / path.removeprefix("/drops").lstrip("/")

    def _stat(self, path: Path, told: Callable[[Path], os.stat_result]) -> Any:
        try:
            return paramiko.SFTPAttributes.from_stat(told(path), path.name)
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)

    def list_folder(self, path: str) -> Any:
        if self.behaviour.wait_s and not self.behaviour.released.wait(self.behaviour.wait_s):
            self.behaviour.waited_out = True
        try:
            return [self._stat(entry, os.lstat) for entry in self._real(path).iterdir()]
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)

    def lstat(self, path: str) -> Any:
        return self._stat(self._real(path), os.lstat)

    def stat(self, path: str) -> Any:
        return self._stat(self._real(path), os.stat)

    def open(self, path: str, flags: int, attr: Any) -> Any:
        self.behaviour.opened.append(path)
        handle = paramiko.SFTPHandle(flags)
        try:
            content = self._real(path).read_bytes() + self.behaviour.large
        except OSError as error:
            return paramiko.SFTPServer.convert_errno(error.errno)
        handle.readfile = io.BytesIO(content)
        return handle


class Door(paramiko.ServerInterface):  # type: ignore[misc]
    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        fits = username == "hub" and key.asbytes() == paramiko_key(OURS).asbytes()
        return int(paramiko.AUTH_SUCCESSFUL if fits else paramiko.AUTH_FAILED)

    def get_allowed_auths(self, username: str) -> str:
        return "publickey,password"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED)


@dataclass
class Server:
    port: int
    behaviour: Behaviour


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    behaviour = Behaviour(root=tmp_path)
    listening = socket.create_server(("127.0.0.1", 0))
    transports: list[paramiko.Transport] = []

    def serve() -> None:
        while True:
            try:
                peer, _ = listening.accept()
            except OSError:
                return
            transport = paramiko.Transport(peer)
            transport.add_server_key(paramiko_key(HOST))
            transport.set_subsystem_handler("sftp", paramiko.SFTPServer, Files, behaviour)
            transports.append(transport)
            try:
                transport.start_server(server=Door())
            except (paramiko.SSHException, EOFError, OSError):
                continue  # a client that does not like the host key goes away, with or without a goodbye

    threading.Thread(target=serve, daemon=True).start()
    yield Server(port=listening.getsockname()[1], behaviour=behaviour)
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    for transport in transports:
        transport.close()


def config_of(server: Server, secret: str = OURS, **config: Any) -> FileDropConfig:
    settings = {
        "root": "/drops", "platform": "town", "public_keys": PUBLIC, "sftp_host": "127.0.0.1",
        "sftp_port": server.port, "sftp_user": "hub", "sftp_host_keys": [host_key_text(HOST)], "allow_loopback": True,
    } | config  # fmt: skip
    return parse_config(settings, {"sftp_private_key": secret})


def pages(source: FileDrop) -> tuple[list[Page], ConnectorError | None]:
    taken: list[Page] = []
    try:
        taken.extend(source.fetch(None, None, now=NOW))
    except ConnectorError as error:
        return taken, error
    return taken, None


def write(root: Path, *numbers: int) -> Path:
    writer = DropWriter(root=root, platform="town", stream="acts", key=SIGNING)
    return writer.write({"a.jsonl.gz": jsonl_file([{"id": number} for number in numbers], press=True)}, created_at=NOW)


def test_a_chain_of_drops_is_read_over_sftp_as_it_is_from_a_directory(server: Server, tmp_path: Path) -> None:
    write(tmp_path, 1, 2)
    write(tmp_path, 3)
    (tmp_path / "3").mkdir()  # still being written
    source = FileDrop(config_of(server))
    assert source.check().ok
    taken, error = pages(source)
    assert error is None
    assert [json.loads(row)["id"] for page in taken for row in page.delivery.rows] == [1, 2, 3]
    local = FileDrop(parse_config({"root": str(tmp_path), "platform": "town", "public_keys": PUBLIC}, {}))
    assert pages(local) == (taken, None)


def test_a_file_of_several_blocks_arrives_whole(server: Server, tmp_path: Path) -> None:
    writer = DropWriter(root=tmp_path, platform="town", stream="acts", key=SIGNING)
    rows = [{"id": number, "text": os.urandom(200).hex()} for number in range(1000)]
    writer.write({"a.jsonl": jsonl_file(rows)}, created_at=NOW)
    taken, error = pages(FileDrop(config_of(server)))
    assert error is None
    assert [json.loads(row) for page in taken for row in page.delivery.rows] == rows


@pytest.mark.parametrize(
    ("config", "secret", "reason"),
    [
        ({"sftp_host_keys": [host_key_text(OTHER_HOST)]}, OURS, "host_key_changed"),
        ({}, STRANGER, "credentials_refused"),
        ({"sftp_user": "root"}, OURS, "credentials_refused"),
        ({"allow_loopback": False}, OURS, "target_refused"),
        ({"allow_loopback": False, "sftp_host": "localhost"}, OURS, "target_refused"),
        ({"allow_loopback": False, "sftp_host": "169.254.169.254"}, OURS, "target_refused"),
    ],
)
def test_a_server_that_is_not_the_one_agreed_stops_the_connector(
    server: Server, tmp_path: Path, config: dict[str, Any], secret: str, reason: str
) -> None:
    write(tmp_path, 1)
    source = FileDrop(config_of(server, secret, **config))
    taken, error = pages(source)
    assert taken == []
    assert isinstance(error, Stop)
    assert error.reason == reason
    assert source.check().findings == (reason,)


def test_either_of_two_host_keys_will_do_while_one_is_changed(server: Server, tmp_path: Path) -> None:
    write(tmp_path, 1)
    keys = [host_key_text(OTHER_HOST), host_key_text(HOST)]
    assert pages(FileDrop(config_of(server, sftp_host_keys=keys)))[1] is None


def test_the_address_that_was_checked_is_the_one_that_is_called(server: Server, tmp_path: Path) -> None:
    asked: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        asked.append(host)
        return ["127.0.0.1"]

    place = SftpPlace(
        host="drops.platform.example", port=server.port, user="hub", root="/drops",
        host_keys=(parse_host_key(host_key_text(HOST)),), private_key=OURS, allow_loopback=True, resolve=resolve,
    )  # fmt: skip
    assert place.find_faults() == ()
    assert asked == ["drops.platform.example"]


def test_a_link_is_neither_entered_nor_read(server: Server, tmp_path: Path) -> None:
    folder = write(tmp_path / "elsewhere", 1)
    (tmp_path / "1").symlink_to(folder)
    assert pages(FileDrop(config_of(server))) == ([], None)
    (tmp_path / "1").unlink()
    folder.rename(tmp_path / "1")
    file = tmp_path / "1" / "a.jsonl.gz"
    file.rename(tmp_path / "real.gz")
    file.symlink_to(tmp_path / "real.gz")
    assert str(pages(FileDrop(config_of(server)))[1]) == "file_not_regular"
    assert not any(path.endswith("a.jsonl.gz") for path in server.behaviour.opened)


def test_a_file_longer_than_the_server_says_is_not_read_to_its_end(server: Server, tmp_path: Path) -> None:
    write(tmp_path, 1)
    server.behaviour.large = bytes(4 << 20)
    taken, error = pages(FileDrop(config_of(server)))
    assert (taken, str(error)) == ([], "file_too_large")


def test_a_missing_file_and_a_missing_root_are_told_apart(server: Server, tmp_path: Path) -> None:
    folder = write(tmp_path, 1)
    (folder / "a.jsonl.gz").unlink()
    assert isinstance(pages(FileDrop(config_of(server)))[1], SetAside)
    error = pages(FileDrop(config_of(server, root="/drops/nowhere")))[1]
    assert isinstance(error, RetryLater)
    assert error.reason == "root_unreadable"


def test_a_server_that_takes_its_time_is_left_at_the_deadline(server: Server, tmp_path: Path) -> None:
    write(tmp_path, 1)
    server.behaviour.wait_s = 60.0
    error = pages(FileDrop(config_of(server, sftp_seconds=1)))[1]
    assert isinstance(error, RetryLater)
    assert error.reason == "too_slow"
    assert not server.behaviour.waited_out
    server.behaviour.released.set()


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"SSH-2.0-x\r\n" + bytes(5000)])
def test_what_does_not_speak_ssh_is_tried_again_later(said: bytes) -> None:
    listening = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        peer, _ = listening.accept()
        peer.sendall(said)
        peer.close()

    threading.Thread(target=answer, daemon=True).start()
    server = Server(port=listening.getsockname()[1], behaviour=Behaviour(root=Path()))
    error = pages(FileDrop(config_of(server)))[1]
    listening.close()
    assert isinstance(error, RetryLater)
    assert isinstance(pages(FileDrop(config_of(server)))[1], RetryLater)  # nobody is there any more


@pytest.mark.parametrize(
    ("config", "secret"),
    [
        ({"sftp_host_keys": []}, OURS),
        ({"sftp_host_keys": "ssh-ed25519 AAAA"}, OURS),
        ({"sftp_host_keys": "ssh-dss " + host_key_text(HOST).split()[1]}, OURS),
        ({"root": "drops"}, OURS),
        ({"sftp_port": 0}, OURS),
        ({"sftp_host": ["a", "b"]}, OURS),
        ({}, "no key"),
        ({}, host_key_text(HOST)),
    ],
)
def test_wrong_settings_are_refused(config: dict[str, Any], secret: str) -> None:
    with pytest.raises(ConfigError):
        config_of(Server(port=22, behaviour=Behaviour(root=Path())), secret, **config)


def test_a_place_behind_sftp_needs_a_key_and_a_directory_has_none() -> None:
    settings = {"root": "/drops", "platform": "town", "public_keys": PUBLIC}
    with pytest.raises(ConfigError, match="sftp_private_key"):
        parse_config(settings, {"sftp_private_key": OURS})
    with pytest.raises(ConfigError, match="sftp_private_key"):
        parse_config(settings | {"sftp_host": "sftp.example"}, {})


@pytest.mark.parametrize("make", [lambda: paramiko.RSAKey.generate(2048), lambda: paramiko.ECDSAKey.generate()])
def test_older_kinds_of_keys_can_be_ours(make: Callable[[], paramiko.PKey]) -> None:
    key, text = make(), io.StringIO()
    key.write_private_key(text)
    assert load_private_key(text.getvalue()).asbytes() == key.asbytes()


def test_a_packet_larger_than_anything_that_was_asked_for_is_not_read() -> None:
    client = bounded_client(paramiko)
    with pytest.raises(paramiko.SFTPError, match="too large"):
        client._read_all(object.__new__(client), 1 << 24)
