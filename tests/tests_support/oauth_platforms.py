"""OAuth platforms to link with, honest and wicked, reached through httpx; every call to them is written down."""

import json
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet

from consent.platforms import PlatformConfig


@dataclass
class OAuthPlatform:
    """A platform's authorization server. `metadata` and `token_answer` overrule what an honest one would say.

    `jwks`: the hub's key set, where it authenticates by private_key_jwt. `nonce`: what a proof must hold. `rotates`: a
    refresh token is taken once, and a second use ends them all.
    """

    name: str
    account: str = "acc-1"
    secret: str = "s3cret/+"
    metadata: dict[str, Any] = field(default_factory=dict)
    token_answer: dict[str, Any] = field(default_factory=dict)
    token_status: int = 200
    calls: list[httpx.Request] = field(default_factory=list)
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    refresh_count: int = 0
    revoked: list[str] = field(default_factory=list)
    revoke_status: int = 200
    pushes: bool = False
    dpop: bool = False
    nonce: str | None = None
    jwks: dict[str, Any] | None = None
    rotates: bool = False
    used: set[str] = field(default_factory=set)
    pushed: dict[str, dict[str, str]] = field(default_factory=dict)
    assertions: list[dict[str, Any]] = field(default_factory=list)
    proofs: list[dict[str, Any]] = field(default_factory=list)
    bound_to: set[str] = field(default_factory=set)

    @property
    def issuer(self) -> str:
        return f"https://{self.name}.example"

    def config(self, **changed: Any) -> PlatformConfig:
        details: dict[str, Any] = {
            "platform": self.name,
            "issuer": self.issuer,
            "client_id": "hub@" + self.name,
            "client_secret": None if self.jwks else self.secret,
            "par": self.pushes,
            "dpop": self.dpop,
            "scopes": ("records:read", "openid"),
            "redirect_uri": f"https://hub.example/links/{self.name}/callback",
        }
        return PlatformConfig(**{**details, **changed})

    def approve(self, address: str) -> dict[str, str]:
        """What the browser brings back after the person said yes at `address`."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        asked = self.pushed.pop(asked["request_uri"]) if "request_uri" in asked else asked
        code = sha256(address.encode()).hexdigest()
        self.codes[code] = asked
        return {"code": code, "state": asked["state"], "iss": self.issuer}

    def paths(self) -> list[str]:
        return [call.url.path for call in self.calls]

    def answer(self, request: httpx.Request) -> httpx.Response:
        self.calls.append(request)
        form = dict(parse_qsl(request.content.decode()))
        match request.url.path:
            case "/.well-known/oauth-authorization-server":
                return httpx.Response(200, json={**self._metadata(), **self.metadata})
            case "/token":
                return self._token(request, form)
            case "/par":
                return self._push(request, form)
            case "/userinfo":
                return self._userinfo(request)
            case "/revoke":
                self.revoked.append(form.get("token", ""))
                return httpx.Response(self.revoke_status)
        return httpx.Response(404)

    def _metadata(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "revocation_endpoint": f"{self.issuer}/revoke",
            "code_challenge_methods_supported": ["S256"],
            "pushed_authorization_request_endpoint": f"{self.issuer}/par",
        }

    def _push(self, request: httpx.Request, form: dict[str, str]) -> httpx.Response:
        if not self._is_the_hub(request, form):
            return httpx.Response(401, json={"error": "invalid_client"})
        name = f"urn:ietf:params:oauth:request_uri:{sha256(request.content).hexdigest()}"
        self.pushed[name] = {key: value for key, value in form.items() if not key.startswith("client_assertion")}
        return httpx.Response(201, json={"request_uri": name, "expires_in": 60})

    def _userinfo(self, request: httpx.Request) -> httpx.Response:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if self.dpop and (wrong := self._unproved(request, token)):
            return wrong
        known = scheme == ("DPoP" if self.dpop else "Bearer") and token.startswith("at-")
        return httpx.Response(200 if known else 401, json={"sub": self.account})

    def _unproved(self, request: httpx.Request, token: str | None = None) -> httpx.Response | None:
        """Check a proof as RFC 9449 4.3 asks; None if it holds."""
        proof = request.headers.get("dpop", "")
        header = jws.extract_compact(proof.encode()).headers() if proof else {}
        key = ECKey.import_key(header["jwk"]) if proof else None
        if key is None or header["typ"] != "dpop+jwt" or key.is_private:
            return httpx.Response(400, json={"error": "invalid_dpop_proof"})
        claims = jwt.decode(proof, key, algorithms=["ES256"]).claims
        if claims.get("nonce") != self.nonce:
            headers = {"dpop-nonce": self.nonce or "", "www-authenticate": 'DPoP error="use_dpop_nonce"'}
            return httpx.Response(400 if token is None else 401, json={"error": "use_dpop_nonce"}, headers=headers)
        ath = None if token is None else urlsafe_b64encode(sha256(token.encode()).digest()).decode().rstrip("=")
        asked = (request.method, f"{self.issuer}{request.url.path}", ath)
        if (claims["htm"], claims["htu"], claims.get("ath")) != asked or claims["jti"] in self.used:
            return httpx.Response(400, json={"error": "invalid_dpop_proof"})
        self.used.add(claims["jti"])
        self.proofs.append(claims)
        self.bound_to.add(key.thumbprint())
        return None

    def _token(self, request: httpx.Request, form: dict[str, str]) -> httpx.Response:
        if self.token_status != 200:
            return httpx.Response(self.token_status, json=self.token_answer)
        if not self._is_the_hub(request, form):
            return httpx.Response(401, json={"error": "invalid_client"})
        if self.dpop and (wrong := self._unproved(request)):
            return wrong
        if form.get("grant_type") == "refresh_token":
            if self.rotates and form["refresh_token"] in self.used:
                return httpx.Response(400, json={"error": "invalid_grant"})
            self.used.add(form["refresh_token"])
            self.refresh_count += 1
        else:
            asked = self.codes.pop(form.get("code", ""), None)
            fits = asked is not None and create_s256_code_challenge(form["code_verifier"]) == asked["code_challenge"]
            if asked is None or not fits or form["redirect_uri"] != asked["redirect_uri"]:
                return httpx.Response(400, json={"error": "invalid_grant"})
        token = {
            "access_token": f"at-{self.refresh_count}",
            "refresh_token": f"rt-{self.refresh_count}",
            "token_type": "dPoP" if self.dpop else "bearer",
            "expires_in": 600,
            "scope": "records:read openid",
        }
        return httpx.Response(200, content=json.dumps({**token, **self.token_answer}))

    def _is_the_hub(self, request: httpx.Request, form: dict[str, str]) -> bool:
        if self.jwks is not None:
            return self._is_asserted(form)
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        return scheme == "Basic" and b64decode(value).decode() == f"hub%40{self.name}:s3cret%2F%2B"

    def _is_asserted(self, form: dict[str, str]) -> bool:
        """Check an assertion as FAPI 2.0 asks: addressed to the issuer alone, short, used once, signed by our client."""
        assertion = form.get("client_assertion", "")
        try:
            claims = jwt.decode(assertion, KeySet.import_key_set(self.jwks), algorithms=["ES256"]).claims  # type: ignore[arg-type]
        except (JoseError, ValueError):
            return False
        self.assertions.append(claims)
        new = claims["jti"] not in self.used
        self.used.add(claims["jti"])
        return new and claims["aud"] == self.issuer and claims["iss"] == claims["sub"] == f"hub@{self.name}"


class Town:
    """The door through which consent/ reaches these platforms and nothing else."""

    def __init__(self, *platforms: OAuthPlatform) -> None:
        self.platforms = {f"{platform.name}.example": platform for platform in platforms}
        self._client = httpx.Client(transport=httpx.MockTransport(self._route))
        self.unreachable = False

    @dataclass(frozen=True)
    class Answer:
        status: int
        headers: Mapping[str, str]
        body: bytes

    def fetch(
        self, url: str, *, method: str = "GET", headers: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> "Town.Answer":
        response = self._client.request(method, url, headers=headers, content=content)
        return Town.Answer(response.status_code, response.headers, response.content)

    def _route(self, request: httpx.Request) -> httpx.Response:
        if self.unreachable:
            raise httpx.ConnectError("down", request=request)
        return self.platforms[request.url.host].answer(request)
