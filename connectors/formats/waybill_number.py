"""One parcel, one number: what two reporters of an electronic waybill must agree on. Pure.

A waybill number is unique only within its courier, and every platform has its own codes for couriers: a waybill is
`CODE:NUMBER` in capitals, without the blanks and hyphens that labels are printed with. Others who tell of the parcel (a
shop, a city) mostly know the number alone.

Source: courier codes of WeChat Logistics (`delivery_id`) and of Kuaidi100 (`kuaidicom`).
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

_CODE = re.compile(r"[0-9A-Za-z_]{1,32}")
_NUMBER = re.compile(r"[0-9A-Z]{6,40}")
_PRINTED = re.compile(r"[ \t-]+")

# By the codes of WeChat Logistics; a courier that both write alike needs no line.
_SAME: Mapping[str, str] = MappingProxyType(
    {
        "SHUNFENG": "SF",
        "ZHONGTONG": "ZTO",
        "YUANTONG": "YTO",
        "SHENTONG": "STO",
        "HUITONGKUAIDI": "BEST",
        "DEBANGKUAIDI": "DB",
        "DEBANGWULIU": "DB",
        "JTEXPRESS": "JTSD",
        "YOUZHENGGUONEI": "EMS",
    }
)


def normalise_waybill(courier: object, number: object) -> str | None:
    """Write a waybill's number so that every reporter of it gets the same; None if one part is not well formed.

    Example:
        >>> normalise_waybill("SF", "SF 1234-5678-9012"), normalise_waybill("shunfeng", "sf123456789012")
        ('SF:SF123456789012', 'SF:SF123456789012')
    """
    if not isinstance(courier, str) or not isinstance(number, str) or len(number) > 80:
        return None
    if not _CODE.fullmatch(courier) or not number.isascii():
        return None
    code = courier.upper()
    written = _PRINTED.sub("", number).upper()
    return f"{_SAME.get(code, code)}:{written}" if _NUMBER.fullmatch(written) else None
