"""OAuth platforms to link with, honest and wicked, reached through httpx; every call to them is written down."""

import json
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from consent.platforms import PlatformConfig


@dataclass
class OAuthPlatform:
    """A platform's authorization server. `metadata` and `token_answer` overrule what an honest one would say."""

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

    @property
    def issuer(self) -> str:
        return f"https://{self.name}.example"

    def config(self, **changed: Any) -> PlatformConfig:
        details: dict[str, Any] = {
            "platform": self.name,
            "issuer": self.issuer,
            "client_id": "hub@" + self.name,
            "client_secret": self.secret,
            "scopes": ("records:read", "openid"),
            "redirect_uri": f"https://hub.example/links/{self.name}/callback",
        }
        return PlatformConfig(**{**details, **changed})

    def approve(self, address: str) -> dict[str, str]:
        """What the browser brings back after the person said yes at `address`."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
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
            case "/userinfo":
                known = request.headers.get("authorization", "").startswith("Bearer at-")
                return httpx.Response(200 if known else 401, json={"sub": self.account})
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
        }

    def _token(self, request: httpx.Request, form: dict[str, str]) -> httpx.Response:
        if self.token_status != 200:
            return httpx.Response(self.token_status, json=self.token_answer)
        if not self._is_the_hub(request):
            return httpx.Response(401, json={"error": "invalid_client"})
        if form.get("grant_type") == "refresh_token":
            self.refresh_count += 1
        else:
            asked = self.codes.pop(form.get("code", ""), None)
            fits = asked is not None and create_s256_code_challenge(form["code_verifier"]) == asked["code_challenge"]
            if asked is None or not fits or form["redirect_uri"] != asked["redirect_uri"]:
                return httpx.Response(400, json={"error": "invalid_grant"})
        token = {
            "access_token": f"at-{self.refresh_count}",
            "refresh_token": f"rt-{self.refresh_count}",
            "token_type": "bearer",
            "expires_in": 600,
            "scope": "records:read openid",
        }
        return httpx.Response(200, content=json.dumps({**token, **self.token_answer}))

    def _is_the_hub(self, request: httpx.Request) -> bool:
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        return scheme == "Basic" and b64decode(value).decode() == f"hub%40{self.name}:s3cret%2F%2B"


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
