"""A platform that is not ours, written in another language: its tests exist where Node and its folder are there."""

import os
import shutil

NEEDED = ("node", "npm")
THERE = os.environ.get("TANLIAN_PLATFORM_KIT") and all(shutil.which(name) for name in NEEDED)
collect_ignore = [] if THERE else ["test_platform_kit.py"]
