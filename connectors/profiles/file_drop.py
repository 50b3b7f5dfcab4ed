"""Signed file drop: a platform leaves files in a folder, with a signed manifest. I/O: see `drop_place.py`, `drop_sftp.py`.

A profile of the hub. The cursor is the last drop taken, its manifest's digest, and how far the next one has been read:
a large drop is handed on in pages, and a page is reached again by reading the same drop with the same cursor.
An arrangement may join rows into others (a card's entry and exit) and carry what is still open to the next drop.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Self

from connectors.base import (
    CheckResult,
    Connector,
    Cursor,
    Delivery,
    Description,
    LinkAccess,
    Page,
    SetAside,
    Stop,
    Transport,
    Unreadable,
    Window,
    describe_profile,
)
from connectors.config import ConfigError, Fields
from connectors.kind import Kind
from connectors.profiles.drop_folder import Drop, DropSource, load_next
from connectors.profiles.drop_manifest import parse_public_key
from connectors.profiles.drop_place import DropPlace, LocalPlace
from connectors.profiles.drop_rows import Entry
from connectors.profiles.drop_sftp import SftpPlace, load_private_key, parse_host_key

Arrange = Callable[[Drop, str | None], tuple[Sequence[Entry], str | None]]
"""From a drop and what was carried into it, to the entries to hand on and what to carry out of it.

It may not look at the clock: the same drop must be arranged the same way whenever it is read again.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDropConfig:
    source: DropSource
    role: str = "operator"
    title: str = "signed file drop (profile)"
    drops: tuple[str, ...] = ()
    first_sequence: int = 1
    page_rows: int = 5000
    drops_a_run: int = 100
    only_sequence: int | None = None


def parse_config(
    config: Mapping[str, object], secrets: Mapping[str, object], *, stream: str = "acts"
) -> FileDropConfig:
    """Read the settings. The only secret is ours, for places behind SFTP: the platform signs with its own key."""
    with Fields(secrets, where="secrets") as given:
        private_key = take_private_key(given)
    with Fields(config, where="config") as fields:
        return take_config(fields, private_key, stream=stream)


def take_private_key(secrets: Fields) -> str | None:
    return next(iter(secrets.texts("sftp_private_key", default=())), None)


def take_config(fields: Fields, private_key: str | None, *, stream: str = "acts") -> FileDropConfig:
    """Take the fields of a file drop out of settings that may have more, of an arrangement's own."""
    encoding = fields.text("encoding", default="utf-8")
    if encoding not in ("utf-8", "gb18030"):
        raise ConfigError("config: field 'encoding' must be utf-8 or gb18030")
    source = DropSource(
        place=_take_place(fields, private_key),
        platform=fields.text("platform"),
        stream=fields.text("stream", default=stream),
        keys=tuple(parse_public_key(text) for text in fields.texts("public_keys")),
        encoding=encoding,
        file_bytes=fields.whole("file_bytes", default=64 << 20, least=1024, most=1 << 30),
        inflated_bytes=fields.whole("inflated_bytes", default=256 << 20, least=1024, most=4 << 30),
        rows=fields.whole("rows", default=500_000, least=1, most=10_000_000),
    )
    return FileDropConfig(
        source=source,
        role=fields.text("role", default="operator"),
        title=fields.text("title", default="signed file drop (profile)"),
        drops=fields.texts("drops", default=()),
        first_sequence=fields.whole("first_sequence", default=1, least=0, most=2**31),
        page_rows=fields.whole("page_rows", default=5000, least=1, most=100_000),
        drops_a_run=fields.whole("drops_a_run", default=100, least=1, most=10_000),
    )


def _take_place(fields: Fields, private_key: str | None) -> DropPlace:
    root, hosts = fields.text("root"), fields.texts("sftp_host", default=())
    if not hosts:
        if private_key is not None:
            raise ConfigError("secrets: field 'sftp_private_key' belongs to a place with 'sftp_host'")
        return LocalPlace(Path(root))
    if private_key is None:
        raise ConfigError("secrets: field 'sftp_private_key' is missing for the place behind 'sftp_host'")
    load_private_key(private_key)
    if len(hosts) != 1 or not root.startswith("/"):
        raise ConfigError("config: fields 'sftp_host' and 'root' must be one host and a path from its /")
    return SftpPlace(
        host=hosts[0],
        port=fields.whole("sftp_port", default=22, least=1, most=65535),
        user=fields.text("sftp_user"),
        root=root.rstrip("/"),
        host_keys=tuple(parse_host_key(text) for text in fields.texts("sftp_host_keys")),
        private_key=private_key,
        allow_loopback=fields.flag("allow_loopback", default=False),
        total_s=fields.whole("sftp_seconds", default=300, least=1, most=3600),
    )


def arrange_nothing(drop: Drop, carried: str | None) -> tuple[Sequence[Entry], str | None]:
    return drop.entries, carried


class FileDrop(Connector):
    """Fetcher of one platform's folder."""

    def __init__(
        self, config: FileDropConfig, *, arrange: Arrange = arrange_nothing, described: Description | None = None
    ) -> None:
        self._config = config
        self._arrange = arrange
        self._described = described

    def describe(self) -> Description:
        return self._described or describe_profile(
            name="file_drop",
            title=self._config.title,
            transport=Transport.FILE,
            stream=self._config.source.stream,
            role=self._config.role,
            lateness_class="day",
            drops=self._config.drops,
        )

    def check(self) -> CheckResult:
        faults = self._config.source.place.find_faults()
        return CheckResult(ok=not faults, findings=faults)

    def fetch(
        self, access: LinkAccess | None, cursor: Cursor | None, *, now: datetime, window: Window | None = None
    ) -> Iterator[Page]:
        """Yield the pages of every complete drop that follows the cursor. A drop belongs to no link: no access needed.

        Raises:
            SetAside: a drop is missing, changed, unsigned or not as its manifest says. Nothing of it was handed on.
            RetryLater: the folder cannot be read now.
            Stop: what answers is not the place that was agreed.
        """
        place = _Place.at(cursor, first=self._config.first_sequence)
        for _ in range(self._config.drops_a_run):
            drop = load_next(
                self._config.source,
                place.sequence + 1,
                previous=place.manifest,
                now=now,
                only=self._config.only_sequence,
            )
            if drop is None:
                return
            if place.position and place.reading != drop.manifest.sha256:
                raise SetAside("drop_changed")
            place = yield from self._pages(drop, place)

    def _pages(self, drop: Drop, place: "_Place") -> Generator[Page, None, "_Place"]:
        entries, carried = self._arrange(drop, place.carried)
        done = _Place(sequence=drop.sequence, manifest=drop.manifest.sha256, carried=carried)
        while True:
            start, end = place.position, min(place.position + self._config.page_rows, len(entries))
            reached = replace(place, position=end, reading=drop.manifest.sha256) if end < len(entries) else done
            yield Page(delivery=self._delivery(drop, entries[start:end], start), cursor=reached.as_cursor())
            if reached is done:
                return done
            place = reached

    def _delivery(self, drop: Drop, entries: Sequence[Entry], start: int) -> Delivery:
        return Delivery(
            delivery_id=f"{self._config.source.stream}-{drop.sequence:08d}-{start:08d}",
            stream=self._config.source.stream,
            rows=tuple(entry for entry in entries if isinstance(entry, bytes)),
            digest=bytes.fromhex(drop.manifest.sha256),  # the manifest is what the platform signed for all its rows
            unreadable=tuple(entry for entry in entries if isinstance(entry, Unreadable)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """The cursor's meaning: `sequence` is done, and of the drop after it `position` entries.

    `carried` is what came out of the drop that is done, so that a half-read drop is arranged the same way again.
    """

    sequence: int
    manifest: str | None = None
    position: int = 0
    reading: str | None = None  # the half-read drop's manifest: it must not change between two pages
    carried: str | None = None

    @classmethod
    def at(cls, cursor: Cursor | None, *, first: int) -> Self:
        if cursor is None:
            return cls(sequence=first - 1)
        sequence, position = cursor.get("sequence"), cursor.get("position")
        texts = [cursor.get(name) for name in ("manifest", "reading", "carried")]
        if not isinstance(sequence, int) or not isinstance(position, int) or any(isinstance(t, int) for t in texts):
            raise Stop("cursor_of_another_connector")
        manifest, reading, carried = (text if isinstance(text, str) else None for text in texts)
        return cls(sequence=sequence, manifest=manifest, position=position, reading=reading, carried=carried)

    def as_cursor(self) -> Cursor:
        return Cursor(
            sequence=self.sequence,
            manifest=self.manifest,
            position=self.position,
            reading=self.reading,
            carried=self.carried,
        )


KIND = Kind(
    name="file_drop",
    transport=Transport.FILE,
    profile=True,
    secrets=(),
    build=lambda config, secrets: FileDrop(parse_config(config, secrets)),
)
