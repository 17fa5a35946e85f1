"""What every test shares: where the real images are, and a display to fall back on."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

DATA = Path(__file__).parents[2] / "shared" / "data"

if sys.platform == "linux" and not os.environ.get("DISPLAY") and not shutil.which("Xvfb"):
    # Qt aborts the whole run where there is neither a display nor a virtual one
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real images with ground truth."""
    if not DATA.is_dir():
        pytest.skip("the shared real images are not on this machine")
    return DATA
