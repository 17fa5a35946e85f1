"""The class list: classes to name, to colour and to choose."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer, Signal  # type: ignore[attr-defined]
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QColorDialog, QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from napari_limn._napari.layers.class_table import (
    chosen_strokes,
    corrected_layer,
    follow_legend,
    legend_of,
    painted_layers,
    predicted_layers,
    set_legend,
    set_zero,
)
from napari_limn._napari.layers.layer_classes import ZERO
from napari_limn._napari.layers.layers import is_painted
from napari_limn._napari.layers.listening import call_all, connected
from napari_limn._napari.layers.plain_text import PlainLabel
from napari_limn._napari.layers.words import in_window
from napari_limn._napari.painting.class_choice import ClassChoice
from napari_limn._napari.painting.keys import borrow_digits
from napari_limn._napari.painting.table import ClassTable
from napari_limn.annotation.legend import Legend, painted_values
from napari_limn.errors import LimnError

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel
    from napari.layers import Labels

    from napari_limn.annotation.classes import ZeroMeaning
    from napari_limn.volume.volume import RGBA

_WAIT = 300  # ms after paint until the marks are looked up again


class ClassLegend(QWidget):
    """One row a class: key, colour, name, and whether it was painted.

    The chosen class is painted with.

    It follows the layer that is painted on: the active labels layer, unless that shows a prediction; while a patch of an audit
    is corrected, the layer of that. While it is in sight, the keys 1 to 9 choose the class of that number and 0 “not
    labelled”, which erases.

    Parameters
    ----------
    napari_viewer
        Whose layers are painted on.
    """

    layer_changed = Signal()
    """Another layer is shown."""

    def __init__(self, napari_viewer: ViewerModel) -> None:
        super().__init__()
        self.viewer = napari_viewer
        self._layer: Labels | None = None
        self._legend = Legend()
        self._following: list[Callable[[], object]] = []  # undoes what listens to the viewer
        # undoes what listens to the layer, and gives its keys back
        self._holding: list[Callable[[], object]] = []
        self._painted: set[int] | None = None
        self.table = ClassTable()
        self.table.chosen.connect(self.choose)
        self.table.renamed.connect(self._on_renamed)
        self.table.color_asked.connect(self._on_color_asked)
        self.add_button = self._button("Add class", "add", self.add_class)
        self.add_button.setToolTip("Add a class to paint with")
        self.color_button = self._button("Colour …", "color", self.choose_color)
        self.color_button.setToolTip(
            "Change the colour of the chosen class; a double click on a colour does it, too"
        )
        self.status = PlainLabel()
        self.status.setObjectName("limn-classes-status")
        self.status.setWordWrap(True)
        self._look_again = QTimer(self)
        self._look_again.setSingleShot(True)
        self._look_again.setInterval(_WAIT)
        self._look_again.timeout.connect(self._mark_painted)
        self._lay_out()
        self.destroyed.connect(partial(call_all, self._following))
        self.destroyed.connect(partial(call_all, self._holding))

    # ---- the layer -----------------------------------------------------------------------------------------------
    @property
    def layer(self) -> Labels | None:
        """Return the layer whose classes are shown; None if there is none."""
        return self._layer

    @layer.setter
    def layer(self, layer: Labels | None) -> None:
        if layer is not self._layer:
            call_all(self._holding)
            self._layer = layer
            if self.isVisible():
                self._take_hold()
            self._on_data()
            self.layer_changed.emit()

    @property
    def legend(self) -> Legend:
        """Return the table of classes that is shown."""
        return self._legend

    @property
    def value(self) -> int:
        """Return the chosen class; 0 for “not labelled”."""
        return 0 if self._layer is None else int(self._layer.selected_label)

    def reset_choices(self, event: Any = None) -> None:
        """Show the layer that is painted on now.

        napari calls this when layers come and go.
        """
        active, layers = self.viewer.layers.selection.active, painted_layers(self.viewer)
        if (corrected := corrected_layer(self.viewer)) is not None:
            self.layer = corrected
        elif self._layer not in layers or active in layers:
            self.layer = chosen_strokes(self.viewer)

    def set_zero(self, zero: ZeroMeaning) -> None:
        """Set what a 0 of the layer means in training."""
        if self._layer is not None:
            set_zero(self._layer, zero)
            self.refresh()

    def refresh(self, event: Any = None) -> None:
        """Show the classes of the layer as they are now."""
        legend = Legend()
        if self._layer is not None:
            legend = self.choice.listed(legend_of(self._layer, self._painted))
        if legend != self._legend or not self.table.rowCount():
            self._legend = legend
            self.table.fill(legend, ZERO[legend.zero])
        self.add_button.setEnabled(self.choice.may_add)
        self.color_button.setEnabled(self._layer is not None)
        self._on_chosen()
        self.table.mark(self._painted)
        self._say_what_is_shown()

    # ---- what the user does --------------------------------------------------------------------------------------
    def choose(self, value: int) -> None:
        """Paint with a class from now on."""
        if self._layer is None:
            return
        if why := self.choice.refusal(value):
            self._on_chosen()
            self._say(why)
            return
        self._say_what_is_shown()
        if self.value != value:
            self._layer.selected_label = value

    def add_class(self) -> None:
        """Add a class, and choose it."""
        if self._layer is None:
            self._say_what_is_shown()
            return
        legend, value = self._legend.added()
        self._change(legend)
        self.choose(value)

    def rename(self, value: int, name: str) -> None:
        """Rename a class; an empty name, or a taken one, is refused."""
        self._change(self._legend.renamed(value, name))

    def recolor(self, value: int, color: RGBA) -> None:
        """Give a class another colour (RGBA, 0–1).

        Predictions that show it in the same colour follow.
        """
        self._change(self._legend.recoloured(value, color))

    def choose_color(self) -> None:
        """Ask for another colour of the chosen class."""
        value = self.value
        if value not in self._legend.values:
            self._say("“Not labelled” has no colour; choose a class first.")
            return
        before = QColor.fromRgbF(*self._legend.color(value))
        color = QColorDialog.getColor(before, self, f"Colour of “{self._legend.names[value]}”")
        if color.isValid():
            self.recolor(value, (color.redF(), color.greenF(), color.blueF(), 1.0))

    def _change(self, legend: Legend) -> None:
        before, layer = self._legend, self._layer
        if layer is None:
            return
        set_legend(layer, legend)
        for other in predicted_layers(self.viewer):
            follow_legend(other, before, legend)
        self.refresh()

    # ---- holding on to the layer while in sight ------------------------------------------------------------------
    def showEvent(self, event: Any) -> None:
        """Take the keys, and follow what is painted on."""
        super().showEvent(event)
        self.take_keys()

    def take_keys(self) -> None:
        """Follow what is painted on, and take its keys."""
        self.give_keys_back()
        layers = self.viewer.layers
        changes = (layers.selection.events.active, layers.events.inserted, layers.events.removed)
        self._following += [connected(change, self.reset_choices) for change in changes]
        self.reset_choices()
        self._take_hold()
        self._on_data()

    def hideEvent(self, event: Any) -> None:
        """Give the keys back."""
        super().hideEvent(event)
        self.give_keys_back()

    def give_keys_back(self) -> None:
        """Follow no layer."""
        call_all(self._following)
        call_all(self._holding)

    def _take_hold(self) -> None:
        layer = self._layer
        if layer is None or self._holding:
            return
        events = layer.events
        self._holding += [
            connected(events.metadata, self.refresh),
            connected(events.colormap, self.refresh),
            connected(events.data, self._on_data),
            connected(events.selected_label, self._on_chosen),
            connected(events.paint, self._on_paint),
            connected(events.set_data, self._on_drawn),
            borrow_digits(layer, self.choose),
        ]

    def _on_data(self, event: Any = None) -> None:
        self._look()
        self.refresh()

    def _on_paint(self, event: Any = None) -> None:
        """List a class that was chosen elsewhere, once it is painted."""
        if self.choice.is_missing(self.value):
            self._change(self._legend.with_value(self.value))
        self._look_again.start()

    def _on_drawn(self, event: Any = None) -> None:
        """Look again after an undo, which only draws the layer anew."""
        self._look_again.start()

    @property
    def choice(self) -> ClassChoice:
        """Give the classes of the layer, for what they allow."""
        layer = self._layer
        if layer is None:
            return ClassChoice()
        # a layer made here that is shown all the same is that of an audit
        return ClassChoice(layer.name, self._legend, self._painted, audited=not is_painted(layer))

    # ---- the table -----------------------------------------------------------------------------------------------
    def _mark_painted(self) -> None:
        self._look()
        self.table.mark(self._painted)

    def _look(self) -> None:
        self._painted = None if self._layer is None else painted_values(self._layer.data)

    def _on_chosen(self, event: Any = None) -> None:
        self.table.select(self.value)

    def _on_renamed(self, value: int, name: str) -> None:
        try:
            self.rename(value, name)
        except LimnError as error:
            self.table.fill(self._legend, ZERO[self._legend.zero])
            self._on_chosen()
            self.table.mark(self._painted)
            self._say(in_window(str(error)))

    def _on_color_asked(self, value: int) -> None:
        self.choose(value)
        self.choose_color()

    def _lay_out(self) -> None:
        column, buttons = QVBoxLayout(self), QHBoxLayout()
        column.setContentsMargins(0, 0, 0, 0)
        buttons.addWidget(self.add_button)
        buttons.addWidget(self.color_button)
        column.addWidget(self.table)
        column.addLayout(buttons)
        column.addWidget(self.status)

    # ---- words ---------------------------------------------------------------------------------------------------
    def _say_what_is_shown(self) -> None:
        self._say(self.choice.sentence)

    def _say(self, text: str) -> None:
        self.status.setText(text)

    def _button(self, text: str, name: str, act: Callable[[], object]) -> QPushButton:
        button = QPushButton(text)
        button.setObjectName(f"limn-classes-{name}")
        button.clicked.connect(lambda _=False: act())
        return button
