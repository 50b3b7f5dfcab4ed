"""policy: the rules of clearing as versions: read, held to their own rules, compared, adopted. I/O: files, terminal, database.

Trying one out is `policy simulate`, in simulating.py.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from hub.clearing.adoption import adopt_policy, load_adoptions, policy_of_window
from hub.clearing.windows import find_open_window
from hub.commands.console import AS_JSON, opened_hub, out, print_json, table
from hub.db import reading, writing
from hub.errors import NotFound, UsageProblem
from standards.datafile import DataError
from standards.policies import describe_policy, find_policy, policy_digest, policy_versions
from standards.policy import CURRENT_POLICY, ClearingPolicy, load_policy
from standards.policy_words import policy_differences

policy = typer.Typer(help="The rules of clearing: versions, differences, adoption.", no_args_is_help=True)
NAMED = "A version, or the file of a draft."


@policy.command("list")
def list_policies(as_json: bool = AS_JSON) -> None:
    """List the versions that come with the hub. Which of them is in force is said by `policy history`."""
    rows = [
        {
            "version": version, "valid_from": load_policy(version).valid_from.isoformat(),
            "default": version == CURRENT_POLICY, "sha256": policy_digest(version).hex(),
        }
        for version in policy_versions()
    ]  # fmt: skip
    if as_json:
        print_json(rows)
        return
    cells = [[r["version"], r["valid_from"], "yes" if r["default"] else "", str(r["sha256"])[:16]] for r in rows]
    table("Clearing policies", ["version", "valid from", "until another is adopted", "sha256"], cells)


@policy.command("show")
def show(version: Annotated[str, typer.Argument(help=NAMED)], as_json: bool = AS_JSON) -> None:
    """Show all rules of a policy."""
    told = describe_policy(open_policy(version))
    if as_json:
        print_json(told)
        return
    out.print(f"[bold]{told['version']}[/bold], valid from {told['valid_from']}")
    single = {name: value for name, value in told.items() if not isinstance(value, dict) and name != "overlaps"}
    for title, values in [("In general", single), *((n, v) for n, v in told.items() if isinstance(v, dict))]:
        _show_part(title, values)
    _show_entries("overlaps", told["overlaps"])


@policy.command("validate")
def validate(file: Annotated[Path, typer.Argument(help="Draft of a policy file.")], as_json: bool = AS_JSON) -> None:
    """Hold a draft to every rule of its kind, and say how it differs from the version that comes with the hub."""
    draft = open_policy(str(file) if "/" in str(file) else f"./{file}")
    differences = policy_differences(load_policy(), draft)
    if as_json:
        print_json(
            {
                "valid": True, "version": draft.version, "valid_from": draft.valid_from,
                "from": CURRENT_POLICY, "differences": [one.to_dict() for one in differences],
            }
        )  # fmt: skip
        return
    out.print(f"{file}: {draft.version}, valid from {draft.valid_from}, no mistake", soft_wrap=True)
    _show_differences(CURRENT_POLICY, str(file), [one.text for one in differences])


@policy.command("compare")
def compare(
    one: Annotated[str, typer.Argument(metavar="A", help=NAMED)],
    other: Annotated[str, typer.Argument(metavar="B", help=NAMED)],
    as_json: bool = AS_JSON,
) -> None:
    """Say in words what differs between two policies."""
    before, after = open_policy(one), open_policy(other)
    differences = policy_differences(before, after)
    if as_json:
        told = [difference.to_dict() for difference in differences]
        print_json({"from": before.version, "to": after.version, "differences": told})
        return
    _show_differences(one, other, [difference.text for difference in differences])


@policy.command("adopt")
def adopt(
    version: Annotated[str, typer.Argument(help="The version to adopt.")],
    why: Annotated[str, typer.Option(help="Why, in one line without anybody's name; kept, and logged as a digest.")],
    as_json: bool = AS_JSON,
) -> None:
    """Let a policy decide about every window that is opened from now on. What was decided stays."""
    with opened_hub() as hub, writing(hub.engine) as session:
        try:
            adopted = adopt_policy(session, version, why.strip(), hub.clock())
        except DataError as problem:
            raise UsageProblem(str(problem)) from problem
    if as_json:
        print_json(
            {
                "policy": adopted.policy, "former": adopted.former, "first_window": adopted.first_window,
                "decision": adopted.decision.hex(),
            }
        )  # fmt: skip
        return
    out.print(
        f"{adopted.policy} decides about window {adopted.first_window} and those after it, instead of {adopted.former}; "
        f"decision {adopted.decision.hex()[:16]}"
    )


@policy.command("history")
def history(as_json: bool = AS_JSON) -> None:
    """Show which policy decides about the open window and the next, and what was adopted when and why."""
    with opened_hub() as hub, reading(hub.engine) as session:
        window = find_open_window(session)
        if window is None:
            raise NotFound("no clearing window is open; run `tanlian migrate`")
        now, following = (policy_of_window(session, window.window_id + step).version for step in (0, 1))
        rows: list[dict[str, Any]] = [
            {
                "adoption": row.adoption, "policy": row.policy, "former": row.former,
                "first_window": row.first_window, "why": row.why, "adopted_at": row.adopted_at.isoformat(),
            }
            for row in load_adoptions(session)
        ]  # fmt: skip
    if as_json:
        print_json({"window": window.window_id, "policy": now, "next": following, "adoptions": rows})
        return
    out.print(f"window {window.window_id} is decided by [bold]{now}[/bold], the next by [bold]{following}[/bold]")
    if rows:
        cells = [[r["adoption"], r["policy"], r["former"], r["first_window"], r["adopted_at"], r["why"]] for r in rows]
        columns = ["#", "policy", "instead of", "from window", "adopted", "why"]
        table("Adopted", columns, cells, numbers=frozenset({0, 3}))


def open_policy(name: str) -> ClearingPolicy:
    """Return a policy by version or file.

    Raises:
        UsageProblem: there is no such version or file, or the file breaks a rule.
    """
    try:
        return find_policy(name)
    except DataError as problem:
        raise UsageProblem(str(problem)) from problem


def _show_differences(one: str, other: str, sentences: list[str]) -> None:
    if not sentences:
        out.print(f"{one} and {other} clear alike")
        return
    out.print(f"[bold]{one}[/bold] to [bold]{other}[/bold]: {len(sentences)} differences", soft_wrap=True)
    for sentence in sentences:
        out.print(f"  - {sentence}", highlight=False, markup=False)


def _show_part(title: str, values: dict[str, Any]) -> None:
    """Show one part of a policy: entries of one form in a table, of several forms each in its own."""
    entries = [value for value in values.values() if isinstance(value, dict)]
    if entries and len({tuple(entry) for entry in entries}) == 1:
        _show_entries(title, entries)
        return
    for name, value in values.items():
        if isinstance(value, dict):
            _show_part(f"{title}: {name}", value)
    single = [[name, _cell(value)] for name, value in values.items() if not isinstance(value, dict)]
    if single:
        table(title, ["rule", "value"], single)


def _show_entries(title: str, entries: list[dict[str, Any]]) -> None:
    """Show entries with the same members as one table."""
    if entries:
        columns = list(entries[0])
        table(title, columns, [[_cell(entry[name]) for name in columns] for entry in entries])


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
