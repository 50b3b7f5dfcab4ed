"""What the documents name is there: files, modules, commands, options, settings, connectors, keys, decisions."""

import re
import shlex
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

import pytest
import typer
from docs.markdown_blocks import DOCUMENTS, ROOT, load_document, parse_blocks, parse_codes, parse_rows
from pydantic import TypeAdapter
from typer.testing import CliRunner

from connectors.registry import list_connectors
from consent.keyring import load_keyring
from hub.app import create_app
from hub.cli import app
from hub.context import Hub, open_hub
from hub.pipeline import FLOW
from hub.settings import Settings

PACKAGES = ("hub", "connectors", "consent", "standards", "mappings")
MADE_BY_RUNNING = ("var/", ".venv/")  # not in the repository, and never will be
COMMANDS = typer.main.get_command(app)
CODE_WITH_DECISIONS = [*(path for name in PACKAGES for path in (ROOT / name).rglob("*.py")), *DOCUMENTS]
by_name = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def missing_files(markdown: str) -> list[str]:
    """Return the files and folders in backticks that do not exist; addresses, patterns and placeholders are none."""
    made = {block.file for block in parse_blocks(markdown) if block.file}
    # A dot within the first part makes it the name of a host.
    names = [code for code in parse_codes(markdown) if re.fullmatch(r"\.?[\w-]+(/[\w.-]*)+", code)]
    names += [target for target in re.findall(r"\]\(([\w./-]+)\)", markdown) if "/" in target or "." in target]
    return [
        name
        for name in names
        if name not in made and not name.startswith(MADE_BY_RUNNING) and not (ROOT / name).exists()
    ]


def missing_modules(markdown: str) -> list[str]:
    """Return dotted names of our packages that cannot be imported."""
    dotted = re.compile(rf"(?:{'|'.join(PACKAGES)})(?:\.[a-z_]+)+")
    return [code for code in parse_codes(markdown) if dotted.fullmatch(code) and find_spec(code) is None]


def commands_in(markdown: str) -> list[list[str]]:
    """Return the words of every `tanlian` command in backticks and in shell blocks."""
    lines = [code for code in parse_codes(markdown) if code.startswith("tanlian ")]
    for block in parse_blocks(markdown):
        if block.language == "sh":
            lines += [line[line.index("tanlian ") :] for line in block.text.splitlines() if "bin/tanlian " in line]
    return [shlex.split(line.replace("…", ""), comments=True)[1:] for line in lines]


def fault_of_command(words: list[str]) -> str | None:
    """Say what of a command does not exist, or None."""
    command = COMMANDS
    rest = list(words)
    while rest and hasattr(command, "commands"):
        name = rest.pop(0)
        if name.startswith("-"):
            return f"an option before the subcommand: {name}"
        if name not in command.commands:
            return f"no command {name}"
        command = command.commands[name]
    known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
    unknown = [word for word in rest if word.startswith("-") and word not in known]
    return f"no option {unknown[0]}" if unknown else None


@by_name
def test_every_file_that_a_document_names_exists(document: Path) -> None:
    assert missing_files(document.read_text()) == []


def test_a_file_that_is_not_there_is_noticed() -> None:
    assert missing_files("see `hub/nowhere.py`, [this](NOWHERE.md) and `hub/pipeline.py`") == [
        "hub/nowhere.py",
        "NOWHERE.md",
    ]


@by_name
def test_every_module_that_a_document_names_exists(document: Path) -> None:
    assert missing_modules(document.read_text()) == []


def test_a_module_that_is_not_there_is_noticed() -> None:
    assert missing_modules("`hub.nowhere` and `hub.pipeline`") == ["hub.nowhere"]


@by_name
def test_every_command_that_a_document_shows_exists(document: Path) -> None:
    faults = {" ".join(words): fault_of_command(words) for words in commands_in(document.read_text())}
    assert {line: fault for line, fault in faults.items() if fault} == {}


@pytest.mark.parametrize("line", ["conquer", "window open", "log verify --url x --hurry", "--json audit"])
def test_a_command_that_is_not_there_is_noticed(line: str) -> None:
    assert fault_of_command(line.split()) is not None


def test_every_command_of_the_readme_tells_its_help() -> None:
    shown = commands_in(load_document("README.md"))
    assert len(shown) > 12
    for words in shown:
        names = words[: next((i for i, word in enumerate(words) if not re.fullmatch(r"[a-z]+", word)), len(words))]
        told = CliRunner().invoke(app, [*names, "--help"])
        assert told.exit_code == 0, (names, told.output)


def test_the_readme_names_every_command_of_the_hub() -> None:
    named = " ".join(load_document("README.md").split())
    assert [name for name in COMMANDS.commands if not re.search(rf"`tanlian {name}\b", named)] == ["clients"]


def test_the_readme_lists_every_setting_with_its_default() -> None:
    rows = parse_rows(load_document("README.md"), "Setting")
    told = {name.removeprefix("TANLIAN_").lower(): default for name, default, _ in rows}
    fields = Settings.model_fields
    assert list(told) == list(fields)
    for name, default in told.items():
        actual = fields[name].default
        expected = TypeAdapter(timedelta).validate_python(default) if isinstance(actual, timedelta) else default
        assert expected == (actual if isinstance(actual, timedelta) else str(actual)), name


def test_the_readme_draws_the_flow_as_it_is() -> None:
    readme = load_document("README.md")
    picture = next(block.text for block in parse_blocks(readme) if block.language == "mermaid")
    names = [step.name for step in FLOW]
    drawn = [word for word in re.findall(r"[a-z]+", picture) if word in names]
    assert list(dict.fromkeys(drawn)) == names
    asked = re.findall(r"consent(?:\{\{[^}]*\}\})? -\.-> (\w+)", picture)
    # Translating and quantifying lie in the same transaction as collecting, so one arrow stands for the three.
    assert asked == ["collect", *(step.name for step in FLOW if step.purpose not in (None, FLOW[0].purpose))]
    assert [row[0] for row in parse_rows(readme, "Step")] == names


def test_the_architecture_tells_the_flow_as_it_is() -> None:
    told = parse_rows(load_document("ARCHITECTURE.md"), "Step")
    assert told == [
        [step.name, step.rules, step.reads, step.writes, str(step.purpose) if step.purpose else "–"] for step in FLOW
    ]


def test_the_readme_lists_every_connector_as_what_it_is() -> None:
    told = {
        name: (transport, kind.split(":")[0])
        for name, transport, kind, _ in parse_rows(load_document("README.md"), "Connector")
    }
    actual = {kind.name: (str(kind.transport), "profile" if kind.profile else "official") for kind in list_connectors()}
    assert told == actual


def test_every_make_target_that_a_document_names_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    for document in DOCUMENTS:
        markdown = document.read_text()
        shell = "\n".join(block.text for block in parse_blocks(markdown) if block.language == "sh")
        code = "\n".join(parse_codes(markdown))
        assert set(re.findall(r"^make ([a-z]+)", f"{shell}\n{code}", re.MULTILINE)) <= targets, document.name


def test_every_address_that_a_document_names_is_served(tmp_path: Path) -> None:
    hub: Hub = open_hub(
        Settings(_env_file=None, database_url=f"sqlite:///{tmp_path}/hub.db", keys_dir=tmp_path / "keys")
    )
    served = list(create_app(hub).openapi()["paths"])
    hub.engine.dispose()
    for document in DOCUMENTS:
        for code in parse_codes(document.read_text()):
            if re.fullmatch(r"/[a-z0-9{}/…]+", code):
                prefix = re.split(r"[{…]", code)[0]
                assert any(path.startswith(prefix) if prefix != code else path == code for path in served), code


def test_the_key_files_are_those_that_a_new_hub_makes(tmp_path: Path) -> None:
    load_keyring(tmp_path / "keys")
    made = {path.name for path in (tmp_path / "keys").iterdir()}
    told = {row[0] for row in parse_rows(load_document("SECURITY.md"), "File")}
    assert told == made | {"log-head"}


def test_decisions_are_numbered_without_a_gap_and_have_every_part() -> None:
    pages = sorted((ROOT / "standards" / "decisions").iterdir())
    assert [int(page.name[:4]) for page in pages] == list(range(1, len(pages) + 1))
    for page in pages:
        assert re.fullmatch(r"\d{4}(-[a-z0-9]+)+\.md", page.name)
        text = page.read_text()
        assert text.startswith(f"# {page.name[:4]} ")
        parts = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert parts == ["Status", "Context", "Decision", "Consequences", "Rejected options"], page.name
        assert len(text.splitlines()) <= 70, f"{page.name} is longer than a page"


def test_every_decision_that_is_cited_has_a_page() -> None:
    pages = {page.name[:4] for page in (ROOT / "standards" / "decisions").iterdir()}
    cited = {number for path in CODE_WITH_DECISIONS for number in re.findall(r"\bADR (\d{4})\b", path.read_text())}
    assert {"0003", "0006"} <= cited
    assert cited <= pages
