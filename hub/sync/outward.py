"""How the hub, as a client, is known at a platform and reaches it. I/O: opens a network client."""

from collections.abc import Iterator
from contextlib import contextmanager

from connectors.egress import Origin, SafeClient
from consent.platforms import PlatformConfig
from hub.context import Hub
from hub.errors import UsageProblem
from hub.participants import Platform


def platform_config(hub: Hub, platform: Platform) -> PlatformConfig:
    """Return how the hub is registered at a platform; the redirect address differs per platform."""
    oauth = platform.document.oauth
    if oauth is None:
        raise UsageProblem(f"{platform.platform_id} is not linked over OAuth")
    return PlatformConfig(
        platform=platform.platform_id,
        issuer=oauth.issuer,
        client_id=oauth.client_id,
        client_secret=oauth.client_secret,
        scopes=tuple(oauth.scopes),
        redirect_uri=f"{hub.settings.issuer}/links/callback/{platform.platform_id}",
        account_from=oauth.account_from,
    )


@contextmanager
def platform_http(platform: Platform) -> Iterator[SafeClient]:
    """Open a client that reaches the platform's authorization server and nothing else."""
    oauth = platform.document.oauth
    if oauth is None:
        raise UsageProblem(f"{platform.platform_id} is not linked over OAuth")
    origin = Origin.parse(oauth.issuer, allow_loopback=platform.document.allow_loopback)
    with SafeClient([origin]) as client:
        yield client
