"""The Compare widget: two predictions of an image, one after the other or side by side, or where they disagree."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox
from napari.layers import Image, Labels
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QButtonGroup,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_limn._napari.layers.class_table import names_of, predicted_layers
from napari_limn._napari.layers.facts import LayerFacts, facts_of
from napari_limn._napari.layers.layers import (
    being_renamed,
    colormap,
    is_untouched,
    named,
    painted_look,
    volume_of,
)
from napari_limn._napari.layers.listening import call_all, connected
from napari_limn._napari.layers.refresh import field_of, shown
from napari_limn._napari.panel.docking import DockPlace, is_closed
from napari_limn._napari.prediction.side_by_side import SideBySide
from napari_limn.errors import LimnError
from napari_limn.evaluation.difference import Pair, plane_in_sight
from napari_limn.volume.axes import GRID
from napari_limn.volume.boxes import overlap, size_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.viewer import Viewer

    from napari_limn.volume.boxes import Box

_WAIT = 300  # ms after the view moved until voxels are counted
_GREY = (0.6, 0.6, 0.6, 1.0)  # of “background” in a difference, where it must be seen
_VIEWS = {"first": "First", "second": "Second", "difference": "Difference", "beside": "Side by side"}
_PLACEMENT = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


class CompareWidget(QWidget):
    """Look at two predictions of the same image in turn, side by side, or at where they disagree; keep the better one."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self.viewer, self._place = napari_viewer, DockPlace(self, napari_viewer, "run")
        self.boxes = SideBySide(napari_viewer, self._left_boxes)
        self.difference: Labels | None = None
        self._pair: tuple[Labels, Labels] | None = None
        self._data: list[Any] = []  # of the pair
        self._following: list[Callable[[], object]] = []
        self._listening: list[Callable[[], object]] = []
        self.first, self.second = (self._choice(name) for name in ("first", "second"))
        self.views = QButtonGroup(self)
        self.show_buttons = {
            which: self._button(text, f"show-{which}", partial(self.show_only, which))
            for which, text in _VIEWS.items()
        }
        for button in self.show_buttons.values():
            button.setCheckable(True)
            self.views.addButton(button)
        self.show_buttons["beside"].setToolTip(
            "The image and both predictions in boxes of their own, which move and zoom together"
        )
        self.status = QLabel("")
        self.status.setObjectName("limn-compare-status")
        self.status.setWordWrap(True)
        self.status.setMinimumHeight(48)
        self._count_again = QTimer(self)
        self._count_again.setSingleShot(True)
        self._count_again.setInterval(_WAIT)
        self._count_again.timeout.connect(self.count)
        self._lay_out()
        for choice in (self.first, self.second):
            choice.changed.connect(lambda _: self._on_pair())

    # ---- what the person does ------------------------------------------------------------------------------------
    def show_only(self, which: str) -> None:
        """Show ``"first"``, ``"second"`` or the ``"difference"``, and hide the other two; or both ``"beside"`` the image."""
        self.boxes.end()
        try:
            layers = {"first": self.first.value, "second": self.second.value, "difference": self.difference}
            pair_of(layers["first"], layers["second"])
            if which == "difference" and self.difference is None:
                layers[which] = self._add_difference()
        except LimnError as error:
            self._say(str(error))
            return
        if which == "beside":
            self.boxes.begin([*_image_of(self.viewer, layers["second"]), layers["first"], layers["second"]])
        else:
            for name, layer in layers.items():
                if layer is not None:
                    layer.visible = name == which
        self.show_buttons[which].setChecked(True)
        self._count_again.start()

    def keep(self, layer: Labels | None) -> None:
        """Let the next prediction of this image leave a layer as it is."""
        if layer is not None:
            keep(layer)
            self.reset_choices()

    def discard(self, layer: Labels | None) -> None:
        """Remove a prediction from the window; a file that it shows stays."""
        if layer is not None and layer in self.viewer.layers:
            self.viewer.layers.remove(layer)
            self.reset_choices()

    def count(self) -> None:
        """Say how much of the visible slice differs."""
        first, second = self.first.value, self.second.value
        if first is None or second is None or first is second:
            return
        try:
            self._say(disagreement(self.viewer, first, second))
        except LimnError as error:
            self._say(str(error))
        if self.difference is not None and self.difference.visible:
            self.difference.refresh(thumbnail=False, highlight=False, extent=False)

    # ---- following the layers ------------------------------------------------------------------------------------
    def reset_choices(self, event: Any = None) -> None:
        """Offer the predictions that are there now; napari calls this when layers come, go or are renamed."""
        if being_renamed(self.viewer):
            return
        layers = predicted_layers(self.viewer)
        wanted = _pair_among(layers, self.first.value, self.second.value)
        with (
            self.first.changed.blocked(),
            self.second.changed.blocked(),
        ):  # values come and go while choices are set
            for choice, layer in zip((self.first, self.second), wanted, strict=True):
                choice.reset_choices()
                if layer is not None:
                    choice.value = layer
        self._on_pair()

    def showEvent(self, event: Any) -> None:
        """Listen while in sight."""
        super().showEvent(event)
        self._place.shown()
        self.hideEvent(None)
        dims = self.viewer.dims.events
        self._listening += [
            connected(told, self._on_moved) for told in (dims.current_step, dims.order, dims.ndisplay)
        ]
        self.reset_choices()

    def hideEvent(self, event: Any) -> None:
        """Count nothing that nobody sees."""
        if event is not None:
            super().hideEvent(event)
            self.boxes.end()
        call_all(self._listening)

    def changeEvent(self, event: Any) -> None:
        """Leave no difference behind where the panel is closed: nothing would follow its pair."""
        super().changeEvent(event)
        if is_closed(self, event):
            self._remove_difference()

    def _on_moved(self, event: Any = None) -> None:
        self._count_again.start()

    def _on_pair(self, event: Any = None) -> None:
        """Another pair, or one that is no more: its difference goes."""
        first, second = self.first.value, self.second.value
        pair = None if first is None or second is None or first is second else (first, second)
        data = [layer.data for layer in pair or ()]
        again = False
        if pair != self._pair:
            self.boxes.end()
            self._remove_difference()
            call_all(self._following)
            self._following += [connected(layer.events.data, self._on_pair) for layer in pair or ()]
        elif any(now is not before for now, before in zip(data, self._data, strict=True)):
            # a file in the making is finished: what was shown of it is no more
            again = self.difference is not None and self.difference.visible
            self._remove_difference()
        if self.difference not in self.viewer.layers:
            self.difference = None
        self._pair, self._data = pair, data
        for button in self.show_buttons.values():
            button.setEnabled(pair is not None)
        if pair is None:
            self._say(
                "Predict an image, keep the result, and predict it with another model; then compare the two."
            )
        else:
            self._say("Counting …")
            self._count_again.start()
        if again:
            self.show_only("difference")

    def _remove_difference(self) -> None:
        layer, self.difference = self.difference, None
        if layer is not None and layer in self.viewer.layers:
            self.viewer.layers.remove(layer)

    def _left_boxes(self) -> None:
        """No view is the chosen one, until another is."""
        self.views.setExclusive(False)
        self.show_buttons["beside"].setChecked(False)
        self.views.setExclusive(True)

    def _add_difference(self) -> Labels:
        first, second = self.first.value, self.second.value
        layer, selection = difference_layer(first, second), self.viewer.layers.selection
        active = selection.active
        self.viewer.add_layer(layer)
        layer.editable = False
        if active is not None:  # who paints goes on painting
            selection.active = active
        self.difference = layer
        return layer

    # ---- building ------------------------------------------------------------------------------------------------
    def _lay_out(self) -> None:
        column, form = QVBoxLayout(self), QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for name, choice in (("first", self.first), ("second", self.second)):
            form.addRow(name.capitalize(), choice.native)
            keeping = self._button("Keep", f"keep-{name}", partial(self._act, self.keep, choice))
            keeping.setToolTip("Let the next prediction of this image leave this one as it is")
            going = self._button("Discard", f"discard-{name}", partial(self._act, self.discard, choice))
            going.setToolTip("Remove this prediction from the window; a file that it shows stays")
            form.addRow("", _in_a_row(keeping, going))
        *in_turn, beside = self.show_buttons.values()
        form.addRow("Show", _in_a_row(*in_turn))
        form.addRow("", beside)
        column.addLayout(form)
        column.addWidget(self.status)
        column.addStretch()

    def _choice(self, name: str) -> Any:
        choice = ComboBox(choices=lambda _: predicted_layers(self.viewer), nullable=False)
        choice.native.setObjectName(f"limn-compare-{name}")
        choice.native.setToolTip("A prediction made in this window")
        choice.native.setMinimumWidth(80)
        choice.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        return choice

    def _button(self, text: str, name: str, act: Callable[[], object]) -> QPushButton:
        button = QPushButton(text)
        button.setObjectName(f"limn-compare-{name}")
        button.clicked.connect(lambda _=False: act())
        return button

    @staticmethod
    def _act(act: Callable[[Labels | None], object], choice: Any) -> None:
        act(choice.value)

    def _say(self, text: str) -> None:
        self.status.setText(text)


def keep(layer: Labels) -> None:
    """Name a prediction after its model, so that the next prediction of its image does not replace it."""
    if is_untouched(layer):
        facts = facts_of(layer)
        layer.name = f"{facts.image} {facts.kind} ({facts.model})"


def _image_of(viewer: ViewerModel, prediction: Labels) -> list[Image]:
    """The image that a prediction was made of, if it is still there."""
    name = _name_of_image(prediction)
    return [layer for layer in viewer.layers if layer.name == name and isinstance(layer, Image)]


def _name_of_image(prediction: Labels) -> str:
    """Name of the image that a prediction was made of; of one that was painted on meanwhile, its own."""
    facts = facts_of(prediction)
    return facts.image if facts.is_prediction and facts.image is not None else prediction.name


def _pair_among(
    layers: list[Labels], first: Labels | None, second: Labels | None
) -> tuple[Labels | None, Labels | None]:
    """Two different predictions, those chosen if they are still there; the newest is the second."""
    newest = layers[0] if layers else None
    if second not in layers or second is first:
        second = newest
    if first not in layers or first is second:
        first = next((layer for layer in layers if layer is not second), None)
    return first, second


def pair_of(first: Labels | None, second: Labels | None) -> Pair:
    """The labels of two predictions, level by level.

    Raises
    ------
    LimnError
        If they are not two, or not of one image.
    """
    if first is None or second is None or first is second:
        raise LimnError("found one prediction, expected two; keep this one and predict with another model.")
    one, other = (list(layer.data) if layer.multiscale else [layer.data] for layer in (first, second))
    names = {**names_of(first), **names_of(second)}
    return Pair(one, other, volume_of(second).axes.names, max(names) + 1 if 0 in names else 0)


def difference_layer(first: Labels, second: Labels) -> Labels:
    """Where two predictions disagree, in the colours and with the names of the second; nothing is read.

    Raises
    ------
    LimnError
        If they are not of one image.
    """
    pair = pair_of(first, second)
    names = names_of(second)
    colors = painted_look(second, names)
    if pair.zero:
        names, colors = {**names, pair.zero: names.get(0, "background")}, {**colors, pair.zero: _GREY}
    facts = LayerFacts(difference=(first.name, second.name))
    look = named({value: name for value, name in names.items() if value}, facts)
    look["features"]["class"][0] = "the same"
    place = {what: getattr(second, what) for what in _PLACEMENT}
    name = f"{_name_of_image(second)} difference"
    return Labels(**shown(pair.difference()), name=name, colormap=colormap(colors), **look, **place)


def disagreement(viewer: ViewerModel, first: Labels, second: Labels) -> str:
    """How much of the visible slice differs, in a sentence; of a large one, what can be read at once.

    Raises
    ------
    LimnError
        If the two are not of one image.
    """
    pair, names = pair_of(first, second), volume_of(second).axes.names
    if viewer.dims.ndisplay != 2:
        return "Switch to 2D to see how much of a slice differs."
    plane = _plane(viewer, second, names)
    view = overlap(plane, field_of(viewer, second, names))
    box, level, complete = plane_in_sight(pair, plane, view if size_of(view) else plane)
    found = pair.count(box, level)
    if not found.compared:
        return "One of the two has no labels here yet."
    about = "About " if level else ""
    where = "of this slice" if complete else "in the middle of the view"
    return (
        f"{about}{found.share:.2%} of the voxels {where} differ ({found.differing:,} of {found.compared:,})."
    )


def _plane(viewer: ViewerModel, layer: Labels, names: str) -> Box:
    """The visible slice on the TZYX grid."""
    point = layer.world_to_data(viewer.dims.point)
    first = viewer.dims.ndim - layer.ndim
    spans = {}
    for i, (name, length) in enumerate(zip(names, layer.level_shapes[0], strict=True)):
        at = min(max(round(float(point[i])), 0), int(length) - 1)
        spans[name] = (0, int(length)) if i + first in viewer.dims.displayed else (at, at + 1)
    return tuple(spans.get(name, (0, 1)) for name in GRID)


def _in_a_row(*widgets: QWidget) -> QWidget:
    held = QWidget()
    row = QHBoxLayout(held)
    row.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        row.addWidget(widget)
    return held
