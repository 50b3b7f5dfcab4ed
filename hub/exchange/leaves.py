"""The leaf of a batch: one message between a platform and the hub. Pure, but for this package's version.

The names are the hub's; X_ROAD has what X-Road's operational monitoring calls the same. Digests of
messages are of what a platform sent, so whoever has the message can show that it was received, and when.
"""

from functools import cache
from importlib.metadata import version
from typing import Any

from hub.records.tables import Batch

# What the leaf calls it -> what X-Road's operational monitoring data calls it (protocol 1.1; ADR 0040).
X_ROAD: dict[str, str] = {
    "at": "requestInTs",
    "side": "securityServerType",
    "participant": "clientMemberCode",
    "stream": "serviceCode",
    "mapping": "serviceVersion",
    "delivery": "messageId",
    "purpose": "messageIssue",
    "outcome": "succeeded",
}
_SIDES = {"received": "producer", "fetched": "client"}


def exchange_fields(batch: Batch, connector: str) -> dict[str, Any]:
    """Return the leaf of a batch.

    Args:
        connector: who read the message; with this hub's version, which is the connectors' too.
    """
    side = _SIDES.get(batch.origin)
    return {
        "participant": batch.platform,
        "stream": batch.stream,
        "connector": f"{connector}/{hub_version()}",
        "mapping": batch.mapping,
        "delivery": batch.digest,
        "batch": batch.batch_id,
        "window": batch.window_id,
        "purpose": "collect",
        "outcome": outcome_of(batch),
        "rows_count": batch.rows,
        "accepted_count": batch.accepted,
        "refused_count": batch.refused,
        "replayed_count": batch.replayed,
        "aside_count": batch.quarantined + batch.conflicting,
        "claimed_mg": batch.claimed_mg,
        "records_root": batch.records_root,
        # The hub answers whoever pushes to its door, and is the one who asks where it fetches.
        **({"direction": "in", "side": side} if side else {}),
    }


def outcome_of(batch: Batch) -> str:
    """Say in a word what became of a message's rows: taken, partly, refused, or nothing_new."""
    lost = batch.refused + batch.quarantined + batch.conflicting
    if batch.accepted:
        return "partly" if lost else "taken"
    return "refused" if lost else "nothing_new"


@cache
def hub_version() -> str:
    """This installation's version, as the package tells it."""
    return version("tanlian")
