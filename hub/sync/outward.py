"""How the hub, as a client, is known at a platform and reaches it; what it finds there when it joins. I/O: network."""

from collections.abc import Iterator
from contextlib import contextmanager

from connectors.base import ConnectorError, RetryLater
from connectors.net.egress import Origin, SafeClient
from consent.platforms import PlatformBusy, PlatformConfig, PlatformMetadata, PlatformRefused, discover
from hub.context import Hub
from hub.errors import UsageProblem
from hub.participants import OAuthConfiguration, ParticipantDocument, Platform, wants_loopback


def platform_config(hub: Hub, platform: Platform) -> PlatformConfig:
    """Return how the hub is registered at a platform; the redirect address differs per platform."""
    return registration(hub, platform.document)


def registration(hub: Hub, document: ParticipantDocument) -> PlatformConfig:
    """Return the registration that an onboarding file tells of."""
    oauth = _oauth(document)
    return PlatformConfig(
        platform=document.id,
        issuer=oauth.issuer,
        client_id=oauth.client_id,
        client_secret=oauth.client_secret,
        scopes=tuple(oauth.scopes),
        redirect_uri=f"{hub.settings.issuer}/links/callback/{document.id}",
        account_from=oauth.account_from,
        par=oauth.par,
        dpop=oauth.dpop,
    )


@contextmanager
def platform_http(platform: Platform) -> Iterator[SafeClient]:
    """Open a client that reaches the platform's authorization server and nothing else."""
    with _http(platform.document) as client:
        yield client


def find_endpoints(hub: Hub, document: ParticipantDocument) -> PlatformMetadata | None:
    """Look at a joining platform's authorization server, so that its endpoints can be pinned.

    Returns:
        None if it is not up and on this machine: a sandbox may start later, and what it says first is pinned then.

    Raises:
        UsageProblem: it cannot be reached, or what it says may not be trusted.
    """
    try:
        with _http(document) as http:
            return discover(http, registration(hub, document))
    except (RetryLater, PlatformBusy) as cause:
        if wants_loopback(document):
            return None
        raise UsageProblem(f"{document.id}: its authorization server does not answer now: {cause}") from cause
    except (ConnectorError, PlatformRefused) as cause:
        raise UsageProblem(f"{document.id}: its authorization server cannot be used: {cause}") from cause


@contextmanager
def _http(document: ParticipantDocument) -> Iterator[SafeClient]:
    origin = Origin.parse(_oauth(document).issuer, allow_loopback=document.allow_loopback)
    with SafeClient([origin]) as client:
        yield client


def _oauth(document: ParticipantDocument) -> OAuthConfiguration:
    if document.oauth is None:
        raise UsageProblem(f"{document.id} is not linked over OAuth")
    return document.oauth
