"""Live mode in the window: notes what is painted and looked at, and shows the preview that comes of it."""

from __future__ import annotations

import os
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from qtpy.QtCore import QTimer

from napari_limn._napari.layers.class_table import Naming, set_legend
from napari_limn._napari.layers.layers import (
    active_layer,
    empty_labels,
    finest,
    image_volume,
    is_untouched,
    layer_axes,
    show_labels,
    volume_of,
)
from napari_limn._napari.layers.listening import call_all, connected
from napari_limn._napari.layers.refresh import LayerRefresher, field_of
from napari_limn._napari.training.run import labels_on
from napari_limn.annotation.classes import MOST, Classes
from napari_limn.annotation.legend import Legend
from napari_limn.annotation.snapshot import Snapshot
from napari_limn.concurrency import Stopped
from napari_limn.errors import LimnError
from napari_limn.inference.events import Viewing
from napari_limn.runs import BlockDone, Event
from napari_limn.training.events import Improved
from napari_limn.volume.axes import GRID
from napari_limn.volume.boxes import clipped, size_of
from napari_limn.volume.writing.output import ArrayOutput

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from napari.components import ViewerModel
    from napari.layers import Image, Labels
    from qtpy.QtWidgets import QWidget

    from napari_limn.inference.view import View, ViewPredictor
    from napari_limn.model import Model
    from napari_limn.training.spec import TrainSpec
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.volume import Volume

_LOOK = 100  # milliseconds between two looks at what is on the screen
_OPACITY = 0.4
_COMPARED = 1 << 23  # voxels on the screen up to which every redrawing is a reason to look for paint

_SHARING: list[int] = []  # for each run that goes on, the threads before the first of them
# previews, with the image layers and what predicted them; nothing in there may hold on to the layer
_PREVIEWS: WeakKeyDictionary[Labels, tuple[tuple[Image, ...], ViewPredictor]] = WeakKeyDictionary()


class LiveRun:
    """One live run: from the moment when the switch is turned on to that when it is turned off.

    Parameters
    ----------
    viewer
        Whose canvas is looked at.
    images
        The image layer, and further channels.
    labels
        The layer that is painted on.
    spec, origin
        How to train, and from which model on.
    stopped
        Whether the run is to end; asked in its thread.
    gone
        Called with a sentence when a layer that the run needs was removed.
    parent
        The widget with which it ends.
    """

    def __init__(
        self,
        viewer: ViewerModel,
        images: Sequence[Image],
        labels: Labels,
        spec: TrainSpec,
        origin: Model | None,
        stopped: Callable[[], bool],
        gone: Callable[[str], object],
        parent: QWidget,
    ) -> None:
        self.viewer, self.images, self.labels = viewer, tuple(images), labels
        self.volume = image_volume(images)
        _refuse_other_axes(labels, self.volume)
        self.predictor: ViewPredictor | None = None  # made in the run's thread
        self._spec, self._origin, self._parent = spec, origin, parent
        self._stopped, self._gone = stopped, gone
        self._paint = Snapshot(finest(labels))
        self._field = self._looked_at()
        self._naming = Naming(self._show_classes)
        self._naming.follow(labels)
        self._model: Model | None = None
        self._array = empty_labels(self.volume, np.uint8 if origin is None else origin.spec.classes.dtype)
        self.layer = self._shown()  # now: a new layer holds the window up, and later the person paints
        self._follower = LayerRefresher(viewer, self.layer, self.volume.axes.without("C").names, parent)
        tells = labels.events
        self._listening = [
            connected(tells.paint, self._on_paint),
            connected(tells.data, self._on_data),
            connected(tells.set_data, self._on_shown),
        ]
        self._timer = QTimer(parent)
        self._timer.setInterval(_LOOK)
        self._timer.timeout.connect(self._look)
        self._timer.start()

    @property
    def legend(self) -> Legend:
        """What the layer says of its classes; the run's thread asks for it."""
        return self._naming.legend or Legend()

    def events(self) -> Generator[Event, None, None]:
        """The run; PyTorch is imported in its thread."""
        from napari_limn.inference.view import ViewPredictor
        from napari_limn.interleave import interleaved
        from napari_limn.training.live import live_events

        make = partial(_array_for, self._array, self.volume)
        predictor = self.predictor = ViewPredictor(self.volume, make, self._spec.device, self._check)
        _PREVIEWS[self.layer] = self.images, predictor
        training = live_events(
            self.volume, self._paint, self._spec, model=self._origin, legend_now=lambda: self.legend
        )
        try:
            with _beside_the_window():
                yield from interleaved(training, predictor, self._view)
        finally:
            predictor.rest()

    def heard(self, event: Event) -> None:
        """Show what was predicted."""
        match event:
            case Improved(model=model):
                self._model = model
                self._show_classes()
            case Viewing(array=array) if array is not self._array:
                self._array = self.layer.data = array
            case BlockDone(box=box):
                self._follower.block_done(box)

    def close(self) -> None:
        """Look no more; the preview stays as it is, unless nothing came of it."""
        self._timer.stop()
        call_all(self._listening)
        self._naming.stop()
        if self._model is None and self.layer in self.viewer.layers:
            self.viewer.layers.remove(self.layer)

    # ---- asked in the run's thread -------------------------------------------------------------------------------
    def _view(self) -> View:
        from napari_limn.inference.view import View

        return View(self._field)

    def _check(self) -> None:
        if self._stopped():
            raise Stopped

    # ---- what is looked at and painted ---------------------------------------------------------------------------
    def _look(self) -> None:
        for layer in (*self.images, self.labels, self.layer):
            if layer not in self.viewer.layers:
                self._timer.stop()
                self._gone(f"The layer “{layer.name}” was removed, so Live is off.")
                return
        self._field = self._looked_at()

    def _looked_at(self) -> Box:
        return field_of(self.viewer, self.images[0], layer_axes(self.images[0], self.volume))

    def _on_paint(self, event: Any) -> None:
        boxes = [_box_of(atom, self._paint.shape) for atom in event.value]
        self._mark(boxes)
        # napari tells of a fill, and of a click, before it writes, and the run's thread may look in between
        QTimer.singleShot(0, partial(self._mark, boxes))

    def _mark(self, boxes: Sequence[Box]) -> None:
        for box in boxes:
            self._paint.mark(box)

    def _on_data(self, event: Any = None) -> None:
        """Another array, or the same one painted by a program."""
        self._paint.replace(finest(self.labels))

    def _on_shown(self, event: Any = None) -> None:
        """What is on the screen was drawn anew: perhaps since somebody wrote into the array."""
        spans = dict(zip(GRID, clipped(self._looked_at(), self.volume.grid), strict=True))
        box = tuple(spans[name] for name in self.volume.axes.without("C").names)
        if size_of(box) <= _COMPARED:
            self._paint.mark(box)

    # ---- what is shown -------------------------------------------------------------------------------------------
    def _shown(self) -> Labels:
        """The layer of the preview, below the paint; the person goes on with the layer that was chosen."""
        chosen = active_layer(self.viewer)
        # until it is known what there is; colours that change later make napari compile a shader
        classes = Classes(tuple(range(1, MOST + 1))).with_legend(self.legend.names, self.legend.colors)
        layer = show_labels(
            self.viewer,
            self.images[0],
            self.volume,
            self._array,
            classes,
            "live",
            kind="live",
            below=self.labels,
        )
        layer.opacity = _OPACITY
        layer.editable = False
        self.viewer.layers.selection.active = chosen
        return layer

    def _show_classes(self) -> None:
        """Show the classes that there are, and no more: napari compiles code of its own, 0.2 s long, for more than 255."""
        if self._model is not None:
            classes = self._model.with_legend(self.legend).spec.classes
            set_legend(self.layer, Legend(classes.name_of, classes.color_of))


@contextmanager
def _beside_the_window() -> Iterator[None]:
    """Compute with a thread fewer than there are processors."""
    import torch

    before = _SHARING[0] if _SHARING else torch.get_num_threads()
    _SHARING.append(before)
    torch.set_num_threads(max(1, min(before, (os.cpu_count() or 2) - 1)))
    try:
        yield
    finally:
        _SHARING.remove(before)
        torch.set_num_threads(before)


def take_over(
    viewer: ViewerModel, images: Sequence[Image], volume: Volume, model: Model, data: Any
) -> list[Box]:
    """Copy into `data` what live mode predicted of these image layers with this very model; returns the boxes of it."""
    for _, predictor in _previews(viewer, images):
        array, boxes = predictor.computed(model)
        output = ArrayOutput(volume, data)
        for box in boxes:
            data[output.place(box)] = array[output.place(box)]
        still = set(predictor.computed(model)[1])  # none, if there was a better model meanwhile
        return [box for box in boxes if box in still]
    return []


def put_away(viewer: ViewerModel, images: Sequence[Image]) -> None:
    """Remove previews of these image layers whose run is over: a prediction takes their place."""
    for layer, predictor in _previews(viewer, images):
        if predictor.resting:
            viewer.layers.remove(layer)


def _previews(viewer: ViewerModel, images: Sequence[Image]) -> list[tuple[Labels, ViewPredictor]]:
    """Previews of these image layers that nobody kept, and what predicts them."""
    found = [(layer, *_PREVIEWS.get(layer, ((), None))) for layer in viewer.layers if is_untouched(layer)]
    return [(layer, made) for layer, shown, made in found if made is not None and shown == tuple(images)]


def _array_for(array: Any, volume: Volume, dtype: np.dtype[Any]) -> Any:
    """The array that is shown already, if it holds labels of that type."""
    return array if array.dtype == dtype else empty_labels(volume, dtype)


def _refuse_other_axes(labels: Labels, image: Volume) -> None:
    """Raise a LimnError where labels are a plane of a stack, or the like: what is painted is noted by the axes of the image."""
    seen, axes = volume_of(labels), image.axes.without("C")
    labels_on(image, seen)
    if len(seen.axes.names) != len(axes.names):
        raise LimnError(
            f"{labels.name}: found {len(seen.axes.names)} axes, expected {len(axes.names)} like the image {image.name}; paint on a labels layer "
            "made for this image."
        )


def _box_of(atom: Any, shape: tuple[int, ...]) -> Box:
    """Where an atom of napari's history of paint lies: a mask in a box, or indices and values."""
    if (key := getattr(atom, "slice_key", None)) is not None:
        return tuple(part.indices(n)[:2] for part, n in zip(key, shape, strict=True))
    where = atom[0]
    if isinstance(where, tuple) and len(where) == len(shape) and all(getattr(w, "size", 0) for w in where):
        return tuple((int(w.min()), int(w.max()) + 1) for w in where)
    return tuple((0, n) for n in shape)
