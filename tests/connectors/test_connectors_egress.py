"""The way out: which targets are called, and that they are asked by their own name."""

import threading
import time
from collections.abc import Callable

import pytest

from connectors.base import RetryLater, Stop
from connectors.net.addresses import is_callable
from connectors.net.egress import EgressLimits, Origin, SafeClient

QUICK = EgressLimits(connect_s=1.0, read_s=0.4, total_s=1.0, body_bytes=100_000)
GOOD = "https://platform.example"
INSIDE = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:169.254.169.254",
    "::ffff:224.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b:1::a00:1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:a9fe:a9fe::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
    "2606:4700::1111%lo",
    "not an address",
    "",
]
OUTSIDE = ["1.1.1.1", "8.8.8.8", "101.226.129.158", "223.5.5.5", "2606:4700::1111", "240c::6666", "::ffff:8.8.8.8"]
LOOPBACK = {"127.0.0.1", "127.255.255.254", "::1", "::ffff:127.0.0.1"}
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
    "http://169.254.169.254/latest/meta-data/",
    "http://100.100.100.200/latest/meta-data/",
    "http://metadata.google.internal/",
    "http://platform.example/",
    "https://platform.example:8443/",
    "https://platform.example.evil.example/",
    "https://evil.example/platform.example",
    "https://platform.example@evil.example/",
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


@pytest.mark.parametrize("address", INSIDE)
def test_an_address_that_leads_inside_is_never_callable(address: str) -> None:
    assert not is_callable(address, allow_loopback=False)
    assert is_callable(address, allow_loopback=True) == (address in LOOPBACK)


@pytest.mark.parametrize("address", OUTSIDE)
def test_a_public_address_is_callable(address: str) -> None:
    assert is_callable(address, allow_loopback=False)


@pytest.mark.parametrize("address", INSIDE)
def test_a_registered_name_that_leads_inside_is_refused_before_anything_is_sent(address: str) -> None:
    client = SafeClient([Origin.parse(GOOD)], resolve=lambda host, port: [address], limits=QUICK)
    with pytest.raises(Stop) as refused:
        client.fetch(GOOD + "/records")
    assert refused.value.reason == "target_refused"


@pytest.mark.parametrize("url", URLS_OF_OTHERS)
def test_a_url_of_another_origin_is_refused_without_a_look_up(url: str) -> None:
    client = SafeClient([Origin.parse(GOOD)], resolve=refuse_lookup, limits=QUICK)
    with pytest.raises(Stop) as refused:
        client.fetch(url)
    assert refused.value.reason == "target_refused"


def test_the_tables_of_targets_are_as_large_as_promised() -> None:
    assert len(set(INSIDE)) + len(set(URLS_OF_OTHERS)) >= 80


@pytest.mark.parametrize("host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "0"])
def test_loopback_in_disguise_is_refused_even_when_it_was_registered(host: str) -> None:
    url = f"https://{host}"
    with pytest.raises((Stop, RetryLater)) as refused:
        SafeClient([Origin.parse(url)], limits=QUICK).fetch(url + "/")
    # Where the system's resolver does not know the disguise, there is nothing to connect to either.
    assert refused.value.reason in ("target_refused", "unreachable", "origin_unreadable")


def test_one_bad_address_among_good_ones_refuses_the_name() -> None:
    client = SafeClient([Origin.parse(GOOD)], resolve=lambda host, port: ["1.1.1.1", "10.0.0.1"], limits=QUICK)
    with pytest.raises(Stop):
        client.fetch(GOOD + "/")


def test_a_name_that_rebinds_is_looked_up_once_and_refused_when_it_turns_inward() -> None:
    answers = iter([["10.0.0.1"], ["1.1.1.1"]])
    lookups: list[str] = []

    def resolve(host: str, port: int) -> list[str]:
        lookups.append(host)
        return next(answers)

    client = SafeClient([Origin.parse(GOOD)], resolve=resolve, limits=QUICK)
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
    client = SafeClient([origin], resolve=lambda host, port: ["1.1.1.1"], limits=QUICK)
    with pytest.raises(Stop) as refused:
        client.fetch("http://platform.example/")
    assert refused.value.reason == "target_refused"


def test_a_good_answer_comes_whole_with_the_origin_s_own_name(serve: Callable) -> None:
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

    def hang(host: str, port: int) -> list[str]:
        released.wait(5)
        return ["1.1.1.1"]

    client = SafeClient([Origin.parse(GOOD)], resolve=hang, limits=EgressLimits(connect_s=0.2, total_s=0.5))
    began = time.monotonic()
    with pytest.raises(RetryLater):
        client.fetch(GOOD + "/")
    released.set()
    assert time.monotonic() - began < 1.0
