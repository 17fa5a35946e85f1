"""Dialogs that ask for the file of a model."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog

from napari_limn._napari.panel.models import MODEL_SUFFIX
from napari_limn.files.paths import portable_name

if TYPE_CHECKING:
    from qtpy.QtWidgets import QWidget

_FILTER = f"Limn models (*{MODEL_SUFFIX})"


def ask_for_model(parent: QWidget) -> Path | None:
    """Ask for the file of a model."""
    chosen = QFileDialog.getOpenFileName(parent, "Load a model", "", _FILTER)[0]
    return Path(chosen) if chosen else None


def ask_where_to_save(parent: QWidget, name: str) -> Path | None:
    """Ask for a file for a model of that name."""
    dialog = QFileDialog(parent, "Save the model", "", _FILTER)
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.setDefaultSuffix(MODEL_SUFFIX.removeprefix("."))  # so that it asks before that file is replaced
    dialog.selectFile(portable_name(name, MODEL_SUFFIX))
    chosen = dialog.selectedFiles() if dialog.exec() else []
    dialog.deleteLater()
    return Path(chosen[0]) if chosen else None
