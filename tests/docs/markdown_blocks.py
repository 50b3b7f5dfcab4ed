"""Read the project's documents: which there are, their fenced blocks, and what stands in backticks. I/O: reads files."""

import re
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (*sorted(ROOT.glob("*.md")), *sorted((ROOT / "standards" / "decisions").glob("*.md")))
_FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_FILE = re.compile(r"^File `(?P<name>[^`]+)`:\n*\Z", re.MULTILINE)
_CODE = re.compile(r"`([^`\n]+)`")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block; `file` is the name in the line `File ...:` before it, if there is one."""

    language: str
    words: tuple[str, ...]
    text: str
    file: str | None


def parse_blocks(markdown: str) -> list[Block]:
    """Return the fenced blocks in order."""
    blocks = []
    for found in _FENCE.finditer(markdown):
        language, *words = found["info"].split() or [""]
        named = _FILE.search(markdown[: found.start()])
        blocks.append(
            Block(language=language, words=tuple(words), text=found["text"], file=named["name"] if named else None)
        )
    return blocks


def without_blocks(markdown: str) -> str:
    """Return the text between the fenced blocks."""
    return _FENCE.sub("", markdown)


def parse_codes(markdown: str) -> list[str]:
    """Return what stands in backticks outside fenced blocks."""
    return _CODE.findall(without_blocks(markdown))


def parse_rows(markdown: str, heading: str) -> list[list[str]]:
    """Return the cells of the table whose first column is headed so, without head and ruler, backticks taken off."""
    lines = without_blocks(markdown).splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith(f"| {heading} |"))
    rows = takewhile(lambda line: line.startswith("|"), lines[head + 2 :])
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in rows]


def load_document(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")
