"""Files of models, dropped or asked for in a dialog.

The model of a file that is dropped is offered, and its classes go to the strokes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari import current_viewer
from qtpy.QtWidgets import QFileDialog

from napari_limn._napari.layers.class_table import chosen_strokes, names_of, restore
from napari_limn._napari.layers.plain_text import notify, notify_error
from napari_limn._napari.layers.words import in_window
from napari_limn._napari.panel.models import MODEL_SUFFIX
from napari_limn._napari.panel.session import session_of, shared_models
from napari_limn.errors import LimnError
from napari_limn.files.paths import portable_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtWidgets import QWidget

_FILTER = f"Limn models (*{MODEL_SUFFIX})"

NO_LAYER: list[tuple[Any, ...]] = [(None,)]
"""For napari: a file was read and brings no layer."""


def get_model_reader(path: str | list[str]) -> Callable[[str | list[str]], list[tuple[Any, ...]]] | None:
    """Return the reader for model files.

    None if one of the paths is something else.
    """
    paths = [path] if isinstance(path, str) else path
    return read_models if paths and all(Path(p).suffix.lower() == MODEL_SUFFIX for p in paths) else None


def read_models(path: str | list[str]) -> list[tuple[Any, ...]]:
    """Offer the models of files, the last one chosen.

    A file that is none is refused in a sentence in the window.
    """
    for one in [path] if isinstance(path, str) else path:
        try:
            notify(take(Path(one)))
        except LimnError as error:
            notify_error(in_window(str(error)))
    return NO_LAYER


def take(path: Path) -> str:
    """Offer the model of a file; return what was done.

    The strokes get its classes.

    Raises
    ------
    LimnError
        If the file is no model, or damaged.
    """
    viewer = current_viewer()
    strokes = None if viewer is None else chosen_strokes(viewer)
    before = None if strokes is None else names_of(strokes)
    models = shared_models()  # chosen in the current window; other windows offer it
    name = models.load(path, None if viewer is None else session_of(viewer))
    said = f"The model “{name}” is ready: Predict labels images with it, Train takes it further."
    if strokes is not None:
        classes = models[name].spec.classes
        restore(strokes, classes)
        if names_of(strokes) != before:
            said += f" “{strokes.name}” has its classes now: {', '.join(classes.names)}."
    return said


# ---- dialogs ----------------------------------------------------------------------------------------------------------
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
