"""The signer of this hub's interconnection log. I/O: none; the seed is in the key ring."""

from hub.context import Hub
from hub.log.note import LogSigner


def log_signer(hub: Hub) -> LogSigner:
    """Return the signer whose name is the log's origin."""
    return LogSigner(hub.settings.log_origin, hub.ring.log_seed)
