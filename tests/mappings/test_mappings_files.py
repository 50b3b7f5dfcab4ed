"""Mapping files are checked to the last key, and a mistake is told with file and field."""

import re

import pytest

from hub.sandbox.specs import SPECS
from mappings import MappingError, Reason, list_mappings, load_mapping, parse_mapping
from mappings.model import Constant, EqualsNumber, Join, Link, Reversal, Token, Words
from mappings.vocabulary import FIELDS, REQUIRED

NAME = "odd-platform.acts.v3"


def changed(content: bytes, old: str, new: str) -> bytes:
    assert content.count(old.encode()) == 1, "the test must change exactly one place"
    return content.replace(old.encode(), new.encode())


def test_every_feed_of_the_town_has_a_mapping_and_all_of_them_are_sound() -> None:
    told = {f"{spec.id}.{feed.stream}.v1" for spec in SPECS.values() for feed in spec.feeds}
    assert set(list_mappings()) == told | {"own-bills.payments.v1"}
    for name in list_mappings():
        mapping = load_mapping(name)
        assert mapping.id == f"{mapping.platform}.{mapping.stream}.v{mapping.version}"
        assert len(mapping.digest) == 32


def test_a_mapping_is_read_once(good: dict[str, object]) -> None:
    assert all(load_mapping(name) is load_mapping(name) for name in good)


def test_other_bytes_have_another_digest(odd_file: bytes) -> None:
    changed_file = odd_file + b"# a remark\n"
    assert parse_mapping(NAME, odd_file).digest != parse_mapping(NAME, changed_file).digest


def test_a_file_becomes_the_values_that_it_says(odd_file: bytes) -> None:
    mapping = parse_mapping(NAME, odd_file)
    assert (mapping.platform, mapping.stream, mapping.version) == ("odd-platform", "acts", 3)
    assert isinstance(mapping.fields["account"][0].transform, Link)
    assert mapping.fields["cancelled"][0].transform == Reversal(
        paths=(("state",),), reversed=("returned",), normal=("settled", "open")
    )
    assert mapping.fields["behaviour"][0].transform == Words(
        paths=(("act",),), theirs=("bill", "rental"), ours=("FIN-BILLPAY", "MOB-BIKE")
    )
    joined = Join(parts=((("bill",),), (("period",),)), separator="/")
    assert mapping.fields["event_key"][0].transform == Token(source=joined, kind="origin")


def test_amounts_in_a_file_are_exact_decimals(odd_file: bytes) -> None:
    content = changed(
        odd_file,
        'quantity = { path = "amount", from = "m", unit = "km" }',
        'quantity = { constant = "0.1", unit = "km" }',
    )
    assert parse_mapping(NAME, content).fields["quantity"][0].transform == Constant(value=100_000)
    content = changed(
        odd_file, 'not = { path = "state", in = ["settled", "returned"] }', 'path = "amount", equals_number = "0.10"'
    )
    condition = parse_mapping(NAME, content).stated[0].when
    assert condition == EqualsNumber(paths=(("amount",),), value_micro=100_000)


MISTAKES: list[tuple[str, str, str]] = [
    # old text, new text, what the error must say after the file
    ("about =", "abuot =", "about: is missing"),
    ('sources = ["made up"]', "sources = []", "sources: must be a list of texts"),
    ('sources = ["made up"]', 'sources = ["made up"]\ncolour = "red"', "file: unknown key: colour"),
    ('mapping = "odd-platform.acts.v3"', 'mapping = "odd-platform.acts.v4"', "mapping: unknown: 'odd-platform"),
    ('"bill", "period"]\n', '"bill", "period", "id"]\n', "keep: lists something twice"),
    ('"bill", "period"]\n', '"bill", "period", "bill.no"]\n', "keep: bill contains another kept path"),
    ('"bill", "period"]\n', '"bill", "period", "a..b"]\n', "keep: 'a..b' is not a path"),
    ('"bill", "period"]\n', '"bill", "period"]\ndrop = ["who"]\n', "keep: who is also to be dropped"),
    ('"bill", "period"]\n', '"bill", "period", "me.city"]\ndrop = ["me"]\n', "keep: me.city is also to be dropped"),
    ('"amount", "g", "city"', '"g", "city"', "fields.quantity: reads amount, which `keep` does not name"),
    ('"id", "state", "act"', '"id", "act"', "fields.cancelled: reads state, which `keep` does not name"),
    ('source_id = { path = "id" }', "", "fields.source_id: is missing"),
    ('source_id = { path = "id" }', 'source_id = { path = "id", up = true }', "fields.source_id: unknown key: up"),
    ('source_id = { path = "id" }', 'source_id = { regex = "id" }', "fields.source_id.path: is missing"),
    ('source_id = { path = "id" }', "source_id = 7", "fields.source_id: must be a table"),
    ('source_id = { path = "id" }', 'source_id = [{ path = "id" }, { path = "bill" }]', "only the last case"),
    ('version = { path = "seen" }', "version = { constant = 1.0 }", "fields.version.constant: must be a whole number"),
    ('version = { path = "seen" }', "version = { constant = true }", "fields.version.constant: must be a whole number"),
    ('version = { path = "seen" }', "version = { constant = -1 }", "fields.version.constant: is negative"),
    ("account = { link = true }", "account = { link = false }", "fields.account.link: can only be true"),
    ('normal = ["settled", "open"]', 'normal = ["settled", "returned"]', "fields.cancelled.normal: a status is both"),
    ('rental = "MOB-BIKE"', 'rental = "MOB-ROCKET"', "fields.behaviour.enum.rental: unknown: 'MOB-ROCKET'"),
    ('them = "aggregator"', 'them = "friend"', "fields.role.enum.them: unknown: 'friend'"),
    ('min = "minute"', 'min = "hour"', "fields.precision.enum.min: unknown: 'hour'"),
    ('time = "local", zone', 'time = "naive", zone', "fields.start_at.time: unknown: 'naive'"),
    ('zone = "Europe/Berlin"', 'zone = "Europe/Atlantis"', "fields.start_at.zone: unknown zone 'Europe/Atlantis'"),
    ('zone = "Europe/Berlin"', 'zone = "CST"', "fields.start_at.zone: unknown zone 'CST'"),
    (', zone = "Europe/Berlin"', "", "fields.start_at.zone: is missing"),
    ('unit = "s" }', 'unit = "min" }', "fields.end_at.unit: unknown: 'min'"),
    ('unit = "km" }', 'unit = "furlong" }', "fields.quantity.unit: unknown: 'furlong'"),
    ('from = "m", unit', 'from = "furlong", unit', "fields.quantity.from: no conversion from 'furlong' to 'km'"),
    ('from = "m", unit', 'from = "kWh", unit', "fields.quantity.from: no conversion from 'kWh' to 'km'"),
    ('from = "m", unit', 'from = "li", unit', "fields.quantity.from: x 1/2 is not a shift of the decimal point"),
    ('path = "g", from = "g"', 'path = "g", from = "km"', "fields.claimed_mg.from: no conversion"),
    ('"north" = 110000', '"north" = 11', "fields.region.enum.north: unknown region 11"),
    ('token = "origin"', 'token = "order"', "fields.event_key.token: unknown: 'order'"),
    (', with = "/"', "", "fields.event_key.with: is missing"),
    ('reason = "not_final"', 'reason = "ugly"', "quarantine[0].reason: unknown: 'ugly'"),
    ('reason = "not_final"', 'reason = "bad_time"', "quarantine[0].reason: unknown: 'bad_time'"),
    ('path = "state", in =', 'path = "state", like =', "quarantine[0].when.not: a condition says exactly one of"),
    ('"returned"] } }', '"returned"], equals = "x" } }', "quarantine[0].when.not: a condition says exactly one of"),
    ('"returned"] } }', '"returned"], no = 1 } }', "quarantine[0].when.not: unknown key: no"),
    ('path = "state", in =', 'path = "mood", in =', "quarantine.when: reads mood, which `keep` does not name"),
    ("[fields]", "[fields]\ncolour = 3", "fields: unknown key: colour"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "told"), MISTAKES)
def test_a_mistake_is_refused_with_file_and_field(odd_file: bytes, old: str, new: str, told: str) -> None:
    with pytest.raises(MappingError, match=re.escape(told)) as caught:
        parse_mapping(NAME, changed(odd_file, old, new))
    assert str(caught.value).startswith(f"{NAME}.toml: ")


def test_every_required_field_is_missed(odd_file: bytes) -> None:
    for field in REQUIRED:
        lines = [line for line in odd_file.decode().splitlines() if not line.startswith(f"{field} =")]
        with pytest.raises(MappingError, match=rf"fields\.{field}: is missing"):
            parse_mapping(NAME, "\n".join(lines).encode())


def test_a_parent_can_be_asked_whether_it_is_absent_and_nothing_else(odd_file: bytes) -> None:
    content = changed(odd_file, '"bill", "period"]\n', '"bill", "period", "trip.no"]\n')
    rule = 'not = { path = "state", in = ["settled", "returned"] }'
    parse_mapping(NAME, changed(content, rule, 'path = "trip", absent = true'))
    with pytest.raises(MappingError, match="reads trip"):
        parse_mapping(NAME, changed(content, rule, 'path = "trip", equals = "x"'))


@pytest.mark.parametrize(
    "name", ["", "x", "a.b", "a.b.v0", "../a.b.v1", "A-b.acts.v1", "a-b.acts.v1.toml", "a-b.acts.v１"]
)
def test_a_bad_name_is_refused(odd_file: bytes, name: str) -> None:
    with pytest.raises(MappingError, match="a mapping is named"):
        parse_mapping(name, odd_file)
    with pytest.raises(MappingError, match="no such mapping"):
        load_mapping(name)


@pytest.mark.parametrize("content", [b"fields = ", b"\xff", b"[a]\n[a]\n"])
def test_what_is_not_toml_is_refused(content: bytes) -> None:
    with pytest.raises(MappingError, match=r"^odd-platform\.acts\.v3\.toml: not TOML"):
        parse_mapping(NAME, content)


def test_reasons_are_stable_codes_with_a_sentence_each() -> None:
    for number, reason in enumerate(Reason, 1):
        assert reason.number == number
        assert reason.value == reason.name.lower()
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", reason)
        assert reason.sentence.endswith(".")
        assert reason.sentence[0].isupper()
    assert len({reason.sentence for reason in Reason}) == len(Reason)
    assert len(Reason) < 256  # fits the number beside a value
    assert len(FIELDS) + 2 <= 32  # fits the place beside the number
