"""The Predict widget."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from magicgui.widgets import ComboBox, LineEdit
from napari.layers import Image, Labels
from qtpy.QtWidgets import QFileDialog

from napari_limn._napari.forms import Panel
from napari_limn._napari.layers import empty_labels, image_volume, show_labels
from napari_limn._napari.shelf import SHELF
from napari_limn.events import BlockDone, Event, Planned

if TYPE_CHECKING:
    from collections.abc import Generator

    from napari.viewer import Viewer

    from napari_limn.model import Model
    from napari_limn.volume.volume import Volume

_REFRESH = 0.25  # seconds between two looks at blocks that came in


class PredictWidget(Panel):
    """Label every voxel of an image layer with a trained model."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer, "limn-predict", "Predict", "Cancel")
        self.model = self.field(
            "Model",
            "model",
            ComboBox(choices=lambda _: SHELF.names),
            "A model trained in this session, or loaded from a file",
        )
        self.load_button = self._button("Load model …", "load", self._choose)
        self.form.addRow("", self.load_button)
        self.image = self.layer_field("Image", "image", Image, "The image to label")
        self.channels = self.channels_field()
        self.memory = self.field(
            "Memory", "memory", LineEdit(value="2GB"), "Most memory to use, for example 2GB", more=True
        )
        self.precision = self.value_field(
            "Precision",
            "precision",
            "auto",
            Literal["auto", "float32", "bfloat16"],
            "auto is exact; bfloat16 is faster on some processors and changes a few labels",
            more=True,
        )
        self.lay_out()
        self.layer: Labels | None = None
        self._refreshed = 0.0
        SHELF.added.connect(self._on_model)
        self.say("Choose a model and an image, then press Predict.")

    # ---- the run -------------------------------------------------------------------------------------------------
    def start(self) -> None:
        """Label the image chosen."""
        from napari_limn.inference.pipeline import PredictSpec, check_fit

        layers = self.chosen_images(self.image, self.channels)
        model, volume = SHELF[self.model.value], image_volume(layers)
        spec = PredictSpec(memory=self.memory.value, precision=self.precision.value)
        check_fit(model, volume)
        data = empty_labels(volume, model.spec.classes.dtype)
        self.layer = show_labels(
            self.viewer, layers[0], volume, data, model.spec.classes, str(self.model.value)
        )
        self.say("Planning …")
        self.run(_predicting(model, volume, data, spec))

    def heard(self, event: Event) -> None:
        """Show the plan, then blocks as they come."""
        match event:
            case Planned(plan=plan):
                self.say(str(plan))
            case BlockDone(done=done, total=total, seconds=seconds):
                self.progress.setValue(1000 * done // total)
                if time.monotonic() - self._refreshed > _REFRESH:
                    self.say(f"Block {done} of {total}, about {seconds / done * (total - done):.0f} s to go")
                    self._refresh()

    def ended(self, result: Any) -> None:
        """Show the last blocks."""
        self._refresh()
        self.say(
            "Cancelled; the blocks that were done stay."
            if result is None
            else "Done. Paint corrections, and train again."
        )

    def _refresh(self) -> None:
        self._refreshed = time.monotonic()
        if self.layer is not None and self.layer in self.viewer.layers:
            self.layer.refresh(thumbnail=False, highlight=False, extent=False)

    def _on_model(self, name: str) -> None:
        self.model.reset_choices()
        self.model.value = name

    # ---- files ---------------------------------------------------------------------------------------------------
    def load(self, path: Path) -> None:
        """Offer the model of a file."""
        SHELF.load(path)

    def _choose(self) -> None:
        if found := QFileDialog.getOpenFileName(self, "Load a model", "", "Limn models (*.limn)")[0]:
            self.load(Path(found))


def _predicting(model: Model, volume: Volume, data: Any, spec: Any) -> Generator[Event, None, Any]:
    from napari_limn.inference.pipeline import prediction_events
    from napari_limn.volume.output import ArrayOutput

    return prediction_events(model, volume, ArrayOutput(volume, data), spec)
