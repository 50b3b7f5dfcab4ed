"""demo: the main job on a small town. I/O: everything."""

import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from hub.commands.console import AS_JSON, opened_hub, out, print_json, progress_bars
from hub.migrate import prepare
from hub.settings import Settings

if TYPE_CHECKING:
    from hub.demo.processes import Town
    from hub.sandbox.town import Town as Inhabitants


def demo(
    people: Annotated[int, typer.Option(min=3, max=100_000, help="How many people live in the town.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Another seed is another town.")] = 7,
    serve: Annotated[bool, typer.Option(help="Leave the hub and the portal running afterwards.")] = False,
    as_json: bool = AS_JSON,
) -> None:
    """Run the main job end to end: people consent, platforms deliver, the hub counts each act once and proves it."""
    # Imported here: every other command would wait for the simulated town, too.
    from hub.demo.processes import running_town
    from hub.demo.story import Story, look_back
    from hub.demo.telling import show, summarise
    from hub.sandbox.town import Town as Inhabitants

    settings = Settings()
    failpoint = os.environ.pop("TANLIAN_FAILPOINT", "")  # for the worker alone
    os.environ["TANLIAN_ALLOW_LOOPBACK"] = "1"
    inhabitants = Inhabitants(seed, people)
    began = time.monotonic()
    folder = settings.keys_dir.parent / "demo"
    with opened_hub() as hub:
        prepare(hub.engine, hub.clock())
        with running_town(
            folder, database_url=settings.database_url, keys_dir=settings.keys_dir, people=people, seed=seed,
            look_back_days=look_back(inhabitants, hub).days, failpoint=failpoint,
        ) as town:  # fmt: skip
            with progress_bars(quiet=as_json) as bars:
                story = Story(hub=hub, town=town, inhabitants=inhabitants, seed=seed, bars=bars)
                reconciled = story.run()
            summary = summarise(hub, inhabitants, reconciled, town) | {"seconds": round(time.monotonic() - began, 1)}
            if as_json:
                print_json(summary)
            else:
                show(hub, summary, inhabitants)
                out.print(f"The whole run took {summary['seconds']} s. Its database is {settings.database_url}.")
            if serve:
                _stay(town, inhabitants)
    if summary["audit"]["failed"] or not summary["log"]["verified"]:
        raise SystemExit(1)


def _stay(town: "Town", inhabitants: "Inhabitants") -> None:
    """Keep everything running until the operator stops it."""
    first = inhabitants.people[0]
    out.print(f"\n[bold]The hub is at {town.hub_url}[/bold] (stop with Ctrl-C)")
    out.print(f"  portal: sign in as {first.username} with password {first.password}; others likewise, see below")
    for person in inhabitants.people[1:4]:
        out.print(f"          {person.username}  {person.password}")
    out.print(f"  log:    {town.hub_url}/log/checkpoint     API: {town.hub_url}/openapi.json")
    try:
        while True:
            town.keep_alive()
            time.sleep(1)
    except KeyboardInterrupt:
        out.print("stopping")
