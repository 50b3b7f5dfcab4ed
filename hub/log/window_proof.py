"""Checks, from files alone, that final windows count nothing twice. I/O: reads the files of a folder for each window.

A regulator's own copy of this file needs Python and nothing else of the hub: what the log vouches for, the manifest, is
handed in by whoever has verified `proof.json` (hub/log/bundles.py, or any C2SP verifier).

    decisions   record|event|verdict|rule|counted|canonical     one line a report, by rising number of the record
    events      key|event|mg                                    one line a counted act, by rising key
    reversals   event|mg                                        one line an act that the window took back

What is checked, for each window, and then across those that are given:

1. Each list is the one that the manifest commits to: SHA-256 of each line, in order, under one Merkle root (RFC 6962).
2. No record is decided twice; an act counts by one record, its own, and nothing but a counted record has an amount.
3. The amounts sum to the manifest's, to the milligram.
4. No two counted acts have one key, within a window or across windows, unless a window took one of them back.
5. Windows are ranges of records without gap or overlap, and each names the root of the one before.
6. Serials of market blocks are ranges without gap or overlap.

Memory is a bit for each record of a window, whatever its size: lines are read one after the other.
"""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

MANIFEST = "tanlian-window/2"
DECISIONS, EVENTS, REVERSALS = "decisions", "events", "reversals"
NO_ROOT = "0" * 64
MAX_LINE_BYTES = 400
MOST_FAULTS = 20
MOST_RECORDS = 2**32
_PARTS = {DECISIONS: 6, EVENTS: 3, REVERSALS: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowFault:
    """One thing that is wrong. `reason` is a code; `detail` names the window, the line's content and what it should be."""

    window: int
    reason: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowReport:
    """What was checked; the windows hold if there is no fault. `notes` say what could not be checked, and why."""

    windows: tuple[int, ...]
    decisions: int
    events: int
    counted_mg: int
    faults: tuple[WindowFault, ...]
    notes: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Tell whether everything fits."""
        return not self.faults


class LineError(ValueError):
    """A line is not of its list's form."""


@dataclass(slots=True, kw_only=True)
class _Seen:
    """What one window leaves behind for the comparison with others."""

    manifest: Mapping[str, Any]
    folder: Path
    bits: bytearray
    anew: set[int] = field(default_factory=set)
    reversed_events: set[int] = field(default_factory=set)

    def counts(self, record: int) -> bool:
        at = record - int(self.manifest["first_seq"])
        return record in self.anew or (0 <= at < len(self.bits) * 8 and bool(self.bits[at >> 3] >> (at & 7) & 1))


class _Faults:
    """Faults in the order in which they are found, the first of each kind and window named, as many as fit a page."""

    def __init__(self) -> None:
        self.found: list[WindowFault] = []

    def add(self, window: int, reason: str, detail: str) -> None:
        if len(self.found) < MOST_FAULTS:
            self.found.append(WindowFault(window=window, reason=reason, detail=detail))


def verify_windows(proved: Sequence[tuple[Mapping[str, Any], Path]]) -> WindowReport:
    """Check windows, each by its manifest (verified against the log) and the folder with its three lists."""
    faults, notes = _Faults(), list[str]()
    seen: list[_Seen] = []
    decisions = events = counted = 0
    for manifest, folder in sorted(proved, key=lambda one: _window_of(one[0])):
        window = _window_of(manifest)
        if manifest.get("v") != MANIFEST:
            notes.append(f"window {window} became final before its keys were kept: it is not checked")
            continue
        try:
            _require_form(manifest)
            one = _Seen(manifest=manifest, folder=folder, bits=_bits_for(manifest))
            decisions += _check_decisions(one, faults)
            events += _check_events(one, faults)
            _check_reversals(one, faults)
        except (OSError, LineError) as cause:
            faults.add(window, "unreadable", f"window {window}: {cause}")
            continue
        counted += int(manifest["counted_mg"])
        _check_serials(manifest, faults)
        seen.append(one)
    _check_chain([one.manifest for one in seen], faults, notes)
    _check_across(seen, faults)
    return WindowReport(
        windows=tuple(int(one.manifest["window"]) for one in seen), decisions=decisions, events=events,
        counted_mg=counted, faults=tuple(faults.found), notes=tuple(notes),
    )  # fmt: skip


class _Root:
    """The Merkle root over lines as they come: the roots of full subtrees, one for each one-bit of their number."""

    def __init__(self) -> None:
        self.count = 0
        self._peaks: list[bytes] = []

    def add(self, line: bytes) -> None:
        node, height = sha256(b"\x00" + sha256(line).digest()).digest(), self.count
        while height & 1:
            node, height = sha256(b"\x01" + self._peaks.pop() + node).digest(), height >> 1
        self._peaks.append(node)
        self.count += 1

    def digest(self) -> str:
        if not self._peaks:
            return sha256(b"").hexdigest()
        root = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            root = sha256(b"\x01" + peak + root).digest()
        return root.hex()


def _lines(folder: Path, name: str) -> Iterator[tuple[bytes, list[str]]]:
    """Yield each line with its parts; a line that is too long or has another number of parts ends it all."""
    parts = _PARTS[name]
    with (folder / name).open("rb") as file:
        for number, raw in enumerate(iter(lambda: file.readline(MAX_LINE_BYTES + 1), b""), 1):
            line = raw[:-1]
            told = line.decode("ascii", "replace").split("|")
            if not raw.endswith(b"\n") or len(told) != parts:
                raise LineError(f"line {number} of {name} is not of {parts} parts and at most {MAX_LINE_BYTES} bytes")
            yield line, told


def _number(text: str, what: str) -> int:
    if not text.isascii() or not text.isdecimal() or len(text) > 19:
        raise LineError(f"{what} {text[:40]!r} is no whole number")
    return int(text)


def _window_of(manifest: Mapping[str, Any]) -> int:
    window = manifest.get("window")
    return window if type(window) is int else 0


def _require_form(manifest: Mapping[str, Any]) -> None:
    """Raise LineError unless the manifest has what is compared here, each of its kind."""
    numbers = [manifest.get(name) for name in ("window", "first_seq", "last_seq", "records")]
    digests = [manifest.get(name) for name in ("root", "previous_root", "decisions_root")]
    sums = [manifest.get("counted_mg")]
    for name in (EVENTS, REVERSALS):
        told = manifest.get(name)
        told = told if isinstance(told, dict) else {}
        numbers, digests, sums = [*numbers, told.get("count")], [*digests, told.get("root")], [*sums, told.get("mg")]
    markets = manifest.get("serials")
    if not isinstance(markets, list) or not all(isinstance(one, dict) for one in markets):
        raise LineError("the manifest names no serials")
    for one in markets:
        ranges = one.get("ranges")
        if not isinstance(one.get("market"), str) or not isinstance(ranges, list):
            raise LineError("the manifest's serials are not of the form")
        numbers += [one.get("after"), one.get("last")]
        numbers += [part.get(end) if isinstance(part, dict) else None for part in ranges for end in ("first", "last")]
    if not all(type(number) is int and 0 <= number < 2**63 for number in numbers):
        raise LineError("a number of the manifest is none")
    if not all(isinstance(one, str) and len(one) == 64 and set(one) <= set("0123456789abcdef") for one in digests):
        raise LineError("a digest of the manifest is none")
    for one in sums:
        _number(one if isinstance(one, str) else "", "the manifest's sum")
    if manifest["last_seq"] - manifest["first_seq"] >= MOST_RECORDS:
        raise LineError(f"the window has more than {MOST_RECORDS} records")


def _bits_for(manifest: Mapping[str, Any]) -> bytearray:
    return bytearray(max(0, int(manifest["last_seq"]) - int(manifest["first_seq"]) + 8) // 8)


def _check_decisions(one: _Seen, faults: _Faults) -> int:
    """Read the decisions: order, one counted record an act, sum, root; marks which records count."""
    manifest = one.manifest
    window, first, last = (int(manifest[name]) for name in ("window", "first_seq", "last_seq"))
    root, before, total = _Root(), -1, 0
    for line, (record_text, event, verdict, _rule, mg_text, _canonical) in _lines(one.folder, DECISIONS):
        root.add(line)
        record, mg = _number(record_text, "record"), _number(mg_text, "amount")
        if record == before:
            faults.add(window, "record_twice", f"window {window} decides about record {record} twice")
        elif record < before:
            faults.add(window, "not_in_order", f"window {window}: record {record} comes after record {before}")
        if record > last:
            faults.add(window, "outside_range", f"window {window} ends with record {last} and decides about {record}")
        before, total = record, total + mg
        if verdict == "counted":
            if event != record_text:
                faults.add(
                    window,
                    "counts_by_another",
                    f"window {window}: record {record} counts act {event or 'none'}, not its own",
                )
            elif record < first:
                one.anew.add(record)
            elif record <= last:
                one.bits[(record - first) >> 3] |= 1 << ((record - first) & 7)
        elif mg:
            faults.add(
                window, "amount_without_counting", f"window {window}: record {record} is {verdict} and has {mg} mg"
            )
    _compare(window, "records", root.count, manifest["records"], faults)
    _compare_sum(window, DECISIONS, total, manifest["counted_mg"], faults)
    if root.digest() != manifest["decisions_root"]:
        faults.add(window, "other_list", f"window {window}: its decisions are not those that the manifest commits to")
    chained = sha256(bytes.fromhex(manifest["previous_root"]) + bytes.fromhex(root.digest())).hexdigest()
    if chained != manifest["root"]:
        faults.add(
            window, "broken_chain", f"window {window}: its root is not made of its decisions and the root before"
        )
    return root.count


def _check_events(one: _Seen, faults: _Faults) -> int:
    """Read the counted acts by key: no key twice, each act once and counted, sum, root."""
    manifest, window = one.manifest, int(one.manifest["window"])
    first = int(manifest["first_seq"])
    root, before, total = _Root(), "", 0
    left, anew = bytearray(one.bits), set(one.anew)
    for line, (key, event_text, mg_text) in _lines(one.folder, EVENTS):
        root.add(line)
        event, mg = _number(event_text, "act"), _number(mg_text, "amount")
        if key == before:
            faults.add(window, "key_twice", f"window {window}: act {event} has the key {key} of the act before it")
        elif key < before:
            faults.add(window, "not_in_order", f"window {window}: the key of act {event} is not in order")
        before, total = key, total + mg
        at = event - first
        if event in anew:
            anew.remove(event)
        elif 0 <= at < len(left) * 8 and left[at >> 3] >> (at & 7) & 1:
            left[at >> 3] &= ~(1 << (at & 7)) & 0xFF
        else:
            faults.add(
                window, "act_not_counted", f"window {window}: act {event} is listed twice, or no decision counts it"
            )
    missing = sum(byte.bit_count() for byte in left if byte) + len(anew)
    if missing:
        faults.add(window, "act_without_key", f"window {window}: {missing} counted acts are not listed by key")
    _compare_list(window, EVENTS, root, total, manifest, faults)
    _compare_sum(window, EVENTS, total, manifest["counted_mg"], faults)
    return root.count


def _check_reversals(one: _Seen, faults: _Faults) -> None:
    window, root, before, total = int(one.manifest["window"]), _Root(), -1, 0
    for line, (event_text, mg_text) in _lines(one.folder, REVERSALS):
        root.add(line)
        event, mg = _number(event_text, "act"), _number(mg_text, "amount")
        if event <= before:
            faults.add(window, "reversed_twice", f"window {window} takes act {event} back twice, or out of order")
        before, total = event, total + mg
        one.reversed_events.add(event)
    _compare_list(window, REVERSALS, root, total, one.manifest, faults)


def _compare_list(
    window: int, name: str, root: _Root, total: int, manifest: Mapping[str, Any], faults: _Faults
) -> None:
    told = manifest[name]
    _compare(window, name, root.count, told["count"], faults)
    _compare_sum(window, name, total, told["mg"], faults)
    if root.digest() != told["root"]:
        faults.add(window, "other_list", f"window {window}: its {name} are not those that the manifest commits to")


def _compare(window: int, name: str, found: int, told: Any, faults: _Faults) -> None:
    if found != told:
        faults.add(window, "wrong_count", f"window {window} has {found} {name}, its manifest says {told}")


def _compare_sum(window: int, name: str, found: int, told: Any, faults: _Faults) -> None:
    if str(found) != told:
        faults.add(window, "wrong_sum", f"window {window}: its {name} sum to {found} mg, its manifest says {told}")


def _check_serials(manifest: Mapping[str, Any], faults: _Faults) -> None:
    window = int(manifest["window"])
    for market in manifest["serials"]:
        name, at = market["market"], int(market["after"])
        for one in market["ranges"]:
            if one["first"] <= at or one["last"] < one["first"]:
                faults.add(
                    window, "serials_overlap",
                    f"window {window}: serials {one['first']} to {one['last']} of {name} overlap what ends with {at}",
                )  # fmt: skip
            elif one["first"] != at + 1:
                faults.add(
                    window,
                    "serials_gap",
                    f"window {window}: serials {at + 1} to {one['first'] - 1} of {name} are missing",
                )
            at = max(at, int(one["last"]))
        if at != market["last"]:
            faults.add(
                window, "serials_gap", f"window {window}: the last serial of {name} is {at}, not {market['last']}"
            )


def _check_chain(manifests: Sequence[Mapping[str, Any]], faults: _Faults, notes: list[str]) -> None:
    if manifests and int(manifests[0]["window"]) == 1 and (manifests[0]["previous_root"], manifests[0]["first_seq"]) != (
        NO_ROOT, 1,
    ):  # fmt: skip
        faults.add(1, "broken_chain", "window 1 does not begin the chain")
    for before, after in pairwise(manifests):
        window, earlier = int(after["window"]), int(before["window"])
        if window == earlier:
            faults.add(window, "window_twice", f"window {window} is there twice")
            continue
        if after["first_seq"] <= before["last_seq"]:
            faults.add(
                window, "ranges_overlap",
                f"window {window} begins with record {after['first_seq']}, window {earlier} ends with {before['last_seq']}",
            )  # fmt: skip
        if window != earlier + 1:
            notes.append(f"windows {earlier + 1} to {window - 1} were not given: the chain is not checked there")
            continue
        if after["previous_root"] != before["root"]:
            faults.add(window, "broken_chain", f"window {window} does not name the root of window {earlier}")
        if after["first_seq"] > before["last_seq"] + 1:
            faults.add(window, "ranges_gap", f"no window has the records between windows {earlier} and {window}")
        ends = {one["market"]: one["last"] for one in before["serials"]}
        for one in after["serials"]:
            if one["after"] != ends.pop(one["market"], 0):
                detail = f"window {window}: serials of {one['market']} do not go on where window {earlier} ends"
                faults.add(window, "serials_overlap", detail)
        for market in ends:
            faults.add(window, "serials_gap", f"window {window} does not name the market {market} any more")


def _check_across(seen: Sequence[_Seen], faults: _Faults) -> None:
    """Look for acts that count in two windows, by number and by key, unless one was taken back."""
    taken_back = set[int]().union(*(one.reversed_events for one in seen))
    for place, later in enumerate(seen):
        window = int(later.manifest["window"])
        for event in sorted(later.anew):
            for earlier in seen[:place]:
                if earlier.counts(event):
                    detail = f"act {event} counts in window {earlier.manifest['window']} and in window {window}"
                    faults.add(window, "act_twice", detail)
    if len(seen) < 2:
        return  # its own keys were compared as they were read
    previous: tuple[str, int, int] | None = None
    for key, event, window in heapq.merge(*(_keys(one) for one in seen)):
        if event in taken_back:
            continue
        if previous is not None and previous[0] == key and previous[2] != window:
            detail = f"acts {previous[1]} of window {previous[2]} and {event} of window {window} have the key {key}"
            faults.add(window, "key_twice", detail)
        previous = (key, event, window)


def _keys(one: _Seen) -> Iterator[tuple[str, int, int]]:
    window = int(one.manifest["window"])
    try:
        for _, (key, event, _mg) in _lines(one.folder, EVENTS):
            yield key, int(event), window
    except OSError:
        return
