"""Settled towns to be copied, one on each kind of database."""

import shutil
from pathlib import Path
from tempfile import mkdtemp

import pytest
from tests_support.machine_town import Template, settle
from tests_support.postgres import Cluster


@pytest.fixture(scope="session")
def sqlite_towns(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Template:
    folder = tmp_path_factory.mktemp("towns")
    shutil.copyfile(sqlite_template, folder / "tanlian.db")
    town, told = settle(f"sqlite:///{folder / 'tanlian.db'}", folder)
    assert not (folder / "tanlian.db-wal").exists()

    def copy() -> tuple[str, Path]:
        place = Path(mkdtemp(dir=folder))
        shutil.copyfile(folder / "tanlian.db", place / "tanlian.db")
        return f"sqlite:///{place / 'tanlian.db'}", place

    return Template(town, told, copy, lambda _, place: shutil.rmtree(place))


@pytest.fixture(scope="session")
def postgresql_towns(cluster: Cluster, postgres_template: str, tmp_path_factory: pytest.TempPathFactory) -> Template:
    folder = tmp_path_factory.mktemp("towns")
    town, told = settle(cluster.create_database("towns", template=postgres_template), folder)

    def copy() -> tuple[str, Path]:
        return cluster.create_database(template="towns"), Path(mkdtemp(dir=folder))

    def drop(url: str, place: Path) -> None:
        cluster.drop_database(url)
        shutil.rmtree(place)

    return Template(town, told, copy, drop)


@pytest.fixture
def towns(request: pytest.FixtureRequest) -> Template:
    """The towns of the database that the test is given as a parameter."""
    found: Template = request.getfixturevalue(f"{request.param}_towns")
    return found
