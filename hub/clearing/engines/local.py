"""Bulk clearing on this machine: files in, files out, no database. I/O: reads and writes files.

Three passes. Records are read, checked and laid aside by bucket; each range of buckets is sorted and watched for what
must be learnt over all; then each range is cleared and written. Memory holds a few ranges, whatever the number of
records, and threads share the ranges. Nothing depends on the order of files, on their layout, or on who comes first.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from os import process_cpu_count
from pathlib import Path
from time import perf_counter
from typing import Any, TypeVar

import numpy as np
import polars as pl

__all__ = ["clear_files"]
