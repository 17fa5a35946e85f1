"""The Predict widget."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from magicgui.types import FileDialogMode
from magicgui.widgets import FileEdit, LineEdit
from napari.layers import Image, Labels

from napari_limn._napari.layers.facts import facts_of, names_by_identity, note
from napari_limn._napari.layers.layers import (
    empty_labels,
    image_volume,
    is_untouched,
    note_file,
    refuse_kept,
    show_labels,
    shows_file,
    volume_on_disk,
)
from napari_limn._napari.layers.refresh import LayerRefresher, file_data, show_file, shown
from napari_limn._napari.painting.recorder import journals_of
from napari_limn._napari.panel.choices import NO_IMAGE, NO_MODEL
from napari_limn._napari.panel.drop import ask_for_model
from napari_limn._napari.panel.form import FormWidget, lay_out
from napari_limn._napari.panel.preferences import preferred
from napari_limn._napari.panel.status import sentence_label
from napari_limn._napari.prediction.predict_controller import PredictController
from napari_limn._napari.prediction.predict_view import PredictChoices
from napari_limn._napari.training.live import put_away, take_over
from napari_limn.inference.spec import PredictSpec
from napari_limn.specs import described
from napari_limn.volume.writing.destination import refuse_misplaced

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari.viewer import Viewer
    from qtpy.QtWidgets import QPushButton

    from napari_limn.model import Model
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.volume import Volume


class PredictWidget(FormWidget):
    """Label every voxel of an image layer with a trained model."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(
            napari_viewer, "run", "limn-predict", "Predict", "Cancel", "Label the image with the model"
        )
        self.controller = PredictController(self, self.run_box, self.session)
        self.run_box.handler = self.controller
        self.layer: Labels | None = None
        self._refresher: LayerRefresher | None = None
        self._add: Callable[..., Labels]
        self._names = ""
        self._images_of_run: list[Image] = []
        self._add_rows()
        self._add_more()
        self.seams = sentence_label("limn-predict-seams")
        tip = "Compare blocks with one pass over the middle of the image"
        self.check_button = self.run_box.button("Check seams", "check", self.controller.check_seams, tip)
        self.run_box.starters.append(self.check_button)
        self.run_box.on_finished.append(self._put_previews_away)
        for choice in (self.model, self.image):
            choice.changed.connect(lambda _: self.seams.clear())
        lay_out(self, self.form, self.run_box, self.check_button, self.seams)
        self.reset_choices()
        self.run_box.say("Choose a model and an image, then press Predict.")

    # ---- building ------------------------------------------------------------------------------------------------
    def _add_rows(self) -> None:
        form, models = self.form, self.session.models
        self.model = form.model_field(
            "Model", "model", lambda: models.names, "A model trained in this session, or loaded from a file"
        )
        self.load_button = self.run_box.button(
            "Load model …", "load", self._choose, "Open a .limn file to predict with"
        )
        form.rows.addRow("", self.load_button)
        self.image = form.layer_field("Image", "image", Image, "The image to label")
        self.out = form.field(
            "Write to",
            "out",
            FileEdit(
                mode=FileDialogMode.OPTIONAL_FILE,
                nullable=True,
                filter="OME-Zarr (*.ome.zarr);;OME-TIFF (*.tif)",
            ),
            "NAME.ome.zarr (any size) or NAME.tif; empty: in memory. A run that was cancelled goes on with the same settings",
        )

    def _add_more(self) -> None:
        """Add the fields that are folded away."""
        spec, tips, form = PredictSpec(), described(PredictSpec), self.form
        self.channels = form.channels_field()
        self.overwrite = form.value_field(
            "Overwrite", "overwrite", False, bool, "Begin anew, and replace a file of that name", more=True
        )
        self.memory = form.field(
            "Memory", "memory", LineEdit(value=preferred("memory", "2GB")), tips["memory"], more=True
        )
        self.precision = form.value_field(
            "Precision",
            "precision",
            preferred("precision", spec.precision),
            Literal["auto", "float32", "bfloat16"],
            tips["precision"],
            more=True,
        )

    def lacking(self) -> dict[QPushButton, str]:
        """Say what must be there before a button can be pressed."""
        why = NO_IMAGE if self.image.value is None else NO_MODEL if self.model.value is None else ""
        return dict.fromkeys((self.run_box.start_button, self.check_button), why)

    # ---- what napari and Qt call ---------------------------------------------------------------------------------
    def load(self, path: Path) -> None:
        """Offer the model of a file."""
        self.controller.load(path)

    def _choose(self) -> None:
        if path := ask_for_model(self):
            self.load(path)

    def _put_previews_away(self) -> None:
        """Remove previews that ended while this was predicted."""
        if self.showing:
            put_away(self.viewer, self.session, self._images_of_run)

    # ---- what the controller asks for ----------------------------------------------------------------------------
    def choices(self) -> PredictChoices:
        """Return what the form says."""
        return PredictChoices(
            model=self.model.value,
            images=names_by_identity(self._images()),
            out=self.out.value,
            overwrite=self.overwrite.value,
            memory=self.memory.value,
            precision=self.precision.value,
            device=self.run_box.device,
        )

    def _images(self) -> list[Image]:
        return self.form.chosen_images(self.image, self.channels)

    def volume(self) -> Volume:
        """Return the image chosen, with its channels."""
        return image_volume(self._images())

    def needed_layers(self) -> list[Any]:
        """Return the layers that a run needs, as chosen now."""
        return [*self._images()]

    def begin(self, volume: Volume, model: Model, name: str) -> None:
        """Show from now on predictions of this image by this model."""
        images = self._images_of_run = self._images()
        self._names = volume.axes.without("C").names
        self._add = partial(
            show_labels, self.viewer, images[0], volume, classes=model.spec.classes, model=str(name)
        )
        self.layer = self._refresher = None

    def refuse(self, path: Path, *, overwrite: bool) -> None:
        """Refuse to write over an image, or over what was kept."""
        if overwrite:
            refuse_kept(self.viewer, path)
        for layer in self._images():
            refuse_misplaced(path, volume_on_disk(layer))

    def empty(self, volume: Volume, model: Model) -> Any:
        """Return an array of zeros for the labels."""
        return empty_labels(volume, model.spec.classes.dtype)

    def take_over(self, volume: Volume, model: Model, data: Any) -> list[Box]:
        """Copy what live mode predicted into `data`; return its boxes."""
        return take_over(self.viewer, self.session, self._images(), volume, model, data)

    @property
    def showing(self) -> bool:
        """Return whether a layer of the run is shown."""
        return self.layer is not None and self.layer in self.viewer.layers

    def show_in_memory(self, data: Any) -> None:
        """Show an array that is being filled.

        In the place of what was shown before.
        """
        put_away(self.viewer, self.session, self._images_of_run)
        self._show(data=data).editable = False  # a later block would cover paint

    def show_written(self, levels: Sequence[Any], path: Path) -> None:
        """Show the levels of a file that is being written.

        In the place of those of this run that it began with, where it began again.
        """
        self._remove_of_others(path)
        if self.layer is not None and self.layer in self.viewer.layers:
            self.viewer.layers.remove(self.layer)
        layer = self._show(**shown(levels))
        layer.editable = False  # nobody paints into a file in the making
        note_file(layer, path)

    def show_finished(self, path: Path) -> None:
        """Show a file in a layer of its own."""
        self._remove_of_others(path)
        note_file(self._show(**file_data(path, self._names)), path)

    def _remove_of_others(self, path: Path) -> None:
        """Remove a prediction of another image whose file is written over.

        It would show the labels of this one.
        """
        image = self._images_of_run[0]
        for layer in list(self.viewer.layers):
            if shows_file(layer, path) and is_untouched(layer) and not facts_of(layer).belongs_to(image):
                self.viewer.layers.remove(layer)
                self.run_box.note(
                    f"The layer “{layer.name}” was removed: {path.name} holds the labels of “{image.name}” now."
                )

    def file_finished(self, path: Path) -> None:
        """Let layers of a file in the making show the finished one.

        Among them one of an earlier run that was cancelled, and that the user kept.
        """
        for layer in self.viewer.layers:
            if facts_of(layer).unfinished and shows_file(layer, path):
                show_file(layer, path, self._names)
                note(layer, unfinished=False)

    def _show(self, **what: Any) -> Labels:
        journals_of(self, self.viewer)  # strokes of a user who corrects it are not lost
        layer = self.layer = self._add(**what)
        self.run_box.need(layer)
        note(layer, unfinished=True)  # painting on it makes it no more whole
        self._refresher = LayerRefresher(self.viewer, layer, self._names, self)
        return layer

    def block_done(self, box: Box) -> None:
        """Show a block that is done, if it is in sight."""
        if self._refresher is not None:
            self._refresher.block_done(box)

    def refresh(self) -> None:
        """Show all blocks that are done."""
        if self._refresher is not None:
            self._refresher.refresh()

    def finished(self) -> None:
        """Note that the layer of the run is complete."""
        if self.layer is not None:
            note(self.layer, unfinished=False)

    def allow_painting(self) -> None:
        """Let the user paint on the layer of the run."""
        if self.layer is not None:
            self.layer.editable = True

    def show_seams(self, text: str) -> None:
        """Show what the check of seams found."""
        self.seams.setText(text)
