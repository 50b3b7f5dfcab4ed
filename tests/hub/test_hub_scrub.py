"""What was overwritten leaves the files; who is in the way is not waited for, and nothing depends on it."""

import pytest
from sqlalchemy import Engine, text
from structlog.testing import capture_logs

from hub.context import Hub
from hub.db import make_engine, reading, writing
from hub.rights import scrub
from hub.rights.scrub import scrub_files
from hub.worker import Worker


def test_a_long_reader_puts_it_off_and_the_next_time_it_is_done(
    engine: Engine, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scrub, "_BUSY_MS", 1)
    with writing(engine) as session:
        session.execute(text("INSERT INTO spent_record (token) VALUES (:t)"), {"t": b"1" * 32})
    waits = "PRAGMA busy_timeout" if engine.dialect.name == "sqlite" else "SHOW statement_timeout"
    with engine.connect() as connection:
        before = connection.exec_driver_sql(waits).scalar_one()
    with reading(engine) as session:
        session.execute(text("SELECT COUNT(*) FROM spent_record")).scalar_one()
        with writing(engine) as other:
            other.execute(text("INSERT INTO spent_record (token) VALUES (:t)"), {"t": b"2" * 32})
        # PostgreSQL's readers are in nobody's way; SQLite's write-ahead log is cut when the last of them is gone.
        assert scrub_files(engine) is (engine.dialect.name != "sqlite")
    assert scrub_files(engine)
    with engine.connect() as connection:
        assert connection.exec_driver_sql(waits).scalar_one() == before


def test_a_database_that_is_away_is_told_and_nobody_fails() -> None:
    away = make_engine("postgresql://nobody@127.0.0.1:1/none?connect_timeout=1")
    with capture_logs() as lines:
        assert not scrub_files(away)
    assert [line["event"] for line in lines] == ["not_scrubbed"]


def test_the_worker_does_it_with_its_tidying(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[Engine] = []
    monkeypatch.setattr("hub.worker.scrub_files", done.append)
    worker = Worker(hub)
    expire = next(job for job in worker.jobs if job.name == "expire")
    expire.run()
    expire.run()
    assert done == [hub.engine], "once in ten minutes"
