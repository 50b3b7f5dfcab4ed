"""What tests of several parts of the hub share."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import mappings.load

# A machine without the browser runs all else; CI installs it, and tests/conftest.py fails a run there without it.
collect_ignore = [] if shutil.which("chromium") else ["test_hub_chromium_passkeys.py"]
# The acceptance kit for OAuth is written for Node and lives outside: its test exists where both are there.
if not (shutil.which("node") and shutil.which("npm") and os.environ.get("TANLIAN_FAPI_KIT")):
    collect_ignore.append("test_hub_fapi_kit.py")
FIRST, SECOND = "beijing-green-life.acts.v1", "beijing-green-life.acts.v2"


@pytest.fixture
def corrected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The mapping's next version, which also knows the scene RIDE."""
    files = tmp_path / "mappings"
    shutil.copytree(mappings.load.FILES, files)
    text = (files / f"{FIRST}.toml").read_text().replace(FIRST, SECOND)
    text = text.replace('BIKE = "MOB-BIKE"', 'BIKE = "MOB-BIKE"\nRIDE = "MOB-BIKE"')
    text = text.replace('{ path = "scene", equals = "BIKE" }', '{ path = "scene", in = ["BIKE", "RIDE"] }')
    (files / f"{SECOND}.toml").write_text(text)
    monkeypatch.setattr(mappings.load, "FILES", files)
    mappings.load.load_mapping.cache_clear()
    yield SECOND
    mappings.load.load_mapping.cache_clear()
