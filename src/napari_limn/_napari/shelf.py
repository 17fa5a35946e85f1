"""The models of this session, which the Train and Predict widgets share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_limn.errors import LimnError

if TYPE_CHECKING:
    from pathlib import Path

    from napari_limn.model import Model


class Shelf(QObject):
    """Models by name, the newest last."""

    added = Signal(str)
    """Emitted with the name of a new model, not when one gets better; Qt's own, so that it forgets closed widgets."""

    def __init__(self) -> None:
        super().__init__()
        self._models: dict[str, Model] = {}

    @property
    def names(self) -> list[str]:
        """Names, the newest first."""
        return list(reversed(self._models))

    def __getitem__(self, name: str) -> Model:
        if name not in self._models:
            raise LimnError("no model is chosen; train one, or load a .limn file.")
        return self._models[name]

    def put(self, name: str, model: Model) -> None:
        """Add a model, or replace the one of that name."""
        new = name not in self._models
        self._models[name] = model
        if new:
            self.added.emit(name)

    def clear(self) -> None:
        """Forget all models."""
        self._models.clear()

    def load(self, path: Path) -> str:
        """Add the model of a file, as the newest; returns its name.

        One that is there already under the name of its file is not added twice.
        """
        from napari_limn.model import Model

        model, name = Model.load(path), path.stem
        known = self._models.get(name)
        if known is not None and known.digest == model.digest:
            del self._models[name]
        name = self.free_name(name)
        self.put(name, model)
        return name

    def free_name(self, stem: str) -> str:
        """`stem`, or `stem 2`, `stem 3`, … where that is taken."""
        number, name = 1, stem
        while name in self._models:
            number += 1
            name = f"{stem} {number}"
        return name


SHELF = Shelf()
