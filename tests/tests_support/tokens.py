"""Machines of platforms and of other recipients at the hub's own addresses. I/O: HTTP to the whole application."""

from typing import Any

import httpx
from tests_support.oauth import EC, METADATA, Client, Told, given
from tests_support.web import Caller

from consent.clients import register_client
from consent.requests import Posted
from hub.context import Hub
from hub.db import writing


def metadata(scope: str = "records:write") -> dict[str, Any]:
    """RFC 7591 metadata of a machine that acts for itself."""
    return {
        "client_name": "一个平台",
        "scope": scope,
        "grant_types": ["client_credentials"],
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [EC.as_dict(private=False)]},
    }


class Machine(Client):
    """A registered client with a DPoP key: asks for a token once and proves its key at every call."""

    def __init__(self, hub: Hub, participant: str | None = None, scope: str = "records:write", **changed: Any) -> None:
        with writing(hub.engine) as session:
            document = {**metadata(scope), **changed}
            registered = register_client(session, document, participant=participant, now=hub.clock())
        super().__init__(hub.settings.issuer, registered["client_id"])
        self.move(hub)
        self.scope = scope
        self.held: str | None = None
        self.shown: dict[str, str] = {}

    @classmethod
    def recipient(cls, hub: Hub, **changed: Any) -> "Machine":
        """A client that asks people for their accounts."""
        return cls(hub, **given({**METADATA, **changed}))

    @property
    def now(self) -> Any:
        return self.caller.hub.clock()

    @now.setter
    def now(self, _now: Any) -> None:
        raise AttributeError("a machine lives by the hub's clock: move to a hub with another one")

    def move(self, hub: Hub) -> "Machine":
        """Go on at the same hub opened otherwise: at a later time, with other settings."""
        self.caller, self.hub, self.engine = Caller(hub), hub, hub.engine
        return self

    def certificate_headers(self, name: str, certificate: str) -> dict[str, str]:
        """From now on the operator's proxy tells this certificate in that header (RFC 9440)."""
        self.shown = {name: f":{certificate}:"}
        return self.shown

    def send(self, posted: Posted) -> Told:
        headers = [("content-type", posted.content_type), *(("dpop", proof) for proof in posted.proofs)]
        headers += self.shown.items()
        answer = self.caller.post(posted.path, content=posted.body, headers=headers)
        return Told(answer.status_code, answer.headers, answer.json())

    def headers(self, method: str, path: str, token: str | None = None) -> dict[str, str]:
        """The token, and a fresh proof of the key that it is bound to."""
        if token is None:
            token = self.held = self.held or self.token(self.scope)
        return {"authorization": f"DPoP {token}", "dpop": self.prove(method, path.partition("?")[0], token=token)}

    def call(self, method: str, path: str, token: str | None = None, **request: Any) -> httpx.Response:
        """Call a protected address; once more if the hub wants a fresh nonce."""
        more = request.pop("headers", {})
        for _ in range(2):
            answer = self.caller.call(method, path, headers={**self.headers(method, path, token), **more}, **request)
            self.nonce = answer.headers.get("dpop-nonce", self.nonce)
            if answer.status_code != 401 or "use_dpop_nonce" not in answer.headers["www-authenticate"]:
                break
        return answer

    def get(self, path: str, token: str | None = None, **request: Any) -> httpx.Response:
        return self.call("GET", path, token, **request)

    def send_json(self, path: str, body: Any, **request: Any) -> httpx.Response:
        return self.call("POST", path, json=body, **request)
