"""The secrets that receivers of the hub's webhooks verify with. Pure.

Derived from a key of the hub and never stored: each receiver has its own, and can be told it again.
"""

from base64 import b64encode

from consent.keyring import KeyPurpose, KeyRing


def webhook_secret(ring: KeyRing, target: str) -> str:
    """The secret of a receiver, `client:<id>` or `participant:<id>`, as Standard Webhooks writes it."""
    return "whsec_" + b64encode(ring.digest(KeyPurpose.SESSION, "webhook", target)).decode()
