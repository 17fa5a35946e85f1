"""Live mode in the window: what is painted, and its preview."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QTimer

from napari_limn._napari.layers.class_table import Naming, set_legend
from napari_limn._napari.layers.facts import facts_of
from napari_limn._napari.layers.layers import (
    active_layer,
    empty_labels,
    finest,
    image_volume,
    is_untouched,
    layer_axes,
    placement,
    show_labels,
    volume_of,
)
from napari_limn._napari.layers.listening import call_all, connected, on_moved
from napari_limn._napari.layers.refresh import LayerRefresher, field_of
from napari_limn._napari.training.live_controller import (
    LiveController,
    painted_box,
    refuse_other_axes,
)
from napari_limn.annotation.classes import MOST, Classes
from napari_limn.annotation.legend import Legend
from napari_limn.volume.writing.array_output import ArrayOutput

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from napari.components import ViewerModel
    from napari.layers import Image, Labels
    from qtpy.QtWidgets import QWidget

    from napari_limn._napari.panel.session import Session
    from napari_limn.inference.view import ViewPredictor
    from napari_limn.model import Model
    from napari_limn.runs import Event
    from napari_limn.training.spec import TrainSpec
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.volume import Volume

_LOOK = 100  # milliseconds between two looks at what is on the screen
_OPACITY = 0.4


class LiveRun:
    """The preview of one live run, and what it listens to.

    Parameters
    ----------
    viewer
        Whose canvas is looked at.
    session
        Of its window.
    images
        The image layer, and further channels.
    labels
        The layer that is painted on.
    spec, origin
        How to train, and from which model on.
    stopping
        Returns whether the run is to end; asked in its thread.
    parent
        The widget with which it ends.
    learn
        A training to show the answers of, instead of one that follows the paint.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        session: Session,
        images: Sequence[Image],
        labels: Labels,
        spec: TrainSpec,
        origin: Model | None,
        stopping: Callable[[], bool],
        parent: QWidget,
        learn: Callable[[], Generator[Event, None, Any]] | None = None,
    ) -> None:
        self.viewer, self.images, self.labels = viewer, tuple(images), labels
        self.volume = image_volume(images)
        refuse_other_axes(volume_of(labels), self.volume)
        self._session = session
        array = empty_labels(self.volume, np.uint8 if origin is None else origin.spec.classes.dtype)
        self._show_earlier(array)
        self.controller = LiveController(
            self.volume,
            finest(labels),
            array,
            spec,
            origin,
            self,
            empty=empty_labels,
            threads=session.threads,
            stopping=stopping,
            learn=learn,
        )
        self.controller.field = self._field()
        self._naming = Naming(self.controller.classes_renamed)
        self._naming.follow(labels)
        self.layer = self._preview(array)  # now: a new layer holds the window up, and later the user paints
        self.refresher = LayerRefresher(viewer, self.layer, self.volume.axes.without("C").names, parent)
        self._listening = self._listen()
        self._timer = QTimer(parent)
        self._timer.setInterval(_LOOK)
        self._timer.timeout.connect(self._look)
        self._timer.start()

    def _listen(self) -> list[Callable[[], object]]:
        events = self.labels.events
        return [
            connected(events.paint, self._on_paint),
            connected(events.data, self._on_data),
            connected(events.set_data, self._on_shown),
            *on_moved(self.images[:1], self._on_moved),
        ]

    def events(self) -> Generator[Event, None, Any]:
        """Return the run."""
        return self.controller.events()

    def close(self) -> None:
        """Look no more.

        The preview stays as it is, unless nothing came of it.
        """
        self._timer.stop()
        call_all(self._listening)
        self._naming.stop()
        if self.controller.model is None and self.layer in self.viewer.layers:
            self.viewer.layers.remove(self.layer)

    # ---- what is looked at and painted ---------------------------------------------------------------------------
    def _look(self) -> None:
        if self.images[0] in self.viewer.layers:
            self.controller.field = self._field()

    def _field(self) -> Box:
        return field_of(self.viewer, self.images[0], layer_axes(self.images[0], self.volume))

    def _on_paint(self, event: Any) -> None:
        boxes = [painted_box(atom, self.controller.paint.shape) for atom in event.value]
        self.controller.painted(boxes)
        # napari reports a fill, and a click, before it writes, and the run's thread may look in between
        QTimer.singleShot(0, partial(self.controller.painted, boxes))

    def _on_data(self, event: Any = None) -> None:
        self.controller.replaced(finest(self.labels))

    def _on_shown(self, event: Any = None) -> None:
        self.controller.shown_anew(self._field())

    def _on_moved(self, event: Any = None) -> None:
        """Let the preview lie where the image lies now."""
        for name, value in placement(self.images[0], self.volume).items():
            setattr(self.layer, name, value)

    # ---- what is shown -------------------------------------------------------------------------------------------
    @property
    def legend(self) -> Legend:
        """Return what the layer says of its classes.

        The run's thread asks for it.
        """
        return self._naming.legend or Legend()

    def remember(self, predictor: ViewPredictor) -> None:
        """Note what predicts the preview."""
        self._session.previews.remember(self.layer, self.images, predictor)

    def show_classes(self, classes: Classes) -> None:
        """Show these classes in the preview."""
        set_legend(self.layer, Legend(classes.name_of, classes.color_of))

    def show_array(self, array: Any) -> None:
        """Show another array in the preview."""
        self.layer.data = array

    def block_done(self, box: Box) -> None:
        """Show a block that is done, if it is in sight."""
        self.refresher.block_done(box)

    def _show_earlier(self, array: Any) -> None:
        """Begin with what the last preview of the image shows.

        Else there would be nothing to see until the first answer.
        """
        for layer in self.viewer.layers:
            facts = facts_of(layer)
            if facts.kind == "live" and facts.belongs_to(self.images[0]) and is_untouched(layer):
                earlier = finest(layer)
                if isinstance(earlier, np.ndarray) and (earlier.shape, earlier.dtype) == (
                    array.shape,
                    array.dtype,
                ):
                    array[...] = earlier

    def _preview(self, array: Any) -> Labels:
        """Add the layer of the preview, below the paint.

        The user goes on with the layer that was chosen.
        """
        chosen = active_layer(self.viewer)
        # until it is known what there is; colours that change later make napari compile a shader
        classes = Classes(tuple(range(1, MOST + 1))).with_legend(self.legend.names, self.legend.colors)
        layer = show_labels(
            self.viewer,
            self.images[0],
            self.volume,
            array,
            classes,
            "live",
            kind="live",
            below=self.labels,
        )
        layer.opacity = _OPACITY
        layer.editable = False
        self.viewer.layers.selection.active = chosen
        return layer


def take_over(
    viewer: ViewerModel, session: Session, images: Sequence[Image], volume: Volume, model: Model, data: Any
) -> list[Box]:
    """Copy what live mode predicted into `data`; return its boxes.

    Only of these image layers, and with this very model.
    """
    for _, predictor in _previews(viewer, session, images):
        array, boxes = predictor.computed(model)
        output = ArrayOutput(volume, data)
        for box in boxes:
            data[output.place(box)] = array[output.place(box)]
        still = set(predictor.computed(model)[1])  # none, if there was a better model meanwhile
        return [box for box in boxes if box in still]
    return []


def put_away(viewer: ViewerModel, session: Session, images: Sequence[Image]) -> None:
    """Remove previews whose run is over.

    A prediction of these image layers takes their place.
    """
    for layer, predictor in _previews(viewer, session, images):
        if predictor.resting:
            viewer.layers.remove(layer)


def _previews(
    viewer: ViewerModel, session: Session, images: Sequence[Image]
) -> list[tuple[Labels, ViewPredictor]]:
    """Return the previews of these image layers, with their predictors.

    Those that a user kept are left out.
    """
    known = [(layer, session.previews.predictor(layer, images)) for layer in viewer.layers]
    return [(layer, predictor) for layer, predictor in known if predictor is not None and is_untouched(layer)]
