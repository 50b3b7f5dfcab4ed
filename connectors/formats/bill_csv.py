"""A person's own bill exports, brought as a file: Alipay, WeChat, Meituan, JD; CSV, or a zip with one. Pure.

Such a file proves that something was paid, by a document that anybody can edit: its rows are declarations. Whose they are
is known outside, by who brought the file. Which service wrote it is told by its table's header, wherever in the first lines
that stands; encoding is UTF-8 or GB18030. Values are padded with blanks and tabs, which are taken off.

A row leaves with little: when, the two numbers, the service's words for kind, side and status, whether it was refunded, and
the merchant, if it is one of a closed list of transport and charging services. Counterparties, goods, accounts, remarks and
amounts stay here, because most of a bill is nobody's business; a refund that JD writes into the amount
(`131.77(已退款89.84)`) leaves as the word `part`.

Source: example files of the public double-entry-generator project (Apache-2.0) for the four services.
"""

import csv
import hashlib
import io
import json
import re
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from connectors.base import (
    Connector,
    Delivery,
    Description,
    Inbound,
    Outcome,
    Reply,
    Transport,
    Unreadable,
    outcome_reply,
    problem,
)
from connectors.config import Fields
from connectors.kind import Kind

HEADER_LINES = 64
MAX_RATIO = 200  # text of the same columns over and over presses well, but not better than this
MAX_CELL_CHARS = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """How one service names the columns that are read; None where it has none."""

    name: str
    paid_at: str
    kind: str | None
    texts: tuple[str, str]  # counterparty and goods: searched for a merchant, never handed on
    side: str
    status: str | None
    amount: str
    payment: str
    order: str


BILLS = (
    Bill(
        name="alipay", paid_at="交易时间", kind="交易分类", texts=("交易对方", "商品说明"), side="收/支",
        status="交易状态", amount="金额", payment="交易订单号", order="商家订单号",
    ),
    Bill(
        name="wechat", paid_at="交易时间", kind="交易类型", texts=("交易对方", "商品"), side="收/支",
        status="当前状态", amount="金额(元)", payment="交易单号", order="商户单号",
    ),
    Bill(
        name="meituan", paid_at="交易成功时间", kind="交易类型", texts=("订单标题", "订单标题"), side="收/支",
        status=None, amount="实付金额", payment="交易单号", order="商家单号",
    ),
    Bill(
        name="jd", paid_at="交易时间", kind="交易分类", texts=("商户名称", "交易说明"), side="收/支",
        status="交易状态", amount="金额", payment="交易订单号", order="商家订单号",
    ),
)  # fmt: skip

MERCHANTS: Mapping[str, str] = {
    word: merchant
    for merchant, words in {
        "哈啰单车": ("哈啰单车", "哈罗单车"),
        "美团单车": ("美团单车", "摩拜单车"),
        "青桔单车": ("青桔单车", "青桔骑行"),
        "哈啰助力车": ("哈啰助力车", "哈啰电单车"),
        "美团电单车": ("美团电单车",),
        "地铁": ("地铁乘车", "轨道交通乘车", "北京地铁", "上海地铁", "深圳地铁", "广州地铁", "武汉地铁", "成都地铁"),
        "公交": ("公交乘车", "北京公交", "深圳巴士", "广州公交", "上海公交", "武汉公交"),
        "快电": ("快电充电", "能链快电"),
        "特来电": ("特来电",),
        "星星充电": ("星星充电",),
        "小桔充电": ("小桔充电",),
        "e充电": ("国网电动汽车", "国家电网e充电"),
    }.items()
    for word in words
}
"""Words that only one kind of service uses. `充电` alone is none: people rent power banks."""

_AMOUNT = re.compile(r"[¥￥]?-?[0-9][0-9,]{0,12}(\.[0-9]{1,2})?")
_NOTE = re.compile(r"[(（].*[)）]\s*$")
_BRACKETS = str.maketrans("（）", "()")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """Where the table of a bill begins and where its columns are. `width` is how many cells a whole row has at least."""

    bill: Bill
    columns: Mapping[str, int]
    width: int
    first_line: int


class BillError(ValueError):
    """The file is no bill that can be read. `reason` is a stable code; `status` is that of the answer."""

    def __init__(self, reason: str, sentence: str, *, status: int = 400) -> None:
        super().__init__(reason)
        self.reason, self.sentence, self.status = reason, sentence, status


@dataclass(frozen=True, slots=True, kw_only=True)
class BillConfig:
    body_bytes: int = 8 * 1024 * 1024
    inflated_bytes: int = 64 * 1024 * 1024
    rows: int = 50_000


def parse_config(config: Mapping[str, object], secrets: Mapping[str, object]) -> BillConfig:
    with Fields(secrets, where="secrets"):
        pass
    with Fields(config, where="config") as fields:
        return BillConfig(
            body_bytes=fields.whole("body_bytes", default=8 << 20, least=1024, most=64 << 20),
            inflated_bytes=fields.whole("inflated_bytes", default=64 << 20, least=1024, most=512 << 20),
            rows=fields.whole("rows", default=50_000, least=1, most=500_000),
        )


class BillCsv(Connector):
    """Receiver of files that people bring."""

    def __init__(self, config: BillConfig) -> None:
        self._config = config

    def describe(self) -> Description:
        return Description(
            name="bill_csv",
            title="Own bill exports: Alipay, WeChat, Meituan, JD (CSV)",
            transport=Transport.UPLOAD,
            streams=("payments",),
            role="declared",
            official=True,
            id_stability="stable",
            finality="revisable",
            correction_mode="version",
            lateness_class="weeks",
            drops=("交易对方", "对方账号", "商品说明", "商品", "订单标题", "金额", "收/付款方式", "支付方式", "备注"),
        )

    def receive(self, request: Inbound, *, now: datetime) -> Delivery | Reply:
        if request.method != "POST":
            return problem(405, "method_not_allowed", "Files are posted.", headers={"allow": "POST"})
        if len(request.body) > self._config.body_bytes:
            return problem(413, "file_too_large", "The file is larger than can be taken.")
        try:
            entries = list(parse_bill(request.body, self._config))
        except BillError as error:
            return problem(error.status, error.reason, error.sentence)
        digest = hashlib.sha256(request.body).digest()
        return Delivery(
            delivery_id=digest.hex(),  # the same file brought again is the same delivery
            stream="payments",
            rows=tuple(entry for entry in entries if isinstance(entry, bytes)),
            digest=digest,
            unreadable=tuple(entry for entry in entries if isinstance(entry, Unreadable)),
        )

    def acknowledge(self, delivery: Delivery, outcome: Outcome) -> Reply:
        return outcome_reply(delivery, outcome)


def parse_bill(data: bytes, config: BillConfig) -> Iterator[bytes | Unreadable]:
    """Give the rows of a bill, or of the one bill in a zip.

    Raises:
        BillError: the file as a whole cannot be read.
    """
    if data.startswith(b"PK\x03\x04"):
        data = _unzipped(data, config.inflated_bytes)
    lines = _text(data).splitlines(keepends=True)
    table = _find_table(lines)
    reader = csv.reader(io.StringIO("".join(lines[table.first_line :]), newline=""), strict=True)
    try:
        rows = [cells for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error:
        raise BillError("bill_table", "The table of the file is damaged.") from None
    if len(rows) > config.rows:
        raise BillError("bill_too_many_rows", "The file has more rows than can be taken.", status=413)
    for position, cells in enumerate(rows):
        yield _write_row(table, cells, position)


def _unzipped(data: bytes, most: int) -> bytes:
    """Take the one CSV out of a zip; what it says of its sizes is checked, and its bytes are counted."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if "[Content_Types].xml" in archive.namelist():
                raise BillError("bill_xlsx", "The file is a workbook: save it as CSV first.", status=415)
            found = [entry for entry in archive.infolist() if entry.filename.lower().endswith(".csv")]
            if len(found) != 1 or len(archive.infolist()) > 16:
                raise BillError("zip_content", "The zip must hold exactly one CSV file.")
            entry = found[0]
            if entry.flag_bits & 0x1:
                raise BillError("zip_encrypted", "The zip has a password: unpack it first.")
            if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise BillError("zip_method", "The zip is pressed in a way that is not read here.")
            if entry.file_size > most or entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
                raise BillError("file_too_large", "The file in the zip is larger than can be taken.", status=413)
            with archive.open(entry) as file:
                text = file.read(most + 1)
    # Reading a zip of a stranger raises all of these; NotImplementedError is an unknown way of compression.
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError, RuntimeError) as error:
        if isinstance(error, BillError):
            raise
        raise BillError("zip_damaged", "The zip is damaged.") from None
    if len(text) > most:
        raise BillError("file_too_large", "The file in the zip is larger than can be taken.", status=413)
    return text


def _text(data: bytes) -> str:
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise BillError("bill_encoding", "The file is neither UTF-8 nor GB18030 text: export it as CSV.", status=415)


def _find_table(lines: Sequence[str]) -> _Table:
    for number, line in enumerate(lines[:HEADER_LINES]):
        if len(line) > MAX_CELL_CHARS:
            continue
        names = [cell.strip().strip('"') for cell in line.split(",")]
        for bill in BILLS:
            needed = {bill.paid_at, *bill.texts, bill.side, bill.amount, bill.payment, bill.order}
            needed |= {name for name in (bill.kind, bill.status) if name is not None}
            if needed <= set(names):
                return _Table(
                    bill=bill,
                    columns={name: names.index(name) for name in needed},
                    width=max(place for place, name in enumerate(names, start=1) if name),
                    first_line=number + 1,
                )
    raise BillError("bill_unknown", "The file has no table of a bill that is known here.", status=415)


def _write_row(table: _Table, cells: Sequence[str], position: int) -> bytes | Unreadable:
    # Every named column is asked for, also those that are not read: a file that was cut ends in half a number, and half
    # an order number looks like a whole one until the cell after it is missing.
    if len(cells) < table.width or max(map(len, cells)) > MAX_CELL_CHARS:
        return Unreadable(position=position, reason="field_count", detail="The row does not have the table's fields.")
    bill, told = table.bill, {name: cells[place].strip() for name, place in table.columns.items()}
    amount, status = told[bill.amount].translate(_BRACKETS), told[bill.status] if bill.status else ""
    if not _AMOUNT.fullmatch(_NOTE.sub("", amount)):
        return Unreadable(position=position, reason="amount", detail="The row's amount is not written as one.")
    row = {
        "bill": bill.name,
        "paid_at": told[bill.paid_at] or None,
        "kind": (told[bill.kind] if bill.kind else "") or None,
        "merchant": _find_merchant(f"{told[bill.texts[0]]}\n{told[bill.texts[1]]}"),
        "side": told[bill.side] or None,
        "status": _NOTE.sub("", status).strip() or None,
        "refund": _tell_refund(amount, status),
        "payment": told[bill.payment] or None,
        "order": told[bill.order].strip("/") or None,
    }
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()


def _find_merchant(text: str) -> str | None:
    """Name the merchant if exactly one is meant."""
    found = {merchant for word, merchant in MERCHANTS.items() if word in text}
    return found.pop() if len(found) == 1 else None


def _tell_refund(amount: str, status: str) -> str:
    if "全额退款" in amount + status or status == "交易关闭":
        return "full"
    return "part" if "退款" in amount + status else "none"


KIND = Kind(
    name="bill_csv",
    transport=Transport.UPLOAD,
    profile=False,
    secrets=(),
    build=lambda config, secrets: BillCsv(parse_config(config, secrets)),
)
