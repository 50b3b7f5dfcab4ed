"""An authenticator in software: makes passkeys and signs with them as a device does, and as a dishonest one would."""

import json
import secrets
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from webauthn.helpers import base64url_to_bytes, bytes_to_base64url

USER_PRESENT, USER_VERIFIED, HAS_KEY = 0x01, 0x04, 0x40


@dataclass
class Key:
    """One passkey on the device."""

    private: ec.EllipticCurvePrivateKey
    credential_id: bytes
    rp_id: str
    user_handle: bytes
    count: int = 0


@dataclass
class Authenticator:
    """A device that holds passkeys. `origin` is what the browser around it would write into its answers."""

    origin: str = "https://hub.example"
    counts: bool = True
    verifies: bool = True
    keys: list[Key] = field(default_factory=list)

    def create(self, options: dict[str, Any], **lies: Any) -> str:
        """Answer creation options; returns the JSON that the page sends."""
        key = Key(
            private=ec.generate_private_key(ec.SECP256R1()),
            credential_id=lies.get("credential_id", secrets.token_bytes(32)),
            rp_id=lies.get("rp_id", options["rp"]["id"]),
            user_handle=base64url_to_bytes(options["user"]["id"]),
        )
        self.keys.append(key)
        point = key.private.public_key().public_numbers()
        cose = {1: 2, 3: -7, -1: 1, -2: point.x.to_bytes(32, "big"), -3: point.y.to_bytes(32, "big")}
        attested = bytes(16) + len(key.credential_id).to_bytes(2, "big") + key.credential_id + cbor2.dumps(cose)
        data = self._data(key, HAS_KEY) + attested
        client = self._client("webauthn.create", options, lies)
        return self._answer(
            key, client, attestationObject=cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": data})
        )

    def get(self, options: dict[str, Any], key: Key | None = None, **lies: Any) -> str:
        """Answer request options with a key of this device, by default the newest."""
        key = key or self.keys[-1]
        if self.counts:
            key.count += 1
        data = self._data(key, 0, rp_id=lies.get("rp_id"))
        client = self._client("webauthn.get", options, lies)
        signature = key.private.sign(data + sha256(client).digest(), ec.ECDSA(SHA256()))
        handle = lies.get("user_handle", key.user_handle)
        return self._answer(
            key, client, credential_id=lies.get("credential_id"), authenticatorData=data, signature=signature,
            **({} if handle is None else {"userHandle": handle}),
        )  # fmt: skip

    def _data(self, key: Key, flags: int, rp_id: str | None = None) -> bytes:
        flags |= USER_PRESENT | (USER_VERIFIED if self.verifies else 0)
        return sha256((rp_id or key.rp_id).encode()).digest() + bytes([flags]) + key.count.to_bytes(4, "big")

    def _client(self, kind: str, options: dict[str, Any], lies: dict[str, Any]) -> bytes:
        told = {
            "type": lies.get("kind", kind), "challenge": lies.get("challenge", options["challenge"]),
            "origin": lies.get("origin", self.origin), "crossOrigin": lies.get("cross_origin", False),
        }  # fmt: skip
        return json.dumps(told).encode()

    def _answer(self, key: Key, client: bytes, credential_id: bytes | None = None, **response: bytes) -> str:
        name = bytes_to_base64url(credential_id or key.credential_id)
        written = {field: bytes_to_base64url(value) for field, value in response.items()}
        return json.dumps(
            {
                "id": name, "rawId": name, "type": "public-key", "clientExtensionResults": {},
                "response": {"clientDataJSON": bytes_to_base64url(client), **written},
            }
        )  # fmt: skip
