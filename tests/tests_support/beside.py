"""Things that happen beside a test, in threads of their own, and gates to hold them at."""

from collections.abc import Callable
from threading import Event, Thread
from typing import Any

PATIENCE_S = 30.0


class Gate:
    """Holds a thread at one place until the test lets it go on."""

    def __init__(self) -> None:
        self.reached, self.opened = Event(), Event()

    def hold(self) -> None:
        self.reached.set()
        assert self.opened.wait(PATIENCE_S), "nobody opened the gate"


class Running:
    """Something that runs beside the test and whose failure is the test's."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.failure: BaseException | None = None
        self.done = Event()
        self._work = work
        self._thread = Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as failure:
            self.failure = failure
        finally:
            self.done.set()

    def end(self) -> None:
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        if self.failure is not None:
            raise self.failure
