"""The Strokes widget: a layer whose every stroke is kept."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from napari.layers import Image, Labels
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog, QHBoxLayout

from napari_limn._napari.layers.class_table import names_of
from napari_limn._napari.layers.facts import facts_of
from napari_limn._napari.layers.layers import (
    is_painted,
    painted_look,
    path_of,
    volume_of,
    volume_on_disk,
)
from napari_limn._napari.painting.journalling import fate_of_paint
from napari_limn._napari.painting.recorder import journals_of
from napari_limn._napari.painting.recovery import RecoveryOffer
from napari_limn._napari.panel.choices import NO_IMAGE
from napari_limn._napari.panel.form import FormWidget, lay_out
from napari_limn._napari.panel.session import RunQueue
from napari_limn._napari.panel.status import sentence_label
from napari_limn.annotation.journal.sparse_labels import PaintStore
from napari_limn.errors import LimnError
from napari_limn.files.paths import portable_name
from napari_limn.runs import BlockDone, Event
from napari_limn.volume.volume import Volume
from napari_limn.volume.writing.destination import refuse_replacing

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari.viewer import Viewer
    from qtpy.QtWidgets import QPushButton

    from napari_limn._napari.painting.recorder import Journals, Recorder

_LOOK = 500  # milliseconds between two looks at what is on the disk
_FORMATS = "OME-TIFF (*.tif);;OME-Zarr (*.ome.zarr)"


class StrokesWidget(FormWidget):
    """Make a layer for strokes; see them kept, undo and save them."""

    def __init__(self, napari_viewer: Viewer) -> None:
        tip = "Write the labels into a file of their own, with the voxel size of the image"
        super().__init__(napari_viewer, "paint", "limn-strokes", "Save …", "Cancel", tip)
        self.run_box.handler = self
        self.run_box.queue = RunQueue()  # what was painted is saved whatever else runs
        self.image = self.form.layer_field("Image", "image", Image, "The image to paint on; of any size")
        tip = "Add an empty labels layer in the place of the image, and choose the brush"
        self.new_button = self.run_box.button("New strokes layer", "new", self.new_layer, tip)
        self.form.rows.addRow("", self.new_button)
        self.labels = self.form.layer_field(
            "Strokes", "labels", Labels, "The layer whose strokes are shown below"
        )
        self.offer = RecoveryOffer(napari_viewer, "limn-strokes-offer", self._choose, saved_too=True)
        self.form.rows.addRow(self.offer)
        self.journal = sentence_label("limn-strokes-journal")
        self.form.rows.addRow(self.journal)
        self._add_turns()
        self.image.changed.connect(lambda _: self.offer.look(self.image.value))
        self.labels.changed.connect(lambda _: self._show())
        self._journals: Journals | None = None
        self._saving: tuple[Recorder | None, int] = (None, 0)
        self._timer = QTimer(self)
        self._timer.setInterval(_LOOK)
        self._timer.timeout.connect(self._show)
        lay_out(self, self.form, self.run_box)
        self.reset_choices()
        self.run_box.say("Choose an image, press New strokes layer, and paint.")

    def _add_turns(self) -> None:
        """Add the buttons to undo and redo."""
        self.undo_button = self.run_box.button(
            "Undo", "undo", lambda: self.turn("undo"), "Take the latest stroke back, of earlier sessions too"
        )
        self.redo_button = self.run_box.button(
            "Redo", "redo", lambda: self.turn("redo"), "Paint again what was taken back"
        )
        turns = QHBoxLayout()
        turns.addWidget(self.undo_button)
        turns.addWidget(self.redo_button)
        self.form.rows.addRow(turns)

    # ---- layers --------------------------------------------------------------------------------------------------
    def new_layer(self) -> None:
        """Add a strokes layer for the image, ready to be painted on."""
        if self.image.value is None:
            raise LimnError("there is no image layer; drag an image onto the window first.")
        journals = self._connected()
        if journals is None:
            raise LimnError("this widget is in no window; open it from the Plugins menu.")
        self._choose(journals.new_layer(self.image.value))
        self.run_box.say("Paint; every stroke is kept from now on.")

    def turn(self, kind: Literal["undo", "redo"]) -> None:
        """Undo or redo the latest change of the layer chosen."""
        if (recorder := self._recorder()) is None or not recorder.turn(kind):
            self.run_box.say(f"There is nothing to {kind}.")

    def lacking(self) -> dict[QPushButton, str]:
        """Say what must be there before a button can be pressed."""
        none = "" if self.labels.value is not None else "Press New strokes layer, and paint, first."
        return {
            self.new_button: NO_IMAGE if self.image.value is None else "",
            self.run_box.start_button: none,
        }

    def reset_choices(self, event: Any = None) -> None:
        """Offer the layers and the strokes that are there now."""
        super().reset_choices()
        self._connected()
        self.offer.look(self.image.value)
        self._show()

    def showEvent(self, event: Any) -> None:
        """Show the state of the journals from now on."""
        super().showEvent(event)
        self._timer.start()

    def hideEvent(self, event: Any) -> None:
        """Stop looking: the status is out of sight."""
        super().hideEvent(event)
        self._timer.stop()

    def _choose(self, layer: Labels) -> None:
        """Let the user paint on this layer."""
        self.form.reset_choices()
        self.labels.value = layer
        self.viewer.layers.selection.active = layer
        layer.mode = "paint"
        self._show()

    def _connected(self) -> Journals | None:
        if self._journals is None and (journals := journals_of(self, self.viewer)) is not None:
            self._journals = journals
            journals.changed.connect(self._show)
            journals.turned_over.connect(self._show)
        return self._journals

    def _recorder(self) -> Recorder | None:
        return None if self._journals is None else self._journals.of(self.labels.value)

    def _show(self) -> None:
        """Show the state of the strokes of the layer chosen."""
        recorder = self._recorder()
        recording = None if recorder is None else recorder.recording
        if self.labels.value is None:
            self.journal.setText("There is no layer for strokes yet.")
        elif not is_painted(self.labels.value):
            self.journal.setText(_fate_of_paint(self.labels.value))
        elif recorder is None:
            self.journal.setText(
                "Paint on this layer is kept in no journal: the layer fits no image, or is not in memory."
            )
        else:
            self.journal.setText(recorder.status)
        self.undo_button.setEnabled(recording is not None and recording.latest("undo") is not None)
        self.redo_button.setEnabled(recording is not None and recording.latest("redo") is not None)

    # ---- saving --------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Ask for a name, and save the labels."""
        if self.labels.value is None:
            raise LimnError("there is no labels layer to save; press New strokes layer and paint.")
        proposed = portable_name(self.labels.value.name, ".tif")
        name = QFileDialog.getSaveFileName(self, "Save strokes", proposed, _FORMATS)[0]
        if name:
            self.save(Path(name))

    def save(self, path: Path) -> None:
        """Save the labels chosen to a TIFF or OME-Zarr.

        What is there is replaced: the file dialog has asked.
        """
        layer, recorder = self.labels.value, self._recorder()
        self._saving = (recorder, 0 if recorder is None else recorder.recording.count)
        for image in self.form.layers(Image):
            refuse_replacing(path, volume_on_disk(image))
        volume = volume_of(layer)
        if isinstance(data := volume.data, (np.ndarray, PaintStore)):
            data = data.copy()
        elif path.exists() and path_of(layer) in (None, path.absolute()):
            raise LimnError(
                f"{path}: the layer “{layer.name}” reads its labels from a file piece by piece, perhaps from this one, which would be "
                "replaced; choose another name."
            )
        labels = Volume(data, volume.axes, layer.name)
        self.run_box.say("Saving …")
        self.run_box.run(_saving(labels, path, painted_look(layer), names_of(layer)))

    def on_event(self, event: Event) -> None:
        """Show how far it is."""
        if isinstance(event, BlockDone):
            self.run_box.advance(event.done / event.total)

    def on_result(self, result: Path | None) -> None:
        """Say where the file is, and note that in the journal.

        It is not noted where something was painted meanwhile.
        """
        if result is None:
            self.run_box.say("Cancelled; nothing was saved.")
            return
        recorder, count = self._saving
        if recorder is not None and recorder.recording.count == count:
            recorder.recording.saved(str(result))
        self.run_box.say(f"Saved {result}.")
        self._show()

    def on_error(self, error: Exception) -> None:
        """Show an error."""
        self.run_box.report(error)


def _fate_of_paint(layer: Labels) -> str:
    return fate_of_paint(facts_of(layer), bool(layer.editable and not layer.multiscale))


def _saving(
    labels: Volume, path: Path, colors: dict[int, Any], names: dict[int, str]
) -> Generator[Event, None, Path]:
    from napari_limn.annotation.journal.export import saving_events

    return saving_events(labels, path, colors, names, overwrite=True)
