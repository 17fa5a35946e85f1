"""The Limn dock: an image, four steps, one line of state."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QPoint
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWhatsThis, QWidget

from napari_limn._napari.dock.commands import Commands
from napari_limn._napari.dock.header import DockHeader
from napari_limn._napari.dock.keys import DockKeys, help_text
from napari_limn._napari.dock.loop import Loop
from napari_limn._napari.dock.model_offer import ModelOffer
from napari_limn._napari.dock.overlay_bar import OverlayBar
from napari_limn._napari.dock.sections import HEADS, HELP, SECTIONS, Section
from napari_limn._napari.dock.steps import DockStep, StepStack
from napari_limn._napari.layers.plain_text import literal
from napari_limn._napari.painting.strokes import StrokesWidget
from napari_limn._napari.panel.docking import DockedWidget
from napari_limn._napari.panel.form import FormWidget
from napari_limn._napari.panel.keyboard import operable
from napari_limn._napari.prediction.predict import PredictWidget
from napari_limn._napari.training.train import TrainWidget

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_limn._napari.panel.session import Sight

_WIDTH, _HEIGHT = 300, 640


class LimnWidget(DockedWidget):
    """Everything from a dropped image to its labels, in one dock."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__(napari_viewer, "run")
        self.header = DockHeader(napari_viewer)
        self.steps = StepStack(DockStep(name, *texts) for name, texts in HEADS.items())
        self.sections = {
            section.kind: self._add(step, section) for step, them in SECTIONS.items() for section in them
        }
        self.train: TrainWidget = self.sections[TrainWidget]
        strokes: StrokesWidget = self.sections[StrokesWidget]
        self.model_offer = ModelOffer(napari_viewer, self.train)
        for widget in (strokes.journal, strokes.offer, self.model_offer):
            self.header.put_below_image(widget)
        self.steps.steps["learn"].put_beside_head(self._live_switch())
        self.loop = Loop(napari_viewer, self.train, self)
        self.loop.moved.connect(self._follow)
        predict: PredictWidget = self.sections[PredictWidget]
        predict.run_box.spoke.connect(partial(self._on_predict, predict))
        self.header.chosen.connect(self.loop.controller.choose)
        self.steps.unfolded.connect(self._on_unfolded)
        self.keys = DockKeys(napari_viewer, Commands(self.sections, self.header, self.loop).keys())
        self._place.when_covered(self._in_front)
        self.header.help_button.clicked.connect(lambda _=False: self._show_help())
        self._lay_out()
        self.steps.unfold("paint")
        self._say_what_to_do()
        self._begun = False

    def _add(self, step: str, section: Section) -> Any:
        """Put a section into its step, and its state into the header."""
        widget = section.kind(self.viewer)
        head = DockStep(section.name, section.title, section.tip) if section.title else None
        self.steps.steps[step].add(widget, head)
        if isinstance(widget, FormWidget):
            widget.stand_among_others()
            self.header.add_status(widget)
        return widget

    def _live_switch(self) -> QWidget:
        """Take the switch of live mode out of its form."""
        switch: QWidget = self.train.live.native
        self.train.form.take_out(switch)
        self.train.live.text = "Live"
        switch.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        return switch

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 4, 4, 4)
        column.addWidget(self.header)
        column.addWidget(self.steps, 1)
        self.setMinimumSize(_WIDTH, _HEIGHT)
        self.setSizePolicy(
            QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding
        )  # napari adds no stretch
        operable(self)

    # ---- what napari and Qt call ---------------------------------------------------------------------------------
    def showEvent(self, event: Any) -> None:
        """Follow the window from the first time on that it is seen."""
        super().showEvent(event)
        self.keys.begin()
        if not self._begun:
            self._begun = True
            self.loop.begin()

    def hideEvent(self, event: Any) -> None:
        """Give the keys back."""
        super().hideEvent(event)
        self.keys.end()

    def _in_front(self, in_front: bool) -> None:
        """Have the keys only while the user sees the dock."""
        if in_front and self.isVisible():
            self.keys.begin()
        else:
            self.keys.end()

    def _show_help(self) -> None:
        lines = (
            HELP,
            help_text([key for key in self.keys.keys if not key.paints]),
            "1 to 9: paint with that class; 0: erase",
        )
        place = self.header.help_button.mapToGlobal(QPoint(0, 0))
        QWhatsThis.showText(place, literal("\n".join(lines)), self)

    def reset_choices(self, event: Any = None) -> None:
        """Offer the layers that are there now."""
        self.header.reset_choices(self.loop.controller.sight)
        for section in self.sections.values():
            if hasattr(section, "reset_choices"):
                section.reset_choices()

    def closed(self) -> None:
        """End all runs: there is no button left to stop them."""
        self.loop.end()
        self.model_offer.keep()
        for section in self.sections.values():
            if isinstance(section, (DockedWidget, OverlayBar)):
                section.closed()

    # ---- what is shown -------------------------------------------------------------------------------------------
    def unfold(self, step: str, section: str = "") -> None:
        """Unfold ``"paint"``, ``"learn"``, ``"check"`` or ``"apply"``.

        A section with a head of its own is named, too.
        """
        self.steps.unfold(step)
        inner = self.steps.steps[step].inner
        if section and inner is not None:
            inner.unfold(section)

    def _on_unfolded(self, step: str) -> None:
        for section in self.steps.steps[step].sections:
            if isinstance(section, FormWidget):
                self.header.raise_status(section)

    def _on_predict(self, predict: PredictWidget) -> None:
        """End live mode when the image is predicted.

        Its labels take the place of the preview.
        """
        if predict.run_box.running and self.train.controller.live:
            self.train.run_box.stop()

    def _say_what_to_do(self) -> None:
        strokes: StrokesWidget = self.sections[StrokesWidget]
        if not strokes.run_box.running:
            strokes.run_box.say(self.loop.controller.sentence)

    def _follow(self, sight: Sight) -> None:
        self.header.show_sight(sight)
        self._say_what_to_do()
        self.model_offer.follow(sight)
        for section in self.sections.values():
            if isinstance(section, FormWidget):
                section.form.reset_choices()
            if isinstance(section, (FormWidget, OverlayBar)):
                section.follow(sight)
