"""`tanlian`: the command line. I/O: terminal; the commands are in hub/commands/."""

import typer

from hub.commands import demo, inspect, operate, people
from hub.commands.console import told_errors
from hub.commands.quarantine import quarantine

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
app.command("audit")(operate.check)
app.add_typer(people.participants, name="participants")
app.add_typer(people.clients, name="clients")
app.add_typer(people.people, name="people")
app.add_typer(inspect.connectors, name="connectors")
app.add_typer(inspect.mappings, name="mappings")
app.add_typer(inspect.standards, name="standards")
app.add_typer(quarantine, name="quarantine")
app.add_typer(operate.window, name="window")
app.add_typer(operate.log, name="log")


def main() -> None:
    """Run the command line; failures of the world are one line on stderr."""
    told_errors(app)
