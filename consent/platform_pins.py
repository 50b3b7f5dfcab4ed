"""A platform's endpoints as they were when it joined, and no others from then on. I/O: `platform_pin`; network.

Metadata is fetched over TLS from the issuer, but whoever gets hold of that one file for an hour could send every code,
token and secret of the hub elsewhere. So what was found first is kept, and a document that names other endpoints is
refused until the operator adds the participant again.
"""

import json
from dataclasses import asdict
from datetime import datetime

from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from consent.http import Http
from consent.platforms import PlatformConfig, PlatformMetadata, PlatformRefused, discover
from consent.tables import PlatformPin
from consent.transactions import Transactions


def trusted_metadata(
    transactions: Transactions, http: Http, config: PlatformConfig, *, now: datetime
) -> PlatformMetadata:
    """Discover the platform and compare it with what was pinned; the first successful discovery is pinned. Commits.

    Raises:
        PlatformRefused: not usable (see `discover`), or it names other endpoints than when it joined.
        PlatformBusy: it cannot answer now.
    """
    found = discover(http, config)
    with transactions() as session:
        pinned = _load(session, config) or _pin_first(session, config, found, now)
    if pinned != found:
        raise PlatformRefused("the platform names other endpoints than when it joined; add the participant again")
    return found


def pin_anew(session: Session, config: PlatformConfig, found: PlatformMetadata, *, now: datetime) -> bool:
    """The operator adds the participant (again): trust what was found now. Returns whether anything changed."""
    if _load(session, config) == found:
        return False
    pin = session.get(PlatformPin, config.platform)
    if pin is None:
        session.add(_pin(config, found, now))
    else:
        pin.issuer, pin.endpoints, pin.pinned_at = config.issuer, _format(found), now
    session.flush()
    return True


def _load(session: Session, config: PlatformConfig) -> PlatformMetadata | None:
    """What was pinned under another issuer belongs to an earlier registration and is nothing."""
    pin = session.get(PlatformPin, config.platform, populate_existing=True)
    if pin is None or pin.issuer != config.issuer:
        return None
    return PlatformMetadata(**json.loads(pin.endpoints))


def _pin_first(
    session: Session, config: PlatformConfig, found: PlatformMetadata, now: datetime
) -> PlatformMetadata | None:
    """Pin, unless somebody does at the same moment: then theirs holds."""
    try:
        with session.begin_nested():
            pin_anew(session, config, found, now=now)
    except IntegrityError:
        return _load(session, config)
    return found


def _pin(config: PlatformConfig, found: PlatformMetadata, now: datetime) -> PlatformPin:
    return PlatformPin(platform=config.platform, issuer=config.issuer, endpoints=_format(found), pinned_at=now)


def _format(found: PlatformMetadata) -> str:
    return json.dumps({name: value for name, value in asdict(found).items() if name != "demands_par"})
