"""Drafts of clearing policies: the one in use with some lines changed."""

import re
from pathlib import Path

from standards.policies import policy_file
from standards.policy import CURRENT_POLICY

NO_RIDES = (r'(behaviour = "MOB-BIKE"\nmax_quantity = )\d+', r"\g<1>1")
"""Two kilometres by bike are more than one act can be: held instead of counted."""


def draft(folder: Path, *changes: tuple[str, str], version: str = "clearing-2099.1") -> Path:
    """Write a draft below a folder; each change is a pattern that must be found once, and what takes its place."""
    told = policy_file(CURRENT_POLICY).read_text(encoding="utf-8")
    for pattern, by in ((r'^version = ".*"', f'version = "{version}"'), *changes):
        told, found = re.subn(pattern, by, told, count=1, flags=re.MULTILINE)
        assert found == 1, pattern
    path = folder / "draft.toml"
    path.write_text(told, encoding="utf-8")
    return path
