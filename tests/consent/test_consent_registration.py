"""Dynamic registration: nobody comes in without a word of a registry that the operator trusts (RFC 7591, RFC 7592)."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine
from tests_support.oauth import EC, ED, ISSUER, METADATA, OTHER, REDIRECT, Bank, count_rows, dump, encode_part, sign_jwt

from consent.registration import DOCUMENT_BYTES, manage, register
from consent.requests import Answer
from consent.tables import OAuthClient
from hub.db import reading, writing

REGISTRY = "https://registry.example"
REGISTRIES = {
    "https://older.example": {"keys": [ED.as_dict(private=False)]},
    REGISTRY: {"keys": [EC.as_dict(private=False)]},
}


class Desk:
    """The address for registration."""

    def __init__(self, bank: Bank) -> None:
        self.engine: Engine = bank.engine
        self.now = bank.now

    def statement(self, key: Any = EC, header: dict[str, Any] | None = None, **changed: Any) -> str:
        claims = {
            "iss": REGISTRY, "exp": int(self.now.timestamp()) + 3600, "software_id": "s-1",
            "client_name": "注册的银行", "redirect_uris": [REDIRECT], "scope": "account:read",
            "grant_types": ["authorization_code", "refresh_token"],
        }  # fmt: skip
        kept = {name: value for name, value in {**claims, **changed}.items() if value is not ...}
        return sign_jwt({"alg": "ES256", "typ": "JWT", **(header or {})}, kept, key)

    def register(self, **changed: Any) -> tuple[Answer, str | None]:
        document = {"software_statement": self.statement(), "jwks": METADATA["jwks"], **changed}
        kept = {name: value for name, value in document.items() if value is not ...}
        return self.send(json.dumps(kept).encode())

    def send(self, body: bytes) -> tuple[Answer, str | None]:
        with writing(self.engine) as session:
            return register(
                session, body, issuer=ISSUER, registries=REGISTRIES, webhook_secret=lambda name: f"secret of {name}",
                now=self.now,
            )  # fmt: skip

    def registered(self, **changed: Any) -> dict[str, Any]:
        answer, client_id = self.register(**changed)
        told: dict[str, Any] = json.loads(answer.body)
        assert answer.status == 201, told
        assert told["client_id"] == client_id
        return told

    def manage(self, method: str, client_id: str, token: str | None, body: Any = None) -> tuple[Answer, str | None]:
        shown = None if token is None else f"Bearer {token}"
        sent = body if isinstance(body, bytes) else json.dumps(body).encode()
        with writing(self.engine) as session:
            return manage(session, method, client_id, shown, sent)


@pytest.fixture
def desk(bank: Bank) -> Desk:
    with writing(bank.engine) as session:
        session.delete(session.get_one(OAuthClient, bank.client_id))
    return Desk(bank)


def test_a_client_whose_software_a_trusted_registry_vouches_for_is_registered(desk: Desk) -> None:
    told = desk.registered()
    assert (told["client_name"], told["scope"], told["software_id"]) == ("注册的银行", "account:read", "s-1")
    assert (told["redirect_uris"], told["jwks"]) == ([REDIRECT], METADATA["jwks"])
    assert told["registration_client_uri"] == f"{ISSUER}/oauth/register/{told['client_id']}"
    assert len(told["registration_access_token"]) >= 43
    assert told["registration_access_token"] not in dump(desk.engine)
    assert told["require_pushed_authorization_requests"] is True


@pytest.mark.parametrize("issuer", list(REGISTRIES))
def test_the_registry_itself_has_to_have_signed(desk: Desk, issuer: str) -> None:
    ours = issuer == REGISTRY
    right, wrong = ((EC, "ES256"), (ED, "Ed25519")) if ours else ((ED, "Ed25519"), (EC, "ES256"))
    for (key, alg), status in ((right, 201), (wrong, 400)):
        answer, _ = desk.register(software_statement=desk.statement(key, {"alg": alg}, iss=issuer))
        assert answer.status == status


STATEMENTS: dict[str, Callable[[Desk], Any]] = {
    "none": lambda d: ...,
    "no text": lambda d: {"iss": REGISTRY},
    "nothing": lambda d: "",
    "garbage": lambda d: "a.b.c",
    "not ASCII": lambda d: "证明",
    "an unknown registry": lambda d: d.statement(iss="https://evil.example"),
    "no registry": lambda d: d.statement(iss=...),
    "another key": lambda d: d.statement(OTHER),
    "over": lambda d: d.statement(exp=int(d.now.timestamp())),
    "without an end": lambda d: d.statement(exp=...),
    "an end that is true": lambda d: d.statement(exp=True),
    "an end that is a text": lambda d: d.statement(exp="9999999999"),
    "alg none": lambda d: d.statement(header={"alg": "none"}),
    "alg HS256 with the registry's key": lambda d: d.statement(EC.as_pem(private=False), {"alg": "HS256"}),
    "changed": lambda d: _changed(d.statement()),
    "a header without bottom": lambda d: f"{encode_part(b'[' * 4000)}.e30.AA",
    "claims without bottom": lambda d: f"{d.statement().split('.')[0]}.{encode_part(b'[' * 4000)}.AA",
    "crit of nothing": lambda d: d.statement(header={"crit": None}),
}


def _changed(statement: str) -> str:
    head, _, signature = statement.split(".")
    return f"{head}.{encode_part(json.dumps({'iss': REGISTRY, 'scope': 'regulator'}).encode())}.{signature}"


@pytest.mark.parametrize("name", list(STATEMENTS))
def test_without_a_statement_that_holds_nobody_is_registered(desk: Desk, name: str) -> None:
    answer, client_id = desk.register(software_statement=STATEMENTS[name](desk))
    told = json.loads(answer.body)
    assert (answer.status, told["error"], client_id) == (400, "invalid_software_statement", None)
    assert told["error_description"].isascii()
    assert count_rows(desk.engine, OAuthClient) == 0


def test_what_the_statement_says_wins_over_what_the_client_says(desk: Desk) -> None:
    told = desk.registered(
        client_name="碳联", scope="account:read regulator", redirect_uris=["https://evil.example/cb"],
        grant_types=["client_credentials"], software_id="s-2", participant="citic-carbon",
    )  # fmt: skip
    assert (told["client_name"], told["scope"], told["software_id"]) == ("注册的银行", "account:read", "s-1")
    assert (told["redirect_uris"], told["grant_types"]) == ([REDIRECT], ["authorization_code", "refresh_token"])
    with reading(desk.engine) as session:
        assert session.get_one(OAuthClient, told["client_id"]).participant is None


def test_only_the_registry_says_for_which_participant_a_client_acts(desk: Desk) -> None:
    told = desk.registered(software_statement=desk.statement(participant="citic-carbon"))
    with reading(desk.engine) as session:
        assert session.get_one(OAuthClient, told["client_id"]).participant == "citic-carbon"


def test_keys_of_a_statement_are_the_client_s_keys(desk: Desk) -> None:
    vouched = {"keys": [OTHER.as_dict(private=False)]}
    assert desk.registered(software_statement=desk.statement(jwks=vouched))["jwks"] == vouched


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"jwks": {"keys": []}}, "invalid_client_metadata"),
        ({"token_endpoint_auth_method": "none"}, "invalid_client_metadata"),
        ({"dpop_bound_access_tokens": False}, "invalid_client_metadata"),
    ],
)
def test_what_a_statement_leaves_open_is_checked_as_ever(desk: Desk, changed: dict[str, Any], error: str) -> None:
    answer, client_id = desk.register(**changed)
    assert (answer.status, json.loads(answer.body)["error"], client_id) == (400, error, None)
    assert count_rows(desk.engine, OAuthClient) == 0


@pytest.mark.parametrize(
    ("claim", "value", "error"),
    [
        ("redirect_uris", ["http://evil.example"], "invalid_redirect_uri"),
        ("scope", 'every"thing\\', "invalid_client_metadata"),
        ("scope", "全部", "invalid_client_metadata"),
        ("scope", ["account:read"], "invalid_client_metadata"),
        ("client_name", "a\x00b", "invalid_client_metadata"),
    ],
)
def test_even_a_registry_cannot_register_what_may_not_be(desk: Desk, claim: str, value: Any, error: str) -> None:
    answer, _ = desk.register(software_statement=desk.statement(**{claim: value}))
    told = json.loads(answer.body)
    assert (answer.status, told["error"]) == (400, error)
    assert not set('"\\') & set(told["error_description"])
    assert told["error_description"].isascii()


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'"x"', b"\xff", b"[" * 60_000, b'{"a":"' + b"x" * DOCUMENT_BYTES + b'"}']
)
def test_a_body_that_is_no_document_is_refused(desk: Desk, body: bytes) -> None:
    answer, client_id = desk.send(body)
    assert (answer.status, json.loads(answer.body)["error"], client_id) == (400, "invalid_client_metadata", None)


def test_a_client_reads_changes_and_deletes_its_own_registration(desk: Desk) -> None:
    told = desk.registered()
    client_id, token = told["client_id"], told["registration_access_token"]
    read, what = desk.manage("GET", client_id, token)
    assert (read.status, what) == (200, None)
    information = json.loads(read.body)
    assert information == {name: told[name] for name in told if not name.startswith("registration_")}
    keys = {"keys": [OTHER.as_dict(private=False)]}
    changed, what = desk.manage("PUT", client_id, token, {**information, "jwks": keys})
    assert (changed.status, what, json.loads(changed.body)["jwks"]) == (200, "changed", keys)
    gone, what = desk.manage("DELETE", client_id, token)
    assert (gone.status, gone.body, what) == (204, b"", "deleted")
    for method in ("GET", "PUT", "DELETE"):
        assert desk.manage(method, client_id, token, information)[0].status == 401


def test_a_change_touches_nothing_that_the_registry_vouched_for(desk: Desk) -> None:
    told = desk.registered()
    wanted = {
        "client_id": told["client_id"], "client_name": "碳联", "scope": "regulator", "jwks": told["jwks"],
        "redirect_uris": ["https://evil.example/cb"], "grant_types": ["client_credentials"], "software_id": "s-2",
    }  # fmt: skip
    answer, _ = desk.manage("PUT", told["client_id"], told["registration_access_token"], wanted)
    assert json.loads(answer.body) == {name: told[name] for name in told if not name.startswith("registration_")}


@pytest.mark.parametrize(
    "changed", [{"client_id": "c_other"}, {"client_id": ...}, {"jwks": {"keys": []}}, {"jwks": ...}]
)
def test_a_change_that_may_not_be_changes_nothing(desk: Desk, changed: dict[str, Any]) -> None:
    told = desk.registered()
    wanted = {name: value for name, value in {**told, **changed}.items() if value is not ...}
    answer, what = desk.manage("PUT", told["client_id"], told["registration_access_token"], wanted)
    assert (answer.status, what) == (400, None)
    read, _ = desk.manage("GET", told["client_id"], told["registration_access_token"])
    assert json.loads(read.body)["jwks"] == told["jwks"]


def test_a_wrong_token_and_an_unknown_client_are_one_answer_to_the_byte(desk: Desk) -> None:
    told = desk.registered()
    operators = desk.registered()
    with writing(desk.engine) as session:
        session.get_one(OAuthClient, operators["client_id"]).management_hash = None
    token = told["registration_access_token"]
    cases = [
        (told["client_id"], None), (told["client_id"], ""), (told["client_id"], "rm_wrong"),
        (told["client_id"], operators["registration_access_token"]), ("c_unknown", token), ("c_unknown", None),
        ("c\x00", token), ("c\ud800", token), ("x" * 5000, token), ("客户", token),
        (operators["client_id"], operators["registration_access_token"]), (operators["client_id"], ""),
    ]  # fmt: skip
    for method in ("GET", "PUT", "DELETE"):
        answers = {
            (answer.status, tuple(answer.headers.items()), answer.body)
            for client_id, shown in cases
            for answer, _ in [desk.manage(method, client_id, shown, told)]
        }
        assert len(answers) == 1
        assert next(iter(answers))[0] == 401
    assert desk.manage("GET", told["client_id"], token)[0].status == 200
