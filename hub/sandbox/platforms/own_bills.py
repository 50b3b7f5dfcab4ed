"""People who bring their wallet's bills: no platform, but files that are posted for the person who is signed in. I/O: network.

Each time that something is new a person exports the month so far, as wallets do it: the file holds everything that
an earlier one held, each payment as it stands now.
"""

import csv
import io
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from hub.sandbox.own_bills import ALIPAY_HEADER, OWN_BILLS, alipay_preamble, participant
from hub.sandbox.platforms.courier import Courier
from hub.sandbox.platforms.faults import Fault
from hub.sandbox.platforms.site import Tally, Voice
from hub.sandbox.platforms.spec import Feed, Spec
from hub.sandbox.reports import Report
from hub.sandbox.telling.own_bills import service_of

_WECHAT_HEADER = "交易时间,交易类型,交易对方,商品,收/支,金额(元),支付方式,当前状态,交易单号,商户单号,备注"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """How a wallet writes its export."""

    header: str
    encoding: str
    line_end: str

    @property
    def columns(self) -> list[str]:
        return self.header.split(",")


_FORMS: Mapping[str, _Form] = {
    "alipay": _Form(header=ALIPAY_HEADER, encoding="gb18030", line_end="\r\n"),
    "wechat": _Form(header=_WECHAT_HEADER, encoding="utf-8-sig", line_end="\n"),
}


class OwnBills(Voice):
    """The phones of people who bring bills."""

    async def deliver(self, part: int) -> Tally:
        tally = Tally()
        async with Courier() as courier:
            for account, rows in self._exports(part).items():
                body = write_export(rows)
                for _ in range(2 if self.faults.take(Fault.DUPLICATES) else 1):
                    answer = await courier.post(self._address(), body, {"authorization": f"Bearer {account}"})
                    is_taken = answer is not None and answer.is_success
                    tally.add(
                        Tally(
                            deliveries=1,
                            rows=len(rows) if is_taken else 0,
                            taken=int(is_taken),
                            refused=int(answer is not None and answer.is_client_error),
                            failed=int(answer is None or answer.is_server_error),
                        )
                    )
        return tally

    def _address(self) -> str:
        return f"{self.site.hub_url}/v1/uploads/{self.site.platform}"

    def _exports(self, part: int) -> dict[str, list[Report]]:
        """Return by account the month so far, of people who have something new in a part: each payment as it stands."""
        listed: dict[str, dict[str, Report]] = defaultdict(dict)
        for row in self.site.reports.told_by(self.site.platform, stream=self.stream):
            if row.part <= part:
                listed[row.account][row.source_id] = row
        new = {row.account for row in self.rows(part)}
        return {account: list(rows.values()) for account, rows in listed.items() if account in new}


def write_export(rows: Sequence[Report]) -> bytes:
    """Return one person's export, preamble and table, as the person's wallet writes it."""
    name = service_of(rows[0].person)
    form, about = _FORMS[name], rows[0].account
    if name == "alipay":
        before = alipay_preamble("王小明", f"支付宝账户：{about}")
    else:
        padding = "," * 8
        before = [f"微信支付账单明细{padding}", f"微信昵称：[{about}]{padding}", *[f",{padding}"] * 14]
    table = [_line(_cells(form, row)) for row in rows]
    return "".join(f"{line}{form.line_end}" for line in (*before, form.header, *table)).encode(form.encoding)


def _cells(form: _Form, row: Report) -> list[str]:
    """Return a row's cells in the order of the columns; what has no column stands behind them, what is no row alone."""
    told: Any = json.loads(row.body)
    if not isinstance(told, dict):
        return [row.body]
    behind = [_text(value) for name, value in told.items() if name not in form.columns]
    return [*(_text(told.get(name)) for name in form.columns), *behind]


def _text(value: object) -> str:
    return "" if value is None else str(value)


def _line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(cells)
    return text.getvalue()


_DOCUMENT = participant()
SPEC = Spec(
    id=OWN_BILLS,
    name_zh=_DOCUMENT["name_zh"],
    name_en=_DOCUMENT["name_en"],
    kind=_DOCUMENT["kind"],
    behaviours=tuple(_DOCUMENT["behaviours"]),
    signs_in=False,
    feeds=(
        Feed(
            stream=_DOCUMENT["stream"],
            connector=_DOCUMENT["connector"],
            voice=OwnBills,
            config=lambda place: {},
        ),
    ),
)
