"""The way out: what answers may do to the hub, and what nobody is told of them."""

import datetime as dt
import gzip
import logging
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from connectors.base import RetryLater, SetAside, Stop
from connectors.net.egress import EgressLimits, Origin, SafeClient, SafeTransport

LIMITS = EgressLimits(connect_s=20.0, read_s=20.0, total_s=30.0, body_bytes=100_000)
QUICK = EgressLimits(connect_s=1.0, read_s=0.4, total_s=1.0, body_bytes=100_000)


def local(platform: Any, limits: EgressLimits = LIMITS) -> SafeClient:
    return SafeClient([Origin.parse(platform.url, allow_loopback=True)], limits=limits)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 304, 300])
def test_a_redirect_is_not_followed(serve: Callable, status: int) -> None:
    platform = serve(lambda ask: ask.reply(status, {}, {"location": "http://127.0.0.1:1/"}))
    with pytest.raises(Stop) as stopped:
        local(platform).fetch(platform.url + "/")
    assert stopped.value.reason == "redirected"
    assert len(platform.asked) == 1


def test_proxies_of_the_environment_are_not_used(serve: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    platform = serve(lambda ask: ask.reply(200, {}))
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert local(platform).fetch(platform.url + "/").status == 200


def test_an_answer_larger_than_the_bound_is_set_aside(serve: Callable) -> None:
    platform = serve(lambda ask: ask.reply_bytes(200, b"x" * 100_001))
    with pytest.raises(SetAside) as refused:
        local(platform).fetch(platform.url + "/")
    assert refused.value.reason == "answer_refused"
    platform.answer = lambda ask: ask.reply_bytes(200, b"x" * 100_000)
    assert len(local(platform).fetch(platform.url + "/").body) == 100_000


def bomb(size_bytes: int) -> bytes:
    press = zlib.compressobj(9, zlib.DEFLATED, 31)
    blocks = [press.compress(bytes(1 << 20)) for _ in range(size_bytes >> 20)]
    return b"".join(blocks) + press.flush()


def test_a_gzip_bomb_is_set_aside_after_the_bound(serve: Callable) -> None:
    packed = bomb(64 << 20)
    assert len(packed) < LIMITS.body_bytes
    platform = serve(lambda ask: ask.reply_bytes(200, packed, {"content-encoding": "gzip"}))
    with pytest.raises(SetAside):
        local(platform).fetch(platform.url + "/")


def test_gzip_within_the_bound_is_inflated_also_in_several_members(serve: Callable) -> None:
    packed = gzip.compress(b"ab" * 20_000, mtime=0) + gzip.compress(b"cd", mtime=0)
    platform = serve(lambda ask: ask.reply_bytes(200, packed, {"content-encoding": "GZIP"}))
    answer = local(platform).fetch(platform.url + "/")
    assert answer.body == b"ab" * 20_000 + b"cd"
    assert "content-encoding" not in answer.headers


@pytest.mark.parametrize("damage", [lambda z: z[:-9], lambda z: z + b"tail", lambda z: b"\x00" + z, lambda z: b""])
def test_damaged_gzip_is_asked_for_again(serve: Callable, damage: Callable[[bytes], bytes]) -> None:
    platform = serve(
        lambda ask: ask.reply_bytes(200, damage(gzip.compress(b"abc", mtime=0)), {"content-encoding": "gzip"})
    )
    with pytest.raises(RetryLater):
        local(platform).fetch(platform.url + "/")


@pytest.mark.parametrize("encoding", ["br", "deflate", "zstd", "gzip, gzip"])
def test_an_encoding_that_was_not_asked_for_is_set_aside(serve: Callable, encoding: str) -> None:
    platform = serve(lambda ask: ask.reply_bytes(200, b"x", {"content-encoding": encoding}))
    with pytest.raises(SetAside):
        local(platform).fetch(platform.url + "/")


def drip(ask: Any) -> None:
    """A byte every now and then, for much longer than anybody should wait."""
    for _ in range(600):
        ask.write(b"x")
        time.sleep(0.1)


def drip_body(ask: Any) -> None:
    ask.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    drip(ask)


def drip_headers(ask: Any) -> None:
    ask.write(b"HTTP/1.1 200 OK\r\nx: ")
    drip(ask)


@pytest.mark.parametrize("dripping", [drip_body, drip_headers])
def test_an_answer_that_drips_ends_at_the_deadline(serve: Callable, dripping: Callable) -> None:
    ended: list[bool] = []

    def answer(ask: Any) -> None:
        dripping(ask)
        ended.append(True)

    platform = serve(answer)
    with pytest.raises(RetryLater) as late:
        local(platform, QUICK).fetch(platform.url + "/")
    assert late.value.reason == "unreachable"
    assert ended == []


def test_silence_ends_at_the_read_bound(serve: Callable) -> None:
    released = threading.Event()
    waited_out: list[bool] = []
    platform = serve(lambda ask: None if released.wait(60) else waited_out.append(True))
    with pytest.raises(RetryLater):
        local(platform, replace(QUICK, total_s=60.0)).fetch(platform.url + "/")
    released.set()
    assert waited_out == []


def test_a_platform_that_is_not_there_is_asked_again_later() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    client = SafeClient([Origin.parse(f"http://127.0.0.1:{port}", allow_loopback=True)], limits=QUICK)
    with pytest.raises(RetryLater):
        client.fetch(f"http://127.0.0.1:{port}/")


@pytest.mark.parametrize("mess", [b"\x16\x03\x01garbage", b"HTTP/1.1 abc\r\n\r\n", b""])
def test_what_is_no_http_is_asked_again_later(serve: Callable, mess: bytes) -> None:
    def answer(ask: Any) -> None:
        ask.write(mess)
        ask.handler.close_connection = True

    platform = serve(answer)
    with pytest.raises(RetryLater):
        local(platform).fetch(platform.url + "/")


def test_no_secret_of_a_request_reaches_the_log_or_an_error(serve: Callable, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    platform = serve(lambda ask: ask.reply(200, {"token": "canary-body"}))
    local(platform).fetch(platform.url + "/?secret=canary-query", headers={"authorization": "Bearer canary-header"})
    platform.answer = lambda ask: ask.write(b"HTTP/1.1 canary-body\r\n\r\n")
    with pytest.raises(RetryLater) as failed:
        local(platform).fetch(platform.url + "/?secret=canary-query", headers={"authorization": "canary-header"})
    assert len(platform.asked) == 2
    assert "canary" not in caplog.text + str(failed.value) + repr(failed.value)


def test_the_transport_guards_an_ordinary_httpx_client_too(serve: Callable) -> None:
    platform = serve(lambda ask: ask.reply(302, {}, {"location": "http://127.0.0.1:1/"}))
    transport = SafeTransport([Origin.parse(platform.url, allow_loopback=True)], limits=QUICK)
    with httpx.Client(transport=transport, follow_redirects=True) as client, pytest.raises(httpx.RequestError):
        client.get(platform.url + "/")
    assert len(platform.asked) == 1


def certificate_for(name: str, folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    cert_file.write_bytes(built.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


@pytest.mark.parametrize(("registered", "reached"), [("platform.example", True), ("other.example", False)])
def test_tls_is_checked_against_the_name_although_the_address_is_pinned(
    tmp_path: Path, registered: str, reached: bool
) -> None:
    cert_file, key_file = certificate_for("platform.example", tmp_path)
    server_tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_tls.load_cert_chain(cert_file, key_file)
    names: list[str | None] = []
    server_tls.sni_callback = lambda sock, name, context: names.append(name)
    listener = socket.create_server(("127.0.0.1", 0))

    def answer_once() -> None:
        connection, _ = listener.accept()
        try:
            with server_tls.wrap_socket(connection, server_side=True) as stream:
                stream.recv(65536)
                stream.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        except OSError:
            connection.close()

    thread = threading.Thread(target=answer_once, daemon=True)
    thread.start()
    url = f"https://{registered}:{listener.getsockname()[1]}"
    client = SafeClient(
        [Origin.parse(url, allow_loopback=True)],
        resolve=lambda host, port: ["127.0.0.1"],
        tls=ssl.create_default_context(cafile=str(cert_file)),
    )
    try:
        body: bytes | None = client.fetch(url + "/").body
    except RetryLater:
        body = None
    thread.join(5)
    listener.close()
    assert names == [registered]
    assert body == (b"ok" if reached else None)
