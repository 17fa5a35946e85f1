"""The Compare widget: two predictions of an image, and their difference."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from magicgui.widgets import ComboBox
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QButtonGroup,
    QFormLayout,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_limn._napari.layers.class_table import predicted_layers
from napari_limn._napari.layers.facts import facts_of
from napari_limn._napari.layers.layers import being_renamed, image_of
from napari_limn._napari.layers.listening import call_all, connected
from napari_limn._napari.layers.plain_text import PlainLabel, set_tip, show_whole_names
from napari_limn._napari.layers.words import in_window
from napari_limn._napari.panel.docking import DockedWidget
from napari_limn._napari.prediction.pairs import (
    difference_layer,
    disagreement,
    keep,
    pair_among,
    pair_of,
)
from napari_limn._napari.prediction.side_by_side import SideBySide
from napari_limn.errors import LimnError

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Labels
    from napari.viewer import Viewer

_WAIT = 300  # ms after the view moved until voxels are counted
_VIEWS = {"first": "First", "second": "Second", "difference": "Difference", "beside": "Side by side"}
_TIPS = {
    "first": "Show the first of the two, and hide the other",
    "second": "Show the second of the two, and hide the other",
    "difference": "Show where the two disagree, in the colours of the second",
    "beside": "The image and both predictions in boxes of their own, which move and zoom together",
}


class CompareWidget(DockedWidget):
    """Compare two predictions of an image.

    One after the other, side by side, or where they disagree.
    """

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer, "run")
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
        for which, button in self.show_buttons.items():
            button.setCheckable(True)
            set_tip(button, _TIPS[which])
            self.views.addButton(button)
        self.status = PlainLabel()
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

    # ---- what the user does --------------------------------------------------------------------------------------
    def show_only(self, which: str) -> None:
        """Show one of the two, the ``"difference"``, or both ``"beside"``.

        `which` is ``"first"``, ``"second"``, ``"difference"`` or ``"beside"`` the image; the others are hidden.
        """
        self.boxes.end()
        try:
            layers = {"first": self.first.value, "second": self.second.value, "difference": self.difference}
            pair_of(layers["first"], layers["second"])
            if which == "difference" and self.difference is None:
                layers[which] = self._add_difference()
        except LimnError as error:
            self._say(in_window(str(error)))
            return
        if which == "beside":
            image = image_of(self.viewer, layers["second"])
            self.boxes.begin([x for x in (image, layers["first"], layers["second"]) if x is not None])
        else:
            for name, layer in layers.items():
                if layer is not None:
                    layer.visible = name == which
        self.show_buttons[which].setChecked(True)
        self._count_again.start()

    def keep(self, layer: Labels | None) -> None:
        """Let the next prediction leave a layer as it is."""
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
            self._say(in_window(str(error)))
        if self.difference is not None and self.difference.visible:
            self.difference.refresh(thumbnail=False, highlight=False, extent=False)

    # ---- following the layers ------------------------------------------------------------------------------------
    def reset_choices(self, event: Any = None) -> None:
        """Offer the predictions that are there now.

        napari calls this when layers come, go or are renamed.
        """
        if being_renamed(self.viewer):
            return
        layers = self._offered()
        wanted = pair_among(layers, self.first.value, self.second.value)
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
        self.hideEvent(None)
        dims = self.viewer.dims.events
        self._listening += [
            connected(moved, self._on_moved) for moved in (dims.current_step, dims.order, dims.ndisplay)
        ]
        self.reset_choices()

    def hideEvent(self, event: Any) -> None:
        """Count nothing while nobody sees it."""
        if event is not None:
            super().hideEvent(event)
            self.boxes.end()
        call_all(self._listening)

    def closed(self) -> None:
        """Leave no difference behind: nothing would follow its pair."""
        self._remove_difference()

    def _on_moved(self, event: Any = None) -> None:
        self._count_again.start()

    def _on_pair(self, event: Any = None) -> None:
        """React to another pair: the difference of the last goes."""
        first, second = self.first.value, self.second.value
        pair = None if first is None or second is None or first is second else (first, second)
        data = [layer.data for layer in pair or ()]
        again = False
        if pair != self._pair:
            self.boxes.end()
            self._remove_difference()
            call_all(self._following)
            self._following += [connected(layer.events.data, self._on_pair) for layer in pair or ()]
            # a block of a prediction in memory, or paint
            self._following += [connected(layer.events.set_data, self._on_moved) for layer in pair or ()]
        elif any(now is not before for now, before in zip(data, self._data, strict=True)):
            # a file in the making is finished: what was shown of it is gone
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
        """Show that no view is chosen."""
        self.views.setExclusive(False)
        self.show_buttons["beside"].setChecked(False)
        self.views.setExclusive(True)

    def _add_difference(self) -> Labels:
        first, second = self.first.value, self.second.value
        layer, selection = difference_layer(first, second), self.viewer.layers.selection
        active = selection.active
        self.viewer.add_layer(layer)
        layer.editable = False
        if active is not None:  # a user who paints goes on painting
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
        choice = ComboBox(choices=lambda _: self._offered(), nullable=False)
        choice.native.setObjectName(f"limn-compare-{name}")
        show_whole_names(choice.native, "A prediction made in this window")
        choice.native.setMinimumWidth(80)
        choice.native.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        return choice

    def _offered(self) -> list[Labels]:
        """List predictions; last the preview of live mode, which changes."""
        return sorted(predicted_layers(self.viewer), key=lambda x: facts_of(x).kind == "live")

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


def _in_a_row(*widgets: QWidget) -> QWidget:
    held = QWidget()
    row = QHBoxLayout(held)
    row.setContentsMargins(0, 0, 0, 0)
    for widget in widgets:
        row.addWidget(widget)
    return held
