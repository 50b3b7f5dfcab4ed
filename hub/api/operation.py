"""Health, readiness and metrics. I/O: HTTP, the database."""

from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from hub.context import Hub, make_watch
from hub.db import reading
from hub.disputes.showing import load_counts
from hub.errors import Busy
from hub.exchange.prometheus import ExchangeMetrics
from hub.log.backlog import load_backlog
from hub.log.watch import LogWatch, State, find_watch
from hub.log.witnessing import load_policy, load_standing
from hub.migrate import head_revision

COUNTED = {
    "tanlian_source_records": ("records taken", "SELECT COUNT(*) FROM source_record"),
    "tanlian_quarantined_rows": ("rows set aside", "SELECT COUNT(*) FROM quarantined WHERE state = 'open'"),
    "tanlian_dirty_subjects": ("people waiting for clearing", "SELECT COUNT(*) FROM dirty_subject"),
    "tanlian_open_links": ("links in force", "SELECT COUNT(*) FROM link WHERE valid_until IS NULL"),
    "tanlian_open_disputes": ("disputes that are not over", "SELECT COUNT(*) FROM dispute WHERE closed_at IS NULL"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One figure of the running hub: a count, and what it counts."""

    name: str
    meaning: str
    value: int


def load_figures(session: Session) -> list[Figure]:
    """Return what is told to Prometheus and to operators, in that order."""
    counted = [
        Figure(name=name, meaning=meaning, value=int(session.execute(text(sql)).scalar_one()))
        for name, (meaning, sql) in COUNTED.items()
    ]
    waiting = load_backlog(session).count
    return [*counted, Figure(name="tanlian_log_waiting", meaning="leaves that no checkpoint covers yet", value=waiting)]


def operation_router(hub: Hub) -> APIRouter:
    """Build the router for machines that watch this one."""
    router = APIRouter(tags=["operation"])
    watch = find_watch(hub.engine) or make_watch(hub.settings)
    watch.speaks = True
    exchange = ExchangeMetrics(hub)

    @router.get("/healthz")
    def alive() -> dict[str, str]:
        """Say that the process answers; says nothing about its database."""
        return {"status": "ok"}

    @router.get("/readyz")
    def ready(response: Response) -> dict[str, str]:
        """Say whether requests can be served: the database answers, has this code's schema, and is the one that was signed.

        `log` tells how the log stands. While it is late or stopped the hub stays ready: people may withdraw, and anyone
        may read and verify.
        """
        try:
            with reading(hub.engine) as session:
                revision = session.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
        except SQLAlchemyError:
            revision = None
        if revision != head_revision():
            response.status_code = 503
            return {"status": "not ready", "reason": "the database is away or needs `tanlian migrate`"}
        standing = watch.look(hub.engine, hub.clock())
        if standing.state is State.REFUSED:
            response.status_code = 503
            return {"status": "not ready", "reason": f"{standing.reason}; see `tanlian log status`"}
        return {"status": "ready", "log": str(standing.state), **_witnesses(hub)}

    @router.get("/metrics", response_class=Response)
    def metrics() -> Response:
        """Give the hub's figures to Prometheus."""
        registry = CollectorRegistry()
        try:
            with reading(hub.engine) as session:
                for figure in load_figures(session):
                    Gauge(figure.name, figure.meaning, registry=registry).set(figure.value)
                _tell_disputes(session, hub.clock(), registry)
                _tell_witnesses(session, hub, registry)
            _tell_log(watch, hub, registry)
            registry.register(exchange)
        except SQLAlchemyError:
            raise Busy("the database is away or needs `tanlian migrate`") from None
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router


def _tell_log(watch: LogWatch, hub: Hub, registry: CollectorRegistry) -> None:
    """Tell how far the log is behind; whoever watches sets an alarm on the state, or a bound of their own on the lag."""
    standing = watch.look(hub.engine, hub.clock())
    for name, meaning, value in (
        ("lag_seconds", "how long the oldest leaf under no checkpoint has waited", standing.lag.total_seconds()),
        ("state", f"how the log stands: {', '.join(f'{at} {state}' for at, state in enumerate(State))}",
         list(State).index(standing.state)),
        ("alarm_after_seconds", "the bound behind which the log is late", watch.bounds.alarm_after.total_seconds()),
        ("stop_after_seconds", "the bound behind which nothing more is accepted", watch.bounds.stop_after.total_seconds()),
    ):  # fmt: skip
        Gauge(f"tanlian_log_{name}", meaning, registry=registry).set(value)


def _witnesses(hub: Hub) -> dict[str, str]:
    """Say whether the witnesses keep up, if the policy wants any: the log goes on without them."""
    policy = load_policy(hub.settings.witness_policy)
    if not policy.witnesses:
        return {}
    with reading(hub.engine) as session:
        standing = load_standing(session, policy)
    return {"witnesses": "current" if standing.witnessed_size == standing.size else "behind"}


def _tell_witnesses(session: Session, hub: Hub, registry: CollectorRegistry) -> None:
    """Tell how far each witness of the policy is behind, and what the quorum cosigned last."""
    policy = load_policy(hub.settings.witness_policy)
    if not policy.witnesses:
        return
    standing = load_standing(session, policy)
    behind = Gauge(
        "tanlian_log_witness_behind", "leaves that a witness has not cosigned", ["witness"], registry=registry
    )
    failing = Gauge(
        "tanlian_log_witness_failing",
        "1 while a witness does not cosign, by why",
        ["witness", "problem"],
        registry=registry,
    )
    for one in standing.witnesses:
        behind.labels(one.name).set(one.behind)
        failing.labels(one.name, one.problem or "none").set(one.problem is not None)
    unwitnessed = Gauge("tanlian_log_unwitnessed", "leaves that no quorum of witnesses has cosigned", registry=registry)
    unwitnessed.set(standing.size - standing.witnessed_size)


def _tell_disputes(session: Session, now: datetime, registry: CollectorRegistry) -> None:
    """Count disputes of a year by what they are about and what became of them."""
    names = ["target", "state"]
    count = Gauge("tanlian_disputes", "disputes of a year", names, registry=registry)
    age = Gauge("tanlian_dispute_age_seconds", "median age, until the end if there is one", names, registry=registry)
    overdue = Gauge("tanlian_disputes_overdue", "disputes whose decision is overdue", names, registry=registry)
    for one in load_counts(session, now):
        for gauge, value in ((count, one.count), (age, one.median_age_s), (overdue, one.overdue)):
            gauge.labels(one.target, one.state).set(value)
