"""A client library that is not ours (requests_oauth2client), at a hub that really listens, from discovery to revocation."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from jwskate import Jwk
from requests_oauth2client import (
    AuthorizationResponseError,
    BearerToken,
    DPoPKey,
    DPoPToken,
    InvalidGrant,
    InvalidUseDPoPNonceResponse,
    OAuth2Client,
    PrivateKeyJwt,
)
from tests_support.oauth import METADATA, REDIRECT, TYPE
from tests_support.portal import Visitor, visitor
from tests_support.town import served_hub
from tests_support.web import look_up

from consent.clients import register_client
from consent.withdraw import withdraw_grant
from hub.clock import system_clock
from hub.context import Hub
from hub.db import writing

ALGORITHMS = ["ES256", "PS256", "EdDSA"]
DETAILS = json.dumps([{"type": TYPE, "actions": ["read"], "behaviours": ["FOOD-CLEANPLATE"], "frequency": "daily"}])


@dataclass
class Shop:
    """The library's client, and what it needs around it."""

    hub: Hub
    client: OAuth2Client
    session: requests.Session
    li: Visitor

    def ask(self, key: DPoPKey, decision: str = "approve") -> tuple[str, object]:
        """Push a request with the library, let the person decide in a browser; returns where the browser is sent."""
        request = self.client.authorization_request(
            scope="account:read", authorization_details=DETAILS, dpop=True, dpop_key=key
        )
        pushed = self.client.pushed_authorization_request(request)
        page = urlsplit(str(pushed.uri))
        question = self.li.see(f"{page.path}?{page.query}")
        assert question.status == 200, question.text
        self.li.csrf = question.csrf
        answer = self.li.send(page.path, **dict(parse_qsl(page.query)), decision=decision)
        return str(answer.goes_to), request

    def token(self, key: DPoPKey) -> DPoPToken:
        where, request = self.ask(key)
        answer = request.validate_callback(where)  # type: ignore[attr-defined]
        token = self.client.authorization_code(answer, validate=False)
        assert isinstance(token, DPoPToken)
        return token

    def account(self, token: BearerToken) -> int:
        """Call the API; the library takes every 401 for a demand of a nonce, and raises where it was none."""
        try:
            return self.session.get(f"{self.hub.settings.issuer}/v1/account", auth=token).status_code
        except InvalidUseDPoPNonceResponse as refused:
            return refused.response.status_code


@pytest.fixture
def real(hub: Hub) -> Iterator[Hub]:
    """The hub at an address of its own, in the time of the clock on the wall, which the library lives in."""
    with served_hub(replace(hub, clock=system_clock)) as there:
        yield there


def make_shop(hub: Hub, alg: str = "ES256") -> Shop:
    key = Jwk.generate(alg=alg).with_kid_thumbprint()
    metadata = {**METADATA, "jwks": {"keys": [key.public_jwk().to_dict()]}}
    with writing(hub.engine) as session:
        client_id = register_client(session, metadata, participant=None, now=hub.clock())["client_id"]
    issuer, network = hub.settings.issuer, requests.Session()
    network.trust_env = False
    client = OAuth2Client.from_discovery_endpoint(
        f"{issuer}/.well-known/oauth-authorization-server", issuer=issuer, testing=True, session=network,
        auth=PrivateKeyJwt(client_id, key, aud=issuer), redirect_uri=REDIRECT, code_challenge_method="S256",
    )  # fmt: skip
    return Shop(hub=hub, client=client, session=network, li=visitor(hub))


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_the_library_walks_the_whole_way(real: Hub, alg: str) -> None:
    shop, key = make_shop(real, alg), DPoPKey.generate(alg="ES256")
    token = shop.token(key)
    assert (token.scope, token.expires_in is not None) == ("account:read", True)
    assert key.as_nonce is not None, "the server's nonce was asked for and learned"
    assert token.as_dict()["authorization_details"][0]["behaviours"] == ["FOOD-CLEANPLATE"]
    assert shop.account(token) == 200
    assert key.rs_nonce is not None
    told = shop.client.introspect_token(token)
    assert (told["active"], told["cnf"]["jkt"]) == (True, key.dpop_jkt)
    fresh = shop.client.refresh_token(token, dpop_key=key)
    assert isinstance(fresh, DPoPToken)
    assert shop.account(fresh) == 200
    assert shop.client.revoke_access_token(fresh)
    assert [shop.account(one) for one in (fresh, token)] == [401, 200]
    assert shop.client.revoke_refresh_token(token.refresh_token)
    with pytest.raises(InvalidGrant):
        shop.client.refresh_token(token, dpop_key=key)
    assert shop.account(token) == 401


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_the_library_proves_keys_of_every_kind(real: Hub, alg: str) -> None:
    shop = make_shop(real)
    assert shop.account(shop.token(DPoPKey.generate(alg=alg))) == 200


def test_the_library_acts_for_itself_too(real: Hub) -> None:
    shop, key = make_shop(real), DPoPKey.generate(alg="ES256")
    token = shop.client.client_credentials(scope="records:write", dpop=True, dpop_key=key)
    assert shop.client.introspect_token(token)["scope"] == "records:write"
    assert shop.account(token) == 403


def test_the_library_reads_a_no_as_one(real: Hub) -> None:
    shop = make_shop(real)
    where, request = shop.ask(DPoPKey.generate(alg="ES256"), "refuse")
    with pytest.raises(AuthorizationResponseError) as told:
        request.validate_callback(where)  # type: ignore[attr-defined]
    assert told.value.error == "access_denied"


def test_a_withdrawal_is_felt_by_the_library_at_once(real: Hub) -> None:
    shop, key = make_shop(real), DPoPKey.generate(alg="ES256")
    token = shop.token(key)
    assert shop.account(token) == 200
    ((grant_id, subject_id),) = look_up(real, "SELECT DISTINCT grant_id, subject_id FROM grant_version")
    with writing(real.engine) as session:
        withdraw_grant(session, grant_id=grant_id, subject_id=subject_id, now=real.clock())
    assert shop.account(token) == 401
    with pytest.raises(InvalidGrant):
        shop.client.refresh_token(token, dpop_key=key)
