"""The house stays tidy: small modules and functions, honest names, no swallowed errors, nothing of one machine."""

import ast
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("hub", "connectors", "consent", "standards", "mappings")
MODULES = sorted(path for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
MOST_LINES = 400
MOST_TEST_LINES = 550
MOST_FUNCTION_LINES = 60
VAGUE = {"utils", "helpers", "common", "manager"}
# Made by tools, not by us; what begins with a dot is left out too, but for these.
MADE = {"__pycache__", "var", "build", "dist"}
HIDDEN_BUT_OURS = {".ci", ".github", ".gitignore"}
UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X{3})\b")
HOMES = re.compile(r"(?<![\w.:/-])/(?:home|Users|root)/\w")


def load_tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def long_modules(paths: list[Path], most: int) -> dict[str, int]:
    lengths = {str(path).removeprefix(f"{ROOT}/"): len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    return {name: lines for name, lines in lengths.items() if lines > most}


def long_functions(tree: ast.Module) -> list[str]:
    return [
        node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or node.lineno) - node.lineno + 1 > MOST_FUNCTION_LINES
    ]


def swallowed_errors(tree: ast.Module) -> list[int]:
    """Return the lines where every error is caught and nothing is done about it."""
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            names = {name.id for name in caught if isinstance(name, ast.Name)}
            everything = node.type is None or bool(names & {"Exception", "BaseException"})
            if everything and all(isinstance(line, ast.Pass | ast.Continue | ast.Expr) for line in node.body):
                lines.append(node.lineno)
    return lines


def find_texts() -> Iterator[tuple[Path, str]]:
    """Yield every text file of the project."""
    for folder, names, files in os.walk(ROOT):
        here = Path(folder)
        top = here == ROOT
        names[:] = [n for n in names if n not in MADE and (not n.startswith(".") or (top and n in HIDDEN_BUT_OURS))]
        for name in files:
            if name.startswith(".") and name not in HIDDEN_BUT_OURS:
                continue
            try:
                yield here / name, (here / name).read_text(encoding="utf-8")
            except (UnicodeDecodeError, FileNotFoundError):  # not text, or a tool's file that is gone again
                continue


def machine_paths(text: str) -> list[str]:
    """Return what names a place on this machine: the checkout itself, or somebody's home."""
    ours = [str(ROOT)] if len(ROOT.parts) > 2 else []
    return [place for place in ours if re.search(rf"{re.escape(place)}(?![\w-])", text)] + HOMES.findall(text)


def test_the_modules_are_found() -> None:
    assert len(MODULES) > 150


def test_no_module_is_longer_than_its_bound() -> None:
    assert long_modules(MODULES, MOST_LINES) == {}


def test_no_file_of_tests_is_longer_than_its_bound() -> None:
    assert len(TESTS) > 100
    assert long_modules(TESTS, MOST_TEST_LINES) == {}


def test_a_long_module_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "long.py"
    path.write_text("x = 1\n" * 3)
    assert long_modules([path], 2) == {str(path): 3}
    assert long_modules([path], 3) == {}


def test_no_function_is_longer_than_its_bound() -> None:
    found = {str(path.relative_to(ROOT)): long_functions(load_tree(path)) for path in MODULES}
    assert {name: functions for name, functions in found.items() if functions} == {}


def test_a_long_function_is_noticed() -> None:
    body = "    x = 1\n" * MOST_FUNCTION_LINES
    assert long_functions(ast.parse(f"def f():\n{body}")) == ["f"]
    assert long_functions(ast.parse(f"def f():\n{body[: -len('    x = 1') - 1]}")) == []


def test_no_module_has_a_vague_name() -> None:
    assert [path for path in MODULES if VAGUE & set(path.relative_to(ROOT).with_suffix("").parts)] == []


def test_every_module_says_what_it_is() -> None:
    assert [str(path.relative_to(ROOT)) for path in MODULES if not ast.get_docstring(load_tree(path))] == []


def test_every_folder_with_modules_is_a_package() -> None:
    """A folder without `__init__.py` runs all the same, but no import contract sees what is in it."""
    folders = {path.parent for path in MODULES}
    assert [str(f.relative_to(ROOT)) for f in sorted(folders) if not (f / "__init__.py").exists()] == []


def test_no_error_is_swallowed() -> None:
    found = {str(path.relative_to(ROOT)): swallowed_errors(load_tree(path)) for path in MODULES}
    assert {name: lines for name, lines in found.items() if lines} == {}


@pytest.mark.parametrize("clause", ["except Exception", "except", "except (ValueError, BaseException)"])
def test_a_swallowed_error_is_noticed(clause: str) -> None:
    assert swallowed_errors(ast.parse(f"try:\n    f()\n{clause}:\n    pass\n")) == [3]
    assert swallowed_errors(ast.parse(f"try:\n    f()\n{clause}:\n    raise Other\n")) == []


def test_nothing_is_left_for_later() -> None:
    found = [str(path.relative_to(ROOT)) for path, text in find_texts() if UNFINISHED.search(text)]
    assert found == []


def test_no_file_names_a_place_on_this_machine() -> None:
    found = {str(path.relative_to(ROOT)): machine_paths(text) for path, text in find_texts()}
    assert {name: places for name, places in found.items() if places} == {}


def test_a_place_on_this_machine_is_noticed() -> None:
    assert machine_paths(f"see {ROOT}/hub") == ([str(ROOT)] if len(ROOT.parts) > 2 else [])
    assert machine_paths("in /" + "home/somebody/notes")
    assert not machine_paths("https://example.org/" + "home/local/player and <root>/7")


def test_the_lock_pins_every_distribution_by_hash_and_names_no_address() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    entries = re.split(r"\n(?=[a-z0-9])", "\n".join(line for line in lock.splitlines() if not line.startswith("#")))
    pinned = [entry for entry in entries if entry.strip()]
    assert len(pinned) > 50
    for entry in pinned:
        assert re.match(r"[a-z0-9._\[\]-]+==\S+ \\\n    --hash=sha256:[0-9a-f]{64}", entry.strip()), entry[:80]
    assert not re.search(r"https?:|--index-url|--extra-index-url|--find-links|--trusted-host", lock)


def impatient_calls(tree: ast.Module) -> list[int]:
    """Return the lines where httpx speaks to a real server with the five seconds that it waits of itself."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    asking = [
        node for node in calls if re.fullmatch(r"httpx\.(Client|AsyncClient|get|post|request)", ast.unparse(node.func))
    ]
    return [node.lineno for node in asking if not {"timeout", "transport"} & {word.arg for word in node.keywords}]


def test_tests_wait_as_long_as_a_busy_machine_needs() -> None:
    found = {path.name: impatient_calls(load_tree(path)) for path in TESTS}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_what_is_impatient_is_seen() -> None:
    tree = ast.parse("httpx.get(u)\nhttpx.get(u, timeout=60)\nhttpx.Client(transport=t)\nhttpx.Client()")
    assert impatient_calls(tree) == [1, 4]
