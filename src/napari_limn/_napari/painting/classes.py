"""The Classes widget: the legend, and correcting by click."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_limn._napari.painting.class_list import ClassLegend
from napari_limn._napari.painting.correct import ClickCorrector
from napari_limn._napari.panel.docking import DockPlace

if TYPE_CHECKING:
    from napari.viewer import Viewer


class ClassesWidget(QWidget):
    """Name, colour and choose classes; turn predicted regions into strokes."""

    def __init__(self, napari_viewer: Viewer) -> None:
        super().__init__()
        self._place = DockPlace(self, napari_viewer, "paint")
        self.legend = ClassLegend(napari_viewer)
        self.corrector = ClickCorrector(napari_viewer, self.legend)
        self._place.when_covered(self._in_front)
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 4, 6, 4)
        column.setSpacing(4)
        column.addWidget(self.legend)
        column.addWidget(self.corrector)
        column.addStretch()

    def reset_choices(self, event: Any = None) -> None:
        """Follow the layers; napari calls this when they change."""
        self.legend.reset_choices()

    def _in_front(self, in_front: bool) -> None:
        """Keep the keys and the click only while the user sees why."""
        if in_front:
            self.legend.take_keys()
        else:
            self.legend.give_keys_back()
            self.corrector.button.setChecked(False)

    def showEvent(self, event: Any) -> None:
        """Find a place beside the others."""
        super().showEvent(event)
        self._place.shown()
