"""Access tokens of platforms' own systems, asked for as RFC 7523 and FAPI say. I/O: the hub's token endpoint."""

import json
import secrets
from typing import Any

from joserfc import jwt
from joserfc.jwk import ECKey
from tests_support.web import Caller

from consent.clients import register_client
from hub.context import Hub
from hub.db import writing

KEY = ECKey.generate_key("P-256", {"kid": "k"})
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def metadata(scope: str = "records:write") -> dict[str, Any]:
    """RFC 7591 metadata of a machine."""
    return {
        "client_name": "一个平台",
        "scope": scope,
        "grant_types": ["client_credentials"],
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [KEY.as_dict(private=False)]},
    }


def bearer(hub: Hub, participant: str | None, scope: str = "records:write") -> dict[str, str]:
    """Register a client and return the header with a token that the hub gave it."""
    with writing(hub.engine) as session:
        client = register_client(session, metadata(scope), participant=participant, now=hub.clock())["client_id"]
    now = int(hub.clock().timestamp())
    claims = {"iss": client, "sub": client, "aud": hub.settings.issuer, "jti": secrets.token_hex(8), "iat": now}
    form = {
        "grant_type": "client_credentials",
        "scope": scope,
        "client_assertion_type": ASSERTION,
        "client_assertion": jwt.encode({"alg": "ES256", "kid": "k"}, claims | {"exp": now + 60}, KEY),
    }
    answer = Caller(hub).post("/oauth/token", data=form)
    assert answer.status_code == 200, answer.text
    return {"authorization": f"Bearer {json.loads(answer.content)['access_token']}"}
