"""A Spark session for clearing, and its jobs with their progress. I/O: starts Java, talks to a cluster.

The only module that knows Spark, which is an optional part: `pip install 'tanlian[spark]'` and a Java runtime.
"""

import os
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pyarrow as pa

from hub.clearing.engines.blobs import DDL, Blob, Kind
from hub.errors import TanlianError, UsageProblem

Progress = Callable[[str, int, int], None]
LOOK_AGAIN_S = 0.2
SETTINGS = {
    "spark.ui.enabled": "false",
    "spark.ui.showConsoleProgress": "false",
    "spark.log.level": "OFF",
    # Each task has one core; without this, every one of them would start a thread on each.
    "spark.executorEnv.POLARS_MAX_THREADS": "1",
    "spark.rdd.compress": "true",
}
HERE = {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
SQL_SETTINGS = {
    # Places must not be put together, and a row is up to a megabyte.
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "64",
}


class ClusterError(TanlianError):
    """The cluster did not finish its work; the same call may succeed later."""


@contextmanager
def spark_session(master: str) -> Iterator[Any]:
    """Give a session of its own on the running Spark of this process, or start one and end it with the block.

    Args:
        master: `local[*]`, or a cluster's address; not looked at if Spark runs already.

    Raises:
        UsageProblem: there is no PySpark, or no Java.
        ClusterError: Spark does not start.
    """
    try:
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError as cause:
        raise UsageProblem("the engine spark needs PySpark: pip install 'tanlian[spark]'") from cause
    running = SparkSession.getActiveSession()
    is_here = master.startswith("local")
    if is_here:
        # By itself, Spark takes the first python3 of the path, and listens on all addresses.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
    if running is None:
        builder = SparkSession.builder.master(master).appName("tanlian clear")
        for name, value in (SETTINGS | (HERE if is_here else {})).items():
            builder = builder.config(name, value)
        try:
            running, ends = builder.getOrCreate(), True
        except PySparkException as cause:
            raise UsageProblem("Spark does not start: it needs a Java runtime, 17 or newer") from cause
        except Exception as cause:
            raise ClusterError(f"Spark does not start on {master}: {_in_a_line(cause)}") from cause
    else:
        ends = False
    session = running.newSession()
    for name, value in SQL_SETTINGS.items():
        session.conf.set(name, value)
    try:
        yield session
    finally:
        if ends:
            running.stop()


def map_blobs(frame: Any, work: Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]) -> Any:
    """Return a frame of blobs: what the executors make of each partition of another."""
    return frame.mapInArrow(work, DDL)


def collect_blobs(session: Any, frame: Any, steps: tuple[str, ...], report: Progress) -> list[Blob]:
    """Run the job of a frame of few blobs and return them; `steps` name its last stages.

    Raises:
        ClusterError: the cluster gave up; nothing that it wrote counts.
    """
    context, group = session.sparkContext, f"tanlian-{uuid4().hex}"

    def run() -> list[Any]:
        context.setJobGroup(group, " and ".join(steps))
        return list(frame.select("place", "kind", "number", "content").collect())

    with ThreadPoolExecutor(1) as pool:
        task = pool.submit(run)
        try:
            while wait([task], LOOK_AGAIN_S).not_done:
                for step, done, whole in _seen(context.statusTracker(), group, steps):
                    report(step, done, whole)
            rows = task.result()
        except BaseException as cause:
            context.cancelJobGroup(group)
            if isinstance(cause, Exception) and type(cause).__module__.startswith(("py4j", "pyspark")):
                raise ClusterError(f"the cluster gave up: {_in_a_line(cause)}") from cause
            raise
    for step, done, whole in _seen(context.statusTracker(), group, steps):
        report(step, done, whole)
    return [Blob(place=r.place, kind=Kind(r.kind), number=r.number, content=bytes(r.content)) for r in rows]


def _seen(tracker: Any, group: str, steps: tuple[str, ...]) -> Iterator[tuple[str, int, int]]:
    """Give what is done of the stages that Spark still remembers."""
    jobs = [tracker.getJobInfo(job) for job in tracker.getJobIdsForGroup(group)]
    stages = sorted(stage for job in jobs if job is not None for stage in job.stageIds)
    for step, stage in zip(reversed(steps), reversed(stages), strict=False):
        info = tracker.getStageInfo(stage)
        if info is not None:
            yield step, info.numCompletedTasks, info.numTasks


def _in_a_line(cause: BaseException) -> str:
    """Return what a long text of Spark's is about: of a failure in Python the last line, of others the first."""
    # Py4J keeps what Java said apart from its own text.
    thrown = getattr(cause, "java_exception", None)
    text = str(cause) if thrown is None else str(thrown.getMessage())
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith((" ", "\t"))]
    if not lines:
        return type(cause).__name__
    is_python = type(cause).__name__ == "PythonException"
    return [line for line in lines if not is_python or "SQLSTATE" not in line][-1 if is_python else 0][:300]
