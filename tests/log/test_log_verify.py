"""The offline verifier: accepts what is right, and names the place of whatever is not."""

import json
import shutil
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from pathlib import Path

import httpx
import pytest
from sqlalchemy import Engine

from hub.log.batch import grow_tiles, hash_batch
from hub.log.checkpoint import sign_checkpoint
from hub.log.export import export_log
from hub.log.merkle import EMPTY, leaf_hash, tree_root
from hub.log.note import LogSigner, NoteError, parse_note
from hub.log.sequencer import Sequencer
from hub.log.source import SourceError, open_source
from hub.log.tiles import ENTRIES, FULL_WIDTH, TilePath, decode_bundle, encode_bundle, tiles_of_level
from hub.log.verify import Report, verify_log

Files = dict[str, bytes]


def entries_of(size: int) -> list[bytes]:
    return [b'{"n":%d}' % number for number in range(size)]


def build_files(signer: LogSigner, entries: list[bytes]) -> Files:
    """Make the static files of a log without any database."""
    files: Files = {}
    for path in tiles_of_level(level=ENTRIES, size=len(entries)):
        files[str(path)] = encode_bundle(entries[path.n * FULL_WIDTH : path.n * FULL_WIDTH + path.width])
    growth = hash_batch(EMPTY, encode_bundle(entries))
    for level, hashes in growth.rows.items():
        for piece in grow_tiles(hashes, count=0, last=b""):
            files[str(TilePath(level=level, n=piece.n, width=len(piece.data) // 32))] = piece.data
    root = growth.frontier.root()
    files["checkpoint"] = sign_checkpoint(signer, size=len(entries), root=root)
    return files


def verify(files: Files, signer: LogSigner, *, seen: bytes | None = None) -> Report:
    return verify_log(files.get, signer.vkey, seen=seen)


def flip(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 511, 512, 513, 65537])
def test_a_right_log_of_each_edge_size_holds(signer: LogSigner, size: int) -> None:
    report = verify(build_files(signer, entries_of(size)), signer)
    assert report.fault is None
    assert report.holds
    assert (report.origin, report.size) == (signer.name, size)


def test_every_one_bit_change_of_a_small_log_is_found_and_located(signer: LogSigner) -> None:
    files = build_files(signer, entries_of(5))
    for place, data in files.items():
        for bit in range(len(data) * 8):
            fault = verify({**files, place: flip(data, bit)}, signer).fault
            assert fault is not None, (place, bit)
            assert fault.place == place, (bit, fault)
            if place.startswith("tile/0"):
                assert (fault.reason, fault.hash_index) == ("wrong_hash", bit // 8 // 32)
            if place.startswith("tile/entries"):
                entry_bytes = 2 + len(entries_of(1)[0])
                assert fault.entry == bit // 8 // entry_bytes, (bit, fault)


def test_a_bit_changed_anywhere_in_a_log_of_two_levels_is_located(signer: LogSigner) -> None:
    entries = entries_of(600)
    files = build_files(signer, entries)
    assert set(files) == {
        "checkpoint", "tile/0/000", "tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2",
        "tile/entries/000", "tile/entries/001", "tile/entries/002.p/88",
    }  # fmt: skip
    for place, data in files.items():
        for bit in range(7, len(data) * 8, 1009):
            fault = verify({**files, place: flip(data, bit)}, signer).fault
            assert fault is not None
            assert fault.place == place, (bit, fault)


def test_a_bit_changed_beyond_the_thousandth_tile_is_located_by_its_longer_path(signer: LogSigner) -> None:
    size = 1000 * 256 + 100
    files = build_files(signer, entries_of(size))
    assert {"tile/0/999", "tile/0/x001/000.p/100", "tile/1/003.p/232", "tile/2/000.p/3"} < files.keys()
    assert "tile/0/000" in files
    assert "tile/0/1000" not in files
    assert verify(files, signer).fault is None
    place = "tile/entries/x001/000.p/100"
    fault = verify({**files, place: flip(files[place], 8 * 20)}, signer).fault
    assert fault is not None
    assert (fault.place, fault.entry) == (place, 1000 * 256 + 1)
    place = "tile/1/003.p/232"
    fault = verify({**files, place: flip(files[place], 8 * 32 * 7)}, signer).fault
    assert fault is not None
    assert (fault.place, fault.reason, fault.hash_index) == (place, "wrong_hash", 7)


def test_a_changed_entry_is_named_by_its_index(signer: LogSigner) -> None:
    files = build_files(signer, entries_of(600))
    entries = decode_bundle(files["tile/entries/001"])
    entries[44] = b"changed"
    fault = verify({**files, "tile/entries/001": encode_bundle(entries)}, signer).fault
    assert fault is not None
    assert (fault.place, fault.reason, fault.entry) == ("tile/entries/001", "wrong_entry", 300)


def test_entry_and_hash_changed_together_are_named_together(signer: LogSigner) -> None:
    files = build_files(signer, entries_of(600))
    entries = decode_bundle(files["tile/entries/001"])
    entries[44] = b"changed"
    other = build_files(signer, [*entries_of(256), *entries, *entries_of(600)[512:]])
    mixed = {**files, "tile/entries/001": other["tile/entries/001"], "tile/0/001": other["tile/0/001"]}
    fault = verify(mixed, signer).fault
    assert fault is not None
    # Entries and level 0 agree with each other; level 1 still tells that block 1 is another one.
    assert (fault.place, fault.hash_index) == ("tile/entries/001", None)
    assert fault.reason == "wrong_block"
    mixed["tile/0/001"] = flip(files["tile/0/001"], 44 * 256)
    fault = verify(mixed, signer).fault
    assert fault is not None
    assert (fault.place, fault.reason, fault.entry) == ("tile/entries/001", "entry_and_hash_differ", 300)


def test_a_wholly_rewritten_log_does_not_match_its_checkpoint(signer: LogSigner) -> None:
    files = build_files(signer, entries_of(600))
    other = build_files(signer, [b"x", *entries_of(600)[1:]])
    fault = verify({**other, "checkpoint": files["checkpoint"]}, signer).fault
    assert fault is not None
    assert (fault.place, fault.reason) == ("checkpoint", "wrong_root")


@pytest.mark.parametrize("size", [5, 256, 600])
def test_every_missing_file_is_named(signer: LogSigner, size: int) -> None:
    files = build_files(signer, entries_of(size))
    for place in files:
        fault = verify({name: data for name, data in files.items() if name != place}, signer).fault
        assert fault is not None
        assert (fault.place, fault.reason) == (place, "missing")


@pytest.mark.parametrize("size", [5, 256, 600])
def test_every_file_cut_short_or_grown_is_named(signer: LogSigner, size: int) -> None:
    files = build_files(signer, entries_of(size))
    for place, data in files.items():
        for changed in (data[:-1], b"", data + b"\x00", data + b"\x00\x00", data + bytes(32)):
            fault = verify({**files, place: changed}, signer).fault
            assert fault is not None, (place, len(changed))
            assert fault.place == place, fault


def test_a_partial_resource_may_be_read_from_the_full_one(signer: LogSigner) -> None:
    older = build_files(signer, entries_of(600))
    newer = build_files(signer, entries_of(1024))
    full_only = {**newer, "tile/1/000.p/2": older["tile/1/000.p/2"]}
    assert "tile/0/002.p/88" not in full_only
    assert verify({**full_only, "checkpoint": older["checkpoint"]}, signer).fault is None


def test_a_log_that_forgot_or_changed_what_was_seen_is_refused(signer: LogSigner) -> None:
    old = build_files(signer, entries_of(300))["checkpoint"]
    grown = build_files(signer, entries_of(600))
    assert verify(grown, signer, seen=old).fault is None
    shorter = verify(build_files(signer, entries_of(299)), signer, seen=old).fault
    assert shorter is not None
    assert (shorter.place, shorter.reason) == ("checkpoint", "rolled_back")
    # A fork signed with the true key: consistent in itself, and not with what was signed before.
    for size in (300, 301, 600):
        fork = verify(build_files(signer, [b"x", *entries_of(size)[1:]]), signer, seen=old).fault
        assert fork is not None
        assert (fork.place, fork.reason) == ("checkpoint", "forked")


def test_growth_is_checked_from_every_older_size(signer: LogSigner) -> None:
    grown = build_files(signer, entries_of(600))
    for size in (0, 1, 255, 256, 257, 512, 599, 600):
        root = tree_root([leaf_hash(entry) for entry in entries_of(size)])
        assert verify(grown, signer, seen=sign_checkpoint(signer, size=size, root=root)).fault is None
        forged = verify(grown, signer, seen=sign_checkpoint(signer, size=size, root=bytes(32))).fault
        assert forged is not None
        assert forged.reason == "forked"


def test_another_keys_log_is_refused_and_an_unusable_key_says_nothing_about_the_log(signer: LogSigner) -> None:
    files = build_files(LogSigner(signer.name, bytes(32)), entries_of(3))
    fault = verify(files, signer).fault
    assert fault is not None
    assert (fault.place, fault.reason) == ("checkpoint", "bad_checkpoint")
    with pytest.raises(NoteError):
        verify_log(files.get, "not a key")
    with pytest.raises(NoteError):
        verify(files, signer, seen=b"not a checkpoint")


def test_a_checkpoint_with_a_huge_size_ends_at_the_first_missing_bundle(signer: LogSigner) -> None:
    files = build_files(signer, entries_of(256))
    files["checkpoint"] = sign_checkpoint(signer, size=2**62, root=sha256(b"x").digest())
    fault = verify(files, signer).fault
    assert fault is not None
    assert (fault.place, fault.reason) == ("tile/entries/001", "missing")


def test_a_report_can_be_printed_as_json(signer: LogSigner) -> None:
    files = build_files(signer, entries_of(3))
    files["tile/0/000.p/3"] = flip(files["tile/0/000.p/3"], 300)
    printed = json.loads(json.dumps(verify(files, signer).to_json()))
    assert printed["holds"] is False
    assert printed["fault"]["place"] == "tile/0/000.p/3"
    assert printed["fault"]["hash_index"] == 1


def test_a_folder_and_an_address_are_read_alike(signer: LogSigner, tmp_path: Path) -> None:
    files = build_files(signer, entries_of(300))
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    assert verify_log(tmp_path, signer.vkey).holds
    (tmp_path / "tile/0/000").unlink()
    gone = verify_log(str(tmp_path), signer.vkey).fault
    assert gone is not None
    assert gone.place == "tile/0/000"

    def answer(request: httpx.Request) -> httpx.Response:
        name = request.url.path.removeprefix("/log/")
        return httpx.Response(200, content=files[name]) if name in files else httpx.Response(404)

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        assert verify_log(open_source("https://hub.example/log/", client=client), signer.vkey).holds


@pytest.mark.parametrize("status", [301, 403, 429, 500])
def test_an_address_that_does_not_answer_says_nothing_about_the_log(signer: LogSigner, status: int) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(status, headers={"location": "/elsewhere"}))
    with httpx.Client(transport=transport) as client, pytest.raises(SourceError, match=str(status)):
        verify_log(open_source("http://hub.example/log", client=client), signer.vkey)


def test_an_endless_answer_is_cut_off(signer: LogSigner) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=bytes(20_000_000)))
    with httpx.Client(transport=transport) as client, pytest.raises(SourceError, match="longer"):
        verify_log(open_source("http://hub.example/log", client=client), signer.vkey)


def test_an_export_is_continued_and_holds(
    engine: Engine, append: Callable[..., None], sequencer: Sequencer, signer: LogSigner, tmp_path: Path, now: datetime
) -> None:
    append(300)
    sequencer.run_once(now)
    first = export_log(engine, tmp_path / "out")
    assert first.files == 6  # two bundles, two tiles, one tile above, the checkpoint
    seen = (tmp_path / "out/checkpoint").read_bytes()
    append(300)
    sequencer.run_once(now)
    second = export_log(engine, tmp_path / "out")
    assert (second.size, second.files) == (600, 6)  # the full ones of before are there already
    assert verify_log(tmp_path / "out", signer.vkey, seen=seen).holds
    shutil.rmtree(tmp_path / "out")
    assert export_log(engine, tmp_path / "out").files == 8
    assert not list((tmp_path / "out").rglob("*.new"))


def test_every_byte_of_a_checkpoint_by_two_keys_is_judged_by_who_knows_both(signer: LogSigner) -> None:
    """Who knows one key has to pass the other's line over; the log's owner knows both."""
    newer = LogSigner(signer.name, bytes(32))
    files = build_files(signer, entries_of(5))
    note = files["checkpoint"] + newer.sign_line(parse_note(files["checkpoint"])[0]).encode()
    told: list[tuple[int, int]] = []
    for key, other in ((signer, newer), (newer, signer)):
        report = verify_log(
            {**files, "checkpoint": note}.get, key.vkey, others=[other.verifier], tell=lambda *one: told.append(one)
        )
        assert report.fault is None
    assert told == [(5, 5)] * 2
    ours = len(files["checkpoint"])
    name_ends = ours + len("\u2014 ".encode()) + len(signer.name) + 1
    for at in range(name_ends, len(note)):
        changed = {**files, "checkpoint": note[:at] + bytes([note[at] ^ 1]) + note[at + 1 :]}
        fault = verify_log(changed.get, signer.vkey, others=[newer.verifier]).fault
        assert fault is not None, at
        assert (fault.place, fault.reason) == ("checkpoint", "bad_checkpoint")
