"""A newcomer follows "Add a platform in ten minutes" to the letter: same files, same commands, other ports.

The mapping file goes where the document says, into a copy of `mappings/files/` instead of the repository's own, so that
tests that run beside this one do not see it.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from docs.markdown_blocks import ROOT, Block, load_document, parse_blocks

from hub.sandbox.browser import Browser, Persona, link_platform, sign_in

SECTION = "Add a platform in ten minutes"
HUB_PORT, PLATFORM_PORT = "8000", "8200"
PATIENCE_S = 240
LAUNCHERS = {
    "python": "",
    "tanlian": '-c \'import pathlib, mappings.load as m; m.FILES = pathlib.Path("mappings/files").resolve(); '
    "from hub.cli import main; main()'",
}


@dataclass(frozen=True, kw_only=True)
class Desk:
    """Where the newcomer works: a folder that looks like the checkout, and two free ports."""

    folder: Path
    ports: dict[str, str]

    def written(self, text: str) -> str:
        """Return text of the document with this desk's ports."""
        return re.sub(rf"\b({HUB_PORT}|{PLATFORM_PORT})\b", lambda port: self.ports[port[1]], text)

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("TANLIAN_")}
        hub = self.ports[HUB_PORT]
        return kept | {
            "TANLIAN_PORT": hub, "TANLIAN_ISSUER": f"http://127.0.0.1:{hub}", "COLUMNS": "140", "NO_COLOR": "1",
        }  # fmt: skip

    def run(self, commands: str) -> str:
        """Run a block of commands as one shell would, stopping at the first that fails."""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", self.written(commands)], cwd=self.folder, env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, f"{commands}\n{done.stdout}"
        return done.stdout

    @contextmanager
    def running(self, command: str, number: int) -> Iterator[None]:
        """Keep a command running, as in a terminal of its own."""
        with (self.folder / f"terminal-{number}.log").open("wb") as said:
            # `env` takes the variables that stand before a command; `exec` makes the process itself our child.
            process = subprocess.Popen(
                ["bash", "-c", f"exec env {self.written(command)}"],
                cwd=self.folder, env=self.environment, stdout=said, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            yield
        finally:
            process.terminate()
            process.wait(PATIENCE_S)


def make_desk(folder: Path) -> Desk:
    """Lay out the checkout's places that the document uses: `.venv/bin/` and `mappings/files/`."""
    shutil.copytree(ROOT / "mappings" / "files", folder / "mappings" / "files")
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name, arguments in LAUNCHERS.items():
        launcher = folder / ".venv" / "bin" / name
        launcher.write_text(f'#!/bin/sh\nexec {sys.executable} {arguments} "$@"\n')
        launcher.chmod(0o755)
    with ExitStack() as probes:
        free = [probes.enter_context(socket.socket()) for _ in range(2)]
        for probe in free:
            probe.bind(("127.0.0.1", 0))
        ports = [str(probe.getsockname()[1]) for probe in free]
    return Desk(folder=folder, ports=dict(zip((HUB_PORT, PLATFORM_PORT), ports, strict=True)))


def write_files(desk: Desk, blocks: list[Block]) -> list[str]:
    """Write every file of the section where it says; returns their names."""
    named = [block for block in blocks if block.file]
    for block in named:
        path = desk.folder / str(block.file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(desk.written(block.text), encoding="utf-8")
    return [str(block.file) for block in named]


def wait_for(url: str) -> None:
    """Wait until a server answers; connecting is tried again with growing pauses."""
    with httpx.Client(transport=httpx.HTTPTransport(retries=8), trust_env=False, timeout=60) as client:
        assert client.get(url).status_code == 200


def said_in(output: str, promised: str) -> list[str]:
    """Return the promised lines that the output does not hold, whatever the blanks between words."""
    seen = " ".join(output.split())
    return [line for line in promised.splitlines() if " ".join(line.split()) not in seen]


@pytest.fixture(scope="module")
def section() -> str:
    document = load_document("CONTRIBUTING.md")
    return document.split(f"## {SECTION}\n")[1].split("\n## ")[0]


def test_a_platform_joins_by_following_the_document(section: str, tmp_path: Path) -> None:
    desk = make_desk(tmp_path)
    hub_url = f"http://127.0.0.1:{desk.ports[HUB_PORT]}"
    blocks = parse_blocks(section)
    files = write_files(desk, blocks)
    assert len(files) == 5
    name, hub_password, again, platform_password = re.findall(r"`([^`]+)`", section.split("### 4")[1].split("### 5")[0])
    assert name == again
    persona = Persona(username=name, hub_password=hub_password, platform_password=platform_password)
    before, after = (parse_blocks(part) for part in section.split("### 4"))
    with ExitStack() as terminals:
        follow(desk, before, terminals)
        wait_for(f"{hub_url}/readyz")
        wait_for(f"http://127.0.0.1:{desk.ports[PLATFORM_PORT]}/.well-known/oauth-authorization-server")
        with Browser() as browser:
            sign_in(browser, hub_url, persona)
            link_platform(browser, hub_url, "qingdao-carbon", persona)
            follow(desk, after, terminals)
            account = browser.open(f"{hub_url}/").text
    pending = re.search(
        r"shows two acts and ([\d.]+ g) pending: ([\d.]+ g).*? ([\d.]+ g) for the bus", section, re.DOTALL
    )
    assert pending is not None
    assert f"<dt>Pending</dt><dd>{pending[1]}</dd>" in account
    assert account.count('<td class="number">') == 2
    for grams in pending.groups()[1:]:
        assert f'<td class="number">{grams}</td>' in account


def follow(desk: Desk, blocks: list[Block], terminals: ExitStack) -> None:
    """Run the commands in order; what stands in a text block must be in the answer of the commands before it."""
    output = ""
    for number, block in enumerate(blocks):
        if block.language == "sh" and "background" in block.words:
            terminals.enter_context(desk.running(block.text.strip(), number))
        elif block.language == "sh":
            output = desk.run(block.text)
        elif block.language == "text":
            assert said_in(output, block.text) == [], output


def test_an_answer_that_differs_is_noticed() -> None:
    assert said_in("2   records\n1 quarantined", "2 records\n3 quarantined\n") == ["3 quarantined"]
