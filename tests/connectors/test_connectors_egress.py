"""The way out: which targets are called, and that they are asked by their own name."""

import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import httpcore
import pytest

from connectors.base import RetryLater, Stop
from connectors.net.addresses import is_callable
from connectors.net.egress import EgressLimits, Origin, SafeClient

LIMITS = EgressLimits(connect_s=20.0, read_s=20.0, total_s=30.0, body_bytes=100_000)
GOOD = "https://platform.example"
INSIDE = {
    # IPv4: what is nobody's, this machine's, the neighbours', or everybody's.
    "this network": "0.0.0.0",
    "this network, a host": "0.1.2.3",
    "loopback": "127.0.0.1",
    "loopback, its last": "127.255.255.254",
    "loopback, another": "127.1.2.3",
    "private 10/8": "10.0.0.1",
    "private 10/8, its last": "10.255.255.255",
    "private 172.16/12": "172.16.0.1",
    "private 172.16/12, its last": "172.31.255.255",
    "private 192.168/16": "192.168.0.1",
    "private 192.168/16, its last": "192.168.255.255",
    "carrier's NAT": "100.64.0.1",
    "carrier's NAT, its last": "100.127.255.255",
    "link-local": "169.254.0.1",
    "protocol assignments": "192.0.0.8",
    "protocol assignments, NAT64 discovery": "192.0.0.170",
    "documentation 1": "192.0.2.1",
    "documentation 2": "198.51.100.7",
    "documentation 3": "203.0.113.9",
    "6to4 relays": "192.88.99.1",
    "benchmarks": "198.18.0.1",
    "benchmarks, its last": "198.19.255.255",
    "multicast": "224.0.0.1",
    "multicast, SSDP": "239.255.255.250",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    # Where clouds keep what a machine may do.
    "AWS, GCP, Azure, OpenStack metadata": "169.254.169.254",
    "AWS containers' credentials": "169.254.170.2",
    "AWS pods' credentials": "169.254.170.23",
    "AWS time": "169.254.169.123",
    "AWS resolver": "169.254.169.253",
    "Tencent metadata": "169.254.0.23",
    "Alibaba metadata": "100.100.100.200",
    "Alibaba resolver": "100.100.2.136",
    "Azure host agent": "168.63.129.16",
    "Oracle metadata": "192.0.0.192",
    "AWS metadata over IPv6": "fd00:ec2::254",
    "GCP metadata over IPv6": "fd20:ce::254",
    "Oracle metadata over IPv6": "fd00:c1::a9fe:a9fe",
    # IPv6 of the same kinds.
    "unspecified v6": "::",
    "loopback v6": "::1",
    "loopback v6, in full": "0:0:0:0:0:0:0:1",
    "unique local": "fc00::1",
    "unique local, assigned": "fd12:3456:789a::1",
    "link-local v6": "fe80::1",
    "link-local v6 with a zone": "fe80::1%eth0",
    "link-local v6 with a numbered zone": "fe80::1%25",
    "public v6 with a zone": "2606:4700::1111%lo",
    "loopback v6 with a zone": "::1%lo",
    "site-local": "fec0::1",
    "multicast v6": "ff02::1",
    "multicast v6, global": "ff0e::1",
    "discard only": "100::1",
    "documentation v6": "2001:db8::1",
    "documentation v6, the newer": "3fff::1",
    "benchmarks v6": "2001:2::1",
    "ORCHIDv2": "2001:20::1",
    "segment routing": "5f00::1",
    "not given out": "4000::1",
    # IPv4 inside IPv6.
    "mapped loopback": "::ffff:127.0.0.1",
    "mapped loopback in hex": "::ffff:7f00:1",
    "mapped private": "::ffff:10.0.0.1",
    "mapped metadata": "::ffff:169.254.169.254",
    "mapped Alibaba metadata": "::ffff:100.100.100.200",
    "mapped multicast": "::ffff:224.0.0.1",
    "mapped nothing": "::ffff:0.0.0.0",
    "compatible loopback": "::127.0.0.1",
    "compatible metadata": "::169.254.169.254",
    "compatible public": "::8.8.8.8",
    "translated loopback (SIIT)": "::ffff:0:127.0.0.1",
    "NAT64 loopback": "64:ff9b::7f00:1",
    "NAT64 metadata": "64:ff9b::a9fe:a9fe",
    "NAT64 public": "64:ff9b::808:808",
    "NAT64 of a network of its own": "64:ff9b:1::a00:1",
    "6to4 loopback": "2002:7f00:1::",
    "6to4 metadata": "2002:a9fe:a9fe::1",
    "6to4 public": "2002:808:808::1",
    "Teredo": "2001::1",
    "Teredo loopback": "2001:0:4136:e378:8000:63bf:80ff:fffe",
    # What no resolver should say.
    "no address": "not an address",
    "nothing": "",
    "decimal": "2130706433",
    "octal": "0177.0.0.1",
    "hexadecimal": "0x7f.0.0.1",
    "short": "127.1",
    "with a blank": " 1.1.1.1",
    "with a mask": "1.1.1.1/32",
    "with brackets": "[::1]",
    "wide digits": "\uff11.1.1.1",
}
OUTSIDE = ["1.1.1.1", "8.8.8.8", "101.226.129.158", "223.5.5.5", "2606:4700::1111", "240c::6666", "::ffff:8.8.8.8"]
LOOPBACK = {
    "127.0.0.1", "127.255.255.254", "127.1.2.3", "::1", "0:0:0:0:0:0:0:1", "::ffff:127.0.0.1", "::ffff:7f00:1",
}  # fmt: skip
URLS_OF_OTHERS = [
    "http://127.0.0.1/",
    "http://localhost/",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0177.0.0.1/",
    "http://127.1/",
    "http://0/",
    "http://0x7f.1/",
    "http://0x7f.0x0.0x0.0x1/",
    "http://017700000001/",
    "http://0177.0.0.0x1/",
    "http://127.0.1/",
    "http://2852039166/latest/meta-data/",
    "http://0xa9fea9fe/latest/meta-data/",
    "http://0251.0376.0251.0376/",
    "http://3232235777/",
    "http://0.0.0.0/",
    "http://\u2460\u2461\u2466.0.0.1/",
    "http://127\u30020\u30020\u30021/",
    "http://localhost./",
    "http://LOCALHOST/",
    "http://localhost.localdomain/",
    "http://ip6-localhost/",
    "http://a.localhost/",
    "http://127.0.0.1.nip.io/",
    "https://[fe80::1%25eth0]/",
    "https://[::]/",
    "https://[::127.0.0.1]/",
    "https://[::ffff:a9fe:a9fe]/latest/meta-data/",
    "https://[64:ff9b::a9fe:a9fe]/",
    "https://[2002:7f00:1::]/",
    "https://[2001:0:4136:e378:8000:63bf:80ff:fffe]/",
    "https://[fd00:ec2::254]/latest/meta-data/",
    "http://169.254.0.23/latest/meta-data/",
    "http://metadata.tencentyun.com/latest/meta-data/",
    "http://168.63.129.16/metadata/instance",
    "http://169.254.169.254/latest/meta-data/",
    "http://100.100.100.200/latest/meta-data/",
    "http://metadata.google.internal/",
    "http://platform.example/",
    "https://platform.example:8443/",
    "https://platform.example.evil.example/",
    "https://evil.example/platform.example",
    "https://platform.example@evil.example/",
    "https://platform.example:443@127.0.0.1/",
    "https://platform.example%40127.0.0.1/",
    "https://127.0.0.1\\@platform.example/",
    "https://127.0.0.1#@platform.example/",
    "https://127.0.0.1?@platform.example/",
    "https://platform.example%00.evil.example/",
    "https://platform.example\n.evil.example/",
    "https://platform.example\t/",
    "https://someone@platform.example/",
    "https://someone:secret@platform.example/",
    "http://evil.example#@platform.example/",
    "https://evil.example\\@platform.example/",
    "https://platform.example./",
    "https://platform.exampl\u0435/",
    "ftp://platform.example/",
    "file:///etc/passwd",
    "gopher://platform.example:443/_GET",
    "data:text/plain,x",
    "//platform.example/",
    "/records",
    "https:///records",
    "https://",
    "",
    "https://platform.example:99999/",
    "https://platform.example:0/",
]


def refuse_lookup(host: str, port: int) -> list[str]:
    raise AssertionError(f"{host} was looked up")


@pytest.mark.parametrize("name", INSIDE)
def test_an_address_that_leads_inside_is_never_callable(name: str) -> None:
    address = INSIDE[name]
    assert not is_callable(address, allow_loopback=False)
    assert is_callable(address, allow_loopback=True) == (address in LOOPBACK)


@pytest.mark.parametrize("address", OUTSIDE)
def test_a_public_address_is_callable(address: str) -> None:
    assert is_callable(address, allow_loopback=False)


@pytest.fixture
def unconnected(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int]]]:
    """The connections that were made: where this is asked for, there must be none, so there is not a byte either."""
    made: list[tuple[str, int]] = []

    def connect(self: object, host: str, port: int, *rest: object, **more: object) -> None:
        made.append((host, port))
        raise httpcore.ConnectError("this test connects nowhere")

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
    yield made
    assert made == []


@pytest.mark.usefixtures("unconnected")
@pytest.mark.parametrize("beside", [(), ("1.1.1.1",)], ids=["alone", "beside a good one"])
@pytest.mark.parametrize("name", INSIDE)
def test_a_registered_name_that_leads_inside_is_refused_before_anything_is_sent(
    name: str, beside: tuple[str, ...]
) -> None:
    client = SafeClient([Origin.parse(GOOD)], resolve=lambda host, port: [*beside, INSIDE[name]], limits=LIMITS)
    with pytest.raises(Stop) as refused:
        client.fetch(GOOD + "/records")
    assert refused.value.reason == "target_refused"


HOSTS = [
    "127.0.0.1", "2130706433", "0177.0.0.1", "0x7f.1", "0x7f000001", "127.1", "0", "10.0.0.1", "169.254.169.254",
    "169.254.0.23", "100.100.100.200", "168.63.129.16", "[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:a9fe:a9fe]",
    "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fd00:ec2::254]", "[fe80::1]", "localhost", "localhost.", "a.localhost",
]  # fmt: skip


@pytest.mark.usefixtures("unconnected")
@pytest.mark.parametrize("host", HOSTS)
def test_an_inside_host_that_was_registered_itself_is_refused_before_anything_is_sent(host: str) -> None:
    plain = host.strip("[]").rstrip(".")
    found = {"localhost": "127.0.0.1", "a.localhost": "::1"}.get(plain, plain)
    with pytest.raises(Stop) as refused:
        SafeClient([Origin.parse(f"https://{host}")], resolve=lambda name, port: [found]).fetch(f"https://{host}/")
    assert refused.value.reason in ("target_refused", "origin_unreadable")


@pytest.mark.usefixtures("unconnected")
@pytest.mark.parametrize("url", URLS_OF_OTHERS)
def test_a_url_of_another_origin_is_refused_without_a_look_up(url: str) -> None:
    client = SafeClient([Origin.parse(GOOD)], resolve=refuse_lookup, limits=LIMITS)
    with pytest.raises(Stop) as refused:
        client.fetch(url)
    assert refused.value.reason == "target_refused"


def test_the_tables_of_targets_are_as_large_as_promised() -> None:
    assert len(set(INSIDE.values())) == len(INSIDE) >= 60
    assert len(set(URLS_OF_OTHERS)) >= 60


REDIRECTS = [url for url in URLS_OF_OTHERS if url.isprintable() and url.isascii()]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_nowhere(serve: Callable[..., Any], status: int) -> None:
    targets = [
        *REDIRECTS,
        *(f"http://{address}/" for address in INSIDE.values() if address.isprintable() and address.isascii()),
    ]
    platform: Any = serve(lambda ask: ask.reply(status, {}, {"location": targets[len(platform.asked) - 1]}))
    url = f"http://platform.example:{platform.port}"
    looked_up: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        looked_up.append(host)
        return ["127.0.0.1"]

    with SafeClient([Origin.parse(url, allow_loopback=True)], resolve=resolve) as client:
        for _ in targets:
            with pytest.raises(Stop) as refused:
                client.fetch(url + "/records")
            assert refused.value.reason == "redirected"
    assert len(platform.asked) == len(targets) > 60
    assert set(looked_up) == {"platform.example"}


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1"])
def test_this_machine_is_reached_only_where_the_origin_says_so(serve: Callable[..., Any], address: str) -> None:
    platform = serve(lambda ask: ask.reply(200, {}))
    origin = Origin(scheme="http", host="platform.example", port=platform.port)
    for allowed, expected in ((False, 0), (True, 1)):
        client = SafeClient([replace(origin, allow_loopback=allowed)], resolve=lambda host, port: [address])
        with client, nullcontext() if allowed else pytest.raises(Stop, match="target_refused"):
            client.fetch(f"http://platform.example:{platform.port}/")
        assert len(platform.asked) == expected


@pytest.mark.usefixtures("unconnected")
def test_a_name_that_turns_inward_between_two_calls_is_refused_at_the_second(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([["1.1.1.1"], ["169.254.169.254"]])
    client = SafeClient([Origin.parse(GOOD)], resolve=lambda host, port: next(answers), limits=LIMITS)
    reached: list[str] = []

    def connect(self: object, host: str, *rest: object, **more: object) -> None:
        reached.append(host)
        raise httpcore.ConnectError("nobody there")

    with monkeypatch.context() as first:
        first.setattr(httpcore.SyncBackend, "connect_tcp", connect)
        with pytest.raises(RetryLater):
            client.fetch(GOOD + "/")
    assert reached == ["1.1.1.1"]  # the address that was checked, not the name
    with pytest.raises(Stop, match="target_refused"):
        client.fetch(GOOD + "/")


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "0"])
def test_loopback_in_disguise_is_refused_even_when_it_was_registered(host: str) -> None:
    url = f"https://{host}"
    with pytest.raises((Stop, RetryLater)) as refused:
        SafeClient([Origin.parse(url)], limits=LIMITS).fetch(url + "/")
    # Where the system's resolver does not know the disguise, there is nothing to connect to either.
    assert refused.value.reason in ("target_refused", "unreachable", "origin_unreadable")


def test_one_bad_address_among_good_ones_refuses_the_name() -> None:
    client = SafeClient([Origin.parse(GOOD)], resolve=lambda host, port: ["1.1.1.1", "10.0.0.1"], limits=LIMITS)
    with pytest.raises(Stop):
        client.fetch(GOOD + "/")


def test_a_name_that_rebinds_is_looked_up_once_and_refused_when_it_turns_inward() -> None:
    answers = iter([["10.0.0.1"], ["1.1.1.1"]])
    lookups: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        lookups.append(host)
        return next(answers)

    client = SafeClient([Origin.parse(GOOD)], resolve=resolve, limits=LIMITS)
    with pytest.raises(Stop):
        client.fetch(GOOD + "/")
    assert lookups == ["platform.example"]


@pytest.mark.parametrize(
    "url",
    ["http://platform.example", "ftp://a.example", "https://u:p@a.example", "https://", "x", "https://a.example:0"],
)
def test_an_origin_that_is_not_plainly_https_cannot_be_registered(url: str) -> None:
    with pytest.raises(Stop):
        Origin.parse(url)


def test_plain_http_reaches_this_machine_only() -> None:
    origin = Origin.parse("http://platform.example", allow_loopback=True)
    client = SafeClient([origin], resolve=lambda host, port: ["1.1.1.1"], limits=LIMITS)
    with pytest.raises(Stop) as refused:
        client.fetch("http://platform.example/")
    assert refused.value.reason == "target_refused"


def test_a_good_answer_comes_whole_with_the_origin_s_own_name(serve: Callable[..., Any]) -> None:
    platform = serve(lambda ask: ask.reply(200, {"host": ask.headers["host"], "ae": ask.headers["accept-encoding"]}))
    url = f"http://platform.example:{platform.port}"
    client = SafeClient([Origin.parse(url, allow_loopback=True)], resolve=lambda host, port: ["127.0.0.1"])
    with client:
        answer = client.fetch(url + "/x?y=1#z", headers={"accept-encoding": "br"})
    assert answer.status == 200
    assert answer.body == b'{"host": "platform.example:%d", "ae": "gzip"}' % platform.port
    assert platform.asked[0].path == "/x?y=1"


def test_a_look_up_that_hangs_ends_at_the_connect_bound() -> None:
    released = threading.Event()
    waited_out: list[str] = []

    def hang(host: str, port: int) -> list[str]:
        if not released.wait(60):
            waited_out.append(host)
        return ["1.1.1.1"]

    client = SafeClient([Origin.parse(GOOD)], resolve=hang, limits=EgressLimits(connect_s=0.2, total_s=0.5))
    with pytest.raises(RetryLater):
        client.fetch(GOOD + "/")
    released.set()
    assert waited_out == []
