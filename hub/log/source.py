"""Where a verifier reads a log from: a folder or an address. I/O: reads files or fetches over HTTP."""

from collections.abc import Callable
from pathlib import Path

import httpx

from hub.errors import TanlianError

# Gives the bytes at a path below the log's prefix, or None if there are none.
Fetch = Callable[[str], bytes | None]

MAX_RESOURCE_BYTES = 256 * (2 + 0xFFFF)  # the largest entry bundle there can be
_TIMEOUT_S = 30.0


class SourceError(TanlianError):
    """The log could not be read, which says nothing about whether it is right; try again."""


def open_source(place: str | Path, *, client: httpx.Client | None = None) -> Fetch:
    """Return a reader of the log at a folder or an http(s) address."""
    text = str(place)
    if text.startswith(("http://", "https://")):
        return _read_address(text.rstrip("/"), client or httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False))
    return _read_folder(Path(place))


def _read_folder(folder: Path) -> Fetch:
    def fetch(path: str) -> bytes | None:
        try:
            with (folder / path).open("rb") as file:
                return file.read(MAX_RESOURCE_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as cause:
            raise SourceError(f"{path} cannot be read") from cause

    return fetch


def _read_address(prefix: str, client: httpx.Client) -> Fetch:
    def fetch(path: str) -> bytes | None:
        try:
            with client.stream("GET", f"{prefix}/{path}") as answer:
                if answer.status_code == httpx.codes.NOT_FOUND:
                    return None
                if answer.status_code != httpx.codes.OK:
                    raise SourceError(f"{path}: HTTP status {answer.status_code}")
                return _read_bounded(answer, path)
        except httpx.HTTPError as cause:
            raise SourceError(f"{path} cannot be fetched: {type(cause).__name__}") from cause

    return fetch


def _read_bounded(answer: httpx.Response, path: str) -> bytes:
    data = bytearray()
    for part in answer.iter_bytes():
        data += part
        if len(data) > MAX_RESOURCE_BYTES:
            raise SourceError(f"{path} is longer than any tile or bundle")
    return bytes(data)
