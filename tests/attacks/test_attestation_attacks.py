"""Attacks on attestations: forged, changed, shown by others or to others, revoked ones that are passed off as good."""

import json
import zlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from joserfc.jwk import ECKey
from tests_support.attesting import Recipient, bound, jwks_of, list_of, own, payload_of, settle_town
from tests_support.oauth import EC, encode_part, sign_jwt
from tests_support.portal import Visitor, give_password, visitor
from tests_support.web import Caller, count

from hub.attestations.content import TYPE
from hub.attestations.jwt import decode_part, public_members
from hub.attestations.jwt import sign_jwt as sign_properly
from hub.attestations.sdjwt import digest_of
from hub.attestations.statuslist import SIZE, sign_status_list, with_bit
from hub.attestations.verify import AttestationInvalid, Expected, IssuerKeys, Status, parse_keys, verify_attestation
from hub.context import Hub

NOW = datetime(2026, 11, 20, 8, 0, tzinfo=UTC)
WALLET, THIEF = ECKey.generate_key("P-256"), ECKey.generate_key("P-256")
ME, OTHER = "https://bank.example", "https://other.example"


@pytest.fixture
def li(hub: Hub) -> int:
    return settle_town(hub)


@pytest.fixture
def keys(hub: Hub) -> IssuerKeys:
    return parse_keys(jwks_of(hub))


def refused(text: str, keys: IssuerKeys, *, now: datetime = NOW, status: str | None = None, **expected: Any) -> str:
    with pytest.raises(AttestationInvalid) as caught:
        verify_attestation(text, keys, now=now, expected=Expected(**expected), status_list=status)
    return str(caught.value)


def disclosure(*parts: Any) -> str:
    return encode_part(json.dumps(parts).encode())


def resigned(hub: Hub, statement: str, **changed: Any) -> str:
    """What only the hub itself could sign: for what a verifier must refuse even then."""
    payload = payload_of(statement) | changed
    return sign_properly(hub.ring.attestation_key, TYPE, payload) + statement[statement.index("~") :]


def test_no_algorithm_but_the_agreed_one_signs(hub: Hub, li: int, keys: IssuerKeys) -> None:
    _, statement = own(hub, li)
    payload, rest = payload_of(statement), statement[statement.index("~") :]
    public = hub.ring.attestation_key.as_pem(private=False)
    for alg, key in (("none", None), ("None", None), ("HS256", public), ("ES256", THIEF), ("PS256", None)):
        header = {"alg": alg, "typ": TYPE, "kid": "attestation-0001"}
        forged = sign_jwt(header, payload, key) if alg not in ("None", "PS256") else ""
        if not forged:
            head = encode_part(json.dumps(header).encode())
            forged = ".".join([head, *statement.split("~")[0].split(".")[1:]])
        assert refused(forged + rest, keys)
    stripped = ".".join([*statement.split("~")[0].split(".")[:2], ""])
    assert refused(stripped + rest, keys)


def test_keys_that_come_with_a_statement_sign_nothing(hub: Hub, li: int, keys: IssuerKeys) -> None:
    _, statement = own(hub, li)
    for header in ({"jwk": THIEF.as_dict(private=False)}, {"kid": "oauth-0001"}, {"kid": "../x"}, {"kid": None}, {}):
        forged = sign_jwt({"alg": "ES256", "typ": TYPE, **header}, payload_of(statement), THIEF)
        assert "key" in refused(forged + "~", keys)


def test_a_statement_of_the_hub_s_of_another_type_is_no_attestation(hub: Hub, li: int, keys: IssuerKeys) -> None:
    _, statement = own(hub, li)
    for kind in ("consent-receipt+jwt", "vc+sd-jwt", "statuslist+jwt", "JWT"):
        forged = sign_properly(hub.ring.attestation_key, kind, payload_of(statement))
        assert "not of the type" in refused(forged + "~", keys)
    # The key of receipts and tokens is not among those for attestations, and the other way round.
    by_receipts = sign_properly(hub.ring.signing_key, TYPE, payload_of(statement))
    assert "not among those" in refused(by_receipts + "~", keys)
    published = {key["kid"] for key in Caller(hub).get("/oauth/jwks").json()["keys"]}
    assert not published & keys.keys.keys()


def test_a_disclosure_that_was_made_up_or_is_another_person_s_belongs_to_no_digest(
    hub: Hub, li: int, keys: IssuerKeys
) -> None:
    _, statement = own(hub, li, "acts")
    _, other = own(hub, li, "final_mg")
    more = disclosure("c2FsdA", "final_mg", 10**12)
    assert "belongs to no digest" in refused(statement + more + "~", keys)
    assert "belongs to no digest" in refused(statement + other.split("~")[1] + "~", keys)
    changed = disclosure(*json.loads(decode_part(statement.split("~")[1]))[:2], 9_999)
    assert "belongs to no digest" in refused(statement.split("~")[0] + "~" + changed + "~", keys)


def test_a_digest_or_a_disclosure_that_is_there_twice_is_refused(hub: Hub, li: int, keys: IssuerKeys) -> None:
    _, statement = own(hub, li, "acts")
    payload = payload_of(statement)
    shown = statement.split("~")[1]
    assert "twice" in refused(statement + shown + "~", keys)
    assert "twice" in refused(resigned(hub, statement, _sd=[*payload["_sd"], payload["_sd"][0]]), keys)
    # The same claim in two places: whoever reads could take it for two.
    assert "twice" in refused(resigned(hub, statement, by_region_mg={"_sd": [digest_of(shown)]}), keys)


@pytest.mark.parametrize(
    "parts",
    [
        ("salt", "_sd", ["x"]), ("salt", "...", 1), ("salt", "scope", "account"), ("salt", "exp", 2**33), ("salt", "final_mg"),
        ("salt", 7, 1), (7, "final_mg", 1), ("salt",), ("a", "b", "c", "d"), ("salt", "cnf", {"jwk": {}}), ("salt", "status", {}),
        ("salt", "deep", {"_sd_alg": "sha-256"}), ("salt", "deep", {"_sd": "x"}), ("salt", "deep", [{"...": 1}]),
        ("salt", "deep", [{"...": "x", "more": 1}]), ("salt", "deep", {"...": "x"}),
    ],
)  # fmt: skip
def test_a_disclosure_that_is_malformed_or_would_overwrite_a_claim_is_refused(
    hub: Hub, li: int, keys: IssuerKeys, parts: tuple[Any, ...]
) -> None:
    _, statement = own(hub, li, "acts")
    text = disclosure(*parts)
    payload = payload_of(statement)
    changed = resigned(hub, statement, _sd=[*payload["_sd"], digest_of(text)])
    assert refused(changed.split("~")[0] + "~" + text + "~", keys)


def test_what_must_stand_in_the_open_cannot_be_hidden_by_leaving_it_out(hub: Hub, li: int, keys: IssuerKeys) -> None:
    """A hidden `exp` or `cnf` would bind nobody: its holder would just not show it."""
    _, statement = own(hub, li, "acts")
    for name in ("exp", "cnf", "status", "nbf"):
        text = disclosure("salt", name, 1)
        payload = payload_of(statement)
        payload.pop(name, None)
        payload["_sd"].append(digest_of(text))
        signed = sign_properly(hub.ring.attestation_key, TYPE, payload)
        assert "must stand in the open" in refused(f"{signed}~{text}~", keys)


def test_digests_of_another_hash_are_refused(hub: Hub, li: int, keys: IssuerKeys) -> None:
    _, statement = own(hub, li, "acts")
    assert "hash" in refused(resigned(hub, statement, _sd_alg="md5"), keys)


def test_another_kind_of_statement_or_issuer_is_not_taken_for_this_one(hub: Hub, li: int, keys: IssuerKeys) -> None:
    _, statement = own(hub, li, "acts")
    assert "no attestation" in refused(resigned(hub, statement, vct="urn:other"), keys)
    assert "issuer" in refused(resigned(hub, statement, iss="https://evil.example"), keys)
    assert "status list" in refused(resigned(hub, statement, status={"status_list": {"idx": -1, "uri": "x"}}), keys)
    assert "is no time" in refused(resigned(hub, statement, exp="later"), keys)
    assert "made, or until when" in refused(resigned(hub, statement, exp=None), keys)


def test_who_saw_a_bound_statement_cannot_show_it_again(hub: Hub, li: int, keys: IssuerKeys) -> None:
    _, statement = own(hub, li, "acts", holder=public_members(WALLET))
    good = bound(statement, WALLET, aud=ME, nonce="n-1")
    assert verify_attestation(good, keys, now=NOW, expected=Expected(audience=ME, nonce="n-1")).holder_proved
    assert "has not proved" in refused(statement, keys, audience=ME)
    assert "has not proved" in refused(statement, keys, nonce="n-1")
    assert "does not fit" in refused(bound(statement, THIEF, aud=ME, nonce="n-1"), keys, audience=ME)
    assert "somebody else" in refused(good, keys, audience=OTHER)
    assert "another occasion" in refused(good, keys, audience=ME, nonce="n-2")
    assert "another time" in refused(good, keys, audience=ME, nonce="n-1", now=NOW + timedelta(minutes=11))
    binding = good.rsplit("~", 1)[1]
    assert "another showing" in refused(statement.split("~")[0] + "~" + binding, keys, audience=ME, nonce="n-1")
    assert "not of the type" in refused(
        statement + sign_jwt({"alg": "ES256", "typ": "JWT"}, {"aud": ME}, WALLET), keys, audience=ME
    )


def test_the_key_of_one_statement_proves_nothing_of_another(hub: Hub, li: int, keys: IssuerKeys) -> None:
    _, theirs = own(hub, li, "acts", holder=public_members(WALLET))
    _, mine = own(hub, li, "acts", holder=public_members(THIEF))
    # The thief puts his own key and proof to the other statement, or replaces what it is bound to.
    assert "does not fit" in refused(bound(theirs, THIEF, aud=ME, nonce="n"), keys, audience=ME, nonce="n")
    swapped = mine.split("~")[0] + theirs[theirs.index("~") :]
    assert refused(bound(swapped, THIEF, aud=ME, nonce="n"), keys, audience=ME, nonce="n")
    _, unbound = own(hub, li, "acts")
    assert "names none" in refused(bound(unbound, THIEF, aud=ME, nonce="n"), keys, audience=ME, nonce="n")


def test_a_statement_for_one_recipient_is_worth_nothing_at_another(hub: Hub, li: int, keys: IssuerKeys) -> None:
    bank = Recipient.of(hub, li)
    statement = bank.ask().json()["attestation"]
    assert verify_attestation(statement, keys, now=NOW, expected=Expected(audience=bank.client_id)).claims["acts"] == 4
    assert "made for somebody else" in refused(statement, keys, audience="another-client")


def test_a_revoked_statement_is_not_passed_off_with_an_old_list_or_with_another(
    hub: Hub, li: int, keys: IssuerKeys
) -> None:
    name, statement = own(hub, li)
    issuer, key = hub.settings.issuer, hub.ring.attestation_key
    before = list_of(hub)
    place = payload_of(statement)["status"]["status_list"]
    bits = with_bit(bytes(SIZE // 8), place["idx"])
    uri, soon = place["uri"], NOW + timedelta(minutes=5)
    after = sign_status_list(key, bits, uri=uri, issuer=issuer, now=soon)
    seen = verify_attestation(statement, keys, now=soon, status_list=after)
    assert (seen.status, name) == (Status.REVOKED, seen.claims["jti"])
    # Rolled back to a copy of before: refused where the verifier says how old a list may be, and by itself after a day.
    minute = timedelta(seconds=60)
    assert "fetch a fresh one" in refused(statement, keys, now=soon, status=before, most_status_age=minute)
    assert "is over since" in refused(statement, keys, now=NOW + timedelta(days=1), status=before)
    older = sign_status_list(key, bytes(SIZE // 8), uri=uri, issuer=issuer, now=NOW - timedelta(hours=1))
    assert "older than the statement" in refused(statement, keys, status=older)
    coming = sign_status_list(key, bytes(SIZE // 8), uri=uri, issuer=issuer, now=NOW + timedelta(hours=1))
    assert "has not come" in refused(statement, keys, status=coming)
    elsewhere = sign_status_list(key, bytes(SIZE // 8), uri=f"{uri}0", issuer=issuer, now=NOW)
    assert "not the one that the statement names" in refused(statement, keys, status=elsewhere)
    by_thief = ECKey.import_key(THIEF.as_pem(private=True), {"kid": key.kid})
    forged = sign_status_list(by_thief, bytes(SIZE // 8), uri=uri, issuer=issuer, now=NOW)
    assert "does not fit" in refused(statement, keys, status=forged)


def test_a_list_that_is_short_swollen_or_malformed_is_refused(hub: Hub, li: int, keys: IssuerKeys) -> None:
    _, statement = own(hub, li)
    place = payload_of(statement)["status"]["status_list"]

    def listed(told: Any, **changed: Any) -> str:
        claims = {"sub": place["uri"], "iss": hub.settings.issuer, "iat": int(NOW.timestamp()), "status_list": told}
        return sign_properly(hub.ring.attestation_key, "statuslist+jwt", claims | changed)

    def packed(bits: bytes) -> dict[str, Any]:
        return {"bits": 1, "lst": encode_part(zlib.compress(bits, 9))}

    bomb = packed(bytes(40_000_000))
    assert len(bomb["lst"]) < 60_000
    assert "longer than this reader takes" in refused(statement, keys, status=listed(bomb))
    assert "no place" in refused(statement, keys, status=listed(packed(bytes(place["idx"] // 8))))
    for told in (None, [], {}, {"bits": 2, "lst": "AA"}, {"bits": 1, "lst": 7}, {"bits": 1, "lst": "AA"}):
        assert refused(statement, keys, status=listed(told))
    assert "is no time" in refused(statement, keys, status=listed(packed(bytes(SIZE // 8)), exp=True))
    assert "when it was made" in refused(statement, keys, status=listed(packed(bytes(SIZE // 8)), iat=None))
    assert refused(statement, keys, status="not a list")
    assert refused(statement, keys, status=statement)


def test_forms_from_elsewhere_make_and_revoke_nothing(hub: Hub, li: int) -> None:
    give_password(hub, "li")
    name, _ = own(hub, li)
    mine, stranger = Visitor(hub), visitor(hub, "zhao")
    mine.sign_in()
    fields = {"from": "2026-11-01", "until": "2026-11-20", "say.acts": "yes"}
    for path in ("/attestations", f"/attestations/{name}/revoke"):
        for forged in ({"csrf": ""}, {"csrf": stranger.csrf}):
            assert mine.send(path, **{**fields, **forged}).status == 403
        assert mine.send(path, headers={"origin": "https://evil.example"}, **fields).status == 403
    for path in (f"/attestations/{name}", f"/attestations/{name}/download"):
        assert stranger.see(path).status == 404
        assert (Visitor(hub).see(path).goes_to or "").startswith("/signin")
    assert stranger.send(f"/attestations/{name}/revoke").status == 404
    assert count(hub, "attestation") == {"attestation": 1}


def test_a_private_key_or_none_at_all_gets_into_no_statement(hub: Hub, li: int) -> None:
    give_password(hub, "li")
    mine = Visitor(hub)
    mine.sign_in()
    fields = {"from": "2026-11-01", "until": "2026-11-20", "say.acts": "yes"}
    for key in (json.dumps(EC.as_dict(private=True)), "{", "[]", '{"kty":"EC"}', '{"kty":"EC","kty":"oct"}'):
        assert mine.send("/attestations", key=key, **fields).status == 400
    assert count(hub, "attestation") == {"attestation": 0}
