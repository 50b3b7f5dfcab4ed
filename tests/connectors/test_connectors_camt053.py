"""camt.053.001.08: statements that add up, follow each other, and leave names and amounts behind."""

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from connectors.base import Cursor, Page, SetAside
from connectors.clients.drop_writer import DropWriter
from connectors.formats.camt053 import build_camt053, parse_camt053, parse_config

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NOW = datetime(2026, 10, 6, 1, 0, tzinfo=UTC)
NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"
METRO = """<Ntry><NtryRef>1</NtryRef><Amt Ccy="CNY">4.00</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>
<BookgDt><Dt>2026-10-05</Dt></BookgDt><AcctSvcrRef>B-1</AcctSvcrRef><AddtlNtryInf>王小明 canary</AddtlNtryInf>
<NtryDtls><TxDtls><Refs><EndToEndId>MT-77</EndToEndId><TxId>PAY-55</TxId></Refs>
<RltdPties><Dbtr><Pty><Nm>canary name</Nm></Pty></Dbtr>
<CdtrAcct><Id><IBAN>DE02120300000000202051</IBAN></Id></CdtrAcct></RltdPties>
<RmtInf><Ustrd>canary text</Ustrd></RmtInf><RltdDts><TxDtTm>2026-10-05T08:31:10+08:00</TxDtTm></RltdDts>
<RltdCard><MrchntCtgyCd>4111</MrchntCtgyCd></RltdCard></TxDtls></NtryDtls></Ntry>"""
CHARGE = """<Ntry><NtryRef>2</NtryRef><Amt Ccy="CNY">31.50</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>
<BookgDt><DtTm>2026-10-05T23:00:00+08:00</DtTm></BookgDt>
<NtryDtls><TxDtls><Refs><AcctSvcrRef>B-2</AcctSvcrRef><EndToEndId>NOTPROVIDED</EndToEndId><TxId>PAY-56</TxId></Refs>
<CardTx><Card><PlainCardData><PAN>6217000000000001</PAN></PlainCardData></Card><Tx><Indv><TxCtgy>5552</TxCtgy>
<TxId><TxDtTm>2026-10-05T21:02:00+08:00</TxDtTm><TxRef>1</TxRef></TxId></Indv></Tx></CardTx></TxDtls></NtryDtls></Ntry>"""
SALARY = """<Ntry><Amt Ccy="CNY">1000.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts></Ntry>"""
PENDING = METRO.replace("BOOK</Cd>", "PDNG</Cd>").replace("PAY-55", "PAY-57")
REVERSED = METRO.replace("DBIT", "CRDT").replace("</CdtDbtInd>", "</CdtDbtInd><RvslInd>true</RvslInd>")


def balance(kind: str, amount: str, side: str = "CRDT") -> str:
    code = f"<Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp>"
    return f'<Bal>{code}<Amt Ccy="CNY">{amount}</Amt><CdtDbtInd>{side}</CdtDbtInd></Bal>'


def statement(entries: str, opening: str, closing: str, *, account: str = "citic-000123", number: int = 1) -> str:
    return (
        f"<Stmt><Id>S-{number}</Id><ElctrncSeqNb>{number}</ElctrncSeqNb><Acct><Id><Othr><Id>{account}</Id></Othr></Id>"
        f"<Ownr><Nm>canary owner</Nm></Ownr></Acct>{balance('OPBD', opening)}{balance('CLBD', closing)}{entries}</Stmt>"
    )


def message(*statements: str, namespace: str = NAMESPACE, before: str = "") -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{before}<Document xmlns="{namespace}"><BkToCstmrStmt>'
        f"{''.join(statements)}</BkToCstmrStmt></Document>"
    ).encode()


def rows_in(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(row) for told in parse_camt053(data) for row in told.rows]


def test_a_statement_gives_its_transactions_without_names_and_amounts() -> None:
    data = message(statement(METRO + CHARGE + SALARY, "100.00", "1064.50"))
    (told,) = parse_camt053(data)
    assert (told.account, told.sequence) == ("citic-000123", 1)
    metro, charge, salary = rows_in(data)
    assert metro == {
        "account": "citic-000123", "entry": "1", "status": "BOOK", "side": "DBIT", "reversal": "false",
        "booked": "2026-10-05", "reference": "B-1", "order": "MT-77", "payment": "PAY-55",
        "paid_at": "2026-10-05T08:31:10+08:00", "mcc": "4111",
    }  # fmt: skip
    assert charge == {
        "account": "citic-000123", "entry": "2", "status": "BOOK", "side": "DBIT", "reversal": "false",
        "booked": "2026-10-05T23:00:00+08:00", "reference": "B-2", "order": None, "payment": "PAY-56",
        "paid_at": "2026-10-05T21:02:00+08:00", "mcc": "5552",
    }  # fmt: skip
    assert (salary["payment"], salary["mcc"], salary["side"]) == (None, None, "CRDT")
    text = b"".join(told.rows).decode()
    assert not any(word in text for word in ("canary", "小明", "DE02", "6217", "31.50", "4.00"))


def test_a_pending_entry_moves_no_balance_and_a_reversal_moves_it_back() -> None:
    data = message(statement(METRO + PENDING + REVERSED, "100.00", "100.00"))
    assert [(row["status"], row["reversal"], row["side"]) for row in rows_in(data)] == [
        ("BOOK", "false", "DBIT"),
        ("PDNG", "false", "DBIT"),
        ("BOOK", "true", "CRDT"),
    ]


def test_an_entry_of_several_transactions_gives_each() -> None:
    details = METRO[METRO.index("<TxDtls>") : METRO.index("</NtryDtls>")]
    batch = METRO.replace("</NtryDtls>", details.replace("PAY-55", "PAY-58") + "</NtryDtls>")
    assert [row["payment"] for row in rows_in(message(statement(batch, "10.00", "6.00")))] == ["PAY-55", "PAY-58"]


def test_an_overdrawn_account_adds_up_too() -> None:
    told = statement(METRO, "1.00", "3.00").replace(balance("CLBD", "3.00"), balance("CLBD", "3.00", "DBIT"))
    assert len(rows_in(message(told))) == 1


GOOD = statement(METRO, "100.00", "96.00")
BOMB = '<!DOCTYPE a [<!ENTITY b "bbbb"><!ENTITY c "&b;&b;">]>'
REFUSED = [
    (message(statement(METRO, "100.00", "96.01")), "statement_balance"),
    (message(statement(METRO, "100.00", "104.00")), "statement_balance"),
    (message(GOOD.replace("OPBD", "PRCD")), "statement_balance"),
    (message(GOOD.replace("CLBD", "OPBD")), "statement_balance"),
    (message(GOOD.replace('Ccy="CNY">4', 'Ccy="EUR">4')), "statement_currency"),
    (message(GOOD.replace(' Ccy="CNY"', "")), "statement_currency"),
    (message(GOOD.replace(">4.00<", ">-4.00<")), "statement_amount"),
    (message(GOOD.replace(">4.00<", ">4e0<")), "statement_amount"),
    (message(GOOD.replace(">4.00<", ">٤.00<")), "statement_amount"),
    (message(GOOD.replace("DBIT", "DEBT")), "statement_amount"),
    (message(GOOD.replace("BOOK", "DONE")), "statement_status"),
    (message(GOOD.replace("<ElctrncSeqNb>1</ElctrncSeqNb>", "")), "statement_sequence"),
    (message(GOOD.replace("<ElctrncSeqNb>1<", "<ElctrncSeqNb>-1<")), "statement_sequence"),
    (message(GOOD.replace("<Othr><Id>citic-000123</Id></Othr>", "<IBAN>DE02120300000000202051</IBAN>")), "statement_account"),
    (message(GOOD, namespace=NAMESPACE[:-1] + "2"), "file_of_another_version"),
    (message(), "file_no_statement"),
    (message(GOOD, before=BOMB), "file_xml_entities"),
    (message(GOOD, before='<!DOCTYPE a SYSTEM "file:///etc/passwd">'), "file_xml_entities"),
    (message(GOOD.replace("citic-000123", "&a;")), "file_xml"),
    (message(GOOD)[:-3], "file_xml"),
    (b"", "file_xml"),
    (b"{}", "file_xml"),
    (message(GOOD).decode().encode("utf-16"), "file_encoding"),
    (message(GOOD).replace(b"UTF-8", b"no-such"), "file_xml"),
    (b"<a>" * 2_000_001, "file_too_large"),
    (b"<a>" * 100_000, "file_xml"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "reason"), REFUSED, ids=[f"{index}-{case[1]}" for index, case in enumerate(REFUSED)])
def test_what_cannot_be_trusted_is_set_aside_whole(data: bytes, reason: str) -> None:
    with pytest.raises(SetAside) as refused:
        parse_camt053(data)
    assert refused.value.reason == reason


def write(root: Path, *messages: bytes) -> None:
    writer = DropWriter(root=root, platform="citic-carbon", stream="statements", key=KEY)
    files = {f"{index}.xml": (data, data.count(b"<Stmt>")) for index, data in enumerate(messages)}
    writer.write(files, created_at=NOW)


def fetched(root: Path, cursor: Cursor | None = None, **config: Any) -> list[Page]:
    public = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()
    settings = {"root": str(root), "platform": "citic-carbon", "public_keys": public} | config
    return list(build_camt053(parse_config(settings, {})).fetch(None, cursor, now=NOW))


def payments(pages: list[Page]) -> list[str]:
    return [json.loads(row)["payment"] for page in pages for row in page.delivery.rows]


def test_statements_follow_each_other_across_drops_and_files(tmp_path: Path) -> None:
    other = statement(CHARGE, "31.50", "0.00", account="citic-000124", number=9)
    write(tmp_path, message(GOOD, other), message(statement(CHARGE, "96.00", "64.50", number=2)))
    write(tmp_path, message(statement(METRO.replace("PAY-55", "PAY-60"), "64.50", "60.50", number=3)))
    whole = fetched(tmp_path, page_rows=1)
    assert payments(whole) == ["PAY-55", "PAY-56", "PAY-56", "PAY-60"]
    for index, page in enumerate(whole):
        assert "citic-000123" not in json.dumps(page.cursor)
        assert fetched(tmp_path, Cursor(json.loads(json.dumps(page.cursor))), page_rows=1) == whole[index + 1 :]


@pytest.mark.parametrize(("number", "reason"), [(3, "statement_gap"), (1, "statement_repeated")])
def test_a_missing_or_repeated_statement_is_noticed_in_the_next_drop(tmp_path: Path, number: int, reason: str) -> None:
    write(tmp_path, message(GOOD))
    (first,) = fetched(tmp_path)
    write(tmp_path, message(statement(CHARGE, "96.00", "64.50", number=number)))
    with pytest.raises(SetAside, match=reason):
        fetched(tmp_path, first.cursor)


def test_a_drop_of_statements_has_no_other_files(tmp_path: Path) -> None:
    writer = DropWriter(root=tmp_path, platform="citic-carbon", stream="statements", key=KEY)
    writer.write({"a.jsonl": (b"{}\n", 1)}, created_at=NOW)
    with pytest.raises(SetAside, match="manifest_file_name"):
        fetched(tmp_path)
