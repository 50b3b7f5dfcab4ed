"""Connectors that are asked for stretches of time, in tests: how each is made, and what an honest platform answers it."""

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from connectors.base import Fetcher, LinkAccess
from connectors.formats import baidu_track, didi_es, mds_trips, ocpi_cdr
from connectors.net.egress import EgressLimits, Origin, SafeClient

NOW = datetime(2026, 10, 6, 1, 30, tzinfo=UTC)
LINK = LinkAccess(link_id="7", account="bd-000123", access_token="canary-token")
OCPI_TOKEN, MDS_TOKEN = "canary-ocpi-token", "canary-mds-token"
SIGN_KEY, SK = "canary-sign-key", "canarysk"

TRIP = {
    "provider_id": "5f7114d1-4091-46ee-b492-e55875f7de00", "device_id": "e0a1", "trip_id": "t-1",
    "start_time": 1791176400000, "end_time": 1791177000000, "distance": 3120, "duration": 600,
    "start_location": {"lat": 39.9, "lng": 116.4}, "end_location": {"lat": 39.91, "lng": 116.41},
}  # fmt: skip
ORDER = {
    "order_id": "1125922289295589", "call_phone": "13800000001", "passenger_name": "张三", "member_id": "1125900001",
    "is_carpool": "1", "status": "2", "begin_charge_time": "2026-10-05 08:00:00", "finish_time": "2026-10-05 08:30:00",
    "normal_distance": "12.30", "total_price": "25.50",
}  # fmt: skip
GUIDED = {"trip_id": "g-1", "transport_mode": "riding", "start_time": 1791176400, "end_time": 1791177000}
CDR = {"country_code": "CN", "party_id": "KDN", "id": "12345", "total_energy": 15.342}


def query_of(path: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(path).query, keep_blank_values=True))


def client_for(url: str) -> SafeClient:
    limits = EgressLimits(connect_s=20.0, read_s=20.0, total_s=30.0, body_bytes=200_000)
    return SafeClient([Origin.parse(url, allow_loopback=True)], limits=limits)


def ocpi(url: str, **config: object) -> ocpi_cdr.OcpiCdr:
    settings = {"cdrs_url": f"{url}/ocpi/2.2.1/cdrs", "allow_loopback": True, "first_days": 1} | config
    return ocpi_cdr.OcpiCdr(ocpi_cdr.parse_config(settings, {"token": OCPI_TOKEN}), client=client_for(url))


def mds(url: str, **config: object) -> mds_trips.MdsTrips:
    settings = {"trips_url": f"{url}/mds/trips", "allow_loopback": True, "first_days": 1} | config
    return mds_trips.MdsTrips(mds_trips.parse_config(settings, {"token": MDS_TOKEN}), client=client_for(url))


def didi(url: str, **config: object) -> didi_es.DidiEs:
    settings = {
        "client_id": "c1", "company_id": "9", "base_url": url, "allow_loopback": True, "first_days": 1, "length": 10,
    } | config  # fmt: skip
    secrets = {"client_secret": "canary-client-secret", "sign_key": SIGN_KEY}
    return didi_es.DidiEs(didi_es.parse_config(settings, secrets), client=client_for(url))


def baidu(url: str, **config: object) -> baidu_track.BaiduTrack:
    settings = {
        "trips_url": f"{url}/guided/trips", "service_id": "222", "base_url": url, "allow_loopback": True,
        "first_days": 1,
    } | config  # fmt: skip
    return baidu_track.BaiduTrack(
        baidu_track.parse_config(settings, {"ak": "yourak", "sk": SK}), client=client_for(url)
    )


def answer_ocpi(exchange: Any) -> None:
    wanted = base64.b64encode(OCPI_TOKEN.encode()).decode()
    assert exchange.headers["authorization"] == f"Token {wanted}"
    exchange.reply(200, {"data": [CDR], "status_code": 1000, "timestamp": "2026-10-06T01:30:00Z"})


def answer_mds(exchange: Any) -> None:
    assert exchange.headers["authorization"] == f"Bearer {MDS_TOKEN}"
    assert exchange.headers["accept"] == "application/vnd.mds+json;version=2.0"
    is_its_hour = query_of(exchange.path)["end_time"] == "2026-10-05T05"
    exchange.reply(200, {"version": "2.0.0", "trips": [TRIP] if is_its_hour else []})


def body_of(exchange: Any) -> dict[str, str]:
    return json.loads(exchange.handler.rfile.read(int(exchange.headers["content-length"])))


def didi_sign(pairs: Mapping[str, str], digest: str = "md5") -> str:
    """The rule, written down a second time: the key is one of the sorted pairs."""
    told = {**{name: value for name, value in pairs.items() if name != "sign"}, "sign_key": SIGN_KEY}
    text = "&".join(f"{name}={told[name].strip()}" for name in sorted(told))
    return hashlib.new(digest, text.encode()).hexdigest()


def answer_didi(exchange: Any) -> None:
    if exchange.method == "POST":
        pairs = body_of(exchange)
        assert pairs["sign"] == didi_sign(pairs)
        return exchange.reply(200, {"access_token": "canary-access", "expires_in": 7200, "token_type": "Bearer"})
    pairs = query_of(exchange.path)
    assert pairs["sign"] == didi_sign(pairs)
    assert pairs["access_token"] == "canary-access"
    return exchange.reply(200, {"errno": 0, "errmsg": "SUCCESS", "data": {"total": 1, "records": [ORDER]}})


def baidu_sign(path: str) -> str:
    """The rule, written down a second time, over what came in: everything before `sn`, and the key."""
    signed, mark, _ = path.partition("&sn=")
    assert mark
    return hashlib.md5(_quote_plus(signed + SK).encode(), usedforsecurity=False).hexdigest()


def _quote_plus(text: str) -> str:
    plain = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-~"
    return "".join(chr(c) if chr(c) in plain else "+" if c == 0x20 else f"%{c:02X}" for c in text.encode())


def answer_baidu(exchange: Any) -> None:
    assert query_of(exchange.path)["sn"] == baidu_sign(exchange.path)
    assert unquote(exchange.path).count("bd-000123") == 1
    if urlsplit(exchange.path).path == "/guided/trips":
        return exchange.reply(200, {"status": 0, "message": "成功", "total": 1, "trips": [GUIDED]})
    return exchange.reply_bytes(200, '{"status":0,"message":"成功","distance":3120.50}'.encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """One format: its connector, and an honest platform for it."""

    build: Callable[..., Fetcher]
    answer: Callable[[Any], None]
    access: LinkAccess | None = None


FORMATS = {
    "ocpi_cdr": Spoken(build=ocpi, answer=answer_ocpi),
    "mds_trips": Spoken(build=mds, answer=answer_mds),
    "didi_es": Spoken(build=didi, answer=answer_didi),
    "baidu_track": Spoken(build=baidu, answer=answer_baidu, access=LINK),
}
