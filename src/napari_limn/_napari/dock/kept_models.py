"""Models that were not saved, kept in the user's data folder.

No Qt.

Why: a training takes minutes, and a window is closed in a moment. One file is kept for each image, the newest model of it; it goes
when the user saves the model, or forgets it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_limn._napari.panel.models import MODEL_SUFFIX
from napari_limn.annotation.journal.files import journal_paths, user_folder
from napari_limn.annotation.journal.format import SUFFIX

if TYPE_CHECKING:
    from pathlib import Path

    from napari_limn.annotation.journal.format import Header
    from napari_limn.model import Model

_FOLDER = "models"


def kept_path(header: Header) -> Path:
    """Return where the model of an image is kept.

    `header` describes the image, as in a journal of its strokes.
    """
    _, own = journal_paths(header)
    return user_folder() / _FOLDER / (own.name.removesuffix(SUFFIX) + MODEL_SUFFIX)


def keep_model(model: Model, path: Path) -> None:
    """Keep a model, in the place of the last one.

    Raises
    ------
    LimnError
        If the disk does not take it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save(path)


def forget_model(path: Path) -> None:
    """Remove what was kept, if anything was."""
    path.unlink(missing_ok=True)
