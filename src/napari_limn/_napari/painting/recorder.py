"""Every stroke in a window goes into a journal: of the strokes layers made here, and of those that a person adds."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from napari.layers import Image, Labels
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_limn._napari.layers.class_table import OTHER, kept_legend, predicted_layers, set_legend
from napari_limn._napari.layers.facts import LayerFacts
from napari_limn._napari.layers.layers import (
    PLAIN,
    colormap,
    hand_over,
    is_map,
    is_painted,
    name_of_image,
    path_of,
    placement,
    take_into_memory,
    volume_of,
)
from napari_limn._napari.layers.listening import call_all, connected
from napari_limn._napari.panel.docking import window_of
from napari_limn.annotation.classes import MOST, default_color
from napari_limn.annotation.journal.files import begin_journal, header_for
from napari_limn.annotation.journal.format import Header, Journal
from napari_limn.annotation.journal.recording import Recording, StrokePiece
from napari_limn.annotation.journal.sparse_labels import PaintStore
from napari_limn.annotation.legend import Legend, painted_values
from napari_limn.durable import on_failure
from napari_limn.errors import LimnError
from napari_limn.volume.volume import size_in_bytes
from napari_limn.volume.writing.output import labels_shape

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from napari.components import ViewerModel
    from numpy.typing import NDArray
    from qtpy.QtWidgets import QWidget

_WATCHED = 1 << 30  # bytes of an array that a person added up to which it is compared with its journal
_PLANE = 1 << 29  # voxels of a plane that napari can show as labels
STROKES = np.dtype(np.uint8)
"""Type of the labels in a new strokes layer: classes are few."""


class Recorder:
    """Keeps the journal of one labels layer in step with it.

    Strokes, fillings and polygons are told by the layer. An undo or redo of napari's own is not: it only shows the layer anew,
    and is found out then.

    Parameters
    ----------
    layer
        A labels layer with a numpy array or a `PaintStore`.
    recording
        Of its data as they are now.
    changed
        Called after whatever was written down.
    outgrown
        Called when the layer gets data of another extent or type, which the journal cannot take.
    """

    def __init__(
        self,
        layer: Labels,
        recording: Recording,
        changed: Callable[[], None],
        outgrown: Callable[[Labels], None],
    ) -> None:
        self.layer, self.recording = layer, recording
        self._data, self._changed, self._outgrown = layer.data, changed, outgrown
        found = painted_values(layer.data) or set()
        self._values = found if len(found) <= MOST else set[int]()  # more of them number objects
        self._keep_legend()
        tells = layer.events
        self._listening = [
            connected(tells.paint, self.painted),
            *(
                connected(t, self._on_shown)
                for t in (tells.set_data, tells.reload, tells.visible, tells.data)
            ),
            *(connected(t, self._on_classes) for t in (tells.metadata, tells.colormap)),
        ]

    @property
    def status(self) -> str:
        """What there is, and whether it is safe, in a sentence."""
        recording = self.recording
        if recording.trouble:
            return recording.trouble
        if recording.journal is None:
            return "No strokes yet; each one is going to be kept in a journal."
        count = f"{recording.strokes} stroke{'' if recording.strokes == 1 else 's'}"
        return f"{count}, {'all saved' if recording.safe else 'saving …'} in {recording.journal.path.name}"

    def turn(self, kind: Literal["undo", "redo"]) -> bool:
        """Undo or redo the latest change of this session or of an earlier one; False if there is none."""
        if (record := self.recording.latest(kind)) is None:
            return False
        if self.recording.is_told(record):
            getattr(self.layer, kind)()
            self._on_shown()
        if self.recording.latest(kind) is record:
            self.recording.turn(kind, self.layer.data)
            self.layer.refresh()
        self._changed()
        return True

    def close(self) -> None:
        """Compare once more, and end."""
        call_all(self._listening)
        if self._fits():
            self.recording.audit(self.layer.data)
        self.recording.close()

    def _keep_legend(self) -> None:
        self.recording.keep_legend(kept_legend(self.layer, self._values))

    def painted(self, event: Any) -> None:
        """Write down the stroke that the layer tells of."""
        parts = [part for atom in event.value for part in _parts(atom)]
        new = {int(v) for part in parts for v in np.unique(part.values)} - self._values - {0}
        if new and len(self._values | new) <= MOST:
            self._values |= new
            self._keep_legend()
        self.recording.painted(parts)
        self._changed()

    def _on_classes(self, event: Any = None) -> None:
        """Names, colours or the meaning of 0 are perhaps others now."""
        count = self.recording.count
        self._keep_legend()
        if self.recording.count != count:
            self._changed()

    def _on_shown(self, event: Any = None) -> None:
        if not self._fits():
            self._outgrown(self.layer)
            return
        count = self.recording.count
        if self.layer.data is self._data:
            self.recording.look(self._data)
        else:
            self._data = self.layer.data
            self.recording.audit(self._data, "replace")
        if self.recording.count != count:
            self._changed()

    def _fits(self) -> bool:
        known, data = self.recording.known, self.layer.data
        return tuple(data.shape) == known.shape and data.dtype == known.dtype and _is_watched(data)


def _parts(atom: Any) -> list[StrokePiece]:
    """What napari tells of a piece of a stroke: a box with a mask, or places, with values before and after."""
    if len(atom) == 4:
        box = tuple((s.start, s.stop) for s in atom.slice_key)
        return [StrokePiece(box, atom.mask, atom.new_value)]
    places, _, values = atom
    return StrokePiece.at(
        [p.ravel() for p in np.broadcast_arrays(*places)], np.ravel(values) if np.ndim(values) else values
    )


def _before(data: NDArray[Any], atoms: Sequence[Any]) -> NDArray[Any]:
    """What a layer held before the pieces of a stroke that it holds now."""
    found = data.copy()
    for atom in reversed(atoms):
        if len(atom) == 4:
            found[atom.slice_key][... if atom.mask is None else atom.mask] = atom.old_values
        else:
            found[atom[0]] = atom[1]
    return found


def _is_watched(data: Any) -> bool:
    return isinstance(data, PaintStore) or (isinstance(data, np.ndarray) and data.nbytes <= _WATCHED)


def empty_strokes(image: Image) -> Any:
    """What a new layer to paint on holds, for an image of any size, so that it can be journalled.

    Raises
    ------
    LimnError
        If a plane of the image is too large to be painted on in napari.
    """
    volume = volume_of(image)
    shape = labels_shape(volume)
    if volume.grid[-1] * volume.grid[-2] > _PLANE:
        raise LimnError(
            f"{image.name}: found planes of {volume.grid[-2]} × {volume.grid[-1]} pixels, expected at most "
            f"{_PLANE / 1e6:.0f} million to paint on; cut the image into parts."
        )
    small = size_in_bytes(shape, STROKES) <= PLAIN
    return np.zeros(shape, STROKES) if small else PaintStore(shape, STROKES)


def new_strokes(image: Image) -> Labels:
    """An empty layer to paint on, of the extent of an image and in its place, for a window that is going to journal it.

    Raises
    ------
    LimnError
        If a plane of the image is too large to be painted on in napari.
    """
    return _strokes_layer(image, empty_strokes(image), f"{image.name} strokes", Legend())


def _strokes_layer(image: Image, data: Any, name: str, legend: Legend) -> Labels:
    usual = {value: default_color(value) for value in range(1, MOST + 1)}
    look = colormap(usual | legend.colors, OTHER)
    place = placement(image, volume_of(image))
    layer = Labels(
        data, name=name, colormap=look, metadata=LayerFacts(image=image.name).to_metadata(), **place
    )
    if legend != Legend():
        set_legend(layer, legend)
    return layer


class Journals(QObject):
    """The journals of one window: of each labels layer that fits an image, from its first stroke on.

    Get it by :func:`journals_of`; it ends with the window.
    """

    changed = Signal()
    """Emitted when a stroke was written down."""

    turned_over = Signal()
    """Emitted when a layer's journal began or ended."""

    def __init__(self, viewer: ViewerModel, parent: QObject) -> None:
        super().__init__(parent)
        self.viewer = viewer
        recorders = self._recorders = dict[Labels, Recorder]()
        self._passed_on = dict[Labels, Path]()  # journals of layers that were given another type since
        viewer.layers.events.inserted.connect(self._on_layers)
        viewer.layers.events.removed.connect(self._on_removed)
        self.destroyed.connect(lambda: _close(recorders))
        self._on_layers()

    def of(self, layer: Labels | None) -> Recorder | None:
        """The recorder of a layer; None if its strokes are not journalled."""
        return None if layer is None else self._recorders.get(layer)

    @property
    def open_paths(self) -> set[Path]:
        """Of the journals whose strokes are in layers."""
        journals = (recorder.recording.journal for recorder in self._recorders.values())
        return {journal.path for journal in journals if journal is not None} | {*self._passed_on.values()}

    def new_layer(self, image: Image) -> Labels:
        """Add an empty strokes layer for an image, in its place, and journalled.

        Raises
        ------
        LimnError
            If a plane of the image is too large to be painted on in napari.
        """
        return self._add(image, new_strokes(image))

    def bring_back(self, image: Image, path: Path) -> Labels:
        """Add the layer that a journal of this image holds, and go on with that journal.

        Raises
        ------
        LimnError
            If the journal is damaged, or another window is writing it.
        """
        journal, contents = Journal.resume(path)
        with on_failure(journal.close):
            recording = Recording.resumed(journal, contents)
            known = recording.known
            small = size_in_bytes(known.shape, known.dtype) <= PLAIN
            data = np.asarray(known) if small else known.copy()
            layer = _strokes_layer(image, data, contents.header.layer, recording.legend)
            return self._add(image, layer, recording)

    def _add(self, image: Image, layer: Labels, recording: Recording | None = None) -> Labels:
        self._record(layer, image, recording)
        self.viewer.add_layer(layer)
        self.turned_over.emit()
        return layer

    def _record(
        self, layer: Labels, image: Image, recording: Recording | None = None, base: Any = None
    ) -> Recorder:
        """Record a layer from now on; a recording that is given goes on, else one begins with the layer's first stroke.

        Before that, the layer held `base`, or what it holds now.
        """

        def begin() -> Journal:
            return begin_journal(header_of(image, layer))

        new = recording or Recording(begin, layer.data if base is None else base)
        found = self._recorders[layer] = Recorder(layer, new, self.changed.emit, self._restart)
        return found

    def _restart(self, layer: Labels) -> None:
        """Begin another journal for a layer whose data have another extent or type now, if they fit an image."""
        recorder = self._recorders.pop(layer)
        recorder.close()
        if recorder.recording.holds(layer.data) and (journal := recorder.recording.journal) is not None:
            self._passed_on[layer] = journal.path
        self._on_layers()

    def _on_layers(self, event: Any = None) -> None:
        """Record the labels layers that a person added, as soon as there is the image that they belong to."""
        for layer in predicted_layers(self.viewer):
            layer.events.paint.connect(self._on_correction)  # once, however often it is said
        for layer in self.viewer.layers:
            if is_painted(layer) and layer not in self._recorders:
                image = self._image_of(layer)
                if image is not None and not layer.multiscale and _is_watched(layer.data):
                    self._record(layer, image)
        self.turned_over.emit()

    def _on_correction(self, event: Any) -> None:
        """A prediction that a person paints on is their work from this stroke on: it is journalled, and not replaced by another."""
        layer = event.source
        layer.events.paint.disconnect(self._on_correction)
        if is_painted(layer):  # since somebody changed its metadata
            return
        hand_over(layer)
        image = self._image_of(layer)
        if _is_read(layer):
            take_into_memory(layer)
        if image is not None and isinstance(layer.data, np.ndarray) and _is_watched(layer.data):
            self._record(layer, image, base=_before(layer.data, event.value)).painted(event)
        self.turned_over.emit()

    def _image_of(self, layer: Labels) -> Image | None:
        """The image of the extent of a labels layer for which most speaks, the topmost of several."""
        fitting = []
        for image in reversed(self.viewer.layers):
            with suppress(LimnError):  # an image that nothing can be painted for
                shape = labels_shape(volume_of(image)) if type(image) is Image and not is_map(image) else None
                if shape == tuple(layer.data.shape):
                    fitting.append(image)
        return max(fitting, key=partial(_ties, layer), default=None)

    def _on_removed(self, event: Any) -> None:
        self._passed_on.pop(event.value, None)
        if (recorder := self._recorders.pop(event.value, None)) is not None:
            recorder.close()
        self.turned_over.emit()


def _ties(layer: Labels, image: Image) -> tuple[bool, bool, bool]:
    """What speaks for a layer being of an image, the strongest first: it was made for it, lies where it does, can be kept beside it."""
    place = placement(image, volume_of(image))
    there = all(np.allclose(getattr(layer, what), place[what], atol=0) for what in ("scale", "translate"))
    return name_of_image(layer) == image.name, there, path_of(image) is not None


def _is_read(layer: Labels) -> bool:
    """Whether a layer shows a file from which it reads as it goes, and which is not too large for the memory."""
    data = layer.data
    lazy = not layer.multiscale and not isinstance(data, (np.ndarray, PaintStore))
    return lazy and size_in_bytes(data.shape, data.dtype) <= _WATCHED


def _close(recorders: dict[Labels, Recorder]) -> None:
    while recorders:
        recorders.popitem()[1].close()


def journals_of(widget: QWidget, viewer: ViewerModel) -> Journals | None:
    """The journals of the window that a widget is in; None while it is in none."""
    window = window_of(widget)
    return None if window is None else window.findChild(Journals) or Journals(viewer, window)


def header_of(image: Image, layer: Labels | None = None) -> Header:
    """What a journal says of an image layer, and of the labels layer on it."""
    name = f"{image.name} strokes" if layer is None else layer.name
    dtype = STROKES if layer is None else np.dtype(layer.data.dtype)
    return header_for(volume_of(image), path_of(image), name, str(dtype))
