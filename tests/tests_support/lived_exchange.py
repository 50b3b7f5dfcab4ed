"""What a lived hub's regulator and operator did, and what came to its doors: for the log's search and the audit."""

from datetime import datetime, timedelta

from tests_support.tokens import metadata

from consent.clients import register_client
from hub.commands.access import append_terminal_access
from hub.context import Hub
from hub.db import writing
from hub.exchange.counting import Counter
from hub.exchange.hours import tell_hours
from hub.exchange.pairing import pair, parse_entries
from hub.exchange.sides import Period, load_ours, log_pairing
from hub.staff.access import Access, append_access
from hub.staff.accounts import add_staff
from hub.staff.machines import SCOPE, bind_client
from hub.staff.rights import NO_SCOPE, AccessPurpose, Right, Role, What

CITY = "beijing-green-life"


def inspect(hub: Hub, now: datetime, *, person: str) -> None:
    """A regulator's software searches and pairs; the operator looks at somebody; an hour of requests is counted and told."""
    with writing(hub.engine) as session:
        gu = add_staff(session, name="gu", role=Role.REGULATOR, jurisdiction="CN", now=now)
        client = register_client(session, metadata(SCOPE), participant=None, now=now)["client_id"]
        bind_client(session, client, "gu", now=now)
        access = Access(member=gu, right=Right.SEE_LOG, scope=NO_SCOPE, at=now)
        assert append_access(session, access, What.LOG_SEARCHED, about={"kind": "batch.received"})
        theirs = parse_entries([b'{"message_id": "d1"}', b'{"message_id": "d99"}'])
        paired = pair(load_ours(session, CITY, Period()), theirs, apart=timedelta(minutes=5))
        log_pairing(session, CITY, b"theirs", paired, now)
        append_terminal_access(
            session, hub, "staff.people_statement", AccessPurpose.PERSONS_REQUEST, {"name": person}, person=person
        )
        append_terminal_access(session, hub, "staff.holds_list", AccessPurpose.REVIEW, {"limit": "50"})
    counter = Counter(hub=hub, flushed_at=now)
    for outcome, reason, bucket in (("done", "", 5), ("done", "", 10), ("refused", "conflict", 5)):
        counter.add((CITY, "POST /in/{participant}", outcome, reason, bucket), 4.0, bytes_in=200, bytes_out=50)
    counter.flush(now)
    assert tell_hours(hub, now=now + timedelta(hours=2)) == 1
