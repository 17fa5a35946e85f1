"""One click turns a predicted region into a stroke."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from napari.layers import Labels
from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from napari_limn._napari.layers.class_table import names_of
from napari_limn._napari.layers.facts import facts_of
from napari_limn._napari.layers.layers import finest
from napari_limn.annotation.classes import default_name
from napari_limn.annotation.regions import Region, region_at
from napari_limn.errors import LimnError

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from napari.components import ViewerModel

    from napari_limn._napari.painting.class_list import ClassLegend

_STILL = 3  # pixels that a hand may move in a click


class ClickCorrector(QWidget):
    """A button that, while it is down, lets a click in a prediction paint the region under the mouse into the strokes.

    The region is that of one label on the visible slice. A click paints it as the class chosen in the legend; with Shift, as
    what was predicted, which says “this is right” and leaves strokes that are there alone. One Ctrl-Z takes it back.
    """

    def __init__(self, napari_viewer: ViewerModel, legend: ClassLegend) -> None:
        super().__init__()
        self.viewer, self.legend = napari_viewer, legend
        self.button = QPushButton("Correct by click")
        self.button.setObjectName("limn-classes-correct")
        self.button.setCheckable(True)
        self.button.setToolTip(
            "While this is on, a click in a prediction turns the region under the mouse into a stroke of the chosen class"
        )
        self.button.toggled.connect(self._on_toggled)
        self.status = QLabel("")
        self.status.setObjectName("limn-classes-corrected")
        self.status.setWordWrap(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.button)
        column.addWidget(self.status)
        self._mode_before: tuple[Labels, str] | None = None
        legend.layer_changed.connect(lambda: self.button.setChecked(False))

    def correct(self, position: Sequence[float], *, confirm: bool = False) -> None:
        """Paint the predicted region at a place in the world.

        Parameters
        ----------
        position
            World coordinates along the axes of the viewer.
        confirm
            Whether to paint what was predicted, instead of the class chosen in the legend.

        Raises
        ------
        LimnError
            If there is no prediction there, or nothing to paint on.
        """
        strokes = self._strokes()
        dims = self.viewer.dims
        axes = sorted(int(axis) - dims.ndim for axis in dims.displayed)
        if len(axes) != 2:
            raise LimnError("found the view in 3D, expected a slice; switch to 2D to correct by click.")
        prediction = predicted_at(self.viewer, position, strokes)
        if (found := prediction.level_shapes[0].tolist()) != list(strokes.data.shape):
            raise LimnError(
                f"{strokes.name}: found the extent {tuple(strokes.data.shape)}, expected {tuple(found)} like the "
                "prediction; choose the labels layer of this image."
            )
        region, point = region_of(prediction, position, axes)
        value = region.value if confirm else self.legend.value
        count = paint(strokes, region, point, axes, value, only_unlabelled=confirm)
        name = {0: "not labelled", **names_of(strokes)}.get(value, default_name(value))
        more = " Only what is in sight and near the click was taken." if region.cut else ""
        self.status.setText(f"{count:,} pixels are “{name}” now. Ctrl-Z takes it back.{more}")

    # ---- the mode ------------------------------------------------------------------------------------------------
    def hideEvent(self, event: Any) -> None:
        """Nobody corrects by click without seeing that it is on."""
        super().hideEvent(event)
        self.button.setChecked(False)

    def _on_toggled(self, on: bool) -> None:
        callbacks = self.viewer.mouse_drag_callbacks
        if on:
            try:
                strokes = self._strokes()
            except LimnError as error:
                self.button.setChecked(False)
                self.status.setText(str(error))
                return
            self.viewer.layers.selection.active = strokes  # the keys and Ctrl-Z are those of the active layer
            self._mode_before = (strokes, str(strokes.mode))
            strokes.mode = "pan_zoom"
            callbacks.append(self._on_press)
            self.status.setText(
                "Click a predicted region: it becomes a stroke of the chosen class. Shift-click: it is right as it is."
            )
        elif self._mode_before is not None:
            strokes, mode = self._mode_before
            self._mode_before = None
            if str(strokes.mode) == "pan_zoom":
                strokes.mode = mode
            callbacks.remove(self._on_press)
            self.status.setText("")

    def _on_press(self, viewer: Any, event: Any) -> Generator[None, None, None]:
        """A press and a release at the same place are a click; anything between moves the view, or paints."""
        strokes, start = self.legend.layer, np.asarray(event.pos)
        confirm = "Shift" in event.modifiers
        position, button = tuple(event.position), event.button
        yield
        while event.type == "mouse_move":
            yield
        still = np.abs(np.asarray(event.pos) - start).max() <= _STILL
        if button == 1 and still and strokes is not None and str(strokes.mode) == "pan_zoom":
            try:
                self.correct(position, confirm=confirm)
            except LimnError as error:
                self.status.setText(str(error))

    def _strokes(self) -> Labels:
        strokes = self.legend.layer
        if strokes is None:
            raise LimnError("there is no labels layer to paint on; add one first.")
        if strokes.multiscale or not strokes.editable:
            raise LimnError(f"{strokes.name}: this layer cannot be painted on; choose another labels layer.")
        if isinstance(strokes.data, da.Array):  # which takes no list of voxels
            raise LimnError(
                f"{strokes.name}: found labels that are read from a file piece by piece, expected labels in memory; choose another "
                "layer, or press New strokes layer in Strokes."
            )
        return strokes


def predicted_at(viewer: ViewerModel, position: Sequence[float], strokes: Labels) -> Labels:
    """The topmost visible labels layer, besides the strokes, that has a label at a place in the world.

    Raises
    ------
    LimnError
        If there is none.
    """
    for layer in reversed(viewer.layers):
        if type(layer) is Labels and layer != strokes and layer.visible and not _compares(layer):
            found = layer.get_value(position, world=True, dims_displayed=list(viewer.dims.displayed))
            value = found[1] if isinstance(found, tuple) else found
            if value:
                return layer
    raise LimnError(
        "found no predicted region under the mouse, expected one; show the prediction and click into it."
    )


def _compares(layer: Labels) -> bool:
    """Whether a layer says something of predictions, not of the image."""
    return facts_of(layer).is_comparison


def region_of(
    layer: Labels, position: Sequence[float], axes: Sequence[int]
) -> tuple[Region, tuple[int, ...]]:
    """The region of a layer at a place in the world, and the voxel of that place.

    Parameters
    ----------
    layer, position
        The labels, and world coordinates.
    axes
        The two axes of the visible slice, ascending, counted from the last.

    Raises
    ------
    LimnError
        If the place lies outside the layer.
    """
    data = finest(layer)
    point = tuple(round(float(x)) for x in layer.world_to_data(position))
    rows_at, columns_at = (len(data.shape) + a for a in axes)

    def read(rows: slice, columns: slice) -> Any:
        index: list[int | slice] = list(point)
        index[rows_at], index[columns_at] = rows, columns
        return np.asarray(data[tuple(index)])

    extent = (int(data.shape[rows_at]), int(data.shape[columns_at]))
    inside = all(0 <= p < n for p, n in zip(point, data.shape, strict=True))
    region = (
        region_at(read, extent, (point[rows_at], point[columns_at]), view=_in_view(layer, axes))
        if inside
        else None
    )
    if region is None:
        raise LimnError(f"{layer.name}: found a click outside the layer, expected one inside it.")
    return region, point


def _in_view(layer: Labels, axes: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Rows and columns that are on the canvas; all of them along an axis that was never drawn."""
    step = layer.downsample_factors[layer.data_level] if layer.multiscale else np.ones(layer.ndim)
    low, high = layer.corner_pixels * step
    whole = [(0, int(n)) for n in layer.level_shapes[0]]
    return tuple((int(low[a]), int(high[a] + step[a])) if high[a] > low[a] else whole[a] for a in axes)


def paint(
    strokes: Labels,
    region: Region,
    point: Sequence[int],
    axes: Sequence[int],
    value: int,
    *,
    only_unlabelled: bool,
) -> int:
    """Paint a region of a plane through `point` as one step that undo takes back; returns how many voxels changed.

    Parameters
    ----------
    strokes, region
        Where to paint, and what.
    point, axes
        A voxel of the plane, and the two axes of it, counted from the last.
    value
        The class.
    only_unlabelled
        Whether strokes that are there stay.

    Raises
    ------
    LimnError
        If the layer's type does not hold the value.
    """
    if value > (most := np.iinfo(strokes.data.dtype).max):
        raise LimnError(
            f"{strokes.name}: found class {value}, expected up to {most}; use a layer of a larger type."
        )
    index: list[Any] = [np.full(len(region.rows), p, np.intp) for p in point]
    index[axes[0]], index[axes[1]] = region.rows, region.columns
    before = np.asarray(strokes.data[tuple(index)])
    wrong = (before == 0) & (before != value) if only_unlabelled else before != value
    chosen = tuple(at[wrong] for at in index)
    if len(chosen[0]):
        strokes.data_setitem(chosen, value)
    return int(np.count_nonzero(wrong))
