"""ewaybill: tells the hub of its mini-program's waybills and of the labels that it had printed. I/O: network."""

import base64
import hashlib
import json
from urllib.parse import urlencode

from standardwebhooks import Webhook

from hub.sandbox.people import town_secret
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.single_post import Message, SinglePost
from hub.sandbox.platforms.spec import Feed, Spec
from hub.sandbox.registers import EWAYBILL
from hub.sandbox.reports import Report

KUAIDI_KEY = "KdTownKey"


class WeChatWaybills(SinglePost):
    """The mini-program's server: WeChat's proof in the address, Standard Webhooks over the message, and the sign-in."""

    def version_of(self, row: Report) -> int:
        return int(json.loads(row.lines[0])["order_status"])

    def message(self, row: Report) -> Message:
        (order,) = row.lines
        now, token, secret = self.site.clock(), self.site.secrets["push_token"], self.site.secrets["webhook_secret"]
        if self.faults.take(Fault.WRONG_SIGNATURE):
            wrong = town_secret(self.site.reports.town.seed, "a wrong secret")
            token, secret = token[::-1], "whsec_" + base64.b64encode(wrong).decode()
        message_id = "wb_" + hashlib.sha256(order.encode()).hexdigest()[:40]
        stamp, nonce = str(int(now.timestamp())), message_id[-16:]
        proof = hashlib.sha1("".join(sorted((token, stamp, nonce))).encode(), usedforsecurity=False).hexdigest()
        headers = {
            "content-type": "application/json",
            "webhook-id": message_id,
            "webhook-timestamp": stamp,
            "webhook-signature": Webhook(secret).sign(message_id, now, order),
        }
        if self.faults.take(Fault.TAMPERED):
            order = order.replace('"order_status":', '"order_status":1', 1)
        query = urlencode({"signature": proof, "timestamp": stamp, "nonce": nonce})
        return Message(delivery_id=message_id, url=f"{self.door()}?{query}", headers=headers, body=order.encode())


class Kuaidi100Labels(SinglePost):
    """The platform's shop system: what it told Kuaidi100 it tells the hub, in the same form."""

    def message(self, row: Report) -> Message:
        method, param = row.lines
        secret, t = self.site.secrets["label_secret"], str(int(self.site.clock().timestamp() * 1000))
        if self.faults.take(Fault.WRONG_SIGNATURE):
            secret = secret[::-1]
        sign = hashlib.md5((param + t + KUAIDI_KEY + secret).encode(), usedforsecurity=False).hexdigest().upper()
        delivery_id = "kuaidi100-" + hashlib.sha256(f"{method}\n{param}".encode()).hexdigest()[:40]
        if self.faults.take(Fault.TAMPERED):
            param = param.replace('"kuaidinum":"', '"kuaidinum":"0', 1)
        form = {"method": method, "key": KUAIDI_KEY, "t": t, "param": param, "sign": sign}
        headers = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
        return Message(delivery_id=delivery_id, url=self.door(), headers=headers, body=urlencode(form).encode())


SPEC = Spec(
    id=EWAYBILL,
    name_zh="电子面单物流（模拟）",
    name_en="E-waybill logistics (simulated)",
    kind="enterprise",
    behaviours=("USE-EWAYBILL",),
    agreed=lambda secret: {
        "push_token": secret("ewaybill/push").hex()[:32],
        "webhook_secret": "whsec_" + base64.b64encode(secret("ewaybill/webhook")).decode(),
        "label_secret": secret("ewaybill/label").hex(),
    },
    feeds=(
        Feed(
            stream="wechat_waybills",
            connector="wechat_waybill",
            voice=WeChatWaybills,
            config=lambda place: {},
            secrets=lambda agreed: {
                "push_tokens": agreed["push_token"],
                "webhook_secrets": agreed["webhook_secret"],
            },
        ),
        Feed(
            stream="kuaidi100_labels",
            connector="kuaidi100_label",
            voice=Kuaidi100Labels,
            config=lambda place: {"key": KUAIDI_KEY},
            secrets=lambda agreed: {"sign_secrets": agreed["label_secret"]},
        ),
    ),
)
