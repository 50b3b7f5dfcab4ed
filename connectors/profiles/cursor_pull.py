"""Cursor pull: read a linked account's records page by page with its token. I/O: network.

A profile of the hub. `GET {records_url}?cursor=&limit=` answers `{"records": [...], "next_cursor": text or null}`. At
the end `next_cursor` is null: the last cursor is kept and that page read again later, because the feed is append-only
and its last page fills up. Every loop over the platform is bounded: pages, empty pages, repeated pages, seen cursors.

What a platform calls these things is configuration: the names of both parameters and of both members, parameters that
never change, and whether the cursor stands in the body or in a header.

The cursor is data and never an address: whatever the platform writes into it goes back into the query, escaped.
"""

import hashlib
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode, urlsplit

from connectors.answers import Seen, require_success
from connectors.base import (
    CheckResult,
    Connector,
    ConnectorError,
    Cursor,
    Delivery,
    Description,
    LinkAccess,
    Page,
    Reauthorise,
    RetryLater,
    Scope,
    SetAside,
    Stop,
    Transport,
    Window,
    describe_profile,
)
from connectors.config import ConfigError, Fields
from connectors.kind import Kind
from connectors.net.egress import Answer, EgressLimits, Origin, SafeClient
from connectors.strict_json import MalformedJsonError, Split, split_records

_MAX_CURSOR = 2048
_TOKEN = re.compile(r"[a-z0-9-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the platform calls the parts of its pages.

    `cursor_member` is a path: `paging.next` is the member `next` of the member `paging`. With `cursor_header` the cursor
    stands in that header instead, and no header means the end. `may_leave_out`: so does no member.
    """

    cursor_parameter: str = "cursor"
    limit_parameter: str = "limit"
    records_member: str = "records"
    cursor_member: tuple[str, ...] = ("next_cursor",)
    cursor_header: str | None = None
    may_leave_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CursorPullConfig:
    records_url: str
    allow_loopback: bool = False
    stream: str = "acts"
    role: str = "operator"
    title: str = "cursor pull (profile)"
    names: Names = Names()
    query: tuple[tuple[str, str], ...] = ()
    drops: tuple[str, ...] = ()
    limit: int = 100
    pages: int = 500
    rows: int = 5000


def parse_config(config: Mapping[str, object], secrets: Mapping[str, object]) -> CursorPullConfig:
    """Read the settings. There are no secrets: the token of each link is given to each run."""
    with Fields(secrets, where="secrets"):
        pass
    with Fields(config, where="config") as fields:
        parsed = CursorPullConfig(
            records_url=fields.text("records_url"),
            allow_loopback=fields.flag("allow_loopback", default=False),
            stream=fields.text("stream", default="acts"),
            role=fields.text("role", default="operator"),
            title=fields.text("title", default="cursor pull (profile)"),
            names=_parse_names(fields),
            query=_parse_query(fields),
            drops=fields.texts("drops", default=()),
            limit=fields.whole("limit", default=100, least=1, most=1000),
            pages=fields.whole("pages", default=500, least=1, most=100_000),
            rows=fields.whole("rows", default=5000, least=1, most=50_000),
        )
    own = {parsed.names.cursor_parameter, parsed.names.limit_parameter}
    if len(own) < 2 or own & {name for name, _ in parsed.query}:
        raise ConfigError("config: field 'query' and both parameters must have different names")
    if urlsplit(parsed.records_url).query or urlsplit(parsed.records_url).fragment:
        raise ConfigError("config: field 'records_url' must have no query and no fragment")
    return parsed


def _parse_names(fields: Fields) -> Names:
    default = Names()
    header = fields.text("cursor_header", default="-").lower()
    if header != "-" and not _TOKEN.fullmatch(header):
        raise ConfigError("config: field 'cursor_header' must be the name of a header")
    names = Names(
        cursor_parameter=fields.text("cursor_parameter", default=default.cursor_parameter),
        limit_parameter=fields.text("limit_parameter", default=default.limit_parameter),
        records_member=fields.text("records_member", default=default.records_member),
        cursor_member=tuple(fields.text("cursor_member", default="next_cursor").split(".")),
        cursor_header=None if header == "-" else header,
        may_leave_out=fields.flag("cursor_may_be_left_out", default=False),
    )
    if "" in names.cursor_member or names.cursor_member[0] == names.records_member:
        raise ConfigError("config: field 'cursor_member' must name a member beside the records")
    return names


def _parse_query(fields: Fields) -> tuple[tuple[str, str], ...]:
    pairs = [text.partition("=") for text in fields.texts("query", default=())]
    if not all(name and mark for name, mark, _ in pairs) or len({name for name, _, _ in pairs}) != len(pairs):
        raise ConfigError("config: field 'query' must be a list of name=value, each name once")
    return tuple((name, value) for name, _, value in pairs)


class CursorPull(Connector):
    """Fetcher of one account at a time."""

    def __init__(
        self,
        config: CursorPullConfig,
        *,
        client: SafeClient | None = None,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._config = config
        self._new_id = new_id
        origin = Origin.parse(config.records_url, allow_loopback=config.allow_loopback)
        self._client = client or SafeClient([origin], limits=EgressLimits())

    def describe(self) -> Description:
        return describe_profile(
            name="cursor_pull",
            title=self._config.title,
            transport=Transport.PULL,
            stream=self._config.stream,
            role=self._config.role,
            lateness_class="weeks",
            drops=self._config.drops,
            scope=Scope.LINK,
        )

    def check(self) -> CheckResult:
        """Ask without a token: a platform that answers with records is open to everybody."""
        try:
            answer = self._client.fetch(self._config.records_url, headers={"accept": "application/json"})
        except ConnectorError as error:
            return CheckResult(ok=False, findings=(error.reason,))
        if answer.status == 401:
            return CheckResult(ok=True)
        found = "open_without_token" if answer.status < 300 else f"answered_{answer.status}"
        return CheckResult(ok=False, findings=(found,))

    def fetch(
        self, access: LinkAccess | None, cursor: Cursor | None, *, now: datetime, window: Window | None = None
    ) -> Iterator[Page]:
        """Yield pages from the cursor to the end of the feed, or to the bound of one run.

        Raises:
            RetryLater: 429, 5xx, not reached, cut off. What was yielded stands.
            SetAside: wrong shape, a loop, too much.
            Reauthorise: the token is refused, or was never given.
            Stop: the address is wrong or unsafe.
        """
        if access is None:
            raise Reauthorise("no_token")
        asked = _asked(cursor)
        seen = Seen(asked)
        for _ in range(self._config.pages):
            request_id = self._new_id()
            answer = self._ask(access, asked, request_id)
            require_success(answer, now)
            split, following = parse_page(answer, names=self._config.names, most_rows=self._config.rows)
            seen.require_new_rows(split)
            turns = seen.is_known_cursor(following)
            yield Page(
                delivery=Delivery(
                    delivery_id=request_id,
                    stream=self._config.stream,
                    rows=split.rows,
                    digest=hashlib.sha256(answer.body).digest(),
                    unreadable=split.unreadable,
                    account=access.account,
                ),
                cursor=Cursor(cursor=asked if following is None or turns else following),
                last=following is None,
            )
            if turns:
                raise SetAside("cursor_loop")
            if following is None:
                return
            asked = following

    def _ask(self, access: LinkAccess, asked: str | None, request_id: str) -> Answer:
        """Ask for one page; once more if the platform only wants its nonce in the proof (RFC 9449 9)."""
        answer = self._ask_once(access, asked, request_id)
        if access.hear is not None:
            heard = access.hear(url=self._config.records_url, status=answer.status, headers=answer.headers)
            if heard:
                answer = self._ask_once(access, asked, request_id)
        return answer

    def _ask_once(self, access: LinkAccess, asked: str | None, request_id: str) -> Answer:
        names = self._config.names
        query = [*self._config.query, (names.limit_parameter, str(self._config.limit))]
        if asked is not None:
            query.append((names.cursor_parameter, asked))
        url = self._config.records_url
        authorisation = (
            access.prove(method="GET", url=url)
            if access.prove is not None
            else {"authorization": f"Bearer {access.access_token}"}
        )
        headers = {"accept": "application/json", "x-request-id": request_id, **authorisation}
        return self._client.fetch(f"{url}?{urlencode(query)}", headers=headers)


def _asked(cursor: Cursor | None) -> str | None:
    value = cursor.get("cursor") if cursor is not None else None
    if value is not None and not isinstance(value, str):
        raise Stop("cursor_of_another_connector")
    return value


def parse_page(answer: Answer, *, names: Names, most_rows: int) -> tuple[Split, str | None]:
    """Take a page apart into its rows and the cursor that follows.

    A body that is no JSON at all was most likely cut on the way: retry. JSON of another shape is a change of the
    platform that no retry heals.
    """
    try:
        split = split_records(answer.body, names.records_member)
    except MalformedJsonError as malformed:
        if malformed.reason in ("not_json", "not_utf8"):
            raise RetryLater("page_unreadable", after_s=30) from None
        raise SetAside(f"page_{malformed.reason}") from None
    following = _following(answer, split, names)
    if following is not None and not (isinstance(following, str) and 0 < len(following) <= _MAX_CURSOR):
        raise SetAside("page_next_cursor")
    if following is not None and not following.isprintable():
        raise SetAside("page_next_cursor")  # also lone surrogates, which no query can carry
    if len(split.rows) + len(split.unreadable) > most_rows:
        raise SetAside("page_too_many_records")
    return split, following


def _following(answer: Answer, split: Split, names: Names) -> object:
    if names.cursor_header is not None:
        return answer.headers.get(names.cursor_header)
    value: object = split.rest
    for name in names.cursor_member:
        if value is None and names.may_leave_out:
            return None
        if not isinstance(value, dict) or (name not in value and not names.may_leave_out):
            raise SetAside("page_no_next_cursor")
        value = value.get(name)
    return value


KIND = Kind(
    name="cursor_pull",
    transport=Transport.PULL,
    profile=True,
    secrets=(),
    build=lambda config, secrets: CursorPull(parse_config(config, secrets)),
)
