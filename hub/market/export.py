"""Blocks for other registries. I/O: reads the database."""

from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session
from sqlmodel import col, select

from hub.market import cadtrust
from hub.market.blocks import serial_of
from hub.market.tables import CreditBlock, CreditIssuance
from hub.sync.tables import Participant


def load_cadtrust(
    session: Session, issuer: str, model: cadtrust.Model, participant: str | None = None
) -> dict[str, list[dict[str, Any]]]:
    """Load `issuances` and `units` of one market, or of all, in the words of CAD Trust."""
    wanted = select(CreditIssuance).order_by(col(CreditIssuance.participant), col(CreditIssuance.serial_first))
    blocks = select(CreditBlock).order_by(col(CreditBlock.participant), col(CreditBlock.serial))
    if participant is not None:
        wanted = wanted.where(col(CreditIssuance.participant) == participant)
        blocks = blocks.where(col(CreditBlock.participant) == participant)
    owners = {row.participant_id: row.name_en for row in session.scalars(select(Participant))}
    return {
        "issuances": [
            cadtrust.issuance_row(_issuance(session, row), issuer, model) for row in session.scalars(wanted)
        ],
        "units": list(
            cadtrust.unit_rows([_block(row, owners) for row in session.scalars(blocks)], issuer, model)
        ),
    }  # fmt: skip


def _issuance(session: Session, row: CreditIssuance) -> cadtrust.Issuance:
    """Read an issuance; its methodologies are those of the acts of its people, windows and days."""
    found = session.execute(
        text(
            "SELECT DISTINCT e.methodology FROM event e JOIN (SELECT DISTINCT s.subject_id, s.window_id FROM block_share s "
            "JOIN credit_block b ON b.number = s.number WHERE b.issuance_id = :i) x "
            "ON x.subject_id = e.subject_id AND x.window_id = e.window_id WHERE NOT e.provisional ORDER BY e.methodology"
        ),
        {"i": row.issuance_id},
    )
    return cadtrust.Issuance(
        issuance_id=row.issuance_id, participant=row.participant, created_on=row.created_at.date(),
        first_vintage=row.first_vintage, last_vintage=row.last_vintage, methodologies=tuple(found.scalars()),
    )  # fmt: skip


def _block(row: CreditBlock, owners: dict[str, str]) -> cadtrust.Block:
    return cadtrust.Block(
        issuance_id=row.issuance_id, participant=row.participant, owner=owners.get(row.participant, row.participant),
        serial=row.serial, written=serial_of(row), vintage_year=row.vintage_year, state=row.state, purpose=row.purpose,
        beneficiary=row.beneficiary, reference=row.reference, changed_on=row.changed_at.date(),
    )  # fmt: skip
