"""shenzhen-transit: writes signed drops of card records into a directory, and has a sign-in. I/O: files, HTTP in."""

import json
from collections.abc import Sequence

from hub.sandbox.platforms.profile_drop import DropVoice, PartOutOfOrderError, drop_agreed, drop_feed, public_key_of
from hub.sandbox.platforms.spec import Spec
from hub.sandbox.registers import SHENZHEN
from hub.sandbox.reports import Report

__all__ = ["SPEC", "PartOutOfOrderError", "ShenzhenTransit", "public_key_of"]


class ShenzhenTransit(DropVoice):
    """The operator's side of the signed file drop profile: not rides, but the taps of all cards in the order of time."""

    numbers_versions = False
    told_stream = "trips"
    file_name = "cards.jsonl"
    tampering = (b'"deal_money":"', b'"deal_money":"9')

    def version_of(self, row: Report) -> int | None:
        # Nothing of a card record ever changes: what is told again with other words the hub sets aside.
        return 0 if row.version == 1 else None

    def lines(self, rows: tuple[Report, ...]) -> list[str]:
        taps = [line for row in rows for line in row.lines]
        return sorted(taps, key=lambda line: (json.loads(line)["deal_date"], line))

    def count(self, lines: Sequence[str]) -> int:
        return len(lines)


SPEC = Spec(
    id=SHENZHEN,
    name_zh="深圳公共交通（模拟）",
    name_en="Shenzhen public transport (simulated)",
    kind="data_source",
    behaviours=("MOB-METRO", "MOB-BUS"),
    agreed=drop_agreed("shenzhen"),
    feeds=(drop_feed(ShenzhenTransit, connector="szt_card"),),
)
