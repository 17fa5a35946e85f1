"""What live mode decides.

No Qt: the preview shows it, tests run it without a window.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from napari_limn._napari.training.run import labels_on
from napari_limn.annotation.snapshot import Snapshot
from napari_limn.concurrency import Stopped
from napari_limn.errors import LimnError
from napari_limn.inference.events import Viewing
from napari_limn.runs import BlockDone, Event
from napari_limn.training.events import Improved
from napari_limn.volume.axes import GRID
from napari_limn.volume.boxes import clipped, size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    import numpy as np

    from napari_limn._napari.panel.session import FewerThreads
    from napari_limn.annotation.classes import Classes
    from napari_limn.annotation.legend import Legend
    from napari_limn.inference.view import View, ViewPredictor
    from napari_limn.model import Model
    from napari_limn.training.spec import TrainSpec
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.volume import Volume

_COMPARED = 1 << 23  # voxels on the screen up to which every redrawing is a reason to look for paint


class LiveView(Protocol):
    """What the controller asks of the preview."""

    @property
    def legend(self) -> Legend:
        """Return what the user says of the classes painted.

        It is asked for in the run's thread, too.
        """
        ...

    def remember(self, predictor: ViewPredictor) -> None:
        """Note what predicts the preview; called in the run's thread."""

    def show_classes(self, classes: Classes) -> None:
        """Show these classes, and no more."""

    def show_array(self, array: Any) -> None:
        """Show another array."""

    def block_done(self, box: Box) -> None:
        """Show a block that is done."""


class LiveController:
    """Decides for one live run.

    It lasts from the moment when the switch is turned on to that when it is turned off.

    Parameters
    ----------
    image
        What is trained on.
    labels
        The array that is painted on.
    array
        Where predictions go that fit into it.
    spec, origin
        How to train, and from which model on.
    view
        The preview.
    empty
        Makes an array of zeros for the labels of an image, of a type.
    threads
        Leave a processor to the window.
    stopping
        Returns whether the run is to end; asked in its thread.
    learn
        A training to show the answers of, instead of one that follows the paint.
    """

    def __init__(
        self,
        image: Volume,
        labels: Any,
        array: Any,
        spec: TrainSpec,
        origin: Model | None,
        view: LiveView,
        *,
        empty: Callable[[Volume, np.dtype[Any]], Any],
        threads: FewerThreads,
        stopping: Callable[[], bool],
        learn: Callable[[], Generator[Event, None, Any]] | None = None,
    ) -> None:
        self._learn = learn
        self.image, self.array = image, array
        self.paint = Snapshot(labels)
        self.field: Box = tuple((0, 0) for _ in GRID)
        """What is looked at, on the TZYX grid."""
        self.model: Model | None = None
        self.predictor: ViewPredictor | None = None  # made in the run's thread
        self._spec, self._origin, self._view = spec, origin, view
        self._empty, self._threads, self._stopping = empty, threads, stopping

    def events(self) -> Generator[Event, None, Any]:
        """Run; PyTorch is imported in the thread of the run.

        Returns what a training that is shown returns.
        """
        from napari_limn.execution.interleave import BESIDE, interleaved
        from napari_limn.inference.view import ViewPredictor
        from napari_limn.training.live import live_events

        make = partial(self._array_of, self.array)
        predictor = self.predictor = ViewPredictor(self.image, make, self._spec.device, self._check)
        self._view.remember(predictor)
        result: list[Any] = [None]

        def learnt(learn: Generator[Event, None, Any]) -> Generator[Event, None, None]:
            result[0] = yield from learn

        try:
            if self._learn is not None:
                yield from interleaved(learnt(self._learn()), predictor, self._look, BESIDE)
            else:
                training = live_events(
                    self.image,
                    self.paint,
                    self._spec,
                    model=self._origin,
                    legend_now=lambda: self._view.legend,
                )
                with self._threads.during():
                    yield from interleaved(training, predictor, self._look)
        finally:
            predictor.rest()
        return result[0]

    def _array_of(self, array: Any, dtype: np.dtype[Any]) -> Any:
        """Return the array that is shown, if its type is right.

        Else a new one.
        """
        return array if array.dtype == dtype else self._empty(self.image, dtype)

    def _look(self) -> View:
        from napari_limn.inference.view import View

        return View(self.field)

    def _check(self) -> None:
        if self._stopping():
            raise Stopped

    def on_event(self, event: Event) -> None:
        """Show what was predicted."""
        match event:
            case Improved(model=model):
                self.model = model
                self.classes_renamed()
            case Viewing(array=array) if array is not self.array:
                self.array = array
                self._view.show_array(array)
            case BlockDone(box=box):
                self._view.block_done(box)

    def classes_renamed(self) -> None:
        """Show the classes that there are, as the user calls them now.

        And no more of them: napari compiles code of its own, 0.2 s long, for more than 255.
        """
        if self.model is not None:
            self._view.show_classes(self.model.with_legend(self._view.legend).spec.classes)

    # ---- what is painted -----------------------------------------------------------------------------------------
    def painted(self, boxes: Sequence[Box]) -> None:
        """Take note that something was painted in these boxes."""
        for box in boxes:
            self.paint.mark(box)

    def replaced(self, labels: Any) -> None:
        """Take note of another array, or one painted by a program."""
        self.paint.replace(labels)

    def shown_anew(self, field: Box) -> None:
        """Take note that the screen was drawn anew.

        Perhaps since something was written into the array.
        """
        spans = dict(zip(GRID, clipped(field, self.image.grid), strict=True))
        box = tuple(spans[name] for name in self.image.axes.without("C").names)
        if size_of(box) <= _COMPARED:
            self.paint.mark(box)


def refuse_other_axes(labels: Volume, image: Volume) -> None:
    """Refuse labels that are a plane of a stack, or the like.

    Paint is noted by the axes of the image.

    Raises
    ------
    LimnError
        If they have other axes than the image, or another extent.
    """
    axes = image.axes.without("C")
    labels_on(image, labels)
    if len(labels.axes.names) == len(axes.names) and labels.extent != image.extent:
        raise LimnError(
            f"{labels.name}: found the axes {labels.axes.names}, expected {axes.names} like the image {image.name}; paint on a "
            "labels layer made for this image."
        )
    if len(labels.axes.names) != len(axes.names):
        raise LimnError(
            f"{labels.name}: found {len(labels.axes.names)} axes, expected {len(axes.names)} like the image {image.name}; "
            "paint on a labels layer made for this image."
        )


def painted_box(atom: Any, shape: tuple[int, ...]) -> Box:
    """Return where an atom of napari's history of paint lies.

    It is a mask in a box, or indices and values.
    """
    if (key := getattr(atom, "slice_key", None)) is not None:
        return tuple(part.indices(n)[:2] for part, n in zip(key, shape, strict=True))
    where = atom[0]
    if isinstance(where, tuple) and len(where) == len(shape) and all(getattr(w, "size", 0) for w in where):
        return tuple((int(w.min()), int(w.max()) + 1) for w in where)
    return tuple((0, n) for n in shape)
