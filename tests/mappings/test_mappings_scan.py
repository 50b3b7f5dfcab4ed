"""The scanner agrees with the standard library on what JSON is, and is stricter where that is lax."""

import json
import math
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings import scan
from mappings.reader import Documents, build_tree, read_documents

TREE = build_tree([("a",), ("b", "c"), ("键",), ('q"\\',)])
UNTIMED = settings(deadline=None)  # the first call compiles
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
KEYS = st.sampled_from(["a", "b", "c", "键", 'q"\\', "z"]) | st.text(max_size=4)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4))
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=6)


class RefusedError(ValueError):
    pass


def strict(document: bytes) -> Any:
    """The standard parser, told to refuse what the scanner refuses."""

    def pairs(found: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(dict(found)) != len(found):
            raise RefusedError
        return dict(found)

    def constant(_: str) -> None:
        raise RefusedError

    value = json.loads(document.decode(), object_pairs_hook=pairs, parse_constant=constant, parse_float=str)
    json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair has no UTF-8
    if not isinstance(value, dict):
        raise RefusedError
    return value


def read(*documents: bytes) -> Documents:
    return read_documents(pl.Series(list(documents), dtype=pl.Binary), TREE)


def told(documents: Documents, *path: str) -> list[str | None]:
    return documents.field((path,)).texts.to_series().to_list()


def expected_text(value: Any) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        return None
    return str(value)


@UNTIMED
@given(st.lists(OBJECTS, min_size=1, max_size=5), st.booleans(), st.sampled_from([None, 1]))
def test_every_document_is_read_as_the_standard_library_reads_it(
    objects: list[dict[str, Any]], ascii_only: bool, indent: int | None
) -> None:
    written = [json.dumps(o, ensure_ascii=ascii_only, indent=indent).encode() for o in objects]
    documents = read(*written)
    assert documents.status.tolist() == [scan.READ] * len(objects)
    parsed = [strict(document) for document in written]
    assert told(documents, "a") == [expected_text(o.get("a")) for o in parsed]
    assert told(documents, "键") == [expected_text(o.get("键")) for o in parsed]
    assert told(documents, 'q"\\') == [expected_text(o.get('q"\\')) for o in parsed]
    below = [o["b"].get("c") if isinstance(o.get("b"), dict) else None for o in parsed]
    assert told(documents, "b", "c") == [expected_text(value) for value in below]


@settings(UNTIMED, max_examples=400)
@given(OBJECTS, st.data())
def test_a_damaged_document_is_refused_exactly_when_the_standard_library_refuses_it(
    value: dict[str, Any], data: st.DataObject
) -> None:
    document = bytearray(json.dumps(value, ensure_ascii=data.draw(st.booleans())).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(document) - 1))
        match data.draw(st.sampled_from(["set", "cut", "insert"])):
            case "set":
                document[at] = data.draw(st.sampled_from(b'{}[]",:0-.eE\\u\x00\x1f\x80\xff tN') | st.integers(0, 255))
            case "cut":
                del document[at : at + 2]
            case _:
                document[at:at] = data.draw(st.binary(min_size=1, max_size=2))
        if not document:
            break
    try:
        strict(bytes(document))
    except (ValueError, RecursionError):
        assert read(bytes(document)).status[0] != scan.READ
    else:
        assert read(bytes(document)).status[0] == scan.READ


@pytest.mark.parametrize(
    ("document", "status"),
    [
        (b"", scan.NOT_JSON),
        (b"   ", scan.NOT_JSON),
        (b"\xef\xbb\xbf{}", scan.NOT_JSON),
        (b"{'a':1}", scan.NOT_JSON),
        (b'{"a":1,}', scan.NOT_JSON),
        (b'{"a":[1,]}', scan.NOT_JSON),
        (b'{"a":01}', scan.NOT_JSON),
        (b'{"a":+1}', scan.NOT_JSON),
        (b'{"a":.5}', scan.NOT_JSON),
        (b'{"a":1}{}', scan.NOT_JSON),
        (b'{"a":1} // no', scan.NOT_JSON),
        (b'{"a":"\t"}', scan.NOT_JSON),
        (b'{"a":"\\x41"}', scan.NOT_JSON),
        (b'{"a":"\\ud800"}', scan.NOT_JSON),
        (b'{"a":"\\udc00\\ud800"}', scan.NOT_JSON),
        (b'{"a":"\xed\xa0\x80"}', scan.NOT_JSON),
        (b'{"a":"\xc0\xaf"}', scan.NOT_JSON),
        (b'{"a":"\xf5\x80\x80\x80"}', scan.NOT_JSON),
        (b'{"a":nul}', scan.NOT_JSON),
        (b'{"a":-}', scan.NOT_JSON),
        (b'{"a"', scan.NOT_JSON),
        (b'{"a":[}', scan.NOT_JSON),
        (b'{"a":{]}', scan.NOT_JSON),
        (b"]", scan.NOT_JSON),
        (b",", scan.NOT_JSON),
        (b"[1]", scan.NOT_OBJECT),
        (b"null", scan.NOT_OBJECT),
        (b'"text"', scan.NOT_OBJECT),
        (b'{"z":NaN}', scan.NOT_FINITE),
        (b'{"z":[Infinity]}', scan.NOT_FINITE),
        (b'{"z":-Infinity}', scan.NOT_FINITE),
        (b'{"z":-NaN}', scan.NOT_JSON),
        (b'{"a":1,"a":1}', scan.DUPLICATE_KEY),
        (b'{"a":1,"\\u0061":2}', scan.DUPLICATE_KEY),
        (b'{"z":[{"y":{"x":1,"x":1}}]}', scan.DUPLICATE_KEY),
        (b'{"a":{"x":1},"b":{"x":1}}', scan.READ),
        (b' \r\n\t{ "a" : 1 } ', scan.READ),
        (b'{"a":-0.0e-0}', scan.READ),
    ],
)
def test_each_way_to_be_wrong_has_its_status(document: bytes, status: int) -> None:
    assert read(document).status.tolist() == [status]


@pytest.mark.parametrize(("levels", "status"), [(32, scan.READ), (33, scan.TOO_DEEP), (100_000, scan.TOO_LARGE)])
def test_depth_is_limited_to_32(levels: int, status: int) -> None:
    document = b'{"a":' * (levels - 1) + b"{" + b"}" * levels
    assert read(document).status.tolist() == [status]
    document = b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"
    assert read(document).status.tolist() == [status]


@pytest.mark.parametrize(("size", "status"), [(scan.MAX_BYTES, scan.READ), (scan.MAX_BYTES + 1, scan.TOO_LARGE)])
def test_size_is_limited_to_64_kib(size: int, status: int) -> None:
    assert read(b'{"a":"' + b"x" * (size - 8) + b'"}').status.tolist() == [status]


@pytest.mark.parametrize(("members", "status"), [(scan.MAX_MEMBERS, scan.READ), (scan.MAX_MEMBERS + 1, scan.TOO_LARGE)])
def test_the_members_of_one_object_are_limited(members: int, status: int) -> None:
    assert read(json.dumps({str(i): 0 for i in range(members)}).encode()).status.tolist() == [status]


def test_the_widest_and_deepest_document_fits_into_the_stacks() -> None:
    inner = "0"
    for _ in range(scan.MAX_DEPTH):
        inner = "{" + ",".join(f'"k{i}":0' for i in range(scan.MAX_MEMBERS - 1)) + f',"a":{inner}' + "}"
        if len(inner) > scan.MAX_BYTES - 8000:
            break
    assert read(inner.encode()).status.tolist() == [scan.READ]


@UNTIMED
@given(st.lists(OBJECTS | st.binary(max_size=30), min_size=1, max_size=8))
def test_what_a_document_says_does_not_depend_on_its_neighbours(mixed: list[Any]) -> None:
    written = [d if isinstance(d, bytes) else json.dumps(d).encode() for d in mixed]
    together = read(*written)
    for i, document in enumerate(written):
        alone = read(document)
        assert alone.status[0] == together.status[i]
        assert told(alone, "a") == [told(together, "a")[i]]
        assert told(alone, "b", "c") == [told(together, "b", "c")[i]]


def test_numbers_keep_the_text_in_which_they_were_written() -> None:
    texts = ["6.00", "1e999", "9007199254740993", "0.1000000000000000055511151231257827", "-0"]
    documents = read(*(f'{{"a":{text}}}'.encode() for text in texts))
    assert told(documents, "a") == texts
    assert math.isinf(float(texts[1]))  # what a float would have made of it


def test_null_is_read_as_an_empty_document_and_slices_are_respected() -> None:
    payloads = pl.Series(['{"a":"1"}', None, '{"a":"3"}', '{"a":"4"}'])[1:3]
    documents = read_documents(payloads, TREE)
    assert documents.status.tolist() == [scan.NOT_JSON, scan.READ]
    assert told(documents, "a") == [None, "3"]


def test_only_texts_and_bytes_are_documents() -> None:
    with pytest.raises(TypeError, match="String or Binary"):
        read_documents(pl.Series([1, 2]), TREE)
