"""From a linking's request to the address that the browser is sent to. I/O: network, where the request is pushed.

A pushed request (RFC 9126) reaches the platform from the hub itself, proved to be the hub's; the browser carries only a
name for it, so that nobody on the way can read or change what is asked for.
"""

from collections.abc import Mapping
from datetime import datetime

from authlib.common.urls import add_params_to_uri

from consent.http import AnswerInvalid, Http, require_text
from consent.keyring import KeyRing
from consent.platforms import PlatformConfig, PlatformMetadata, PlatformRefused
from consent.token_endpoint import TokenEndpointBusy, send_form

MOST_REQUEST_URI = 512  # characters


def request_address(
    http: Http,
    keyring: KeyRing,
    *,
    config: PlatformConfig,
    metadata: PlatformMetadata,
    request: Mapping[str, str],
    now: datetime,
) -> str:
    """Return the address to send the browser to (303).

    Args:
        metadata: of `trusted_metadata`.
        request: of `start_link`.

    Raises:
        PlatformRefused: it does not take the request.
        TokenEndpointBusy: it cannot answer now.
    """
    shown = dict(request)
    if config.par or metadata.demands_par:
        pushed = _push(http, keyring, config=config, metadata=metadata, request=request, now=now)
        shown = {"client_id": config.client_id, "request_uri": pushed}
    address: str = add_params_to_uri(metadata.authorization_endpoint, list(shown.items()))
    return address


def _push(
    http: Http,
    keyring: KeyRing,
    *,
    config: PlatformConfig,
    metadata: PlatformMetadata,
    request: Mapping[str, str],
    now: datetime,
) -> str:
    url = metadata.pushed_authorization_request_endpoint
    if url is None:
        raise PlatformRefused("the platform does not take pushed requests")
    try:
        answer = send_form(http, keyring, config, url, request, now=now)
        if answer.status >= 500 or answer.status == 429:
            raise TokenEndpointBusy
        if answer.status not in (200, 201):
            raise PlatformRefused("the platform refuses the pushed request")
        pushed = require_text(answer.document, "request_uri")
    except AnswerInvalid as cause:
        raise PlatformRefused("the answer to the pushed request cannot be used") from cause
    if len(pushed) > MOST_REQUEST_URI:
        raise PlatformRefused("the answer to the pushed request cannot be used")
    return pushed
