"""Let what was overwritten leave the database's files too. I/O: the database's files, beside every transaction.

A row that is emptied leaves its old bytes behind in the files until they are used again. SQLite overwrites freed bytes
(`PRAGMA secure_delete`, hub/db.py) but keeps older pages in its write-ahead log until that is cut; PostgreSQL keeps older
versions of rows until they are vacuumed. Names are the only words about a person in the open, so one table is vacuumed.

Sources: SQLite documentation "PRAGMA secure_delete", "PRAGMA wal_checkpoint"; PostgreSQL documentation "VACUUM".
"""

import structlog
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

log = structlog.get_logger(__name__)

_BUSY_MS = 1_000


def scrub_files(engine: Engine) -> bool:
    """Cut SQLite's write-ahead log, or vacuum PostgreSQL's table of people; False if others were in the way just now.

    Nothing depends on it having been done: the worker does it again, and readers and writers may go on meanwhile.
    """
    try:
        if engine.dialect.name == "sqlite":
            return _cut_wal(engine)
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM person")
    except DBAPIError as error:
        log.info("not_scrubbed", reason=type(error.orig).__name__)
        return False
    return True


def _cut_wal(engine: Engine) -> bool:
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        (waits,) = cursor.execute("PRAGMA busy_timeout").fetchone()
        cursor.execute(f"PRAGMA busy_timeout={_BUSY_MS}")  # a long reader must not hold up who was erased
        (busy, _pages, _done) = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        cursor.execute(f"PRAGMA busy_timeout={waits}")
        return not busy
    finally:
        connection.close()
