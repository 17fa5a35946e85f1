"""What the window decides can be imported, and tested, where there is no window."""

from __future__ import annotations

import subprocess
import sys

MODULES = (
    "napari_limn._napari.dock.loop_controller",
    "napari_limn._napari.layers.camera",
    "napari_limn._napari.layers.facts",
    "napari_limn._napari.layers.layer_classes",
    "napari_limn._napari.layers.listening",
    "napari_limn._napari.painting.class_choice",
    "napari_limn._napari.painting.click",
    "napari_limn._napari.painting.journalling",
    "napari_limn._napari.panel.choices",
    "napari_limn._napari.panel.models",
    "napari_limn._napari.panel.run_view",
    "napari_limn._napari.panel.session",
    "napari_limn._napari.training.live_controller",
    "napari_limn._napari.training.run",
    "napari_limn._napari.training.train_controller",
    "napari_limn._napari.training.train_view",
    "napari_limn._napari.prediction.audit_progress",
    "napari_limn._napari.prediction.predict_controller",
    "napari_limn._napari.prediction.predict_view",
    "napari_limn._napari.prediction.review_controller",
    "napari_limn._napari.prediction.review_view",
)
FORBIDDEN = {"napari", "qtpy", "PyQt5", "PyQt6", "PySide2", "PySide6", "magicgui", "superqt", "dask", "torch"}


def test_decisions_import_neither_qt_nor_napari():
    code = (
        "import importlib, sys\n"
        f"for name in {MODULES!r}: importlib.import_module(name)\n"
        "print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "napari_limn" in imported.split()
    assert not FORBIDDEN & set(imported.split())
