"""Strict JSON: what is refused, and that what is taken stays byte for byte."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors.strict_json import MAX_DEPTH, MalformedJsonError, parse_object, split_records


def nested(depth: int) -> bytes:
    return b'{"a":' * depth + b"1" + b"}" * depth


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"grams":1,"grams":999}', "duplicate_key"),
        (b'{"a":{"b":1,"b":1}}', "duplicate_key"),
        (b'{"a":NaN}', "not_a_number"),
        (b'{"a":-Infinity}', "not_a_number"),
        (b'{"a":1e999}', "number_too_large"),
        (b'{"a":' + b"9" * 5000 + b"}", "not_json"),
        (b'{"a":"\\ud800"}', "half_character"),
        (b'{"\\udfff":1}', "half_character"),
        (b'{"a":"\xff"}', "not_utf8"),
        (b'\xef\xbb\xbf{"a":1}', "not_json"),
        (b"[1]", "not_an_object"),
        (b"null", "not_an_object"),
        (b"", "not_json"),
        (b'{"a":1} {"a":1}', "not_json"),
        (b'{"a":1,}', "not_json"),
        (b"{'a':1}", "not_json"),
        (b'{"a":"\n"}', "not_json"),
        (nested(MAX_DEPTH + 1), "too_deep"),
        (nested(200_000), "too_deep"),
        (b"[" * 1_000_000, "too_deep"),
    ],
)
def test_what_two_readers_could_read_differently_is_refused(body: bytes, reason: str) -> None:
    with pytest.raises(MalformedJsonError) as refused:
        parse_object(body)
    assert refused.value.reason == reason


def test_the_deepest_allowed_object_is_read() -> None:
    assert parse_object(nested(MAX_DEPTH))


def test_a_whole_surrogate_pair_is_a_character_like_any_other() -> None:
    assert parse_object(b'{"a":"\\ud83d\\ude00"}') == {"a": "😀"}


def test_records_are_handed_on_as_they_were_written() -> None:
    body = '{ "next_cursor" : "c" , "records" : [ {"p": 6.00,  "站":"长龙"} ,{"p":1E2}\n] }'.encode()
    split = split_records(body, "records")
    assert split.rows == ('{"p": 6.00,  "站":"长龙"}'.encode(), b'{"p":1E2}')
    assert split.rest == {"next_cursor": "c"}
    assert split.unreadable == ()


def test_a_badly_written_record_does_not_disturb_the_others() -> None:
    body = b'{"records":[{"a":1},{"a":1,"a":2},7,{"a":NaN},{"a":"\\ud800"},' + nested(40) + b',{"a":2}]}'
    split = split_records(body, "records")
    assert split.rows == (b'{"a":1}', b'{"a":2}')
    assert [(row.position, row.reason) for row in split.unreadable] == [
        (1, "duplicate_key"),
        (2, "not_an_object"),
        (3, "not_a_number"),
        (4, "half_character"),
        (5, "too_deep"),
    ]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b'{"records":[],"records":[{"a":1}]}', "duplicate_key"),
        (b'{"records":{},"records":[]}', "duplicate_key"),
        (b'{"records":[],"x":1,"x":2}', "duplicate_key"),
        (b'{"records":{"a":1}}', "no_records"),
        (b"{}", "no_records"),
        (b'[{"a":1}]', "not_json"),
        (b'{"records":[{"a":1}', "not_json"),
        (b'{"records":[{"a":1},]}', "not_json"),
        (b'{"records":[{"a":1} {"a":2}]}', "not_json"),
        (b'{"records":[]}x', "not_json"),
        (b'{1:[],"records":[]}', "not_json"),
        (b'{"records":[' + b"[" * 500_000, "too_deep"),
    ],
)
def test_anything_wrong_around_the_records_refuses_the_message(body: bytes, reason: str) -> None:
    with pytest.raises(MalformedJsonError) as refused:
        split_records(body, "records")
    assert refused.value.reason == reason


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(
    records=st.lists(st.dictionaries(st.text(), json_values, max_size=4), max_size=6),
    cursor=st.none() | st.text(),
    indent=st.sampled_from([None, 0, 3]),
    plain=st.booleans(),
)
def test_splitting_loses_nothing_of_any_page(
    records: list[dict[str, object]], cursor: str | None, indent: int | None, plain: bool
) -> None:
    text = json.dumps({"records": records, "next_cursor": cursor}, indent=indent, ensure_ascii=plain)
    split = split_records(text.encode(), "records")
    assert [json.loads(row) for row in split.rows] == records
    assert split.rest == {"next_cursor": cursor}
    assert all(row.decode() in text for row in split.rows)
