"""Own bill exports: four services' tables as they really come, and files that are none."""

import io
import json
import zipfile
from datetime import UTC, datetime
from typing import Any

import pytest

from connectors.base import Delivery, Inbound, Outcome, Reply
from connectors.formats.bill_csv import BILLS, MERCHANTS, BillCsv, parse_config

NOW = datetime(2026, 10, 6, 1, 0, tzinfo=UTC)

# Tables rebuilt from the known shapes: preamble, header, padding. Names and numbers are made up.
ALIPAY = (
    "------------------------\r\n导出信息：\r\n姓名：王小明\r\n支付宝账户：canary@example.com\r\n" + "\r\n" * 17
    + "------------------------支付宝（中国）网络技术有限公司  电子客户回单------------------------\r\n"
    "交易时间,交易分类,交易对方,对方账号,商品说明,收/支,金额,收/付款方式,交易状态,交易订单号,商家订单号,备注,\r\n"
    "2026-10-05 08:31:10,交通出行,哈啰单车,canary***@h.com,单车骑行,支出,1.50,余额宝,交易成功,"
    "2026100522001476\t,\tMB7788990011\t,,\r\n"
    "2026-10-05 12:00:00,餐饮美食,王小明的店,/,午饭 canary,支出,32.00,余额,交易成功,2026100522001477\t,\t,,\r\n"
    "2026-10-05 18:10:00,充值缴费,怪兽充电,/,充电宝,支出,3.00,余额,交易成功,2026100522001478\t,\tX1\t,,\r\n"
    "2026-10-05 19:10:00,交通出行,北京地铁,/,地铁乘车码,支出,4.00,余额,交易关闭,2026100522001479\t,\tX2\t,,\r\n"
)  # fmt: skip
WECHAT = (
    "微信支付账单明细,,,,,,,,\n微信昵称：[canary],,,,,,,,\n" + ",,,,,,,,\n" * 13
    + "----------------------微信支付账单明细列表--------------------,,,,,,,,\n"
    "交易时间,交易类型,交易对方,商品,收/支,金额(元),支付方式,当前状态,交易单号,商户单号,备注\n"
    '2026-10-05 09:00:00,商户消费,星星充电,"充电费,canary",支出,¥31.50,零钱,支付成功,"4200001\t","SC01\t","/"\n'
    '2026-10-05 09:30:00,商户消费,深圳巴士集团,公交乘车,支出,¥2.00,零钱,已退款(￥1.00),"4200002\t","B2\t","/"\n'
    '2026-10-05 09:40:00,商户消费,深圳地铁,乘车,支出,¥5.00,零钱,已全额退款,"4200003\t","/","/"\n'
    '2026-10-05 10:00:00,微信红包,李四 canary,/,收入,¥100.00,/,已存入零钱,"1000001\t","/","/"\n'
)  # fmt: skip
MEITUAN = (
    "\ufeff美团交易账单明细\n\n"
    "交易创建时间,交易成功时间,交易类型,订单标题,收/支,支付方式,订单金额,实付金额,交易单号,商家单号,备注\n"
    "2026-10-05 08:00:00,2026-10-05 08:20:00,支付,美团单车骑行,支出,美团支付,¥1.50,¥1.00,26100500001,MT01,\n"
    "2026-10-05 12:00:00,2026-10-05 12:00:05,支付,黄焖鸡 canary,支出,美团支付,¥25.00,¥19.00,26100500002,MT02,\n"
)
JD = (
    "导出信息：\n京东账号名：canary\n\n"
    "交易时间,商户名称,交易说明,金额,收/付款方式,交易状态,收/支,交易分类,交易订单号,商家订单号,备注\n"
    "2026-10-05 08:00:00\t,特来电,充电订单,131.77(已退款89.84),银行卡,交易成功,支出,交通出行,9001\t,T01\t,\n"
    "2026-10-05 09:00:00\t,特来电,充电订单,20.00(已全额退款),银行卡,交易成功,支出,交通出行,9002\t,T02\t,\n"
    '2026-10-05 10:00:00\t,京东自营 canary,手机,"1,131.77",银行卡,交易成功,支出,数码,9003\t,T03\t,\n'
)


def receive(body: bytes, *, method: str = "POST", **config: Any) -> Delivery | Reply:
    return BillCsv(parse_config(config, {})).receive(Inbound(method=method, path="/bills", body=body), now=NOW)


def rows_in(body: bytes) -> list[dict[str, Any]]:
    delivery = receive(body)
    assert isinstance(delivery, Delivery)
    assert delivery.unreadable == ()
    return [json.loads(row) for row in delivery.rows]


def told(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(row["merchant"], row["side"], row["status"], row["refund"], row["payment"], row["order"]) for row in rows]


def test_alipay_in_gb18030_behind_its_preamble() -> None:
    rows = rows_in(ALIPAY.encode("gb18030"))
    assert rows[0] == {
        "bill": "alipay", "paid_at": "2026-10-05 08:31:10", "kind": "交通出行", "merchant": "哈啰单车", "side": "支出",
        "status": "交易成功", "refund": "none", "payment": "2026100522001476", "order": "MB7788990011",
    }  # fmt: skip
    assert told(rows)[1:] == [
        (None, "支出", "交易成功", "none", "2026100522001477", None),
        (None, "支出", "交易成功", "none", "2026100522001478", "X1"),  # a power bank is no car
        ("地铁", "支出", "交易关闭", "full", "2026100522001479", "X2"),
    ]


def test_wechat_with_yuan_signs_tabs_and_refunds_in_the_status() -> None:
    assert told(rows_in(WECHAT.encode())) == [
        ("星星充电", "支出", "支付成功", "none", "4200001", "SC01"),
        ("公交", "支出", "已退款", "part", "4200002", "B2"),
        ("地铁", "支出", "已全额退款", "full", "4200003", None),
        (None, "收入", "已存入零钱", "none", "1000001", None),
    ]


def test_meituan_with_a_byte_order_mark_and_no_status() -> None:
    rows = rows_in(MEITUAN.encode())
    assert told(rows) == [
        ("美团单车", "支出", None, "none", "26100500001", "MT01"),
        (None, "支出", None, "none", "26100500002", "MT02"),
    ]
    assert rows[0]["paid_at"] == "2026-10-05 08:20:00"


def test_jd_with_refunds_in_the_amount() -> None:
    assert told(rows_in(JD.encode())) == [
        ("特来电", "支出", "交易成功", "part", "9001", "T01"),
        ("特来电", "支出", "交易成功", "full", "9002", "T02"),
        (None, "支出", "交易成功", "none", "9003", "T03"),
    ]


@pytest.mark.parametrize("text", [ALIPAY, WECHAT, MEITUAN, JD], ids=[bill.name for bill in BILLS])
@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_no_name_no_goods_and_no_amount_leaves(text: str, encoding: str) -> None:
    delivery = receive(text.encode(encoding))
    assert isinstance(delivery, Delivery)
    handed_on = b"".join(delivery.rows).decode()
    assert not any(word in handed_on for word in ("canary", "小明", "131.77", "31.50", "1.50", "89.84"))
    assert delivery.account is None  # whoever brought the file is known outside


def test_the_same_file_is_the_same_delivery() -> None:
    first, second = receive(JD.encode()), receive(JD.encode())
    assert first == second
    assert isinstance(first, Delivery)
    assert first.delivery_id == first.digest.hex()
    answer = BillCsv(parse_config({}, {})).acknowledge(first, Outcome(accepted=2))
    assert (answer.status, json.loads(answer.body)["accepted"]) == (200, 2)


def packed(files: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def test_a_zip_of_one_csv_is_read_like_the_csv() -> None:
    whole = packed({"账单.csv": JD.encode(), "说明.txt": b"x"})
    delivery, plain = receive(whole), receive(JD.encode())
    assert isinstance(delivery, Delivery)
    assert isinstance(plain, Delivery)
    assert delivery.rows == plain.rows


def encrypted() -> bytes:
    data = bytearray(packed({"a.csv": JD.encode()}))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


REFUSED = [
    (b"", 415, "bill_unknown"),
    (b"a,b\n1,2\n", 415, "bill_unknown"),
    (b"\xff\xff\xff", 415, "bill_encoding"),
    (bytes(100), 415, "bill_encoding"),
    (("x\n" * 70 + JD).encode(), 415, "bill_unknown"),
    ((JD + '2026,"x\n').encode(), 400, "bill_table"),
    (b"PK\x03\x04" + bytes(50), 400, "zip_damaged"),
    (packed({"a.csv": JD.encode()})[:-30], 400, "zip_damaged"),
    (packed({"a.csv": JD.encode()}).replace(JD.encode()[:1], b"\0", 1)[:200], 400, "zip_damaged"),
    (packed({"a.csv": JD.encode(), "b.csv": b""}), 400, "zip_content"),
    (packed({"a.txt": JD.encode()}), 400, "zip_content"),
    (packed({"[Content_Types].xml": b"", "xl/workbook.xml": b""}), 415, "bill_xlsx"),  # newer exports of WeChat
    (packed({f"{number}.txt": b"" for number in range(20)} | {"a.csv": b""}), 400, "zip_content"),
    (packed({"a.csv": JD.encode()}, method=zipfile.ZIP_LZMA), 400, "zip_method"),
    (encrypted(), 400, "zip_encrypted"),
    (packed({"a.csv": bytes(1 << 20)}), 413, "file_too_large"),
    (b"PK\x03\x04" + bytes(9 << 20), 413, "file_too_large"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status", "reason"), REFUSED, ids=[f"{i}-{c[2]}" for i, c in enumerate(REFUSED)])
def test_a_file_that_is_no_bill_is_answered_with_what_is_wrong(body: bytes, status: int, reason: str) -> None:
    answer = receive(body)
    assert isinstance(answer, Reply)
    assert (answer.status, json.loads(answer.body)["type"]) == (status, f"urn:tanlian:problem:{reason}")


def test_bounds_of_rows_bytes_and_methods() -> None:
    answer = receive(JD.encode(), rows=2)
    assert isinstance(answer, Reply)
    assert answer.status == 413
    answer = receive(packed({"a.csv": JD.encode() + b"\n" * 2000}), inflated_bytes=1024)
    assert isinstance(answer, Reply)
    assert answer.status == 413
    answer = receive(JD.encode(), method="GET")
    assert isinstance(answer, Reply)
    assert answer.status == 405


def test_a_row_that_cannot_be_read_keeps_its_place() -> None:
    bad = "2026-10-05 08:00:00,特来电\n2026-10-05 08:00:00,特来电,x,1e5,y,交易成功,支出,z,9,9,\n"
    delivery = receive((JD + bad).encode())
    assert isinstance(delivery, Delivery)
    assert [(row.position, row.reason) for row in delivery.unreadable] == [(3, "field_count"), (4, "amount")]


@pytest.mark.parametrize("text", [ALIPAY, WECHAT, MEITUAN, JD], ids=[bill.name for bill in BILLS])
@pytest.mark.parametrize("encoding", ["utf-8", "gb18030"])
def test_a_file_that_was_cut_brings_no_half_number(text: str, encoding: str) -> None:
    whole = receive(text.encode(encoding))
    assert isinstance(whole, Delivery)
    body, last = text.encode(encoding), 0
    for end in range(len(body) - 300, len(body)):
        answer = receive(body[:end])
        if isinstance(answer, Delivery):
            assert set(answer.rows) <= set(whole.rows)
            last = len(answer.rows)
    assert last == len(whole.rows)  # only the end of the last line was missing


def test_a_text_that_names_two_merchants_names_none() -> None:
    text = JD.replace("特来电,充电订单,20", "特来电,星星充电 充电订单,20")
    assert rows_in(text.encode())[1]["merchant"] is None
    assert not any(word == "充电" for word in MERCHANTS)
