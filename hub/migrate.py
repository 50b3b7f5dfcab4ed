"""Create or upgrade the schema with Alembic. I/O: the database's schema.

Every database is built this way, the tests' too, so a table that a migration forgot cannot exist anywhere.
"""

from datetime import datetime
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

from hub.clearing.windows import open_first_window
from hub.db import writing
from hub.exchange.rebuilding import rebuild_missing_entries


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the database to a revision; does nothing if it is there already."""
    command.upgrade(_configuration(engine), revision)


def prepare(engine: Engine, now: datetime) -> None:
    """Bring the database to the newest revision and open its first clearing window."""
    upgrade(engine)
    with writing(engine) as session:
        open_first_window(session, now)
        rebuild_missing_entries(session.connection())


def downgrade(engine: Engine, revision: str) -> None:
    """Take the database back to a revision."""
    command.downgrade(_configuration(engine), revision)


def head_revision() -> str:
    """Return the newest revision that this code knows."""
    head = ScriptDirectory.from_config(_configuration(None)).get_current_head()
    assert head is not None  # noqa: S101 - the project always has a migration
    return head


def _configuration(engine: Engine | None) -> Config:
    configuration = Config()
    configuration.set_main_option("script_location", str(_scripts()))
    configuration.attributes["engine"] = engine
    return configuration


def _scripts() -> Path:
    here = Path(__file__).resolve().parent
    beside = here.parent / "alembic"  # a checkout
    return beside if (beside / "env.py").exists() else here / "_alembic"  # an installed wheel
