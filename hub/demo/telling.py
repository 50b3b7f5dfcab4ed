"""What the demo tells at its end, as data and as tables. I/O: reads the database; terminal."""

from typing import Any

from sqlalchemy import select, text
from sqlmodel import col

from consent.tables import Person
from hub.audit import AuditReport, audit
from hub.clearing.store import load_positions
from hub.commands.console import out, table
from hub.context import Hub
from hub.db import reading
from hub.demo.processes import Town
from hub.ledger.store import total_held
from hub.log.store import load_head
from hub.log.verify import verify_log
from hub.log_signing import log_signer
from hub.portal.account import AccountView, load_account
from hub.portal.browser import grams
from hub.sandbox.town import Town as Inhabitants


def summarise(hub: Hub, inhabitants: Inhabitants, reconciled: dict[str, Any], town: Town) -> dict[str, Any]:
    """Gather what happened; the members that CONTRACT names and some more."""
    with reading(hub.engine) as session:
        positions = load_positions(session)
        linked = session.execute(text("SELECT COUNT(*) FROM link")).scalar_one()
        withdrawn = session.execute(text("SELECT COUNT(*) FROM link WHERE valid_until IS NOT NULL")).scalar_one()
        aside = session.execute(text("SELECT platform, reason, COUNT(*) FROM quarantined GROUP BY platform, reason"))
        quarantined = [dict(zip(("platform", "reason", "rows"), row, strict=True)) for row in aside]
        events = session.execute(
            text("SELECT COUNT(*) FROM event e LEFT JOIN event_reversal v USING (event_id) WHERE v.event_id IS NULL")
        ).scalar_one()
        reversals = session.execute(text("SELECT COUNT(*) FROM event_reversal")).scalar_one()
        held = total_held(session)
        head = load_head(session)
    report = audit(hub)
    verified = verify_log(f"{town.hub_url}/log", log_signer(hub).vkey)
    return {
        "people": len(inhabitants.people),
        "links": linked,
        "withdrawn": withdrawn,
        "platforms": positions.to_dicts(),
        "events": events,
        "reversals": reversals,
        "counted_mg": int(positions["counted_mg"].sum()),
        "held_mg": held,
        "quarantined": sorted(quarantined, key=lambda q: (q["platform"], q["reason"])),
        "reconciliation": reconciled,
        "log": {
            "size": 0 if head is None else head.size,
            "root": verified.root,
            "verified": verified.holds,
            "key": log_signer(hub).vkey,
        },
        "worker_starts": town.worker.starts,
        "audit": {"passed": report.passed, "failed": report.failed, "broken": _broken(report)},
    }


def show(hub: Hub, summary: dict[str, Any], inhabitants: Inhabitants) -> None:
    """Print the summary for people."""
    _show_platforms(summary)
    _show_aside(summary)
    _show_reconciliation(summary)
    _show_person(hub, inhabitants.people[0].username)
    log, checked = summary["log"], summary["audit"]
    out.print(
        f"\n[bold]{summary['events']:,} acts counted once[/bold], {grams(summary['counted_mg'])} in all, "
        f"{grams(summary['held_mg'])} held by people; {summary['reversals']} taken back after corrections."
    )
    verdict = "verified over HTTP from its published tiles" if log["verified"] else "[red]NOT VERIFIED[/red]"
    out.print(f"Interconnection log: {log['size']:,} entries, root {log['root']}, {verdict}.")
    out.print(f"Its verifier key: {log['key']}", soft_wrap=True)
    out.print(f"Audit: {checked['passed']} checks passed, {checked['failed']} failed.")
    for broken in checked["broken"]:
        out.print(f"[red]{broken}[/red]")


def _show_platforms(summary: dict[str, Any]) -> None:
    rows = [
        [p["platform"], f"{p['records']:,}", grams(p["claimed_mg"]), grams(p["counted_mg"])]
        + [f"{p[v]:,}" for v in ("duplicate", "overlapped", "held", "rejected")]
        for p in summary["platforms"]
    ]
    columns = ["platform", "records", "claimed", "counted", "duplicate", "overlapped", "held", "rejected"]
    table("What each platform reported, and what counts", columns, rows, numbers=frozenset(range(1, 8)))


def _show_aside(summary: dict[str, Any]) -> None:
    rows = [[q["platform"], q["reason"], f"{q['rows']:,}"] for q in summary["quarantined"]]
    table("Rows set aside, each with its reason", ["platform", "reason", "rows"], rows, numbers=frozenset({2}))


def _show_reconciliation(summary: dict[str, Any]) -> None:
    rows = [
        [window, platform, one["state"], one.get("deliveries", ""), one.get("rows", ""), len(one.get("breaks", []))]
        for window, platforms in summary["reconciliation"].items()
        for platform, one in platforms.items()
    ]
    columns = ["window", "platform", "result", "deliveries", "rows", "breaks"]
    table("Both sides' statements, window by window", columns, rows, numbers=frozenset({0, 3, 4, 5}))
    streams = [
        stream
        for platforms in summary["reconciliation"].values()
        for one in platforms.values()
        for stream in one.get("streams", [])
    ]
    agreed = sum(stream["state"] == "matched" and stream["same_digest"] for stream in streams)
    told = sum(stream["theirs_records"] for stream in streams)
    out.print(f"{agreed} of {len(streams)} streams agree in count, sum and digest, over {told:,} records.")


def _show_person(hub: Hub, username: str) -> None:
    with reading(hub.engine) as session:
        wanted = select(col(Person.subject_id)).where(col(Person.username) == username)
        account: AccountView = load_account(session, session.execute(wanted).scalar_one(), limit=12, shared_first=True)
    rows = [[f"{a.at:%m-%d %H:%M}", a.behaviour, grams(a.mg), a.sentence] for a in account.acts]
    held, pending = grams(account.balances["held"]), grams(account.balances["pending"])
    title = (
        f"The account of {username}: {held} held, {pending} pending (some of the acts that several platforms told of)"
    )
    table(title, ["when", "act", "counts", "why once"], rows, numbers=frozenset({2}))


def _broken(report: AuditReport) -> list[str]:
    return [f"{c.name}: {c.figure}; {', '.join(c.offenders)}" for c in report.checks if not c.ok]
