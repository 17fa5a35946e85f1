"""The Predict widget."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from magicgui.types import FileDialogMode
from magicgui.widgets import FileEdit, LineEdit
from napari.layers import Image, Labels

from napari_limn._napari.layers.facts import facts_of, note
from napari_limn._napari.layers.layers import (
    empty_labels,
    image_volume,
    note_file,
    refuse_kept,
    show_labels,
    shows_file,
    volume_on_disk,
)
from napari_limn._napari.layers.refresh import LayerRefresher, file_data, show_file, shown
from napari_limn._napari.painting.recorder import journals_of
from napari_limn._napari.panel.docking import window_of
from napari_limn._napari.panel.models import SHELF, ask_for_model
from napari_limn._napari.panel.panel import Panel
from napari_limn._napari.panel.preferences import preferred
from napari_limn._napari.training.live import put_away, take_over
from napari_limn.durable import unfinished
from napari_limn.inference.events import Planned, Writing
from napari_limn.inference.spec import PredictSpec
from napari_limn.runs import BlockDone, Event, Working
from napari_limn.specs import described
from napari_limn.volume.writing.destination import refuse_misplaced

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from napari.viewer import Viewer

    from napari_limn.inference.measured.certificate import Certificate
    from napari_limn.model import Model
    from napari_limn.specs import DeviceName
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.volume import Volume


class PredictWidget(Panel):
    """Label every voxel of an image layer with a trained model."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer, "limn-predict", "Predict", "Cancel")
        spec, tips = PredictSpec(), described(PredictSpec)
        self.model = self.model_field(
            "Model", "model", lambda: SHELF.names, "A model trained in this session, or loaded from a file"
        )
        self.load_button = self._button("Load model …", "load", self._choose)
        self.form.addRow("", self.load_button)
        self.image = self.layer_field("Image", "image", Image, "The image to label")
        self.out = self.field(
            "Write to",
            "out",
            FileEdit(
                mode=FileDialogMode.OPTIONAL_FILE,
                nullable=True,
                filter="OME-Zarr (*.ome.zarr);;OME-TIFF (*.tif)",
            ),
            "NAME.ome.zarr (any size) or NAME.tif; empty: in memory. What is broken off goes on with the same settings",
        )
        self.channels = self.channels_field()
        self.overwrite = self.value_field(
            "Overwrite", "overwrite", False, bool, "Begin anew, and replace a file of that name", more=True
        )
        self.memory = self.field(
            "Memory", "memory", LineEdit(value=preferred("memory", "2GB")), tips["memory"], more=True
        )
        self.precision = self.value_field(
            "Precision",
            "precision",
            preferred("precision", spec.precision),
            Literal["auto", "float32", "bfloat16"],
            tips["precision"],
            more=True,
        )
        self.seams = self.sentence("seams")
        self.check_button = self._button("Check seams", "check", self.check_seams)
        self.check_button.setToolTip("Compare blocks with one pass over the middle of the image")
        self.starters.append(self.check_button)
        for field in (self.model, self.image):
            field.changed.connect(lambda _: self.seams.clear())
        self.lay_out(self.check_button, self.seams)
        self.layer: Labels | None = None
        self._follower: LayerRefresher | None = None
        self._add: Callable[..., Labels]
        self._planned: Callable[[], object] | None = None  # in memory: what to do once the run can begin
        self._names, self._path = "", Path()
        self.say("Choose a model and an image, then press Predict.")

    # ---- the run -------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Label the image chosen, in memory or into a file."""
        from napari_limn.inference.pipeline import check_image

        images, model, volume = self._chosen()
        spec = PredictSpec(memory=self.memory.value, precision=self.precision.value, device=self.device)
        check_image(model, volume)
        classes = model.spec.classes
        self._names = volume.axes.without("C").names
        self._add = partial(
            show_labels, self.viewer, images[0], volume, classes=classes, model=str(self.model.value)
        )
        self.layer = self._follower = None
        self._planned = None
        self.say("Planning …")
        if self.out.value is not None:
            self._path = Path(self.out.value).absolute()
            if self.overwrite.value:
                refuse_kept(self.viewer, self._path)
            for layer in images:
                refuse_misplaced(self._path, volume_on_disk(layer))
            self.run(_writing(model, volume, self._path, spec, overwrite=self.overwrite.value), self._written)
        else:
            data = empty_labels(volume, classes.dtype)
            exact = spec.precision in ("auto", "float32")
            there = take_over(self.viewer, images, volume, model, data) if exact else []
            self._planned = partial(self._show_in_memory, images, data)
            self.run(_predicting(model, volume, data, spec, there))
        self.note_order(self.model.value, images)

    def heard(self, event: Event) -> None:
        """Show the plan, then blocks as they come."""
        match event:
            case Planned(plan=plan):
                self.say(str(plan))
                if self._planned is not None:
                    self._planned()
            case Writing(output=output):
                layer = self._show(**shown(output.levels))
                layer.editable = False  # nobody paints into a file in the making
                note_file(layer, self._path)
            case BlockDone():
                self.block_done(event)
                if self._follower is not None:
                    self._follower.block_done(event.box)

    def ended(self, result: Any) -> None:
        """Show the last blocks."""
        self._open_to_paint()
        if result is not None and self.layer is not None:
            note(self.layer, unfinished=False)
        if self._follower is not None:
            self._follower.refresh()
        self.say(
            "Cancelled; the blocks that were done stay."
            if result is None
            else "Done. Paint corrections on your strokes, and train again."
        )

    def failed(self, error: Exception) -> None:
        """Show an error; the blocks that were done stay, and may be corrected where no file holds them."""
        if self._planned is not None:
            self._open_to_paint()
        super().failed(error)

    def _open_to_paint(self) -> None:
        """From now on no block comes."""
        if self.layer is not None:
            self.layer.editable = True

    def _written(self, result: Path | None) -> None:
        """Show the finished file; a run that was cancelled when all was done has one, too."""
        partial = unfinished(self._path)
        if result is None and (self.layer is None or partial.exists()):
            if self._follower is not None:
                self._follower.refresh()
            stays = f"; what is finished stays in {partial.name}, Predict goes on from there"
            self.say(f"Cancelled{stays if partial.exists() else ''}.")
            return
        if self.layer is None:  # it was there already
            note_file(self._show(**file_data(self._path, self._names)), self._path)
        for layer in self.viewer.layers:  # one that was kept of a run before shows its part no more
            if facts_of(layer).unfinished and shows_file(layer, self._path):
                show_file(layer, self._path, self._names)
                note(layer, unfinished=False)
        self.say(f"Done: {self._path}")

    def _show(self, **what: Any) -> Labels:
        journals_of(self, self.viewer)  # who corrects it with the brush loses nothing
        layer = self.layer = self._add(**what)
        note(layer, unfinished=True)  # painting on it makes it no more whole
        self._follower = LayerRefresher(self.viewer, layer, self._names, self)
        return layer

    def _show_in_memory(self, images: Sequence[Image], data: Any) -> None:
        """Replace what was shown before, now that the run can begin."""
        put_away(self.viewer, images)
        self._show(data=data).editable = False  # a later block would cover paint

    def _chosen(self) -> tuple[list[Image], Model, Volume]:
        layers = self.chosen_images(self.image, self.channels)
        return layers, SHELF[self.model.value], image_volume(layers)

    # ---- seams ---------------------------------------------------------------------------------------------------
    def check_seams(self) -> None:
        """Measure what cutting the image into blocks does to its labels."""
        _, model, volume = self._chosen()
        self.seams.clear()
        self.say("Checking seams …")
        self.run(_certifying(model, volume, self.device), self._checked)
        self.progress.setRange(0, 0)  # nobody knows how long

    def _checked(self, found: Certificate | None) -> None:
        self.seams.setText("" if found is None else str(found))
        self.say("Cancelled." if found is None else "Seams are checked.")

    # ---- files ---------------------------------------------------------------------------------------------------
    def load(self, path: Path) -> None:
        """Offer the model of a file."""
        SHELF.load(path, window_of(self))

    def _choose(self) -> None:
        if path := ask_for_model(self):
            self.load(path)


def _predicting(
    model: Model, volume: Volume, data: Any, spec: Any, there: list[Box]
) -> Generator[Event, None, Any]:
    from napari_limn.inference.pipeline import prediction_events
    from napari_limn.volume.writing.output import ArrayOutput

    return prediction_events(model, volume, ArrayOutput(volume, data, there), spec)


def _writing(
    model: Model, volume: Volume, path: Path, spec: Any, *, overwrite: bool
) -> Generator[Event, None, Any]:
    from napari_limn.inference.pipeline import prediction_events

    return prediction_events(model, volume, path, spec, overwrite=overwrite)


def _certifying(model: Model, volume: Volume, device: DeviceName) -> Generator[Event, None, Certificate]:
    """The same as ``napari-limn info MODEL --certify IMAGE``."""
    from napari_limn.inference.pipeline import certificate

    yield Working()
    return certificate(model, volume, device)
