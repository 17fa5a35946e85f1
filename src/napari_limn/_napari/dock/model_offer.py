"""The offer to go on with a model that was not saved."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_limn._napari.dock.kept_models import forget_model, keep_model, kept_path
from napari_limn._napari.layers.facts import layer_id, names_by_identity
from napari_limn._napari.layers.plain_text import PlainLabel, set_tip
from napari_limn._napari.layers.words import in_window
from napari_limn._napari.painting.recorder import header_of
from napari_limn._napari.panel.session import Sight
from napari_limn.errors import LimnError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_limn._napari.training.train import TrainWidget
    from napari_limn.model import Model

_OFTEN = 20_000  # milliseconds between two looks for a better model


class ModelOffer(QWidget):
    """Keeps the latest model, and offers that of an earlier session back.

    It is invisible while there is nothing to offer.

    Parameters
    ----------
    viewer
        Of the window.
    train
        What makes and saves models.
    """

    def __init__(self, viewer: ViewerModel, train: TrainWidget) -> None:
        super().__init__()
        self.viewer, self._train, self._sight = viewer, train, Sight()
        self._kept: Model | None = None
        self.sentence = PlainLabel()
        self.sentence.setObjectName("limn-model-offer")
        self.sentence.setWordWrap(True)
        self.back = self._button("Bring back", "back", "Go on with that model", self.bring_back)
        self.forget = self._button("Forget it", "forget", "Remove that model for good", self._forget)
        buttons = QHBoxLayout()
        buttons.addWidget(self.back)
        buttons.addWidget(self.forget)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.sentence)
        column.addLayout(buttons)
        self._timer = QTimer(self)
        self._timer.setInterval(_OFTEN)
        self._timer.timeout.connect(self.keep)
        self._timer.start()
        train.run_box.on_finished.append(self.keep)
        train.controller.on_saved.append(self._saved)
        self.setVisible(False)

    def follow(self, sight: Sight) -> None:
        """Offer the model that was kept of an image."""
        self._sight = sight
        path = self._path(sight.image)
        offered = path is not None and path.exists() and not self._is_settled(sight.image)
        if offered:
            self.sentence.setText("A model of this image was not saved when the window was closed.")
        self.setVisible(offered)

    def keep(self) -> None:
        """Keep the latest model, unless that is done already."""
        model, name = self._train.model, self._train.name
        if model is None or model is self._kept:
            return
        self._kept = model
        path = self._path(self._image_of(name))
        if path is not None:
            threading.Thread(target=_quietly, args=(keep_model, model, path), name="limn-keep").start()

    def bring_back(self) -> None:
        """Offer the model that was kept, as one of this image."""
        from napari_limn.model import Model

        image, path = self._sight.image, self._path(self._sight.image)
        if image is None or path is None:
            return
        try:
            model = Model.load(path)
        except LimnError as error:
            self.sentence.setText(in_window(str(error)))
            return
        models = self._train.session.models
        images = names_by_identity([image, *self._sight.channels])
        models.put(models.free_name(f"{image.name} model"), model, images, self._train.session)
        self.setVisible(False)

    def _forget(self) -> None:
        if (path := self._path(self._sight.image)) is not None:
            forget_model(path)
        self.setVisible(False)

    def _saved(self, name: str) -> None:
        """Keep no model that has a file of its own."""
        self._kept = self._train.session.models.get(name)
        if (path := self._path(self._image_of(name))) is not None:
            forget_model(path)

    def _is_settled(self, image: Image | None) -> bool:
        """Return whether a model of an image is there already."""
        if image is None:
            return True
        return (
            self._train.session.models.of_images(names_by_identity([image, *self._sight.channels]))
            is not None
        )

    def _image_of(self, name: str) -> Image | None:
        """Find the image that a model was trained on."""
        known = self._train.session.models.images_of(name)
        return next((x for x in self.viewer.layers if known and layer_id(x) == known[0]), None)

    @staticmethod
    def _path(image: Image | None) -> Path | None:
        with suppress(LimnError):  # nothing can be painted on it
            return None if image is None else kept_path(header_of(image))
        return None

    def _button(self, text: str, name: str, tip: str, act: Callable[[], None]) -> QPushButton:
        button = QPushButton(text)
        button.setObjectName(f"limn-model-offer-{name}")
        set_tip(button, tip)
        button.clicked.connect(lambda _=False: act())
        return button


def _quietly(keep: Callable[[Model, Path], None], model: Model, path: Path) -> None:
    """Keep a model; a disk that refuses is no reason to disturb."""
    with suppress(LimnError, OSError):
        keep(model, path)
