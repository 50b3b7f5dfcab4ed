"""Runs the migrations on the engine that `hub/migrate.py` hands over. I/O: the database's schema."""

from alembic import context
from sqlmodel import SQLModel

import consent.signin_tables
import consent.tables  # noqa: F401 - importing the tables fills the metadata that autogenerate compares with
import hub.adjustments.tables
import hub.api.tables
import hub.attestations.tables
import hub.clearing.tables
import hub.disputes.tables
import hub.exchange.tables
import hub.ledger.tables
import hub.log.tables
import hub.market.tables
import hub.reconcile.tables
import hub.records.tables
import hub.staff.tables
import hub.sync.tables
import hub.totals.tables
import hub.uses.tables  # noqa: F401

engine = context.config.attributes["engine"]
with engine.begin() as connection:
    context.configure(connection=connection, target_metadata=SQLModel.metadata, compare_type=True)
    context.run_migrations()
