"""Which clients may be registered, what is registered of them, and what the server says of itself."""

from datetime import datetime
from functools import partial
from typing import Any

import pytest
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata
from sqlalchemy import Engine
from tests_support.oauth import EC, ISSUER, METADATA, count_rows, encode_part
from tests_support.oauth import given as without

from consent.authority import Authority
from consent.clients import RegistrationRefused, load_client, register_client
from consent.metadata import resource_metadata, server_metadata
from consent.routes import oauth_router
from consent.tables import OAuthClient
from hub.db import writing

WEAK_RSA = {"kty": "RSA", "e": "AQAB", "n": encode_part(b"\xc1" * 128)}
PUBLIC = EC.as_dict(private=False)
REFUSED_METADATA: dict[str, dict[str, Any]] = {
    "no name": {"client_name": ""},
    "a name of nothing but spaces": {"client_name": "  "},
    "an endless name": {"client_name": "x" * 121},
    "a name with a NUL": {"client_name": "a\x00b"},
    "a name that is read backwards": {"client_name": "a\u202eb"},
    "unknown scope": {"scope": "records:write everything"},
    "no scope": {"scope": ""},
    "a public client": {"token_endpoint_auth_method": "none"},
    "a shared secret": {"token_endpoint_auth_method": "client_secret_basic"},
    "password grant": {"grant_types": ["password"]},
    "implicit grant": {"grant_types": ["implicit"]},
    "grant types as text": {"grant_types": "client_credentials"},
    "code without redirect": {"grant_types": ["authorization_code"], "redirect_uris": []},
    "redirects as text": {"redirect_uris": "https://bank.example/cb"},
    "plain redirect": {"redirect_uris": ["http://bank.example/cb"]},
    "redirect with fragment": {"redirect_uris": ["https://bank.example/cb#x"]},
    "redirect with a name in it": {"redirect_uris": ["https://bank.example@evil.example/cb"]},
    "redirect that would write the page's policy": {"redirect_uris": ["https://bank.example;script-src *;/cb"]},
    "redirect with a line end": {"redirect_uris": ["https://bank.example/cb\r\nx: y"]},
    "redirect with a space": {"redirect_uris": ["https://bank.example/c b"]},
    "redirect with a backslash": {"redirect_uris": ["https://bank.example\\@evil.example/cb"]},
    "redirect that is not ASCII": {"redirect_uris": ["https://银行.example/cb"]},
    "redirect with a wildcard": {"redirect_uris": ["https://*.bank.example/cb"]},
    "script redirect": {"redirect_uris": ["javascript:alert(1)"]},
    "no keys": {"jwks": {"keys": []}},
    "too many keys": {"jwks": {"keys": [PUBLIC] * 9}},
    "keys elsewhere": {"jwks": None, "jwks_uri": "https://bank.example/jwks"},
    "private key": {"jwks": {"keys": [EC.as_dict(private=True)]}},
    "symmetric key": {"jwks": {"keys": [{"kty": "oct", "k": "c2VjcmV0"}]}},
    "foreign curve": {"jwks": {"keys": [{**PUBLIC, "crv": "P-384"}]}},
    "short RSA": {"jwks": {"keys": [WEAK_RSA]}},
    "key that cannot be read": {"jwks": {"keys": [{"kty": "EC", "crv": "P-256", "x": "a"}]}},
    "key that is a text": {"jwks": {"keys": ["EC"]}},
    "key of a kind that is a list": {"jwks": {"keys": [{"kty": ["EC"]}]}},
    "tokens bound to nothing": {"dpop_bound_access_tokens": False},
    "tokens bound to both": {"dpop_bound_access_tokens": True, "tls_client_certificate_bound_access_tokens": True},
    "a binding that is a text": {"tls_client_certificate_bound_access_tokens": "yes"},
}


@pytest.mark.parametrize("name", list(REFUSED_METADATA))
def test_registration_refuses(engine: Engine, now: datetime, name: str) -> None:
    with writing(engine) as session, pytest.raises(RegistrationRefused):
        register_client(session, {**METADATA, **REFUSED_METADATA[name]}, participant=None, now=now)
    assert count_rows(engine, OAuthClient) == 0


@pytest.mark.parametrize(
    "uri",
    [
        "https://bank.example/cb",
        "https://bank.example:8443/cb?kept=1",
        "http://127.0.0.1:9/cb",
        "http://[::1]:9/cb",
        "https://xn--fiq228c.example/a_b/~c;d",
    ],
)
def test_a_plain_https_address_can_be_registered_and_no_other_one_then_fits(
    engine: Engine, now: datetime, uri: str
) -> None:
    with writing(engine) as session:
        told = register_client(session, {**METADATA, "redirect_uris": [uri]}, participant=None, now=now)
        client = load_client(session, told["client_id"])
        assert client is not None
        near = [uri + "/", uri + "?a=b", uri + "#x", uri.upper(), uri[:-1], uri + "/../evil", ""]
        assert [client.check_redirect_uri(one) for one in [uri, *near]] == [True] + [False] * len(near)


def test_registration_answers_with_what_was_registered_and_never_takes_the_participant_from_the_document(
    engine: Engine, now: datetime
) -> None:
    with writing(engine) as session:
        told = register_client(
            session, {**METADATA, "participant": "citic-carbon", "client_id": "c_mine"}, participant=None, now=now
        )
        row = session.get_one(OAuthClient, told["client_id"])
        assert row.participant is None
        assert told["client_id"].startswith("c_")
        assert told["client_id"] != "c_mine"
        assert (told["client_name"], told["jwks"]) == (METADATA["client_name"], METADATA["jwks"])
        assert (told["dpop_bound_access_tokens"], told["tls_client_certificate_bound_access_tokens"]) == (True, False)
        assert "participant" not in told


def test_a_client_that_says_little_gets_the_least(engine: Engine, now: datetime) -> None:
    metadata = without({**METADATA, "grant_types": ..., "redirect_uris": ..., "token_endpoint_auth_method": ...})
    with writing(engine) as session:
        told = register_client(session, metadata, participant=None, now=now)
    assert (told["grant_types"], told["response_types"], told["redirect_uris"]) == (["client_credentials"], [], [])


def test_the_metadata_is_valid_and_names_only_what_is_there(
    authority: Authority, engine: Engine, now: datetime
) -> None:
    router = oauth_router(
        authority, transactions=partial(writing, engine), clock=lambda: now, note=lambda *_: None,
        certificate=lambda _request: None,
    )  # fmt: skip
    document = server_metadata(ISSUER, mtls=False)
    for name in ("issuer", "token_endpoint", "jwks_uri", "token_endpoint_auth_methods_supported"):
        getattr(AuthorizationServerMetadata(document), f"validate_{name}")()
    paths = {str(getattr(route, "path", "")) for route in router.routes} | {
        "/oauth/authorize"
    }  # a page, not served here
    served = {path.removesuffix("/{grant_id}") for path in paths}
    named = {url.removeprefix(ISSUER) for name, url in document.items() if name.endswith(("_endpoint", "_uri"))}
    assert named <= served
    assert len(named) == 8


def test_the_metadata_promises_what_fapi_asks_and_no_weaker_way() -> None:
    document = server_metadata(ISSUER, mtls=False)
    assert document["require_pushed_authorization_requests"] is True
    assert document["authorization_response_iss_parameter_supported"] is True
    assert document["response_types_supported"] == ["code"]
    assert document["code_challenge_methods_supported"] == ["S256"]
    assert not {"password", "implicit"} & set(document["grant_types_supported"])
    algorithms = [values for name, values in document.items() if name.endswith("alg_values_supported")]
    assert len(algorithms) == 4
    assert all(set(values) == {"ES256", "PS256", "EdDSA", "Ed25519"} for values in algorithms)
    methods = [values for name, values in document.items() if name.endswith("_auth_methods_supported")]
    assert methods == [["private_key_jwt"]] * 3


@pytest.mark.parametrize("mtls", [True, False])
def test_certificates_are_offered_only_where_somebody_reads_them(mtls: bool) -> None:
    server, resource = server_metadata(ISSUER, mtls=mtls), resource_metadata(ISSUER, mtls=mtls)
    assert server["tls_client_certificate_bound_access_tokens"] is mtls
    assert resource["tls_client_certificate_bound_access_tokens"] is mtls
    assert resource["dpop_bound_access_tokens_required"] is not mtls
    assert (resource["resource"], resource["authorization_servers"]) == (ISSUER, [ISSUER])
