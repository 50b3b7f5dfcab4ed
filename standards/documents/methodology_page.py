"""A version of the methodology as a page for people: what `methodologies.methodology_form` says, in Markdown. Pure."""

from collections.abc import Iterable
from typing import Any

from standards.choice import format_grams
from standards.documents.methodologies import methodology_form
from standards.documents.table import markdown_table, marked

_FIGURE_COLUMNS = (
    "figure", "value", "as published", "place", "from", "until", "evidence", "bound", "status", "source",
    "where in the source",
)  # fmt: skip


def methodology_page(version: str) -> str:
    """Return the page of one version.

    Raises:
        DataError: there is no such version, or an example does not come to what is written down.
    """
    form = methodology_form(version)
    head = markdown_table(
        ("", ""),
        [
            ("version", form["version"]),
            ("for records collected from", form["valid_from"]),
            ("values acts from", form["acts_from"]),
            ("supersedes", form["supersedes"] or "nothing"),
            ("methods", len(form["methods"])),
            ("worked examples", sum(len(method["examples"]) for method in form["methods"])),
        ],
    )
    rules = "".join(f"{number}. {marked(rule)}\n" for number, rule in enumerate(form["rules"], 1))
    overview = markdown_table(
        ("method", "behaviour", "per", "mg with the fallbacks alone", "founded on"),
        ((m["id"], f"{m['behaviour']} {m['zh']}", m["unit"], m["mg_per_unit"], m["status"]) for m in form["methods"]),
    )
    parts = [
        f"# Methodology {version}\n\n{marked(form['summary'])}\n\n{head}",
        f"## Rules\n\n{rules}",
        f"## Words of the version's own file\n\n```text\n{form['notes']}\n```\n",
        f"## Methods\n\n{overview}",
        *(_method(method) for method in form["methods"]),
    ]
    return "\n".join(parts)


def _method(method: dict[str, Any]) -> str:
    lines = [
        f"## {method['id']}: {method['behaviour']} {method['zh']} / {method['en']}, per {method['unit']}\n",
        f"- formula: `{method['formula']}`",
        f"- boundary: {marked(method['boundary'])}",
        *([f"- assumption: {marked(method['assumption'])}"] if method["assumption"] else []),
        f"- status: {method['status']} ({method['status_in_words']})",
        f"- with the fallbacks alone: {method['mg_per_unit']} mg of CO2e per {method['unit']}",
    ]
    if method["cap"] is not None:
        cap = method["cap"]
        lines.append(
            f"- cap: no more than {cap['said']} of one record count ({cap['id']}, {cap['source']} "
            f"{marked(cap['source_title'])}: {marked(cap['source_place'])})"
        )
    if method["at_most_mg_per_unit"] is not None:
        lines.append(f"- at most {method['at_most_mg_per_unit']} mg per {method['unit']}: {marked(method['note'])}")
    parts = ["\n".join(lines) + "\n", *(_input(choice) for choice in method["inputs"])]
    if method["not_taken"]:
        rows = (
            (f["id"], f["said"], f["place_name"], f["why"], f["source"], f["source_title"]) for f in method["not_taken"]
        )
        columns = ("figure", "as published", "place", "why it is not taken", "source", "title")
        parts.append(f"### Not taken\n\n{markdown_table(columns, rows)}")
    parts += [_example(method["id"], number, one) for number, one in enumerate(method["examples"], 1)]
    return "\n".join(parts)


def _input(choice: dict[str, Any]) -> str:
    rows = (_figure(figure, choice["fallback"]) for figure in choice["figures"])
    table = markdown_table(_FIGURE_COLUMNS, rows)
    return f"### Input `{choice['name']}`, in {marked(choice['measure'])}\n\n{table}"


def _figure(figure: dict[str, Any], fallback: str) -> Iterable[object]:
    bound = "not lower than" if figure["bound"] == "floor" else figure["bound"]
    return (
        f"{figure['id']} (fallback)" if figure["id"] == fallback else figure["id"],
        f"{figure['value']} {figure['measure']}",
        figure["said"],
        figure["place_name"],
        figure["valid_from"],
        figure["valid_until"],
        figure["evidence"],
        bound,
        figure["status"],
        f"{figure['source']} {figure['source_title']}",
        figure["source_place"],
    )


def _example(method: str, number: int, example: dict[str, Any]) -> str:
    told = "an untold quantity" if example["quantity"] is None else f"{example['quantity']} {example['unit']}"
    act = f"{told} in {example['place_name']} on {example['day']}, told as {example['role']}"
    why = f" ({marked(example['why'])})" if example["why"] else ""
    chosen = "".join(
        f"- {name}: {figure}, {marked(example['reasons'][name])}\n" for name, figure in example["figures"].items()
    )
    counted = f"- quantity: {example['quantity_counted']} {example['unit']}\n"
    notes = "".join(f"- note: {marked(note)}\n" for note in example["notes"])
    steps = markdown_table(
        ("step", "value", "unit"), ((s["expression"], s["value"], s["measure"]) for s in example["steps"])
    )
    result = f"{example['exact_mg']} mg, rounded: **{example['mg']} mg** = {format_grams(example['mg'])} g of CO2e"
    return f"### Example {method} {number}\n\n{act}{why}.\n\n{counted}{chosen}{notes}\n{steps}\n{result}\n"
