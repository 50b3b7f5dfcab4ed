"""Connectors that read one link with its token, in tests: how each is made, and what an honest platform answers it."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from connectors.base import Fetcher, LinkAccess
from connectors.formats import alipay_green, connected_car, espi, psd2_card
from connectors.net.egress import EgressLimits, Origin, SafeClient

NOW = datetime(2026, 10, 6, 1, 30, tzinfo=UTC)
ACCESS = LinkAccess(link_id="7", account="acc-000123", access_token="canary-token")
METHOD = "alipay.commerce.transport.carbonjustice.lowcarbonbehavior.query"


class Keys:
    """Two key pairs of a test run: our app's and Alipay's. No pair is published, so none is written down here."""

    def __init__(self) -> None:
        self.app = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.alipay = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.app_private = _one_line(
            self.app.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        )
        self.alipay_public = _one_line(
            self.alipay.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        )

    def sign(self, text: bytes) -> str:
        return base64.b64encode(self.alipay.sign(text, padding.PKCS1v15(), hashes.SHA256())).decode()


def _one_line(der: bytes) -> str:
    return base64.b64encode(der).decode()


KEYS = Keys()

RIDE = {"distance": 8600, "pay_time": "2026-10-05 08:31:10", "trip_type": "METRO", "open_id": "acc-000123"}
TRANSACTION = {
    "cardTransactionId": "201710020036959", "transactionDate": "2026-10-05", "bookingDate": "2026-10-06",
    "transactionAmount": {"currency": "CNY", "amount": "4.00"}, "merchantCategoryCode": "4111",
    "maskedPAN": "525412******3241", "cardAcceptorAddress": {"townName": "SHENZHEN", "country": "CN"},
    "invoiced": False,
}  # fmt: skip
TRIP = {
    "id": "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "category": 0,
    "summary": {
        "length": 15215, "duration": 838, "fuelConsumption": 226.0, "startTs": "2026-10-05T19:55:13Z",
        "endTs": "2026-10-05T20:09:11Z", "startLat": 0.0, "startLon": 0.0,
    },
    "hdc": {"evDistance": 13170},
}  # fmt: skip


def query_of(path: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(path).query, keep_blank_values=True))


def form_of(exchange: Any) -> dict[str, str]:
    body = exchange.handler.rfile.read(int(exchange.headers["content-length"]))
    return dict(parse_qsl(body.decode(), keep_blank_values=True))


def client_for(url: str) -> SafeClient:
    limits = EgressLimits(connect_s=20.0, read_s=20.0, total_s=30.0, body_bytes=200_000)
    return SafeClient([Origin.parse(url, allow_loopback=True)], limits=limits)


def alipay(url: str, **config: object) -> alipay_green.AlipayGreen:
    settings = {
        "app_id": "2021000000000001", "alipay_public_key": KEYS.alipay_public, "gateway_url": f"{url}/gateway.do",
        "allow_loopback": True, "city_code": "440300", "scenes": ["CARBON_JUSTICE_METRO"],
    } | config  # fmt: skip
    parsed = alipay_green.parse_config(settings, {"app_private_key": KEYS.app_private})
    return alipay_green.AlipayGreen(parsed, client=client_for(url), clock=lambda: NOW)


def psd2(url: str, **config: object) -> psd2_card.Psd2Card:
    settings = {"base_url": f"{url}/psd2", "allow_loopback": True, "consent_from": "account"} | config
    return psd2_card.Psd2Card(psd2_card.parse_config(settings, {}), client=client_for(url))


def car(url: str, **config: object) -> connected_car.ConnectedCar:
    settings = {"trips_url": f"{url}/v1/trips", "allow_loopback": True, "span_days": 366} | config
    return connected_car.ConnectedCar(connected_car.parse_config(settings, {}), client=client_for(url))


def meter(url: str, **config: object) -> espi.Espi:
    settings = {
        "resource_url": f"{url}/espi/1_1/resource/Batch/Subscription/{{account}}", "allow_loopback": True,
        "span_days": 400,
    } | config  # fmt: skip
    return espi.Espi(espi.parse_config(settings, {}), client=client_for(url))


def signed(node: bytes, *, method: str = METHOD, name: str | None = None) -> bytes:
    """An answer of the gateway: a node as it is written, and the signature over exactly that."""
    told = name or method.replace(".", "_") + "_response"
    return b'{"%s":%s,"sign":"%s"}' % (told.encode(), node, KEYS.sign(node).encode())


def gateway_node(rows: list[dict[str, Any]] | None, **members: object) -> bytes:
    document: dict[str, Any] = {"code": "10000", "msg": "Success"} | members
    return json.dumps(document | ({} if rows is None else {"carbon_justice_model_list": rows})).encode()


def answer_alipay(exchange: Any) -> None:
    form_of(exchange)
    exchange.reply_bytes(200, signed(gateway_node([RIDE])))


def card_page(booked: list[Any], pending: list[Any] | None = None, following: str | None = None) -> dict[str, Any]:
    links = {} if following is None else {"next": {"href": following}}
    report = {"booked": booked, "pending": pending or [], "_links": {"cardAccount": {"href": "/x"}} | links}
    return {"cardAccount": {"maskedPan": "525412******3241"}, "cardTransactions": report}


def answer_psd2(exchange: Any) -> None:
    exchange.reply(200, card_page([TRANSACTION]))


def trips_page(trips: list[Any], *, total: int, following: int | None) -> dict[str, Any]:
    pagination = {
        "currentPage": 1, "limit": 50, "nextOffset": following, "offset": 0, "pageCount": 1, "previousOffset": None,
        "totalCount": total,
    }  # fmt: skip
    return {"payload": {"_metadata": {"pagination": pagination, "sortedBy": []}, "trips": trips}, "status": {}}


def answer_car(exchange: Any) -> None:
    exchange.reply(200, trips_page([TRIP], total=1, following=None))


def reading(start: int, value: int | str, duration: int = 900) -> str:
    period = f"<timePeriod><duration>{duration}</duration><start>{start}</start></timePeriod>"
    return f"<IntervalReading><cost>974</cost>{period}<value>{value}</value></IntervalReading>"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """A feed of one meter, to be written well or badly: the shape of a public test feed, with other numbers."""

    blocks: tuple[str, ...]
    uom: str = "72"
    multiplier: str = "0"
    flow: str = "1"
    accumulation: str = "4"
    service: str = "0"
    related: str = "/ReadingType/07"
    updated: str = "2026-10-06T00:00:00Z"
    extra: str = ""
    customers: tuple[str, ...] = field(default=())

    def write(self) -> bytes:
        point = "RetailCustomer/1/UsagePoint/1"
        meter = f"{point}/MeterReading/1"
        kind = (
            f"<accumulationBehaviour>{self.accumulation}</accumulationBehaviour><commodity>1</commodity>"
            f"<flowDirection>{self.flow}</flowDirection><intervalLength>900</intervalLength><kind>12</kind>"
            f"<powerOfTenMultiplier>{self.multiplier}</powerOfTenMultiplier><uom>{self.uom}</uom>"
        )
        entries = [
            _entry("u", point, "", f"<UsagePoint><ServiceCategory><kind>{self.service}</kind></ServiceCategory></UsagePoint>"),
            _entry("l", "LocalTimeParameters/1", "", "<LocalTimeParameters><tzOffset>28800</tzOffset></LocalTimeParameters>"),
            _entry("m", meter, point, "<MeterReading/>", related=(f"{meter}/IntervalBlock", self.related)),
            *(
                _entry(f"urn:uuid:b{number}", f"{meter}/IntervalBlock/{number}", f"{meter}/IntervalBlock", block,
                       updated=self.updated)
                for number, block in enumerate(self.blocks, start=1)
            ),
            # The type stands last: a reader must not need it before the blocks.
            _entry("t", "/ReadingType/07", "", f"<ReadingType>{kind}</ReadingType>"),
        ]  # fmt: skip
        body = "".join(entries) + self.extra
        return f'<?xml version="1.0" encoding="UTF-8"?><feed xmlns="http://www.w3.org/2005/Atom">{body}</feed>'.encode()


def block(
    start: int, readings: list[str], *, duration: int | str | None = None, baseline: int | str | None = None
) -> str:
    length = 900 * len(readings) if duration is None else duration
    told = "" if baseline is None else f'<b:baseline xmlns:b="urn:tanlian:espi:1">{baseline}</b:baseline>'
    interval = f"<interval><duration>{length}</duration><start>{start}</start></interval>"
    return f"<IntervalBlock>{interval}{told}{''.join(readings)}</IntervalBlock>"


def _entry(
    name: str,
    own: str,
    above: str,
    content: str,
    *,
    related: tuple[str, ...] = (),
    updated: str = "2026-10-06T00:00:00Z",
) -> str:
    links = f'<link rel="self" href="{own}"/>' + (f'<link rel="up" href="{above}"/>' if above else "")
    links += "".join(f'<link rel="related" href="{one}"/>' for one in related)
    resource = content.replace(">", ' xmlns="http://naesb.org/espi">', 1).replace(
        '/ xmlns="http://naesb.org/espi">', ' xmlns="http://naesb.org/espi"/>', 1
    )
    return f"<entry><id>{name}</id>{links}<content>{resource}</content><updated>{updated}</updated></entry>"


DAY = 1_791_129_600  # 2026-10-05 00:00 in China
FEED = Feed(blocks=(block(DAY, [reading(DAY, 282), reading(DAY + 900, 974)]),)).write()


def answer_meter(exchange: Any) -> None:
    exchange.reply_bytes(200, FEED, {"content-type": "application/atom+xml"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """One format: its connector, an honest platform for it, and a body whose rows it cannot split."""

    build: Callable[..., Fetcher]
    answer: Callable[[Any], None]
    good: bytes


FORMATS = {
    "alipay_green": Spoken(build=alipay, answer=answer_alipay, good=signed(gateway_node([RIDE]))),
    "psd2_card": Spoken(build=psd2, answer=answer_psd2, good=json.dumps(card_page([TRANSACTION])).encode()),
    "connected_car": Spoken(
        build=car, answer=answer_car, good=json.dumps(trips_page([TRIP], total=1, following=None)).encode()
    ),
    "espi": Spoken(build=meter, answer=answer_meter, good=FEED),
}
