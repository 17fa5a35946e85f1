"""Text in the window, shown as it is and never as markup.

Why: names of classes, layers, files and models come from others. Qt takes ``<b>`` in a label or a tooltip for markup, and loads the
picture of an ``<img>`` from the disk, or over the network.
"""

from __future__ import annotations

import re
from math import ceil
from typing import Any, Protocol

from napari.utils import notifications
from qtpy.QtCore import QEvent, QObject, QPointF, QSize, Qt
from qtpy.QtGui import QPainter, QTextLayout, QTextOption
from qtpy.QtWidgets import QComboBox, QLabel, QStyle, QStyleOptionComboBox, QStylePainter
from superqt import QElidingLabel

_MARKUP = re.compile(
    r"<(?=\s*[\w/!?])|&(?=lt;)"
)  # what Qt looks for when it guesses whether a text is markup
_LEAST, _USUAL = 60, 280  # pixels of the width of a text of several lines
_JOINER = "\u2060"  # takes no room, and no tag begins with it


class PlainLabel(QLabel):
    """A label that shows its text as it is, all of it.

    Qt breaks lines between words only, and cuts off a name that is longer than the panel is wide. Such a text is drawn here.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setText(text)

    def minimumSizeHint(self) -> QSize:
        """Allow any width to a text of several lines."""
        least = super().minimumSizeHint()
        return QSize(min(least.width(), _LEAST), least.height()) if self.wordWrap() else least

    def sizeHint(self) -> QSize:
        """Ask for no more width than a panel has."""
        size = super().sizeHint()
        if not self.wordWrap() or size.width() <= _USUAL:
            return size
        return QSize(_USUAL, self.heightForWidth(_USUAL))

    def heightForWidth(self, width: int) -> int:
        """Return the height of all lines."""
        if not self._has_longer_word(width):
            return super().heightForWidth(width)
        return ceil(self._layout(width).boundingRect().height())

    def paintEvent(self, event: Any) -> None:
        """Draw the text, with lines that may end within a word."""
        area = self.contentsRect()
        if not self._has_longer_word(area.width()):
            super().paintEvent(event)
            return
        painter = QPainter(self)
        painter.setPen(self.palette().color(self.foregroundRole()))
        self._layout(area.width()).draw(painter, QPointF(area.topLeft()))
        painter.end()

    def _has_longer_word(self, width: int) -> bool:
        measure = self.fontMetrics().horizontalAdvance
        return self.wordWrap() and any(measure(word) > width for word in self.text().split())

    def _layout(self, width: int) -> QTextLayout:
        """Lay the text out in lines of this width."""
        layout = QTextLayout(self.text().replace("\n", "\u2028"), self.font())
        how = QTextOption(self.alignment())
        how.setWrapMode(QTextOption.WrapMode.WrapAtWordBoundaryOrAnywhere)
        layout.setTextOption(how)
        layout.beginLayout()
        top = 0.0
        while (line := layout.createLine()).isValid():
            line.setLineWidth(width)
            line.setPosition(QPointF(0, top))
            top += line.height()
        layout.endLayout()
        return layout


class PlainLine(QElidingLabel):
    """A label of one line that shows its text as it is."""

    def __init__(self, text: str = "") -> None:
        super().__init__()
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setText(text)


class _HasTip(Protocol):
    def setToolTip(self, text: str) -> object: ...


def literal(text: str) -> str:
    """Give a text that is shown as it is, unformatted.

    That is in tooltips, and in what napari shows for us.

    Examples
    --------
    >>> literal("a & b"), len(literal("<b>"))
    ('a & b', 4)
    """
    return _MARKUP.sub(rf"\g<0>{_JOINER}", text)


def set_tip(of: _HasTip, text: str) -> None:
    """Set a tooltip that is shown as it is."""
    of.setToolTip(literal(text))


class _WholeNames(QObject):
    """Draws the chosen name, and writes its tooltip when asked."""

    def __init__(self, choice: QComboBox, tip: str) -> None:
        super().__init__(choice)
        self._choice, self._tip = choice, tip

    def eventFilter(self, watched: Any, event: Any) -> bool:
        """Show the name of now: it may have changed unannounced."""
        if event.type() == QEvent.Type.ToolTip:
            set_tip(self._choice, f"{self._choice.currentText()}\n{self._tip}".strip())
        if event.type() == QEvent.Type.Paint:
            self._draw()
            return True
        return False

    def _draw(self) -> None:
        """Draw as Qt does, but both ends of a long name."""
        painter, style, option = QStylePainter(self._choice), self._choice.style(), QStyleOptionComboBox()
        option.initFrom(self._choice)
        option.subControls = QStyle.SubControl.SC_All
        option.currentText = " ".join(self._choice.currentText().splitlines())
        control, field = QStyle.ComplexControl.CC_ComboBox, QStyle.SubControl.SC_ComboBoxEditField
        if style is not None:
            room = style.subControlRect(control, option, field, self._choice).width() - 2
            middle = Qt.TextElideMode.ElideMiddle
            option.currentText = option.fontMetrics.elidedText(option.currentText, middle, room)
        painter.drawComplexControl(control, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
        painter.end()


def show_whole_names(choice: QComboBox, tip: str) -> None:
    """Show both ends of a chosen name, the whole as tooltip."""
    set_tip(choice, tip)
    choice.installEventFilter(_WholeNames(choice, tip))
    if (names := choice.view()) is not None:
        names.setTextElideMode(Qt.TextElideMode.ElideMiddle)


def notify(text: str) -> None:
    """Show a sentence as a notification of napari."""
    notifications.show_info(literal(text))


def notify_warning(text: str) -> None:
    """Show a warning as a notification of napari."""
    notifications.show_warning(literal(text))


def notify_error(text: str) -> None:
    """Show what went wrong as a notification of napari."""
    notifications.show_error(literal(text))
