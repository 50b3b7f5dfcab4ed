"""What a client may ask for (RFC 9396): strict in what is read, and nothing left open in what the person sees."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests_support.oauth import KNOWN, TYPE

from consent.details import (
    LONGEST,
    MOST_DETAILS,
    PURPOSES,
    SCOPE_OF,
    SCOPES,
    Detail,
    DetailsRefused,
    dump_details,
    load_details,
    parse_details,
    prolong_details,
)
from consent.terms import Frequency, Purpose, Sensitive

NOW = datetime(2026, 11, 20, 17, 0, tzinfo=UTC)  # in Shanghai it is the 21st, one o'clock
LOOK_BACK = timedelta(days=92)


def parse(asked: Any, *, scopes: tuple[str, ...] = ("account:read",)) -> tuple[Detail, ...]:
    written = asked if asked is None or isinstance(asked, str) else json.dumps(asked)
    return parse_details(written, scopes=scopes, known=KNOWN, now=NOW, look_back=LOOK_BACK)


def one(**members: Any) -> Detail:
    return parse([{"type": TYPE, **members}])[0]


def test_what_is_left_out_is_filled_in_with_explicit_words() -> None:
    assert one().to_json() == {
        "type": TYPE,
        "actions": ["read"],
        "behaviours": sorted(KNOWN.behaviours),
        "platforms": sorted(KNOWN.platforms),
        "from": "2026-08-21",
        "until": "2027-11-20",
        "frequency": "always",
    }


def test_without_details_the_scopes_say_what_is_asked() -> None:
    (detail,) = parse(None, scopes=("grams:use", "account:read", "regulator"))
    assert detail.actions == {"read", "use"}
    assert parse(None, scopes=("regulator",)) == ()
    assert parse(None, scopes=()) == ()
    assert {SCOPES[SCOPE_OF[action]] for action in PURPOSES} == set(PURPOSES)


def test_what_is_told_is_kept_word_for_word() -> None:
    told = {
        "type": TYPE, "actions": ["use"], "behaviours": ["MOB-BIKE"], "platforms": ["citic-carbon"],
        "purpose": "积分兑换 rewards", "from": "2026-10-01", "until": "2026-12-31", "frequency": "monthly",
    }  # fmt: skip
    assert parse([told])[0].to_json() == told


def test_days_are_days_of_shanghai_and_the_last_one_belongs_to_it() -> None:
    detail = one(**{"from": "2026-11-21", "until": "2026-11-21"})
    assert (detail.since, detail.until) == (
        datetime(2026, 11, 20, 16, tzinfo=UTC),
        datetime(2026, 11, 21, 16, tzinfo=UTC),
    )


def test_no_consent_is_asked_for_longer_than_a_year() -> None:
    longest = one(until="2030-01-01")
    assert longest.until - NOW <= LONGEST + timedelta(days=1)
    assert longest.to_json()["until"] == "2027-11-21"


REFUSED: dict[str, Any] = {
    "empty": "",
    "no JSON": "[{",
    "an object": {"type": TYPE},
    "a text": '"x"',
    "null": "null",
    "no details": [],
    "too many details": [{"type": TYPE}] * (MOST_DETAILS + 1),
    "a detail that is a text": ["x"],
    "no type": [{"actions": ["read"]}],
    "another type": [{"type": "payment_initiation"}],
    "a type that is a list": [{"type": [TYPE]}],
    "an unknown member": [{"type": TYPE, "locations": ["https://hub.example"]}],
    "a member twice": f'[{{"type":"{TYPE}","actions":["read"],"actions":["use"]}}]',
    "the type twice": f'[{{"type":"{TYPE}","type":"other"}}]',
    "NaN": f'[{{"type":"{TYPE}","purpose":NaN}}]',
    "Infinity": f'[{{"type":"{TYPE}","from":Infinity}}]',
    "no bottom": "[" * 50_000,
    "a number of many digits": f'[{{"type":"{TYPE}","purpose":{"9" * 5000}}}]',
    "an unknown action": [{"type": TYPE, "actions": ["read", "write"]}],
    "an unknown behaviour": [{"type": TYPE, "behaviours": ["MOB-BIKE", "MOB-ROCKET"]}],
    "an unknown platform": [{"type": TYPE, "platforms": ["evil"]}],
    "every behaviour in one word": [{"type": TYPE, "behaviours": ["*"]}],
    "no actions": [{"type": TYPE, "actions": []}],
    "no behaviours": [{"type": TYPE, "behaviours": []}],
    "no platforms": [{"type": TYPE, "platforms": []}],
    "actions as a text": [{"type": TYPE, "actions": "read"}],
    "a list in the list": [{"type": TYPE, "actions": [["read"]]}],
    "true among the words": [{"type": TYPE, "actions": [True]}],
    "half a character": '[{"type":"tanlian_account","behaviours":["\\ud800"]}]',
    "a purpose that is a number": [{"type": TYPE, "purpose": 7}],
    "an endless purpose": [{"type": TYPE, "purpose": "x" * 501}],
    "a purpose with a line end": [{"type": TYPE, "purpose": "a\nb"}],
    "a purpose that is read backwards": [{"type": TYPE, "purpose": "a\u202eb"}],
    "a purpose of half a character": '[{"type":"tanlian_account","purpose":"\\ud800"}]',
    "an unknown frequency": [{"type": TYPE, "frequency": "hourly"}],
    "a frequency that is a list": [{"type": TYPE, "frequency": ["once"]}],
    "a frequency of nothing": [{"type": TYPE, "frequency": None}],
    "a date of words": [{"type": TYPE, "from": "yesterday!"}],
    "a date that never was": [{"type": TYPE, "from": "2026-02-30"}],
    "a date with a time": [{"type": TYPE, "from": "2026-10-01T00:00"}],
    "a week for a date": [{"type": TYPE, "from": "2026-W05-1"}],
    "a date in other digits": [{"type": TYPE, "from": "２０２６-10-01"}],
    "a date of the last century": [{"type": TYPE, "from": "1999-12-31"}],
    "a date at the end of time": [{"type": TYPE, "until": "9999-12-31"}],
    "a date that is a number": [{"type": TYPE, "from": 20261001}],
    "the end before the beginning": [{"type": TYPE, "from": "2026-12-02", "until": "2026-12-01"}],
    "an end that is over": [{"type": TYPE, "until": "2026-11-20"}],
    "a beginning after the longest end": [{"type": TYPE, "from": "2028-01-01", "until": "2028-02-01"}],
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_details_are_refused(name: str) -> None:
    with pytest.raises(DetailsRefused) as refused:
        parse(REFUSED[name])
    assert refused.value.error == "invalid_authorization_details"
    assert refused.value.description.isascii()


def test_one_wrong_detail_refuses_all() -> None:
    with pytest.raises(DetailsRefused):
        parse([{"type": TYPE}, {"type": TYPE, "actions": ["fly"]}])


def test_what_a_sensitive_class_got_no_yes_for_is_left_out() -> None:
    detail = one()
    assert detail.narrowed(frozenset()).behaviours == {"FOOD-CLEANPLATE"}
    assert detail.narrowed({Sensitive.WHEREABOUTS}).behaviours == {"FOOD-CLEANPLATE", "MOB-BIKE", "MOB-METRO"}
    assert detail.narrowed(frozenset(Sensitive)) == detail


def test_actions_are_purposes_and_none_is_another_s() -> None:
    assert one(actions=["read"]).purposes == {Purpose.DISCLOSE}
    assert one(actions=["use"]).purposes == {Purpose.RESERVE}
    assert one(actions=["contribute", "read"]).purposes == {
        Purpose.DISCLOSE, Purpose.COLLECT, Purpose.CLEAR, Purpose.CREDIT
    }  # fmt: skip


DATES = st.dates(NOW.date() - timedelta(days=900), NOW.date() + timedelta(days=900)).map(lambda day: day.isoformat())
DETAIL = st.fixed_dictionaries(
    {"type": st.just(TYPE)},
    optional={
        "actions": st.lists(st.sampled_from(sorted(PURPOSES)), min_size=1),
        "behaviours": st.lists(st.sampled_from(sorted(KNOWN.behaviours)), min_size=1),
        "platforms": st.lists(st.sampled_from(sorted(KNOWN.platforms)), min_size=1),
        "purpose": st.text(max_size=20),
        "from": DATES,
        "until": DATES,
        "frequency": st.sampled_from(sorted(Frequency)),
    },
)


@given(st.lists(DETAIL, min_size=1, max_size=3))
def test_what_was_read_once_is_read_the_same_ever_after(asked: list[dict[str, Any]]) -> None:
    try:
        details = parse(asked)
    except DetailsRefused:
        return
    written = dump_details(details)
    assert load_details(written) == details
    assert parse(written) == details
    for told, detail in zip(asked, details, strict=True):
        for member, words in (("actions", detail.actions), ("behaviours", detail.behaviours)):
            assert words
            assert words <= set(told.get(member, words))


@given(st.text(max_size=60) | st.recursive(DETAIL, lambda inner: st.lists(inner), max_leaves=4).map(json.dumps))
def test_whatever_the_parameter_holds_it_is_read_or_refused(text: str) -> None:
    try:
        details = parse(text)
    except DetailsRefused:
        return
    assert details
    assert all(one.behaviours and one.platforms and one.actions for one in details)


def test_a_renewal_prolongs_what_lasted_as_long_as_the_grant_again_and_again() -> None:
    long, short = one(until="2027-03-31"), one(until="2026-12-31")
    text, ended = dump_details((long, short)), long.until
    for year in (2028, 2029):
        until = datetime(year, 3, 1, tzinfo=UTC)
        text = prolong_details(text, ended=ended, until=until)
        renewed, left = load_details(text)
        assert renewed.until >= until
        assert renewed.until - until < timedelta(days=1)
        assert left == short, "what was over earlier stays over"
        ended = until
