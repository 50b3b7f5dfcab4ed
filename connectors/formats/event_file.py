"""The file of one event: a signed drop that comes once, with acts of one programme and period. Pure (files: `file_drop.py`).

A large event gathers acts in a system of its own and hands them over when it is closed: one drop, one sequence number. A
second drop is set aside, however well it is signed, because nothing is left that could say what it corrects. A row names
its event and lies inside the event's period from begin to end; a row of another event, or from before or after, stays
outside with its reason. Times are written with their offset. Rows are JSON lines, CSV or Parquet.

A profile of the hub: no programme of this kind has published an interface.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from connectors.base import Description, Transport, Unreadable
from connectors.config import ConfigError, Fields
from connectors.kind import Kind
from connectors.profiles.drop_folder import Drop
from connectors.profiles.drop_rows import Entry
from connectors.profiles.file_drop import FileDrop, FileDropConfig, take_config, take_private_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """What belongs to an event, and what a row calls it; the period is half-open, an act may end at its end."""

    id: str
    since: datetime
    until: datetime
    id_member: str
    begin_member: str
    end_member: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFileConfig:
    drop: FileDropConfig
    event: Event


def parse_config(config: Mapping[str, object], secrets: Mapping[str, object]) -> EventFileConfig:
    with Fields(secrets, where="secrets") as given:
        private_key = take_private_key(given)
    with Fields(config, where="config") as fields:
        event = Event(
            id=fields.text("event"),
            since=_parse_moment("event_since", fields.text("event_since")),
            until=_parse_moment("event_until", fields.text("event_until")),
            id_member=fields.text("event_member", default="event_id"),
            begin_member=fields.text("begin_member", default="begin_at"),
            end_member=fields.text("end_member", default="end_at"),
        )
        drop = take_config(fields, private_key)
    if event.since >= event.until:
        raise ConfigError("config: field 'event_until' must be after 'event_since'")
    return EventFileConfig(drop=replace(drop, only_sequence=drop.first_sequence), event=event)


def build_event_file(config: EventFileConfig) -> FileDrop:
    """Make the fetcher of an event's one drop."""
    described = Description(
        name="event_file",
        title="One event's file by signed file drop (profile)",
        transport=Transport.FILE,
        streams=(config.drop.source.stream,),
        role=config.drop.role,
        official=False,
        id_stability="stable",
        finality="final",
        correction_mode="none",
        lateness_class="day",
        drops=config.drop.drops,
    )
    return FileDrop(config.drop, arrange=partial(keep_inside, config.event), described=described)


def keep_inside(event: Event, drop: Drop, carried: str | None) -> tuple[Sequence[Entry], str | None]:
    """Hand on the rows of the event as they are written, each other one as unreadable at its place."""
    return [_judge(event, entry, position) for position, entry in enumerate(drop.entries)], carried


def _judge(event: Event, entry: Entry, position: int) -> Entry:
    if isinstance(entry, Unreadable):
        return entry
    row: dict[str, Any] = json.loads(entry)
    if row.get(event.id_member) != event.id:
        return Unreadable(position=position, reason="other_event", detail="The row does not name this event.")
    begin, end = (_read_moment(row.get(name)) for name in (event.begin_member, event.end_member))
    if begin is None or end is None:
        detail = "The row's begin or end is not a time with its offset."
        return Unreadable(position=position, reason="event_time", detail=detail)
    if not (event.since <= begin < event.until and begin <= end <= event.until):
        return Unreadable(position=position, reason="outside_event", detail="The act is not inside the event's period.")
    return entry


def _read_moment(value: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None


def _parse_moment(name: str, text: str) -> datetime:
    moment = _read_moment(text)
    if moment is None:
        raise ConfigError(f"config: field {name!r} must be a time with its offset")
    return moment


KIND = Kind(
    name="event_file",
    transport=Transport.FILE,
    profile=True,
    secrets=(),
    build=lambda config, secrets: build_event_file(parse_config(config, secrets)),
)
