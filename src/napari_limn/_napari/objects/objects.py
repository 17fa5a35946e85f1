"""The Objects section: from classes to objects and their table."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dask.array
import numpy as np
from magicgui.widgets import FloatSlider, LineEdit
from napari.layers import Labels
from napari.utils.colormaps import CyclicLabelColormap
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QFileDialog

from napari_limn._napari.layers.camera import look_at
from napari_limn._napari.layers.class_table import given_names, names_of
from napari_limn._napari.layers.facts import LayerFacts, facts_of
from napari_limn._napari.layers.layers import (
    empty_labels,
    image_of,
    image_volume,
    insert_unchosen,
    note_name,
    remove_earlier,
    volume_of,
)
from napari_limn._napari.objects.object_table import ObjectTableView
from napari_limn._napari.objects.objects_controller import SPLITS, ObjectChoices, ObjectsController
from napari_limn._napari.panel.form import FormWidget, lay_out
from napari_limn.errors import LimnError
from napari_limn.files.paths import portable_name
from napari_limn.instances.splitting.ratio import DEFAULT

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer
    from numpy.typing import NDArray
    from qtpy.QtWidgets import QPushButton

    from napari_limn._napari.panel.session import Sight
    from napari_limn.instances.adjustable import AdjustableObjects, AdjustedObjects
    from napari_limn.volume.boxes import Box
    from napari_limn.volume.volume import Volume

KIND = "objects"
"""What a layer of objects is, in its facts."""

_EVERY = "all but background"
_NO_LABELS = "Predict labels, or open some, first."
_AT_ONCE = 1 << 24  # voxels of which objects are looked up at once, and not when they come into sight
_PAUSE = 30  # milliseconds without a move until objects follow a slider
_MOST_COLORS = 1 << 16  # objects with a colour that stays while a slider moves
_OPACITY = 0.6


class ObjectsWidget(FormWidget):
    """Number the objects of a class, split those that touch, measure them."""

    def __init__(self, napari_viewer: Viewer) -> None:
        tip = "Number the objects of the labels, and measure them"
        super().__init__(napari_viewer, "run", "limn-objects", "Find objects", "Cancel", tip)
        self.controller = ObjectsController(self, self.run_box)
        self.run_box.handler = self.controller
        self.layer: Labels | None = None
        self._colors: NDArray[np.float32] = np.zeros((1, 4), np.float32)
        self._selected = 1  # as in a new layer
        self._sight: Image | None = None
        self._newest: Labels | None = None  # prediction of that image
        self._add_rows()
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(_PAUSE)
        self._soon.timeout.connect(lambda: self.run_box.guarded(self.controller.adjust))
        for knob in (self.split, self.touching, self.smallest):
            knob.changed.connect(lambda _: self._soon.start())
        for choice in (self.labels, self.of_class):
            choice.changed.connect(lambda _: self.controller.forget())
        box = self.run_box
        self.fit_button = box.button("Fit to my objects", "fit", self.controller.fit, _FIT_TIP)
        self.save_button = box.button(
            "Save table …", "save", self.controller.save, "Save what the objects measure"
        )
        box.starters += [self.fit_button, self.save_button]
        self.table = ObjectTableView()
        self.table.picked.connect(self._go_to)
        lay_out(self, self.form, box, self.table, self.save_button, self.fit_button)
        self.reset_choices()
        box.say("Choose labels, then press Find objects.")

    # ---- building ------------------------------------------------------------------------------------------------
    def _add_rows(self) -> None:
        form = self.form
        self.labels = form.named_field(
            "Labels", "labels", self._offered, "Labels of classes, such as a prediction"
        )
        self.of_class = form.named_field("Class", "class", self._classes, "Whose objects are wanted")
        self.touching = form.value_field(
            "Split touching", "touching", True, bool, "Separate objects that touch where they are thin"
        )
        low, high = SPLITS
        self.split = form.field(
            "How readily", "split", FloatSlider(value=DEFAULT, min=low, max=high, step=0.01),
            "Left: objects that touch are seldom separated. Right: often",
        )  # fmt: skip
        self.smallest = form.field(
            "Smallest", "smallest", LineEdit(value=""), "Smaller objects are left out: 20um2, 300um3, or a number of voxels"
        )  # fmt: skip
        self.painted_layer = form.named_field("My objects", "painted", self._painted_layers, _FIT_TIP)
        form.fold(self.painted_layer.native)

    def _offered(self) -> list[Any]:
        """List labels of classes, predictions first."""
        layers = [x for x in reversed(self.viewer.layers) if type(x) is Labels and facts_of(x).kind != KIND]
        return sorted(layers, key=lambda layer: not facts_of(layer).is_prediction)

    def _painted_layers(self) -> list[Any]:
        return [x for x in self._offered() if not facts_of(x).is_made_here]

    def _classes(self) -> list[Any]:
        if not hasattr(self, "labels") or self.labels.value is None:
            return [_EVERY]
        return [_EVERY, *(f"{value}: {name}" for value, name in sorted(names_of(self.labels.value).items()))]

    def lacking(self) -> dict[QPushButton, str]:
        """Say what must be there before a button can be pressed."""
        why = "" if self.labels.value is not None else _NO_LABELS
        mine = why or ("" if self.painted_layer.value is not None else "Paint three objects whole first.")
        return {self.run_box.start_button: why, self.save_button: why, self.fit_button: mine}

    def reset_choices(self, event: Any = None) -> None:
        """Offer the layers of now; choose a prediction that is new."""
        super().reset_choices(event)
        self._choose_newest()

    def follow(self, sight: Sight) -> None:
        """Choose the newest prediction of the image that the user works on."""
        super().follow(sight)
        self._sight = sight.image
        self._choose_newest()

    def _choose_newest(self) -> None:
        image, offered = self._sight, self.labels.choices
        of_image = [x for x in offered if image is not None and _is_prediction_of(x, image)]
        newest = of_image[0] if of_image else None
        if newest is not self._newest:
            self._newest = newest
            if newest is not None:
                self.labels.value = newest

    # ---- what the controller asks for ----------------------------------------------------------------------------
    def object_choices(self) -> ObjectChoices:
        """Return what the form says."""
        chosen = self.of_class.value
        value = None if chosen in (None, _EVERY) else int(str(chosen).split(":")[0])
        split = float(self.split.value) if self.touching.value else None
        return ObjectChoices(value=value, split=split, smallest=self.smallest.value)

    def sources(self) -> tuple[Volume, Volume | None, Any]:
        """Return labels, image, and an array for what is found."""
        layer, image = self.labels.value, self._image()
        if layer is None:
            raise LimnError("there are no labels; predict some, or open a file of them.")
        facts, volume = facts_of(layer), volume_of(layer)
        volume = replace(volume, names=given_names(layer))
        if facts.file is not None and not facts.unfinished:
            volume = replace(volume, path=Path(facts.file))  # probabilities may lie there
        measured = None if image is None else image_volume([image])
        return volume, measured, empty_labels(volume, np.uint32)

    def painted(self) -> Volume:
        """Return the objects that the user painted whole."""
        if self.painted_layer.value is None:
            raise LimnError(
                "there is no layer of painted objects; paint three or more whole, each with a number of its own."
            )
        return volume_of(self.painted_layer.value)

    def needed_layers(self) -> list[Any]:
        """Return the layers that a run needs, as chosen now."""
        return [layer for layer in (self.labels.value, self._image()) if layer is not None]

    def _image(self) -> Image | None:
        """Return the image that the labels belong to."""
        return None if self.labels.value is None else image_of(self.viewer, self.labels.value)

    def set_split(self, split: float) -> None:
        """Move the slider."""
        with self.split.changed.blocked(), self.touching.changed.blocked():
            self.touching.value, self.split.value = True, split

    def show_objects(self, basins: AdjustableObjects, objects: AdjustedObjects) -> None:
        """Show objects in their layer and in the table."""
        data = _looked_up(basins.basins.data, objects.ids)
        self._colors = _colors_of(objects)
        if self.layer is None or self.layer not in self.viewer.layers or self.layer.ndim != data.ndim:
            self.layer = self._new_layer(data)
        else:
            self.layer.data = data
        self.layer.colormap = CyclicLabelColormap(colors=self._colors)
        self.layer.features = {"index": objects.table["label"], **_plain(objects.table.columns)}
        self.table.fill(objects.table)

    def _new_layer(self, data: Any) -> Labels:
        """Add a layer of objects above the labels."""
        labels, image = self.labels.value, self._image() or self.labels.value
        remove_earlier(self.viewer, image, KIND)
        place = {
            name: getattr(labels, name)
            for name in ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
        }
        facts = LayerFacts.of(image, kind=KIND).to_metadata()
        layer = Labels(data, name=f"{image.name} objects", metadata=facts, opacity=_OPACITY, **place)
        insert_unchosen(self.viewer, list(self.viewer.layers).index(labels) + 1, layer)
        note_name(layer)
        self._selected = int(layer.selected_label)
        layer.events.selected_label.connect(partial(self._on_selected, layer))
        return layer

    def ask_where(self) -> Path | None:
        """Ask for the file of the table."""
        name = "objects" if self.layer is None else self.layer.name
        dialog = QFileDialog(self, "Save the table", "", "Table (*.csv);;Parquet (*.parquet)")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setDefaultSuffix("csv")
        dialog.selectFile(portable_name(name, ".csv"))
        chosen = dialog.selectedFiles() if dialog.exec() else []
        dialog.deleteLater()
        return Path(chosen[0]) if chosen else None

    # ---- one object ----------------------------------------------------------------------------------------------
    def _go_to(self, index: int) -> None:
        """Show an object in the middle of the view, in white."""
        shown, basins = self.controller.shown, self.controller.basins
        if self.layer is None or self.layer not in self.viewer.layers or shown is None or basins is None:
            return
        self._selected = index + 1
        self.layer.selected_label = index + 1
        self._mark(index + 1)
        look_at(self.viewer, self.layer, basins.basins.axes.names, _box_of(shown, index))

    def _on_selected(self, layer: Labels, event: Any = None) -> None:
        """Find the row of the object that was picked in the image."""
        label = int(layer.selected_label)
        if layer is not self.layer or label == self._selected:  # napari says so, too, when colours change
            return
        self._selected = label
        if 0 < label < len(self._colors):
            self.table.choose(label - 1)
            self._mark(label)

    def _mark(self, label: int) -> None:
        if self.layer is not None and label < len(self._colors):
            colors = self._colors.copy()
            colors[label] = 1.0
            self.layer.colormap = CyclicLabelColormap(colors=colors)


_FIT_TIP = "Choose how readily objects are split by three or more that you painted whole, each with a number of its own"


def _looked_up(basins: Any, ids: NDArray[np.uint32]) -> Any:
    """Give the object of each voxel.

    Of large stacks, when it comes into sight.
    """
    if isinstance(basins, np.ndarray) and basins.size <= _AT_ONCE:
        return ids[basins]
    chunks = (1,) * (basins.ndim - 2) + basins.shape[-2:]
    lazy = dask.array.from_array(basins, chunks=chunks)  # type: ignore[no-untyped-call]
    return lazy.map_blocks(partial(np.take, ids), dtype=np.uint32)


def _colors_of(objects: AdjustedObjects) -> NDArray[np.float32]:
    """Give each object the colour of its key.

    It stays while a slider moves.
    """
    palette = np.random.default_rng(0).uniform(0.25, 1.0, (_MOST_COLORS, 4)).astype(np.float32)
    palette[:, 3] = 1.0
    colors: NDArray[np.float32] = palette[objects.keys[:_MOST_COLORS] % _MOST_COLORS]
    colors[0] = 0.0
    return colors if len(colors) > 1 else np.concatenate([colors, palette[:1]])


def _is_prediction_of(layer: Labels, image: Image) -> bool:
    facts = facts_of(layer)
    return facts.is_prediction and facts.belongs_to(image)


def _plain(columns: Any) -> dict[str, Any]:
    return {name: column for name, column in columns.items() if name != "label"}


def _box_of(objects: AdjustedObjects, index: int) -> Box:
    """Give the box of an object on the TZYX grid."""
    table = objects.table
    frame = int(table["frame"][index]) if "frame" in table.columns else 0
    corners = [int(table[f"bbox-{n}"][index]) for n in range(6) if f"bbox-{n}" in table.columns]
    half = len(corners) // 2
    spans = list(zip(corners[:half], corners[half:], strict=True))
    return ((frame, frame + 1), *((0, 1) for _ in range(3 - half)), *spans)
