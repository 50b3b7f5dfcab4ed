"""Whatever lies in a file, a connector of files ends in rows, in unreadable rows, or in a refusal: never otherwise."""

import json
from datetime import UTC, datetime

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from connectors.base import ConnectorError, Inbound, Reply, Unreadable
from connectors.formats.bill_csv import BillCsv, parse_config
from connectors.formats.camt053 import parse_camt053
from connectors.formats.event_file import Event, keep_inside
from connectors.formats.gbt32960 import parse_file
from connectors.formats.gbt32960_frame import Frame, FrameFault, split_frames
from connectors.profiles.drop_folder import Drop
from connectors.profiles.drop_manifest import Manifest
from connectors.profiles.drop_rows import DroppedFile, parse_rows

NOW = datetime(2026, 10, 6, 1, 0, tzinfo=UTC)
FRAME = bytes.fromhex("232302FE31373036303647423036435A4830303435010010110715111F270500069BD42001F13C685A")
CAMT = (
    b'<?xml version="1.0"?><Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt><Stmt>'
    b"<ElctrncSeqNb>1</ElctrncSeqNb><Acct><Id><Othr><Id>a</Id></Othr></Id></Acct>"
    b'<Bal><Tp><CdOrPrtry><Cd>OPBD</Cd></CdOrPrtry></Tp><Amt Ccy="CNY">4</Amt><CdtDbtInd>CRDT</CdtDbtInd></Bal>'
    b'<Bal><Tp><CdOrPrtry><Cd>CLBD</Cd></CdOrPrtry></Tp><Amt Ccy="CNY">0</Amt><CdtDbtInd>CRDT</CdtDbtInd></Bal>'
    b'<Ntry><Amt Ccy="CNY">4</Amt><CdtDbtInd>DBIT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts></Ntry>'
    b"</Stmt></BkToCstmrStmt></Document>"
)
BILL = (
    "交易时间,商户名称,交易说明,金额,收/付款方式,交易状态,收/支,交易分类,交易订单号,商家订单号,备注\n"
    "2026-10-05 08:00:00,特来电,充电,1.00(已退款0.50),银行卡,交易成功,支出,交通,9001,T01,\n"
)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
quickly = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """Good bytes with pieces taken out, put in and changed."""
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 12))] = draw(st.binary(max_size=12))
    return bytes(data)


def dropped(name: str, data: bytes) -> DroppedFile:
    return DroppedFile(name=name, data=data, first=0, encoding="utf-8", most_bytes=1 << 20, most_rows=1000)


@quickly
@given(st.binary(max_size=300) | damaged(FRAME * 3))
def test_frames(data: bytes) -> None:
    try:
        found = list(split_frames(data))
    except ConnectorError:
        return
    assert all(isinstance(frame, Frame | FrameFault) for frame in found)
    entries = list(parse_file(b"k" * 32, dropped("a.bin", data)))
    assert len(entries) == len(found)
    assert all(isinstance(entry, Unreadable) or json.loads(entry) for entry in entries)


@quickly
@given(st.binary(max_size=300) | damaged(CAMT))
def test_statements(data: bytes) -> None:
    try:
        told = parse_camt053(data)
    except ConnectorError:
        return
    assert all(isinstance(json.loads(row), dict) for statement in told for row in statement.rows)


@quickly
@given(st.binary(max_size=300) | damaged(BILL.encode()) | damaged(BILL.encode("gb18030")))
def test_bills(data: bytes) -> None:
    answer = BillCsv(parse_config({}, {})).receive(Inbound(method="POST", path="/", body=data), now=NOW)
    if isinstance(answer, Reply):
        assert 400 <= answer.status < 500
        return
    assert all(isinstance(json.loads(row), dict) for row in answer.rows)


@quickly
@given(
    st.sampled_from(["a.csv", "a.jsonl", "a.parquet", "a.csv.gz"]),
    st.binary(max_size=300) | damaged(b'a,b\n1,"2"\n') | damaged(b'{"a":1}\n{"b":[2]}\n'),
)
def test_rows_of_drops(name: str, data: bytes) -> None:
    try:
        entries = list(parse_rows(dropped(name, data)))
    except ConnectorError:
        return
    assert all(isinstance(entry, Unreadable) or isinstance(json.loads(entry), dict) for entry in entries)


@quickly
@given(JSON_VALUES, JSON_VALUES, JSON_VALUES)
def test_rows_of_an_event(event_id: object, begin: object, end: object) -> None:
    event = Event(
        id="E", since=datetime(2022, 1, 1, tzinfo=UTC), until=datetime(2022, 4, 1, tzinfo=UTC),
        id_member="event_id", begin_member="begin_at", end_member="end_at",
    )  # fmt: skip
    entry = json.dumps({"event_id": event_id, "begin_at": begin, "end_at": end}).encode()
    manifest = Manifest(
        platform="p", stream="acts", sequence=1, files=(), prev_manifest_sha256=None, created_at=NOW, sha256="0" * 64
    )
    (judged,), carried = keep_inside(event, Drop(sequence=1, manifest=manifest, entries=(entry,)), None)
    assert isinstance(judged, Unreadable)
    assert carried is None
