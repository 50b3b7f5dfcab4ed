"""migrate, serve, worker: running the hub. I/O: everything the hub has."""

import logging
import sys
from typing import Annotated

import structlog
import typer
import uvicorn

from hub.commands.console import opened_hub, out
from hub.context import check_data, open_hub
from hub.migrate import head_revision, prepare
from hub.settings import Settings


def migrate() -> None:
    """Create or upgrade the database of TANLIAN_DATABASE_URL."""
    with opened_hub() as hub:
        prepare(hub.engine, hub.clock())
    out.print(f"the database is at revision {head_revision()}")


def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes.")] = 1,
) -> None:
    """Serve the API, the authorization server, the portal and the log."""
    settings = Settings()
    check_data(settings)
    _quiet_logs()
    uvicorn.run(
        "hub.commands.operate:application", factory=True, host=host or settings.host, port=port or settings.port,
        workers=workers, access_log=False, log_level="warning", proxy_headers=False, server_header=False,
    )  # fmt: skip


def application() -> object:
    """Build the application in the serving process."""
    from hub.app import create_app  # every page and door: only the process that serves them loads them

    _quiet_logs()
    hub = open_hub()
    check_data(hub.settings)
    return create_app(hub)


def worker() -> None:
    """Fetch, clear, seal, sign and tidy up, until stopped."""
    from hub.worker import run_worker

    _quiet_logs()
    with opened_hub() as hub:
        check_data(hub.settings)
        run_worker(hub)


def _quiet_logs() -> None:
    """JSON lines on stderr. Libraries that would write addresses with their queries say warnings only."""
    for name in ("httpx", "httpcore", "authlib", "uvicorn.access"):
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(file=sys.stderr),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
