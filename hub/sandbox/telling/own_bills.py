"""What stands in the bills that people bring: rides and charges that they paid, and what else a month costs. Pure.

Nobody in the town tells of these: people bring them, and the conformance suite lets them (`STAND_INS` in hub/sandbox/specs.py).
Half of the people have a wallet at Alipay and half at WeChat, whose exports differ in columns, words and encoding.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from hub.sandbox import acts
from hub.sandbox.acts import BEIJING_TIME, Act
from hub.sandbox.own_bills import OWN_BILLS
from hub.sandbox.people import Person, town_secret
from hub.sandbox.telling.report import Edition, Note, Odds, Report, acts_told, draw_editions, json_text, voice_of
from hub.sandbox.town import Town

Cells = dict[str, str]

_ODDS = Odds(late=0.05, replay=0.0, correction=0.04, cancellation=0.06)
_MERCHANTS: Mapping[str, tuple[str, str]] = {
    acts.BIKE: ("哈啰单车", "单车骑行"),
    acts.METRO: ("北京地铁", "地铁乘车码"),
    acts.BUS: ("深圳巴士集团", "公交乘车"),
    acts.CHARGE: ("快电充电服务", "充电订单"),
}
_LUNCH = ("街角的一家面馆", "午饭")
_GOODS_OF = "的消费"


@dataclass(frozen=True, slots=True, kw_only=True)
class Paid:
    """A payment as the wallet lists it today. `refunded`: nothing, a part, or all of it came back."""

    at: datetime
    merchant: str
    goods: str
    payment: str
    order: str
    refunded: Note


def service_of(person: int) -> str:
    """Return whose wallet a person has: the word with which the bill's payments are named."""
    return "wechat" if person % 2 else "alipay"


def account_of(seed: int, person: int) -> str:
    """Return the name under which a person's bills are known; it stands in the export, where anybody can edit it."""
    return "own-" + town_secret(seed, f"own-bills/{person}").hex()[:20]


def tell_own_bills(town: Town, person: Person) -> list[Report]:
    """Return what one person's wallet lists over the month: each payment once, and again when some of it came back."""
    rng, service = voice_of(town, OWN_BILLS, person), service_of(person.index)
    told: list[Report] = []
    for act in acts_told(town, person, frozenset({*_MERCHANTS, acts.NO_TABLEWARE})):
        listed_at = act.end_at + timedelta(minutes=5)
        # Alipay says of a refund only that it was one; WeChat says how much, so a part can come back too.
        editions = draw_editions(rng, town, listed_at, _ODDS, correctable=service == "wechat")
        told += [_report(town, person, act, one) for one in editions if _is_told(act, one)]
    return told + _troubles(town, person)


def _is_told(act: Act, edition: Edition) -> bool:
    return act.behaviour in _MERCHANTS or edition.version == 1  # a lunch that is paid back was none of ours before


def _report(town: Town, person: Person, act: Act, edition: Edition) -> Report:
    merchant, goods = _MERCHANTS.get(act.behaviour, _LUNCH)
    paid = Paid(
        at=act.end_at, merchant=merchant, goods=f"{goods} {person.username}{_GOODS_OF}",
        payment=act.pay_no or f"42X{act.order_no}", order=act.order_no, refunded=edition.note,
    )  # fmt: skip
    trouble = None if act.behaviour in _MERCHANTS else "missing_scene"
    return _row(town, person, act.act_id, paid, edition, _WRITERS[service_of(person.index)](paid), trouble)


def _row(
    town: Town, person: Person, act_id: int | None, paid: Paid, edition: Edition, cells: Cells, trouble: str | None
) -> Report:
    return Report(
        platform=OWN_BILLS,
        part=town.part_of(edition.delivered_at),
        person=person.index,
        account=account_of(town.seed, person.index),
        act_id=act_id,
        source_id=f"{service_of(person.index)}|{paid.payment}",
        version=edition.version,
        delivered_at=edition.delivered_at,
        body=json_text(cells),
        note=edition.note,
        trouble=trouble,
    )


def _write_alipay(paid: Paid) -> Cells:
    return {
        "交易时间": _time_text(paid.at),
        "交易分类": "交通出行",
        "交易对方": paid.merchant,
        "对方账号": "service***@example.com",
        "商品说明": paid.goods,
        "收/支": "支出",
        "金额": "3.50",
        "收/付款方式": "余额宝",
        "交易状态": "交易关闭" if paid.refunded is Note.CANCELLATION else "交易成功",
        "交易订单号": f"{paid.payment}\t",
        "商家订单号": f"\t{paid.order}\t",
        "备注": "",
        "": "",
    }


def _write_wechat(paid: Paid) -> Cells:
    status = {Note.CANCELLATION: "已全额退款", Note.CORRECTION: "已退款(￥1.00)"}
    return {
        "交易时间": _time_text(paid.at),
        "交易类型": "商户消费",
        "交易对方": paid.merchant,
        "商品": paid.goods,
        "收/支": "支出",
        "金额(元)": "¥3.50",
        "支付方式": "零钱",
        "当前状态": status.get(paid.refunded, "支付成功"),
        "交易单号": f"{paid.payment}\t",
        "商户单号": f"{paid.order}\t",
        "备注": "/",
    }


_WRITERS: Mapping[str, Callable[[Paid], Cells]] = {"alipay": _write_alipay, "wechat": _write_wechat}
_TROUBLES: Mapping[str, Mapping[str, Cells]] = {
    "alipay": {
        "no_reduction": {"收/支": "不计收支"},
        "not_final": {"交易状态": "等待付款"},
        "amount": {"金额": "1e5"},
    },
    "wechat": {
        "no_reduction": {"收/支": "收入", "交易类型": "微信红包"},
        "bad_time": {"交易时间": "2026/10/5 8:31"},
        "missing_source_id": {"交易单号": "\t"},
    },
}
"""By the hub's machine reason, what is otherwise in a row that nobody can count: bills are full of them."""


def _troubles(town: Town, person: Person) -> list[Report]:
    service = service_of(person.index)
    told = []
    for number, (trouble, changes) in enumerate(_TROUBLES[service].items()):
        at = town.starts_at + timedelta(days=1 + number, hours=4)
        paid = Paid(
            at=at, merchant="哈啰单车", goods=f"单车骑行 {person.username}{_GOODS_OF}", refunded=Note.PLAIN,
            payment=f"42T{person.index:05d}{number}", order=f"T{person.index:05d}{number}",
        )  # fmt: skip
        edition = Edition(version=1, posted_at=at, delivered_at=at, note=Note.MALFORMED)
        cells = _WRITERS[service](paid) | changes
        told.append(_row(town, person, None, paid, edition, cells, trouble))
    return told


def _time_text(at: datetime) -> str:
    return f"{at.astimezone(BEIJING_TIME):%Y-%m-%d %H:%M:%S}"
