"""What every connector is: the values it takes and gives, and the failures it may raise. Pure.

Two shapes. A `Receiver` is spoken to (push, device): one request becomes a delivery or an answer. A `Fetcher` speaks
(pull, file): it yields pages, each with the cursor to continue from. Neither keeps state: the hub stores rows and
cursor in one transaction, so a crash between two pages loses nothing and takes nothing twice.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Literal, NoReturn, Protocol, runtime_checkable

CursorValue = str | int | None


Lateness = Literal["minutes", "day", "weeks"]

OVERLAP: Mapping[Lateness, timedelta] = {
    "minutes": timedelta(hours=1),
    "day": timedelta(days=2),
    "weeks": timedelta(days=31),
}
"""How far back a feed is read again, by how late its platform may still say something or say it differently."""


class Transport(StrEnum):
    PUSH = "push"
    PULL = "pull"
    FILE = "file"
    DEVICE = "device"
    UPLOAD = "upload"  # the person brings a file


class Scope(StrEnum):
    """Whose records one run of a connector brings."""

    LINK = "link"  # those of one linked account, with its token
    PLATFORM = "platform"  # everybody's: each row says whose it is


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """What a connector promises about the records it hands on.

    `official` is false for the hub's own profiles: they serve platforms that publish no record API, and the portal
    must never show them as the platform's own interface.
    """

    name: str
    title: str
    transport: Transport
    streams: tuple[str, ...]
    role: str
    official: bool
    id_stability: Literal["stable", "derived"]  # derived: the id is made from the record's own fields
    finality: Literal["final", "revisable"]
    correction_mode: Literal["none", "version", "replace"]  # replace: same id, other content
    lateness_class: Lateness
    drops: tuple[str, ...] = ()  # personal fields of the format that no mapping may keep
    scope: Scope = Scope.PLATFORM
    windowed: bool = False  # can be asked for a stretch of time, so that the past is read in a lane of its own
    reread: timedelta | None = None  # where the format itself says how far back, instead of OVERLAP
    corroborates: bool = False  # rows that name nobody: they confirm acts that others report, and credit none

    @property
    def overlap(self) -> timedelta:
        """How far before the last reading the next one begins."""
        return OVERLAP[self.lateness_class] if self.reread is None else self.reread


def describe_profile(
    *,
    name: str,
    title: str,
    transport: Transport,
    stream: str,
    role: str,
    lateness_class: Lateness,
    drops: tuple[str, ...],
    scope: Scope = Scope.PLATFORM,
) -> Description:
    """Describe a connector of the hub's own: its records keep their ids and are corrected by a higher version."""
    return Description(
        name=name,
        title=title,
        transport=transport,
        streams=(stream,),
        role=role,
        official=False,
        id_stability="stable",
        finality="revisable",
        correction_mode="version",
        lateness_class=lateness_class,
        drops=drops,
        scope=scope,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbound:
    """A request as the hub's door received it. `headers` have lower-case names; `body` is unparsed."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """A row that could not be handed on. `detail` is a sentence without personal data."""

    position: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message of a platform.

    `delivery_id` is the same whenever the same message comes again; `digest` is the SHA-256 of the raw message, so that
    the same id with another digest shows as a contradiction. `account` is that of the link through which the hub asked,
    for platforms whose rows do not say whose they are.
    """

    delivery_id: str
    stream: str
    rows: tuple[bytes, ...] = field(repr=False)
    digest: bytes
    unreadable: tuple[Unreadable, ...] = ()
    account: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the hub did with the rows of a delivery."""

    accepted: int = 0
    refused: int = 0
    replayed: int = 0
    quarantined: int = 0


class Cursor(dict[str, CursorValue]):
    """Where to continue. Goes through JSON unchanged; frozen, because a page and its cursor are committed together."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a cursor is frozen")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What one request brought, and where to go on after it. `last`: this run has nothing more to ask for."""

    delivery: Delivery
    cursor: Cursor
    last: bool = False


class Prove(Protocol):
    """Make the headers that authorise one request, where a token is bound to a key (DPoP, RFC 9449)."""

    def __call__(self, *, method: str, url: str) -> Mapping[str, str]: ...


class Hear(Protocol):
    """Take what an answer's headers say about proofs; returns whether the same request is worth one more try."""

    def __call__(self, *, url: str, status: int, headers: Mapping[str, str]) -> bool: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkAccess:
    """The right to read one linked account, for the length of one run."""

    link_id: str
    account: str
    access_token: str = field(repr=False)
    prove: Prove | None = field(default=None, repr=False)
    hear: Hear | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The time that a run may ask for: what consent covers, or a stretch of the past that is filled in. Half-open.

    It bounds what is asked. Whether a record may be taken is decided again, row by row, where it is stored.
    """

    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    ok: bool
    findings: tuple[str, ...] = ()


class ConnectorError(Exception):
    """A failure of the world, named by what to do next. `reason` is a stable code; no text of the platform is in it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class RetryLater(ConnectorError):
    """Nothing is wrong that time does not heal. Ask again from the last committed cursor after `after_s` seconds."""

    def __init__(self, reason: str, *, after_s: int) -> None:
        super().__init__(reason)
        self.after_s = after_s


class SetAside(ConnectorError):
    """This page or drop cannot be taken and asking again will not help: a person must look."""


class Reauthorise(ConnectorError):
    """The platform no longer honours the link's token: refresh it, or ask the person to link again."""


class Stop(ConnectorError):
    """The connector's configuration is wrong or unsafe: do not call until an operator has changed it."""


class Connector:
    """What connectors of every shape do alike; a format that has more to say overrides it."""

    def check(self) -> CheckResult:
        """Ask the platform, without any person's right, whether it is there and guards its records."""
        return CheckResult(ok=True)

    def revoke(self, access: LinkAccess, *, now: datetime) -> None:
        """Tell the platform, in its own words, that a link has ended. OAuth tokens the hub gives back by itself.

        Raises:
            RetryLater: not reached; to be told again.
        """


@runtime_checkable
class Receiver(Protocol):
    def describe(self) -> Description: ...

    def check(self) -> CheckResult: ...

    def revoke(self, access: LinkAccess, *, now: datetime) -> None: ...

    def receive(self, request: Inbound, *, now: datetime) -> Delivery | Reply:
        """Check one request. A `Reply` means it is answered without a delivery: refused, or a token was asked for.

        Raises:
            Stop: our own registration at the platform is refused (device connectors that call the platform).
        """
        ...

    def acknowledge(self, delivery: Delivery, outcome: Outcome) -> Reply: ...


@runtime_checkable
class DeviceLink(Protocol):
    """A receiver whose accounts are linked by the platform's own sign-in code instead of OAuth."""

    def fetch_account(self, code: str) -> str | None: ...


@runtime_checkable
class Fetcher(Protocol):
    def describe(self) -> Description: ...

    def check(self) -> CheckResult: ...

    def revoke(self, access: LinkAccess, *, now: datetime) -> None: ...

    def fetch(
        self, access: LinkAccess | None, cursor: Cursor | None, *, now: datetime, window: Window | None = None
    ) -> Iterator[Page]:
        """Yield pages from the cursor on, each with the cursor that follows it.

        Args:
            access: of the link that is read; None where the scope is the whole platform.
            window: what may be asked for at most; None means whatever the platform still has.

        Raises:
            RetryLater: time heals it. What was yielded stands.
            SetAside: asking again does not help: a person must look.
            Reauthorise: the link's token is refused, or was never given.
            Stop: configuration or address is wrong or unsafe.
        """
        ...


def json_reply(status: int, document: Mapping[str, Any], *, headers: Mapping[str, str] | None = None) -> Reply:
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
    return Reply(status=status, headers={"content-type": "application/json", **(headers or {})}, body=body)


def problem(status: int, reason: str, title: str, *, headers: Mapping[str, str] | None = None) -> Reply:
    """Refuse with RFC 9457 problem details; `reason` is the stable part."""
    document = {"type": f"urn:tanlian:problem:{reason}", "title": title, "status": status}
    return json_reply(status, document, headers={"content-type": "application/problem+json", **(headers or {})})


def outcome_reply(delivery: Delivery, outcome: Outcome) -> Reply:
    """Tell the sender what became of its rows: the answer of every transport that has no form of its own."""
    unreadable: Sequence[Mapping[str, Any]] = [
        {"position": row.position, "reason": row.reason} for row in delivery.unreadable
    ]
    return json_reply(
        200,
        {
            "delivery_id": delivery.delivery_id,
            "accepted": outcome.accepted,
            "refused": outcome.refused,
            "replayed": outcome.replayed,
            "quarantined": outcome.quarantined,
            "unreadable": unreadable,
        },
    )
