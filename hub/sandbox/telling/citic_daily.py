"""citic-carbon tells its acts once more, in the file of the day: the same numbers, in the custom of bank files. Pure."""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from hub.sandbox.people import Person
from hub.sandbox.telling.citic import tell_citic
from hub.sandbox.telling.gathered import cells, kilograms_or_none, local_text
from hub.sandbox.telling.report import Note, Report, json_text
from hub.sandbox.town import Town

STREAM = "daily"
_WRITTEN_LATER = timedelta(hours=1)
_TYPES = {
    "BIKE_PAY": "0101",
    "METRO_PAY": "0102",
    "CHARGE_PAY": "0103",
    "E_CARD": "0201",
    "E_STATEMENT": "0202",
    "BILL_PAY": "0203",
}


def tell_citic_daily(town: Town, person: Person) -> list[Report]:
    """Return what the daily files have of one person: every version of an entry once, after the booking run."""
    told = [row for row in tell_citic(town, person) if row.trouble is None and row.note is not Note.REPLAY]
    return [_entry(town, row) for row in told]


def _entry(town: Town, listed: Report) -> Report:
    written_at = listed.delivered_at + _WRITTEN_LATER
    row = cells(_row(json.loads(listed.body), listed))
    return replace(listed, stream=STREAM, body=json_text(row), delivered_at=written_at, part=town.part_of(written_at))


def _row(act: dict[str, Any], listed: Report) -> dict[str, Any]:
    return {
        "TXN_ID": act["cardTransactionId"],
        "TXN_VER": act["version"],
        "ACCT_ID": act["accountId"],
        "CARD_NO": act["maskedPan"],
        "CUST_NAME": "信*",
        "MOBILE": "138****0000",
        "BIZ_TYPE": _TYPES[act["type"]],
        "TXN_TIME": act["transactionTime"],
        "TXN_AMT": act["amount"],
        "MCHT_NAME": None,
        "MCHT_ORDER_NO": act["merchantOrderNo"],
        "PAY_NO": act["payNo"],
        "CARBON_KG": None if act["carbonG"] is None else kilograms_or_none(listed.claimed_mg),
        "TXN_STS": "R" if act["status"] == "REVERSED" else "N",
        "UPD_TIME": local_text(datetime.fromisoformat(act["updatedAt"])),
    }
