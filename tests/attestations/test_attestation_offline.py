"""Checking offline: any part that is shown verifies, any change fails, what is hidden stays so, and others' code agrees."""

import json
import random
from base64 import urlsafe_b64decode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import ECKey
from jwcrypto.jwk import JWK
from sd_jwt.common import SDObj
from sd_jwt.holder import SDJWTHolder
from sd_jwt.issuer import SDJWTIssuer
from sd_jwt.verifier import SDJWTVerifier
from tests_support.attesting import EVERYTHING, bound
from tests_support.rfc9901 import check_sd_jwt, status_bit

from hub.attestations.content import TYPE, VCT, Asked, Setting, Totals, claims_of, paths_of
from hub.attestations.jwt import JwtInvalid, decode_part, encode_part, public_members, sign_jwt
from hub.attestations.sdjwt import SdJwtInvalid, digest_of, join, open_disclosures, show, split
from hub.attestations.statuslist import LIFE, SIZE, open_status_list, sign_status_list, with_bit
from hub.attestations.verify import AttestationInvalid, Expected, Status, Verified, parse_keys, verify_attestation

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
ISSUER, URI = "https://hub.example", "https://hub.example/v1/status-lists/1"
KEY = ECKey.generate_key("P-256", {"kid": "attestation-0001"})
HOLDER = ECKey.generate_key("P-256")
JWKS = {"issuer": ISSUER, "jwks": {"keys": [KEY.as_dict(private=False)]}}
KEYS = parse_keys(JWKS)
TOTALS = Totals(
    cleared_mg=123_456_789, final_mg=120_000_000, acts=42, platforms_count=3, methodologies=("hub-2026.2",),
    policies=("2026.1", "2026.2"), by_category_mg={"food": 0, "travel": 123_456_789},
    by_region_mg={"110000": 100_000_000, "440000": 23_456_789},
)  # fmt: skip
PATHS = paths_of(TOTALS, EVERYTHING)


@dataclass(frozen=True)
class Made:
    payload: dict[str, Any]
    whole: str


def make(*, holder: ECKey | None = None, audience: str | None = None) -> Made:
    asked = Asked(
        since=NOW.date(), until=NOW.date(), disclose=(), holder=None if holder is None else public_members(holder)
    )
    setting = Setting(
        attestation_id="att_1", issuer=ISSUER, subject="s_1", audience=audience, scope="account", issued_at=NOW,
        expires_at=NOW + timedelta(days=365), status_uri=URI, status_index=77,
    )  # fmt: skip
    payload, disclosures = claims_of(TOTALS, asked, setting)
    return Made(payload, join(sign_jwt(KEY, TYPE, payload), disclosures))


MADE = make()
BITS = bytes(SIZE // 8)


def check(text: str, *, status: str | None = None, now: datetime = NOW, **expected: Any) -> Verified:
    return verify_attestation(text, KEYS, now=now, expected=Expected(**expected), status_list=status)


@given(st.sets(st.sampled_from(PATHS)))
def test_any_part_of_it_can_be_shown_and_says_the_same_to_ours_and_to_an_independent_reader(paths: set[str]) -> None:
    shown = show(MADE.whole, MADE.payload, paths)
    verified = check(shown)
    assert set(verified.disclosed) == paths
    assert verified.claims == check_sd_jwt(shown, JWKS["jwks"])
    for path in PATHS:
        group, _, part = path.partition(".")
        there = part in verified.claims[group] if part else group in verified.claims
        assert there is (path in paths)
    assert verified.hidden == len(PATHS) + 6 - len(paths)  # with the six decoys of the regions


@settings(max_examples=400)
@given(st.integers(0, len(MADE.whole) - 1), st.integers(1, 127))
def test_any_changed_character_fails(place: int, change: int) -> None:
    changed = MADE.whole[:place] + chr(ord(MADE.whole[place]) ^ change) + MADE.whole[place + 1 :]
    with pytest.raises(AttestationInvalid):
        check(changed)


def test_every_bit_of_the_last_characters_of_the_signature_counts() -> None:
    """Base64url of 64 bytes has four bits to spare: lenient readers take sixteen texts for one signature."""
    signed, rest = MADE.whole.split("~", 1)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for other in set(alphabet) - {signed[-1]}:
        with pytest.raises(AttestationInvalid):
            check(f"{signed[:-1]}{other}~{rest}")


@given(st.sets(st.sampled_from(PATHS)))
def test_what_is_not_shown_is_not_in_the_text_and_cannot_be_tried_out(paths: set[str]) -> None:
    shown = show(MADE.whole, MADE.payload, paths)
    opened = open_disclosures(MADE.payload, split(MADE.whole).disclosures)
    for path in set(PATHS) - paths:
        disclosure = opened.paths[path]
        assert disclosure.text not in shown
        # Who knows name and value, but not the salt, makes no digest that is there.
        for salt in ("", "AAAAAAAAAAAAAAAAAAAAAA"):
            guess = json.dumps([salt, disclosure.name, disclosure.value], separators=(",", ":")).encode()
            assert digest_of(encode_part(guess)) not in shown
            assert encode_part(sha256(guess).digest()) not in shown


def test_every_salt_has_128_bits_and_no_two_are_alike() -> None:
    opened = open_disclosures(MADE.payload, split(MADE.whole).disclosures)
    salts = [json.loads(decode_part(one.text))[0] for one in opened.paths.values()]
    assert {len(decode_part(salt)) for salt in salts} == {16}
    assert len(set(salts)) == len(PATHS)


def test_the_numbers_of_the_specifications_come_out() -> None:
    """RFC 9901, 4.2.3; Token Status List, 4.2."""
    disclosure = "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNw7ZiaXVzIl0"
    assert digest_of(disclosure) == "X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0"
    opened = open_disclosures({"_sd": [digest_of(disclosure)], "_sd_alg": "sha-256"}, [disclosure])
    assert opened.claims == {"family_name": "Möbius"}
    bits = b""
    for index in (0, 3, 4, 5, 7, 8, 9, 13, 15):
        bits = with_bit(bits or bytes(2), index)
    assert bits == bytes([0xB9, 0xA3])
    claims = {
        "sub": URI, "iat": int(NOW.timestamp()), "status_list": {"bits": 1, "lst": "eNrbuRgAAhcBXQ"}
    }  # fmt: skip
    listed = open_status_list(sign_jwt(KEY, "statuslist+jwt", claims), KEYS.keys, uri=URI, issuer=ISSUER, now=NOW)
    assert listed.bits == bits


def test_the_reference_implementation_reads_ours_and_we_read_its() -> None:
    key = JWK.from_json(json.dumps(KEY.as_dict(private=True)))
    shown = show(MADE.whole, MADE.payload, ["final_mg", "by_region_mg.110000"])
    theirs = SDJWTVerifier(shown, lambda _issuer, _header: JWK.from_json(key.export_public())).get_verified_payload()
    assert theirs == check(shown).claims
    statement = {
        "iss": ISSUER, "iat": int(NOW.timestamp()), "exp": int(NOW.timestamp()) + 60, "vct": VCT,
        "status": {"status_list": {"idx": 1, "uri": URI}}, SDObj("acts"): 3, "deep": {SDObj("a"): [SDObj("x"), "y"]},
        SDObj("more"): {SDObj("inner"): 1},
    }  # fmt: skip
    header = {"typ": TYPE, "kid": "attestation-0001"}
    made = SDJWTIssuer(statement, key, add_decoy_claims=True, extra_header_parameters=header).sd_jwt_issuance
    verified = check(made)
    assert (verified.claims["acts"], verified.claims["deep"]) == (3, {"a": ["x", "y"]})
    assert verified.claims["more"] == {"inner": 1}
    assert {"acts", "deep.a", "deep.a.0", "more", "more.inner"} == set(verified.disclosed)


def test_the_reference_implementation_proves_a_holder_s_key_to_us_and_reads_our_proof() -> None:
    made = make(holder=HOLDER)
    wallet = SDJWTHolder(made.whole)
    wallet.create_presentation(
        {"acts": True}, "n-1", "https://bank.example", JWK.from_json(json.dumps(HOLDER.as_dict(private=True)))
    )
    at = datetime.now(UTC)
    assert check(
        wallet.sd_jwt_presentation, now=at if at < NOW + timedelta(days=365) else NOW, audience="https://bank.example",
        nonce="n-1",
    ).holder_proved  # fmt: skip
    ours = bound(show(made.whole, made.payload, ["acts"]), HOLDER, aud="https://bank.example", nonce="n-1")
    key = JWK.from_json(json.dumps(KEY.as_dict(private=False)))
    read = SDJWTVerifier(ours, lambda _issuer, _header: key, "https://bank.example", "n-1").get_verified_payload()
    assert read["acts"] == 42


def test_a_list_says_of_each_place_what_it_is_and_nothing_of_its_neighbours() -> None:
    for bits, status in (
        (BITS, Status.VALID),
        (with_bit(BITS, 77), Status.REVOKED),
        (with_bit(BITS, 76), Status.VALID),
    ):
        token = sign_status_list(KEY, bits, uri=URI, issuer=ISSUER, now=NOW)
        verified = check(MADE.whole, status=token)
        assert (verified.status, verified.status_at) == (status, NOW)
        bit = status_bit(token, JWKS["jwks"], MADE.payload["status"])
        assert bit == (status is Status.REVOKED)
    assert check(MADE.whole).status is Status.NOT_CHECKED


def test_a_list_half_of_which_is_revoked_is_still_read() -> None:
    """Its bits cannot be compressed: the longest text that a list can have."""
    bits = random.Random(7).randbytes(SIZE // 8)
    token = sign_status_list(KEY, bits, uri=URI, issuer=ISSUER, now=NOW)
    assert 25_000 < len(token) < 40_000
    assert check(MADE.whole, status=token).status is (Status.REVOKED if bits[77 // 8] >> 5 & 1 else Status.VALID)


@pytest.mark.parametrize(
    ("after", "good"),
    [
        (timedelta(seconds=-61), False), (timedelta(seconds=-30), True), (timedelta(days=364), True),
        (timedelta(days=365), False),
    ],
)  # fmt: skip
def test_it_is_good_from_the_moment_it_is_made_until_it_is_over(after: timedelta, good: bool) -> None:
    if good:
        assert check(MADE.whole, now=NOW + after).claims["acts"] == 42
    else:
        with pytest.raises(AttestationInvalid):
            check(MADE.whole, now=NOW + after)


def test_white_space_around_a_file_is_no_change() -> None:
    assert check(f"\n{MADE.whole}\r\n").claims["acts"] == 42


@pytest.mark.parametrize(
    "text", ["", "~", "a~b", "a.b.c~", "~" * 600, "é~", MADE.whole.replace("~", "~~", 1), "x" * 70_000]
)
def test_what_is_no_sd_jwt_is_refused(text: str) -> None:
    with pytest.raises(AttestationInvalid):
        check(text)


@pytest.mark.parametrize(
    "document",
    [None, [], {}, {"keys": 1}, {"jwks": []}, {"issuer": 1, "keys": []}, {"keys": [{"kty": "EC", "crv": "P-521"}]}],
)
def test_what_is_no_set_of_keys_is_refused(document: object) -> None:
    with pytest.raises(AttestationInvalid):
        parse_keys(document)


def test_keys_of_other_kinds_in_a_set_are_passed_over() -> None:
    keys = parse_keys({"keys": [{"kty": "RSA", "n": "x"}, KEY.as_dict(private=False)]})
    assert verify_attestation(MADE.whole, keys, now=NOW).claims["acts"] == 42


@pytest.mark.parametrize("part", ["", "=", "AB=", "A", "A+", "AB", "碳"])
def test_base64url_is_read_in_the_one_way_that_there_is(part: str) -> None:
    with pytest.raises(JwtInvalid):
        decode_part(part)
    assert decode_part("AA") == urlsafe_b64decode("AA==")


def test_a_path_that_is_not_there_cannot_be_shown() -> None:
    with pytest.raises(SdJwtInvalid, match="it has no claim gold"):
        show(MADE.whole, MADE.payload, ["gold"])


def test_a_list_lives_for_a_day() -> None:
    assert timedelta(days=1) == LIFE
    token = sign_status_list(KEY, BITS, uri=URI, issuer=ISSUER, now=NOW)
    assert check(MADE.whole, status=token, now=NOW + LIFE - timedelta(seconds=1)).status is Status.VALID
    with pytest.raises(AttestationInvalid, match="the status list is over"):
        check(MADE.whole, status=token, now=NOW + LIFE)
