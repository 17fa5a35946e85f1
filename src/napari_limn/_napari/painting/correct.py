"""One click turns a predicted region into a stroke."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import dask.array as da
import numpy as np
from napari.layers import Labels
from qtpy.QtWidgets import QPushButton, QVBoxLayout, QWidget

from napari_limn._napari.layers.class_table import names_of
from napari_limn._napari.layers.facts import facts_of
from napari_limn._napari.layers.layers import finest, lies_on
from napari_limn._napari.layers.listening import call_all
from napari_limn._napari.layers.plain_text import PlainLabel
from napari_limn._napari.layers.words import in_window
from napari_limn._napari.painting.click import (
    Plane,
    is_click,
    paint_region,
    refuse_other_extent,
    refuse_unpaintable,
    region_in,
    sentence_of,
    visible_plane,
)
from napari_limn._napari.painting.keys import borrow_escape
from napari_limn.errors import LimnError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from napari.components import ViewerModel

    from napari_limn._napari.painting.class_list import ClassLegend


class ClickCorrector(QWidget):
    """A button; while it is down, a click turns predictions into strokes.

    The region is that of one label on the visible slice. A click paints it as the class chosen in the legend. With Shift it is
    painted as predicted, which says “this is right” and leaves strokes that are there alone. One Ctrl-Z takes it back.
    """

    def __init__(self, napari_viewer: ViewerModel, legend: ClassLegend) -> None:
        super().__init__()
        self.viewer, self.legend = napari_viewer, legend
        self.button = QPushButton("Correct by click")
        self.button.setObjectName("limn-classes-correct")
        self.button.setCheckable(True)
        self.button.setToolTip(
            "While this is on, a click in a prediction turns the region under the mouse into a stroke of the chosen class; "
            "Escape ends it"
        )
        self.button.toggled.connect(self._on_toggled)
        self.status = PlainLabel()
        self.status.setObjectName("limn-classes-corrected")
        self.status.setWordWrap(True)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.button)
        column.addWidget(self.status)
        self.status.hide()
        self._mode_before: tuple[Labels, str] | None = None
        self._keys: list[Callable[[], object]] = []
        legend.layer_changed.connect(self._on_layer)
        self._on_layer()

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
        strokes, dims = self._strokes(), self.viewer.dims
        axes = visible_plane(dims.displayed, dims.ndim)
        prediction = predicted_at(self.viewer, position, strokes)
        refuse_other_extent(strokes.name, strokes.data.shape, prediction.level_shapes[0].tolist())
        plane = Plane(tuple(round(float(x)) for x in prediction.world_to_data(position)), axes)
        region = region_in(prediction.name, finest(prediction), plane, _in_view(prediction, axes))
        value = region.value if confirm else self.legend.value
        count = paint_region(strokes, region, plane, value, only_unlabelled=confirm)
        there = lies_on(strokes, prediction)
        self._say(sentence_of(count, value, names_of(strokes), cut=region.cut, there=there))

    # ---- the mode ------------------------------------------------------------------------------------------------
    def hideEvent(self, event: Any) -> None:
        """End the mode, which is on while its button is in sight."""
        super().hideEvent(event)
        self.button.setChecked(False)

    def _on_layer(self) -> None:
        """End the mode with its layer; allow none without one."""
        self.button.setChecked(False)
        self.button.setEnabled(self.legend.layer is not None)

    def _on_toggled(self, on: bool) -> None:
        callbacks = self.viewer.mouse_drag_callbacks
        if on:
            try:
                strokes = self._strokes()
            except LimnError as error:
                self.button.setChecked(False)
                self._say(in_window(str(error)))
                return
            self.viewer.layers.selection.active = strokes  # the keys and Ctrl-Z are those of the active layer
            self._mode_before = (strokes, str(strokes.mode))
            strokes.mode = "pan_zoom"
            callbacks.append(self._on_press)
            self._keys += [borrow_escape(of, self._end) for of in (self.viewer, strokes)]
            self._say(
                "Click a predicted region: it becomes a stroke of the chosen class. Shift-click: it is right as it is."
            )
        elif self._mode_before is not None:
            strokes, mode = self._mode_before
            self._mode_before = None
            if str(strokes.mode) == "pan_zoom":
                strokes.mode = mode
            callbacks.remove(self._on_press)
            call_all(self._keys)
            self._say("")

    def _say(self, text: str) -> None:
        """Say something below the button; nothing takes no room."""
        self.status.setText(text)
        self.status.setVisible(bool(text))

    def _end(self) -> None:
        self.button.setChecked(False)

    def _on_press(self, viewer: Any, event: Any) -> Generator[None, None, None]:
        """Correct where a press and a release are a click."""
        strokes, start = self.legend.layer, tuple(event.pos)
        confirm = "Shift" in event.modifiers
        position, button = tuple(event.position), event.button
        yield
        while event.type == "mouse_move":
            yield
        if strokes is not None and is_click(start, event.pos, button, str(strokes.mode)):
            try:
                self.correct(position, confirm=confirm)
            except LimnError as error:
                self._say(in_window(str(error)))

    def _strokes(self) -> Labels:
        strokes = self.legend.layer
        if strokes is None:
            raise LimnError("there is no labels layer to paint on; add one first.")
        refuse_unpaintable(
            strokes.name,
            editable=strokes.editable and not strokes.multiscale,
            lazy=isinstance(strokes.data, da.Array),
        )
        return strokes


def predicted_at(viewer: ViewerModel, position: Sequence[float], strokes: Labels) -> Labels:
    """Find the topmost visible labels layer with a label at a place.

    The strokes themselves do not count.

    The place is in the world.

    Raises
    ------
    LimnError
        If there is none.
    """
    for layer in reversed(viewer.layers):
        if type(layer) is Labels and layer != strokes and layer.visible and not facts_of(layer).is_comparison:
            value = layer.get_value(position, world=True, dims_displayed=list(viewer.dims.displayed))
            if value[1] if isinstance(value, tuple) else value:  # of a pyramid: level and value
                return layer
    raise LimnError(
        "found no predicted region under the mouse, expected one; show the prediction and click into it."
    )


def _in_view(layer: Labels, axes: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Give the rows and columns on the canvas.

    Along an axis that was never drawn, that is all of them.
    """
    step = layer.downsample_factors[layer.data_level] if layer.multiscale else np.ones(layer.ndim)
    low, high = layer.corner_pixels * step
    whole = [(0, int(n)) for n in layer.level_shapes[0]]
    return tuple((int(low[a]), int(high[a] + step[a])) if high[a] > low[a] else whole[a] for a in axes)
