"""Controllers decide without Qt: nothing that they import knows a window."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT_QT = [
    "panel.choices",
    "panel.models",
    "panel.session",
    "training.live_controller",
    "training.run",
    "training.train_controller",
    "training.train_view",
    "prediction.audit_progress",
    "prediction.predict_controller",
    "prediction.predict_view",
    "prediction.review_controller",
    "prediction.review_view",
]


@pytest.mark.parametrize("together", [WITHOUT_QT], ids=["all"])
def test_controllers_import_no_window(together):
    code = (
        "import sys\n"
        + "".join(f"import napari_limn._napari.{name}\n" for name in together)
        + "print(*sorted({'napari', 'qtpy', 'magicgui', 'superqt', 'torch', 'PyQt6', 'PySide6'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
