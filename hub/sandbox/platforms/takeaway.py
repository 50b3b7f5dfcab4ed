"""takeaway: posts each order in Meituan's form whenever it changes. I/O: network."""

import hashlib
import json
from urllib.parse import urlencode

import httpx

from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.single_post import Message, SinglePost
from hub.sandbox.platforms.spec import Feed, Spec
from hub.sandbox.registers import TAKEAWAY
from hub.sandbox.reports import Report

DEVELOPER, SHOP = "100026", "shop-0001"
_FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}


class Takeaway(SinglePost):
    """The platform's side of the order push, and its sign-in."""

    def version_of(self, row: Report) -> int:
        return int(json.loads(row.body)["utime"])

    def message(self, row: Report) -> Message:
        key = self.site.secrets["sign_key"]
        if self.faults.take(Fault.WRONG_SIGNATURE):
            key = key[::-1]
        fields = {"developerId": DEVELOPER, "ePoiId": SHOP, "order": row.body}
        signed = key + "".join(name + fields[name] for name in sorted(fields))
        sign = hashlib.sha1(signed.encode(), usedforsecurity=False).hexdigest()
        if self.faults.take(Fault.TAMPERED):
            fields["order"] = fields["order"].replace('"dinnersNumber":', '"dinnersNumber":9', 1)
        order = json.loads(row.body)
        return Message(
            delivery_id=f"{order['orderId']}-{order['utime']}",
            url=self.door(),
            headers=_FORM,
            body=urlencode(fields | {"sign": sign}).encode(),
        )

    def is_taken(self, answer: httpx.Response) -> bool:
        return answer.is_success and answer.json() == {"data": "ok"}


SPEC = Spec(
    id=TAKEAWAY,
    name_zh="外卖无需餐具（模拟）",
    name_en="Takeaway without utensils (simulated)",
    kind="enterprise",
    behaviours=("FOOD-NOTABLEWARE",),
    agreed=lambda secret: {"sign_key": secret("takeaway/sign").hex()},
    feeds=(
        Feed(
            stream="orders",
            connector="takeaway_order",
            voice=Takeaway,
            config=lambda place: {"developer_id": DEVELOPER, "shops": [SHOP]},
            secrets=lambda agreed: {"sign_keys": agreed["sign_key"]},
        ),
    ),
)
