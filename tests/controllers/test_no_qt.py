"""What the window decides can be imported, and tested, where there is no window."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
WINDOW = HERE.parents[1] / "src" / "napari_limn" / "_napari"

MODULES = (
    "napari_limn._napari.dock.kept_models",
    "napari_limn._napari.dock.loop_controller",
    "napari_limn._napari.layers.camera",
    "napari_limn._napari.layers.facts",
    "napari_limn._napari.layers.layer_classes",
    "napari_limn._napari.layers.listening",
    "napari_limn._napari.layers.words",
    "napari_limn._napari.objects.objects_controller",
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


def test_every_controller_is_among_them():
    decided = {
        f"napari_limn._napari.{path.parent.name}.{path.stem}" for path in WINDOW.rglob("*_controller.py")
    }
    assert {name.rpartition(".")[2] for name in decided} >= {
        f"{what}_controller" for what in ("train", "predict", "review", "live")
    }
    assert decided <= set(MODULES)


def imported(source: str):
    """Every module that a source imports, and what it takes of one."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                yield from (alias.name for alias in names)
            case ast.ImportFrom(module=str(module), names=names):
                yield from (f"{module}.{alias.name}" for alias in names)


def test_the_tests_here_import_nothing_else_of_the_window():
    for path in HERE.glob("*.py"):
        for name in imported(path.read_text(encoding="utf-8")):
            assert name.partition(".")[0] not in FORBIDDEN - {"torch"}, path.name
            if name.startswith("napari_limn._napari"):
                assert any(f"{name}.".startswith(f"{module}.") for module in MODULES), f"{path.name}: {name}"
