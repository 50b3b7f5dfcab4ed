"""`tanlian`: the command line. I/O: terminal; the commands are in hub/commands/."""

import typer

from hub.commands import comparing, demo, explaining, exporting, inspect, operate, people, rights
from hub.commands.adjust import adjust
from hub.commands.anomalies import anomalies
from hub.commands.attest import attest
from hub.commands.bench import bench
from hub.commands.breaks import breaks, report
from hub.commands.console import told_errors
from hub.commands.disputes import disputes
from hub.commands.holds import holds
from hub.commands.keys import keys
from hub.commands.market import market
from hub.commands.policy import policy
from hub.commands.profiles import profiles
from hub.commands.programmes import programmes
from hub.commands.quarantine import quarantine
from hub.commands.receipts import receipts
from hub.commands.restating import restate
from hub.commands.simulating import simulate, simulate_policy
from hub.commands.staff import staff
from hub.commands.standards import standards
from hub.commands.sync import sync
from hub.commands.totals import totals
from hub.commands.uses import debts, reservations

app = typer.Typer(
    name="tanlian",
    help="Tanlian (碳联): interconnection and clearing hub for personal carbon accounts.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("migrate")(operate.migrate)
app.command("serve")(operate.serve)
app.command("worker")(operate.worker)
app.command("demo")(demo.demo)
app.command("clear")(inspect.clear)
app.command("explain")(explaining.explain)
app.command("audit")(operate.check)
app.command("anomalies")(anomalies)
app.add_typer(holds, name="holds")
app.add_typer(reservations, name="reservations")
app.add_typer(debts, name="debts")
app.add_typer(market, name="market")
app.add_typer(adjust, name="adjust")
app.add_typer(people.participants, name="participants")
app.add_typer(people.clients, name="clients")
people.people.command("export")(rights.export)
people.people.command("statement")(rights.statement)
people.people.command("erase")(rights.erase)
people.people.command("upload")(rights.upload)
app.add_typer(people.people, name="people")
app.add_typer(receipts, name="receipts")
app.add_typer(attest, name="attest")
app.add_typer(programmes, name="programmes")
app.add_typer(totals, name="totals")
app.add_typer(staff, name="staff")
app.add_typer(inspect.connectors, name="connectors")
app.add_typer(inspect.mappings, name="mappings")
app.add_typer(profiles, name="profiles")
standards.command("compare")(comparing.compare)
standards.command("points")(comparing.points)
standards.command("simulate")(simulate)
standards.command("restate")(restate)
standards.command("export")(exporting.export)
standards.command("validate")(exporting.validate)
app.add_typer(standards, name="standards")
policy.command("simulate")(simulate_policy)
app.add_typer(policy, name="policy")
app.add_typer(quarantine, name="quarantine")
app.add_typer(sync, name="sync")
operate.window.command("report")(report)
app.add_typer(operate.window, name="window")
app.add_typer(breaks, name="breaks")
app.add_typer(disputes, name="disputes")
app.add_typer(operate.log, name="log")
app.add_typer(bench, name="bench")
app.add_typer(keys, name="keys")


def main() -> None:
    """Run the command line; failures of the world are one line on stderr."""
    told_errors(app)
