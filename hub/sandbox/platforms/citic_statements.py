"""citic-carbon's bank statements: camt.053 messages by signed drop, one statement for every account and part. I/O: files."""

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

from hub.sandbox.people import CITIC
from hub.sandbox.platforms.profile_drop import DropVoice, drop_feed
from hub.sandbox.platforms.spec import Feed
from hub.sandbox.reports import Report
from hub.sandbox.telling.citic_statements import STREAM

_NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"
_FEN = {"4111": 400, "4131": 200, "5552": 3650}
_OPENING_FEN = 1_000_000


class CiticStatements(DropVoice):
    """The bank's side: statements that add up and are counted, also of an account on which nothing moved."""

    numbers_versions = False
    told_stream = STREAM
    tampering = (b"<Cd>BOOK</Cd>", b"<Cd>INFO</Cd>")

    def files(self, part: int, rows: tuple[Report, ...]) -> dict[str, tuple[bytes, int]]:
        entries: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
        for row in rows:
            entries[row.account].append(json.loads(row.body))
        accounts = [person.accounts[CITIC] for person in self.site.reports.town.people if CITIC in person.accounts]
        statements = [_statement(account, part, entries[account]) for account in accounts]
        text = (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Document xmlns="{_NAMESPACE}"><BkToCstmrStmt>\n'
            f"<GrpHdr><MsgId>M-{part}</MsgId></GrpHdr>\n{''.join(statements)}</BkToCstmrStmt></Document>\n"
        )
        return {"statements.xml": (text.encode(), len(statements))}


def _statement(account: str, number: int, entries: list[Mapping[str, Any]]) -> str:
    moved = sum(_fen(entry) for entry in entries if entry["status"] == "BOOK")
    return (
        f"<Stmt><Id>{account}-{number}</Id><ElctrncSeqNb>{number}</ElctrncSeqNb>"
        f"<Acct><Id><Othr><Id>{account}</Id></Othr></Id><Ownr><Nm>账户持有人</Nm></Ownr></Acct>"
        f"{_balance('OPBD', _OPENING_FEN)}{_balance('CLBD', _OPENING_FEN + moved)}\n"
        f"{''.join(_entry(entry) for entry in entries)}</Stmt>\n"
    )


def _balance(code: str, fen: int) -> str:
    return f"<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp>{_money(fen)}</Bal>"


def _fen(entry: Mapping[str, Any]) -> int:
    return _FEN.get(entry["mcc"] or "", 5_000) * (1 if entry["side"] == "CRDT" else -1)


def _money(fen: int) -> str:
    side = "CRDT" if fen >= 0 else "DBIT"
    return f'<Amt Ccy="CNY">{abs(fen) // 100}.{abs(fen) % 100:02d}</Amt><CdtDbtInd>{side}</CdtDbtInd>'


def _entry(entry: Mapping[str, Any]) -> str:
    reversal = "<RvslInd>true</RvslInd>" if entry["reversal"] == "true" else ""
    paid = f"<RltdDts><TxDtTm>{entry['paid_at']}</TxDtTm></RltdDts>" if entry["paid_at"] else ""
    code = f"<RltdCard><MrchntCtgyCd>{entry['mcc']}</MrchntCtgyCd></RltdCard>" if entry["mcc"] else ""
    order = escape(entry["order"] or "NOTPROVIDED")
    return (
        f"<Ntry><NtryRef>{entry['entry']}</NtryRef>{_money(_fen(entry))}{reversal}<Sts><Cd>{entry['status']}</Cd></Sts>"
        f"<BookgDt><Dt>{entry['booked']}</Dt></BookgDt><AcctSvcrRef>{entry['reference']}</AcctSvcrRef>"
        f"<NtryDtls><TxDtls><Refs><EndToEndId>{order}</EndToEndId><TxId>{entry['payment']}</TxId></Refs>"
        f"<RltdPties><Cdtr><Pty><Nm>某商户</Nm></Pty></Cdtr></RltdPties>{paid}{code}</TxDtls></NtryDtls></Ntry>\n"
    )


def statements_feed() -> Feed:
    """Return the feed, for the bank's list of feeds."""
    return drop_feed(CiticStatements, connector="camt053", first=False)
