"""The authorization server that each simulated platform has: code + PKCE S256, RFC 9207 `iss`, RFC 7009. I/O: HTTP in.

Codes and tokens are sealed text (tokens.py). Only two things are remembered, and are lost on restart: codes that were
used, and what was revoked. A code lives a minute, so that is the whole of the danger.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.parse import unquote_plus, urlencode

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse

from hub.clock import Clock
from hub.sandbox.platforms.pages import consent_page, refusal_page, sign_in_page
from hub.sandbox.platforms.tokens import Sealer

SCOPES = ("records:read", "openid")
_NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}
_CODE_LIVES = timedelta(seconds=60)
_PAGE_LIVES = timedelta(minutes=10)
_REFRESH_LIVES = timedelta(days=180)


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """The hub, as the platform has registered it."""

    client_id: str
    client_secret: str
    redirect_uri: str
    name: str = "Tanlian 碳联"


# Returns the platform's account of a person who gave the right name and password; None otherwise.
SignIn = Callable[[str, str], str | None]


class OAuthRefusal(Exception):
    """An error answer of RFC 6749, section 5.2."""

    def __init__(self, error: str, status: int = 400) -> None:
        super().__init__(error)
        self.error, self.status = error, status


class AuthServer:
    """One platform's authorization server; add `router()` to the platform's application."""

    def __init__(
        self,
        *,
        issuer: str,
        title: str,
        key: bytes,
        client: Client,
        sign_in: SignIn,
        clock: Clock,
        access_lives: timedelta = timedelta(hours=1),
    ) -> None:
        self.issuer, self.title, self.client = issuer, title, client
        self._sealer, self._sign_in, self._clock, self._access_lives = Sealer(key), sign_in, clock, access_lives
        self._used_codes: set[str] = set()
        self._revoked: set[str] = set()

    def account_of(self, authorization: str | None, *, scope: str = "records:read") -> str | None:
        """Return the account that a bearer header gives the right to, or None: the platform's own introspection."""
        scheme, _, token = (authorization or "").partition(" ")
        claims = self._live("access", token.strip()) if scheme.lower() == "bearer" else None
        if claims is None or scope not in claims["scope"].split():
            return None
        return str(claims["sub"])

    def metadata(self) -> dict[str, Any]:
        """Return the RFC 8414 document."""
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/oauth/authorize",
            "token_endpoint": f"{self.issuer}/oauth/token",
            "userinfo_endpoint": f"{self.issuer}/oauth/userinfo",
            "revocation_endpoint": f"{self.issuer}/oauth/revoke",
            "scopes_supported": list(SCOPES),
            "response_types_supported": ["code"],
            "response_modes_supported": ["query"],
            "grant_types_supported": ["authorization_code", "refresh_token"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic"],
            "revocation_endpoint_auth_methods_supported": ["client_secret_basic"],
            "code_challenge_methods_supported": ["S256"],
            "authorization_response_iss_parameter_supported": True,
        }

    def router(self) -> APIRouter:
        router = APIRouter()
        router.add_api_route("/.well-known/oauth-authorization-server", self.metadata, methods=["GET"])
        router.add_api_route("/oauth/authorize", self._authorize, methods=["GET"], response_model=None)
        router.add_api_route("/oauth/sign-in", self._signed_in, methods=["POST"], response_model=None)
        router.add_api_route("/oauth/decision", self._decided, methods=["POST"], response_model=None)
        router.add_api_route("/oauth/token", self._token, methods=["POST"], response_model=None)
        router.add_api_route("/oauth/revoke", self._revoke, methods=["POST"], response_model=None)
        router.add_api_route("/oauth/userinfo", self._userinfo, methods=["GET"], response_model=None)
        return router

    # The front channel: what the person's browser sees.

    async def _authorize(self, request: Request) -> Response:
        asked = dict(request.query_params)
        if len(asked) != len(request.query_params.multi_items()):
            return refusal_page(self.title, "A parameter was given twice.")
        known = asked.get("client_id") == self.client.client_id
        if not known or asked.get("redirect_uri") != self.client.redirect_uri:
            # Sending the person on would make the platform an open redirector.
            return refusal_page(self.title, "The application or its return address is not registered here.")
        if (error := _fault_of(asked)) is not None:
            return self._answer(asked, error=error)
        kept = {name: asked[name] for name in ("code_challenge", "redirect_uri", "scope")} | {
            "state": asked.get("state")
        }
        return sign_in_page(self.title, self._seal("request", kept, _PAGE_LIVES))

    async def _signed_in(self, request: Request) -> Response:
        form = await _form(request)
        asked = self._open("request", form.get("request", ""))
        if asked is None:
            return refusal_page(self.title, "This page is too old. Please start again.")
        account = self._sign_in(form.get("username", ""), form.get("password", ""))
        if account is None:
            return sign_in_page(self.title, form["request"], wrong=True)
        ticket = self._seal("ticket", _unsealed(asked) | {"sub": account}, _PAGE_LIVES)
        return consent_page(self.title, self.client.name, asked["scope"], ticket)

    async def _decided(self, request: Request) -> Response:
        form = await _form(request)
        asked = self._open("ticket", form.get("ticket", ""))
        if asked is None:
            return refusal_page(self.title, "This page is too old. Please start again.")
        if form.get("decision") != "approve":  # anything but a clear yes is a no
            return self._answer(asked, error="access_denied")
        granted = _unsealed(asked) | {"grant": secrets.token_urlsafe(16)}
        return self._answer(asked, code=self._seal("code", granted, _CODE_LIVES))

    def _answer(self, asked: Mapping[str, Any], **answer: str) -> Response:
        state = {} if asked.get("state") is None else {"state": asked["state"]}
        query = urlencode({**answer, **state, "iss": self.issuer})
        return RedirectResponse(f"{self.client.redirect_uri}?{query}", status_code=303, headers=_NO_STORE)

    # The back channel: what the hub calls.

    async def _token(self, request: Request) -> Response:
        try:
            self._require_client(request)
            form = await _form(request)
            grant_types = {"authorization_code": self._redeem_code, "refresh_token": self._refresh}
            redeem = grant_types.get(form.get("grant_type", ""))
            if redeem is None:
                raise OAuthRefusal("unsupported_grant_type")
            return JSONResponse(self._tokens_for(redeem(form)), headers=_NO_STORE)
        except OAuthRefusal as refusal:
            return _refused(refusal)

    def _redeem_code(self, form: Mapping[str, str]) -> dict[str, Any]:
        claims = self._open("code", form.get("code", ""))
        if claims is None:
            raise OAuthRefusal("invalid_grant")
        if claims["grant"] in self._used_codes:
            self._revoked.add(claims["grant"])  # RFC 6749, 4.1.2: a code used twice takes its tokens with it
            raise OAuthRefusal("invalid_grant")
        verifier = form.get("code_verifier", "")
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        if not hmac.compare_digest(challenge.encode(), claims["code_challenge"].encode()):
            raise OAuthRefusal("invalid_grant")
        if form.get("redirect_uri") != claims["redirect_uri"]:
            raise OAuthRefusal("invalid_grant")
        self._used_codes.add(claims["grant"])
        return claims

    def _refresh(self, form: Mapping[str, str]) -> dict[str, Any]:
        claims = self._live("refresh", form.get("refresh_token", ""))
        if claims is None:
            raise OAuthRefusal("invalid_grant")
        asked = form.get("scope", claims["scope"])
        if not set(asked.split()) <= set(claims["scope"].split()):
            raise OAuthRefusal("invalid_scope")
        return claims | {"scope": asked}

    def _tokens_for(self, claims: Mapping[str, Any]) -> dict[str, Any]:
        content = {name: claims[name] for name in ("sub", "scope", "grant")}
        fresh = content | {"jti": secrets.token_urlsafe(9)}
        return {
            "access_token": self._seal("access", fresh, self._access_lives),
            "token_type": "Bearer",
            "expires_in": int(self._access_lives.total_seconds()),
            # Not rotated: the client is confidential (FAPI 2.0, 5.3.2.1-9, asks not to).
            "refresh_token": self._seal("refresh", content, _REFRESH_LIVES),
            "scope": claims["scope"],
        }

    async def _revoke(self, request: Request) -> Response:
        try:
            self._require_client(request)
        except OAuthRefusal as refusal:
            return _refused(refusal)
        token = (await _form(request)).get("token", "")
        if (access := self._open("access", token)) is not None:
            self._revoked.add(access["jti"])
        elif (refresh := self._open("refresh", token)) is not None:
            self._revoked.add(refresh["grant"])  # RFC 7009, 2.1: the access tokens of the grant go too
        return Response(status_code=200, headers=_NO_STORE)  # the same for a token that nobody knows

    async def _userinfo(self, request: Request) -> Response:
        account = self.account_of(request.headers.get("authorization"), scope="openid")
        if account is None:
            return _refused(OAuthRefusal("invalid_token", 401))
        return JSONResponse({"sub": account}, headers=_NO_STORE)

    def _require_client(self, request: Request) -> None:
        scheme, _, encoded = request.headers.get("authorization", "").partition(" ")
        try:
            decoded = base64.b64decode(encoded, validate=True).decode() if scheme.lower() == "basic" else ""
        except (binascii.Error, UnicodeDecodeError):
            decoded = ""
        client_id, _, secret = decoded.partition(":")
        # Both parts are form-encoded before base64 (RFC 6749, 2.3.1).
        right_id = hmac.compare_digest(unquote_plus(client_id).encode(), self.client.client_id.encode())
        right_secret = hmac.compare_digest(unquote_plus(secret).encode(), self.client.client_secret.encode())
        if not (right_id and right_secret):
            raise OAuthRefusal("invalid_client", 401)

    def _live(self, kind: str, token: str) -> dict[str, Any] | None:
        claims = self._open(kind, token)
        if claims is None or claims["grant"] in self._revoked or claims.get("jti") in self._revoked:
            return None
        return claims

    def _seal(self, kind: str, claims: Mapping[str, Any], lives: timedelta) -> str:
        return self._sealer.seal(kind, claims, now=self._clock(), lives=lives)

    def _open(self, kind: str, text: str) -> dict[str, Any] | None:
        return self._sealer.open(kind, text, now=self._clock())


def _fault_of(asked: Mapping[str, str]) -> str | None:
    """Return the error code of RFC 6749, 4.1.2.1 that an authorization request deserves."""
    if asked.get("response_type") != "code":
        return "unsupported_response_type"
    if asked.get("code_challenge_method") != "S256" or len(asked.get("code_challenge", "")) != 43:
        return "invalid_request"
    scopes = asked.get("scope", "").split()
    return None if scopes and set(scopes) <= set(SCOPES) else "invalid_scope"


def _unsealed(claims: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in claims.items() if name not in ("kind", "exp")}


async def _form(request: Request) -> dict[str, str]:
    form = await request.form()
    return {name: value for name, value in form.items() if isinstance(value, str)}


def _refused(refusal: OAuthRefusal) -> Response:
    challenge = {"WWW-Authenticate": f'Basic realm="platform", error="{refusal.error}"'}
    if refusal.error == "invalid_token":
        challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
    headers = _NO_STORE | (challenge if refusal.status == 401 else {})
    return JSONResponse({"error": refusal.error}, status_code=refusal.status, headers=headers)
