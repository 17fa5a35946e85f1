"""A live curve of loss and score."""

from __future__ import annotations

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import QWidget

_LOSS, _SCORE = QColor(120, 150, 190), QColor(255, 165, 60)
_MOST = 600  # points of a curve; every second one is dropped beyond that


class Curve(QWidget):
    """Draw loss and held-out score over seconds.

    Loss is on the left, scaled to its largest; the score on the right, 0–1.

    Points that are added are seen at its next ``update()``: who adds them says when, since all of the window is drawn then.
    """

    def __init__(self) -> None:
        super().__init__()
        self.setMinimumHeight(110)
        self.setToolTip("Blue: loss. Orange: score of the held-out strokes (mean IoU, 0 to 1).")
        self.clear()

    def clear(self) -> None:
        """Forget everything."""
        self.losses: list[tuple[float, float]] = []
        self.scores: list[tuple[float, float]] = []
        self._smooth: float | None = None
        self.update()

    def add_loss(self, seconds: float, loss: float) -> None:
        """Add a point to the loss curve, smoothed over about ten steps."""
        self._smooth = loss if self._smooth is None else 0.9 * self._smooth + 0.1 * loss
        self.losses.append((seconds, self._smooth))
        if len(self.losses) > _MOST:
            del self.losses[1::2]

    def add_score(self, seconds: float, score: float) -> None:
        """Add a point to the score curve."""
        self.scores.append((seconds, score))

    def paintEvent(self, _: QPaintEvent | None) -> None:
        """Draw axes and both curves."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = QRectF(self.rect()).adjusted(6, 16, -6, -16)
        painter.setPen(self.palette().color(self.foregroundRole()))
        painter.drawRect(area)
        longest = max((x for x, _ in self.losses + self.scores), default=0.0)
        if longest:
            painter.drawText(
                self.rect().adjusted(0, 0, -6, 0),
                Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignBottom,
                f"{longest:.0f} s",
            )
            self._draw(
                painter, area, self.losses, longest, max(y for _, y in self.losses or [(0, 1.0)]), _LOSS
            )
            self._draw(painter, area, self.scores, longest, 1.0, _SCORE)
        painter.setPen(_LOSS)
        painter.drawText(6, 12, f"loss {self._smooth:.3f}" if self._smooth is not None else "loss")
        painter.setPen(_SCORE)
        text = f"held-out score {self.scores[-1][1]:.3f}" if self.scores else "held-out score"
        painter.drawText(
            self.rect().adjusted(0, 0, -6, 0), Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop, text
        )

    @staticmethod
    def _draw(
        painter: QPainter,
        area: QRectF,
        points: list[tuple[float, float]],
        right: float,
        top: float,
        color: QColor,
    ) -> None:
        """Draw one polyline.

        x goes from 0 to `right`, y from 0 to `top`.
        """
        painter.setPen(QPen(color, 1.6))
        line = [
            QPointF(
                area.left() + area.width() * x / right,
                area.bottom() - area.height() * min(1.0, y / (top or 1.0)),
            )
            for x, y in points
        ]
        painter.drawPolyline(QPolygonF(line))
