"""What somebody may do to the database past the hub: statements that name the facts of a hub that lived."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from sqlalchemy import Connection, create_engine, make_url, text

from consent.keyring import KeyPurpose
from consent.seal import header
from hub.context import Hub
from hub.db import reading
from hub.log.checkpoint import open_checkpoint, sign_checkpoint
from hub.log.note import LogSigner
from hub.log_signing import log_signer
from hub.records.reading import key_of_row


@dataclass(frozen=True)
class Corruption:
    """Statements (`:name` is a fact of the hub that lived) and the one check that must notice."""

    says: str
    noticed_by: str
    statements: tuple[str, ...]


def corruption(noticed_by: str, says: str, *statements: str) -> Corruption:
    return Corruption(says=says, noticed_by=noticed_by, statements=statements)


def entry(kind: str, window: int, source: str, reverses: str = "NULL") -> str:
    """Post entry 9000."""
    return (
        "INSERT INTO journal_entry (entry_id, kind, reason, window_id, source_id, reverses, posted_at) "
        f"SELECT 9000, '{kind}', 'superseded_version', {window}, {source}, {reverses}, posted_at FROM journal_entry "
        "WHERE entry_id = :issue_9"
    )


def side(line: int, account: str, mg: str, *, window: int = 1, vintage: int = 20261118, number: int = 9000) -> str:
    """Post one side of entry 9000."""
    return (
        "INSERT INTO posting (entry_id, line, account_id, window_id, vintage, mg) "
        f"VALUES ({number}, {line}, {account}, {window}, {vintage}, {mg})"
    )


def leaf(body: str) -> tuple[str, str]:
    """Append leaf 9000, waiting."""
    row = (
        "INSERT INTO log_leaf (leaf_id, first_index, count, kind, created_at) "
        "SELECT 9000, NULL, 1, kind, created_at FROM log_leaf WHERE leaf_id = :waiting_leaf"
    )
    return row, f"INSERT INTO log_body (leaf_id, data) VALUES (9000, {body})"


def copied(table: str, **changed: str) -> str:
    """Copy the row of record 12 with some columns changed."""
    columns = {
        "source_record": "record_id platform stream source_id version digest subject_id link_id batch_id window_id "
        "payload posted_us received_us cancelled superseded_by",
        "reduction_record": "record_id window_id bucket subject_id platform role behaviour start_us end_us precision "
        "quantity_micro unit event_key payment_key region claimed_mg reference_mg factor_id methodology mapping",
        "batch": "batch_id platform stream delivery_id digest mapping rows accepted replayed conflicting refused "
        "quarantined claimed_mg window_id records_root received_at",
    }[table].split()
    key = {"batch": "batch_id = :batch_12"}.get(table, "record_id = :record_12")
    values = ", ".join(changed.get(column, column) for column in columns)
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table} WHERE {key}"


def corrupt(hub: Hub, *statements: str) -> dict[str, Any]:
    """Run statements with triggers and foreign keys off; returns the facts that they could name."""
    known = facts(hub)
    hub.engine.dispose()
    url = make_url(hub.settings.database_url)
    postgresql = url.get_backend_name() == "postgresql"
    engine = create_engine(url.set(drivername="postgresql+psycopg") if postgresql else url)
    with engine.begin() as connection:
        _disarm(connection, postgresql=postgresql)
        for statement in statements:
            if statement.startswith("LOOSEN "):
                _loosen(connection, statement.split()[1], postgresql=postgresql)
            else:
                wanted = {name: value for name, value in known.items() if f":{name}" in statement}
                done = connection.execute(text(statement), {n: wanted[n] for n in text(statement).compile().params})
                assert done.rowcount != 0, f"nothing was changed by: {statement}"
        if not any(" balance " in statement for statement in statements):
            _keep_balances_in_step(connection)
    engine.dispose()
    return known


def _disarm(connection: Connection, *, postgresql: bool) -> None:
    if postgresql:
        connection.execute(text("SET session_replication_role = replica"))  # neither triggers nor foreign keys
        return
    # A connection of SQLite's has foreign keys off unless it asks for them.
    for name in connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars().all():
        connection.execute(text(f"DROP TRIGGER {name}"))


def _keep_balances_in_step(connection: Connection) -> None:
    """Whoever forges postings and knows the house forges the balances too."""
    connection.execute(text("DELETE FROM balance"))
    connection.execute(
        text(
            "INSERT INTO balance (account_id, window_id, vintage, rights, mg) SELECT p.account_id, p.window_id, p.vintage, "
            "p.rights, SUM(p.mg) FROM posting p JOIN account a ON a.account_id = p.account_id WHERE a.kind IN "
            "('held', 'reserved', 'locked', 'issued', 'transferred', 'forfeited', 'buffer') "
            "GROUP BY p.account_id, p.window_id, p.vintage, p.rights HAVING SUM(p.mg) >= 0"
        )
    )


def _loosen(connection: Connection, table: str, *, postgresql: bool) -> None:
    """Take a table's constraints away."""
    connection.execute(text(f"CREATE TABLE loose AS SELECT * FROM {table}"))
    connection.execute(text(f"DROP TABLE {table}{' CASCADE' if postgresql else ''}"))
    connection.execute(text(f"ALTER TABLE loose RENAME TO {table}"))


def facts(hub: Hub) -> dict[str, Any]:
    """What corruptions name: record_N is the first version of ride N, and so is its event."""
    with reading(hub.engine) as session:

        def rows(sql: str) -> list[Any]:
            return [tuple(row) for row in session.execute(text(sql))]

        def one(sql: str) -> Any:
            ((value,),) = rows(sql)
            return value

        # The store knows a platform's own id by its token only.
        key = hub.ring.hmac_key(KeyPurpose.PAIRWISE)
        names = [f"{number}{suffix}" for number in range(100) for suffix in ("", "d")]
        tokens = {key_of_row(key, b"source\x1f" + f"BJ{name}".encode())[:16].hex(): name for name in names}
        known: dict[str, Any] = {
            f"record_{tokens[source]}": record
            for source, record in rows("SELECT source_id, MIN(record_id) FROM source_record GROUP BY source_id")
            if source in tokens
        }
        named = "SELECT subject_id, username FROM person WHERE erased_at IS NULL"
        people = {name.partition(".")[0]: who for who, name in rows(named)}
        known |= people | {"erased": one("SELECT subject_id FROM person WHERE erased_at IS NOT NULL")}
        for kind in ("held", "forfeited"):
            sql = f"SELECT account_id FROM account WHERE subject_id = {known['erased']} AND kind = '{kind}'"
            known[f"erased_{kind}"] = one(sql)
        for name in ("li", "wang"):
            for kind in ("pending", "held"):
                sql = f"SELECT account_id FROM account WHERE subject_id = {people[name]} AND kind = '{kind}'"
                known[f"{name}_{kind}"] = one(sql)
        known["activity"] = one("SELECT account_id FROM account WHERE kind = 'activity' AND platform LIKE 'b%'")
        entries = "SELECT entry_id FROM journal_entry WHERE kind = "
        known["issue_9"] = one(f"{entries}'issue' AND source_id = {known['record_9']}")
        known["issue_3"] = one(f"{entries}'issue' AND source_id = {known['record_3']}")
        known["reversal_3"] = one(f"{entries}'reverse' AND source_id = {known['record_3']}")
        known["hold_li"] = one(f"{entries}'hold' AND source_id = {people['li']} AND window_id = 1")
        known["mg_9"] = one(f"SELECT mg FROM event WHERE event_id = {known['record_9']}")
        # Ride 1 counts by its second version.
        counting = "event_id = (SELECT superseded_by FROM source_record WHERE record_id = {})".format(known["record_1"])
        ((known["start_1"], known["end_1"]),) = rows(f"SELECT start_us, end_us FROM event WHERE {counting}")
        for name in ("zhao", "qian"):
            link = f"FROM link WHERE subject_id = {people[name]}"
            known |= {f"{name}_link": one(f"SELECT link_id {link}"), f"{name}_grant": one(f"SELECT grant_id {link}")}
        known["guo_grant"] = one(f"SELECT MIN(grant_id) FROM grant_version WHERE subject_id = {people['guo']}")
        ((batch, digest),) = rows(f"SELECT batch_id, digest FROM source_record WHERE record_id = {known['record_12']}")
        known |= {"batch_12": batch, "root_of_12": sha256(b"\x00" + bytes(digest)).digest()}
        known["waiting_leaf"] = one("SELECT MAX(leaf_id) FROM log_leaf WHERE first_index IS NULL")
        known["first_leaf"] = one("SELECT leaf_id FROM log_leaf WHERE first_index = 0")
        body = bytes(one(f"SELECT data FROM log_body WHERE leaf_id = {known['first_leaf']}"))
        tile = bytes(one("SELECT data FROM log_tile WHERE level = 0"))
        account_key = one(f"SELECT account_key FROM link WHERE subject_id = {people['zhao']}")
        manifest = one("SELECT manifest FROM clearing_window WHERE window_id = 2")
        checkpoint = bytes(one("SELECT checkpoint FROM log_head"))
    signed = open_checkpoint(checkpoint, log_signer(hub).verifier)
    stranger = LogSigner(hub.settings.log_origin, bytes(range(32)))
    return known | {
        "other_body": body.replace(b"kuaidian", b"keaidian").replace(b"beijing", b"nanjing"),
        "other_tile": tile[:40] + bytes([tile[40] ^ 1]) + tile[41:],
        "other_root": sha256(b"another").digest(),
        "other_manifest": manifest.replace('"records":"', '"records":"1'),
        "forged_checkpoint": sign_checkpoint(stranger, size=signed.size, root=signed.root),
        "leaf_of_replay": framed(f'{{"accepted_count":1,"records_root":"{known["root_of_12"].hex()}"}}'),
        "leaf_of_subject": framed(f'{{"ids":{{"whose":"x:{people["li"]}"}}}}'),
        "leaf_of_name": framed('{"what":"grant.given","by":["Wang.Fang"]}'),
        "leaf_of_words": framed('{"what":"grant.given:zhao.min:2"}'),
        "leaf_of_account": framed(f'{{"what":"link.opened","key":"{account_key}"}}'),
        "of_no_key": header("kek-0009") + bytes(60),
        "plain": b'{"memberId":"bj-1","begin":"in the open"}',
    }


def framed(body: str) -> bytes:
    return len(body).to_bytes(2, "big") + body.encode()
