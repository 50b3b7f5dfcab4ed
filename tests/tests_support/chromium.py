"""A real browser, driven over the DevTools protocol, with a passkey device that it simulates itself.

Debian's Chromium, headless, with a profile of its own for each use. Nothing here knows the hub's pages but by what a
person sees: it opens addresses, types into fields, presses buttons, and looks at what is there then.
"""

import base64
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

from websockets.sync.client import ClientConnection, connect

BINARY = shutil.which("chromium")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-port=0",
)  # fmt: skip
LONGEST_S = 60.0


@dataclass
class Tab:
    """One page of the browser."""

    socket: ClientConnection
    session: str
    last: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send one command and return its result."""
        self.last += 1
        self.socket.send(json.dumps({"id": self.last, "sessionId": self.session, "method": method, "params": params}))
        until = time.monotonic() + LONGEST_S
        while True:
            message = json.loads(self.socket.recv(timeout=max(0.1, until - time.monotonic())))
            if message.get("id") == self.last:
                assert "error" not in message, (method, message["error"])
                result: dict[str, Any] = message["result"]
                return result
            self.events.append(message)

    def run(self, script: str) -> Any:
        """Evaluate a script in the page."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, (script, result)
        return result["result"].get("value")

    def open(self, address: str) -> None:
        """Go to an address and wait until the page is there with its script run."""
        self.run("window.left = true")
        self.call("Page.navigate", url=address)
        self.wait_for_next_page()

    def press(self, selector: str) -> None:
        """Press a button as a person does."""
        self.run(f"window.left = true; document.querySelector({json.dumps(selector)}).click()")

    def type(self, selector: str, words: str) -> None:
        self.run(f"document.querySelector({json.dumps(selector)}).value = {json.dumps(words)}")

    def wait_for_next_page(self) -> None:
        self.wait_until("!window.left && document.readyState === 'complete'")

    def wait_until(self, condition: str) -> None:
        """Look again and again until a condition of the page holds; it may be between two pages meanwhile."""
        until = time.monotonic() + LONGEST_S
        while True:
            result = self.call("Runtime.evaluate", expression=condition, returnByValue=True)
            if result["result"].get("value") is True:
                return
            assert time.monotonic() < until, (condition, self.path, self.text)
            Event().wait(0.02)

    @property
    def path(self) -> str:
        return str(self.run("location.pathname + location.search"))

    @property
    def text(self) -> str:
        return str(self.run("document.body.innerText"))

    def add_device(self) -> str:
        """Plug a passkey device in that says yes for a person who is there."""
        self.call("WebAuthn.enable")
        options = {
            "protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
            "isUserVerified": True, "automaticPresenceSimulation": True,
        }  # fmt: skip
        return str(self.call("WebAuthn.addVirtualAuthenticator", options=options)["authenticatorId"])

    def look(self, path: Path, *, width: int, dark: bool = False) -> None:
        """Take a picture of the whole page at a width."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        scheme = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.call("Emulation.setEmulatedMedia", features=scheme)
        taken = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(taken["data"]))


@contextmanager
def chromium() -> Iterator[Tab]:
    """Start a browser with a fresh profile and give its first page."""
    assert BINARY is not None
    with TemporaryDirectory(prefix="tanlian-chromium-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [BINARY, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            with connect(_address(process, Path(profile) / "DevToolsActivePort"), max_size=None, proxy=None) as socket:
                yield _first_page(socket)
        finally:
            process.terminate()
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _address(process: "subprocess.Popen[bytes]", file: Path) -> str:
    """Wait for the file in which the browser says where it listens."""
    until = time.monotonic() + LONGEST_S
    while True:
        lines = file.read_text().splitlines() if file.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        assert process.poll() is None, "the browser ended at once"
        assert time.monotonic() < until, "the browser does not start"
        Event().wait(0.02)


def _first_page(socket: ClientConnection) -> Tab:
    socket.send(json.dumps({"id": 1, "method": "Target.createTarget", "params": {"url": "about:blank"}}))
    target = _answer(socket, 1)["targetId"]
    params = {"targetId": target, "flatten": True}
    socket.send(json.dumps({"id": 2, "method": "Target.attachToTarget", "params": params}))
    tab = Tab(socket, _answer(socket, 2)["sessionId"], last=2)
    tab.call("Page.enable")
    return tab


def _answer(socket: ClientConnection, number: int) -> dict[str, Any]:
    while True:
        message = json.loads(socket.recv(timeout=LONGEST_S))
        if message.get("id") == number:
            result: dict[str, Any] = message["result"]
            return result
