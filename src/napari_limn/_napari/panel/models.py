"""The models of this session, which the Train and Predict widgets share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QFileDialog

from napari_limn.errors import LimnError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qtpy.QtWidgets import QWidget

    from napari_limn.model import Model

SUFFIX = ".limn"
_FILTER = f"Limn models (*{SUFFIX})"


class Shelf(QObject):
    """Models by name, the newest last."""

    added = Signal(str, object)
    """Emitted with the name of a new model, not when one gets better, and with the window that it came in, None for all; Qt's own, so
    that it forgets closed widgets."""

    def __init__(self) -> None:
        super().__init__()
        self._models: dict[str, Model] = {}
        self._images: dict[str, tuple[str, ...]] = {}

    @property
    def names(self) -> list[str]:
        """Names, the newest first."""
        return list(reversed(self._models))

    def __getitem__(self, name: str) -> Model:
        if name not in self._models:
            raise LimnError("no model is chosen; train one, or load a .limn file.")
        return self._models[name]

    def put(self, name: str, model: Model, images: Sequence[str] = (), window: QWidget | None = None) -> None:
        """Add a model, or replace the one of that name, which came in a window or in all of them (None).

        `images` names the layers that it was trained on, channel by channel.
        """
        new = name not in self._models
        self._models[name], self._images[name] = model, tuple(images)
        if new:
            self.added.emit(name, window)

    def in_order(self, name: str, images: Sequence[str]) -> tuple[str, ...]:
        """Names of layers in the order in which a model was trained on them; as they are given if it was trained on others."""
        known = self._images.get(name, ())
        return known if sorted(known) == sorted(images) else tuple(images)

    def clear(self) -> None:
        """Forget all models."""
        self._models.clear()
        self._images.clear()

    def load(self, path: Path, window: QWidget | None = None) -> str:
        """Add the model of a file, as the newest, in a window or in all of them; returns its name.

        One that is there already under the name of its file is not added twice.
        """
        from napari_limn.model import Model

        model, name = Model.load(path), path.stem
        known = self._models.get(name)
        if known is not None and known.digest == model.digest:
            del self._models[name]
        name = self.free_name(name)
        self.put(name, model, window=window)
        return name

    def free_name(self, stem: str) -> str:
        """`stem`, or `stem 2`, `stem 3`, … where that is taken."""
        number, name = 1, stem
        while name in self._models:
            number += 1
            name = f"{stem} {number}"
        return name


def ask_for_model(parent: QWidget) -> Path | None:
    """Ask for the file of a model."""
    found = QFileDialog.getOpenFileName(parent, "Load a model", "", _FILTER)[0]
    return Path(found) if found else None


def ask_where_to_save(parent: QWidget, name: str) -> Path | None:
    """Ask for a file for a model of that name."""
    dialog = QFileDialog(parent, "Save the model", "", _FILTER)
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.setDefaultSuffix(SUFFIX.removeprefix("."))  # so that it asks before that file is replaced
    dialog.selectFile(f"{name}{SUFFIX}")
    found = dialog.selectedFiles() if dialog.exec() else []
    dialog.deleteLater()
    return Path(found[0]) if found else None


def model_path(path: Path) -> Path:
    """Where to save a model for which somebody chose `path`: ``.limn`` is added where it is missing.

    Raises
    ------
    LimnError
        If there is no such folder, or by that a file of which nobody was asked would be replaced.
    """
    if not path.parent.is_dir():
        raise LimnError(f"{path.parent}: there is no such folder; make it, or choose another.")
    if path.suffix.lower() == SUFFIX:
        return path
    full = path.with_name(path.name + SUFFIX)
    if full.exists():
        raise LimnError(
            f"{full.name}: found a file of that name, expected none; choose {full.name} itself to replace it."
        )
    return full


SHELF = Shelf()
