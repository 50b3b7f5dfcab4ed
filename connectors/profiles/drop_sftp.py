"""Signed drops on a platform's SFTP server. I/O: network.

The optional extra `sftp` brings the library. The same rules as for every other way out: the name is resolved once and
every address found is checked, the connection goes to a checked address, the server must show a host key that the
participant's settings name, we sign in with a key of these settings, and nothing of this machine (agent, known hosts,
configuration files) takes part. One deadline covers look-up, connection and all that is read; no packet
that a server sends may be larger than what we ask for.

Source: ADR 0019; RFC 4251-4254; draft-ietf-secsh-filexfer-02 (SFTP version 3).
"""

import hmac
import io
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from connectors.base import RetryLater, SetAside, Stop
from connectors.config import ConfigError, decode_base64
from connectors.net.addresses import is_callable
from connectors.net.checked_network import Resolve, resolve_system
from connectors.profiles.drop_manifest import READY
from connectors.profiles.drop_place import MAX_FOLDERS, RETRY_S, DropReader, ReadFile

_BLOCK_BYTES = 32 * 1024  # what every server answers in one piece
_PACKET_BYTES = 1024 * 1024
_HOST_KEYS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa")
_T = TypeVar("_T")
_lookups = ThreadPoolExecutor(max_workers=2, thread_name_prefix="sftp-lookup")  # getaddrinfo knows no time limit


@dataclass(frozen=True, slots=True, kw_only=True)
class SftpPlace:
    """A directory behind SFTP.

    `host_keys` are the raw public keys that the server may show; two while one is changed. `connect_s` bounds each
    step of signing in, `total_s` everything that one drop needs.
    """

    host: str
    port: int
    user: str
    root: str
    host_keys: tuple[tuple[str, bytes], ...]
    private_key: str = field(repr=False)
    allow_loopback: bool = False
    connect_s: float = 10.0
    total_s: float = 300.0
    resolve: Resolve = resolve_system

    def find_faults(self) -> tuple[str, ...]:
        try:
            with self.open_reader() as reader:
                reader.list_folders()
        except (RetryLater, SetAside, Stop) as error:
            return (error.reason,)
        return ()

    @contextmanager
    def open_reader(self) -> Iterator[DropReader]:
        paramiko = load_library()
        deadline = time.monotonic() + self.total_s
        transport = paramiko.Transport(self._connect())
        # Closing from outside ends whatever is being waited for: a server of one byte a second ends too.
        ending = threading.Timer(self.total_s, transport.close)
        ending.daemon = True
        ending.start()
        try:
            transport.banner_timeout = transport.auth_timeout = transport.channel_timeout = self.connect_s
            client = self._sign_in(paramiko, transport)
            client.get_channel().settimeout(self.connect_s)
            yield _SftpReader(client=client, root=self.root, deadline=deadline, errors=_errors(paramiko))
        finally:
            ending.cancel()
            transport.close()

    def _connect(self) -> socket.socket:
        lookup = _lookups.submit(self.resolve, self.host, self.port)
        try:
            found = list(lookup.result(timeout=self.connect_s))
        except (TimeoutError, OSError, UnicodeError):
            raise RetryLater("unreachable", after_s=RETRY_S) from None
        if not all(is_callable(address, allow_loopback=self.allow_loopback) for address in found):
            raise Stop("target_refused")
        for address in found[:4]:
            with suppress(OSError):
                return socket.create_connection((address, self.port), timeout=self.connect_s)
        raise RetryLater("unreachable", after_s=RETRY_S)

    def _sign_in(self, paramiko: Any, transport: Any) -> Any:
        transport.get_security_options().key_types = _algorithms(self.host_keys)
        try:
            transport.start_client(timeout=self.connect_s)
            shown = transport.get_remote_server_key().asbytes()
            if not any(hmac.compare_digest(shown, key) for _, key in self.host_keys):
                raise Stop("host_key_changed")
            transport.auth_publickey(self.user, load_private_key(self.private_key))
            client = bounded_client(paramiko).from_transport(transport)
        except paramiko.AuthenticationException:
            raise Stop("credentials_refused") from None
        except paramiko.ssh_exception.IncompatiblePeer:
            raise Stop("host_key_changed") from None  # it has no key of a kind that was agreed
        except _errors(paramiko):
            raise RetryLater("unreachable", after_s=RETRY_S) from None
        if client is None:
            raise RetryLater("unreachable", after_s=RETRY_S)
        return client


def bounded_client(paramiko: Any) -> Any:
    """The library reads as many bytes as a packet says it has; none that we ask for is larger than this."""

    class BoundedClient(paramiko.SFTPClient):  # type: ignore[misc]
        def _read_all(self, n: int) -> bytes:
            if n > _PACKET_BYTES:
                raise paramiko.SFTPError("packet too large")
            return bytes(super()._read_all(n))

    return BoundedClient


def _errors(paramiko: Any) -> tuple[type[Exception], ...]:
    """What the library may raise on what a server sends; a hostile one can break any of its readers."""
    return (paramiko.SSHException, OSError, EOFError, ValueError, UnicodeError, IndexError, KeyError, TypeError)


@dataclass(frozen=True, slots=True, kw_only=True)
class _SftpReader:
    client: Any
    root: str
    deadline: float
    errors: tuple[type[Exception], ...]

    def list_folders(self) -> Sequence[str]:
        names: list[str] = []

        def collect() -> None:
            for entry in self.client.listdir_iter(self.root, read_aheads=1):
                if len(names) >= MAX_FOLDERS:
                    raise SetAside("root_too_many_folders")
                if entry.st_mode is not None and stat.S_ISDIR(entry.st_mode):
                    names.append(entry.filename)

        try:
            self._ask(collect)
        except FileNotFoundError:
            raise RetryLater("root_unreadable", after_s=RETRY_S) from None
        return names

    def is_ready(self, folder: str) -> bool:
        try:
            mode = self._ask(lambda: self.client.lstat(f"{self.root}/{folder}/{READY}")).st_mode
        except FileNotFoundError:
            return False
        return mode is not None and stat.S_ISREG(mode)

    @contextmanager
    def enter(self, folder: str) -> Iterator[ReadFile]:
        yield lambda name, most: self._read_file(f"{self.root}/{folder}/{name}", most)

    def _read_file(self, path: str, most: int) -> bytes:
        try:
            told = self._ask(lambda: self.client.lstat(path))
            if told.st_mode is None or not stat.S_ISREG(told.st_mode):
                raise SetAside("file_not_regular")
            return self._ask(lambda: self._read_bounded(path, most))
        except FileNotFoundError:
            raise SetAside("file_missing") from None

    def _read_bounded(self, path: str, most: int) -> bytes:
        data = bytearray()
        with self.client.open(path, "rb") as file:
            while block := file.read(_BLOCK_BYTES):
                if len(data) + len(block) > most:
                    raise SetAside("file_too_large")
                data += block
        return bytes(data)

    def _ask(self, question: Callable[[], _T]) -> _T:
        try:
            return question()
        except FileNotFoundError:
            raise
        except PermissionError:
            raise Stop("permission_refused") from None
        except self.errors:
            late = time.monotonic() >= self.deadline
            raise RetryLater("too_slow" if late else "root_unreadable", after_s=RETRY_S) from None


def load_library() -> Any:
    try:
        import paramiko
    except ImportError:
        raise Stop("sftp_not_installed") from None
    return paramiko


def load_private_key(text: str) -> Any:
    """Read an OpenSSH private key of ours; a key with a passphrase is none that a worker can use.

    Raises:
        ConfigError: it cannot be read.
    """
    paramiko = load_library()
    for kind in (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey):
        with suppress(paramiko.SSHException, ValueError, IndexError, TypeError):
            return kind.from_private_key(io.StringIO(text))
    raise ConfigError("secrets: field 'sftp_private_key' must be an OpenSSH private key without a passphrase")


def parse_host_key(text: str) -> tuple[str, bytes]:
    """Read a host key as known_hosts writes it: the kind, a blank, the key in base64."""
    kind, _, rest = text.partition(" ")
    raw = decode_base64(rest.strip(), most=2048)
    named = b"" if raw is None else raw[4 : 4 + int.from_bytes(raw[:4], "big")]
    if raw is None or kind not in _HOST_KEYS or named != kind.encode():
        raise ConfigError("config: field 'sftp_host_keys' must hold keys like 'ssh-ed25519 AAAA...'")
    return kind, raw


def _algorithms(keys: Sequence[tuple[str, bytes]]) -> tuple[str, ...]:
    """Ask only for kinds that were agreed, so that a server with several keys shows the one we know."""
    kinds = dict.fromkeys(kind for kind, _ in keys)
    return tuple(
        name for kind in kinds for name in (("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,))
    )
