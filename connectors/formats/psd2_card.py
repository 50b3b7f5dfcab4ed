"""Card transactions of a bank: Berlin Group NextGenPSD2 1.3. I/O: network.

`GET /v1/card-accounts/{id}/transactions?dateFrom&dateTo&bookingStatus=both` for the link's card account, with the
person's token and the id of the consent that the person gave at the bank. Only card accounts tell the merchant category
code (MCC). A bank may be read four times a day while the person is away, so a refusal for that is tried again hours later.

Whether a transaction is booked is told by the list it stands in, and money's direction by a sign whose meaning banks
choose. So each transaction is handed on as the bank wrote it, inside `{"status", "side", "transaction"}`: status booked
or pending, side debit, credit, zero or unknown. The sign of a purchase is configuration: positive in the standard's
card example, negative at many banks.

Ids: `cardTransactionId`; a pending transaction may get another id when it is booked, so pending ones are never acts yet.
Times: `acceptorTransactionDateTime` with offset, else only the date. Corrections: a credit with the id of a purchase
takes it back whichever of the two is read first; a refund with an id of its own names no purchase and takes nothing
back. The next page is followed only to the same origin and below the same path.

Where the consent id is known from (`consent_from`): `token`: the access token is a JWT and says so (its signature is the
bank's affair: what it says goes back to the bank alone); `account`: the account that the bank told when it was linked is
`<consent id>/<resource id>`, or one word that the bank accepts as both. A new consent then is a new link, which
PSD2 asks for anyway every 180 days.

Source: psd2-api 1.3.11 (2021-10-01), Berlin Group; EBA RTS on SCA, articles 10 and 36(5).
"""

import base64
import binascii
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from urllib.parse import quote, urlencode, urljoin, urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from connectors.answers import parse_retry_after
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
    Window,
)
from connectors.config import ConfigError, Fields
from connectors.formats.platform_answers import MAX_PAGE, digest_of
from connectors.formats.psd2_report import read_report, require_bank_success
from connectors.kind import Kind
from connectors.net.egress import Answer, Origin, SafeClient
from connectors.strict_json import parse_object
from connectors.windowed import Part, Reach, Span, read_spans

STREAM = "card_transactions"
ZONE = ZoneInfo("Asia/Shanghai")
_ID = re.compile(r"[!-~]{1,128}")
_LINK = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Psd2Config:
    """`base_url` is what stands before `/v1`. `purchase_sign`: the sign of a purchase's amount, `plus` or `minus`."""

    base_url: str
    allow_loopback: bool = False
    consent_from: str = "token"
    consent_claim: str = "consent_id"
    purchase_sign: str = "plus"
    zone: ZoneInfo = ZONE  # whose dates dateFrom and dateTo are
    span_days: int = 90
    first_days: int = 90


def parse_config(config: Mapping[str, object], secrets: Mapping[str, object]) -> Psd2Config:
    """Read the settings. There are no secrets: the token of each link is given to each run."""
    with Fields(secrets, where="secrets"):
        pass
    with Fields(config, where="config") as fields:
        try:
            zone = ZoneInfo(fields.text("zone", default="Asia/Shanghai"))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ConfigError("config: field 'zone' must be the name of a time zone") from None
        parsed = Psd2Config(
            base_url=fields.text("base_url").rstrip("/"),
            allow_loopback=fields.flag("allow_loopback", default=False),
            consent_from=fields.text("consent_from", default="token"),
            consent_claim=fields.text("consent_claim", default="consent_id"),
            purchase_sign=fields.text("purchase_sign", default="plus"),
            zone=zone,
            span_days=fields.whole("span_days", default=90, least=1, most=730),
            first_days=fields.whole("first_days", default=90, least=1, most=730),
        )
    if urlsplit(parsed.base_url).query or urlsplit(parsed.base_url).fragment:
        raise ConfigError("config: field 'base_url' must have no query and no fragment")
    for name, value, known in (
        ("consent_from", parsed.consent_from, ("token", "account")),
        ("purchase_sign", parsed.purchase_sign, ("plus", "minus")),
    ):
        if value not in known:
            raise ConfigError(f"config: field {name!r} must be one of {', '.join(known)}")
    return parsed


@dataclass(frozen=True, slots=True, kw_only=True)
class _Consented:
    """One card account and the consent under which it is read."""

    resource_id: str
    consent_id: str


class Psd2Card(Connector):
    """Fetcher of one card account at a time."""

    def __init__(
        self,
        config: Psd2Config,
        *,
        client: SafeClient | None = None,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self._config, self._new_id = config, new_id
        origin = Origin.parse(config.base_url, allow_loopback=config.allow_loopback)
        self._client = client or SafeClient([origin])

    def describe(self) -> Description:
        return Description(
            name="psd2_card",
            title="NextGenPSD2 1.3 card account transactions",
            transport=Transport.PULL,
            streams=(STREAM,),
            role="payment",
            official=True,
            id_stability="stable",
            finality="revisable",
            correction_mode="version",
            lateness_class="weeks",
            windowed=True,
            drops=(
                "maskedPAN",
                "transactionAmount",
                "grandTotalAmount",
                "originalAmount",
                "cardAcceptorAddress",
                "cardAcceptorPhone",
                "terminalId",
                "transactionDetails",
            ),
            scope=Scope.LINK,
        )

    def check(self) -> CheckResult:
        """Ask without token and consent: a bank that answers with accounts is open to everybody."""
        headers = {"accept": "application/json", "x-request-id": self._new_id()}
        try:
            answer = self._client.fetch(f"{self._config.base_url}/v1/card-accounts", headers=headers)
        except ConnectorError as error:
            return CheckResult(ok=False, findings=(error.reason,))
        if answer.status in (400, 401, 403):
            return CheckResult(ok=True)
        found = "open_without_token" if answer.status < 300 else f"answered_{answer.status}"
        return CheckResult(ok=False, findings=(found,))

    def fetch(
        self, access: LinkAccess | None, cursor: Cursor | None, *, now: datetime, window: Window | None = None
    ) -> Iterator[Page]:
        """Yield the card account's transactions from the cursor to now.

        Raises:
            RetryLater: 429 (the four reads of the day among them), 5xx, not reached, cut off. What was yielded stands.
            SetAside: wrong shape, a next page elsewhere, too much.
            Reauthorise: token or consent is refused, over, or cannot be told.
            Stop: the address is wrong or unsafe.
        """
        if access is None:
            raise Reauthorise("no_token")
        consented = _consented(self._config, access)
        config = self._config

        def ask(span: Span, *, request_id: str) -> Part:
            url = self._url(consented, span)
            answer = self._call(access, consented, url, request_id=request_id)
            require_bank_success(answer, now)
            report = read_report(answer.body, purchase_sign=config.purchase_sign)
            digest = digest_of(answer.body)
            page = None if report.following is None else self._page(consented, url, report.following)
            return Part(rows=report.rows, digest=digest, following=page, unreadable=report.unreadable)

        reach = Reach(
            longest=timedelta(days=config.span_days),
            overlap=self.describe().overlap,
            first=timedelta(days=config.first_days),
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

    def revoke(self, access: LinkAccess, *, now: datetime) -> None:
        """Terminate the consent at the bank; one that it does not know any more is over already."""
        try:
            consented = _consented(self._config, access)
        except Reauthorise:
            return  # nothing to name the consent by: it ends by itself
        url = f"{self._config.base_url}/v1/consents/{quote(consented.consent_id, safe='')}"
        answer = self._call(access, consented, url, request_id=self._new_id(), method="DELETE")
        if answer.status in (408, 425, 429) or answer.status >= 500:
            after_s = parse_retry_after(answer.headers.get("retry-after"), now=now, default=60)
            raise RetryLater(f"answered_{answer.status}", after_s=after_s)

    def _url(self, consented: _Consented, span: Span) -> str:
        own = f"{self._config.base_url}{_path(consented)}"
        if span.page is not None:
            page = self._page(consented, own, span.page)  # looked at again: a cursor lives long
            parts = urlsplit(self._config.base_url)
            return f"{parts.scheme}://{parts.netloc}{page}"
        query = {
            "dateFrom": _day(span.start, self._config.zone),
            "dateTo": _day(span.end, self._config.zone),  # included: what is booked this very moment too
            "bookingStatus": "both",
        }
        return f"{own}?{urlencode(query)}"

    def _page(self, consented: _Consented, asked: str, following: str) -> str:
        """Return path and query of the next page: an address from outside must not choose whom we call."""
        if not _LINK.fullmatch(following) or len(following) > MAX_PAGE:
            raise SetAside("page_next_link")
        try:
            own, found = urlsplit(asked), urlsplit(urljoin(asked, following))
        except ValueError:
            raise SetAside("page_next_link") from None
        path = urlsplit(self._config.base_url).path + _path(consented)
        same = (found.scheme, found.netloc) == (own.scheme, own.netloc)
        below = found.path == path or found.path.startswith(f"{path}/")
        if not same or not below or "/." in found.path or "%2e" in found.path[len(path) :].lower() or found.fragment:
            raise SetAside("page_next_link")
        return f"{found.path}?{found.query}" if found.query else found.path

    def _call(
        self, access: LinkAccess, consented: _Consented, url: str, *, request_id: str, method: str = "GET"
    ) -> Answer:
        """Ask; once more if the bank only wants its nonce in the proof (RFC 9449 9)."""
        bare = url.partition("?")[0]

        def once() -> Answer:
            authorisation = (
                access.prove(method=method, url=bare)
                if access.prove is not None
                else {"authorization": f"Bearer {access.access_token}"}
            )
            headers = {
                "accept": "application/json",
                "x-request-id": request_id,
                "consent-id": consented.consent_id,
                **authorisation,
            }
            return self._client.fetch(url, method=method, headers=headers)

        answer = once()
        if access.hear is not None and access.hear(url=bare, status=answer.status, headers=answer.headers):
            answer = once()
        return answer


def _path(consented: _Consented) -> str:
    return f"/v1/card-accounts/{quote(consented.resource_id, safe='')}/transactions"


def _day(instant: datetime, zone: ZoneInfo) -> str:
    found: date = instant.astimezone(zone).date()
    return found.isoformat()


def _consented(config: Psd2Config, access: LinkAccess) -> _Consented:
    """Tell consent and card account from what the link gives."""
    if config.consent_from == "token":
        resource_id, consent_id = access.account, _claim(access.access_token, config.consent_claim)
    else:
        first, mark, rest = access.account.partition("/")
        resource_id, consent_id = (rest if mark else first), first
    if consent_id is None or not _ID.fullmatch(consent_id) or not _ID.fullmatch(resource_id):
        raise Reauthorise("consent_not_told")
    if resource_id in (".", ".."):
        raise Reauthorise("consent_not_told")  # no escape makes these a name
    return _Consented(resource_id=resource_id, consent_id=consent_id)


def _claim(token: str, name: str) -> str | None:
    parts = token.split(".")
    if len(parts) != 3 or len(token) > 16 * 1024:
        return None
    try:
        data = base64.b64decode(parts[1] + "=" * (-len(parts[1]) % 4), altchars=b"-_", validate=True)
        value = parse_object(data).get(name)
    except (binascii.Error, ValueError):  # MalformedJsonError is a ValueError
        return None
    return value if isinstance(value, str) else None


KIND = Kind(
    name="psd2_card",
    transport=Transport.PULL,
    profile=False,
    secrets=(),
    build=lambda config, secrets: Psd2Card(parse_config(config, secrets)),
)
