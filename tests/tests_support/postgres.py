"""A private PostgreSQL cluster for one test process: initdb, start, databases from a template, stop."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psycopg

_numbers = count(1)
# Nothing here has to outlive the server, so it waits for no disk; a database is a copied folder and nothing else.
_OPTIONS = (
    "listen_addresses=", "max_connections=60", "shared_buffers=64MB", "fsync=off", "full_page_writes=off",
    "wal_level=minimal", "max_wal_senders=0", "max_wal_size=256MB", "autovacuum=off",
)  # fmt: skip
_COPIES_FILES_ONLY_IF_TOLD = 150_000


def find_binaries() -> Path | None:
    """Return the folder with initdb and pg_ctl, or None."""
    found = shutil.which("initdb")
    if found:
        return Path(found).parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return folders[-1].parent if folders else None


@dataclass(frozen=True, slots=True)
class Cluster:
    """A running server that listens on a socket in its own folder only."""

    binaries: Path
    folder: Path

    @classmethod
    @contextmanager
    def started(cls, binaries: Path, folder: Path) -> Iterator["Cluster"]:
        """Start in `folder`; the server refuses to run as root, so as root it runs as the `postgres` user."""
        cluster = cls(binaries, folder)
        if os.geteuid() == 0:
            user = pwd.getpwnam("postgres")
            os.chown(folder, user.pw_uid, user.pw_gid)
        told = ("-U", "tanlian", "--auth=trust", "-E", "UTF8", "--locale=C", "--no-sync")
        cluster._run("initdb", "-D", str(folder / "data"), *told)
        options = " ".join([f"-k {folder}", *(f"-c {option}" for option in _OPTIONS)])
        log = str(folder / "server.log")
        cluster._run("pg_ctl", "-D", str(folder / "data"), "-w", "-l", log, "-o", options, "start")
        try:
            yield cluster
        finally:
            cluster._run("pg_ctl", "-D", str(folder / "data"), "-m", "immediate", "stop")

    def create_database(self, name: str | None = None, template: str | None = None) -> str:
        """Create a database and return its address."""
        name = name or f"test_{os.getpid()}_{next(_numbers)}"
        with self._admin() as admin:
            copied = f" TEMPLATE {template}" if template else ""
            if admin.info.server_version >= _COPIES_FILES_ONLY_IF_TOLD:
                copied += " STRATEGY file_copy"
            admin.execute(f"CREATE DATABASE {name}{copied}")  # type: ignore[call-overload]
        return f"postgresql://tanlian@/{name}?host={self.folder}"

    def drop_database(self, url: str) -> None:
        name = url.split("@/")[1].split("?")[0]
        with self._admin() as admin:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")  # type: ignore[call-overload]

    def _admin(self) -> psycopg.Connection:
        return psycopg.connect(host=str(self.folder), user="tanlian", dbname="postgres", autocommit=True)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(self.binaries / program), *arguments]
        if os.geteuid() == 0:
            command = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", "--", *command]
        done = subprocess.run(command, cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stdout}")
