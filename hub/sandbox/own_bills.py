"""What some people bring themselves: the month's bill of their wallet, as it exports it. Pure.

The file tells of rides and charges that were paid, by payment and order number, between everything else that a month costs.
"""

from collections.abc import Iterator
from typing import Any

from hub.sandbox import acts
from hub.sandbox.acts import BEIJING_TIME, Act
from hub.sandbox.people import Person
from hub.sandbox.town import Town

OWN_BILLS = "own-bills"
_MERCHANTS = {acts.BIKE: "哈啰单车", acts.METRO: "地铁", acts.CHARGE: "快电"}
_EVERY = 4  # so many people, one brings a bill
ALIPAY_HEADER = (
    "交易时间,交易分类,交易对方,对方账号,商品说明,收/支,金额,收/付款方式,交易状态,交易订单号,商家订单号,备注,"
)


def participant() -> dict[str, Any]:
    """Return the document that lets people bring bills; there is no platform behind it."""
    return {
        "id": OWN_BILLS, "name_zh": "本人账单", "name_en": "Own bills", "kind": "personal", "connector": "bill_csv",
        "stream": "payments", "mapping": "own-bills.payments.v1",
        "behaviours": ["MOB-BIKE", "MOB-EBIKE", "MOB-METRO", "MOB-BUS", "MOB-EVCHARGE"],
    }  # fmt: skip


def brings_bills(person: Person) -> bool:
    """Say whether a person brings a bill; only people who consent to anything do."""
    return bool(person.links) and person.index % _EVERY == 1


def bill_of(town: Town, person: Person) -> bytes:
    """Return the month's export: GB18030, a preamble, padded numbers."""
    lines = (*alipay_preamble(person.username), ALIPAY_HEADER, *_rows(town, person))
    return "".join(f"{line}\r\n" for line in lines).encode("gb18030")


def alipay_preamble(*about: str) -> list[str]:
    """Return the 21 lines before the table: the name of whoever exports it, and what else is said of them."""
    told = ["------------------------", "导出信息：", f"姓名：{about[0]}", *about[1:]]
    return [*told, *[""] * (21 - len(told))]


def _rows(town: Town, person: Person) -> Iterator[str]:
    for act in town.acts_of(person):
        if act.behaviour in _MERCHANTS and act.pay_no is not None:
            yield _row(act, _MERCHANTS[act.behaviour], "交通出行", act.pay_no, act.order_no)
        elif act.behaviour == acts.NO_TABLEWARE:
            yield _row(act, "一家面馆", "餐饮美食", f"42X{act.order_no}", act.order_no)


def _row(act: Act, merchant: str, kind: str, payment: str, order: str) -> str:
    paid_at = f"{act.end_at.astimezone(BEIJING_TIME):%Y-%m-%d %H:%M:%S}"
    return f"{paid_at},{kind},{merchant},x***@example.com,消费,支出,3.50,余额宝,交易成功,{payment}\t,\t{order}\t,,"
