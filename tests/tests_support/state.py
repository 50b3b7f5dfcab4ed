"""All that a database says, table by table: to show that an answer changed nothing. I/O: reads the database.

Two states are equal if every row of every table is the same; one that is not is named by its table. PostgreSQL's sequences
are no part of it: numbers that a rolled-back transaction took are lost on purpose (`hub/db.py`).
"""

from hashlib import sha256

from sqlalchemy import Engine, inspect

from hub.db import make_engine, reading

_STATEMENTS: dict[str, dict[str, str]] = {}


def state_of(engine: Engine) -> dict[str, str]:
    """Return a digest of the rows of each table, in the order of its primary key."""
    with reading(engine) as session:
        connection = session.connection()
        return {
            table: sha256(repr(connection.exec_driver_sql(sql).all()).encode()).hexdigest()[:16]
            for table, sql in _statements(engine).items()
        }


def _statements(engine: Engine) -> dict[str, str]:
    """Look the tables up once for each kind of database: all of a run are made by the same migrations."""
    kind = engine.dialect.name
    if kind not in _STATEMENTS:
        # Apart from the hub's own connections: what SQLite is asked about its tables stays with the one that asked.
        asking = make_engine(engine.url.render_as_string(hide_password=False))
        found = inspect(asking)
        keys = {
            table: found.get_pk_constraint(table)["constrained_columns"]
            or [column["name"] for column in found.get_columns(table)]
            for table in sorted(found.get_table_names())
        }
        asking.dispose()
        _STATEMENTS[kind] = {table: f'SELECT * FROM "{table}" ORDER BY {", ".join(key)}' for table, key in keys.items()}
    return _STATEMENTS[kind]
