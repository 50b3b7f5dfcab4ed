"""Would the tests of the rules notice a bug? Two dozen are planted, one at a time, into a copy of the kernel.

The copy runs as plain Python (NUMBA_DISABLE_JIT), because compiling it anew for every bug would take minutes.
"""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
BUGS = tomllib.loads((HERE / "planted_bugs.toml").read_text("utf-8"))["bug"]
NOTICERS = ("rules", "amounts", "live", "customs", "facts", "doubts")


def copy_kernel(folder: Path) -> None:
    """Lay out what the noticing tests need: the kernel and these tests as copies, the standards as they are."""
    (folder / "hub").mkdir()
    (folder / "hub" / "__init__.py").touch()
    no_code = shutil.ignore_patterns("__pycache__", "engines")
    shutil.copytree(ROOT / "hub" / "clearing", folder / "hub" / "clearing", ignore=no_code)
    (folder / "standards").symlink_to(ROOT / "standards")
    (folder / "checks").mkdir()
    for name in ("conftest.py", *(f"test_clearing_{noticer}.py" for noticer in NOTICERS)):
        shutil.copy(HERE / name, folder / "checks")


def run_noticers(folder: Path, noticers: tuple[str, ...] = NOTICERS) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "pytest", "-x", "-q", "-c", "/dev/null", "--rootdir", str(folder)]
    # Without drawn cases: as plain Python they would take most of the time.
    command += ["-k", "not never_matters and not in_any_order"]
    command += ["-p", "no:xdist", "-p", "no:cacheprovider", "-p", "no:randomly"]
    command += [str(folder / "checks" / f"test_clearing_{noticer}.py") for noticer in noticers]
    environment = os.environ | {"PYTHONPATH": str(folder), "NUMBA_DISABLE_JIT": "1"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def test_the_sound_kernel_runs_as_plain_python(tmp_path: Path) -> None:
    copy_kernel(tmp_path)
    done = run_noticers(tmp_path)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]


@pytest.mark.parametrize("bug", BUGS, ids=[bug["name"] for bug in BUGS])
def test_a_planted_bug_is_noticed(bug: dict[str, str], tmp_path: Path) -> None:
    copy_kernel(tmp_path)
    file = tmp_path / "hub" / "clearing" / "kernel" / bug["file"]
    source = file.read_text("utf-8")
    assert source.count(bug["sound"]) == 1, f"{bug['file']} no longer says {bug['sound']!r}: plant the bug anew"
    file.write_text(source.replace(bug["sound"], bug["broken"]), "utf-8")
    done = run_noticers(tmp_path, (bug["noticed_by"],))
    assert done.returncode == 1, f"nobody noticed: {done.stdout[-2000:]}{done.stderr[-1000:]}"
    assert "1 failed" in done.stdout, done.stdout[-2000:]
