"""The journals of a window: every stroke goes into one."""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from napari.layers import Image, Labels
from qtpy.QtCore import QObject, Signal  # type: ignore[attr-defined]

from napari_limn._napari.layers.class_table import kept_legend, predicted_layers
from napari_limn._napari.layers.facts import facts_of
from napari_limn._napari.layers.layers import (
    hand_over,
    is_map,
    is_painted,
    lies_on,
    path_of,
    take_into_memory,
    volume_of,
)
from napari_limn._napari.layers.listening import call_all, connected
from napari_limn._napari.layers.strokes_layer import STROKES, is_plain, new_strokes, strokes_layer
from napari_limn._napari.painting.journalling import (
    is_read_from_file,
    is_watched,
    labels_before,
    pieces_of,
    status_of,
)
from napari_limn._napari.panel.docking import window_of
from napari_limn.annotation.classes import MOST
from napari_limn.annotation.journal.files import begin_journal, header_for
from napari_limn.annotation.journal.recording import Recording
from napari_limn.annotation.journal.writer import Journal
from napari_limn.annotation.legend import painted_values
from napari_limn.errors import LimnError
from napari_limn.files.durable import on_failure
from napari_limn.volume.writing.array_output import labels_shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from qtpy.QtWidgets import QWidget

    from napari_limn.annotation.journal.format import Header
    from napari_limn.annotation.legend import Legend


class Recorder:
    """Keeps the journal of one labels layer in step with it.

    The layer announces strokes, fillings and polygons. It does not announce an undo or redo of napari's own: it only shows its
    data anew, and the data are compared then.

    Parameters
    ----------
    layer
        A labels layer with a numpy array or a `PaintStore`.
    recording
        Of its data as they are now.
    changed
        Called after something was written down.
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
        values = painted_values(layer.data) or set()
        self._values = values if len(values) <= MOST else set[int]()  # more of them number objects
        self._keep_legend()
        events = layer.events
        shown = (events.set_data, events.reload, events.visible, events.data)
        self._listening = [
            connected(events.paint, self.painted),
            *(connected(event, self._on_shown) for event in shown),
            *(connected(event, self._on_classes) for event in (events.metadata, events.colormap)),
        ]

    @property
    def status(self) -> str:
        """Say how many strokes there are, and whether they are safe."""
        return status_of(self.recording)

    def turn(self, kind: Literal["undo", "redo"]) -> bool:
        """Undo or redo the latest change; False if there is none.

        It may be one of an earlier session.
        """
        if (record := self.recording.latest(kind)) is None:
            return False
        if self.recording.undoable_in_layer(record):
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
        """Write down the stroke that the layer announces."""
        parts = [part for atom in event.value for part in pieces_of(atom)]
        new = {int(v) for part in parts for v in np.unique(part.values)} - self._values - {0}
        if new and len(self._values | new) <= MOST:
            self._values |= new
            self._keep_legend()
        self.recording.painted(parts)
        self._changed()

    def _on_classes(self, event: Any = None) -> None:
        """Write down names, colours and meaning of 0 if they changed."""
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
        return tuple(data.shape) == known.shape and data.dtype == known.dtype and is_watched(data)


class Journals(QObject):
    """The journals of one window, one for each layer that is painted.

    A labels layer has one if it fits an image, from its first stroke on.

    Get it by :func:`journals_of`; it ends with the window.
    """

    changed = Signal()
    """Emitted when a stroke was written down."""

    turned_over = Signal()
    """Emitted when a layer's journal began or ended."""

    def __init__(self, viewer: ViewerModel, parent: QObject) -> None:
        super().__init__(parent)
        self.viewer = viewer
        self.declined = set[Path]()
        """Journals that the user did not want back; they are not offered again in this window."""
        recorders = self._recorders = dict[Labels, Recorder]()
        self._passed_on = dict[Labels, Path]()  # journals of layers that were given another type since
        viewer.layers.events.inserted.connect(self._on_layers)
        viewer.layers.events.removed.connect(self._on_removed)
        self.destroyed.connect(lambda: _close(recorders))
        self._on_layers()

    def of(self, layer: Labels | None) -> Recorder | None:
        """Find the recorder of a layer; None if it has none."""
        return None if layer is None else self._recorders.get(layer)

    @property
    def open_paths(self) -> set[Path]:
        """List the journals whose strokes are in layers."""
        journals = (recorder.recording.journal for recorder in self._recorders.values())
        return {journal.path for journal in journals if journal is not None} | {*self._passed_on.values()}

    def new_layer(self, image: Image, legend: Legend | None = None) -> Labels:
        """Add an empty, journalled strokes layer in the place of an image.

        Its classes are those of `legend`.

        Raises
        ------
        LimnError
            If a plane of the image is too large to be painted on in napari.
        """
        return self._add(image, new_strokes(image, legend))

    def bring_back(self, image: Image, path: Path) -> Labels:
        """Add the layer of a journal, and go on with that.

        Raises
        ------
        LimnError
            If the journal is damaged, or another window is writing it.
        """
        journal, contents = Journal.resume(path)
        with on_failure(journal.close):
            recording = Recording.resumed(journal, contents)
            known = recording.known
            data = np.asarray(known) if is_plain(known.shape, known.dtype) else known.copy()
            layer = strokes_layer(image, data, contents.header.layer, recording.legend)
            return self._add(image, layer, recording)

    def _add(self, image: Image, layer: Labels, recording: Recording | None = None) -> Labels:
        self._record(layer, image, recording)
        self.viewer.add_layer(layer)
        self.turned_over.emit()
        return layer

    def _record(
        self, layer: Labels, image: Image, recording: Recording | None = None, base: Any = None
    ) -> Recorder:
        """Record a layer from now on.

        A recording that is given goes on; else one begins with the layer's first stroke. Before that, the layer held `base`, or
        what it holds now.
        """

        def begin() -> Journal:
            return begin_journal(header_of(image, layer))

        new = recording or Recording(begin, layer.data if base is None else base)
        recorder = self._recorders[layer] = Recorder(layer, new, self.changed.emit, self._restart)
        return recorder

    def _restart(self, layer: Labels) -> None:
        """Begin another journal for data of another extent or type."""
        recorder = self._recorders.pop(layer)
        recorder.close()
        if recorder.recording.holds(layer.data) and (journal := recorder.recording.journal) is not None:
            self._passed_on[layer] = journal.path
        self._on_layers()

    def _on_layers(self, event: Any = None) -> None:
        """Record labels layers of the user, once their image is there."""
        for layer in predicted_layers(self.viewer):
            layer.events.paint.connect(self._on_correction)  # napari connects it once only
        for layer in self.viewer.layers:
            if is_painted(layer) and layer not in self._recorders:
                image = self._image_of(layer)
                if image is not None and not layer.multiscale and is_watched(layer.data):
                    self._record(layer, image)
        self.turned_over.emit()

    def _on_correction(self, event: Any) -> None:
        """Hand a prediction over to the user at the first stroke.

        From that stroke on it is journalled, and not replaced by another prediction.
        """
        layer = event.source
        layer.events.paint.disconnect(self._on_correction)
        if is_painted(layer):  # since another plugin changed its metadata
            return
        hand_over(layer)
        image = self._image_of(layer)
        if is_read_from_file(layer.data, layer.multiscale):
            take_into_memory(layer)
        if image is not None and isinstance(layer.data, np.ndarray) and is_watched(layer.data):
            self._record(layer, image, base=labels_before(layer.data, event.value)).painted(event)
        self.turned_over.emit()

    def _image_of(self, layer: Labels) -> Image | None:
        """Find the likeliest image of a labels layer, of the same extent.

        Of several that are as likely it is the topmost.
        """
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
    """Rate what speaks for a layer being of an image, strongest first.

    It was made for the image; it lies where the image lies; a journal can be kept beside the image, which has a file.
    """
    return facts_of(layer).belongs_to(image), lies_on(layer, image), path_of(image) is not None


def _close(recorders: dict[Labels, Recorder]) -> None:
    while recorders:
        recorders.popitem()[1].close()


def journals_of(widget: QWidget, viewer: ViewerModel) -> Journals | None:
    """Find the journals of the window that a widget is in.

    None while it is in no window.
    """
    window = window_of(widget)
    return None if window is None else window.findChild(Journals) or Journals(viewer, window)


def header_of(image: Image, layer: Labels | None = None) -> Header:
    """Make the header of a journal for an image and labels."""
    name = f"{image.name} strokes" if layer is None else layer.name
    dtype = STROKES if layer is None else np.dtype(layer.data.dtype)
    return header_for(volume_of(image), path_of(image), name, str(dtype))
