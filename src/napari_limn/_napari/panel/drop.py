"""A model file that is dropped on the window.

Its model is offered, and its classes go to the strokes.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari import current_viewer

from napari_limn._napari.layers.class_table import chosen_strokes, names_of, restore
from napari_limn._napari.layers.plain_text import notify, notify_error
from napari_limn._napari.layers.words import in_window
from napari_limn._napari.panel.models import MODEL_SUFFIX
from napari_limn._napari.panel.session import session_of, shared_models
from napari_limn.errors import LimnError

if TYPE_CHECKING:
    from collections.abc import Callable

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
