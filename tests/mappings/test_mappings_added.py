"""An operator adds mapping files of their own; none of them can take the place of one that comes with the hub."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mappings import MappingError, list_mappings, load_mapping, use_mappings_from
from mappings.load import FILES

OURS, THEIRS = "beijing-green-life.acts.v1", "qingdao-carbon.acts.v1"


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    text = (FILES / f"{OURS}.toml").read_text().replace(OURS, THEIRS)
    (tmp_path / f"{THEIRS}.toml").write_text(text)
    (tmp_path / "README.txt").write_text("not a mapping")
    yield tmp_path
    use_mappings_from(None)


def test_mappings_of_the_operator_stand_beside_those_of_the_hub_until_they_are_taken_away(folder: Path) -> None:
    before = list_mappings()
    use_mappings_from(folder)
    assert list_mappings() == tuple(sorted([*before, THEIRS]))
    assert load_mapping(THEIRS).platform == "qingdao-carbon"
    assert load_mapping(OURS).platform == "beijing-green-life"
    use_mappings_from(None)
    assert list_mappings() == before
    with pytest.raises(MappingError, match="no such mapping"):
        load_mapping(THEIRS)


def test_a_name_that_comes_with_the_hub_cannot_be_taken(folder: Path) -> None:
    before = load_mapping(OURS).digest
    (folder / f"{OURS}.toml").write_text((FILES / f"{OURS}.toml").read_text() + "# changed\n")
    with pytest.raises(MappingError, match="comes with the hub and cannot be replaced"):
        use_mappings_from(folder)
    assert load_mapping(OURS).digest == before
    assert THEIRS not in list_mappings()


@pytest.mark.parametrize(("name", "text"), [("odd.acts.v1", "fields ="), ("Odd", ""), ("odd.acts.v2", 'mapping = "x"')])
def test_a_broken_file_is_found_at_the_start(folder: Path, name: str, text: str) -> None:
    (folder / f"{name}.toml").write_text(text)
    with pytest.raises(MappingError, match=name):
        use_mappings_from(folder)
    assert THEIRS not in list_mappings()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="no such directory"):
        use_mappings_from(tmp_path / "nowhere")
