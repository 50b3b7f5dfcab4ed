"""Where signed drops lie: a directory of this machine, or (see `drop_sftp.py`) one behind SFTP. I/O: files.

Whoever uploads may be hostile: names are opened below the folder's own descriptor, links are not followed, only regular
files are read, and none is read further than its bound.
"""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from connectors.base import RetryLater, SetAside
from connectors.profiles.drop_manifest import READY

RETRY_S = 300
MAX_FOLDERS = 100_000

ReadFile = Callable[[str, int], bytes]
"""Read one file of an opened folder: its name and the most bytes that it may have.

Raises:
    SetAside: `file_missing`, `file_not_regular` or `file_too_large`.
    RetryLater: the place cannot be read now.
"""


class DropReader(Protocol):
    """A place that is open for reading, for as long as one drop takes."""

    def list_folders(self) -> Sequence[str]:
        """List the names of the folders directly below the root. A link to a folder is none."""
        ...

    def is_ready(self, folder: str) -> bool: ...

    def enter(self, folder: str) -> AbstractContextManager[ReadFile]: ...


class DropPlace(Protocol):
    def find_faults(self) -> tuple[str, ...]:
        """Say what an operator should know before the first run; nothing if the place can be read."""
        ...

    def open_reader(self) -> AbstractContextManager[DropReader]:
        """Open the place.

        Raises:
            RetryLater: it cannot be reached now.
            Stop: it is not the place that was agreed (address, host key, credentials).
        """
        ...


@dataclass(frozen=True, slots=True)
class LocalPlace:
    """A directory of this machine, for instance where an SFTP server of the hub's own puts what is uploaded."""

    root: Path

    def find_faults(self) -> tuple[str, ...]:
        return () if self.root.is_dir() else ("root_missing",)

    @contextmanager
    def open_reader(self) -> Iterator[DropReader]:
        yield _LocalReader(self.root)


@dataclass(frozen=True, slots=True)
class _LocalReader:
    root: Path

    def list_folders(self) -> Sequence[str]:
        try:
            with os.scandir(self.root) as entries:
                names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        except OSError:
            raise RetryLater("root_unreadable", after_s=RETRY_S) from None
        return names

    def is_ready(self, folder: str) -> bool:
        try:
            return stat.S_ISREG(os.lstat(self.root / folder / READY).st_mode)
        except FileNotFoundError:
            return False
        except OSError:
            raise RetryLater("root_unreadable", after_s=RETRY_S) from None

    @contextmanager
    def enter(self, folder: str) -> Iterator[ReadFile]:
        try:
            within = os.open(self.root / folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            raise RetryLater("root_unreadable", after_s=RETRY_S) from None
        try:
            yield lambda name, most: _read_file(within, name, most)
        finally:
            os.close(within)


def _read_file(within: int, name: str, most: int) -> bytes:
    # Not blocking, because a named pipe of that name would hold the worker until somebody writes to it.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(name, flags, dir_fd=within)
    except FileNotFoundError:
        raise SetAside("file_missing") from None
    except OSError:
        raise SetAside("file_not_regular") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise SetAside("file_not_regular")
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise SetAside("file_too_large")
    return data
