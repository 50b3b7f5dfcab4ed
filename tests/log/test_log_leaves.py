"""What may stand in a leaf, and what may not."""

from base64 import b64decode
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.log.commitments import commitment, field_salt, subject_tag
from hub.log.leaves import Kind, LeafError, build_leaf

AT = datetime(2026, 10, 5, 8, 12, 3, 456789, tzinfo=timezone(timedelta(hours=8)))


def test_a_leaf_is_canonical_json_with_version_kind_and_time() -> None:
    leaf = build_leaf(
        Kind.BATCH_RECEIVED,
        AT,
        {
            "participant": "beijing-green-life",
            "record_count": 500,
            "counted_mg": 2**60,
            "digest": b"\x01\xff",
            "ok": True,
        },
    )
    assert leaf.body == (
        b'{"at":"2026-10-05T00:12:03Z","counted_mg":"1152921504606846976","digest":"01ff","kind":"batch.received",'
        b'"ok":true,"participant":"beijing-green-life","record_count":500,"v":"tanlian/1"}'
    )
    assert leaf.kind is Kind.BATCH_RECEIVED
    assert leaf.at == datetime(2026, 10, 5, 0, 12, 3, tzinfo=UTC)


def test_the_order_of_fields_does_not_matter() -> None:
    first = build_leaf(Kind.WINDOW_SEALED, AT, {"window": 3, "record_count": 2})
    second = build_leaf(Kind.WINDOW_SEALED, AT, {"record_count": 2, "window": 3})
    assert first.body == second.body


def test_lists_and_objects_nest() -> None:
    leaf = build_leaf(Kind.WINDOW_CLEARED, AT, {"positions": [{"platform": "a", "claimed_mg": "12"}], "since": AT})
    assert b'"positions":[{"claimed_mg":"12","platform":"a"}]' in leaf.body
    assert b'"since":"2026-10-05T00:12:03Z"' in leaf.body


@pytest.mark.parametrize(
    "fields",
    [
        {"note": "a sentence has spaces"},
        {"city": "北京"},
        {"reference": "13800000001"},
        {"reference": "+8613800000001"},
        {"reference": 13800000001},
        {"reference": "138****0001"},
        {"reference": "11010519491231002X"},
        {"reference": "li@example.com"},
        {"reference": ""},
        {"reference": "line\n"},
        {"mobile": "x1"},
        {"subject_id": 7},
        {"holder_name": "x"},
        {"deep": {"account": "x"}},
        {"list": [{"openid": "x"}]},
        {"amount": 1.5},
        {"counted_mg": "1.5"},
        {"counted_mg": "1e9"},
        {"counted_mg": "-0"},
        {"counted_mg": 1.0},
        {"big": 2**53},
        {"big": -(2**53)},
        {"nothing": None},
        {"Upper": 1},
        {"with-dash": 1},
        {"": 1},
        {"kind": "x"},
        {"v": "x"},
        {"at": "x"},
        {"since": datetime(2026, 1, 1)},
        {"a": {"b": {"c": {"d": {"e": 1}}}}},
        {"a": [[[[1]]]]},
        {"filler": ["x" * 1000] * 9},
    ],
)
def test_what_has_no_place_in_a_public_log_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(LeafError):
        build_leaf(Kind.CONSENT_CHANGED, AT, fields)


def test_a_refusal_never_repeats_the_value() -> None:
    with pytest.raises(LeafError) as caught:
        build_leaf(Kind.CONSENT_CHANGED, AT, {"reference": "13800000001"})
    assert "13800000001" not in str(caught.value)
    assert "reference" in str(caught.value)


def test_an_amount_or_a_count_may_look_like_a_telephone_number() -> None:
    leaf = build_leaf(Kind.ENTRIES_POSTED, AT, {"counted_mg": 13800000001, "entry_count": 13800000001})
    assert b'"counted_mg":"13800000001"' in leaf.body


def test_a_name_that_says_that_no_person_is_in_the_value_is_allowed() -> None:
    leaf = build_leaf(
        Kind.CONSENT_CHANGED, AT, {"subject_tag": bytes(16), "subject_count": 1, "subject_commitment": bytes(32)}
    )
    assert b"subject_tag" in leaf.body


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="lunch"):
        build_leaf("lunch.eaten", AT, {})  # type: ignore[arg-type]


def test_a_leaf_has_at_most_8_kib() -> None:
    assert len(build_leaf(Kind.KEY_ROTATED, AT, {"filler": ["x" * 1000] * 7 + ["x" * 1000]}).body) <= 8192
    with pytest.raises(LeafError, match="8192"):
        build_leaf(Kind.KEY_ROTATED, AT, {"filler": ["x" * 1000] * 8 + ["x" * 200]})


@given(
    st.dictionaries(st.from_regex(r"[a-z]{1,5}_[a-z]{1,5}", fullmatch=True), st.text() | st.integers() | st.floats())
)
def test_whatever_is_accepted_is_ascii(fields: dict[str, Any]) -> None:
    try:
        body = build_leaf(Kind.LINK_CHANGED, AT, fields).body
    except LeafError:
        return
    assert body.isascii()


def test_commitments_are_the_published_ones(vectors: dict[str, Any]) -> None:
    leaf = vectors["leaf"]
    key = bytes.fromhex(leaf["K_subject_hex"])
    salt = field_salt(key, leaf["event_id"], "pd", scheme="pcalog")
    assert salt.hex() == leaf["salt_pd_hex"]
    assert subject_tag(key, leaf["event_id"], scheme="pcalog") == b64decode(leaf["tag_b64"])
    assert commitment(salt, "pd", leaf["payload"].encode(), scheme="pcalog") == b64decode(leaf["commit_pd_b64"])


def test_tags_of_one_person_do_not_tell_of_each_other() -> None:
    key = bytes(range(32))
    assert len({subject_tag(key, str(number)) for number in range(100)}) == 100
    assert subject_tag(key, "1") != subject_tag(bytes(32), "1")
    with pytest.raises(ValueError, match="32 bytes"):
        subject_tag(b"short", "1")
