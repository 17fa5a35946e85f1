"""The models that can be predicted with, by name.

No Qt: controllers use it, too.
"""

from __future__ import annotations

from types import MethodType
from typing import TYPE_CHECKING
from weakref import WeakMethod

from napari_limn.errors import LimnError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from napari_limn.model import Model

MODEL_SUFFIX = ".limn"


class ModelRegistry:
    """Models by name, the newest last.

    All windows share one: a model that was trained in one window is offered in every other, see
    :mod:`napari_limn._napari.panel.session`.
    """

    def __init__(self) -> None:
        self._models: dict[str, Model] = {}
        self._images: dict[str, tuple[str, ...]] = {}
        self._listeners: list[Callable[[], Callable[[str, object], object] | None]] = []

    @property
    def names(self) -> list[str]:
        """Give the names, the newest first."""
        return list(reversed(self._models))

    def __getitem__(self, name: str) -> Model:
        if name not in self._models:
            raise LimnError("no model is chosen; train one, or load a .limn file.")
        return self._models[name]

    def get(self, name: str) -> Model | None:
        """Return the model of that name, None if there is none."""
        return self._models.get(name)

    def put(self, name: str, model: Model, images: Iterable[str] = (), origin: object = None) -> None:
        """Add a model, or replace the one of that name.

        Parameters
        ----------
        images
            Identities of the layers that it was trained on, channel by channel.
        origin
            The session of the window that it came in; None for a model that came in all of them.
        """
        new = name not in self._models
        self._models[name], self._images[name] = model, tuple(images)
        if new:
            for held in list(self._listeners):
                if (listener := held()) is not None:
                    listener(name, origin)

    def listen(self, listener: Callable[[str, object], object]) -> Callable[[], None]:
        """Call `listener` for each new model; return what ends it.

        It gets the name and the session that the model came in.

        It is not called when a model gets better: a choice made by hand would be undone every two seconds. A method is held
        weakly, so that nothing here keeps a widget.
        """
        held = WeakMethod(listener) if isinstance(listener, MethodType) else lambda: listener
        self._listeners.append(held)

        def end() -> None:
            if held in self._listeners:
                self._listeners.remove(held)

        return end

    def images_of(self, name: str) -> tuple[str, ...]:
        """Return the identities of the images that a model was trained on."""
        return self._images.get(name, ())

    def of_images(self, images: Iterable[str]) -> str | None:
        """Return the newest model that was trained on these images.

        They are given by identity, channel by channel; None if there is no such model.
        """
        wanted = tuple(images)
        return next((name for name in self.names if self._images.get(name) == wanted and wanted), None)

    def order_note(self, name: str, images: Mapping[str, str]) -> str | None:
        """Return a warning if the channels have another order.

        That is, if a model was trained on these images in another one; else None. `images` are their names by identity, channel by
        channel.
        """
        known = self._images.get(name, ())
        if sorted(known) != sorted(images) or known == tuple(images):
            return None
        return (
            f"found the channels {', '.join(images.values())}, expected {', '.join(images[one] for one in known)} as in training; "
            f"choose “{images[known[0]]}” as Image, and bring the others into that order in the layer list."
        )

    def clear(self) -> None:
        """Forget all models."""
        self._models.clear()
        self._images.clear()

    def load(self, path: Path, origin: object = None) -> str:
        """Add the model of a file, as the newest; return its name.

        One that is there already under the name of its file is not added twice. `origin` is as in :meth:`put`.
        """
        from napari_limn.model import Model

        model, name = Model.load(path), path.stem
        known = self._models.get(name)
        if known is not None and known.digest == model.digest:
            del self._models[name]
        name = self.free_name(name)
        self.put(name, model, origin=origin)
        return name

    def free_name(self, stem: str) -> str:
        """Return `stem`, or `stem 2`, `stem 3`, … where that is taken."""
        number, name = 1, stem
        while name in self._models:
            number += 1
            name = f"{stem} {number}"
        return name


def model_path(path: Path) -> Path:
    """Return where to save a model: ``.limn`` is added if missing.

    Raises
    ------
    LimnError
        If there is no such folder, or the longer name is that of a file that the dialog did not ask about.
    """
    if not path.parent.is_dir():
        raise LimnError(f"{path.parent}: there is no such folder; make it, or choose another.")
    if path.suffix.lower() == MODEL_SUFFIX:
        return path
    full = path.with_name(path.name + MODEL_SUFFIX)
    if full.exists():
        raise LimnError(
            f"{full.name}: found a file of that name, expected none; choose {full.name} itself to replace it."
        )
    return full
