"""`check_charge_orders` of T/CEC 102: a charging operator's list of a day's orders, and which of them are disputed. Pure.

The operator posts `{CheckOrderSeq, StartTime, EndTime, OrderCount, TotalOrderPower, TotalOrderMoney, ChargeOrders[]}`
and is answered with the orders on which both sides differ. A list whose own count or sum of energy does not fit its
lines is no statement at all. Times are Beijing time, both ends of a day told (00:00:00 and 23:59:59). The hub keeps no
money and disputes none; what an order cost is echoed as it was told.

Source: T/CEC 102.2; field names and an example day of public implementations, also for DisputeReason (1 there is no such
order, 2 money, 3 energy), whose numbers are an assumption.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from connectors.formats.tcec_envelope import ZONE, EnvelopeError, Opened, Ret, find_member, require_text
from connectors.statements import Dispute, Statement, StatementLine
from connectors.strict_json import MalformedJsonError, parse_object, raw_member, split_records

ORDERS = ("ChargeOrders", "chargeOrders")
MAX_LINES = 10_000
_ID = re.compile(r"[\x21-\x7e]{1,64}")
_NUMBER = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,6})?")
_TIME = "%Y-%m-%d %H:%M:%S"
_REASONS = {"unknown": 1, "quantity": 3}


def parse_statement(opened: Opened, *, stream: str) -> Statement:
    """Read the decrypted text of a `check_charge_orders`.

    Raises:
        EnvelopeError: 4004, it is not of the standard's form or contradicts itself.
    """
    try:
        rows, rest = split_orders(opened.text)
        statement_id = require_text(rest, "CheckOrderSeq")
        period = require_text(rest, "StartTime"), require_text(rest, "EndTime")
        since, last = (_parse_time(text) for text in period)
        count = find_member(rest, "OrderCount")
        total = _micro(opened.text, "TotalOrderPower")
        lines = tuple(_parse_line(row) for row in rows)
    except (MalformedJsonError, KeyError):
        raise EnvelopeError(Ret.BUSINESS, "Data is not a list of charge orders of the standard's form.") from None
    if not _ID.fullmatch(statement_id) or last < since:
        raise EnvelopeError(Ret.BUSINESS, "CheckOrderSeq or the time is not well formed.")
    if isinstance(count, bool) or count != len(lines) or total != sum(line.quantity_micro for line in lines):
        raise EnvelopeError(Ret.BUSINESS, "OrderCount or TotalOrderPower does not fit the orders.")
    if len({line.source_id for line in lines}) != len(lines):
        raise EnvelopeError(Ret.BUSINESS, "An order is told twice.")
    return Statement(
        statement_id=statement_id,
        stream=stream,
        since=since,
        until=last + timedelta(seconds=1),
        period=period,
        lines=lines,
        digest=hashlib.sha256(opened.text).digest(),
    )


def write_disputes(statement: Statement, disputes: Sequence[Dispute]) -> dict[str, Any]:
    """Return the Data of the answer."""
    orders = [_disputed(dispute) for dispute in disputes]
    return {
        "CheckOrderSeq": statement.statement_id,
        "StartTime": statement.period[0],
        "EndTime": statement.period[1],
        "TotalDisputeOrder": len(orders),
        "TotalDisputePower": float(sum(Decimal(str(order["TotalPower"])) for order in orders)),
        "TotalDisputeMoney": float(sum(Decimal(str(order.get("TotalMoney", 0))) for order in orders)),
        "DisputeOrders": orders,
    }


def split_orders(text: bytes) -> tuple[tuple[bytes, ...], Mapping[str, Any]]:
    """Take a text apart into its orders as they were written and the other members; either spelling, but not both.

    Raises:
        MalformedJsonError: also where an order is itself badly written, because a list that lacks one is another list.
    """
    split = None
    for name in ORDERS:
        try:
            split = split_records(text, name)
            break
        except MalformedJsonError as malformed:
            if malformed.reason != "no_records":
                raise
    if split is None or any(name in split.rest for name in ORDERS):
        raise MalformedJsonError("no_records")
    if split.unreadable:
        raise MalformedJsonError(split.unreadable[0].reason)
    if len(split.rows) > MAX_LINES:
        raise MalformedJsonError("too_many_records")
    return split.rows, split.rest


def _parse_line(row: bytes) -> StatementLine:
    source_id = require_text(parse_object(row), "StartChargeSeq")
    if not _ID.fullmatch(source_id):
        raise MalformedJsonError("order_id")
    return StatementLine(source_id=source_id, quantity_micro=_micro(row, "TotalPower"), row=row)


def _micro(text: bytes, name: str) -> int:
    """Read a number exactly as it was written, never through a float."""
    document = parse_object(text)
    find_member(document, name)  # once, in one spelling
    spelt = next(key for key in document if key.lower() == name.lower())
    written = raw_member(text, spelt).decode().strip('"')
    if not _NUMBER.fullmatch(written):
        raise MalformedJsonError("number")
    return int(Decimal(written).scaleb(6))


def _parse_time(text: str) -> datetime:
    try:
        moment = datetime.strptime(text, _TIME)
    except ValueError:
        raise MalformedJsonError("time") from None
    return moment.replace(tzinfo=ZONE)


def _disputed(dispute: Dispute) -> dict[str, Any]:
    told = parse_object(dispute.line.row)
    order: dict[str, Any] = {"StartChargeSeq": dispute.line.source_id}
    for name in ("TotalPower", "TotalMoney"):
        found = [value for key, value in told.items() if key.lower() == name.lower()]
        is_number = found and _NUMBER.fullmatch(str(found[0])) is not None
        if is_number:
            order[name] = found[0]
    return order | {"DisputeReason": _REASONS[dispute.why]}
