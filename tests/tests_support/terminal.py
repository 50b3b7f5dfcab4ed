"""The command line in tests: run in this process, with what it printed and how it ended."""

import io
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from hub.cli import main


@dataclass(frozen=True)
class Ran:
    """What one command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The one line on stderr."""
        lines = self.err.splitlines()
        assert (self.code, len(lines)) == (1, 1), (self.code, self.err)
        assert lines[0].startswith("tanlian: ")
        return lines[0].removeprefix("tanlian: ")


class Terminal:
    """Runs `tanlian` in this process, as its entry point does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
        self.monkeypatch, self.capsys, self.folder = monkeypatch, capsys, folder
        monkeypatch.chdir(folder)
        for name in [name for name in os.environ if name.startswith("TANLIAN_")]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("TANLIAN_KEYS_DIR", str(folder / "keys"))
        monkeypatch.setenv("TANLIAN_DATABASE_URL", f"sqlite:///{folder}/unmigrated.db")
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setenv("TANLIAN_LOG_STOP_AFTER", "P9999D")  # leaves at the tests' clock, commands at the real one

    def __call__(self, *words: str | Path, stdin: str = "") -> Ran:
        self.monkeypatch.setattr(sys, "argv", ["tanlian", *map(str, words)])
        self.monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        self.capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        told = self.capsys.readouterr()
        return Ran(code, told.out, told.err)

    def write(self, name: str, content: Any) -> Path:
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path
