"""Tile paths, layouts and entry bundles."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.log.merkle import EMPTY, extend, leaf_hash, tree_root
from hub.log.proofs import prove_inclusion, range_root, read_memory
from hub.log.tiles import (
    ENTRIES,
    FULL_WIDTH,
    BundleError,
    TilePath,
    decode_bundle,
    encode_bundle,
    level_count,
    parse_path,
    read_tiles,
    tiles_of_level,
    tiles_of_size,
)


def test_paths_are_the_published_ones(vectors: dict[str, Any]) -> None:
    for level, n, width, path in vectors["tile_paths"]:
        tile = TilePath(level=ENTRIES if level == "entries" else level, n=n, width=width)
        assert str(tile) == path
        assert parse_path(path) == tile


@given(st.integers(-1, 63), st.integers(0, 2**55 - 1), st.integers(1, 256))
def test_every_path_is_read_back(level: int, n: int, width: int) -> None:
    tile = TilePath(level=level, n=n, width=width)
    assert parse_path(str(tile)) == tile


@pytest.mark.parametrize(
    "path",
    [
        "tile/0/0", "tile/0/00", "tile/0/0000", "tile/0/x000/001", "tile/0/001/001", "tile/00/000", "tile/64/000",
        "tile/-1/000", "tile/0/000.p/0", "tile/0/000.p/256", "tile/0/000.p/257", "tile/0/000.p/01", "tile/0/000.p/",
        "tile/8/0/000", "tile/data/000", "tile/entries/../000", "/tile/0/000", "tile/0/000/", "tile/0/٠٠٠",
        "checkpoint", "tile/0/000\n", "", "tile/0/x036/x028/x797/x018/x963/968",
    ],
)  # fmt: skip
def test_no_other_spelling_is_a_path(path: str) -> None:
    assert parse_path(path) is None


def test_layouts_are_the_published_ones(vectors: dict[str, Any]) -> None:
    for size, levels in vectors["tile_layout"].items():
        assert level_count(int(size)) == len(levels)
        for expected in levels:
            widths = [tile.width for tile in tiles_of_level(level=expected["level"], size=int(size))]
            assert widths.count(FULL_WIDTH) == expected["full"]
            assert [width for width in widths if width < FULL_WIDTH] == [expected["partial"]] * (
                expected["partial"] > 0
            )


def test_an_empty_log_has_no_tiles() -> None:
    assert list(tiles_of_size(0)) == []


def test_the_published_bundle_is_made_and_read(vectors: dict[str, Any]) -> None:
    entries = [bytes.fromhex(entry) for entry in vectors["entry_bundle_hex"]["entries"]]
    bundle = bytes.fromhex(vectors["entry_bundle_hex"]["bundle"])
    assert encode_bundle(entries) == bundle
    assert decode_bundle(bundle) == entries


@given(st.lists(st.binary(max_size=400), max_size=20))
def test_bundles_are_read_back(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries)) == entries


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=1, max_size=5), st.data())
def test_a_cut_bundle_is_refused_or_ends_earlier(entries: list[bytes], data: st.DataObject) -> None:
    bundle = encode_bundle(entries)
    cut = data.draw(st.integers(0, len(bundle) - 1))
    try:
        found = decode_bundle(bundle[:cut])
    except BundleError as error:
        found = list(error.entries)
    assert found == entries[: len(found)]
    assert len(found) < len(entries)


def test_an_entry_longer_than_its_length_field_is_refused() -> None:
    assert decode_bundle(encode_bundle([bytes(65535)])) == [bytes(65535)]
    with pytest.raises(ValueError, match="65535"):
        encode_bundle([bytes(65536)])


@pytest.mark.parametrize("size", [1, 255, 256, 257, 65537, 66000])
def test_proofs_and_older_roots_are_read_from_tiles(size: int) -> None:
    hashes = [leaf_hash(b"%d" % number) for number in range(size)]
    rows = extend(EMPTY, hashes).rows

    def load(path: TilePath) -> bytes:
        found = rows[path.level][path.n * FULL_WIDTH : (path.n + 1) * FULL_WIDTH]
        assert len(found) == path.width, "a tile is asked for by its right width"
        return b"".join(found)

    read_node = read_tiles(load, size=size)
    in_memory = read_memory(hashes)
    for index in {0, size // 2, size - 1}:
        expected = prove_inclusion(index=index, size=size, read_node=in_memory)
        assert prove_inclusion(index=index, size=size, read_node=read_node) == expected
    for older in {1, size // 3, size}:
        assert range_root(begin=0, end=older, read_node=read_node) == tree_root(hashes[:older])
