"""green-button: a data custodian that answers with the Atom feed of a subscription. I/O: HTTP in.

One meter reading flows in (from the grid to the household), one flows out: blocks hang on one of them by their links.
"""

import json
from datetime import datetime
from typing import Any
from xml.sax.saxutils import escape

from fastapi import Request, Response

from hub.sandbox.platforms.by_time import ByTimeVoice
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.site import Front
from hub.sandbox.platforms.spec import Feed, Spec
from hub.sandbox.registers import GREEN_BUTTON
from hub.sandbox.reports import Report

_PATH = "/espi/1_1/resource/Batch/Subscription/"
_ESPI = 'xmlns="http://naesb.org/espi"'
_FLOWS = ("1", "19")


class GreenButton(ByTimeVoice):
    """The custodian's side of Connect My Data."""

    def __init__(self, front: Front, stream: str = "") -> None:
        super().__init__(front, stream)
        front.doors.add(_PATH)
        self.app.add_api_route(_PATH + "{name}", self._batch, methods=["GET"], response_model=None)

    async def _batch(self, request: Request, name: str) -> Response:
        account = self.front.account_of(request.headers.get("authorization"))
        if account is None:
            return Response(status_code=401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
        if name != account:
            return Response(status_code=403)
        try:
            since = datetime.fromisoformat(request.query_params["published-min"])
            until = datetime.fromisoformat(request.query_params["published-max"])
            rows = self.told(account, since, until)
        except (KeyError, ValueError, TypeError):
            return Response(status_code=400)
        cut = self.faults.take(Fault.TRUNCATED_PAGE)
        rows = self.note("" if cut else request.headers.get("x-request-id", "")[:128], rows)
        data = _feed(account, rows).encode()
        return Response(data[: len(data) * 2 // 3] if cut else data, media_type="application/atom+xml")


def _feed(account: str, rows: tuple[Report, ...]) -> str:
    point = f"RetailCustomer/{account}/UsagePoint/1"
    service = f"<UsagePoint {_ESPI}><ServiceCategory><kind>0</kind></ServiceCategory></UsagePoint>"
    clock = f"<LocalTimeParameters {_ESPI}><tzOffset>28800</tzOffset></LocalTimeParameters>"
    entries = [
        _entry("urn:uuid:point", point, "", service),
        _entry("urn:uuid:clock", "LocalTimeParameters/1", "", clock),
    ]
    for flow in _FLOWS:
        meter = f"{point}/MeterReading/{flow}"
        related = f'<link rel="related" href="ReadingType/{flow}"/>'
        entries.append(_entry(f"urn:uuid:meter{flow}", meter, point, f"<MeterReading {_ESPI}/>", related))
    for row in rows:
        told = json.loads(row.body)
        above = f"{point}/MeterReading/{told['flow']}/IntervalBlock"
        own = f"{above}/{told['start']}"
        entries.append(_entry(told["block"], own, above, _block(told), updated=told["updated"]))
    for flow in _FLOWS:
        kind = (
            f"<ReadingType {_ESPI}><accumulationBehaviour>4</accumulationBehaviour><commodity>1</commodity>"
            f"<flowDirection>{flow}</flowDirection><intervalLength>900</intervalLength><kind>12</kind>"
            "<powerOfTenMultiplier>0</powerOfTenMultiplier><uom>72</uom></ReadingType>"
        )
        entries.append(_entry(f"urn:uuid:type{flow}", f"ReadingType/{flow}", "", kind))
    body = "".join(entries)
    return f'<?xml version="1.0" encoding="UTF-8"?><feed xmlns="http://www.w3.org/2005/Atom"><id>urn:uuid:feed</id>{body}</feed>'


def _block(told: dict[str, Any]) -> str:
    """Write a block: what was used is spread over its quarters, the odd watt-hours on the first ones."""
    count, step = told["readings"], int(told["interval_s"])
    each, odd = divmod(told["value"], count)
    readings = "".join(
        f"<IntervalReading><cost>974</cost><timePeriod><duration>{step}</duration>"
        f"<start>{told['start'] + i * step}</start></timePeriod><value>{each + (i < odd)}</value></IntervalReading>"
        for i in range(count)
    )
    interval = f"<interval><duration>{told['end'] - told['start']}</duration><start>{told['start']}</start></interval>"
    baseline = told.get("baseline_kwh")
    settled = (
        f'<baseline xmlns="urn:tanlian:espi:1">{baseline.replace(".", "").lstrip("0") or "0"}</baseline>'
        if baseline is not None
        else ""
    )
    return f"<IntervalBlock {_ESPI}>{interval}{settled}{readings}</IntervalBlock>"


def _entry(
    name: str, own: str, above: str, content: str, links: str = "", updated: str = "2026-10-01T00:00:00Z"
) -> str:
    up = f'<link rel="up" href="{escape(above)}"/>' if above else ""
    return (
        f'<entry><id>{escape(name)}</id><link rel="self" href="{escape(own)}"/>{up}{links}<title/>'
        f"<content>{content}</content><published>{updated}</published><updated>{updated}</updated></entry>"
    )


SPEC = Spec(
    id=GREEN_BUTTON,
    name_zh="家庭电表 Green Button（模拟）",
    name_en="Green Button household meter (simulated)",
    kind="data_source",
    behaviours=("HOME-POWERSAVE",),
    feeds=(
        Feed(
            stream="readings",
            connector="espi",
            voice=GreenButton,
            config=lambda place: {"resource_url": f"{place.origin}{_PATH}{{account}}", "allow_loopback": True},
        ),
    ),
)
