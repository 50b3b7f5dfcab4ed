"""Running cases on a feed: each in a world of its own, under a time limit, with an eye on the log. I/O: network, files."""

import ctypes
import logging
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from connectors.base import Description
from connectors.registry import build
from hub.conformance.cases import Case, Group, NotApplicable, Violation
from hub.conformance.catalogue import CASES
from hub.conformance.document import Build
from hub.conformance.endpoint import Endpoint
from hub.conformance.live import LIVE_CASES
from hub.conformance.report import Result, Verdict
from hub.conformance.rig import Rig
from hub.conformance.stage import Stage
from hub.sandbox.platforms.spec import Feed, Spec
from hub.warm_up import warm_up

TIME_LIMIT_S = 60.0
_ENDS_WITHIN_S, _THROWN_AGAIN_S = 10.0, 0.2
_BUILT = ("CON-00", "It is built from the participant document and describes itself")

Tell = Callable[[Result], None]
Subject = TypeVar("Subject")
Leak = Callable[[Subject, list[str]], str]


def name_of(spec: Spec, feed: Feed) -> str:
    return f"{spec.id}/{feed.stream} ({feed.connector})"


def cases_of(only: Collection[Group] = ()) -> list[Case[Rig]]:
    """Return the suite's cases, of some groups or of all."""
    return [case for case in CASES if not only or case.group in only]


def check_feed(
    stage: Stage,
    spec: Spec,
    feed: Feed,
    *,
    cases: Iterable[Case[Rig]] | None = None,
    builder: Build = build,
    tell: Tell = lambda result: None,
    limit_s: float = TIME_LIMIT_S,
) -> list[Result]:
    """Run every case that applies to a feed's connector."""
    subject = name_of(spec, feed)
    results: list[Result] = []
    with TemporaryDirectory(prefix="tanlian-conformance-") as folder:
        make = partial(_make_rig, stage, spec, feed, Path(folder), builder)
        described, broken = _describe(make, subject)
        if described is None:
            tell(broken)
            return [broken]
        _compile()
        for case in CASES if cases is None else cases:
            if not case.applies(described):
                continue
            own = partial(make, small_pages=case.group is not Group.LIFE)
            result = run_case(case, own, subject, limit_s=limit_s, leak=_leak)
            results.append(result)
            tell(result)
    return results


def check_endpoint(endpoint: Endpoint, *, tell: Tell = lambda result: None) -> list[Result]:
    """Run every case that applies to a participant's own endpoint."""
    subject = f"{endpoint.platform.platform_id}/{endpoint.feed.stream}, its own endpoint"
    results = []
    for case in LIVE_CASES:
        if case.applies(endpoint.description):
            results.append(run_case(case, lambda: endpoint, subject))
            tell(results[-1])
    return results


def run_case(
    case: Case[Subject],
    make: Callable[[], Subject],
    subject: str,
    *,
    limit_s: float = TIME_LIMIT_S,
    leak: Leak[Subject] = lambda made, lines: "",
) -> Result:
    """Run one case to its end, or say that it does not end."""
    verdict, detail, made = Verdict.PASSED, "", list[Subject]()
    caught: list[BaseException] = []

    def run() -> None:
        try:
            made.append(make())
            case.run(made[0])
        except BaseException as error:
            caught[:] = [error]  # told below, in the thread that asked

    began = time.monotonic()
    with _listening() as lines:
        thread = threading.Thread(target=copy_context().run, args=(run,), daemon=True)
        thread.start()
        thread.join(limit_s)
    if thread.is_alive():
        _end(thread)
        verdict, detail = Verdict.FAILED, f"It has not come to an end within {limit_s:.0f} s."
    elif caught:
        verdict, detail = _judge(caught[0])
    if verdict is Verdict.PASSED and made and (found := leak(made[0], lines)):
        verdict, detail = Verdict.FAILED, found
    return Result(
        id=case.id,
        title=case.title,
        group=case.group,
        verdict=verdict,
        seconds=time.monotonic() - began,
        subject=subject,
        detail=detail,
    )


@cache
def _compile() -> None:
    """Compile the loops over rows first: where nobody has yet, it takes as long as a case may, and is no connector's fault."""
    warm_up()


class _EndedError(BaseException):
    """Ends a case that does not come to an end by itself; no connector catches it."""


def _end(thread: threading.Thread) -> None:
    """Throw an error into a thread: left alone it would go on asking, in the middle of the cases that follow.

    Again until it ends: what is thrown while a finaliser runs is lost with a word on standard error.
    """
    until = time.monotonic() + _ENDS_WITHIN_S
    while thread.is_alive() and thread.ident is not None and time.monotonic() < until:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(_EndedError))
        thread.join(_THROWN_AGAIN_S)


def _judge(error: BaseException) -> tuple[Verdict, str]:
    if isinstance(error, NotApplicable):
        return Verdict.NOT_APPLICABLE, str(error)
    if isinstance(error, Violation):
        return Verdict.FAILED, str(error)
    if isinstance(error, Exception):
        return Verdict.FAILED, f"It handed out something that nobody can work with ({type(error).__name__}: {error})."
    raise error


def _leak(rig: Rig, lines: list[str]) -> str:
    try:
        for line in lines:
            rig.inspect_text(line, "the log")
    except Violation as violation:
        return str(violation)
    return ""


_made = iter(range(1_000_000_000))


def _make_rig(stage: Stage, spec: Spec, feed: Feed, folder: Path, builder: Build, *, small_pages: bool = True) -> Rig:
    return Rig(stage, spec, feed, folder / str(next(_made)), builder=builder, small_pages=small_pages)


def _describe(make: Callable[..., Rig], subject: str) -> tuple[Description | None, Result]:
    began = time.monotonic()
    verdict, detail, described = Verdict.PASSED, "", None
    try:
        described = make().description
    except Exception as error:
        verdict, detail = Verdict.FAILED, f"{type(error).__name__}: {error}"
    if described is not None and not isinstance(described, Description):
        verdict, detail, described = Verdict.FAILED, "describe() returned no Description.", None
    seconds = time.monotonic() - began
    return described, Result(
        id=_BUILT[0], title=_BUILT[1], group=Group.CONTRACT, verdict=verdict, seconds=seconds, subject=subject, detail=detail
    )  # fmt: skip


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name} {record.getMessage()}")


@contextmanager
def _listening() -> Iterator[list[str]]:
    """Collect everything that is logged, at any level."""
    root, handler = logging.getLogger(), _Lines()
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield handler.lines
    finally:
        root.setLevel(before)
        root.removeHandler(handler)
