"""ISO 20022 bank statements, camt.053.001.08, in signed drops (or as bytes: `parse_camt053`). Pure (files: `file_drop.py`).

A file is one message with any number of statements; the manifest counts the statements (`Stmt`). A row is one transaction
of an entry (`NtryDtls/TxDtls`), its texts as the bank wrote them: the account as the bank's pairwise id
(`Acct/Id/Othr/Id`: an IBAN is refused), the status, side and reversal mark of its entry, the merchant's order number
(`Refs/EndToEndId`), the payment's number (`Refs/TxId`), when it was paid (`RltdDts/TxDtTm`, else that of the card
transaction) and the merchant category code (`RltdCard/MrchntCtgyCd`, else `CardTx/Tx/Indv/TxCtgy`). No name, no IBAN, no
free text and no amount leaves this module; an entry without details is a row without a number, which no mapping takes.

A statement has to add up: opening balance plus booked entries by their sides is the closing balance, in one currency.
`ElctrncSeqNb` counts an account's statements: a gap or a repetition sets the drop aside, also across drops.
A reversal (`RvslInd`) tells the payment's number again; a pending entry (`PDNG`) is told again when it is booked.

Source: ISO 20022 message definition camt.053.001.08 (Bank-to-Customer Statement V08).
"""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from xml.etree.ElementTree import Element, ParseError  # defusedxml reads; this is only what it returns

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from connectors.base import Description, SetAside, Transport
from connectors.kind import Kind
from connectors.profiles.drop_folder import Drop
from connectors.profiles.drop_rows import DroppedFile, Entry, inflated
from connectors.profiles.file_drop import FileDrop, FileDropConfig
from connectors.profiles.file_drop import parse_config as parse_drop_config

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"
MAX_ELEMENTS = 2_000_000  # a tree is some fifty times as large as its text
MAX_CARRIED = 20_000
NOT_PROVIDED = "NOTPROVIDED"  # what ISO 20022 makes banks write where there is no reference
_IN = {"n": NAMESPACE}
_AMOUNT = re.compile(r"[0-9]{1,13}(\.[0-9]{1,5})?")
_SEQUENCE = re.compile(r"[0-9]{1,18}")
_MCC_PATHS = ("RltdCard/MrchntCtgyCd", "CardTx/Tx/Indv/TxCtgy")
_TIME_PATHS = ("RltdDts/TxDtTm", "CardTx/Tx/Indv/TxId/TxDtTm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One account and period; `rows` are its transactions as JSON documents."""

    account: str
    sequence: int
    rows: tuple[bytes, ...]


def parse_config(config: dict[str, object], secrets: dict[str, object]) -> FileDropConfig:
    parsed = parse_drop_config(config, secrets, stream="statements")
    return replace(parsed, source=replace(parsed.source, parse=parse_file, endings=("xml",)))


def build_camt053(config: FileDropConfig) -> FileDrop:
    """Make the fetcher of a bank's statements."""
    described = Description(
        name="camt053",
        title="Bank statements camt.053.001.08 (ISO 20022) by signed file drop (profile)",
        transport=Transport.FILE,
        streams=(config.source.stream,),
        role="payment",
        official=False,
        id_stability="stable",
        finality="revisable",
        correction_mode="version",
        lateness_class="day",
        drops=(
            "Acct/Id/IBAN",
            "Acct/Ownr",
            "RltdPties",
            "RltdAgts",
            "RmtInf",
            "AddtlTxInf",
            "AddtlNtryInf",
            "Amt",
            "Card",
        ),
    )
    return FileDrop(config, arrange=arrange_statements, described=described)


def parse_file(file: DroppedFile) -> Iterable[Entry]:
    """Give each statement of a file as one entry, which `arrange_statements` takes apart."""
    _, data = inflated(file)
    for statement in parse_camt053(data):
        rows = [row.decode() for row in statement.rows]
        document = {"account": statement.account, "sequence": statement.sequence, "rows": rows}
        yield json.dumps(document, ensure_ascii=False).encode()


def arrange_statements(drop: Drop, carried: str | None) -> tuple[Sequence[Entry], str | None]:
    """Hand on the transactions of statements that continue what was told before.

    Raises:
        SetAside: a statement is missing between two drops or inside one, or is told twice.
    """
    last: dict[str, int] = json.loads(carried) if carried else {}
    rows: list[Entry] = []
    statements = [json.loads(entry) for entry in drop.entries if isinstance(entry, bytes)]
    for statement in sorted(statements, key=lambda told: (told["account"], told["sequence"])):
        account = hashlib.sha256(statement["account"].encode()).hexdigest()[:24]  # the cursor needs no name
        before = last.get(account)
        if before is not None and statement["sequence"] != before + 1:
            raise SetAside("statement_gap" if statement["sequence"] > before else "statement_repeated")
        last[account] = statement["sequence"]
        rows.extend(row.encode() for row in statement["rows"])
    if len(last) > MAX_CARRIED:
        raise SetAside("statement_accounts")
    return rows, json.dumps(last, separators=(",", ":"), sort_keys=True)


def parse_camt053(data: bytes) -> tuple[Statement, ...]:
    """Read a message from bytes of unknown origin.

    Raises:
        SetAside: not UTF-8 or not XML, with a DTD or entities, of another version, not complete, or not balanced.
    """
    if data.count(b"<") > MAX_ELEMENTS:
        raise SetAside("file_too_large")
    try:
        text = data.decode("utf-8-sig")
        root = fromstring(text.encode(), forbid_dtd=True, forbid_entities=True, forbid_external=True)
    except UnicodeDecodeError:
        raise SetAside("file_encoding") from None
    except DefusedXmlException:
        raise SetAside("file_xml_entities") from None
    except (ParseError, ValueError, LookupError):
        raise SetAside("file_xml") from None
    if root.tag != f"{{{NAMESPACE}}}Document":
        raise SetAside("file_of_another_version")
    found = root.findall("n:BkToCstmrStmt/n:Stmt", _IN)
    if not found:
        raise SetAside("file_no_statement")
    return tuple(_parse_statement(element) for element in found)


def _parse_statement(element: Element) -> Statement:
    account, number = _text(element, "Acct/Id/Othr/Id"), _text(element, "ElctrncSeqNb")
    if account is None or element.find("n:Acct/n:Id/n:IBAN", _IN) is not None:
        raise SetAside("statement_account")
    if number is None or not _SEQUENCE.fullmatch(number):
        raise SetAside("statement_sequence")
    entries = element.findall("n:Ntry", _IN)
    _require_balance(element, entries)
    rows = tuple(row for entry in entries for row in _write_rows(entry, account))
    return Statement(account=account, sequence=int(number), rows=rows)


def _require_balance(statement: Element, entries: Sequence[Element]) -> None:
    """Booked entries lead from one balance to the other; the side is told by `CdtDbtInd`, also of a reversal."""
    balances: dict[str, Decimal] = {}
    amounts = [*statement.findall("n:Bal", _IN), *entries]
    currencies = {amount.get("Ccy") for each in amounts if (amount := each.find("n:Amt", _IN)) is not None}
    if len(currencies) != 1 or None in currencies:
        raise SetAside("statement_currency")
    for balance in statement.findall("n:Bal", _IN):
        kind = _text(balance, "Tp/CdOrPrtry/Cd") or ""
        if kind in balances and kind in ("OPBD", "CLBD"):
            raise SetAside("statement_balance")
        balances[kind] = _signed(balance)
    if not {"OPBD", "CLBD"} <= set(balances):
        raise SetAside("statement_balance")
    moved = sum((_signed(entry) for entry in entries if _status(entry) == "BOOK"), Decimal())
    if balances["OPBD"] + moved != balances["CLBD"]:
        raise SetAside("statement_balance")


def _signed(element: Element) -> Decimal:
    amount, side = _text(element, "Amt"), _text(element, "CdtDbtInd")
    if amount is None or not _AMOUNT.fullmatch(amount) or side not in ("CRDT", "DBIT"):
        raise SetAside("statement_amount")
    return Decimal(amount) if side == "CRDT" else -Decimal(amount)


def _status(entry: Element) -> str:
    status = _text(entry, "Sts/Cd")
    if status not in ("BOOK", "PDNG", "INFO", "FUTR"):
        raise SetAside("statement_status")
    return status


def _write_rows(entry: Element, account: str) -> Iterator[bytes]:
    """Write the entry's transactions; an entry without details is told too, for what it lacks."""
    reversal = (_text(entry, "RvslInd") or "false") in ("true", "1")
    common = {
        "account": account,
        "entry": _text(entry, "NtryRef"),
        "status": _status(entry),
        "side": _text(entry, "CdtDbtInd"),
        "reversal": "true" if reversal else "false",
        "booked": _text(entry, "BookgDt/DtTm") or _text(entry, "BookgDt/Dt"),
    }
    for details in entry.findall("n:NtryDtls/n:TxDtls", _IN) or [Element("none")]:
        order, payment = _text(details, "Refs/EndToEndId"), _text(details, "Refs/TxId")
        row = common | {
            "reference": _text(details, "Refs/AcctSvcrRef") or _text(entry, "AcctSvcrRef"),
            "order": None if order == NOT_PROVIDED else order,
            "payment": None if payment == NOT_PROVIDED else payment,
            "paid_at": _first(details, _TIME_PATHS),
            "mcc": _first(details, _MCC_PATHS),
        }
        yield json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()


def _first(element: Element, paths: Sequence[str]) -> str | None:
    return next((text for path in paths if (text := _text(element, path)) is not None), None)


def _text(element: Element, path: str) -> str | None:
    """Return the text at a path, without the blanks of the layout; None where there is none."""
    found = element.find("/".join(f"n:{name}" for name in path.split("/")), _IN)
    text = (found.text or "").strip() if found is not None else ""
    return text or None


KIND = Kind(
    name="camt053",
    transport=Transport.FILE,
    profile=True,
    secrets=(),
    build=lambda config, secrets: build_camt053(parse_config(dict(config), dict(secrets))),
)
