"""Green Button, Connect My Data: a household's interval readings from its data custodian. I/O: network.

`GET {resource_url}?published-min&published-max` with the person's token answers with an Atom feed (`espi_feed.py`) of
what was published in that time, so that a reading that was corrected later is told again. `resource_url` is the batch
resource of a subscription; `{account}` in it stands for the link's account, which is the subscription's id. 202 means
that the custodian is still gathering.

Ids: the id of the block's entry, and its start where an entry has several. Times: seconds since 1970. Corrections: the
same block with a later `updated`. The file that a person downloads (Download My Data) has the same form and is
read by the same `parse_espi`.

Source: NAESB REQ.21 ESPI 3.3 and REQ.22; Green Button Alliance, Connect My Data.
"""

import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import quote, urlencode, urlsplit

from connectors.answers import parse_retry_after, require_success
from connectors.base import (
    CheckResult,
    Connector,
    ConnectorError,
    Cursor,
    Description,
    LinkAccess,
    Page,
    Reauthorise,
    RetryLater,
    Scope,
    SetAside,
    Transport,
    Unreadable,
    Window,
)
from connectors.config import ConfigError, Fields
from connectors.formats.espi_feed import MAX_BYTES, EspiError, parse_espi
from connectors.formats.platform_answers import digest_of
from connectors.kind import Kind
from connectors.net.egress import Answer, EgressLimits, Origin, SafeClient
from connectors.windowed import Part, Reach, Span, read_spans

__all__ = ["KIND", "Espi", "EspiConfig", "EspiError", "parse_config", "parse_espi"]

STREAM = "readings"
_GATHERING_S = 300
_ACCOUNT = re.compile(r"[!-~]{1,128}")
_PLACE = "{account}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EspiConfig:
    """`resource_url` has `{account}` once, as a whole part of its path."""

    resource_url: str
    allow_loopback: bool = False
    span_days: int = 31
    first_days: int = 400


def parse_config(config: Mapping[str, object], secrets: Mapping[str, object]) -> EspiConfig:
    """Read the settings. There are no secrets: the token of each link is given to each run."""
    with Fields(secrets, where="secrets"):
        pass
    with Fields(config, where="config") as fields:
        parsed = EspiConfig(
            resource_url=fields.text("resource_url"),
            allow_loopback=fields.flag("allow_loopback", default=False),
            span_days=fields.whole("span_days", default=31, least=1, most=400),
            first_days=fields.whole("first_days", default=400, least=1, most=3660),
        )
    parts = urlsplit(parsed.resource_url)
    if parts.query or parts.fragment or parts.path.split("/").count(_PLACE) != 1 or parsed.resource_url.count("{") != 1:
        raise ConfigError("config: field 'resource_url' must name {account} once in its path and have no query")
    return parsed


class Espi(Connector):
    """Fetcher of one subscription at a time."""

    def __init__(
        self,
        config: EspiConfig,
        *,
        client: SafeClient | None = None,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._config, self._new_id = config, new_id
        origin = Origin.parse(config.resource_url.replace(_PLACE, "account"), allow_loopback=config.allow_loopback)
        self._client = client or SafeClient([origin], limits=EgressLimits(body_bytes=MAX_BYTES))

    def describe(self) -> Description:
        return Description(
            name="espi",
            title="Green Button Connect My Data (NAESB ESPI)",
            transport=Transport.PULL,
            streams=(STREAM,),
            role="meter",
            official=True,
            id_stability="stable",
            finality="revisable",
            correction_mode="version",
            lateness_class="day",
            windowed=True,
            drops=("Customer", "CustomerAccount", "ServiceLocation", "UsagePoint", "cost"),
            scope=Scope.LINK,
        )

    def check(self) -> CheckResult:
        """Ask without a token: a custodian that answers with readings is open to everybody."""
        url = self._config.resource_url.replace(_PLACE, "0")
        try:
            answer = self._client.fetch(url, headers={"accept": "application/atom+xml"})
        except ConnectorError as error:
            return CheckResult(ok=False, findings=(error.reason,))
        if answer.status in (401, 403):
            return CheckResult(ok=True)
        found = "open_without_token" if answer.status < 300 else f"answered_{answer.status}"
        return CheckResult(ok=False, findings=(found,))

    def fetch(
        self, access: LinkAccess | None, cursor: Cursor | None, *, now: datetime, window: Window | None = None
    ) -> Iterator[Page]:
        """Yield what was published from the cursor to now.

        Raises:
            RetryLater: 202, 429, 5xx, not reached, cut off. What was yielded stands.
            SetAside: no feed, a DTD, larger than any honest feed.
            Reauthorise: the token is refused, or was never given.
            Stop: the address is wrong or unsafe.
        """
        if access is None:
            raise Reauthorise("no_token")
        if not _ACCOUNT.fullmatch(access.account) or access.account in (".", ".."):
            raise SetAside("account_unfit")

        def ask(span: Span, *, request_id: str) -> Part:
            answer = self._call(access, span, request_id=request_id)
            if answer.status == 202:
                after_s = parse_retry_after(answer.headers.get("retry-after"), now=now, default=_GATHERING_S)
                raise RetryLater("still_gathering", after_s=after_s)
            require_success(answer, now)
            rows, unreadable = _read(answer.body)
            return Part(rows=rows, digest=digest_of(answer.body), following=None, unreadable=unreadable)

        reach = Reach(
            longest=timedelta(days=self._config.span_days),
            overlap=self.describe().overlap,
            first=timedelta(days=self._config.first_days),
        )
        yield from read_spans(
            ask,
            reach=reach,
            stream=STREAM,
            cursor=cursor,
            now=now,
            window=window,
            account=access.account,
            new_id=self._new_id,
        )

    def _call(self, access: LinkAccess, span: Span, *, request_id: str) -> Answer:
        """Ask; once more if the custodian only wants its nonce in the proof (RFC 9449 9)."""
        bare = self._config.resource_url.replace(_PLACE, quote(access.account, safe=""))
        query = {"published-min": _instant(span.start), "published-max": _instant(span.end)}
        url = f"{bare}?{urlencode(query)}"

        def once() -> Answer:
            authorisation = (
                access.prove(method="GET", url=bare)
                if access.prove is not None
                else {"authorization": f"Bearer {access.access_token}"}
            )
            headers = {"accept": "application/atom+xml", "x-request-id": request_id, **authorisation}
            return self._client.fetch(url, headers=headers)

        answer = once()
        if access.hear is not None and access.hear(url=bare, status=answer.status, headers=answer.headers):
            answer = once()
        return answer


def _instant(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _read(body: bytes) -> tuple[tuple[bytes, ...], tuple[Unreadable, ...]]:
    try:
        return parse_espi(body)
    except EspiError as error:
        if error.is_cut:
            raise RetryLater("page_unreadable", after_s=30) from None
        raise SetAside(error.reason) from None


KIND = Kind(
    name="espi",
    transport=Transport.PULL,
    profile=False,
    secrets=(),
    build=lambda config, secrets: Espi(parse_config(config, secrets)),
)
