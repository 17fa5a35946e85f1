"""The picture of the chosen network, as wide as the panel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QSizePolicy

from napari_limn._napari.layers.plain_text import PlainLabel, set_tip
from napari_limn.report.figure import draw_network, legend, usual_tile

if TYPE_CHECKING:
    from napari_limn.network.spec import UNetSpec


class NetworkPicture(PlainLabel):
    """Draw a network for its training tile, at any width.

    Its proportions stay.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.spec: UNetSpec | None = None
        self._full = QPixmap()

    def show_network(self, spec: UNetSpec) -> None:
        """Draw `spec`, unless it is what is shown already."""
        if spec == self.spec:
            return
        self.spec = spec
        dark = self.palette().color(self.backgroundRole()).lightness() < 128
        drawn = draw_network(spec, usual_tile(spec), dark=dark, compact=True)
        height, width, _ = drawn.shape
        image = QImage(drawn.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
        self._full = QPixmap.fromImage(image.copy())
        set_tip(self, "\n".join(legend(spec)))
        self._fit()

    def resizeEvent(self, event: Any) -> None:
        """Scale to the new width."""
        super().resizeEvent(event)
        self._fit()

    def sizeHint(self) -> QSize:
        """Return a size as high as the picture is at this width."""
        return QSize(self.width(), self._height())

    def _height(self) -> int:
        full = self._full.size()
        return full.height() * max(1, self.width()) // max(1, full.width())

    def _fit(self) -> None:
        if not self._full.isNull():
            self.setFixedHeight(self._height())
            smooth = Qt.TransformationMode.SmoothTransformation
            self.setPixmap(self._full.scaledToWidth(max(1, self.width()), smooth))
