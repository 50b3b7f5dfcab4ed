"""Runs the migrations on the engine that `hub/migrate.py` hands over. I/O: the database's schema."""

from alembic import context
from sqlmodel import SQLModel

import consent.tables  # noqa: F401 - importing the tables fills the metadata that autogenerate compares with
import hub.clearing.tables  # noqa: F401
import hub.ledger.tables  # noqa: F401
import hub.log.tables  # noqa: F401
import hub.records.tables  # noqa: F401
import hub.sync.tables  # noqa: F401
from alembic import context

engine = context.config.attributes["engine"]
with engine.begin() as connection:
    context.configure(connection=connection, target_metadata=SQLModel.metadata, compare_type=True)
    context.run_migrations()
