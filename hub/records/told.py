"""What the hub has of the records that a platform's own statement names. I/O: reads the database."""

import polars as pl
from sqlalchemy.orm import Session

from hub.db import load_by_ids
from hub.records.naming import Naming, token_of


def load_quantities(
    session: Session, naming: Naming, platform: str, stream: str, source_ids: list[str]
) -> dict[str, int]:
    """Return the quantity (in millionths, 0 if untold) of the standing version, by the platform's own id.

    Records of people who did not allow it are not here: for the hub they were never told.
    """
    tokens = {token_of(key, source): source for key in naming.keys for source in source_ids}
    sql = (
        "SELECT s.source_id, COALESCE(r.quantity_micro, 0) FROM source_record s JOIN reduction_record r USING (record_id) "
        "WHERE s.platform = :p AND s.stream = :s AND s.superseded_by IS NULL AND s.source_id IN :ids"
    )
    schema = {"source_id": pl.String(), "quantity": pl.Int64()}
    found = load_by_ids(session, sql, schema, list(tokens), p=platform, s=stream)
    return {tokens[token]: quantity for token, quantity in found.rows()}
