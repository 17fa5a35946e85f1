"""From a dropped image to its first answer."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Image, Labels
from qtpy.QtCore import QObject, QTimer, Signal  # type: ignore[attr-defined]

from napari_limn._napari.dock.loop_controller import LoopController
from napari_limn._napari.layers.facts import facts_of
from napari_limn._napari.layers.layers import active_layer, image_of, is_map, is_painted
from napari_limn._napari.layers.listening import call_all, connected
from napari_limn._napari.layers.strokes_layer import strokes_of
from napari_limn._napari.painting.recorder import journals_of
from napari_limn._napari.panel.preferences import preferred
from napari_limn.annotation.classes import number_objects
from napari_limn.annotation.legend import Legend, painted_values

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from qtpy.QtWidgets import QWidget

    from napari_limn._napari.panel.session import Sight
    from napari_limn._napari.training.train import TrainWidget
    from napari_limn.errors import LimnError

_CLASSES = {1: "background", 2: "object"}  # of new strokes, until the user names them
_MOMENT = 60  # milliseconds: a stroke is announced in many pieces


class Loop(QObject):
    """Follows the window, and begins by itself what needs no press.

    Parameters
    ----------
    viewer
        Whose layers are followed.
    train
        What goes live.
    owner
        The dock, with which it ends.
    """

    moved = Signal(object)
    """Something else is worked on: with what."""

    def __init__(self, viewer: ViewerModel, train: TrainWidget, owner: QWidget) -> None:
        super().__init__(owner)
        self.viewer, self.train, self.owner = viewer, train, owner
        self.controller = LoopController(self, live=preferred("live", True))
        self._opened: list[Image] = []  # since the last look
        self._painted: Labels | None = None
        self._timer, self._stroke = _once(self, 0, self._look), _once(self, _MOMENT, self._on_stroke)
        self._listening: list[Callable[[], object]] = []
        train.live.changed.connect(lambda on: self.controller.switched(on=on))
        train.run_box.on_finished.append(self.controller.run_ended)
        owner.destroyed.connect(partial(call_all, self._listening))

    def begin(self) -> None:
        """Follow the window from now on, and look at what is there."""
        layers = self.viewer.layers
        self._listening += [
            connected(layers.events.inserted, self._on_inserted),
            connected(layers.events.removed, self._on_removed),
            connected(layers.selection.events.active, self._on_selected),
        ]
        for layer in layers:
            if type(layer) is Labels:
                layer.events.paint.connect(self._on_paint)
        images = [x for x in layers if type(x) is Image and not is_map(x)]
        chosen = active_layer(self.viewer)
        self._opened = [] if chosen is not None and image_of(self.viewer, chosen) else images[-1:]
        if chosen in images:
            self._opened = [chosen]
        self._timer.start()

    def end(self) -> None:
        """Follow the window no more."""
        call_all(self._listening)

    # ---- what is listened to -------------------------------------------------------------------------------------
    def _on_inserted(self, event: Any) -> None:
        layer = event.value
        if type(layer) is Image and not is_map(layer):
            self._opened.append(layer)
        elif type(layer) is Labels:
            layer.events.paint.connect(self._on_paint)  # napari connects it once only
        self._timer.start()

    def _on_removed(self, event: Any) -> None:
        self._opened = [x for x in self._opened if x is not event.value]
        self._timer.start()

    def _on_selected(self, event: Any = None) -> None:
        self._timer.start()

    def _look(self) -> None:
        """Decide once for all layers that came and went together."""
        opened, self._opened = self._opened, []
        if opened:
            self.controller.opened(opened)
            return
        self.controller.layers_changed()
        layer = active_layer(self.viewer)
        if layer is not None:
            self.controller.selected(layer, is_image=type(layer) is Image and not is_map(layer))

    def _on_paint(self, event: Any) -> None:
        self._painted = event.source
        self._stroke.start()

    def _on_stroke(self) -> None:
        layer, self._painted = self._painted, None
        if layer is not None and layer in self.viewer.layers and is_painted(layer):
            self.controller.painted(layer)

    # ---- what the controller asks for ----------------------------------------------------------------------------
    def strokes_of(self, image: Any) -> Any:
        """Return the layer that is painted on for an image."""
        return strokes_of(self.viewer, image)

    def image_of(self, layer: Any) -> Any:
        """Return the image that a layer belongs to."""
        if (image := image_of(self.viewer, layer)) is not None:
            return image
        images = (x for x in reversed(self.viewer.layers) if type(x) is Image and not is_map(x))
        return next((x for x in images if strokes_of(self.viewer, x) is layer), None)

    def is_there(self, layer: Any) -> bool:
        """Return whether the window has a layer."""
        return layer in self.viewer.layers

    def channels_of(self, image: Any) -> tuple[Any, ...]:
        """Return the other layers that were opened as channels of an image."""
        shared = facts_of(image).channels
        if shared is None:
            return ()
        return tuple(x for x in self.viewer.layers if x is not image and facts_of(x).channels == shared)

    def new_strokes(self, image: Any) -> Any:
        """Make a layer to paint on."""
        journals = journals_of(self.owner, self.viewer)
        return None if journals is None else journals.new_layer(image, Legend(_CLASSES))

    def take_up(self, strokes: Any) -> None:
        """Choose a layer, and the brush."""
        if strokes is not None:
            self.viewer.layers.selection.active = strokes
            strokes.mode = "paint"

    def show(self, sight: Sight) -> None:
        """Let all sections follow."""
        self.moved.emit(sight)

    def classes_painted(self, strokes: Any) -> int:
        """Count the classes with paint; none where values number objects."""
        values = (painted_values(strokes.data) or set()) - {0}
        return 0 if number_objects(values) else len(values)

    @property
    def live_image(self) -> Any:
        """Return the image of the live run under way."""
        run = self.train.live_run
        return run.images[0] if run is not None and self.train.controller.live else None

    @property
    def busy(self) -> bool:
        """Return whether a training is under way."""
        return self.train.run_box.running

    def go_live(self) -> None:
        """Turn the switch on, as the user would."""
        self.train.live.value = True

    def end_live(self) -> None:
        """Stop the live run; the switch goes off with it."""
        self.train.run_box.stop()

    def report(self, error: LimnError) -> None:
        """Show why there are no strokes."""
        self.train.run_box.report(error)


def _once(parent: QObject, milliseconds: int, act: Callable[[], object]) -> QTimer:
    timer = QTimer(parent)
    timer.setSingleShot(True)
    timer.setInterval(milliseconds)
    timer.timeout.connect(act)
    return timer
