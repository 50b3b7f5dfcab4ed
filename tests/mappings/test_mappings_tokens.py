"""One order has one token everywhere, and dummies have none."""

import hmac
import json

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings import event_token
from mappings.reader import build_tree, read_documents
from mappings.tokens import tokenize

TREE = build_tree([("a",)])
UNTIMED = settings(deadline=None)  # the first call compiles


def column(key: bytes, kind: str, *raw: str | None) -> list[int | None]:
    documents = pl.Series([json.dumps({"a": text}) for text in raw])
    tokens, found = tokenize(key, kind, read_documents(documents, TREE).field((("a",),)).texts)
    return [token if told else None for token, told in zip(tokens.tolist(), found.tolist(), strict=True)]


@pytest.mark.parametrize("length", [16, 32, 64, 65, 200])
def test_a_token_is_the_head_of_the_hmac_of_kind_and_number(length: int) -> None:
    key = bytes(range(length % 256))[:length].ljust(length, b"k")
    for kind in ("origin", "payment"):
        expected = hmac.digest(key, kind.encode() + b"\x1fMB7788", "sha256")[:8]
        assert event_token(key, kind, "MB7788") == int.from_bytes(expected, "big")


@pytest.mark.parametrize(
    "raw", ["mb7788", " MB7788 ", "MB7788\t", "ＭＢ７７８８", "MB\u200b7788", "M B 7 7 8 8", "\ufeffmb7788"]
)
def test_case_width_and_spaces_do_not_matter(key: bytes, raw: str) -> None:
    assert event_token(key, "origin", raw) == event_token(key, "origin", "MB7788")


def test_other_numbers_kinds_and_keys_give_other_tokens(key: bytes) -> None:
    tokens = {
        event_token(key, "origin", "MB7788"),
        event_token(key, "origin", "MB7789"),
        event_token(key, "origin", "MB-7788"),
        event_token(key, "payment", "MB7788"),
        event_token(b"another key of 32 bytes length..", "origin", "MB7788"),
    }
    assert len(tokens) == 5


@pytest.mark.parametrize(
    "raw",
    [
        "",
        " ",
        "0",
        "000",
        "9",
        "999999999",
        "9" * 40,
        "null",
        "None",
        "N/A",
        "nan",
        "-",
        "--",
        "０",
        "unknown",
        "\u200b",
    ],
)
def test_a_dummy_has_no_token(key: bytes, raw: str) -> None:
    assert event_token(key, "origin", raw) is None
    assert column(key, "origin", raw) == [None]


@pytest.mark.parametrize("raw", ["10", "90", "99999990", "0-0", "nullable", "8"])
def test_a_number_that_only_resembles_a_dummy_has_one(key: bytes, raw: str) -> None:
    assert event_token(key, "origin", raw) is not None


@UNTIMED
@given(st.lists(st.none() | st.text(max_size=12) | st.text("09-aAzZ \t\x7fé", max_size=6), max_size=12))
def test_a_column_gives_the_same_tokens_as_single_numbers(raw: list[str | None]) -> None:
    key = b"k" * 32
    assert column(key, "payment", *raw) == [None if text is None else event_token(key, "payment", text) for text in raw]


def test_a_short_key_and_an_unknown_kind_are_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match="16 bytes"):
        event_token(b"short", "origin", "1")
    with pytest.raises(ValueError, match="unknown kind"):
        event_token(key, "order", "0")
